//! Runs an entry without a fuzzer: on every seed, on each prefix of it, and on it with single bytes changed.

use std::path::Path;

/// Most bytes of a seed of which prefixes and changes are tried.
const BYTES_MAX: usize = 400;

pub(crate) fn smoke(target: &str, run: fn(&[u8])) {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(target);
    let mut count = 0;
    for seed in std::fs::read_dir(&seeds).unwrap() {
        let bytes = std::fs::read(seed.unwrap().path()).unwrap();
        run(&bytes);
        count += 1;
        for at in 0..bytes.len().min(BYTES_MAX) {
            run(&bytes[..at]);
            for change in [0x01, 0x10, 0x20, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[at] ^= change;
                run(&changed);
            }
        }
    }
    assert!(count >= 2, "no seeds in {}", seeds.display());
}
