//! The CPU time of another process.

use std::time::Duration;

/// How much CPU time a process of one thread has used, as the kernel's scheduler counts it; `None` where
/// the system does not tell.
pub(super) fn cpu_of(pid: u32) -> Option<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).ok()?;
    text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_some() {
        assert!(cpu_of(std::process::id()).is_some_and(|cpu| cpu > Duration::ZERO));
        assert_eq!(cpu_of(u32::MAX), None);
    }
}
