//! What is shown, and when.

use std::time::{Duration, Instant};

use super::{listening, settled, urls};
use crate::support::cli::{Bench, provider};
use crate::support::cloud::{Cloud, Step};
use crate::support::reader::{Events, get, request, send};

#[test]
fn every_endpoint_answers() {
    let (_cloud, _bench, watching, at) = settled(3, &[]);
    assert_eq!(get(at, "/healthz").body, "alive\n");
    assert_eq!((get(at, "/readyz").status, get(at, "/readyz").body), (200, "ready\n".to_owned()));
    let page = get(at, "/");
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(
        page.body.contains("In order: everything is recorded") && page.body.contains("2 valid, 3 targets"),
        "{page:?}"
    );
    for (path, kind) in [("/app.js", "text/javascript; charset=utf-8"), ("/style.css", "text/css; charset=utf-8")] {
        assert!(page.body.contains(&format!("\"{path}\"")), "{path}");
        assert_eq!(get(at, path).header("content-type"), Some(kind));
    }
    assert!(get(at, "/metrics").body.contains("freshen_manifests_valid 1\n"));
    assert_eq!(get(at, "/favicon.ico").status, 404);
    let head = send(at, request(at, "HEAD", "/metrics", "").as_bytes());
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    watching.stop();
}

/// A run is followed from its plan to its end, and what it leaves is shown with reasons.
#[test]
fn events_follow_a_run() {
    let (cloud, bench, watching, at) = settled(3, &[]);
    let mut events = Events::follow(at);
    let first = events.next();
    assert_eq!((first["mood"].as_str(), &first["tables"]["targets"]), (Some("good"), &serde_json::json!([])));
    cloud.script([Step::Pass, Step::Hold]);
    bench.assets(&urls(3), "1");
    cloud.wait_for_hold();
    let during = events.until(|event| event["progress"][1] == 3);
    assert!(during["texts"]["running"].as_str().unwrap().contains(" of 3 purges in "), "{during}");
    cloud.release();
    events.until(|event| event["mood"] == "good");
    cloud.always(Some(Step::say(500, "no")));
    bench.assets(&urls(2), "2");
    let rows = |event: &serde_json::Value| event["tables"]["targets"].as_array().cloned().unwrap_or_default();
    let during = events.until(|event| rows(event).len() == 3);
    assert!(rows(&during)[0].to_string().contains("pending"), "{during}");
    events.until(|event| rows(event).len() == 3 && rows(event)[0].to_string().contains("HTTP 500"));
    watching.stop();
}

/// R1: a run that cannot be made is shown with the code that `apply` would have ended with, and as one however often it is tried.
#[test]
fn runs_that_cannot_be_made_are_told_as_apply_would() {
    let (cloud, bench, watching, at) = settled(1, &[]);
    cloud.script([Step::Hold]);
    let held = bench.start(&["apply", "--force", "*"]);
    cloud.wait_for_hold();
    let mut events = Events::follow(at);
    bench.assets(&urls(1), "1");
    let runs = |event: &serde_json::Value| event["tables"]["runs"].as_array().cloned().unwrap_or_default();
    let began = |event: &serde_json::Value| runs(event).first().map(|run| run[2].clone());
    let told = events.until(|event| runs(event).first().is_some_and(|run| run[9] == "6"));
    let again = events.until(|event| began(event).is_some_and(|at| Some(at) != began(&told)));
    assert_eq!(runs(&again).len(), runs(&told).len(), "{again}");
    cloud.release();
    assert!(held.wait_with_output().expect("ended").status.success());
    events.until(|event| runs(event).first().is_some_and(|run| run[9] == "0"));
    watching.stop();
}

/// H3: what manifests and providers say is shown as it is, markup or not.
#[test]
fn hostile_texts_are_escaped() {
    let cloud = Cloud::of("tencent-vod");
    let answer =
        r#"{"Response":{"Error":{"Code":"InternalError","Message":"<script>alert(1)</script>"},"RequestId":"r"}}"#;
    cloud.always(Some(Step::say(200, answer)));
    let bench = Bench::at("tencent-vod", &cloud);
    bench.assets(&["http://cdn.example.com/?a=1&lt;b"], "1");
    let (mut watching, at) = listening(&bench, &[]);
    watching.ends_a_run();
    let page = get(at, "/").body;
    assert!(page.contains("/?a=1&amp;lt;b<") && page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "{page}");
    let mut events = Events::follow(at);
    bench.assets(&["http://cdn.example.com/<img src=x onerror=alert(2)>"], "1");
    events.until(|event| event["tables"].to_string().contains("<img"));
    let page = get(at, "/").body;
    assert!(page.contains("&lt;img src=x onerror=alert(2)&gt;") && !page.contains("<img"), "{page}");
    assert_eq!(page.matches("<script").count(), 1, "ours");
    watching.stop();
}

/// W6, W7: not ready while manifests are not valid, a guard refuses, or work waits for too long.
#[test]
fn readiness_tells_why_not() {
    let (cloud, bench, mut watching, at) = settled(101, &["--ready-within", "1ms"]);
    bench.write("manifests/site.yaml", "assets: [");
    watching.says("the manifests are not valid");
    watching.ends_a_run();
    let told = get(at, "/readyz");
    assert_eq!(told.status, 503);
    assert!(
        told.body.starts_with("the manifests are not valid since ") && told.body.contains("site.yaml:1:"),
        "{told:?}"
    );
    assert!(get(at, "/").body.contains("site.yaml:1:"));
    assert!(get(at, "/metrics").body.contains("freshen_manifests_valid 0\n"));
    bench.assets(&urls(1), "0");
    watching.says("refused");
    watching.ends_a_run();
    let told = get(at, "/readyz");
    assert!(told.body.starts_with("refused by a guard since "), "{told:?}");
    // Times have one form, as in JSON.
    assert!(!told.body.contains(" UTC") && told.body.contains("Z, which holds back "), "{told:?}");
    assert!(told.body.contains("provider own is stuck: 100 pending"), "what is refused is left: {told:?}");
    cloud.always(Some(Step::say(500, "no")));
    bench.assets(&urls(101), "1");
    watching.says("provider fails");
    let told = get(at, "/readyz");
    assert!(told.body.starts_with("provider own is stuck: 101 pending, the oldest since "), "{told:?}");
    cloud.always(None);
    watching.signal("HUP");
    watching.says("in order again");
    assert_eq!(get(at, "/healthz").status, 200);
    watching.stop();
}

/// What fails is shown with the command that tries it now, and what waits with the time of the last of it as well.
#[test]
fn the_page_says_until_when_it_waits_and_what_tries_it_now() {
    let (cloud, bench, mut watching, at) = settled(4, &["--ready-within", "1ms"]);
    let limited = |calls: u8| format!("{{urls_per_day: {calls}, calls_per");
    let own = provider("own", "http-purge", &cloud.url(), "");
    bench.write("manifests/provider-own.yaml", own.replace("{calls_per", &limited(1)));
    bench.assets(&urls(4), "1");
    watching.says("deferred: ");
    let days = |page: &str| page.split("the last on ").nth(1).map(|rest| rest[..10].to_owned());
    let page = get(at, "/").body;
    let last = days(&page).unwrap_or_else(|| panic!("{page}"));
    assert!(page.contains(&format!("{last} ")), "it is among the targets: {page}");
    cloud.always(Some(Step::say(500, "no")));
    bench.write("manifests/provider-own.yaml", own);
    watching.says("provider fails");
    let try_now = "tried again by itself, or now by `freshen apply --provider own --except-refused --state /";
    assert!(get(at, "/").body.contains(try_now), "{}", get(at, "/").body);
    assert!(get(at, "/readyz").body.contains(try_now));
    watching.stop();
}

/// What a command by hand has allowed is refused on the page no longer than until the state is looked at, which is not a minute.
#[test]
fn a_refusal_that_was_allowed_by_hand_leaves_the_page_at_once() {
    let (_cloud, bench, mut watching, at) = settled(40, &[]);
    bench.assets(&urls(2), "0");
    watching.says("refused: ");
    watching.ends_a_run();
    assert!(get(at, "/").body.contains("refused by a guard since "));
    let begun = Instant::now();
    bench.run(&["apply", "--allow-removals"]).exits(0);
    watching.says("nothing is refused any more");
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    assert!(!get(at, "/").body.contains("refused by a guard") && get(at, "/readyz").status == 200);
    watching.stop();
}

/// C7: not ready while nothing could be recorded, whether a run has found that out yet or not.
#[test]
fn a_state_that_cannot_be_written_is_not_ready() {
    let (_cloud, bench, watching, at) = settled(1, &[]);
    assert_eq!(get(at, "/readyz").status, 200);
    std::fs::rename(bench.path(".freshen"), bench.path("aside")).expect("moved");
    bench.write(".freshen", "");
    let end = Instant::now() + Duration::from_mins(1);
    let told = loop {
        let told = get(at, "/readyz");
        if told.status != 200 || Instant::now() > end {
            break told;
        }
    };
    assert!(told.status == 503 && told.body.starts_with("nothing could be recorded: "), "{told:?}");
    assert!(told.body.contains(".freshen` is not a folder"), "{told:?}");
    assert!(get(at, "/").body.contains("Needs attention") && get(at, "/healthz").status == 200);
    std::fs::remove_file(bench.path(".freshen")).expect("removed");
    std::fs::rename(bench.path("aside"), bench.path(".freshen")).expect("moved back");
    while get(at, "/readyz").status != 200 {
        assert!(Instant::now() < end, "it is in order again");
    }
    watching.stop();
}

/// What is shown while the first run is under way: manifests and providers are known before it ends.
#[test]
fn the_first_run_is_told_of_while_it_lasts() {
    let cloud = Cloud::of("http-purge");
    let bench = Bench::at("http-purge", &cloud);
    bench.assets(&urls(2), "1");
    cloud.script([Step::Hold]);
    let (mut watching, at) = listening(&bench, &[]);
    cloud.wait_for_hold();
    assert_eq!(get(at, "/readyz").body, "ready\n");
    let page = get(at, "/").body;
    assert!(
        page.contains("Purging") && page.contains("<progress id=\"progress\"") && page.contains("http-purge"),
        "{page}"
    );
    cloud.release();
    watching.records(2);
    watching.stop();
}

/// An address that cannot be listened at ends the program before anything is watched or sent.
#[test]
fn bad_addresses_end_the_program() {
    let cloud = Cloud::of("http-purge");
    let bench = Bench::new().provider("own", "http-purge", &cloud.url(), "");
    bench.assets(&urls(1), "1");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound").to_string();
    bench.run(&["watch", "--listen", "localhost"]).exits(2).says("write an IP address and a port");
    bench
        .run(&["watch", "--listen", "192.0.2.1:9464", "--listen-token-file", "none"])
        .exits(2)
        .says("token file `none` cannot be read: No such file");
    bench.run(&["watch", "--once", "--listen", "127.0.0.1:0"]).exits(2);
    bench.run(&["watch", "--listen", &address]).exits(2).says(&format!("`--listen {address}`: Address already in use"));
    assert!(cloud.arrived() == 0 && bench.read(".freshen/state.db").is_none());
}
