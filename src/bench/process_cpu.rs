//! The CPU time that a process has used, as `/proc/PID/stat` tells it.
//! That file sums the whole thread group, threads that have ended included, and io_uring's workers are threads of the
//! group. Kernel threads (writeback, softirq) are in nobody's sum, and children are not in their parent's.
//! Source: proc_pid_stat(5), fields utime and stime; do_task_stat in the kernel.

use std::fmt;
use std::io;

/// Why a process has no figures.
#[derive(Debug)]
pub enum ProcessCpuError {
    /// There is no such process, or it may not be looked at.
    Read(u32, io::Error),
    /// The file has another form.
    Form(u32),
}

impl fmt::Display for ProcessCpuError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProcessCpuError::Read(pid, error) => {
                write!(out, "cannot read the CPU time of process {pid}: {error}")
            }
            ProcessCpuError::Form(pid) => write!(out, "cannot understand /proc/{pid}/stat"),
        }
    }
}

impl std::error::Error for ProcessCpuError {}

/// A tick of the file. The kernel counts in nanoseconds and rounds here; USER_HZ is part of its interface and 100 on
/// x86-64 and ARM64 whatever CONFIG_HZ is.
const TICK_NS: u64 = 10_000_000;

/// Where utime stands, counted from the state, which is the first field after the name; stime follows.
const UTIME_INDEX: usize = 11;

/// Reads how much CPU time a process has used.
/// Units: nanoseconds, in steps of 10 ms.
pub fn read(pid: u32) -> Result<u64, ProcessCpuError> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    let text = text.map_err(|error| ProcessCpuError::Read(pid, error))?;
    parse(&text).ok_or(ProcessCpuError::Form(pid))
}

fn parse(text: &str) -> Option<u64> {
    // The name may hold spaces and parentheses; nothing after it does.
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(UTIME_INDEX);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    ticks()?.checked_add(ticks()?)?.checked_mul(TICK_NS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use uring::time;

    fn check(name: &str, text: &str, want: Option<u64>) {
        assert_eq!(parse(text), want, "{name}");
    }

    #[test]
    fn fields() {
        let fields = "S 1 7 7 0 -1 4194560 98 0 0 0 31 11 5 6 20 0 4 0 353202";
        check("plain", &format!("7 (ringway) {fields}"), Some(42 * TICK_NS));
        check("a name like fields", &format!("7 (a) R 1 (b)) {fields}"), Some(42 * TICK_NS));
        check("cut", "7 (ringway) S 1 7 7 0 -1 4194560 98 0 0 0 31", None);
        check("no name", "7 ringway", None);
        check("no number", &format!("7 (ringway) {}", fields.replace("31", "x")), None);
    }

    #[test]
    fn threads_that_have_ended_count() {
        let pid = std::process::id();
        let before_ns = read(pid).expect("this process");
        let spin = || {
            let start_ns = time::thread_cpu_ns();
            while time::thread_cpu_ns() - start_ns < 10 * TICK_NS {}
        };
        std::thread::spawn(spin).join().expect("it only spins");
        // Each of the two sums may have been cut by almost a tick.
        let used_ns = read(pid).expect("this process") - before_ns;
        assert!(used_ns >= 8 * TICK_NS, "{used_ns} ns after 10 ticks in a thread that has ended");
    }
}
