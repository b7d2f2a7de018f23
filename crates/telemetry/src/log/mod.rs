//! Log lines: JSON for machines, text for a terminal.
//!
//! One line per event: `time`, `level`, `target`, `message`, then the event's fields, then those of the
//! spans around it. Fixed field names are `tenant`, `connection_id`, `subscription_id`, `topic`,
//! `partition`, `offset`, `task`, `error`. Lines go to standard error: standard output belongs to the
//! answers of commands.
//!
//! Values are capped and control characters are escaped, so that nothing a client sends can forge a line,
//! grow the log or steer a terminal. As a second fence (the first is never to log them) fields named like a
//! secret and text that looks like a JWT are replaced.

mod fields;
mod line;
mod text;

use std::str::FromStr;

use thiserror::Error;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt as _;

use line::Line;

/// Most bytes of one value in a line (before escaping); the rest is cut and shown as `…`.
pub const VALUE_BYTES_MAX: usize = 1024;
/// Most bytes of all fields in a line; further fields are left out and `"truncated":true` says so.
pub const FIELDS_BYTES_MAX: usize = 16 * 1024;

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// Plain words, for a terminal.
    Text,
}

impl FromStr for LogFormat {
    type Err = LogError;

    fn from_str(text: &str) -> Result<Self, LogError> {
        match text {
            "json" => Ok(Self::Json),
            "text" => Ok(Self::Text),
            _ => Err(LogError::Format(text.to_owned())),
        }
    }
}

/// Why logging cannot start.
#[derive(Debug, Error)]
pub enum LogError {
    /// Neither of the two formats.
    #[error("log format {0:?} is neither 'json' nor 'text'")]
    Format(String),
    /// The filter is neither a level nor a list of `target=level`.
    #[error(
        "log level {0:?} is not a level (error, warn, info, debug, trace, off) or a list of target=level"
    )]
    Filter(String),
    /// Logging was started before in this process.
    #[error("logging has been started before")]
    Started,
}

/// Starts logging to standard error for the whole process, panics included. `filter` is a level (`info`)
/// or a list like `info,tidewire_router=debug`.
///
/// # Errors
/// A bad filter, or a second call.
pub fn init(format: LogFormat, filter: &str) -> Result<(), LogError> {
    subscriber(format, filter, std::io::stderr)?.try_init().map_err(|_| LogError::Started)?;
    std::panic::set_hook(Box::new(|info| {
        let location = info.location().map_or_else(|| "unknown".to_owned(), ToString::to_string);
        let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
        let reason = info.payload_as_str().unwrap_or("no message");
        tracing::error!(location, thread, reason, "panic");
    }));
    Ok(())
}

fn subscriber<W>(format: LogFormat, filter: &str, writer: W) -> Result<tracing::Dispatch, LogError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let refused = |_| LogError::Filter(filter.to_owned());
    if filter.trim().is_empty() {
        return Err(LogError::Filter(filter.to_owned()));
    }
    let filter = EnvFilter::builder().parse(filter).map_err(refused)?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .fmt_fields(Line(format))
        .event_format(Line(format))
        .with_writer(writer)
        .finish();
    Ok(tracing::Dispatch::new(lines))
}

#[cfg(test)]
mod tests;
