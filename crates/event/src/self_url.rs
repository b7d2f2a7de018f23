//! The `self` link of an object: `<self_base>/ws/rest/<Type>/<key>`.

use crate::percent_encode;

/// Appends the link. `self_base` is the base URL of the tenant without a slash at its end, and, since the
/// link goes into JSON strings as it is, without quotes, backslashes and control characters (configuration
/// checks it). `key_text` is the key's plain text; it is percent-encoded here.
pub fn write_self_url(out: &mut Vec<u8>, self_base: &str, object_type: &str, key_text: &str) {
    out.extend_from_slice(self_base.as_bytes());
    out.extend_from_slice(b"/ws/rest/");
    out.extend_from_slice(object_type.as_bytes());
    out.push(b'/');
    out.extend_from_slice(percent_encode(key_text).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_percent_encoded() {
        let check = |object_type: &str, key: &str, expected: &str| {
            let mut out = Vec::new();
            write_self_url(&mut out, "https://vms.example.com", object_type, key);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        };
        check("PortCall", "7823672", "https://vms.example.com/ws/rest/PortCall/7823672");
        check("Ticket", "A/1 \"é", "https://vms.example.com/ws/rest/Ticket/A%2F1%20%22%C3%A9");
    }
}
