use super::super::*;
use super::JWT;

fn query(raw: &str) -> Result<String, String> {
    let q = parse_query(raw).map_err(|r| format!("{}: {}", r.status, r.message))?;
    let mut out = Vec::new();
    let texts = [("s", q.session), ("f", q.fields), ("id", q.last_event_id), ("filter", q.filter)];
    out.extend(texts.into_iter().filter_map(|(name, v)| v.map(|v| format!("{name}={v}"))));
    out.extend(q.ticket.map(|ticket| format!("t={}", ticket.expose())));
    let flags =
        [("refuse", q.refuse_close), ("main", q.only_main_object), ("still", !q.live_references)];
    out.extend(flags.into_iter().filter(|(_, on)| *on).map(|(name, _)| name.to_owned()));
    Ok(out.join(" "))
}

#[test]
fn queries() {
    let check =
        |raw: &str, expected: &str| assert_eq!(query(raw).as_deref(), Ok(expected), "{raw}");
    check("", "");
    check("&", "");
    check("&&session=a&", "s=a");
    check("session=a", "s=a");
    check("session=Az09_.-", "s=Az09_.-");
    check("session=%61", "s=a");
    check("%73ession=a", "s=a");
    check("refuse=close", "refuse");
    check("onlyMainObject=true", "main");
    check("onlyMainObject=false", "");
    check("liveReferences=true", "");
    check("liveReferences=false", "still");
    check("lastEventId=3-17_x", "id=3-17_x");
    check("ticket=abc", "t=abc");
    check("fields=%7B%22a%22%3A%22*%22%7D", "f={\"a\":\"*\"}");
    check("fields={\"a\":\"*\"}", "f={\"a\":\"*\"}");
    check("fields=%7B%7D", "f={}");
    check("fields=not+json", "f=not json");
    check("filter=a+%3D+%22b%2Bc%22", "filter=a = \"b+c\"");
    check("filter=a=1", "filter=a=1");
    check("filter=a%3D1%26b", "filter=a=1&b");
    check(
        "ticket=t&session=s&fields={}&refuse=close&onlyMainObject=true&liveReferences=false&lastEventId=1-2&filter=x",
        "s=s f={} id=1-2 filter=x t=t refuse main still",
    );
    check(&format!("session={}", "s".repeat(64)), &format!("s={}", "s".repeat(64)));
}

#[test]
fn refusals_of_queries() {
    let check = |raw: &str, expected: &str| {
        assert_eq!(query(raw).unwrap_err(), expected, "{raw}");
    };
    let near = |name: &str, nearest: &str| {
        let expected =
            format!("400: query parameter {name:?} is unknown, the nearest known is '{nearest}'");
        assert_eq!(query(&format!("{name}=1")).unwrap_err(), expected);
        assert_eq!(query(name).unwrap_err(), expected);
    };
    near("sesion", "session");
    near("Session", "session");
    near("SESSION", "session");
    near("sessions", "session");
    near("field", "fields");
    near("feilds", "fields");
    near("Fields", "fields");
    near("refuze", "refuse");
    near("onlymainobject", "onlyMainObject");
    near("only_main_object", "onlyMainObject");
    near("mainObject", "onlyMainObject");
    near("liveReference", "liveReferences");
    near("live-references", "liveReferences");
    near("lasteventid", "lastEventId");
    near("last_event_id", "lastEventId");
    near("eventId", "lastEventId");
    near("Last-Event-ID", "lastEventId");
    near("filters", "filter");
    near("fliter", "filter");
    near("Ticket", "ticket");
    near("tickets", "ticket");
    let shown = query("eyJhbGciOiJub25l=1").unwrap_err();
    assert!(shown.starts_with("400: query parameter a text of 16 bytes is unknown"), "{shown}");
    check("=1", "400: query parameter \"\" is unknown, the nearest known is 'fields'");
    check(
        JWT,
        "400: query parameter a text of 51 bytes is unknown, the nearest known is 'onlyMainObject'",
    );
    check(&format!("{}=1", "n".repeat(65)), "400: query parameter a text of 65 bytes is unknown");
    check(
        "session",
        "400: query parameter 'session' expects 1 to 64 of A-Z, a-z, 0-9, '_', '.' and '-'",
    );
    for bad in ["", "a%20b", "a+b", "a/b", "é", "a%00", "a:b", "a,b"] {
        assert!(query(&format!("session={bad}")).unwrap_err().starts_with("400: "), "{bad}");
    }
    assert!(query(&format!("session={}", "s".repeat(65))).is_err());
    assert!(query(&format!("lastEventId={}", "A".repeat(48 * 1024))).is_ok());
    assert!(query(&format!("lastEventId={}", "A".repeat(48 * 1024 + 1))).is_err());
    for name in ["onlyMainObject", "liveReferences"] {
        for bad in ["", "1", "0", "yes", "True", "TRUE", "false ", "on"] {
            let expected = format!("400: query parameter '{name}' expects 'true' or 'false'");
            check(&format!("{name}={}", bad.replace(' ', "%20")), &expected);
        }
    }
    for bad in ["", "Close", "true", "open", "close,close"] {
        check(&format!("refuse={bad}"), "400: query parameter 'refuse' expects 'close'");
    }
    for name in ["fields", "filter"] {
        check(&format!("{name}="), &format!("400: query parameter '{name}' expects a value"));
    }
    for bad in ["", "a%20b", "%00", "%C3%A9"] {
        check(
            &format!("lastEventId={bad}"),
            "400: query parameter 'lastEventId' expects the id of an event",
        );
        check(&format!("ticket={bad}"), "401: ticket malformed");
    }
    for name in ["session", "fields", "refuse", "filter", "ticket", "lastEventId"] {
        check(
            &format!("{name}=close&{name}=close"),
            &format!("400: query parameter '{name}' is given twice"),
        );
        check(
            &format!("{name}=%zz"),
            &format!("400: query parameter '{name}' is not percent-encoded UTF-8"),
        );
    }
    check("%zz=1", "400: a query parameter's name is not percent-encoded UTF-8");
    check(&"&".repeat(QUERY_BYTES_MAX + 1), "400: the query has more than 65536 bytes");
}

#[test]
fn subprotocol_offers() {
    let check = |values: &[&str], expected: Result<(Option<&str>, Option<&str>), u16>| {
        let chosen = subprotocols(values.iter().copied()).map_err(|refusal| refusal.status);
        let chosen = chosen
            .as_ref()
            .map(|c| (c.echo.map(Protocol::as_str), c.bearer.as_ref().map(Token::expose)));
        assert_eq!(chosen.map_err(|status| *status), expected, "{values:?}");
    };
    check(&[], Ok((None, None)));
    check(&[""], Ok((None, None)));
    check(&["vms"], Ok((Some("vms"), None)));
    check(&["tidewire.v1"], Ok((Some("tidewire.v1"), None)));
    check(&["vms, tidewire.v1"], Ok((Some("vms"), None)));
    check(&["tidewire.v1,vms"], Ok((Some("tidewire.v1"), None)));
    check(&["vms, bearer.a.b.c"], Ok((Some("vms"), Some("a.b.c"))));
    check(&["bearer.a.b.c, vms"], Ok((Some("vms"), Some("a.b.c"))));
    check(&["tidewire.v1,bearer.t"], Ok((Some("tidewire.v1"), Some("t"))));
    check(&["vms", "bearer.t"], Ok((Some("vms"), Some("t"))));
    check(&["bearer.t", "tidewire.v1"], Ok((Some("tidewire.v1"), Some("t"))));
    check(&["  vms ,\tbearer.t ,"], Ok((Some("vms"), Some("t"))));
    check(&["graphql-ws"], Ok((None, None)));
    check(&["graphql-ws, vms"], Ok((Some("vms"), None)));
    check(&["VMS"], Ok((None, None)));
    check(&["tidewire.v2, tidewire.v1"], Ok((Some("tidewire.v1"), None)));
    check(&["bearer.t"], Err(400));
    check(&["mqtt, bearer.t"], Err(400));
    check(&["vms, bearer.a, bearer.b"], Err(400));
    check(&["vms, bearer."], Err(401));
    check(&["vms, bearer.é"], Err(401));
    check(&["vms, bearer.a b"], Err(401));
    check(&["vms, bearer"], Ok((Some("vms"), None)));
}
