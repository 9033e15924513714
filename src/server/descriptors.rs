//! How many file descriptors the process may have, and how many it needs.
//!
//! The soft limit of 1,024 that most shells and service managers set is for programs that use select(2); it is raised to
//! the hard one, and what that lacks is said in one sentence. It bounds nothing by itself: without descriptors accepting
//! rests. Source: getrlimit(2).

use std::fmt;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Of a connection at work: its socket, its bucket's directory, and the file that is read or written.
const OF_A_CONNECTION: u64 = 3;
/// Of a core: 64 listings in the making, each with eight directories, sixteen files and two more; rings and listeners.
const OF_A_CORE: u64 = 64 * 26 + 64;

/// What a server needs when all its connections work.
pub fn needed(connections_max: u32, cores_count: usize) -> u64 {
    u64::from(connections_max) * OF_A_CONNECTION + cores_count as u64 * OF_A_CORE
}

/// A limit that is lower than what somebody may need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortage {
    limit: u64,
    needed: u64,
    whose: String,
}

impl Shortage {
    /// How many connections there is room for; never none, and what the cores need does not take more than half.
    pub fn connections(&self, cores_count: usize) -> u32 {
        let left = self.limit.saturating_sub(needed(0, cores_count)).max(self.limit / 2);
        u32::try_from(left / OF_A_CONNECTION).unwrap_or(u32::MAX).max(1)
    }
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shortage { limit, needed, whose } = self;
        write!(
            f,
            "this process may have {limit} file descriptors, and {whose} may need {needed}: raise RLIMIT_NOFILE \
             (systemd: LimitNOFILE={needed})"
        )
    }
}

/// Raises the limit as far as it may be; what is short when `needed` is more, said of `whose` need it is.
pub fn raise(whose: &str, needed: u64) -> Option<Shortage> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    let limit = match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    };
    (limit < needed).then(|| Shortage { limit, needed, whose: whose.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_short_is_said() {
        assert_eq!(needed(16_384, 2), 49_152 + 2 * 1_728);
        assert_eq!(raise("--connections 1", 0), None);
        let sentence = raise("--connections 1", u64::MAX).expect("no limit is that high").to_string();
        let needed = u64::MAX.to_string();
        for part in ["--connections 1 may need", &needed, "LimitNOFILE="] {
            assert!(sentence.contains(part), "{sentence}");
        }
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("the limit is told");
        assert_eq!(soft, hard);
    }

    #[test]
    fn as_many_connections_as_there_is_room_for() {
        for (limit, cores_count, want) in
            [(1_000_000, 2, 332_181), (20_000, 2, 5_514), (512, 2, 85), (1, 1, 1), (u64::MAX, 1, u32::MAX)]
        {
            let shortage = Shortage { limit, needed: u64::MAX, whose: String::new() };
            assert_eq!(shortage.connections(cores_count), want, "{limit} descriptors");
        }
    }
}
