//! The vendors of a world: emulators, and what the simulation itself counts at their door.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use freshen::core::http::{Request, Response};
use freshen::core::target::Target;
use freshen::core::time::Timestamp;
use freshen::vendor::VENDORS;
use freshen::vendor::emulation::{Emulator, Setup};

use crate::spec::{Spec, issued};
use crate::vendor;

/// Provider and number of a target: the number is part of its text, in letters that no encoding changes.
pub(crate) type Key = (usize, usize);

/// The part of a URL by which it is recognised on the wire.
pub(crate) fn mark(key: Key) -> String {
    format!("t{}{:04}q", key.0, key.1)
}

/// The vendor's id of an asset: hexadecimal, so it is marked otherwise.
pub(crate) fn asset_id(key: Key) -> String {
    format!("{}f{}{:04}f{}", "a".repeat(12), key.0, key.1, "a".repeat(13))
}

fn is_mark(window: &[u8]) -> bool {
    matches!((window[0], window[6]), (b't', b'q') | (b'f', b'f'))
}

/// The id of the keys that a request was signed with.
fn key_of(request: &Request, account: usize) -> Option<String> {
    let headers = request.headers.iter().map(|(_, value)| value.clone());
    let texts = headers.chain([request.path_and_query.clone(), String::from_utf8_lossy(&request.body).into_owned()]);
    let name = format!("KEY{account}");
    texts.into_iter().find_map(|text| {
        let found = &text[text.find(&name)?..];
        let end = found.find(|letter: char| !letter.is_ascii_alphanumeric()).unwrap_or(found.len());
        Some(found[..end].to_owned())
    })
}

/// How a vendor's purges of directories are known.
#[derive(serde::Deserialize)]
struct Directories {
    hold: &'static str,
    own_rate: bool,
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
    /// Answers to the keys that last; those of further issues have one each.
    pub(crate) emulator: Box<dyn Emulator>,
    pub(crate) setup: Setup,
    pub(crate) spec: Spec,
    pub(crate) others: BTreeMap<String, Box<dyn Emulator>>,
    /// Targets that a cache refuses.
    pub(crate) poison: BTreeSet<Key>,
    /// Most targets a call, calls a second, calls at once.
    pub(crate) batch: usize,
    pub(crate) rate: u32,
    pub(crate) at_once: usize,
    /// Most targets a day of the account that each provider may use, if the emulator lets more pass and the clock is right.
    pub(crate) quotas: BTreeMap<usize, u64>,
    /// Calls a second are counted here.
    pub(crate) paced: bool,
    pub(crate) in_flight: usize,
    pub(crate) requests: u64,
    pub(crate) purges: u64,
    /// When calls left, of URLs and of directories where those have a rate of their own.
    pub(crate) recent: [VecDeque<u64>; 2],
    pub(crate) used: BTreeMap<String, u64>,
}

impl Actor {
    /// Answers as the vendor does; what was purged.
    pub(crate) fn answer(&mut self, request: &Request, now: Timestamp) -> (Response, Vec<Target>) {
        let refused = !self.poison.is_empty() && self.targets_of(request).iter().any(|key| self.poison.contains(key));
        if refused {
            return (Response { status: 400, headers: Vec::new(), body: b"bad URL".to_vec() }, Vec::new());
        }
        let emulator = self.emulator_of(request);
        let seen = emulator.log().len();
        let response = emulator.answer(request, now);
        let purged: Vec<Target> = emulator.log()[seen..].iter().map(|purged| purged.target.clone()).collect();
        self.purges += purged.len() as u64;
        (response, purged)
    }

    /// The side that knows the keys of a request.
    fn emulator_of(&mut self, request: &Request) -> &mut Box<dyn Emulator> {
        // Most worlds have no other keys.
        let is_one = self.spec.temporary.is_none() && self.spec.rotation == 0;
        let key = if is_one { None } else { key_of(request, self.spec.account) };
        match key {
            Some(key) if self.spec.is_cloud() && key.contains(['i', 'r']) => {
                let kind = self.spec.kind;
                let setup = || Setup { credentials: issued(kind, &key), ..self.setup.clone() };
                self.others.entry(key.clone()).or_insert_with(|| VENDORS.emulator(setup()).expect("an emulator"))
            }
            _ => &mut self.emulator,
        }
    }

    /// Somebody else used the account.
    pub(crate) fn used_by_others(&mut self, request: &Request, now: Timestamp) {
        self.emulator.answer(request, now);
    }

    /// What a request asks for, read off the wire whatever the encoding.
    pub(crate) fn targets_of(&self, request: &Request) -> Vec<Key> {
        let mut found = Vec::new();
        for bytes in [request.path_and_query.as_bytes(), &request.body] {
            for window in bytes.windows(7).filter(|window| is_mark(window)) {
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
        let Directories { hold, .. } = vendor::fact::<Option<_>>(self.spec.kind, "directories")?;
        if !text.contains(hold) {
            return None;
        }
        let end = text.find(".example")? + ".example".len();
        let host = &text[end - "h0.p0.example".len()..end];
        Some(format!("https://{host}/"))
    }

    /// A request leaves; what it breaks, if anything (S5).
    pub(crate) fn leaves(&mut self, request: &Request, targets: usize, now: u64, refused: bool) -> Option<String> {
        self.in_flight += 1;
        self.requests += 1;
        if targets > self.batch {
            return Some(format!("{targets} targets in a call, {} are allowed", self.batch));
        }
        if self.in_flight > self.at_once {
            return Some(format!("{} calls at once, {} are allowed", self.in_flight, self.at_once));
        }
        if refused || !self.paced {
            return None;
        }
        let directories: Option<Directories> = vendor::fact(self.spec.kind, "directories");
        let has_own_rate = directories.is_some_and(|found| found.own_rate) && self.directory_of(request).is_some();
        let recent = &mut self.recent[usize::from(has_own_rate)];
        recent.retain(|at| now - at < 1000);
        recent.push_back(now);
        let rate = self.rate;
        (recent.len() > rate as usize).then(|| format!("{} calls in a second, {rate} are allowed", recent.len()))
    }

    /// A request has ended for its sender.
    pub(crate) fn ends(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// Targets of a provider were purged on this day of the sender's clock; what that breaks (S5).
    pub(crate) fn spends(
        &mut self,
        (day, at_midnight): &(String, bool),
        targets: usize,
        provider: usize,
    ) -> Option<String> {
        let mut used = |whose: String| {
            let used = self.used.entry(whose).or_default();
            *used += targets as u64;
            *used
        };
        let (own, all) = (used(format!("{day} p{provider}")), used(day.clone()));
        let slack = if *at_midnight { self.batch as u64 } else { 0 };
        // In which order calls are sent is the plan's: each keeps to its own limit, and all of them to the largest.
        let has_limit = self.quotas.len() == self.providers.len();
        let most = self.quotas.values().max().copied().filter(|_| has_limit).unwrap_or(u64::MAX);
        let mine = self.quotas.get(&provider).copied().unwrap_or(u64::MAX);
        let (used, most) = if own > mine.saturating_add(slack) { (own, mine) } else { (all, most) };
        (used > most.saturating_add(slack)).then(|| format!("{used} targets on {day}, {most} are allowed"))
    }
}
