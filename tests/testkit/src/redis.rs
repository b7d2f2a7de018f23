//! Redis, started from the system package.
