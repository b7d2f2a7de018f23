//! A key set (RFC 7517): the RSA signing keys of a JWKS document, by key id.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde_json::Value;

use crate::jwt::KID_BYTES_MAX;

/// Most keys of one set; further ones are ignored and counted.
pub const KEYS_MAX: usize = 100;
/// What the verification accepts: 2048 to 8192 bits.
const MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;
const EXPONENT_BYTES_MAX: usize = 8;

/// The keys of an issuer, all for RS256.
#[derive(Default)]
pub(crate) struct KeySet {
    keys: BTreeMap<Option<String>, RsaKey>,
    /// Entries that cannot be used here: other key types, uses, algorithms, sizes, repeated ids.
    pub(crate) ignored: u64,
}

struct RsaKey {
    modulus: Vec<u8>,
    exponent: Vec<u8>,
    key: DecodingKey,
}

impl KeySet {
    /// Reads a document. An entry that cannot be used is left out and counted; nothing at all is an
    /// error, so that an issuer's mishap does not throw good keys away.
    pub(crate) fn parse(document: &[u8]) -> Result<Self, &'static str> {
        let document: Value =
            serde_json::from_slice(document).map_err(|_| "the key set is not JSON")?;
        let entries = document.get("keys").and_then(Value::as_array);
        let mut set = Self::default();
        for entry in entries.ok_or("the key set has no array `keys`")? {
            let usable = rsa_key(entry)
                .filter(|(id, _)| set.keys.len() < KEYS_MAX && !set.keys.contains_key(id));
            match usable {
                Some((id, key)) => {
                    set.keys.insert(id, key);
                }
                None => set.ignored += 1,
            }
        }
        if set.keys.is_empty() { Err("the key set has no RSA key for signatures") } else { Ok(set) }
    }

    /// The key of a token: by its id; a token without one is served by a set of one key.
    pub(crate) fn find(&self, kid: Option<&str>) -> Option<&DecodingKey> {
        let found = match kid {
            Some(kid) => self.keys.get(&Some(kid.to_owned())),
            None => self.keys.values().next().filter(|_| self.keys.len() == 1),
        };
        found.map(|key| &key.key)
    }

    /// Whether this set still has each key of the former one: if not, what was verified with it is void.
    pub(crate) fn keeps(&self, former: &Self) -> bool {
        former.keys.iter().all(|(id, old)| {
            self.keys
                .get(id)
                .is_some_and(|new| new.modulus == old.modulus && new.exponent == old.exponent)
        })
    }
}

fn rsa_key(entry: &Value) -> Option<(Option<String>, RsaKey)> {
    let text = |name: &str| entry.get(name).and_then(Value::as_str);
    let absent_or = |name: &str, wanted: &str| {
        entry.get(name).is_none_or(|value| value.as_str() == Some(wanted))
    };
    let may_verify = entry.get("key_ops").is_none_or(|operations| {
        operations.as_array().is_some_and(|list| list.iter().any(|name| name == "verify"))
    });
    if text("kty") != Some("RSA")
        || !absent_or("use", "sig")
        || !absent_or("alg", "RS256")
        || !may_verify
    {
        return None;
    }
    let id = match entry.get("kid") {
        None => None,
        Some(Value::String(id)) if id.len() <= KID_BYTES_MAX => Some(id.clone()),
        Some(_) => return None,
    };
    let modulus = number(text("n")?)?;
    let exponent = number(text("e")?)?;
    let exponent_is_sound = exponent.len() <= EXPONENT_BYTES_MAX
        && exponent.last().is_some_and(|low| low % 2 == 1)
        && exponent != [1];
    if !MODULUS_BYTES.contains(&modulus.len()) || !exponent_is_sound {
        return None;
    }
    let key = DecodingKey::from_rsa_raw_components(&modulus, &exponent);
    Some((id, RsaKey { modulus, exponent, key }))
}

/// A positive integer in base64url, without leading zero bytes.
fn number(text: &str) -> Option<Vec<u8>> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let first = bytes.iter().position(|byte| *byte != 0)?;
    bytes.get(first..).map(<[u8]>::to_vec)
}
