//! The closed sets that labels take their values from.

/// A label with a fixed list of values.
pub trait Label: Copy + 'static {
    /// The label's name.
    const NAME: &'static str;
    /// All values, in order.
    const ALL: &'static [Self];

    /// The value's text.
    fn as_str(self) -> &'static str;

    /// The value's place in [`Label::ALL`].
    fn index(self) -> usize;
}

macro_rules! labels {
    ($(
        $(#[$doc:meta])*
        $set:ident ($name:literal) { $( $(#[$value_doc:meta])* $value:ident = $text:literal, )+ }
    )+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $set { $( $(#[$value_doc])* $value, )+ }

        impl Label for $set {
            const NAME: &'static str = $name;
            const ALL: &'static [Self] = &[$( Self::$value, )+];

            fn as_str(self) -> &'static str {
                match self { $( Self::$value => $text, )+ }
            }

            fn index(self) -> usize {
                self as usize
            }
        }
    )+};
}

labels! {
    /// Why a connection or a request for one was refused.
    RefusalReason("reason") {
        /// Malformed path, event type, key or query (400).
        BadRequest = "bad_request",
        /// No token, or one that does not hold (401).
        Token = "token",
        /// Type or script not allowed (403).
        Forbidden = "forbidden",
        /// The Origin is not on the list (403).
        Origin = "origin",
        /// Unknown object type or script (404).
        Unknown = "unknown",
        /// Neither an upgrade nor an event stream (426).
        Upgrade = "upgrade",
        /// Too many connections in this process.
        ProcessLimit = "process_limit",
        /// Too many connections from one address.
        AddressLimit = "address_limit",
        /// Too many connections of one tenant.
        TenantLimit = "tenant_limit",
        /// Too many connections of one principal.
        PrincipalLimit = "principal_limit",
        /// Too many accepts in one second.
        AcceptRate = "accept_rate",
        /// The TLS handshake failed.
        Tls = "tls",
        /// Request or handshake took too long.
        Deadline = "deadline",
        /// Not ready yet, or what it needs is away (503).
        NotReady = "not_ready",
        /// Draining (503).
        Draining = "draining",
    }

    /// With which code a connection was closed. `none` is a connection that ended without a close frame,
    /// `other` a code of the client's own.
    CloseCode("code") {
        /// No close frame.
        None = "none",
        /// Normal.
        Normal = "1000",
        /// Going away.
        GoingAway = "1001",
        /// Protocol error.
        Protocol = "1002",
        /// Binary frame.
        Unsupported = "1003",
        /// A close frame without a code.
        NoStatus = "1005",
        /// Bad UTF-8.
        BadUtf8 = "1007",
        /// Message or frame too big.
        TooBig = "1009",
        /// Drain, in the documented mode.
        Restart = "1012",
        /// Bad request.
        BadRequest = "4000",
        /// Token invalid.
        TokenInvalid = "4001",
        /// Forbidden.
        Forbidden = "4003",
        /// Unknown.
        Unknown = "4004",
        /// Session taken by another socket.
        SessionTaken = "4010",
        /// Revoked.
        Revoked = "4011",
        /// Internal.
        Internal = "4100",
        /// Slow.
        Slow = "4101",
        /// Over a limit.
        OverLimit = "4102",
        /// Unavailable.
        Unavailable = "4103",
        /// Drain.
        Drain = "4200",
        /// Token expired.
        TokenExpired = "4201",
        /// Any other code.
        Other = "other",
    }

    /// How frames are framed on the wire.
    Framing("framing") {
        /// WebSocket, the documented frames.
        Documented = "documented",
        /// WebSocket, `tidewire.v1`.
        V1 = "v1",
        /// Server-sent events.
        Sse = "sse",
    }

    /// Why an event that was routed did not go to a socket.
    DropReason("reason") {
        /// A change published again that this replica remembers.
        Duplicate = "duplicate",
        /// A version older than one already sent.
        Stale = "stale",
        /// The caller may not read it.
        Rights = "rights",
        /// The socket was closing.
        Closing = "closing",
    }

    /// Which part of a record could not be used.
    PoisonReason("reason") {
        /// The record key.
        Key = "key",
        /// The `tw` header.
        Header = "header",
        /// The body.
        Body = "body",
        /// Type or key kind is not the model's.
        Model = "model",
        /// Larger than what is read.
        Size = "size",
    }

    /// Why changes may be missing.
    GapReason("reason") {
        /// Retention removed what was to be read next.
        Retention = "retention",
        /// The leader's log contradicts the position.
        Truncated = "truncated",
        /// The topic was created anew.
        Recreated = "recreated",
        /// A poison record.
        Poison = "poison",
        /// Rights were taken away.
        Rights = "rights",
    }

    /// What became of a field list that a client sent.
    FieldListOutcome("outcome") {
        /// In force.
        Accepted = "accepted",
        /// `{}`: back to the standard message.
        Reset = "reset",
        /// Malformed, over a limit or with an unknown name (400).
        Refused = "refused",
        /// A type that may not be read (401).
        Forbidden = "forbidden",
    }

    /// What a client that named a session got.
    SessionOutcome("outcome") {
        /// The session goes on.
        Resumed = "resumed",
        /// New, expired or lost: it starts now.
        Started = "started",
        /// Another socket took it over.
        Taken = "taken",
        /// The store is away: live, without a session.
        Unavailable = "unavailable",
    }

    /// What became of a write of a named session.
    SessionWriteOutcome("outcome") {
        /// Written.
        Held = "held",
        /// The store had lost it, or went back: it is written whole.
        Behind = "behind",
        /// Another claim took it.
        Lost = "lost",
        /// No answer: it is written again.
        Unknown = "unknown",
    }

    /// An operation on the store.
    StoreOperation("operation") {
        /// Claim a session.
        SessionClaim = "session_claim",
        /// Write sessions.
        SessionWrite = "session_write",
        /// Release a session.
        SessionRelease = "session_release",
        /// Issue a ticket.
        TicketIssue = "ticket_issue",
        /// Redeem a ticket.
        TicketRedeem = "ticket_redeem",
        /// Is it there?
        Ping = "ping",
    }

    /// What became of a token.
    TokenOutcome("outcome") {
        /// Verified now.
        Verified = "verified",
        /// Verified before and remembered.
        Remembered = "remembered",
        /// A ticket, redeemed.
        Ticket = "ticket",
        /// There is none.
        Missing = "missing",
        /// Not a token.
        Malformed = "malformed",
        /// Expired, or not valid yet.
        Expired = "expired",
        /// Wrong signature or algorithm.
        Signature = "signature",
        /// Wrong issuer, audience or tenant.
        Issuer = "issuer",
        /// A key that the key set lacks.
        UnknownKey = "unknown_key",
        /// Revoked.
        Revoked = "revoked",
    }

    /// What became of a record of the control topic.
    ControlOutcome("outcome") {
        /// In force from here on, or taken back.
        Applied = "applied",
        /// Its time was over, or it was known.
        Passed = "passed",
        /// Another kind of record, or one of a later version's.
        Other = "other",
        /// It cannot be used.
        Bad = "bad",
    }

    /// What became of a change that a producer sent.
    CaptureOutcome("outcome") {
        /// Acknowledged by Kafka.
        Written = "written",
        /// Its idempotency key was known: the first answer again.
        Repeated = "repeated",
        /// Malformed, or not the model's.
        Refused = "refused",
        /// Over `capture.change_max_bytes`.
        TooLarge = "too_large",
        /// Not sent: too much in flight.
        Busy = "busy",
        /// Not sent: an earlier change of the object failed in the same bulk.
        Skipped = "skipped",
        /// Kafka refused it: it is not in the log.
        Failed = "failed",
        /// No answer from Kafka in time: it may stand in the log.
        Unknown = "unknown",
    }

    /// What went wrong in a run of an alert script.
    ScriptFault("kind") {
        /// The source is not a script of its language.
        Compile = "compile",
        /// A value of the wrong kind: also a script that returns no boolean.
        Type = "type",
        /// The script gave up, or a value cannot be computed.
        Runtime = "runtime",
        /// More operations than allowed.
        Operations = "operations",
        /// A text, array, map, nesting or alert larger than allowed.
        Size = "size",
        /// More time than allowed.
        Deadline = "deadline",
        /// More memory than allowed.
        Memory = "memory",
        /// It ended the process that ran it.
        Crash = "crash",
        /// The alert that it fired has no message.
        Message = "message",
        /// There was no process to run it: no fault of the script. The changes are tried again.
        Unavailable = "unavailable",
    }

    /// Why a script was disabled.
    DisableReason("reason") {
        /// Too many faults in a row.
        Faults = "faults",
        /// Its tenant used more CPU than it may, and this script most of it.
        Quota = "quota",
    }

    /// Why a process that runs scripts ended, or was not there.
    WorkerEnd("reason") {
        /// A script took too long.
        Deadline = "deadline",
        /// It ran out of memory.
        Memory = "memory",
        /// In some other way.
        Crash = "crash",
        /// It held too many compiled scripts.
        Replaced = "replaced",
        /// It could not be started.
        StartFailed = "start_failed",
    }

    /// What became of a batch of changes.
    BatchOutcome("outcome") {
        /// Alerts and positions are committed.
        Committed = "committed",
        /// The transaction was aborted; the changes come again.
        Aborted = "aborted",
        /// The group had gone on; the changes come again, to whoever owns them now.
        Fenced = "fenced",
        /// No process could run the scripts; the changes come again.
        Unavailable = "unavailable",
    }
}

impl CloseCode {
    /// The label of a code on the wire.
    #[must_use]
    pub fn from_code(code: u16) -> Self {
        let text = code.to_string();
        Self::ALL.iter().copied().find(|label| label.as_str() == text).unwrap_or(Self::Other)
    }
}
