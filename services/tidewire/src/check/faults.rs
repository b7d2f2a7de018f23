//! What was broken meanwhile, as whoever broke it wrote it down: `<ms since 1970> <kind> <target>` a line.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// The file.
#[derive(Debug)]
pub(super) struct FaultsLog(PathBuf);

/// What stands in it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Faults {
    /// How often each kind struck each target.
    pub(super) struck: BTreeMap<String, u64>,
}

impl FaultsLog {
    pub(super) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Reads it once the faults are over.
    pub(super) fn read(&self) -> anyhow::Result<Faults> {
        let text = fs::read_to_string(&self.0);
        let text = text.with_context(|| format!("cannot read {}", self.0.display()))?;
        Ok(Faults::parse(&text))
    }
}

impl Faults {
    fn parse(text: &str) -> Self {
        let mut struck = BTreeMap::new();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            if words.next().is_some_and(|ms| ms.parse::<u64>().is_ok()) {
                let what: Vec<&str> = words.collect();
                *struck.entry(what.join(" ")).or_default() += 1;
            }
        }
        Self { struck }
    }

    pub(super) fn total(&self) -> u64 {
        self.struck.values().sum()
    }

    /// Their store was away or lost what it held.
    pub(super) fn may_lose_sessions(&self) -> bool {
        self.struck.keys().any(|what| what.contains("redis")) || self.may_cut_the_log()
    }

    /// Records were removed under those who had yet to read them.
    pub(super) fn may_cut_the_log(&self) -> bool {
        let cuts = ["recreate", "retention", "truncate"];
        self.struck.keys().any(|what| cuts.iter().any(|cut| what.contains(cut)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let check = |text: &str, total: u64, sessions: bool, log: bool| {
            let faults = Faults::parse(text);
            let found = (faults.total(), faults.may_lose_sessions(), faults.may_cut_the_log());
            assert_eq!(found, (total, sessions, log), "{text:?}");
        };
        check("", 0, false, false);
        check("\nnonsense\n", 0, false, false);
        check("1 kill gateway-1\n2 kill gateway-1\n3 reset links-2\n", 3, false, false);
        check("1 flush redis\n", 1, true, false);
        check("1 recreate changes\n", 1, true, true);
        let faults = Faults::parse("1 kill gateway-1\n2 kill gateway-1\n");
        assert_eq!(faults.struck.get("kill gateway-1"), Some(&2));
    }
}
