//! Providers that fail, signals, other runs, and the end of the program at any time.

use std::time::Duration;

use serde_json::Value;

use super::{is_recorded, recorded, urls, watched};
use crate::support::cli::{Bench, make_pipe, manifest, provider};
use crate::support::cloud::{Cloud, KEY_ID, KEY_SECRET, Step, variables};
use crate::support::service_manager::ServiceManager;
use crate::support::watching::Watching;

/// W6, W7: what failed is tried again also while newer manifests are not valid, from the last valid ones.
#[test]
fn pending_work_is_retried_while_manifests_are_not_valid() {
    let (cloud, bench, mut watching) = watched(2);
    cloud.always(Some(Step::say(403, "no")));
    bench.assets(&urls(2), "1");
    watching.says("provider fails");
    bench.write("manifests/site.yaml", "assets: [");
    watching.says("the manifests are not valid");
    // What is asked for anew does not forget what was valid.
    watching.signal("HUP");
    watching.says("reloading");
    watching.ends_a_run();
    cloud.always(None);
    watching.records(2);
    watching.says("in order again");
    watching.stop();
    assert!(is_recorded(&bench, 2, "1"));
}

/// W6, W7: the same where others broke while the first run was under way that had read no more than what changed.
#[test]
fn pending_work_is_retried_while_manifests_are_not_valid_that_broke_meanwhile() {
    let cloud = Cloud::of("http-purge");
    let bench = Bench::at("http-purge", &cloud);
    // Simple lists, which are passed over while they do not change.
    let list = |name: &str, revision: u8| {
        let text = format!("base_url: http://cdn.example.com/\nassets:\n  {name}.js: rev:{revision}\n");
        bench.write(&format!("manifests/{name}.yaml"), text);
    };
    list("site", 0);
    list("other", 0);
    bench.run(&["adopt"]).exits(0);
    let mut watching = Watching::start(&bench, &["--grace", "50ms"]);
    watching.ends_a_run();
    cloud.script([Step::Hold]);
    list("other", 1);
    cloud.wait_for_hold();
    bench.write("manifests/site.yaml", "assets: [");
    watching.signal("HUP");
    watching.says("the manifests are not valid");
    watching.records(1);
    cloud.release();
    list("site", 1);
    watching.says("the manifests are valid again");
    watching.records(1);
    watching.stop();
    assert!(is_recorded(&bench, 2, "1"));
}

/// C11, L2: what was let through and failed is tried again also while a guard refuses what came after it, and nothing else is.
#[test]
fn pending_work_is_retried_while_a_guard_refuses() {
    let (cloud, bench, mut watching) = watched(3);
    cloud.always(Some(Step::say(403, "no")));
    bench.assets(&urls(3)[..2], "1");
    watching.says("provider fails");
    bench.write("manifests/more.yaml", format!("guard: {{max_purges: 1}}\n{}", manifest(&urls(9)[5..], "1")));
    watching.says("refused: manifest");
    cloud.always(None);
    watching.signal("HUP");
    let run = watching.records(3);
    assert_eq!((&run["calls"], cloud.purged()), (&3.into(), urls(3)), "two changed, one was removed");
    watching.says("in order again");
    std::fs::remove_file(bench.path("manifests/more.yaml")).expect("removed");
    watching.says("nothing is refused any more");
    watching.stop();
    assert!(is_recorded(&bench, 2, "1"));
}

/// C11, L2: the same under a guard that knows shares: what is tried again is a share of all that is recorded.
#[test]
fn pending_work_is_retried_while_a_share_is_refused() {
    let (cloud, bench, mut watching) = watched(10);
    let change = |changed: usize| {
        let revision = |index: usize| i32::from(index < changed);
        let asset = |(index, url): (usize, String)| format!("  \"{url}\": rev:{}\n", revision(index));
        let assets: String = urls(10).into_iter().enumerate().map(asset).collect();
        bench.write("manifests/site.yaml", format!("guard: {{max_share: 30%}}\nassets:\n{assets}"));
    };
    cloud.always(Some(Step::say(403, "no")));
    change(2);
    watching.says("provider fails");
    change(8);
    watching.says("refused: manifest");
    cloud.always(None);
    watching.signal("HUP");
    watching.records(2);
    assert_eq!(cloud.purged(), urls(10)[..2]);
    watching.stop();
}

/// W6: one provider fails, and what changes goes to the other one at once; the failing one is left in peace meanwhile, and
/// asked again after a while.
#[test]
fn a_failing_provider_neither_holds_up_others_nor_is_hammered() {
    let (bad, good) = (Cloud::of("http-purge"), Cloud::of("http-purge"));
    let bench =
        Bench::new().provider("bad", "http-purge", &bad.url(), "").provider("good", "http-purge", &good.url(), "");
    bench.assets(&urls(2), "0");
    bench.run(&["adopt"]).exits(0);
    bad.always(Some(Step::say(403, "no")));
    let mut watching = Watching::start(&bench, &[]);
    watching.ends_a_run();
    bench.assets(&urls(2), "1");
    watching.says("provider fails");
    let tried = bad.arrived();
    for revision in ["2", "3", "4"] {
        bench.assets(&urls(2), revision);
        let run = watching.records(2);
        assert_eq!(run["pending"], 2);
        if run["reason"] == "changed" {
            assert_eq!(bad.arrived(), tried, "left in peace");
        }
    }
    bad.always(None);
    watching.says("in order again");
    assert_eq!(good.purged().len(), 8);
    watching.stop();
    assert!(is_recorded(&bench, 4, "4"));
}

/// L2: one URL that fails again and again waits alone; what changes besides goes to its provider at once.
#[test]
fn one_failing_url_does_not_hold_up_its_provider() {
    let (cloud, bench, mut watching) = watched(2);
    let write = |first: &str, second: &str| {
        let [a, b] = [&urls(2)[..1], &urls(2)[1..]];
        bench.write("manifests/site.yaml", manifest(a, first));
        bench.write("manifests/other.yaml", manifest(b, second));
    };
    cloud.script((0..5).map(|_| Step::say(500, "this one fails")));
    write("1", "0");
    watching.says("some targets fail");
    write("1", "1");
    let run = watching.records(1);
    assert_eq!((&run["reason"], &run["pending"], &run["calls"]), (&"changed".into(), &1.into(), &1.into()));
    watching.says("in order again");
    watching.stop();
    assert!(is_recorded(&bench, 2, "1"));
}

/// L2: a URL at which its provider hangs waits alone as well, once its call was given up for the sake of newer files.
#[test]
fn one_hanging_url_does_not_hold_up_its_provider() {
    let (cloud, bench) = recorded(2);
    let mut watching = Watching::start(&bench, &["--grace", "50ms"]);
    watching.ends_a_run();
    let write = |first: &str, second: &str| {
        let [a, b] = [&urls(2)[..1], &urls(2)[1..]];
        bench.write("manifests/site.yaml", manifest(a, first));
        bench.write("manifests/other.yaml", manifest(b, second));
    };
    cloud.script([Step::Hold]);
    write("1", "0");
    cloud.wait_for_hold();
    write("1", "1");
    let told = watching.says("some targets fail");
    assert!(told["message"].as_str().unwrap().contains("before the run ended"), "{told}");
    let run = watching.records(1);
    assert_eq!((&run["reason"], &run["pending"], &run["calls"]), (&"changed".into(), &1.into(), &1.into()));
    let status = bench.run(&["status", "--format", "json"]).exits(0).json();
    assert!(status.to_string().contains("before the run ended"), "{status}");
    cloud.release();
    watching.says("in order again");
    watching.stop();
    assert!(is_recorded(&bench, 2, "1"));
}

/// L2, R17: of several caches one is dead: the others get what changes at once, and it is left in peace.
#[test]
fn a_dead_cache_does_not_hold_up_the_others_of_its_provider() {
    let cloud = Cloud::of("http-purge");
    let dead = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    let both = provider("own", "http-purge", &cloud.url(), "");
    let both = both.replace("endpoints: [", &format!("endpoints: [\"http://{dead}\", "));
    let bench = Bench::new().file("manifests/provider-own.yaml", both);
    bench.assets(&urls(1), "0");
    bench.run(&["adopt"]).exits(0);
    let mut watching = Watching::start(&bench, &[]);
    watching.ends_a_run();
    bench.assets(&urls(1), "1");
    watching.says("provider fails");
    let mut at_once = 0;
    for revision in ["2", "3", "4"] {
        let before = cloud.arrived();
        bench.assets(&urls(1), revision);
        let run = watching.wait("a run", |record| record["message"] == "run ended" && record["calls"].is_u64());
        assert_eq!((cloud.arrived() - before, &run["pending"]), (1, &1.into()));
        if run["reason"] == "changed" {
            assert_eq!(run["calls"], 1, "the dead one is left in peace");
            at_once += 1;
        }
    }
    assert!(at_once > 0);
    watching.stop();
}

/// T5: a wait that a provider asks for is kept from run to run, by what is new as well, and after that it is asked again.
#[test]
fn a_provider_that_asks_for_a_long_wait_gets_it() {
    let (cloud, bench, mut watching) = watched(1);
    let wait = |seconds: &str| Step::Say(429, vec![("Retry-After", seconds.to_owned())], Vec::new());
    cloud.script([wait("600")]);
    bench.assets(&urls(1), "1");
    let told = watching.says("provider fails");
    assert_eq!(told["again"], "10 min", "{told}");
    bench.assets(&urls(1), "2");
    watching.ends_a_run();
    assert_eq!(cloud.arrived(), 1);
    watching.stop();
}

/// W6: a request for everything is met, also from a provider that began to fail in the run that was under way.
#[test]
fn a_word_of_the_user_holds_for_what_fails_meanwhile() {
    let (bad, good) = (Cloud::of("http-purge"), Cloud::of("http-purge"));
    let bench =
        Bench::new().provider("bad", "http-purge", &bad.url(), "").provider("good", "http-purge", &good.url(), "");
    bench.assets(&urls(1), "0");
    bench.run(&["adopt"]).exits(0);
    let mut watching = Watching::start(&bench, &["--grace", "50ms"]);
    watching.ends_a_run();
    bad.script([Step::Say(429, vec![("Retry-After", "600".to_owned())], Vec::new())]);
    good.script([Step::Hold]);
    bench.assets(&urls(1), "1");
    good.wait_for_hold();
    watching.wait("a call", |record| record["provider"] == "bad");
    watching.signal("HUP");
    watching.wait("a run", |record| record["message"] == "run begins" && record["reason"] == "reload");
    watching.ends_a_run();
    assert_eq!(bad.arrived(), 2);
    good.release();
    watching.stop();
}

/// W6: a provider that fails for days does not fill the state with runs that could do nothing.
#[test]
fn runs_that_can_do_nothing_leave_no_trace() {
    let (cloud, bench) = recorded(2);
    cloud.always(Some(Step::say(403, "no")));
    bench.assets(&urls(2), "1");
    let mut watching = Watching::start(&bench, &["--resync", "20ms"]);
    watching.says("provider fails");
    let before = runs(&bench);
    let mut tried = 0;
    for _ in 0..30 {
        tried += usize::from(watching.ends_a_run()["reason"] == "retry");
    }
    assert!(runs(&bench) <= before + tried + 1, "{} runs, {tried} retries", runs(&bench) - before);
    cloud.always(None);
    watching.says("in order again");
    watching.stop();
    assert!(is_recorded(&bench, 2, "1"));
}

/// T2, W6: what waits for its quota is noted once, however often files change meanwhile.
#[test]
fn a_spent_quota_leaves_one_trace() {
    let cloud = Cloud::of("http-purge");
    let bench = Bench::new().provider("own", "http-purge", &cloud.url(), "");
    let limited = provider("own", "http-purge", &cloud.url(), "").replace("{calls_per", "{urls_per_day: 1, calls_per");
    bench.write("manifests/provider-own.yaml", limited);
    bench.assets(&urls(2), "0");
    bench.run(&["adopt"]).exits(0);
    bench.assets(&urls(2), "1");
    let mut watching = Watching::start(&bench, &["--resync", "20ms"]);
    watching.wait("a deferral", |record| record["deferred"] == 1);
    let before = runs(&bench);
    (0..5).for_each(|_| drop(watching.ends_a_run()));
    assert_eq!((runs(&bench), cloud.arrived()), (before, 1));
    bench.assets(&urls(2), "2");
    watching.says("sending");
    (0..3).for_each(|_| drop(watching.ends_a_run()));
    watching.stop();
    assert_eq!((runs(&bench), cloud.arrived()), (before + 1, 1));
}

/// L3: what waits for a quota is logged with why and until when, again when more comes and after a restart; it is not in order.
#[test]
fn deferred_work_is_told_with_its_reason_and_time() {
    let cloud = Cloud::of("http-purge");
    let bench = Bench::new().provider("own", "http-purge", &cloud.url(), "");
    let limited = provider("own", "http-purge", &cloud.url(), "").replace("{calls_per", "{urls_per_day: 1, calls_per");
    bench.write("manifests/provider-own.yaml", &limited);
    bench.assets(&urls(2), "0");
    bench.run(&["adopt"]).exits(0);
    bench.assets(&urls(2), "1");
    let mut watching = Watching::start(&bench, &["--resync", "20ms"]);
    let is_told = |number: u64| move |record: &Value| record["level"] == "WARN" && record["deferred"] == number;
    let told = watching.wait("a deferral", is_told(1));
    let message = told["message"].as_str().expect("a text");
    assert!(
        message.starts_with("deferred: the day's quota of 1 is spent; it goes by itself, `freshen status --state /")
    );
    let time = |record: &Value, key: &str| {
        record[key].as_str().filter(|at| at.ends_with('Z')).unwrap_or_else(|| panic!("{key}: {record}")).to_owned()
    };
    assert_eq!((&told["provider"], &told["target"]), (&"own".into(), &urls(2)[1].as_str().into()));
    assert!(told["last"].is_null() && told["more"].is_null(), "there is one: {told}");
    assert!(time(&told, "since") < time(&told, "until"), "{told}");
    bench.assets(&urls(3), "1");
    let told = watching.wait("the third", is_told(2));
    assert_eq!((&told["target"], &told["more"]), (&urls(2)[1].as_str().into(), &1.into()));
    assert!(time(&told, "until") < time(&told, "last"), "the quota has room for one a day: {told}");
    (0..5).for_each(|_| drop(watching.ends_a_run()));
    let seen = watching.stop();
    assert_eq!(seen.iter().filter(|record| record["until"].is_string()).count(), 2, "no more than news");
    let mut watching = Watching::start(&bench, &[]);
    watching.wait("what waits from before", is_told(2));
    bench.write("manifests/provider-own.yaml", limited.replace("urls_per_day: 1", "urls_per_day: 9"));
    watching.says("nothing is deferred any more");
    watching.stop();
    assert!(is_recorded(&bench, 3, "1"));
}

/// R11, L3: what is refused for good is named once, with the reason.
#[test]
fn a_rejected_target_is_named() {
    let (cloud, bench, mut watching) = watched(2);
    cloud.script([Step::say(400, "no")]);
    bench.assets(&urls(2), "1");
    let told = watching.wait("a rejection", |record| record["target"].is_string());
    assert_eq!(
        (&told["level"], &told["provider"], &told["target"]),
        (&"WARN".into(), &"own".into(), &urls(2)[0].as_str().into())
    );
    assert!(told["message"].as_str().is_some_and(|message| message.contains("HTTP 400")), "{told}");
    watching.records(1);
    watching.signal("HUP");
    watching.says("reloading");
    watching.ends_a_run();
    let seen = watching.stop();
    assert_eq!(seen.iter().filter(|record| record["target"].is_string()).count(), 1);
}

fn runs(bench: &Bench) -> usize {
    let status = bench.run(&["status", "--runs", "1000", "--format", "json"]).exits(0).json();
    status["runs"].as_array().expect("a list").len()
}

/// C7, R3: what was accepted and could not be recorded any more is reported as pending.
#[test]
fn what_could_not_be_recorded_is_not_told_as_recorded() {
    let (cloud, bench, mut watching) = watched(2);
    cloud.script([Step::Hold]);
    bench.assets(&urls(2), "1");
    cloud.wait_for_hold();
    bench.by_hand("UPDATE meta SET serial = serial + 5");
    cloud.release();
    let run = watching.ends_a_run();
    assert_eq!((&run["recorded"], &run["pending"]), (&0.into(), &2.into()));
    watching.records(2);
    watching.stop();
    assert!(is_recorded(&bench, 2, "1"));
}

/// C7: where the state cannot be written in the middle of a run, what was accepted is listed, and sent again afterwards.
#[test]
fn what_was_accepted_but_not_recorded_is_listed() {
    let (cloud, bench, mut watching) = watched(1);
    cloud.script([Step::Hold]);
    bench.assets(&urls(1), "1");
    cloud.wait_for_hold();
    let other = rusqlite::Connection::open(bench.path(".freshen/state.db")).expect("opened");
    let full = "CREATE TRIGGER full BEFORE UPDATE ON meta BEGIN SELECT RAISE(ABORT, 'no room'); END";
    other.execute(full, []).expect("written");
    cloud.release();
    let told = watching.says("accepted but not recorded, so sent again");
    assert_eq!((&told["level"], &told["targets"]), (&"ERROR".into(), &1.into()), "{told}");
    let each = watching.says("accepted but not recorded");
    assert_eq!((&each["level"], &each["provider"]), (&"ERROR".into(), &"own".into()));
    assert_eq!(each["target"], urls(1)[0].as_str());
    other.execute("DROP TRIGGER full", []).expect("written");
    watching.says("runs are made again");
    watching.stop();
    assert!(is_recorded(&bench, 1, "1"));
}

/// A configuration that is put right is tried at once, however long the wait would have been.
#[test]
fn a_provider_that_is_configured_anew_is_asked_at_once() {
    let (cloud, bench, mut watching) = watched(1);
    cloud.always(Some(Step::say(403, "no")));
    bench.assets(&urls(1), "1");
    watching.says("provider fails");
    let other = Cloud::of("http-purge");
    bench.write("manifests/provider-own.yaml", provider("own", "http-purge", &other.url(), ""));
    let run = watching.records(1);
    assert_eq!(run["reason"], "changed");
    assert_eq!(other.purged().len(), 1);
}

/// W6: credentials are those that the manifest names now, not those of the same provider before.
#[test]
fn a_provider_gets_the_credentials_that_its_manifest_names_now() {
    let kind = "tencent-vod";
    let cloud = Cloud::of(kind);
    let [id, secret, _] = variables(kind);
    let bench = Bench::new().provider("own", kind, &cloud.url(), "").keys(kind, "AKIDother", "other", None);
    let bench = bench.var(&format!("P_{id}"), KEY_ID).var(&format!("P_{secret}"), KEY_SECRET);
    bench.assets(&urls(2), "1");
    let mut watching = Watching::start(&bench, &[]);
    watching.says("provider fails");
    let anew = provider("own", kind, &cloud.url(), "credentials: {env_prefix: P_}");
    bench.write("manifests/provider-own.yaml", anew);
    watching.records(2);
    watching.stop();
}

/// C11: a first run that would purge everything is refused, logged once, and nothing is sent; `adopt` beside it is enough.
#[test]
fn a_refusal_is_told_and_the_program_stays() {
    let cloud = Cloud::of("http-purge");
    let bench = Bench::at("http-purge", &cloud);
    bench.assets(&urls(101), "1");
    let mut watching = Watching::start(&bench, &["--resync", "100ms"]);
    watching.says("refused: first run");
    watching.ends_a_run();
    watching.ends_a_run();
    bench.run(&["adopt"]).exits(0);
    watching.says("nothing is refused any more");
    assert_eq!(cloud.arrived(), 0);
    let told = watching.stop();
    let refused = told.iter().filter(|record| record["message"].as_str().unwrap().starts_with("refused")).count();
    assert_eq!(refused, 1, "told once");
}

/// C11: a refusal lasts while manifests are not valid, since no guard is asked then.
#[test]
fn what_is_refused_stays_so_until_a_guard_says_otherwise() {
    let cloud = Cloud::of("http-purge");
    let bench = Bench::at("http-purge", &cloud);
    bench.assets(&urls(101), "1");
    let mut watching = Watching::start(&bench, &[]);
    watching.says("refused: first run");
    bench.write("manifests/site.yaml", "assets: [");
    watching.says("the manifests are not valid");
    bench.assets(&urls(101), "1");
    watching.says("the manifests are valid again");
    watching.ends_a_run();
    let seen = watching.stop();
    let told = seen.iter().filter(|record| record["message"].as_str().is_some_and(|text| text.contains("refused")));
    assert_eq!(told.count(), 1, "{seen:#?}");
}

/// R1: a run by hand has the lock; the watch waits and goes on, and its own lock is free between runs.
#[test]
fn runs_by_hand_and_the_watch_take_turns() {
    let (cloud, bench) = recorded(1);
    let mut watching = Watching::start(&bench, &[]);
    watching.ends_a_run();
    bench.run(&["apply", "--force", "*", "--lock-timeout", "0s"]).exits(0);
    assert_eq!(cloud.count(), 1);
    cloud.script([Step::Hold]);
    let held = bench.start(&["apply", "--force", "*"]);
    cloud.wait_for_hold();
    bench.assets(&urls(1), "1");
    let told = watching.says("is locked by another run");
    assert!(!told.to_string().contains("--lock-timeout"), "it has none: {told}");
    assert_eq!(told["level"], "WARN", "no fault");
    cloud.release();
    assert!(held.wait_with_output().expect("ended").status.success());
    watching.says("runs are made again");
    watching.records(1);
    // Two watches may share a state for long.
    cloud.script([Step::Hold]);
    let held = bench.start(&["apply", "--force", "*"]);
    cloud.wait_for_hold();
    bench.assets(&urls(1), "2");
    watching.says("run begins");
    watching.ends_a_run();
    cloud.release();
    assert!(held.wait_with_output().expect("ended").status.success());
    watching.records(1);
    let told = watching.stop();
    let told = |text: &str| told.iter().filter(|record| record["message"].as_str().unwrap().contains(text)).count();
    assert_eq!((told("is locked by another run"), told("runs are made again")), (1, 1));
    assert!(is_recorded(&bench, 1, "2"));
}

/// SIGHUP all the time fills no disk with it.
#[test]
fn a_storm_of_sighups_is_a_line_a_second() {
    let (_cloud, _bench, watching) = watched(1);
    let begun = std::time::Instant::now();
    let mut watching = watching;
    for _ in 0..40 {
        watching.signal("HUP");
        watching.wait("a run", |record| record["message"] == "run begins" && record["reason"] == "reload");
    }
    let most = begun.elapsed().as_secs() + 1;
    let told = watching.stop();
    let lines = told.iter().filter(|record| {
        record["level"] != "DEBUG" && record["message"] == "reloading: everything is read and tried now"
    });
    let lines = lines.count() as u64;
    assert!((1..=most).contains(&lines), "{lines} lines in {most} s");
}

/// SIGHUP reads everything at once and forgets what it waited for.
#[test]
fn sighup_tries_everything_now() {
    let (cloud, bench, mut watching) = watched(1);
    cloud.always(Some(Step::say(403, "no")));
    bench.assets(&urls(1), "1");
    watching.says("provider fails");
    watching.signal("HUP");
    watching.says("reloading");
    let begun =
        watching.wait("its run", |record| record["message"] == "run begins" && record["reason"] == "reload")["pass"]
            .clone();
    let ended = watching.wait("its end", |record| record["message"] == "run ended" && record["pass"] == begun);
    assert_eq!((&ended["reason"], &ended["calls"], &ended["pending"]), (&"reload".into(), &1.into(), &1.into()));
    watching.stop();
}

/// C14, W6: a provider that gives no answer is named as soon as a call is given up, and as the reason.
#[test]
fn a_provider_that_hangs_is_named() {
    let (cloud, bench) = recorded(1);
    let mut watching = Watching::start(&bench, &["--timeout", "50ms"]);
    watching.ends_a_run();
    cloud.always(Some(Step::Hold));
    bench.assets(&urls(1), "1");
    let named = format!("no answer from {}", cloud.url());
    let told = watching.says(&named);
    assert_eq!((told["level"].as_str(), told["outcome"].as_str()), (Some("WARN"), Some("unknown")));
    let told = watching.wait("a wait", |record| record["again"].is_string());
    assert!(told.to_string().contains(&named), "{told}");
    let seen = watching.stop();
    let texts = seen.iter().filter_map(|record| record["message"].as_str());
    assert_eq!(texts.filter(|text| text.starts_with(&named)).count(), 1, "told once");
}

/// Habits of tools that rotate logs end nothing.
#[test]
fn signals_without_a_meaning_are_ignored() {
    let (_cloud, bench, mut watching) = watched(1);
    watching.signal("USR1");
    watching.signal("USR2");
    bench.assets(&urls(1), "1");
    watching.records(1);
    watching.stop();
}

/// C14: SIGTERM lets the call under way end and records it; what is left is the next start's.
#[test]
fn sigterm_finishes_what_is_under_way() {
    let cloud = Cloud::of("tencent-vod");
    let bench = Bench::at("tencent-vod", &cloud);
    bench.assets(&urls(60), "1");
    cloud.script([Step::Hold]);
    let mut watching = Watching::start(&bench, &[]);
    cloud.wait_for_hold();
    watching.signal("TERM");
    watching.says("stopping");
    cloud.release();
    watching.records(20);
    watching.says("stopped");
    assert_eq!(watching.ended(), Some(0));
    assert_eq!((cloud.count(), bench.recorded().len()), (1, 20));
    let mut again = Watching::start(&bench, &[]);
    again.records(40);
    assert_eq!(cloud.log().len(), 60, "nothing twice");
    again.stop();
}

/// C14: calls that do not end in time are given up, and the second signal ends the program at once.
#[test]
fn the_grace_is_bounded_and_a_second_signal_ends_at_once() {
    for (grace, signals, code) in [("50ms", 1, 0), ("1h", 2, 1)] {
        let (cloud, bench, mut watching) = {
            let (cloud, bench) = recorded(1);
            let watching = Watching::start(&bench, &["--grace", grace]);
            (cloud, bench, watching)
        };
        watching.ends_a_run();
        cloud.script([Step::Hold]);
        bench.assets(&urls(1), "1");
        cloud.wait_for_hold();
        watching.signal("TERM");
        watching.says("stopping");
        if signals == 2 {
            watching.signal("INT");
        }
        assert_eq!(watching.ended(), Some(code));
        cloud.release();
        assert_eq!(bench.due().len(), 1, "in doubt, so due");
    }
}

/// C14: a stop is heard also while a credentials program hangs, or a vendor that is asked for its quota; what was seen by then
/// is due.
#[test]
fn a_stop_before_the_first_call_does_not_wait_for_answers() {
    for hangs in ["credentials", "quota"] {
        let cloud = Cloud::of("tencent-cdn");
        let bench = Bench::at("tencent-cdn", &cloud);
        bench.assets(&urls(2), "0");
        bench.run(&["adopt"]).exits(0);
        let pipe = bench.path("pipe");
        make_pipe(&pipe);
        if hangs == "credentials" {
            let program = format!("credentials: {{command: [cat, {}]}}", pipe.display());
            bench.write("manifests/provider-own.yaml", provider("own", "tencent-cdn", &cloud.url(), &program));
        }
        bench.assets(&urls(2), "1");
        cloud.ask_me(Some(Step::Hold));
        let mut watching = Watching::start(&bench, &[]);
        // Opening it waits for a reader.
        let held =
            (hangs == "credentials").then(|| std::fs::OpenOptions::new().write(true).open(&pipe).expect("opened"));
        if held.is_none() {
            cloud.wait_for_hold();
        }
        watching.signal("TERM");
        let told = watching.wait("the end", |record| record["message"] == "sending" || record["message"] == "stopped");
        assert_eq!(told["message"], "stopped", "{hangs}");
        assert_eq!(watching.ended(), Some(0));
        assert_eq!((cloud.arrived(), bench.due().len()), (0, 2), "{hangs}");
        drop(held);
    }
}

/// A state that is gone is mentioned, and what follows is a first run.
#[test]
fn a_state_that_vanishes_is_mentioned() {
    let (cloud, bench, mut watching) = watched(101);
    std::fs::remove_dir_all(bench.path(".freshen")).expect("removed");
    watching.signal("HUP");
    let told = watching.says("is gone");
    assert_eq!(told["level"], "WARN");
    watching.says("refused: first run");
    watching.ends_a_run();
    watching.signal("HUP");
    watching.ends_a_run();
    let told = watching.stop();
    let told = told.iter().filter(|record| record["message"].as_str().unwrap().contains("is gone")).count();
    assert_eq!((told, cloud.arrived()), (1, 0), "told once");
}

/// The same where the watch made it itself, with its first run.
#[test]
fn a_state_that_vanishes_after_the_run_that_made_it_is_mentioned() {
    let cloud = Cloud::of("http-purge");
    let bench = Bench::at("http-purge", &cloud);
    bench.assets(&urls(2), "0");
    let mut watching = Watching::start(&bench, &[]);
    watching.records(2);
    std::fs::remove_dir_all(bench.path(".freshen")).expect("removed");
    watching.signal("HUP");
    watching.records(2);
    let told = watching.stop();
    assert!(told.iter().any(|record| record["message"].as_str().unwrap().contains("is gone")), "{told:#?}");
}

/// C1: killed in the middle of a call and started again, nothing is lost.
#[test]
fn what_was_under_way_when_it_was_killed_is_sent_again() {
    let (cloud, bench, mut watching) = watched(3);
    cloud.script([Step::Pass, Step::Hold]);
    bench.assets(&urls(3), "1");
    cloud.wait_for_hold();
    watching.says("call");
    watching.kill();
    cloud.release();
    let mut again = Watching::start(&bench, &[]);
    again.wait("the rest", |record| record["message"] == "run ended" && record["recorded"].as_u64() >= Some(2));
    again.stop();
    assert!(is_recorded(&bench, 3, "1"));
}

/// `--once` is a run as `apply` makes it.
#[test]
fn once_ends_as_apply_does() {
    let (cloud, bench) = recorded(2);
    bench.run(&["watch", "--once"]).exits(0).says("Nothing to do");
    bench.assets(&urls(2), "1");
    bench.run(&["watch", "--once", "--format", "json"]).exits(0);
    assert_eq!(cloud.purged().len(), 2);
    bench.write("manifests/site.yaml", "assets: [");
    bench.run(&["watch", "--once"]).exits(2);
}

/// What a single run would not heed is not taken.
#[test]
fn once_takes_no_options_of_a_program_that_stays_up() {
    let (cloud, bench) = recorded(2);
    bench.assets(&urls(2), "1");
    for option in ["--resync=1m", "--poll", "--grace=1s", "--log-format=json", "--listen=127.0.0.1:0"] {
        let name = option.split('=').next().expect("a name");
        bench.run(&["watch", "--once", option]).exits(2).says(name);
    }
    assert_eq!(cloud.count(), 0);
}

/// X1, X5: one record is one line, whatever a provider answers, and credentials are not in it.
#[test]
fn records_are_single_lines_without_credentials() {
    let cloud = Cloud::of("tencent-vod");
    let bench = Bench::at("tencent-vod", &cloud);
    let answer = "\"}\n{\"level\":\"INFO\",\"message\":\"forged\u{1b}[31m";
    cloud.always(Some(Step::say(500, answer)));
    bench.write("manifests/site.yaml", manifest(&["http://cdn.example.com/%0A::x"], "1"));
    let mut watching = Watching::start(&bench, &[]);
    watching.says("call");
    let told = watching.stop();
    let all = format!("{told:?}");
    assert!(!all.contains("forged\u{1b}") && !all.contains(KEY_SECRET), "{all}");
    assert!(told.iter().all(|record| record["message"] != "forged\u{1b}[31m"));
}

/// Readiness and signs of life go to systemd where it listens.
#[test]
fn systemd_is_told_when_it_is_ready_and_alive() {
    let (_cloud, bench) = recorded(1);
    let (bench, mut manager) = ServiceManager::of(bench, Duration::from_millis(100));
    let watching = Watching::start(&bench, &[]);
    manager.hears("READY=1");
    manager.hears("STATUS=in order");
    manager.hears("WATCHDOG=1");
    watching.signal("HUP");
    manager.hears("RELOADING=1");
    manager.hears("MONOTONIC_USEC=");
    watching.signal("TERM");
    manager.hears("STOPPING=1");
    assert_eq!(watching.ended(), Some(0));
}
