//! Rounds on real caches under visitors who never stop: the real program publishes new hashes, the origin follows in its own time,
//! and afterwards the edge serves the new content, or the program did not say so.

mod hot_reader;
mod mode;
mod round;
mod site;
mod tally;

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};

use mode::{EDGES, Edge, Mode, edge};
use round::Outcome;
use site::{Protocol, Site};
use tally::{Tally, table};

const HOST: &str = "static.example.test";
/// Sites at once in the whole process: two processors play no more without becoming what is measured.
const SITES: usize = 4;
/// Rounds of a mode at a cache in each run of the tests.
const ROUNDS: usize = 5;

/// Purges when the origin is ready.
const GATE: Protocol = Protocol { asks_origin: true, rate: 20, verify: None };
/// The same, and the run ends when the edge is verified. Fetches take less than this `settle`.
const VERIFIED: Protocol = Protocol { asks_origin: true, rate: 20, verify: Some("{settle: 1200ms}") };
/// What the check plays.
const CHECKED: Protocol = VERIFIED;

/// One of the sites that may run at once.
struct Turn;

static FREE: (Mutex<usize>, Condvar) = (Mutex::new(SITES), Condvar::new());

impl Turn {
    fn take() -> Self {
        let free = FREE.0.lock().unwrap_or_else(PoisonError::into_inner);
        let free = FREE.1.wait_while(free, |free| *free == 0);
        *free.unwrap_or_else(PoisonError::into_inner) -= 1;
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *FREE.0.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        FREE.1.notify_one();
    }
}

/// Plays so many rounds of each mode at each edge where it can be played, as many sites at once as there may be. What is not
/// installed is left out.
fn play(edges: &[Edge], modes: &[Mode], rounds: usize, protocol: Protocol) -> Vec<Tally> {
    let jobs = modes.iter().flat_map(|mode| edges.iter().map(move |edge| (*edge, *mode)));
    let jobs: Mutex<VecDeque<(Edge, Mode)>> = Mutex::new(jobs.filter(|(edge, mode)| mode.is_for(*edge)).collect());
    let tallies = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..SITES {
            scope.spawn(|| {
                while let Some((edge, mode)) = { jobs.lock().expect("jobs").pop_front() } {
                    let _turn = Turn::take();
                    let Some(site) = Site::start(edge) else { continue };
                    let mut tally = Tally::new(edge, mode);
                    for number in 0..rounds {
                        tally.add(round::play(&site, protocol, mode, number));
                    }
                    println!("{}", tally.line());
                    tallies.lock().expect("tallies").push(tally);
                }
            });
        }
    });
    let tallies = tallies.into_inner().expect("tallies");
    println!("{}", table(&tallies, edges, modes));
    tallies
}

#[track_caller]
fn assert_all_fresh(tallies: &[Tally]) {
    let reports: Vec<String> = tallies.iter().filter_map(Tally::report).collect();
    assert!(reports.is_empty(), "{}", reports.join("\n\n"));
}

/// Each tally shows false claims, and the check says so.
#[track_caller]
fn assert_claims_are_found_false(tallies: &[Tally]) {
    for tally in tallies {
        assert!(tally.false_claims > 0, "{tally:?}");
        let problems = tally.problems();
        assert!(problems.iter().any(|problem| problem.ends_with("claimed and not fresh")), "{problems:?}");
        assert!(problems.iter().any(|problem| problem.ends_with("rounds fresh")), "{problems:?}");
    }
}

// R14
#[test]
fn edges_are_fresh_when_the_origin_is_late() {
    assert_all_fresh(&play(&EDGES, &[Mode::Late], ROUNDS, CHECKED));
}

// R14
#[test]
fn edges_are_fresh_when_old_fetches_are_in_flight() {
    assert_all_fresh(&play(&EDGES, &[Mode::Slow], ROUNDS, VERIFIED));
}

/// The check can fail: without the gate the run ends well, and visitors have the old page cached again.
#[test]
fn edges_are_stale_when_the_origin_is_late_and_not_asked() {
    let edges = ["varnish", "nginx", "squid", "trafficserver"].map(edge);
    let protocol = Protocol { asks_origin: false, ..GATE };
    assert_claims_are_found_false(&play(&edges, &[Mode::Late], 2, protocol));
}

/// The check can fail: without the comparison an old fetch that ends after the purge stays cached.
#[test]
fn edges_are_stale_when_old_fetches_are_in_flight_and_nothing_is_compared() {
    let edges = ["varnish", "nginx", "nginx-nolock"].map(edge);
    assert_claims_are_found_false(&play(&edges, &[Mode::Slow], 2, GATE));
}

/// The check can fail: an edge that is compared too early is verified, and then the old fetch ends.
#[test]
fn edges_are_stale_when_they_are_compared_before_old_fetches_end() {
    let protocol = Protocol { rate: 1000, verify: Some("{settle: 100ms, rate: 1000}"), ..GATE };
    assert_claims_are_found_false(&play(&[edge("nginx-nolock")], &[Mode::Slow], 2, protocol));
}

/// A round with a ready origin at one cache; `None` if it is not installed. With the address of the endpoint.
fn play_ready(cache: &'static [&'static str; 1], protocol: Protocol) -> Option<(Outcome, String)> {
    let site = Site::start(Edge { name: cache[0], layers: cache })?;
    // As applications do that serve one page for whatever they are asked.
    site.origin().take_all_methods();
    Some((round::play(&site, protocol, Mode::Ready, 0), site.endpoint(0)))
}

/// A cache that passes PURGE on to an origin that says yes to anything.
#[test]
fn endpoint_that_does_not_purge_is_named_after_three_purges_a_page() {
    let Some((outcome, endpoint)) = play_ready(&["nginx-nopurge"], VERIFIED) else { return };
    assert_eq!(outcome.stale.len(), outcome.urls, "{:?}", outcome.stale);
    assert!(outcome.purges <= 3 * outcome.urls, "{} purges", outcome.purges);
    let ran = outcome.ran.ended_with(4);
    ran.says(&endpoint);
    ran.says("stale after 3 purges");
}

/// A cache that injects a script.
#[test]
fn edge_that_rewrites_pages_is_unverifiable_by_body_and_verified_by_header() {
    let Some((outcome, _)) = play_ready(&["nginx-rewrite"], VERIFIED) else { return };
    assert!(outcome.purges <= outcome.urls + 2, "{} purges", outcome.purges);
    let ran = outcome.ran.ended_with(4);
    ran.says("the edge serves other bytes than the origin for a URL that nothing has cached");
    ran.says("use match: etag or header");

    let by_header = Protocol { verify: Some("{settle: 1200ms, match: {header: X-Rev}}"), ..VERIFIED };
    let Some((outcome, _)) = play_ready(&["nginx-rewrite"], by_header) else { return };
    assert_eq!(outcome.purges, outcome.urls);
    outcome.ran.ended_with(0).says("verified by header X-Rev");
}

/// The whole check, with the number of rounds in `FRESHEN_ROUNDS`. `FRESHEN_ROUNDS_OF` names modes if not all are wanted, and
/// `FRESHEN_ROUNDS_BY` another protocol than the one that is checked.
#[test]
#[ignore = "takes hours: tests/nightly runs it"]
fn edges_are_fresh_whatever_the_origin_does() {
    let variable = |name: &str| std::env::var(name).ok();
    let rounds = variable("FRESHEN_ROUNDS").expect("FRESHEN_ROUNDS, for example 100").parse().expect("a number");
    let protocol = match variable("FRESHEN_ROUNDS_BY").as_deref() {
        None => CHECKED,
        Some("nothing") => Protocol { asks_origin: false, ..GATE },
        Some("gate") => GATE,
        Some("verified") => VERIFIED,
        Some(other) => panic!("{other}: nothing, gate or verified"),
    };
    let names = variable("FRESHEN_ROUNDS_OF");
    let is_wanted = |mode: &Mode| match &names {
        Some(names) => names.split(',').any(|name| name == mode.name()),
        None => protocol.verify.is_some() || !mode.needs_verification(),
    };
    let modes: Vec<Mode> = Mode::ALL.into_iter().filter(is_wanted).collect();
    assert!(!modes.is_empty(), "modes are {:?}", Mode::ALL.map(Mode::name));
    assert_all_fresh(&play(&EDGES, &modes, rounds, protocol));
}
