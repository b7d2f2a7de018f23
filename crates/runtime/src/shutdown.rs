//! One token that says "stop": set once, never taken back.

use std::sync::Arc;

use tokio::sync::watch;

/// Tells every part of a service to end. Clones share one state; a task awaits [`Shutdown::cancelled`], a
/// thread looks at [`Shutdown::is_cancelled`] each time something wakes it.
#[derive(Clone, Debug)]
pub struct Shutdown(Arc<watch::Sender<bool>>);

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

impl Shutdown {
    /// A token that has not been set.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Sets the token. Returns true for the call that set it, false where it was set before.
    pub fn cancel(&self) -> bool {
        self.0.send_if_modified(|cancelled| !std::mem::replace(cancelled, true))
    }

    /// Whether the token is set.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns once the token is set, at once where it is already.
    pub async fn cancelled(&self) {
        // An error would mean that the sender is gone; `self` holds it.
        let _ = self.0.subscribe().wait_for(|cancelled| *cancelled).await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn wakes_who_waits_and_who_comes_late() {
        let shutdown = Shutdown::new();
        let other = shutdown.clone();
        let waiting = shutdown.cancelled();
        tokio::pin!(waiting);
        assert!(waiting.as_mut().now_or_never().is_none());
        assert!(!shutdown.is_cancelled());

        assert!(other.cancel());
        assert!(!other.cancel(), "only the first call sets it");
        waiting.await;
        assert!(shutdown.is_cancelled());
        shutdown.cancelled().await;
    }
}
