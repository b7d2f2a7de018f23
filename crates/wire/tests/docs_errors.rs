//! Every close code and every status has its page, and the table names them all.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use tidewire_wire::error::{CloseCode, Refusal, Retry, STATUSES, status_page, status_text};
use tidewire_wire::ws::ProtocolError;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn codes_and_statuses_have_pages() {
    let codes = CloseCode::ALL.iter().map(|code| (code.docs_path(), code.number(), code.name()));
    let statuses = STATUSES.iter().map(|(status, text)| (status_page(*status), *status, *text));
    let table = std::fs::read_to_string(root().join("docs/errors/README.md")).unwrap();
    let mut pages = HashSet::new();
    for (page, number, name) in codes.chain(statuses) {
        let text = std::fs::read_to_string(root().join(&page));
        let text = text.unwrap_or_else(|error| panic!("{page}: {error}"));
        let title = text.lines().next().unwrap();
        assert_eq!(title, format!("# {number} {name}"), "{page}");
        for part in ["**Means.**", "**Client.**", "**Operator.**"] {
            assert!(text.contains(part), "{page} lacks {part}");
        }
        let file = page.strip_prefix("docs/errors/").unwrap().to_owned();
        assert!(table.contains(&format!("[{number}]({file})")), "the table lacks {file}");
        pages.insert(file);
    }
    pages.insert("README.md".to_owned());
    for entry in std::fs::read_dir(root().join("docs/errors")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(pages.contains(&name), "{name} explains nothing that is sent");
    }
}

#[test]
fn the_table_says_what_the_code_says() {
    let table = std::fs::read_to_string(root().join("docs/errors/README.md")).unwrap();
    for code in CloseCode::ALL {
        let file = code.docs_path().replace("docs/errors/", "");
        let start = format!("| [{}]({file}) | `{}` | ", code.number(), code.name());
        let row = table.lines().find(|line| line.starts_with(&start)).unwrap();
        let retry = format!("| {} |", code.retry().as_str());
        assert!(row.contains(&retry), "{row}");
    }
}

#[test]
fn ranges_tell_what_to_do() {
    let mut last = 0;
    for code in CloseCode::ALL {
        let expected = match code.number() {
            1012 => Retry::Now,
            1000..=1015 | 4000..=4099 => Retry::Never,
            4100..=4199 => Retry::Backoff,
            4200..=4299 => Retry::Now,
            other => panic!("{other} is in no range"),
        };
        assert_eq!(code.retry(), expected, "{}", code.number());
        assert!(code.number() > last, "numbers rise");
        last = code.number();
        let label =
            code.name().bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        assert!(label, "{}", code.name());
    }
    assert_eq!(CloseCode::ALL.len(), 17);
}

#[test]
fn refusals_have_a_close_code() {
    let check = |refusal: Refusal, expected: CloseCode| {
        assert_eq!(refusal.close_code(), expected, "{refusal}");
        assert_ne!(status_text(refusal.status), "Unknown");
    };
    check(Refusal::bad_request(""), CloseCode::BadRequest);
    check(Refusal::unauthorized(""), CloseCode::TokenInvalid);
    check(Refusal::forbidden(""), CloseCode::Forbidden);
    check(Refusal::not_found(""), CloseCode::Unknown);
    check(Refusal::method_not_allowed(""), CloseCode::BadRequest);
    check(Refusal::too_large(""), CloseCode::BadRequest);
    check(Refusal::upgrade_required(""), CloseCode::BadRequest);
    check(Refusal::too_many("", 1), CloseCode::OverLimit);
    check(Refusal::internal(""), CloseCode::Internal);
    check(Refusal::unavailable("", 1), CloseCode::Unavailable);
    assert_eq!(CloseCode::from(ProtocolError::Unmasked), CloseCode::ProtocolError);
    assert_eq!(CloseCode::from(ProtocolError::BadUtf8), CloseCode::BadUtf8);
    assert_eq!(CloseCode::from(ProtocolError::TooBig { max: 1 }), CloseCode::TooBig);
}
