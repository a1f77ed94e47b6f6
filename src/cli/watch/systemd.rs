//! Readiness and signs of life: systemd is told of them where it runs; everywhere they turn the main loop, which `/healthz` goes by.

use sd_notify::NotifyState;

use crate::core::time::Tick;
use crate::host::Host;
use crate::serve::TURN_MS;

/// What systemd was told.
pub(super) struct Systemd {
    is_ready: bool,
    /// A reload was asked for, and the run that reads everything for it has not begun.
    reload_waits: bool,
    /// How often a sign of life is given, in milliseconds: at least twice in the time that it waits for one.
    beat_ms: u64,
    next_beat: Tick,
}

impl Systemd {
    pub(super) fn of(host: &Host) -> Self {
        let beat = sd_notify::watchdog_enabled().and_then(|every| u64::try_from(every.as_millis() / 2).ok());
        let beat_ms = beat.filter(|ms| *ms > 0).map_or(TURN_MS, |ms| ms.min(TURN_MS));
        let next_beat = host.clock.now().tick;
        Self { is_ready: false, reload_waits: false, beat_ms, next_beat }
    }

    /// Manifests were read: the service is up, or done with reloading, unless they were read for something else.
    pub(super) fn ready(&mut self, status: &str) {
        if !self.reload_waits && !std::mem::replace(&mut self.is_ready, true) {
            tell(&[NotifyState::Ready]);
        }
        tell(&[NotifyState::Status(status)]);
    }

    /// Everything is to be read anew; once [`Systemd::reload_begins`] was told, [`Systemd::ready`] ends it.
    pub(super) fn reloading(&mut self) {
        self.reload_waits = true;
        if std::mem::replace(&mut self.is_ready, false)
            && let Ok(now) = NotifyState::monotonic_usec_now()
        {
            tell(&[NotifyState::Reloading, now]);
        }
    }

    /// The run that reads everything anew begins.
    pub(super) const fn reload_begins(&mut self) {
        self.reload_waits = false;
    }

    /// The program is about to end.
    pub(super) fn stopping() {
        tell(&[NotifyState::Stopping]);
    }

    /// Returns when a sign of life is due, and gives it.
    pub(super) async fn beat(&mut self, host: &Host) {
        host.clock.sleep_until(self.next_beat).await;
        tell(&[NotifyState::Watchdog]);
        self.next_beat = host.clock.now().tick.plus_ms(self.beat_ms);
    }
}

/// Nobody may be listening, which is no concern of ours.
fn tell(state: &[NotifyState<'_>]) {
    let _ = sd_notify::notify(state);
}
