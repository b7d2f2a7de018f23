//! A request body: read whole up to a bound, or line by line at any length.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _};
use thiserror::Error;
use tokio::time::{Instant, timeout, timeout_at};

type Chunks = Pin<Box<dyn Stream<Item = Option<Bytes>> + Send>>;

/// The body of one request. Nothing is read from the network before it is asked for: a handler that reads
/// slowly slows the client down.
pub struct ApiBody {
    /// `None` stands for a body that broke off.
    chunks: Chunks,
    stall_timeout: Duration,
    bytes_max: usize,
    /// Read and not yet given out; holds at most one line and one chunk.
    buffer: BytesMut,
    ended: bool,
}

/// Why a body cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BodyError {
    /// Longer than the bound: 413.
    #[error("the body is longer than {bytes_max} bytes")]
    TooLong {
        /// The bound.
        bytes_max: usize,
    },
    /// It stopped coming: 408.
    #[error("the body did not arrive in time")]
    Stalled,
    /// It broke off, or its chunks are malformed: 400, if anybody still listens.
    #[error("the body broke off")]
    Broken,
}

/// One line of a body, without its line feed (and a carriage return before that).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// The line.
    Whole(Bytes),
    /// A line over the bound; it has been skipped and the next one can be read.
    TooLong,
}

impl ApiBody {
    pub(crate) fn new<S, B, E>(stream: S, bytes_max: usize, stall_timeout: Duration) -> Self
    where
        S: Stream<Item = Result<B, E>> + Send + 'static,
        B: Buf,
    {
        let chunks =
            stream.map(|chunk| chunk.ok().map(|mut chunk| chunk.copy_to_bytes(chunk.remaining())));
        Self {
            chunks: Box::pin(chunks),
            stall_timeout,
            bytes_max,
            buffer: BytesMut::new(),
            ended: false,
        }
    }

    /// A body that is there already: for calling handlers in tests and from inside the process.
    #[must_use]
    pub fn whole(body: impl Into<Bytes>) -> Self {
        let body: Bytes = body.into();
        let chunk = futures_util::stream::iter([Ok::<_, std::convert::Infallible>(body)]);
        Self::new(chunk, usize::MAX, Duration::MAX)
    }

    /// The whole body, of at most `bytes_max` bytes and never more than `body_bytes_max` of the options. All
    /// of it must arrive within the stall time.
    ///
    /// # Errors
    /// Too long, too late, broken off.
    pub async fn collect(mut self, bytes_max: usize) -> Result<Bytes, BodyError> {
        let bytes_max = bytes_max.min(self.bytes_max);
        let deadline = Instant::now().checked_add(self.stall_timeout);
        loop {
            if self.buffer.len() > bytes_max {
                return Err(BodyError::TooLong { bytes_max });
            }
            let more = match deadline {
                Some(deadline) => {
                    timeout_at(deadline, self.fill()).await.map_err(|_| BodyError::Stalled)??
                }
                None => self.fill().await?,
            };
            if !more {
                return Ok(self.buffer.freeze());
            }
        }
    }

    /// The next line of at most `line_bytes_max` bytes; `None` at the end. A last line needs no line feed.
    /// Each piece of it must arrive within the stall time. Dropping the future loses nothing.
    ///
    /// # Errors
    /// Too late, broken off; after that there are no more lines.
    pub async fn line(&mut self, line_bytes_max: usize) -> Result<Option<Line>, BodyError> {
        let mut searched = 0;
        loop {
            let unseen = self.buffer.get(searched..).unwrap_or_default();
            if let Some(found) = unseen.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(searched + found);
                self.buffer.advance(1);
                return Ok(Some(finish(line, line_bytes_max)));
            }
            searched = self.buffer.len();
            // One more than the bound for a carriage return.
            if searched > line_bytes_max.saturating_add(1) {
                self.skip_line().await?;
                return Ok(Some(Line::TooLong));
            }
            if !self.fill_in_time().await? {
                if self.buffer.is_empty() {
                    return Ok(None);
                }
                let line = self.buffer.split();
                return Ok(Some(finish(line, line_bytes_max)));
            }
        }
    }

    async fn skip_line(&mut self) -> Result<(), BodyError> {
        loop {
            if let Some(found) = self.buffer.iter().position(|byte| *byte == b'\n') {
                self.buffer.advance(found + 1);
                return Ok(());
            }
            self.buffer.clear();
            if !self.fill_in_time().await? {
                return Ok(());
            }
        }
    }

    async fn fill_in_time(&mut self) -> Result<bool, BodyError> {
        timeout(self.stall_timeout, self.fill()).await.map_err(|_| BodyError::Stalled)?
    }

    /// Reads one more chunk. False at the end.
    async fn fill(&mut self) -> Result<bool, BodyError> {
        if self.ended {
            return Ok(false);
        }
        match self.chunks.next().await {
            Some(Some(chunk)) => {
                self.buffer.extend_from_slice(&chunk);
                Ok(true)
            }
            Some(None) => Err(BodyError::Broken),
            None => {
                self.ended = true;
                Ok(false)
            }
        }
    }
}

fn finish(mut line: BytesMut, line_bytes_max: usize) -> Line {
    if line.ends_with(b"\r") {
        line.truncate(line.len() - 1);
    }
    if line.len() > line_bytes_max { Line::TooLong } else { Line::Whole(line.freeze()) }
}

impl fmt::Debug for ApiBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiBody").field("bytes_max", &self.bytes_max).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn body(chunks: &[&'static str], end: Option<io::Error>) -> ApiBody {
        let mut items: Vec<io::Result<Bytes>> =
            chunks.iter().map(|chunk| Ok(Bytes::from_static(chunk.as_bytes()))).collect();
        items.extend(end.map(Err));
        ApiBody::new(futures_util::stream::iter(items), 10, LONG)
    }

    #[tokio::test]
    async fn lines() {
        for (chunks, expected) in [
            (&[][..], &[][..]),
            (&[""], &[]),
            (&["a"], &["a"]),
            (&["a\n"], &["a"]),
            (&["a\nb"], &["a", "b"]),
            (&["a\r\nb\r\n"], &["a", "b"]),
            (&["a", "b", "\n", "c"], &["ab", "c"]),
            (&["\n\na"], &["", "", "a"]),
            (&["12345\n", "1\n"], &["12345", "1"]),
            (&["12345\r", "\n1"], &["12345", "1"]),
            (&["123456\n1"], &["<too long>", "1"]),
            (&["1234567", "89", "0\n1"], &["<too long>", "1"]),
            (&["123456"], &["<too long>"]),
            (&["1234567890", "1234567890"], &["<too long>"]),
            (&["123456", "7\n\n"], &["<too long>", ""]),
        ] {
            let mut body = body(chunks, None);
            let mut got = Vec::new();
            while let Some(line) = body.line(5).await.unwrap() {
                got.push(match line {
                    Line::Whole(line) => String::from_utf8(line.to_vec()).unwrap(),
                    Line::TooLong => "<too long>".to_owned(),
                });
            }
            assert_eq!(got, expected, "{chunks:?}");
        }
    }

    #[tokio::test]
    async fn whole_bodies() {
        for (chunks, bytes_max, expected) in [
            (&[][..], 5, Ok("")),
            (&["abc", "de"], 5, Ok("abcde")),
            (&["abc", "def"], 5, Err(BodyError::TooLong { bytes_max: 5 })),
            (&["0123456789"], 99, Ok("0123456789")),
            (&["0123456789", "0"], 99, Err(BodyError::TooLong { bytes_max: 10 })),
        ] {
            let got = body(chunks, None).collect(bytes_max).await;
            assert_eq!(got, expected.map(Bytes::from), "{chunks:?}");
        }
        let broken = || Some(io::Error::other("reset"));
        assert_eq!(body(&["abc"], broken()).collect(5).await, Err(BodyError::Broken));
        let mut lines = body(&["abc\nd"], broken());
        assert_eq!(lines.line(5).await, Ok(Some(Line::Whole(Bytes::from("abc")))));
        assert_eq!(lines.line(5).await, Err(BodyError::Broken));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stops_coming() {
        let pending = || {
            let start = futures_util::stream::iter([io::Result::Ok(Bytes::from("a\nb"))]);
            ApiBody::new(start.chain(futures_util::stream::pending()), 10, LONG)
        };
        assert_eq!(pending().collect(5).await, Err(BodyError::Stalled));
        let mut lines = pending();
        assert_eq!(lines.line(5).await, Ok(Some(Line::Whole(Bytes::from("a")))));
        assert_eq!(lines.line(5).await, Err(BodyError::Stalled));
    }
}
