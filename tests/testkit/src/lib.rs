//! Starts the real parts that tests run against: Apache Kafka and Redis, on loopback, each with its own
//! folder and port, stopped with its handle. Where a part can't be had, the test says so loudly and skips.

pub mod kafka;
pub mod redis;
