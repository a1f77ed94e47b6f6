//! Refusals whose cause is no target: a vendor refuses whatever is sent for the time of a run, or all of a host that is off line.

use fastrand::Rng;
use freshen::core::http::Request;

use crate::faults::Fate;
use crate::seams::Core;
use crate::spec::Spec;
use crate::vendor::{self, Answer};
use crate::vendors::{Actor, Key};

/// What is refused in a run, whatever it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusing {
    /// Whose endpoints.
    account: usize,
    /// One of several caches, or all of them.
    endpoint: Option<usize>,
    /// Only targets of this host.
    host: Option<usize>,
}

impl Refusing {
    /// One of these vendors refuses.
    pub(crate) fn draw(dice: &mut Rng, specs: &[Spec]) -> Self {
        let spec = &specs[dice.usize(..specs.len())];
        let endpoint = (spec.endpoints > 1 && dice.bool()).then(|| dice.usize(..spec.endpoints));
        let host = (has_hosts_off_line(spec.kind) && dice.bool()).then(|| dice.usize(..2));
        Self { account: spec.account, endpoint, host }
    }

    /// What becomes of a request for these; `None`: it goes its way.
    pub(crate) fn fate(self, spec: &Spec, endpoint: usize, wanted: &[Key]) -> Option<Fate> {
        let concerned = spec.account == self.account && self.endpoint.is_none_or(|one| one == endpoint);
        let Answer { status, body } = match self.host {
            Some(host) if wanted.iter().any(|key| key.1 % 2 == host) => {
                vendor::fact::<Option<Answer>>(spec.kind, "off_line")?
            }
            Some(_) => return None,
            None => vendor::fact(spec.kind, "refusal"),
        };
        concerned.then_some(Fate::Refused { status, body })
    }

    /// Whether no target is named to be off line.
    pub(crate) const fn blames_targets(self) -> bool {
        self.host.is_none()
    }
}

impl Core {
    /// Whether a vendor refuses this whatever it is.
    pub(crate) fn refusal(&mut self, actor: usize, request: &Request) -> Option<Fate> {
        let refusing = self.faults.refusing?;
        let (wanted, _) = self.wanted(actor, request);
        let Actor { spec, endpoint, .. } = &self.actors[actor];
        let fate = refusing.fate(spec, *endpoint, &wanted);
        // Of a target that is all that there is to do it is not known whether it is to blame itself.
        let alone = wanted.iter().filter(|key| self.alone.contains(&key.0) && refusing.blames_targets());
        if fate.is_some() {
            alone.for_each(|key| self.truth.accuse(*key));
        }
        fate
    }
}

/// Whether the vendor says of hosts that they are off line.
pub(crate) fn has_hosts_off_line(kind: &str) -> bool {
    vendor::fact::<Option<Answer>>(kind, "off_line").is_some()
}
