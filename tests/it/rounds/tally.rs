//! What rounds came to, and whether that is good enough.

use std::time::Duration;

use super::mode::{Edge, Mode};
use super::round::Outcome;

/// Rounds of one mode at one edge.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) edge: Edge,
    pub(super) mode: Mode,
    pub(super) rounds: usize,
    pub(super) fresh: usize,
    /// Claimed by the exit code, and not fresh.
    pub(super) false_claims: usize,
    /// Fresh, and not claimed.
    unclaimed: usize,
    purges: usize,
    urls: usize,
    /// Old fetches, and those in flight at their purge.
    old_fetches: (usize, usize),
    until_purge: Vec<Duration>,
    after_purges: Vec<Duration>,
    /// The last round that was not fresh, or not claimed.
    example: Option<String>,
}

impl Tally {
    /// Before the first round.
    pub(super) fn new(edge: Edge, mode: Mode) -> Self {
        Self {
            edge,
            mode,
            rounds: 0,
            fresh: 0,
            false_claims: 0,
            unclaimed: 0,
            purges: 0,
            urls: 0,
            old_fetches: (0, 0),
            until_purge: Vec::new(),
            after_purges: Vec::new(),
            example: None,
        }
    }

    /// Counts a round.
    pub(super) fn add(&mut self, outcome: Outcome) {
        let (is_fresh, is_claimed) = (outcome.stale.is_empty(), outcome.ran.code == 0);
        self.rounds += 1;
        self.fresh += usize::from(is_fresh);
        self.false_claims += usize::from(is_claimed && !is_fresh);
        self.unclaimed += usize::from(is_fresh && !is_claimed);
        self.purges += outcome.purges;
        self.urls += outcome.urls;
        self.old_fetches.0 += outcome.old_fetches.0;
        self.old_fetches.1 += outcome.old_fetches.1;
        if !(is_fresh && is_claimed) {
            let ran = &outcome.ran;
            self.example =
                Some(format!("stale {:#?}, exit {}\n{}\n{}", outcome.stale, ran.code, ran.stdout, ran.stderr));
        }
        self.until_purge.extend(outcome.until_purge);
        self.after_purges.extend(outcome.after_purges);
    }

    /// Purges for each URL and layer.
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    fn purges_each(&self) -> f64 {
        self.purges as f64 / self.urls.max(1) as f64
    }

    /// What is not good enough.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let (rounds, most) = (self.rounds, self.mode.most_purges());
        if self.fresh < rounds {
            problems.push(format!("{} of {rounds} rounds fresh", self.fresh));
        }
        if self.false_claims > 0 {
            problems.push(format!("{} of {rounds} rounds claimed and not fresh", self.false_claims));
        }
        if self.unclaimed > 0 {
            problems.push(format!("{} of {rounds} rounds fresh and not claimed", self.unclaimed));
        }
        if self.purges_each() > most {
            problems.push(format!("{:.3} purges a page, more than {most}", self.purges_each()));
        }
        let (all, in_flight) = self.old_fetches;
        if in_flight < all {
            problems.push(format!("{in_flight} of {all} old fetches in flight when their page was purged"));
        }
        problems
    }

    /// [`Tally::problems`] with an example, for people.
    pub(super) fn report(&self) -> Option<String> {
        let problems = self.problems();
        let example = self.example.as_deref().unwrap_or_default();
        let what = format!("{} at {}: {}\n{example}", self.mode.name(), self.edge.name, problems.join(", "));
        (!problems.is_empty()).then_some(what)
    }

    /// What is shown as soon as it is complete.
    pub(super) fn line(&self) -> String {
        format!("{} at {}: {}", self.mode.name(), self.edge.name, self.cell())
    }

    /// Its cell in the table: rounds fresh, rounds claimed and not fresh, purges a page, seconds at the median from ready to the
    /// purge and from the last purge to the end of the run.
    fn cell(&self) -> String {
        let percent = self.fresh * 100 / self.rounds.max(1);
        let (until, after) = (median(&self.until_purge), median(&self.after_purges));
        format!("{percent} %, {} false, {:.2}, {until:.1} s, {after:.1} s", self.false_claims, self.purges_each())
    }
}

fn median(times: &[Duration]) -> f64 {
    let mut times = times.to_vec();
    times.sort_unstable();
    times.get(times.len() / 2).map_or(0.0, Duration::as_secs_f64)
}

/// One row a mode, one column an edge.
pub(super) fn table(tallies: &[Tally], edges: &[Edge], modes: &[Mode]) -> String {
    let names: Vec<&str> = edges.iter().map(|edge| edge.name).collect();
    let mut text = format!(
        "| rounds fresh, false claims, purges a page, ready to purge, purge to end | {} |\n",
        names.join(" | ")
    );
    text.push_str(&format!("|---|{}\n", "---|".repeat(edges.len())));
    for mode in modes {
        let cell = |edge: &Edge| {
            let tally = tallies.iter().find(|tally| (tally.edge, tally.mode) == (*edge, *mode));
            tally.map_or_else(String::new, Tally::cell)
        };
        let cells: Vec<String> = edges.iter().map(cell).collect();
        text.push_str(&format!("| {} | {} |\n", mode.name(), cells.join(" | ")));
    }
    text
}

mod tests {
    use super::*;
    use crate::rounds::mode::EDGES;
    use crate::support::program::Ran;

    fn outcome(code: i32, stale: usize, purges: usize, in_flight: usize) -> Outcome {
        Outcome {
            ran: Ran { code, stdout: String::new(), stderr: String::new() },
            stale: vec!["/page".to_owned(); stale],
            purges,
            urls: 20,
            old_fetches: (3, in_flight),
            until_purge: Vec::new(),
            after_purges: None,
        }
    }

    fn problems(outcomes: [Outcome; 2]) -> Vec<String> {
        let mut tally = Tally::new(EDGES[0], Mode::Slow);
        for outcome in outcomes {
            tally.add(outcome);
        }
        assert_eq!(tally.report().is_none(), tally.problems().is_empty());
        tally.problems()
    }

    #[test]
    fn what_is_not_good_enough_is_named() {
        assert_eq!(problems([outcome(0, 0, 23, 3), outcome(0, 0, 20, 3)]), [""; 0]);
        assert_eq!(problems([outcome(0, 0, 24, 3), outcome(0, 0, 23, 3)]), ["1.175 purges a page, more than 1.15"]);
        assert_eq!(
            problems([outcome(0, 1, 20, 3), outcome(0, 0, 20, 3)]),
            ["1 of 2 rounds fresh", "1 of 2 rounds claimed and not fresh"]
        );
        assert_eq!(problems([outcome(4, 1, 20, 3), outcome(0, 0, 20, 3)]), ["1 of 2 rounds fresh"]);
        assert_eq!(problems([outcome(4, 0, 20, 3), outcome(0, 0, 20, 3)]), ["1 of 2 rounds fresh and not claimed"]);
        assert_eq!(
            problems([outcome(0, 0, 20, 1), outcome(0, 0, 20, 3)]),
            ["4 of 6 old fetches in flight when their page was purged"]
        );
    }
}
