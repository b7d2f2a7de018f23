//! The byte streams under HTTP, and how they leave it.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::server::TlsStream;

use crate::UpgradedStream;

/// How long and how much is still read from a client after the answer, so that closing does not reset the
/// connection under an answer that the client has not read yet (RFC 9112, section 9.6).
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A stream that HTTP can be spoken on.
pub(crate) trait Transport: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// Takes the stream out of the runtime.
    fn hand_over(self) -> io::Result<UpgradedStream>;
}

impl Transport for TcpStream {
    fn hand_over(self) -> io::Result<UpgradedStream> {
        self.into_std().map(UpgradedStream::Plain)
    }
}

impl Transport for TlsStream<TcpStream> {
    fn hand_over(self) -> io::Result<UpgradedStream> {
        let (stream, session) = self.into_inner();
        Ok(UpgradedStream::Tls(stream.into_std()?, Box::new(session)))
    }
}

/// A stream whose writes fail once they have been blocked for the stall time: hyper itself would wait for
/// a client that never reads for as long as TCP does.
pub(crate) struct Guarded<S> {
    inner: S,
    stall_timeout: Duration,
    /// Runs while a write is blocked.
    blocked: Option<Pin<Box<Sleep>>>,
}

impl<S: Transport> Guarded<S> {
    pub(crate) const fn new(inner: S, stall_timeout: Duration) -> Self {
        Self { inner, stall_timeout, blocked: None }
    }

    /// Whether something that was to be written has not been.
    pub(crate) const fn is_blocked(&self) -> bool {
        self.blocked.is_some()
    }

    pub(crate) fn into_inner(self) -> S {
        self.inner
    }

    /// Ends the connection without resetting it under the last answer.
    pub(crate) async fn close(mut self) {
        if self.shutdown().await.is_err() {
            return;
        }
        let drain = async {
            let mut scratch = vec![0; 16 * 1024];
            let mut left = LINGER_BYTES_MAX;
            while let Ok(read @ 1..) = self.inner.read(&mut scratch).await {
                left = left.saturating_sub(read);
                if left == 0 {
                    break;
                }
            }
        };
        // Whether it drained or ran out of time, the stream is dropped now.
        let _ = timeout(LINGER, drain).await;
    }

    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.blocked = None;
            return outcome;
        }
        let stall_timeout = self.stall_timeout;
        let blocked = self.blocked.get_or_insert_with(|| Box::pin(sleep(stall_timeout)));
        ready!(blocked.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: Transport> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<S: Transport> AsyncWrite for Guarded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.watch(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        self.watch(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.inner).poll_flush(cx);
        self.watch(cx, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.watch(cx, outcome)
    }
}
