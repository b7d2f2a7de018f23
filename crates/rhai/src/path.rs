//! Paths of fields that are written as a text: `"event.eventCode"` in `logs.find_by("event.eventCode", "ARR")`.
//!
//! Such a text must be as plain to whoever reads the source as `log.event.eventCode` is. So it stands in
//! the source as it is, is looked at when the script is compiled, and at run time only the texts of the
//! running script are known: a text that was put together is none of them.

use std::cell::RefCell;
use std::rc::Rc;

use rhai::ImmutableString;

use crate::object::NameId;

/// Most names of a path.
pub(crate) const NAMES_MAX: usize = 16;

/// The names of a path; `None` for a text that is none.
pub(crate) fn names(text: &str) -> Option<Vec<&str>> {
    let names: Vec<&str> = text.split('.').take(NAMES_MAX + 1).collect();
    (names.len() <= NAMES_MAX && names.iter().all(|name| is_name(name))).then_some(names)
}

/// Whether it could stand behind a dot in the source.
fn is_name(text: &str) -> bool {
    let letters = text.trim_start_matches('_');
    letters.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// One name of a path.
pub(crate) struct Name {
    pub(crate) id: NameId,
    pub(crate) text: Box<str>,
}

/// A path that a script names.
pub(crate) struct FieldPath {
    pub(crate) text: ImmutableString,
    pub(crate) names: Box<[Name]>,
}

/// The paths of the script that runs.
#[derive(Clone, Default)]
pub(crate) struct PathsInForce(Rc<RefCell<Rc<[FieldPath]>>>);

impl PathsInForce {
    /// Another script runs from here on.
    pub(crate) fn set(&self, paths: &Rc<[FieldPath]>) {
        self.0.replace(Rc::clone(paths));
    }

    pub(crate) fn get(&self) -> Rc<[FieldPath]> {
        Rc::clone(&self.0.borrow())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_path_is() {
        let check = |text: &str, expected: Option<&[&str]>| {
            assert_eq!(names(text).as_deref(), expected, "{text}");
        };
        check("a", Some(&["a"]));
        check("event.eventCode", Some(&["event", "eventCode"]));
        check("_a.b_2", Some(&["_a", "b_2"]));
        for none in
            ["", ".", "a.", ".a", "a..b", "a b", "a[0]", "2", "a.2", "a.é", "_", "a?.b", " a"]
        {
            check(none, None);
        }
        assert_eq!(names(&["a"; NAMES_MAX].join(".")).map(|names| names.len()), Some(NAMES_MAX));
        check(&["a"; NAMES_MAX + 1].join("."), None);
    }
}
