//! One round: pages that are cached old, a manifest with new hashes, an origin that follows in its own time, and one run of the
//! program; then each page is read once.

use std::collections::HashMap;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use crate::support::origin::Page;
use crate::support::program::{Program, Ran};

use super::HOST;
use super::hot_reader::{HotReader, Request};
use super::mode::Mode;
use super::site::{Event, Pages, Protocol, Site};

/// Pages of which an old fetch is in flight.
const IN_FLIGHT: usize = 3;
/// How long a slow fetch takes.
const SLOW: Duration = Duration::from_millis(900);
/// An old fetch ends no sooner than this after its page was purged at the edge, however long the program takes until then; well
/// within `settle`, which counts from the purge too.
const AFTER_PURGE: Duration = Duration::from_millis(700);
/// Longest time that a round may take, so that a broken test ends.
const BOUND: Duration = Duration::from_mins(2);
/// Servers of the origin.
const REPLICAS: [usize; 2] = [0, 1];

/// How a round ended.
#[derive(Debug)]
pub(super) struct Outcome {
    /// The run.
    pub(super) ran: Ran,
    /// What the edge served old, with what it served.
    pub(super) stale: Vec<String>,
    /// Purges, and those that one purge for each URL and layer would have been.
    pub(super) purges: usize,
    pub(super) urls: usize,
    /// Old fetches that there are in such a round, and those that were in flight when their page was purged at the edge.
    pub(super) old_fetches: (usize, usize),
    /// By URL: from when the origin served it, or the run began, to its first purge.
    pub(super) until_purge: Vec<Duration>,
    /// From the last purge to the end of the run.
    pub(super) after_purges: Option<Duration>,
}

/// What has happened since the run began.
struct Course {
    began: Instant,
    ready: HashMap<String, Instant>,
    purges: Vec<(usize, String, Instant)>,
    in_flight: Vec<String>,
    ended: Option<(Ran, Instant)>,
}

/// Plays the round with this number.
pub(super) fn play(site: &Site, protocol: Protocol, mode: Mode, number: usize) -> Outcome {
    let (pages, program, origin) = (Pages::new(mode, number), Program::new(), site.origin());
    let old = |path: &str| if mode.has_old_content() { pages.page(path, "old") } else { Page::default() };
    for path in &pages.paths {
        pages.publish(origin, &REPLICAS, path, &old(path));
    }
    let reader = HotReader::start(site.edge().visitor(), requests(&pages));
    cache_old_content(site, &pages);
    if mode.has_old_content() {
        site.write_manifests(&program, &pages, "old", protocol);
        program.run(&["adopt"]).ended_with(0);
    }
    let mut asked = Vec::new();
    let slow: &[String] = if mode == Mode::Slow { pages.paths.last_chunk::<IN_FLIGHT>().expect("enough") } else { &[] };
    for path in slow {
        pages.publish(origin, &REPLICAS, path, &Page { held: Some(SLOW), ..old(path) });
        site.evict(path);
        let (visitor, path) = (site.edge().visitor(), path.clone());
        asked.push(std::thread::spawn(move || visitor.ask("GET", HOST, &path, &[]).expect("an answer")));
    }
    for path in slow {
        origin.wait_until_under_way(path);
    }
    if mode == Mode::LateAndSlow {
        origin.delay_fetches(SLOW);
    }
    if mode.follows_after(0.0).is_none() || mode == Mode::Replicas {
        for path in &pages.paths {
            let replicas = if mode == Mode::Replicas { &REPLICAS[..1] } else { &REPLICAS };
            pages.publish(origin, replicas, path, &pages.page(path, "new"));
        }
    }
    site.write_manifests(&program, &pages, "new", protocol);
    let course = run(site, &program, &pages, protocol, number);
    for path in slow {
        origin.let_go(path, Instant::now());
    }
    for asked in asked {
        asked.join().expect("a visitor was answered");
    }
    wait_until_quiet(site, &reader);
    origin.delay_fetches(Duration::ZERO);
    let stale = stale(site, &pages);
    drop(reader);
    course.outcome(&pages, site.caches.len(), slow.len(), stale)
}

/// What visitors ask for.
fn requests(pages: &Pages) -> Vec<Request> {
    let of_url = |path: String| {
        let plain = pages.mode.visitors().iter().map(|headers| ("GET", *headers));
        let all = plain.chain(pages.mode.other_requests().iter().copied());
        all.map(move |(method, headers)| Request { method, path: path.clone(), headers })
    };
    pages.urls().flat_map(of_url).collect()
}

/// Has all copies cached that visitors ask for.
fn cache_old_content(site: &Site, pages: &Pages) {
    for url in pages.urls() {
        for headers in pages.mode.visitors() {
            if pages.mode.has_old_content() {
                site.edge().warm_as(HOST, &url, headers);
            } else {
                // Not each cache keeps what was not found.
                assert_eq!([site.edge().get(HOST, &url).status, site.edge().get(HOST, &url).status], [404; 2]);
            }
        }
    }
}

/// Runs the program, and lets the origin follow meanwhile.
fn run(site: &Site, program: &Program, pages: &Pages, protocol: Protocol, number: usize) -> Course {
    let mut arguments = vec!["apply"];
    arguments.extend(if protocol.asks_origin { &[][..] } else { &["--no-origin"] });
    arguments.extend(if protocol.verify.is_some() { &["--wait", "verified"][..] } else { &[] });
    while site.events.try_recv().is_ok() {}
    let began = Instant::now();
    // The same pages follow at the same times whenever the round with this number is played.
    let mut draws = fastrand::Rng::with_seed(number as u64);
    let follows = |path: &String| Some((pages.mode.follows_after(draws.f64())?, path.clone()));
    let mut followers: Vec<(Duration, String)> = pages.paths.iter().filter_map(follows).collect();
    followers.sort_by(|one, other| other.cmp(one));
    let mut course = Course { began, ready: HashMap::new(), purges: Vec::new(), in_flight: Vec::new(), ended: None };
    std::thread::scope(|scope| {
        let sender = site.sender.clone();
        scope.spawn(move || sender.send(Event::Ended(program.run(&arguments))).expect("the round goes on"));
        while course.ended.is_none() || !followers.is_empty() {
            let until = followers.last().zip(course.late_from(protocol)).map(|((after, _), from)| from + *after);
            let until = until.unwrap_or(began + BOUND);
            match site.events.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(event) => course.take(site, event),
                Err(RecvTimeoutError::Timeout) => {
                    let (_, path) = followers.pop().expect("the run ends in time");
                    pages.publish(site.origin(), &REPLICAS, &path, &pages.page(&path, "new"));
                    course.ready.extend(pages.urls_of(&path).map(|url| (url, Instant::now())));
                }
                Err(RecvTimeoutError::Disconnected) => unreachable!("the site holds a sender"),
            }
        }
    });
    course
}

impl Course {
    /// What the origin is late after: the start of the run. One that nobody waits for is late after the first purge, however
    /// long the program takes to send it.
    fn late_from(&self, protocol: Protocol) -> Option<Instant> {
        let first_purge = || self.purges.first().map(|(_, _, at)| *at);
        let ended = || self.ended.as_ref().map(|(_, at)| *at);
        if protocol.asks_origin { Some(self.began) } else { first_purge().or_else(ended) }
    }

    fn take(&mut self, site: &Site, event: Event) {
        match event {
            Event::Ended(ran) => self.ended = Some((ran, Instant::now())),
            Event::Purge(layer, path, at) => {
                if layer == 0 && site.origin().is_under_way(&path) && !self.in_flight.contains(&path) {
                    site.origin().let_go(&path, at + AFTER_PURGE);
                    self.in_flight.push(path.clone());
                }
                self.purges.push((layer, path, at));
            }
        }
    }

    fn outcome(self, pages: &Pages, layers: usize, slow: usize, stale: Vec<String>) -> Outcome {
        let (ran, ended) = self.ended.expect("the run has ended");
        let ready = |url: &str| self.ready.get(url).copied().unwrap_or(self.began);
        let first = |url: String| {
            let (_, _, at) = self.purges.iter().find(|(_, purged, _)| *purged == url)?;
            Some(at.saturating_duration_since(ready(&url)))
        };
        let last = self.purges.iter().map(|(_, _, at)| *at).max();
        Outcome {
            ran,
            stale,
            purges: self.purges.len(),
            urls: pages.urls().count() * layers,
            old_fetches: (slow, self.in_flight.len().min(slow)),
            until_purge: pages.urls().filter_map(first).collect(),
            after_purges: last.map(|last| ended.saturating_duration_since(last)),
        }
    }
}

/// Waits until all fetches have ended, and visitors have been served once more without another one.
fn wait_until_quiet(site: &Site, reader: &HotReader) {
    for _ in 0..20 {
        site.origin().wait_until_ended();
        let begun = site.origin().begun();
        reader.lap();
        if site.origin().begun() == begun {
            return;
        }
    }
    panic!("the edge does not cease to fetch");
}

/// Reads each page once for each sort of visitor. What is not new.
fn stale(site: &Site, pages: &Pages) -> Vec<String> {
    let mut stale = Vec::new();
    for path in &pages.paths {
        for (url, headers) in
            pages.urls_of(path).flat_map(|url| pages.mode.visitors().iter().map(move |headers| (url.clone(), headers)))
        {
            let answer = site.edge().visitor().ask("GET", HOST, &url, headers).expect("an answer");
            if (answer.status, &answer.body) != (200, &Pages::content(path, "new")) {
                let line = answer.body.lines().next().unwrap_or_default();
                stale.push(format!("{url} {headers:?}: {} {line}", answer.status));
            }
        }
    }
    stale
}
