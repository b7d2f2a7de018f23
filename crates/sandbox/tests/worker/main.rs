//! The pool against real worker processes, which are this very binary (so it has no harness).
//!
//! `rude` tries what no engine does, to prove the process limits by themselves; `hostile` runs 200 scripts
//! that mean harm through the real engine.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test without a harness is a test all the same"
)]

mod hostile;
mod rehearse;
mod rude;
mod short;
mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use tidewire_rhai::{RhaiEngine, ScriptLimits};
use tidewire_sandbox::{WORKER_ARGUMENT, worker_main};

type Test = (&'static str, fn());

const TESTS: [Test; 12] = [
    ("results_belong_to_their_scripts", rude::results_belong_to_their_scripts),
    ("whatever_a_script_does_its_neighbours_run", rude::whatever_a_script_does_its_neighbours_run),
    ("a_killed_worker_is_nobodys_fault", rude::a_killed_worker_is_nobodys_fault),
    ("a_worker_has_nothing", rude::a_worker_has_nothing),
    ("a_dropped_call_costs_its_process_only", rude::a_dropped_call_costs_its_process_only),
    ("who_waits_too_long_is_refused", rude::who_waits_too_long_is_refused),
    ("a_full_worker_is_replaced", rude::a_full_worker_is_replaced),
    ("a_large_body_is_not_the_scripts_memory", rude::a_large_body_is_not_the_scripts_memory),
    ("what_cannot_start_says_so", rude::what_cannot_start_says_so),
    ("a_script_is_rehearsed_in_a_worker", rehearse::a_script_is_rehearsed_in_a_worker),
    (
        "a_short_run_ends_soon_and_the_next_has_its_whole_time",
        short::a_short_run_ends_soon_and_the_next_has_its_whole_time,
    ),
    ("hostile_scripts_are_stopped", hostile::hostile_scripts_are_stopped),
];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some(WORKER_ARGUMENT) => {
            return worker_main(|clock| RhaiEngine::new(ScriptLimits::default(), clock));
        }
        Some(rude::ARGUMENT) => return worker_main(|_| rude::RudeEngine),
        _ => {}
    }
    let filters: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let is_wanted = |name: &str| {
        filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()))
    };
    let mut failed = 0;
    for (name, test) in TESTS.into_iter().filter(|(name, _)| is_wanted(name)) {
        let is_ok = catch_unwind(AssertUnwindSafe(test)).is_ok();
        println!("test {name} ... {}", if is_ok { "ok" } else { "FAILED" });
        failed += usize::from(!is_ok);
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
