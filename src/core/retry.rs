//! Whether and when a failed call is repeated. A value comes out; nobody sleeps here.

use super::contract::ErrorClass;

/// Most attempts of one batch, the first included.
pub const ATTEMPTS: u32 = 5;
/// Longest wait that an answer may ask for and still be waited for, in milliseconds.
pub const LONGEST_WAIT_MS: u64 = 120_000;

/// First wait for a host that the vendor does not serve at the moment; each further one is twice as long.
const HOST_BASE_MS: u64 = 60_000;
/// Longest such wait.
const HOST_CAP_MS: u64 = 21_600_000;

const TRANSIENT_BASE_MS: u64 = 500;
const THROTTLED_BASE_MS: u64 = 2_000;
const CAP_MS: u64 = 60_000;

/// What to do with a batch whose call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Repeat after this many milliseconds.
    After(u64),
    /// Leave it for the next run.
    GiveUp,
}

/// Seeded random numbers, good enough to spread retries (`SplitMix64`).
#[derive(Clone, Debug)]
pub struct Jitter(u64);

impl Jitter {
    /// The sequence that `seed` begins.
    pub const fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number, uniform over all values.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

/// Exponential backoff with full jitter, capped; a wait that the answer asks for is a lower bound.
///
/// `attempt` counts from 1; `random` is uniform over all values.
pub fn decide(class: ErrorClass, attempt: u32, retry_after_ms: Option<u64>, random: u64) -> Verdict {
    let base = match class {
        ErrorClass::Transient | ErrorClass::Unknown => TRANSIENT_BASE_MS,
        ErrorClass::Throttled => THROTTLED_BASE_MS,
        _ => return Verdict::GiveUp,
    };
    let asked = retry_after_ms.unwrap_or(0);
    if attempt >= ATTEMPTS || asked > LONGEST_WAIT_MS {
        return Verdict::GiveUp;
    }
    let ceiling = (base << (attempt - 1).min(16)).min(CAP_MS);
    // Throttling waits at least half the ceiling: an early repeat only prolongs it.
    let floor = if class == ErrorClass::Throttled { ceiling / 2 } else { 1 };
    let jittered = floor + random % (ceiling - floor + 1);
    Verdict::After(jittered.max(asked))
}

/// How long targets of a host wait that the vendor does not serve at the moment, for the `times`-th time in a row from 1, in
/// milliseconds.
pub fn host_wait_ms(times: u32) -> u64 {
    (HOST_BASE_MS << times.saturating_sub(1).min(16)).min(HOST_CAP_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_for_a_host_double_up_to_six_hours() {
        let minutes = (1..=11).map(|times| host_wait_ms(times) / 60_000).collect::<Vec<_>>();
        assert_eq!(minutes, [1, 2, 4, 8, 16, 32, 64, 128, 256, 360, 360]);
        assert_eq!(host_wait_ms(u32::MAX), 21_600_000);
    }

    #[test]
    fn waits_grow_and_stay_below_the_cap() {
        for attempt in 1..ATTEMPTS {
            for random in [0, 1, 77, u64::MAX, 1 << 40] {
                let Verdict::After(ms) = decide(ErrorClass::Transient, attempt, None, random) else {
                    panic!("gave up")
                };
                assert!((1..=TRANSIENT_BASE_MS << (attempt - 1)).contains(&ms), "attempt {attempt}: {ms}");
            }
        }
        assert_eq!(decide(ErrorClass::Transient, ATTEMPTS, None, 3), Verdict::GiveUp);
    }

    /// The numbers are those that meet the ends of each range.
    #[test]
    fn waits_double_with_each_attempt() {
        let ranges = [
            (ErrorClass::Transient, [(1, 500), (1, 1000), (1, 2000), (1, 4000)]),
            (ErrorClass::Throttled, [(1000, 2000), (2000, 4000), (4000, 8000), (8000, 16_000)]),
        ];
        for (class, ranges) in ranges {
            for (attempt, (shortest, longest)) in (1..).zip(ranges) {
                let ends = [0, longest - shortest].map(|random| decide(class, attempt, None, random));
                assert_eq!(ends, [shortest, longest].map(Verdict::After), "{class:?}, attempt {attempt}");
                assert_eq!(decide(class, attempt, None, longest - shortest + 1), Verdict::After(shortest));
            }
        }
    }

    #[test]
    fn an_answer_may_ask_for_a_longer_wait_up_to_a_cap() {
        assert_eq!(decide(ErrorClass::Throttled, 1, Some(90_000), 0), Verdict::After(90_000));
        assert_eq!(decide(ErrorClass::Throttled, 1, Some(31_536_000_000), 0), Verdict::GiveUp);
    }

    #[test]
    fn refusals_are_never_repeated() {
        for class in
            [ErrorClass::Auth, ErrorClass::Fatal, ErrorClass::Request, ErrorClass::QuotaSpent, ErrorClass::Clock]
        {
            assert_eq!(decide(class, 1, None, 0), Verdict::GiveUp);
        }
    }
}
