use super::*;

#[test]
fn well_formed_documents() {
    for text in [
        "<a/>",
        "<a></a>",
        "<a>text</a>",
        "<a b=\"1\" c='2'/>",
        "<a><b/><c>x</c></a>",
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<a/>\n",
        "<!-- before --><a/><!-- behind -->",
        "<a><!-- within --></a>",
        "<?pi data?><a/>",
        "<a><![CDATA[<b>&]]></a>",
        "<a>&lt;&gt;&amp;&quot;&apos;</a>",
        "<a>&#65;&#x42;&#x1F600;</a>",
        "<a b=\"&lt;&#10;\"/>",
        "<ns:a xmlns:ns=\"urn:x\"><ns:b/></ns:a>",
        "<_a-b.c1/>",
        "<é>è</é>",
        "<a>]] ></a>",
        "  <a/>  ",
        "<a\n  b = \"1\"\n/>",
    ] {
        assert_eq!(check(text), Ok(()), "{text}");
    }
}

#[test]
fn what_is_not_well_formed() {
    for text in [
        "",
        " ",
        "text",
        "<a>",
        "</a>",
        "<a></b>",
        "<a><b></a></b>",
        "<a/><b/>",
        "<a></a>text",
        "text<a/>",
        "<a b=1/>",
        "<a b/>",
        "<a b=\"1\" b=\"2\"/>",
        "<a b=\"<\"/>",
        "<a>&</a>",
        "<a>& b</a>",
        "<a>&nbsp;</a>",
        "<a>&lt</a>",
        "<a>&#0;</a>",
        "<a>&#xD800;</a>",
        "<a>&#x110000;</a>",
        "<a b=\"&nope;\"/>",
        "<a>\u{1}</a>",
        "<a>\u{ffff}</a>",
        "<a b=\"\u{1}\"/>",
        "<a>]]></a>",
        "<1a/>",
        "<a 1b=\"x\"/>",
        "<-a/>",
        "<a><!-- -- --></a>",
        "<a><!-- </a>",
        "<a><![CDATA[x</a>",
        "<![CDATA[x]]>",
        "&lt;",
        "<a/>&lt;",
        "<!DOCTYPE a><a/>",
        "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>",
        " <?xml version=\"1.0\"?><a/>",
        "<a/><?xml version=\"1.0\"?>",
        "<a",
        "<a b=\"1",
        "<",
        "< a/>",
        "{\"a\":1}",
    ] {
        assert!(check(text).is_err(), "{text}");
    }
}

#[test]
fn depth_has_a_limit() {
    let nested = |depth: usize| format!("{}{}", "<a>".repeat(depth), "</a>".repeat(depth));
    assert_eq!(check(&nested(DEPTH_MAX)), Ok(()));
    assert!(check(&nested(DEPTH_MAX + 1)).is_err());
    assert!(check(&nested(10_000)).is_err());
}
