//! What is wrong, and where.

use std::fmt;

/// A kind of wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum FindingKind {
    /// A change that was owed never came.
    Lost,
    /// A version or an offset went backwards.
    Regression,
    /// A reconnect lost something and did not say so.
    UndeclaredGap,
    /// A gap was declared that nothing called for.
    NeedlessGap,
    /// The bytes are wrong.
    WrongPayload,
    /// Nothing that this client may see.
    Leak,
    /// No rule allows it.
    Illegal,
    /// The socket was not back at the end.
    NotBack,
}

impl FindingKind {
    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Regression => "regression",
            Self::UndeclaredGap => "undeclared gap",
            Self::NeedlessGap => "needless gap",
            Self::WrongPayload => "wrong payload",
            Self::Leak => "leak",
            Self::Illegal => "illegal",
            Self::NotBack => "not back",
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// What.
    pub kind: FindingKind,
    /// On which socket.
    pub socket: String,
    /// Which object, where it is about one.
    pub object: String,
    /// Which record, where it is about one.
    pub id: String,
    /// The rest.
    pub text: String,
}

impl Finding {
    pub(super) fn of_socket(kind: FindingKind, socket: &str, text: String) -> Self {
        let (object, id) = (String::new(), String::new());
        Self { kind, socket: socket.to_owned(), object, id, text }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, socket, object, id, text } = self;
        write!(f, "{}: socket {socket}", kind.name())?;
        if !object.is_empty() {
            write!(f, ", {object}")?;
        }
        if !id.is_empty() {
            write!(f, ", record {id}")?;
        }
        write!(f, ": {text}")
    }
}
