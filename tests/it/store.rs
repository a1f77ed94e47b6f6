//! What a run relies on in a store: one suite for every store behind the trait.

mod file;
#[cfg(unix)]
mod flips;
mod proof;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use freshen::core::changes::Change;
use freshen::core::changes::Changes;
use freshen::core::diff::Difference;
use freshen::core::entries::Entries;
use freshen::core::event::{CallId, ItemOutcome, Left, PurgeId, Record};
use freshen::core::model::{Entry, Location, Manifest, Matched, Model, OnRemoved, Priority, TreePath};
use freshen::core::owners::Unread;
use freshen::core::plan::QuotaKey;
use freshen::core::query::TaskState;
use freshen::core::recorded::{ChangeKind, Inputs, KnownManifest, Progress, Recorded, Standing, Wait, Work};
use freshen::core::target::{ContentHash, Scope, Target};
use freshen::core::time::Timestamp;
use freshen::state::{Commit, Counts, DoubtfulCall, Identity, OpenTask, QuotaUse, RunStart, Settled, SqliteStore};
use freshen::state::{StateError, Store, TaskCounts};
use proptest::prelude::*;

use crate::support::world::{START, change, cluster, config, endpoint, url};

type Boxed = Box<dyn Store>;

/// A store that the suite runs against: how it is made and opened again.
struct Kind {
    name: &'static str,
    create: fn(&Path) -> Result<Boxed, StateError>,
    open: fn(&Path) -> Result<Option<Boxed>, StateError>,
}

/// Every store. A new one joins here.
const KINDS: [Kind; 1] = [Kind {
    name: "sqlite",
    create: |path| Ok(Box::new(SqliteStore::create(path, "lineage")?)),
    open: |path| Ok(SqliteStore::open(path)?.map(|store| Box::new(store) as Boxed)),
}];

/// A store in a folder of its own, and what a run over one provider needs.
struct Bench {
    kind: &'static Kind,
    folder: tempfile::TempDir,
    store: Boxed,
    model: Model,
    digests: Vec<String>,
}

/// Runs a claim against every store.
fn each_store(claim: impl Fn(&mut Bench)) {
    for kind in &KINDS {
        let mut bench = Bench::new(kind);
        claim(&mut bench);
        // Whatever was written, its rows add up.
        bench.reopen();
    }
}

impl Bench {
    fn new(kind: &'static Kind) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = (kind.create)(&folder.path().join("state.db")).expect(kind.name);
        let manifest = Manifest {
            name: "site".into(),
            path: "manifests/site.yaml".into(),
            tree: TreePath {
                root: "/site".into(),
                path: "manifests/site.yaml".into(),
                link: Some("/etc/site.yaml".into()),
            },
            on_removed: OnRemoved::Forget,
            ..Manifest::default()
        };
        let providers = vec![config("a", "tencent-cdn"), cluster("b", 2, 2)];
        let model =
            Model { providers, manifests: vec![manifest], entries: Entries::default(), proof_terms: Vec::new() };
        Self { kind, folder, store, model, digests: vec!["digest a".into(), "digest b".into()] }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("state.db")
    }

    /// Ends the process and starts it again.
    fn reopen(&mut self) {
        let path = self.path();
        // The old connection has to be gone before the new one comes.
        self.store = (self.kind.create)(&self.folder.path().join("other.db")).expect("another state");
        // Without its seal it is looked through.
        let _ = std::fs::remove_file(self.folder.path().join("state.db.seal"));
        self.store = (self.kind.open)(&path).expect("readable").expect("there");
    }

    fn mark(&mut self, changes: &[Change]) {
        let noted = self.model.manifests.iter().map(KnownManifest::of).collect();
        let difference = Difference { changes: table(changes).into(), noted, ..Difference::default() };
        self.store.mark(&self.model, &difference, START).expect("marked");
    }

    /// What earlier runs recorded of the targets of these changes.
    fn know(&mut self, changes: &[Change]) {
        let row = |change: &Change| {
            Some(Recorded {
                provider: self.model.providers[change.provider].name.clone(),
                target: change.target.clone(),
                owners: vec!["site".into()],
                hash: Some(change.recorded.clone()?),
                left_alone: false,
                recorded_at: Some(START),
                task_id: Some("task before".into()),
                work: None,
            })
        };
        let rows: Vec<Recorded> = changes.iter().filter_map(row).collect();
        self.store.import(&rows).expect("imported");
    }

    fn commit(&mut self, run: i64, changes: &[Change], records: &[Record]) {
        self.commit_owing(run, changes, records, &HashMap::new()).expect("committed");
    }

    /// Some of the changes ask for proof.
    fn commit_owing(
        &mut self,
        run: i64,
        changes: &[Change],
        records: &[Record],
        owes: &HashMap<usize, i64>,
    ) -> Result<(), StateError> {
        let changes = &table(changes);
        let providers = &self.model.provider_keys();
        let commit = Commit { records, changes, providers, grounds: &self.digests, owes, at: START.plus_ms(5) };
        self.store.commit(run, &commit)
    }

    fn begin(&mut self) -> i64 {
        let start = RunStart { at: START, host: "builder".into(), pid: 7 };
        self.store.begin_run(&start, &[("a".into(), "account of a".into())], &[]).expect("begun")
    }

    fn rows(&self) -> Vec<Recorded> {
        self.store.recorded().expect("readable")
    }

    fn row(&self, text: &str) -> Recorded {
        self.rows().into_iter().find(|row| row.target.text == text).expect(text)
    }

    fn work(&self, text: &str) -> Work {
        self.row(text).work.expect("work is left")
    }

    fn serial(&self) -> i64 {
        self.store.identity().expect("readable").serial
    }
}

fn urls(count: usize) -> Vec<Change> {
    (0..count).map(|number| change(0, &url(number))).collect()
}

/// The changes as a run holds them.
fn table(changes: &[Change]) -> Changes {
    changes.iter().cloned().collect()
}

/// A difference of these changes alone.
fn of_changes(changes: &[Change]) -> Difference {
    Difference { changes: table(changes).into(), ..Difference::default() }
}

fn intent(call: u64, items: &[usize]) -> Record {
    Record::Intent {
        call: CallId(call),
        operation: "purge",
        items: items.to_vec(),
        debit: None,
        purge: PurgeId::default(),
    }
}

fn outcome(call: u64, items: &[usize], outcome: &ItemOutcome) -> Record {
    let items = items.iter().map(|&index| (index, outcome.clone())).collect();
    Record::Outcome {
        call: CallId(call),
        at: START.plus_ms(9),
        items,
        may_have_purged: true,
        left_out: Vec::new(),
        credit: None,
    }
}

fn not_carried_out(call: u64, items: &[usize]) -> Record {
    let items = items.iter().map(|&index| (index, ItemOutcome::Later(Some("refused".to_owned())))).collect();
    Record::Outcome {
        call: CallId(call),
        at: START.plus_ms(9),
        items,
        may_have_purged: false,
        left_out: Vec::new(),
        credit: None,
    }
}

fn accepted() -> ItemOutcome {
    ItemOutcome::Recorded { task_id: Some("task 1".into()) }
}

fn key(day: &str) -> QuotaKey {
    let (account, area) = ("account of a".into(), "mainland".into());
    QuotaKey { account, operation: "PurgeUrlsCache", area, day: day.into(), offset_minutes: 480 }
}

// --- The suite ------------------------------------------------------------------------------------------------------

/// C11: a store that was just made knows nothing, and says so.
#[test]
fn a_new_store_is_a_first_run() {
    each_store(|bench| {
        assert!(bench.store.is_first_run().unwrap());
        assert_eq!(bench.store.identity().unwrap(), Identity { lineage: "lineage".into(), serial: 0 });
        assert!(bench.rows().is_empty() && bench.store.manifests().unwrap().is_empty());
        assert!(bench.store.runs(10).unwrap().is_empty() && bench.store.quota_uses().unwrap().is_empty());
        assert_eq!(bench.store.account_of("a").unwrap(), None);
        assert!(bench.store.doubtful_calls().unwrap().is_empty());
    });
}

/// S2: a change that was marked comes back as it was, whatever its kind and standing, after a restart too.
#[test]
fn what_was_marked_comes_back_as_it_was() {
    each_store(|bench| {
        let standings = [
            Standing::fresh(),
            Standing::Pending { reason: Some("HTTP 503".into()) },
            Standing::Deferred {
                until: START.plus_ms(1),
                reason: "quota".into(),
                wait: Wait::Quota,
                config: "digest a".into(),
            },
            Standing::Deferred {
                until: START.plus_ms(1),
                reason: "off line".into(),
                wait: Wait::Host { times: 3 },
                config: "digest a".into(),
            },
            Standing::Rejected { reason: "not yours".into(), config: "digest a".into() },
        ];
        let mut changes = Vec::new();
        for (number, standing) in standings.iter().cycle().take(30).enumerate() {
            let kind = ChangeKind::ALL[number / 4 % 5];
            let scope = Scope::ALL[number % 3];
            let removed = kind == ChangeKind::Removed;
            changes.push(Change {
                target: Target { scope, text: url(number) },
                desired: (!removed).then(|| ContentHash::from_canonical("rev:2")),
                recorded: (kind != ChangeKind::New).then(|| ContentHash::from_canonical("rev:1")),
                kind,
                priority: [Priority::High, Priority::Normal, Priority::Low][number % 3],
                standing: standing.clone(),
                progress: Progress::ALL[number % 3],
                accepted_at: (0..number % 3).map(|at| format!("http://127.0.0.1:{at}")).collect(),
                owners: vec!["a \"quoted\" name".into(), "site".into()],
                ..change(number % 2, "")
            });
        }
        bench.know(&changes);
        bench.mark(&changes);
        bench.reopen();
        let rows = bench.rows();
        assert_eq!(rows.len(), changes.len());
        for change in &changes {
            let row = rows.iter().find(|row| row.target == change.target).expect("kept");
            assert_eq!((&row.hash, &row.owners), (&change.recorded, &change.owners));
            assert_eq!(row.task_id.is_some(), change.recorded.is_some(), "what is recorded stays");
            let work = Work {
                desired: change.desired.clone(),
                kind: change.kind,
                priority: change.priority,
                since: change.since,
                standing: change.standing.clone(),
                progress: change.progress,
                in_doubt: false,
                may_have_been_purged: false,
                accepted_at: change.accepted_at.clone(),
            };
            assert_eq!(row.work, Some(work));
        }
        let order: Vec<_> = rows.iter().map(|row| (row.provider.clone(), row.target.clone())).collect();
        assert!(order.is_sorted(), "in order of (provider, target)");
        let known = KnownManifest {
            name: "site".into(),
            namespace: None,
            root: Some("/site".into()),
            path: "manifests/site.yaml".into(),
            links: vec!["/etc/site.yaml".into()],
            on_removed: OnRemoved::Forget,
        };
        assert_eq!(bench.store.manifests().unwrap(), [known]);
    });
}

/// C2: an intent without an outcome stays in doubt over a restart and over a new mark, and the call is reported.
#[test]
fn an_intent_without_an_outcome_stays_in_doubt() {
    each_store(|bench| {
        let changes = urls(3);
        bench.mark(&changes);
        let run = bench.begin();
        bench.commit(run, &changes, &[intent(1, &[0, 1])]);
        bench.reopen();
        assert_eq!([0, 1, 2].map(|number| bench.work(&url(number)).in_doubt), [true, true, false]);
        let call = DoubtfulCall {
            run,
            provider: "a".into(),
            at: START.plus_ms(5),
            targets: 2,
            purge: Some(PurgeId::default()),
        };
        assert_eq!(bench.store.doubtful_calls().unwrap(), [call]);
        bench.mark(&changes);
        assert!(bench.work(&url(0)).in_doubt, "a mark does not clear a doubt");
        // The next call was surely not carried out, and says nothing of the one before.
        let run = bench.begin();
        bench.commit(run, &changes, &[intent(1, &[0, 2]), not_carried_out(1, &[0, 2])]);
        let work = [0, 2].map(|number| bench.work(&url(number)));
        assert_eq!(
            work.each_ref().map(|work| (work.in_doubt, work.may_have_been_purged)),
            [(false, true), (false, false)]
        );
        // Purged after all: the doubt is over, and the run's end clears the call away.
        let run = bench.begin();
        bench.commit(run, &changes, &[intent(1, &[0, 1]), outcome(1, &[0, 1], &accepted())]);
        bench.store.finish_run(run, START, 0, 1, Counts::default()).unwrap();
        assert!(bench.store.doubtful_calls().unwrap().is_empty());
    });
}

/// R7: what was purged, or may have been, stays known until it is recorded: over restarts, marks and calls that purge nothing.
#[test]
fn what_may_have_been_purged_stays_known_until_it_is_recorded() {
    each_store(|bench| {
        let changes = urls(3);
        bench.mark(&changes);
        let run = bench.begin();
        let failed = outcome(1, &[0], &ItemOutcome::Later(Some("no answer".into())));
        let partly = outcome(2, &[1], &ItemOutcome::AcceptedAt(endpoint(0).to_string()));
        bench.commit(run, &changes, &[intent(1, &[0]), failed, intent(2, &[1]), partly]);
        bench.commit(run, &changes, &[intent(3, &[0, 1, 2]), not_carried_out(3, &[0, 1, 2])]);
        bench.reopen();
        bench.mark(&changes);
        let purged = |bench: &Bench| [0, 1, 2].map(|number| bench.work(&url(number)).may_have_been_purged);
        assert_eq!(purged(bench), [true, true, false]);
        let run = bench.begin();
        bench.commit(run, &changes, &[intent(1, &[0, 1]), intent(2, &[0]), outcome(1, &[0, 1], &accepted())]);
        // Another endpoint's answer comes when enough of them have accepted it.
        bench.commit(run, &changes, &[outcome(2, &[0], &ItemOutcome::Later(Some("no answer".into())))]);
        bench.mark(&changes);
        assert_eq!(purged(bench), [false; 3], "what follows is about other content");
    });
}

/// R7: of a call that was carried out in part, only what was left out was surely not purged.
#[test]
fn what_a_call_left_out_was_not_purged() {
    each_store(|bench| {
        let changes = urls(3);
        bench.mark(&changes);
        let run = bench.begin();
        let refused = ItemOutcome::Later(Some("refused".into()));
        let items = vec![(0, accepted()), (1, refused.clone()), (2, refused)];
        let (call, at, credit) = (CallId(1), START.plus_ms(9), None);
        let partly = Record::Outcome { call, at, items, may_have_purged: true, left_out: vec![2], credit };
        bench.commit(run, &changes, &[intent(1, &[0, 1, 2]), partly]);
        let purged = [1, 2].map(|number| bench.work(&url(number)).may_have_been_purged);
        assert_eq!(purged, [true, false]);
    });
}

/// W6: the ledger does not grow with the days; a day to come, of a clock that was ahead, pushes out none but the oldest.
#[test]
fn the_ledger_keeps_its_newest_days() {
    each_store(|bench| {
        let days = (0..300).map(|day| START.plus_ms(day * 86_400_000).utc_date());
        for day in days.chain(["2099-05-05".to_owned()]) {
            bench.store.learn_quota(&key(&day), 1).unwrap();
        }
        let run = bench.begin();
        bench.store.finish_run(run, START, 0, 0, Counts::default()).unwrap();
        let kept: Vec<String> = bench.store.quota_uses().unwrap().into_iter().map(|quota| quota.day).collect();
        assert_eq!((kept.len(), kept[0].as_str(), kept[1].as_str()), (100, "2099-05-05", "2024-09-08"));
    });
}

/// C3: a committed outcome survives a restart: hash, time and task are there, no work is left, the first run is over.
#[test]
fn what_was_accepted_is_recorded_for_good() {
    each_store(|bench| {
        let changes = urls(2);
        bench.mark(&changes);
        let run = bench.begin();
        bench.commit(run, &changes, &[intent(1, &[0, 1])]);
        bench.commit(run, &changes, &[outcome(1, &[0], &accepted())]);
        bench.reopen();
        let row = bench.row(&url(0));
        assert_eq!(row.hash, Some(ContentHash::from_canonical("rev:2")));
        assert_eq!((row.recorded_at, row.task_id.as_deref(), row.work), (Some(START.plus_ms(9)), Some("task 1"), None));
        assert!(!bench.store.is_first_run().unwrap());
        assert_eq!(bench.work(&url(1)).kind, ChangeKind::Changed);
        // A new change keeps what is known of the last purge.
        bench.mark(&changes);
        assert_eq!(bench.row(&url(0)).task_id.as_deref(), Some("task 1"));
    });
}

/// S1, S2: each outcome leaves its target where it belongs.
#[test]
fn each_outcome_has_its_place() {
    each_store(|bench| {
        let mut changes = urls(5);
        changes[4] = Change { desired: None, kind: ChangeKind::Removed, ..changes[4].clone() };
        bench.know(&changes);
        bench.mark(&changes);
        let run = bench.begin();
        let records = [
            intent(1, &[0, 1, 2, 3, 4]),
            Record::Outcome {
                call: CallId(1),
                at: START,
                items: vec![
                    (0, ItemOutcome::Rejected("not yours".into())),
                    (1, ItemOutcome::Later(Some("HTTP 503".into()))),
                    (2, ItemOutcome::AcceptedAt(endpoint(0).to_string())),
                    (3, ItemOutcome::Recorded { task_id: None }),
                    (4, ItemOutcome::Recorded { task_id: None }),
                ],
                may_have_purged: true,
                left_out: Vec::new(),
                credit: None,
            },
        ];
        bench.commit(run, &changes, &records);
        bench.reopen();
        let refused = Standing::Rejected { reason: "not yours".into(), config: "digest a".into() };
        assert_eq!(bench.work(&url(0)).standing, refused);
        assert_eq!(bench.work(&url(1)).standing, Standing::Pending { reason: Some("HTTP 503".into()) });
        assert_eq!(bench.work(&url(2)).accepted_at, [endpoint(0).to_string()]);
        assert_eq!(bench.row(&url(3)).work, None);
        assert_eq!(bench.rows().len(), 4, "a purged removal is gone");
        assert!(bench.rows().iter().all(|row| row.work.as_ref().is_none_or(|work| !work.in_doubt)));
        assert!(bench.rows().iter().all(|row| row.hash.is_some()), "what was recorded before is kept");
        // A second endpoint adds to the first, and what another one says later does not take back a record.
        let records = [
            outcome(2, &[2], &ItemOutcome::AcceptedAt(endpoint(1).to_string())),
            outcome(3, &[3], &ItemOutcome::Later(Some("too late".into()))),
            outcome(4, &[3], &ItemOutcome::AcceptedAt(endpoint(1).to_string())),
        ];
        bench.commit(run, &changes, &records);
        // An acceptance that is known does not add up.
        let again = outcome(5, &[2], &ItemOutcome::AcceptedAt(endpoint(0).to_string()));
        bench.commit(run, &changes, &[again]);
        assert_eq!(bench.work(&url(2)).accepted_at, [endpoint(0).to_string(), endpoint(1).to_string()]);
        assert_eq!(bench.row(&url(3)).work, None);
    });
}

/// T3: what a run leaves behind keeps its reason and its time.
#[test]
fn what_is_left_keeps_its_reason_and_time() {
    each_store(|bench| {
        let run = bench.begin();
        let until = START.plus_ms(60_000);
        let each = [
            Left::Deferred(until, "quota".into(), Wait::Quota),
            Left::Deferred(until, "off line".into(), Wait::Host { times: 2 }),
            Left::Pending("stopped".into()),
            Left::Rejected("not yours".into()),
        ];
        let changes = urls(each.len());
        bench.mark(&changes);
        let record = |(index, left): (usize, &Left)| Record::Left { items: vec![index], left: left.clone() };
        bench.commit(run, &changes, &each.iter().enumerate().map(record).collect::<Vec<_>>());
        bench.reopen();
        for (index, left) in each.iter().enumerate() {
            assert_eq!(bench.work(&url(index)).standing, left.standing("digest a"));
        }
    });
}

/// R12, R13: what is done is not open any more, what failed is due again, and what went on meanwhile is left alone.
#[test]
fn tasks_are_settled_once_and_only_where_nothing_else_happened() {
    each_store(|bench| {
        let changes = urls(6);
        bench.mark(&changes);
        let run = bench.begin();
        bench.commit(run, &changes, &[intent(1, &[0, 1, 2, 3, 4]), outcome(1, &[0, 1, 2, 3, 4], &accepted())]);
        bench.commit(run, &changes, &[outcome(2, &[5], &ItemOutcome::Recorded { task_id: None })]);
        let open = bench.store.open_tasks().unwrap();
        let task = |number: usize| OpenTask {
            provider: "a".into(),
            target: Target::url(url(number)),
            task_id: "task 1".into(),
            accepted_at: START.plus_ms(9),
        };
        assert_eq!(open, (0..5).map(task).collect::<Vec<_>>(), "without a task there is nothing to ask");
        // Between question and answer one is purged anew, one changes and one is forgotten.
        bench.commit(run, &changes, &[outcome(3, &[3], &ItemOutcome::Recorded { task_id: Some("task 2".into()) })]);
        bench.mark(&changes[4..5]);
        let settled = |number, state| Settled { task: task(number), state };
        let all = [
            settled(0, TaskState::Done),
            settled(1, TaskState::Failed),
            settled(2, TaskState::Processing),
            settled(3, TaskState::Failed),
            settled(4, TaskState::Done),
            settled(9, TaskState::Failed),
        ];
        bench.store.note_inputs(&Inputs::default()).unwrap();
        assert_eq!(bench.store.settle(&all, START.plus_ms(20)).unwrap(), 1);
        assert_eq!(bench.store.inputs().unwrap(), None, "what was compared is not all that there is to do");
        bench.reopen();
        let left: Vec<_> = bench.store.open_tasks().unwrap().into_iter().map(|task| task.target.text).collect();
        assert_eq!(left, [url(2), url(3)]);
        let work = bench.work(&url(1));
        let reason = "task task 1 failed at the provider after the purge was accepted";
        assert_eq!(work.standing, Standing::Pending { reason: Some(reason.into()) });
        assert_eq!(
            (work.kind, work.desired, work.since),
            (ChangeKind::Changed, bench.row(&url(1)).hash, START.plus_ms(20))
        );
        assert_eq!(bench.work(&url(4)).standing, Standing::fresh(), "a change is due anyway");
        let counts = TaskCounts { provider: "a".into(), done: 1, open: 2 };
        assert_eq!(bench.store.task_counts().unwrap(), [counts]);
        assert_eq!(bench.store.settle(&all, START.plus_ms(30)).unwrap(), 0, "the same answer again is no news");
        // A later purge of what was done is a new task.
        bench.mark(&changes[..1]);
        bench.commit(run, &changes, &[outcome(4, &[0], &ItemOutcome::Recorded { task_id: Some("task 3".into()) })]);
        assert_eq!(bench.store.open_tasks().unwrap().len(), 3);
    });
}

/// T4: the ledger takes a higher count of the vendor and keeps its own against a lower one.
#[test]
fn the_ledger_learns_upwards_only() {
    each_store(|bench| {
        for (told, kept) in [(30, 30), (20, 30), (31, 31)] {
            bench.store.learn_quota(&key("2023-11-15"), told).unwrap();
            assert_eq!(bench.store.quota_used(&key("2023-11-15")).unwrap(), kept);
        }
    });
}

/// S5, T4: the ledger counts debits and credits a day, survives a restart, never goes below nothing, and learns.
#[test]
fn the_quota_ledger_survives_a_restart() {
    each_store(|bench| {
        let changes = urls(3);
        bench.mark(&changes);
        let run = bench.begin();
        let debit = |call, day: &str, cost| Record::Intent {
            operation: "purge",
            call: CallId(call),
            items: vec![0],
            purge: PurgeId::default(),
            debit: Some((key(day), cost)),
        };
        let credit = |call, day: &str, cost| Record::Outcome {
            call: CallId(call),
            at: START,
            items: Vec::new(),
            may_have_purged: false,
            left_out: Vec::new(),
            credit: Some((key(day), cost)),
        };
        bench.commit(
            run,
            &changes,
            &[debit(1, "2023-11-15", 20), debit(2, "2023-11-15", 5), debit(3, "2023-11-16", 7)],
        );
        bench.commit(run, &changes, &[credit(2, "2023-11-15", 5)]);
        bench.reopen();
        let used = |bench: &Bench, day: &str| bench.store.quota_used(&key(day)).unwrap();
        assert_eq!(["2023-11-14", "2023-11-15", "2023-11-16"].map(|day| used(bench, day)), [0, 20, 7]);
        let days: Vec<(String, u64)> =
            bench.store.quota_uses().unwrap().into_iter().map(|QuotaUse { day, used, .. }| (day, used)).collect();
        assert_eq!(days, [("2023-11-16".to_owned(), 7), ("2023-11-15".to_owned(), 20)]);
        let spent = |day: &str, used| Record::QuotaSpent { key: key(day), used };
        bench.commit(run, &changes, &[spent("2023-11-15", 100), spent("2023-11-16", 3), spent("2023-11-17", 9)]);
        assert_eq!(["2023-11-15", "2023-11-16", "2023-11-17"].map(|day| used(bench, day)), [100, 7, 9]);
        bench.commit(run, &changes, &[credit(1, "2023-11-16", 500), credit(3, "2023-11-18", 5)]);
        assert_eq!(["2023-11-16", "2023-11-18"].map(|day| used(bench, day)), [0, 0]);
        let elsewhere = QuotaKey { area: "overseas".into(), ..key("2023-11-15") };
        assert_eq!(bench.store.quota_used(&elsewhere).unwrap(), 0, "areas are counted apart");
    });
}

/// C11: only a recorded hash ends the first run: not what was seen, not an adoption of nothing, not an empty import.
#[test]
fn the_first_run_lasts_until_something_is_recorded() {
    each_store(|bench| {
        let mut changes = urls(1);
        (changes[0].recorded, changes[0].kind) = (None, ChangeKind::New);
        bench.mark(&changes);
        bench.store.adopt(&bench.model, &[], &Unread::default(), START).unwrap();
        bench.store.import(&[]).unwrap();
        bench.reopen();
        assert!(bench.store.is_first_run().unwrap());
    });
}

/// S3: a refused run leaves no forced purge behind that nobody asks for any more, and no removal (D4).
#[test]
fn a_refused_run_marks_only_what_differs() {
    each_store(|bench| {
        let mut changes = urls(4);
        changes[1] = Change { kind: ChangeKind::Forced, desired: changes[1].recorded.clone(), ..changes[1].clone() };
        changes[2] = Change { kind: ChangeKind::Removed, desired: None, ..changes[2].clone() };
        changes[3].kind = ChangeKind::Forced;
        bench.store.mark_seen(&bench.model, &of_changes(&changes)).unwrap();
        let marked: Vec<String> = bench.rows().into_iter().map(|row| row.target.text).collect();
        assert_eq!(marked, [url(0), url(3)]);
        // R6: but what was due already is due for the hash that is listed now.
        changes[0] = Change { kind: ChangeKind::Forced, desired: changes[0].recorded.clone(), ..changes[0].clone() };
        bench.store.mark_seen(&bench.model, &of_changes(&changes)).unwrap();
        assert_eq!(bench.work(&url(0)).desired, changes[0].recorded);
    });
}

/// C11: adopting records a baseline, ends pending work and doubts, and leaves the rest alone.
#[test]
fn adopting_records_without_a_purge() {
    each_store(|bench| {
        let changes = urls(2);
        bench.mark(&changes);
        let run = bench.begin();
        bench.commit(run, &changes, &[intent(1, &[0, 1])]);
        bench.model.entries = Entries::from_iter([Entry {
            provider: 0,
            target: Target::url(url(0)),
            hash: ContentHash::from_canonical("rev:7"),
            priority: Priority::Normal,
            manifests: vec![0],
            place: Location::default(),
            matched: Matched::Host,
        }]);
        let mut shared = bench.row(&url(0));
        shared.owners = vec!["elsewhere".into(), "site".into()];
        bench.store.import(&[shared]).unwrap();
        bench.store.adopt(&bench.model, &[0], &Unread::default(), START.plus_ms(99)).unwrap();
        bench.reopen();
        assert!(!bench.store.is_first_run().unwrap());
        let row = bench.row(&url(0));
        assert_eq!((row.hash, row.work), (Some(ContentHash::from_canonical("rev:7")), None));
        assert_eq!(
            (row.recorded_at, row.task_id, row.owners),
            (Some(START.plus_ms(99)), None, vec!["elsewhere".into(), "site".into()])
        );
        assert!(bench.work(&url(1)).in_doubt);
        bench.mark(&changes);
        assert!(!bench.work(&url(0)).in_doubt, "adopting ends the doubt for good");
    });
}

/// R7: what is forgotten or dropped is gone, owners change without touching anything else.
#[test]
fn forgotten_targets_are_gone_and_owners_change_alone() {
    each_store(|bench| {
        let changes = urls(4);
        bench.mark(&changes);
        let mut expected = bench.row(&url(3));
        expected.owners = vec!["m1".into(), "m2".into()];
        let at = |number| ("a".to_owned(), Target::url(url(number)));
        let difference = Difference {
            forget: vec![at(0)],
            dropped: vec![at(1)],
            owners: vec![("a".into(), Target::url(url(3)), expected.owners.clone())],
            ..Difference::default()
        };
        bench.store.mark(&bench.model, &difference, START).unwrap();
        assert_eq!(bench.store.forget(&[at(2), at(2), ("b".into(), Target::url(url(3)))]).unwrap(), 1);
        bench.reopen();
        assert_eq!(bench.rows(), [expected]);
    });
}

/// C11: a refused run marks what it saw, except removals.
#[test]
fn a_refused_run_leaves_no_removal_behind() {
    each_store(|bench| {
        let mut changes = urls(2);
        changes[1] = Change { desired: None, kind: ChangeKind::Removed, ..changes[1].clone() };
        bench.store.mark_seen(&bench.model, &of_changes(&changes)).unwrap();
        bench.reopen();
        assert_eq!(bench.rows().iter().map(|row| row.target.text.clone()).collect::<Vec<_>>(), [url(0)]);
    });
}

#[test]
fn runs_are_kept_with_their_ends() {
    each_store(|bench| {
        let first = bench.begin();
        let counts = Counts { recorded: 1, waiting: 5, pending: 2, deferred: 3, rejected: 4 };
        bench.store.finish_run(first, START.plus_ms(70), 4, 12, counts).unwrap();
        let second = bench.begin();
        bench.reopen();
        let runs = bench.store.runs(10).unwrap();
        assert_eq!(runs.iter().map(|run| run.id).collect::<Vec<_>>(), [second, first]);
        assert_eq!((runs[0].finished_at, runs[0].exit), (None, None), "the last one was stopped");
        assert_eq!((runs[1].started_at, runs[1].finished_at, runs[1].exit), (START, Some(START.plus_ms(70)), Some(4)));
        assert_eq!((runs[1].calls, runs[1].counts), (12, counts));
        assert_eq!(bench.store.runs(1).unwrap().len(), 1);
        assert_eq!(bench.store.account_of("a").unwrap().as_deref(), Some("account of a"));
    });
}

/// S5: what was spent goes along, once, where an account goes on under another name; of two keys nobody knows.
#[test]
fn what_was_spent_follows_an_account_to_its_new_name() {
    each_store(|bench| {
        let use_beside = |bench: &mut Bench, accounts: &[(&str, &str)], others: &[&str]| {
            let in_use: Vec<_> = accounts.iter().map(|(_, account)| *account).chain(others.iter().copied()).collect();
            let in_use: Vec<String> = in_use.into_iter().map(str::to_owned).collect();
            let accounts: Vec<_> = accounts.iter().map(|(name, account)| ((*name).into(), (*account).into())).collect();
            let start = RunStart { at: START, host: "builder".into(), pid: 7 };
            bench.store.begin_run(&start, &accounts, &in_use).unwrap();
            bench.reopen();
        };
        let use_accounts = |bench: &mut Bench, accounts: &[(&str, &str)]| use_beside(bench, accounts, &[]);
        let used = |bench: &Bench, account: &str| {
            let key = QuotaKey { account: account.into(), ..key("2023-11-15") };
            bench.store.quota_used(&key).unwrap()
        };
        let spend = |bench: &mut Bench, account: &str, used| {
            bench.store.learn_quota(&QuotaKey { account: account.into(), ..key("2023-11-15") }, used).unwrap();
        };
        use_accounts(bench, &[("a", "key 1"), ("b", "key 1"), ("c", "key 2")]);
        spend(bench, "key 1", 5);
        spend(bench, "key 2", 3);
        use_accounts(bench, &[("c", "key 3")]);
        assert_eq!(["key 2", "key 3"].map(|account| used(bench, account)), [3, 0]);
        use_accounts(bench, &[("a", "account main")]);
        assert_eq!(["key 1", "account main"].map(|account| used(bench, account)), [0, 5]);
        assert_eq!(bench.store.account_of("b").unwrap().as_deref(), Some("account main"), "it used the same");
        use_accounts(bench, &[("b", "account main"), ("c", "account main")]);
        spend(bench, "account main", 9);
        assert_eq!(["key 1", "key 3", "account main"].map(|account| used(bench, account)), [0, 0, 9]);
        use_accounts(bench, &[("a", "provider a")]);
        use_accounts(bench, &[("a", "key 1")]);
        assert_eq!(["provider a", "account main", "key 1"].map(|account| used(bench, account)), [0, 0, 9]);
        // Two that change places keep what is theirs.
        let (one, other) = ("account one", "account other");
        use_accounts(bench, &[("d", one), ("e", other)]);
        spend(bench, one, 2);
        spend(bench, other, 7);
        use_accounts(bench, &[("d", other), ("e", one)]);
        use_accounts(bench, &[("d", one), ("e", other)]);
        assert_eq!([one, other].map(|account| used(bench, account)), [2, 7]);
        // So does one that has nothing to do while the other one goes elsewhere.
        use_beside(bench, &[("d", "account third")], &[one, other]);
        use_beside(bench, &[("d", other)], &[one]);
        assert_eq!([one, other, "account third"].map(|account| used(bench, account)), [2, 7, 0]);
    });
}

/// S10: each write raises the serial by one, reading does not.
#[test]
fn each_write_raises_the_serial() {
    each_store(|bench| {
        let changes = urls(1);
        bench.mark(&changes);
        let run = bench.begin();
        bench.commit(run, &changes, &[intent(1, &[0]), outcome(1, &[0], &accepted())]);
        bench.store.finish_run(run, START, 0, 1, Counts::default()).unwrap();
        assert_eq!(bench.serial(), 4);
        let model = std::mem::take(&mut bench.model);
        bench.store.adopt(&model, &[], &Unread::default(), START).unwrap();
        bench.store.mark_seen(&model, &Difference::default()).unwrap();
        bench.store.forget(&[]).unwrap();
        bench.store.import(&[]).unwrap();
        assert_eq!(bench.serial(), 8);
        let _ = (bench.rows(), bench.store.manifests().unwrap(), bench.store.quota_uses().unwrap());
        bench.reopen();
        let identity = bench.store.identity().unwrap();
        assert_eq!((identity.serial, identity.lineage.as_str()), (8, "lineage"));
    });
}

/// R3, S10: a writer that another one overtook writes nothing at all, and says so.
#[test]
fn a_writer_that_was_overtaken_writes_nothing() {
    each_store(|bench| {
        let changes = urls(2);
        bench.mark(&changes);
        let run = bench.begin();
        let mut other = (bench.kind.open)(&bench.path()).unwrap().expect("there");
        other.forget(&[("a".into(), Target::url(url(1)))]).unwrap();
        let before = other.recorded().unwrap();
        let records = [intent(1, &[0]), outcome(1, &[0], &accepted())];
        let commit = Commit {
            records: &records,
            changes: &table(&changes),
            providers: &bench.model.provider_keys(),
            grounds: &bench.digests,
            owes: &HashMap::new(),
            at: START,
        };
        let refused = bench.store.commit(run, &commit);
        assert!(matches!(refused, Err(StateError::Overtaken { found: 3, expected: 2, .. })), "{refused:?}");
        assert!(matches!(bench.store.forget(&[]), Err(StateError::Overtaken { .. })), "and stays overtaken");
        assert_eq!(other.recorded().unwrap(), before);
        assert_eq!(other.identity().unwrap().serial, 3);
    });
}

/// S2: a commit is whole or not at all: a record that cannot be written takes the others along.
#[test]
fn a_commit_is_whole_or_not_at_all() {
    each_store(|bench| {
        let changes = urls(2);
        bench.mark(&changes);
        let run = bench.begin();
        let (before, serial) = (bench.rows(), bench.serial());
        // The same call number twice.
        let records = [intent(1, &[0]), outcome(9, &[1], &accepted()), intent(1, &[1])];
        let commit = Commit {
            records: &records,
            changes: &table(&changes),
            providers: &bench.model.provider_keys(),
            grounds: &bench.digests,
            owes: &HashMap::new(),
            at: START,
        };
        assert!(bench.store.commit(run, &commit).is_err());
        assert_eq!((bench.rows(), bench.serial()), (before, serial));
        bench.commit(run, &changes, &[intent(1, &[0])]);
    });
}

fn any_row() -> impl Strategy<Value = Recorded> {
    let text = "\\PC{1,12}";
    let moment = || any::<i64>().prop_map(Timestamp::from_unix_ms);
    let hash = || "[a-z0-9]{1,8}:\\PC{0,9}".prop_map(ContentHash::from_canonical);
    let standing = prop_oneof![
        prop::option::of(text).prop_map(|reason| Standing::Pending { reason }),
        (moment(), text, 0u32..3, text).prop_map(|(until, reason, times, config)| {
            let wait = if times == 0 { Wait::Quota } else { Wait::Host { times } };
            Standing::Deferred { until, reason, wait, config }
        }),
        (text, text).prop_map(|(reason, config)| Standing::Rejected { reason, config }),
    ];
    let priority = prop::sample::select(vec![Priority::High, Priority::Normal, Priority::Low]);
    let kind = prop::sample::select(ChangeKind::ALL.to_vec());
    let list = || prop::collection::vec(text, 0..3);
    let progress = prop::sample::select(Progress::ALL.to_vec());
    let standing = (standing, progress);
    let work = (prop::option::of(hash()), kind, priority, moment(), standing, list(), any::<(bool, bool)>()).prop_map(
        |(desired, kind, priority, since, (standing, progress), accepted_at, (in_doubt, may_have_been_purged))| Work {
            desired,
            kind,
            priority,
            since,
            standing,
            progress,
            in_doubt,
            may_have_been_purged: in_doubt || may_have_been_purged,
            accepted_at,
        },
    );
    let target = (prop::sample::select(Scope::ALL.to_vec()), text).prop_map(|(scope, text)| Target { scope, text });
    let purge = (prop::option::of(hash()), any::<bool>(), prop::option::of(moment()), prop::option::of(text));
    let owners = prop::collection::vec(text, 1..3);
    (text, target, owners, purge, prop::option::of(work)).prop_map(
        |(provider, target, owners, (hash, left_alone, recorded_at, task_id), work)| Recorded {
            provider,
            target,
            owners,
            hash,
            left_alone,
            recorded_at,
            task_id,
            work,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    // C12: what is imported is what is exported, whatever the texts hold; the last of two rows of a target counts.
    #[test]
    fn what_is_imported_is_what_is_read(rows in prop::collection::vec(any_row(), 0..20)) {
        for kind in &KINDS {
            let mut bench = Bench::new(kind);
            bench.store.import(&rows).expect("imported");
            bench.reopen();
            let by_key = |row: &Recorded| ((row.provider.clone(), row.target.clone()), row.clone());
            let expected: BTreeMap<_, _> = rows.iter().map(by_key).collect();
            let nothing_recorded = expected.values().all(|row| row.hash.is_none());
            prop_assert_eq!(bench.rows(), expected.into_values().collect::<Vec<_>>());
            prop_assert_eq!(bench.store.is_first_run().expect("readable"), nothing_recorded);
        }
    }
}

/// C2, C12: an import says itself whether a target is in doubt; what was known of it before does not shine through.
#[test]
fn an_import_replaces_a_doubt_too() {
    each_store(|bench| {
        let changes = urls(2);
        bench.mark(&changes);
        let run = bench.begin();
        bench.commit(run, &changes, &[intent(1, &[0])]);
        let mut rows = bench.rows();
        for row in &mut rows {
            let work = row.work.as_mut().expect("work");
            work.in_doubt = !work.in_doubt;
            work.may_have_been_purged = work.in_doubt;
        }
        bench.store.import(&rows).unwrap();
        assert_eq!(bench.rows(), rows);
    });
}
