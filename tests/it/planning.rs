//! Manifests against a state: what is due, why, in which order, and what is refused. The state is real and in memory.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use freshen::core::changes::Change;
use freshen::core::changes::Changes;
use freshen::core::diff::{DiffContext, Differ, Difference, Orphans, Removals};
use freshen::core::event::{CallId, ItemOutcome, PurgeId, Record};
use freshen::core::guard::{self, Allowed, Refusal};
use freshen::core::hold::{Hold, SeenRemovals};
use freshen::core::model::{Collapse, Guard, Limit};
use freshen::core::model::{
    Entry, Limits, Location, Manifest, Matched, Model, OnNew, OnRemoved, Priority, ProviderConfig,
};
use freshen::core::owners::Unread;
use freshen::core::plan::{Circumstances, Plan, QuotaKey, Selected, plan};
use freshen::core::proof_record::{ProofRow, ProofVerdict, SettledProof};
use freshen::core::recorded::{ChangeKind, KnownManifest, Recorded, Standing, Wait};
use freshen::core::target::{ContentHash, Target};
use freshen::core::time::Timestamp;
use freshen::state::{Commit, SqliteStore, Store};
use proptest::prelude::*;

use crate::support::world::{START, change, cluster, config, endpoint, url};

/// Manifests as a user writes and changes them, with the state of earlier runs.
struct Site {
    providers: Vec<ProviderConfig>,
    /// By name: how it treats new and missing assets, and what it lists: (provider, URL) with hash and priority.
    manifests: BTreeMap<&'static str, Listing>,
    digest: &'static str,
    now: Timestamp,
    store: SqliteStore,
    run: i64,
}

#[derive(Default)]
struct Listing {
    on_new: OnNew,
    on_removed: OnRemoved,
    guard: Guard,
    collapse: Vec<Collapse>,
    assets: BTreeMap<(usize, String), (&'static str, Priority)>,
}

impl Site {
    fn new() -> Self {
        let store = SqliteStore::scratch(Path::new("/nowhere/state.db"), "test").expect("a state in memory");
        let providers = vec![config("a", "tencent-cdn"), config("b", "tencent-vod")];
        Self { providers, manifests: BTreeMap::new(), digest: "config 1", now: START, store, run: 0 }
    }

    /// Lists a URL of the first provider, or gives it another hash.
    fn list(&mut self, manifest: &'static str, path: &str, hash: &'static str) -> &mut Self {
        self.list_at(0, manifest, path, hash, Priority::Normal)
    }

    fn list_at(
        &mut self,
        provider: usize,
        manifest: &'static str,
        path: &str,
        hash: &'static str,
        priority: Priority,
    ) -> &mut Self {
        self.manifest(manifest).assets.insert((provider, path.to_owned()), (hash, priority));
        self
    }

    fn list_many(&mut self, manifest: &'static str, numbers: std::ops::Range<usize>, hash: &'static str) -> &mut Self {
        for number in numbers {
            self.list(manifest, &format!("{number:04}"), hash);
        }
        self
    }

    fn unlist(&mut self, manifest: &'static str, path: &str) -> &mut Self {
        self.manifest(manifest).assets.remove(&(0, path.to_owned())).expect("it was listed");
        self
    }

    fn manifest(&mut self, name: &'static str) -> &mut Listing {
        self.manifests.entry(name).or_default()
    }

    /// The model of a run over these manifests.
    fn model(&self, names: &[&str]) -> Model {
        let read: Vec<(&&str, &Listing)> = self.manifests.iter().filter(|(name, _)| names.contains(name)).collect();
        let manifests = read.iter().map(|(name, listing)| Manifest {
            name: (**name).to_owned(),
            path: format!("manifests/{name}.yaml"),
            on_new: listing.on_new,
            on_removed: listing.on_removed,
            guard: listing.guard,
            collapse: listing.collapse.clone(),
            ..Manifest::default()
        });
        let mut entries: BTreeMap<(usize, Target), Entry> = BTreeMap::new();
        for (index, (_, listing)) in read.iter().enumerate() {
            for ((provider, path), (hash, priority)) in &listing.assets {
                let target = target(path);
                let entry = entries.entry((*provider, target.clone())).or_insert_with(|| Entry {
                    provider: *provider,
                    target,
                    hash: ContentHash::from_canonical(*hash),
                    priority: *priority,
                    manifests: Vec::new(),
                    place: Location::default(),
                    matched: Matched::Host,
                });
                entry.manifests.push(index);
            }
        }
        Model {
            providers: self.copied_providers(),
            manifests: manifests.collect(),
            entries: entries.into_values().collect(),
            proof_terms: Vec::new(),
        }
    }

    fn copied_providers(&self) -> Vec<ProviderConfig> {
        let copy = |known: &ProviderConfig| ProviderConfig {
            endpoints: known.endpoints.clone(),
            require: known.require,
            limits: known.limits,
            ..config(&known.name, known.kind.capabilities().kind)
        };
        self.providers.iter().map(copy).collect()
    }

    /// What a run over these manifests would find. `force` is a URL path, `unread` what becomes of manifests that
    /// it does not read.
    fn look_with(&self, names: &[&str], unread: &Unread, force: Option<&str>) -> (Model, Difference) {
        let model = self.model(names);
        let digests = vec![self.digest.to_owned(); model.providers.len()];
        let forced = |_: usize, candidate: &Target| force.is_some_and(|path| *candidate == target(path));
        let scope = DiffContext {
            unread,
            grounds: &digests,
            forced: Some(&forced),
            selected: None,
            hold: &Hold::default(),
            seen: &SeenRemovals::new(),
            now: self.now,
        };
        let mut differ = Differ::new(&model, scope);
        self.store.scan(&mut |row| differ.row(row)).expect("a whole state");
        let difference = differ.finish();
        (model, difference)
    }

    fn look(&self, names: &[&str]) -> Difference {
        self.look_with(names, &Unread::default(), None).1
    }

    /// A run that is stopped after it marked what it saw.
    fn see(&mut self, names: &[&str]) -> Difference {
        let (model, difference) = self.look_with(names, &Unread::default(), None);
        self.store.mark(&model, &difference, self.now).expect("marked");
        difference
    }

    /// A run in which each target that is planned has this outcome.
    fn run_with(&mut self, names: &[&str], force: Option<&str>, outcome: &ItemOutcome) -> Difference {
        let (model, mut difference) = self.look_with(names, &Unread::default(), force);
        difference.admitted = vec![true; difference.changes.len()];
        self.store.mark(&model, &difference, self.now).expect("marked");
        let planned = plan_of(&model, &difference.changes, self.now);
        let digests = vec![self.digest.to_owned(); model.providers.len()];
        for batch in planned.jobs.iter().flat_map(|job| job.batches.iter()) {
            self.run += 1;
            let (call, items) = (CallId(1), batch.changes.clone());
            let outcomes = items.iter().map(|&index| (index, outcome.clone())).collect();
            let may_have_purged = matches!(outcome, ItemOutcome::Recorded { .. } | ItemOutcome::AcceptedAt(_));
            let records = [
                Record::Intent { call, operation: "purge", items, debit: None, purge: PurgeId::default() },
                Record::Outcome {
                    call,
                    at: self.now,
                    items: outcomes,
                    may_have_purged,
                    left_out: Vec::new(),
                    credit: None,
                },
            ];
            let commit = Commit {
                records: &records,
                changes: &difference.changes,
                providers: &model.provider_keys(),
                grounds: &digests,
                owes: &HashMap::new(),
                at: self.now,
            };
            self.store.commit(self.run, &commit).expect("committed");
        }
        difference
    }

    /// A run in which all is accepted.
    fn purge(&mut self, names: &[&str]) -> Difference {
        self.run_with(names, None, &ItemOutcome::Recorded { task_id: None })
    }

    fn row(&self, path: &str) -> Option<Recorded> {
        self.store.recorded().expect("a whole state").into_iter().find(|row| row.target == target(path))
    }
}

fn target(path: &str) -> Target {
    Target::url(format!("https://a.example/{path}"))
}

fn plan_of(model: &Model, changes: &Changes, now: Timestamp) -> Plan {
    plan_with(model, changes, now, &|_| 0, None)
}

fn plan_with(
    model: &Model,
    changes: &Changes,
    now: Timestamp,
    used: &dyn Fn(&QuotaKey) -> u64,
    selected: Option<&Selected<'_>>,
) -> Plan {
    let accounts: Vec<String> = model.providers.iter().map(|provider| provider.name.clone()).collect();
    plan(
        model,
        changes,
        &Circumstances {
            accounts: &accounts,
            used,
            without_directories: &[],
            selected,
            hold: &Hold::default(),
            varies: &std::collections::BTreeSet::new(),
            stale: &std::collections::HashMap::new(),
            now,
        },
    )
}

/// Path and kind of each change.
fn kinds(difference: &Difference) -> Vec<(&'static str, ChangeKind)> {
    let known = ["same", "other", "gone", "again", "fresh", "x", "y", "z"];
    let name = |target: &Target| known.into_iter().find(|known| *known == path(target)).expect("a name of the tests");
    difference.changes.iter().map(|change| (name(&change.target), change.kind)).collect()
}

fn path(target: &Target) -> &str {
    target.text.strip_prefix("https://a.example/").expect("a URL of the site")
}

fn refused() -> ItemOutcome {
    ItemOutcome::Rejected("not of this account".into())
}

fn later() -> ItemOutcome {
    ItemOutcome::Later(Some("HTTP 503".into()))
}

// --- Reasons --------------------------------------------------------------------------------------------------------

#[test]
fn each_change_has_its_reason() {
    let mut site = Site::new();
    site.list("site", "same", "rev:1").list("site", "other", "rev:1").list("site", "gone", "rev:1");
    site.list("site", "again", "rev:1");
    assert_eq!(site.purge(&["site"]).changes.len(), 4);
    site.list("site", "other", "rev:2").list("site", "fresh", "rev:1").unlist("site", "gone");
    let (_, difference) = site.look_with(&["site"], &Unread::default(), Some("again"));
    let expected = [
        ("again", ChangeKind::Forced),
        ("fresh", ChangeKind::New),
        ("gone", ChangeKind::Removed),
        ("other", ChangeKind::Changed),
    ];
    assert_eq!((kinds(&difference), difference.unchanged), (expected.to_vec(), 1));
    let change = |name| difference.changes.iter().find(|change| path(&change.target) == name).expect(name);
    let hash = |hash: &str| Some(ContentHash::from_canonical(hash));
    assert_eq!((&change("other").recorded, &change("other").desired), (&hash("rev:1"), &hash("rev:2")));
    assert_eq!((&change("gone").recorded, &change("gone").desired), (&hash("rev:1"), &None));
    assert_eq!((&change("fresh").recorded, &change("fresh").desired), (&None, &hash("rev:1")));
}

/// S3, S9: what was purged is not purged again.
#[test]
fn a_second_run_finds_nothing_to_do() {
    let mut site = Site::new();
    site.list_many("site", 0..50, "rev:1").list_at(1, "site", "0001", "rev:1", Priority::High);
    assert_eq!(site.purge(&["site"]).changes.len(), 51);
    let (model, difference) = site.look_with(&["site"], &Unread::default(), None);
    assert_eq!((difference.changes.len(), difference.unchanged), (0, 51));
    let plan = plan_of(&model, &difference.changes, site.now);
    assert_eq!((plan.calls(), plan.targets()), (0, 0));
    assert!(difference.adopt.is_empty() && difference.owners.is_empty() && difference.forget.is_empty());
}

/// S2: a change whose purge failed is due again, with the time at which it was first seen.
#[test]
fn what_was_not_accepted_stays_due_with_its_age() {
    let mut site = Site::new();
    site.list("site", "x", "rev:1");
    site.run_with(&["site"], None, &later());
    site.now = START.plus_ms(60_000);
    let difference = site.look(&["site"]);
    assert_eq!(kinds(&difference), [("x", ChangeKind::New)]);
    assert_eq!(difference.changes.get(0).since, START);
    assert_eq!(difference.changes.get(0).standing, Standing::Pending { reason: Some("HTTP 503".into()) });
}

/// L1: what a clock that was ahead saw first is not younger than all that comes after: it would be sent last for as long.
#[test]
fn no_change_is_younger_than_the_run_that_looks() {
    let mut site = Site::new();
    site.list("site", "x", "rev:1").list("site", "y", "rev:1");
    site.purge(&["site"]);
    site.now = START.plus_ms(86_400_000_000);
    site.unlist("site", "x").list("site", "y", "rev:2").list("site", "z", "rev:1");
    site.run_with(&["site"], None, &later());
    site.now = START;
    let difference = site.look(&["site"]);
    let since: Vec<_> = difference.changes.iter().map(|change| (change.kind, change.since)).collect();
    let kinds = [ChangeKind::Removed, ChangeKind::Changed, ChangeKind::New];
    assert_eq!(since, kinds.map(|kind| (kind, START)));
}

/// R6: once B was seen a cache may hold it: the target stays due when A comes back.
#[test]
fn a_hash_that_comes_back_is_still_purged() {
    let mut site = Site::new();
    site.list("site", "x", "rev:A");
    site.purge(&["site"]);
    site.list("site", "x", "rev:B");
    site.see(&["site"]);
    site.list("site", "x", "rev:A");
    for _ in 0..2 {
        assert_eq!(
            kinds(&site.see(&["site"])),
            [("x", ChangeKind::Changed)],
            "still due, however often it is looked at"
        );
    }
    site.purge(&["site"]);
    assert!(site.look(&["site"]).changes.is_empty());
}

/// R6: the same when the removal of a target was seen and its entry comes back.
#[test]
fn an_entry_that_comes_back_after_its_removal_was_seen_is_purged() {
    let mut site = Site::new();
    site.list("site", "x", "rev:1").list("site", "y", "rev:1");
    site.purge(&["site"]);
    site.unlist("site", "x");
    assert_eq!(kinds(&site.see(&["site"])), [("x", ChangeKind::Removed)]);
    site.list("site", "x", "rev:1");
    assert_eq!(kinds(&site.purge(&["site"])), [("x", ChangeKind::Changed)]);
    assert!(site.look(&["site"]).changes.is_empty());
}

/// S1: what another hash got accepted at some of several caches is not counted for this one.
#[test]
fn acceptances_of_another_hash_do_not_count() {
    let mut site = Site::new();
    site.providers[0] = cluster("a", 2, 2);
    site.list("site", "x", "rev:1");
    let here = endpoint(0).to_string();
    site.run_with(&["site"], None, &ItemOutcome::AcceptedAt(here.clone()));
    assert!(site.look(&["site"]).changes.get(0).accepted_at.contains(&here));
    site.list("site", "x", "rev:2");
    assert!(site.look(&["site"]).changes.get(0).accepted_at.is_empty());
}

/// A forced purge that failed stays forced; one that was accepted is over.
#[test]
fn a_forced_purge_is_due_until_it_is_accepted() {
    let mut site = Site::new();
    site.list("site", "x", "rev:1");
    site.purge(&["site"]);
    site.run_with(&["site"], Some("x"), &later());
    assert_eq!(kinds(&site.look(&["site"])), [("x", ChangeKind::Forced)]);
    site.purge(&["site"]);
    assert!(site.look(&["site"]).changes.is_empty());
}

/// A stale edge has its target purged again for the same content; newer content, the user and a removal come before that.
#[test]
fn what_is_stale_is_due_until_it_is_accepted_or_changes() {
    let mut site = Site::new();
    site.list_many("site", 0..30, "rev:1").list("site", "x", "rev:1");
    site.purge(&["site"]);
    let row = |site: &Site| {
        let rows = site.store.recorded().expect("readable");
        rows.into_iter().find(|row| path(&row.target) == "x").expect("recorded")
    };
    let known = row(&site);
    let hash = known.hash.clone().expect("recorded");
    let stale = SettledProof {
        row: ProofRow::unproven(known.provider.clone(), known.target.clone(), hash.clone()),
        verdict: ProofVerdict::Stale,
        by: None,
        probed_at: Some(START),
        due: None,
        seen: None,
        repurges: 0,
        variants: Vec::new(),
        mark_stale: Some("stale at 127.0.0.1".into()),
    };
    assert_eq!(site.store.settle_proofs(&[stale], START).expect("settled"), 0);
    let difference = site.look(&["site"]);
    assert_eq!(kinds(&difference), [("x", ChangeKind::Stale)]);
    let change = difference.changes.get(0);
    assert_eq!((change.desired, change.recorded), (Some(hash.clone()), Some(hash)));
    assert!(difference.changes.is_admitted(0), "guards let it through once");
    assert!(!difference.changes.has_failed(0), "its provider did what it was asked for");
    let (_, forced) = site.look_with(&["site"], &Unread::default(), Some("x"));
    assert_eq!(kinds(&forced), [("x", ChangeKind::Forced)]);
    site.list("site", "x", "rev:2");
    assert_eq!(kinds(&site.look(&["site"])), [("x", ChangeKind::Changed)]);
    site.unlist("site", "x");
    assert_eq!(kinds(&site.look(&["site"])), [("x", ChangeKind::Removed)]);
    site.list("site", "x", "rev:1");
    site.run_with(&["site"], None, &later());
    assert_eq!(kinds(&site.look(&["site"])), [("x", ChangeKind::Stale)]);
    site.purge(&["site"]);
    assert!(site.look(&["site"]).changes.is_empty() && row(&site).work.is_none());
}

/// S5: what failed is asked about with one target first, also once it is to become something else or to go.
#[test]
fn what_failed_is_not_trusted_more_for_another_hash() {
    let mut site = Site::new();
    site.list_many("site", 0..50, "rev:1");
    site.purge(&["site"]);
    site.list_many("site", 0..50, "rev:2");
    let calls = |site: &Site| {
        let (model, difference) = site.look_with(&["site"], &Unread::default(), None);
        plan_of(&model, &difference.changes, site.now).calls()
    };
    assert_eq!(calls(&site), 1);
    site.run_with(&["site"], None, &ItemOutcome::Later(Some("HTTP 502".to_owned())));
    assert_eq!(calls(&site), 3, "1, 10 and 39");
    site.list_many("site", 0..50, "rev:3");
    assert_eq!(calls(&site), 3);
    site.see(&["site"]);
    assert_eq!(calls(&site), 3, "also after another look");
    for number in 0..50 {
        site.unlist("site", &format!("{number:04}"));
    }
    assert_eq!(calls(&site), 3);
    site.see(&["site"]);
    assert_eq!(calls(&site), 3);
}

// --- Rejected -------------------------------------------------------------------------------------------------------

/// R11, L3: a refusal holds until the hash, the configuration or the user changes something.
#[test]
fn what_was_refused_is_not_sent_again_until_something_changes() {
    let rejected_site = || {
        let mut site = Site::new();
        site.list("site", "x", "rev:1");
        site.run_with(&["site"], None, &refused());
        site
    };
    let due = |site: &Site, force: Option<&str>| {
        let (model, difference) = site.look_with(&["site"], &Unread::default(), force);
        let plan = plan_of(&model, &difference.changes, site.now);
        (plan.targets(), plan.rejected.len())
    };
    let mut site = rejected_site();
    assert_eq!(due(&site, None), (0, 1), "kept and shown");
    site.see(&["site"]);
    assert_eq!(due(&site, None), (0, 1), "however often it is looked at");
    assert_eq!(due(&site, Some("x")), (1, 0), "the user insists");
    site.digest = "config 2";
    assert_eq!(due(&site, None), (1, 0), "the configuration changed");
    let mut site = rejected_site();
    site.list("site", "x", "rev:2");
    assert_eq!(due(&site, None), (1, 0), "the content changed");
}

/// The same for the purge of a removed target.
#[test]
fn a_refused_removal_stays_refused_until_something_changes() {
    let mut site = Site::new();
    site.list("site", "x", "rev:1").list("site", "y", "rev:1");
    site.purge(&["site"]);
    site.unlist("site", "x");
    site.run_with(&["site"], None, &refused());
    let (model, difference) = site.look_with(&["site"], &Unread::default(), None);
    assert_eq!(plan_of(&model, &difference.changes, site.now).rejected, [0]);
    site.digest = "config 2";
    let (model, difference) = site.look_with(&["site"], &Unread::default(), None);
    assert_eq!(plan_of(&model, &difference.changes, site.now).targets(), 1);
}

// --- New and removed ------------------------------------------------------------------------------------------------

/// R7: an entry that goes away before it was ever purged is dropped, and the drop is shown.
#[test]
fn what_is_removed_before_it_was_purged_is_dropped() {
    let mut site = Site::new();
    site.list("site", "x", "rev:1").list("site", "y", "rev:1");
    site.see(&["site"]);
    site.unlist("site", "x");
    let difference = site.see(&["site"]);
    assert_eq!(difference.dropped, [("a".to_owned(), target("x"))]);
    assert_eq!((kinds(&difference), site.row("x")), (vec![("y", ChangeKind::New)], None));
}

/// R7, C2: a call without an outcome may have purged it, and visitors may have had it cached since. Nothing recorded is lost.
#[test]
fn what_may_have_been_purged_is_purged_as_removed_and_is_no_loss() {
    let mut site = Site::new();
    site.list_many("site", 0..12, "rev:1");
    site.see(&["site"]);
    let (model, difference) = site.look_with(&["site"], &Unread::default(), None);
    let items = (0..12).collect();
    let records =
        [Record::Intent { call: CallId(1), operation: "purge", items, debit: None, purge: PurgeId::default() }];
    let (changes, grounds) = (&difference.changes, &["config 1".to_owned(), String::new()]);
    let commit = Commit {
        records: &records,
        changes,
        providers: &model.provider_keys(),
        grounds,
        owes: &HashMap::new(),
        at: START,
    };
    site.store.commit(99, &commit).expect("committed");
    for number in 0..12 {
        site.unlist("site", &format!("{number:04}"));
    }
    let difference = site.look(&["site"]);
    assert_eq!((difference.changes.len(), difference.dropped.len(), &difference.removals[..]), (12, 0, &[][..]));
    let removals = difference.changes.iter();
    assert!(removals.map(|change| (change.kind, change.recorded)).all(|it| it == (ChangeKind::Removed, None)));
    let plan = plan_of(&site.model(&["site"]), &difference.changes, START);
    assert!(guard::check(&site.model(&["site"]), &difference, &plan, false, Allowed::default()).is_empty());
    // A provider that is gone is not asked, and what it was to purge is named.
    let providers = std::mem::replace(&mut site.providers, vec![config("c", "tencent-cdn")]);
    let alone = site.see(&["site"]);
    assert_eq!(alone.orphans, [Orphans { provider: "a".into(), targets: 12, pending: 12 }]);
    assert!(alone.changes.is_empty() && alone.left_alone.is_empty() && alone.dropped.is_empty());
    site.providers = providers;
    site.run_with(&["site"], None, &later());
    assert_eq!(site.look(&["site"]).changes.len(), 12, "a removal that failed stays one");
    assert_eq!((site.purge(&["site"]).changes.len(), site.row("0000")), (12, None));
}

/// R7: a recorded target whose changed content waits is purged once as a removal, with the age of the change.
#[test]
fn what_is_removed_while_its_change_waits_is_purged_once() {
    let mut site = Site::new();
    site.list("site", "x", "rev:1").list("site", "y", "rev:1");
    site.purge(&["site"]);
    site.list("site", "x", "rev:2");
    site.see(&["site"]);
    site.unlist("site", "x");
    site.now = START.plus_ms(60_000);
    let difference = site.purge(&["site"]);
    assert_eq!((kinds(&difference), difference.changes.get(0).since), (vec![("x", ChangeKind::Removed)], START));
    assert_eq!(site.row("x"), None);
    assert!(site.look(&["site"]).changes.is_empty());
}

#[test]
fn new_targets_are_recorded_without_a_purge_where_the_manifest_says_so() {
    let mut site = Site::new();
    site.list("site", "x", "rev:1").manifest("site").on_new = OnNew::Adopt;
    let difference = site.see(&["site"]);
    assert_eq!((difference.adopt.len(), difference.changes.len()), (1, 0));
    assert_eq!(site.row("x").and_then(|row| row.hash), Some(ContentHash::from_canonical("rev:1")));
    assert!(!site.store.is_first_run().expect("readable"));
    // Only what is new: a change is purged.
    site.list("site", "x", "rev:2");
    assert_eq!(kinds(&site.look(&["site"])), [("x", ChangeKind::Changed)]);
    // A manifest that wants a purge wins.
    site.list("site", "y", "rev:1").list("other", "y", "rev:1");
    assert_eq!(kinds(&site.look(&["site", "other"])), [("x", ChangeKind::Changed), ("y", ChangeKind::New)]);
}

#[test]
fn removed_targets_are_forgotten_where_the_manifest_says_so() {
    let mut site = Site::new();
    site.list("site", "x", "rev:1").list("site", "y", "rev:1").manifest("site").on_removed = OnRemoved::Forget;
    site.purge(&["site"]);
    site.unlist("site", "x");
    let difference = site.see(&["site"]);
    assert_eq!(difference.forget, [("a".to_owned(), target("x"))]);
    assert!(difference.changes.is_empty() && site.row("x").is_none());
}

// --- Several manifests ----------------------------------------------------------------------------------------------

/// R5, S4: a target of two manifests is one target, and stays while one of them lists it.
#[test]
fn a_target_stays_while_one_manifest_lists_it() {
    let mut site = Site::new();
    site.list("m1", "x", "rev:1").list("m2", "x", "rev:1").list("m2", "y", "rev:1");
    assert_eq!(site.purge(&["m1", "m2"]).changes.len(), 2);
    assert_eq!(site.row("x").expect("recorded").owners, ["m1", "m2"]);
    assert!(site.look(&["m1"]).owners.is_empty(), "a run over one of them forgets the other");
    site.unlist("m2", "x");
    // A run over the one that dropped it must not speak for the other.
    let alone = site.look(&["m2"]);
    assert_eq!(alone.owners, [("a".to_owned(), target("x"), vec!["m1".to_owned()])]);
    assert!(alone.changes.is_empty() && alone.forget.is_empty());
    site.see(&["m1", "m2"]);
    assert_eq!(site.row("x").expect("recorded").owners, ["m1"]);
    // Once the last one drops it, it goes.
    site.unlist("m1", "x");
    assert_eq!(kinds(&site.look(&["m1", "m2"])), [("x", ChangeKind::Removed)]);
}

/// S4: a run over one manifest leaves the targets of the others alone.
#[test]
fn a_run_over_one_manifest_leaves_the_others_alone() {
    let mut site = Site::new();
    site.list("m1", "x", "rev:1").list("m2", "y", "rev:1").list("m2", "z", "rev:1");
    site.purge(&["m1", "m2"]);
    site.list("m2", "y", "rev:2").unlist("m2", "z");
    let difference = site.look(&["m1"]);
    assert!(difference.changes.is_empty() && difference.owners.is_empty());
    assert_eq!(difference.removals, [Removals::new("m1".to_owned(), 1, 0)]);
    assert_eq!(kinds(&site.look(&["m2"])), [("y", ChangeKind::Changed), ("z", ChangeKind::Removed)]);
}

/// A manifest that is gone takes its targets along, under its own rule.
#[test]
fn a_vanished_manifest_removes_its_targets() {
    for on_removed in [OnRemoved::Purge, OnRemoved::Forget] {
        let mut site = Site::new();
        site.list("m1", "x", "rev:1").list("m2", "x", "rev:1").list("m2", "y", "rev:1");
        site.purge(&["m1", "m2"]);
        let (root, path) = (Some("/site".into()), "manifests/m2.yaml".into());
        let vanished = KnownManifest { name: "m2".into(), namespace: None, root, path, links: Vec::new(), on_removed };
        let unread = Unread { spoken_for: vec![vanished], ..Unread::default() };
        let (_, difference) = site.look_with(&["m1"], &unread, None);
        assert_eq!(difference.owners, [("a".to_owned(), target("x"), vec!["m1".to_owned()])]);
        let goes = [("a".to_owned(), target("y"))];
        match on_removed {
            OnRemoved::Purge => assert_eq!(kinds(&difference), [("y", ChangeKind::Removed)]),
            OnRemoved::Forget => assert_eq!((&difference.forget[..], difference.changes.len()), (&goes[..], 0)),
        }
        let gone = Removals { forgotten: on_removed == OnRemoved::Forget, ..Removals::new("m2".to_owned(), 2, 1) };
        assert_eq!(difference.removals, [Removals::new("m1".to_owned(), 1, 0), gone]);
    }
}

/// S4, L2: targets of a provider that nobody configures any more are counted and left alone.
#[test]
fn targets_of_an_unknown_provider_are_left_alone() {
    let mut site = Site::new();
    site.list_at(1, "site", "x", "rev:1", Priority::Normal).list("site", "y", "rev:1");
    site.purge(&["site"]);
    site.manifest("site").assets.retain(|(provider, _), _| *provider == 0);
    site.providers.truncate(1);
    let difference = site.look(&["site"]);
    assert_eq!(
        (difference.orphans, difference.changes.len()),
        (vec![Orphans { provider: "b".to_owned(), targets: 1, pending: 0 }], 0)
    );
}

/// L3: a target that its provider can no longer purge, having become of another kind, is counted, not kept pending.
#[test]
fn targets_that_a_provider_can_no_longer_purge_are_left_alone() {
    let mut site = Site::new();
    site.list("site", "x", "rev:1");
    site.purge(&["site"]);
    let mut row = site.row("x").expect("recorded");
    row.target = Target::asset_id("f488337c31c8e4622f1590735b134c65");
    let provider = row.provider.clone();
    site.store.import(&[row]).expect("imported");
    let difference = site.look(&["site"]);
    assert_eq!((difference.orphans, difference.changes.len()), (vec![Orphans { provider, targets: 1, pending: 0 }], 0));
}

// --- Order and batches ----------------------------------------------------------------------------------------------

/// L2: what failed before goes last within its priority, so that targets that a vendor refuses keep no others from it.
#[test]
fn what_failed_goes_after_what_was_not_sent_yet() {
    let mut site = Site::new();
    site.list("site", "bad", "rev:1");
    site.run_with(&["site"], None, &ItemOutcome::Later(Some("HTTP 400".into())));
    site.now = START.plus_ms(1000);
    site.list("site", "good", "rev:1");
    site.list_at(0, "site", "low", "rev:1", Priority::Low);
    let (model, difference) = site.look_with(&["site"], &Unread::default(), None);
    let plan = plan_of(&model, &difference.changes, site.now);
    let changes = plan.jobs.iter().flat_map(|job| job.batches.iter()).flat_map(|batch| batch.changes);
    let names: Vec<String> = changes.map(|index| path(&difference.changes.target(index)).to_owned()).collect();
    assert_eq!(names, ["good", "bad", "low"]);
}

/// Quota that is short goes to high priority first, within one priority to the oldest change.
#[test]
fn high_priority_goes_first_and_then_the_oldest() {
    let mut site = Site::new();
    site.list("site", "old", "rev:1").list_at(0, "site", "old low", "rev:1", Priority::Low);
    site.see(&["site"]);
    site.now = START.plus_ms(1000);
    site.list("site", "a new", "rev:1").list("site", "b new", "rev:1");
    site.list_at(0, "site", "new high", "rev:1", Priority::High);
    site.providers[0].limits = Limits { urls_per_day: Some(3), ..Limits::default() };
    let (model, difference) = site.look_with(&["site"], &Unread::default(), None);
    let plan = plan_of(&model, &difference.changes, site.now);
    let names = |indexes: &[usize]| -> Vec<String> {
        indexes.iter().map(|&index| path(&difference.changes.target(index)).to_owned()).collect()
    };
    assert_eq!(names(&plan.jobs[0].batches.iter().next().expect("a batch").changes), ["new high", "old", "a new"]);
    assert_eq!(names(&plan.jobs[0].over_quota.iter().collect::<Vec<_>>()), ["b new", "old low"]);
    assert_eq!(plan.jobs[0].days, 2);
}

/// S5: what the ledger holds is not planned again; unselected and waiting changes are told apart.
#[test]
fn the_plan_keeps_to_the_ledger_and_to_what_was_selected() {
    let mut site = Site::new();
    site.list_many("site", 0..30, "rev:1");
    let (model, difference) = site.look_with(&["site"], &Unread::default(), None);
    let only = |_: usize, target: &Target| path(target) < "0020";
    let plan = plan_with(
        &model,
        &difference.changes,
        site.now,
        &|key| if key.area.is_empty() { 9_995 } else { 0 },
        Some(&only),
    );
    assert_eq!((plan.targets(), plan.jobs[0].over_quota.len(), plan.unselected.len()), (5, 15, 10));
    let plan = plan_with(&model, &difference.changes, site.now, &|_| u64::MAX, None);
    assert_eq!((plan.targets(), plan.jobs[0].over_quota.len()), (0, 30), "a ledger beyond the limit leaves nothing");
}

/// S5: URLs and asset ids of one account draw on one quota, also when the ledger is beyond any limit.
#[test]
fn scopes_of_one_operation_share_the_quota() {
    let model = Model { providers: vec![config("media", "huawei-vod")], ..Model::default() };
    let mut changes: Vec<Change> = (0..700).map(|number| change(0, &url(number))).collect();
    changes
        .extend((0..700).map(|number| Change { target: Target::asset_id(format!("{number:032}")), ..change(0, "") }));
    let changes = Changes::from_iter(changes);
    let targets = |used: u64| plan_with(&model, &changes, START, &|_| used, None).targets();
    assert_eq!((targets(0), targets(900), targets(1000), targets(u64::MAX)), (1000, 100, 0, 0));
}

/// T3: a deferral without a ledger is waited for; with one the ledger decides.
#[test]
fn a_deferral_holds_where_no_ledger_is_kept() {
    for (provider, waiting) in [(cluster("a", 1, 1), 1), (config("a", "tencent-cdn"), 0)] {
        let mut site = Site::new();
        site.providers[0] = provider;
        site.list("site", "x", "rev:1");
        let (model, mut difference) = site.look_with(&["site"], &Unread::default(), None);
        let until = START.plus_ms(1000);
        let (reason, config) = ("quota".to_owned(), "config 1".to_owned());
        let standing = Standing::Deferred { until, reason, wait: Wait::Quota, config };
        let deferred = difference.changes.iter().map(|change| Change { standing: standing.clone(), ..change });
        difference.changes = Arc::new(deferred.collect());
        assert_eq!(plan_of(&model, &difference.changes, START).waiting.len(), waiting);
        assert_eq!(plan_of(&model, &difference.changes, until).targets(), 1, "its time has come");
    }
}

/// R17: only the endpoints that have not accepted are planned; a change of the endpoints starts anew.
#[test]
fn only_missing_endpoints_are_planned() {
    let mut site = Site::new();
    site.providers[0] = cluster("a", 3, 3);
    site.list("site", "x", "rev:1");
    for number in [0, 2] {
        site.run_with(&["site"], None, &ItemOutcome::AcceptedAt(endpoint(number).to_string()));
    }
    let endpoints = |site: &Site| -> Vec<usize> {
        let (model, difference) = site.look_with(&["site"], &Unread::default(), None);
        let plan = plan_of(&model, &difference.changes, site.now);
        plan.jobs[0].batches.iter().map(|batch| batch.endpoint).collect()
    };
    assert_eq!(endpoints(&site), [1]);
    site.list("site", "y", "rev:1");
    let (model, difference) = site.look_with(&["site"], &Unread::default(), None);
    let plan = plan_of(&model, &difference.changes, site.now);
    assert_eq!((plan.targets(), plan.purges()), (2, 1 + 3), "one for each endpoint");
    site.unlist("site", "y");
    site.providers[0].require = Some(2);
    assert_eq!(endpoints(&site), [0, 1, 2], "enough accepted it, and it was not recorded: start anew");
    site.run_with(&["site"], None, &ItemOutcome::AcceptedAt(endpoint(0).to_string()));
    assert_eq!(endpoints(&site), [1, 2], "once");
    site.providers[0].endpoints = vec![endpoint(7), endpoint(1), endpoint(2)].into();
    assert_eq!(endpoints(&site), [0, 1, 2], "another address is another cache");
    site.see(&["site"]);
    assert_eq!(site.row("x").and_then(|row| row.work).expect("work").accepted_at, Vec::<String>::new(), "forgotten");
}

/// What the guards of all manifests say.
fn check(difference: &Difference, first_run: bool, allowed: Allowed) -> Vec<Refusal> {
    guard::check(&Model::default(), difference, &Plan::default(), first_run, allowed)
}

// --- Guards ---------------------------------------------------------------------------------------------------------

/// C11: a first run above 100 purges needs a word from the user.
#[test]
fn a_first_run_is_refused_above_a_hundred_purges() {
    let mut site = Site::new();
    site.list_many("site", 0..100, "rev:1");
    assert_eq!(check(&site.look(&["site"]), true, Allowed::default()), []);
    site.list("site", "one more", "rev:1");
    let difference = site.look(&["site"]);
    assert_eq!(check(&difference, true, Allowed::default()), [Refusal::FirstRun { purges: 101 }]);
    assert_eq!(check(&difference, true, Allowed { purge_all: true, ..Allowed::default() }), []);
    assert_eq!(check(&difference, false, Allowed::default()), [], "it is no first run");
    // What was seen leaves the first run a first run.
    site.see(&["site"]);
    assert_eq!(check(&site.look(&["site"]), true, Allowed::default()), [Refusal::FirstRun { purges: 101 }]);
    // What was let through and failed goes on, until it is another content.
    site.run_with(&["site"], None, &later());
    assert!(site.store.is_first_run().expect("readable"));
    assert_eq!(check(&site.look(&["site"]), true, Allowed::default()), []);
    site.list_many("site", 0..100, "rev:2").list("site", "one more", "rev:2");
    assert_eq!(check(&site.look(&["site"]), true, Allowed::default()), [Refusal::FirstRun { purges: 101 }]);
}

/// C11: removals above 30 % of a manifest and above 10 need a word from the user, once.
#[test]
fn mass_removals_are_refused_once() {
    let mut site = Site::new();
    site.list_many("site", 0..40, "rev:1").list_many("other", 100..300, "rev:1");
    site.purge(&["site", "other"]);
    for number in 0..12 {
        site.unlist("site", &format!("{number:04}"));
    }
    assert_eq!(check(&site.look(&["site", "other"]), false, Allowed::default()), [], "30 % are let through");
    site.unlist("site", "0012");
    let difference = site.look(&["site", "other"]);
    let refusal = Refusal::Removals { manifest: "site".into(), recorded: 40, removed: 13, earlier: 0 };
    assert_eq!(check(&difference, false, Allowed::default()), [refusal], "large manifests beside do not hide it");
    assert_eq!(check(&difference, false, Allowed { removals: true, ..Allowed::default() }), []);
    // Let through once and cut short: the rest is not refused again.
    site.run_with(&["site", "other"], None, &later());
    let difference = site.look(&["site", "other"]);
    assert_eq!(difference.changes.len(), 13);
    assert_eq!(check(&difference, false, Allowed::default()), []);
}

/// C11: a manifest's own limits count the purges that the run would send, and the user's word takes their place.
#[test]
fn a_manifests_guard_counts_its_own_purges() {
    let mut site = Site::new();
    site.list_many("site", 0..40, "rev:1").list_many("other", 100..300, "rev:1");
    site.purge(&["site", "other"]);
    site.list_many("site", 0..10, "rev:2").list_many("site", 50..55, "rev:1").list_many("other", 100..300, "rev:2");
    let refusals = |site: &Site, allowed, selected: Option<&Selected<'_>>| {
        let (model, difference) = site.look_with(&["site", "other"], &Unread::default(), None);
        let plan = plan_with(&model, &difference.changes, site.now, &|_| 0, selected);
        guard::check(&model, &difference, &plan, false, allowed)
    };
    site.manifest("site").guard = Guard { max_purges: Some(15), max_share: Some(25), max_removed: None };
    assert_eq!(refusals(&site, Allowed::default(), None), [], "as many as allowed; new targets are no recorded ones");
    site.manifest("site").guard = Guard { max_purges: Some(14), max_share: Some(24), max_removed: None };
    let name = || "site".to_owned();
    assert_eq!(
        refusals(&site, Allowed::default(), None),
        [
            Refusal::Purges { manifest: name(), purges: 15, later: 0, most: 14 },
            Refusal::Share { manifest: name(), recorded: 40, purged: 10, purges: 15, later: 0, most: 24 },
        ]
    );
    let allowed = |most| Allowed { max_purges: Some(most), ..Allowed::default() };
    assert_eq!(refusals(&site, allowed(200), None), []);
    let asked = Refusal::Asked { manifest: "other".into(), purges: 200, most: 15 };
    assert_eq!(refusals(&site, allowed(15), None), [asked], "it is a limit for manifests without a guard, too");
    let few = |_: usize, target: &Target| target.text.ends_with("0001");
    assert_eq!(refusals(&site, Allowed::default(), Some(&few)), [], "what is left out is not sent");
}

/// C11: `max_removed` is the manifest's own limit, stricter or looser than that of all.
#[test]
fn a_manifests_guard_limits_its_removals() {
    let mut site = Site::new();
    site.list_many("site", 0..40, "rev:1");
    site.purge(&["site"]);
    for number in 0..13 {
        site.unlist("site", &format!("{number:04}"));
    }
    for (most, is_refused) in
        [(Limit::Number(12), true), (Limit::Number(13), false), (Limit::Percent(32), true), (Limit::Percent(33), false)]
    {
        site.manifest("site").guard = Guard { max_removed: Some(most), ..Guard::default() };
        let (model, difference) = site.look_with(&["site"], &Unread::default(), None);
        let refusal = Refusal::GuardedRemovals { manifest: "site".into(), recorded: 40, removed: 13, earlier: 0, most };
        let refusals = |allowed| guard::check(&model, &difference, &Plan::default(), false, allowed);
        assert_eq!(refusals(Allowed::default()), if is_refused { vec![refusal] } else { Vec::new() }, "{most}");
        assert_eq!(refusals(Allowed { removals: true, ..Allowed::default() }), []);
    }
}

/// D4, C11: a manifest that turned up empty is refused; where removals are only forgotten, if its guard limits them.
#[test]
fn an_emptied_manifest_is_refused() {
    let refusals = |on_removed: OnRemoved, max_removed: Option<Limit>| {
        let mut site = Site::new();
        site.list_many("site", 0..20, "rev:1").manifest("site").on_removed = on_removed;
        site.manifest("site").guard.max_removed = max_removed;
        site.purge(&["site"]);
        site.manifest("site").assets.clear();
        let (model, difference) = site.look_with(&["site"], &Unread::default(), None);
        guard::check(&model, &difference, &Plan::default(), false, Allowed::default())
    };
    let (manifest, recorded, removed, earlier) = (|| "site".to_owned(), 20, 20, 0);
    let refusal = Refusal::Removals { manifest: manifest(), recorded, removed, earlier };
    assert_eq!(refusals(OnRemoved::Purge, None), [refusal]);
    assert_eq!(refusals(OnRemoved::Forget, None), [], "nothing is sent");
    let most = Limit::Percent(30);
    let guarded = Refusal::GuardedRemovals { manifest: manifest(), recorded, removed, earlier, most };
    for on_removed in [OnRemoved::Purge, OnRemoved::Forget] {
        assert_eq!(refusals(on_removed, Some(most)), std::slice::from_ref(&guarded));
    }
}

// --- Any history ----------------------------------------------------------------------------------------------------

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    // S1, S2, S4, L1: through any history of listings and runs each entry is unchanged, due or adopted, nothing that
    // is not listed is due except as a removal, and a run in which all is accepted leaves nothing to do.
    #[test]
    fn any_history_converges(steps in prop::collection::vec((0usize..8, 0usize..4, 0usize..6), 1..40)) {
        let mut site = Site::new();
        let (hashes, manifests) = (["rev:1", "rev:2", "rev:3"], ["m1", "m2"]);
        site.list("m1", "0", "rev:1").list("m2", "0", "rev:1");
        for (what, which, how) in steps {
            let (name, page) = (manifests[which % 2], which.to_string());
            match what {
                0..=2 => {
                    // The same content wherever it is listed, as the manifest check demands.
                    let hash = hashes[how % 3];
                    for manifest in manifests {
                        if manifest == name || site.manifest(manifest).assets.contains_key(&(0, page.clone())) {
                            site.list(manifest, &page, hash);
                        }
                    }
                }
                3 => drop(site.manifest(name).assets.remove(&(0, page))),
                4 => drop(site.see(&manifests)),
                5 => drop(site.see(&[name])),
                6 => drop(site.run_with(&manifests, None, [later(), refused()][how % 2..][..1].first().expect("one"))),
                _ => drop(site.purge(&[name])),
            }
            site.now = site.now.plus_ms(1000);
            let (model, difference) = site.look_with(&manifests, &Unread::default(), None);
            let due = difference.changes.iter().filter(|change| change.desired.is_some()).count();
            prop_assert_eq!(due + difference.unchanged + difference.adopt.len(), model.entries.len());
            for change in difference.changes.iter() {
                let listed = model.entries.iter().any(|entry| entry.target == change.target);
                prop_assert_eq!(listed, change.kind != ChangeKind::Removed);
            }
        }
        site.digest = "config 2";
        site.purge(&manifests);
        let (model, difference) = site.look_with(&manifests, &Unread::default(), None);
        prop_assert!(difference.changes.is_empty(), "{:?}", kinds(&difference));
        prop_assert_eq!(site.store.recorded().expect("readable").len(), model.entries.len());
    }
}
