//! What goes wrong between the binary and the vendor: nothing is recorded that was not accepted, nothing is lost.

use serde_json::Value;

use self::Answer::{Fails, Purges, Refuses};
use super::{Bench, Cloud, STATE, urls};
use crate::support::cloud::{Step, clouds};
use crate::support::vendor;

fn quota_used(bench: &Bench) -> i64 {
    let status = bench.run(&["status", "--format", "json"]).exits(0).json();
    let used: Vec<i64> =
        status["quota"].as_array().expect("a list").iter().filter_map(|row| row["used"].as_i64()).collect();
    assert!(used.len() <= 1, "{used:?}");
    used.first().copied().unwrap_or_default()
}

/// C12: what is exported is imported as it was, whatever holds targets up.
fn round_trips(bench: &Bench) {
    let exported = bench.run(&["state", "export"]).exits(0).stdout;
    bench.write("lines", &exported);
    bench.run(&["--state", "other.db", "state", "import", "lines"]).exits(0);
    assert_eq!(bench.run(&["--state", "other.db", "state", "export"]).exits(0).stdout, exported);
}

/// C2, S5, R2: killed between the vendor's acceptance and its record.
#[test]
fn c2_a_killed_run_is_sent_again_with_a_word_and_its_quota_counts() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud);
    bench.assets(&urls(7), "1");
    cloud.script([Step::Hold]);
    let mut child = bench.start(&["apply"]);
    cloud.wait_for_hold();
    child.kill().expect("killed");
    child.wait().expect("ended");
    assert_eq!(cloud.purged(), urls(7), "the vendor accepted");
    assert_eq!((bench.recorded().len(), quota_used(&bench)), (0, 7));
    bench.run(&["plan"]).exits(0).says("7 targets may have been purged before");
    let plan = bench.run(&["plan", "--format", "json"]).exits(0).json();
    assert!(plan["changes"].as_array().expect("a list").iter().all(|change| change["in_doubt"] == true));
    bench.run(&["status"]).exits(0).says("In doubt: a call for 7 targets");
    bench.run(&["apply"]).exits(0);
    assert_eq!((cloud.count(), bench.recorded().len(), quota_used(&bench)), (2, 7, 14));
    bench.run(&["apply"]).exits(0).says("Nothing to do");
    assert_eq!(cloud.count(), 0);
}

/// R6: once B was seen, A coming back is no reason to do nothing.
#[test]
fn r6_a_hash_that_comes_back_is_purged_if_the_one_between_was_seen() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud);
    bench.assets(&urls(1), "A");
    bench.run(&["apply"]).exits(0);
    cloud.always(Some(Step::Close));
    bench.assets(&urls(1), "B");
    bench.run(&["apply"]).exits(4);
    cloud.always(None);
    cloud.count();
    bench.assets(&urls(1), "A");
    bench.run(&["plan", "--exit-code"]).exits(3);
    bench.run(&["apply"]).exits(0);
    assert_eq!((cloud.count(), cloud.log().len()), (1, 2));
    assert!(bench.recorded()[0].ends_with("rev:A"));
}

/// A lost or cut answer is unknown: asked again, then recorded.
#[test]
fn s1_a_lost_or_cut_answer_is_asked_for_again() {
    for (kind, step) in [("tencent-cdn", Step::Lose), ("alibaba-vod", Step::Cut), ("huawei-vod", Step::Lose)] {
        let cloud = Cloud::of(kind);
        let bench = Bench::at(kind, &cloud);
        bench.assets(&urls(4), "1");
        cloud.script([step]);
        bench.run(&["apply"]).exits(0);
        assert_eq!((cloud.count(), cloud.log().len(), bench.recorded().len()), (2, 8, 4), "{kind}");
        assert_eq!(quota_used(&bench), 8, "{kind}: both may have counted");
    }
}

/// U6: a redirect is a refusal; neither the request nor its credentials go anywhere else.
#[test]
fn u6_redirects_are_not_followed() {
    for status in [301, 302, 307, 308] {
        let (cloud, other) = (Cloud::of("tencent-cdn"), Cloud::of("tencent-cdn"));
        let bench = Bench::at("tencent-cdn", &cloud);
        bench.assets(&urls(2), "1");
        cloud.script([Step::Say(status, vec![("Location", other.url())], Vec::new())]);
        bench.run(&["apply"]).exits(4).says(&format!("HTTP {status}"));
        assert_eq!((cloud.count(), other.requests().len(), bench.recorded().len()), (1, 0, 0));
    }
}

/// Answers that are no acceptance, per kind, with what the message must hold.
fn refusals(kind: &str) -> Vec<(u16, String, &'static str)> {
    let (vendor::Answer { status, body }, code) = (vendor::fact(kind, "refusal"), vendor::fact(kind, "refusal.code"));
    let odd = "the answer is not the documented one";
    vec![
        (status, body.to_owned(), code),
        (200, body.to_owned(), code),
        (200, "no JSON at all".to_owned(), odd),
        (200, "<html><body>It works!</body></html>".to_owned(), odd),
        (200, String::new(), odd),
        (200, "{}".to_owned(), odd),
        (200, "[1, 2]".to_owned(), odd),
        (200, r#"{"Response": {}, "data": [], "task_id": null}"#.to_owned(), odd),
        (200, r#"{"Response": {"RequestId": ["#.to_owned(), odd),
        (204, String::new(), odd),
        (500, "oops".to_owned(), "HTTP 500"),
        (404, "nothing here".to_owned(), "HTTP 404"),
    ]
}

/// S1: an answer that is not the documented acceptance is never recorded, whatever its status.
#[test]
fn s1_no_unreadable_answer_is_ever_recorded() {
    std::thread::scope(|scope| {
        for kind in clouds() {
            for (status, body, expected) in refusals(kind) {
                scope.spawn(move || {
                    let cloud = Cloud::of(kind);
                    let bench = Bench::at(kind, &cloud);
                    bench.assets(&urls(2), "1");
                    cloud.always(Some(Step::say(status, &body)));
                    let ran = bench.run(&["apply"]).exits(4);
                    assert!(ran.stdout.contains(expected), "{kind} {status} {body}: {}", ran.stdout);
                    assert!(bench.recorded().is_empty(), "{kind} {status} {body}");
                    assert_eq!(bench.exported().len(), 2, "{kind} {status} {body}: pending and shown");
                });
            }
            scope.spawn(move || {
                let cloud = Cloud::of(kind);
                let bench = Bench::at(kind, &cloud);
                bench.assets(&urls(2), "1");
                cloud.always(Some(Step::Cut));
                bench.run(&["apply"]).exits(4).says("no answer");
                assert!(bench.recorded().is_empty() && cloud.count() <= 5, "{kind}");
            });
        }
    });
}

/// T5: the wait that an answer asks for is kept.
#[test]
fn t5_a_throttled_call_is_repeated_after_the_wait_and_done() {
    let cloud = Cloud::of("http-purge");
    let bench = Bench::at("http-purge", &cloud);
    bench.assets(&["http://cdn.example.com/a.js"], "1");
    cloud.script([Step::Say(429, vec![("Retry-After", "1".into())], b"slow".to_vec())]);
    bench.run(&["apply"]).exits(0);
    assert_eq!((cloud.count(), cloud.log().len()), (2, 1));
}

/// R11, S2: the culprit stands alone and is named, the others are done; it is not asked about again until forced.
#[test]
fn r11_a_foreign_host_is_rejected_by_name_and_the_others_are_recorded() {
    for kind in clouds() {
        let cloud = Cloud::of(kind);
        let bench = Bench::at(kind, &cloud).provider("own", kind, &cloud.url(), "").file(
            "manifests/provider-own.yaml",
            crate::support::cli::provider("own", kind, &cloud.url(), "")
                .replace("*.example.net", "*.example.net\", \"gone.example.org"),
        );
        let foreign = "https://gone.example.org/x.js".to_owned();
        let mut all = urls(8);
        all.push(foreign.clone());
        bench.assets(&all, "1");
        let ran = bench.run(&["apply", "--format", "json"]).exits(4);
        let rejected: Vec<Value> = ran.json()["targets"]
            .as_array()
            .expect("a list")
            .iter()
            .filter(|target| target["state"] == "rejected")
            .map(|target| target["target"].clone())
            .collect();
        assert_eq!(rejected, [Value::from(foreign.clone())], "{kind}");
        assert_eq!((cloud.purged(), bench.recorded().len()), (urls(8), 8), "{kind}");
        assert_eq!(quota_used(&bench), 8, "{kind}: refused calls cost nothing");
        cloud.count();
        bench.run(&["apply"]).exits(4).says("rejected").says(&foreign);
        assert_eq!(cloud.count(), 0, "{kind}: a rejected target is not sent again");
        bench.run(&["apply", "--force", "*gone*"]).exits(4);
        assert!(cloud.count() >= 1, "{kind}: a forced one is");
        round_trips(&bench);
    }
}

/// C6, C9, C10: what is no whole state of ours is reported and kept as it is.
#[test]
fn c9_a_damaged_or_foreign_state_is_reported_and_left_alone() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud);
    bench.assets(&urls(20), "1");
    bench.run(&["apply"]).exits(0);
    let whole = bench.read(STATE).expect("a state");
    cloud.count();
    bench.assets(&urls(20), "2");
    let mut garbled = whole.clone();
    garbled[4096..].fill(0x5a);
    let cases: [(&str, Vec<u8>); 6] = [
        ("empty", Vec::new()),
        ("garbage", b"this is not a database, it never was one".to_vec()),
        ("zeros", vec![0; 8192]),
        ("head only", whole[..100].to_vec()),
        ("cut", whole[..whole.len() / 2].to_vec()),
        ("garbled", garbled),
    ];
    for (name, bytes) in cases {
        bench.write(STATE, &bytes);
        for arguments in
            [&["apply"][..], &["plan"], &["adopt"], &["status"], &["state", "list"], &["explain", &urls(1)[0]]]
        {
            bench.run(arguments).exits(6).says("state.db");
            assert!(bench.read(STATE).as_ref() == Some(&bytes), "{name}: {arguments:?} changed the file");
        }
    }
    // It is said first: a run that selects reads all manifests, and would be about other ones.
    bench.write(STATE, [0; 8192]);
    bench.write("manifests/wrong.yaml", "assets: 1\n");
    for arguments in [&["apply"][..], &["apply", "--only", "*"]] {
        bench.run(arguments).exits(6).says("state.db");
    }
    assert_eq!(cloud.count(), 0);
}

/// C10: a state of a newer program is never written.
#[test]
fn c10_a_newer_state_is_refused_with_both_versions() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud);
    bench.assets(&urls(2), "1");
    bench.run(&["apply"]).exits(0);
    // The format is SQLite's user version: four bytes at 60.
    let mut newer = bench.read(STATE).expect("a state");
    newer[60..64].copy_from_slice(&99_u32.to_be_bytes());
    bench.write(STATE, &newer);
    bench.assets(&urls(2), "2");
    for verb in ["apply", "plan", "adopt", "status"] {
        bench.run(&[verb]).exits(6).says("format 99").says("up to 4");
        assert!(bench.read(STATE).as_ref() == Some(&newer), "{verb}");
    }
}

/// R17: a cluster is done when all its caches are; the one that failed is asked alone.
#[test]
fn r17_only_the_cache_that_failed_is_asked_again() {
    let (first, second) = (Cloud::of("http-purge"), Cloud::of("http-purge"));
    let text = format!(
        "providers:\n  own:\n    kind: http-purge\n    hosts: [cdn.example.com]\n    endpoints: [\"{}\", \"{}\"]\n",
        first.url(),
        second.url()
    );
    let bench = Bench::new().file("manifests/provider-own.yaml", text);
    bench.assets(&["http://cdn.example.com/a.js"], "1");
    second.always(Some(Step::say(403, "forbidden")));
    bench.run(&["apply"]).exits(4).says("HTTP 403");
    assert!(bench.recorded().is_empty());
    assert_eq!((first.count(), second.count()), (1, 1));
    second.always(None);
    bench.run(&["apply"]).exits(0);
    assert_eq!((first.count(), second.count(), bench.recorded().len()), (0, 1, 1));
}

/// R7: a new page that some of several caches purged was there to be cached anew: once its asset goes, all of them purge it.
#[test]
fn r7_a_new_page_that_one_cache_purged_is_purged_at_all_once_its_asset_goes() {
    let caches = [(); 2].map(|()| Cloud::of("http-purge"));
    let counts = || caches.each_ref().map(Cloud::count);
    let urls = caches.each_ref().map(Cloud::url);
    let text = format!("providers:\n  own: {{kind: http-purge, hosts: [cdn.example.com], endpoints: {urls:?}}}\n");
    let bench = Bench::new().file("manifests/provider-own.yaml", text);
    let list = |on_removed: &str, is_there: bool| {
        let asset = if is_there { "\"http://cdn.example.com/a\": rev:1" } else { "" };
        bench.write("manifests/site.yaml", format!("on_removed: {on_removed}\nassets: {{{asset}}}\n"));
    };
    let appears_at_one = |on_removed| {
        caches[1].always(Some(Step::say(403, "forbidden")));
        list(on_removed, true);
        bench.run(&["apply"]).exits(4);
        assert_eq!(counts(), [1, 1]);
        list(on_removed, false);
    };
    appears_at_one("purge");
    let plan = bench.run(&["plan", "--format", "json"]).exits(0).json();
    assert_eq!((&plan["changes"][0]["kind"], &plan["dropped"]), (&"removed".into(), &serde_json::json!([])), "{plan}");
    assert_eq!(plan["changes"][0]["recorded"], serde_json::Value::Null);
    bench.run(&["apply"]).exits(4);
    assert_eq!((counts(), bench.due().len()), ([1, 1], 1), "and stays due at the one that refuses");
    caches[1].always(None);
    bench.run(&["apply"]).exits(0);
    assert_eq!((counts(), bench.exported().len()), ([0, 1], 0));
    // It was listed again before its removal was accepted everywhere: new.
    appears_at_one("purge");
    bench.run(&["apply"]).exits(4);
    assert_eq!(counts(), [1, 1]);
    list("purge", true);
    caches[1].always(None);
    bench.run(&["apply"]).exits(0);
    assert_eq!((counts(), bench.recorded().len()), ([1, 1], 1));
    bench.run(&["state", "forget", "*"]).exits(0);
    appears_at_one("forget");
    bench.run(&["apply"]).exits(0).says("1 target forgotten without a purge");
    assert_eq!((counts(), bench.exported().len()), ([0, 0], 0));
}

/// What a cache does with a purge.
#[derive(Clone, Copy, PartialEq)]
enum Answer {
    Purges,
    Refuses,
    /// It fails, perhaps after it purged, and asks for a wait that no run has time for.
    Fails,
}

impl Answer {
    fn step(self) -> Option<Step> {
        match self {
            Self::Purges => None,
            Self::Refuses => Some(Step::say(403, "forbidden")),
            Self::Fails => Some(Step::Say(503, vec![("Retry-After", "3600".into())], Vec::new())),
        }
    }
}

/// Caches of one provider, and a manifest that lists one page with this revision, or no more.
struct Caches {
    bench: Bench,
    caches: [Cloud; 2],
}

impl Caches {
    fn new() -> Self {
        let caches = Self { bench: Bench::new(), caches: [(); 2].map(|()| Cloud::of("http-purge")) };
        caches.are(&[0, 1]);
        caches
    }

    fn are(&self, which: &[usize]) {
        let urls: Vec<String> = which.iter().map(|&index| self.caches[index].url()).collect();
        let text = format!("providers:\n  own: {{kind: http-purge, hosts: [cdn.example.com], endpoints: {urls:?}}}\n");
        self.bench.write("manifests/provider-own.yaml", text);
    }

    fn list(&self, revision: Option<&str>) {
        let asset = revision.map(|revision| format!("\"http://cdn.example.com/a\": rev:{revision}"));
        self.bench.write("manifests/site.yaml", format!("assets: {{{}}}\n", asset.unwrap_or_default()));
    }

    /// An apply over the page with this revision, while each cache answers so; what each of them was asked for.
    #[track_caller]
    fn apply(&self, revision: Option<&str>, answers: [Answer; 2]) -> [usize; 2] {
        self.list(revision);
        let ends_well = answers == [Purges; 2];
        self.caches.iter().zip(answers).for_each(|(cache, answer)| cache.always(answer.step()));
        self.bench.run(&["apply"]).exits(if ends_well { 0 } else { 4 });
        self.counts()
    }

    fn counts(&self) -> [usize; 2] {
        self.caches.each_ref().map(Cloud::count)
    }

    /// The page goes, and is purged.
    #[track_caller]
    fn purge_what_goes(&self, counts: [usize; 2]) {
        self.list(None);
        let plan = self.bench.run(&["plan", "--format", "json"]).exits(0).json();
        let (kind, dropped) = (&plan["changes"][0]["kind"], &plan["dropped"]);
        assert_eq!((kind, dropped), (&"removed".into(), &serde_json::json!([])), "{plan}");
        assert_eq!(self.apply(None, [Purges; 2]), counts);
        assert!(self.bench.exported().is_empty());
    }
}

/// R7: where a cache failed, it may have purged the page before it did.
#[test]
fn r7_a_new_page_whose_purge_had_no_known_outcome_is_purged_once_its_asset_goes() {
    let caches = Caches::new();
    assert_eq!(caches.apply(Some("1"), [Fails, Refuses]), [1, 1]);
    caches.bench.run(&["explain", "http://cdn.example.com/a"]).exits(0).says("nothing, but it may have been purged");
    round_trips(&caches.bench);
    caches.purge_what_goes([1, 1]);
    // No later refusal takes that back.
    assert_eq!(caches.apply(Some("2"), [Fails, Refuses]), [1, 1]);
    assert_eq!(caches.apply(Some("2"), [Refuses, Refuses]), [1, 1]);
    caches.purge_what_goes([1, 1]);
}

/// R7: what was accepted for one content may have been cached before the next one.
#[test]
fn r7_a_new_page_that_was_purged_for_earlier_content_is_purged_once_its_asset_goes() {
    let caches = Caches::new();
    assert_eq!(caches.apply(Some("1"), [Purges, Refuses]), [1, 1]);
    assert_eq!(caches.apply(Some("2"), [Refuses, Refuses]), [1, 1]);
    caches.purge_what_goes([1, 1]);
}

/// R7: the cache that purged the page may be back under another name.
#[test]
fn r7_a_new_page_that_a_former_cache_purged_is_purged_once_its_asset_goes() {
    let caches = Caches::new();
    assert_eq!(caches.apply(Some("1"), [Purges, Refuses]), [1, 1]);
    caches.are(&[1]);
    assert_eq!(caches.apply(Some("1"), [Purges, Refuses]), [0, 1]);
    caches.purge_what_goes([0, 1]);
}

/// R7: a page that came back before its removal was accepted everywhere is still in the other caches.
#[test]
fn r7_a_page_that_comes_back_and_goes_again_before_its_purge_is_purged() {
    let caches = Caches::new();
    assert_eq!(caches.apply(Some("1"), [Purges, Refuses]), [1, 1]);
    assert_eq!(caches.apply(None, [Purges, Refuses]), [1, 1]);
    assert_eq!(caches.apply(Some("2"), [Refuses, Refuses]), [1, 1]);
    caches.purge_what_goes([1, 1]);
}

/// R7, S4: what no cache purged is in none because of us: it is dropped, and shown.
#[test]
fn r7_a_new_page_that_was_refused_or_never_sent_is_dropped_once_its_asset_goes() {
    let caches = Caches::new();
    assert_eq!(caches.apply(Some("1"), [Refuses, Refuses]), [1, 1]);
    caches.list(None);
    caches.bench.run(&["apply"]).exits(0).says("1 target dropped");
    assert_eq!(caches.counts(), [0, 0]);
}

/// S2: what a provider that is gone had still to purge is no recorded target.
#[test]
fn l3_pending_work_of_a_provider_that_is_gone_is_named_and_not_all_done() {
    let cloud = Cloud::of("http-purge");
    let provider = |name: &str| {
        let url = cloud.url();
        let text = "{kind: http-purge, hosts: [cdn.example.com]";
        format!("providers:\n  {name}: {text}, endpoints: [\"{url}\"]}}\n")
    };
    let bench = Bench::new().file("manifests/provider.yaml", provider("own"));
    bench.assets(&["http://cdn.example.com/a.js"], "1");
    bench.run(&["adopt"]).exits(0);
    bench.assets(&["http://cdn.example.com/a.js"], "2");
    cloud.always(Some(Step::say(403, "forbidden")));
    bench.run(&["apply"]).exits(4);
    cloud.always(None);
    bench.write("manifests/provider.yaml", provider("other"));
    bench.run(&["apply"]).exits(4).says("1 target of provider `own`, 1 of them pending");
    bench.run(&["state", "forget", "*", "--provider", "own"]).exits(0);
    bench.run(&["apply"]).exits(0);
}

/// R6: what an adoption leaves out was seen all the same.
#[test]
fn r6_a_change_that_an_adoption_left_out_is_purged_though_it_comes_back() {
    let cloud = Cloud::of("http-purge");
    let bench = Bench::at("http-purge", &cloud);
    let assets = |a: &str, b: &str| {
        let text = format!("base_url: http://cdn.example.com/\nassets: {{a: \"rev:{a}\", b: \"rev:{b}\"}}\n");
        bench.write("manifests/site.yaml", text);
    };
    assets("1", "1");
    bench.run(&["adopt"]).exits(0);
    assets("2", "2");
    bench.run(&["adopt", "--only", "*/b"]).exits(0);
    assets("1", "2");
    bench.run(&["apply"]).exits(0);
    assert_eq!(cloud.purged(), ["http://cdn.example.com/a"]);
}

/// R6, S2: so was a removal: its URL may answer 404 meanwhile, and caches may keep that. Where a guard refuses it, it may be an
/// accident, and is not kept.
#[test]
fn r6_a_removal_that_an_adoption_left_out_is_purged_though_it_comes_back() {
    let cloud = Cloud::of("http-purge");
    for (guard, purged) in [("", 1), ("guard: {max_removed: 0}\n", 0)] {
        let bench = Bench::at("http-purge", &cloud);
        let list = |assets: &str| {
            let text = format!("base_url: http://cdn.example.com/\n{guard}assets: {{{assets}}}\n");
            bench.write("manifests/site.yaml", text);
        };
        list("a: rev:1, b: rev:1");
        bench.run(&["adopt"]).exits(0);
        list("b: rev:1");
        bench.run(&["adopt", "--only", "*/b"]).exits(0);
        list("a: rev:1, b: rev:1");
        bench.run(&["apply"]).exits(0);
        assert_eq!(cloud.count(), purged, "{guard:?}");
        bench.run(&["apply"]).exits(0).says("Nothing to do");
    }
}

/// S3: an adoption that leaves a rejected target out reopens nothing.
#[test]
fn s3_what_an_adoption_leaves_out_stays_as_it_stands() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud);
    bench.assets(&urls(1), "1");
    cloud.always(Some(Step::say(
        200,
        r#"{"Response":{"Error":{"Code":"InvalidParameter.CdnUrlExceedLength","Message":"m"},"RequestId":"r"}}"#,
    )));
    bench.run(&["apply"]).exits(4).says("rejected");
    cloud.always(None);
    cloud.count();
    bench.assets(&urls(2), "1");
    bench.run(&["adopt", "--only", &urls(2)[1]]).exits(0);
    bench.run(&["apply"]).exits(4).says("rejected");
    assert_eq!(cloud.count(), 0);
}

/// T3: the vendor's word that the quota is spent ends the day; nothing more is sent until it returns.
#[test]
fn t3_a_spent_quota_defers_the_rest_and_the_next_run_sends_nothing() {
    let cloud = Cloud::with("tencent-vod", |setup| {
        setup.limits.values_mut().for_each(|limits| limits.targets_per_day = Some(20));
    });
    let bench = Bench::at("tencent-vod", &cloud);
    bench.assets(&urls(60), "1");
    let ran = bench.run(&["apply"]).exits(4);
    assert!(ran.stdout.contains("deferred until"), "{}", ran.stdout);
    assert_eq!((cloud.purged().len(), bench.recorded().len()), (20, 20));
    cloud.count();
    bench.run(&["apply"]).exits(4);
    assert_eq!(cloud.count(), 0);
    round_trips(&bench);
}

/// T1: a clock that is off is reported with the difference and not tried again.
#[test]
fn t1_an_expired_signature_tells_how_far_the_clock_is_off() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud);
    bench.assets(&urls(2), "1");
    let body = r#"{"Response": {"Error": {"Code": "AuthFailure.SignatureExpire", "Message": "m"}, "RequestId": "r"}}"#;
    let date = "Mon, 02 Jan 2023 03:04:05 GMT".to_owned();
    cloud.always(Some(Step::Say(200, vec![("Date", date)], body.into())));
    let ran = bench.run(&["apply"]);
    assert!(ran.status == 4 || ran.status == 7, "{ran:?}");
    ran.says("s ahead of the server's").says("AuthFailure.SignatureExpire");
    assert_eq!((cloud.count(), bench.recorded().len()), (1, 0));
}

/// X5: what a vendor says cannot drive a terminal, forge lines or command a CI system.
#[test]
fn x5_messages_of_vendors_stay_on_one_line_without_escapes() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud);
    bench.assets(&urls(2), "1");
    let body = r#"{"Response": {"Error": {"Code": "X\u001b[2J\r\n::set-output::", "Message": "\u001b]0;title\u0007\n::error::forged\u2028\u202e"}, "RequestId": "\n::error::r"}}"#;
    cloud.always(Some(Step::say(200, body)));
    for arguments in [&["apply"][..], &["status"], &["plan"], &["state", "list"], &["explain", &urls(1)[0]]] {
        let ran = bench.run(arguments);
        let odd = |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{2028}' | '\u{202e}');
        assert!(!ran.stdout.contains(odd), "{arguments:?}: {:?}", ran.stdout);
        assert!(!ran.stdout.lines().any(|line| line.trim_start().starts_with("::")), "{}", ran.stdout);
    }
}

/// R21: proxies serve the vendors, never this machine.
#[test]
fn r21_loopback_endpoints_are_never_reached_through_a_proxy() {
    let (cloud, proxy) = (Cloud::of("tencent-cdn"), Cloud::of("tencent-cdn"));
    let mut bench = Bench::at("tencent-cdn", &cloud);
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        bench = bench.var(name, &proxy.url());
    }
    bench.assets(&urls(2), "1");
    bench.run(&["apply"]).exits(0);
    assert_eq!((cloud.count(), proxy.requests().len()), (1, 0));
}

/// U2: a proxy that speaks plain http to a cache writes the cache's name in place of `Host`, and another URL is purged.
#[test]
fn a_cache_is_told_the_host_of_the_page_whatever_proxies_the_environment_names() {
    let proxy = Cloud::of("http-purge");
    for (name, option) in [("http_proxy", ""), ("HTTP_PROXY", ""), ("all_proxy", ""), ("http_proxy", "proxy: true\n")] {
        let cloud = Cloud::of("http-purge");
        // This machine under a name that is not taken for it.
        let url = cloud.url().replace("127.0.0.1", "[::ffff:7f00:1]");
        let bench =
            Bench::new().provider("own", "http-purge", &url, &format!("allow_insecure_endpoint: true\n{option}"));
        let bench = bench.var(name, &proxy.url());
        bench.assets(&["http://cdn.example.com/x"], "1");
        let ran = bench.run(&["apply"]);
        assert!(proxy.requests().is_empty(), "{name} {option}");
        if option.is_empty() {
            ran.exits(0);
            assert_eq!(cloud.purged(), ["http://cdn.example.com/x"], "{name}");
        } else {
            ran.exits(4).says("[::ffff:7f00:1]").says("`proxy: true`").says("as https");
            assert!(bench.recorded().is_empty() && cloud.purged().is_empty());
        }
    }
}

/// S5: calls are spread over time. Half of the documented distance is asked for: arrival jitters, and six distances
/// would have to shrink to three.
#[test]
fn s5_calls_are_spread_as_the_documented_rate_asks() {
    let cloud = Cloud::of("tencent-vod");
    let bench = Bench::at("tencent-vod", &cloud);
    bench.assets(&urls(140), "1");
    bench.run(&["apply", "--purge-all"]).exits(0);
    let log = cloud.log();
    let spread_ms = log[139].at.unix_ms() - log[0].at.unix_ms();
    assert_eq!((cloud.count(), log.len()), (7, 140));
    assert!(spread_ms >= 6 * 200 / 2, "five calls a second, but seven within {spread_ms} ms");
}
