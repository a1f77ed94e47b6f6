//! One probe, with the headers that it is to carry.

use crate::core::probe::{Probe, Probed};
use crate::host::{Host, Timeouts};

/// What a server answers to `probe`.
pub(super) async fn probe(host: &Host, probe: &Probe, timeouts: Timeouts) -> Probed {
    host.prober.probe(probe.clone(), probe.headers.clone(), timeouts).await
}
