//! What a run came to, for people and as JSON.

use serde_json::{Map, Value, json};
use tidewire_checker::Verdict;

use super::faults::Faults;

/// So many findings are shown.
const SHOWN: usize = 20;

/// See the module.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) seed: u64,
    /// Changes that capture refused for good: a fault of this run, or of the deployment.
    pub(super) refused: u64,
    pub(super) faults: Option<Faults>,
    pub(super) verdict: Verdict,
}

impl Outcome {
    pub(super) fn is_clean(&self) -> bool {
        self.verdict.is_clean() && self.refused == 0
    }

    fn word(&self) -> &'static str {
        match (self.verdict.is_void, self.is_clean()) {
            (true, _) => "void",
            (false, true) => "clean",
            (false, false) => "findings",
        }
    }

    /// The counts, in the order of the report.
    fn counts(&self) -> Vec<(String, u64)> {
        let v = &self.verdict;
        let mut counts = vec![
            ("seed", self.seed),
            ("events", v.changes),
            ("refused", self.refused),
            ("sockets", v.sockets),
            ("subscriptions", v.subscriptions),
            ("messages", v.messages),
            ("owed", v.owed),
            ("faults", self.faults.as_ref().map_or(0, Faults::total)),
            ("reconnects", v.reconnects),
            ("reconnects elsewhere", v.moved),
            ("repeats", v.repeats),
            ("published again", v.published_again),
            ("merged", v.merged),
            ("excused", v.excused),
            ("declared gaps", v.declared_gaps),
            ("longest pause ms", v.longest_pause / 1_000),
            ("longest away ms", v.longest_away / 1_000),
        ];
        counts.extend(v.counts().map(|(kind, count)| (kind.name(), count)));
        counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
    }

    fn closes(&self) -> Map<String, Value> {
        let name = |code: &Option<u16>| code.map_or("lost".to_owned(), |code| code.to_string());
        self.verdict.closes.iter().map(|(code, count)| (name(code), json!(count))).collect()
    }

    pub(super) fn print(&self) {
        for (name, count) in self.counts() {
            println!("{name:22} {count}");
        }
        for (code, count) in self.closes() {
            println!("closed {code:15} {count}");
        }
        for (what, count) in self.faults.iter().flat_map(|faults| &faults.struck) {
            println!("fault {what:16} {count}");
        }
        for finding in self.verdict.findings.iter().take(SHOWN) {
            println!("{finding}");
        }
        let more = self.verdict.problems().saturating_sub(SHOWN as u64);
        if more > 0 {
            println!("... and {more} more findings");
        }
        println!("verdict                {}", self.word());
    }

    pub(super) fn json(&self) -> String {
        let mut out = Map::new();
        out.insert("verdict".to_owned(), self.word().into());
        for (name, count) in self.counts() {
            out.insert(name, count.into());
        }
        out.insert("closes".to_owned(), Value::Object(self.closes()));
        let struck = self.faults.iter().flat_map(|faults| &faults.struck);
        let struck: Map<String, Value> =
            struck.map(|(what, count)| (what.clone(), json!(count))).collect();
        out.insert("struck".to_owned(), Value::Object(struck));
        let findings = self.verdict.findings.iter().map(|finding| finding.to_string().into());
        out.insert("findings".to_owned(), Value::Array(findings.collect()));
        format!("{:#}\n", Value::Object(out))
    }
}
