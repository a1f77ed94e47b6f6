//! What providers are asked besides purges: quotas before a run, results of tasks, credentials and clocks.

use freshen::core::provider::Provider;
use freshen::vendor::VENDORS;
use serde_json::{Value, json};

use crate::cli_apply::urls;
use crate::support::cli::{Bench, STATE};
use crate::support::cloud::{Cloud, KEY_ID, KEY_SECRET, Step};
use crate::support::vendor;

/// Kinds whose vendors report what became of a task.
fn with_tasks() -> Vec<&'static str> {
    kinds_that(|kind| kind.task_query().is_some())
}

/// Kinds whose vendors report what is left of a quota.
fn with_quota() -> Vec<&'static str> {
    kinds_that(|kind| kind.quota_query().is_some())
}

fn kinds_that(is_wanted: fn(&dyn Provider) -> bool) -> Vec<&'static str> {
    VENDORS.all().filter(|kind| is_wanted(*kind)).map(|kind| kind.capabilities().kind).collect()
}

fn first_words(listed: &str) -> Vec<&str> {
    listed.lines().filter_map(|line| line.split_whitespace().next()).collect()
}

/// A cloud where tasks end at once and the first purge of each of these targets fails.
fn failing(kind: &str, targets: &[String]) -> Cloud {
    Cloud::with(kind, |setup| {
        setup.afterwards.takes_ms = 0;
        setup.afterwards.failing = targets.to_vec();
    })
}

/// T4: others have used the account; the provider's count wins, what fits is purged, the rest is deferred and not sent.
#[test]
fn t4_the_providers_own_count_wins_when_it_is_higher() {
    for (kind, limit, left) in [("tencent-cdn", 10_000, 2), ("tencent-cdn", 10_000, 1), ("alibaba-vod", 2000, 2)] {
        let cloud = Cloud::with(kind, |setup| setup.afterwards.others = limit - left);
        let bench = Bench::at(kind, &cloud).provider("own", kind, &cloud.url(), &quota_day(720));
        bench.assets(&urls(5), "1");
        let ran = bench.run(&["apply"]).exits(4);
        let ran =
            ran.says(&format!("provider `own` has {left} left of its quota of {limit}, {} fewer than", limit - left));
        let rest = 5 - left;
        assert!(ran.stdout.contains(&format!("{rest} left: 0 pending, {rest} deferred")), "{kind}: {ran:?}");
        let sent = (cloud.purged().len() as u64, cloud.count(), cloud.queries().len());
        assert_eq!(sent, (left, 1, 1), "{kind}: {ran:?}");
        let status = bench.run(&["status", "--format", "json"]).exits(0).json();
        assert_eq!(status["quota"][0]["used"], limit, "{kind}: what was learned is in the ledger");
    }
}

/// T4: a lower count of the provider is no licence: our own ledger keeps what answers may have been lost.
#[test]
fn a_lower_count_of_the_provider_changes_nothing() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud);
    bench.assets(&urls(3), "1");
    let none = json!({"Response": {"RequestId": "r", "UrlPurge":
        [{"Area": "mainland", "Batch": 1000, "Total": 90_000, "Available": 90_000}]}});
    cloud.ask_me(Some(Step::say(200, &none.to_string())));
    let ran = bench.run(&["apply"]).exits(0);
    assert!(!ran.stderr.contains("quota"), "{ran:?}");
    assert_eq!(bench.run(&["status", "--format", "json"]).json()["quota"][0]["used"], 3);
}

/// The `quota_day` of an account whose day began so many minutes ago.
fn quota_day(minutes_ago: i64) -> String {
    #[expect(clippy::disallowed_methods, reason = "the program reads the wall clock as well")]
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    let since_midnight = i64::try_from(now / 60).expect("this era") % 1440;
    let east = (minutes_ago - since_midnight).rem_euclid(1440);
    let (side, minutes) = if east <= 720 { ('+', east) } else { ('-', 1440 - east) };
    format!("limits: {{quota_day: \"{side}{:02}:{:02}\"}}\n", minutes / 60, minutes % 60)
}

/// T2, T4: just after midnight a provider may still count the day before, on a clock that is behind ours or before it has begun
/// anew. To take that for today's would cost all of today.
#[test]
fn yesterdays_count_of_the_provider_is_not_todays() {
    let cloud = Cloud::of("tencent-cdn");
    for (minutes_ago, exit, purged) in [(0, 0, 3), (10, 0, 3), (120, 4, 0)] {
        let bench = Bench::at("tencent-cdn", &cloud);
        let bench = bench.provider("own", "tencent-cdn", &cloud.url(), &quota_day(minutes_ago));
        bench.assets(&urls(3), "1");
        let spent = json!({"Response": {"RequestId": "r", "UrlPurge":
            [{"Area": "mainland", "Batch": 1000, "Total": 10_000, "Available": 0},
             {"Area": "overseas", "Batch": 1000, "Total": 10_000, "Available": 0}]}});
        cloud.ask_me(Some(Step::say(200, &spent.to_string())));
        let before = cloud.purged().len();
        bench.run(&["apply"]).exits(exit);
        assert_eq!(cloud.purged().len() - before, purged, "{minutes_ago} minutes ago");
    }
}

/// A provider that does not answer a query is no failure of the run; it is reported, and purges go on.
#[test]
fn a_quota_that_is_not_told_is_a_note_and_no_failure() {
    let refused = r#"{"Response":{"Error":{"Code":"UnauthorizedOperation","Message":"no"},"RequestId":"r"}}"#;
    for step in [Step::say(200, refused), Step::say(503, ""), Step::say(200, "{}"), Step::say(302, ""), Step::Close] {
        let cloud = Cloud::of("tencent-cdn");
        let bench = Bench::at("tencent-cdn", &cloud);
        bench.assets(&urls(2), "1");
        cloud.ask_me(Some(step));
        bench.run(&["apply"]).exits(0).says("note: provider `own` did not tell what is left of its quota");
        assert_eq!(cloud.queries().len(), 1, "asked once, no redirect followed");
        assert_eq!(bench.recorded().len(), 2);
    }
}

/// S9: a plan sends no query, nor does a run with nothing to do; two providers of one account are one query.
#[test]
fn quotas_are_asked_for_only_where_there_is_work_and_once_an_account() {
    for kind in with_quota() {
        let cloud = Cloud::of(kind);
        let bench = Bench::at(kind, &cloud).provider("other", kind, &cloud.url(), "");
        bench.write("manifests/site.yaml", "provider: [own, other]\nassets:\n  https://cdn.example.com/a: rev:1\n");
        bench.run(&["plan"]).exits(0);
        assert_eq!(cloud.queries().len(), 0, "{kind}");
        bench.run(&["apply"]).exits(0);
        assert_eq!((cloud.queries().len(), cloud.count()), (1, 2), "{kind}");
        bench.run(&["apply"]).exits(0).says("Nothing to do");
        assert_eq!((cloud.queries().len(), cloud.count()), (1, 0), "{kind}");
    }
    let cloud = Cloud::of("tencent-vod");
    let bench = Bench::at("tencent-vod", &cloud);
    bench.assets(&urls(1), "1");
    bench.run(&["apply"]).exits(0);
    assert_eq!(cloud.count(), 1, "a vendor without a query is not asked");
}

/// R12, R13: an accepted purge whose task failed is pending again, alone; what is done is not asked about again.
#[test]
fn r13_a_task_that_failed_makes_its_target_pending_again() {
    for kind in with_tasks() {
        let all = urls(3);
        let cloud = failing(kind, &all[1..2]);
        // A task for each target: the state of a task at `qcloud-cdn` is that of all its targets.
        let bench = Bench::at(kind, &cloud).provider("own", kind, &cloud.url(), "limits: {urls_per_call: 1}\n");
        bench.assets(&all, "1");
        bench.run(&["apply"]).exits(0);
        assert_eq!(bench.recorded().len(), 3, "{kind}");
        bench.run(&["status"]).exits(0).says("own: 0 told to be done, 3 accepted with no result yet");
        let ran = bench.run(&["status", "--refresh"]).exits(4).says("1 target pending again");
        assert!(ran.stdout.contains(&format!("    {}\n", all[1])), "{kind}: {ran:?}");
        assert!(ran.stdout.contains("failed at the provider after the purge was accepted"), "{kind}: {ran:?}");
        assert_eq!(bench.recorded().len(), 2, "{kind}");
        let asked = cloud.queries().len();
        let _ = cloud.count();
        bench.run(&["apply"]).exits(0);
        let again: Vec<String> = cloud.log()[3..].iter().map(|purged| purged.target.text.clone()).collect();
        assert_eq!(again, all[1..2], "{kind}");
        let ran = bench.run(&["status", "--refresh", "--format", "json"]).exits(0).json();
        assert_eq!(ran["refreshed"]["pending_again"], 0, "{kind}: {ran}");
        assert_eq!(
            ran["refreshed"]["targets"].as_array().map(Vec::len),
            Some(1),
            "{kind}: only the new task is asked about"
        );
        assert_eq!(ran["tasks"], json!([{"provider": "own", "accepted": 0, "done": 3}]), "{kind}");
        let between = usize::from(with_quota().contains(&kind));
        assert_eq!(cloud.queries().len(), asked + between + 1, "{kind}");
        let before = bench.read(STATE);
        bench.run(&["status", "--refresh"]).exits(0).says("none");
        assert_eq!((cloud.queries().len(), bench.read(STATE)), (asked + between + 1, before), "{kind}");
    }
}

/// R12: a task that goes on changes nothing, and nothing says that the purge is in effect.
#[test]
fn r12_a_task_under_way_stays_accepted_and_is_asked_about_again() {
    for kind in with_tasks() {
        let cloud = Cloud::of(kind);
        let bench = Bench::at(kind, &cloud);
        bench.assets(&urls(2), "1");
        bench.run(&["apply"]).exits(0);
        let before = bench.read(STATE);
        for _ in 0..2 {
            let ran = bench.run(&["status", "--refresh", "--format", "json"]).exits(0).json();
            let results: Vec<&Value> = ran["refreshed"]["targets"].as_array().expect("a list").iter().collect();
            assert!(results.len() == 2 && results.iter().all(|row| row["result"] == "processing"), "{kind}: {ran}");
        }
        assert_eq!(bench.read(STATE), before, "{kind}");
        let ran = bench.run(&["status", "--refresh"]).exits(0);
        assert!(!ran.stdout.contains("in effect"), "{kind}: {ran:?}");
    }
}

/// R13: a task that fails again is counted; a target that is purged for another reason meanwhile is left alone.
#[test]
fn failures_of_tasks_are_counted_and_stale_answers_are_left_aside() {
    let all = urls(1);
    let cloud = failing("tencent-cdn", &all);
    let bench = Bench::at("tencent-cdn", &cloud);
    bench.assets(&all, "1");
    bench.run(&["apply"]).exits(0);
    let failed =
        json!({"Response": {"RequestId": "r", "TotalCount": 1, "PurgeLogs": [{"Url": all[0], "Status": "fail"}]}});
    bench.run(&["status", "--refresh"]).exits(4);
    bench.run(&["apply"]).exits(0);
    cloud.ask_me(Some(Step::say(200, &failed.to_string())));
    bench.run(&["status", "--refresh"]).exits(4).says("(2 times in a row)");
    bench.run(&["status", "--refresh"]).exits(0).says("none");
}

/// A provider that cannot be asked is named: no manifest, no such task, no answer, refused credentials.
#[test]
fn what_could_not_be_asked_is_told() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud);
    bench.assets(&urls(2), "1");
    bench.run(&["apply"]).exits(0);
    let unknown = r#"{"Response":{"RequestId":"r","TotalCount":0,"PurgeLogs":[]}}"#;
    cloud.ask_me(Some(Step::say(200, unknown)));
    bench.run(&["status", "--refresh"]).exits(0).says("own: 2 targets: the provider does not know the task");
    cloud.ask_me(Some(Step::say(500, "")));
    bench.run(&["status", "--refresh"]).exits(1).says("own: 2 targets: no answer").says("HTTP 500");
    cloud.ask_me(None);
    let stranger =
        Bench::new().provider("own", "tencent-cdn", &cloud.url(), "").keys("tencent-cdn", KEY_ID, "other", None);
    stranger.write(STATE, bench.read(STATE).expect("a state"));
    stranger.run(&["status", "--refresh"]).exits(7).says("AuthFailure.SignatureFailure");
    std::fs::remove_file(stranger.path("manifests/provider-own.yaml")).expect("there");
    let elsewhere = stranger.provider("else", "tencent-cdn", &cloud.url(), "");
    elsewhere
        .run(&["status", "--refresh"])
        .exits(0)
        .says("own: 2 targets: not asked: no manifest configures the provider");
    assert_eq!(elsewhere.read(STATE), bench.read(STATE));
    Bench::new()
        .provider("own", "tencent-cdn", &cloud.url(), "")
        .run(&["status", "--refresh"])
        .exits(0)
        .says("No state");
    bench.run(&["status", "manifests"]).exits(2).says("neither in these manifests nor in the state");
}

/// A check online shows credentials, clock and quota of each provider, and which was not asked and why.
#[test]
fn a_check_online_tells_credentials_clock_and_quota() {
    let (cdn, vod) = (Cloud::with("tencent-cdn", |setup| setup.afterwards.others = 100), Cloud::of("tencent-vod"));
    let bench = Bench::at("tencent-cdn", &cdn).provider("second", "tencent-vod", &vod.url(), "").provider(
        "third",
        "http-purge",
        "http://127.0.0.1:9",
        "",
    );
    bench.write("manifests/site.yaml", "provider: own\nassets:\n  https://cdn.example.com/a: rev:1\n");
    let ran = bench.run(&["check", "--online"]).exits(0).says("9900 of 10000 a day (mainland)");
    assert!(
        ran.stdout.contains("not tried") && ran.stdout.contains("second: not asked: the vendor has no query of quotas")
    );
    assert_eq!(first_words(&ran.stdout)[..2], ["Valid:", "PROVIDER"]);
    let online = bench.run(&["check", "--online", "--format", "json"]).exits(0).json()["online"].clone();
    assert_eq!((&online[0]["credentials"], &online[0]["problem"]), (&"accepted".into(), &Value::Null));
    assert!(online[0]["clock_ahead_s"].as_i64().is_some_and(|ahead| ahead.abs() <= 5), "{online}");
    let quota = json!({"operation": "PurgeUrlsCache", "area": "overseas", "limit": 10_000, "left": 9900});
    assert_eq!(online[0]["quota"][1], quota);
    assert_eq!(online[1]["credentials"], "not tried");
    assert_eq!((vod.count(), cdn.count(), cdn.queries().len()), (0, 0, 2), "nothing is purged");
    assert_eq!(bench.run(&["check", "--format", "json"]).exits(0).json()["online"], Value::Null);
    assert_eq!(cdn.queries().len(), 2, "a plain check sends no query");
    assert!(!bench.path(STATE).exists());
}

/// T1: a clock that is off is found from the answer's own date; refused, missing and untested credentials have their codes.
#[test]
fn t1_a_check_online_has_the_documented_exit_codes() {
    for kind in with_quota() {
        let cloud = Cloud::of(kind);
        let with = |secret: &str| {
            let bench = Bench::new().provider("own", kind, &cloud.url(), "").keys(kind, KEY_ID, secret, None);
            bench.assets(&urls(1), "1");
            bench
        };
        with("other").run(&["check", "--online"]).exits(7).says("refused");
        let bench = Bench::new().provider("own", kind, &cloud.url(), "");
        bench.assets(&urls(1), "1");
        bench.run(&["check", "--online"]).exits(2).says("missing").says("no credentials in the environment");
        let date = vec![("Date", "Tue, 14 Nov 2023 22:13:20 GMT".to_owned())];
        let clock = vendor::fact::<&str>(kind, "codes.clock").split_once(' ').expect("a status and a code").1;
        let expired =
            vendor::fact::<&str>(kind, "refusal.body").replace(vendor::fact::<&str>(kind, "refusal.code"), clock);
        cloud.ask_me(Some(Step::Say(400, date, expired.into())));
        let ran = with(KEY_SECRET).run(&["check", "--online"]).exits(1).says("s ahead of the server's: set it right");
        assert!(ran.stdout.contains("unclear") && ran.stdout.contains(" s ahead"), "{ran:?}");
        cloud.ask_me(Some(Step::Close));
        with(KEY_SECRET).run(&["check", "--online"]).exits(1).says("no answer from");
        bench.write("manifests/site.yaml", "assets: [");
        bench.run(&["check", "--online"]).exits(2);
    }
}
