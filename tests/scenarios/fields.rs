//! Field lists: set, changed, refused, reset, and values that pass through digit for digit (section 3).

use serde_json::Value;

use crate::support::socket::Socket;
use crate::support::{BASE, Expected, Setup, World, ask, object_path};

const AT: &str = "2026-09-14T13:37:26";
/// The list of the VMS's documentation, for a BunkerOrder socket.
pub(crate) const PUBLISHED: &str = r#"{"portCall":{"agent":"*","port":{"portName":"*","timezone":"*"},"eventLogs":{"event":{"eventCode":"*","eventDesc":"*"},"eventLogDate":"*"}},"vessel":{"vesselName":"*","imoNumber":"*"},"remarks":"*"}"#;

fn update(kind: &str, key: u64, new: &str) -> String {
    format!(
        r#"{{"objectType":"{kind}","key":{key},"operation":"U","new":{new},"changedAt":"{AT}Z"}}"#
    )
}

fn encoded(list: &str) -> String {
    list.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// The object of the next message, as it stands there.
async fn object(socket: &mut Socket, kind: &str, key: u64) -> String {
    let text = socket.text().await;
    let start = text.find("\"dataloyObject\":").unwrap_or_else(|| panic!("{text}")) + 16;
    let end = text.find(&format!(",\"dataloyObjectSelf\":\"{BASE}/ws/rest/{kind}/{key}\""));
    text[start..end.unwrap_or_else(|| panic!("{text}"))].to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn set_changed_reset_and_values_digit_for_digit() {
    let Some(world) = World::shared() else { return };
    let tenant = world.tenant();
    let wish = "PortCall/U/7";
    let mut socket = world.open(0, &tenant, wish).await;
    let image = r#"{"key":7,"agent":null,"speed":1.10,"distanceActual":1E+5,"daysAtSea":12345678901234567890,"remarks":"\u00e9\u0041\ud83d\ude00 \/","port":{"key":11,"portName":"Bergen","timezone":"Europe\/Oslo"},"voyage":{"key":5}}"#;
    let post = update("PortCall", 7, image);
    let head = format!(r#""key":7,"self":"{BASE}/ws/rest/PortCall/7""#);
    let port = format!(r#""key":11,"self":"{BASE}/ws/rest/Port/11""#);
    let voyage = format!(r#"{{"key":5,"self":"{BASE}/ws/rest/Voyage/5"}}"#);
    // The members come in the order of the list, not of the image.
    for (list, expected) in [
        (r#"{"speed":"*"}"#, format!(r#"{{{head},"speed":1.10}}"#)),
        (
            r#" { "daysAtSea":"*", "distanceActual":"*","remarks":"*","speed":"*" } "#,
            format!(
                r#"{{{head},"daysAtSea":12345678901234567890,"distanceActual":1E+5,"remarks":"\u00e9\u0041\ud83d\ude00 \/","speed":1.10}}"#
            ),
        ),
        (
            r#"{"port":{"timezone":"*"},"agent":"*"}"#,
            format!(r#"{{{head},"port":{{{port},"timezone":"Europe\/Oslo"}},"agent":null}}"#),
        ),
        (r#"{"voyage":{"key":"*"},"key":"*"}"#, format!(r#"{{{head},"voyage":{voyage}}}"#)),
        // What the image lacks is absent.
        (r#"{"departureFixed":"*","speed":"*"}"#, format!(r#"{{{head},"speed":1.10}}"#)),
    ] {
        socket.set_fields(list).await;
        let id = world.post(&tenant, &post).await;
        let message = Expected {
            id: &id,
            time: AT,
            kind: "PortCall",
            event: "U",
            object: &expected,
            key: "7",
            tenant: &tenant,
            wish,
        };
        assert_eq!(socket.text().await, message.text(), "{list}");
    }
    // Keep-alives of old clients change nothing.
    for nothing in ["", "ping", " "] {
        socket.say(nothing).await;
    }
    socket.set_fields(r#"{"speed":"*"}"#).await;
    world.post(&tenant, &post).await;
    assert_eq!(object(&mut socket, "PortCall", 7).await, format!(r#"{{{head},"speed":1.10}}"#));
    socket.set_fields("{}").await;
    world.post(&tenant, &post).await;
    assert_eq!(object(&mut socket, "PortCall", 7).await, "7");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_list_leaves_the_former_in_force_and_the_socket_open() {
    let Some(world) = World::shared() else { return };
    let tenant = world.tenant();
    let mut socket = world.open(1, &tenant, "PortCall/U/8?session=bridge").await;
    assert_eq!(socket.json().await["statusCode"], 410);
    socket.set_fields(r#"{"speed":"*"}"#).await;
    let deep = r#"{"voyage":"#.repeat(9) + r#""*""# + &"}".repeat(9);
    let many: Vec<String> = (0..501).map(|n| format!("\"f{n}\":\"*\"")).collect();
    let many = format!("{{{}}}", many.join(","));
    let large = format!("{{\"{}\":\"*\"}}", "x".repeat(16 * 1024));
    for (list, part) in [
        (r#"{"portt":"*"}"#, "unknown field 'portt', the nearest known is 'port'"),
        (
            r#"{"port":{"portNam":"*"}}"#,
            "unknown field 'port.portNam', the nearest known is 'portName'",
        ),
        (r#"{"speed":{"x":"*"}}"#, "'speed' is a plain value"),
        (r#"{"speed":1}"#, "'speed' must be \"*\" or an object"),
        (r#"{"eventLogs":["*"]}"#, "is an array"),
        (r#"["speed"]"#, "a field list is a JSON object"),
        ("speed", "is not JSON"),
        (r#"{"speed":"*","speed":"*"}"#, "'speed' stands twice"),
        (&deep, "nested deeper than 8 levels"),
        (&many, "more than 500 fields"),
        (&large, "more than 16384"),
    ] {
        socket.say(list).await;
        let refused = socket.json().await;
        assert_eq!(refused["statusCode"], 400, "{list:.60}: {refused}");
        let message = refused["message"].as_str().unwrap();
        assert!(message.contains(part), "{part}: {message}");
        let members: Vec<&String> = refused.as_object().unwrap().keys().collect();
        let documented =
            ["statusCode", "statusText", "message", "date", "statusFamily", "method", "uri"];
        assert_eq!(members, documented);
        assert_eq!(
            refused["uri"], "/ws/rest/WebSocketObjectSubscription/PortCall/U/8/-?session=bridge",
            "no token"
        );
    }
    world.post(&tenant, &update("PortCall", 8, r#"{"key":8,"speed":9.50}"#)).await;
    let expected = format!(r#"{{"key":8,"self":"{BASE}/ws/rest/PortCall/8","speed":9.50}}"#);
    assert_eq!(object(&mut socket, "PortCall", 8).await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_list_of_the_url_and_the_published_list_of_a_bunker_order() {
    let Some(world) = World::shared() else { return };
    let tenant = world.tenant();
    let wish = format!("BunkerOrder/*/42?fields={}", encoded(PUBLISHED));
    let mut socket = world.open(0, &tenant, &wish).await;
    let image = r#"{"key":42,"supplier":{"key":1},"remarks":"call \"Ask\"","vessel":{"key":3,"imoNumber":"9074729","vesselName":"Ask","owner":{"key":9}},"portCall":{"key":4,"agent":null,"port":{"key":11,"portName":"Bergen","unCode":"NOBGO","timezone":"Europe/Oslo"},"eventLogs":[{"key":21,"event":{"eventCode":"ARR","eventDesc":"Arrived"},"eventLogDate":"2026-09-14T06:00:00","isDateFixed":true},{"key":22,"event":{"eventCode":"DEP","eventDesc":"Departed"},"eventLogDate":null}]}}"#;
    let link =
        |kind: &str, key: u64| format!(r#""key":{key},"self":"{BASE}/ws/rest/{kind}/{key}""#);
    let selected = format!(
        r#"{{{order},"portCall":{{{call},"agent":null,"port":{{{port},"portName":"Bergen","timezone":"Europe/Oslo"}},"eventLogs":[{{{arrived},"event":{{"eventCode":"ARR","eventDesc":"Arrived"}},"eventLogDate":"2026-09-14T06:00:00"}},{{{left},"event":{{"eventCode":"DEP","eventDesc":"Departed"}},"eventLogDate":null}}]}},"vessel":{{{vessel},"vesselName":"Ask","imoNumber":"9074729"}},"remarks":"call \"Ask\""}}"#,
        order = link("BunkerOrder", 42),
        call = link("PortCall", 4),
        port = link("Port", 11),
        arrived = link("EventLog", 21),
        left = link("EventLog", 22),
        vessel = link("Vessel", 3),
    );
    world.post(&tenant, &update("BunkerOrder", 42, image)).await;
    assert_eq!(object(&mut socket, "BunkerOrder", 42).await, selected);
    // A change below: the sub-list under the member that holds its type applies.
    let call = r#"{"objectType":"PortCall","key":4,"operation":"U","new":{"key":4,"speed":11,"agent":{"key":6,"businessPartnerName":"x"},"port":{"key":11,"portName":"Voss"}},"owners":[{"objectType":"BunkerOrder","key":42}]}"#;
    world.post(&tenant, call).await;
    let expected = format!(
        r#"{{{},"agent":{{{}}},"port":{{{},"portName":"Voss"}}}}"#,
        link("PortCall", 4),
        link("BusinessPartner", 6) + r#","businessPartnerName":"x""#,
        link("Port", 11)
    );
    assert_eq!(object(&mut socket, "PortCall", 4).await, expected);
    // A delete shows the selected fields of the last image; without an old image, the reference.
    let delete = |old: &str| {
        format!(r#"{{"objectType":"BunkerOrder","key":42,"operation":"D","new":null,"old":{old}}}"#)
    };
    world.post(&tenant, &delete(image)).await;
    assert_eq!(object(&mut socket, "BunkerOrder", 42).await, selected);
    world.post(&tenant, &delete("null")).await;
    let reference = format!("{{{}}}", link("BunkerOrder", 42));
    assert_eq!(object(&mut socket, "BunkerOrder", 42).await, reference);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rights_are_checked_on_the_list_and_on_the_path() {
    let read = ("rights.read.OPERATOR", r#"["BunkerOrder","PortCall"]"#.to_owned());
    let deny = ("rights.default", "deny".to_owned());
    let Some(world) = World::start(Setup { gateway: vec![deny, read], ..Setup::default() }) else {
        return;
    };
    let tenant = world.tenant();
    let token = world.token(&tenant, 1, &["OPERATOR"]);
    let mut socket = world.open_as(0, "BunkerOrder/U/1", &token).await;
    for (list, part) in [
        (r#"{"vessel":{"owner":"*"}}"#, "'vessel.owner' is not allowed: you may not read Vessel"),
        (r#"{"supplier":{"remarks":"*"}}"#, "you may not read BusinessPartner"),
    ] {
        socket.say(list).await;
        let refused = socket.json().await;
        assert_eq!(refused["statusCode"], 401, "{refused}");
        assert!(refused["message"].as_str().unwrap().contains(part), "{refused}");
    }
    // The minimal view of a type is everybody's.
    socket.set_fields(r#"{"vessel":{"vesselName":"*"}}"#).await;
    let answer = |token: String, wish: &str| {
        let (address, path) = (world.public(1), object_path(wish, &token));
        async move { ask(address, "GET", &path, &[("Accept", "text/event-stream")]).await }
    };
    let refused = answer(token.clone(), "Voyage/U/1").await;
    assert_eq!(refused.status, 403, "{}", refused.body);
    let refused = answer(world.token(&tenant, 2, &[]), "PortCall/U/1").await;
    assert_eq!(refused.status, 403, "{}", refused.body);
    // `*` is every type that the caller may read, and the rights of the changed object apply.
    let mut all = world.open_as(1, "*/*/*", &token).await;
    world.post(&tenant, &update("Vessel", 3, r#"{"key":3}"#)).await;
    let id = world.post(&tenant, &update("BunkerOrder", 1, r#"{"key":1}"#)).await;
    assert_eq!(all.id().await, id);
    let message: Value = socket.json().await;
    assert_eq!(message["id"], id.as_str());
}
