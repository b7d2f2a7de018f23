//! Alerts that are too large for their topic: they go without the images of their change, and every socket gets
//! a message of them all the same.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::alerts::{Alerts, open, path, save, script};
use crate::support::log::{TIME, end};
use crate::support::stream::Events;
use crate::support::v1::V1;
use crate::support::{BASE, Setup, World, wait_until};

/// What the topic of alerts takes at a time.
const BYTES_MAX: u32 = 20_000;
/// Alerts that fit, each alone, and not together.
const SMALL: usize = 150;
const LIST: &str = "watch?fields=%7B%22comments%22:%22*%22%7D";

fn change(comments: &str) -> String {
    let image = |text: &str| json!({"key": 1, "comments": text});
    json!({"objectType": "Voyage", "key": 1, "operation": "U", "changedAt": TIME,
        "new": image(comments), "old": image("same")})
    .to_string()
}

/// The object in a message, where a list asks for the comments.
fn listed(comments: Option<&str>) -> String {
    let link = format!("\"key\":1,\"self\":\"{BASE}/ws/rest/Voyage/1\"");
    match comments {
        Some(comments) => format!("{{{link},\"comments\":\"{comments}\"}}"),
        // What is not there is absent.
        None => format!("{{{link}}}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_without_images_reaches_everybody() {
    let setup = Setup { alerts_bytes_max: BYTES_MAX, ..Setup::default() };
    let Some(world) = World::start(setup) else { return };
    let tenant = world.tenant();
    save(&world, &tenant, &script("watch")).await;
    let token = world.token(&tenant, 1, &[]);
    let alerts = Alerts::new(&world, &tenant, "watch");
    let mut plain = open(&world, 0, "watch", &token).await;
    let mut fields = [open(&world, 0, LIST, &token).await, open(&world, 1, LIST, &token).await];
    let mut stream = Events::open(world.public(1), &path("watch", &token), "").await;
    let mut listing = Events::open(world.public(0), &path(LIST, &token), "").await;
    let mut v1 = V1::welcomed(V1::wish(&world, 1, &path(LIST, "-"), &token)).await;
    let cursor = v1.expect("subscribed").await["cursor"].as_str().unwrap().to_owned();
    v1.expect("live").await;

    // All are there before the service comes, so it writes them in one transaction.
    let mut comments: Vec<String> =
        (0..SMALL).map(|n| format!("{n} {}", "x".repeat(800))).collect();
    comments.push("y".repeat(30_000));
    comments.push("the last".to_owned());
    let lines: Vec<String> = comments.iter().map(|text| change(text)).collect();
    let ids = world.post_lines(&tenant, &lines.join("\n")).await;
    let service = world.start_alerts();

    for (id, comments) in ids.iter().zip(&comments) {
        let comments = Some(comments.as_str()).filter(|text| text.len() < 30_000);
        let object = listed(comments);
        let expected = alerts.expected(id, "1");
        assert_eq!(plain.text().await, expected);
        assert_eq!(stream.message().await.unwrap(), format!("data: {expected}"));
        let expected = alerts.expected(id, &object);
        for socket in &mut fields {
            assert_eq!(socket.text().await, expected);
        }
        assert_eq!(listing.message().await.unwrap(), format!("data: {expected}"));
        is_event(&v1.expect("event").await, id, &object);
    }
    // The same from Kafka or the window, on the other replica.
    let resumed = path(&format!("{LIST}&lastEventId={cursor}"), "-");
    let mut v1 = V1::welcomed(V1::wish(&world, 0, &resumed, &token)).await;
    v1.expect("subscribed").await;
    for (id, comments) in ids.iter().zip(&comments) {
        let comments = Some(comments.as_str()).filter(|text| text.len() < 30_000);
        is_event(&v1.expect("event").await, id, &listed(comments));
    }
    assert_eq!(v1.expect("live").await["replayed"], ids.len());

    // Counted on both sides, and nobody takes it for broken.
    let metric = |name: &str| service.metric(&format!("tidewire_alerts_{name}")).unwrap();
    assert_eq!((metric("images_left_out_total"), metric("fired_total")), (1.0, ids.len() as f64));
    assert_eq!(metric("scripts_disabled"), 0.0);
    for gateway in &world.gateways {
        let count = || gateway.metric("tidewire_gateway_alerts_without_images_total").unwrap();
        wait_until("it is counted", Duration::from_secs(10), || count() == 1.0).await;
        let poison = gateway.metric("tidewire_records_poison_total{reason=\"body\"}").unwrap();
        assert_eq!(poison, 0.0);
    }
    assert_eq!(end(&world.bootstrap(), &world.quarantine), 0, "nothing is quarantined");
}

fn is_event(event: &Value, id: &str, object: &str) {
    let object: Value = serde_json::from_str(object).unwrap();
    assert_eq!((&event["id"], &event["dataloyObject"]), (&json!(id), &object));
    assert_eq!(event["alert"]["message"], "changed");
}
