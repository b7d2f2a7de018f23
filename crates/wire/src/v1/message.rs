//! What a client sends.

use std::sync::Arc;

use thiserror::Error;
use tidewire_event::{FrameId, Offset, Partition};

use super::members::{Members, text_of, wrong};
use super::subscribe::{SubscribeRequest, sub_id};
use crate::error::Refusal;
use crate::nearest::hint;
use crate::request::{Token, quoted};

/// Most bytes of a message: room for the largest cursor, field list, filter and keys. The setting
/// `gateway.message_bytes_max` closes a socket long before.
pub const MESSAGE_BYTES_MAX: usize = 256 * 1024;

const TYPES: [&str; 6] = ["subscribe", "unsubscribe", "fields", "token", "await", "ping"];

/// A message of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientMessage {
    /// Start to tell.
    Subscribe(SubscribeRequest),
    /// Stop to tell.
    Unsubscribe {
        /// Which subscription.
        id: Arc<str>,
    },
    /// Show other fields from now on.
    Fields {
        /// Of which subscription.
        id: Arc<str>,
        /// The field list: JSON, not yet read.
        fields: String,
    },
    /// Go on with this token.
    Token {
        /// The new token, not verified.
        token: Token,
    },
    /// Say when all subscriptions have been sent what they wanted up to and with this record.
    Await {
        /// What the producer's `POST` answered.
        id: FrameId,
    },
    /// Say something.
    Ping,
}

/// Why a message is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{refusal}")]
pub struct MessageError {
    /// The subscription that the message was about, where it names one.
    pub sub: Option<String>,
    /// What is wrong.
    pub refusal: Refusal,
}

/// Reads a message.
///
/// # Errors
/// [`MessageError`]: 400, or 401 for what cannot be a token. The text names the member and what was
/// expected in it, and never repeats what could be a token.
pub fn parse(text: &str) -> Result<ClientMessage, MessageError> {
    if text.len() > MESSAGE_BYTES_MAX {
        let text = format!("a message has at most {MESSAGE_BYTES_MAX} bytes");
        return Err(MessageError { sub: None, refusal: Refusal::bad_request(text) });
    }
    let members = Members::read(text).map_err(|refusal| MessageError { sub: None, refusal })?;
    read(&members).map_err(|refusal| MessageError { sub: sub(&members), refusal })
}

fn read(members: &Members<'_>) -> Result<ClientMessage, Refusal> {
    let kind = members.need("type")?;
    let kind = text_of(kind).ok_or_else(|| wrong("type", "the type of a message", kind))?;
    match kind.as_str() {
        "subscribe" => SubscribeRequest::read(members).map(ClientMessage::Subscribe),
        "unsubscribe" => {
            members.only(&kind, &["type", "id"])?;
            Ok(ClientMessage::Unsubscribe { id: sub_id(members)? })
        }
        "fields" => {
            members.only(&kind, &["type", "id", "fields"])?;
            let fields = members.need("fields")?.get().to_owned();
            Ok(ClientMessage::Fields { id: sub_id(members)?, fields })
        }
        "token" => {
            members.only(&kind, &["type", "token"])?;
            let token = text_of(members.need("token")?).and_then(|token| Token::new(&token));
            let token = token.ok_or_else(|| Refusal::unauthorized("token malformed"))?;
            Ok(ClientMessage::Token { token })
        }
        "await" => {
            members.only(&kind, &["type", "id"])?;
            let value = members.need("id")?;
            let id = text_of(value).and_then(|id| frame_id(&id));
            let id = id
                .ok_or_else(|| wrong("id", "the id of a change, such as \"3-244070007\"", value))?;
            Ok(ClientMessage::Await { id })
        }
        "ping" => {
            members.only(&kind, &["type"])?;
            Ok(ClientMessage::Ping)
        }
        other => {
            let (kind, hint) = (quoted(other), hint(other, &TYPES));
            Err(Refusal::bad_request(format!("the message type {kind} is unknown{hint}")))
        }
    }
}

/// The subscription of a message that is refused, if it has one at all.
fn sub(members: &Members<'_>) -> Option<String> {
    let kind = text_of(members.get("type")?)?;
    matches!(kind.as_str(), "subscribe" | "unsubscribe" | "fields")
        .then(|| sub_id(members).ok().map(|id| id.to_string()))
        .flatten()
}

/// Reads an id in exactly the form that it is written in.
fn frame_id(text: &str) -> Option<FrameId> {
    let (partition, offset) = text.split_once('-')?;
    let plain = |digits: &str| {
        !digits.is_empty()
            && digits.bytes().all(|b| b.is_ascii_digit())
            && (digits == "0" || !digits.starts_with('0'))
    };
    let id = FrameId {
        partition: Partition(partition.parse().ok()?),
        offset: Offset(offset.parse().ok()?),
    };
    // The greatest number has no successor, and no record.
    (plain(partition) && plain(offset) && id.offset.0 < i64::MAX).then_some(id)
}
