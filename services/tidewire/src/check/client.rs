//! One client over all its connections: it writes down what it is told before it acts on it, goes to
//! another gateway when it is cut off, and resumes.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tidewire_auth::SecretText;
use tidewire_checker::{CursorNumber, Mode, Start, Told, Transcript};
use tidewire_runtime::Shutdown;

use super::pace::{Gauge, Watch, stamp_of};
use super::socket::{Came, Refused, Socket};
use super::stream::EventStream;
use super::tokens::Tokens;
use super::wishes::Wish;

/// How long most tokens are good, in seconds.
const TOKEN_S: u32 = 3_600;
/// One connection in so many has a token that ends soon.
const SHORT_TOKEN_ONE_IN: u32 = 12;
const SHORT_TOKEN_S: std::ops::Range<u32> = 20..80;
/// One resume in so many goes further back than it needs to.
const OLDER_CURSOR_ONE_IN: u32 = 6;
/// So many cursors are kept.
const CURSORS_MAX: usize = 4;
/// Waits lie between nothing and this, which doubles with each failure in a row.
const BACKOFF: Duration = Duration::from_millis(150);
const BACKOFF_MAX: Duration = Duration::from_secs(3);
/// A connection that lived so long is no failure.
const STABLE: Duration = Duration::from_secs(2);
/// A hint is followed up to this.
const HINT_MAX: Duration = Duration::from_secs(10);

/// What all clients share.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) gateways: Vec<String>,
    pub(super) tokens: Tokens,
    pub(super) watch: Watch,
    pub(super) gauge: Arc<Gauge>,
    /// Tells this run's sessions from those of others.
    pub(super) run: String,
}

/// See the module.
pub(super) struct Client {
    number: usize,
    wish: Wish,
    common: Arc<Common>,
    random: StdRng,
    stop: Shutdown,
    transcript: Transcript,
    /// The last cursors of each subscription.
    cursors: Vec<Vec<(CursorNumber, String)>>,
    gateway: usize,
    failures: u32,
}

/// How a connection ended.
enum Ended {
    /// The run is over.
    Stopped,
    /// Come back: after so long, or as it sees fit.
    Back(Option<Duration>),
    /// The server will say the same again.
    Refused,
}

enum Link {
    Socket(Box<Socket>),
    Stream(Box<EventStream>),
}

impl Link {
    async fn next(&mut self) -> Came {
        match self {
            Self::Socket(socket) => socket.next().await,
            Self::Stream(stream) => stream.next().await,
        }
    }

    async fn send(&mut self, text: String) {
        if let Self::Socket(socket) = self {
            socket.send(text).await;
        }
    }

    async fn close(self) {
        if let Self::Socket(socket) = self {
            socket.close().await;
        }
    }
}

/// A connection while it lasts.
struct Life<'a> {
    common: &'a Common,
    /// Which subscriptions have been answered.
    answered: Vec<bool>,
    live: Option<super::pace::Live<'a>>,
    /// When the server said to come back.
    hint: Option<Duration>,
}

impl Client {
    pub(super) fn new(
        number: usize,
        wish: Wish,
        common: Arc<Common>,
        seed: u64,
        stop: Shutdown,
    ) -> Self {
        let subscriptions = wish.asks.iter().map(|ask| ask.subscription.clone()).collect();
        let name = format!("{number}-{}", wish.mode.name());
        Self {
            number,
            transcript: Transcript::new(&name, wish.mode, subscriptions),
            cursors: wish.asks.iter().map(|_| Vec::new()).collect(),
            wish,
            gateway: number % common.gateways.len().max(1),
            common,
            random: StdRng::seed_from_u64(seed ^ (number as u64) << 24),
            stop,
            failures: 0,
        }
    }

    /// Listens until the run is over; gives what it was told.
    pub(super) async fn run(mut self) -> Transcript {
        loop {
            let began = tokio::time::Instant::now();
            let ended = self.connect().await;
            if began.elapsed() >= STABLE {
                self.failures = 0;
            }
            let pause = match ended {
                Ended::Stopped => return self.transcript,
                Ended::Refused => {
                    // What it was owed from here on is owed still: the judge says that it was not back.
                    self.stop.cancelled().await;
                    return self.transcript;
                }
                Ended::Back(Some(hint)) if self.failures == 0 => hint.min(HINT_MAX),
                Ended::Back(hint) => {
                    let limit = BACKOFF.saturating_mul(1 << self.failures.min(8)).min(BACKOFF_MAX);
                    let jitter = limit.mul_f64(self.random.random_range(0.0..1.0));
                    jitter.max(hint.unwrap_or_default().min(HINT_MAX))
                }
            };
            self.failures = self.failures.saturating_add(1);
            self.other_gateway();
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.stop.cancelled() => return self.transcript,
            }
        }
    }

    fn other_gateway(&mut self) {
        let count = self.common.gateways.len();
        if count > 1 {
            let step = self.random.random_range(1..count);
            self.gateway = (self.gateway + step) % count;
        }
    }

    async fn connect(&mut self) -> Ended {
        let common = Arc::clone(&self.common);
        let Some(gateway) = common.gateways.get(self.gateway) else { return Ended::Refused };
        let seconds = if self.random.random_ratio(1, SHORT_TOKEN_ONE_IN) {
            self.random.random_range(SHORT_TOKEN_S)
        } else {
            TOKEN_S
        };
        // Counted from before the token is made: never later than its end.
        let expires = common.watch.now() + stamp_of(Duration::from_secs(u64::from(seconds)));
        let Ok(token) = common.tokens.listener(&self.wish.tenant, self.number as u64, seconds)
        else {
            return Ended::Refused;
        };
        let starts = self.starts();
        let opened = self.open(gateway, &token, &starts).await;
        let mut link = match opened {
            Ok(link) => link,
            Err(Refused::Status(400 | 401 | 403 | 404, _)) => return Ended::Refused,
            Err(Refused::Status(_, after)) => return Ended::Back(after),
            Err(Refused::Unreachable) => return Ended::Back(None),
        };
        let mut life = Life {
            common: &common,
            answered: vec![false; self.wish.asks.len()],
            live: None,
            hint: None,
        };
        let at = common.watch.now();
        let open = Opened { at, expires, starts };
        // An event stream that is refused looks like one that is open until its first word comes.
        if self.wish.mode == Mode::Sse {
            return self.listen_to_stream(link, life, open).await;
        }
        self.begin(&open);
        if self.wish.mode == Mode::V1 {
            for (ask, start) in self.wish.asks.iter().zip(&open.starts) {
                let cursor = start.1.as_deref();
                link.send(ask.subscribe(cursor)).await;
            }
        } else {
            life.live = Some(common.gauge.live());
        }
        self.listen(link, life).await
    }

    /// Where each subscription starts, and the cursor for it.
    fn starts(&mut self) -> Vec<(Start, Option<String>)> {
        let (random, mode) = (&mut self.random, self.wish.mode);
        let start = |own: &Vec<(CursorNumber, String)>| {
            let back = random.random_ratio(1, OLDER_CURSOR_ONE_IN);
            let chosen = if back { own.first() } else { own.last() };
            match chosen {
                _ if mode == Mode::Session => (Start::Session, None),
                Some((number, cursor)) if mode != Mode::Plain => {
                    (Start::Cursor(*number), Some(cursor.clone()))
                }
                _ => (Start::Now, None),
            }
        };
        self.cursors.iter().map(start).collect()
    }

    async fn open(
        &self,
        gateway: &str,
        token: &SecretText,
        starts: &[(Start, Option<String>)],
    ) -> Result<Link, Refused> {
        let session = format!("check-{}-{}", self.common.run, self.number);
        let session = (self.wish.mode == Mode::Session).then_some(session.as_str());
        let path = match (self.wish.mode, self.wish.asks.first()) {
            (Mode::V1, _) | (_, None) => "/ws/v1".to_owned(),
            (_, Some(ask)) => ask.path(session),
        };
        match self.wish.mode {
            Mode::Sse => {
                let cursor = starts.first().and_then(|(_, cursor)| cursor.as_deref());
                let stream = EventStream::open(gateway, &path, cursor, token).await?;
                Ok(Link::Stream(Box::new(stream)))
            }
            mode => {
                let protocol = if mode == Mode::V1 { "tidewire.v1" } else { "vms" };
                Ok(Link::Socket(Box::new(Socket::open(gateway, &path, protocol, token).await?)))
            }
        }
    }

    fn begin(&mut self, open: &Opened) {
        let replica = u16::try_from(self.gateway).unwrap_or(u16::MAX);
        self.transcript.connected(open.at, replica, Some(open.expires));
        for (sub, (start, _)) in open.starts.iter().enumerate() {
            self.transcript.starts(sub, *start);
        }
    }

    /// Waits for the first word of an event stream: a cursor, or when to come back.
    async fn listen_to_stream<'a>(
        &mut self,
        mut link: Link,
        mut life: Life<'a>,
        open: Opened,
    ) -> Ended {
        let first = tokio::select! {
            came = link.next() => came,
            () = self.stop.cancelled() => return Ended::Stopped,
        };
        match first {
            Came::Retry(after) => return Ended::Back(Some(after)),
            Came::Closed(..) => return Ended::Back(None),
            first @ (Came::Text(_) | Came::Id(_)) => {
                self.begin(&open);
                life.live = Some(life.common.gauge.live());
                if let Some(ended) = self.take(first, &mut link, &mut life).await {
                    return ended;
                }
            }
        }
        self.listen(link, life).await
    }

    async fn listen(&mut self, mut link: Link, mut life: Life<'_>) -> Ended {
        loop {
            let came = tokio::select! {
                came = link.next() => came,
                () = self.stop.cancelled() => {
                    self.transcript.left(life.common.watch.now());
                    link.close().await;
                    return Ended::Stopped;
                }
            };
            if let Some(ended) = self.take(came, &mut link, &mut life).await {
                return ended;
            }
        }
    }

    /// Writes down what came, and acts on it.
    async fn take(&mut self, came: Came, link: &mut Link, life: &mut Life<'_>) -> Option<Ended> {
        let at = life.common.watch.now();
        let told = match came {
            Came::Text(text) => {
                let told = self.transcript.text(at, &text);
                if told == Told::Other && self.wish.mode == Mode::V1 {
                    self.renew(&text, link, life).await;
                }
                told
            }
            Came::Id(cursor) => self.transcript.stream_cursor(&cursor),
            Came::Retry(after) => {
                life.hint = Some(after);
                return None;
            }
            Came::Closed(code, reason) => {
                self.transcript.closed(at, code);
                return Some(ended(code, &reason, life.hint));
            }
        };
        match told {
            Told::Event { .. } => life.common.gauge.came(at),
            Told::Subscribed { sub, cursor } => {
                let place = self.wish.asks.iter().position(|ask| ask.subscription.id == sub);
                if let Some(place) = place {
                    self.keep(place, cursor);
                    life.answer(place);
                }
            }
            Told::Cursor { subs, number, cursor } => {
                for place in 0..self.wish.asks.len() {
                    let id = self.wish.asks.get(place).map(|ask| ask.subscription.id.as_str());
                    if self.wish.mode == Mode::Sse
                        || subs.iter().any(|sub| Some(sub.as_str()) == id)
                    {
                        self.keep(place, Some((number, cursor.clone())));
                    }
                }
            }
            Told::GoAway { retry_ms } => life.hint = Some(Duration::from_millis(retry_ms)),
            Told::Refused { sub: Some(sub), status, .. } => {
                return self.refused(&sub, status, link, at).await;
            }
            Told::Notice { .. }
            | Told::Gap { .. }
            | Told::Refused { .. }
            | Told::Other
            | Told::Malformed(_) => {}
        }
        None
    }

    fn keep(&mut self, place: usize, cursor: Option<(CursorNumber, String)>) {
        if let (Some(own), Some(cursor)) = (self.cursors.get_mut(place), cursor) {
            own.push(cursor);
            if own.len() > CURSORS_MAX {
                own.remove(0);
            }
        }
    }

    /// A subscription was refused. A cursor that is not taken is forgotten, and it begins anew.
    async fn refused(&mut self, sub: &str, status: u16, link: &mut Link, at: u64) -> Option<Ended> {
        let place = self.wish.asks.iter().position(|ask| ask.subscription.id == sub)?;
        let own = self.cursors.get_mut(place)?;
        if status == 400 && !own.is_empty() {
            own.clear();
            self.transcript.starts(place, Start::Now);
            let again = self.wish.asks.get(place)?.subscribe(None);
            link.send(again).await;
            return None;
        }
        self.transcript.closed(at, None);
        Some(Ended::Back(None))
    }

    /// Shows a new token when the server asks for one.
    async fn renew(&mut self, text: &str, link: &mut Link, life: &Life<'_>) {
        let common = life.common;
        if text.starts_with(r#"{"type":"tokenExpiring""#)
            && let Ok(token) =
                common.tokens.listener(&self.wish.tenant, self.number as u64, TOKEN_S)
        {
            let message = serde_json::json!({"type": "token", "token": token.expose()});
            link.send(message.to_string()).await;
        } else if text.starts_with(r#"{"type":"tokenAccepted""#) {
            let ttl = stamp_of(Duration::from_secs(u64::from(TOKEN_S)));
            self.transcript.token(Some(common.watch.now() + ttl));
        }
    }
}

/// What is known of a connection once its handshake is answered.
struct Opened {
    at: u64,
    expires: u64,
    starts: Vec<(Start, Option<String>)>,
}

impl<'a> Life<'a> {
    /// A subscription is live; the socket is once all are.
    fn answer(&mut self, place: usize) {
        if let Some(answered) = self.answered.get_mut(place) {
            *answered = true;
        }
        if self.live.is_none() && self.answered.iter().all(|answered| *answered) {
            self.live = Some(self.common.gauge.live());
        }
    }
}

/// What the end of a connection asks for.
fn ended(code: Option<u16>, reason: &str, hint: Option<Duration>) -> Ended {
    let in_reason = || {
        let ms = reason.strip_prefix("retry in ")?.strip_suffix(" ms")?;
        ms.parse().ok().map(Duration::from_millis)
    };
    match code {
        // The link of the one that took it is dead: that was this very client.
        Some(4_010) => Ended::Back(None),
        Some(1_002 | 1_003 | 1_007 | 1_009 | 4_000..=4_099) => Ended::Refused,
        Some(1_012 | 4_200..=4_299) => {
            Ended::Back(hint.or_else(in_reason).or(Some(Duration::ZERO)))
        }
        _ => Ended::Back(hint),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends() {
        let check = |code: Option<u16>, reason: &str, hint: Option<u64>, expected: &str| {
            let found = match ended(code, reason, hint.map(Duration::from_millis)) {
                Ended::Stopped => "stopped".to_owned(),
                Ended::Refused => "refused".to_owned(),
                Ended::Back(after) => format!("{after:?}"),
            };
            assert_eq!(found, expected, "{code:?} {reason:?}");
        };
        check(None, "", None, "None");
        check(Some(4_101), "slow", None, "None");
        check(Some(1_012), "retry in 750 ms", None, "Some(750ms)");
        check(Some(4_200), "drain", Some(40), "Some(40ms)");
        check(Some(4_201), "token-expired", None, "Some(0ns)");
        check(Some(4_010), "session-taken", None, "None");
        check(Some(4_003), "forbidden", None, "refused");
        check(Some(1_002), "protocol-error", None, "refused");
    }
}
