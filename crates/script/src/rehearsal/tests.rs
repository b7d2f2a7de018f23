use serde_json::{Value, json};

use super::*;

fn record(triggers: &[(&str, &str)]) -> ScriptRecord {
    let triggers: Vec<_> = triggers
        .iter()
        .map(
            |(object_type, event_type)| json!({"objectType": object_type, "eventType": event_type}),
        )
        .collect();
    let record = json!({"name": "n", "code": "c", "triggers": triggers, "scriptBody": "true",
        "alertScriptMessage": "text"});
    ScriptRecord::from_value(&record).unwrap()
}

fn rehearsal(triggers: &[(&str, &str)]) -> Rehearsal {
    Rehearsal::new(&record(triggers), &Fields::default(), &Model::vms()).unwrap()
}

/// Judges runs of which those that `fails` names end with this kind of error.
fn judge(
    rehearsal: &Rehearsal,
    kind: ScriptErrorKind,
    fails: impl Fn(&Run) -> bool,
) -> Result<(), Refused> {
    let results: Vec<_> = rehearsal
        .runs
        .iter()
        .map(|run| {
            if fails(run) {
                Err(ScriptError::new(kind, "it failed").at(Some(1), Some(2)))
            } else {
                Ok(Outcome::default())
            }
        })
        .collect();
    rehearsal.judge(&results)
}

#[test]
fn every_trigger_is_rehearsed() {
    let all = rehearsal(&[("Voyage", "C,U"), ("PortCall", "D")]);
    assert_eq!(all.runs.len(), 3 * Kind::ALL.len());
    let (null, named) = (&all.runs[0], &all.runs[2]);
    assert_eq!(null.kind, Kind::Null);
    let image = |run: &Run| -> Value {
        serde_json::from_slice(run.event.body.new_image().unwrap().raw()).unwrap()
    };
    assert_eq!(image(null)["vessel"], Value::Null);
    assert_eq!(image(null)["key"], 1);
    let image = image(named);
    assert_eq!(image["vessel"]["owner"]["businessPartnerName"], "sample");
    assert_eq!(image["createdDate"], "2026-09-14T13:37:26");
    assert_eq!(image["daysTotal"].to_string(), "1234.50");
    assert_eq!(image["portCalls"][0]["eventLogs"][0]["isDateFixed"], true);
    assert_eq!(image["vessel"]["self"], "https://vms.example.com/ws/rest/Vessel/1");
}

#[test]
fn a_model_in_circles_has_an_end() {
    for object_type in Model::vms().types() {
        for kind in Kind::ALL {
            let text = sample(&Model::vms(), object_type.as_str(), kind);
            assert!(text.len() < 400_000, "{object_type}: {}", text.len());
            assert!(serde_json::from_str::<Value>(&text).is_ok());
        }
    }
    assert_eq!(
        sample(&Model::vms(), "Unheard", Kind::Text),
        r#"{"key":1,"self":"https://vms.example.com/ws/rest/Unheard/1"}"#
    );
}

#[test]
fn the_verdict() {
    use ScriptErrorKind::{Deadline, Operations, Runtime, Size, Type};
    let all = rehearsal(&[("Voyage", "C,U")]);
    assert_eq!(judge(&all, Type, |_| false), Ok(()));
    assert_eq!(all.judge(&[]), Ok(()));
    // That it cannot do anything with one kind of value is the sample's fault.
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Null) {
        assert_eq!(judge(&all, Type, |run| run.kind == kind), Ok(()), "{kind:?}");
        assert_eq!(judge(&all, Runtime, |run| run.kind == kind), Ok(()), "{kind:?}");
        for limit in [Operations, Size, Deadline] {
            assert!(judge(&all, limit, |run| run.kind == kind).is_err(), "{kind:?}");
        }
    }
    assert_eq!(judge(&all, Type, |run| run.kind != Kind::Null && run.kind != Kind::Flag), Ok(()));
    // Null is a value that every field may have.
    let refused = judge(&all, Type, |run| run.kind == Kind::Null).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "line 1, column 2: it failed (in a dry run over Voyage C with every field null)"
    );
    // Nothing suits it.
    let refused = judge(&all, Type, |run| run.kind != Kind::Null).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "line 1, column 2: it failed (in a dry run over Voyage C with fields of the kinds that their names suggest)"
    );
    // On one of its triggers nothing suits it.
    let is_update = |run: &Run| run.event.operation == Operation::Update && run.kind != Kind::Null;
    let refused = judge(&all, Type, is_update).unwrap_err();
    assert!(refused.to_string().contains("Voyage U"), "{refused}");
}
