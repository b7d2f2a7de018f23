//! The only user of warp.
