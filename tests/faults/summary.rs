//! What a run says in the end, as a page.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;

use crate::plan::{Act, Lane, Size};

pub(crate) struct Summary {
    pub(crate) size: Size,
    pub(crate) seed: u64,
    pub(crate) took: Duration,
    pub(crate) strikes: BTreeMap<(Lane, Act), usize>,
    pub(crate) links_cut: usize,
    /// What the checker reported.
    pub(crate) report: Value,
    pub(crate) findings: Vec<String>,
}

impl Summary {
    /// Markdown; ends with the findings, if there are any.
    pub(crate) fn page(&self) -> String {
        let verdict = if self.findings.is_empty() { "passed" } else { "FAILED" };
        let Size { name, events, rate, sockets, .. } = &self.size;
        let mut page = format!(
            "# Fault run '{name}': {verdict}\n\n\
             Seed {}, {events} events at {rate}/s, {sockets} sockets, {} s from the first broker's start \
             to the verdict.\n\n",
            self.seed,
            self.took.as_secs()
        );
        let mut row = |left: &str, right: &str| writeln!(page, "| {left} | {right} |").unwrap();
        row("What", "How often, how much");
        row("---", "---");
        row("kills", &self.listed(|act| act == Act::Kill));
        row("other faults", &self.listed(|act| act != Act::Kill));
        row("links cut", &self.links_cut.to_string());
        for (name, value) in self.report.as_object().into_iter().flatten() {
            match value {
                Value::Number(number) => row(name, &number.to_string()),
                Value::String(text) => row(name, text),
                Value::Bool(yes) => row(name, &yes.to_string()),
                Value::Object(members) if members.values().all(Value::is_number) => {
                    let members: Vec<_> =
                        members.iter().map(|(name, value)| format!("{name} {value}")).collect();
                    row(name, &members.join(", "));
                }
                _ => {}
            }
        }
        if !self.findings.is_empty() {
            page.push_str("\n## Findings\n\n");
            for finding in &self.findings {
                writeln!(page, "- {}", finding.replace('\n', "\n  ")).unwrap();
            }
        }
        page
    }

    fn listed(&self, wanted: impl Fn(Act) -> bool) -> String {
        let (mut total, mut parts) = (0, Vec::new());
        for ((lane, act), times) in self.strikes.iter().filter(|((_, act), _)| wanted(*act)) {
            total += times;
            parts.push(match act {
                Act::Kill => format!("{lane:?} {times}"),
                _ => format!("{lane:?} {act} {times}"),
            });
        }
        format!("{total}: {}", parts.join(", ").to_lowercase())
    }
}
