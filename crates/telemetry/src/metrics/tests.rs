use std::collections::BTreeSet;
use std::time::Duration;

use super::*;

fn groups() -> (Registry, CommonMetrics, GatewayMetrics, CaptureMetrics, AlertsMetrics) {
    let registry = Registry::new();
    let common = CommonMetrics::register(&registry).unwrap();
    let gateway = GatewayMetrics::register(&registry).unwrap();
    let capture = CaptureMetrics::register(&registry).unwrap();
    let alerts = AlertsMetrics::register(&registry).unwrap();
    (registry, common, gateway, capture, alerts)
}

#[test]
fn every_name_is_shown_once_with_type_and_help() {
    let (registry, common, gateway, _capture, alerts) = groups();
    // These have series only once something was said about them.
    common.build_info.set("0.1.0", "abc");
    gateway.kafka_lag_records.set(0, 0);
    gateway.alerts_lag_records.set(0, 0);
    alerts.lag_records.set(0, 0);
    let text = registry.encode().unwrap();
    for metric in all() {
        let help = format!("# HELP {} {}\n", metric.name, metric.help);
        let kind = format!("# TYPE {} {}\n", metric.name, metric.kind.as_str());
        assert_eq!(text.matches(&help).count(), 1, "{help}");
        assert_eq!(text.matches(&kind).count(), 1, "{kind}");
    }
    assert_eq!(text.matches("# TYPE ").count(), all().len(), "nothing else is shown");
}

#[test]
fn names_follow_the_conventions() {
    let mut seen = BTreeSet::new();
    for metric in all() {
        let name = metric.name;
        assert!(seen.insert(name), "{name} twice");
        assert!(name.starts_with("tidewire_"), "{name}");
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
        assert_eq!(name.ends_with("_total"), metric.kind == Kind::Counter, "{name}");
        assert_eq!(name.ends_with("_seconds"), metric.kind == Kind::Histogram, "{name}");
        assert!(metric.help.ends_with('.') && metric.help.len() < 120, "{name}");
        let values: BTreeSet<_> = metric.label_values.iter().collect();
        assert_eq!(values.len(), metric.label_values.len(), "{name}: a label value twice");
        for value in values {
            let plain =
                value.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
            assert!(plain, "{name}: {value}");
        }
    }
}

#[test]
fn handles_move_what_is_shown() {
    let (registry, common, gateway, capture, _alerts) = groups();
    common.build_info.set("0.1.0", "abc");
    common.ready.set(1);
    gateway.connections.inc();
    gateway.connections.add(2);
    gateway.connections.dec();
    gateway.connections_refused.inc(RefusalReason::Origin);
    gateway.messages_sent.add(Framing::Sse, 7);
    gateway.bytes_sent.add(300);
    gateway.kafka_lag_records.set(3, 12);
    gateway.kafka_to_socket_seconds.observe(Duration::from_micros(700));
    capture.changes.inc(CaptureOutcome::Unknown);
    let text = registry.encode().unwrap();
    for line in [
        r#"tidewire_build_info{revision="abc",version="0.1.0"} 1"#,
        "tidewire_ready 1",
        "tidewire_connections 2",
        r#"tidewire_connections_refused_total{reason="origin"} 1"#,
        r#"tidewire_connections_refused_total{reason="token"} 0"#,
        r#"tidewire_messages_sent_total{framing="sse"} 7"#,
        "tidewire_bytes_sent_total 300",
        r#"tidewire_kafka_lag_records{partition="3"} 12"#,
        r#"tidewire_kafka_to_socket_seconds_bucket{le="0.0005"} 0"#,
        r#"tidewire_kafka_to_socket_seconds_bucket{le="0.001"} 1"#,
        r#"tidewire_capture_changes_total{outcome="unknown"} 1"#,
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line} is not in\n{text}");
    }
    assert_eq!(gateway.messages_sent.get(Framing::Sse), 7);
    gateway.kafka_lag_records.clear();
    assert!(!registry.encode().unwrap().contains("partition="));
}

#[test]
fn label_values_stand_at_their_index() {
    fn check<L: Label + std::fmt::Debug>() {
        for (index, label) in L::ALL.iter().enumerate() {
            assert_eq!(label.index(), index, "{label:?}");
        }
    }
    check::<RefusalReason>();
    check::<CloseCode>();
    check::<Framing>();
    check::<DropReason>();
    check::<PoisonReason>();
    check::<GapReason>();
    check::<FieldListOutcome>();
    check::<SessionOutcome>();
    check::<SessionWriteOutcome>();
    check::<StoreOperation>();
    check::<TokenOutcome>();
    check::<CaptureOutcome>();
}

#[test]
fn close_codes_find_their_label() {
    for (code, label) in [
        (1000, CloseCode::Normal),
        (1012, CloseCode::Restart),
        (4010, CloseCode::SessionTaken),
        (4201, CloseCode::TokenExpired),
        (4999, CloseCode::Other),
        (0, CloseCode::Other),
        (1006, CloseCode::Other),
    ] {
        assert_eq!(CloseCode::from_code(code), label, "{code}");
    }
}

#[test]
fn a_group_registered_twice_is_an_error() {
    let registry = Registry::new();
    CommonMetrics::register(&registry).unwrap();
    assert!(CommonMetrics::register(&registry).is_err());
}

#[test]
fn the_reference_page_names_every_metric() {
    let page = reference();
    for metric in all() {
        assert!(page.contains(&format!("| `{}` | {} |", metric.name, metric.kind.as_str())));
    }
    assert!(page.contains("| `reason`: bad_request, token, "));
}
