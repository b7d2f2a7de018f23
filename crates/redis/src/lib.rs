//! The only user of redis.
