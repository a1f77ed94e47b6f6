//! Asks one server about one URL over HTTP/1.1 and reads the answer as it comes, in bounded memory.

use super::{BoxFuture, Prober, Timeouts};
use crate::core::http::{TransportFailure, TransportFailureKind};
use crate::core::probe::{Probe, Probed};
use crate::core::proof_terms::Headers;

/// Asks nobody: where nothing may leave the machine.
pub struct NoProber;

impl Prober for NoProber {
    fn probe(&self, _probe: Probe, _headers: Headers, _timeouts: Timeouts) -> BoxFuture<'_, Probed> {
        let message = "nothing is probed here".to_owned();
        Box::pin(async { Err(TransportFailure { kind: TransportFailureKind::NotConnected, message }) })
    }
}

/// Probes over the network.
#[derive(Default)]
pub struct HttpProber;

impl Prober for HttpProber {
    fn probe(&self, _probe: Probe, _headers: Headers, _timeouts: Timeouts) -> BoxFuture<'_, Probed> {
        let message = "not there yet".to_owned();
        Box::pin(async { Err(TransportFailure { kind: TransportFailureKind::NotConnected, message }) })
    }
}
