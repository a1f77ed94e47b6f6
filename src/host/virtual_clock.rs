//! A clock for rehearsals: time moves only by sleeping, so a plan of days runs in a moment.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{BoxFuture, Clock};
use crate::core::time::{Now, Tick};

/// Time that stands still until somebody sleeps. Wall time and ticks advance together.
///
/// With several sleepers the latest wake time wins: a sleeper that asked for an earlier one wakes at once and sees that time.
#[derive(Debug)]
pub struct VirtualClock {
    now: Mutex<Now>,
}

impl VirtualClock {
    /// A clock that stands at `now`.
    pub fn starting_at(now: Now) -> Self {
        Self { now: Mutex::new(now) }
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        // The value is whole at every moment, so a panic elsewhere does not spoil it.
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Now {
        *self.lock()
    }

    fn sleep_until(&self, tick: Tick) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            {
                let mut now = self.lock();
                let step_ms = tick.since(now.tick);
                now.tick = now.tick.plus_ms(step_ms);
                now.wall = now.wall.plus_ms(i64::try_from(step_ms).unwrap_or(i64::MAX));
            }
            tokio::task::yield_now().await;
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::time::Timestamp;

    #[tokio::test]
    async fn only_sleeping_moves_time_and_never_back() {
        let start = Now { wall: Timestamp::from_unix_ms(1_700_000_000_000), tick: Tick::from_ms(5) };
        let clock = VirtualClock::starting_at(start);
        assert_eq!(clock.now(), start);

        let day_ms = 86_400_000;
        clock.sleep_until(start.tick.plus_ms(day_ms)).await;
        let later = clock.now();
        assert_eq!(later.tick, Tick::from_ms(5 + day_ms));
        assert_eq!(later.wall.unix_ms(), 1_700_000_000_000 + 86_400_000);

        clock.sleep_until(start.tick).await;
        assert_eq!(clock.now(), later);
    }

    #[tokio::test]
    async fn sleep_lets_others_run() {
        let clock = VirtualClock::starting_at(Now::default());
        let order = Mutex::new(Vec::new());
        let sleeper = async {
            clock.sleep_until(Tick::from_ms(1)).await;
            order.lock().expect("no panic").push("sleeper");
        };
        let other = async { order.lock().expect("no panic").push("other") };
        tokio::join!(sleeper, other);
        assert_eq!(*order.lock().expect("no panic"), ["other", "sleeper"]);
    }
}
