//! The dry run before a script is saved, through a worker with the real engine.

use tidewire_model::Model;
use tidewire_sandbox::Workers;
use tidewire_script::{ScriptErrorKind, ScriptRecord};

use crate::support::{block_on, options};

fn record(body: &str) -> ScriptRecord {
    let json = serde_json::json!({
        "name": "n", "code": "c", "triggers": [{"objectType": "Voyage", "eventType": "U"}],
        "scriptBody": body, "alertScriptMessage": "text",
    });
    ScriptRecord::parse(json.to_string().as_bytes()).unwrap()
}

pub(crate) fn a_script_is_rehearsed_in_a_worker() {
    block_on(async {
        let workers = Workers::start(options("script-worker", 1)).await.unwrap();
        let model = Model::vms();
        for sample in ScriptRecord::samples() {
            let fields = workers.rehearse(&sample, &model).await.unwrap();
            assert!(fields.is_ok_and(|fields| !fields.paths.is_empty()), "{}", sample.code);
        }
        for (body, expected) in [
            ("dlpObject.", "line 1, column 11: expecting name of a property"),
            (
                "dlpObject.voyageReslt > 5",
                "line 1, column 11: unknown field 'voyageReslt', the nearest known is 'voyageResult'",
            ),
            (
                "dlpObject.daysTotal",
                "line 1, column 1: the script returned null, expected true or false on every path (in a dry run over Voyage U with every field null)",
            ),
        ] {
            let refused = workers.rehearse(&record(body), &model).await.unwrap();
            let refused = refused.err().map(|refused| refused.to_string());
            assert_eq!(refused.as_deref(), Some(expected), "{body}");
        }
        // One native call after the other: its process is stopped, or its engine is quick enough.
        let native = "let a = []; a.pad(9990, 7); loop { a.sort(|x, y| y - x); }";
        let refused = workers.rehearse(&record(native), &model).await.unwrap().unwrap_err();
        assert_eq!(refused.error.kind, ScriptErrorKind::Deadline);
    });
}
