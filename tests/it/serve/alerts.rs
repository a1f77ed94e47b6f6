//! The alerts of the documentation, on what a watch really shows: promtool lets the time pass.

use std::net::SocketAddr;
use std::process::Command;

use super::{listening, settled, urls};
use crate::proof_shown::Site;
use crate::support::cli::{Bench, manifest};
use crate::support::cloud::{Cloud, KEY_ID, KEY_SECRET, Step};
use crate::support::is_installed;
use crate::support::origin::Origin;
use crate::support::reader::get;

/// The rules as the page has them.
fn rules() -> String {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/listen.md")).expect("the page");
    let rules = page.split("```yaml\n# rules\n").nth(1).and_then(|rest| rest.split("```").next());
    rules.expect("rules").to_owned()
}

/// Names of alerts.
fn names(rules: &str) -> impl Iterator<Item = &str> {
    rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")?.split_whitespace().next())
}

/// What is shown now goes on for two hours; ages grow.
fn series(at: SocketAddr) -> String {
    let shown = get(at, "/metrics").body;
    let lines = shown.lines().filter(|line| line.starts_with("freshen_") && !line.contains("_bucket{"));
    let line = |line: &str| {
        let (name, value) = line.rsplit_once(' ').expect("a value");
        let is_age = name.starts_with("freshen_oldest_") && value != "0.0";
        let grows = if is_age { 60 } else { 0 };
        format!("      - {{series: '{name}', values: '{value}+{grows}x120'}}\n")
    };
    lines.map(line).collect()
}

/// An alert that fires at one minute and not yet at another one, with its labels.
struct Fires<'a>(&'a str, u32, u32, Vec<&'a str>);

fn expect(bench: &Bench, series: &str, alerts: &[Fires<'_>]) {
    if !is_installed("promtool", "prometheus") {
        return;
    }
    bench.write("rules.yaml", rules());
    let mut tests = format!(
        "rule_files: [rules.yaml]\nevaluation_interval: 1m\ntests:\n  - interval: 1m\n    input_series:\n{series}    alert_rule_test:\n"
    );
    for Fires(name, before, after, labels) in alerts {
        let expected: Vec<String> = labels.iter().map(|labels| format!("{{exp_labels: {{{labels}}}}}")).collect();
        for (minute, expected) in [(before, String::new()), (after, expected.join(", "))] {
            tests += &format!("      - {{eval_time: {minute}m, alertname: {name}, exp_alerts: [{expected}]}}\n");
        }
    }
    bench.write("tests.yaml", &tests);
    let ran = Command::new("promtool").args(["test", "rules"]).arg(bench.path("tests.yaml")).output().expect("started");
    let said = String::from_utf8_lossy(&ran.stdout) + String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success() && said.contains("SUCCESS"), "{said}\n{tests}");
}

/// One endpoint answers with errors, one quota is spent, one manifest is refused, one origin has not what is asked for.
#[test]
fn alerts_fire_for_what_is_refused_fails_waits_and_runs_short() {
    let (busy, down, late) = (Cloud::of("tencent-vod"), Cloud::of("http-purge"), Cloud::of("http-purge"));
    let origin = Origin::start();
    down.always(Some(Step::say(500, "no")));
    let bench = Bench::new()
        .provider("busy", "tencent-vod", &busy.url(), "limits: {urls_per_day: 2}\n")
        .provider("down", "http-purge", &down.url(), "")
        .provider("late", "http-purge", &late.url(), "")
        .keys("tencent-vod", KEY_ID, KEY_SECRET, None);
    bench.assets(&urls(5), "1");
    let hash = format!("sha256:{}", "0".repeat(64));
    let origin = format!("origin: http://127.0.0.1:{}\nprovider: late\n", origin.port);
    bench.write("manifests/late.yaml", format!("{origin}assets:\n  http://cdn.example.com/late: {hash}\n"));
    let (mut watching, at) = listening(&bench, &[]);
    watching.says("deferred: ");
    watching.says("fail");
    let more = ["a", "b", "c"].map(|name| format!("http://cdn.example.com/{name}"));
    bench.write("manifests/more.yaml", manifest(&more, "1") + "guard: {max_purges: 1}\n");
    watching.says("refused: ");
    watching.ends_a_run();
    let series = series(at);
    let stuck = |provider: &str| format!("provider: {provider}, severity: page");
    let stuck = ["busy", "down", "late"].map(stuck);
    let alerts = [
        Fires("FreshenRefused", 14, 16, vec![""]),
        Fires("FreshenProviderFails", 9, 11, vec!["provider: down"]),
        Fires("FreshenPurgesStuck", 10, 16, stuck.iter().map(String::as_str).collect()),
        Fires("FreshenOriginLate", 10, 16, vec!["provider: late"]),
        Fires("FreshenEdgeStale", 60, 61, Vec::new()),
        Fires("FreshenTargetsWait", 59, 61, vec!["provider: busy, state: deferred"]),
        Fires("FreshenQuotaLow", 4, 6, vec!["provider: busy, operation: RefreshUrlCache"]),
        Fires("FreshenInTrouble", 60, 61, Vec::new()),
        Fires("FreshenManifestsInvalid", 60, 61, Vec::new()),
        Fires("FreshenTargetsRejected", 60, 61, Vec::new()),
        Fires("FreshenDown", 60, 61, Vec::new()),
    ];
    expect(&bench, &series, &alerts);
    for name in names(&rules()) {
        assert!(alerts.iter().any(|alert| alert.0 == name), "{name} has no test");
    }
    watching.stop();
}

#[test]
fn no_alert_fires_where_all_is_well() {
    let (_cloud, bench, watching, at) = settled(3, &[]);
    let documented = rules();
    let alerts: Vec<Fires<'_>> = names(&documented).map(|name| Fires(name, 1, 119, Vec::new())).collect();
    assert!(alerts.len() >= 11);
    expect(&bench, &series(at), &alerts);
    watching.stop();
}

/// What a probe found besides the watch fires as well, and the page has columns for it.
#[test]
fn an_edge_that_stays_stale_fires() {
    let site = Site::start("new");
    site.bench.run(&["apply", "--wait", "verified"]).exits(0);
    site.edge_serves("old");
    site.bench.run(&["verify"]).exits(4);
    let (mut watching, at) = listening(&site.bench, &[]);
    watching.ends_a_run();
    expect(&site.bench, &series(at), &[Fires("FreshenEdgeStale", 14, 16, vec!["provider: own, state: stale"])]);
    let page = get(at, "/").body;
    assert!(page.contains(">Stale</th>") && page.contains("1 target stale at an edge"), "{page}");
    assert!(!page.contains(">Waiting</th>"), "{page}");
    watching.stop();
}

/// The page and the metrics of a watch that waits for an origin.
#[test]
fn what_waits_for_its_origin_stands_on_the_page() {
    let site = Site::start("new");
    site.origin_serves("old");
    let (mut watching, at) = listening(&site.bench, &[]);
    watching.says("waiting: ");
    watching.ends_a_run();
    let page = get(at, "/").body;
    assert!(page.contains(">Waiting</th>") && page.contains(">waiting</td>"), "{page}");
    assert!(page.contains("1 waiting, 0 pending"), "{page}");
    assert!(get(at, "/metrics").body.contains("freshen_targets{provider=\"own\",state=\"waiting\"} 1\n"));
    watching.stop();
}

#[test]
fn a_watch_that_is_gone_or_cannot_read_fires() {
    let (_cloud, bench, mut watching, at) = settled(1, &[]);
    bench.write("manifests/site.yaml", "assets: [");
    watching.says("the manifests are not valid");
    expect(&bench, &series(at), &[Fires("FreshenManifestsInvalid", 4, 6, vec![""])]);
    watching.stop();
    let none = "      - {series: 'up', values: '0x120'}\n";
    expect(&bench, none, &[Fires("FreshenDown", 4, 6, vec![""])]);
}
