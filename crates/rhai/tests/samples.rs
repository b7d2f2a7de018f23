//! The sample scripts of `model/scripts`: may be saved, fire on what they should, and on the fleet.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, its helpers too"
)]

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidewire_event::image::{Body, BodyLimits};
use tidewire_event::{ObjectType, Operation, Tenant};
use tidewire_fleet::Fleet;
use tidewire_model::Model;
use tidewire_rhai::{Compiled, RhaiEngine, ScriptLimits};
use tidewire_script::{
    Engine, Event, Fields, NoReferences, Outcome, References, Refused, Rehearsal, Script,
    ScriptError, ScriptRecord,
};

struct Bench {
    engine: RhaiEngine,
    references: Rc<dyn References>,
}

impl Bench {
    fn new() -> Self {
        // Time is not what is looked at here, and a busy machine must not matter.
        let engine = RhaiEngine::new(ScriptLimits::default(), Rc::new(|| Duration::ZERO));
        Self { engine, references: Rc::new(NoReferences) }
    }

    fn run(&self, script: &Compiled, event: &Event) -> Result<Outcome, ScriptError> {
        self.engine.evaluate(script, &self.engine.open(event, &self.references))
    }

    fn rehearse(&mut self, record: &ScriptRecord, model: &Model) -> Result<Fields, Refused> {
        let refused = |error| Refused { error, sample: None };
        let script = self.engine.compile(&record.body).map_err(refused)?;
        let fields = self.engine.fields(&script).clone();
        let rehearsal = Rehearsal::new(record, &fields, model)?;
        let results: Vec<_> = rehearsal.events().map(|event| self.run(&script, event)).collect();
        rehearsal.judge(&results).map(|()| fields)
    }
}

fn sample(code: &str) -> Script {
    let record = ScriptRecord::samples().into_iter().find(|record| &*record.code == code).unwrap();
    Script::new(Tenant::new("demo").unwrap(), 1, "1", 0, record)
}

fn event(object_type: &str, operation: Operation, new: &str, old: &str) -> Event {
    let text = format!("{{\"new\":{new},\"old\":{old}}}");
    Event {
        object_type: ObjectType::new(object_type).unwrap(),
        operation,
        body: Arc::new(Body::parse(Bytes::from(text), BodyLimits::default()).unwrap()),
        changed_by: Some(1),
    }
}

/// Runs a sample over images; `expected` is its message where it is to fire.
#[track_caller]
fn check(code: &str, new: &str, old: &str, expected: Option<&str>) {
    let mut bench = Bench::new();
    let script = sample(code);
    let compiled = bench.engine.compile(&script.record.body).unwrap();
    let operation = if old == "null" { Operation::Create } else { Operation::Update };
    let object_type = script.record.triggers[0].object_type.clone();
    let outcome = bench.run(&compiled, &event(object_type.as_str(), operation, new, old));
    let outcome = outcome.unwrap_or_else(|e| panic!("{code}: {e}"));
    let message = outcome.fired.then(|| script.message(&outcome).unwrap());
    assert_eq!(message.as_deref(), expected, "{code}: {new} {old}");
}

#[test]
fn samples_may_be_saved() {
    let (mut bench, model) = (Bench::new(), Model::vms());
    for record in ScriptRecord::samples() {
        let fields =
            bench.rehearse(&record, &model).unwrap_or_else(|e| panic!("{}: {e}", record.code));
        assert!(!fields.paths.is_empty(), "{}", record.code);
        assert!(fields.loose.is_empty(), "{}: {:?}", record.code, fields.loose);
        assert!(!fields.reads(&model, &record.triggers[0].object_type).is_empty());
    }
}

#[test]
fn bunker_price() {
    let line = |price: &str| format!(r#"{{"key":1,"bunkerType":"VLSFO","price":{price}}}"#);
    let fires = Some("VLSFO at 600.01 a tonne, above 600");
    check("bunker-price", &line("600.01"), "null", fires);
    check("bunker-price", &line("600.01"), &line("599.99"), fires);
    check("bunker-price", &line("600.01"), &line("600.00"), fires);
    check("bunker-price", &line("600.01"), &line("null"), fires);
    check("bunker-price", &line("600.01"), &line("610"), None);
    check("bunker-price", &line("600.00"), "null", None);
    check("bunker-price", &line("null"), "null", None);
    check("bunker-price", r#"{"key":1,"bunkerType":"OTHER","price":9999}"#, "null", None);
    check("bunker-price", r#"{"key":1,"price":9999}"#, "null", None);
    check("bunker-price", "{}", "null", None);
    check(
        "bunker-price",
        r#"{"bunkerType":"LSMGO","price":786}"#,
        "null",
        Some("LSMGO at 786 a tonne, above 785"),
    );
}

#[test]
fn bunker_quantity() {
    let line = |quantity: &str| format!(r#"{{"key":1,"bunkerType":"HSFO","quantity":{quantity}}}"#);
    check("bunker-quantity", &line("750.001"), "null", Some("750.001 t of HSFO, before: nothing"));
    check("bunker-quantity", &line("750.000"), "null", None);
    check("bunker-quantity", &line("106"), &line("100"), Some("106 t of HSFO, before: 100"));
    check("bunker-quantity", &line("94"), &line("100"), Some("94 t of HSFO, before: 100"));
    check("bunker-quantity", &line("105"), &line("100"), None);
    check("bunker-quantity", &line("800"), &line("800"), None);
    check("bunker-quantity", &line("null"), &line("100"), None);
    check("bunker-quantity", &line("100"), &line("null"), None);
    check("bunker-quantity", "{}", "null", None);
}

#[test]
fn bunker_date() {
    let order = |eta: &str, delivery: &str| {
        format!(
            r#"{{"key":1,"vessel":{{"vesselName":"Tide Tern"}},"portCall":{{"port":{{"portName":"Bergen"}},
            "eventLogs":[{{"event":{{"eventCode":"ARR"}},"eventLogDate":{eta}}},
            {{"event":{{"eventCode":"DEP"}},"eventLogDate":"2030-01-01T00:00:00"}}]}},
            "bunkerOrderLines":[{{"deliveryDate":{delivery}}}]}}"#
        )
    };
    let day = "\"2026-09-14T12:00:00\"";
    check(
        "bunker-date",
        &order("\"2026-09-15T00:00:01\"", day),
        "null",
        Some(
            "Tide Tern arrives at Bergen on 2026-09-15T00:00:01, bunkers are ordered for 2026-09-14T12:00:00",
        ),
    );
    check(
        "bunker-date",
        &order("\"2026-09-13T23:00:00\"", day),
        "null",
        Some(
            "Tide Tern arrives at Bergen on 2026-09-13T23:00:00, bunkers are ordered for 2026-09-14T12:00:00",
        ),
    );
    check("bunker-date", &order("\"2026-09-15T00:00:00\"", day), "null", None);
    check("bunker-date", &order(day, day), "null", None);
    check("bunker-date", &order("null", day), "null", None);
    check("bunker-date", &order(day, "null"), "null", None);
    check("bunker-date", r#"{"portCall":null,"bunkerOrderLines":[]}"#, "null", None);
    check("bunker-date", "{}", "null", None);
}

#[test]
fn offhire_start() {
    let voyage = |days: &str| {
        format!(
            r#"{{"vessel":{{"vesselName":"A & B"}},"referenceNo":"KIT-1","daysOffhire":{days}}}"#
        )
    };
    let fires =
        "<offhire><vessel>A &amp; B</vessel><voyage>KIT-1</voyage><days>0.04</days></offhire>";
    check("offhire-start", &voyage("0.04"), &voyage("0.00"), Some(fires));
    check("offhire-start", &voyage("0.04"), &voyage("0"), Some(fires));
    check("offhire-start", &voyage("0.08"), &voyage("0.04"), None);
    check("offhire-start", &voyage("0.00"), &voyage("0.04"), None);
    check("offhire-start", &voyage("0.04"), &voyage("null"), None);
    check("offhire-start", &voyage("null"), &voyage("0"), None);
}

#[test]
fn days_in_port() {
    let call = |arrival: &str, departure: &str| {
        format!(
            r#"{{"port":{{"portName":"Bergen"}},"eventLogs":[
            {{"event":{{"eventCode":"ARR"}},"eventLogDate":"{arrival}"}},
            {{"event":{{"eventCode":"DEP"}},"eventLogDate":"{departure}"}}]}}"#
        )
    };
    let short = call("2026-09-01T00:00:00", "2026-09-05T00:00:00");
    let long = call("2026-09-01T00:00:00", "2026-09-05T06:00:00");
    check("days-in-port", &long, &short, Some("4.3 days in Bergen"));
    check("days-in-port", &long, "null", Some("4.3 days in Bergen"));
    check("days-in-port", &long, &long, None);
    check("days-in-port", &short, &long, None);
    check("days-in-port", &short, "null", None);
    check("days-in-port", r#"{"eventLogs":[]}"#, "null", None);
    check("days-in-port", "{}", &long, None);
}

#[test]
fn eta_outside_laycan() {
    let call = |eta: &str, from: &str, to: &str| {
        format!(
            r#"{{"port":{{"portName":"Port \"Said\""}},"laycanFrom":{from},"laycanTo":{to},
            "eventLogs":[{{"event":{{"eventCode":"ARR"}},"eventLogDate":"{eta}"}}]}}"#
        )
    };
    let within = |eta: &str| call(eta, "\"2026-09-10T00:00:00\"", "\"2026-09-13T00:00:00\"");
    let message = |eta: &str| {
        format!(
            r#"{{"port":"Port \"Said\"","eta":"{eta}","laycanFrom":"2026-09-10T00:00:00","laycanTo":"2026-09-13T00:00:00"}}"#
        )
    };
    let (early, good, late) = ("2026-09-09T23:59:59", "2026-09-13T00:00:00", "2026-09-13T00:00:01");
    check("eta-outside-laycan", &within(late), &within(good), Some(&message(late)));
    check("eta-outside-laycan", &within(early), &within(good), Some(&message(early)));
    check("eta-outside-laycan", &within(early), "null", Some(&message(early)));
    check("eta-outside-laycan", &within(good), &within(good), None);
    check("eta-outside-laycan", &within(late), &within(late), None);
    check("eta-outside-laycan", &within(good), &within(late), None);
    check("eta-outside-laycan", &call(late, "null", "null"), &within(good), None);
    check("eta-outside-laycan", "{}", "null", None);
}

#[test]
fn result_changed() {
    let voyage = |result: &str| format!(r#"{{"referenceNo":"KIT-1","voyageResult":{result}}}"#);
    check(
        "result-changed",
        &voyage("120000.01"),
        &voyage("100000.00"),
        Some("KIT-1: result changed by 20000 to 120000.01"),
    );
    check(
        "result-changed",
        &voyage("-5000.50"),
        &voyage("100000.00"),
        Some("KIT-1: result changed by -105001 to -5000.50"),
    );
    check("result-changed", &voyage("120000.00"), &voyage("100000.00"), None);
    check("result-changed", &voyage("100000.00"), &voyage("100000.00"), None);
    check("result-changed", &voyage("null"), &voyage("100000.00"), None);
    check("result-changed", &voyage("100000.00"), &voyage("null"), None);
    check("result-changed", "{}", "{}", None);
}

/// Each sample fires on the simulated fleet soon, and again and again, and none ever fails.
#[test]
fn samples_fire_on_the_fleet() {
    const CHANGES: usize = 20_000;
    /// Two minutes of `tidewire dev`.
    const SOON: usize = 600;
    let mut bench = Bench::new();
    let samples: Vec<(Script, Compiled)> = ScriptRecord::samples()
        .into_iter()
        .map(|record| {
            let compiled = bench.engine.compile(&record.body).unwrap();
            (Script::new(Tenant::new("demo").unwrap(), 1, "1", 0, record), compiled)
        })
        .collect();
    let mut fired: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut now = 1_790_000_000_000;
    let mut fleet = Fleet::new(7, now, &Tenant::new("demo").unwrap());
    for number in 0..CHANGES {
        now += 1_000;
        let change = fleet.next(now);
        let image = |image: &Option<serde_json::Value>| {
            image.as_ref().map_or("null".to_owned(), ToString::to_string)
        };
        let (object_type, operation) = (change.object_type.as_str(), change.operation);
        let event = event(object_type, operation, &image(&change.new), &image(&change.old));
        for (script, compiled) in &samples {
            if !script.record.is_triggered_by(object_type, operation) {
                continue;
            }
            let outcome = bench.run(compiled, &event);
            let outcome = outcome.unwrap_or_else(|e| panic!("{}: {e}", script.code()));
            if outcome.fired {
                script.message(&outcome).unwrap_or_else(|e| panic!("{}: {e}", script.code()));
                fired.entry(script.code().to_owned()).or_insert((number, 0)).1 += 1;
            }
        }
    }
    println!("of {CHANGES} changes fired, at first and how often: {fired:?}");
    for (script, _) in &samples {
        let is_lively =
            fired.get(script.code()).is_some_and(|(first, count)| *first < SOON && *count > 50);
        assert!(is_lively, "{} fires too rarely: {fired:?}", script.code());
    }
}

#[test]
fn what_may_not_be_saved() {
    let model = Model::vms();
    let mut wrong = Vec::new();
    let mut check = |object_type: &str, body: &str, expected: Option<&str>| {
        let json = serde_json::json!({
            "name": "n", "code": "c", "triggers": [{"objectType": object_type, "eventType": "*"}],
            "scriptBody": body, "alertScriptMessage": "text",
        });
        let record = ScriptRecord::parse(json.to_string().as_bytes()).unwrap();
        let refused = Bench::new().rehearse(&record, &model).err().map(|e| e.to_string());
        if refused.as_deref() != expected {
            wrong.push(format!(
                "{body}
  {refused:?}
  {expected:?}"
            ));
        }
    };
    for good in [
        "true",
        "dlpObject.daysTotal > 5",
        "dlpObject.referenceNo.starts_with(\"KIT\")",
        "dlpObject.referenceNo == \"x\" && dlpObject.daysTotal + 1 > 3",
        "days_between(dlpObject.createdDate, dlpObject.modifiedDate) > 2",
        "dlpObject.voyageResult.anything.at.all == 5",
        "dlpObject.portCalls.some(|c| c.port.portName == \"Bergen\")",
        "dlpObject.vessel.owner.businessPartnerName == \"x\"",
        "abs(dlpObject.voyageResult - oldDlpObject.voyageResult) > 20000",
        "if dlpObject.daysTotal > 5 { return true; } false",
        "wsUser.userName == \"x\"",
        "eventType == \"D\" && dlpObject.daysTotal > 1",
    ] {
        check("Voyage", good, None);
    }
    check(
        "Voyage",
        "dlpObject.voyageReslt > 5",
        Some("line 1, column 11: unknown field 'voyageReslt', the nearest known is 'voyageResult'"),
    );
    check(
        "Voyage",
        "true &&\n  dlpObject.vessel.vesselNam == 5",
        Some(
            "line 2, column 20: unknown field 'vessel.vesselNam', the nearest known is 'vesselName'",
        ),
    );
    check(
        "Voyage",
        "dlpObject.portCalls.some(|c| c.prt.portName == \"x\")",
        Some("line 1, column 32: unknown field 'portCalls.prt', the nearest known is 'port'"),
    );
    check(
        "Voyage",
        "dlpObject.daysTotal.x > 5",
        Some("line 1, column 21: unknown field 'daysTotal.x'"),
    );
    check(
        "Voyage",
        "oldDlpObject.nothing == 1",
        Some("line 1, column 14: unknown field 'nothing'"),
    );
    check(
        "Voyage",
        "dlpObject.daysTotal",
        Some(
            "line 1, column 1: the script returned null, expected true or false on every path (in a dry run over Voyage C with every field null)",
        ),
    );
    check(
        "Voyage",
        "if dlpObject.daysTotal > 5 { return true; }",
        Some(
            "line 1, column 1: the script returned null, expected true or false on every path (in a dry run over Voyage C with every field null)",
        ),
    );
    check(
        "Voyage",
        "dlpObject.daysTotal == null || 5",
        Some("line 1, column 32: expecting a boolean expression, not a number"),
    );
    check("Voyage", "dlpObject.daysTotal > ", Some("line 1, column 23: script is incomplete"));
    check(
        "Voyage",
        "loop { }",
        Some(
            "line 1, column 6: too many operations (in a dry run over Voyage C with every field null)",
        ),
    );
    check(
        "Voyage",
        "dlpObject.referenceNo.nothing_like_it()",
        Some(
            "line 1, column 23: there is no function nothing_like_it (null) (in a dry run over Voyage C with every field null)",
        ),
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
