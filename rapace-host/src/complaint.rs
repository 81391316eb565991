//! What fails again and again is told when it begins, and then once in a while.

use std::time::{Duration, Instant};

/// So long nothing is told behind the last time, whether or not it went well meanwhile.
const PAUSE: Duration = Duration::from_secs(60);

/// Of one thing that may fail.
#[derive(Debug, Default)]
pub(crate) struct Complaint {
    told: Option<Instant>,
    untold: u64,
}

impl Complaint {
    /// It has failed, now: how often since it was last told, if it is to be told.
    pub(crate) fn failed(&mut self, now: Instant) -> Option<u64> {
        self.untold += 1;
        if self.told.is_some_and(|told| now.saturating_duration_since(told) < PAUSE) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_ten_times_a_second_is_told_at_once_and_then_each_minute() {
        let (mut complaint, start) = (Complaint::default(), Instant::now());
        let at = |tenths| start + Duration::from_millis(100) * tenths;
        let told: Vec<_> = (0..1300).filter_map(|tenths| Some((tenths, complaint.failed(at(tenths))?))).collect();
        assert_eq!(told, [(0, 1), (600, 600), (1200, 600)]);
        // Much later it is as if for the first time, but for what was not told.
        assert_eq!(complaint.failed(at(9000)), Some(100));
        assert_eq!(complaint.failed(at(9001)), None);
    }
}
