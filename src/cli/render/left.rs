//! What is left of the work that a state knows: by provider in a few words, then target by target.

use std::collections::BTreeMap;

use super::{count, moment, shown, strong};
use crate::core::command_line::{CommandLine, Verb};
use crate::core::provider_key::ProviderKey;
use crate::core::recorded::{Recorded, Standing, Work};
use crate::core::time::Timestamp;
use crate::core::watch::RETRY_CAP_MS;
use crate::engine::Overview;

/// Unfinished targets that are listed one by one for people.
const LISTED: usize = 50;
/// Providers that are named of those that fail, and of those where something waits.
const NAMED: usize = 20;

/// Targets of a provider that are left in the same way.
struct Group<'a> {
    oldest: (&'a Recorded, &'a Work),
    number: u64,
    /// When the first and the last of them is due.
    until: Option<[Timestamp; 2]>,
}

impl<'a> Group<'a> {
    fn add(group: &mut Option<Self>, row: &'a Recorded, work: &'a Work, until: Option<Timestamp>) {
        let until = until.map(|until| [until, until]);
        let Some(known) = group else {
            *group = Some(Self { oldest: (row, work), number: 1, until });
            return;
        };
        known.number += 1;
        if work.since < known.oldest.1.since {
            known.oldest = (row, work);
        }
        known.until = known.until.zip(until).map(|([first, last], [until, _])| [first.min(until), last.max(until)]);
    }

    /// `3 targets, the oldest https://cdn.example.com/a.js`
    fn named(&self) -> String {
        let target = shown(&self.oldest.0.target.text);
        if self.number == 1 { target } else { format!("{}, the oldest {target}", count(self.number, "target")) }
    }
}

/// What fails and what waits, by provider, each ended by the way on.
pub(super) fn sections(view: &Overview, commands: &CommandLine) -> String {
    let (mut failing, mut deferred) = (BTreeMap::<&str, Option<Group<'_>>>::new(), BTreeMap::new());
    let mut waiting = BTreeMap::new();
    for (row, work) in view.recorded.iter().filter_map(|row| Some((row, row.work.as_ref()?))) {
        match &work.standing {
            Standing::Pending { .. } if work.fails() => {
                Group::add(failing.entry(&row.provider).or_default(), row, work, None);
            }
            Standing::Waiting { .. } => {
                Group::add(waiting.entry(row.provider.as_str()).or_default(), row, work, None);
            }
            Standing::Deferred { until, .. } => {
                Group::add(deferred.entry(row.provider.as_str()).or_default(), row, work, Some(*until));
            }
            _ => {}
        }
    }
    let mut text = String::new();
    let groups =
        [("Failing", failing, fails as Tells), ("Waiting", waiting, for_origin), ("Deferred", deferred, waits)];
    for (title, groups, tells) in groups {
        let groups: Vec<_> = groups.into_iter().filter_map(|(provider, group)| Some((provider, group?))).collect();
        if groups.is_empty() {
            continue;
        }
        text += &format!("\n{}\n", strong(title));
        text.extend(groups.iter().take(NAMED).map(|(provider, group)| tells(view, commands, provider, group)));
        if groups.len() > NAMED {
            text += &format!("  … and {} more\n", count(groups.len() - NAMED, "provider"));
        }
    }
    text
}

/// What waits for its origin, or for a provider upstream.
fn for_origin(view: &Overview, commands: &CommandLine, provider: &str, group: &Group<'_>) -> String {
    let (why, since) = (reason(group.oldest.1), moment(group.oldest.1.since));
    let key = ProviderKey::of(provider);
    let now = commands.about(&view.paths(key.namespace)).offer_try_now(key);
    format!(
        "  {provider}: {}: {why}\n    since {since}; each run asks again, a running watch by itself; {now} asks now\n",
        group.named()
    )
}

type Tells = fn(&Overview, &CommandLine, &str, &Group<'_>) -> String;

fn fails(view: &Overview, commands: &CommandLine, provider: &str, group: &Group<'_>) -> String {
    let why = reason(group.oldest.1);
    let since = moment(group.oldest.1.since);
    let key = ProviderKey::of(provider);
    let commands = commands.about(&view.paths(key.namespace));
    let again = tried_again(&commands.offer_try_now(key));
    format!("  {provider}: {}: {why}\n    since {since}; {again}\n", group.named())
}

/// How what failed goes on.
pub(crate) fn tried_again(try_now: &str) -> String {
    let minutes = RETRY_CAP_MS / 60_000;
    format!(
        "each run tries it again, a running watch by itself every {minutes} minutes at least; {try_now} tries it now"
    )
}

fn waits(_: &Overview, _: &CommandLine, provider: &str, group: &Group<'_>) -> String {
    let why = reason(group.oldest.1);
    let until = group.until.map_or_else(String::new, |[first, last]| format!(" until {}", from_to(first, last)));
    let since = moment(group.oldest.1.since);
    format!(
        "  {provider}: {}{until}: {why}\n    since {since}; a run of then sends it, a running watch by itself\n",
        group.named()
    )
}

/// `2026-12-01 16:00 UTC, last on 2026-12-06`
fn from_to(first: Timestamp, last: Timestamp) -> String {
    let (first, last) = (moment(first), moment(last));
    if first == last { first } else { format!("{first}, last on {}", &last[..10]) }
}

fn reason(work: &Work) -> String {
    match &work.standing {
        Standing::Pending { reason: Some(reason) }
        | Standing::Waiting { reason }
        | Standing::Deferred { reason, .. }
        | Standing::Rejected { reason, .. } => shown(reason),
        Standing::Pending { reason: None } => String::new(),
    }
}

/// What is to do, a `line` each; where that is much, the first of each provider.
pub(super) fn to_do(view: &Overview, line: fn(&Recorded) -> String, commands: &CommandLine) -> String {
    let open: Vec<&Recorded> = view.recorded.iter().filter(|row| row.work.is_some()).collect();
    if open.is_empty() {
        return String::new();
    }
    let mut by_provider: BTreeMap<&str, Vec<&Recorded>> = BTreeMap::new();
    for row in &open {
        by_provider.entry(&row.provider).or_default().push(row);
    }
    let each = if open.len() > LISTED { (LISTED / by_provider.len()).max(1) } else { LISTED };
    let mut text = format!("\n{}\n", strong("To do"));
    let mut listed = 0;
    for (provider, rows) in by_provider.iter().take(LISTED) {
        rows.iter().take(each).for_each(|row| text.push_str(&format!("  {}\n", line(row))));
        if rows.len() > each {
            text.push_str(&format!("  … and {} more at {provider}\n", rows.len() - each));
        }
        listed += rows.len().min(each);
    }
    if open.len() > listed {
        let list = commands.offer(Verb::StateList, &[]);
        text.push_str(&format!("  … that are {} more; {list} lists all\n", open.len() - listed));
    }
    text
}
