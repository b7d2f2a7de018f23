use super::*;

fn results(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn values_are_put_in() {
    let set = results(&[
        ("?1", "one"),
        ("?10", "ten"),
        ("?100", "hundred"),
        ("?2", ""),
        ("?3", "?1"),
        ("?999", "last"),
        ("?01", "odd"),
        ("4", "bare"),
        ("x", "y"),
    ]);
    let check = |template: &str, expected: Result<&str, TemplateError>| {
        let actual = Template::parse(template).and_then(|t| t.render(&set));
        assert_eq!(actual, expected.map(str::to_owned), "{template:?}");
    };
    for (template, expected) in [
        ("", ""),
        ("no slot", "no slot"),
        ("?1", "one"),
        ("?10", "ten"),
        ("?100", "hundred"),
        ("?1 ?10 ?100", "one ten hundred"),
        ("?1?10?100", "onetenhundred"),
        ("?1?1", "oneone"),
        ("?1.0", "one.0"),
        ("?1,0", "one,0"),
        ("?1 0", "one 0"),
        ("?1a", "onea"),
        ("a?1b", "aoneb"),
        ("?2", ""),
        ("<?2>", "<>"),
        // What is put in is not read again.
        ("?3", "?1"),
        ("?3?1", "?1one"),
        ("?999", "last"),
        // No slot.
        ("?", "?"),
        ("??", "??"),
        ("??1", "?one"),
        ("?1?", "one?"),
        ("?0", "?0"),
        ("?01", "?01"),
        ("?00", "?00"),
        ("? 1", "? 1"),
        ("?-1", "?-1"),
        ("?+1", "?+1"),
        ("?a", "?a"),
        ("?é1", "?é1"),
        ("?１", "?１"),
        ("1?", "1?"),
        ("is it so?", "is it so?"),
        ("é?1é", "éoneé"),
        ("line\n?1\n", "line\none\n"),
        ("{\"a\":\"?1\"}", "{\"a\":\"one\"}"),
        ("<a>?1</a>", "<a>one</a>"),
        ("<?xml version=\"1.0\"?><a>?1</a>", "<?xml version=\"1.0\"?><a>one</a>"),
    ] {
        check(template, Ok(expected));
    }
    for (template, slot) in [("?4", 4), ("?5", 5), ("?11", 11), ("?1 ?6", 6), ("?101", 101)] {
        check(template, Err(TemplateError::NotSet(slot)));
    }
    for beyond in ["?1000", "?65536", "?99999999999999999999", "a ?12345 b"] {
        let digits = beyond.trim_matches(|c: char| !c.is_ascii_digit());
        check(beyond, Err(TemplateError::Slot(crate::names::clip(digits, 12))));
    }
}

#[test]
fn what_is_never_set_says_so() {
    let template = Template::parse("?1 and ?3").unwrap();
    let error = template.render(&results(&[("?1", "x")])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "?3 was never set: the script returned true without mapResultsForMessage[\"?3\"]"
    );
}

#[test]
fn a_source_names_its_slots() {
    let check = |template: &str, source: &str, expected: Result<(), u16>| {
        let actual = Template::parse(template).unwrap().check_source(source);
        assert_eq!(actual, expected.map_err(TemplateError::NeverNamed), "{template} in {source}");
    };
    check("?1", r#"mapResultsForMessage["?1"] = 1; true"#, Ok(()));
    check("?1", r#"mapResultsForMessage["?10"] = 1; true"#, Err(1));
    check("?10", r#"mapResultsForMessage["?1"] = 1; true"#, Err(10));
    check("?1 ?2", r#"mapResultsForMessage["?1"] = 1; true"#, Err(2));
    check("", "true", Ok(()));
    check("plain", "true", Ok(()));
    // Put together at run time: found when it fires.
    check("?1", r#"for n in 1..4 { mapResultsForMessage["?" + n] = n; } true"#, Ok(()));
    check("?1", "mapResultsForMessage[`?${n}`] = n; true", Ok(()));
}

#[test]
fn a_message_has_an_end() {
    let template = Template::parse(&"?1".repeat(100)).unwrap();
    let set = results(&[("?1", &"x".repeat(1000))]);
    assert_eq!(template.render(&set), Err(TemplateError::TooLong));
    let set = results(&[("?1", &"x".repeat(655))]);
    assert_eq!(template.render(&set).unwrap().len(), 65_500);
}
