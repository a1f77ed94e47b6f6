//! Numbers in the log by which records are put together, and found again elsewhere.

use serde_json::Value;

use super::{recorded, urls};
use crate::support::cli::Bench;
use crate::support::cloud::{Cloud, Step};
use crate::support::reader::get;
use crate::support::watching::Watching;

/// What is logged beside any run.
const BESIDE_RUNS: [&str; 4] = ["watching", "listening at", "reloading", "stopped"];

/// Has it purge one revision, fail with the next one, and end; returns what it said, and the page before its end.
fn said(cloud: &Cloud, bench: &Bench, revisions: [&str; 2]) -> (Vec<Value>, String) {
    let mut watching = Watching::start(bench, &["--audit", "audit.jsonl", "--listen", "127.0.0.1:0"]);
    let told = watching.says("listening at")["message"].as_str().expect("a text").to_owned();
    let at = told.rsplit_once("http://").expect("an address").1.parse().expect("an address");
    watching.ends_a_run();
    cloud.always(None);
    bench.assets(&urls(2), revisions[0]);
    watching.records(2);
    cloud.always(Some(Step::say(403, "no")));
    bench.assets(&urls(2), revisions[1]);
    watching.says("provider fails");
    watching.signal("HUP");
    watching.says("reloading");
    watching.ends_a_run();
    let page = get(at, "/").body;
    (watching.stop(), page)
}

/// X5: each record of a run says of which, and what is logged of a call is found in the audit log and in `status`, also after the
/// program was started again.
#[test]
fn records_are_joined_with_the_audit_log_and_the_state() {
    let (cloud, bench) = recorded(2);
    let (first, _) = said(&cloud, &bench, ["1", "2"]);
    let (second, page) = said(&cloud, &bench, ["3", "4"]);
    let is_beside = |record: &Value| {
        let text = record["message"].as_str().expect("a text");
        BESIDE_RUNS.iter().any(|beside| text.starts_with(beside))
    };
    let all = [first, second].concat();
    for record in all.iter().filter(|record| !is_beside(record)) {
        assert!(record["pass"].is_u64(), "{record}");
    }
    let of_call = |line: &Value, targets: &str| [&line["run"], &line["outcome"], &line[targets]].map(Value::to_string);
    let is_call = |record: &&Value| record["outcome"].is_string();
    let logged: Vec<_> = all.iter().filter(is_call).map(|record| of_call(record, "targets")).collect();
    let audit = String::from_utf8(bench.read("audit.jsonl").expect("written")).expect("UTF-8");
    let audit: Vec<Value> = audit.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(logged, audit.iter().map(|line| of_call(line, "stands_for")).collect::<Vec<_>>());
    let ended: Vec<&Value> =
        all.iter().filter(|record| record["calls"].is_u64()).map(|record| &record["run"]).collect();
    let mut numbers: Vec<&Value> = audit.iter().map(|line| &line["run"]).collect();
    numbers.dedup();
    assert_eq!(ended, numbers, "each run that made calls, once");
    let status = bench.run(&["status", "--format", "json"]).exits(0).json();
    let newest = &status["runs"][0]["run"];
    assert_eq!(Some(&newest), numbers.last());
    assert!(page.contains(&format!("data-label=\"Run\">{newest}</td>")), "{page}");
}
