//! Named tasks and shutdown.
