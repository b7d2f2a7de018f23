//! What the kernel lets a worker do.
//!
//! The address space of the process is limited to what it had when it was ready, what its compiled scripts
//! took since, and the memory of one run. An allocation beyond fails, and a failed allocation ends the
//! process: that is the stop. The soft limit moves with what was compiled; the hard one never does.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use rlimit::{Resource, setrlimit};
use rustix::time::{ClockId, clock_gettime};

/// The page of every system that this runs on.
const PAGE_BYTES: u64 = 4096;
/// A body from this size on may need memory that is to be counted apart from the run's.
const LARGE_BODY_BYTES: usize = 64 * 1024;
/// What the largest body and what is read from it may need.
const LARGEST_BODY_MEMORY: u64 = 256 * 1024 * 1024;
/// The state of the memory is looked at once in so many requests.
const REQUESTS_PER_LOOK: u32 = 64;
/// How nice a process is that yields to others: beside one that is not, it has about a tenth of a core.
const NICENESS: i32 = 10;
/// Descriptors of a worker: its three pipes and the file that tells its memory.
const FILES_MAX: u64 = 4;

/// CPU time of this process: the clock that a worker gives its engine.
#[must_use]
pub fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// Sets when the kernel ends this process if it goes on computing: the parent should have done so long
/// before, but may be gone.
pub(super) fn allow_cpu(seconds: u64) -> io::Result<()> {
    // Only the soft limit: it can be moved again.
    setrlimit(Resource::CPU, cpu_time().as_secs() + seconds, rlimit::INFINITY)
}

/// No further files, no processes, nothing written to a file, no core.
pub(super) fn close_doors() -> io::Result<()> {
    setrlimit(Resource::NOFILE, FILES_MAX, FILES_MAX)?;
    setrlimit(Resource::NPROC, 0, 0)?;
    setrlimit(Resource::FSIZE, 0, 0)?;
    setrlimit(Resource::CORE, 0, 0)
}

/// Lets other processes go first where there are not enough cores for all.
pub(super) fn yield_to_others() -> io::Result<()> {
    rustix::process::nice(NICENESS)?;
    Ok(())
}

/// The memory of the process.
pub(super) struct Memory {
    statm: File,
    /// What the process had when it was ready, in bytes of address space.
    start: u64,
    /// What compiled scripts have taken since.
    scripts: u64,
    /// What the body of the running request has taken.
    body: u64,
    run_max: u64,
    scripts_max: u64,
    requests: u32,
}

impl Memory {
    /// Sets the limit from what the process has now.
    pub(super) fn limit(run_max: u64, scripts_max: u64) -> io::Result<Self> {
        let statm = File::open("/proc/self/statm")?;
        let (scripts, body, requests) = (0, 0, 0);
        let mut memory = Self { statm, start: 0, scripts, body, run_max, scripts_max, requests };
        memory.start = memory.now()?;
        memory.apply()?;
        Ok(memory)
    }

    /// Bytes of address space.
    fn now(&self) -> io::Result<u64> {
        let mut text = [0; 64];
        let bytes = self.statm.read_at(&mut text, 0)?;
        let text = text.get(..bytes).and_then(|bytes| std::str::from_utf8(bytes).ok());
        let pages = text.and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
        pages.map(|pages| pages * PAGE_BYTES).ok_or_else(|| io::Error::other("no memory is told"))
    }

    fn hard(&self) -> u64 {
        self.start + 2 * self.scripts_max + LARGEST_BODY_MEMORY + self.run_max
    }

    fn apply(&self) -> io::Result<()> {
        let soft = self.start + self.scripts + self.body + self.run_max;
        setrlimit(Resource::AS, soft.min(self.hard()), self.hard())
    }

    /// To be told before a script is compiled; what is told back goes to [`Self::end_script`].
    pub(super) fn begin_script(&self) -> io::Result<u64> {
        self.now()
    }

    pub(super) fn end_script(&mut self, before: u64) -> io::Result<()> {
        let grown = self.now()?.saturating_sub(before);
        if grown > 0 {
            self.scripts += grown;
            self.apply()?;
        }
        Ok(())
    }

    /// Makes room for what is read from a body; a small one needs none. The body itself is there already.
    pub(super) fn begin_large(&self, bytes: usize) -> io::Result<Option<u64>> {
        if bytes < LARGE_BODY_BYTES {
            return Ok(None);
        }
        setrlimit(Resource::AS, self.hard(), self.hard())?;
        self.now().map(|now| Some(now.saturating_sub(bytes as u64)))
    }

    /// Sets the limit to what the process has with the body.
    pub(super) fn end_large(&mut self, before: Option<u64>) -> io::Result<()> {
        let Some(before) = before else { return Ok(()) };
        self.body = self.now()?.saturating_sub(before);
        self.apply()
    }

    /// The body is gone.
    pub(super) fn forget_large(&mut self) -> io::Result<()> {
        if self.body == 0 {
            return Ok(());
        }
        self.body = 0;
        self.apply()
    }

    /// Whether the process is better started anew: its scripts have taken too much, or memory that runs
    /// gave back in pieces leaves too little to the next.
    pub(super) fn is_full(&mut self) -> io::Result<bool> {
        if self.scripts > self.scripts_max {
            return Ok(true);
        }
        self.requests += 1;
        if self.requests < REQUESTS_PER_LOOK {
            return Ok(false);
        }
        self.requests = 0;
        Ok(self.now()? > self.start + self.scripts + self.run_max / 2)
    }
}
