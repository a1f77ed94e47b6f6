//! Readiness and signs of life: systemd gets them where it runs; everywhere they turn the main loop, which `/healthz` goes by.

use sd_notify::NotifyState;

use crate::core::time::Tick;
use crate::host::Host;
use crate::serve::TURN_MS;

/// What systemd knows.
pub struct Systemd {
    speaks: bool,
    is_ready: bool,
    /// A reload was asked for, and the run that reads everything for it has not begun.
    reload_waits: bool,
    /// How often a sign of life is given, in milliseconds: at least twice in the time that it waits for one.
    beat_ms: u64,
    next_beat: Tick,
}

impl Systemd {
    /// What systemd asks of this process, if it runs there.
    pub fn of(host: &Host) -> Self {
        let beat = sd_notify::watchdog_enabled().and_then(|every| u64::try_from(every.as_millis() / 2).ok());
        let beat_ms = beat.filter(|ms| *ms > 0).map_or(TURN_MS, |ms| ms.min(TURN_MS));
        let next_beat = host.clock.now().tick;
        Self { speaks: true, is_ready: false, reload_waits: false, beat_ms, next_beat }
    }

    /// For a daemon that nothing waits for.
    pub fn silent() -> Self {
        Self {
            speaks: false,
            is_ready: false,
            reload_waits: false,
            beat_ms: u64::MAX,
            next_beat: Tick::from_ms(u64::MAX),
        }
    }

    /// Manifests were read: the service is up, or done with reloading, unless they were read for something else.
    pub fn ready(&mut self, status: &str) {
        if !self.reload_waits && !std::mem::replace(&mut self.is_ready, true) {
            self.notify(&[NotifyState::Ready]);
        }
        self.notify(&[NotifyState::Status(status)]);
    }

    /// Everything is to be read anew; after [`Systemd::reload_begins`], [`Systemd::ready`] ends it.
    pub fn reloading(&mut self) {
        self.reload_waits = true;
        if std::mem::replace(&mut self.is_ready, false)
            && let Ok(now) = NotifyState::monotonic_usec_now()
        {
            self.notify(&[NotifyState::Reloading, now]);
        }
    }

    /// A reload begins.
    pub const fn reload_begins(&mut self) {
        self.reload_waits = false;
    }

    /// The program is about to end.
    pub fn stopping(&self) {
        self.notify(&[NotifyState::Stopping]);
    }

    /// Returns when a sign of life is due, and gives it.
    pub async fn beat(&mut self, host: &Host) {
        if !self.speaks {
            return std::future::pending().await;
        }
        host.clock.sleep_until(self.next_beat).await;
        self.notify(&[NotifyState::Watchdog]);
        self.next_beat = host.clock.now().tick.plus_ms(self.beat_ms);
    }

    /// Whether anything listens makes no difference.
    fn notify(&self, state: &[NotifyState<'_>]) {
        if self.speaks {
            let _ = sd_notify::notify(state);
        }
    }
}
