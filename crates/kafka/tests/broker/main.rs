//! The adapter against real Apache Kafka and against the embedded broker. Nothing sleeps to wait: a
//! reader is waited for by its own wake-ups, everything else by looking until a deadline.

mod faults;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod history;
#[cfg(test)]
mod murmur2;
mod reader;
#[cfg(test)]
mod shop;
mod stage;
mod stage_faults;
mod topics;
mod writer;
