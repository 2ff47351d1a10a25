//! How long and how often a probe or a state expectation is tried.

use std::time::Duration;

/// The default limit of a scenario (`within`), which an author did not choose.
pub const DEFAULT_WITHIN: Duration = Duration::from_secs(10);

/// Once it is proven that every proxy has the change and logs come at once, another try can hardly
/// differ: this is left for what the world outside the mesh may still do.
const AFTER_PROOF: Duration = Duration::from_millis(400);

/// Pauses between tries when no event comes: doubling from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LAST_PAUSE: Duration = Duration::from_millis(500);

/// The limits of one group of expectations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// From the first try on.
    pub limit: Duration,
    /// `every` of the exec: the pause between tries, as the author says.
    pub every: Option<Duration>,
}

impl Retry {
    /// `given` are the `within`s of the group's own lines, `scenario` that of the scenario or file.
    /// `proven`: the change is known to have arrived everywhere.
    pub fn new(given: &[Option<Duration>], scenario: Duration, proven: bool, every: Option<Duration>) -> Retry {
        let written = given.iter().flatten().max().copied();
        let limit = match written {
            // A probe's limit is the largest of its expects', and what is written is kept.
            Some(limit) if given.iter().all(Option::is_some) => limit,
            Some(limit) => limit.max(unwritten(scenario, proven)),
            None => unwritten(scenario, proven),
        };
        Retry { limit, every }
    }

    /// The pause before try `number` (2 is the first repeat).
    pub fn pause(&self, number: u32) -> Duration {
        self.every.unwrap_or_else(|| {
            let doubled = FIRST_PAUSE.saturating_mul(1 << number.saturating_sub(2).min(10));
            doubled.min(LAST_PAUSE)
        })
    }
}

fn unwritten(scenario: Duration, proven: bool) -> Duration {
    match proven && scenario == DEFAULT_WITHIN {
        true => AFTER_PROOF,
        false => scenario,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn a_written_limit_is_kept_and_the_largest_counts() {
        assert_eq!(Retry::new(&[Some(S(3)), Some(S(5))], S(10), true, None).limit, S(5));
        assert_eq!(Retry::new(&[Some(S(3)), None], S(10), false, None).limit, S(10));
        assert_eq!(Retry::new(&[None], S(7), true, None).limit, S(7));
    }

    #[test]
    fn after_proof_the_default_limit_is_short() {
        assert!(Retry::new(&[None], DEFAULT_WITHIN, true, None).limit < S(1));
        assert_eq!(Retry::new(&[None], DEFAULT_WITHIN, false, None).limit, S(10));
    }

    #[test]
    fn pauses_grow_and_stay_bounded() {
        let retry = Retry::new(&[], DEFAULT_WITHIN, false, None);
        assert_eq!(retry.pause(2), FIRST_PAUSE);
        assert_eq!(retry.pause(3), FIRST_PAUSE * 2);
        assert_eq!(retry.pause(u32::MAX), LAST_PAUSE);
        assert_eq!(Retry { every: Some(S(2)), ..retry }.pause(9), S(2));
    }
}
