//! How quotas stand, by the state's ledger: in `status`, on the page and in metrics, whichever run drew on them. What pipelines
//! are given of work that waits.

use std::net::SocketAddr;

use serde_json::Value;

use crate::support::cli::{Bench, manifest};
use crate::support::cloud::{Cloud, KEY_ID, KEY_SECRET, Step, now};
use crate::support::reader::get;
use crate::support::watching::Watching;

const KIND: &str = "tencent-cdn";

/// A quota day that does not end while a test runs.
fn limits(urls_per_day: u64) -> String {
    let hour = now().unix_seconds().div_euclid(3600).rem_euclid(24);
    format!("limits: {{urls_per_day: {urls_per_day}, quota_day: \"{:+03}:00\"}}\n", 12 - hour)
}

fn urls(number: usize) -> Vec<String> {
    (0..number).map(|index| format!("https://cdn.example.com/{index}")).collect()
}

fn bench(cloud: &Cloud, urls_per_day: u64) -> Bench {
    Bench::new().provider("own", KIND, &cloud.url(), &limits(urls_per_day)).keys(KIND, KEY_ID, KEY_SECRET, None)
}

/// T4: by name of the provider, with what it may and what it has, and who else draws on it.
#[test]
fn status_shows_the_quota_of_each_provider() {
    let cloud = Cloud::of(KIND);
    let bench = bench(&cloud, 50).provider("second", KIND, &cloud.url(), &limits(40));
    bench.assets(&urls(3), "1");
    bench.run(&["apply", "--namespace", "web"]).exits(0);
    let status = bench.run(&["status", "--format", "json"]).exits(0).json();
    let quotas = status["quotas"].as_array().expect("a list");
    let of = |index: usize, key: &str| quotas[index][key].clone();
    assert_eq!(quotas.len(), 2, "{status}");
    for (index, name, other, limit) in [(0, "web:own", "web:second", 50), (1, "web:second", "web:own", 40)] {
        assert_eq!((of(index, "provider"), of(index, "shared_with")), (name.into(), serde_json::json!([other])));
        assert_eq!(
            (of(index, "limit"), of(index, "used"), of(index, "left")),
            (limit.into(), 6.into(), (limit - 6).into())
        );
        let resets = of(index, "resets_at");
        let left = resets.as_str().expect("text") > now().utc_extended().as_str();
        assert!(left && of(index, "account") == status["quota"][0]["account"], "{status}");
    }
    let told = bench.run(&["status"]).exits(0).stdout;
    let row = told.lines().find(|line| line.trim_start().starts_with("web:own ") && line.contains("web:second"));
    let words: Vec<&str> = row.expect(&told).split_whitespace().collect();
    assert_eq!(words[3..6], ["50", "6", "44"], "{told}");
    // What others of the account used counts for both.
    bench.run(&["apply", "--namespace", "web", "--force", "*/1"]).exits(0);
    let status = bench.run(&["status", "--format", "json"]).exits(0).json();
    assert_eq!((&status["quotas"][0]["used"], &status["quotas"][1]["left"]), (&8.into(), &32.into()));
}

/// What waits is summed up with the first and the last day, and each provider has a share of the list however much is left at others.
#[test]
fn status_says_what_waits_and_until_when() {
    let (cloud, site) = (Cloud::of(KIND), Cloud::of("http-purge"));
    let bench = bench(&cloud, 1).provider("site", "http-purge", &site.url(), "");
    bench.assets(&urls(3), "1");
    site.always(Some(Step::say(500, "no")));
    bench.run(&["apply"]).exits(4);
    let told = bench.run(&["status"]).exits(0).stdout;
    let waits = told.split("\nDeferred\n").nth(1).unwrap_or_else(|| panic!("{told}"));
    assert!(waits.starts_with("  own: 2 targets, the oldest https://cdn.example.com/1 until 20"), "{told}");
    assert!(
        waits.contains(" UTC, last on 20") && waits.contains(": the day's quota of 1 is spent\n    since 20"),
        "{told}"
    );
    bench.assets(&urls(60), "1");
    bench.run(&["apply"]).exits(4);
    let told = bench.run(&["status"]).exits(0).stdout;
    let listed = |name: &str| told.lines().filter(|line| line.starts_with("  new") && line.contains(name)).count();
    assert_eq!((listed("  own  "), listed("  site  ")), (25, 25), "{told}");
    assert!(told.contains("  … and 35 more at site\n  … that are 69 more; `freshen state list --state /"), "{told}");
}

/// T4: a provider that is renamed leaves no row of its quota behind once its targets are forgotten and the day is over.
#[test]
fn status_shows_no_quota_of_a_provider_that_is_gone() {
    let cloud = Cloud::of(KIND);
    let bench = bench(&cloud, 50);
    bench.assets(&urls(2), "1");
    bench.run(&["apply"]).exits(0);
    std::fs::remove_file(bench.path("manifests/provider-own.yaml")).expect("removed");
    let bench = bench.provider("second", KIND, &cloud.url(), &limits(50));
    bench.run(&["apply"]).exits(0);
    let shown = || {
        let status = bench.run(&["status", "--format", "json"]).exits(0).json();
        let quotas = status["quotas"].as_array().expect("a list").clone();
        quotas.into_iter().map(|quota| (quota["provider"].clone(), quota["shared_with"].clone())).collect::<Vec<_>>()
    };
    bench.run(&["state", "forget", "*", "--provider", "own"]).exits(0);
    let both = [("own", "second"), ("second", "own")].map(|(name, other)| (name.into(), serde_json::json!([other])));
    assert_eq!(shown(), both, "what was used today is of interest");
    bench.by_hand("UPDATE quota SET day = '2020-01-01'");
    assert_eq!(shown(), [("second".into(), serde_json::json!([]))]);
}

fn left(at: SocketAddr) -> (u64, String) {
    let metrics = get(at, "/metrics").body;
    let line = metrics.lines().find(|line| line.starts_with("freshen_quota_left{")).expect(&metrics);
    (line.rsplit_once(' ').expect("a value").1.parse().expect("a number"), get(at, "/").body)
}

/// W6: what an `apply` by hand drew on is on the page and in metrics after the next look of the watch beside it.
#[test]
fn the_page_shows_what_others_drew_on() {
    let cloud = Cloud::of(KIND);
    let bench = bench(&cloud, 100);
    bench.assets(&urls(5), "1");
    bench.run(&["apply"]).exits(0);
    let mut watching = Watching::start(&bench, &["--listen", "127.0.0.1:0"]);
    let told = watching.says("listening at")["message"].as_str().expect("text").to_owned();
    let at = told.rsplit_once("http://").expect("an address").1.parse().expect("an address");
    watching.ends_a_run();
    let (number, page) = left(at);
    assert!(number == 95 && page.contains(">95</td>"), "before it draws on any: {page}");
    let own = String::from_utf8(bench.read("manifests/provider-own.yaml").expect("there")).expect("UTF-8");
    bench.write("others/own.yaml", own);
    bench.write("others/site.yaml", manifest(&["https://cdn.example.com/a", "https://cdn.example.com/b"], "1"));
    bench.run(&["apply", "others"]).exits(0);
    watching.signal("HUP");
    watching.wait("the next look", |record| record["message"] == "run ended" && record["reason"] == "reload");
    let (number, page) = left(at);
    assert!(number == 93 && page.contains(">93</td>"), "{page}");
    bench.assets(&urls(5), "2");
    watching.records(5);
    assert_eq!(left(at).0, 88);
    watching.stop();
}

/// Only what waits for quota is well with `--deferred-ok`, in both outputs and in the state.
#[test]
fn what_waits_for_quota_may_be_well() {
    let cloud = Cloud::of(KIND);
    let bench = bench(&cloud, 2);
    bench.assets(&urls(5), "1");
    let ran = bench.run(&["apply", "--deferred-ok", "--format", "json"]).exits(0).json();
    assert_eq!((&ran["exit"], &ran["kind"], &ran["providers"][0]["deferred"]), (&0.into(), &Value::Null, &3.into()));
    bench.run(&["apply", "--deferred-ok"]).exits(0).says("3 deferred");
    let ran = bench.run(&["apply", "--format", "json"]).exits(4).json();
    assert_eq!((&ran["exit"], &ran["kind"]), (&4.into(), &"not_all_done".into()));
    let other = Cloud::of("http-purge");
    other.always(Some(Step::say(500, "no")));
    let bench = bench.provider("second", "http-purge", &other.url(), "");
    bench.run(&["apply", "--deferred-ok"]).exits(4).says("5 pending");
}

/// A host that the vendor does not serve at the moment is no quota.
#[test]
fn what_waits_for_a_host_is_not_well() {
    let cloud = Cloud::of(KIND);
    let refusal =
        r#"{"Response":{"Error":{"Code":"ResourceUnavailable.CdnHostIsNotOnline","Message":"m"},"RequestId":"r"}}"#;
    cloud.always(Some(Step::say(200, refusal)));
    let bench = bench(&cloud, 100);
    bench.assets(&urls(1), "1");
    let ran = bench.run(&["apply", "--deferred-ok", "--format", "json"]).exits(4).json();
    assert_eq!(ran["providers"][0]["deferred"], 1, "{ran}");
}

#[test]
fn status_ends_with_4_for_what_is_left_that_long() {
    let cloud = Cloud::of("http-purge");
    let bench = Bench::at("http-purge", &cloud);
    bench.assets(&urls(2), "1");
    for more in [&[][..], &["--older-than", "15m"], &["--format", "json"]] {
        bench.run(&[&["status", "--exit-code"], more].concat()).exits(4);
    }
    bench.run(&["status"]).exits(0).says("No state at");
    bench.run(&["apply"]).exits(0);
    bench.run(&["status", "--exit-code", "--older-than", "0s"]).exits(0);
    cloud.always(Some(Step::say(500, "no")));
    bench.assets(&urls(2), "2");
    bench.run(&["apply"]).exits(4);
    bench.run(&["status"]).exits(0);
    bench.run(&["status", "--exit-code"]).exits(4);
    bench.run(&["status", "--exit-code", "--older-than", "15m", "--format", "json"]).exits(0).json();
    bench.by_hand("UPDATE target SET since = since - 600000");
    bench.run(&["status", "--exit-code", "--older-than", "15m"]).exits(0);
    bench.by_hand("UPDATE target SET since = since - 300000");
    bench.run(&["status", "--exit-code", "--older-than", "15m"]).exits(4);
    bench.run(&["status", "--older-than", "15m"]).exits(2);
    bench.run(&["status", &urls(2)[0], "--exit-code"]).exits(2).says("`--exit-code` is about all targets");
}

/// Both end with 2: programs tell them apart by what they are about.
#[test]
fn credentials_that_are_missing_are_no_broken_input() {
    let cloud = Cloud::of(KIND);
    let bench = Bench::new().provider("own", KIND, &cloud.url(), "");
    bench.assets(&urls(1), "1");
    let kind =
        |arguments: &[&str]| bench.run(&[arguments, &["--format", "json"]].concat()).exits(2).json()["kind"].clone();
    assert_eq!(kind(&["apply"]), "credentials_missing");
    assert_eq!(kind(&["check", "--online"]), "credentials_missing");
    bench.write("manifests/site.yaml", "assets: [");
    for verb in [&["apply"][..], &["plan"], &["check"], &["check", "--online"]] {
        let ran = bench.run(&[verb, &["--format", "json"]].concat()).exits(2).json();
        assert_eq!((&ran["kind"], &ran["problems"][0]["kind"]), (&"input".into(), &"manifest".into()), "{ran}");
    }
    let header = Bench::new().provider("own", "http-purge", &cloud.url(), "headers: {X-Key: \"${NONE}\"}\n");
    header.assets(&urls(1), "1");
    let checked = header.run(&["check", "--format", "json"]).exits(0).json();
    assert_eq!(checked["problems"][0]["kind"], "credentials", "{checked}");
    let guarded = Bench::at("http-purge", &cloud);
    guarded.assets(&urls(101), "1");
    let refused = guarded.run(&["apply", "--format", "json"]).exits(5).json();
    assert_eq!((&refused["kind"], &refused["problems"][0]["kind"]), (&"guard".into(), &"guard".into()));
}
