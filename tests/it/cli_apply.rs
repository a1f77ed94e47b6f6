//! `freshen apply` from manifests to the wire: the real binary against strict emulators over loopback HTTP.
//!
//! The emulators check each signature over the bytes that arrived, so what they log was sent as it must be.

mod audit;
mod between;
mod comments;
mod faults;
mod formats;
mod guards;
mod hostile;
mod progress;
mod quotas;
mod refusals;
mod runs;

use std::os::unix::fs::PermissionsExt;

use freshen::core::contract::Credentials;
use freshen::core::secret::Secret;
use freshen::core::target::{Scope, Target};
use freshen::vendor::VENDORS;
use serde_json::Value;

use crate::support::cli::{Bench, STATE, make_pipe, manifest};
use crate::support::cloud::{Cloud, KEY_ID, KEY_SECRET, clouds, keys};
use crate::support::vendor;

/// `count` URLs of the test account.
pub(crate) fn urls(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("https://cdn.example.com/a/{index:05}.js")).collect()
}

fn sorted(mut list: Vec<String>) -> Vec<String> {
    list.sort();
    list
}

/// Spellings that encoders and signers get wrong.
fn awkward(kind: &str) -> Vec<String> {
    let mut list = vec![
        "https://cdn.example.com/plus+tilde~quote'(1)!$&,;=:@.js",
        "https://cdn.example.com/a%2Fb/c%20d.js",
        "https://cdn.example.com/%E4%B8%AD%E6%96%87/%E5%9B%BE.png",
        "https://cdn.example.com/q?a=1&b=%26&c=x+y&&d==&e=%E4%BD%A0",
        "https://cdn.example.com/?",
        "https://cdn.example.com//double//",
        "http://a.b.example.net/x?callback=https://other.example.com/",
        "https://cdn.example.com/%2A",
        "https://cdn.example.com/star*.js",
    ];
    if kind == "http-purge" {
        // A request line holds ASCII only.
        list.push("https://cdn.example.com/%E5%9B%BE");
    } else {
        list.extend(["https://cdn.example.com/中文/图.png", "https://cdn.example.com/blank between.js?q=x y"]);
    }
    // A cache never learns the scheme.
    let scheme =
        |url: &str| if kind == "http-purge" { url.replacen("https://cdn", "http://cdn", 1) } else { url.into() };
    list.into_iter().map(scheme).collect()
}

/// S4, U4: what reaches the vendor is what the manifest says, byte for byte, with and without a session token.
#[test]
fn every_kind_purges_exactly_the_urls_of_the_manifest() {
    for kind in clouds() {
        for token in [None, Some("TOKEN+loop/back==")] {
            let cloud = Cloud::with(kind, |setup| setup.credentials = keys(kind, KEY_ID, KEY_SECRET, token));
            let bench = Bench::new().provider("own", kind, &cloud.url(), "").keys(kind, KEY_ID, KEY_SECRET, token);
            bench.assets(&awkward(kind), "1");
            bench.run(&["apply"]).exits(0);
            assert_eq!(cloud.purged(), sorted(awkward(kind)), "{kind} {token:?}");
            assert_eq!(bench.recorded().len(), awkward(kind).len(), "{kind}");
        }
    }
}

#[test]
fn http_purge_sends_exactly_the_urls_of_the_manifest() {
    let cloud = Cloud::of("http-purge");
    let bench = Bench::at("http-purge", &cloud);
    bench.assets(&awkward("http-purge"), "1");
    bench.run(&["apply"]).exits(0);
    assert_eq!(cloud.purged(), sorted(awkward("http-purge")));
}

#[test]
fn all_signature_methods_of_a_kind_are_accepted() {
    for (kind, method) in [("alibaba-vod", "HMAC-SHA1"), ("qcloud-cdn", "HmacSHA1")] {
        let cloud = Cloud::of(kind);
        let extra = format!("signature_method: {method}\n");
        let bench = Bench::new().provider("own", kind, &cloud.url(), &extra).keys(kind, KEY_ID, KEY_SECRET, None);
        bench.assets(&awkward(kind), "1");
        bench.run(&["apply"]).exits(0);
        assert_eq!(cloud.purged(), sorted(awkward(kind)), "{kind}");
    }
}

#[test]
fn huawei_takes_asset_ids_and_an_iam_token() {
    let cloud = Cloud::with("huawei-vod", |setup| {
        setup.credentials = Credentials::Fields(vec![("bearer_token", Secret::new("iam-token".to_owned()))]);
    });
    let bench =
        Bench::new().provider("own", "huawei-vod", &cloud.url(), "").var("HUAWEICLOUD_AUTH_TOKEN", "iam-token").file(
            "manifests/media.yaml",
            "provider: own\nassets:\n  - {asset_id: f488337c31c8e4622f1590735b134c65, hash: rev:1}\n  \
             - {url: https://cdn.example.com/a.mp4, hash: rev:1}\n",
        );
    bench.run(&["apply"]).exits(0);
    let mut targets: Vec<Target> = cloud.log().into_iter().map(|purged| purged.target).collect();
    targets.sort();
    let asset = Target { scope: Scope::AssetId, text: "f488337c31c8e4622f1590735b134c65".into() };
    assert!(targets.contains(&asset) && targets.contains(&Target::url("https://cdn.example.com/a.mp4")));
    assert_eq!((targets.len(), cloud.count()), (2, 2));
}

/// Full batches, and one target more.
#[test]
fn a_batch_is_filled_to_the_vendors_limit_and_one_more_makes_two_calls() {
    for kind in clouds() {
        let (most, _, _): (usize, u32, u64) = vendor::fact(kind, "limits");
        let cloud = Cloud::of(kind);
        let bench = Bench::at(kind, &cloud);
        bench.assets(&urls(most), "1");
        bench.run(&["apply", "--purge-all"]).exits(0);
        assert_eq!((cloud.count(), cloud.purged()), (1, urls(most)), "{kind}");
        let cloud = Cloud::of(kind);
        let bench = Bench::at(kind, &cloud);
        bench.assets(&urls(most + 1), "1");
        bench.run(&["apply", "--purge-all"]).exits(0);
        assert_eq!((cloud.count(), cloud.purged()), (2, urls(most + 1)), "{kind}");
    }
}

/// S3, S6, S9: what did not change costs nothing.
#[test]
fn s9_ten_changed_of_ten_thousand_are_the_only_ones_on_the_wire() {
    for (kind, calls) in [("tencent-vod", 1), ("tencent-cdn", 1), ("huawei-vod", 1), ("http-purge", 10)] {
        let cloud = Cloud::of(kind);
        let bench = Bench::at(kind, &cloud);
        let all: Vec<String> = urls(10_000).iter().map(|url| url.replacen("https", "http", 1)).collect();
        bench.assets(&all, "1");
        bench.run(&["adopt"]).exits(0);
        let changed: Vec<String> = all.iter().step_by(1000).cloned().collect();
        let text = manifest(&all, "1");
        let text = changed
            .iter()
            .fold(text, |text, url| text.replacen(&format!("\"{url}\": rev:1"), &format!("\"{url}\": rev:2"), 1));
        bench.write("manifests/site.yaml", text);
        bench.run(&["apply"]).exits(0);
        assert_eq!((cloud.count(), cloud.purged()), (calls, changed), "{kind}");
    }
}

/// S9
#[test]
fn s9_an_unchanged_run_sends_nothing_and_leaves_the_state_file_as_it_is() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud);
    bench.assets(&urls(50), "1");
    bench.run(&["apply"]).exits(0);
    assert_eq!(cloud.count(), 1);
    let before = bench.read(STATE);
    bench.run(&["apply"]).exits(0).says("Nothing to do: 50 targets recorded");
    let quiet = bench.run(&["apply", "--format", "json"]).exits(0).json();
    assert_eq!((&quiet["calls"], &quiet["unchanged"]), (&0.into(), &50.into()));
    bench.run(&["plan", "--exit-code"]).exits(0);
    assert_eq!((cloud.count(), bench.read(STATE) == before), (0, true));
}

/// X3: keys under a prefix, in a private file, from a program; never in the open.
#[test]
fn credentials_come_from_prefixed_variables_files_and_programs() {
    for kind in clouds() {
        let fields = vendor::fields(VENDORS.find(kind).expect("a kind"), (KEY_ID, KEY_SECRET, Some("T0KEN")));
        let json: Value = fields.iter().map(|(field, value)| (field.name, *value)).collect();
        let json = json.to_string();
        for source in ["env_prefix: PROD_", "file: keys.json", "command: [/bin/cat, keys.json]"] {
            let cloud = Cloud::with(kind, |setup| setup.credentials = keys(kind, KEY_ID, KEY_SECRET, Some("T0KEN")));
            let extra = format!("credentials: {{{source}}}\n");
            let mut bench = Bench::new().provider("own", kind, &cloud.url(), &extra).file("keys.json", &json);
            std::fs::set_permissions(bench.path("keys.json"), PermissionsExt::from_mode(0o600)).expect("set");
            for (field, value) in &fields {
                bench = bench.var(&format!("PROD_{}", field.variable), value);
            }
            bench.assets(&urls(3), "1");
            bench.run(&["apply"]).exits(0);
            assert_eq!(cloud.purged(), urls(3), "{kind} {source}");
        }
    }
}

#[test]
fn a_credentials_file_that_others_can_read_is_refused() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::new()
        .provider("own", "tencent-cdn", &cloud.url(), "credentials: {file: keys.json}\n")
        .file("keys.json", format!("{{\"key_id\": \"{KEY_ID}\", \"key_secret\": \"{KEY_SECRET}\"}}"));
    std::fs::set_permissions(bench.path("keys.json"), PermissionsExt::from_mode(0o644)).expect("set");
    bench.assets(&urls(3), "1");
    bench.run(&["apply"]).exits(2).says("has mode 0644");
    assert!(cloud.requests().is_empty() && bench.recorded().is_empty());
}

/// L2: one provider's refusal is no other's.
#[test]
fn l2_refused_credentials_of_one_provider_leave_the_other_alone() {
    let (good, bad) = (
        Cloud::of("tencent-cdn"),
        Cloud::with("alibaba-vod", |setup| setup.credentials = keys("alibaba-vod", "other", "other", None)),
    );
    let bench = Bench::at("tencent-cdn", &good).provider("stranger", "alibaba-vod", &bad.url(), "").keys(
        "alibaba-vod",
        KEY_ID,
        KEY_SECRET,
        None,
    );
    bench.assets(&urls(3), "1");
    bench.run(&["apply"]).exits(7).says("InvalidAccessKeyId.NotFound");
    let recorded = bench.recorded();
    assert!(recorded.len() == 3 && recorded.iter().all(|row| row.starts_with("own ")), "{recorded:?}");
    assert_eq!((bad.count(), bad.purged().len()), (1, 0), "one message, no retry");
}

/// L2: a provider without credentials is named with its variables; the other one is done.
#[test]
fn l2_missing_variables_are_named_and_the_other_provider_is_done() {
    let (good, other) = (Cloud::of("tencent-cdn"), Cloud::of("huawei-vod"));
    let bench = Bench::at("tencent-cdn", &good).provider("media", "huawei-vod", &other.url(), "");
    bench.assets(&urls(3), "1");
    let ran = bench.run(&["apply"]).exits(2);
    assert!(ran.stderr.contains("HUAWEICLOUD_SDK_AK") && ran.stderr.contains("HUAWEICLOUD_SDK_SK"), "{ran:?}");
    assert_eq!((bench.recorded().len(), other.count()), (3, 0));
    let bench = bench.keys("huawei-vod", KEY_ID, KEY_SECRET, None);
    bench.run(&["apply"]).exits(0);
    assert_eq!((other.purged(), good.count()), (urls(3), 1), "only what was left is sent");
}

/// L2: credentials programs run side by side, so that a slow one costs its own time and no more; one that fails is asked once,
/// and the others are done.
#[test]
fn l2_credentials_programs_run_side_by_side_and_one_that_fails_is_asked_once() {
    let (clouds, good) = (["first", "second"].map(|name| (name, Cloud::of("tencent-cdn"))), Cloud::of("http-purge"));
    let failing = "credentials: {command: [/bin/sh, -c, \"echo asked >> asked; exit 1\"]}\n";
    let mut bench = Bench::new()
        .provider("failing", "tencent-cdn", &good.url(), failing)
        .provider("good", "http-purge", &good.url(), "")
        .var("PATH", "/usr/bin:/bin")
        .file("keys.json", format!("{{\"key_id\": \"{KEY_ID}\", \"key_secret\": \"{KEY_SECRET}\"}}"))
        // The first one to be looked up waits for the second one to be looked up.
        .file("first.sh", "cat pipe; exec cat keys.json")
        .file("second.sh", ": > pipe; exec cat keys.json");
    make_pipe(&bench.path("pipe"));
    for (name, cloud) in &clouds {
        let program = format!("credentials: {{command: [/bin/sh, {name}.sh]}}\n");
        bench = bench.provider(name, "tencent-cdn", &cloud.url(), &program);
    }
    bench.assets(&urls(2), "1");
    bench.run(&["apply"]).exits(2).says("ended with exit status 1");
    assert_eq!((bench.recorded().len(), bench.read("asked")), (6, Some(b"asked\n".to_vec())));
}
