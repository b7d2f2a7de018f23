//! Server-Sent Events (WHATWG HTML, section 9.2): the same messages on a plain HTTP response.
//!
//! A block ends with an empty line. A position travels as an `id:` block of its own: without data a
//! block dispatches no event, yet sets what the browser sends as `Last-Event-ID`.

/// What an error is called: `addEventListener("error", ...)`.
pub const EVENT_ERROR: &str = "error";
/// What a word about the session is called.
pub const EVENT_SESSION: &str = "session";

/// Appends a message. Its parts (a body and a suffix, say) follow one another without a seam.
pub fn push_message(out: &mut Vec<u8>, parts: &[&[u8]]) {
    push_data(out, parts);
    out.push(b'\n');
}

/// Appends a message of a named event, such as [`EVENT_ERROR`]. Line breaks cannot stand in a name and
/// are left out of it.
pub fn push_event(out: &mut Vec<u8>, name: &str, parts: &[&[u8]]) {
    push_field(out, b"event: ", name);
    push_message(out, parts);
}

/// Appends a block that only sets the last event id. What a field cannot hold (line breaks, NUL) is
/// left out of it.
pub fn push_id(out: &mut Vec<u8>, id: &str) {
    push_field(out, b"id: ", id);
    out.push(b'\n');
}

/// Appends a block that sets how long the browser waits before it connects again.
pub fn push_retry(out: &mut Vec<u8>, milliseconds: u64) {
    out.extend_from_slice(b"retry: ");
    crate::json::push_u64(out, milliseconds);
    out.extend_from_slice(b"\n\n");
}

/// Appends a comment, which keeps proxies from taking the stream for dead.
pub fn push_keep_alive(out: &mut Vec<u8>) {
    out.extend_from_slice(b":\n\n");
}

fn push_field(out: &mut Vec<u8>, name: &[u8], value: &str) {
    out.extend_from_slice(name);
    out.extend(value.bytes().filter(|b| !matches!(b, b'\n' | b'\r' | 0)));
    out.push(b'\n');
}

/// JSON that passes through as it came may hold line breaks between its tokens, and each of them would
/// end the field: a line of data per line, which the browser joins with line feeds again.
fn push_data(out: &mut Vec<u8>, parts: &[&[u8]]) {
    out.extend_from_slice(b"data: ");
    let mut after_return = false;
    for part in parts {
        let mut rest = *part;
        while let Some(at) = rest.iter().position(|b| matches!(b, b'\n' | b'\r')) {
            let (line, tail) = rest.split_at(at);
            out.extend_from_slice(line);
            let second_half = after_return && line.is_empty() && tail.first() == Some(&b'\n');
            if !second_half {
                out.extend_from_slice(b"\ndata: ");
            }
            after_return = tail.first() == Some(&b'\r');
            rest = tail.get(1..).unwrap_or_default();
        }
        out.extend_from_slice(rest);
        after_return &= rest.is_empty();
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What the algorithm of the specification makes of a stream: (event, data, last event id).
    fn read(stream: &str) -> (Vec<(String, String)>, String) {
        let (mut events, mut id) = (Vec::new(), String::new());
        let (mut event, mut data) = (String::new(), String::new());
        for line in stream.split('\n') {
            match line.split_once(": ") {
                _ if line.is_empty() => {
                    if !data.is_empty() {
                        data.pop();
                        events.push((std::mem::take(&mut event), std::mem::take(&mut data)));
                    }
                    event.clear();
                }
                Some(("event", value)) => event = value.to_owned(),
                Some(("data", value)) => data = data + value + "\n",
                Some(("id", value)) => id = value.to_owned(),
                _ => {}
            }
        }
        (events, id)
    }

    #[test]
    fn line_breaks_become_lines_of_data() {
        let check = |parts: &[&[u8]], expected: &str| {
            let mut out = Vec::new();
            push_message(&mut out, parts);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        };
        check(&[b"{}"], "data: {}\n\n");
        check(&[b"{\"a\":1", b",\"b\":2}"], "data: {\"a\":1,\"b\":2}\n\n");
        check(&[b"{\n}"], "data: {\ndata: }\n\n");
        check(&[b"{\r\n}"], "data: {\ndata: }\n\n");
        check(&[b"{\r}"], "data: {\ndata: }\n\n");
        check(&[b"{\n\n}"], "data: {\ndata: \ndata: }\n\n");
        check(&[b"{\r", b"\n}"], "data: {\ndata: }\n\n");
        check(&[b"{\r", b"1", b"\n}"], "data: {\ndata: 1\ndata: }\n\n");
        check(&[b"{\r\n\r\n}"], "data: {\ndata: \ndata: }\n\n");
    }

    #[test]
    fn a_field_cannot_be_broken_out_of() {
        let mut out = Vec::new();
        push_id(&mut out, "a\nevent: error\0\r");
        assert_eq!(out, b"id: aevent: error\n\n");
        assert_eq!(read("id: 1\n\n"), (vec![], "1".to_owned()));
    }

    proptest! {
        #[test]
        fn a_browser_reads_what_was_written(a in "[a{\r\n\"]{1,12}", b in "[b}\r\n]{0,12}") {
            let mut out = Vec::new();
            push_event(&mut out, EVENT_ERROR, &[a.as_bytes(), b.as_bytes()]);
            let stream = String::from_utf8(out).unwrap();
            let expected = format!("{a}{b}").replace("\r\n", "\n").replace('\r', "\n");
            prop_assert_eq!(read(&stream).0, vec![("error".to_owned(), expected)]);
        }
    }
}
