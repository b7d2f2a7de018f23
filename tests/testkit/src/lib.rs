//! What black-box tests are made of: the real parts (Apache Kafka and Redis, on loopback, each with its own
//! folder and port, stopped with its handle), the built services as processes, and foreign clients. Where a
//! part can't be had, the test says so loudly and skips.

pub mod http;
pub mod kafka;
pub mod link;
pub mod ports;
pub mod redis;
pub mod service;
pub mod tools;
pub mod watched;
