//! The store port and its in-memory form.
