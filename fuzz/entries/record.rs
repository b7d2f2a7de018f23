//! A Kafka record: key, header and body.

use bytes::Bytes;
use tidewire_event::image::{Body, BodyLimits};
use tidewire_event::{RecordHeader, RecordKey};

pub(crate) fn run(data: &[u8]) {
    let mut parts = data.splitn(3, |b| *b == b'\n');
    let key = parts.next().unwrap_or_default();
    let header = parts.next().unwrap_or_default();
    if let Ok(key) = RecordKey::parse(key) {
        let text = RecordKey::format(&key.tenant, key.object_type, &key.key);
        assert!(RecordKey::parse(text.as_bytes()) == Ok(key), "the key is another one: {text}");
    }
    if let Ok(header) = RecordHeader::parse(header) {
        let text = header.format();
        assert!(
            RecordHeader::parse(text.as_bytes()) == Ok(header),
            "the header is another one: {text}"
        );
    }
    let _ = RecordHeader::of_record(Some(header), false);
    if let Some(body) = parts.next()
        && let Ok(body) = Body::parse(Bytes::copy_from_slice(body), BodyLimits::default())
    {
        for image in [body.new_image(), body.old_image()].into_iter().flatten() {
            for (name, value) in image.members() {
                let _ = (name.text(), value.as_str(), value.elements().count());
            }
        }
    }
}
