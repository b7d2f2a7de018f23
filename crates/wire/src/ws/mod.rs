//! RFC 6455, the server's side, without I/O: bytes in, messages out.
//!
//! [`Decoder`] unmasks in the caller's buffer and lends messages from it; what it keeps between two
//! reads is only what an unfinished frame or message needs, so a connection that waits costs a few
//! bytes. The `push_*` functions append whole frames to a buffer. Extensions are not negotiated, so
//! reserved bits are errors.

#[cfg(any(test, feature = "client"))]
pub mod client;
mod decode;
mod encode;
mod header;

use thiserror::Error;

pub use decode::{Decoder, EMPTY_FRAGMENTS_MAX};
pub use encode::{
    CLOSE_REASON_BYTES_MAX, HEADER_BYTES_MAX, encode_text_header, push_close, push_ping, push_pong,
    push_text,
};

/// Most payload bytes of a control frame (RFC 6455, section 5.5).
pub const CONTROL_BYTES_MAX: usize = 125;

/// What a client may send at most. Both count payload bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// In one frame.
    pub frame_bytes_max: usize,
    /// In one message, over all its frames.
    pub message_bytes_max: usize,
}

/// What a client said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// A whole text message.
    Text(&'a str),
    /// A binary message begins. Nobody here reads one, so it is told at its first header, and its bytes
    /// are skipped.
    Binary,
    /// A ping; its bytes belong into the pong.
    Ping(&'a [u8]),
    /// A pong.
    Pong(&'a [u8]),
    /// The last message: nothing behind it is read.
    Close {
        /// The client's code, if it gave one; always one that may stand on the wire.
        code: Option<u16>,
        /// The client's words.
        reason: &'a str,
    },
}

/// Why a connection must be closed. The text goes to the log, never to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ProtocolError {
    /// RSV1 to RSV3 belong to extensions.
    #[error("a reserved bit is set, but no extension was agreed")]
    ReservedBits,
    /// 3 to 7 and 11 to 15.
    #[error("opcode {0} is reserved")]
    Opcode(u8),
    /// Section 5.5.
    #[error("a control frame is fragmented")]
    FragmentedControl,
    /// Section 5.5.
    #[error("a control frame has more than 125 bytes")]
    LongControl,
    /// Section 5.1.
    #[error("a frame of a client is not masked")]
    Unmasked,
    /// Section 5.2: the shortest form must be used, and the highest bit of eight bytes is 0.
    #[error("the length of a frame is not written in the shortest form")]
    LengthForm,
    /// A continuation of nothing.
    #[error("a continuation frame continues nothing")]
    NothingToContinue,
    /// A new message before the last one ended.
    #[error("a message begins inside a fragmented message")]
    Interleaved,
    /// A flood that would cost no memory, but time.
    #[error("a message has more than {EMPTY_FRAGMENTS_MAX} empty fragments")]
    EmptyFragments,
    /// One byte of payload.
    #[error("a close frame has one byte, expected none or a code of two")]
    CloseLength,
    /// Section 7.4.
    #[error("close code {0} may not stand on the wire")]
    CloseCode(u16),
    /// In a text or a close reason.
    #[error("a text is not UTF-8")]
    BadUtf8,
    /// Told by the header, before the bytes come.
    #[error("a frame or message is longer than {max} bytes")]
    TooBig {
        /// The limit.
        max: usize,
    },
}

impl ProtocolError {
    /// The close code of RFC 6455 that answers it.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::BadUtf8 => 1007,
            Self::TooBig { .. } => 1009,
            _ => 1002,
        }
    }
}

#[cfg(test)]
mod tests;
