//! The machine's clocks. Wall time may jump; ticks only move forward.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use super::{BoxFuture, Clock};
use crate::core::time::{Now, Tick, Timestamp};

/// Wall time of the system, and ticks counted from the moment this value was made.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose ticks start at 0 now.
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    fn now(&self) -> Now {
        let ticks = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        Now { wall: wall_time(SystemTime::now()), tick: Tick::from_ms(ticks) }
    }

    fn sleep_until(&self, tick: Tick) -> BoxFuture<'_, ()> {
        // A moment that the system cannot express is never reached.
        match self.start.checked_add(Duration::from_millis(tick.ms())) {
            Some(moment) => Box::pin(tokio::time::sleep_until(moment)),
            None => Box::pin(std::future::pending()),
        }
    }
}

/// Clocks set before 1970 are as legal as any other wrong clock.
fn wall_time(time: SystemTime) -> Timestamp {
    let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => Timestamp::from_unix_ms(ms(after)),
        Err(error) => Timestamp::from_unix_ms(-ms(error.duration())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_set_before_1970_is_read_as_such() {
        let moment = |ms: u64| Duration::from_millis(ms);
        assert_eq!(wall_time(UNIX_EPOCH + moment(1500)).unix_ms(), 1500);
        assert_eq!(wall_time(UNIX_EPOCH - moment(1500)).unix_ms(), -1500);
    }

    #[tokio::test]
    async fn past_tick_is_not_waited_for() {
        let clock = SystemClock::start();
        let before = clock.now();
        clock.sleep_until(before.tick).await;
        assert!(clock.now().tick >= before.tick);
    }
}
