//! What probes came to, target by target.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::core::probe::{Seen, SeenBody, Sight};
use crate::core::proof::{Owed, Proven, Sighting};
use crate::core::proof_record::{LONGEST_SEEN, ProofVerdict, SettledProof};
use crate::core::proof_terms::Headers;
use crate::core::target::Target;
use crate::core::time::Timestamp;

/// What rounds of probes came to; of each target its last result.
#[derive(Debug, Default)]
pub struct ProofReport {
    targets: BTreeMap<(String, Target), ProvenTarget>,
    /// Probes that were made.
    pub probes: u64,
    /// Bytes of the bodies of their answers.
    pub bytes: u64,
    /// Results that were dropped, since their targets changed meanwhile.
    pub superseded: u64,
    /// Targets that were purged again, each time it was.
    pub purged_again: u64,
    varies: BTreeMap<String, Vec<String>>,
}

/// What is known of a target's edges.
#[derive(Clone, Debug)]
pub struct ProvenTarget {
    /// Name of the provider.
    pub provider: String,
    /// The target.
    pub target: Target,
    /// What probes have shown.
    pub verdict: ProofVerdict,
    /// By what it was compared, where that is weaker than the content itself.
    pub by: Option<String>,
    /// What is wrong, or cannot be told, in words.
    pub why: Option<String>,
    /// It is known without any probe that none can tell.
    pub is_by_rule: bool,
    /// Places at which edges were probed.
    pub vantages: usize,
    /// Purges for its content so far.
    pub purges: u32,
    /// When it is probed again.
    pub next: Option<Timestamp>,
    /// It is due again, since it is stale.
    pub is_marked: bool,
    /// What was expected.
    pub expected: Option<String>,
    /// What was seen, by place and variant.
    pub seen: Vec<SeenAt>,
}

/// What was seen at one place, of one variant.
#[derive(Clone, Debug)]
pub struct SeenAt {
    /// Where.
    pub vantage: String,
    /// Headers of the variant, `identity` for none.
    pub variant: String,
    /// `fresh`, `other`, `inconclusive` or `unverifiable`.
    pub sight: &'static str,
    /// The answer, if there was one.
    pub answer: Option<Seen>,
}

impl ProofReport {
    /// Takes in the result of a target, in place of an earlier one.
    pub(super) fn settle(&mut self, target: ProvenTarget) {
        self.targets.insert((target.provider.clone(), target.target.clone()), target);
    }

    /// Notes names by which answers of a host vary.
    pub(super) fn vary(&mut self, host: &str, names: Vec<String>) {
        if !names.is_empty() {
            let known = self.varies.entry(host.to_owned()).or_default();
            known.extend(names);
            known.sort_unstable();
            known.dedup();
        }
    }

    pub(super) fn take_varies(&mut self) -> BTreeMap<String, Vec<String>> {
        std::mem::take(&mut self.varies)
    }

    /// All targets, in order of provider and target.
    pub fn targets(&self) -> impl Iterator<Item = &ProvenTarget> {
        self.targets.values()
    }

    /// How many stand so at a provider, or at all.
    pub fn count(&self, provider: Option<&str>, verdict: ProofVerdict) -> u64 {
        let counted = self.targets().filter(|target| provider.is_none_or(|provider| target.provider == provider));
        counted.filter(|target| target.verdict == verdict).count() as u64
    }

    /// Names of providers with targets.
    pub fn providers(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.targets().map(|target| target.provider.as_str()).collect();
        names.dedup();
        names
    }

    /// Whether each is verified, or known by rule to be beyond proof; `is_strict`: without the latter.
    pub fn is_proven(&self, is_strict: bool) -> bool {
        self.targets().all(|target| match target.verdict {
            ProofVerdict::Verified => true,
            ProofVerdict::Unverifiable => target.is_by_rule && !is_strict,
            _ => false,
        })
    }
}

impl ProvenTarget {
    /// A target that no probe can tell anything of.
    pub(super) fn by_rule(provider: &str, settled: &SettledProof, why: String) -> Self {
        Self { why: Some(why), is_by_rule: true, ..Self::bare(provider, settled) }
    }

    /// A target whose probes did not end in time.
    pub(super) fn unprobed(provider: &str, settled: &SettledProof) -> Self {
        Self { why: Some("not probed in time".to_owned()), by: None, ..Self::bare(provider, settled) }
    }

    /// A target whose probes have ended.
    pub(super) fn of(provider: &str, settled: &SettledProof, (owed, proven): (&Owed, &Proven)) -> Self {
        let worst = proven.worst();
        let place = owed.vantages[worst.vantage].endpoint.to_string();
        let variant = variant(&worst.variant);
        let asked = if variant == "identity" { place } else { format!("{place} ({variant})") };
        let seen = worst.seen.as_ref().map(shown).unwrap_or_default();
        let why = match &worst.sight {
            Sight::Fresh => None,
            Sight::Other(what) => Some(format!("{asked} {what}{seen}")),
            Sight::Inconclusive(why) | Sight::Unverifiable(why) => Some(format!("{asked}: {why}{seen}")),
        };
        let seen_at = |sighting: &Sighting| SeenAt {
            vantage: owed.vantages[sighting.vantage].endpoint.to_string(),
            variant: self::variant(&sighting.variant),
            sight: match sighting.sight {
                Sight::Fresh => "fresh",
                Sight::Other(_) => "other",
                Sight::Inconclusive(_) => "inconclusive",
                Sight::Unverifiable(_) => "unverifiable",
            },
            answer: sighting.seen.clone(),
        };
        Self {
            why,
            vantages: owed.vantages.len(),
            seen: proven.sightings.iter().map(seen_at).collect(),
            ..Self::bare(provider, settled)
        }
    }

    fn bare(provider: &str, settled: &SettledProof) -> Self {
        Self {
            provider: provider.to_owned(),
            target: settled.row.target.clone(),
            verdict: settled.verdict,
            by: settled.by.clone(),
            why: None,
            is_by_rule: false,
            vantages: 0,
            purges: settled.row.repurges + u32::from(settled.row.accepted_at.is_some()),
            next: settled.due,
            is_marked: settled.mark_stale.is_some(),
            expected: settled.row.hash.as_ref().map(ToString::to_string),
            seen: Vec::new(),
        }
    }

    /// The worst of what was seen, as the state keeps it.
    pub(super) fn worst_as_json(&self) -> Option<String> {
        let worst = self.seen.iter().find(|seen| seen.sight != "fresh").or(self.seen.first())?;
        Some(worst.as_json().to_string()).filter(|text| text.len() <= LONGEST_SEEN)
    }
}

impl SeenAt {
    /// For programs.
    pub fn as_json(&self) -> Value {
        let answer = self.answer.as_ref();
        let header = |name: &str| answer.and_then(|seen| seen.header(name));
        let hash = answer.and_then(|seen| match &seen.body {
            SeenBody::Digest(hash, _) => Some(hash.as_str()),
            _ => None,
        });
        json!({
            "vantage": self.vantage,
            "variant": self.variant,
            "sight": self.sight,
            "status": answer.map(|seen| seen.status),
            "hash": hash,
            "etag": header("etag"),
            "age": header("age"),
            "x_cache": header("x-cache").or(header("cf-cache-status")),
            "via": header("via"),
            "bytes": answer.map(|seen| seen.bytes),
        })
    }
}

/// What an answer says of itself, which is shown and never believed.
fn shown(seen: &Seen) -> String {
    let status = Some(seen.status.to_string());
    let named = |label: &str, name: &str| seen.header(name).map(|value| format!("{label} {value}"));
    let parts = [status, named("Age", "age"), named("X-Cache", "x-cache"), named("", "cf-cache-status")];
    let parts: Vec<String> = parts.into_iter().flatten().map(|part| part.trim().to_owned()).collect();
    format!(" ({})", parts.join(", "))
}

/// A variant by its headers, `identity` for that without a coding.
fn variant(headers: &Headers) -> String {
    let is_plain = |(name, value): &(String, String)| name == "Accept-Encoding" && value == "identity";
    if headers.iter().all(is_plain) {
        return "identity".to_owned();
    }
    headers.iter().map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>().join(", ")
}
