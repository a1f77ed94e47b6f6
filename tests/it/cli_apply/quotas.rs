//! Whose quota it is: accounts whose keys change from run to run, and several providers on one account.

use std::os::unix::fs::PermissionsExt;

use super::{Bench, Cloud, urls};
use crate::support::cli::manifest;
use crate::support::cloud::{Step, now, variables};

const KIND: &str = "tencent-vod";

/// A vendor that takes any key.
fn open_to_all() -> Cloud {
    let cloud = Cloud::of(KIND);
    cloud.always(Some(Step::say(200, r#"{"Response":{"RequestId":"r"}}"#)));
    cloud
}

/// Limits with a quota day that does not end while a test runs.
fn limits(urls_per_day: u64) -> String {
    let hour = now().unix_seconds().div_euclid(3600).rem_euclid(24);
    format!("limits: {{urls_per_day: {urls_per_day}, quota_day: \"{:+03}:00\"}}\n", 12 - hour)
}

/// URLs that arrived since the last look.
fn sent(cloud: &Cloud) -> usize {
    let urls = |request: &Vec<u8>| String::from_utf8_lossy(request).matches("https://cdn.example.com/").count();
    let sent = cloud.requests().iter().map(urls).sum();
    cloud.count();
    sent
}

/// URLs that `plan` shows for today.
fn planned(bench: &Bench) -> usize {
    let plan = bench.run(&["plan", "--format", "json"]).exits(0).json();
    plan["changes"].as_array().expect("a list").iter().filter(|change| change["over_quota"] == false).count()
}

/// Runs as often as this, and counts what is sent; each sends what was planned.
fn apply(bench: &Bench, cloud: &Cloud, runs: usize) -> usize {
    let run = |_| {
        let planned = planned(bench);
        bench.run(&["apply", "--purge-all"]);
        let sent = sent(cloud);
        assert_eq!(sent, planned, "what is planned is sent");
        sent
    };
    (0..runs).map(run).sum()
}

fn with_keys(bench: Bench, id: &str, token: &str) -> Bench {
    let [id_name, secret_name, token_name] = variables(KIND);
    bench.var(id_name, id).var(secret_name, "secret").var(token_name, token)
}

/// S5: each issue of a temporary key has an id of its own, and the account's day is one.
#[test]
fn temporary_keys_of_a_program_are_one_account() {
    let cloud = open_to_all();
    let program = "credentials: {command: [/bin/sh, keys.sh]}\n";
    let bench = Bench::new().provider("own", KIND, &cloud.url(), &format!("{}{program}", limits(5)));
    bench.write(
        "keys.sh",
        r#"echo >> asked; n=$(wc -l < asked); printf '{"key_id":"k%s","key_secret":"s","token":"t%s"}' "$n" "$n""#,
    );
    bench.assets(&urls(12), "1");
    assert_eq!(apply(&bench, &cloud, 3), 5);
    assert_eq!(bench.read("asked").map(|asked| asked.len()), Some(3), "three keys");
    let status = bench.run(&["status", "--format", "json"]).exits(0).json();
    assert!(status["quota"][0]["account"].as_str().is_some_and(|name| name.starts_with("keys of program /bin/sh ")));
    assert_eq!(status["quota"][0]["used"], 5);
}

/// S5: what was spent with a permanent key counts once a token comes with another one, from wherever, and when it goes again.
#[test]
fn an_account_is_the_same_with_a_token_and_without() {
    let cloud = open_to_all();
    let bench = Bench::new().provider("own", KIND, &cloud.url(), &limits(9));
    bench.assets(&urls(2), "1");
    let bench = with_keys(bench, "permanent", "");
    assert_eq!(apply(&bench, &cloud, 2), 2);
    bench.assets(&urls(4), "1");
    let bench = with_keys(bench, "temporary", "token");
    assert_eq!(apply(&bench, &cloud, 2), 2);
    bench.assets(&urls(6), "1");
    let keys = r#"{"key_id":"filed","key_secret":"s","token":"t"}"#;
    let bench = bench.file("keys.json", keys);
    std::fs::set_permissions(bench.path("keys.json"), std::fs::Permissions::from_mode(0o600)).expect("private");
    let file = "credentials: {file: keys.json}\n";
    let bench = bench.provider("own", KIND, &cloud.url(), &format!("{}{file}", limits(9)));
    assert_eq!(apply(&bench, &cloud, 2), 2);
    bench.assets(&urls(20), "1");
    let bench = with_keys(bench.provider("own", KIND, &cloud.url(), &limits(9)), "permanent", "");
    assert_eq!(apply(&bench, &cloud, 2), 3, "nine in all");
}

/// S5: `account` makes one account of keys that are rotated, and of providers that have keys of their own; what was spent before
/// it was given counts.
#[test]
fn a_named_account_is_one_whatever_its_keys_are() {
    let cloud = open_to_all();
    let provider = |bench: Bench, name: &str, account: &str| {
        let prefix = format!("credentials: {{env_prefix: {}_}}\n", name.to_uppercase());
        bench.provider(name, KIND, &cloud.url(), &format!("{}{prefix}{account}", limits(7)))
    };
    let keys = |bench: Bench, name: &str, id: &str| {
        let [id_name, secret_name, _] = variables(KIND);
        let named = |variable: &str| format!("{}_{variable}", name.to_uppercase());
        bench.var(&named(id_name), id).var(&named(secret_name), "secret")
    };
    let lists = |bench: &Bench, count: usize| {
        for name in ["one", "two"] {
            let all: Vec<String> = urls(count).iter().map(|url| url.replace("/a/", &format!("/{name}/"))).collect();
            bench.write(&format!("manifests/{name}.yaml"), format!("provider: {name}\n{}", manifest(&all, "1")));
        }
    };
    let bench = keys(keys(Bench::new(), "one", "first"), "two", "second");
    let bench = provider(provider(bench, "one", ""), "two", "");
    lists(&bench, 2);
    assert_eq!(apply(&bench, &cloud, 1), 4, "two accounts");
    let bench = provider(provider(bench, "one", "account: main\n"), "two", "account: main\n");
    lists(&bench, 3);
    assert_eq!(apply(&bench, &cloud, 2), 2);
    let bench = keys(keys(bench, "one", "third"), "two", "fourth");
    lists(&bench, 9);
    assert_eq!(apply(&bench, &cloud, 2), 1, "seven in all");
}

/// S5: what was spent with a permanent key goes along where only one of those that had it has something to do.
#[test]
fn an_account_goes_on_for_providers_that_have_nothing_to_do() {
    let cloud = open_to_all();
    let extra = format!("{}credentials: {{command: [/bin/cat, keys.json]}}\n", limits(5));
    let bench = Bench::new().provider("one", KIND, &cloud.url(), &extra).provider("two", KIND, &cloud.url(), &extra);
    let lists = |name: &str, count: usize| {
        let all: Vec<String> = urls(count).iter().map(|url| url.replace("/a/", &format!("/{name}/"))).collect();
        bench.write(&format!("manifests/{name}.yaml"), format!("provider: {name}\n{}", manifest(&all, "1")));
    };
    bench.write("keys.json", r#"{"key_id":"permanent","key_secret":"s"}"#);
    lists("one", 2);
    lists("two", 2);
    assert_eq!(apply(&bench, &cloud, 1), 4);
    bench.write("keys.json", r#"{"key_id":"temporary","key_secret":"s","token":"t"}"#);
    lists("two", 12);
    assert_eq!(apply(&bench, &cloud, 1), 1, "five in all");
    lists("one", 12);
    assert_eq!(apply(&bench, &cloud, 2), 0);
}

/// S5: two providers that have the same temporary credentials are one account.
#[test]
fn providers_with_one_source_of_temporary_keys_share_the_quota() {
    let cloud = open_to_all();
    let bench = Bench::new().provider("one", KIND, &cloud.url(), &limits(5));
    let bench = with_keys(bench, "temporary", "token").provider("two", KIND, &cloud.url(), &limits(5));
    for name in ["one", "two"] {
        let all: Vec<String> = urls(4).iter().map(|url| url.replace("/a/", &format!("/{name}/"))).collect();
        bench.write(&format!("manifests/{name}.yaml"), format!("provider: {name}\n{}", manifest(&all, "1")));
    }
    assert_eq!(apply(&bench, &cloud, 2), 5);
}

/// T3: each of two providers on one account keeps to its own limit, and neither stops the other.
#[test]
fn two_limits_on_one_account_send_what_is_planned() {
    for (first, second, wanted) in [(3, 100, 5), (100, 6, 6), (3, 3, 3)] {
        let cloud = open_to_all();
        let bench = Bench::new().provider("one", KIND, &cloud.url(), &limits(first));
        let bench = with_keys(bench, "key", "").provider("two", KIND, &cloud.url(), &limits(second));
        for (name, count) in [("one", 5), ("two", 2)] {
            let all: Vec<String> = urls(count).iter().map(|url| url.replace("/a/", &format!("/{name}/"))).collect();
            bench.write(&format!("manifests/{name}.yaml"), format!("provider: {name}\n{}", manifest(&all, "1")));
        }
        assert_eq!(apply(&bench, &cloud, 2), wanted, "{first} and {second}");
    }
}

/// Limits of a quota day on which it has been noon, and of one with another date now, neither of which ends while a test runs.
fn on_other_days(urls_per_day: u64) -> [String; 2] {
    let noon = 12 - now().unix_seconds().div_euclid(3600).rem_euclid(24);
    let other = if noon < 0 { noon + 13 } else { noon - 14 };
    [noon, other].map(|hours| format!("limits: {{urls_per_day: {urls_per_day}, quota_day: \"{hours:+03}:00\"}}\n"))
}

/// S5: what was spent on a day counts on each day that overlaps it, however often `quota_day` is edited.
#[test]
fn another_quota_day_begins_no_ledger_anew() {
    let cloud = Cloud::of(KIND);
    let keyed = |days: &str| Bench::at(KIND, &cloud).provider("own", KIND, &cloud.url(), days);
    for order in [[0, 1], [1, 0]] {
        let bench = keyed(&on_other_days(5)[order[0]]);
        bench.assets(&urls(20), "1");
        assert_eq!(apply(&bench, &cloud, 2), 5);
        let bench = bench.provider("own", KIND, &cloud.url(), &on_other_days(5)[order[1]]);
        assert_eq!(apply(&bench, &cloud, 2), 0, "the same five");
        let bench = bench.provider("own", KIND, &cloud.url(), &on_other_days(7)[order[1]]);
        assert_eq!(apply(&bench, &cloud, 2), 2, "the limit is another one");
        let bench = bench.provider("own", KIND, &cloud.url(), &on_other_days(8)[order[0]]);
        assert_eq!(apply(&bench, &cloud, 2), 1, "what both days hold");
    }
}

/// S5: the quota day of an account is that of its first provider; another one that comes before it moves the day and no more.
#[test]
fn a_provider_that_comes_first_begins_no_ledger_anew() {
    let cloud = open_to_all();
    let [noon, other] = on_other_days(5);
    let provider = |bench: Bench, name: &str, days: &str| {
        bench.provider(name, KIND, &cloud.url(), &format!("{days}account: main\n"))
    };
    let bench = provider(Bench::at(KIND, &cloud), "own", &noon);
    bench.assets(&urls(12), "1");
    assert_eq!(apply(&bench, &cloud, 2), 5);
    let bench = provider(bench, "first", &other);
    bench.assets(&urls(12), "1");
    bench.write("manifests/site.yaml", format!("provider: own\n{}", manifest(&urls(12), "1")));
    assert_eq!(apply(&bench, &cloud, 2), 0);
}

/// S5: temporary keys are those of their source, by any name of their provider.
#[test]
fn a_provider_of_temporary_keys_that_is_renamed_goes_on_in_its_account() {
    let cloud = open_to_all();
    let keys = r#"{"key_id":"k","key_secret":"s","token":"t"}"#;
    let bench = Bench::new().file("keys.json", keys).file("others.json", keys);
    for name in ["keys.json", "others.json"] {
        std::fs::set_permissions(bench.path(name), std::fs::Permissions::from_mode(0o600)).expect("private");
    }
    let named = |bench: Bench, name: &str, keys: &str| {
        bench.provider(name, KIND, &cloud.url(), &format!("{}credentials: {{file: {keys}}}\n", limits(5)))
    };
    let bench = named(bench, "own", "keys.json");
    bench.assets(&urls(12), "1");
    assert_eq!(apply(&bench, &cloud, 2), 5);
    std::fs::remove_file(bench.path("manifests/provider-own.yaml")).expect("removed");
    let bench = named(bench, "renamed", "keys.json");
    assert_eq!(apply(&bench, &cloud, 2), 0, "renamed");
    let bench = named(bench, "renamed", "others.json");
    assert_eq!(apply(&bench, &cloud, 2), 0, "from elsewhere");
}
