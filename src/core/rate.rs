//! How often something may be done, as vendors put it.

use std::fmt;
use std::time::Duration;

/// At most `count` in any period, evenly spread, besides what may come at once after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub count: u32,
    /// In which time.
    pub period: Duration,
    /// How many at once after a pause, at least 1: the size of a token bucket.
    pub burst: u32,
}

impl Rate {
    /// At most `count` in any second, none of them at once.
    pub const fn per_second(count: u32) -> Self {
        Self { count, period: Duration::from_secs(1), burst: 1 }
    }

    /// The mean distance between two, in microseconds.
    pub fn interval_us(self) -> u64 {
        u64::try_from(self.period.as_micros()).unwrap_or(u64::MAX) / u64::from(self.count.max(1))
    }

    /// How many a second, on average.
    pub fn a_second(self) -> f64 {
        f64::from(self.count) / self.period.as_secs_f64()
    }

    /// The strictest of both in all respects.
    #[must_use]
    pub fn at_most(self, other: Self) -> Self {
        let slower = if other.interval_us() > self.interval_us() { other } else { self };
        Self { burst: self.burst.min(other.burst), ..slower }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.period.as_secs() {
            1 => write!(f, "{}/s", self.count)?,
            60 => write!(f, "{}/min", self.count)?,
            3600 => write!(f, "{}/h", self.count)?,
            seconds => write!(f, "{}/{seconds} s", self.count)?,
        }
        if self.burst > 1 { write!(f, ", {} at once", self.burst) } else { Ok(()) }
    }
}
