//! The program itself and its state: start, size, build, the commit of a batch.

use std::fs::OpenOptions;
use std::io::Write;
use std::time::Duration;

use freshen::core::diff::{DiffContext, Differ};
use freshen::core::event::{CallId, ItemOutcome, PurgeId, Record};
use freshen::core::hold::{Hold, SeenRemovals};
use freshen::core::owners::Unread;
use freshen::core::time::Timestamp;
use freshen::manifest::{SourceFile, build as build_model};
use freshen::state::{Commit, RunStart, SqliteStore, Store};

use crate::inputs::{HEAD, PROVIDER, change_one, manifest, remove};
use crate::manifests::adopt;
use crate::measure::{Setup, command, freshen, run, settle, timed};
use crate::table::{Amount, Row, Table};

const BATCH: usize = 1000;
const BATCHES: usize = 51;
/// What a disk has to take for a batch, about: what a synced write of that costs is shown beside it.
const SYNCED_BYTES: usize = 256 * 1024;

/// Batches of a run, each given to the state as `apply` does: the intent before its call, the outcome after it.
pub(crate) fn commit(setup: &Setup, table: &mut Table) {
    let folder = setup.path("commit");
    remove(&folder);
    std::fs::create_dir_all(&folder).expect("a folder");
    let mut text = format!("{PROVIDER}{HEAD}assets:\n");
    (0..BATCH * BATCHES).for_each(|asset| text += &format!("  {asset:06}.html: rev:{asset}\n"));
    let model = build_model(&[SourceFile::whole("site.yaml", text)]).model.expect("valid");
    let (now, grounds) = (Timestamp::from_unix_ms(1_000_000_000_000), [String::new()]);
    let scope = DiffContext {
        unread: &Unread::default(),
        grounds: &grounds,
        forced: None,
        selected: None,
        hold: &Hold::default(),
        seen: &SeenRemovals::new(),
        now,
    };
    let difference = Differ::new(&model, scope).finish();
    let mut store = SqliteStore::create(&folder.join("state.db"), "bench").expect("made");
    store.mark(&model, &difference, now).expect("written");
    let start = RunStart { at: now, host: "bench".into(), pid: 1 };
    let run = store.begin_run(&start, &[("own".into(), "account".into())], &[]).expect("written");
    let providers = model.provider_keys();
    let (mut intents, mut outcomes, mut syncs) = (Vec::new(), Vec::new(), Vec::new());
    let mut log = OpenOptions::new().create(true).append(true).open(folder.join("log")).expect("a file");
    let bytes = vec![7; SYNCED_BYTES];
    for batch in 0..BATCHES {
        let (call, items) = (CallId(batch as u64), (batch * BATCH..(batch + 1) * BATCH).collect::<Vec<_>>());
        let accepted = |index: &usize| (*index, ItemOutcome::Recorded { task_id: Some(format!("task-{batch}")) });
        let outcome = items.iter().map(accepted).collect();
        let mut told = |record: Record| {
            let (changes, records) = (&difference.changes, [record]);
            let owes = std::collections::HashMap::new();
            let batch =
                Commit { records: &records, changes, providers: &providers, grounds: &grounds, owes: &owes, at: now };
            timed(|| store.commit(run, &batch).expect("written"))
        };
        intents.push(told(Record::Intent { call, operation: "PURGE", items, debit: None, purge: PurgeId::default() }));
        outcomes.push(told(Record::Outcome {
            call,
            at: now,
            items: outcome,
            may_have_purged: true,
            left_out: Vec::new(),
            credit: None,
        }));
        syncs.push(timed(|| {
            log.write_all(&bytes).expect("written");
            log.sync_all().expect("written");
        }));
    }
    let sync = median(syncs);
    let row = |what: &str, times| Row::time(what, median(times)).beside("256 KiB appended and synced", sync);
    table.add(row("outcome, synced, median", outcomes).at_most(Amount::Time(Duration::from_millis(10))));
    table.add(row("intent, synced, median", intents));
    remove(&folder);
}

pub(crate) fn start(setup: &Setup, table: &mut Table) {
    let time = setup.shortest(|| run(freshen(&setup.path("."), &["--version"])));
    table.add(Row::time("freshen --version", time).at_most(Amount::Time(Duration::from_millis(10))));
}

pub(crate) fn plan_of_ten(setup: &Setup, table: &mut Table) {
    let folder = setup.manifests("ten", 10, 1);
    adopt(&folder);
    change_one(&manifest(&folder, 0));
    settle();
    let time = setup.shortest(|| run(freshen(&folder, &["plan"])));
    table.add(Row::time("freshen plan", time).at_most(Amount::Time(Duration::from_millis(30))));
}

pub(crate) fn size(_: &Setup, table: &mut Table) {
    let program = std::fs::metadata(env!("CARGO_BIN_EXE_freshen")).expect("built");
    table.add(Row::new("release, stripped", Amount::Bytes(program.len())).at_most(Amount::Bytes(15_000_000)));
}

/// Everything compiled anew, as after a fresh clone whose dependencies are downloaded.
pub(crate) fn build(setup: &Setup, table: &mut Table) {
    let folder = setup.path("build");
    remove(&folder);
    let mut cargo = command(env!("CARGO"));
    cargo.args(["build", "--release", "--locked", "--target-dir"]).arg(&folder);
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    let time = timed(|| run(cargo));
    table.add(Row::time("cargo build --release", time).at_most(Amount::Time(Duration::from_mins(4))));
    remove(&folder);
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
