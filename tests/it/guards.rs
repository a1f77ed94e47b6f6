//! What a guard refuses: how long it is known, what it says of it everywhere, and that it holds back nothing else.

use serde_json::{Value, json};

use crate::support::cli::{Bench, manifest, provider};
use crate::support::cloud::Cloud;
use crate::support::reader::get;
use crate::support::watching::Watching;

fn urls(folder: &str, number: usize) -> Vec<String> {
    (0..number).map(|index| format!("http://cdn.example.com/{folder}/{index:03}")).collect()
}

/// A cache, and two manifests with 40 and 5 targets that are recorded.
fn two_manifests() -> (Cloud, Bench) {
    let cloud = Cloud::of("http-purge");
    let bench = Bench::at("http-purge", &cloud);
    lists(&bench, "a", 40, "0");
    lists(&bench, "b", 5, "0");
    bench.run(&["adopt"]).exits(0);
    (cloud, bench)
}

fn lists(bench: &Bench, name: &str, number: usize, revision: &str) {
    bench.write(&format!("manifests/{name}.yaml"), manifest(&urls(name, number), revision));
}

fn status(bench: &Bench) -> Value {
    bench.run(&["status", "--format", "json"]).exits(0).json()
}

/// What is known to be refused, without the moments.
fn refused(bench: &Bench) -> Vec<(String, Value)> {
    let of = |one: &Value| {
        assert!(one["text"].as_str().is_some_and(|text| text.contains("`freshen apply --")), "the way on: {one}");
        (one["manifest"].as_str().expect("a manifest").to_owned(), one["holds_back"].clone())
    };
    status(bench)["refused"].as_array().expect("a list").iter().map(of).collect()
}

/// Makes what is known to be refused, and the runs, seem older.
fn a_day_ago(bench: &Bench) {
    let day = 86_400_000;
    bench.by_hand(&format!("UPDATE refusal SET since = since - {day}; UPDATE seen_removal SET since = since - {day}"));
}

/// The age in the state, in hours, of the oldest work and removals that are left.
fn oldest(bench: &Bench) -> Option<i64> {
    let status = status(bench);
    let work = status["to_do"].as_array().expect("a list").iter();
    let since = work.filter_map(|row| row["work"]["since"].as_str()?.parse::<jiff::Timestamp>().ok()).min()?;
    Some((jiff::Timestamp::now().as_second() - since.as_second()) / 3_600)
}

/// U2: a refused plan stands in the state until it is allowed: with numbers, since when, what it holds back where, and the way on.
/// It is one run of the list, however often it is made.
#[test]
fn a_refused_plan_is_known_until_it_is_allowed() {
    let (cloud, bench) = two_manifests();
    let runs = status(&bench)["runs"].as_array().expect("a list").len();
    lists(&bench, "a", 20, "0");
    lists(&bench, "b", 5, "1");
    bench.run(&["apply"]).exits(5);
    let held = json!([{"provider": "own", "targets": 20}]);
    assert_eq!(refused(&bench), [("manifests/a.yaml".to_owned(), held.clone())]);
    let since = status(&bench)["refused"][0]["since"].clone();
    let told = bench.run(&["status"]).exits(0).says("Refused").says("20 of its 40 recorded targets").stdout;
    for word in [
        "`manifests/a.yaml`",
        "20 targets at own",
        "since ",
        "--allow-removals",
        "goes with `--except-refused`",
        "removals of manifests/a.yaml",
    ] {
        assert!(told.contains(word), "{word}: {told}");
    }
    bench.run(&["apply"]).exits(5);
    bench.run(&["plan"]).exits(0);
    let after = status(&bench);
    let all = after["runs"].as_array().expect("a list");
    assert_eq!((all.len(), &all[0]["exit"], &all[0]["times"]), (runs + 1, &json!(5), &json!(2)), "{all:?}");
    assert_eq!((&all[0]["refused"], &after["refused"][0]["since"]), (&json!("removals of manifests/a.yaml"), &since));
    assert_eq!(after["providers"][0]["pending"], 25, "what is refused is left: {after}");
    bench.run(&["apply", "--allow-removals"]).exits(0);
    assert_eq!((refused(&bench), cloud.count()), (Vec::new(), 25));

    // So it is once what was refused is taken back, or its manifest is gone.
    lists(&bench, "a", 2, "0");
    bench.run(&["apply"]).exits(5);
    assert_eq!(refused(&bench).len(), 1);
    lists(&bench, "a", 20, "0");
    bench.run(&["apply"]).exits(0).says("Nothing to do");
    assert_eq!(refused(&bench), []);
    lists(&bench, "a", 2, "0");
    bench.run(&["apply"]).exits(5);
    bench.run(&["adopt"]).exits(0);
    assert_eq!(refused(&bench), []);
}

/// U2: removals that are not meant are undone, and the rest of their manifest does not wait for that.
#[test]
fn a_refusal_of_removals_says_what_to_do_if_they_are_not_meant() {
    let (cloud, bench) = two_manifests();
    for guard in ["", "guard: {max_removed: 10%}\n"] {
        bench.write("manifests/a.yaml", guard.to_owned() + &manifest(&urls("a", 20), "1"));
        let told = bench.run(&["apply"]).exits(5).stderr;
        assert!(told.contains("; if not, restore what lists them; ") && told.contains("`--only PATTERN`"), "{told}");
        bench.run(&["status"]).exits(0).says("; if not, restore what lists them; ");
    }
    bench.run(&["apply", "--only", "*/a/01*"]).exits(4);
    assert_eq!(cloud.purged(), urls("a", 20)[10..]);
    lists(&bench, "a", 40, "1");
    bench.run(&["apply"]).exits(0);
    assert_eq!(cloud.arrived(), 40);
}

/// U2: each line of what is to do says since when, and of what a guard refuses that it does; what only was left out does not.
#[test]
fn what_is_to_do_says_since_when_and_that_a_guard_refuses_it() {
    let (_cloud, bench) = two_manifests();
    lists(&bench, "a", 20, "0");
    lists(&bench, "b", 4, "1");
    bench.run(&["apply", "--only", "*/b/000"]).exits(4);
    bench.run(&["apply"]).exits(5);
    bench.by_hand("UPDATE target SET since = 1000000; UPDATE seen_removal SET since = 1000000");
    let told = bench.run(&["status"]).exits(0).stdout;
    let line = |url: &str| told.lines().find(|line| line.contains(url)).unwrap_or_else(|| panic!("{url}: {told}"));
    let (lost, left) = (urls("a", 40)[30].clone(), urls("b", 4)[2].clone());
    assert_eq!(
        [line(&lost), line(&left)],
        [
            format!("  removed   own  {lost}  pending: refused by a guard, since 1970-01-01 00:16 UTC"),
            format!("  changed   own  {left}  pending, since 1970-01-01 00:16 UTC")
        ]
    );
    bench.run(&["explain", &lost]).exits(0).says("to do       pending: refused by a guard, since 1970-01-01 00:16 UTC");
    for json in [
        &status(&bench)["to_do"].as_array().expect("a list").iter().find(|row| row["target"] == *lost).expect("a row")
            ["work"],
        &bench.run(&["explain", &lost, "--format", "json"]).exits(0).json()["targets"][0]["state"]["work"],
    ] {
        assert_eq!((&json["standing"], &json["reason"]), (&json!("pending"), &json!("refused by a guard")), "{json}");
    }
}

/// U2: `explain` says since when, and what goes with `freshen apply --except-refused`.
#[test]
fn explain_knows_since_when_a_guard_refuses() {
    let (_cloud, bench) = two_manifests();
    lists(&bench, "a", 20, "0");
    lists(&bench, "b", 5, "1");
    bench.run(&["apply"]).exits(5);
    a_day_ago(&bench);
    let since = status(&bench)["refused"][0]["since"].clone();
    for (url, goes) in [
        (&urls("a", 40)[30], "once that is allowed"),
        (&urls("b", 5)[0], "with `freshen apply --except-refused --state /"),
    ] {
        let told = bench.run(&["explain", url]).exits(0).says("send nothing (exit 5)").says(goes).stdout;
        let own_way_on = told.find(goes) < told.find("manifest is refused: removals of manifests/a.yaml; ");
        assert_eq!((told.contains("20 of its 40"), own_way_on), (goes.starts_with("once"), !goes.starts_with("once")));
        assert!(!told.contains("apply would purge it") && told.contains("since "), "{told}");
        let json = bench.run(&["explain", url, "--format", "json"]).json();
        assert_eq!(json["targets"][0]["refused_since"], since, "{json}");
    }
}

/// U2: `explain` never says what apply would do where apply would exit 5, also of what that would not purge.
#[test]
fn explain_shows_a_refusal_also_for_what_is_not_due() {
    let cloud = Cloud::of("http-purge");
    let bench = Bench::new();
    let limited = provider("own", "http-purge", &cloud.url(), "").replace("{calls_per", "{urls_per_day: 6, calls_per");
    bench.write("manifests/provider-own.yaml", limited);
    lists(&bench, "d", 3, "0");
    lists(&bench, "f", 2, "0");
    bench.run(&["adopt"]).exits(0);
    bench.write("manifests/a.yaml", format!("guard: {{max_purges: 2}}\n{}", manifest(&urls("a", 5), "0")));
    lists(&bench, "b", 5, "0");
    bench.write("manifests/c.yaml", format!("on_new: adopt\n{}", manifest(&urls("c", 1), "0")));
    bench.write("manifests/f.yaml", format!("on_removed: forget\n{}", manifest(&urls("f", 1), "0")));
    bench.run(&["apply"]).exits(5);
    for (url, says) in [
        (&urls("b", 5)[4], "` it would wait until "),
        (&urls("c", 1)[0], "` it would record it without a purge"),
        (&urls("f", 2)[1], "` it would drop it from the state"),
        (&urls("d", 1)[0], "` it would do nothing: the recorded hash"),
        (&urls("a", 1)[0], "once that is allowed it would purge it (new)"),
    ] {
        let told = bench.run(&["explain", url]).exits(0).says("(exit 5)").says(says).stdout;
        assert!(!told.contains("apply would wait") && !told.contains("apply would do"), "{told}");
        let json = bench.run(&["explain", url, "--format", "json"]).json()["targets"][0].clone();
        assert_eq!((json["refused"].is_string(), &json["goes_except_refused"]), (true, &false.into()), "{json}");
    }
}

/// U2: what is refused keeps its age over looks, restarts and commands. A removal that is taken back and comes again is a new one.
#[test]
fn what_is_refused_keeps_its_age() {
    let (_cloud, bench) = two_manifests();
    lists(&bench, "a", 20, "0");
    bench.run(&["apply"]).exits(5);
    a_day_ago(&bench);
    for command in
        [&["apply"][..], &["plan"], &["apply", "--only", "*/b/*"], &["apply", "--except-refused"], &["apply"]]
    {
        bench.run(command);
        assert_eq!(oldest(&bench), Some(24), "{command:?}");
    }
    let plan = bench.run(&["plan", "--format", "json"]).exits(0).json();
    assert_eq!(plan["changes"][0]["since"], status(&bench)["to_do"][0]["work"]["since"]);
    assert!(bench.exported().iter().all(|row| row["work"].is_null()), "no removal is kept as work");
    lists(&bench, "a", 40, "0");
    bench.run(&["apply"]).exits(0).says("Nothing to do");
    assert_eq!(oldest(&bench), None);
    lists(&bench, "a", 20, "0");
    bench.run(&["apply"]).exits(5);
    assert_eq!(oldest(&bench), Some(0), "it is a new one");
}

/// U2: the age that is measured is the age of what is refused, from the first look of a watch on; its page says the rest.
#[test]
fn a_watch_measures_the_age_of_what_is_refused() {
    let (_cloud, bench) = two_manifests();
    lists(&bench, "a", 20, "0");
    bench.run(&["apply"]).exits(5);
    a_day_ago(&bench);
    let mut watching = Watching::start(&bench, &["--listen", "127.0.0.1:0"]);
    let told = watching.says("listening at")["message"].as_str().expect("a text").to_owned();
    let at = told.rsplit_once("http://").expect("an address").1.parse().expect("an address");
    let refused = watching.says("refused: manifest `manifests/a.yaml`");
    assert!(refused["since"].is_string() && refused["holds_back"] == "20 targets at own", "{refused}");
    watching.ends_a_run();
    let metrics = get(at, "/metrics").body;
    let age =
        metrics.lines().find_map(|line| line.strip_prefix("freshen_oldest_pending_age_seconds{provider=\"own\"} "));
    assert!(age.and_then(|age| age.parse::<f64>().ok()).is_some_and(|age| age > 86_000.0), "{age:?} {metrics}");
    let page = get(at, "/").body;
    for word in ["refused by a guard since ", "20 targets at own", "20 of its 40", "--allow-removals"] {
        assert!(page.contains(word), "{word}: {page}");
    }
    watching.stop();
}

/// U2: of what a guard refuses the log names the oldest that it is about, and the page shows what each change is.
#[test]
fn a_watch_shows_what_kind_of_change_each_is() {
    let (_cloud, bench) = two_manifests();
    lists(&bench, "a", 20, "1");
    bench.run(&["apply"]).exits(5);
    bench.by_hand("UPDATE target SET since = since - 172800000 WHERE since IS NOT NULL");
    let mut watching = Watching::start(&bench, &["--listen", "127.0.0.1:0"]);
    let told = watching.says("listening at")["message"].as_str().expect("a text").to_owned();
    let at = told.rsplit_once("http://").expect("an address").1.parse().expect("an address");
    let refused = watching.says("refused: manifest `manifests/a.yaml`");
    assert_eq!((&refused["target"], &refused["change"]), (&json!(urls("a", 40)[20]), &json!("removed")), "{refused}");
    assert_eq!(refused["holds_back"], "40 targets at own");
    watching.ends_a_run();
    let page = get(at, "/").body;
    let targets = page.split("Targets that are left").nth(1).unwrap_or_else(|| panic!("{page}"));
    for word in [">Change<", ">changed<", ">removed<"] {
        assert!(targets.contains(word), "{word}: {targets}");
    }
    watching.stop();
}

/// C11: `--only` and `--provider` count what they select. A removal that they leave out is kept as work only where guards would
/// let all of them through: more of them may be an accident.
#[test]
fn guards_count_what_is_selected() {
    let (cloud, bench) = two_manifests();
    lists(&bench, "a", 3, "0");
    lists(&bench, "b", 5, "1");
    let (one, gone) = (&urls("b", 5)[0], &urls("a", 40)[39]);
    bench.run(&["apply", "--only", one]).exits(4);
    bench.run(&["apply", "--only", gone]).exits(4);
    assert_eq!(cloud.purged(), [gone.clone(), one.clone()]);
    bench.run(&["apply", "--only", "*/a/*"]).exits(5).says("36 of its 39 recorded targets");
    bench.run(&["apply"]).exits(5);
    bench.run(&["apply"]).exits(5);
    bench.run(&["apply", "--only", gone]).exits(4);
    bench.run(&["apply"]).exits(5);
    lists(&bench, "a", 39, "0");
    bench.run(&["apply"]).exits(0);
    assert_eq!(cloud.purged().len(), 6, "what was left out of a run is no work of a later one");
}

/// R6: what a run leaves out was seen all the same, and its URL may have answered 404 meanwhile.
#[test]
fn few_removals_that_were_left_out_are_purged_though_they_are_back() {
    let (cloud, bench) = two_manifests();
    lists(&bench, "a", 35, "0");
    bench.run(&["apply", "--only", &urls("a", 40)[39]]).exits(4);
    lists(&bench, "a", 39, "0");
    bench.run(&["apply"]).exits(0);
    assert_eq!(cloud.purged(), urls("a", 40)[35..], "those that are back are purged as well");
    bench.run(&["apply"]).exits(0).says("Nothing to do");
}

/// C11, S1: what a selection leaves out is not forgotten either, however its manifest treats what is gone.
#[test]
fn what_is_left_out_is_not_forgotten() {
    let (cloud, bench) = two_manifests();
    let lists = |number, revision| {
        let policy = "guard: {max_removed: 30%}\non_new: adopt\non_removed: forget\n";
        bench.write("manifests/a.yaml", format!("{policy}{}", manifest(&urls("a", number), revision)));
    };
    lists(5, "0");
    bench.run(&["apply"]).exits(5);
    bench.run(&["apply", "--only", &urls("b", 5)[0]]).exits(0);
    bench.run(&["apply", "--provider", "own", "--only", &urls("a", 5)[0]]).exits(0);
    lists(40, "1");
    bench.run(&["apply"]).exits(0);
    assert_eq!(cloud.arrived(), 40, "all of them were known: a new one would be adopted");
}

/// C11: the base of a share is what the manifest has at the providers that are selected.
#[test]
fn a_share_is_one_of_the_providers_that_are_selected() {
    let cloud = Cloud::of("http-purge");
    let mut bench = Bench::new();
    for name in ["p1", "p2", "p3", "p4"] {
        bench = bench.provider(name, "http-purge", &cloud.url(), "");
    }
    lists(&bench, "a", 40, "0");
    bench.run(&["adopt"]).exits(0);
    lists(&bench, "a", 20, "0");
    bench.run(&["apply", "--provider", "p1"]).exits(5).says("20 of its 40 recorded targets");
    assert_eq!(cloud.arrived(), 0);
}

/// C11: a first run counts what it selects as well.
#[test]
fn a_first_run_counts_what_is_selected() {
    let cloud = Cloud::of("http-purge");
    let bench = Bench::at("http-purge", &cloud);
    lists(&bench, "a", 120, "0");
    bench.run(&["apply", "--force", "*/a/001"]).exits(5).says("first run");
    bench.run(&["apply", "--force", "*/a/001", "--only", "*/a/001"]).exits(4);
    assert_eq!(cloud.purged(), [urls("a", 2)[1].clone()]);
}

/// C11: a manifest that a guard refuses keeps no other one from being sent where that is asked for, and nothing of it goes.
#[test]
fn the_rest_goes_with_except_refused() {
    let (cloud, bench) = two_manifests();
    lists(&bench, "a", 20, "1");
    lists(&bench, "b", 5, "1");
    bench.run(&["apply"]).exits(5);
    assert_eq!(cloud.arrived(), 0);
    let plan = bench.run(&["plan", "--except-refused", "--format", "json"]).exits(0).json();
    assert_eq!((&plan["calls"], plan["refused"].as_array().map(Vec::len)), (&json!(5), Some(1)), "{plan}");
    let digest = plan["digest"].as_str().expect("a digest").to_owned();
    bench.run(&["plan", "--except-refused"]).exits(0).says("5 purges in 5 calls today, 40 refused by a guard");
    bench
        .run(&["plan"])
        .exits(0)
        .says("apply would refuse: manifest")
        .says("goes with `freshen apply --except-refused`");
    let title = "### freshen: `apply` would leave out a part of this: ";
    bench.run(&["plan", "--except-refused", "--format", "markdown"]).exits(0).says(title);
    bench.run(&["apply", "--except-refused", "--rehearse"]).exits(5);
    bench.run(&["apply", "--except-refused", "--expect", "0123"]).exits(5).says(&digest);
    assert_eq!(cloud.arrived(), 0);
    let told = bench.run(&["apply", "--except-refused", "--expect", &digest]).exits(5).says("20 of its 40");
    assert!(told.stdout.contains("5 purges accepted"), "{}", told.stdout);
    assert_eq!(cloud.purged(), urls("b", 5));
    let last = status(&bench)["runs"][0].clone();
    assert_eq!(
        (&last["exit"], &last["accepted"], &last["refused"]),
        (&json!(5), &json!(5), &json!("removals of manifests/a.yaml"))
    );
    bench.run(&["apply", "--except-refused"]).exits(5);
    bench.run(&["apply", "--except-refused"]).exits(5);
    assert_eq!((cloud.arrived(), &status(&bench)["runs"][0]["times"]), (5, &json!(2)));
    assert!(bench.due().iter().all(|url| url.contains("/a/")) && bench.due().len() == 20, "no removal is work");
    bench.run(&["apply", "--except-refused", "--allow-removals"]).exits(0);
    assert_eq!((cloud.arrived(), refused(&bench)), (45, Vec::new()));
}

/// C11: comments and JSON say what goes on and how, in whole, and promise nothing that a guard refuses.
#[test]
fn comments_and_json_of_what_is_refused_have_the_way_on() {
    let (_cloud, bench) = two_manifests();
    let named = |number| format!("name: {}\n{}", "long".repeat(60), manifest(&urls("a", number), "0"));
    bench.write("manifests/a.yaml", named(40));
    bench.run(&["adopt"]).exits(0);
    bench.write("manifests/a.yaml", named(20));
    lists(&bench, "b", 5, "1");
    let comment = bench
        .run(&["plan", "--format", "markdown"])
        .exits(0)
        .says("What is not refused goes with `freshen apply --except-refused`.\n")
        .stdout;
    assert!(comment.contains("Plan digest `") && !comment.contains("applies exactly this"), "{comment}");
    bench.run(&["plan", "--except-refused", "--format", "markdown"]).exits(0).says("` applies exactly this.");
    let (title, way_on) = (
        "### freshen: partial: 5 purges accepted in 5 calls",
        "`freshen apply --allow-removals --except-refused` for once",
    );
    bench
        .run(&["apply", "--except-refused", "--format", "markdown"])
        .exits(5)
        .says(title)
        .says(way_on)
        .says("`max_removed` in its guard for good");
    let json = bench.run(&["apply", "--except-refused", "--format", "json"]).exits(5).json();
    let refused = json["refused"][0].as_str().expect("a text");
    assert!(refused.contains(way_on), "{json}");
    let plan = bench.run(&["plan", "--except-refused", "--format", "json"]).exits(0).json();
    assert_eq!(plan["refused"], json["refused"]);
}

/// C11: what a refused manifest would adopt, forget or hand over stays as it is.
#[test]
fn nothing_of_a_refused_manifest_is_recorded() {
    let (_cloud, bench) = two_manifests();
    let forgets = |number: usize| {
        let text = format!(
            "on_new: adopt\non_removed: forget\nguard: {{max_removed: 10%}}\n{}",
            manifest(&urls("a", number), "0")
        );
        bench.write("manifests/a.yaml", text.replace("/a/000", "/a/new"));
    };
    forgets(20);
    lists(&bench, "b", 5, "1");
    bench.run(&["apply", "--except-refused"]).exits(5);
    let known: Vec<String> =
        bench.exported().iter().map(|row| row["target"].as_str().expect("text").to_owned()).collect();
    assert!(urls("a", 40).iter().all(|url| known.contains(url)), "{known:?}");
    assert_eq!(known.len(), 45, "nothing is adopted: {known:?}");
    (0..2).for_each(|_| drop(bench.run(&["apply", "--except-refused"]).exits(5)));
    assert_eq!(status(&bench)["runs"][0]["times"], 2, "that its policy is another one is nothing to do either");
    bench.run(&["apply", "--allow-removals"]).exits(0);
    assert_eq!(bench.exported().len(), 25);
}

/// C11: manifests between which a target moved are held together.
#[test]
fn manifests_that_exchange_targets_are_held_together() {
    let (cloud, bench) = two_manifests();
    lists(&bench, "c", 5, "0");
    bench.run(&["adopt"]).exits(0);
    lists(&bench, "a", 20, "0");
    let moved = [urls("b", 5), urls("a", 40)[39..].to_vec()].concat();
    bench.write("manifests/b.yaml", manifest(&moved, "1"));
    lists(&bench, "c", 5, "1");
    // What a run has marked frees nothing in the next one.
    for command in [&["apply", "--except-refused"][..], &["apply"], &["apply", "--except-refused"]] {
        bench.run(command).exits(5);
        assert_eq!(cloud.purged(), urls("c", 5), "{command:?}");
    }
    let held = urls("b", 5)[2].clone();
    let why = "pending: held back with manifest `manifests/a.yaml`, which a guard refuses, since 20";
    let told = bench.run(&["status"]).exits(0).stdout;
    assert!(told.contains(&format!("{held}  {why}")), "{told}");
    assert!(told.contains("held back with it, since targets moved between them: `manifests/b.yaml`\n"), "{told}");
    assert_eq!(status(&bench)["refused"][0]["held_with"], json!(["manifests/b.yaml"]));
    bench
        .run(&["explain", &held])
        .exits(0)
        .says(why)
        .says("`freshen apply --allow-removals --state /")
        .says("once that is allowed");
    bench.run(&["apply", "--allow-removals"]).exits(0);
    assert_eq!(cloud.arrived(), 5 + 6 + 19);
}

/// C11: a quota that is left by what is refused is there for the rest, whose guards are asked again for more of it.
#[test]
fn what_is_refused_takes_no_quota() {
    let cloud = Cloud::of("http-purge");
    let bench = Bench::new();
    let limited = provider("own", "http-purge", &cloud.url(), "").replace("{calls_per", "{urls_per_day: 6, calls_per");
    bench.write("manifests/provider-own.yaml", limited);
    bench.write("manifests/a.yaml", format!("guard: {{max_purges: 2}}\n{}", manifest(&urls("a", 5), "0")));
    bench.write("manifests/b.yaml", format!("guard: {{max_purges: 4}}\n{}", manifest(&urls("b", 5), "0")));
    lists(&bench, "c", 3, "0");
    bench
        .run(&["apply", "--except-refused"])
        .exits(5)
        .says("manifest `manifests/a.yaml`: 5 purges")
        .says("manifest `manifests/b.yaml`: 5 purges");
    assert_eq!(cloud.purged(), urls("c", 3));
}

/// C11: a watch sends what no guard refuses by itself, and keeps trying what earlier runs let through.
#[test]
fn a_watch_sends_what_no_guard_refuses() {
    let (cloud, bench) = two_manifests();
    let mut watching = Watching::start(&bench, &["--resync", "100ms"]);
    assert_eq!(watching.ends_a_run()["refused"], Value::Null);
    lists(&bench, "a", 20, "0");
    lists(&bench, "b", 5, "1");
    watching.says("refused: manifest `manifests/a.yaml`");
    while cloud.arrived() < 5 {
        watching.ends_a_run();
    }
    lists(&bench, "b", 5, "2");
    while cloud.arrived() < 10 {
        watching.ends_a_run();
    }
    for _ in 0..3 {
        let ended = watching.ends_a_run();
        assert_eq!((&ended["level"], &ended["refused"]), (&json!("INFO"), &json!(20)), "{ended}");
    }
    assert_eq!(cloud.arrived(), 10, "nothing of what is refused");
    assert_eq!(status(&bench)["refused"].as_array().map(Vec::len), Some(1));
    lists(&bench, "a", 40, "0");
    watching.says("nothing is refused any more");
    let told = watching.stop();
    let trouble = told.iter().filter(|record| record["message"].as_str().is_some_and(|text| text.contains("fail")));
    assert_eq!(trouble.count(), 0, "what is refused is no failure");
    assert_eq!((cloud.arrived(), refused(&bench)), (10, Vec::new()));
}

/// U2: a URL that is not there any more was purged, and when is known for a month.
#[test]
fn explain_knows_when_a_removed_url_was_purged() {
    let (_cloud, bench) = two_manifests();
    lists(&bench, "b", 4, "0");
    bench.run(&["apply"]).exits(0);
    let gone = &urls("b", 5)[4];
    let run = status(&bench)["runs"][0]["run"].clone();
    bench
        .run(&["explain", gone])
        .exits(0)
        .says("removed, and purged at provider own on 20")
        .says(&format!("by run {run}"));
    // As it finds a URL that is there: by its path, and without its scheme.
    for meant in [&gone[22..], &gone[7..]] {
        bench.run(&["explain", meant]).exits(0).says(&format!("{gone} at provider own")).says("removed, and purged");
    }
    bench.run(&["explain", &gone.replace("http:", "https:")]).exits(2).says(&format!("did you mean `{gone}`?"));
    let json = bench.run(&["explain", gone, "--format", "json"]).exits(0).json();
    assert_eq!((&json["targets"][0]["purged"]["run"], &json["targets"][0]["provider"]), (&run, &json!("own")));
    bench.by_hand("UPDATE purged_removal SET at = at - 2592100000");
    lists(&bench, "b", 3, "0");
    bench.run(&["apply"]).exits(0);
    bench.run(&["explain", gone]).exits(2);
    bench.run(&["explain", &urls("b", 5)[3]]).exits(0);
}
