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

/// To the start of the line, and what stands there cleared.
const CLEAR: &str = "\r\x1b[K";
/// What does not fit into the line is left out instead of breaking it: what is broken cannot be drawn over
/// (DECAWM, off and on again).
const CUT: (&str, &str) = ("\x1b[?7l", "\x1b[?7h");

/// One line on standard error: drawn over on a terminal, told now and then elsewhere.
pub(crate) struct ProgressLine {
    command: &'static str,
    /// How often it is told where it cannot be drawn over.
    tell_every: Duration,
    shown: Instant,
    draws: bool,
    is_open: bool,
    is_closed: bool,
}

impl ProgressLine {
    pub(crate) fn new(command: &'static str, tell_every: Duration) -> Self {
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let draws = std::io::stderr().is_terminal() && !is_dumb;
        let shown = Instant::now();
        Self { command, tell_every, shown, draws, is_open: false, is_closed: false }
    }

    /// Whether it is drawn, not told.
    pub(crate) const fn draws(&self) -> bool {
        self.draws
    }

    /// Whether it is time to show it again.
    pub(crate) fn is_due(&self) -> bool {
        let every = if self.draws { DRAW_EVERY } else { self.tell_every };
        !self.is_closed && self.shown.elapsed() >= every
    }

    pub(crate) fn show(&mut self, text: &str) {
        self.shown = Instant::now();
        if self.draws {
            let (off, on) = CUT;
            // Back at its start, so that what the terminal itself writes (^C) breaks no line either.
            eprint!("{CLEAR}{off}{text}{on}\r");
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

    /// Clears the line that is drawn, if one is. It is due no more.
    pub(crate) fn close(&mut self) {
        self.is_closed = true;
        if std::mem::take(&mut self.is_open) {
            eprint!("{CLEAR}");
        }
    }
}
