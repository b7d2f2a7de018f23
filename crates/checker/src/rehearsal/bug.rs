//! The bugs that are planted, each with the kinds of finding that tell of it.

use crate::FindingKind::{self, Illegal, Leak, Lost, Regression, UndeclaredGap, WrongPayload};

macro_rules! bugs {
    ($($(#[doc = $what:literal])+ $name:ident => [$($kind:ident),+],)+) => {
        /// A bug.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Bug {
            $($(#[doc = $what])+ $name,)+
        }

        impl Bug {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// What it does, in words.
            #[must_use]
            pub const fn what(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($what),+),)+
                }
            }

            /// Any of these findings tells of it.
            #[must_use]
            pub const fn caught_by(self) -> &'static [FindingKind] {
                match self {
                    $(Self::$name => &[$($kind),+],)+
                }
            }
        }
    };
}

bugs! {
    /// One record in sixty is dropped.
    DropsOne => [Lost],
    /// A full queue is emptied and nobody is told.
    DropsTheQueue => [Lost],
    /// The answer leaves before the live position is fixed.
    AcknowledgesBeforeLive => [Lost],
    /// The registration goes beside the queue of records and takes effect too late.
    RegistersBesideTheQueue => [Lost],
    /// The session's position moves when a record is taken, before it is sent.
    CommitsBeforeSend => [UndeclaredGap],
    /// The session's position moves when a message is written, not when it is proven.
    SessionAtWrite => [UndeclaredGap],
    /// A cursor bears the router's positions and passes waiting messages.
    CursorAtRouting => [Lost],
    /// A partition is assigned at END, which is resolved later.
    EndInsteadOfNumber => [Lost],
    /// A partition that was added is read from where it is first seen.
    AddedPartitionFromEnd => [Lost],
    /// A topic that was made anew is no gap.
    RecreatedSilently => [Lost],
    /// Retention that overtook a position is no gap.
    RetentionSilently => [Lost],
    /// A lost session is said to be resumed.
    LostSessionResumed => [UndeclaredGap],
    /// That a session starts is said once, on a link that breaks before it has arrived.
    StartSaidOnce => [UndeclaredGap],
    /// The snapshot is tagged with a position that was read after it.
    SnapshotTaggedLate => [Lost],
    /// Two versions of an object change places.
    SwapsVersions => [Regression],
    /// A merged message takes the place of the older one.
    ConflatesInPlace => [Regression],
    /// A merged message keeps the older image.
    ConflatesToOldest => [WrongPayload],
    /// A create and an update are merged to an update.
    ConflatesCreateAway => [Illegal],
    /// Rights are not checked on a delete.
    LeaksOnDelete => [Leak],
    /// A cache key lacks the tenant.
    ForgetsTheTenant => [Leak],
    /// A socket outlives its token.
    IgnoresExpiry => [Leak],
    /// A field that nobody asked for is shown.
    ShowsMoreFields => [WrongPayload],
    /// A delete without a field list carries the object.
    DeleteCarriesObject => [WrongPayload],
    /// The image before the change is shown.
    ShowsOldImage => [WrongPayload],
    /// A replay shows the present image under the old id.
    ReplayShowsPresent => [WrongPayload],
    /// Creates and deletes of objects below are told to nobody above.
    BelowOnlyUpdates => [Lost],
    /// A moved object tells its new owner only.
    MoveTellsNewOwner => [Lost],
    /// Keys are not looked at now and then.
    ForgetsKeys => [Illegal],
    /// The record of an aborted transaction is shown.
    ShowsAborted => [Illegal],
    /// An id differs from replica to replica.
    IdOfTheReplica => [Illegal],
    /// The number of a definition differs from replica to replica.
    DefinitionOfTheReplica => [Illegal],
    /// A message comes once as its own object's and once as that of an object above.
    TellsTwice => [Illegal],
}
