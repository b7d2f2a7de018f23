//! One run: the bed is made, the checker starts, the lanes strike, the checker judges.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tidewire_testkit::service::{binary, target_folder};
use tidewire_testkit::watched::Watched;

use crate::bed::{AUDIENCE, BROKERS, Bed, ISSUER, PARTITIONS, TOPIC};
use crate::journal::{Journal, name};
use crate::lanes::{self, Course, Services};
use crate::plan::{self, Act, Lane, Size};
use crate::summary::Summary;

/// How long the checker waits after its last event until it judges.
const WAIT: Duration = Duration::from_secs(60);
/// Beyond twice the length of the run and the wait: how long the checker may take before it is ended.
const SPARE: Duration = Duration::from_secs(180);
/// Lines of the checker that are shown when it says no.
const LINES_SHOWN: usize = 60;

/// Runs it all. `None`, and a loud word, where a part can't be had.
pub(crate) fn run(size: &Size, seed: u64) -> Option<Summary> {
    println!("fault run '{}', seed {seed}: {size:?}", size.name);
    // One at a time, also where two people run it: both want the machine, and the folder.
    let lock = lock();
    lock.lock().unwrap();
    let began = Instant::now();
    let mut bed = Bed::start(BROKERS)?;
    let folder = folder(size);
    let journal = Journal::begin(&folder);
    journal.note(&format!("the bed is made, {} ms", began.elapsed().as_millis()));
    let mut checker = Checker::start(&bed, &journal, size, seed, &folder);
    strike(&mut bed, &journal, &mut checker, size, seed);
    let report = checker.report(&journal);
    for (lane, services) in [
        (Lane::Gateway, bed.gateways.as_slice()),
        (Lane::Capture, std::slice::from_ref(&bed.capture)),
    ] {
        for (number, service) in services.iter().enumerate() {
            let (name, log) = (name(lane, number), service.log());
            fs::write(folder.join(format!("{name}.log")), &log).unwrap();
            if let Some(line) = log.lines().find(|line| line.contains("panicked at")) {
                journal.finding(format!("{name} panicked: {line}"));
            }
        }
    }
    let strikes = journal.strikes();
    let kills: usize =
        strikes.iter().filter(|((_, act), _)| *act == Act::Kill).map(|(_, times)| times).sum();
    if kills < size.kills {
        journal.finding(format!("{kills} kills, not {}: this machine is too slow", size.kills));
    }
    if journal.all_links_cut() == 0 {
        journal.finding("no link was there to be cut".to_owned());
    }
    if !journal.findings().is_empty() {
        bed.topics.dump(TOPIC, PARTITIONS, &folder.join("records.tsv"));
    }
    let summary = Summary {
        size: size.clone(),
        seed,
        took: began.elapsed(),
        strikes,
        links_cut: journal.all_links_cut(),
        report,
        findings: journal.findings(),
    };
    fs::write(folder.join("summary.md"), summary.page()).unwrap();
    Some(summary)
}

fn lock() -> File {
    let folder = target_folder().join("faults");
    fs::create_dir_all(&folder).unwrap();
    File::create(folder.join("lock")).unwrap()
}

/// Where a run leaves what it writes; emptied before.
fn folder(size: &Size) -> PathBuf {
    let folder = target_folder().join("faults").join(size.name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder.canonicalize().unwrap()
}

/// Lets the lanes strike until the checker has ended.
fn strike(bed: &mut Bed, journal: &Journal, checker: &mut Checker, size: &Size, seed: u64) {
    let Bed { links, gateways, capture, redis, topics, kafka, .. } = bed;
    let (over, began) = (AtomicBool::new(false), Instant::now());
    let course = Course { journal, began, until: began + plan::length(size), over: &over };
    let faults = |lane| plan::faults(size, seed, lane);
    std::thread::scope(|scope| {
        let course = &course;
        let gateways = Services { lane: Lane::Gateway, services: gateways };
        let captures = Services { lane: Lane::Capture, services: std::slice::from_mut(capture) };
        let brokers = lanes::Brokers { kafka, topics };
        scope.spawn(move || lanes::run(Lane::Gateway, &faults(Lane::Gateway), gateways, course));
        scope.spawn(move || lanes::run(Lane::Capture, &faults(Lane::Capture), captures, course));
        scope.spawn(move || lanes::run(Lane::Broker, &faults(Lane::Broker), brokers, course));
        scope.spawn(move || lanes::run(Lane::Redis, &faults(Lane::Redis), redis, course));
        scope.spawn(move || lanes::run(Lane::Link, &faults(Lane::Link), links.as_slice(), course));
        checker.wait(journal, plan::length(size) * 2 + WAIT + SPARE);
        over.store(true, Ordering::Relaxed);
    });
}

/// `tidewire check`: it produces, listens, and judges.
struct Checker {
    process: Watched,
    log: PathBuf,
    report: PathBuf,
}

impl Checker {
    fn start(bed: &Bed, journal: &Journal, size: &Size, seed: u64, folder: &Path) -> Self {
        let (log, report) = (folder.join("check.log"), folder.join("report.json"));
        let out = File::create(&log).unwrap();
        let mut command = Command::new(binary("tidewire").unwrap());
        command.arg("check").env_clear().current_dir(folder).stdin(Stdio::null());
        for link in &bed.links {
            command.arg("--gateway").arg(format!("http://{}", link.address()));
        }
        command
            .arg("--capture")
            .arg(format!("http://{}", bed.capture.public()))
            .args(["--events", &size.events.to_string(), "--rate", &size.rate.to_string()])
            .args(["--sockets", &size.sockets.to_string(), "--seed", &seed.to_string()])
            .args(["--issuer", ISSUER, "--audience", AUDIENCE, "--secret-file"])
            .arg(bed.secret_file())
            .args(["--wait", &format!("{}s", WAIT.as_secs()), "--report"])
            .arg(&report)
            .arg("--faults-log")
            .arg(journal.faults_file())
            .stdout(out.try_clone().unwrap())
            .stderr(out);
        Self { process: Watched::start(&mut command).unwrap(), log, report }
    }

    fn wait(&mut self, journal: &Journal, limit: Duration) {
        let until = Instant::now() + limit;
        loop {
            match self.process.ended().unwrap() {
                Some(status) if status.success() => return journal.note("the checker is content"),
                Some(status) => {
                    return journal.finding(format!("checker: {status}\n{}", self.tail()));
                }
                None if Instant::now() > until => {
                    return journal.finding(format!("no verdict in {limit:?}\n{}", self.tail()));
                }
                None => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    fn report(&self, journal: &Journal) -> Value {
        let text = fs::read_to_string(&self.report).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_else(|error| {
            journal.finding(format!("the report cannot be read: {error}"));
            Value::Null
        })
    }

    fn tail(&self) -> String {
        let log = String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LINES_SHOWN)..].join("\n")
    }
}
