//! The stored form of a session: JSON with a version.
//!
//! The claim stands beside it, not in it, so that a store compares it without reading JSON. So does the
//! position, which is written far more often.

use serde::Deserialize;

use crate::StoreError;

const VERSION: u32 = 1;
const WHAT: &str = "session";

/// What is stored of a session besides its claim and its position.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionState {
    /// The field list, as the client sent it.
    pub fields: Option<String>,
}

#[derive(Deserialize)]
struct Stored {
    v: u32,
    fields: Option<String>,
}

impl SessionState {
    /// The stored text.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut object = serde_json::Map::new();
        object.insert("v".into(), VERSION.into());
        if let Some(fields) = &self.fields {
            object.insert("fields".into(), fields.as_str().into());
        }
        serde_json::Value::Object(object).to_string()
    }

    /// Reads the stored text. Members it does not know are passed over.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if it isn't JSON of this shape, or of a version that is not known here.
    pub fn from_json(text: &[u8]) -> Result<Self, StoreError> {
        let corrupt = |why: String| StoreError::Corrupt { what: WHAT, why };
        let stored: Stored = serde_json::from_slice(text).map_err(|error| {
            corrupt(format!("not the expected JSON at byte {}", error.column()))
        })?;
        if stored.v != VERSION {
            return Err(corrupt(format!("version {} is not known here", stored.v)));
        }
        if stored.fields.as_ref().is_some_and(|fields| fields.len() > crate::FIELDS_BYTES_MAX) {
            return Err(corrupt("the field list is too large".into()));
        }
        Ok(Self { fields: stored.fields })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_stored_form_is_stable() {
        let check = |fields: Option<&str>, expected: &str| {
            let state = SessionState { fields: fields.map(Into::into) };
            assert_eq!(state.to_json(), expected);
            assert_eq!(SessionState::from_json(expected.as_bytes()), Ok(state));
        };
        check(None, r#"{"v":1}"#);
        check(Some("{}"), r#"{"v":1,"fields":"{}"}"#);
        check(Some(r#"{"a":"*"}"#), r#"{"v":1,"fields":"{\"a\":\"*\"}"}"#);
        check(Some("é\u{1}"), "{\"v\":1,\"fields\":\"é\\u0001\"}");
    }

    #[test]
    fn later_members_are_passed_over() {
        let state = SessionState::from_json(br#"{"v":1,"fields":null,"later":[1]}"#);
        assert_eq!(state, Ok(SessionState { fields: None }));
    }

    #[test]
    fn what_cannot_be_read_is_corrupt() {
        for bad in [
            "",
            "{",
            "null",
            "[]",
            "{}",
            r#"{"v":2}"#,
            r#"{"v":-1}"#,
            r#"{"v":"1"}"#,
            r#"{"v":1,"fields":7}"#,
            r#"{"v":1} x"#,
            "\u{0}",
            r#"{"v":1,"v":1}"#,
        ] {
            let state = SessionState::from_json(bad.as_bytes());
            assert!(matches!(state, Err(StoreError::Corrupt { what: "session", .. })), "{bad:?}");
        }
        let long = SessionState { fields: Some("x".repeat(crate::FIELDS_BYTES_MAX + 1)) };
        assert!(SessionState::from_json(long.to_json().as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = SessionState::from_json(&bytes);
        }

        #[test]
        fn what_is_written_is_read(fields in proptest::option::of(".{0,64}")) {
            let state = SessionState { fields };
            prop_assert_eq!(SessionState::from_json(state.to_json().as_bytes()), Ok(state));
        }
    }
}
