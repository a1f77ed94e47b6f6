//! Refusals and waits: what they are evidence of, how long they hold, and what reopens them.

use std::os::unix::fs::PermissionsExt;

use freshen::vendor::VENDORS;
use serde_json::Value;

use super::{Bench, Cloud, urls};
use crate::support::cli::provider;
use crate::support::cloud::{KEY_ID, KEY_SECRET, Step, now};
use crate::support::vendor::{self, Answer};

/// An answer of Tencent's API 3.0 that refuses with this code.
fn refusal(code: &str) -> Step {
    Step::say(200, &format!(r#"{{"Response":{{"Error":{{"Code":"{code}","Message":"m"}},"RequestId":"r"}}}}"#))
}

/// Work that is left, by a text of it.
fn left(bench: &Bench, key: &str) -> Vec<Value> {
    bench.exported().iter().map(|row| row["work"][key].clone()).filter(|value| !value.is_null()).collect()
}

/// R11: an endpoint that refuses everything says nothing about targets: all are purged once it takes them, without a word of
/// the user. One that is all that is to be done is refused for what it is.
#[test]
fn r11_an_endpoint_that_refuses_everything_rejects_no_target() {
    let further = ["ResourceNotFound.CdnHostNotExists", "LimitExceeded.CdnPurgeUrlExceedBatchLimit"];
    let further = further.map(|code| ("tencent-cdn", refusal(code), false));
    let usual = VENDORS.names().into_iter().map(|kind| {
        let Answer { status, body } = vendor::fact(kind, "refusal");
        (kind, Step::say(status, body), vendor::fact(kind, "refusal.rejects_a_single_target"))
    });
    for (kind, answer, is_its_own) in usual.chain(further) {
        for count in [2, 40] {
            let cloud = Cloud::of(kind);
            let bench = Bench::at(kind, &cloud);
            bench.assets(&urls(count), "1");
            cloud.always(Some(answer.again()));
            bench.run(&["apply"]).exits(4).says("nothing is given up");
            assert!(cloud.count() <= 40, "{kind}");
            assert_eq!(left(&bench, "standing"), vec!["pending"; count], "{kind}");
            cloud.always(None);
            bench.run(&["apply"]).exits(0);
            // A cache never learns the scheme.
            let purged = cloud.purged().into_iter().map(|url| url.replacen("http:", "https:", 1)).collect();
            assert_eq!(super::sorted(purged), urls(count), "{kind}");
        }
        let cloud = Cloud::of(kind);
        let bench = Bench::at(kind, &cloud);
        bench.assets(&urls(1), "1");
        cloud.always(Some(answer.again()));
        let standing = if is_its_own { "rejected" } else { "pending" };
        for _ in 0..2 {
            bench.run(&["apply"]).exits(4).says(standing);
            assert_eq!(left(&bench, "standing"), [standing], "{kind}");
        }
        cloud.always(None);
        bench.run(&["apply"]).exits(if is_its_own { 4 } else { 0 });
    }
}

/// L2: a domain that is off line for a while waits for a known time, each time for longer, and is never given up.
#[test]
fn a_domain_that_is_off_line_waits_longer_each_time() {
    let vendors = [
        ("tencent-cdn", refusal("InvalidParameter.CdnHostInvalidStatus")),
        ("tencent-cdn", refusal("ResourceUnavailable.CdnHostIsNotOnline")),
        ("alibaba-vod", Step::say(404, r#"{"Code":"InvalidDomain.Offline","RequestId":"r"}"#)),
        ("alibaba-vod", Step::say(500, r#"{"Code":"InvalidDomain.Configure_failed","RequestId":"r"}"#)),
    ];
    for (kind, answer) in vendors {
        let cloud = Cloud::of(kind);
        let bench = Bench::at(kind, &cloud);
        bench.assets(&urls(50), "1");
        cloud.always(Some(answer));
        for times in 1..=3 {
            bench.run(&["apply"]).exits(4).says("deferred");
            assert_eq!(cloud.count(), 1, "{kind}: once for all of the host");
            assert_eq!(left(&bench, "waits"), vec![times; 50]);
            let until_ms = left(&bench, "until_ms")[0].as_i64().expect("a time");
            let minutes = (until_ms - now().unix_ms()) / 60_000;
            assert!((0..1 << (times - 1)).contains(&minutes), "{kind}: {minutes} minutes");
            bench.run(&["apply"]).exits(4);
            assert_eq!(cloud.count(), 0, "{kind}: its time has not come");
            // Its time comes.
            bench.by_hand("UPDATE target SET until = 1");
        }
        cloud.always(None);
        bench.run(&["apply"]).exits(0);
        assert_eq!(super::sorted(cloud.purged()), urls(50), "{kind}");
    }
}

/// A refusal and a wait hold for the configuration and the account that they were about.
#[test]
fn other_limits_and_other_credentials_reopen_refusals_and_waits() {
    let refusals = ["InvalidParameter.CdnUrlExceedLength", "InvalidParameter.CdnHostInvalidStatus"];
    for code in refusals {
        let cloud = Cloud::with("tencent-cdn", |setup| {
            setup.credentials = super::keys("tencent-cdn", "AKIDother", KEY_SECRET, None);
        });
        let bench = Bench::new().provider("own", "tencent-cdn", &cloud.url(), "");
        let first = bench.keys("tencent-cdn", "AKIDfirst", KEY_SECRET, None);
        first.assets(&urls(1), "1");
        cloud.always(Some(refusal(code)));
        first.run(&["apply"]).exits(4);
        first.run(&["apply"]).exits(4);
        assert_eq!(cloud.count(), 1, "{code}: it holds");
        for limits in ["limits: {urls_per_call: 7}", "limits: {urls_per_day: 7}", "area: mainland"] {
            first.write("manifests/provider-own.yaml", provider("own", "tencent-cdn", &cloud.url(), limits));
            first.run(&["apply"]).exits(4);
            first.run(&["apply"]).exits(4);
            assert_eq!(cloud.count(), 1, "{code}: sent once more with {limits}");
        }
        cloud.always(None);
        let other = first.keys("tencent-cdn", "AKIDother", KEY_SECRET, None);
        other.run(&["apply"]).exits(0);
        assert_eq!(cloud.purged(), urls(1), "{code}");
    }
}

/// The same where the key is in a file, which nothing but a look into it shows.
#[test]
fn another_key_in_the_same_file_reopens_a_refusal() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::new().provider("own", "tencent-cdn", &cloud.url(), "credentials: {file: key.json}");
    let key = |id: &str| {
        bench.write("key.json", format!(r#"{{"key_id": "{id}", "key_secret": "{KEY_SECRET}"}}"#));
        let private = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(bench.path("key.json"), private).expect("set");
    };
    key("AKIDfirst");
    bench.assets(&urls(1), "1");
    cloud.always(Some(refusal("InvalidParameter.CdnUrlExceedLength")));
    for calls in [1, 0] {
        bench.run(&["apply"]).exits(4).says("rejected");
        assert_eq!(cloud.count(), calls);
    }
    cloud.always(None);
    key(KEY_ID);
    bench.run(&["apply"]).exits(0);
    assert_eq!(cloud.purged(), urls(1));
}

/// R17: a cache that is taken out of a cluster has its targets sent anew once, and nothing in the state grows.
#[test]
fn r17_a_cluster_that_shrinks_begins_anew_once() {
    let [one, two, three] = [(); 3].map(|()| Cloud::of("http-purge"));
    let bench = Bench::new();
    let cluster = |caches: &[&Cloud], require: &str| {
        let list: Vec<String> = caches.iter().map(|cloud| format!("\"{}\"", cloud.url())).collect();
        let text = format!(
            "providers:\n  own:\n    kind: http-purge\n    hosts: [cdn.example.com]\n    endpoints: [{}]\n{require}",
            list.join(", ")
        );
        bench.write("manifests/provider-own.yaml", text);
    };
    let counts = || [one.count(), two.count(), three.count()];
    // Two of three accept it, which is enough once the third is gone.
    three.always(Some(Step::say(403, "")));
    cluster(&[&one, &two, &three], "");
    bench.assets(&urls(1), "2");
    bench.run(&["apply"]).exits(4);
    assert_eq!(counts(), [1, 1, 1]);
    two.always(Some(Step::say(403, "")));
    cluster(&[&one, &two], "");
    for sent in [[1, 1, 0], [0, 1, 0], [0, 1, 0]] {
        bench.run(&["apply"]).exits(4);
        assert_eq!(counts(), sent);
        assert_eq!(left(&bench, "accepted_at"), [serde_json::json!([one.url()])]);
    }
    two.always(None);
    bench.run(&["apply"]).exits(0);
    assert_eq!(counts(), [0, 1, 0]);
}

/// R12: a success that is not the documented one is no refusal either: its quota stays spent, and it is sent again.
#[test]
fn an_undocumented_success_is_unknown_and_keeps_its_quota() {
    for body in [
        r#"{"Response":{"Error":null,"TaskId":"t","RequestId":"r"}}"#,
        r#"{"Response":{"Error":{"Code":5},"TaskId":"t","RequestId":"r"}}"#,
        r#"{"Response":{"Error":{"Code":"Never.Heard","Message":"m"},"RequestId":"r"}}"#,
    ] {
        let cloud = Cloud::of("tencent-cdn");
        let bench = Bench::new().provider("own", "tencent-cdn", &cloud.url(), "limits: {urls_per_day: 3}");
        let bench = bench.keys("tencent-cdn", KEY_ID, KEY_SECRET, None);
        bench.assets(&urls(1), "1");
        cloud.always(Some(Step::say(200, body)));
        bench.run(&["apply"]).exits(4);
        assert_eq!((cloud.count(), left(&bench, "standing")), (3, vec!["deferred".into()]), "{body}");
    }
}
