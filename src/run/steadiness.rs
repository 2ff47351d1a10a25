//! `stable`: how long, or how often in a row, expectations must keep holding.

use crate::plan::Stable;
use std::time::{Duration, Instant};

/// Between two looks at something that has to stay as it is.
pub(super) const STABLE_LOOK: Duration = Duration::from_millis(200);

/// `stable 2s`, `stable 3x`: how long, and how often in a row, all must hold.
pub(super) struct Steadiness {
    times: u32,
    duration: Duration,
    held: u32,
    since: Option<Instant>,
}

impl Steadiness {
    pub fn of(expects: impl Iterator<Item = Stable>) -> Steadiness {
        let mut all = Steadiness { times: 1, duration: Duration::ZERO, held: 0, since: None };
        for stable in expects {
            match stable {
                Stable::Times(n) => all.times = all.times.max(n),
                Stable::For(d) => all.duration = all.duration.max(d),
            }
        }
        all
    }

    /// It held once more. True when that is enough.
    pub fn holds(&mut self) -> bool {
        self.held += 1;
        let since = *self.since.get_or_insert_with(Instant::now);
        self.held >= self.times && since.elapsed() >= self.duration
    }

    pub fn broke(&mut self) {
        self.held = 0;
        self.since = None;
    }

    /// The time that holding itself takes is granted beyond the limit.
    pub fn allowance(&self) -> Duration {
        self.duration + STABLE_LOOK * self.times.saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steadiness_counts_in_a_row() {
        let mut stable = Steadiness { times: 3, duration: Duration::ZERO, held: 0, since: None };
        assert!(!stable.holds());
        assert!(!stable.holds());
        stable.broke();
        assert!(!stable.holds());
        assert!(!stable.holds());
        assert!(stable.holds());
    }
}
