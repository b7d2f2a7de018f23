//! Rows, verdicts, the table, and the page.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;

use super::process::{Machine, first_line};
use super::statistics::Spread;

/// What a figure should be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Goal {
    pub(super) must: f64,
    pub(super) stretch: f64,
    /// `x`, `KiB`, `ms`, `us`.
    pub(super) unit: &'static str,
    pub(super) higher_is_better: bool,
}

impl Goal {
    pub(super) const fn at_most(must: f64, stretch: f64, unit: &'static str) -> Self {
        Self { must, stretch, unit, higher_is_better: false }
    }

    pub(super) const fn at_least(must: f64, stretch: f64, unit: &'static str) -> Self {
        Self { must, stretch, unit, higher_is_better: true }
    }

    /// A goal is missed only where the better quartile misses it.
    fn verdict(&self, spread: &Spread) -> &'static str {
        let meets = |goal| {
            if self.higher_is_better { spread.upper >= goal } else { spread.lower <= goal }
        };
        match (meets(self.stretch), meets(self.must)) {
            (true, _) => "stretch met",
            (false, true) => "met",
            (false, false) => "**missed**",
        }
    }

    fn text(&self) -> String {
        let sign = if self.higher_is_better { ">=" } else { "<=" };
        format!("{sign} {} {1}; {2} {1}", self.must, self.unit, self.stretch)
    }
}

/// One line of the table.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) what: String,
    pub(super) goal: Option<Goal>,
    unit: &'static str,
    /// `None`: not measured, and the note says why.
    pub(super) spread: Option<Spread>,
    /// The figures behind it.
    pub(super) note: String,
}

impl Row {
    pub(super) fn new(
        name: &'static str,
        what: impl Into<String>,
        goal: Goal,
        spread: Spread,
        note: impl Into<String>,
    ) -> Self {
        let (goal, spread, unit) = (Some(goal), Some(spread), goal.unit);
        Self { name, what: what.into(), goal, unit, spread, note: note.into() }
    }

    /// A row with a figure for which there is no goal.
    pub(super) fn figure(
        name: &'static str,
        what: impl Into<String>,
        unit: &'static str,
        spread: Spread,
        note: impl Into<String>,
    ) -> Self {
        let spread = Some(spread);
        Self { name, what: what.into(), goal: None, unit, spread, note: note.into() }
    }

    /// A row without a figure.
    pub(super) fn without(
        name: &'static str,
        what: impl Into<String>,
        why: impl Into<String>,
    ) -> Self {
        Self { name, what: what.into(), goal: None, unit: "", spread: None, note: why.into() }
    }

    /// The row as cells of a table.
    pub(super) fn line(&self) -> String {
        let (mut goal, mut figure, mut verdict) = (String::new(), String::new(), "not measured");
        if let Some(s) = &self.spread {
            let d = digits(s.median);
            figure = format!("{:.d$} {}", s.median, self.unit);
            if s.samples > 1 {
                let _ = write!(figure, " ({:.d$} to {:.d$}; {})", s.lower, s.upper, s.samples);
            }
            verdict = "no goal";
            if let Some(wanted) = &self.goal {
                goal = wanted.text();
                verdict = wanted.verdict(s);
            }
        }
        let Self { name, what, note, .. } = self;
        format!("| {name} | {what} | {goal} | {figure} | {verdict} | {note} |")
    }
}

fn digits(value: f64) -> usize {
    if value.abs() >= 100.0 {
        0
    } else if value.abs() >= 10.0 {
        1
    } else {
        2
    }
}

/// The head of the table.
pub(super) const HEAD: &str = "| row | what | goal: must; stretch | median (quartiles; samples) | verdict | figures |\n\
     |---|---|---|---|---|---|";

/// Writes the page of results.
pub(super) fn write(
    folder: &Path,
    machine: Machine,
    rows: &[Row],
    rounds: usize,
    took_s: u64,
) -> Result<()> {
    let unknown = || "unknown".to_owned();
    let commit = first_line("git", &["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(unknown);
    let changed =
        first_line("git", &["status", "--porcelain"]).is_some_and(|line| !line.is_empty());
    let date = first_line("date", &["-u", "+%Y-%m-%d %H:%M UTC"]).unwrap_or_else(unknown);
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Machine { cores, model, kernel, memory_mib, load_average } = machine;
    let mut page = format!(
        "# Results\n\nWritten by `tidewire bench --write`; [README.md](README.md) says how each row is measured, and what the verdicts mean.\n\n\
         - machine: {cores} cores ({model}), {memory_mib} MiB, Linux {kernel}, load average at the start \
         {load_average}\n\
         - commit: {commit}{}\n- command: `tidewire {}`, {rounds} rounds, {took_s} s\n- date: {date}\n\n{HEAD}\n",
        if changed { " with uncommitted changes" } else { "" },
        arguments.join(" "),
    );
    for row in rows {
        page.push_str(&row.line());
        page.push('\n');
    }
    std::fs::create_dir_all(folder)?;
    Ok(std::fs::write(folder.join("results.md"), page)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_missed_only_where_the_better_quartile_misses_it() {
        let spread = |lower, upper| Spread { lower, median: 1.2, upper, samples: 20 };
        let low = Goal::at_most(1.25, 1.10, "x");
        assert_eq!(low.verdict(&spread(1.0, 9.0)), "stretch met");
        assert_eq!(low.verdict(&spread(1.2, 9.0)), "met");
        assert_eq!(low.verdict(&spread(1.3, 9.0)), "**missed**");
        let high = Goal::at_least(0.95, 0.98, "x");
        assert_eq!(high.verdict(&spread(0.1, 0.99)), "stretch met");
        assert_eq!(high.verdict(&spread(0.1, 0.96)), "met");
        assert_eq!(high.verdict(&spread(0.1, 0.9)), "**missed**");
    }
}
