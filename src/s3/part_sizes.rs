//! The sizes of the parts that an object was uploaded in, as runs of parts of one size: most uploads have two.
//! Parts are numbered from 1 as they lie in the object, whatever numbers they were uploaded under.
//! It knows no object: whether the sizes are those of a file is the fs floor's to check.
//! Source: GetObject, parameter partNumber and header x-amz-mp-parts-count.

use crate::s3::names::PartNumber;

/// The sizes of an object's parts.
// INVARIANT: 1 to RUNS_MAX runs, no part without a byte, at most 10,000 parts, and the sum fits 64 bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartSizes {
    runs: Vec<Run>,
    count: u16,
    total_bytes: u64,
}

/// Parts of one size behind each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// How many.
    pub count: u16,
    /// The size of each.
    pub size_bytes: u64,
}

impl PartSizes {
    /// Most runs that are kept; ten thousand parts of sizes of their own would be more than a file's attribute may hold.
    pub const RUNS_MAX: usize = 1_000;

    /// The sizes of parts in their order; `None` for more runs than are kept, and when a part is empty: it has no range.
    pub fn of(sizes_bytes: impl IntoIterator<Item = u64>) -> Option<PartSizes> {
        let mut runs: Vec<Run> = Vec::new();
        for size_bytes in sizes_bytes {
            let is_full = runs.len() == PartSizes::RUNS_MAX;
            match runs.last_mut() {
                Some(run) if run.size_bytes == size_bytes => run.count = run.count.checked_add(1)?,
                Some(_) if is_full => return None,
                Some(_) | None => runs.push(Run { count: 1, size_bytes }),
            }
        }
        PartSizes::of_runs(runs)
    }

    /// The sizes that runs say; `None` when they break a rule.
    pub fn of_runs(runs: Vec<Run>) -> Option<PartSizes> {
        let is_legal = |run: &Run| run.count > 0 && run.size_bytes > 0;
        if runs.is_empty() || runs.len() > PartSizes::RUNS_MAX || !runs.iter().all(is_legal) {
            return None;
        }
        let mut count: u16 = 0;
        let mut total_bytes: u64 = 0;
        for run in &runs {
            count = count.checked_add(run.count).filter(|count| *count <= PartNumber::MAX)?;
            total_bytes = total_bytes.checked_add(run.bytes()?)?;
        }
        Some(PartSizes { runs, count, total_bytes })
    }

    /// The runs, in order.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// How many parts there are.
    pub fn count(&self) -> u16 {
        self.count
    }

    /// The size of the object.
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// Where a part lies in the object, and how long it is; `None` behind the last.
    pub fn extent(&self, number: PartNumber) -> Option<(u64, u64)> {
        let mut before = number.value().saturating_sub(1);
        let mut offset_bytes: u64 = 0;
        for run in &self.runs {
            if before < run.count {
                let within = u64::from(before).checked_mul(run.size_bytes)?;
                return Some((offset_bytes.checked_add(within)?, run.size_bytes));
            }
            before = before.saturating_sub(run.count);
            offset_bytes = offset_bytes.checked_add(run.bytes()?)?;
        }
        None
    }
}

impl Run {
    fn bytes(self) -> Option<u64> {
        u64::from(self.count).checked_mul(self.size_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Want: the runs as `count x size`, or none.
    fn check(sizes: &[u64], want: Option<&str>) {
        let runs = PartSizes::of(sizes.iter().copied()).map(|sizes| {
            let texts = sizes.runs().iter().map(|run| format!("{}x{}", run.count, run.size_bytes));
            texts.collect::<Vec<_>>().join(" ")
        });
        assert_eq!(runs.as_deref(), want, "{} sizes", sizes.len());
    }

    #[test]
    fn runs_of_sizes() {
        check(&[7], Some("1x7"));
        check(&[8, 8, 8, 5], Some("3x8 1x5"));
        check(&[8, 5, 8], Some("1x8 1x5 1x8"));
        check(&[8; 10_000], Some("10000x8"));
        check(&[8; 10_001], None);
        check(&[], None);
        check(&[8, 0], None);
        check(&[u64::MAX, 1], None);
        let own_sizes: Vec<u64> = (1..=1_001).collect();
        assert!(PartSizes::of(own_sizes[..1_000].iter().copied()).is_some());
        check(&own_sizes, None);
    }

    #[test]
    fn forged_runs() {
        let run = |count, size_bytes| Run { count, size_bytes };
        for runs in [
            vec![],
            vec![run(0, 8)],
            vec![run(1, 0)],
            vec![run(u16::MAX, 8)],
            vec![run(9_999, 8), run(2, 8)],
            vec![run(2, u64::MAX)],
            vec![run(1, 8); 1_001],
        ] {
            assert_eq!(PartSizes::of_runs(runs.clone()), None, "{runs:?}");
        }
    }

    proptest! {
        #[test]
        fn parts_lie_behind_each_other(sizes in proptest::collection::vec(1_u64..4, 1..60)) {
            let parts = PartSizes::of(sizes.iter().copied()).unwrap();
            let mut offset = 0;
            for (number, size) in (1..).zip(&sizes) {
                let extent = parts.extent(PartNumber::new(number).unwrap());
                prop_assert_eq!(extent, Some((offset, *size)));
                offset += size;
            }
            prop_assert_eq!((usize::from(parts.count()), parts.total_bytes()), (sizes.len(), offset));
            prop_assert_eq!(parts.extent(PartNumber::new(sizes.len() as u64 + 1).unwrap()), None);
        }
    }
}
