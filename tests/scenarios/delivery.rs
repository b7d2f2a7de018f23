//! A change posted to capture reaches exactly the sockets that asked for it, on both gateways, byte for byte
//! as the contract writes the message (section 2).

use crate::support::socket::Socket;
use crate::support::{Expected, Setup, World};

const AT: &str = "2026-09-14T13:37:26";

fn change(kind: &str, key: &str, operation: &str, new: &str, old: &str) -> String {
    format!(
        r#"{{"objectType":"{kind}","key":{key},"operation":"{operation}","new":{new},"old":{old},"changedAt":"{AT}Z"}}"#
    )
}

/// One line of a table: who asks for what, and which of the changes (by number) he must get.
struct Row {
    wish: &'static str,
    gets: &'static [usize],
}

/// Opens every row on both gateways, posts the changes, and compares everything that comes with what must
/// come, in order. A last change of object 1 ends each row that holds it, so nothing can hide behind.
async fn check(world: &World, rows: &[Row], changes: &[(&str, &str, &str, &str, &str)]) {
    let tenant = world.tenant();
    let mut sockets: Vec<(&Row, Socket)> = Vec::new();
    for row in rows {
        for gateway in [0, 1] {
            sockets.push((row, world.open(gateway, &tenant, row.wish).await));
        }
    }
    let mut ids = Vec::new();
    for (kind, key, operation, new, old) in changes {
        ids.push(world.post(&tenant, &change(kind, key, operation, new, old)).await);
    }
    for (row, mut socket) in sockets {
        for number in row.gets {
            let (kind, key, event, _, _) = changes[*number];
            let expected = Expected {
                id: &ids[*number],
                time: AT,
                kind,
                event,
                object: key,
                key: key.trim_matches('"'),
                tenant: &tenant,
                wish: row.wish,
            };
            assert_eq!(socket.text().await, expected.text(), "{}", row.wish);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_the_sockets_that_asked_on_both_gateways() {
    let Some(world) = World::shared() else { return };
    let changes = [
        ("Voyage", "1", "C", r#"{"key":1}"#, "null"),
        ("Voyage", "1", "U", r#"{"key":1,"comments":"a"}"#, r#"{"key":1}"#),
        ("Voyage", "2", "C", r#"{"key":2}"#, "null"),
        ("Vessel", "1", "U", r#"{"key":1,"vesselName":"Ask"}"#, "null"),
        ("Voyage", "2", "D", "null", r#"{"key":2}"#),
        ("Voyage", "3", "U", r#"{"key":3}"#, "null"),
        // The end of every row: whatever came too much would stand before it.
        ("Voyage", "1", "C", r#"{"key":1}"#, "null"),
        ("Voyage", "1", "U", r#"{"key":1}"#, "null"),
        ("Voyage", "1", "D", "null", "null"),
        ("Vessel", "1", "U", r#"{"key":1}"#, "null"),
    ];
    let rows = [
        Row { wish: "Voyage/C/1", gets: &[0, 6] },
        Row { wish: "Voyage/U/1", gets: &[1, 7] },
        Row { wish: "Voyage/D/1", gets: &[8] },
        Row { wish: "Voyage/c,u/1", gets: &[0, 1, 6, 7] },
        Row { wish: "Voyage/CREATE,Delete/1", gets: &[0, 6, 8] },
        Row { wish: "Voyage/*/1", gets: &[0, 1, 6, 7, 8] },
        Row { wish: "Voyage/U/1,3", gets: &[1, 5, 7] },
        Row { wish: "Voyage/*/1,2", gets: &[0, 1, 2, 4, 6, 7, 8] },
        Row { wish: "Voyage/D/*", gets: &[4, 8] },
        Row { wish: "Voyage/*/*", gets: &[0, 1, 2, 4, 5, 6, 7, 8] },
        Row { wish: "*/*/*", gets: &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9] },
        Row { wish: "*/U/1", gets: &[1, 3, 7, 9] },
        Row { wish: "Vessel/U/1", gets: &[3, 9] },
        Row { wish: "Vessel/U/1?onlyMainObject=true", gets: &[3, 9] },
    ];
    check(&world, &rows, &changes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_call_that_moves_tells_both_voyages() {
    let Some(world) = World::shared() else { return };
    let changes = [
        (
            "PortCall",
            "11",
            "U",
            r#"{"key":11,"voyage":{"key":2}}"#,
            r#"{"key":11,"voyage":{"key":1}}"#,
        ),
        ("PortCall", "12", "C", r#"{"key":12,"voyage":{"key":2}}"#, "null"),
        ("PortCall", "12", "D", "null", r#"{"key":12,"voyage":{"key":2}}"#),
        ("PortCall", "13", "U", r#"{"key":13,"voyage":null}"#, r#"{"key":13,"voyage":null}"#),
        ("Voyage", "1", "U", r#"{"key":1}"#, "null"),
        ("Voyage", "2", "U", r#"{"key":2}"#, "null"),
        ("Voyage", "2", "C", r#"{"key":2}"#, "null"),
    ];
    let rows = [
        // The message names the port call and its own event type.
        Row { wish: "Voyage/U/1", gets: &[0, 4] },
        Row { wish: "Voyage/U/2", gets: &[0, 1, 2, 5] },
        // Once per socket, though both owners are asked for.
        Row { wish: "Voyage/U/1,2", gets: &[0, 1, 2, 4, 5] },
        Row { wish: "Voyage/U/*", gets: &[0, 1, 2, 4, 5] },
        // A change below counts as an update.
        Row { wish: "Voyage/C/2", gets: &[6] },
        Row { wish: "Voyage/U/2?onlyMainObject=true", gets: &[5] },
        Row { wish: "PortCall/U/11,13", gets: &[0, 3] },
        Row { wish: "*/U/*", gets: &[0, 1, 2, 3, 4, 5] },
    ];
    // A type `*` socket is subscribed to the port calls themselves and to the voyages above them.
    check(&world, &rows, &changes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_producer_names_the_bunker_order_above_a_port_call() {
    let Some(world) = World::shared() else { return };
    let tenant = world.tenant();
    let wish = "BunkerOrder/U/243885046";
    let mut sockets = [world.open(0, &tenant, wish).await, world.open(1, &tenant, wish).await];
    let mut main = world.open(0, &tenant, &format!("{wish}?onlyMainObject=true")).await;
    let id = world
        .post(
            &tenant,
            r#"{"objectType":"PortCall","key":7823672,"operation":"U","new":{"key":7823672},"owners":[{"objectType":"BunkerOrder","key":243885046}],"changedAt":"2026-09-14T13:37:26+00:00"}"#,
        )
        .await;
    for socket in &mut sockets {
        let expected = Expected {
            id: &id,
            time: AT,
            kind: "PortCall",
            event: "U",
            object: "7823672",
            key: "7823672",
            tenant: &tenant,
            wish,
        };
        assert_eq!(socket.text().await, expected.text());
    }
    let order = change("BunkerOrder", "243885046", "U", r#"{"key":243885046}"#, "null");
    let id = world.post(&tenant, &order).await;
    for socket in sockets.iter_mut().chain([&mut main]) {
        assert_eq!(socket.id().await, id);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_tenant_sees_nothing() {
    let Some(world) = World::shared() else { return };
    let (own, other) = (world.tenant(), world.tenant());
    let mut sockets =
        [world.open(0, &other, "*/*/*").await, world.open(1, &other, "Voyage/*/1").await];
    let voyage = change("Voyage", "1", "C", r#"{"key":1}"#, "null");
    for _ in 0..3 {
        world.post(&own, &voyage).await;
    }
    let id = world.post(&other, &voyage).await;
    for socket in &mut sockets {
        assert_eq!(socket.id().await, id, "the first that comes is the tenant's own");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn string_keys_of_another_business() {
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/../model/helpdesk.toml");
    let setup = Setup { common: vec![("model.file", model.to_owned())], ..Setup::default() };
    let Some(world) = World::start(setup) else { return };
    let tenant = world.tenant();
    let key = r#"kai "3"/Zürich%,x"#;
    let encoded = "kai%20%223%22%2FZ%C3%BCrich%25%2Cx";
    let mut one = world.open(0, &tenant, &format!("Ticket/U/{encoded}")).await;
    let mut two = world.open(1, &tenant, &format!("Ticket/*/{encoded},plain")).await;
    let mut all = world.open(0, &tenant, "Ticket/U/*").await;
    let quoted = serde_json::Value::from(key).to_string();
    let body = format!(r#"{{"key":{quoted},"subject":"x"}}"#);
    let id = world.post(&tenant, &change("Ticket", &quoted, "U", &body, "null")).await;
    let link = format!(
        "\"dataloyObject\":{quoted},\"dataloyObjectSelf\":\"https://vms.example.com/ws/rest/Ticket/{encoded}\""
    );
    for socket in [&mut one, &mut two, &mut all] {
        let text = socket.text().await;
        assert!(text.starts_with(&format!("{{\"id\":\"{id}\",\"eventTime\":\"{AT}\"")), "{text}");
        assert!(text.contains(&link), "{text}");
    }
    // A reply is below a comment, which is below its ticket, as far as the image tells.
    let reply = r#"{"key":"c1","ticket":{"key":"plain"},"text":"t"}"#;
    let id = world.post(&tenant, &change("Comment", "\"c1\"", "C", reply, "null")).await;
    for socket in [&mut two, &mut all] {
        let message = socket.json().await;
        assert_eq!((&message["id"], &message["dataloyObject"]), (&id.clone().into(), &"c1".into()));
    }
    let id = world.post(&tenant, &change("Ticket", "\"5\"", "U", r#"{"key":"5"}"#, "null")).await;
    assert_eq!(all.id().await, id, "digits are a text here");
    let refused =
        world.try_post(&tenant, &change("Ticket", "5", "U", r#"{"key":5}"#, "null")).await;
    assert_eq!(refused.status, 400, "{}", refused.body);
}
