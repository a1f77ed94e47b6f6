//! Every command but `apply` itself: what it prints, what it leaves alone, how it ends. JSON is parsed, not matched.

use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::cli::{Bench, Ran, STATE, make_pipe, manifest, provider};
use crate::support::cloud::{Cloud, HOSTS, Step};
use crate::support::watching::Watching;

fn urls(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("https://cdn.example.com/{index}.js")).collect()
}

/// The example manifests of the repository.
fn examples() -> String {
    format!("{}/manifests", env!("CARGO_MANIFEST_DIR"))
}

fn texts(list: &Value, key: &str) -> Vec<String> {
    list.as_array().expect("a list").iter().map(|one| one[key].as_str().expect("text").to_owned()).collect()
}

#[test]
fn plan_tells_changes_and_calls_and_writes_nothing() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud);
    bench.assets(&urls(3), "1");
    bench
        .run(&["plan"])
        .exits(0)
        .says("3 changes: 3 new; 3 purges in 1 call today; 0 unchanged\n")
        .says("new")
        .says(&urls(3)[2]);
    bench.run(&["plan", "--exit-code"]).exits(3);
    assert!(bench.read(STATE).is_none() && cloud.requests().is_empty());
    bench.run(&["apply"]).exits(0);
    bench.assets(&urls(4)[1..], "1");
    bench.write("manifests/more.yaml", "assets: {\"https://cdn.example.com/q?a=1&b=2\": rev:1}\n");
    let before = bench.read(STATE);
    let plan = bench.run(&["plan", "--format", "json"]).exits(0).json();
    assert_eq!(
        (plan["version"].as_u64(), plan["calls"].as_u64(), plan["unchanged"].as_u64()),
        (Some(1), Some(1), Some(2))
    );
    assert_eq!(texts(&plan["changes"], "kind"), ["removed", "new", "new"]);
    assert_eq!(plan["changes"][1]["manifest"], "manifests/site.yaml");
    assert_eq!(plan["changes"][1]["line"], 4);
    assert_eq!(plan["changes"][2]["target"], "https://cdn.example.com/q?a=1&b=2");
    assert!(bench.read(STATE) == before, "a plan reads only");
    let shown = bench.run(&["apply", "--dry-run", "--format", "json"]).exits(0).json();
    assert_eq!(timeless(shown), timeless(plan));
    assert_eq!(cloud.count(), 1);
}

/// S5, T3
#[test]
fn a_plan_tells_when_a_configured_quota_day_ends() {
    let cloud = Cloud::of("huawei-vod");
    for (limits, resets_at) in [("", "T16:00:00Z"), ("limits: {quota_day: -05:30}\n", "T05:30:00Z")] {
        let bench = Bench::at("huawei-vod", &cloud).provider("own", "huawei-vod", &cloud.url(), limits);
        bench.assets(&urls(3), "1");
        let plan = bench.run(&["plan", "--format", "json"]).exits(0).json();
        let quota = &plan["jobs"][0]["quota"];
        assert!(quota["resets_at"].as_str().is_some_and(|time| time.ends_with(resets_at)), "{plan}");
    }
}

/// T3, L3: what a plan sends since the limit was raised does not wait, whatever the run before said.
#[test]
fn what_a_plan_sends_is_not_called_deferred() {
    let cloud = Cloud::of("tencent-vod");
    let bench = Bench::at("tencent-vod", &cloud);
    let limited = |urls: u32| {
        let limits = format!("limits: {{urls_per_day: {urls}}}\n");
        bench.write("manifests/provider-own.yaml", provider("own", "tencent-vod", &cloud.url(), &limits));
    };
    limited(1);
    bench.assets(&urls(3), "1");
    bench.run(&["apply"]).exits(4);
    // Each says its own day, in the plan and when it was deferred.
    let plan = bench.run(&["plan"]).exits(0).says(": over today's quota)").stdout;
    let days = bench.run(&["plan", "--format", "json"]).json();
    let days: Vec<&str> =
        days["changes"].as_array().expect("a list").iter().map(|one| one["until"].as_str().expect("a time")).collect();
    assert!(days[0] < days[1], "{days:?}");
    let last = format!("2 changes: 2 new; nothing is sent now, 2 later (last on {})", &days[1][..10]);
    assert!(plan.starts_with(&last), "{plan}");
    let status = bench.run(&["explain", &urls(3)[2]]).exits(0);
    status.says(&format!("until {} {}", &days[1][..10], &days[1][11..16]));
    limited(10);
    for format in ["human", "markdown", "github"] {
        let plan = bench.run(&["plan", "--format", format]).exits(0);
        assert!(!plan.stdout.contains("deferred"), "{}", plan.stdout);
    }
    bench.run(&["apply"]).exits(0);
}

/// A plan without the moment at which its changes were first seen, which is that of the run.
fn timeless(mut plan: Value) -> Value {
    for change in plan["changes"].as_array_mut().expect("a list") {
        change["since"] = Value::Null;
    }
    plan
}

#[test]
fn rehearsing_the_examples_needs_no_environment_and_leaves_nothing_behind() {
    let bench = Bench::new();
    let ran = bench.run(&["apply", "--rehearse", &examples()]).exits(0);
    assert!(ran.stdout.contains("A second run would find: nothing to do."), "{}", ran.stdout);
    let json = bench.run(&["apply", "--rehearse", "--format", "json", &examples()]).exits(0).json();
    assert_eq!((&json["rehearsal"], &json["second_run_changes"], &json["exit"]), (&true.into(), &0.into(), &0.into()));
    assert_eq!(std::fs::read_dir(bench.path(".")).expect("a folder").count(), 0, "no state, no lock");
}

#[test]
fn rehearsing_with_a_state_works_on_a_copy() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud);
    bench.assets(&urls(3), "1");
    bench.run(&["apply"]).exits(0);
    cloud.count();
    bench.assets(&urls(3), "2");
    let before = bench.read(STATE);
    bench.run(&["apply", "--rehearse"]).exits(0).says("3 purges accepted in 1 call");
    bench.run(&["apply", "--rehearse", "--deadline", "10m"]).exits(0).says("3 purges accepted in 1 call");
    assert!(bench.read(STATE) == before && cloud.count() == 0);
}

/// What is right for real caches succeeds in a rehearsal: providers may share one, and each speaks to it as it is configured.
#[test]
fn rehearsed_caches_are_told_apart_by_all_that_a_manifest_says_of_them() {
    let shared = |a: &str, b: &str| {
        let of =
            |name: &str, extra: &str| format!("  {name}: {{kind: http-purge, hosts: [{name}.example.com], {extra}}}\n");
        let assets = "base_url: [https://a.example.com/, https://b.example.com/]\nassets: {1.js: rev:1}\n";
        let manifest = format!("providers:\n{}{}{assets}", of("a", a), of("b", b));
        let bench = Bench::new().file("manifests/site.yaml", manifest);
        let ran = bench.run(&["apply", "--rehearse"]).exits(0);
        assert!(ran.stdout.contains("A second run would find: nothing to do."), "{}", ran.stdout);
    };
    let one = "endpoints: [\"http://127.0.0.1:6081\"]";
    shared(one, &format!("{one}, method: BAN"));
    shared(&format!("{one}, expect_status: [204]"), &format!("{one}, expect_status: [205]"));
    shared(one, "endpoints: [\"http://127.0.0.1:6081/b\"]");
    shared("endpoints: [\"http://127.0.0.1:6081/a\", \"http://127.0.0.1:6081/c\"]", one);
}

/// A provider that names no hosts carries those of its URLs, also of URLs that are to be removed.
#[test]
fn a_removal_is_rehearsed_also_where_no_hosts_are_named() {
    for provider in [
        "{kind: tencent-cdn, endpoint: \"http://127.0.0.1:6081\"}",
        "{kind: http-purge, endpoints: [\"http://127.0.0.1:6081\"]}",
    ] {
        let list = |assets: &str| format!("providers:\n  own: {provider}\nprovider: own\nassets: {{{assets}}}\n");
        let (kept, gone) = ("\"https://a.example.com/1\": rev:1", "\"http://gone.example.com:8080/1?x\": rev:1");
        let bench = Bench::new().file("manifests/site.yaml", list(&format!("{kept}, {gone}")));
        bench.run(&["adopt"]).exits(0);
        bench.write("manifests/site.yaml", list(kept));
        bench.run(&["apply", "--rehearse"]).exits(0).says("1 purge accepted in 1 call");
    }
}

#[test]
fn check_reports_problems_as_json_with_their_places() {
    let bench = Bench::new().file("manifests/a.yaml", "assets:\n  https://a.cn/x: sha256:12\n  b: rev:1\nunkown: 1\n");
    let ran = bench.run(&["check", "--format", "json"]).exits(2);
    let json = ran.json();
    let problems = json["problems"].as_array().expect("a list");
    assert!(problems.len() >= 3 && json["valid"] == false, "{json}");
    for problem in problems {
        assert!(problem["line"].is_u64() && problem["column"].is_u64() && problem["file"].is_string(), "{problem}");
    }
    let valid = bench.run(&["check", "--format", "json", &examples()]).exits(0).json();
    assert_eq!((&valid["valid"], &valid["providers"]), (&true.into(), &6.into()));
    bench.run(&["check", &examples()]).exits(0).says("Valid: 5 manifests, 6 providers");
}

#[test]
fn status_and_explain_tell_where_a_target_stands() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud);
    bench.run(&["status"]).exits(0).says("No state at").says("all that manifests list is to be done");
    assert_eq!(bench.run(&["status", "--format", "json"]).exits(0).json()["state"], Value::Null);
    assert!(bench.read(STATE).is_none(), "reading makes no state");
    bench.assets(&urls(2), "1");
    bench.run(&["explain", &urls(2)[1]]).exits(0).says("purge it (new)").says("manifests/site.yaml:3");
    bench.run(&["apply"]).exits(0);
    bench
        .run(&["explain", &urls(2)[1]])
        .exits(0)
        .says("recorded    rev:1")
        .says("apply would do nothing: the recorded hash is the desired one");
    bench
        .run(&["explain", &urls(2)[1], "manifests/provider-own.yaml"])
        .exits(0)
        .says("apply would do nothing: no manifest here");
    let explained = bench.run(&["explain", "--format", "json", &urls(2)[0]]).exits(0).json();
    let target = &explained["targets"][0];
    assert_eq!(
        (&target["provider"], &target["desired"], &target["state"]["hash"]),
        (&"own".into(), &"rev:1".into(), &"rev:1".into())
    );
    assert!(target["state"]["task_id"].is_string(), "{target}");
    bench.run(&["explain", "https://cdn.example.com/nowhere"]).exits(2);
    cloud.always(Some(Step::say(
        403,
        r#"{"Response": {"Error": {"Code": "AuthFailure.SignatureFailure", "Message": "m"}, "RequestId": "r"}}"#,
    )));
    bench.assets(&urls(2), "2");
    bench.run(&["apply"]).exits(7);
    let status = bench.run(&["status", "--format", "json"]).exits(0).json();
    assert_eq!(
        (&status["providers"][0]["pending"], &status["runs"][0]["exit"], &status["runs"][1]["exit"]),
        (&2.into(), &7.into(), &0.into())
    );
    assert_eq!(status["providers"][0]["recorded"], 2, "the older hashes are");
    bench.run(&["status"]).exits(0).says("AuthFailure.SignatureFailure");
}

/// T2, L3: a day on which the clock was ahead once hides no other one.
#[test]
fn status_shows_the_quota_of_now_whatever_the_clock_was() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud);
    bench.assets(&urls(2), "1");
    bench.run(&["apply"]).exits(0);
    bench.by_hand("INSERT INTO quota VALUES ('other', 'PurgeUrlsCache', '', '2099-05-05', 480, 77)");
    let status = bench.run(&["status"]).exits(0).says("Quotas of the day").stdout;
    assert!(!status.contains("2099-05-05") && !status.contains("77"), "{status}");
    assert_eq!(bench.run(&["status", "--format", "json"]).exits(0).json()["quota"].as_array().map(Vec::len), Some(2));
}

/// T4: rows of one date are days of their own where these begin at other hours; each says when it ends.
#[test]
fn status_tells_quota_days_of_one_date_apart() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud);
    bench.assets(&urls(2), "1");
    bench.run(&["apply"]).exits(0);
    bench.by_hand("DELETE FROM quota");
    bench.by_hand("INSERT INTO quota VALUES ('a', 'PurgeUrlsCache', '', '2023-11-15', 480, 7)");
    bench.by_hand("INSERT INTO quota VALUES ('a', 'PurgeUrlsCache', '', '2023-11-15', -90, 8)");
    let status = bench.run(&["status"]).exits(0).says("Quota used on 2023-11-15").stdout;
    assert!(status.contains("2023-11-15 16:00") && status.contains("2023-11-16 01:30"), "{status}");
}

/// C12
#[test]
fn state_is_listed_exported_imported_and_forgotten() {
    let cloud = Cloud::of("alibaba-vod");
    let bench = Bench::at("alibaba-vod", &cloud);
    bench.run(&["state", "list"]).exits(1).says("there is no state");
    bench.assets(&urls(4), "1");
    bench.run(&["apply", "--only", "*/0.js", "--only", "*/1.js", "--only", "*/2.js"]).exits(4);
    let listed = bench.run(&["state", "list", "--format", "json"]).exits(0).json();
    assert_eq!(texts(&listed["targets"], "target"), urls(4));
    let exported = bench.run(&["state", "export"]).exits(0).stdout;
    let rows: Vec<Value> = exported.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let spent = json!({"operation": "RefreshVodObjectCaches", "used": 3});
    let ledger = &rows[4]["quota"];
    assert_eq!(
        (texts(&json!(rows[..4]), "target"), json!({"operation": ledger["operation"], "used": ledger["used"]})),
        (urls(4), spent)
    );
    bench.write("lines.jsonl", &exported);
    bench.run(&["--state", "other.db", "state", "import", "lines.jsonl"]).exits(0).says("4 targets imported");
    assert_eq!(bench.run(&["--state", "other.db", "state", "export"]).exits(0).stdout, exported);
    bench.run(&["state", "forget", "*/0.js"]).exits(0).says("1 target forgotten");
    bench.run(&["state", "forget", "*/0.js"]).exits(0).says("0 targets forgotten");
    bench
        .run(&["state", "forget", "*", "--provider", "nobody"])
        .exits(2)
        .says("knows no provider `nobody`")
        .says("`own`");
    for (name, content) in [("none.jsonl", ""), ("blank.jsonl", "\u{feff}\n \n")] {
        bench.write(name, content);
        bench.run(&["state", "import", name]).exits(2).says(&format!("`{name}` holds no target"));
    }
    bench.write("marked.jsonl", format!("\u{feff}{exported}"));
    bench.run(&["--state", "other.db", "state", "import", "marked.jsonl"]).exits(0).says("4 targets imported");
    let unknown = ["state", "forget", "*", "--manifest", "manifests/sight.yaml"];
    bench.run(&unknown).exits(2).says("knows no manifest `manifests/sight.yaml`").says("`manifests/site.yaml`");
    assert_eq!(
        texts(&bench.run(&["plan", "--format", "json"]).exits(0).json()["changes"], "target"),
        [urls(4)[0].clone(), urls(4)[3].clone()]
    );
    bench.run(&["state", "list", "*/3.js"]).exits(0).says("pending");
}

/// T4, C12: what a moved state spent today is not spent twice, also where it is imported into one that has spent as well.
#[test]
fn an_import_counts_the_quota_that_was_spent_elsewhere() {
    let cloud = Cloud::of("tencent-cdn");
    let bench =
        Bench::at("tencent-cdn", &cloud).provider("own", "tencent-cdn", &cloud.url(), "limits: {urls_per_day: 5}\n");
    bench.assets(&urls(3), "1");
    bench.run(&["apply"]).exits(0);
    bench.write("lines", bench.run(&["state", "export"]).exits(0).stdout);
    let import = ["state", "import", "lines", "--state", "moved.db"];
    for _ in 0..2 {
        bench.run(&import).exits(0).says("3 targets imported, with 1 line of the quota ledger");
    }
    assert_eq!(bench.run(&[&import[..], &["--format", "json"]].concat()).json()["quota"], 1);
    bench.assets(&urls(3), "2");
    let moved = bench.run(&["apply", "--state", "moved.db"]).exits(4);
    assert!(moved.stdout.contains("2 purges accepted") && moved.stdout.contains("1 deferred"), "{moved:?}");
    let used =
        |state: &str| bench.run(&["status", "--state", state, "--format", "json"]).json()["quota"][0]["used"].clone();
    bench.run(&import).exits(0);
    assert_eq!((used("moved.db"), used(STATE)), (json!(5), json!(3)), "what was spent since stays spent");
}

/// C12: exports of all formats are read; what the newest one says is written again as it was.
#[test]
fn golden_exports_are_imported() {
    let newest = include_str!("golden/exports/with-ledger.jsonl");
    let bench = Bench::new().file("new", newest).file("old", include_str!("golden/exports/before-ledger.jsonl"));
    bench.run(&["state", "import", "new"]).exits(0);
    assert_eq!(bench.run(&["state", "export"]).exits(0).stdout, newest);
    bench.run(&["--state", "old.db", "state", "import", "old"]).exits(0).says("2 targets imported.");
    let rows = bench.run(&["--state", "old.db", "state", "export"]).exits(0).stdout;
    let targets: Vec<&str> = newest.lines().filter(|line| !line.contains("quota")).collect();
    // What guards had let through was not said then.
    let targets = targets.join("\n").replace("\"tried\"", "\"seen\"") + "\n";
    assert_eq!(rows, targets, "without a ledger");
}

/// C12: a moved state owes the same probes, and the proof of targets that are imported anew is that of their lines.
#[test]
fn exports_carry_proof() {
    let exported = include_str!("golden/exports/with-proof.jsonl");
    let bench = Bench::new().file("lines", exported);
    for _ in 0..2 {
        bench
            .run(&["state", "import", "lines"])
            .exits(0)
            .says("2 targets imported, with 2 lines of the quota ledger and 2 proofs.");
        assert_eq!(bench.run(&["state", "export"]).exits(0).stdout, exported);
    }
    let targets: Vec<&str> = exported.lines().filter(|line| !line.contains("\"proof\"")).collect();
    bench.write("targets", targets.join("\n").replace("1700000000123", "1700000000124"));
    bench.run(&["state", "import", "targets"]).exits(0).says("2 lines of the quota ledger.");
    let left = bench.run(&["state", "export"]).exits(0).stdout;
    assert!(!left.contains("\"verified\"") && left.contains("\"verdict\":\"due\""), "{left}");
}

#[test]
fn broken_lines_of_proof_are_refused() {
    let exported = include_str!("golden/exports/with-proof.jsonl");
    let good = exported.lines().find(|line| line.contains("\"verified\"")).expect("a proof");
    for (good_part, bad) in [
        ("\"verified\"", "\"proven\""),
        ("\"url\"", "\"host\""),
        ("https://cdn", "ftp://cdn"),
        ("\"rev:1\"", "\"1\""),
        ("\"repurges\":1", "\"repurges\":-1"),
        ("\"repurges\":1", "\"repurges\":1,\"times\":2"),
        ("1700000006000", "-1"),
        ("\"etag\"", "\"\\u001b\""),
        ("{\\\"status\\\":200}", "{\\\"status"),
        ("\"own\"", "\"Own\""),
    ] {
        assert!(good.contains(good_part), "{good_part}");
        let bench = Bench::new().file("lines", format!("{good}\n{}\n", good.replace(good_part, bad)));
        bench.run(&["state", "import", "lines"]).exits(2).says("lines:2: ").says("as `state export` does");
        assert!(bench.read(STATE).is_none());
    }
    let long = format!("\\\"{}\\\"", "x".repeat(511));
    let bench = Bench::new().file("lines", good.replace("{\\\"status\\\":200}", &long));
    bench.run(&["state", "import", "lines"]).exits(2).says("512 bytes");
}

#[test]
fn broken_lines_of_the_ledger_are_refused() {
    let good =
        r#"{"quota":{"account":"a","operation":"o","area":"","day":"2026-11-29","offset_minutes":480,"used":1}}"#;
    let used = "`used` takes a whole number from 0 to 4294967295; it has something else at column ";
    for (good_part, bad, problem) in [
        ("2026-11-29", "2026-11-31", "`day`: not a day"),
        ("480", "900", "`offset_minutes`: no more than 840"),
        ("480", "-2147483648", "`offset_minutes`: no more than 840"),
        ("480", "NaN", "`offset_minutes` takes a whole number of minutes; it has something else at column "),
        ("\"used\":1", "\"used\":-1", used),
        ("\"used\":1", "\"used\":NaN", used),
        ("\"used\":1", "\"used\":1e3", used),
        ("\"used\":1", "\"used\":4294967296", used),
        ("\"used\":1", "\"used\":1,\"left\":2", "a key that no export has"),
        (",\"used\":1", "", "`used` is missing"),
        ("\"a\"", "\" \"", "`account`: not a name"),
        ("\"a\"", "7", "`account` takes a text"),
        ("\"o\"", "\"\\u001b\"", "`operation`: not a name"),
    ] {
        let bench = Bench::new().file("lines", format!("{good}\n{}\n", good.replace(good_part, bad)));
        let ran = bench.run(&["state", "import", "lines"]).exits(2).says(&format!("lines:2: {problem}"));
        ran.says("as `state export` does");
        assert!(bench.read(STATE).is_none());
    }
    let bench = Bench::new().file("lines", format!("{good}\n\n{}\n", good.replace("\"used\":1", "\"used\":2")));
    let twice = "lines:3: a quota and day that stand in line 1 already; keep one of both";
    bench.run(&["state", "import", "lines"]).exits(2).says(twice);
    assert!(bench.read(STATE).is_none());
    Bench::new()
        .file("lines", good)
        .run(&["state", "import", "lines"])
        .exits(0)
        .says("0 targets imported, with 1 line");
}

#[test]
fn broken_lines_are_refused_with_their_place_and_import_nothing() {
    let good = r#"{"provider":"p","scope":"url","target":"https://a.cn/","owners":["m"],"hash":"rev:1","recorded_at_ms":1,"task_id":null,"work":null}"#;
    for bad in [
        "{}",
        "nonsense",
        "[]",
        &good.replace("rev:1", "rev"),
        &good.replace("\"url\"", "\"star\""),
        &good.replace("a.cn/", "a.cn/\\n"),
        &good.replace("\"p\"", "\"\""),
        &good.replace("https://a.cn/", "a.cn"),
        &good.replace("https://a.cn/", "ftp://a.cn/"),
        &good.replace("https://a.cn/", "https://A.cn/"),
        &good.replace("https://a.cn/", "https://a.cn/#x"),
        &good.replace("https://a.cn/", "https://user:canary@a.cn/"),
        &good.replace("https://a.cn/", "https://user:canary/1@a.cn/"),
        &good.replace("[\"m\"]", "\"https://user:canary@a.cn/\""),
        &good.replace("\"url\"", "\"directory\"").replace("a.cn/", "a.cn/x"),
        &good.replace("\"url\"", "\"asset id\""),
        &good.replace("rev:1", "sha256:12"),
        &good.replace("rev:1", "md5:0CC175B9C0F1B6A831C399E269772661"),
        &good.replace("\"m\"", "\"\""),
        &good.replace("\"m\"", "\"m\",\" \""),
        &good.replace("\"m\"", "\"m\",\"m\""),
        &good.replace("\"m\"", "\"m\\u0000\""),
        &good.replace("\"m\"", "\"m\\u001b[2J\""),
        &good.replace("\"m\"", "\"a\\nb\""),
        &good.replace("\"m\"", "\"a\\u202eb\""),
        &good.replace("\"m\"", &format!("\"{}\"", "m".repeat(5000))),
        &good.replace("\"p\"", "\"o\\u0000wn\""),
        &good.replace("\"p\"", "\"../../x\""),
        &good.replace("\"p\"", "\"Own\""),
        &good.replace("\"p\"", "\" \""),
        &good.replace("\"p\"", "\"p\\n\""),
        &good.replace("\"p\"", &format!("\"{}\"", "p".repeat(300))),
        &good.replace("https://a.cn/", ""),
        &good.replace("https://a.cn/", "https://a.cn/\\u0000"),
        &good.replace("https://a.cn/", "https://a.cn/\\u202e"),
        &good.replace("https://a.cn/", "../../x"),
        &good.replace("https://a.cn/", &format!("https://a.cn/{}", "x".repeat(100_000))),
        &good.replace("\"url\"", "\"asset id\"").replace("https://a.cn/", "a\\u0000b"),
        &good.replace("\"url\"", "\"asset id\"").replace("https://a.cn/", "../../x"),
        &good.replace("_ms\":1", "_ms\":-1"),
        &good.replace("a.cn/", "a.cn/1").replace("\"task_id\":null", "\"task_id\":\"\""),
        &good.replace("a.cn/", "a.cn/1").replace("\"task_id\":null", "\"task_id\":\"a\\u0007\""),
        &good.replace("a.cn/", "a.cn/1").replace("\"task_id\":null", "\"task_id\":\"a\\u202e\""),
        &good.replace("a.cn/", "a.cn/1").replace("\"task_id\":null", "\"task_id\":\"a,,b\""),
        &good.replace("a.cn/", "a.cn/1").replace("\"task_id\":null", &format!("\"task_id\":\"{}\"", "t".repeat(300))),
        &good.replace("_ms\":1", "_ms\":253402300800000"),
    ] {
        let bench = Bench::new().file("lines", format!("{good}\n\n{bad}\n"));
        let ran = bench.run(&["state", "import", "lines"]).exits(2).says("lines:3");
        assert!(!ran.stderr.contains("canary"), "{ran:?}");
        assert!(bench.read(STATE).is_none(), "{bad}");
    }
    for (good_part, bad, problem) in [
        ("\"scope\":\"url\"", "\"scope\":\"star\"", "`scope`: none of the words that it takes: `url`"),
        ("[\"m\"]", "\"m\"", "`owners` takes a list of texts; it has something else at column "),
        ("\"p\"", "1", "`provider` takes a text"),
        ("\"provider\":\"p\",", "", "`provider` is missing"),
        ("rev:1", "rev", "`hash`: "),
        ("_ms\":1", "_ms\":-1", "`recorded_at_ms`: -1 is no time"),
        ("_ms\":1", "_ms\":1.5", "`recorded_at_ms` takes a whole number of milliseconds"),
        ("\"work\":null", "\"work\":{\"kind\":\"new\"}", "`priority` is missing"),
    ] {
        let bench = Bench::new().file("lines", good.replace(good_part, bad));
        bench.run(&["state", "import", "lines"]).exits(2).says(&format!("lines:1: {problem}"));
    }
    let bench = Bench::new().file("lines", format!("{good}\n\n{}\n{good}\n", good.replace("a.cn/", "a.cn/1")));
    bench.run(&["state", "import", "lines"]).exits(2).says("lines:4").says("line 1");
    assert!(bench.read(STATE).is_none());
    let ids = good.replace("\"task_id\":null", "\"task_id\":\"17-a_b,0x9\"");
    let other = good.replace("\"p\"", "\"q\"").replace("\"m\"", "\"n\"");
    let bench = bench.file("lines", format!("{ids}\n{other}\n"));
    bench.run(&["state", "import", "lines"]).exits(0).says("2 targets imported");
    bench.run(&["state", "import", "nowhere"]).exits(2).says("nowhere");
    let bench = bench.file("binary", [0xff, 0xfe, 0x00]);
    bench.run(&["state", "import", "binary"]).exits(2).says("binary");
    make_pipe(&bench.path("pipe"));
    for special in ["pipe", "/dev/zero", "."] {
        bench.run(&["state", "import", special]).exits(2).says("not a regular file");
    }
}

/// Until format 4 a manifest outside the working directory was called by its path from there: such names come along, and the file
/// that they mean speaks for its targets, as after a migration.
#[test]
fn manifests_of_older_exports_come_along() {
    let cloud = Cloud::of("alibaba-vod");
    let bench = Bench::at("alibaba-vod", &cloud);
    bench.assets(&urls(2), "1");
    bench.run(&["apply"]).exits(0);
    let line = |index: usize| {
        format!(
            r#"{{"provider":"own","scope":"url","target":"{}","owners":["x/../manifests/site.yaml","./gone.yaml"],"hash":"rev:1","recorded_at_ms":1,"task_id":null,"work":null}}"#,
            urls(3)[index]
        )
    };
    bench.write("lines", format!("{}\n{}\n", line(0), line(2)));
    bench.run(&["--state", "other.db", "state", "import", "lines"]).exits(0).says("2 targets imported");
    let exported = bench.run(&["--state", "other.db", "state", "export"]).exits(0).stdout;
    assert!(exported.contains("x/../manifests/site.yaml"), "{exported}");
    bench.run(&["--state", "other.db", "apply", "--vanished", "./gone.yaml"]);
    let known = ["--state", "other.db", "state", "forget", "*", "--manifest", "x/../manifests/site.yaml"];
    bench.run(&known).exits(0);
}

#[test]
fn providers_schema_completions_and_manual_are_printed() {
    let bench = Bench::new();
    let kinds = freshen::vendor::VENDORS.names();
    let all = bench.run(&["providers"]).exits(0);
    let json = bench.run(&["providers", "--format", "json"]).exits(0).json();
    for kind in kinds {
        assert!(all.stdout.contains(kind) && json.to_string().contains(kind), "{kind}");
        bench.run(&["providers", kind]).exits(0).says(kind);
        bench.run(&["providers", kind, "--format", "json"]).exits(0).json();
    }
    bench.run(&["providers", "akamai"]).exits(2).says("http-purge");
    assert_eq!(bench.run(&["schema"]).exits(0).json()["type"], "object");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        bench.run(&["completions", shell]).exits(0).says("freshen").says("rehearse");
    }
    bench.run(&["man"]).exits(0).says(".TH").says("freshen-apply");
}

#[test]
fn variables_that_are_set_to_nothing_count_as_unset() {
    let cloud = Cloud::of("http-purge");
    for name in ["FRESHEN_STATE", "FRESHEN_NAMESPACE", "FRESHEN_AUDIT", "FRESHEN_LOG"] {
        let bench = Bench::at("http-purge", &cloud).var(name, "");
        bench.assets(&urls(1), "1");
        bench.run(&["apply"]).exits(0);
        assert!(bench.read(STATE).is_some(), "{name}");
    }
    let bench = Bench::at("http-purge", &cloud).var("FRESHEN_STATE", "");
    bench.run(&["plan", "--state", ""]).exits(2).says("--state");
}

/// What people have at hand is a path, or a URL without its scheme; what is nearly one of ours is offered.
#[test]
fn explain_finds_the_url_that_is_meant() {
    let bench = Bench::at("http-purge", &Cloud::of("http-purge"));
    let host = &HOSTS[0];
    let pages =
        [format!("http://{host}/1.js"), format!("http://{host}/docs/index.html"), "http://b.example.net/2".to_owned()];
    bench.assets(&pages, "1");
    for meant in ["1.js", "/1.js", &pages[0][7..], &pages[0]] {
        bench.run(&["explain", meant]).exits(0).says(&format!("{} at provider own", pages[0]));
    }
    for near in ["/docs", "/docs/", &format!("https://{host}/docs/?utm=1"), "https://other.example/docs/"] {
        bench.run(&["explain", near]).exits(2).says(&format!("did you mean `{}`?", pages[1]));
    }
    bench.run(&["explain", "3.js"]).exits(2).says("byte for byte");
    // Another scheme, the same host first; a host in capital letters.
    let offered = format!("did you mean `{}`?", pages[0]);
    bench.run(&["explain", &format!("https://{host}/1.js")]).exits(2).says(&offered);
    bench.run(&["explain", &pages[0][7..].to_uppercase().replace("1.JS", "1.js")]).exits(0);
    for (given, found) in [("1.js", &pages[0]), ("/docs/index.html", &pages[1])] {
        let status = bench.run(&["status", given]).exits(0).says(&format!("{found} at provider own")).stdout;
        assert_eq!(status, bench.run(&["explain", found]).stdout);
        let both =
            ["status", "explain"].map(|command| bench.run(&[command, given, "--format", "json"]).exits(0).json());
        assert_eq!(both[0], both[1]);
    }
    bench.run(&["status", "/docs", "manifests/site.yaml", "manifests"]).exits(2).says("did you mean");
    // What only the state knows any more is found there.
    bench.run(&["apply"]).exits(0);
    bench.assets(&pages[1..], "1");
    bench.run(&["explain", "1.js"]).exits(0).says("listed in   no manifest that was read").says("removed");
    bench.run(&["explain", "https://other.example/1.js"]).exits(2).says(&offered);
    bench.run(&["adopt"]).exits(0);
    bench.assets(&[pages[0].clone(), "http://b.example.net/1.js".to_owned()], "1");
    bench.run(&["explain", "/1.js"]).exits(2).says("is the path of several URLs").says(&pages[0]).says("b.example.net");
}

#[test]
fn an_asset_id_is_explained_and_its_spelling_offered() {
    let bench = Bench::at("huawei-vod", &Cloud::of("huawei-vod"));
    bench.write("manifests/site.yaml", "provider: own\nassets: [{asset_id: 0A1b2c, hash: rev:1}]\n");
    for command in ["explain", "status"] {
        bench.run(&[command, "0A1b2c"]).exits(0).says("0A1b2c at provider own").says("purge it (new)");
        bench.run(&[command, "0a1B2C"]).exits(2).says("did you mean `0A1b2c`?");
    }
}

/// What a guard refuses is not purged by the next apply, and what is asked about one target says so.
#[test]
fn explain_knows_what_a_guard_refuses() {
    let bench = Bench::at("http-purge", &Cloud::of("http-purge"));
    bench.write("manifests/guard.yaml", "guard: {max_purges: 1}\n".to_owned() + &manifest(&urls(2), "1"));
    let told = bench.run(&["explain", &urls(1)[0]]).exits(0).stdout;
    assert!(!told.contains("apply would purge it"), "{told}");
    assert!(told.contains("apply would refuse the plan and send nothing (exit 5): "), "{told}");
    assert!(
        told.contains("`freshen apply --max-purges 2 --state /")
            && told.contains("once that is allowed it would purge it (new)")
    );
    let json = bench.run(&["explain", &urls(1)[0], "--format", "json"]).json();
    assert_eq!((json["targets"][0]["due"].as_bool(), json["targets"][0]["refused"].is_string()), (Some(true), true));
    bench.run(&["apply"]).exits(5);
}

/// A program in another folder looks for its state in another place: that everything looks new then has a reason.
#[test]
fn a_state_that_is_not_there_is_said_with_one_that_may_be_meant() {
    let bench = Bench::at("http-purge", &Cloud::of("http-purge"));
    bench.assets(&urls(1), "1");
    let none = bench.run(&["plan"]).exits(0).says("(no state at `.freshen/state.db`, seen from `").stdout;
    assert!(none.contains("`: everything looks new)\n") && !none.contains("meant?"), "{none}");
    let first = bench.run(&["apply"]).exits(0);
    assert!(first.stderr.contains("no state at `.freshen/state.db`, seen from `"), "{}", first.stderr);
    for command in ["plan", "apply"] {
        let ran = bench.run(&[command]).exits(0);
        assert!(!(ran.stdout + &ran.stderr).contains("no state"), "{command}");
    }
    std::fs::create_dir_all(bench.path("elsewhere")).expect("a folder");
    let away = bench.path("elsewhere");
    for arguments in [&["plan", "--format", "markdown"][..], &["plan", "--format", "github"], &["apply"]] {
        let mut command = bench.command(&[arguments, &["../manifests"]].concat());
        let ran = Ran::of(&command.current_dir(&away).output().expect("started")).exits(0);
        let told = ran.stdout + &ran.stderr;
        assert!(told.contains("; is `") && told.contains("/.freshen/state.db` meant?"), "{arguments:?}: {told}");
    }
}

/// In a wrong folder a look says where it looked, and where a state is that may be meant.
#[test]
fn status_says_where_it_found_no_state() {
    let bench = Bench::at("http-purge", &Cloud::of("http-purge"));
    bench.assets(&urls(1), "1");
    let none = bench.run(&["status"]).exits(0).says("No state at `.freshen/state.db`, seen from `/").stdout;
    assert!(!none.contains("meant?"), "{none}");
    bench.run(&["apply"]).exits(0);
    std::fs::create_dir_all(bench.path("elsewhere")).expect("a folder");
    for (arguments, exit) in [(&["status"][..], 0), (&["status", "--exit-code"], 4)] {
        let mut command = bench.command(arguments);
        let ran = Ran::of(&command.current_dir(bench.path("elsewhere")).output().expect("started")).exits(exit);
        let (here, meant) = (bench.path("elsewhere"), bench.path(STATE));
        let told = ran.says(&format!("No state at `.freshen/state.db`, seen from `{}`: ", here.display()));
        told.says(&format!("; is `{}` meant?\n", meant.display()));
    }
}

/// At night any look has to answer: where another manifest is broken, or from another folder, the state alone does.
#[test]
fn explain_and_status_answer_from_the_state_where_manifests_cannot_be_read() {
    let cloud = Cloud::of("http-purge");
    let bench = Bench::at("http-purge", &cloud);
    bench.assets(&urls(40), "1");
    bench.run(&["apply"]).exits(0);
    cloud.always(Some(Step::say(500, "no")));
    bench.assets(&urls(40), "2");
    bench.run(&["apply", "--only", "*/1.js"]).exits(4);
    bench.assets(&urls(2), "2");
    bench.run(&["apply"]).exits(5);
    let site = bench.path("manifests/site.yaml");
    let site = site.to_str().expect("UTF-8");
    let state = bench.path(STATE);
    bench.write("manifests/other.yaml", "assets: [");
    std::fs::create_dir(bench.path("elsewhere")).expect("a folder");
    for (folder, problem) in [(".", "other.yaml"), ("elsewhere", "manifests: cannot be read")] {
        for look in ["explain", "status"] {
            let run = |url: &str, more: &[&str]| {
                let all = [&[look, url, "--state", state.to_str().expect("UTF-8")], more].concat();
                Ran::of(&bench.command(&all).current_dir(bench.path(folder)).output().expect("started"))
            };
            let told = run(&urls(2)[1], &[]).exits(0);
            assert!(
                told.stdout.contains(&format!("known from  manifests/site.yaml, last read at {site}\n")),
                "{told:?}"
            );
            assert!(told.stdout.contains("to do       pending: http://127.0.0.1:"), "{told:?}");
            assert!(told.stdout.contains("apply would send nothing (exit 2) with the manifests here"), "{told:?}");
            assert!(!told.stdout.contains("\n  refused "), "no guard has to let it through any more: {told:?}");
            let folder = bench.path("manifests");
            let try_now = format!("{} {}` tries it now", state.display(), folder.display());
            assert!(told.stdout.contains(&try_now), "{try_now}: {told:?}");
            let warned = told.stderr.contains("warning: this is what the state knows, since ");
            assert!(warned && told.stderr.contains(problem), "{told:?}");
            let refused = run(&urls(40)[39][8..], &[]).exits(0);
            refused.says("pending: refused by a guard").says("refused     since 20").says("--allow-removals");
            let json = run(&urls(2)[1], &["--format", "json"]).exits(0).json();
            assert_eq!((&json["targets"][0]["due"], &json["targets"][0]["manifest"]), (&false.into(), &Value::Null));
            run("https://cdn.example.com/none", &[]).exits(2).says(problem);
        }
    }
}

/// A mistyped state is no reason to purge everything without a word: each command that sends names the one that is there.
#[test]
fn a_mistyped_state_is_said_before_anything_is_sent() {
    let bench = Bench::at("http-purge", &Cloud::of("http-purge"));
    bench.assets(&urls(1), "1");
    bench.run(&["apply"]).exits(0);
    let meant = "/.freshen/state.db` meant?";
    for state in [".freshen/stat.db", ".freshn/state.db"] {
        let told = bench.run(&["apply", "--state", state]).exits(0).stderr;
        assert!(told.contains(&format!("no state at `{state}`")) && told.contains(meant), "{told}");
    }
    let mut watching = Watching::start(&bench, &["--state", ".freshen/stat2.db"]);
    let told = watching.says("no state at `.freshen/stat2.db`");
    assert!(told["message"].as_str().unwrap().contains(".freshen/state.db`"), "{told}");
    assert_eq!(told["level"], "WARN");
    assert!(watching.seen.iter().all(|record| record["message"] != "call"), "{:#?}", watching.seen);
    watching.stop();
}

/// What a selection leaves out is a line with its number, and not a line each.
#[test]
fn a_plan_of_a_selection_lists_that_alone() {
    let bench = Bench::at("http-purge", &Cloud::of("http-purge"));
    bench.assets(&urls(150), "1");
    let told = bench.run(&["plan", "--only", "*/7.js"]).exits(0).stdout;
    let listed: Vec<&str> = told.lines().filter(|line| line.starts_with("  new")).collect();
    assert!(listed.len() == 1 && listed[0].contains("/7.js") && !told.contains(" more;"), "{told}");
    assert_eq!(told.matches("149 targets left out by --only or --provider, still pending\n").count(), 1, "{told}");
}

/// A run shows what it purged, the first of it unless all is asked for.
#[test]
fn apply_lists_what_it_purged() {
    let bench = Bench::at("http-purge", &Cloud::of("http-purge"));
    bench.assets(&urls(25), "1");
    let told = bench.run(&["apply", "--only", "*"]).exits(0).stdout;
    let listed = |told: &str| told.lines().filter(|line| line.contains("new ") && line.contains("  http")).count();
    assert_eq!(listed(&told), 20, "{told}");
    assert!(told.contains("  … and 5 more; `--verbose` lists all\n"), "{told}");
    bench.assets(&urls(25)[..24], "1");
    let told = bench.run(&["apply", "--verbose"]).exits(0).stdout;
    assert!(told.starts_with(&format!("Purged\n  removed  own  {}\n\n", urls(25)[24])), "{told}");
}

#[test]
fn bad_usage_is_told_on_standard_error_with_2() {
    let bench = Bench::new();
    for arguments in [
        &["aply"][..],
        &[],
        &["apply", "--nope"],
        &["apply", "--deadline", "5"],
        &["apply", "--dry-run", "--rehearse"],
        &["--format", "xml", "plan"],
        &["completions", "tcsh"],
    ] {
        let ran = bench.run(arguments).exits(2);
        assert!(ran.stdout.is_empty() && !ran.stderr.is_empty(), "{arguments:?}");
    }
    bench.run(&["--help"]).exits(0).says("Usage");
    bench.run(&["--version"]).exits(0).says("freshen 0");
}

/// C14: the reader of the output may go away at any moment.
#[test]
fn c14_closed_pipes_never_panic() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud);
    bench.assets(&urls(100), "1");
    bench.run(&["adopt"]).exits(0);
    bench.assets(&urls(100), "2");
    let examples = examples();
    for arguments in [
        &["plan"][..],
        &["plan", "--format", "json"],
        &["schema"],
        &["man"],
        &["completions", "bash"],
        &["--help"],
        &["state", "export"],
        &["status"],
        &["apply", "--rehearse", &examples, "--state", "none.db"],
        &["providers"],
        &["check"],
        &["apply"],
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = bench.command(arguments);
        let output = command.stdout(writer).output().expect("started");
        let ran = Ran::of(&output);
        assert_eq!(ran.status, 0, "{arguments:?}: {ran:?}");
    }
    assert_eq!(cloud.purged().len(), 100, "a run without a reader purges all the same");
}

/// C14: messages that nobody can read are no reason to end otherwise.
#[test]
fn c14_a_closed_error_stream_changes_no_exit_code() {
    let bench = Bench::new().file("manifests/a.yaml", "nonsense: 1\n");
    for (arguments, status) in
        [(&["check"][..], 2), (&["apply"], 2), (&["apply", "nowhere"], 2), (&["nope"], 2), (&["state", "list"], 1)]
    {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = bench.command(arguments);
        let output = command.stdout(Stdio::null()).stderr(writer).output().expect("started");
        assert_eq!(output.status.code(), Some(status), "{arguments:?}");
    }
}

/// C12: whatever times a hand-edited line holds, nothing panics over them.
#[test]
fn c12_times_outside_the_calendar_are_shown_somehow() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud);
    bench.assets(&urls(2), "1");
    let line = |url: &str| {
        serde_json::json!({
            "provider": "own", "scope": "url", "target": url, "owners": ["manifests/site.yaml"], "hash": "rev:0",
            "recorded_at_ms": 1, "task_id": null, "work": {
                "kind": "changed", "desired": "rev:1", "priority": "low", "since_ms": 1, "standing": "deferred",
                "reason": "\u{1b}[2J", "until_ms": 1, "refused_config": null, "in_doubt": true, "accepted_at": ["x"],
            },
        })
    };
    bench.write("lines", format!("{}\n{}\n", line(&urls(2)[0]), line(&urls(2)[1])));
    bench.run(&["state", "import", "lines"]).exits(0);
    // An import takes no such times and tasks; another program that writes to the file may.
    for (url, least, most) in [(&urls(2)[0], i64::MIN, i64::MAX), (&urls(2)[1], i64::MAX, i64::MIN)] {
        bench.by_hand(&format!(
            "UPDATE target SET since = {least}, recorded_at = {most}, until = {most}, task_id = char(27) || '[2J'
                 WHERE target = '{url}'"
        ));
    }
    for verb in [&["status"][..], &["plan"], &["state", "list"], &["explain", &urls(2)[0]], &["apply", "--rehearse"]] {
        let ran = bench.run(verb).exits(0);
        assert!(!ran.stdout.contains("01-0 "), "a date is whole: {}", ran.stdout);
    }
    bench.run(&["apply"]).exits(0);
    assert_eq!(cloud.purged(), urls(2));
}

/// L3: a program that reads the output learns of refusals in the same form.
#[test]
fn refusals_are_json_where_json_was_asked_for() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud);
    bench.assets(&urls(101), "1");
    for (arguments, status) in [
        (&["apply"][..], 5),
        (&["apply", "--expect", "zz"], 5),
        (&["check", "nowhere"], 2),
        (&["apply", "--provider", "nobody"], 2),
        (&["state", "list"], 1),
        (&["explain", "https://cdn.example.com/nowhere"], 2),
    ] {
        let all = [arguments, &["--format", "json"]].concat();
        let json = bench.run(&all).exits(status).json();
        assert_eq!(json["exit"], status, "{arguments:?}");
        assert!(json["error"].as_str().is_some_and(|error| !error.is_empty()), "{arguments:?}");
    }
}

/// L3: a result that did not arrive is no success, whichever command prints it; a reader that left is none of ours.
#[cfg(target_os = "linux")]
#[test]
fn a_result_that_cannot_be_written_is_a_failure_and_a_closed_pipe_is_not() {
    let bench = Bench::new().file("manifests/a.yaml", "assets: {}\n");
    for arguments in [&["--help"][..], &["--version"], &["schema"], &["completions", "bash"], &["man"], &["check"]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("opened");
        let output = bench.command(arguments).stdout(full).output().expect("started");
        Ran::of(&output).exits(1).says("could not be written to standard output");
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = bench.command(arguments).stdout(writer).output().expect("started");
        assert_eq!(Ran::of(&output).exits(0).stderr, "", "{arguments:?}");
    }
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("opened");
    let output = bench.command(&["check", "--format", "json", "nowhere"]).stdout(full).output().expect("started");
    Ran::of(&output).exits(2).says("could not be written to standard output");
}

/// X6: a user that may only read the state can still look at it, and leaves nothing beside it.
#[cfg(unix)]
#[test]
fn a_state_without_write_access_can_be_read() {
    use std::os::unix::fs::PermissionsExt;
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud);
    bench.assets(&urls(2), "1");
    bench.run(&["apply"]).exits(0);
    let allow = |name: &str, mode: u32| {
        std::fs::set_permissions(bench.path(name), std::fs::Permissions::from_mode(mode)).expect("set");
    };
    let names = [(".", 0o755), (STATE, 0o444), (".freshen", 0o555)];
    for (name, mode) in names {
        allow(name, mode);
    }
    // Rights do not bind root, so root runs it as somebody else.
    let is_root = std::fs::write(bench.path(".freshen/probe"), "").is_ok();
    let _ = std::fs::remove_file(bench.path(".freshen/probe"));
    let other = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    let run = |arguments: &[&str]| {
        let mut command = if is_root { bench.wrapped("setpriv", &other, arguments) } else { bench.command(arguments) };
        command.output()
    };
    if run(&["--version"]).is_ok_and(|output| output.status.success()) {
        for arguments in
            [&["plan"][..], &["status"], &["explain", &urls(2)[0]], &["state", "export"], &["apply", "--rehearse"]]
        {
            Ran::of(&run(arguments).expect("started")).exits(0);
        }
        Ran::of(&run(&["state", "list"]).expect("started")).exits(0).says("recorded  own");
        Ran::of(&run(&["apply"]).expect("started")).exits(0).says("Nothing to do");
        bench.assets(&urls(2), "2");
        Ran::of(&run(&["apply"]).expect("started")).exits(1);
    }
    allow(".freshen", 0o755);
    assert_eq!(std::fs::read_dir(bench.path(".freshen")).expect("a folder").count(), 3, "state, lock and seal only");
}

/// L3: what no manifest speaks for any more is reported also when nothing else is.
#[test]
fn nothing_to_do_mentions_targets_of_providers_that_are_gone() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud);
    bench.assets(&urls(2), "1");
    bench.run(&["apply"]).exits(0);
    std::fs::remove_file(bench.path("manifests/provider-own.yaml")).expect("removed");
    bench.write("manifests/site.yaml", "assets: {}\n");
    bench.run(&["apply"]).exits(0).says("Nothing to do").says("2 targets of provider `own`");
}
