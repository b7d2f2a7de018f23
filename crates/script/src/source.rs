//! The identity of a source text.
//!
//! Workers keep compiled scripts by it: two scripts with one text share what was compiled, a new text is
//! never mistaken for an old one, and no counter has to be shared between processes.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::Language;

/// The first 16 bytes of the SHA-256 of language and source.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceId(u128);

impl SourceId {
    /// The id of a source.
    #[must_use]
    pub fn of(language: Language, source: &str) -> Self {
        Self(first_bytes(&[language.as_str().as_bytes(), b"\0", source.as_bytes()]))
    }
}

impl fmt::Debug for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// The number that stands as `key` of a script: from 1 to 2^53 - 1, since a browser reads no larger one
/// without loss. It follows from tenant and code, so it is the same wherever it is asked for.
pub(crate) fn script_number(tenant: &str, code: &str) -> u64 {
    const MASK_53: u128 = (1 << 53) - 1;
    let bits = first_bytes(&[tenant.as_bytes(), b"\0", code.as_bytes()]) & MASK_53;
    u64::try_from(bits).unwrap_or_default().max(1)
}

fn first_bytes(parts: &[&[u8]]) -> u128 {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    let hash = hash.finalize();
    hash.iter().take(16).fold(0, |number, byte| number << 8 | u128::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_source_has_one_id() {
        let id = SourceId::of(Language::Rhai, "true");
        assert_eq!(id, SourceId::of(Language::Rhai, "true"));
        assert_ne!(id, SourceId::of(Language::Rhai, "false"));
    }

    #[test]
    fn numbers_fit_a_browser_and_tell_tenants_apart() {
        for code in ["", "a", "b", "bunker-price"] {
            let number = script_number("acme", code);
            assert!((1..1 << 53).contains(&number), "{number}");
            assert_ne!(number, script_number("other", code));
        }
        // `a` + `bc` is not `ab` + `c`.
        assert_ne!(script_number("a", "bc"), script_number("ab", "c"));
    }
}
