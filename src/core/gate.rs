//! The gate: which targets may be purged, since their origins serve the content already.
//!
//! Answers in, actions out; no clock and no network. The same question of several targets is asked once, and one origin's
//! trouble holds its own targets only.

use std::collections::{BTreeSet, HashMap, VecDeque};

use super::probe::{Expected, Probe, Probed, Sight};
use super::probe_queue::{AT_AN_ORIGIN, ProbeQueue, ServerAnswer, ServerId};
use super::retry::Jitter;
use super::time::Tick;

/// Waits between probes at an origin that is not ready, in milliseconds; the last one is repeated.
const WAITS_MS: [u64; 5] = [500, 1_000, 2_000, 4_000, 5_000];

/// Number of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProbeId(pub usize);

/// What one origin server is asked before targets are purged.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GateQuestion {
    /// What is sent.
    pub probe: Probe,
    /// What it is to be answered with.
    pub expected: Expected,
    /// Answers in a row that have to agree, at least 1.
    pub samples: u32,
    /// Probes a second at this origin.
    pub rate: u32,
    /// How long it may take from the first probe on, in milliseconds; 0: asked once.
    pub wait_ms: u64,
}

/// What the gate wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum GateAction {
    /// Ask; to be answered with [`Gate::probed`].
    Probe(ProbeId, Probe),
    /// This change may be purged: its origins are ready. With what identifies the content there, if anything does.
    Release(usize, Option<String>),
    /// This change is not sent in this run, for this reason.
    Leave(usize, String),
    /// Nothing to do until a probe ends or this time comes.
    WakeAt(Option<Tick>),
    /// Nothing is held any more.
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It waits for its turn, from this time on.
    Queued(Tick),
    InFlight,
    Answered,
}

#[derive(Debug)]
struct Question {
    asked: GateQuestion,
    server: ServerId,
    /// Changes that hang on it.
    changes: Vec<usize>,
    stage: Stage,
    /// From its first probe, or from when its server began to rest before it.
    deadline: Option<Tick>,
    asked_at: Option<Tick>,
    agreed: u32,
    tries: usize,
    last: Option<Sight>,
}

/// The machine.
#[derive(Debug)]
pub struct Gate {
    questions: Vec<Question>,
    queue: ProbeQueue,
    /// By change: how many of its questions are open, and what identified the content at the last of them.
    held: HashMap<usize, Held>,
    deadlines: BTreeSet<(Tick, usize)>,
    outbox: VecDeque<GateAction>,
    jitter: Jitter,
    probes: u64,
}

#[derive(Debug, Default)]
struct Held {
    open: usize,
    validator: Option<String>,
}

impl Gate {
    /// A gate for changes, each with the questions that have to be answered before; `seed` feeds the jitter of its waits.
    pub fn new(held: impl IntoIterator<Item = (usize, Vec<GateQuestion>)>, seed: u64) -> Self {
        let mut gate = Self {
            questions: Vec::new(),
            queue: ProbeQueue::default(),
            held: HashMap::new(),
            deadlines: BTreeSet::new(),
            outbox: VecDeque::new(),
            jitter: Jitter::seeded(seed),
            probes: 0,
        };
        let mut known: HashMap<GateQuestion, usize> = HashMap::new();
        for (change, mut questions) in held {
            questions.dedup();
            if questions.is_empty() {
                continue;
            }
            gate.held.insert(change, Held { open: questions.len(), validator: None });
            for question in questions {
                let index = *known.entry(question).or_insert_with_key(|question| gate.ask(question.clone()));
                gate.questions[index].changes.push(change);
            }
        }
        gate
    }

    fn ask(&mut self, asked: GateQuestion) -> usize {
        let server = self.queue.server(&asked.probe.endpoint.to_string(), asked.rate, AT_AN_ORIGIN);
        let stage = Stage::Queued(Tick::default());
        self.queue.push(server, self.questions.len(), Tick::default());
        self.questions.push(Question {
            asked,
            server,
            changes: Vec::new(),
            stage,
            deadline: None,
            asked_at: None,
            agreed: 0,
            tries: 0,
            last: None,
        });
        self.questions.len() - 1
    }

    /// Changes that are held.
    pub fn held(&self) -> impl Iterator<Item = usize> + '_ {
        self.held.keys().copied()
    }

    /// Probes that were made.
    pub const fn probes(&self) -> u64 {
        self.probes
    }

    /// A probe ended.
    pub fn probed(&mut self, ProbeId(index): ProbeId, probed: &Probed, now: Tick) {
        if index >= self.questions.len() {
            return;
        }
        let sight = self.questions[index].asked.expected.judge(probed);
        let is_troubled = matches!(sight, Sight::Inconclusive(_));
        let answer = if is_troubled {
            ServerAnswer::Troubled { retry_after_ms: probed.as_ref().ok().and_then(super::probe::Seen::retry_after_ms) }
        } else {
            ServerAnswer::Answered
        };
        let server = self.questions[index].server;
        if self.queue.ended(server, answer, now).is_some() {
            // What waits behind a server that rests waits for no longer than what was asked already.
            for waiting in self.queue.waiting_at(server).collect::<Vec<_>>() {
                self.begin_wait(waiting, now);
            }
        }
        let question = &mut self.questions[index];
        question.agreed = if sight == Sight::Fresh { question.agreed + 1 } else { 0 };
        let is_fresh = sight == Sight::Fresh;
        question.last = Some(sight);
        if is_fresh && question.agreed >= question.asked.samples {
            let validator = probed.as_ref().ok().and_then(|seen| question.asked.expected.validator_of(seen));
            self.ready(index, validator.as_deref());
        } else if is_fresh {
            self.again(index, now);
        } else if question.deadline.is_some_and(|deadline| now >= deadline) {
            self.give_up(index, now);
        } else {
            let wait = self.wait_ms(index);
            self.again(index, now.plus_ms(wait));
        }
    }

    fn wait_ms(&mut self, index: usize) -> u64 {
        let question = &mut self.questions[index];
        let most = WAITS_MS[question.tries.min(WAITS_MS.len() - 1)];
        question.tries += 1;
        1 + self.jitter.next() % most
    }

    /// Asks once more, but for the last time when its time ends.
    fn again(&mut self, index: usize, at: Tick) {
        let question = &mut self.questions[index];
        let at = question.deadline.map_or(at, |deadline| at.min(deadline));
        question.stage = Stage::Queued(at);
        self.queue.push(question.server, index, at);
    }

    fn begin_wait(&mut self, index: usize, now: Tick) {
        let question = &mut self.questions[index];
        if question.deadline.is_none() {
            let deadline = now.plus_ms(question.asked.wait_ms);
            question.deadline = Some(deadline);
            self.deadlines.insert((deadline, index));
        }
    }

    fn ready(&mut self, index: usize, validator: Option<&str>) {
        self.close(index);
        for change in self.questions[index].changes.clone() {
            let Some(held) = self.held.get_mut(&change) else { continue };
            held.open -= 1;
            held.validator = validator.map(str::to_owned).or(held.validator.take());
            if held.open == 0 {
                let validator = self.held.remove(&change).and_then(|held| held.validator);
                self.outbox.push_back(GateAction::Release(change, validator));
            }
        }
    }

    fn give_up(&mut self, index: usize, now: Tick) {
        self.close(index);
        let reason = self.reason(index, now);
        for change in self.questions[index].changes.clone() {
            if self.held.remove(&change).is_some() {
                self.outbox.push_back(GateAction::Leave(change, reason.clone()));
            }
        }
    }

    fn close(&mut self, index: usize) {
        let question = &mut self.questions[index];
        question.stage = Stage::Answered;
        if let Some(deadline) = question.deadline {
            self.deadlines.remove(&(deadline, index));
        }
    }

    fn reason(&self, index: usize, now: Tick) -> String {
        let Question { asked, last, asked_at, .. } = &self.questions[index];
        let origin = asked.probe.endpoint.to_string();
        let waited = asked_at.map_or(0, |first| now.since(first));
        let after = if waited < 1_000 { String::new() } else { format!(" after {}", duration(waited)) };
        match last {
            None => format!("{origin} was not asked in time: it did not answer others"),
            Some(Sight::Fresh) => format!("{origin} did not serve the content often enough{after}"),
            Some(Sight::Other(what)) => format!("{origin} {what}{after}"),
            Some(Sight::Inconclusive(why) | Sight::Unverifiable(why)) => format!("{origin}: {why}{after}"),
        }
    }

    /// The next thing to do at `now`.
    pub fn poll(&mut self, now: Tick) -> GateAction {
        loop {
            if let Some(action) = self.outbox.pop_front() {
                return action;
            }
            let over = self.deadlines.first().copied().filter(|(deadline, _)| *deadline <= now);
            let Some((deadline, index)) = over else { break };
            let question = &self.questions[index];
            match question.stage {
                // Its last chance is on its way, or due.
                Stage::InFlight | Stage::Answered => _ = self.deadlines.remove(&(deadline, index)),
                Stage::Queued(at)
                    if at >= deadline && question.asked_at.is_some() && !self.queue.rests(question.server, now) =>
                {
                    self.deadlines.remove(&(deadline, index));
                }
                Stage::Queued(at) => {
                    self.queue.withdraw(question.server, index, at);
                    self.give_up(index, now);
                }
            }
        }
        while let Some(index) = self.queue.take(now) {
            if let Some(action) = self.leave_with(index, now) {
                return action;
            }
        }
        if self.held.is_empty() && self.queue.is_idle() { GateAction::Done } else { GateAction::WakeAt(self.wake_at()) }
    }

    /// Asks, unless nothing hangs on the answer any more.
    fn leave_with(&mut self, index: usize, now: Tick) -> Option<GateAction> {
        let is_wanted = self.questions[index].changes.iter().any(|change| self.held.contains_key(change));
        if !is_wanted {
            self.close(index);
            self.queue.ended(self.questions[index].server, ServerAnswer::Answered, now);
            return None;
        }
        self.begin_wait(index, now);
        self.probes += 1;
        let question = &mut self.questions[index];
        question.stage = Stage::InFlight;
        question.asked_at.get_or_insert(now);
        Some(GateAction::Probe(ProbeId(index), question.asked.probe.clone()))
    }

    fn wake_at(&self) -> Option<Tick> {
        let deadline = self.deadlines.first().map(|(deadline, _)| *deadline);
        [self.queue.wake_at(), deadline].into_iter().flatten().min()
    }

    /// Nothing more is asked: what is held stays as it is.
    pub fn cancel(&mut self) {
        self.held.clear();
        self.deadlines.clear();
        self.queue = ProbeQueue::default();
        self.questions.clear();
        self.outbox.clear();
    }
}

/// Seconds or minutes, rounded, for people.
fn duration(ms: u64) -> String {
    let seconds = (ms + 500) / 1000;
    if seconds < 120 { format!("{seconds} s") } else { format!("{} min", seconds / 60) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::algorithm::Algorithm;
    use crate::core::http::{Endpoint, Route, TransportFailure, TransportFailureKind};
    use crate::core::probe::{Reads, Seen, SeenBody};
    use crate::core::proof_terms::Comparison;
    use crate::core::target::ContentHash;

    const NEW: &str = "sha256:22";
    const OLD: &str = "sha256:11";

    fn question(server: &str, path: &str, wait_ms: u64) -> GateQuestion {
        let endpoint =
            Endpoint { tls: false, host: server.into(), port: None, path_prefix: String::new(), address: None };
        let reads = Reads::Body { algorithm: Algorithm::Sha256, most_bytes: 1000, normalize: Vec::new(), header: None };
        let probe = Probe {
            endpoint,
            route: Route::Direct,
            host: "www".into(),
            path_and_query: path.into(),
            headers: Vec::new(),
            reads,
        };
        let content = Some(ContentHash::from_canonical(NEW));
        let expected =
            Expected { content, gone: None, compare: Comparison::Body, notes: Comparison::Body, validator: None };
        GateQuestion { probe, expected, samples: 1, rate: 1000, wait_ms }
    }

    #[expect(clippy::unnecessary_wraps, reason = "as probes end")]
    fn serves(hash: &str) -> Probed {
        let body = SeenBody::Digest(ContentHash::from_canonical(hash), 2);
        Ok(Seen { status: 200, headers: vec![("etag".into(), "\"v\"".into())], body, bytes: 2 })
    }

    fn is_down() -> Probed {
        Err(TransportFailure { kind: TransportFailureKind::NotConnected, message: "refused".into() })
    }

    /// When each change was released or left, and when each server was asked.
    type Played = (Vec<(u64, GateAction)>, Vec<(u64, String)>);

    /// Plays a gate against servers, from their name and the time, in virtual time. What was released or left, and when.
    fn play(gate: &mut Gate, serves: impl Fn(&str, u64) -> Probed) -> Played {
        let (mut now, mut ends, mut asked) = (1_000, Vec::new(), Vec::new());
        loop {
            match gate.poll(Tick::from_ms(now)) {
                GateAction::Probe(id, probe) => {
                    asked.push((now, probe.endpoint.host.clone()));
                    let probed = serves(&probe.endpoint.host, now);
                    now += 1;
                    gate.probed(id, &probed, Tick::from_ms(now));
                }
                GateAction::WakeAt(Some(tick)) => now = now.max(tick.ms()),
                GateAction::WakeAt(None) => panic!("nothing would ever happen"),
                GateAction::Done => return (ends, asked),
                end => ends.push((now, end)),
            }
        }
    }

    fn released(change: usize) -> GateAction {
        GateAction::Release(change, Some("\"v\"".into()))
    }

    #[test]
    fn a_target_goes_once_its_origin_serves_the_content() {
        let mut gate = Gate::new([(7, vec![question("a", "/", 120_000)])], 1);
        let (ends, asked) = play(&mut gate, |_, now| serves(if now < 9_000 { OLD } else { NEW }));
        assert!(matches!(ends.as_slice(), [(9_000..=14_001, end)] if *end == released(7)), "{ends:?}");
        assert!((3..=20).contains(&asked.len()), "{asked:?}");
    }

    #[test]
    fn what_is_not_ready_in_time_is_left_with_what_was_seen() {
        let mut gate = Gate::new([(0, vec![question("a", "/", 5_000)])], 1);
        let (ends, asked) = play(&mut gate, |_, _| serves(OLD));
        let reason = "http://a serves other content (sha256:11, ETag \"v\") after 5 s".to_owned();
        assert!(matches!(ends.as_slice(), [(6_000..=6_002, GateAction::Leave(0, why))] if *why == reason), "{ends:?}");
        assert!(asked.last().is_some_and(|(at, _)| *at == 6_000), "asked once more at the end: {asked:?}");
    }

    #[test]
    fn without_a_wait_an_origin_is_asked_once() {
        let mut gate = Gate::new([(0, vec![question("a", "/", 0)]), (1, vec![question("a", "/1", 0)])], 1);
        let (ends, asked) = play(&mut gate, |_, _| serves(OLD));
        assert_eq!((ends.len(), asked.len()), (2, 2));
    }

    #[test]
    fn all_replicas_have_to_serve_it_and_a_question_of_several_targets_is_asked_once() {
        let both = || vec![question("a", "/", 120_000), question("b", "/", 120_000)];
        let mut gate = Gate::new([(0, both()), (1, both())], 1);
        let (ends, asked) = play(&mut gate, |server, now| serves(if server == "b" && now < 4_000 { OLD } else { NEW }));
        assert!(ends.iter().all(|(at, _)| *at >= 4_000) && ends.len() == 2, "{ends:?}");
        assert_eq!(asked.iter().filter(|(_, server)| server == "a").count(), 1);
    }

    #[test]
    fn samples_have_to_agree_in_a_row() {
        let sampled = GateQuestion { samples: 3, ..question("a", "/", 120_000) };
        let mut gate = Gate::new([(0, vec![sampled])], 1);
        let turns = std::cell::Cell::new(0);
        let (ends, asked) = play(&mut gate, |_, _| {
            turns.set(turns.get() + 1);
            // The second server behind the name is late.
            serves(if turns.get() < 6 && turns.get() % 2 == 0 { OLD } else { NEW })
        });
        assert_eq!((ends.len(), asked.len()), (1, 7));
    }

    #[test]
    fn one_origin_that_is_down_holds_nothing_of_another() {
        let down = (0..40).map(|change| (change, vec![question("down", &format!("/{change}"), 20_000)]));
        let up = (40..80).map(|change| (change, vec![question("up", &format!("/{change}"), 20_000)]));
        let mut gate = Gate::new(down.chain(up), 1);
        let (ends, asked) = play(&mut gate, |server, _| if server == "up" { serves(NEW) } else { is_down() });
        let up: Vec<_> = ends.iter().filter(|(_, end)| matches!(end, GateAction::Release(..))).collect();
        assert!(up.len() == 40 && up.iter().all(|(at, _)| *at < 2_000), "{ends:?}");
        let left = ends.iter().filter(|(_, end)| matches!(end, GateAction::Leave(..)));
        assert!(left.clone().count() == 40 && left.clone().all(|(at, _)| *at < 60_000), "{ends:?}");
        assert!(asked.iter().filter(|(_, server)| server == "down").count() < 20, "it rests: {asked:?}");
    }
}
