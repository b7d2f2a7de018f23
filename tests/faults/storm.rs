//! A storm: all sockets of one replica are dropped at once, because it is killed, and all come at once to the
//! other, half of them as named sessions, half with a cursor of `tidewire.v1`, while changes go on. Each must
//! get every change of its object, in order, and how often the log is read for them must not depend on how
//! many they are.
//!
//! Users come from addresses of their own. All limits of a gateway are the default ones but for the number of
//! connections that it accepts in a second, which is a fifth of the sockets: for 10,000 that is the default, too.

mod client;

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use tidewire_testkit::http::request;
use tidewire_testkit::service::Service;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::bed::{Bed, PARTITIONS, PRODUCER};
use crate::rolling::{OBJECTS, post, produce};
use client::{Client, Crowd, Done, Ids, Socket, USERS, object_of};

/// Handshakes under way at once while the sockets open; the storm itself has no such bound.
const OPENING: usize = 64;
/// How long all of them may take until they have caught up. The promise is 30 s; a machine that builds
/// something beside it must not fail the test.
const LIMIT: Duration = Duration::from_secs(120);
/// The smallest window there is, and records that nobody watches, which push all else out of it.
const SMALL_WINDOW: &str = "64KiB";
const PADDING_RECORDS: usize = 64 * PARTITIONS as usize;
const PADDING_BYTES: usize = 4 << 10;
/// Accepting all of them takes so many seconds; the first of them is a burst.
const ACCEPTING_SECONDS: usize = 5;
/// So much sooner may a clock say that it was over.
const EARLY: Duration = Duration::from_millis(250);
/// Threads of a gateway that serve sockets: as many as cores would make the bounds below differ.
const SHARDS: usize = 2;
/// A shard begins at most so many passes a second while many catch up (one every 50 ms, and some).
const PASSES_PER_SECOND: f64 = 25.0;
/// A partition is read at most so often in a second for all who ask for the same stretch (what was read is
/// kept for half a second), times the stretches that the missed part has.
const READS_PER_SECOND: f64 = 8.0;

const PASSES: &str = "tidewire_window_passes_total";
const READS: &str = "tidewire_history_reads_total";
const RECORDS: &str = "tidewire_replay_records_total";
const CAUGHT_UP: &str = "tidewire_caught_up_total";

/// Where what the clients missed is read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Window,
    Kafka,
}

/// Pushes all that was written out of a small window.
fn pad(capture: SocketAddr, token: &str) {
    let comment = "c".repeat(PADDING_BYTES);
    let lines: Vec<String> = (0..PADDING_RECORDS)
        .map(|number| {
            let key = 1_000_000 + number;
            format!(
                r#"{{"objectType":"Voyage","key":{key},"operation":"U","new":{{"key":{key},"comments":"{comment}"}}}}"#
            )
        })
        .collect();
    let bearer = format!("Bearer {token}");
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/x-ndjson")];
    let body = lines.join("\n");
    let answer = request(capture, "POST", "/api/v1/changes", &headers, body.as_bytes()).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
}

async fn until(what: &str, limit: Duration, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + limit;
    while !done() {
        assert!(Instant::now() < end, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What the surviving gateway counts.
fn figures(gateway: &Service) -> [f64; 4] {
    tokio::task::block_in_place(|| {
        [PASSES, READS, RECORDS, CAUGHT_UP].map(|name| gateway.metric(name).unwrap())
    })
}

/// The offset in an id: all changes of one object stand in one partition.
fn offset(id: &str) -> u64 {
    id.split_once('-').unwrap().1.parse().unwrap()
}

/// Opens all sockets at the first gateway.
async fn gather(crowd: &Arc<Crowd>, sockets: usize, clients: &mut JoinSet<Done>) {
    let mut opening = futures_util::stream::iter((0..sockets).map(|number| {
        let crowd = Arc::clone(crowd);
        async move {
            let mut client = Client { crowd, number, cursor: None, told: Vec::new() };
            let socket = client.open(0, false).await.unwrap();
            (client, socket)
        }
    }))
    .buffer_unordered(OPENING);
    while let Some((client, socket)) = opening.next().await {
        crowd.open.fetch_add(1, Relaxed);
        clients.spawn(client.live(socket));
    }
}

/// What became of what was owed: lost, repeated; and when the last client had everything.
async fn judge(clients: &mut JoinSet<Done>, posted: &HashMap<usize, Vec<String>>) -> Verdict {
    let (last, held) = (Instant::now(), Vec::new());
    let mut verdict = Verdict { owed: 0, lost: 0, repeated: 0, last, held };
    let mut ends = Vec::new();
    while let Some(done) = clients.join_next().await {
        let Done { number, told, at, socket } = done.unwrap();
        verdict.held.push(socket);
        let owed = &posted[&object_of(number)];
        for ids in &told {
            assert!(ids.is_sorted_by(|a, b| offset(a) < offset(b)), "client {number}: {ids:?}");
        }
        let all: HashSet<&String> = told.iter().flatten().collect();
        let count: usize = told.iter().map(Vec::len).sum();
        assert!(all.iter().all(|id| owed.contains(id)), "client {number}: {told:?}");
        verdict.owed += owed.len();
        verdict.lost += owed.iter().filter(|id| !all.contains(id)).count();
        verdict.repeated += count - all.len();
        ends.push(at);
    }
    verdict.last = ends.into_iter().max().unwrap();
    verdict
}

struct Verdict {
    owed: usize,
    lost: usize,
    repeated: usize,
    last: Instant,
    /// The sockets, to be let go when all is counted.
    held: Vec<Socket>,
}

/// `None`, and a loud word, where a part can't be had.
pub(crate) async fn run(sockets: usize, source: Source) {
    let mut settings = vec![
        ("gateway.shards", SHARDS.to_string()),
        ("http.accepts_per_second", (sockets / ACCEPTING_SECONDS).to_string()),
    ];
    if source == Source::Kafka {
        settings.push(("gateway.window_bytes_max", SMALL_WINDOW.to_owned()));
    }
    let bed = tokio::task::block_in_place(|| Bed::start_with(1, &settings));
    let Some(mut bed) = bed else { return };
    // All of one replica come to one other.
    bed.gateways.truncate(2);
    let (opens, gate) = watch::channel(false);
    let (closing, last) = watch::channel(None);
    let crowd = Arc::new(Crowd {
        gateways: bed.gateways.iter().map(Service::public).collect(),
        tokens: (1..=USERS).map(|user| bed.token(user as u64, &[])).collect(),
        open: AtomicUsize::new(0),
        gate,
        last,
    });
    let mut clients = JoinSet::new();
    let opened = Instant::now();
    gather(&crowd, sockets, &mut clients).await;
    println!("{sockets} sockets opened in {:.1} s", opened.elapsed().as_secs_f64());
    let proven =
        || tokio::task::block_in_place(|| bed.redis.sessions_proven("*:session:*").unwrap());
    until("all sessions are known to their clients", LIMIT, || proven() == sockets / 2).await;

    let (capture, token) = (bed.capture.public(), bed.token(99, &[PRODUCER]));
    let (stop, stopped) = watch::channel(false);
    let load = {
        let token = token.clone();
        tokio::task::spawn_blocking(move || produce(capture, &token, &stopped))
    };
    let before = figures(&bed.gateways[1]);
    let at_once = crowd.open.load(Relaxed);
    assert_eq!(at_once, sockets, "all are open when they are dropped");
    let objects: Vec<usize> = (1..=OBJECTS).collect();
    let dropped = Instant::now();
    let missed = tokio::task::block_in_place(|| {
        bed.gateways[0].kill();
        let missed = post(capture, &token, &objects);
        if source == Source::Kafka {
            pad(capture, &token);
        }
        missed
    });
    until("all have seen their link end", LIMIT, || crowd.open.load(Relaxed) == 0).await;
    let gone = dropped.elapsed();
    opens.send(true).unwrap();
    until("all are back", LIMIT, || crowd.open.load(Relaxed) == sockets).await;
    let back = dropped.elapsed();
    let paced = Duration::from_secs(ACCEPTING_SECONDS as u64 - 1);
    assert!(back - gone + EARLY >= paced, "accepted sooner than allowed: {:?}", back - gone);
    stop.send(true).unwrap();
    let mut posted = load.await.unwrap();
    let final_ids = tokio::task::block_in_place(|| post(capture, &token, &objects));
    let final_ids: Ids = objects.iter().copied().zip(final_ids).collect();
    for (object, id) in objects.iter().copied().zip(missed) {
        posted.entry(object).or_default().push(id);
    }
    for (object, id) in &final_ids {
        posted.entry(*object).or_default().push(id.clone());
    }
    closing.send(Some(Arc::new(final_ids))).unwrap();
    let judged = tokio::time::timeout(LIMIT, judge(&mut clients, &posted)).await;
    let Verdict { owed, lost, repeated, last, held } =
        judged.expect("every client gets the last change");
    let caught_up = last.duration_since(dropped);
    assert_eq!(lost, 0, "of {owed} owed");
    let resident = bed.gateways[1].resident_bytes().unwrap() >> 20;
    // Shards tell their counts once a second.
    let survivor = &bed.gateways[1];
    #[expect(clippy::cast_precision_loss, reason = "thousands")]
    until("all count as caught up", LIMIT, || figures(survivor)[3] - before[3] >= sockets as f64)
        .await;
    let after = figures(survivor);
    drop(held);
    let [passes, reads, records, _] = std::array::from_fn(|i| after[i] - before[i]);
    let changes: usize = posted.values().map(Vec::len).sum();
    println!(
        "storm, from {source:?}: {sockets} sockets dropped, all know it after {:.1} s, all back after {:.1} s, all \
         caught up after {:.1} s; {changes} changes, {owed} owed, {lost} lost, {repeated} repeated; {passes} passes \
         over the window, {reads} reads of Kafka, {records} records looked at; {resident} MiB resident",
        gone.as_secs_f64(),
        back.as_secs_f64(),
        caught_up.as_secs_f64(),
    );
    #[expect(clippy::cast_precision_loss, reason = "a few")]
    let (shards, partitions) = (SHARDS as f64, f64::from(PARTITIONS));
    let seconds = 1.0 + caught_up.as_secs_f64();
    let reads_max = partitions * READS_PER_SECOND * seconds;
    match source {
        Source::Window => assert_eq!(reads, 0.0, "the window holds everything"),
        Source::Kafka => {
            assert!(reads > 0.0 && reads <= reads_max, "{reads} reads, at most {reads_max}");
        }
    }
    assert!(passes > 0.0, "they caught up");
    // As often as shards can begin to that wait for more to come in between.
    let bound = shards * PASSES_PER_SECOND * seconds;
    assert!(passes <= bound, "{passes} passes over the window, at most {bound}");
}
