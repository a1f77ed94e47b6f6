//! The machine of proof: what edges serve after purges were accepted.
//!
//! Answers in, actions out; no clock and no network. No probe is made before a target is due: one that comes too early proves
//! nothing, since a fetch of the old content may still be on its way.

use std::collections::{BTreeMap, VecDeque};

use super::gate::ProbeId;
use super::http::{Endpoint, Route};
use super::probe::{Expected, Probe, Probed, Reads, Seen, Sight};
use super::probe_queue::{AT_AN_EDGE, ProbeQueue, ServerAnswer, ServerId};
use super::proof_terms::Headers;
use super::time::Tick;

/// After this long a probe that saw something else is repeated, in milliseconds: after a soft purge the first request gets the
/// old copy and starts the refresh.
const AGAIN_MS: u64 = 1_000;
/// Waits before a probe without an answer is repeated, in milliseconds.
const INCONCLUSIVE_MS: [u64; 3] = [5_000, 15_000, 45_000];
/// What visitors send as `Accept-Encoding`: browsers of today, Safari, and bots and CDNs. Caches keep a copy for each.
pub const VISITORS_CODINGS: [&str; 3] = ["gzip, deflate, br, zstd", "gzip, deflate, br", "gzip"];

/// Where an edge is probed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdgeVantage {
    /// Where to connect to.
    pub endpoint: Endpoint,
    /// How to get there.
    pub route: Route,
}

/// A target whose edges are to be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owed {
    /// Not before.
    pub due: Tick,
    /// What edges are to serve.
    pub expected: Expected,
    /// At least one.
    pub vantages: Vec<EdgeVantage>,
    /// What is sent as `Host`.
    pub host: String,
    /// Path with query as in the request line.
    pub path_and_query: String,
    /// Sent with each probe.
    pub headers: Headers,
    /// Headers of the variants; `None`: as `Vary` of an answer says.
    pub variants: Option<Vec<Headers>>,
    /// What of an answer is read.
    pub reads: Reads,
    /// Probes a second at each vantage.
    pub rate: u32,
    /// A query that no cache has seen, to tell a rewriting edge from a stale one; `None`: it is purged again before that is of
    /// interest.
    pub nonce: Option<String>,
}

/// What one probe of a target came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Index into the vantages.
    pub vantage: usize,
    /// Headers of the variant.
    pub variant: Headers,
    /// What was seen last, if there was an answer.
    pub seen: Option<Seen>,
    /// What that says.
    pub sight: Sight,
}

/// What is known of a target once all of its probes have ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// In order of vantage and variant.
    pub sightings: Vec<Sighting>,
}

impl Proven {
    /// The worst of what was seen; a stale edge is worse than one that does not answer.
    pub fn worst(&self) -> &Sighting {
        let badness = |sighting: &&Sighting| match sighting.sight {
            Sight::Fresh => 0,
            Sight::Unverifiable(_) => 1,
            Sight::Inconclusive(_) => 2,
            Sight::Other(_) => 3,
        };
        // The first of the worst, so that messages stay the same. There is always one: a target has a vantage.
        let mut all = self.sightings.iter();
        let first = all.next().unwrap_or(&NOTHING_SEEN);
        all.fold(first, |worst, sighting| if badness(&sighting) > badness(&worst) { sighting } else { worst })
    }

    /// Names of request headers by which answers vary, in lower case.
    pub fn varies(&self) -> Vec<String> {
        let seen = self.sightings.iter().filter_map(|sighting| sighting.seen.as_ref());
        let mut names: Vec<String> = seen.flat_map(Seen::varies).map(str::to_ascii_lowercase).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

static NOTHING_SEEN: Sighting =
    Sighting { vantage: 0, variant: Vec::new(), seen: None, sight: Sight::Inconclusive(String::new()) };

/// What the machine wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum ProofAction {
    /// Ask; to be answered with [`Proof::probed`].
    Probe(ProbeId, Probe),
    /// All probes of this target have ended.
    Settled(usize, Proven),
    /// Nothing to do until a probe ends or this time comes.
    WakeAt(Option<Tick>),
    /// Nothing is left to do.
    Done,
}

/// What a question is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// The target itself.
    Target,
    /// The target with a query that no cache has seen: whether the edge rewrites it.
    Uncached,
}

#[derive(Debug)]
struct Question {
    owed: usize,
    vantage: usize,
    variant: Headers,
    purpose: Purpose,
    server: ServerId,
    inconclusive: usize,
    /// It saw something else before, which was known by this name.
    other: Option<String>,
    seen: Option<Seen>,
    result: Option<Sight>,
}

/// The machine.
#[derive(Debug)]
pub struct Proof {
    owed: Vec<Owed>,
    /// By target: how many of its questions are open.
    open: Vec<usize>,
    questions: Vec<Question>,
    by_owed: BTreeMap<usize, Vec<usize>>,
    queue: ProbeQueue,
    outbox: VecDeque<ProofAction>,
}

impl Proof {
    /// A machine for these targets, known by their index.
    pub fn new(owed: Vec<Owed>) -> Self {
        let mut proof = Self {
            open: vec![0; owed.len()],
            owed,
            questions: Vec::new(),
            by_owed: BTreeMap::new(),
            queue: ProbeQueue::default(),
            outbox: VecDeque::new(),
        };
        for index in 0..proof.owed.len() {
            let due = proof.owed[index].due;
            let variants = proof.owed[index].variants.clone().unwrap_or_else(|| vec![coding("identity")]);
            for vantage in 0..proof.owed[index].vantages.len() {
                for variant in &variants {
                    proof.ask((index, vantage), variant.clone(), Purpose::Target, due);
                }
            }
        }
        proof
    }

    fn ask(&mut self, (owed, vantage): (usize, usize), variant: Headers, purpose: Purpose, at: Tick) {
        let Owed { vantages, rate, host, .. } = &self.owed[owed];
        let endpoint = &vantages[vantage].endpoint;
        // One machine may serve many hosts: each has its own number of probes at once.
        let server = self.queue.server(&format!("{endpoint} {host}"), *rate, AT_AN_EDGE);
        let number = self.questions.len();
        self.questions.push(Question {
            owed,
            vantage,
            variant,
            purpose,
            server,
            inconclusive: 0,
            other: None,
            seen: None,
            result: None,
        });
        self.by_owed.entry(owed).or_default().push(number);
        self.open[owed] += 1;
        self.queue.push(server, number, at);
    }

    /// A probe ended.
    pub fn probed(&mut self, ProbeId(number): ProbeId, probed: &Probed, now: Tick) {
        let Some(question) = self.questions.get_mut(number) else { return };
        let owed = &self.owed[question.owed];
        let sight = owed.expected.judge(probed);
        let troubled = matches!(sight, Sight::Inconclusive(_));
        let retry_after_ms = probed.as_ref().ok().and_then(Seen::retry_after_ms);
        let answer = if troubled { ServerAnswer::Troubled { retry_after_ms } } else { ServerAnswer::Answered };
        let server = question.server;
        question.seen = probed.as_ref().ok().cloned();
        let again = match &sight {
            Sight::Inconclusive(_) => {
                question.inconclusive += 1;
                INCONCLUSIVE_MS.get(question.inconclusive - 1).copied()
            }
            Sight::Other(_) if question.purpose == Purpose::Target && question.other.is_none() => {
                question.other = question.seen.as_ref().map(Seen::name);
                Some(AGAIN_MS)
            }
            _ => None,
        };
        let rests_until = self.queue.ended(server, answer, now);
        match again {
            Some(ms) => self.queue.push(server, number, now.plus_ms(ms)),
            None => self.settle(number, sight, now),
        }
        if rests_until.is_some() {
            // Who waits behind a server that rests has no answer either.
            for waiting in self.queue.take_all(server) {
                let why = "the server does not answer".to_owned();
                let last = self.questions[waiting].result.take().unwrap_or(Sight::Inconclusive(why));
                self.settle(waiting, last, now);
            }
        }
    }

    fn settle(&mut self, number: usize, sight: Sight, now: Tick) {
        let question = &self.questions[number];
        let (owed, vantage) = (question.owed, question.vantage);
        let seen = question.seen.as_ref();
        let name = seen.map(Seen::name);
        let is_unsteady = question.other.is_some() && question.other != name;
        let sight = match sight {
            Sight::Other(_) if question.purpose == Purpose::Target && is_unsteady => {
                Sight::Unverifiable("two probes in a row differ; the content is not the same for all".to_owned())
            }
            sight => sight,
        };
        // Visitors get the copies of what they send, and caches keep one for each.
        let is_first = self.owed[owed].variants.is_none() && question.variant == coding("identity");
        if is_first && question.purpose == Purpose::Target && seen.is_some_and(|seen| seen.varies_by("accept-encoding"))
        {
            for visitors in VISITORS_CODINGS {
                self.ask((owed, vantage), coding(visitors), Purpose::Target, now);
            }
        }
        self.questions[number].result = Some(sight);
        self.open[owed] -= 1;
        if self.open[owed] == 0 {
            self.conclude(owed, now);
        }
    }

    /// All questions of a target have been answered.
    fn conclude(&mut self, owed: usize, now: Tick) {
        let numbers = self.by_owed.get(&owed).cloned().unwrap_or_default();
        let of =
            |purpose| numbers.iter().map(|&number| &self.questions[number]).filter(move |one| one.purpose == purpose);
        let sighting = |question: &Question| Sighting {
            vantage: question.vantage,
            variant: question.variant.clone(),
            seen: question.seen.clone(),
            sight: question.result.clone().unwrap_or(Sight::Inconclusive(String::new())),
        };
        let mut proven = Proven { sightings: of(Purpose::Target).map(sighting).collect() };
        let worst = proven.worst().clone();
        let uncached = of(Purpose::Uncached).next().map(|question| question.result.clone());
        match (&worst.sight, uncached) {
            (Sight::Other(_), None) if self.owed[owed].nonce.is_some() => {
                return self.ask((owed, worst.vantage), worst.variant, Purpose::Uncached, now);
            }
            (Sight::Other(_), Some(Some(Sight::Other(_)))) => {
                let why = "the edge serves other bytes than the origin for a URL that nothing has cached: it rewrites them, or \
                           ignores the query and does not purge; use match: etag or header";
                for sighting in &mut proven.sightings {
                    if matches!(sighting.sight, Sight::Other(_)) {
                        sighting.sight = Sight::Unverifiable(why.to_owned());
                    }
                }
            }
            _ => {}
        }
        self.outbox.push_back(ProofAction::Settled(owed, proven));
    }

    /// The next thing to do at `now`.
    pub fn poll(&mut self, now: Tick) -> ProofAction {
        if let Some(action) = self.outbox.pop_front() {
            return action;
        }
        if let Some(number) = self.queue.take(now) {
            return ProofAction::Probe(ProbeId(number), self.probe(number));
        }
        if self.queue.is_idle() { ProofAction::Done } else { ProofAction::WakeAt(self.queue.wake_at()) }
    }

    fn probe(&self, number: usize) -> Probe {
        let Question { owed, vantage, variant, purpose, .. } = &self.questions[number];
        let Owed { vantages, host, path_and_query, headers, reads, nonce, .. } = &self.owed[*owed];
        let EdgeVantage { endpoint, route } = &vantages[*vantage];
        let path_and_query = match (purpose, nonce) {
            (Purpose::Uncached, Some(nonce)) => {
                let joined = if path_and_query.contains('?') { '&' } else { '?' };
                format!("{path_and_query}{joined}freshen={nonce}")
            }
            _ => path_and_query.clone(),
        };
        let is_replaced = |name: &str| variant.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
        let own = headers.iter().filter(|(name, _)| !is_replaced(name));
        Probe {
            endpoint: endpoint.clone(),
            route: *route,
            host: host.clone(),
            path_and_query,
            headers: own.chain(variant).cloned().collect(),
            reads: reads.clone(),
        }
    }
}

/// The variant of a coding.
pub fn coding(codings: &str) -> Headers {
    vec![("Accept-Encoding".to_owned(), codings.to_owned())]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::algorithm::Algorithm;
    use crate::core::http::{TransportFailure, TransportFailureKind};
    use crate::core::probe::SeenBody;
    use crate::core::proof_terms::Comparison;
    use crate::core::target::ContentHash;

    const NEW: &str = "sha256:22";
    const OLD: &str = "sha256:11";

    fn owed(due: u64) -> Owed {
        let endpoint =
            Endpoint { tls: false, host: "edge".into(), port: None, path_prefix: String::new(), address: None };
        let content = Some(ContentHash::from_canonical(NEW));
        Owed {
            due: Tick::from_ms(due),
            expected: Expected { content, gone: None, compare: Comparison::Body, validator: None },
            vantages: vec![EdgeVantage { endpoint, route: Route::Direct }],
            host: "www".into(),
            path_and_query: "/a?b".into(),
            headers: Vec::new(),
            variants: None,
            reads: Reads::Body { algorithm: Algorithm::Sha256, most_bytes: 1000, normalize: Vec::new() },
            rate: 1000,
            nonce: None,
        }
    }

    fn answer(hash: &str, vary: &str) -> Probed {
        let body = SeenBody::Digest(ContentHash::from_canonical(hash), 2);
        Ok(Seen { status: 200, headers: vec![("vary".into(), vary.into())], body, bytes: 2 })
    }

    /// Plays a machine against an edge, from the probe and the time. What was settled, and what was asked when.
    fn play(
        owed: Vec<Owed>,
        edge: impl Fn(&Probe, u64) -> Probed,
    ) -> (Vec<(usize, Sight)>, Vec<(u64, String, String)>) {
        let mut proof = Proof::new(owed);
        let (mut now, mut settled, mut asked) = (1_000, Vec::new(), Vec::new());
        loop {
            match proof.poll(Tick::from_ms(now)) {
                ProofAction::Probe(id, probe) => {
                    asked.push((now, probe.path_and_query.clone(), probe.headers[0].1.clone()));
                    let probed = edge(&probe, now);
                    now += 1;
                    proof.probed(id, &probed, Tick::from_ms(now));
                }
                ProofAction::Settled(index, proven) => settled.push((index, proven.worst().sight.clone())),
                ProofAction::WakeAt(Some(tick)) => now = now.max(tick.ms()),
                ProofAction::WakeAt(None) => panic!("nothing would ever happen"),
                ProofAction::Done => return (settled, asked),
            }
        }
    }

    // P1
    #[test]
    fn no_edge_is_probed_before_it_is_due() {
        let (settled, asked) = play(vec![owed(6_200)], |_, _| answer(NEW, ""));
        assert_eq!(settled, [(0, Sight::Fresh)]);
        assert_eq!(asked, [(6_200, "/a?b".into(), "identity".into())]);
    }

    #[test]
    fn what_an_edge_serves_a_second_later_counts() {
        let (settled, asked) = play(vec![owed(0)], |_, now| answer(if now < 1_900 { OLD } else { NEW }, ""));
        assert_eq!((settled, asked.len()), (vec![(0, Sight::Fresh)], 2));
        let (settled, asked) = play(vec![owed(0)], |_, _| answer(OLD, ""));
        assert_eq!((settled, asked.len()), (vec![(0, Sight::Other("serves other content (sha256:11)".into()))], 2));
    }

    #[test]
    fn content_that_differs_each_time_can_never_be_proven() {
        let (settled, _) = play(vec![owed(0)], |_, now| answer(&format!("sha256:{now}"), ""));
        assert!(
            matches!(settled.as_slice(), [(0, Sight::Unverifiable(why))] if why.starts_with("two probes in a row"))
        );
    }

    #[test]
    fn each_variant_that_visitors_ask_for_has_to_be_fresh() {
        let gzip_is_old = |probe: &Probe, _| {
            let is_old = probe.headers[0].1 == "gzip";
            answer(if is_old { OLD } else { NEW }, "Origin, accept-encoding")
        };
        let (settled, asked) = play(vec![owed(0)], gzip_is_old);
        assert!(matches!(settled.as_slice(), [(0, Sight::Other(_))]), "{settled:?}");
        assert_eq!(asked.len(), 5, "{asked:?}");
        let (settled, asked) = play(vec![owed(0)], |_, _| answer(NEW, "Origin"));
        assert_eq!((settled, asked.len()), (vec![(0, Sight::Fresh)], 1));
    }

    #[test]
    fn an_edge_without_an_answer_is_asked_again_and_never_taken_for_fresh() {
        let down = || Err(TransportFailure { kind: TransportFailureKind::NotConnected, message: "refused".into() });
        let (settled, asked) = play(vec![owed(0)], |_, _| down());
        let times: Vec<u64> = asked.iter().map(|(at, ..)| *at).collect();
        assert_eq!(settled, [(0, Sight::Inconclusive("refused".into()))]);
        assert_eq!(times, [1_000, 6_001, 21_002, 66_003]);
    }

    #[test]
    fn a_rewriting_edge_is_told_from_a_stale_one() {
        let last = Owed { nonce: Some("n1".into()), ..owed(0) };
        let (settled, asked) = play(vec![last.clone()], |_, _| answer(OLD, ""));
        assert!(
            matches!(settled.as_slice(), [(0, Sight::Unverifiable(why))] if why.contains("rewrites")),
            "{settled:?}"
        );
        assert_eq!(asked.last().map(|(_, path, _)| path.as_str()), Some("/a?b&freshen=n1"));
        let stale = |probe: &Probe, _| answer(if probe.path_and_query.contains("n1") { NEW } else { OLD }, "");
        let (settled, _) = play(vec![last], stale);
        assert!(matches!(settled.as_slice(), [(0, Sight::Other(_))]), "{settled:?}");
    }
}
