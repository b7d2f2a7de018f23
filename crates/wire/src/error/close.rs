//! Close codes (ours, within RFC 6455, section 7.4): the range tells the client what to do.

use crate::ws::ProtocolError;

/// What a client should do after a close.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Retry {
    /// Nothing: the same request gets the same answer.
    Never,
    /// Connect again, waiting longer each time.
    Backoff,
    /// Connect again at once, or after the time that the reason names.
    Now,
}

impl Retry {
    /// One word, for labels and docs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Backoff => "backoff",
            Self::Now => "now",
        }
    }
}

macro_rules! close_codes {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal, $retry:ident;)*) => {
        /// Why a socket is closed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum CloseCode {
            $($(#[$doc])* $variant,)*
        }

        impl CloseCode {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The code on the wire.
            #[must_use]
            pub const fn number(self) -> u16 {
                match self { $(Self::$variant => $number,)* }
            }

            /// The name: reason on the wire, metric label, part of the page's file name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What the client should do.
            #[must_use]
            pub const fn retry(self) -> Retry {
                match self { $(Self::$variant => Retry::$retry,)* }
            }
        }
    };
}

close_codes! {
    /// A frame breaks RFC 6455.
    ProtocolError = 1002, "protocol-error", Never;
    /// A binary message: only text is spoken here.
    BinaryFrame = 1003, "binary-frame", Never;
    /// A text is not UTF-8.
    BadUtf8 = 1007, "bad-utf8", Never;
    /// A frame or message is over its limit.
    TooBig = 1009, "too-big", Never;
    /// Drain in the documented mode; the reason says `retry in <ms> ms`.
    Restart = 1012, "restart", Now;
    /// Path, event type, key, query or message is malformed.
    BadRequest = 4000, "bad-request", Never;
    /// The token is missing or not valid.
    TokenInvalid = 4001, "token-invalid", Never;
    /// Type, script or Origin is not allowed.
    Forbidden = 4003, "forbidden", Never;
    /// No such type or script.
    Unknown = 4004, "unknown", Never;
    /// Another socket took the session.
    SessionTaken = 4010, "session-taken", Never;
    /// The right to be here was taken away.
    Revoked = 4011, "revoked", Never;
    /// A fault of ours.
    Internal = 4100, "internal", Backoff;
    /// The client read too slowly, and its queue was full.
    Slow = 4101, "slow", Backoff;
    /// Over a limit.
    OverLimit = 4102, "over-limit", Backoff;
    /// Not ready, or something that this socket needs is away.
    Unavailable = 4103, "unavailable", Backoff;
    /// The replica stops.
    Drain = 4200, "drain", Now;
    /// The token's time is over: get a new one first.
    TokenExpired = 4201, "token-expired", Now;
}

impl CloseCode {
    /// The page that explains it, from the root of the project.
    #[must_use]
    pub fn docs_path(self) -> String {
        format!("docs/errors/{}-{}.md", self.number(), self.name())
    }

    /// The code that says on a socket what a status says in HTTP.
    #[must_use]
    pub const fn of_status(status: u16) -> Self {
        match status {
            401 => Self::TokenInvalid,
            403 => Self::Forbidden,
            404 => Self::Unknown,
            429 => Self::OverLimit,
            503 => Self::Unavailable,
            400..=499 => Self::BadRequest,
            _ => Self::Internal,
        }
    }
}

impl From<ProtocolError> for CloseCode {
    fn from(error: ProtocolError) -> Self {
        match error.code() {
            1007 => Self::BadUtf8,
            1009 => Self::TooBig,
            _ => Self::ProtocolError,
        }
    }
}
