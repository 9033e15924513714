//! How slow a client may be, either way, judged by the time that is spent waiting for it.
//!
//! A disk that stalls or a queue for memory is not the client's slowness and counts for nothing; a byte now and then does
//! not begin a new window. It waits for nothing itself. Source: DESIGN rules as written down in ARCHITECTURE.md, "Limits".

use std::time::Duration;

use uring::time::Moment;

/// How slow a body may be.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Bytes a second; zero allows any pace.
    pub bytes_per_s_min: u64,
    /// How long a body may stay under it.
    pub window: Duration,
}

/// Whether a client keeps up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It does, or it is too early to tell.
    InTime,
    /// It was waited for through a whole window and moved too little in it.
    TooSlow,
}

/// Watches one body.
#[derive(Debug)]
pub struct Watch {
    pace: Pace,
    // Of the present window.
    waited: Duration,
    bytes: u64,
}

impl Watch {
    /// Begins to watch.
    pub fn new(pace: Pace) -> Watch {
        Watch { pace, waited: Duration::ZERO, bytes: 0 }
    }

    /// How long a wait that begins now may last before it is to be judged.
    pub fn deadline(&self, now: Moment) -> Moment {
        now.after(self.pace.window.saturating_sub(self.waited))
    }

    /// Counts bytes that went through.
    pub fn moved(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Counts a wait for the client, and judges when the window is full.
    pub fn waited(&mut self, began: Moment, now: Moment) -> Verdict {
        self.waited = self.waited.saturating_add(now.since(began));
        if self.waited < self.pace.window {
            return Verdict::InTime;
        }
        let least = u128::from(self.pace.bytes_per_s_min).saturating_mul(self.waited.as_millis());
        let is_slow = u128::from(self.bytes).saturating_mul(1000) < least;
        (self.waited, self.bytes) = (Duration::ZERO, 0);
        if is_slow { Verdict::TooSlow } else { Verdict::InTime }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::{InTime, TooSlow};

    /// Steps are milliseconds of waiting, then bytes that came of it; between them the server is busy for a minute.
    fn check(name: &str, bytes_per_s_min: u64, steps: &[(u64, u64)], want: Verdict) {
        let mut watch = Watch::new(Pace { bytes_per_s_min, window: Duration::from_secs(10) });
        let (mut now, mut worst) = (Moment(1), InTime);
        for (wait_ms, bytes) in steps {
            now = now.after(Duration::from_secs(60));
            let end = now.after(Duration::from_millis(*wait_ms)).min(watch.deadline(now));
            watch.moved(*bytes);
            if watch.waited(now, end) == TooSlow {
                worst = TooSlow;
            }
            now = end;
        }
        assert_eq!(worst, want, "{name}");
    }

    #[test]
    fn clients() {
        check("nothing in a window", 1024, &[(10_000, 0)], TooSlow);
        check("nothing, but any pace will do", 0, &[(10_000, 0)], InTime);
        check("just enough", 1024, &[(5_000, 5_000), (5_000, 5_240)], InTime);
        check("just too little", 1024, &[(5_000, 5_000), (5_000, 5_239)], TooSlow);
        check("a byte a second", 1024, &[(1_000, 1); 10], TooSlow);
        check("a byte short of the window each time", 1024, &[(9_999, 1), (9_999, 1)], TooSlow);
        check("a good start does not last", 1024, &[(10_000, 1 << 20), (10_000, 0)], TooSlow);
        check("never waited for", 1024, &[(0, 1); 100], InTime);
        check("a slow server", 1024, &[(9_000, 0), (0, 0), (0, 100)], InTime);
    }
}
