//! Who may see what: principals, the duties that their roles give them, the rights to read, and who has
//! lost the right to be here at all ([`Revocations`]).
//!
//! Pure: no I/O, no clock. Today a right is "this role may read this type" ([`TypeRights`]); row and
//! field rules come into the same place. Code that builds payloads never asks about a principal: it
//! asks the [`PermissionClass`] of the socket, which is what rights reduce to, so that one payload
//! serves all principals with the same effective rights.
//!
//! Invariants: a class belongs to one tenant and one [`Revision`] of the rules; equal classes give
//! equal answers for ever; a change of rules never changes a class that exists, it makes others.

mod class;
mod duty;
mod list;
mod principal;
mod revocation;
mod types;

pub use class::{CLASSES_MAX, PermissionClass, ReadableTypes, Revision};
pub use duty::{Duty, RoleMap};
pub use list::one_or_many;
pub use principal::{Principal, USER_KEY_MAX};
pub use revocation::{
    Action, Applied, ENDED_MAX, NOTE_BYTES_MAX, REVOCATIONS_MAX, Revocation, RevocationError,
    Revocations, SWEEP_GRACE_SECONDS, TARGET_ID_BYTES_MAX, Target, TargetError, TargetKind,
};
pub use types::{DefaultRight, RightsOptions, RightsProblem, RightsStats, TypeRights};
