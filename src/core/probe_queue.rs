//! Which question may be asked now: rates, numbers at once and rests of the servers that are probed.
//!
//! Knows neither what is asked nor what the answers say, only whether the server gave one.

use std::collections::{BTreeSet, HashMap};

use super::time::Tick;

/// Most probes under way, at all servers together.
const MOST_AT_ONCE: usize = 32;
/// Failures in a row from which on a server gets one probe at a time.
const FAILURES_UNTIL_ONE: u32 = 3;
/// Failures in a row after which a server rests.
const FAILURES_UNTIL_REST: u32 = 5;
/// The first rest, in milliseconds; each further one is twice as long.
const REST_MS: u64 = 30_000;
/// The longest rest, in milliseconds.
const LONGEST_REST_MS: u64 = 600_000;
/// Longest wait that an answer may ask for, in milliseconds.
const LONGEST_RETRY_AFTER_MS: u64 = 120_000;

/// Most probes under way at one origin.
pub const AT_AN_ORIGIN: usize = 4;
/// Most probes under way at one edge.
pub const AT_AN_EDGE: usize = 8;

/// Index of a server.
pub type ServerId = usize;

/// Questions by the servers that are to answer them, each known by a number.
#[derive(Debug, Default)]
pub struct ProbeQueue {
    servers: Vec<Server>,
    known: HashMap<String, ServerId>,
    in_flight: usize,
}

#[derive(Debug)]
struct Server {
    interval_us: u64,
    most_at_once: usize,
    /// By when they may be asked, then in order.
    waiting: BTreeSet<(Tick, usize)>,
    in_flight: usize,
    /// When the next probe may leave, in microseconds.
    next_us: u64,
    failures: u32,
    rests: u32,
    rests_until: Tick,
}

impl Server {
    fn at_once(&self) -> usize {
        if self.failures >= FAILURES_UNTIL_ONE { 1 } else { self.most_at_once }
    }

    /// When its next question may leave; `None`: not before a probe ends, or there is none.
    fn due_at(&self) -> Option<Tick> {
        let (not_before, _) = self.waiting.first()?;
        let paced = Tick::from_ms(self.next_us.div_ceil(1000));
        (self.in_flight < self.at_once()).then(|| (*not_before).max(paced).max(self.rests_until))
    }
}

/// What a probe says of its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerAnswer {
    /// It answered.
    Answered,
    /// It did not, or not with what was asked; milliseconds that it wants to be left alone.
    Troubled {
        /// `Retry-After`.
        retry_after_ms: Option<u64>,
    },
}

impl ProbeQueue {
    /// The server called `name`, with its own rate a second and number of probes at once.
    pub fn server(&mut self, name: &str, rate: u32, most_at_once: usize) -> ServerId {
        if let Some(known) = self.known.get(name) {
            let server = &mut self.servers[*known];
            server.interval_us = server.interval_us.max(interval_us(rate));
            return *known;
        }
        self.servers.push(Server {
            interval_us: interval_us(rate),
            most_at_once,
            waiting: BTreeSet::new(),
            in_flight: 0,
            next_us: 0,
            failures: 0,
            rests: 0,
            rests_until: Tick::default(),
        });
        self.known.insert(name.to_owned(), self.servers.len() - 1);
        self.servers.len() - 1
    }

    /// Puts a question to a server, not to be asked before.
    pub fn push(&mut self, server: ServerId, question: usize, not_before: Tick) {
        self.servers[server].waiting.insert((not_before, question));
    }

    /// Takes a question back that was to be asked `not_before`.
    pub fn withdraw(&mut self, server: ServerId, question: usize, not_before: Tick) {
        self.servers[server].waiting.remove(&(not_before, question));
    }

    /// The next question that may leave now. Each has to be answered by [`ProbeQueue::ended`].
    pub fn take(&mut self, now: Tick) -> Option<usize> {
        if self.in_flight >= MOST_AT_ONCE {
            return None;
        }
        let due = |server: &Server| server.due_at().filter(|due| *due <= now);
        let turns = self.servers.iter().enumerate().filter_map(|(index, server)| Some((due(server)?, index)));
        let (_, index) = turns.min()?;
        let server = &mut self.servers[index];
        let (_, question) = server.waiting.pop_first()?;
        server.in_flight += 1;
        self.in_flight += 1;
        let now_us = now.ms() * 1000;
        // What a slow loop lost of the rate is made up for, as far as a tick goes.
        server.next_us = server.next_us.max(now_us.saturating_sub(1000)) + server.interval_us;
        Some(question)
    }

    /// A probe ended. Returns until when its server rests, if it begins to.
    pub fn ended(&mut self, server: ServerId, answer: ServerAnswer, now: Tick) -> Option<Tick> {
        self.in_flight -= 1;
        let server = &mut self.servers[server];
        server.in_flight -= 1;
        let ServerAnswer::Troubled { retry_after_ms } = answer else {
            (server.failures, server.rests) = (0, 0);
            return None;
        };
        server.failures += 1;
        let asked = retry_after_ms.unwrap_or(0).min(LONGEST_RETRY_AFTER_MS);
        let rest = if server.failures >= FAILURES_UNTIL_REST {
            server.rests += 1;
            (REST_MS << (server.rests - 1).min(8)).min(LONGEST_REST_MS)
        } else {
            0
        };
        server.rests_until = server.rests_until.max(now.plus_ms(asked.max(rest)));
        (rest > 0).then_some(server.rests_until)
    }

    /// Whether a server is left alone.
    pub fn rests(&self, server: ServerId, now: Tick) -> bool {
        self.servers[server].rests_until > now
    }

    /// Questions that wait at a server.
    pub fn waiting_at(&self, server: ServerId) -> impl Iterator<Item = usize> + '_ {
        self.servers[server].waiting.iter().map(|(_, question)| *question)
    }

    /// Takes all questions back that wait at a server.
    pub fn take_all(&mut self, server: ServerId) -> Vec<usize> {
        std::mem::take(&mut self.servers[server].waiting).into_iter().map(|(_, question)| question).collect()
    }

    /// When a question may leave, unless a probe ends before; `None`: not before.
    pub fn wake_at(&self) -> Option<Tick> {
        if self.in_flight >= MOST_AT_ONCE {
            return None;
        }
        self.servers.iter().filter_map(Server::due_at).min()
    }

    /// Whether nothing is asked or waits to be.
    pub fn is_idle(&self) -> bool {
        self.in_flight == 0 && self.servers.iter().all(|server| server.waiting.is_empty())
    }
}

fn interval_us(rate: u32) -> u64 {
    1_000_000 / u64::from(rate.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILED: ServerAnswer = ServerAnswer::Troubled { retry_after_ms: None };

    fn ms(ms: u64) -> Tick {
        Tick::from_ms(ms)
    }

    fn queue(rate: u32, at_once: usize, questions: usize) -> (ProbeQueue, ServerId) {
        let mut queue = ProbeQueue::default();
        let server = queue.server("http://a", rate, at_once);
        (0..questions).for_each(|question| queue.push(server, question, ms(0)));
        (queue, server)
    }

    #[test]
    fn a_server_gets_no_more_than_its_rate_and_its_number_at_once() {
        let (mut queue, server) = queue(20, 4, 10);
        assert_eq!((queue.take(ms(1000)), queue.take(ms(1000))), (Some(0), None));
        assert_eq!(queue.wake_at(), Some(ms(1049)));
        let taken: Vec<_> = (1..=5).map(|turn| queue.take(ms(1000 + 50 * turn))).collect();
        assert_eq!(taken, [Some(1), Some(2), Some(3), None, None]);
        assert_eq!(queue.ended(server, ServerAnswer::Answered, ms(1300)), None);
        assert_eq!(queue.take(ms(1300)), Some(4));
    }

    #[test]
    fn a_server_that_fails_gets_one_at_a_time_then_rests_twice_as_long() {
        let (mut queue, server) = queue(1000, 4, 20);
        for turn in 1..=3 {
            assert!(queue.take(ms(turn)).is_some());
        }
        assert!((1..=3).all(|_| queue.ended(server, FAILED, ms(9)).is_none()));
        assert!(queue.take(ms(10)).is_some());
        assert_eq!(queue.take(ms(20)), None, "one at a time");
        assert_eq!(queue.ended(server, FAILED, ms(30)), None);
        assert!(queue.take(ms(40)).is_some());
        assert_eq!(queue.ended(server, FAILED, ms(50)), Some(ms(30_050)));
        assert_eq!((queue.take(ms(30_049)), queue.wake_at()), (None, Some(ms(30_050))));
        assert!(queue.take(ms(30_050)).is_some());
        assert_eq!(queue.ended(server, FAILED, ms(31_000)), Some(ms(91_000)));
        assert!(queue.take(ms(91_000)).is_some());
        assert_eq!(queue.ended(server, ServerAnswer::Answered, ms(91_001)), None);
        assert!(queue.take(ms(91_002)).is_some() && queue.take(ms(91_003)).is_some(), "side by side again");
    }

    #[test]
    fn what_an_answer_asks_for_is_kept_up_to_two_minutes() {
        let (mut queue, server) = queue(20, 4, 3);
        assert!(queue.take(ms(0)).is_some());
        queue.ended(server, ServerAnswer::Troubled { retry_after_ms: Some(9_000_000) }, ms(100));
        assert_eq!(queue.wake_at(), Some(ms(120_100)));
    }
}
