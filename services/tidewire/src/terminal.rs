//! What commands say on a terminal: texts of others, and how far they have come.

use std::borrow::Cow;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

/// How often it is drawn.
const DRAW_EVERY: Duration = Duration::from_millis(250);

/// Text that cannot command a terminal.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    if text.contains(char::is_control) {
        Cow::Owned(text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect())
    } else {
        Cow::Borrowed(text)
    }
}

/// One line on standard error: drawn over on a terminal, told now and then elsewhere.
pub(crate) struct ProgressLine {
    command: &'static str,
    /// How often it is told where it cannot be drawn over.
    tell_every: Duration,
    shown: Instant,
    draws: bool,
    is_open: bool,
}

impl ProgressLine {
    pub(crate) fn new(command: &'static str, tell_every: Duration) -> Self {
        let draws = std::io::stderr().is_terminal();
        Self { command, tell_every, shown: Instant::now(), draws, is_open: false }
    }

    /// Whether it is drawn, not told.
    pub(crate) const fn draws(&self) -> bool {
        self.draws
    }

    /// Whether it is time to show it again.
    pub(crate) fn is_due(&self) -> bool {
        self.shown.elapsed() >= if self.draws { DRAW_EVERY } else { self.tell_every }
    }

    pub(crate) fn show(&mut self, text: &str) {
        self.shown = Instant::now();
        if self.draws {
            // Over the line before: to its start, and what is left of it cleared.
            eprint!("\r\x1b[K{text}");
            self.is_open = true;
        } else {
            eprintln!("tidewire {}: {text}", self.command);
        }
    }

    /// Says something that stays, on a line of its own.
    pub(crate) fn say(&mut self, text: &str) {
        self.end();
        eprintln!("tidewire {}: {text}", self.command);
    }

    /// Ends the line that is drawn, if one is.
    pub(crate) fn end(&mut self) {
        if std::mem::take(&mut self.is_open) {
            eprintln!();
        }
    }
}
