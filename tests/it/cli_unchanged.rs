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

/// Spoils what a comparison would read: a comparison finds damage.
fn spoil(bench: &Bench) {
    bench.by_hand("UPDATE target SET owners = ''");
}

/// S9
#[test]
fn what_did_not_change_is_not_compared_again() {
    let (cloud, bench) = done();
    let told = |before: &dyn Fn()| {
        let run = |arguments: &[&str]| {
            before();
            bench.run(arguments).exits(0)
        };
        let human = [run(&["plan"]).stdout, run(&["apply"]).stdout];
        let mut plan = run(&["plan", "--format", "json", "manifests"]).json();
        plan["digest"] = "the same for all that have nothing to do".into();
        let mut apply = run(&["apply", "--format", "json"]).json();
        apply["digest"] = "the same for all that have nothing to do".into();
        (human, plan, apply)
    };
    let short = told(&|| {});
    assert_eq!(short.0[0], "Nothing to purge: 3 targets desired, 3 already recorded.\n");
    assert_eq!((&short.1["entries"], &short.1["manifests"], &short.1["unchanged"]), (&3.into(), &2.into(), &3.into()));
    assert_eq!(short.2["providers"][0]["kind"], "tencent-cdn");
    let forget = || bench.by_hand("DELETE FROM inputs");
    assert_eq!(told(&forget), short, "the long way says the same");
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

const FIRST: &str = "base_url: https://cdn.example.com/a/\nassets:\n  1: rev:1\n  2: rev:1\n  3: rev:1\n";
const SECOND: &str =
    "base_url: https://cdn.example.com/b/\nassets:\n- path: x\n  hash: rev:1\n- path: y\n  hash: rev:1\n";

/// Two manifests with simple lists, all recorded.
fn two_lists() -> (Cloud, Bench) {
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud);
    bench.write("manifests/first.yaml", FIRST);
    bench.write("manifests/second.yaml", SECOND);
    bench.run(&["apply"]).exits(0).says("5 purges accepted");
    (cloud, bench)
}

/// Spoils what a comparison would read of the second manifest: a comparison finds damage.
fn spoil_second(bench: &Bench) {
    bench.by_hand("UPDATE target SET owners = '' WHERE target LIKE '%/b/_'");
}

type Edit = (&'static str, bool, fn(&Bench));

/// Edits of the two manifests, and whether the first one is enough to know what they change.
const EDITS: [Edit; 17] = [
    ("a hash", true, |bench| edit(bench, "first", "2: rev:1", "2: rev:2")),
    ("a new asset", true, |bench| edit(bench, "first", "  3:", "  25: rev:1\n  3:")),
    ("all hashes", true, |bench| edit(bench, "first", "rev:1", "rev:2")),
    ("a comment", true, |bench| edit(bench, "first", "base_url", "# so\nbase_url")),
    ("another form", true, |bench| edit(bench, "first", "2: rev:1", "2: {hash: rev:2}")),
    ("a host that is written otherwise", false, |bench| edit(bench, "first", "cdn.", "CDN.")),
    ("a lost asset", false, |bench| edit(bench, "first", "  3: rev:1\n", "")),
    ("an asset in place of another", false, |bench| edit(bench, "first", "  3:", "  4:")),
    ("what the other lists", false, |bench| edit(bench, "first", "  3:", "  https://cdn.example.com/b/x: rev:1\n  3:")),
    ("another name", false, |bench| edit(bench, "first", "assets", "name: other\nassets")),
    ("another policy", false, |bench| edit(bench, "first", "assets", "on_removed: forget\nassets")),
    ("a provider more", false, |bench| {
        edit(
            bench,
            "first",
            "assets",
            "providers: {z: {kind: http-purge, endpoints: [\"http://127.0.0.1:9\"]}}\nassets",
        );
    }),
    ("another base", false, |bench| edit(bench, "first", "/a/", "/c/")),
    ("a file more", false, |bench| bench.write("manifests/third.yaml", "assets: {}\n")),
    ("a file less", false, |bench| std::fs::remove_file(bench.path("manifests/first.yaml")).expect("gone")),
    ("a directory that may be purged", false, |bench| {
        edit(bench, "first", "assets", "collapse: {directory: /a/, above: 5}\nassets");
    }),
    ("other limits", false, |bench| edit(bench, "provider-own", "kind:", "limits: {urls_per_call: 1}\n    kind:")),
];

fn edit(bench: &Bench, manifest: &str, from: &str, to: &str) {
    let name = format!("manifests/{manifest}.yaml");
    let text = String::from_utf8(bench.read(&name).expect("there")).expect("text");
    assert!(text.contains(from), "{text}");
    bench.write(&name, text.replace(from, to));
}

/// S2, S9: lists that did not change are passed over where nothing depends on them, and nowhere else.
#[test]
fn only_changed_manifests_are_compared_where_they_tell_all() {
    for (what, is_enough, edit) in EDITS {
        let (_cloud, bench) = two_lists();
        edit(&bench);
        spoil_second(&bench);
        let ran = bench.run(&["plan"]);
        assert_eq!(ran.status == 0, is_enough, "{what}: {}{}", ran.stdout, ran.stderr);
    }
}

/// S2: what is shown without a look at all manifests is what all of them say, and is then purged.
#[test]
fn changed_manifests_tell_what_all_of_them_tell() {
    for (what, _, edit) in EDITS {
        let (_cloud, bench) = two_lists();
        edit(&bench);
        let short = bench.run(&["plan", "--format", "json"]);
        let state = rusqlite::Connection::open(bench.path(STATE)).expect("opened");
        let noted: String =
            state.query_row("SELECT json_array(digest, frame) FROM inputs", [], |row| row.get(0)).expect("noted");
        drop(state);
        bench.by_hand("UPDATE inputs SET digest = '', frame = ''");
        let long = bench.run(&["plan", "--format", "json"]);
        let timeless = |text: String| text.lines().filter(|line| !line.contains("since")).collect::<String>();
        assert_eq!((short.status, timeless(short.stdout)), (long.status, timeless(long.stdout)), "{what}");
        bench.by_hand(&format!("UPDATE inputs SET digest = '{noted}' ->> 0, frame = '{noted}' ->> 1"));
        let applied = bench.run(&["apply", "--allow-removals"]);
        if long.status == 0 {
            assert_eq!(applied.status, 0, "{what}: {}", applied.stderr);
            // A second edit goes on from what the first one noted.
            bench.run(&["apply"]).exits(0).says("Nothing to do");
            bench.write("manifests/second.yaml", SECOND.replace("y\n  hash: rev:1", "y\n  hash: rev:7"));
            bench.run(&["apply"]).exits(0).says("1 purge accepted");
            assert_eq!(bench.recorded().iter().filter(|row| row.contains("rev:7")).count(), 1, "{what}");
        }
    }
}
