//! The fuzz targets' entries on their seeds, under plain `cargo test` (`fuzz/README.md`).
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, its helpers too"
)]

#[path = "../../../fuzz/entries/alert.rs"]
mod alert;
#[path = "../../../fuzz/entries/script.rs"]
mod script;
#[path = "../../../fuzz/entries/smoke.rs"]
mod smoke;

#[test]
fn scripts() {
    smoke::smoke("script", script::run);
}

#[test]
fn alerts() {
    smoke::smoke("alert", alert::run);
}
