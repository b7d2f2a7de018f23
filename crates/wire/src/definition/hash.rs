//! The stable hash behind definition numbers.
//!
//! FNV-1a (64 bits) with the finaliser of MurmurHash3 behind it: FNV's last bytes hardly reach the high
//! bits, and the finaliser spreads them before 11 bits are dropped. 53 bits, because a browser reads no
//! larger integer without loss; a tenant with a million definitions has two with one number with a
//! chance of 1 in 18,000, and then two clients see the same `subscription.key`, nothing more.

const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;
const MASK_53: u64 = (1 << 53) - 1;

/// A number from 1 to 2^53 - 1.
pub(super) fn number(bytes: &[u8]) -> u64 {
    let mixed =
        bytes.iter().fold(OFFSET_BASIS, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME));
    (finalise(mixed) & MASK_53).max(1)
}

const fn finalise(mut hash: u64) -> u64 {
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ hash >> 33
}
