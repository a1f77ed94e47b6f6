//! Probes of edges by a program that stays up, after its passes.

use tokio::sync::watch;

use super::{WatchOptions, log_line};
use crate::core::proof_record::ProofVerdict;
use crate::core::provider_key::ProviderKey;
use crate::core::time::Timestamp;
use crate::engine::prove::{self, ProofReport, Prover};
use crate::engine::{Desired, PassMemory};
use crate::host::{Host, Timeouts};
use crate::state::Backend;

/// How long one pass probes, in milliseconds: what has no answer by then is asked by a later one, and purges wait meanwhile.
const ROUND_MS: u64 = 10_000;
/// How long it waits at least before it probes again what had no answer, in milliseconds.
const AGAIN_MS: i64 = 5_000;

/// What probes of a pass are made with.
pub(super) struct Proving<'a> {
    pub(super) host: &'a Host,
    pub(super) state: &'a dyn Backend,
    pub(super) options: &'a WatchOptions<'a>,
    /// Number of the pass in this process.
    pub(super) pass: u64,
    /// Turns true when nothing is to be probed any more.
    pub(super) stop: watch::Receiver<bool>,
}

/// Makes the probes that are due. When the next pass has to come for it, where that is known already.
pub(super) async fn probe_due(with: Proving<'_>, desired: &mut Desired, memory: &mut PassMemory) -> Option<Timestamp> {
    if desired.model.proof_terms.iter().all(|terms| terms.verify.is_none()) {
        return None;
    }
    let is_alone = with.state.open().ok()?.is_some_and(|store| memory.is_alone(&*store));
    let host = with.host;
    let mut prover = Prover {
        host,
        state: with.state,
        selection: &with.options.selection,
        deadline: Some(host.clock.now().tick.plus_ms(ROUND_MS)),
        timeouts: Timeouts::within(with.options.timeout_ms),
        stop: with.stop,
    };
    let mut report = ProofReport::default();
    let probed = prove::prove_due(&mut prover, desired, &mut report).await;
    if is_alone {
        memory.goes_on(with.state.open().ok()?.as_deref());
    }
    log(with.pass, &report);
    match probed {
        Ok(0) => None,
        // They are purged again at once.
        Ok(_) => Some(host.clock.now().wall),
        Err(error) => {
            tracing::warn!(pass = with.pass, "edges cannot be probed: {}", log_line(&format!("{error:#}")));
            Some(host.clock.now().wall.plus_ms(AGAIN_MS))
        }
    }
}

/// When edges are to be probed next, by the state.
pub(super) fn next_due(
    (host, state): (&Host, &dyn Backend),
    namespace: Option<&str>,
    providers: &[(String, String)],
) -> Option<Timestamp> {
    let keys: Vec<String> = providers.iter().map(|(name, _)| ProviderKey { namespace, name }.to_string()).collect();
    let due = state.open().ok()??.next_proof_due(&keys).ok()??;
    let now = host.clock.now().wall;
    Some(if due <= now { now.plus_ms(AGAIN_MS) } else { due })
}

fn log(pass: u64, report: &ProofReport) {
    let count = |verdict| report.count(None, verdict);
    let (verified, stale) = (count(ProofVerdict::Verified), count(ProofVerdict::Stale));
    let others = count(ProofVerdict::Inconclusive) + count(ProofVerdict::Unverifiable);
    if verified + stale + others == 0 {
        return;
    }
    let worst = report.targets().find(|target| target.verdict == ProofVerdict::Stale);
    let worst = worst.or_else(|| report.targets().find(|target| target.verdict != ProofVerdict::Verified));
    match worst {
        None => tracing::info!(pass, verified, probes = report.probes, "edges serve what was purged"),
        Some(worst) => {
            let (target, why) = (log_line(&worst.target.text), log_line(worst.why.as_deref().unwrap_or_default()));
            let verdict = worst.verdict.word();
            tracing::warn!(pass, verified, stale, unverified = others, target, "{verdict}: {why}");
        }
    }
}
