//! What the file of an embedded state may suffer: umasks, kills, leftovers and damage of every sort.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use freshen::core::event::{CallId, PurgeId, Record};
use freshen::core::recorded::{Progress, Standing};
use freshen::core::target::{ContentHash, Target};
use freshen::state::{Counts, RefusedRun, RunStart, SqliteStore, StateError, Store};
use proptest::prelude::*;

use super::{Bench, KINDS, accepted, intent, key, outcome, urls};
use crate::support::world::{START, url};

// --- SQLite: the file -----------------------------------------------------------------------------------------------

/// A folder with a state of `count` targets, as a finished run leaves it.
fn written_state(count: usize) -> (tempfile::TempDir, PathBuf) {
    let mut bench = Bench::new(&KINDS[0]);
    let changes = urls(count);
    bench.mark(&changes);
    let run = bench.begin();
    let all: Vec<usize> = (0..count).collect();
    let debit = Some((key("2023-11-15"), 5));
    bench.commit(
        run,
        &changes,
        &[Record::Intent { call: CallId(1), operation: "purge", items: all.clone(), debit, purge: PurgeId::default() }],
    );
    bench.commit(run, &changes, &[outcome(1, &all, &accepted())]);
    bench.store.finish_run(run, START, 0, 1, Counts::default()).expect("finished");
    let path = bench.path();
    let Bench { folder, store, .. } = bench;
    drop(store);
    (folder, path)
}

/// Names and contents of all files of a folder.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.map(|path| (path.clone(), std::fs::read(&path).unwrap_or_default())).collect()
}

/// Everything that a store returns, or the first error.
fn everything(path: &Path) -> Result<String, StateError> {
    let store = SqliteStore::open(path)?.expect("there");
    let (rows, manifests, runs) = (store.recorded()?, store.manifests()?, store.runs(99)?);
    let quota = (store.quota_uses()?, store.quota_used(&key("2023-11-15"))?);
    let (account, calls) = (store.account_of("a")?, store.doubtful_calls()?);
    Ok(format!("{rows:?} {manifests:?} {runs:?} {quota:?} {account:?} {calls:?} {}", store.is_first_run()?))
}

/// X6: readable by nobody else, also while it is in use and whatever the umask says.
#[cfg(unix)]
#[test]
#[expect(clippy::disallowed_methods, reason = "a umask belongs to a process, so the test runs itself in another one")]
fn state_files_are_private_under_any_umask() {
    use std::os::unix::fs::PermissionsExt;
    const INNER: &str = "FRESHEN_TEST_WITHOUT_UMASK";
    if std::env::var_os(INNER).is_none() {
        let program = std::env::current_exe().expect("this test");
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", "umask 000; exec \"$0\" --exact store::file::state_files_are_private_under_any_umask"]);
        let output = shell.arg(program).env(INNER, "1").output().expect("a shell");
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && printed.contains("1 passed"), "{printed}");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("new/below/state.db");
    let mut store = SqliteStore::create(&path, "lineage").expect("created");
    store.import(&[]).expect("written");
    let found = files(path.parent().expect("a folder"));
    assert!(found.len() > 1, "the write-ahead log is in use: {found:?}");
    for file in found.keys() {
        let mode = std::fs::metadata(file).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", file.display());
    }
    let mode = std::fs::metadata(folder.path().join("new")).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

/// C4: a state is there whole or not at all; what a stopped creation left behind is no obstacle and never shows.
#[test]
fn a_state_is_made_in_one_step() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("state.db");
    let (_keep, old) = written_state(30);
    let with = |suffix: &str| PathBuf::from(format!("{}{suffix}", path.display()));
    let unfinished = ".new";
    std::fs::write(with(unfinished), &std::fs::read(&old).expect("readable")[..5000]).expect("written");
    std::fs::write(with(&format!("{unfinished}-journal")), [7; 4096]).expect("written");
    assert!(SqliteStore::open(&path).expect("readable").is_none(), "a first run");
    let store = SqliteStore::create(&path, "fresh").expect("created");
    assert_eq!(store.identity().expect("readable").lineage, "fresh");
    assert!(store.recorded().expect("readable").is_empty());
    drop(store);
    assert_eq!(files(folder.path()).into_keys().collect::<Vec<_>>(), [path]);
}

/// C6, S10: a user that moves a damaged state away, as we advise, may leave its log behind: it is not played into the new one.
#[test]
fn the_log_of_a_state_that_is_gone_is_not_played_into_a_new_one() {
    let mut bench = Bench::new(&KINDS[0]);
    bench.mark(&urls(200));
    let killed = tempfile::tempdir().expect("a folder");
    let path = killed.path().join("state.db");
    let log = |path: &Path| PathBuf::from(format!("{}-wal", path.display()));
    std::fs::copy(log(&bench.path()), log(&path)).expect("a log is there while the state is in use");
    let mut store = SqliteStore::create(&path, "fresh").expect("created");
    assert_eq!(store.identity().expect("readable").lineage, "fresh");
    assert!(store.recorded().expect("readable").is_empty());
    store.import(&[]).expect("written");
}

/// C2, S7: a process that is killed leaves its log; the next start sees all that was committed, intents included.
#[test]
fn a_killed_process_leaves_all_it_committed() {
    let mut bench = Bench::new(&KINDS[0]);
    let changes = urls(300);
    bench.mark(&changes);
    let run = bench.begin();
    bench.commit(run, &changes, &[intent(1, &[0, 1])]);
    let killed = tempfile::tempdir().expect("a folder");
    for (from, content) in files(bench.folder.path()) {
        std::fs::write(killed.path().join(from.file_name().expect("a name")), content).expect("copied");
    }
    let store = SqliteStore::open(&killed.path().join("state.db")).expect("readable").expect("there");
    assert_eq!(store.recorded().expect("readable"), bench.rows());
    assert_eq!(store.doubtful_calls().expect("readable").len(), 1);
    assert_eq!(store.identity().expect("readable").serial, 3);
}

/// S9: a run that has nothing to do leaves every byte of the state and its folder as they were.
#[test]
fn reading_changes_no_byte() {
    let (folder, path) = written_state(300);
    let before = files(folder.path());
    let told = everything(&path).expect("whole");
    assert_eq!(everything(&path).expect("whole"), told);
    assert_eq!(files(folder.path()), before);
}

/// A rehearsal works on a copy and never touches the state itself.
#[test]
fn a_scratch_copy_leaves_the_original_alone() {
    let (folder, path) = written_state(300);
    let (before, told) = (files(folder.path()), everything(&path).expect("whole"));
    let original = SqliteStore::open(&path).expect("readable").expect("there");
    let mut scratch = SqliteStore::scratch(&path, "other").expect("copied");
    assert_eq!(scratch.recorded().expect("readable"), original.recorded().expect("readable"));
    assert_eq!(scratch.identity().expect("readable"), original.identity().expect("readable"));
    scratch.forget(&[("a".into(), Target::url(url(7)))]).expect("written");
    assert_eq!(scratch.recorded().expect("readable").len(), 299);
    drop((original, scratch));
    assert_eq!((files(folder.path()), everything(&path).expect("whole")), (before, told));
    // Without a state the copy is a first run, and still nothing is made.
    let nowhere = folder.path().join("none.db");
    assert!(SqliteStore::scratch(&nowhere, "x").expect("made").is_first_run().expect("readable"));
    assert!(!nowhere.exists());
}

// --- SQLite: older formats ------------------------------------------------------------------------------------------

/// A state as the program of that format left it.
fn old_state() -> (tempfile::TempDir, PathBuf) {
    state_of(FORMAT_1)
}

fn state_of(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("state.db");
    std::fs::write(&path, bytes).expect("written");
    (folder, path)
}

const FORMAT_1: &[u8] = include_bytes!("../golden/states/format-1.db");
const FORMAT_2: &[u8] = include_bytes!("../golden/states/format-2.db");

/// All tables of a database, each with the rows of the columns that format 1 has; without serial and tool, which change.
fn as_format_1(path: &Path) -> Vec<String> {
    let old = old_state();
    let names = rusqlite::Connection::open(&old.1).expect("opened");
    let raw = rusqlite::Connection::open(path).expect("opened");
    let mut columns = names
        .prepare(
            "SELECT m.name, group_concat(quote(c.name)) FROM sqlite_schema m, pragma_table_info(m.name) c
             WHERE m.type = 'table' AND c.name NOT IN ('serial', 'tool') GROUP BY m.name ORDER BY m.name",
        )
        .expect("tables");
    let columns = columns.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("tables");
    let columns: Vec<(String, String)> = columns.collect::<Result<_, _>>().expect("tables");
    let rows = columns.iter().flat_map(|(table, list)| {
        let list = list.replace('\'', "\"");
        let mut rows = raw.prepare(&format!("SELECT json_array({list}) FROM \"{table}\" ORDER BY 1")).expect(table);
        let rows = rows.query_map([], |row| row.get::<_, String>(0)).expect(table);
        rows.map(|row| format!("{table} {}", row.expect(table))).collect::<Vec<_>>()
    });
    rows.collect()
}

/// The statements that made the tables, and the format.
fn schema(path: &Path) -> String {
    let raw = rusqlite::Connection::open(path).expect("opened");
    let made = "SELECT group_concat(sql) FROM (SELECT sql FROM sqlite_schema ORDER BY name)";
    let sql: String = raw.query_row(made, [], |row| row.get(0)).expect("a schema");
    let format: i64 = raw.query_row("PRAGMA user_version", [], |row| row.get(0)).expect("a format");
    format!("{format}: {sql}")
}

/// C4: a state of an older format keeps all of it in the newest one, and has the tables that a new state has.
#[test]
fn states_of_older_formats_are_migrated_whole() {
    for (format, serial) in [(FORMAT_1, 8), (FORMAT_2, 11)] {
        let (_folder, path) = state_of(format);
        let before = as_format_1(&path);
        assert!(before.len() > 45, "targets in all their standings, a ledger, runs, a doubtful call: {before:?}");
        let shown = everything(&path).expect("readable");
        drop(SqliteStore::open_to_write(&path).expect("migrated").expect("there"));
        assert_eq!(as_format_1(&path), before);
        assert_eq!(everything(&path).expect("readable"), shown, "readers saw the same before");
        let new = path.with_file_name("new.db");
        drop(SqliteStore::create(&new, "lineage").expect("created"));
        assert_eq!(schema(&path), schema(&new));
        // It is one of ours: it goes on where it stood.
        let mut store = SqliteStore::open_to_write(&path).expect("readable").expect("there");
        assert_eq!(store.identity().expect("readable").serial, serial + 1);
        let ledger = store.quota_uses().expect("readable");
        assert!(
            !ledger.is_empty() && ledger.iter().all(|quota| quota.offset_minutes == 480),
            "days of Beijing: {ledger:?}"
        );
        assert_eq!(store.quota_terms().expect("readable"), [], "no run noted limits");
        let calls = store.doubtful_calls().expect("readable");
        assert!(
            !calls.is_empty() && calls.iter().all(|call| call.purge.is_none()),
            "their purges have no id: {calls:?}"
        );
        let runs = store.runs(9).expect("readable");
        assert!(!runs.is_empty() && runs.iter().all(|run| run.times == 1 && run.refused.is_none()), "{runs:?}");
        assert!(store.refusals().expect("readable").is_empty() && store.seen_removals().expect("readable").is_empty());
        store.import(&[]).expect("written");
    }
}

/// C4: what formats up to 3 said in words, or not at all, is a fact after the migration: what failed, what was let through,
/// what may have been purged, and what was left alone.
#[test]
fn what_older_formats_told_in_words_becomes_facts() {
    let (_folder, path) = state_of(FORMAT_2);
    let raw = rusqlite::Connection::open(&path).expect("opened");
    let stands = [
        ("'changed', desired = 'rev:9', standing = 'pending', reason = NULL", Progress::Seen, false),
        ("'changed', desired = 'rev:9', standing = 'pending', reason = 'HTTP 503'", Progress::Tried, true),
        (
            "'changed', desired = 'rev:9', standing = 'pending', reason = 'before it changed again: HTTP 503'",
            Progress::Seen,
            true,
        ),
        ("'changed', desired = 'rev:9', standing = 'deferred', reason = 'quota', until = 5", Progress::Admitted, true),
        ("'changed', desired = 'rev:9', standing = 'rejected', reason = 'no'", Progress::Admitted, true),
        ("'removed', desired = NULL, standing = 'pending', reason = NULL", Progress::Admitted, true),
        (
            "'new', desired = 'rev:9', standing = 'pending', reason = NULL, accepted_at = '[\"http://127.0.0.1\"]'",
            Progress::Seen,
            true,
        ),
        ("'new', desired = 'rev:9', standing = 'pending', reason = NULL, call = 7", Progress::Seen, true),
    ];
    let target = |number: usize| format!("https://migrated.example/{number}");
    for (number, (work, ..)) in stands.iter().enumerate() {
        let sql = format!(
            "INSERT INTO target (provider, scope, target, owners, hash) VALUES ('p', 0, '{0}', '[\"m\"]', 'rev:1');
             UPDATE target SET priority = 'normal', since = 1, accepted_at = '[]', work_kind = {work} WHERE target = '{0}'",
            target(number)
        );
        raw.execute_batch(&sql).expect("written");
    }
    // Programs of format 3 left targets alone; users' own hashes look as they like.
    let hashes = [
        ("rev:left-alone:sha256:ab", "sha256:ab", true),
        ("rev:left-alone:rev:1:2", "rev:1:2", true),
        ("rev:left-alone:x", "rev:left-alone:x", false),
        ("rev:1", "rev:1", false),
    ];
    for (number, (hash, ..)) in hashes.iter().enumerate() {
        let sql = "INSERT INTO target (provider, scope, target, owners, hash) VALUES ('gone', 0, ?1, '[\"m\"]', ?2)";
        raw.execute(sql, [target(number), (*hash).to_owned()]).expect("written");
    }
    drop(raw);
    let store = SqliteStore::open_to_write(&path).expect("migrated").expect("there");
    let rows = store.recorded().expect("readable");
    let gone = rows.iter().filter(|row| row.provider == "gone");
    let gone = gone.map(|row| (row.hash.as_ref().map(ContentHash::as_str), row.left_alone)).collect::<Vec<_>>();
    assert_eq!(gone, hashes.map(|(_, hash, left_alone)| (Some(hash), left_alone)));
    for (number, (work, progress, purged)) in stands.iter().enumerate() {
        let row = rows.iter().find(|row| row.provider == "p" && row.target.text == target(number)).expect("kept");
        let known = row.work.as_ref().expect("work");
        assert_eq!((known.progress, known.may_have_been_purged), (*progress, *purged), "{work}");
        if number == 2 {
            assert_eq!(known.standing, Standing::Pending { reason: Some("HTTP 503".into()) });
        }
    }
}

/// C4: format 2 grew while it was made, and each of its stages is brought to the newest format.
#[test]
fn every_stage_of_format_2_is_migrated_whole() {
    let missing = ["DROP TABLE inputs", "DROP INDEX target_work", "DROP TABLE stat_cache"];
    for gone in [&missing[..], &missing[..2], &missing[2..]] {
        let (_folder, path) = state_of(FORMAT_2);
        let raw = rusqlite::Connection::open(&path).expect("opened");
        for statement in gone {
            raw.execute_batch(statement).expect("written");
        }
        drop(raw);
        let (before, shown) = (as_format_1(&path), everything(&path).expect("readable"));
        drop(SqliteStore::open_to_write(&path).expect("migrated").expect("there"));
        std::fs::remove_file(path.with_file_name("state.db.seal")).expect("sealed");
        assert_eq!((as_format_1(&path), everything(&path).expect("it adds up")), (before, shown), "{gone:?}");
        let new = path.with_file_name("new.db");
        drop(SqliteStore::create(&new, "lineage").expect("created"));
        assert_eq!(schema(&path), schema(&new), "{gone:?}");
    }
}

/// A state as the program of format 3 left it, with what its last run compared.
fn state_of_format_3() -> (tempfile::TempDir, PathBuf) {
    let (folder, path) = state_of(FORMAT_2);
    let raw = rusqlite::Connection::open(&path).expect("opened");
    raw.execute_batch(
        "DROP TABLE inputs;
         CREATE TABLE inputs (
             digest TEXT NOT NULL,
             frame TEXT NOT NULL,
             configuration TEXT NOT NULL,
             targets INTEGER NOT NULL,
             providers TEXT NOT NULL     -- JSON list of name and kind, in turn
         ) STRICT;
         CREATE TABLE input_file (
             path TEXT PRIMARY KEY,
             digest TEXT NOT NULL,
             targets INTEGER NOT NULL,
             is_simple INTEGER NOT NULL
         ) STRICT, WITHOUT ROWID;
         INSERT INTO inputs VALUES ('d', 'f', 'c', 41, '[\"a\",\"tencent-cdn\"]');
         INSERT INTO input_file VALUES ('manifests/site.yaml', 'd', 41, 1);
         PRAGMA user_version = 3",
    )
    .expect("written");
    (folder, path)
}

/// C4: as above; what is newer than format 3 comes to it with all that it knows.
#[test]
fn a_state_of_format_3_keeps_all_of_it() {
    let (_folder, path) = state_of_format_3();
    let (before, shown) = (as_format_1(&path), everything(&path).expect("readable"));
    let mut store = SqliteStore::open_to_write(&path).expect("migrated").expect("there");
    store.inputs().expect("readable");
    assert_eq!(store.directories_refused("a").expect("readable"), None);
    assert_eq!(store.caches_away(START).expect("readable"), []);
    store.import(&[]).expect("written");
    drop(store);
    assert_eq!((as_format_1(&path), everything(&path).expect("readable")), (before, shown));
    let new = path.with_file_name("new.db");
    drop(SqliteStore::create(&new, "lineage").expect("created"));
    assert_eq!(schema(&path), schema(&new));
}

/// S9, C4: a look at an older state changes no byte of it, and cannot write what would be lost.
#[test]
fn readers_leave_an_older_state_as_it_is() {
    let (folder, path) = old_state();
    let before = files(folder.path());
    let mut store = SqliteStore::open(&path).expect("readable").expect("there");
    assert_eq!(store.recorded().expect("readable").len(), 40);
    assert!(matches!(store.import(&[]), Err(StateError::Io { action: "written", .. })));
    drop(store);
    let mut scratch = SqliteStore::scratch(&path, "other").expect("copied");
    scratch.import(&[]).expect("a scratch copy is written to");
    drop(scratch);
    assert_eq!(files(folder.path()), before);
}

// --- SQLite: damage -------------------------------------------------------------------------------------------------

/// Opens a file with this content; its folder must stay as it was.
fn opened(content: &[u8]) -> Result<String, StateError> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("state.db");
    std::fs::write(&path, content).expect("written");
    let before = files(folder.path());
    let told = everything(&path);
    assert!(told.is_ok() || SqliteStore::scratch(&path, "x").is_err() || SqliteStore::open(&path).is_ok());
    assert_eq!(files(folder.path()), before, "the file was touched");
    told
}

/// Of what is there without a lock beside it nothing may show that it ever was a state.
fn is_damage(told: &Result<String, StateError>) -> bool {
    matches!(told, Err(StateError::Damaged { .. } | StateError::Foreign { .. }))
}

/// C9: what is there and is not a whole state of ours is damage, never a first run, and stays as it is.
#[test]
fn a_file_that_is_no_state_is_damage_and_is_left_alone() {
    let (_folder, path) = written_state(300);
    let whole = std::fs::read(&path).expect("readable");
    assert!(opened(&whole).is_ok());
    assert!(is_damage(&opened(b"")), "empty");
    assert!(is_damage(&opened(&vec![0; whole.len()])), "zero-filled");
    assert!(is_damage(&opened(b"# a manifest, not a state\nassets: {}\n")), "foreign");
    for length in [1, 15, 16, 99, 100, 4095, 4096, 4097, 8192, whole.len() / 2, whole.len() - 4096, whole.len() - 1] {
        assert!(is_damage(&opened(&whole[..length])), "cut to {length} of {}", whole.len());
    }
    let zeroed_head = [vec![0; 4096], whole[4096..].to_vec()].concat();
    assert!(is_damage(&opened(&zeroed_head)), "first page lost");
    let folder = tempfile::tempdir().expect("a folder");
    assert!(matches!(SqliteStore::open(folder.path()), Err(StateError::Foreign { .. })), "a directory");
    let path = folder.path().join("state.db");
    std::fs::write(&path, zeroed_head).expect("written");
    assert!(matches!(SqliteStore::open(&path), Err(StateError::Foreign { .. })), "somebody's file");
    std::fs::write(folder.path().join("state.db.lock"), "").expect("written");
    assert!(matches!(SqliteStore::open(&path), Err(StateError::Damaged { .. })), "a state that was used");
}

/// C9: another program's database is not ours.
#[test]
fn a_foreign_database_is_not_taken_for_a_state() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("foreign.db");
    let foreign = rusqlite::Connection::open(&path).expect("made");
    foreign.execute_batch("CREATE TABLE meta (serial INTEGER); INSERT INTO meta VALUES (1)").expect("written");
    drop(foreign);
    assert!(is_damage(&opened(&std::fs::read(&path).expect("readable"))));
}

/// C6: a byte that makes a text none, or a number that is none of ours, is damage wherever it stands.
#[test]
fn a_text_that_is_not_utf8_is_damage() {
    for change in [
        "target SET target = CAST(x'68ff' AS TEXT)",
        "target SET hash = CAST(x'ff' AS TEXT)",
        "target SET owners = CAST(x'5b22ff225d' AS TEXT)",
        "run SET calls = -1",
        "quota SET account = CAST(x'ff' AS TEXT)",
        "meta SET lineage = CAST(x'ff' AS TEXT)",
    ] {
        let (_folder, path) = written_state(1);
        let raw = rusqlite::Connection::open(&path).expect("opened");
        assert_eq!(raw.execute(&format!("UPDATE {change}"), []).expect("written"), 1, "{change}");
        raw.close().expect("closed");
        let found = SqliteStore::open(&path).and_then(|store| store.expect("there").identity()).err();
        let found = found.or_else(|| everything(&path).err());
        assert!(matches!(found, Some(StateError::Damaged { .. })), "{change}: {found:?}");
    }
    // In the file itself, as a disk does it.
    let (_folder, path) = written_state(1);
    let mut bytes = std::fs::read(&path).expect("readable");
    let text = url(0).into_bytes();
    let at = bytes.windows(text.len()).position(|window| window == text).expect("the target");
    bytes[at + 3] = 0xff;
    assert!(is_damage(&opened(&bytes)));
}

/// C10, S10: a newer format is reported with both versions and left alone, by readers and by writers.
#[test]
fn a_newer_format_is_refused_with_both_versions() {
    let (folder, path) = written_state(3);
    let raw = rusqlite::Connection::open(&path).expect("opened");
    raw.pragma_update(None, "user_version", 5).expect("written");
    raw.close().expect("closed");
    let before = files(folder.path());
    let told = opened(&std::fs::read(&path).expect("readable"));
    assert!(matches!(told, Err(StateError::Newer { found: 5, known: 4, .. })), "{told:?}");
    assert!(told.expect_err("newer").to_string().contains("format 5, this program knows up to 4"));
    assert!(matches!(SqliteStore::open_to_write(&path), Err(StateError::Newer { found: 5, known: 4, .. })));
    assert_eq!(files(folder.path()), before);
}

/// C6: a page that is lost, whichever it is, never passes for less than was there.
#[test]
fn a_lost_page_is_noticed() {
    let (_folder, path) = written_state(400);
    let whole = std::fs::read(&path).expect("readable");
    let told = opened(&whole).expect("whole");
    let size = usize::from(u16::from_be_bytes([whole[16], whole[17]]));
    let mut noticed = 0;
    for page in 0..whole.len() / size {
        let fills = [vec![0; size], vec![0xff; size], whole[size..2 * size].to_vec(), b"junk".repeat(size / 4)];
        for (which, fill) in fills.iter().enumerate() {
            let mut content = whole.clone();
            content[page * size..(page + 1) * size].copy_from_slice(fill);
            match opened(&content) {
                Ok(after) => assert_eq!(after, told, "page {page} with fill {which} passed for something else"),
                Err(_) => noticed += 1,
            }
        }
    }
    assert!(noticed > whole.len() / size, "only {noticed} losses were noticed");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    // C6: bytes that are garbled anywhere never make rows vanish and never panic.
    #[test]
    fn garbled_bytes_never_make_targets_vanish(
        per_mille in 0usize..1000,
        junk in prop::collection::vec(any::<u8>(), 1..200),
    ) {
        static WHOLE: OnceLock<Vec<u8>> = OnceLock::new();
        let whole = WHOLE.get_or_init(|| std::fs::read(written_state(150).1).expect("readable"));
        let folder = tempfile::tempdir().expect("a folder");
        let (path, mut content) = (folder.path().join("state.db"), whole.clone());
        let at = (content.len() - junk.len()) * per_mille / 1000;
        content[at..at + junk.len()].copy_from_slice(&junk);
        std::fs::write(&path, &content).expect("written");
        if let Ok(Some(store)) = SqliteStore::open(&path)
            && let Ok(rows) = store.recorded()
        {
            prop_assert_eq!(rows.len(), 150, "{} bytes at {}", junk.len(), at);
        }
    }
}

/// C12: a value that this program never writes is damage, named by column and target; it is not read as something else.
#[test]
fn a_value_that_was_never_written_is_damage() {
    let edits = [
        "UPDATE target SET scope = 9",
        "UPDATE target SET owners = 'site'",
        "UPDATE target SET owners = '[]'",
        "UPDATE target SET hash = 'abc'",
        "UPDATE target SET hash = ''",
        "UPDATE target SET desired = 'abc'",
        "UPDATE target SET work_kind = 'odd'",
        "UPDATE target SET priority = 'urgent'",
        "UPDATE target SET priority = NULL",
        "UPDATE target SET since = NULL",
        "UPDATE target SET standing = 'done'",
        "UPDATE target SET standing = NULL",
        "UPDATE target SET standing = 'deferred', until = NULL",
        "UPDATE target SET accepted_at = '{}'",
        "UPDATE quota SET used = -5",
        "UPDATE manifest SET on_removed = 'burn'",
        "DELETE FROM meta",
        "DROP TABLE quota",
        "DROP TABLE target",
    ];
    for edit in edits {
        let mut bench = Bench::new(&KINDS[0]);
        let changes = urls(2);
        bench.mark(&changes);
        let run = bench.begin();
        let debit = Some((key("2023-11-15"), 5));
        bench.commit(
            run,
            &changes,
            &[Record::Intent { call: CallId(1), operation: "purge", items: vec![0], debit, purge: PurgeId::default() }],
        );
        let path = bench.path();
        let Bench { folder: _keep, store, .. } = bench;
        drop(store);
        assert!(everything(&path).is_ok());
        let raw = rusqlite::Connection::open(&path).expect("opened");
        raw.execute_batch(edit).expect(edit);
        raw.close().expect("closed");
        let before = std::fs::read(&path).expect("readable");
        let told = everything(&path);
        assert!(is_damage(&told), "{edit}: {told:?}");
        assert_eq!(std::fs::read(&path).expect("readable"), before, "{edit}");
    }
}

/// C6: tables, indexes and the like that are not those of the format are damage, whatever they would do.
#[test]
fn a_schema_that_is_not_that_of_the_format_is_damage() {
    let rewrite = |from: &str, to: &str| {
        format!(
            "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, '{from}', '{to}');
             PRAGMA writable_schema = OFF"
        )
    };
    let edits = [
        ("target_work", "DROP INDEX target_work".to_owned()),
        ("silent", "CREATE TRIGGER silent BEFORE UPDATE ON target BEGIN SELECT raise(IGNORE); END".to_owned()),
        ("more", "CREATE VIEW more AS SELECT * FROM target".to_owned()),
        ("extra", "CREATE TABLE extra (x)".to_owned()),
        ("by_hash", "CREATE INDEX by_hash ON target (hash)".to_owned()),
        ("target", "ALTER TABLE target DROP COLUMN settled_task".to_owned()),
        ("target", "ALTER TABLE target ADD COLUMN more TEXT".to_owned()),
        ("target", "ALTER TABLE target RENAME COLUMN reason TO cause".to_owned()),
        ("quota", "DROP TABLE quota".to_owned()),
        ("quota", rewrite("used INTEGER NOT NULL", "used INTEGER")),
        ("target_work", rewrite("IS NOT NULL", "IS     NULL")),
        ("target", "PRAGMA user_version = 2".to_owned()),
    ];
    for (name, edit) in edits {
        let (folder, path) = written_state(3);
        let raw = rusqlite::Connection::open(&path).expect("opened");
        raw.execute_batch(&edit).expect(&edit);
        raw.close().expect("closed");
        let before = files(folder.path());
        let told = everything(&path);
        assert!(is_damage(&told), "{edit}: {told:?}");
        if edit.starts_with("PRAGMA user_version") {
            continue;
        }
        assert!(told.expect_err("damage").to_string().contains(&format!("`{name}`")), "{edit}");
        assert!(matches!(SqliteStore::open_to_write(&path), Err(StateError::Damaged { .. })), "{edit}");
        assert_eq!(files(folder.path()), before, "{edit}");
    }
    // What the engine knows of sizes is no part of it.
    let (_folder, path) = written_state(3);
    rusqlite::Connection::open(&path).expect("opened").execute_batch("ANALYZE").expect("counted");
    assert!(everything(&path).is_ok());
}

/// W6: a program that stays up makes runs without end, and the state keeps the newest thousand.
#[test]
fn only_the_newest_runs_are_kept() {
    let mut store = SqliteStore::scratch(Path::new("no/such/state"), "lineage").unwrap();
    let start = RunStart { at: START, host: "host".into(), pid: 7 };
    let runs: Vec<i64> = (0..1005).map(|_| store.begin_run(&start, &[], &[]).unwrap()).collect();
    store.finish_run(runs[1004], START, 0, 0, Counts::default()).unwrap();
    let kept: Vec<i64> = store.runs(2000).unwrap().iter().map(|run| run.id).rev().collect();
    assert_eq!(kept, runs[5..]);
}

/// W6: a program that stays up is refused again and again, and that is one run of the list; another refusal, or a run that sends, is
/// another one.
#[test]
fn refused_runs_in_a_row_are_one() {
    let mut store = SqliteStore::scratch(Path::new("no/such/state"), "lineage").unwrap();
    let start = RunStart { at: START, host: "host".into(), pid: 7 };
    let refuse = |store: &mut SqliteStore, run, refused: &str, ms| {
        let (refused, counts) = (refused.to_owned(), Counts::default());
        store.note_refused_run(&RefusedRun { run, start: &start, at: START.plus_ms(ms), refused, counts }).unwrap();
    };
    (1..=3).for_each(|ms| refuse(&mut store, None, "removals of a", ms));
    refuse(&mut store, None, "removals of b", 4);
    let sent = store.begin_run(&start, &[], &[]).unwrap();
    store.finish_run(sent, START, 5, 1, Counts::default()).unwrap();
    refuse(&mut store, Some(sent), "removals of b", 5);
    refuse(&mut store, None, "removals of b", 6);
    // One that sent nothing for another reason is no refused one.
    let failed = store.begin_run(&start, &[], &[]).unwrap();
    refuse(&mut store, Some(failed), "removals of b", 7);
    store.finish_run(failed, START, 2, 0, Counts::default()).unwrap();
    refuse(&mut store, None, "removals of b", 8);
    let listed = store.runs(9).unwrap().into_iter();
    let listed: Vec<_> = listed.map(|run| (run.refused.unwrap(), run.times, run.exit, run.calls)).collect();
    let (a, b) = ("removals of a".to_owned(), "removals of b".to_owned());
    assert_eq!(
        listed,
        [
            (b.clone(), 1, Some(5), 0),
            (b.clone(), 1, Some(2), 0),
            (b.clone(), 1, Some(5), 0),
            (b.clone(), 1, Some(5), 1),
            (b, 1, Some(5), 0),
            (a, 3, Some(5), 0)
        ]
    );
    assert_eq!(store.runs(9).unwrap()[5].finished_at, Some(START.plus_ms(3)), "the last time");
}
