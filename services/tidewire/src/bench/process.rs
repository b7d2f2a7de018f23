//! What Linux tells of a process: CPU time, resident memory, send queues; and of the machine.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result};

/// The kernel's unit of CPU time in `/proc/<pid>/stat`.
const TICK_NS: u64 = 10_000_000;

/// CPU time of all living threads of a process by the threads' names, in nanoseconds. A thread that runs
/// right now is told up to a tick too low: ask when the process has become quiet.
pub(super) fn cpu_by_thread(pid: u32) -> Result<BTreeMap<String, u64>> {
    let mut threads = BTreeMap::new();
    let folder = format!("/proc/{pid}/task");
    for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {folder}"))? {
        let path = entry?.path();
        // A thread may end between the listing and the look.
        let Ok(text) = fs::read_to_string(path.join("schedstat")) else { continue };
        let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
        let ns = text.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0);
        *threads.entry(name.trim().to_owned()).or_insert(0) += ns;
    }
    Ok(threads)
}

/// CPU time of all living threads of a process, in nanoseconds.
pub(super) fn cpu_ns(pid: u32) -> Result<u64> {
    Ok(cpu_by_thread(pid)?.values().sum())
}

/// CPU time of a process and of those that it has started, ended ones included, in nanoseconds. Of those
/// that have ended the kernel tells hundredths of a second.
pub(super) fn cpu_ns_with_children(pid: u32) -> Result<u64> {
    let mut sum = cpu_ns(pid)?;
    for entry in fs::read_dir("/proc").context("cannot read /proc")? {
        let name = entry?.file_name();
        let Some(child) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // One may end between the listing and the look.
        if stat(child).and_then(|fields| fields.first()?.parse().ok()) == Some(pid) {
            sum += cpu_ns(child).unwrap_or(0);
        }
    }
    let fields = stat(pid).context("cannot read the state of a process")?;
    let ended = fields.iter().skip(12).take(2).filter_map(|ticks| ticks.parse::<u64>().ok());
    Ok(sum + ended.sum::<u64>() * TICK_NS)
}

/// The fields of `/proc/<pid>/stat` from the parent's id on.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before may hold spaces and brackets.
    let (_, rest) = text.rsplit_once(')')?;
    Some(rest.split_whitespace().skip(1).map(str::to_owned).collect())
}

/// Resident memory in bytes.
pub(super) fn resident_bytes(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:"));
    let kib = line.and_then(|rest| rest.trim().split(' ').next()?.parse::<u64>().ok());
    Ok(kib.context("no Rss in smaps_rollup")? * 1024)
}

/// Bytes in the kernel's send queues (what `SIOCOUTQ` tells) of the sockets whose peers have these ports.
pub(super) fn send_queues(server_port: u16, peers: &[u16]) -> Result<Vec<u64>> {
    let peers: HashSet<u16> = peers.iter().copied().collect();
    let text = fs::read_to_string("/proc/net/tcp").context("cannot read /proc/net/tcp")?;
    let port = |address: &str| u16::from_str_radix(address.rsplit(':').next()?, 16).ok();
    let row = |line: &str| {
        let mut columns = line.split_whitespace().skip(1);
        let (local, peer) = (port(columns.next()?)?, port(columns.next()?)?);
        let queues = columns.nth(1)?;
        let queued = u64::from_str_radix(queues.split(':').next()?, 16).ok()?;
        (local == server_port && peers.contains(&peer)).then_some(queued)
    };
    Ok(text.lines().skip(1).filter_map(row).collect())
}

/// What the page says of the machine.
pub(super) struct Machine {
    pub(super) cores: usize,
    pub(super) model: String,
    pub(super) kernel: String,
    pub(super) memory_mib: u64,
    /// Of the last minute, this run's own work included.
    pub(super) load_average: String,
}

impl Machine {
    pub(super) fn of_here() -> Self {
        let field = |path: &str, name: &str| {
            let text = fs::read_to_string(path).unwrap_or_default();
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split(':').nth(1).unwrap_or("unknown").trim().to_owned()
        };
        let memory = field("/proc/meminfo", "MemTotal");
        let kib: u64 = memory.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0);
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            model: field("/proc/cpuinfo", "model name"),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")
                .map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned()),
            memory_mib: kib / 1024,
            load_average: fs::read_to_string("/proc/loadavg")
                .ok()
                .and_then(|text| Some(text.split(' ').next()?.to_owned()))
                .unwrap_or_else(|| "unknown".to_owned()),
        }
    }
}

/// What a command prints, in one line; `None` where it cannot be run.
pub(super) fn first_line(command: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(command).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.lines().next().unwrap_or_default().to_owned())
}
