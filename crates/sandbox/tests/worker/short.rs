//! Runs that have less time than a worker gives.

use std::sync::Arc;
use std::time::Duration;

use tidewire_event::Tenant;
use tidewire_sandbox::Workers;
use tidewire_script::{Script, ScriptErrorKind as Kind, ScriptRecord};

use crate::support::{block_on, event, options};

const SHORT: Duration = Duration::from_millis(2);

fn scripts(bodies: &[&str]) -> Vec<Arc<Script>> {
    let script = |body: &&str| {
        let mut record = ScriptRecord::samples().remove(0);
        record.body = Arc::from(*body);
        Arc::new(Script::new(Tenant::new("acme").unwrap(), 1, "author", 0, record))
    };
    bodies.iter().map(script).collect()
}

pub(crate) fn a_short_run_ends_soon_and_the_next_has_its_whole_time() {
    block_on(async {
        let workers = Workers::start(options("script-worker", 1)).await.unwrap();
        let over = event(r#"{"new":{"name":"Bergen"},"old":null}"#);
        let looping = "let n = 0; while n < 150000 { n += 1; } true";
        let all = scripts(&["dlpObject.name == \"Bergen\"", looping, "dlpObject.name == \"Oslo\""]);
        let short = workers.evaluate_within(&over, &all, SHORT).await.unwrap();
        let fired = |n: usize| short.results[n].as_ref().map(|outcome| outcome.fired);
        assert_eq!((fired(0), fired(2)), (Ok(true), Ok(false)));
        assert_eq!(short.results[1].as_ref().unwrap_err().kind, Kind::Deadline);
        let whole = workers.evaluate(&over, &all).await.unwrap();
        assert!(whole.results[1].as_ref().is_ok_and(|outcome| outcome.fired), "{whole:?}");
        assert!(short.cpu * 2 < whole.cpu, "{:?} of {:?}", short.cpu, whole.cpu);
        let cut = workers.evaluate_up_to_limit(&over, &all, SHORT).await.unwrap();
        let [Ok(first), Err(looping)] = &cut.results[..] else { panic!("{cut:?}") };
        assert_eq!((first.fired, looping.kind), (true, Kind::Deadline), "and nothing behind it");
        let [quick, _, other] = &all[..] else { panic!() };
        let ended = workers
            .evaluate_up_to_limit(&over, &[quick.clone(), other.clone()], SHORT)
            .await
            .unwrap();
        assert_eq!(ended.results.len(), 2, "{ended:?}");
        // None has cost the process.
        assert_eq!(workers.stats().started, 1);
    });
}
