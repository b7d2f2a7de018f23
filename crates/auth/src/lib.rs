//! Tokens and key sets.
