//! `tidewire.v1` (ours): several subscriptions on one socket, cursors, and words for all that the
//! documented frames cannot say. `docs/reference/tidewire-v1.md` describes it for client authors,
//! `docs/reference/tidewire-v1.asyncapi.yaml` for machines; a test holds both against this code.
//!
//! Messages are JSON texts with a member `type`. What a client sends is read by [`parse`], strictly: a
//! slip is refused by name, never passed over. What a server sends is appended by the functions of
//! [`frames`], with `type` first and without a frame around it; an event is the body of
//! [`crate::frame::EventBody`] between a prefix that is the same for all and a suffix per subscription,
//! so that sockets of both modes share the body's bytes.

pub mod frames;
mod keys;
mod members;
mod message;
mod subscribe;

pub use frames::GapReason;
pub use keys::Keys;
pub use message::{ClientMessage, MESSAGE_BYTES_MAX, MessageError, parse};
pub use subscribe::{FILTER_BYTES_MAX, OnSlow, SUB_ID_BYTES_MAX, Start, SubscribeRequest};
