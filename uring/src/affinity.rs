//! Which CPUs the process may use, and pinning a thread to one.
//!
//! It reads what the scheduler allows (cpusets included) and changes only the calling thread.
//! Source: sched_getaffinity(2), sched_setaffinity(2), cgroups(7) `cpu.max`.

use crate::errno::Errno;

/// The CPUs the process may run on, ascending.
pub fn allowed() -> Result<Vec<usize>, Errno> {
    // SAFETY: a cpu_set_t is an array of integers, for which zero is a valid value.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is valid for its own size.
    let result = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) };
    if result < 0 {
        return Err(Errno::last());
    }
    let is_set = |cpu: &usize| {
        // SAFETY: the number is below CPU_SETSIZE.
        unsafe { libc::CPU_ISSET(*cpu, &set) }
    };
    Ok((0..libc::CPU_SETSIZE as usize).filter(is_set).collect())
}

/// Pins the calling thread to one CPU.
pub fn pin(cpu: usize) -> Result<(), Errno> {
    confine(&[cpu])
}

/// Lets the calling thread run on `cpus` and no other.
pub(crate) fn confine(cpus: &[usize]) -> Result<(), Errno> {
    // SAFETY: a cpu_set_t is an array of integers, for which zero is a valid value.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for cpu in cpus {
        if *cpu >= libc::CPU_SETSIZE as usize {
            return Err(Errno::INVAL);
        }
        // SAFETY: the number is below CPU_SETSIZE.
        unsafe { libc::CPU_SET(*cpu, &mut set) };
    }
    // SAFETY: `set` is valid for its own size; zero means the calling thread.
    let result = unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) };
    if result < 0 { Err(Errno::last()) } else { Ok(()) }
}

/// How many whole CPUs the cgroup's quota grants, when there is a quota.
pub fn quota() -> Option<usize> {
    let text = std::fs::read_to_string("/sys/fs/cgroup/cpu.max").ok()?;
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota, period): (usize, usize) = (quota.parse().ok()?, period.parse().ok()?);
    Some((quota / period.max(1)).max(1))
}
