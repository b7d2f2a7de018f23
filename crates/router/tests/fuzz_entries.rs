//! The fuzz targets' entries on their seeds, under plain `cargo test` (`fuzz/README.md`).
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, its helpers too"
)]

#[path = "../../../fuzz/entries/cursor.rs"]
mod cursor;
#[path = "../../../fuzz/entries/fields.rs"]
mod fields;
#[path = "../../../fuzz/entries/frame.rs"]
mod frame;
#[path = "../../../fuzz/entries/image.rs"]
mod image;
#[path = "../../../fuzz/entries/path.rs"]
mod path;
#[path = "../../../fuzz/entries/record.rs"]
mod record;
#[path = "../../../fuzz/entries/smoke.rs"]
mod smoke;
#[path = "../../../fuzz/entries/v1.rs"]
mod v1;

#[test]
fn every_entry_holds_on_its_seeds() {
    smoke::smoke("cursor", cursor::run);
    smoke::smoke("fields", fields::run);
    smoke::smoke("frame", frame::run);
    smoke::smoke("image", image::run);
    smoke::smoke("path", path::run);
    smoke::smoke("record", record::run);
    smoke::smoke("v1", v1::run);
}
