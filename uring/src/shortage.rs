//! What cores lack and run without, and how an operator is told: one sentence a cause, however many cores there are.
//!
//! It decides nothing: who finds a shortage has found its way around it.
//! Source: getrlimit(2) RLIMIT_MEMLOCK, sched_setaffinity(2).

use crate::errno::Errno;
use crate::ring::ENTRIES;

/// One thing that one core lacks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shortage {
    /// The thread may not be pinned to its CPU.
    Cpu(Errno),
    /// RLIMIT_MEMLOCK made the ring smaller; this many entries are left.
    Entries(u32),
    /// The kernel refused to register the arena; with ENOMEM it is RLIMIT_MEMLOCK that did.
    Arena(Errno),
}

/// What all cores lack, as sentences.
pub(crate) fn tell(shortages: &[Shortage], cores_count: usize) -> Vec<String> {
    let told = [unpinned(shortages, cores_count), unlocked(shortages, cores_count)];
    told.into_iter().chain([unregistered(shortages, cores_count)]).flatten().collect()
}

fn unpinned(shortages: &[Shortage], cores_count: usize) -> Option<String> {
    let mut errors = shortages.iter().filter_map(|shortage| match shortage {
        Shortage::Cpu(error) => Some(error),
        Shortage::Entries(_) | Shortage::Arena(_) => None,
    });
    let error = errors.next()?;
    let count = 1 + errors.count();
    Some(format!("{count} of {cores_count} cores are not pinned to a CPU: it is refused here ({error})"))
}

fn unlocked(shortages: &[Shortage], cores_count: usize) -> Option<String> {
    let (mut entries_min, mut arenas_count, mut refused) = (ENTRIES, 0, None);
    for shortage in shortages {
        match shortage {
            Shortage::Cpu(_) => {}
            Shortage::Arena(error) if *error != Errno::NOMEM => {}
            Shortage::Entries(entries) => entries_min = entries_min.min(*entries),
            Shortage::Arena(error) => {
                arenas_count += 1;
                refused = Some(error);
            }
        }
    }
    let arenas = refused.map(|error| not_registered(arenas_count, cores_count, *error));
    let entries = (entries_min < ENTRIES)
        .then(|| format!("rings have down to {entries_min} entries instead of {ENTRIES}"));
    let lacks = arenas.into_iter().chain(entries).collect::<Vec<_>>().join(", and ");
    let remedy = "raise it (systemd: LimitMEMLOCK=infinity)";
    (!lacks.is_empty()).then(|| format!("RLIMIT_MEMLOCK is small, so {lacks}; {remedy}"))
}

/// Arenas that something else than RLIMIT_MEMLOCK keeps from being registered.
fn unregistered(shortages: &[Shortage], cores_count: usize) -> Option<String> {
    let mut errors = shortages.iter().filter_map(|shortage| match shortage {
        Shortage::Arena(error) if *error != Errno::NOMEM => Some(*error),
        Shortage::Arena(_) | Shortage::Cpu(_) | Shortage::Entries(_) => None,
    });
    let error = errors.next()?;
    Some(not_registered(1 + errors.count(), cores_count, error))
}

fn not_registered(count: usize, cores_count: usize, error: Errno) -> String {
    format!("{count} of {cores_count} arenas are not registered ({error}) and writes cost more CPU")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(shortages: &[Shortage], want: &[&str]) {
        assert_eq!(tell(shortages, 3), want);
    }

    #[test]
    fn one_sentence_a_cause() {
        check(&[], &[]);
        let cpu = Shortage::Cpu(Errno::PERM);
        let arena = Shortage::Arena(Errno::NOMEM);
        let unpinned =
            "2 of 3 cores are not pinned to a CPU: it is refused here (Operation not permitted (os error 1))";
        let arenas = "1 of 3 arenas are not registered (Cannot allocate memory (os error 12)) and writes cost more CPU";
        let remedy = "raise it (systemd: LimitMEMLOCK=infinity)";
        let rings = "rings have down to 64 entries instead of 1024";
        let small = "RLIMIT_MEMLOCK is small, so";
        check(&[arena], &[&format!("{small} {arenas}; {remedy}")]);
        let other = Shortage::Arena(Errno::NOTSUP);
        check(
            &[other, other],
            &[
                "2 of 3 arenas are not registered (Operation not supported (os error 95)) and writes cost more CPU",
            ],
        );
        let entries = [256, 64, 128].map(Shortage::Entries);
        check(&entries, &[&format!("{small} {rings}; {remedy}")]);
        let all = [cpu, entries[0], arena, cpu, entries[1]];
        check(&all, &[unpinned, &format!("{small} {arenas}, and {rings}; {remedy}")]);
    }
}
