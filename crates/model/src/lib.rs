//! The data model file.
