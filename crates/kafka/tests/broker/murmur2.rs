//! The writer puts a key where a Java client does. The oracle is written from the definition of
//! MurmurHash2 (32 bit, seed 0x9747b28c) as Kafka's default partitioner uses it.

use tidewire_kafka::Writer;
use tidewire_log::LogWriter;

use crate::harness::{places, record};

fn murmur2(data: &[u8]) -> i32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c_u32 ^ u32::try_from(data.len()).unwrap();
    let mut chunks = data.chunks_exact(4);
    for chunk in &mut chunks {
        let mut k = u32::from_le_bytes(chunk.try_into().unwrap()).wrapping_mul(M);
        k = (k ^ (k >> 24)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    let rest = chunks.remainder();
    if !rest.is_empty() {
        for (index, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    (hash ^ (hash >> 15)).cast_signed()
}

fn java_partition(key: &[u8], partitions: i32) -> i32 {
    (murmur2(key) & 0x7fff_ffff) % partitions
}

#[test]
fn the_oracle_knows_the_published_values() {
    let check = |text: &str, expected| assert_eq!(murmur2(text.as_bytes()), expected, "{text}");
    check("21", -973_932_308);
    check("foobar", -790_332_482);
    check("a-little-bit-long-string", -985_981_536);
    check("a-little-bit-longer-string", -1_486_304_829);
    check("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971);
    check("abc", 479_470_107);
}

#[tokio::test]
async fn keys_go_where_a_java_client_puts_them() {
    for place in places("murmur2", 7).await {
        let writer = Writer::start(&place.options, &place.topic).unwrap();
        let mut answers = Vec::new();
        for number in 0..500 {
            let key = match number % 3 {
                0 => format!("acme/PortCall/{number}"),
                1 => format!("t%20{number}/Voyage/é{}", "x".repeat(number % 11)),
                _ => "k".repeat(number),
            };
            let answer = writer.write(record(&key, "{}"));
            answers.push((key, answer));
        }
        for (key, answer) in answers {
            let id = answer.await.unwrap();
            assert_eq!(id.partition.0, java_partition(key.as_bytes(), 7), "{key:?}");
        }
    }
}
