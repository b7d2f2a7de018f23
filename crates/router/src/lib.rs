//! Routing and fan-out without I/O.
