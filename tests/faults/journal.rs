//! What happened in a run: the log of faults, which the checker reads (`ms kind target`, a line each, the time
//! in milliseconds since 1970), a longer account for people, and what must not happen.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::{Instant, SystemTime};

use crate::plan::{Act, Lane};

/// Written by all lanes.
pub(crate) struct Journal {
    began: Instant,
    faults_file: PathBuf,
    pages: Mutex<Pages>,
}

struct Pages {
    faults: File,
    account: File,
    struck: BTreeMap<(Lane, Act), usize>,
    links_cut: usize,
    findings: Vec<String>,
}

/// The name of one target in the logs.
pub(crate) fn name(lane: Lane, target: usize) -> String {
    match lane {
        Lane::Gateway => format!("gateway-{}", target + 1),
        Lane::Capture => format!("capture-{}", target + 1),
        Lane::Broker => format!("broker-{}", target + 1),
        Lane::Link => format!("links-{}", target + 1),
        Lane::Redis => "redis".to_owned(),
    }
}

impl Journal {
    /// Begins `faults.log` and `account.log` in the folder.
    pub(crate) fn begin(folder: &Path) -> Self {
        let faults_file = folder.join("faults.log");
        let pages = Pages {
            faults: File::create(&faults_file).unwrap(),
            account: File::create(folder.join("account.log")).unwrap(),
            struck: BTreeMap::new(),
            links_cut: 0,
            findings: Vec::new(),
        };
        Self { began: Instant::now(), faults_file, pages: Mutex::new(pages) }
    }

    pub(crate) fn faults_file(&self) -> &Path {
        &self.faults_file
    }

    /// A fault has struck.
    pub(crate) fn struck(&self, lane: Lane, act: Act, target: usize) {
        let target = if act == Act::Outage {
            format!("{lane:?}").to_lowercase()
        } else {
            name(lane, target)
        };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let mut pages = self.pages();
        writeln!(pages.faults, "{} {act} {target}", now.as_millis()).unwrap();
        *pages.struck.entry((lane, act)).or_default() += 1;
        drop(pages);
        self.note(&format!("{act} {target}"));
    }

    /// So many links were cut at once.
    pub(crate) fn links_cut(&self, links: usize) {
        self.pages().links_cut += links;
    }

    /// All links that were cut.
    pub(crate) fn all_links_cut(&self) -> usize {
        self.pages().links_cut
    }

    /// Something that a reader of the account wants to know.
    pub(crate) fn note(&self, text: &str) {
        let at = self.began.elapsed().as_secs_f64();
        writeln!(self.pages().account, "{at:9.3} {text}").unwrap();
    }

    /// Something that fails the run.
    pub(crate) fn finding(&self, text: String) {
        self.note(&format!("FINDING: {text}"));
        self.pages().findings.push(text);
    }

    pub(crate) fn findings(&self) -> Vec<String> {
        self.pages().findings.clone()
    }

    /// How often each act struck each lane.
    pub(crate) fn strikes(&self) -> BTreeMap<(Lane, Act), usize> {
        self.pages().struck.clone()
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        // A lane that panics fails the run by itself.
        self.pages.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
