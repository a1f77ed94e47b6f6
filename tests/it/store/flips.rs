//! Flipped bits in the files of a state: each is noticed, or changes nothing that is read.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use freshen::core::endpoints::{AwayCache, CacheAddress, FoundCaches};
use freshen::core::proof_record::{ProofRow, ProofVerdict, SettledProof};
use freshen::core::recorded::{InputFile, RecordedRow};
use freshen::state::{RunRow, StatCacheRow};

use super::*;

/// Flips of the body of a state, each night and in each run of the tests.
const FLIPS: [usize; 2] = [10_000, 1_000];
/// Flips of each of the other files.
const FLIPS_BESIDE: usize = 200;

/// Makes a state with something in each of its tables; then `look` may look at its files, while it is in use.
fn made(look: impl FnOnce(&Path)) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("state.db");
    let mut bench = Bench::new(&KINDS[0]);
    let mut store = SqliteStore::create(&path, "0123456789abcdef").expect("created");
    let mut changes = urls(40);
    let standings = [
        Standing::fresh(),
        Standing::Pending { reason: Some("HTTP 503".into()) },
        Standing::Deferred {
            until: START.plus_ms(1),
            reason: "quota".into(),
            wait: Wait::Host { times: 2 },
            config: "digest a".into(),
        },
        Standing::Rejected { reason: "not yours".into(), config: "digest a".into() },
    ];
    for (number, change) in changes.iter_mut().enumerate() {
        change.standing = standings[number % 4].clone();
        change.priority = [Priority::High, Priority::Normal, Priority::Low][number % 3];
        change.owners = vec!["site".into()];
    }
    bench.know(&changes);
    store.import(&bench.rows()).expect("imported");
    let left_alone = changes[30..].iter().map(|change| ("a".to_owned(), change.target.clone())).collect();
    let difference = Difference { changes: table(&changes[..16]).into(), left_alone, ..Difference::default() };
    store.mark(&bench.model, &difference, START).expect("marked");
    let accounts = [("a".to_owned(), "account of a".to_owned())];
    let start = RunStart { at: START, host: "builder".into(), pid: 7 };
    let run = store.begin_run(&start, &accounts, &[]).expect("begun");
    let changes = &table(&changes[..16]);
    let debit = Some((key("2023-11-15"), 6));
    let records = [
        Record::Intent {
            call: CallId(1),
            operation: "purge",
            items: (0..6).collect(),
            debit,
            purge: PurgeId::default(),
        },
        outcome(1, &[0, 1, 2, 3], &accepted()),
        intent(2, &[7, 8]),
    ];
    let providers = &bench.model.provider_keys();
    let commit =
        Commit { records: &records, changes, providers, grounds: &bench.digests, owes: &HashMap::new(), at: START };
    store.commit(run, &commit).expect("committed");
    let owes = HashMap::from([(2, 40), (3, 50)]);
    let owing = Commit { records: &[outcome(3, &[2, 3], &accepted())], owes: &owes, ..commit };
    store.commit(run, &owing).expect("committed");
    let row = store.proofs().expect("readable").remove(1);
    let (verdict, seen) = (ProofVerdict::Verified, Some("{\"status\":200}".to_owned()));
    let (by, probed_at, repurges) = (Some("etag".to_owned()), Some(START.plus_ms(60)), row.repurges);
    let settled =
        SettledProof { row, verdict, by, probed_at, due: None, seen, repurges, variants: Vec::new(), mark_stale: None };
    assert_eq!(store.settle_proofs(&[settled], START.plus_ms(60)).expect("settled"), 0);
    store.note_vary("www.example.cn", &["accept-encoding".to_owned()], START).expect("noted");
    let counts = Counts { recorded: 4, waiting: 2, pending: 10, deferred: 6, rejected: 4 };
    store.finish_run(run, START, 4, 2, counts).expect("finished");
    let task = store.open_tasks().expect("readable").remove(0);
    store.settle(&[Settled { task, state: TaskState::Done }], START).expect("settled");
    store.learn_quota(&key("2023-11-16"), 44).expect("learnt");
    let refused = Commit { records: &[Record::DirectoriesRefused { provider: 0, until: START.plus_ms(9) }], ..commit };
    store.commit(run, &refused).expect("committed");
    let cache = |last: u8| CacheAddress {
        provider: "a".into(),
        endpoint: "http://caches".into(),
        host: "caches".into(),
        address: Some([10, 0, 0, last].into()),
    };
    for last in 1..3 {
        let (endpoints, addresses) = (Some(vec!["http://caches".to_owned()]), vec![cache(last)]);
        let found = FoundCaches { provider: "a".into(), endpoints, addresses };
        store.note_caches(&[found], START).expect("noted");
    }
    for digest in ["d1", "d2"] {
        let file = |path: &str| InputFile { path: path.into(), digest: digest.into(), targets: 40, is_simple: true };
        let inputs = Inputs {
            digest: digest.into(),
            frame: "f".into(),
            configuration: "c".into(),
            targets: 40,
            providers: vec![("a".into(), "tencent-cdn".into())],
            files: vec![file("manifests/a.yaml"), file("manifests/b.yaml")],
        };
        store.note_inputs(&inputs).expect("noted");
    }
    let cache = StatCacheRow { directory: "/site/public".into(), rules: [7; 32], content: vec![9; 900] };
    store.keep_stat_caches(&[cache], &[]).expect("kept");
    look(&path);
    (folder, path)
}

/// Manifests that list some of the targets of the state.
fn listed() -> Model {
    let Bench { model, .. } = Bench::new(&KINDS[0]);
    let entry = |number: usize| Entry {
        provider: 0,
        target: Target::url(url(number)),
        hash: ContentHash::from_canonical("rev:2"),
        priority: Priority::Normal,
        manifests: vec![0],
        place: Location::default(),
        matched: Matched::Host,
    };
    Model { entries: (0..50).step_by(7).map(entry).collect(), ..model }
}

/// A row as a comparison sees it.
type Seen = (String, Scope, String, Vec<String>, Option<String>, bool, Option<Work>);

fn seen(row: RecordedRow<'_>) -> Seen {
    let RecordedRow { provider, scope, text, owners, hash, left_alone, work } = row;
    let (provider, text, hash) = (provider.to_owned(), text.to_owned(), hash.map(str::to_owned));
    (provider, scope, text, owners.to_vec(), hash, left_alone, work.cloned())
}

/// All rows, owed ones, when the next is due, and their numbers.
type Proofs = (Vec<ProofRow>, Vec<ProofRow>, Option<Timestamp>, Vec<(String, ProofVerdict, u64)>);

/// Everything that a store returns.
#[derive(PartialEq)]
struct Everything {
    identity: Identity,
    rows: (Vec<Recorded>, Vec<Seen>, Vec<Seen>),
    manifests: Vec<KnownManifest>,
    runs: Vec<RunRow>,
    calls: Vec<DoubtfulCall>,
    quotas: Vec<QuotaUse>,
    account: Option<String>,
    directories: Option<(String, Timestamp)>,
    away: Vec<AwayCache>,
    tasks: (Vec<OpenTask>, Vec<TaskCounts>),
    proofs: Proofs,
    varies: Vec<(String, Vec<String>)>,
    inputs: Option<Inputs>,
    cache: Option<Vec<u8>>,
    has_work: bool,
}

/// As a run does, and `None` for a first one.
fn everything(path: &Path, model: &Model) -> Result<Option<Everything>, StateError> {
    let Some(store) = SqliteStore::open(path)? else { return Ok(None) };
    // Before anything adds up all rows.
    let owners = &model.provider_keys();
    let (owed, next) = (store.owed_proofs(owners, START.plus_ms(99_999), 99)?, store.next_proof_due(owners)?);
    let (mut scanned, mut looked_up) = (Vec::new(), Vec::new());
    store.scan(&mut |row| scanned.push(seen(row)))?;
    store.look_up(model, &mut |row| looked_up.push(seen(row)))?;
    Ok(Some(Everything {
        identity: store.identity()?,
        rows: (store.recorded()?, scanned, looked_up),
        manifests: store.manifests()?,
        runs: store.runs(99)?,
        calls: store.doubtful_calls()?,
        quotas: store.quota_uses()?,
        account: store.account_of("a")?,
        directories: store.directories_refused("a")?,
        away: store.caches_away(START)?,
        tasks: (store.open_tasks()?, store.task_counts()?),
        proofs: (store.proofs()?, owed, next, store.proof_counts()?),
        varies: store.varies()?,
        inputs: store.inputs()?,
        cache: store.stat_cache("/site/public", &[7; 32]),
        has_work: store.has_work()?,
    }))
}

/// What became of flips.
#[derive(Debug, Default)]
struct Told {
    noticed: usize,
    without_effect: usize,
    /// Noticed, and not as damage.
    misnamed: Vec<String>,
    unnoticed: Vec<String>,
}

/// Flips bits of one of the files, one at a time; where it `is_sealed`, the seal holds for what became of it.
fn flip(files: &[(String, Vec<u8>)], (which, is_sealed): (usize, bool), flips: usize, seed: u64) -> Told {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("state.db");
    let at = |suffix: &str| PathBuf::from(format!("{}{suffix}", path.display()));
    let put = || {
        for suffix in ["-wal", "-shm", ".seal"] {
            let _ = std::fs::remove_file(at(suffix));
        }
        for (suffix, content) in files {
            std::fs::write(at(suffix), content).expect("written");
        }
    };
    let model = listed();
    put();
    let expected = everything(&path, &model).expect("whole");
    assert!(expected.is_some(), "it is there");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut told = Told::default();
    let (suffix, content) = &files[which];
    let has_log = files.iter().any(|(suffix, _)| suffix == "-wal");
    put();
    for _ in 0..flips {
        let (byte, bit) = (random.usize(..content.len()), random.u8(..8));
        if has_log || is_sealed {
            put();
        }
        let file = std::fs::OpenOptions::new().write(true).open(at(suffix)).expect("there");
        file.write_all_at(&[content[byte] ^ (1 << bit)], byte as u64).expect("written");
        drop(file);
        if is_sealed {
            freshen::state::seal_as_it_is(&path);
        }
        match everything(&path, &model) {
            Ok(found) if found == expected => told.without_effect += 1,
            Ok(_) => told.unnoticed.push(format!("{suffix} byte {byte} bit {bit}")),
            Err(
                StateError::Damaged { .. }
                | StateError::Foreign { .. }
                | StateError::Newer { .. }
                | StateError::NotLast { .. },
            ) => {
                told.noticed += 1;
            }
            Err(error) => told.misnamed.push(format!("{suffix} byte {byte} bit {bit}: {error}")),
        }
        // The process that opened it may have taken the log in.
        if let Ok(file) = std::fs::OpenOptions::new().write(true).open(at(suffix)) {
            file.write_all_at(&content[byte..=byte], byte as u64).expect("written");
        }
    }
    told
}

fn read(path: &Path, suffixes: &[&str]) -> Vec<(String, Vec<u8>)> {
    let content = |suffix: &&str| {
        let file = PathBuf::from(format!("{}{suffix}", path.display()));
        ((*suffix).to_owned(), std::fs::read(file).expect("there"))
    };
    suffixes.iter().map(content).collect()
}

fn is_clean(told: &Told) {
    let Told { noticed, without_effect, misnamed, unnoticed } = told;
    assert!(
        misnamed.is_empty() && unnoticed.is_empty(),
        "{noticed} noticed, {without_effect} without effect; misnamed {misnamed:?}; {} unnoticed {:?}",
        unnoticed.len(),
        &unnoticed[..unnoticed.len().min(20)]
    );
}

/// C6: a flipped bit of a state would purge what nobody listed, or purge in vain, or lose a purge.
#[test]
fn a_flipped_bit_of_a_state_is_noticed_or_changes_nothing() {
    let (_folder, path) = made(|_| {});
    let files = read(&path, &["", ".seal"]);
    let flips = FLIPS[usize::from(!crate::support::is_nightly())];
    let halves = std::thread::scope(|scope| {
        let files = &files;
        let halves = [1, 2].map(|seed| scope.spawn(move || flip(files, (0, false), flips / 2, seed)));
        halves.map(|half| half.join().expect("ended"))
    });
    halves.iter().for_each(is_clean);
}

/// C6: so is one that the medium flipped in a file that was not touched, whose seal holds, before a command shows or compares it.
#[test]
fn a_flipped_bit_under_a_seal_that_holds_is_noticed_or_changes_nothing() {
    let (_folder, path) = made(|_| {});
    let files = read(&path, &["", ".seal"]);
    is_clean(&flip(&files, (0, true), FLIPS[usize::from(!crate::support::is_nightly())] / 2, 6));
}

/// C6: an index that lost its entries hides no row.
#[test]
fn an_index_under_a_seal_that_holds_hides_nothing() {
    let (_folder, path) = made(|_| {});
    let model = listed();
    let expected = everything(&path, &model).expect("whole");
    let files = read(&path, &["", ".seal"]);
    let roots = {
        let db = rusqlite::Connection::open(&path).expect("opened");
        let mut statement = db.prepare("SELECT name, rootpage FROM sqlite_master WHERE type = 'index'").expect("read");
        let roots = statement
            .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?.cast_unsigned())))
            .expect("read");
        roots.map(|root| root.expect("an index")).collect::<Vec<_>>()
    };
    assert!(
        ["sqlite_autoindex_account_1", "sqlite_autoindex_manifest_1"]
            .iter()
            .all(|name| roots.iter().any(|(known, _)| known == name))
    );
    let page_bytes = u64::from(u16::from_be_bytes([files[0].1[16], files[0].1[17]]));
    // Whether work is left is asked of an index on purpose: what notes that nothing is goes with any work.
    for (name, root) in roots.iter().filter(|(name, _)| name != "target_work") {
        for (suffix, content) in &files {
            std::fs::write(format!("{}{suffix}", path.display()), content).expect("written");
        }
        let file = std::fs::OpenOptions::new().write(true).open(&path).expect("there");
        // The number of cells in the head of its page.
        file.write_all_at(&[0, 0], (root - 1) * page_bytes + 3).expect("written");
        drop(file);
        freshen::state::seal_as_it_is(&path);
        match everything(&path, &model) {
            Ok(found) => assert!(found == expected, "{name} hides something"),
            Err(StateError::Damaged { .. }) => {}
            Err(error) => panic!("{name}: {error}"),
        }
    }
}

/// C6: so is one of the log of a run that was killed, which the engine cannot tell apart from a commit that was cut short.
#[test]
fn a_flipped_bit_of_a_log_is_noticed_or_changes_nothing() {
    let mut files = Vec::new();
    let _made = made(|path| files = read(path, &["", "-wal", ".seal"]));
    is_clean(&flip(&files, (0, false), FLIPS_BESIDE, 3));
    is_clean(&flip(&files, (1, false), FLIPS_BESIDE, 4));
}

/// C6: one of the seal costs time only.
#[test]
fn a_flipped_bit_of_a_seal_changes_nothing() {
    let (_folder, path) = made(|_| {});
    let told = flip(&read(&path, &["", ".seal"]), (1, false), FLIPS_BESIDE, 5);
    assert_eq!(told.without_effect, FLIPS_BESIDE, "{told:?}");
}
