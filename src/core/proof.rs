//! The machine of proof: what edges serve after purges were accepted.
//!
//! Answers in, actions out; no clock and no network. No probe is made before a target is due: one that comes too early proves
//! nothing, since a fetch of the old content may still be on its way.

use std::collections::{BTreeMap, VecDeque};

use super::gate::ProbeId;
use super::http::{Endpoint, Route};
use super::probe::{Expected, Probe, Probed, Reads, Seen, Sight, varies_by};
use super::probe_queue::{AT_AN_EDGE, AT_AN_ORIGIN, ProbeQueue, ServerAnswer, ServerId};
use super::proof_terms::{Comparison, Headers};
use super::time::Tick;

/// After this long a probe that saw something else is repeated, in milliseconds: after a soft purge the first request gets the
/// old copy and starts the refresh.
const AGAIN_MS: u64 = 1_000;
/// Waits before a probe without an answer is repeated, in milliseconds.
const INCONCLUSIVE_MS: [u64; 3] = [5_000, 15_000, 45_000];
/// What is said of an edge that rewrites.
const REWRITES: &str = "the edge serves other bytes than the origin for a URL that nothing has cached: it rewrites them, or \
                        ignores the query and does not purge; use match: etag or header";
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
    /// How a rewriting edge is told from a stale one; `None`: it is not.
    pub uncached: Option<Uncached>,
}

/// A question that no cache has an answer to: what the edge makes of the content, and what the origin says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uncached {
    /// Value of a parameter that no cache has seen.
    pub nonce: String,
    /// The target at its origin, without that parameter.
    pub at_origin: Probe,
    /// Probes a second there.
    pub rate: u32,
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

    /// Headers of the variants of which an edge serves something else, each once.
    pub fn stale_variants(&self) -> Vec<Headers> {
        let stale = self.sightings.iter().filter(|sighting| matches!(sighting.sight, Sight::Other(_)));
        let mut variants: Vec<Headers> = stale.map(|sighting| sighting.variant.clone()).collect();
        variants.sort_unstable();
        variants.dedup();
        variants
    }

    /// Names of request headers by which answers vary, in lower case.
    pub fn varies(&self) -> Vec<String> {
        let seen = self.sightings.iter().filter_map(|sighting| sighting.seen.as_ref());
        let all: Vec<&str> = seen.filter_map(|seen| seen.header("vary")).collect();
        varies_by(&all.join(","))
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
    /// The target with a query that no cache has seen, at the edge.
    Uncached,
    /// The same at the origin: some serve nothing for a query that they do not know.
    AtOrigin,
}

/// Whether an edge rewrites what it serves of a host and a type of content.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Rewriting {
    /// It is asked with one target; these others wait for the answer.
    Asked(Vec<usize>),
    /// It does, or does not as far as can be told.
    Known(bool),
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
    /// By host and type of content.
    rewriting: BTreeMap<(String, String), Rewriting>,
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
            rewriting: BTreeMap::new(),
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
        let Owed { vantages, rate, host, uncached, .. } = &self.owed[owed];
        let server = match uncached {
            Some(uncached) if purpose == Purpose::AtOrigin => {
                self.queue.server(&uncached.at_origin.endpoint.to_string(), uncached.rate, AT_AN_ORIGIN)
            }
            _ => {
                // One machine may serve many hosts: each has its own number of probes at once.
                let name = format!("{} {host}", vantages[vantage].endpoint);
                self.queue.server(&name, *rate, AT_AN_EDGE)
            }
        };
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
        let proven = self.proven(owed);
        let worst = proven.worst();
        let is_asked = self.of(owed, Purpose::Uncached).next().is_some();
        let body = self.owed[owed].expected.compare == Comparison::Body;
        let (Sight::Other(_), true, Some(_)) = (&worst.sight, body, &self.owed[owed].uncached) else {
            return self.outbox.push_back(ProofAction::Settled(owed, proven));
        };
        let content_type = worst.seen.as_ref().and_then(|seen| seen.header("content-type")).unwrap_or_default();
        let key = (self.owed[owed].host.clone(), content_type.to_owned());
        if is_asked {
            return self.rewriting_known(&key, owed);
        }
        match self.rewriting.get_mut(&key) {
            Some(Rewriting::Asked(waiting)) => waiting.push(owed),
            Some(Rewriting::Known(rewrites)) => {
                let rewrites = *rewrites;
                self.settled(owed, rewrites);
            }
            None => {
                let (vantage, variant) = (worst.vantage, worst.variant.clone());
                self.rewriting.insert(key, Rewriting::Asked(Vec::new()));
                self.ask((owed, vantage), variant.clone(), Purpose::Uncached, now);
                self.ask((owed, vantage), variant, Purpose::AtOrigin, now);
            }
        }
    }

    /// The question that no cache has an answer to was answered by the edge and by the origin.
    fn rewriting_known(&mut self, key: &(String, String), owed: usize) {
        let sight = |purpose| self.of(owed, purpose).next().and_then(|question| question.result.as_ref());
        let (edge, origin) = (sight(Purpose::Uncached), sight(Purpose::AtOrigin));
        let rewrites = matches!(edge, Some(Sight::Other(_))) && origin == Some(&Sight::Fresh);
        let before = self.rewriting.insert(key.clone(), Rewriting::Known(rewrites));
        self.settled(owed, rewrites);
        if let Some(Rewriting::Asked(waiting)) = before {
            for owed in waiting {
                self.settled(owed, rewrites);
            }
        }
    }

    fn settled(&mut self, owed: usize, rewrites: bool) {
        let mut proven = self.proven(owed);
        for sighting in proven.sightings.iter_mut().filter(|sighting| matches!(sighting.sight, Sight::Other(_))) {
            if rewrites {
                sighting.sight = Sight::Unverifiable(REWRITES.to_owned());
            }
        }
        self.outbox.push_back(ProofAction::Settled(owed, proven));
    }

    fn of(&self, owed: usize, purpose: Purpose) -> impl Iterator<Item = &Question> {
        let numbers = self.by_owed.get(&owed).into_iter().flatten();
        numbers.map(|&number| &self.questions[number]).filter(move |question| question.purpose == purpose)
    }

    fn proven(&self, owed: usize) -> Proven {
        let sighting = |question: &Question| Sighting {
            vantage: question.vantage,
            variant: question.variant.clone(),
            seen: question.seen.clone(),
            sight: question.result.clone().unwrap_or(Sight::Inconclusive(String::new())),
        };
        Proven { sightings: self.of(owed, Purpose::Target).map(sighting).collect() }
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
        let Owed { vantages, host, path_and_query, headers, reads, uncached, .. } = &self.owed[*owed];
        let with_nonce = |path: &str, uncached: &Uncached| {
            let joined = if path.contains('?') { '&' } else { '?' };
            format!("{path}{joined}freshen={}", uncached.nonce)
        };
        let path_and_query = match (purpose, uncached) {
            (Purpose::AtOrigin, Some(uncached)) => {
                let probe = uncached.at_origin.clone();
                return Probe { path_and_query: with_nonce(&probe.path_and_query, uncached), ..probe };
            }
            (Purpose::Uncached, Some(uncached)) => with_nonce(path_and_query, uncached),
            _ => path_and_query.clone(),
        };
        let EdgeVantage { endpoint, route } = &vantages[*vantage];
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
    use crate::core::target::ContentHash;

    const NEW: &str = "sha256:22";
    const OLD: &str = "sha256:11";

    fn owed(due: u64) -> Owed {
        let endpoint =
            Endpoint { tls: false, host: "edge".into(), port: None, path_prefix: String::new(), address: None };
        let content = Some(ContentHash::from_canonical(NEW));
        Owed {
            due: Tick::from_ms(due),
            expected: Expected {
                content,
                gone: None,
                compare: Comparison::Body,
                notes: Comparison::Body,
                validator: None,
            },
            vantages: vec![EdgeVantage { endpoint, route: Route::Direct }],
            host: "www".into(),
            path_and_query: "/a?b".into(),
            headers: Vec::new(),
            variants: None,
            reads: Reads::Body { algorithm: Algorithm::Sha256, most_bytes: 1000, normalize: Vec::new(), header: None },
            rate: 1000,
            uncached: None,
        }
    }

    #[expect(clippy::unnecessary_wraps, reason = "as probes end")]
    fn answer(hash: &str, vary: &str) -> Probed {
        let body = SeenBody::Digest(ContentHash::from_canonical(hash), 2);
        Ok(Seen { status: 200, headers: vec![("vary".into(), vary.into())], body, bytes: 2 })
    }

    /// What was settled, and what was asked when: path and first header.
    type Played = (Vec<(usize, Sight)>, Vec<(u64, String, String)>);

    /// Plays a machine against an edge, from the probe and the time. What was settled, and what was asked when.
    fn play(owed: Vec<Owed>, edge: impl Fn(&Probe, u64) -> Probed) -> Played {
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

    fn with_origin(owed: Owed) -> Owed {
        let at_origin = Probe {
            endpoint: Endpoint { host: "origin".into(), ..owed.vantages[0].endpoint.clone() },
            route: Route::Direct,
            host: "www".into(),
            path_and_query: owed.path_and_query.clone(),
            headers: coding("identity"),
            reads: owed.reads.clone(),
        };
        Owed { uncached: Some(Uncached { nonce: "n1".into(), at_origin, rate: 1000 }), ..owed }
    }

    #[test]
    fn a_rewriting_edge_is_told_from_a_stale_one() {
        let all = || (0..9).map(|_| with_origin(owed(0))).collect::<Vec<_>>();
        let is_origin = |probe: &Probe| probe.endpoint.host == "origin";
        let (settled, asked) = play(all(), |probe, _| answer(if is_origin(probe) { NEW } else { OLD }, ""));
        let rewrites = |sight: &Sight| matches!(sight, Sight::Unverifiable(why) if why.contains("rewrites"));
        assert!(settled.len() == 9 && settled.iter().all(|(_, sight)| rewrites(sight)), "{settled:?}");
        let uncached = asked.iter().filter(|(_, path, _)| path == "/a?b&freshen=n1").count();
        assert_eq!(
            uncached, 2,
            "one target speaks for its host and its type of content, at the edge and at the origin"
        );

        let is_uncached = |probe: &Probe| probe.path_and_query.contains("n1");
        let stale = |probe: &Probe, _| answer(if is_uncached(probe) { NEW } else { OLD }, "");
        let (settled, _) = play(all(), stale);
        assert!(settled.len() == 9 && settled.iter().all(|(_, sight)| matches!(sight, Sight::Other(_))), "{settled:?}");

        // An origin that serves nothing for a query tells nothing of the edge.
        let gone = || Ok(Seen { status: 404, headers: Vec::new(), body: SeenBody::Unread, bytes: 0 });
        let (settled, _) = play(all(), |probe, _| if is_uncached(probe) { gone() } else { answer(OLD, "") });
        assert!(settled.iter().all(|(_, sight)| matches!(sight, Sight::Other(_))), "{settled:?}");
    }
}
