//! Field lists.
