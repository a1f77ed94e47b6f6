//! The vendors of a world: emulators, and what the simulation itself counts at their door.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use freshen::core::http::{Request, Response};
use freshen::core::target::Target;
use freshen::core::time::Timestamp;
use freshen::rehearse::Emulator;

/// Provider and number of a target: the number is part of its text, in letters that no encoding changes.
pub(crate) type Key = (usize, usize);

/// The part of a target's text by which it is recognised on the wire.
pub(crate) fn mark(key: Key) -> String {
    format!("t{}{:04}q", key.0, key.1)
}

/// One API or cache.
pub(crate) struct Actor {
    pub(crate) authority: String,
    /// Which endpoint of its providers it is.
    pub(crate) endpoint: usize,
    /// Providers that share it.
    pub(crate) providers: Vec<usize>,
    /// An API, no cache of one's own.
    pub(crate) is_cloud: bool,
    pub(crate) emulator: Box<dyn Emulator>,
    /// Targets that a cache refuses.
    pub(crate) poison: BTreeSet<Key>,
    /// Most targets a call, calls a second, calls at once.
    pub(crate) batch: usize,
    pub(crate) rate: u32,
    pub(crate) at_once: usize,
    /// Most targets a day, if the emulator lets more pass and the clock is right.
    pub(crate) quota: Option<u64>,
    /// Calls a second are counted here.
    pub(crate) paced: bool,
    pub(crate) seen: usize,
    pub(crate) flights: usize,
    pub(crate) requests: u64,
    /// When calls left, of URLs and of directories where those have a rate of their own.
    pub(crate) recent: [VecDeque<u64>; 2],
    pub(crate) used: BTreeMap<String, u64>,
}

impl Actor {
    /// Answers as the vendor does; what was purged.
    pub(crate) fn answer(&mut self, request: &Request, now: Timestamp) -> (Response, Vec<Target>) {
        let refused = !self.poison.is_empty() && self.targets_of(request).iter().any(|key| self.poison.contains(key));
        let response = if refused {
            Response { status: 400, headers: Vec::new(), body: b"bad URL".to_vec() }
        } else {
            self.emulator.answer(request, now)
        };
        let log = self.emulator.log();
        let purged = log[self.seen..].iter().map(|purged| purged.target.clone()).collect();
        self.seen = log.len();
        (response, purged)
    }

    /// Somebody else used the account.
    pub(crate) fn used_by_others(&mut self, request: &Request, now: Timestamp) {
        self.emulator.answer(request, now);
        self.seen = self.emulator.log().len();
    }

    /// What a request asks for, read off the wire whatever the encoding.
    pub(crate) fn targets_of(&self, request: &Request) -> Vec<Key> {
        let mut found = Vec::new();
        for bytes in [request.path_and_query.as_bytes(), &request.body] {
            for window in bytes.windows(7).filter(|window| window[0] == b't' && window[6] == b'q') {
                let digits =
                    std::str::from_utf8(&window[1..6]).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
                let number = digits.and_then(|digits| digits.parse::<usize>().ok());
                found.extend(number.map(|n| (n / 10_000, n % 10_000)).filter(|key| self.providers.contains(&key.0)));
            }
        }
        found
    }

    /// The directory that a request asks for, which is a whole host, read off the wire whatever the encoding.
    pub(crate) fn directory_of(&self, request: &Request) -> Option<String> {
        let text = String::from_utf8_lossy(&request.body);
        if !self.is_cloud || !(text.contains("\"Paths\"") || text.contains("ObjectType=Directory")) {
            return None;
        }
        let end = text.find(".example")? + ".example".len();
        let host = &text[end - "h0.p0.example".len()..end];
        Some(format!("https://{host}/"))
    }

    /// A request leaves; what it breaks, if anything (S5).
    pub(crate) fn leaves(&mut self, request: &Request, targets: usize, now: u64, refused: bool) -> Option<String> {
        self.flights += 1;
        self.requests += 1;
        if targets > self.batch {
            return Some(format!("{targets} targets in a call, {} are allowed", self.batch));
        }
        if self.flights > self.at_once {
            return Some(format!("{} calls at once, {} are allowed", self.flights, self.at_once));
        }
        if refused || !self.paced {
            return None;
        }
        let has_own_rate = request.header("X-TC-Action") == Some("PurgePathCache");
        let recent = &mut self.recent[usize::from(has_own_rate)];
        recent.retain(|at| now - at < 1000);
        recent.push_back(now);
        let rate = self.rate;
        (recent.len() > rate as usize).then(|| format!("{} calls in a second, {rate} are allowed", recent.len()))
    }

    /// A request has ended for its sender.
    pub(crate) fn ends(&mut self) {
        self.flights = self.flights.saturating_sub(1);
    }

    /// Targets were purged on this day of the sender's clock; what that breaks (S5).
    pub(crate) fn spends(&mut self, (day, at_midnight): &(String, bool), targets: usize) -> Option<String> {
        let used = self.used.entry(day.clone()).or_default();
        *used += targets as u64;
        let slack = if *at_midnight { self.batch as u64 } else { 0 };
        let most = self.quota.filter(|most| *used > *most + slack)?;
        Some(format!("{used} targets on {day}, {most} are allowed"))
    }
}
