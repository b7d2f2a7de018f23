//! Why a store could not do what it was asked.

use thiserror::Error;

/// Why a call failed. None of these may close a socket: the caller goes on without the store.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StoreError {
    /// The store cannot be reached, or did not answer in time (a write may or may not have happened).
    /// Transient.
    #[error("the store is not available")]
    Unavailable,
    /// The store answered that it will not do it now: out of memory, read-only, no permission, loading.
    /// Transient for the caller; an operator may have to look.
    #[error("the store refused the call: {0}")]
    Refused(String),
    /// What stands in the store can't be read. It has been counted and removed; it is as good as lost.
    #[error("the stored {what} can't be read: {why}")]
    Corrupt {
        /// What it was.
        what: &'static str,
        /// What is wrong with it; never the value itself.
        why: String,
    },
    /// What was to be stored is larger than the store takes. The caller's fault.
    #[error("the {what} has {bytes} bytes, more than {max}")]
    TooLarge {
        /// What it was.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
}

impl StoreError {
    /// Refuses what is larger than `max` bytes.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`].
    pub fn check_size(what: &'static str, bytes: usize, max: usize) -> Result<(), Self> {
        if bytes <= max { Ok(()) } else { Err(Self::TooLarge { what, bytes, max }) }
    }
}
