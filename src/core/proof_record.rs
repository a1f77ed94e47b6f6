//! What the state knows of proof: which probes are owed for accepted purges, and what was seen at edges.

use super::proof_terms::Headers;
use super::target::{ContentHash, Target};
use super::time::Timestamp;

/// Longest [`ProofRow::seen`] that is kept, in bytes.
pub const LONGEST_SEEN: usize = 512;

/// Proof of one target at one provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofRow {
    /// By what the state knows the provider, see [`ProviderKey`](super::provider_key::ProviderKey).
    pub provider: String,
    /// The target.
    pub target: Target,
    /// What edges are to serve; `None`: nothing, it was removed.
    pub hash: Option<ContentHash>,
    /// What was recorded of a removed target before: an edge that still serves it is stale.
    pub gone: Option<ContentHash>,
    /// Manifests that listed a removed target: it has no other row that says so. Empty for what is listed.
    pub owners: Vec<String>,
    /// When the origin was seen to serve `hash`.
    pub ready_at: Option<Timestamp>,
    /// When the purge was accepted; `None`: there was none that asks for proof.
    pub accepted_at: Option<Timestamp>,
    /// The validator of `hash` that the origin showed when it was ready.
    pub validator: Option<String>,
    /// What probes have shown.
    pub verdict: ProofVerdict,
    /// By what it was compared: `etag`, `header X-Rev`.
    pub by: Option<String>,
    /// When it was probed last.
    pub probed_at: Option<Timestamp>,
    /// No probe before counts; `None`: none is owed.
    pub due: Option<Timestamp>,
    /// When it is purged a second time, whatever edges serve.
    pub again_at: Option<Timestamp>,
    /// How many times it was purged again since it was stale.
    pub repurges: u32,
    /// The worst probe as JSON, at most [`LONGEST_SEEN`] bytes.
    pub seen: Option<String>,
    /// Headers of the variants that were stale: it is purged again for these.
    pub variants: Vec<Headers>,
}

impl ProofRow {
    /// Of a recorded target that nothing is known of so far.
    pub const fn unproven(provider: String, target: Target, hash: ContentHash) -> Self {
        Self {
            provider,
            target,
            hash: Some(hash),
            gone: None,
            owners: Vec::new(),
            ready_at: None,
            accepted_at: None,
            validator: None,
            verdict: ProofVerdict::Due,
            by: None,
            probed_at: None,
            due: None,
            again_at: None,
            repurges: 0,
            seen: None,
            variants: Vec::new(),
        }
    }
}

/// What probes have shown of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProofVerdict {
    /// Nothing yet.
    Due,
    /// An edge was seen to serve the desired content.
    Verified,
    /// An edge serves something else.
    Stale,
    /// No answer said either.
    Inconclusive,
    /// No probe can ever tell.
    Unverifiable,
}

impl ProofVerdict {
    /// All of them, in order.
    pub const ALL: [Self; 5] = [Self::Due, Self::Verified, Self::Stale, Self::Inconclusive, Self::Unverifiable];

    /// The word for it in output and state.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Due => "due",
            Self::Verified => "verified",
            Self::Stale => "stale",
            Self::Inconclusive => "inconclusive",
            Self::Unverifiable => "unverifiable",
        }
    }
}

/// What becomes of a row once its target was probed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettledProof {
    /// The row as it was read, or [`ProofRow::unproven`]. If its hash, its work or its acceptance changed since, all of this is
    /// dropped.
    pub row: ProofRow,
    /// What probes have shown by now.
    pub verdict: ProofVerdict,
    /// By what it was compared.
    pub by: Option<String>,
    /// When it was probed last.
    pub probed_at: Option<Timestamp>,
    /// When it is probed next; `None`: that was all. A removed target is forgotten with that.
    pub due: Option<Timestamp>,
    /// The worst probe as JSON; what is longer than [`LONGEST_SEEN`] is left out.
    pub seen: Option<String>,
    /// How many times it was purged again so far.
    pub repurges: u32,
    /// Headers of the variants that are stale.
    pub variants: Vec<Headers>,
    /// Makes the target due again, for this reason: it is stale and owes no probe until it was purged once more, which counts as one
    /// more of `repurges`.
    pub mark_stale: Option<String>,
}

/// What a run came to at the edges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunProof {
    /// Targets that were verified.
    pub verified: u64,
    /// Targets that stayed stale.
    pub stale: u64,
    /// Targets of which probes did not tell, or cannot tell.
    pub unverified: u64,
    /// Probes that were made.
    pub probes: u64,
    /// Bytes of their answers.
    pub probe_bytes: u64,
}
