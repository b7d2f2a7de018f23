//! What a client asks for with `subscribe`.

use std::sync::Arc;

use tidewire_event::{CURSOR_BYTES_MAX, NAME_BYTES_MAX, Tenant};

use super::keys::Keys;
use super::members::{Members, elements, text_of, wrong};
use crate::definition::{Definition, EventSet, EventSetError, KeySelector, TypeSelector};
use crate::error::Refusal;
use crate::request::is_plain_name;

/// Most bytes of the name that a client gives a subscription.
pub const SUB_ID_BYTES_MAX: usize = 64;
/// Most bytes of a filter.
pub const FILTER_BYTES_MAX: usize = 8 * 1024;

/// What stands in a `subscribe` besides its type.
const MEMBERS: [&str; 12] = [
    "type",
    "id",
    "objectType",
    "events",
    "keys",
    "fields",
    "filter",
    "onlyMainObject",
    "liveReferences",
    "snapshot",
    "from",
    "onSlow",
];

/// Where delivery starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// With what is committed after the answer.
    Now,
    /// Behind what was delivered before this cursor; for `Cursor::decode`.
    Cursor(String),
}

/// What is done when the client reads too slowly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnSlow {
    /// The socket is closed with 4101 and resumes from its last cursor: nothing is left out.
    #[default]
    Disconnect,
    /// Events of one object that wait are merged into one.
    Conflate,
}

/// What a client wants to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscribeRequest {
    /// The client's name for it, on this socket: 1 to 64 of `A-Za-z0-9_.-`.
    pub id: Arc<str>,
    /// A type's name or `*`. Whether the model knows it is not yet asked.
    pub object_type: String,
    /// Which operations; all where nothing is said.
    pub events: EventSet,
    /// Which objects.
    pub keys: Keys,
    /// A field list, not yet read.
    pub fields: Option<String>,
    /// A filter, not yet read.
    pub filter: Option<String>,
    /// Whether changes of objects below are left out; off by default.
    pub only_main_object: bool,
    /// Whether changes of referenced objects are told; on by default.
    pub live_references: bool,
    /// Whether the objects as they are come first.
    pub snapshot: bool,
    /// Where delivery starts.
    pub from: Start,
    /// What is done when the client reads too slowly.
    pub on_slow: OnSlow,
}

impl SubscribeRequest {
    /// The definition, the same that a documented path with the same words has.
    #[must_use]
    pub fn definition(&self, tenant: Tenant, types: TypeSelector, keys: KeySelector) -> Definition {
        Definition {
            tenant,
            types,
            events: self.events,
            keys,
            only_main_object: self.only_main_object,
            live_references: self.live_references,
        }
    }

    pub(super) fn read(members: &Members<'_>) -> Result<Self, Refusal> {
        members.only("subscribe", &MEMBERS)?;
        Ok(Self {
            id: sub_id(members)?,
            object_type: object_type(members)?,
            events: events(members)?,
            keys: Keys::read(members.get("keys"))?,
            fields: members.get("fields").map(|list| list.get().to_owned()),
            filter: filter(members)?,
            only_main_object: members.flag("onlyMainObject")?.unwrap_or(false),
            live_references: members.flag("liveReferences")?.unwrap_or(true),
            snapshot: members.flag("snapshot")?.unwrap_or(false),
            from: from(members)?,
            on_slow: on_slow(members)?,
        })
    }
}

/// The member `id` of the messages about a subscription.
pub(super) fn sub_id(members: &Members<'_>) -> Result<Arc<str>, Refusal> {
    let value = members.need("id")?;
    text_of(value)
        .filter(|id| is_plain_name(id, SUB_ID_BYTES_MAX))
        .map(Arc::from)
        .ok_or_else(|| wrong("id", "1 to 64 of A-Z, a-z, 0-9, '_', '.' and '-'", value))
}

fn object_type(members: &Members<'_>) -> Result<String, Refusal> {
    let value = members.need("objectType")?;
    text_of(value)
        .filter(|name| (1..=NAME_BYTES_MAX).contains(&name.len()))
        .filter(|name| !name.chars().any(char::is_control))
        .ok_or_else(|| wrong("objectType", "the name of a type, or \"*\"", value))
}

fn events(members: &Members<'_>) -> Result<EventSet, Refusal> {
    let Some(value) = members.get("events") else { return Ok(EventSet::ALL) };
    let sets = elements(value).into_iter().map(|event| EventSet::parse(&text_of(event)?).ok());
    let union = sets.reduce(|all, one| Some(all?.union(one?)));
    union.flatten().ok_or_else(|| {
        Refusal::bad_request(format!(
            "'events' is malformed: {EventSetError}, or an array of these"
        ))
    })
}

fn filter(members: &Members<'_>) -> Result<Option<String>, Refusal> {
    let filter = members.text("filter", "an expression as a string")?;
    match filter {
        Some(text) if !(1..=FILTER_BYTES_MAX).contains(&text.len()) => {
            let text = format!("'filter' expects 1 to {FILTER_BYTES_MAX} bytes");
            Err(Refusal::bad_request(text))
        }
        filter => Ok(filter),
    }
}

fn from(members: &Members<'_>) -> Result<Start, Refusal> {
    const EXPECTED: &str = "\"now\" or a cursor as it was sent";
    let Some(text) = members.text("from", EXPECTED)? else { return Ok(Start::Now) };
    let cursor = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    if text == "now" {
        Ok(Start::Now)
    } else if (1..=CURSOR_BYTES_MAX).contains(&text.len()) && text.bytes().all(cursor) {
        Ok(Start::Cursor(text))
    } else {
        Err(Refusal::bad_request(format!("'from' expects {EXPECTED}")))
    }
}

fn on_slow(members: &Members<'_>) -> Result<OnSlow, Refusal> {
    const EXPECTED: &str = "\"disconnect\" or \"conflate\"";
    match members.text("onSlow", EXPECTED)?.as_deref() {
        None | Some("disconnect") => Ok(OnSlow::Disconnect),
        Some("conflate") => Ok(OnSlow::Conflate),
        Some(_) => Err(Refusal::bad_request(format!("'onSlow' expects {EXPECTED}"))),
    }
}
