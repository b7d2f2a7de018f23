//! `tidewire watch`: changes in the terminal as they come.
//!
//! Messages go to standard output, everything else to standard error. It speaks `tidewire.v1`, reconnects
//! by itself and goes on from its last cursor, so nothing is missed while it is away. With `--session` it
//! is a client of the documented mode, whose position the server keeps: then it goes on where it ended,
//! too.

mod line;
mod policy;
mod recent;
mod socket;
mod url;

use std::io::{self, IsTerminal as _, Write as _};
use std::pin::pin;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rand::RngExt as _;
use serde_json::json;
use tidewire_runtime::{Exit, wait_for_signal};
use tidewire_wire::error::{CloseCode, status_page};

use crate::http::{Bearer, BearerArgs};
use crate::terminal::plain;
use line::{Event, Frame, Style, read_frame};
use policy::{Advice, Backoff, advice, advice_of_status};
use recent::Recent;
use socket::{Came, OpenError, Socket};
use url::Target;

/// How long the server has to answer a close.
const CLOSE_MAX: Duration = Duration::from_secs(1);

/// What to watch, and how to show it.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The type of the objects, such as Voyage; `*` is every type.
    object_type: String,
    /// Which events: C, U, D, a comma list, or `*`.
    events: String,
    /// The key of an object, a comma list of keys, or `*`.
    key: String,
    /// The field list, as JSON: which fields the messages show.
    #[arg(long, value_name = "JSON")]
    fields: Option<String>,
    /// The gateway.
    #[arg(long, default_value = "ws://127.0.0.1:8080")]
    url: String,
    #[command(flatten)]
    bearer: BearerArgs,
    /// A name under which the server keeps field list and position, also when this command ends.
    #[arg(long, value_name = "NAME")]
    session: Option<String>,
    /// Leave out changes of objects below the watched ones.
    #[arg(long)]
    only_main_object: bool,
    /// Print each message as it came, one a line.
    #[arg(long)]
    json: bool,
    /// End after so many messages.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

/// Why watching ended.
enum Ended {
    /// As many messages as were asked for, or nobody reads them any more.
    Enough,
    /// The server said what trying again does not change.
    Refused(String),
}

pub(crate) fn run(args: Args) -> ExitCode {
    let target = match Target::new(&args) {
        Ok(target) => target,
        Err(problem) => {
            note(&problem);
            return Exit::Usage.into();
        }
    };
    match watch(&args, target) {
        Ok(Ended::Enough) => Exit::Clean.into(),
        Ok(Ended::Refused(reason)) => {
            note(&reason);
            Exit::StartFailed.into()
        }
        Err(e) => {
            note(&format!("{e:#}"));
            Exit::StartFailed.into()
        }
    }
}

fn note(text: &str) {
    eprintln!("tidewire watch: {text}");
}

fn watch(args: &Args, target: Target) -> anyhow::Result<Ended> {
    let bearer = Bearer::new(&args.bearer, &[])?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut watcher = Watcher {
        printer: Printer {
            style: Style::for_terminal(io::stdout().is_terminal()),
            json: args.json,
            left: args.count.unwrap_or(u64::MAX),
        },
        recent: Recent::default(),
        target,
        bearer,
        cursor: None,
        hint: None,
        last_error: None,
    };
    runtime.block_on(async {
        let signal = pin!(wait_for_signal());
        tokio::select! {
            ended = watcher.go() => ended,
            signal = signal => signal.map(|_| Ended::Enough).map_err(Into::into),
        }
    })
}

struct Printer {
    style: Style,
    json: bool,
    left: u64,
}

impl Printer {
    /// Prints one message; false when that was the last one wanted.
    fn print(&mut self, raw: &str, event: Option<&Event>) -> io::Result<bool> {
        let mut out = io::stdout().lock();
        let written = match event {
            Some(event) if !self.json => writeln!(out, "{}", self.style.line(event)),
            _ => writeln!(out, "{raw}"),
        };
        match written.and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(false),
            other => other?,
        }
        self.left = self.left.saturating_sub(1);
        Ok(self.left > 0)
    }
}

struct Watcher {
    printer: Printer,
    recent: Recent,
    target: Target,
    bearer: Bearer,
    /// Where to go on after a reconnect.
    cursor: Option<String>,
    /// When the server said to come back.
    hint: Option<Duration>,
    /// The last error frame: with a refused handshake it says more than the close code.
    last_error: Option<String>,
}

/// What a socket's life came to.
enum Life {
    Ended(Ended),
    Closed(Advice, String),
}

impl Watcher {
    async fn go(&mut self) -> anyhow::Result<Ended> {
        let mut backoff = Backoff::default();
        loop {
            let started = Instant::now();
            let life = match self.open().await? {
                Ok(socket) => {
                    note(&format!("connected to {}", self.target.shown()));
                    self.live(socket).await?
                }
                Err(error) => {
                    let advice = match &error {
                        OpenError::Status { status, retry_after, .. } => {
                            advice_of_status(*status, *retry_after)
                        }
                        OpenError::Failed(_) => Advice::Backoff,
                    };
                    Life::Closed(advice, error.to_string())
                }
            };
            let (advice, reason) = match life {
                Life::Ended(ended) => return Ok(ended),
                Life::Closed(advice, reason) => (advice, reason),
            };
            if advice == Advice::Renew {
                self.bearer.forget();
            }
            if advice == Advice::Stop && self.cursor.take().is_some() {
                // It may be the cursor that is refused.
                note(&format!("{reason}; begins anew: changes may have been missed"));
                continue;
            }
            if advice == Advice::Stop || (advice == Advice::Renew && !self.bearer.renews()) {
                return Ok(Ended::Refused(reason));
            }
            let random = rand::rng().random_range(0.0..1.0);
            let advice = match self.hint.take() {
                Some(hint) if matches!(advice, Advice::After(_)) => Advice::After(hint),
                _ => advice,
            };
            let pause = backoff.pause(advice, started.elapsed(), random);
            note(&format!("{reason}; connects again in {:.1} s", pause.as_secs_f64()));
            tokio::time::sleep(pause).await;
        }
    }

    /// Opens a socket; the outer error is one that trying again does not change.
    async fn open(&mut self) -> anyhow::Result<Result<Socket, OpenError>> {
        let token = self.bearer.token()?;
        self.last_error = None;
        Ok(Socket::open(&self.target, self.cursor.as_deref(), &token).await)
    }

    /// Reads a socket until it closes, and shows a new token before a minted one is over.
    async fn live(&mut self, mut socket: Socket) -> anyhow::Result<Life> {
        let mut renew_at = self.renew_at();
        loop {
            let renewal = async {
                match renew_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let came = tokio::select! {
                came = socket.next() => came,
                () = renewal => {
                    // Should it be refused, the server ends the socket in its time: then all begins anew.
                    let token = self.bearer.token()?;
                    let message = json!({"type": "token", "token": token.expose()});
                    socket.send(message.to_string()).await;
                    renew_at = self.renew_at();
                    continue;
                }
            };
            match came {
                Came::Text(text) => {
                    if !self.take(&text)? {
                        socket.close(CLOSE_MAX).await;
                        return Ok(Life::Ended(Ended::Enough));
                    }
                }
                Came::Closed(code, reason) => return Ok(self.closed(code, &reason)),
                Came::Lost(why) => return Ok(Life::Closed(Advice::Backoff, why)),
            }
        }
    }

    /// When to show a new token; with a session the socket ends with its token, and is resumed.
    fn renew_at(&self) -> Option<tokio::time::Instant> {
        if self.target.protocol() == "vms" {
            return None;
        }
        Some(tokio::time::Instant::now() + self.bearer.renew_in()?)
    }

    /// Shows one frame; false when enough was shown.
    fn take(&mut self, text: &str) -> io::Result<bool> {
        match read_frame(text) {
            Frame::Event(event) => {
                if !self.recent.is_new(&event) {
                    return Ok(true);
                }
                self.printer.print(text, Some(&event))
            }
            Frame::Notice { status, message } => {
                let page = status_page(status);
                note(&format!("{status} {message} ({page})"));
                self.last_error = Some(message);
                Ok(true)
            }
            Frame::Cursor(cursor) => {
                self.cursor = Some(cursor);
                Ok(true)
            }
            Frame::Live { cursor, replayed } => {
                self.cursor = Some(cursor);
                if replayed > 0 {
                    note(&format!("caught up: {replayed} messages since the last cursor"));
                }
                Ok(true)
            }
            Frame::Gap(reason) => {
                note(&format!("changes may be missing ({reason}): fetch what you show anew"));
                // A topic that was made anew counts its ids from 0.
                self.recent = Recent::default();
                Ok(true)
            }
            Frame::GoAway(retry_ms) => {
                self.hint = Some(Duration::from_millis(retry_ms));
                Ok(true)
            }
            Frame::Quiet => Ok(true),
            Frame::Other => self.printer.print(text, None),
        }
    }

    fn closed(&mut self, code: Option<u16>, reason: &str) -> Life {
        let advice = advice(code, reason);
        let Some(code) = code else {
            return Life::Closed(advice, "the connection closed without a code".to_owned());
        };
        let known = CloseCode::ALL.iter().find(|known| known.number() == code);
        let page = known.map(|known| format!(" ({})", known.docs_path())).unwrap_or_default();
        let detail = self.last_error.take().filter(|_| advice == Advice::Stop);
        let detail = detail.map(|message| format!(": {message}")).unwrap_or_default();
        Life::Closed(advice, format!("closed with {code} {}{detail}{page}", plain(reason)))
    }
}
