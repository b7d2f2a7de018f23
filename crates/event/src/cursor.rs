//! Cursors: where a subscription goes on, as one opaque text that a client keeps and gives back.
//!
//! A cursor says: whatever this subscription wanted before these offsets was written to its socket
//! before this cursor was. It names every partition that was known when it was made, those at 0 too, so
//! that one which it does not name is known to be younger. It grants nothing: whoever shows it is
//! judged by his token. The checksum is keyed, so that nobody makes a place up, and the tenant is part
//! of it, so that a tenant's cursor is of no use to another.
//!
//! ```text
//! version tenant topic-id count (partition next epoch)* checksum     in base64url without padding
//! ```
//!
//! `version` is one byte. Numbers are unsigned LEB128 varints in their shortest form; texts stand behind
//! their length. Entries come in the order of their partitions; a partition is told by how many were
//! left out before it, an epoch as one more than it is, so that an unknown one is 0. The checksum is the
//! first 16 bytes of HMAC-SHA256 over all before it. Equal places have equal texts.

mod varint;

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::{LeaderEpoch, NextOffset, Partition, Position, Positions, Tenant};
use varint::{Reader, push_text, push_varint};

/// Most bytes in the text of a cursor: room for [`Positions::PARTITIONS_MAX`] entries of any value.
pub const CURSOR_BYTES_MAX: usize = 96 * 1024;

/// The one format that is written and read.
const FORMAT: u8 = 1;
/// Bytes of the checksum: half of SHA-256, which RFC 2104 (section 5) holds for safe.
const CHECKSUM_BYTES: usize = 16;
/// What the deployment's secret is hashed with, so that the key serves cursors alone.
const KEY_LABEL: &[u8] = b"tidewire cursor key 1\0";
/// Bytes of a block of SHA-256, which is what a key of HMAC is padded to.
const BLOCK_BYTES: usize = 64;

/// The key of the checksum; every replica of a deployment has the same one.
#[derive(Clone)]
pub struct CursorKey(Hmac<Sha256>);

impl CursorKey {
    /// Fewest bytes of a secret.
    pub const SECRET_BYTES_MIN: usize = 16;

    /// Makes the key from the deployment's secret.
    ///
    /// # Panics
    /// If the secret is shorter than [`CursorKey::SECRET_BYTES_MIN`]: the configuration refuses that.
    #[must_use]
    pub fn derive(secret: &[u8]) -> Self {
        assert!(secret.len() >= Self::SECRET_BYTES_MIN, "the secret of cursors is too short");
        let hash = Sha256::new().chain_update(KEY_LABEL).chain_update(secret).finalize();
        let mut block = [0; BLOCK_BYTES];
        for (to, from) in block.iter_mut().zip(hash) {
            *to = from;
        }
        Self(Hmac::new(&block.into()))
    }

    fn checksum(&self, bytes: &[u8]) -> impl AsRef<[u8]> + use<> {
        self.0.clone().chain_update(bytes).finalize().into_bytes()
    }

    fn holds(&self, bytes: &[u8], checksum: &[u8]) -> bool {
        // In constant time, whatever the bytes are.
        self.0.clone().chain_update(bytes).verify_truncated_left(checksum).is_ok()
    }
}

impl fmt::Debug for CursorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CursorKey(-)")
    }
}

/// Why a text is no cursor of this deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CursorError {
    /// More than [`CURSOR_BYTES_MAX`].
    #[error("the cursor has more than {CURSOR_BYTES_MAX} bytes")]
    TooLong,
    /// Cut off, or never one.
    #[error("the cursor is not base64url")]
    NotBase64,
    /// Cut off, or never one.
    #[error("the cursor is malformed")]
    Malformed,
    /// Made by a newer release, or never one.
    #[error("the cursor has format {0}, which is not known here")]
    UnknownFormat(u8),
    /// Made up, changed, or made with the secret of another deployment.
    #[error("the cursor's checksum is wrong: it was changed, or comes from another deployment")]
    Checksum,
}

/// What a cursor says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Whose changes.
    pub tenant: Tenant,
    /// Where reading goes on, and in which life of the topic.
    pub positions: Positions,
}

/// Writes a cursor. A next offset below 0, which there is none of, is written as 0.
#[must_use]
pub fn encode_cursor(key: &CursorKey, tenant: &Tenant, positions: &Positions) -> String {
    let mut out = Vec::with_capacity(128);
    out.push(FORMAT);
    push_text(&mut out, tenant.as_str());
    push_text(&mut out, positions.topic());
    push_varint(&mut out, positions.iter().fold(0, |count, _| count + 1));
    let mut expected = 0;
    for (partition, position) in positions.iter() {
        push_varint(&mut out, u64::try_from(partition.0 - expected).unwrap_or_default());
        push_varint(&mut out, u64::try_from(position.next.0).unwrap_or_default());
        push_varint(&mut out, u64::try_from(i64::from(position.epoch.0) + 1).unwrap_or_default());
        expected = partition.0 + 1;
    }
    let checksum = key.checksum(&out);
    out.extend(checksum.as_ref().iter().take(CHECKSUM_BYTES));
    URL_SAFE_NO_PAD.encode(&out)
}

impl Cursor {
    /// Reads a cursor that came from outside.
    ///
    /// # Errors
    /// [`CursorError`]; what stands in the text is believed only once its checksum holds.
    pub fn decode(text: &str, key: &CursorKey) -> Result<Self, CursorError> {
        if text.len() > CURSOR_BYTES_MAX {
            return Err(CursorError::TooLong);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| CursorError::NotBase64)?;
        match bytes.first() {
            None => return Err(CursorError::Malformed),
            Some(&FORMAT) => {}
            Some(&other) => return Err(CursorError::UnknownFormat(other)),
        }
        let (signed, checksum) = bytes
            .len()
            .checked_sub(CHECKSUM_BYTES)
            .and_then(|at| bytes.split_at_checked(at))
            .ok_or(CursorError::Malformed)?;
        if !key.holds(signed, checksum) {
            return Err(CursorError::Checksum);
        }
        read(signed.get(1..).unwrap_or_default()).ok_or(CursorError::Malformed)
    }
}

/// Reads what stands between format and checksum.
fn read(bytes: &[u8]) -> Option<Cursor> {
    let mut reader = Reader(bytes);
    let tenant = Tenant::new(reader.text()?).ok()?;
    let mut positions = Positions::new(reader.text()?.into());
    let count = reader.varint()?;
    let mut expected = 0;
    for _ in 0..usize::try_from(count).ok().filter(|count| *count <= Positions::PARTITIONS_MAX)? {
        let partition = i32::try_from(reader.varint()?).ok()?.checked_add(expected)?;
        let next = NextOffset(i64::try_from(reader.varint()?).ok()?);
        let epoch = LeaderEpoch(i32::try_from(i64::try_from(reader.varint()?).ok()? - 1).ok()?);
        if usize::try_from(partition).ok()? >= Positions::PARTITIONS_MAX {
            return None;
        }
        positions.set(Partition(partition), Position { next, epoch });
        expected = partition + 1;
    }
    reader.0.is_empty().then_some(Cursor { tenant, positions })
}

#[cfg(test)]
mod tests;
