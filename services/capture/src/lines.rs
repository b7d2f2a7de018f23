//! Newline-delimited JSON, from a request's body or from a file, through a [`Pipeline`].

use std::future::Future;
use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tidewire_http::{ApiBody, Line};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::intake::Intake;
use crate::pipeline::{Answer, Pipeline};
use crate::{ChangeError, Failure};

/// How much is read from a file at once.
const READ_BYTES: usize = 64 * 1024;

/// Where lines come from. Dropping the future of [`Lines::next`] loses nothing.
pub trait Lines: Send {
    /// The next line of at most `bytes_max` bytes; `None` at the end.
    fn next(
        &mut self,
        bytes_max: usize,
    ) -> impl Future<Output = Result<Option<Line>, String>> + Send;
}

impl Lines for ApiBody {
    async fn next(&mut self, bytes_max: usize) -> Result<Option<Line>, String> {
        self.line(bytes_max).await.map_err(|error| error.to_string())
    }
}

/// The lines of a file or of standard input.
pub struct FileLines<R> {
    reader: R,
    buffer: BytesMut,
    /// In the middle of a line that is too long.
    skipping: bool,
}

impl<R: AsyncRead + Unpin + Send> FileLines<R> {
    /// Reads from `reader`.
    pub fn new(reader: R) -> Self {
        Self { reader, buffer: BytesMut::new(), skipping: false }
    }

    async fn fill(&mut self) -> Result<bool, String> {
        self.buffer.reserve(READ_BYTES);
        let read = self.reader.read_buf(&mut self.buffer).await;
        read.map(|count| count > 0).map_err(|error: io::Error| error.to_string())
    }
}

impl<R: AsyncRead + Unpin + Send> Lines for FileLines<R> {
    async fn next(&mut self, bytes_max: usize) -> Result<Option<Line>, String> {
        let mut searched = 0;
        loop {
            let unseen = self.buffer.get(searched..).unwrap_or_default();
            if let Some(found) = unseen.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(searched + found);
                self.buffer.advance(1);
                return Ok(Some(self.finish(line, bytes_max)));
            }
            // One more than the bound for a carriage return.
            if self.buffer.len() > bytes_max.saturating_add(1) {
                self.buffer.clear();
                self.skipping = true;
            }
            searched = self.buffer.len();
            if !self.fill().await? {
                if self.buffer.is_empty() && !self.skipping {
                    return Ok(None);
                }
                let line = self.buffer.split();
                return Ok(Some(self.finish(line, bytes_max)));
            }
        }
    }
}

impl<R> FileLines<R> {
    fn finish(&mut self, mut line: BytesMut, bytes_max: usize) -> Line {
        if line.ends_with(b"\r") {
            line.truncate(line.len() - 1);
        }
        let is_long = std::mem::take(&mut self.skipping) || line.len() > bytes_max;
        if is_long { Line::TooLong } else { Line::Whole(line.freeze()) }
    }
}

/// How much of a source is read.
#[derive(Clone, Copy, Debug)]
pub struct LinesMax {
    /// Lines.
    pub lines: u64,
    /// Bytes of all lines.
    pub bytes: u64,
}

impl LinesMax {
    /// All of it, however long.
    pub const NONE: Self = Self { lines: u64::MAX, bytes: u64::MAX };
}

/// Sends all lines, at most `max` of them, and hands each answer to `sink` as it comes. Blank lines
/// are counted and nothing else. `sink` answers whether to go on: after a "no" nothing more is read, and
/// what is held is finished. Returns how many lines were read.
pub async fn send_all(
    intake: &Intake,
    mut pipeline: Pipeline,
    lines: &mut impl Lines,
    max: LinesMax,
    mut sink: impl FnMut(Answer) -> bool + Send,
) -> u64 {
    let bytes_max = intake.change_bytes_max();
    let (mut line, mut bytes_read, mut ended) = (0_u64, 0_u64, false);
    while !ended || !pipeline.is_idle() {
        tokio::select! {
            // Answers first: they make room.
            biased;
            Some(answer) = pipeline.next(), if !pipeline.is_idle() => {
                ended |= !sink(answer);
            }
            read = lines.next(bytes_max), if !ended && !pipeline.is_full() => {
                line += 1;
                if let Ok(Some(Line::Whole(bytes))) = &read {
                    bytes_read += bytes.len() as u64;
                }
                match read {
                    Ok(None) => {
                        ended = true;
                        line -= 1;
                    }
                    Ok(Some(_)) if line > max.lines => {
                        ended = true;
                        refuse(intake, &mut pipeline, line, Failure::ManyLines(max.lines));
                    }
                    Ok(Some(_)) if bytes_read > max.bytes => {
                        ended = true;
                        refuse(intake, &mut pipeline, line, Failure::ManyBytes(max.bytes));
                    }
                    Ok(Some(Line::Whole(bytes))) if bytes.trim_ascii().is_empty() => {}
                    Ok(Some(Line::Whole(bytes))) => {
                        ended |= !push(intake, &mut pipeline, line, bytes, &mut sink).await;
                    }
                    Ok(Some(Line::TooLong)) => {
                        let error = ChangeError::TooLarge { bytes: bytes_max + 1, bytes_max };
                        refuse(intake, &mut pipeline, line, error.into());
                    }
                    Err(reason) => {
                        ended = true;
                        refuse(intake, &mut pipeline, line, Failure::BrokenOff(reason));
                    }
                }
            }
        }
    }
    line
}

fn refuse(intake: &Intake, pipeline: &mut Pipeline, line: u64, failure: Failure) {
    intake.count(&failure);
    pipeline.refuse(line, failure, None);
}

/// Pushes a line once there is room for it. The pipeline's own changes give room back only while they are
/// polled, so they are waited for first.
async fn push(
    intake: &Intake,
    pipeline: &mut Pipeline,
    line: u64,
    bytes: Bytes,
    sink: &mut (impl FnMut(Answer) -> bool + Send),
) -> bool {
    let mut go_on = true;
    let room = loop {
        if let Ok(room) = intake.try_room(bytes.len()) {
            break Ok(room);
        }
        match pipeline.next().await {
            Some(answer) => go_on &= sink(answer),
            None => break intake.room(bytes.len()).await,
        }
    };
    match room {
        Ok(room) => pipeline.push(line, bytes, room),
        Err(failure) => refuse(intake, pipeline, line, failure),
    }
    go_on
}
