//! Metrics as others read them: `promtool` of Prometheus looks at them, and labels are counted.

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use super::{listening, settled, urls};
use crate::support::cli::{Bench, provider};
use crate::support::cloud::{Cloud, Step};
use crate::support::is_installed;
use crate::support::reader::{get, request, send};

/// Lets promtool look at something.
fn promtool(arguments: &[&str], text: &str) {
    if !is_installed("promtool", "prometheus") {
        return;
    }
    let mut child = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("written");
    let told = child.wait_with_output().expect("ended");
    let said = String::from_utf8_lossy(&told.stderr);
    assert!(told.status.success() && said.is_empty(), "{said}{}\n{text}", String::from_utf8_lossy(&told.stdout));
}

/// The metrics as they are now; promtool finds nothing wrong with them.
fn is_clean(at: SocketAddr) -> String {
    let text = get(at, "/metrics").body;
    promtool(&["check", "metrics"], &text);
    text
}

/// The value of a series, without its fraction.
fn value(text: &str, series: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    let value = line.unwrap_or_else(|| panic!("{series} is not in\n{text}"));
    value.split('.').next().expect("a part").parse().expect("a number")
}

/// Every family has series at the end of this, and each says what happened.
#[test]
fn metrics_tell_what_happened() {
    let cloud = Cloud::of("tencent-vod");
    let bench = Bench::at("tencent-vod", &cloud);
    bench.assets(&urls(30), "1");
    let (mut watching, at) = listening(&bench, &[]);
    watching.records(30);
    cloud.always(Some(Step::say(500, "no")));
    bench.assets(&urls(30), "2");
    watching.says("provider fails");
    let text = is_clean(at);
    let labels = "provider=\"own\"";
    assert_eq!(value(&text, &format!("freshen_accepted_targets_total{{{labels}}}")), 30);
    assert_eq!(value(&text, &format!("freshen_not_cached_targets_total{{{labels}}}")), 0);
    assert_eq!(value(&text, &format!("freshen_calls_total{{{labels},outcome=\"accepted\"}}")), 2);
    assert_eq!(value(&text, &format!("freshen_targets{{{labels},state=\"pending\"}}")), 30);
    assert_eq!(value(&text, &format!("freshen_provider_failures{{{labels}}}")), 1);
    assert_eq!(value(&text, &format!("freshen_allowed_calls_per_second{{{labels},operation=\"RefreshUrlCache\"}}")), 5);
    let quota = |what: &str| {
        let lines = text.lines().filter(|line| line.starts_with(&format!("freshen_quota_{what}{{{labels},operation=")));
        lines
            .map(|line| line.rsplit_once(' ').expect("a value").1.parse::<u64>().expect("a number"))
            .next()
            .expect("one")
    };
    assert!(quota("left") < quota("limit") && quota("limit") == 100_000, "{text}");
    assert!(value(&text, &format!("freshen_oldest_pending_age_seconds{{{labels}}}")) < 3600);
    assert!(value(&text, "freshen_last_success_timestamp_seconds") > 1_700_000_000);
    assert_eq!(value(&text, "freshen_runs_total{reason=\"start\"}"), 1);
    assert!(value(&text, "freshen_run_duration_seconds_count") >= 2);
    assert_eq!(
        value(&text, "freshen_run_duration_seconds_count"),
        value(&text, "freshen_run_duration_seconds_bucket{le=\"+Inf\"}")
    );
    assert!(value(&text, "freshen_file_events_total") >= 1);
    assert_eq!(value(&text, "freshen_manifest_targets"), 30);
    let described: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    for family in described {
        let has_series =
            |line: &str| line.starts_with(&format!("{family}{{")) || line.starts_with(&format!("{family} "));
        assert!(
            family.ends_with("_duration_seconds") || text.lines().any(has_series),
            "{family} has no series\n{text}"
        );
    }
    watching.stop();
}

/// W6, W7: nothing went through while manifests are not valid, whatever earlier ones had left and is done by now.
#[test]
fn what_is_done_of_the_last_valid_manifests_is_no_success() {
    let cloud = Cloud::of("http-purge");
    let bench = Bench::at("http-purge", &cloud);
    bench.assets(&urls(2), "1");
    cloud.always(Some(Step::say(500, "no")));
    let (mut watching, at) = listening(&bench, &[]);
    watching.says("provider fails");
    bench.write("manifests/site.yaml", "assets: [");
    watching.says("the manifests are not valid");
    cloud.always(None);
    watching.signal("HUP");
    watching.records(2);
    let text = is_clean(at);
    assert_eq!(value(&text, "freshen_manifests_valid"), 0);
    assert!(!text.contains("\nfreshen_last_success_timestamp_seconds"), "{text}");
    bench.assets(&urls(2), "1");
    watching.says("the manifests are valid again");
    assert!(value(&is_clean(at), "freshen_last_success_timestamp_seconds") > 1_700_000_000);
    watching.stop();
}

/// W6: a provider that does not answer is seen to have work, and for how long, before the run ends that waits for it.
#[test]
fn what_a_run_has_yet_to_do_is_pending() {
    let (cloud, bench, mut watching, at) = settled(1, &["--ready-within", "1ms"]);
    cloud.script([Step::Hold]);
    bench.assets(&urls(1), "1");
    cloud.wait_for_hold();
    let text = is_clean(at);
    assert_eq!(value(&text, "freshen_targets{provider=\"own\",state=\"pending\"}"), 1);
    assert!(value(&text, "freshen_file_events_total") >= 1);
    let told = get(at, "/readyz");
    assert!(told.body.starts_with("provider own is stuck: 1 pending, the oldest since "), "{told:?}");
    assert!(get(at, "/").body.contains(&urls(1)[0]));
    cloud.release();
    watching.records(1);
    watching.stop();
    assert_eq!(cloud.purged(), urls(1));
}

/// A request for OpenMetrics is met: ended by its mark, counters without the ending of their samples.
#[test]
fn open_metrics_are_told_to_who_asks() {
    let (_cloud, _bench, watching, at) = settled(1, &[]);
    let accept = "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n";
    let answer = send(at, request(at, "GET", "/metrics", accept).as_bytes());
    assert_eq!(answer.header("content-type"), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    assert!(answer.body.ends_with("\n# EOF\n") && answer.body.contains("# TYPE freshen_runs counter\n"), "{answer:?}");
    assert!(answer.body.contains("\nfreshen_runs_total{reason=\"start\"} 1\n"));
    let plain = get(at, "/metrics");
    assert_eq!(plain.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(!plain.body.contains("EOF") && plain.body.contains("# TYPE freshen_runs_total counter\n"));
    watching.stop();
}

/// H5: no series per URL, and none for more than a hundred providers.
#[test]
fn labels_are_bounded() {
    let cloud = Cloud::of("http-purge");
    cloud.always(Some(Step::say(500, "no")));
    let bench = Bench::at("http-purge", &cloud);
    for number in 0..130 {
        let text = provider(&format!("more-{number:03}"), "http-purge", &cloud.url(), "");
        let text = text.replace("\"cdn.example.com\", \"*.example.net\"", &format!("\"h{number}.example.org\""));
        bench.write(&format!("manifests/more-{number}.yaml"), text);
    }
    bench.assets(&urls(60), "1");
    let (mut watching, at) = listening(&bench, &[]);
    watching.ends_a_run();
    let text = is_clean(at);
    assert_eq!(value(&text, "freshen_providers"), 131);
    assert_eq!(text.lines().filter(|line| line.contains("state=\"pending\"")).count(), 100);
    assert!(!text.contains("example.com"), "{text}");
    watching.stop();
}

/// The rules in the documentation are rules, and about metrics that exist.
#[test]
fn documented_rules_and_metrics_are_real() {
    let documented = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/listen.md")).expect("the page");
    let rules = documented.split("```yaml\n# rules\n").nth(1).and_then(|rest| rest.split("```").next()).expect("rules");
    promtool(&["check", "rules", "/dev/stdin"], rules);
    let source =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/serve/metrics.rs")).expect("the source");
    let names = documented.split(|character: char| !(character.is_ascii_lowercase() || character == '_'));
    let names: Vec<&str> = names.filter_map(|word| word.strip_prefix("freshen_")).collect();
    assert!(names.len() > 20);
    for name in names {
        let family = name.strip_suffix("_total").unwrap_or(name);
        assert!(source.contains(&format!("\"{family}\"")), "freshen_{name} does not exist");
    }
}
