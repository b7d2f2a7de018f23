//! Path and query of a request.

use tidewire_model::{Model, UnknownTypes};
use tidewire_wire::request::{
    SocketPath, parse_path, parse_query, redact, resolve_keys, subprotocols,
};

pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    let _ = redact(text);
    let _ = subprotocols([text]);
    let _ = parse_query(query);
    if let Ok(SocketPath::Objects { keys, .. }) = parse_path(path) {
        for rule in [UnknownTypes::Refuse, UnknownTypes::Accept] {
            let model = Model::sample_helpdesk().with_unknown_types(rule);
            let _ = resolve_keys(&keys, &|name| model.key_kind(name), &[]);
        }
    }
}
