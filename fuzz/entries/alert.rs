//! The body of an alert, and any text as a message.

use bytes::Bytes;
use tidewire_event::image::{Body, BodyLimits};
use tidewire_script::{AlertView, MessageType, Template};

pub(crate) fn run(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        for message_type in MessageType::ALL {
            let _ = message_type.check(text);
        }
        if let Ok(template) = Template::parse(text)
            && template.slots().next().is_none()
            && let Ok(rendered) = template.render(&[])
        {
            assert_eq!(rendered, text, "a template without slots is its text");
        }
    }
    let body = Body::parse(Bytes::copy_from_slice(data), BodyLimits::default());
    let Ok(body) = body else { return };
    if let Ok(view) = AlertView::of(&body) {
        assert!(serde_json::from_slice::<serde_json::Value>(view.alert.raw()).is_ok());
    }
}
