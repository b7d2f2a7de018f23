//! The source of a script: whatever it is, it is compiled and run, or refused, and the engine goes on.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidewire_event::image::{Body, BodyLimits};
use tidewire_event::{ObjectType, Operation};
use tidewire_rhai::{RhaiEngine, ScriptLimits};
use tidewire_script::{Engine, Event, NoReferences, References};

const BODY: &str = r#"{"new":{"key":1,"name":"Bergen","price":701.50,"at":"2026-09-14T13:37:26",
    "vessel":{"key":2,"vesselName":"Tide Tern"},"eventLogs":[{"event":{"eventCode":"ARR"}}]},
    "old":{"key":1,"price":1e3}}"#;

fn engine() -> RhaiEngine {
    let limits = ScriptLimits { operations_max: 2_000, array_max: 200, ..ScriptLimits::default() };
    RhaiEngine::new(ScriptLimits { string_bytes_max: 1_000, ..limits }, Rc::new(|| Duration::ZERO))
}

thread_local! {
    /// One for all inputs: none may spoil it.
    static ENGINE: RefCell<RhaiEngine> = RefCell::new(engine());
}

pub(crate) fn run(data: &[u8]) {
    let Ok(source) = std::str::from_utf8(data) else { return };
    let body = Body::parse(Bytes::from_static(BODY.as_bytes()), BodyLimits::default());
    let (Ok(body), Ok(object_type)) = (body, ObjectType::new("PortCall")) else { return };
    let event = Event {
        object_type,
        operation: Operation::Update,
        body: Arc::new(body),
        changed_by: Some(1),
    };
    let references: Rc<dyn References> = Rc::new(NoReferences);
    ENGINE.with_borrow_mut(|engine| {
        let Ok(script) = engine.compile(source) else { return };
        let opened = engine.open(&event, &references);
        let first = engine.evaluate(&script, &opened);
        assert_eq!(engine.evaluate(&script, &opened), first, "it is not repeatable: {source}");
        let sound = engine.compile("dlpObject.price > oldDlpObject.price").ok();
        let sound = sound.map(|sound| engine.evaluate(&sound, &opened).map(|o| o.fired));
        assert_eq!(sound, Some(Ok(false)), "a sound script was spoilt by: {source}");
    });
}
