//! The token fuzz target's entry on its seeds, under plain `cargo test` (`fuzz/README.md`).
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, its helpers too"
)]

#[path = "../../../fuzz/entries/smoke.rs"]
mod smoke;
#[path = "../../../fuzz/entries/token.rs"]
mod token;

#[test]
fn the_entry_holds_on_its_seeds() {
    smoke::smoke("token", token::run);
}
