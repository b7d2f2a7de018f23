//! Clients: what they keep, and how they read what comes.

use std::collections::VecDeque;
use std::sync::Arc;

use tidewire_event::{Cursor, CursorKey, Positions};
use tidewire_router::{ConnectionId, Framing, Snapshot, SubId};
use tidewire_store::SessionId;
use tidewire_wire::definition::TypeSelector;

use crate::judge::{Judge, Place, Verdict};
use crate::log::Log;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The documented mode without a session: what comes while it is away is not owed.
    Plain,
    /// The documented mode with a session: pongs prove what it has received.
    Session,
    /// `tidewire.v1` with several subscriptions, each with cursors.
    V1,
    /// Server-Sent Events with ids.
    Sse,
}

impl Kind {
    pub(crate) const fn framing(self) -> Framing {
        match self {
            Self::Plain | Self::Session => Framing::WebSocket,
            Self::V1 => Framing::V1,
            Self::Sse => Framing::EventStream,
        }
    }
}

/// A subscription as its client keeps it.
#[derive(Debug)]
pub(crate) struct Sub {
    pub(crate) name: Option<SubId>,
    pub(crate) judge: Judge,
    /// The last cursor that it received, and where the judge stood then.
    pub(crate) cursor: Option<Arc<Positions>>,
    pub(crate) mask: usize,
    pub(crate) wants_snapshot: bool,
    /// Whether it is told to a replica.
    pub(crate) is_told: bool,
    /// Whether it was said to have caught up.
    pub(crate) is_live: bool,
    /// Snapshots that it was fed on this connection.
    pub(crate) fed: Vec<Snapshot>,
}

/// The first frame of a session that goes on.
pub(crate) const RESUMED: &str = r#"{"status":200,"message":"session resumed"}"#;
/// The first frame of one that does not.
pub(crate) const STARTS: &str = r#"{"status":410,"message":"session starts now"}"#;

/// Where the connection of a session starts.
#[derive(Debug)]
pub(crate) enum SessionStart {
    /// Where it is registered.
    Now(Place),
    /// At a position from the store.
    At(Arc<Positions>),
}

/// A connection as its client has it.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) replica: usize,
    pub(crate) shard: usize,
    pub(crate) id: ConnectionId,
    pub(crate) link: usize,
    buffer: Vec<u8>,
    /// Of a session, until its first frame has come.
    pub(crate) start: Option<SessionStart>,
    /// Pings to be answered.
    pub(crate) pings: VecDeque<Vec<u8>>,
    /// It was sent a close frame.
    pub(crate) is_closing: bool,
    /// Its rights changed.
    pub(crate) is_judged_anew: bool,
}

#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) kind: Kind,
    pub(crate) subs: Vec<Sub>,
    pub(crate) session: SessionId,
    pub(crate) connection: Option<Connection>,
    pub(crate) connects_at: u64,
    pub(crate) stalled_until: u64,
    /// Bytes that it reads in a step at most.
    pub(crate) rate: usize,
    /// What it may see now; what its connection is judged by may lag behind.
    pub(crate) hidden: bool,
}

impl Connection {
    pub(crate) const fn new(replica: usize, shard: usize, id: ConnectionId, link: usize) -> Self {
        Self {
            replica,
            shard,
            id,
            link,
            buffer: Vec::new(),
            start: None,
            pings: VecDeque::new(),
            is_closing: false,
            is_judged_anew: false,
        }
    }

    /// The next whole frame: its kind (for WebSockets the first byte, for event streams 0) and payload.
    fn next_frame(&mut self, kind: Kind) -> Option<(u8, Vec<u8>)> {
        let bytes = &self.buffer;
        if kind == Kind::Sse {
            let at = bytes.windows(2).position(|w| w == b"\n\n")?;
            let block = bytes[..at].to_vec();
            self.buffer.drain(..at + 2);
            return Some((0, block));
        }
        let (head, length) = match *bytes.get(1)? {
            126 => (4, usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]))),
            127 => panic!("no frame is that long"),
            short => (2, usize::from(short)),
        };
        let payload = bytes.get(head..head + length)?.to_vec();
        let first = bytes[0];
        self.buffer.drain(..head + length);
        Some((first, payload))
    }
}

/// The text behind `"name":"`.
fn text<'a>(json: &'a str, name: &str) -> Option<&'a str> {
    let start = json.find(&format!("\"{name}\":\""))? + name.len() + 4;
    json[start..].split('"').next()
}

impl Client {
    /// What it waits for, in short.
    pub(crate) fn describe(&self) -> String {
        let connection = self.connection.as_ref().map(|c| (c.replica, c.shard, c.id, c.link));
        let subs: Vec<_> =
            self.subs.iter().map(|sub| (&sub.name, sub.is_told, sub.is_live)).collect();
        format!("{:?} {connection:?} {subs:?}", self.kind)
    }

    /// Takes what has come; each whole frame is told to `seen`.
    pub(crate) fn receive(
        &mut self,
        log: &Log,
        key: &CursorKey,
        bytes: impl Iterator<Item = u8>,
        mut seen: impl FnMut(&[u8]),
    ) -> Verdict {
        let Some(connection) = &mut self.connection else { return Ok(()) };
        connection.buffer.extend(bytes);
        while let Some(connection) = &mut self.connection
            && let Some((first, payload)) = connection.next_frame(self.kind)
        {
            seen(&payload);
            match first {
                0x88 => connection.is_closing = true,
                0x89 => connection.pings.push_back(payload),
                0 => self.block(log, key, std::str::from_utf8(&payload).unwrap())?,
                0x81 => {
                    let text = std::str::from_utf8(&payload).unwrap();
                    if self.kind == Kind::V1 {
                        self.message(log, key, text)?;
                    } else {
                        self.documented(log, text)?;
                    }
                }
                other => return Err(format!("a frame of kind {other}")),
            }
        }
        Ok(())
    }

    fn documented(&mut self, log: &Log, json: &str) -> Verdict {
        let start = self.connection.as_mut().and_then(|connection| connection.start.take());
        if let Some(start) = start {
            let judge = &mut self.subs[0].judge;
            return match (json, start) {
                (STARTS, SessionStart::Now(place)) => {
                    judge.start_session(log, place);
                    Ok(())
                }
                (STARTS, SessionStart::At(positions)) => {
                    judge.start_session_at(log, &positions);
                    Ok(())
                }
                (RESUMED, SessionStart::At(positions)) => judge.resume(log, &positions),
                (other, start) => Err(format!("the first frame is {other} at {start:?}")),
            };
        }
        if json.contains(r#""message":"gap""#) {
            self.subs[0].judge.gap(true);
            return Ok(());
        }
        self.subs[0].event(log, json)
    }

    fn block(&mut self, log: &Log, key: &CursorKey, block: &str) -> Verdict {
        if let Some(id) = block.strip_prefix("id: ") {
            return self.subs[0].take_cursor(log, key, id);
        }
        let data = block.rsplit("data: ").next().unwrap();
        self.documented(log, data)
    }

    fn message(&mut self, log: &Log, key: &CursorKey, json: &str) -> Verdict {
        let kind = text(json, "type").ok_or("a message without a type")?;
        let named = match kind {
            "subscribed" | "live" | "unsubscribed" => text(json, "id"),
            "cursor" => None,
            // Its own name for it comes last in an event.
            _ => json.rfind("\"sub\":\"").and_then(|at| json[at + 7..].split('"').next()),
        };
        if kind == "cursor" {
            let cursor = text(json, "cursor").unwrap();
            let subs = json.split('[').nth(1).and_then(|rest| rest.split(']').next()).unwrap();
            for sub in &mut self.subs {
                let name = format!("\"{}\"", sub.name.as_deref().unwrap());
                if sub.is_told && subs.split(',').any(|named| named == name) {
                    sub.take_cursor(log, key, cursor)?;
                }
            }
            return Ok(());
        }
        let named = named.ok_or_else(|| format!("a message without a name: {json}"))?;
        let sub = self.subs.iter_mut().find(|sub| sub.name.as_deref() == Some(named));
        let sub = sub.ok_or_else(|| format!("a message of no subscription: {json}"))?;
        match kind {
            "event" => sub.event(log, json),
            "snapshot" if json.contains("\"complete\":") => sub.snapshot_ends(log),
            "snapshot" => {
                let number = number(log, json)?;
                sub.judge.snapshot.insert(number).then_some(()).ok_or("an object twice".into())
            }
            // With a snapshot it starts where that was taken.
            "subscribed" if sub.wants_snapshot => Ok(()),
            "subscribed" => sub.take_cursor(log, key, text(json, "cursor").unwrap()),
            "live" => {
                sub.is_live = true;
                sub.take_cursor(log, key, text(json, "cursor").unwrap())
            }
            "gap" => {
                let is_of_rights = text(json, "reason") == Some("rights");
                sub.judge.gap(!is_of_rights);
                if sub.wants_snapshot {
                    // What it shows may be older than the cursor of before.
                    sub.cursor = None;
                }
                if is_of_rights {
                    sub.judge.wants.hidden = self.hidden;
                }
                Ok(())
            }
            "conflated" | "unsubscribed" => Ok(()),
            "error" if sub.is_forbidden(self.hidden) => {
                sub.is_told = false;
                Ok(())
            }
            _ => Err(format!("an unknown message: {json}")),
        }
    }
}

fn number(log: &Log, json: &str) -> Result<usize, String> {
    let time = text(json, "eventTime").ok_or_else(|| format!("no event: {json}"))?;
    let number = log.by_time(time).ok_or_else(|| format!("an event of no record: {json}"))?;
    let rec = &log.records[number];
    let id = format!("{}-{}", rec.partition, rec.offset);
    if text(json, "id") != Some(&id) {
        return Err(format!("{id} has another id: {json}"));
    }
    Ok(number)
}

impl Sub {
    /// Whether who may not see `Cargo` may not subscribe to this.
    pub(crate) fn is_forbidden(&self, hidden: bool) -> bool {
        let types = &self.judge.wants.definition.types;
        hidden && matches!(types, TypeSelector::One(one) if one.as_str() == "Cargo")
    }

    fn event(&mut self, log: &Log, json: &str) -> Verdict {
        let number = number(log, json)?;
        let operation = text(json, "eventType").ok_or("an event without a type")?;
        if !self.judge.snapshot.is_empty() {
            return Err("an event in the middle of a snapshot".into());
        }
        self.judge.event(log, number, operation, json.as_bytes())
    }

    fn take_cursor(&mut self, log: &Log, key: &CursorKey, text: &str) -> Verdict {
        let cursor = Cursor::decode(text, key).map_err(|error| error.to_string())?;
        let verdict = self.judge.cursor(log, &cursor.positions);
        let (name, conflates) = (&self.name, self.judge.conflates);
        verdict.map_err(|error| format!("{name:?}, which conflates: {conflates}: {error}"))?;
        self.cursor = Some(Arc::new(cursor.positions));
        Ok(())
    }

    /// What came must be one of the snapshots that it was fed, as far as it may see it; and events go on
    /// from where that was taken.
    fn snapshot_ends(&mut self, log: &Log) -> Verdict {
        let shown = std::mem::take(&mut self.judge.snapshot);
        let same = |snapshot: &&Snapshot| {
            let visible = snapshot.objects.iter().filter(|object| {
                !(self.judge.wants.hidden && object.route.object_type.as_str() == "Cargo")
            });
            let mut count = 0;
            visible.inspect(|_| count += 1).all(|object| {
                shown.iter().any(|number| {
                    let rec = &log.records[*number];
                    (rec.partition, rec.offset) == (object.id.partition.0, object.id.offset.0)
                })
            }) && count == shown.len()
        };
        let mut fitting = self.fed.iter().filter(same);
        let Some(snapshot) = fitting.next() else {
            return Err(format!("a snapshot that nobody took: {shown:?}"));
        };
        // Two of the same objects: which of them it was a cursor tells.
        let positions = fitting.next().is_none().then(|| Arc::clone(&snapshot.positions));
        self.judge.place = crate::judge::Place::unknown();
        positions.map_or(Ok(()), |positions| self.judge.cursor(log, &positions))
    }
}
