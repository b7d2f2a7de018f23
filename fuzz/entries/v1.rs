//! A message of a `tidewire.v1` client: what is read is whole, and a token is never repeated.

use tidewire_model::{Model, UnknownTypes};
use tidewire_wire::v1::{ClientMessage, Keys, parse};

pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match parse(text) {
        Err(error) => {
            let shown = error.refusal.message;
            assert!(shown.len() < 400, "a long refusal: {shown}");
            assert!(!shown.contains("eyJ"), "a token in a refusal: {shown}");
        }
        Ok(ClientMessage::Subscribe(request)) => {
            if let Keys::Named(keys) = &request.keys {
                assert!((1..=100).contains(&keys.len()), "{} keys", keys.len());
            }
            for rule in [UnknownTypes::Refuse, UnknownTypes::Accept] {
                let model = Model::sample_helpdesk().with_unknown_types(rule);
                let _ = request.keys.resolve(&request.object_type, &|name| model.key_kind(name));
            }
        }
        Ok(ClientMessage::Await { id }) => {
            assert!(text.contains(&id.to_string()) || text.contains('\\'))
        }
        Ok(_) => {}
    }
}
