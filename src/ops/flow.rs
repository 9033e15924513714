//! Whether a block may wait for the client it is to be filled by, or filled for.
//!
//! Every block waits for a client for a bounded time, so whoever waits for a block gets one, however many clients are
//! slow. A body that has kept a block waiting receives from then on what has arrived and holds nothing while it waits,
//! until it flows again. How slow a client may be at all is `pace`'s. It reads no clock.
//! Source: DESIGN rules as written down in ARCHITECTURE.md, "The body pipeline".

use std::time::Duration;

use uring::arena::BlockSize;
use uring::time::Moment;

/// How long a block waits for its client. Small ones are what everybody needs: a client that reads or sends moves one in
/// a round trip or two, and one that does not would keep it for the whole of its window. A large one is waited for
/// longer: who does not get it takes a small one.
pub const fn held_at_most(size: BlockSize) -> Duration {
    match size {
        BlockSize::Small => Duration::from_millis(100),
        BlockSize::Large => Duration::from_secs(1),
    }
}

/// Whether one body flows.
#[derive(Debug, Default)]
pub struct Flow {
    // When the body fell behind, or its present burst began; none while it flows.
    burst: Option<(Moment, u64)>,
}

impl Flow {
    /// Whether the body holds no block while it waits.
    pub fn is_slow(&self) -> bool {
        self.burst.is_some()
    }

    /// Says that a block was not filled in its time.
    pub fn fell_behind(&mut self, now: Moment) {
        self.burst = Some((now, 0));
    }

    /// Counts bytes that arrived: a small block's worth of them, in the time that one is held, is a body that flows.
    pub fn moved(&mut self, bytes: u64, now: Moment) {
        let Some((began, so_far)) = &mut self.burst else { return };
        if now.since(*began) > held_at_most(BlockSize::Small) {
            (*began, *so_far) = (now, 0);
        }
        *so_far = so_far.saturating_add(bytes);
        if *so_far >= BlockSize::Small.bytes() as u64 {
            self.burst = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body that fell behind; steps are milliseconds that pass and then bytes that arrive.
    fn check(name: &str, steps: &[(u64, u64)], is_slow: bool) {
        let (mut flow, mut now) = (Flow::default(), Moment(1));
        assert!(!flow.is_slow());
        flow.fell_behind(now);
        for (pause_ms, bytes) in steps {
            now = now.after(Duration::from_millis(*pause_ms));
            flow.moved(*bytes, now);
        }
        assert_eq!(flow.is_slow(), is_slow, "{name}");
    }

    #[test]
    fn bodies() {
        check("nothing more", &[], true);
        check("a byte a second", &[(1_000, 1); 100], true);
        check("a KiB every tenth of a second", &[(101, 1024); 100], true);
        check("a burst at once", &[(5_000, 16 << 10)], false);
        check("a burst in pieces", &[(5_000, 8 << 10), (50, 4 << 10), (50, 4 << 10)], false);
        check("a burst that is too long", &[(5_000, 8 << 10), (60, 4 << 10), (60, 4 << 10)], true);
        check("steady segments", &[(2, 1448); 12], false);
    }
}
