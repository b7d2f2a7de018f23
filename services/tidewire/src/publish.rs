//! `tidewire publish`: changes from a file or standard input to a capture service.
//!
//! Each line gets an answer line on standard output, in the order of the file: `{"line":n,"id":"..."}` or
//! `{"line":n,"error":{"statusCode":s,"message":"..."}}`. What failed is told on standard error too.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;
use tidewire_runtime::Exit;

use crate::http::{Answer, Bearer, BearerArgs, Capture, Line, Outcome, Patience};

/// A request has no more lines; the service takes 10,000.
const BATCH_LINES_MAX: usize = 500;
/// A request is no larger, but for a single line that is; the service takes 16 MiB.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// A longer line is refused here: no service takes it.
const LINE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What to send, and where.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The file, one change as JSON a line; `-` is standard input.
    file: PathBuf,
    /// The capture service.
    #[arg(long, default_value = "http://127.0.0.1:8082")]
    url: String,
    #[command(flatten)]
    bearer: BearerArgs,
    /// Give up when nothing got through for so many seconds.
    #[arg(long, default_value_t = 60)]
    patience_s: u64,
}

pub(crate) fn run(args: Args) -> ExitCode {
    match publish(&args) {
        Ok(0) => Exit::Clean.into(),
        Ok(_) => Exit::StartFailed.into(),
        Err(e) => {
            eprintln!("tidewire publish: {e:#}");
            Exit::StartFailed.into()
        }
    }
}

/// How many lines failed.
fn publish(args: &Args) -> anyhow::Result<u64> {
    let bearer = Bearer::new(&args.bearer, &["producer"])?;
    let patience = Patience(Some(Duration::from_secs(args.patience_s)));
    let mut capture = Capture::new(&args.url, bearer, patience)?;
    let mut reader = Batches { reader: open(&args.file)?, number: 0, held: None };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut total = Total::default();
    while let Some(batch) = reader.next()? {
        let waits = |pause: Duration, reason: &str| {
            eprintln!("tidewire publish: waits {:.1} s: {reason}", pause.as_secs_f64());
        };
        let mut answers = runtime.block_on(capture.send(batch, waits))?;
        answers.sort_by_key(|answer| answer.number);
        total.print(&answers)?;
    }
    eprintln!("tidewire publish: {} written, {} failed", total.written, total.failed);
    Ok(total.failed)
}

fn open(path: &Path) -> anyhow::Result<Box<dyn BufRead>> {
    if path.as_os_str() == "-" {
        return Ok(Box::new(BufReader::new(io::stdin())));
    }
    let file = File::open(path);
    let file = file.map_err(|e| anyhow::anyhow!("cannot open {}: {e}", path.display()))?;
    Ok(Box::new(BufReader::new(file)))
}

#[derive(Default)]
struct Total {
    written: u64,
    failed: u64,
}

impl Total {
    fn print(&mut self, answers: &[Answer]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        for Answer { number, outcome } in answers {
            let line = match outcome {
                Outcome::Written(id) => {
                    self.written += 1;
                    json!({"line": number, "id": id})
                }
                Outcome::Failed { status, message } => {
                    self.failed += 1;
                    eprintln!("tidewire publish: line {number}: {status} {message}");
                    json!({"line": number, "error": {"statusCode": status, "message": message}})
                }
            };
            writeln!(out, "{line}")?;
        }
        out.flush()
    }
}

/// Cuts a stream of lines into requests. Blank lines are counted and left out.
struct Batches<R> {
    reader: R,
    number: u64,
    /// A line that did not fit into the last batch.
    held: Option<Line>,
}

impl<R: BufRead> Batches<R> {
    fn next(&mut self) -> anyhow::Result<Option<Vec<Line>>> {
        let mut batch: Vec<Line> = Vec::new();
        let mut bytes = 0;
        while batch.len() < BATCH_LINES_MAX {
            let line = match self.held.take() {
                Some(line) => Some(line),
                None => self.line()?,
            };
            let Some(line) = line else { break };
            if !batch.is_empty() && bytes + line.text.len() > BATCH_BYTES_MAX {
                self.held = Some(line);
                break;
            }
            bytes += line.text.len() + 1;
            batch.push(line);
        }
        Ok(Some(batch).filter(|batch| !batch.is_empty()))
    }

    fn line(&mut self) -> anyhow::Result<Option<Line>> {
        loop {
            let mut text = String::new();
            let number = self.number + 1;
            let mut limited = io::Read::take(&mut self.reader, LINE_BYTES_MAX + 1);
            let read = limited.read_line(&mut text);
            let read = read.map_err(|e| anyhow::anyhow!("line {number} cannot be read: {e}"))?;
            if read == 0 {
                return Ok(None);
            }
            anyhow::ensure!(
                read as u64 <= LINE_BYTES_MAX,
                "line {number} has more than {LINE_BYTES_MAX} bytes"
            );
            self.number = number;
            let trimmed = text.trim();
            if !trimmed.is_empty() {
                return Ok(Some(Line::new(number, trimmed.to_owned())));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batches(text: &str) -> Vec<Vec<u64>> {
        let mut batches = Batches { reader: text.as_bytes(), number: 0, held: None };
        let mut out = Vec::new();
        while let Some(batch) = batches.next().unwrap() {
            out.push(batch.iter().map(|line| line.number).collect());
        }
        out
    }

    #[test]
    fn lines_keep_their_numbers() {
        let check = |text: &str, expected: &[u64]| {
            assert_eq!(batches(text).concat(), expected, "{text:?}");
        };
        check("", &[]);
        check("\n\n", &[]);
        check("{}", &[1]);
        check("{}\r\n\n  \n{}\n", &[1, 4]);
    }

    #[test]
    fn requests_are_bounded() {
        let small = "{}\n".repeat(BATCH_LINES_MAX + 1);
        assert_eq!(batches(&small).iter().map(Vec::len).collect::<Vec<_>>(), [BATCH_LINES_MAX, 1]);
        let big = format!("\"{}\"\n", "x".repeat(BATCH_BYTES_MAX / 2 - 1)).repeat(3);
        assert_eq!(batches(&big), [[1], [2], [3]]);
        let tight = format!("\"{}\"\n", "x".repeat(BATCH_BYTES_MAX / 2 - 4)).repeat(3);
        assert_eq!(batches(&tight), [vec![1, 2], vec![3]]);
    }

    #[test]
    fn bad_text_is_told_by_line() {
        let mut batches = Batches { reader: &b"{}\n\xff\n"[..], number: 0, held: None };
        let error = batches.next().unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
    }
}
