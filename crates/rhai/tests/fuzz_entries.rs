//! The fuzz targets' entries on their seeds, under plain `cargo test` (`fuzz/README.md`).
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, its helpers too"
)]

#[path = "../../../fuzz/entries/rhai.rs"]
mod rhai;
#[path = "../../../fuzz/entries/smoke.rs"]
mod smoke;

#[test]
fn sources() {
    smoke::smoke("rhai", rhai::run);
}
