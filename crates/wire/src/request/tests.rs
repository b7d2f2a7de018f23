mod paths;
mod queries;
mod redaction;

use proptest::prelude::*;
use tidewire_event::KeyKind;

use super::*;
use crate::definition::KeySelector;

/// Shaped like a real one, with the length of a small one.
const JWT: &str = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiI3In0.c2lnbmF0dXJl-_";
const TICKET: &str = "Zm9ydHktdGhyZWUtY2hhcmFjdGVycy1vZi1iYXNlNjQ_";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn nothing_panics(text in "(?s).{0,80}", rest in "[a-zA-Z0-9%/,*?&=+é-]{0,60}") {
        let path = format!("{OBJECT_PREFIX}{rest}");
        for text in [&text, &rest, &path] {
            if let Ok(SocketPath::Objects { keys, .. }) = parse_path(text) {
                for kind in [None, Some(KeyKind::Integer), Some(KeyKind::Text)] {
                    let _ = resolve_keys(&keys, &|_| kind, &[]);
                }
            }
            let _ = (parse_query(text), subprotocols([text.as_str()]), redact(text));
        }
    }

    #[test]
    fn the_token_segment_is_left_out(token in "[A-Za-z0-9_.~-]{2,60}", key in "[0-9]{1,9}") {
        let raw = format!("{OBJECT_PREFIX}Voyage/U/{key}/{token}?ticket={token}");
        prop_assert_eq!(redact(&raw), format!("{OBJECT_PREFIX}Voyage/U/{key}/-?ticket=-"));
        let shown = format!("{:?}", parse_path(raw.split('?').next().unwrap()).unwrap());
        let hidden = shown.ends_with("token: Here(Token(-)) }");
        prop_assert!(hidden);
    }

    #[test]
    fn text_keys_survive_any_encoding(key in "[^\\p{Cc}]{1,30}", everything in any::<bool>()) {
        let plain = |b: u8| !everything && b.is_ascii_alphanumeric();
        let raw: String = key
            .bytes()
            .map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02x}") })
            .collect();
        let keys = resolve_keys(&RawKeys::new("Crate", &raw), &|_| Some(KeyKind::Text), &[]);
        match keys.unwrap() {
            KeySelector::Any => prop_assert_eq!(key, "*"),
            KeySelector::Keys(keys) => prop_assert_eq!(keys[0].to_string(), key),
        }
    }
}
