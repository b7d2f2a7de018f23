//! Topic id look-up.
