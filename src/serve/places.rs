//! Slots for connections: a bounded number. When all are taken, the one that has gone longest without a whole request makes way.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// All of them.
pub(super) struct ConnectionSlots {
    free: Arc<Semaphore>,
    /// Connections whose requests have not arrived, in the order in which they came, and the number of the next one.
    waiting: Mutex<(BTreeMap<u64, Arc<Notify>>, u64)>,
}

/// A connection's place, until it is dropped.
pub(super) struct ConnectionSlot {
    places: Arc<ConnectionSlots>,
    number: u64,
    wanted: Arc<Notify>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl ConnectionSlots {
    pub(super) fn new(number: usize) -> Arc<Self> {
        Arc::new(Self { free: Arc::new(Semaphore::new(number)), waiting: Mutex::default() })
    }

    /// The next place, once there is one.
    pub(super) async fn take(self: &Arc<Self>) -> ConnectionSlot {
        if self.free.available_permits() == 0
            && let Some((_, oldest)) = self.waiting().0.pop_first()
        {
            oldest.notify_one();
        }
        // It is never closed.
        let permit = Arc::clone(&self.free).acquire_owned().await.ok();
        let wanted = Arc::new(Notify::new());
        let mut waiting = self.waiting();
        let number = waiting.1;
        waiting.1 += 1;
        waiting.0.insert(number, Arc::clone(&wanted));
        drop(waiting);
        ConnectionSlot { places: Arc::clone(self), number, wanted, _permit: permit }
    }

    fn waiting(&self) -> MutexGuard<'_, (BTreeMap<u64, Arc<Notify>>, u64)> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConnectionSlot {
    /// Its request has arrived: it makes way for nobody.
    pub(super) fn keep(&self) {
        self.places.waiting().0.remove(&self.number);
    }

    /// Returns when it has to make way.
    pub(super) async fn wanted(&self) {
        self.wanted.notified().await;
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.keep();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt;

    use super::*;

    /// H4: a reader that sends a byte and waits keeps no other one out; one that has asked gets the answer.
    #[tokio::test]
    async fn who_has_not_asked_makes_way_for_others() {
        let places = ConnectionSlots::new(2);
        let (asked, silent) = (places.take().await, places.take().await);
        asked.keep();
        assert!(silent.wanted().now_or_never().is_none(), "nobody waits");
        let mut third = pin!(places.take());
        assert!(third.as_mut().now_or_never().is_none());
        assert!(asked.wanted().now_or_never().is_none() && silent.wanted().now_or_never().is_some());
        drop(silent);
        assert!(third.now_or_never().is_some());
    }
}
