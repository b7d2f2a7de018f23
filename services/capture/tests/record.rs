//! Records, byte for byte.
#![expect(clippy::expect_used, reason = "helpers of tests")]

use std::sync::Arc;

use bytes::Bytes;
use tidewire_capture::record::record;
use tidewire_capture::{ChangeRequest, ChangeRules};
use tidewire_event::image::{Body, BodyLimits};
use tidewire_event::{RecordHeader, RecordKey, Tenant};
use tidewire_fleet::Fleet;
use tidewire_model::Model;

const NOW_MS: i64 = 1_789_393_046_000;

fn change(model: Model, body: &str) -> ChangeRequest {
    let rules = ChangeRules { model: Arc::new(model), change_bytes_max: 1 << 20 };
    let body = Bytes::copy_from_slice(body.as_bytes());
    ChangeRequest::parse(body, &rules, NOW_MS).map_err(|rejected| rejected.error).expect("sound")
}

#[test]
fn golden() {
    let check = |model: Model, tenant: &str, body: &str, expected: [&str; 3], time: i64| {
        let record = record(&Tenant::new(tenant).unwrap(), &change(model, body));
        let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        assert_eq!(text(&record.key), expected[0]);
        assert_eq!(text(record.header.as_ref().unwrap()), expected[1]);
        assert_eq!(text(record.payload.as_ref().unwrap()), expected[2]);
        assert_eq!(record.timestamp_ms, Some(time));
    };
    check(
        Model::vms(),
        "demo",
        r#"{"objectType":"PortCall","key":7823672,"operation":"U","new":{"key":7823672,"speed":12.50,
"voyage":{"key":2,"voyageHeader":{"key":3}}},"old":{"voyage":{"key":1}},"version":17,"epoch":"run 1",
"owners":[{"objectType":"BunkerOrder","key":9}],"changedBy":42,"changedAt":"2026-09-14T13:37:20","id":"x;1"}"#,
        [
            "demo/PortCall/7823672",
            "1;U;run%201:17;full;Voyage/2,VoyageHeader/3,Voyage/1,BunkerOrder/9;x%3B1;42;capture",
            "{\"new\":{\"key\":7823672,\"speed\":12.50,\n\"voyage\":{\"key\":2,\"voyageHeader\":{\"key\":3}}},\"old\":{\"voyage\":{\"key\":1}}}",
        ],
        NOW_MS - 6_000,
    );
    check(
        Model::vms(),
        "acme/é",
        r#"{"objectType":"Vessel","key":5,"operation":"C","new":{"imoNumber":1e400}}"#,
        [
            "acme%2F%C3%A9/Vessel/5",
            "1;C;;none;;;;capture",
            r#"{"new":{"imoNumber":1e400},"old":null}"#,
        ],
        NOW_MS,
    );
    check(
        Model::vms(),
        "demo",
        r#"{"objectType":"Vessel","key":5,"operation":"D"}"#,
        ["demo/Vessel/5", "1;D;;none;;;;capture", r#"{"new":null,"old":null}"#],
        NOW_MS,
    );
    check(
        Model::sample_helpdesk(),
        "demo",
        r#"{"objectType":"Comment","key":"a/b é","operation":"D","old":{"ticket":{"key":"T,9"}}}"#,
        [
            "demo/Comment/a%2Fb%20%C3%A9",
            "1;D;;full;Ticket/T%2C9;;;capture",
            r#"{"new":null,"old":{"ticket":{"key":"T,9"}}}"#,
        ],
        NOW_MS,
    );
}

#[test]
fn every_change_of_the_fleet_gives_a_sound_record() {
    let tenant = Tenant::new("demo").unwrap();
    let mut fleet = Fleet::new(4, NOW_MS, &tenant);
    let mut moved = 0;
    for _ in 0..5_000 {
        let told = fleet.next(NOW_MS);
        let record = record(&tenant, &change(Model::vms(), &told.to_json().to_string()));
        let key = RecordKey::parse(&record.key).unwrap();
        assert_eq!(key.key, told.key.to_string());
        assert_eq!(key.object_type, told.object_type.as_str());
        let header = RecordHeader::of_record(record.header.as_deref(), true).unwrap();
        assert_eq!(header.operation, told.operation);
        assert_eq!(header.version.as_ref(), Some(&told.version));
        assert_eq!(header.change_id.as_deref(), Some(&*told.id()));
        assert_eq!(header.changed_by, Some(told.changed_by));
        for (owner, key) in &told.owners {
            let found = header
                .owners
                .iter()
                .any(|o| o.object_type == owner.as_str() && o.key == key.to_string());
            assert!(found, "{owner}/{key} of {told:?}");
        }
        let voyages = header.owners.iter().filter(|owner| owner.object_type == "Voyage").count();
        moved += usize::from(told.object_type.as_str() == "PortCall" && voyages == 2);
        let body = Body::parse(record.payload.unwrap(), BodyLimits::default()).unwrap();
        let image = |value: &Option<serde_json::Value>| value.as_ref().map(ToString::to_string);
        let raw = |node: tidewire_event::image::Node<'_>| {
            String::from_utf8_lossy(node.raw()).into_owned()
        };
        assert_eq!(body.new_image().map(raw), image(&told.new));
        assert_eq!(body.old_image().map(raw), image(&told.old));
    }
    assert!(moved > 0, "a moved port call tells both voyages");
}
