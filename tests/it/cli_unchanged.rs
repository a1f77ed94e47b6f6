//! Manifests that are as they were, with nothing left to do, are not read again; whatever else might matter is.

use crate::support::cli::{Bench, STATE};
use crate::support::cloud::{Cloud, Step};

fn urls(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("https://cdn.example.com/{number}")).collect()
}

/// A site whose purges were all accepted.
fn done() -> (Cloud, Bench) {
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud);
    bench.assets(&urls(3), "1");
    bench.run(&["apply"]).exits(0);
    (cloud, bench)
}

/// Spoils what a comparison would read: whoever compares finds damage.
fn spoil(bench: &Bench) {
    let state = rusqlite::Connection::open(bench.path(STATE)).expect("opened");
    state.execute("UPDATE target SET owners = ''", []).expect("spoilt");
}

/// S9
#[test]
fn what_did_not_change_is_not_compared_again() {
    let (cloud, bench) = done();
    let told = |bench: &Bench| {
        let human = [bench.run(&["plan"]).exits(0).stdout, bench.run(&["apply"]).exits(0).stdout];
        let mut plan = bench.run(&["plan", "--format", "json", "manifests"]).exits(0).json();
        plan["digest"] = "the same for all that have nothing to do".into();
        let mut apply = bench.run(&["apply", "--format", "json"]).exits(0).json();
        apply["digest"] = "the same for all that have nothing to do".into();
        (human, plan, apply)
    };
    let short = told(&bench);
    assert_eq!(short.0[0], "Nothing to purge: 3 targets desired, 3 already recorded.\n");
    assert_eq!((&short.1["entries"], &short.1["manifests"], &short.1["unchanged"]), (&3.into(), &2.into(), &3.into()));
    assert_eq!(short.2["providers"][0]["kind"], "tencent-cdn");
    let state = rusqlite::Connection::open(bench.path(STATE)).expect("opened");
    state.execute("CREATE TRIGGER always AFTER INSERT ON inputs BEGIN DELETE FROM inputs; END", []).expect("kept away");
    state.execute("DELETE FROM inputs", []).expect("forgotten");
    assert_eq!(told(&bench), short, "the long way says the same");
    state.execute("DROP TRIGGER always", []).expect("gone");
    drop(state);
    bench.run(&["apply"]).exits(0);
    spoil(&bench);
    bench.run(&["plan"]).exits(0).says("Nothing to purge: 3 targets");
    bench.run(&["apply"]).exits(0).says("Nothing to do: 3 targets");
    assert_eq!(cloud.count(), 1);
}

/// S2, L3: all that might leave something to do, or to say, is compared.
#[test]
fn whatever_might_matter_is_compared() {
    type Change = fn(&Bench);
    let changes: [(&str, Change, &[&str]); 9] = [
        ("another hash", |bench| bench.assets(&urls(3), "2"), &["plan"]),
        (
            "a comment",
            |bench| {
                bench.write(
                    "manifests/site.yaml",
                    [bench.read("manifests/site.yaml").expect("there"), b"# so\n".to_vec()].concat(),
                );
            },
            &["apply"],
        ),
        ("another file", |bench| bench.write("manifests/z.yaml", "assets: {}\n"), &["plan"]),
        (
            "a file that is gone",
            |bench| std::fs::remove_file(bench.path("manifests/site.yaml")).expect("gone"),
            &["plan"],
        ),
        ("another selection", |_| {}, &["plan", "--only", "*/1"]),
        ("a provider", |_| {}, &["apply", "--provider", "own"]),
        ("something forced", |_| {}, &["plan", "--force", "*/1"]),
        ("a digest that is expected", |_| {}, &["apply", "--expect", "0123"]),
        ("other paths", |_| {}, &["plan", "manifests/provider-own.yaml", "manifests/site.yaml"]),
    ];
    for (what, change, args) in changes {
        let (_cloud, bench) = done();
        spoil(&bench);
        bench.run(args.split_first().map(|(verb, _)| [*verb]).as_ref().expect("a verb")).exits(0);
        change(&bench);
        assert_eq!(bench.run(args).status, 6, "{what}");
    }
}

/// S2: what is left of a run, and what a command takes from the state, is due again.
#[test]
fn work_that_is_left_is_done_by_the_next_run() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud);
    bench.assets(&urls(3), "1");
    cloud.script([Step::say(403, "")]);
    bench.run(&["apply"]).exits(7);
    bench.run(&["apply"]).exits(0).says("3 purges accepted");
    bench.run(&["state", "forget", "*/1"]).exits(0);
    bench.run(&["apply"]).exits(0).says("1 purge accepted");
    let exported = bench.run(&["state", "export"]).exits(0).stdout.replace("rev:1", "rev:0");
    bench.write("state.jsonl", exported);
    bench.run(&["state", "import", "state.jsonl"]).exits(0);
    bench.run(&["apply"]).exits(0).says("3 purges accepted");
    bench.run(&["adopt"]).exits(0);
    bench.run(&["apply"]).exits(0).says("Nothing to do: 3 targets");
}

/// C6: pages that were written over are found, also where nothing is to be compared.
#[test]
fn damage_is_found_although_nothing_changed() {
    let (_cloud, bench) = done();
    bench.run(&["apply"]).exits(0);
    let mut bytes = bench.read(STATE).expect("a state");
    let page = 4096 * (bytes.len() / 4096 / 2);
    bytes[page..page + 4096].fill(0xa5);
    bench.write(STATE, bytes);
    for verb in ["plan", "apply", "status"] {
        bench.run(&[verb]).exits(6);
    }
}

/// C6, S2: an index that does not know of work that its table holds would let that work be forgotten.
#[test]
fn an_index_that_lost_work_is_damage() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud);
    bench.assets(&urls(3), "1");
    bench.run(&["adopt"]).exits(0);
    let index = |bench: &Bench| {
        let state = rusqlite::Connection::open(bench.path(STATE)).expect("opened");
        let root = "SELECT rootpage FROM sqlite_schema WHERE name = 'target_work'";
        4096 * (state.query_row(root, [], |row| row.get::<_, u32>(0)).expect("an index") as usize - 1)
    };
    let before = bench.read(STATE).expect("a state");
    let page = index(&bench);
    bench.assets(&urls(3), "2");
    cloud.script([Step::say(403, "")]);
    bench.run(&["apply"]).exits(7);
    let mut after = bench.read(STATE).expect("a state");
    after[page..page + 4096].copy_from_slice(&before[page..page + 4096]);
    bench.write(STATE, after);
    bench.run(&["apply"]).exits(6);
}

/// S2: what manifests name may change while they stay as they are.
#[test]
fn sources_are_read_by_every_run() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud);
    bench.write("public/a.html", "1");
    bench.write("SUMS", format!("{}  b.html\n", "1".repeat(64)));
    let sources = "[{directory: ../public}, {checksums: ../SUMS}]";
    bench.write("manifests/site.yaml", format!("base_url: https://cdn.example.com\nsources: {sources}\n"));
    bench.run(&["apply"]).exits(0).says("2 purges accepted");
    bench.run(&["apply"]).exits(0).says("Nothing to do: 2 targets");
    bench.write("public/a.html", "2");
    bench.run(&["apply"]).exits(0).says("1 purge accepted");
    bench.write("SUMS", format!("{}  b.html\n", "2".repeat(64)));
    bench.run(&["apply"]).exits(0).says("1 purge accepted");
}

/// L3: a warning is shown by every run.
#[test]
fn manifests_with_warnings_are_read_by_every_run() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud);
    bench.assets(&["https://cdn.example.com/a b"], "1");
    for _ in 0..3 {
        bench.run(&["apply"]).exits(0).says("an unusual spelling");
    }
    assert_eq!(cloud.count(), 1);
}
