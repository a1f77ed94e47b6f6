//! The schemas of JSON results in `docs/schemas`: their form, and that the program prints each of their members.
//!
//! That results fit them is checked wherever a test runs the program, by `support/schemas.rs`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::cli_apply::urls;
use crate::proof_shown::Site;
use crate::support::cli::{Bench, Ran, manifest};
use crate::support::cloud::{Cloud, Step};
use crate::support::origin::Origin;
use crate::support::schemas::{SCHEMAS, check_times, is_time, members, members_of, schema_of};

/// Members that no run can print yet.
const NOT_YET: [(&str, &str); 3] = [
    ("plan jobs[].cost.currency", "no kind charges"),
    ("plan jobs[].cost.free_left", "no kind charges"),
    ("plan jobs[].cost.micros", "no kind charges"),
];

/// Calls `visit` with each schema of an object, and where it stands.
fn objects(node: &Value, path: &str, visit: &mut dyn FnMut(&str, &Value)) {
    match node {
        Value::Object(entries) => {
            if node["properties"].is_object() && node["additionalProperties"].is_boolean() {
                visit(path, node);
            }
            entries.iter().for_each(|(key, value)| objects(value, &format!("{path}/{key}"), visit));
        }
        Value::Array(items) => items.iter().for_each(|item| objects(item, path, visit)),
        _ => {}
    }
}

/// Members that stand behind one that comes later in the alphabet.
fn out_of_order(text: &str) -> Vec<&str> {
    // How far in the lists that are open begin, and their last members.
    let mut open: Vec<(usize, &str)> = Vec::new();
    let mut found = Vec::new();
    for line in text.lines() {
        let (depth, line) = (line.len() - line.trim_start().len(), line.trim_start());
        let key = line.trim_start_matches('"').split('"').next().unwrap_or_default();
        if let Some((_, last)) = open.last_mut().filter(|(list, _)| depth == list + 2 && line.starts_with('"')) {
            found.extend(Some(key).filter(|key| *key < *last));
            *last = key;
        }
        open.retain(|(list, _)| !(line.starts_with('}') && depth == *list));
        if line == "\"properties\": {" {
            open.push((depth, ""));
        }
    }
    found
}

#[test]
fn schemas_are_closed_in_order_and_describe_each_member_in_a_sentence() {
    // What only some results have.
    let optional = [("apply", "proof"), ("apply", "second_run_changes")];
    let mut definitions: BTreeMap<String, Value> = BTreeMap::new();
    for (name, schema) in SCHEMAS.iter() {
        let mut seen = 0;
        objects(&schema.root, name, &mut |path, object| {
            seen += 1;
            assert_eq!(object["additionalProperties"], false, "{path}");
            let members = object["properties"].as_object().expect("members");
            let required: Vec<&str> =
                object["required"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
            let is_optional = |key: &&str| path == name && optional.contains(&(name, key));
            // Without a state there is less.
            let all = if path == "status" { &schema.root["then"]["required"] } else { &object["required"] };
            let keys: Vec<&str> = members.keys().map(String::as_str).filter(|key| !is_optional(key)).collect();
            assert_eq!(json!(keys), *all, "{path}: all members that are always there, in order of the alphabet");
            assert!(required.is_sorted(), "{path}");
            for (key, member) in members {
                let doc = member["description"].as_str().unwrap_or_default();
                assert!(doc.ends_with('.') && doc.len() > 5, "{path}: `{key}` has no sentence: {doc}");
            }
        });
        assert!(seen > 0, "{name}");
        for (key, definition) in schema.root["$defs"].as_object().into_iter().flatten() {
            let first = definitions.entry(key.clone()).or_insert_with(|| definition.clone());
            assert_eq!(first, definition, "{name}: `{key}` is the same in all schemas");
        }
        assert_eq!(out_of_order(&schema.text), Vec::<&str>::new(), "{name}");
    }
    assert_eq!(SCHEMAS.keys().collect::<Vec<_>>(), ["apply", "explain", "failure", "plan", "status", "verify"]);
}

#[test]
fn a_result_that_is_not_as_its_schema_says_is_noticed() {
    let bench = Bench::new().file("manifests/site.yaml", "assets: {}\n");
    let good = bench.run(&["plan", "--format", "json"]).exits(0).json();
    let fits =
        |result: &Value| std::panic::catch_unwind(|| crate::support::schemas::check(&result.to_string())).is_ok();
    assert!(fits(&good));
    for (key, value) in [("entries", json!("1")), ("entries", json!(-1)), ("surplus", json!(1)), ("jobs", json!([{}]))]
    {
        let mut bad = good.clone();
        bad[key] = value;
        assert!(!fits(&bad), "{key}");
    }
    let mut bad = good.clone();
    bad.as_object_mut().expect("an object").remove("digest");
    assert!(!fits(&bad));
    for bad in [json!({"since": "2026-11-30"}), json!({"since_ms": 1}), json!({"x": [{"resets_at": 1}]})] {
        assert!(std::panic::catch_unwind(|| check_times("", &bad)).is_err(), "{bad}");
    }
}

/// A run holds the lock a moment before its name stands in it.
#[test]
fn a_run_that_has_not_left_its_name_has_none() {
    let bench = Bench::new().file("manifests/site.yaml", "assets: {}\n");
    bench.run(&["apply"]).exits(0);
    let lock = std::fs::File::options().write(true).open(bench.path(".freshen/state.db.lock")).expect("a lock file");
    lock.set_len(0).expect("emptied");
    lock.lock().expect("locked");
    let running = bench.run(&["status", "--format", "json"]).exits(0).json()["running"].clone();
    assert_eq!(running, json!({"pid": null, "host": null, "started": null}));
}

/// What tests have seen of each schema.
#[derive(Default)]
struct Seen(BTreeMap<&'static str, BTreeSet<String>>);

impl Seen {
    fn see(&mut self, ran: &Ran) {
        let result = ran.json();
        let (name, schema) = schema_of(&result).expect("a result with a schema");
        self.0.entry(name).or_default().extend(members_of(&schema.root, &result));
    }

    fn run(&mut self, bench: &Bench, arguments: &[&str]) -> Ran {
        let ran = bench.run(&[arguments, &["--format", "json"]].concat());
        self.see(&ran);
        ran
    }
}

/// A run under way, one that was killed, and one whose state went on meanwhile.
fn stopped_runs(seen: &mut Seen) {
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud);
    seen.run(&bench, &["status"]).exits(0);
    bench.assets(&urls(3), "1");
    cloud.script([Step::Hold]);
    let mut child = bench.start(&["apply"]);
    cloud.wait_for_hold();
    seen.run(&bench, &["status"]).exits(0);
    child.kill().expect("killed");
    child.wait().expect("ended");
    seen.run(&bench, &["status"]).exits(0);
    seen.run(&bench, &["explain", &urls(1)[0]]).exits(0);
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud);
    bench.assets(&urls(3), "1");
    cloud.script([Step::Hold]);
    let child = bench.start(&["apply", "--format", "json"]);
    cloud.wait_for_hold();
    bench.by_hand("UPDATE meta SET serial = serial + 5");
    cloud.release();
    seen.see(&Ran::of(&child.wait_with_output().expect("ended")).exits(6));
}

/// Directories, quotas and what becomes of accepted purges.
fn directories_and_tasks(seen: &mut Seen) {
    let cloud = Cloud::with("tencent-cdn", |setup| setup.afterwards.others = 100);
    let bench = Bench::at("tencent-cdn", &cloud);
    let site = |revision: &str| {
        let collapse = "name: site\ncollapse: {directory: /a/, above: 5}\n";
        bench.write("manifests/site.yaml", format!("{collapse}{}", manifest(&urls(12), revision)));
    };
    site("1");
    seen.run(&bench, &["plan"]).exits(0);
    seen.run(&bench, &["apply", "--rehearse"]).exits(0);
    seen.run(&bench, &["apply"]).exits(0);
    site("2");
    seen.run(&bench, &["plan"]).exits(0);
    let unknown = r#"{"Response":{"RequestId":"r","TotalCount":0,"PurgeLogs":[]}}"#;
    for answer in [Some(Step::say(200, unknown)), Some(Step::say(500, "")), None] {
        cloud.ask_me(answer);
        seen.run(&bench, &["status", "--refresh"]);
    }
}

/// What runs do besides purges: adopt, forget, drop, and name what no manifest speaks for.
fn besides_purges(seen: &mut Seen) {
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud).provider("gone", "tencent-cdn", &cloud.url(), "");
    let site = |paths: &[&str]| {
        let list: Vec<String> = paths.iter().map(|path| format!("https://cdn.example.com/{path}")).collect();
        bench.write("manifests/site.yaml", format!("provider: own\non_removed: forget\n{}", manifest(&list, "1")));
    };
    site(&["kept", "forgotten", "dropped"]);
    bench.write("manifests/gone.yaml", format!("provider: gone\n{}", manifest(&urls(2), "1")));
    bench.write("elsewhere/old.yaml", format!("provider: own\n{}", manifest(&["https://cdn.example.com/old"], "1")));
    bench.run(&["apply", "manifests", "elsewhere", "--only", "*/a/*", "--only", "*t*n", "--only", "*/old"]).exits(4);
    for file in ["manifests/gone.yaml", "manifests/provider-gone.yaml", "elsewhere/old.yaml"] {
        std::fs::remove_file(bench.path(file)).expect("removed");
    }
    site(&["kept"]);
    bench.write(
        "manifests/new.yaml",
        format!("provider: own\non_new: adopt\n{}", manifest(&["https://cdn.example.com/new"], "1")),
    );
    seen.run(&bench, &["plan"]).exits(0);
    seen.run(&bench, &["status"]).exits(0);
    seen.run(&bench, &["apply"]);
    bench.write("manifests/new.yaml", "assets: {}\nassets: {}\n");
    seen.run(&bench, &["plan"]).exits(2);
}

/// What guards refuse, and what was purged of it once that was allowed.
fn refused_and_purged(seen: &mut Seen) {
    let cloud = Cloud::of("http-purge");
    let bench = Bench::at("http-purge", &cloud);
    bench.assets(&urls(40), "1");
    bench.run(&["adopt"]).exits(0);
    bench.assets(&urls(10), "1");
    seen.run(&bench, &["apply"]).exits(5);
    seen.run(&bench, &["status"]).exits(0);
    seen.run(&bench, &["explain", &urls(40)[39]]).exits(0);
    seen.run(&bench, &["apply", "--allow-removals"]).exits(0);
    seen.run(&bench, &["explain", &urls(40)[39]]).exits(0);
}

/// What edges serve after their purges: the content, something else, and what no probe can tell.
fn probed(seen: &mut Seen) {
    let edge = Origin::start();
    edge.take_all_methods();
    let page = |path: &str, body: &str| format!("  {path}: 'blake3:{}'\n", blake3::hash(body.as_bytes()).to_hex());
    for (path, body) in [("/good", "new"), ("/stale", "old")] {
        edge.publish(None, path, body);
    }
    let bench = Bench::new().file(
        "manifests/site.yaml",
        format!(
            "providers:\n  own: {{kind: http-purge, hosts: [www.example.com], endpoints: [\"http://127.0.0.1:{}\"]}}\n\
             base_url: http://www.example.com/\nverify: {{settle: 100ms, repurge: 0}}\nassets:\n{}{}",
            edge.port,
            page("good", "new"),
            page("stale", "new"),
        ),
    );
    let applied = seen.run(&bench, &["apply", "--wait", "verified"]).exits(4).json();
    assert_eq!((applied["proof"]["probes"].clone(), applied["kind"].clone()), (json!(3), json!("not_all_done")));
    let result = |index: usize| applied["proof"]["targets"][index]["result"].clone();
    assert_eq!((result(0), result(1)), (json!("verified"), json!("stale")), "the second after a further probe");
    edge.publish(None, "/stale", "new");
    // What stayed stale is not waited for.
    let verified = seen.run(&bench, &["verify", "--deadline", "60s"]).exits(0).json();
    let results = verified["proof"]["targets"].as_array().expect("targets").iter().map(|one| one["result"].clone());
    assert_eq!(results.collect::<Vec<_>>(), ["verified", "verified"], "{verified}");
    // What was not probed is no proof.
    let none = seen.run(&bench, &["verify", "--deadline", "0s"]).exits(4).json();
    assert_eq!(
        (none["proof"]["probes"].clone(), none["proof"]["targets"][0]["result"].clone()),
        (json!(0), json!("due"))
    );
}

/// What probes of edges come to.
fn proven(seen: &mut Seen) {
    let site = Site::start("new");
    seen.run(&site.bench, &["apply", "--wait", "verified"]).exits(0);
    site.edge_serves("old");
    seen.run(&site.bench, &["verify"]).exits(4);
    seen.run(&site.bench, &["status"]).exits(0);
    seen.run(&site.bench, &["explain", "/a.html"]).exits(0);
}

/// A member that nothing prints is none.
#[test]
fn each_member_of_a_schema_is_printed() {
    let mut seen = Seen::default();
    stopped_runs(&mut seen);
    directories_and_tasks(&mut seen);
    besides_purges(&mut seen);
    refused_and_purged(&mut seen);
    probed(&mut seen);
    proven(&mut seen);
    let unseen: BTreeSet<String> = SCHEMAS
        .iter()
        .flat_map(|(name, schema)| {
            let found = seen.0.get(name.as_str()).cloned().unwrap_or_default();
            members(&schema.root)
                .into_iter()
                .filter(move |path| !found.contains(path))
                .map(move |path| format!("{name} {path}"))
        })
        .collect();
    let expected: BTreeSet<String> = NOT_YET.iter().map(|(path, _)| (*path).to_owned()).collect();
    assert_eq!(unseen, expected, "members without a run that prints them");
}

/// Of the formats that programs wrote files in before, the audit log has the same times. An export keeps milliseconds: what is
/// imported is as it was.
#[test]
fn times_have_one_form_wherever_json_is_written() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud);
    bench.assets(&urls(2), "1");
    bench.run(&["apply", "--audit", "audit.jsonl"]).exits(0);
    let audit = String::from_utf8(bench.read("audit.jsonl").expect("a log")).expect("UTF-8");
    for line in audit.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")) {
        check_times("", &line);
        assert!(line["time"].as_str().is_some_and(is_time), "{line}");
    }
    for command in [&["check"][..], &["scan", "manifests"], &["state", "list"], &["providers"], &["adopt"]] {
        check_times("", &bench.run(&[command, &["--format", "json"]].concat()).exits(0).json());
    }
    let listed = bench.run(&["state", "list", "--format", "json"]).exits(0).json();
    assert!(listed["targets"][0]["recorded_at"].as_str().is_some_and(is_time), "{listed}");
    assert!(bench.exported()[0]["recorded_at_ms"].is_number());
}
