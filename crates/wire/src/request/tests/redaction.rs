use super::super::*;
use super::{JWT, TICKET};

#[test]
fn redacted_for_the_log() {
    let check = |raw: &str, expected: &str| assert_eq!(redact(raw), expected, "{raw}");
    let objects = OBJECT_PREFIX;
    check("", "");
    check("/", "/");
    check("/ws/v1", "/ws/v1");
    check("/ws/v1?session=a&refuse=close", "/ws/v1?session=a&refuse=close");
    check("/ws/v1?", "/ws/v1?");
    check("/ws/rest/Voyage/1", "/ws/rest/Voyage/1");
    check("/ws/rest/Voyage/eyJhbGciOiJub25l", "/ws/rest/Voyage/-");
    check("/ws/rest/Voyage/%65yJhbGciOiJub25l", "/ws/rest/Voyage/-");
    check("/ws/v1?session=eyJhbGciOiJub25l", "/ws/v1?session=-");
    check("/ws/v1?eyJhbGciOiJub25l=1", "/ws/v1?-=-");
    check("/ws/v1?filter=Bearer+abc", "/ws/v1?filter=-");
    check("/health/live", "/health/live");
    check("/api/v1/changes", "/api/v1/changes");
    let socket = |rest: &str, expected: &str| {
        check(&format!("{objects}{rest}"), &format!("{objects}{expected}"));
    };
    socket("Voyage/U/1/short", "Voyage/U/1/-");
    socket("Voyage/U/1/-", "Voyage/U/1/-");
    socket("Voyage/U/1/", "Voyage/U/1/");
    socket("Voyage/U/1", "Voyage/U/1");
    socket("Voyage/U/1/a/b/c", "Voyage/U/1/-/-/-");
    socket("Crate/C%2CU/a%2Fb/secret?session=s", "Crate/C%2CU/a%2Fb/-?session=s");
    socket(
        "Crate/U/123e4567-e89b-12d3-a456-426614174000/t",
        "Crate/U/123e4567-e89b-12d3-a456-426614174000/-",
    );
    socket("//Voyage/U/1/secret", "//Voyage/-/-/-");
    check("/ws/rest/WebSocketAlertScript/bunker/secret", "/ws/rest/WebSocketAlertScript/bunker/-");
    check("/ws/rest/WebSocketAlertScript/bunker", "/ws/rest/WebSocketAlertScript/bunker");
    check(
        "//ws/rest/WebSocketObjectSubscription/Voyage/U/1/secret",
        "//ws/rest/WebSocketObjectSubscription/-/-/-/-",
    );
    check(
        "/ws/rest/websocketobjectsubscription/Voyage/U/1/secret",
        "/ws/rest/websocketobjectsubscription/Voyage/-/-/-",
    );
    check("/ws/v1?ticket=secret", "/ws/v1?ticket=-");
    check("/ws/v1?tick%65t=secret&session=s", "/ws/v1?tick%65t=-&session=s");
    check("/ws/v1?token=secret", "/ws/v1?token=-");
    check("/ws/v1?access_token=secret&x", "/ws/v1?access_token=-&x");
    check("/ws/v1?a%20b=secret", "/ws/v1?-=-");
    check("/ws/v1?Ticket=secret", "/ws/v1?Ticket=-");
    check("/ws/v1?ticket", "/ws/v1?ticket");
    check("/ws/v1?fields={\"a\":\"*\"}", "/ws/v1?fields={\"a\":\"*\"}");
    check("/ws/v1?filter=%zz", "/ws/v1?filter=-");
    check("/ws/v1?session=a?ticket=b", "/ws/v1?session=a?ticket=b");
}

/// A token in any place that it could be put into by mistake.
#[test]
fn a_token_never_comes_through() {
    let places = [
        "/ws/rest/WebSocketObjectSubscription/Voyage/U/1/@",
        "/ws/rest/WebSocketObjectSubscription/Voyage/U/@",
        "/ws/rest/WebSocketObjectSubscription/Voyage/@/1/x",
        "/ws/rest/WebSocketObjectSubscription/@/U/1/x",
        "/ws/rest/WebSocketObjectSubscription/@",
        "/ws/rest/WebSocketObjectSubscription/Voyage/U/1,@/x",
        "/ws/rest/WebSocketObjectSubscription/Voyage/U/1/x/@",
        "/ws/rest/WebSocketObjectSubscription/Voyage/U/1/Bearer%20@",
        "/ws/rest/WebSocketObjectSubscription/Voyage/U/Bearer @/x",
        "/ws/rest/WebSocketAlertScript/@/x",
        "/ws/rest/WebSocketAlertScript/a/@",
        "/ws/rest/Voyage/@",
        "/@",
        "@",
        "/ws/v1/@",
        "/a/b/c/d/e/@",
        "/ws/v1?ticket=@",
        "/ws/v1?token=@",
        "/ws/v1?session=@",
        "/ws/v1?fields=@",
        "/ws/v1?filter=@",
        "/ws/v1?lastEventId=@",
        "/ws/v1?refuse=@",
        "/ws/v1?@",
        "/ws/v1?@=1",
        "/ws/v1?a=b&&=@",
        "/ws/v1?authorization=Bearer+@",
        "/ws/rest/WebSocketObjectSubscription/Voyage/U/1/-?ticket=@&ticket=@",
    ];
    let encode = |token: &str| token.bytes().map(|b| format!("%{b:02x}")).collect::<String>();
    for token in [JWT, TICKET] {
        for spelled in [token.to_owned(), encode(token)] {
            for place in places {
                let raw = place.replace('@', &spelled);
                let shown = redact(&raw);
                assert!(!shown.contains(&spelled), "{place}: {shown}");
                let (path, query) = raw.split_once('?').unwrap_or((&raw, ""));
                let told = [
                    format!("{:?}", parse_path(path)),
                    format!("{:?}", parse_query(query)),
                    format!("{:?}", subprotocols([raw.as_str()])),
                ];
                // Where it stands as a type, a code, a session or a list, it is not known to be one.
                for told in told.iter().filter(|told| told.starts_with("Err")) {
                    assert!(!told.contains(token) && !told.contains(&spelled), "{place}: {told}");
                }
            }
        }
    }
}
