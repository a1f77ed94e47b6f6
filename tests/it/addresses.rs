//! Caches that one name stands for: each address takes each purge, and names are looked up anew in each run.

use serde_json::Value;

use crate::support::cache::Cache;
use crate::support::cli::{Bench, provider};
use crate::support::cloud::{Cloud, KEY_ID, KEY_SECRET, Step};
use crate::support::names::Names;
use crate::support::watching::Watching;

const ONE: &str = "127.0.0.1";
const TWO: &str = "127.0.0.2";
const THREE: &str = "127.0.0.3";
const URL: &str = "http://cdn.example.com/a";

/// A provider `own` with these endpoints at the clouds' port; `extra` are further keys.
fn configure(bench: &Bench, clouds: &[Cloud], hosts: &[&str], extra: &str) {
    let port = clouds[0].address.port();
    let endpoints: Vec<String> = hosts.iter().map(|host| format!("\"http://{host}:{port}\"")).collect();
    let text = format!(
        "providers:\n  own:\n    kind: http-purge\n    hosts: [cdn.example.com]\n    endpoints: [{}]\n    \
         allow_insecure_endpoint: true\n{extra}",
        endpoints.join(", ")
    );
    bench.write("manifests/provider-own.yaml", text);
}

fn counts(clouds: &[Cloud]) -> Vec<usize> {
    clouds.iter().map(Cloud::count).collect()
}

/// Addresses at which the only target with work was accepted.
fn accepted_at(bench: &Bench) -> Vec<String> {
    let rows = bench.exported();
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    let texts = row["work"]["accepted_at"].as_array().expect("work").iter();
    let mut addresses: Vec<String> = texts
        .map(|text| text.as_str().and_then(|text| text.split(" at ").nth(1)).expect("an address").to_owned())
        .collect();
    addresses.sort();
    addresses
}

#[test]
fn each_address_takes_each_purge_and_the_one_that_fails_is_named_and_asked_again_alone() {
    let Some(names) = Names::new() else { return };
    let clouds = Cloud::cluster::<3>();
    let bench = Bench::new();
    Names::are(&bench, &[("caches.test", &[THREE, ONE, TWO, ONE])]);
    configure(&bench, &clouds, &["caches.test"], "");
    bench.assets(&[URL], "1");
    let of = |last: &str| format!("http://caches.test:{} at {last}", clouds[0].address.port());
    names
        .run(&bench, &["plan"])
        .exits(0)
        .says("each address of http://caches.test:")
        .says("1 change: 1 new; 1 purge in 1 call today; 0 unchanged");
    clouds[2].always(Some(Step::say(403, "")));
    names.run(&bench, &["apply", "--audit", "audit.jsonl"]).exits(4).says(&format!("{}: HTTP 403", of(THREE)));
    assert_eq!((counts(&clouds), accepted_at(&bench)), (vec![1, 1, 1], vec![ONE.to_owned(), TWO.to_owned()]));
    let explained = bench.run(&["explain", URL]).exits(0).says(&format!("accepted    by {}", of(ONE)));
    explained.says(&format!("accepted    by {}", of(TWO))).says(&of(THREE));
    names.run(&bench, &["apply"]).exits(4);
    assert_eq!(counts(&clouds), [0, 0, 1], "alone");
    clouds[2].always(None);
    names.run(&bench, &["apply", "--audit", "audit.jsonl"]).exits(0);
    assert_eq!((counts(&clouds), bench.due().len()), (vec![0, 0, 1], 0));
    let log = String::from_utf8(bench.read("audit.jsonl").expect("a log")).expect("UTF-8");
    let mut calls: Vec<(String, String)> = log
        .lines()
        .map(|line| {
            let call: Value = serde_json::from_str(line).expect("JSON");
            assert_eq!(call["endpoint"], format!("http://caches.test:{}", clouds[0].address.port()));
            ["address", "outcome"].map(|key| call[key].as_str().expect("text").to_owned()).into()
        })
        .collect();
    calls[..3].sort();
    let expected = [(ONE, "accepted"), (TWO, "accepted"), (THREE, "configuration"), (THREE, "accepted")];
    assert_eq!(calls, expected.map(|(address, outcome)| (address.to_owned(), outcome.to_owned())));
    for cloud in &clouds {
        assert_eq!(cloud.purged(), [URL]);
    }
}

/// What accepted a target stays known while its address does; others are asked, and those that are gone are not missed.
#[test]
fn addresses_are_looked_up_anew_in_each_run() {
    let Some(names) = Names::new() else { return };
    let clouds = Cloud::cluster::<4>();
    let bench = Bench::new();
    configure(&bench, &clouds, &["caches.test"], "");
    bench.assets(&[URL], "1");
    let run = |addresses: &[&str], exit| {
        Names::are(&bench, &[("caches.test", addresses)]);
        names.run(&bench, &["apply"]).exits(exit);
        counts(&clouds)
    };
    clouds[1].always(Some(Step::say(403, "")));
    assert_eq!(run(&[ONE, TWO], 4), [1, 1, 0, 0]);
    assert_eq!(run(&[ONE, TWO, THREE], 4), [0, 1, 1, 0], "one more");
    assert_eq!(accepted_at(&bench), [ONE, THREE]);
    assert_eq!(run(&[TWO, THREE], 4), [0, 1, 0, 0], "one fewer");
    assert_eq!(accepted_at(&bench), [THREE]);
    assert_eq!(run(&[TWO, "127.0.0.4"], 4), [0, 1, 0, 1], "others");
    assert_eq!(run(&[TWO], 4), [0, 1, 0, 0]);
    assert_eq!(run(&[ONE], 0), [1, 0, 0, 0], "what was accepted there before it went does not count");
    assert_eq!(run(&[ONE, "127.0.0.4"], 0), [0, 0, 0, 1], "what was there before and is back is asked, others are not");
    assert_eq!(run(&[ONE, "127.0.0.5"], 0), [0; 4], "what is recorded is not purged again at new ones");
    // All that are left have accepted it: once more to each, as where `endpoints` change.
    bench.assets(&[URL], "2");
    assert_eq!(run(&[ONE, TWO], 4), [1, 1, 0, 0]);
    assert_eq!(run(&[ONE], 0), [1, 0, 0, 0]);
    // The same for a removal.
    bench.assets(&["http://cdn.example.com/b"], "1");
    assert_eq!(run(&[ONE, TWO], 4), [2, 1, 0, 0]);
    assert_eq!(run(&[ONE], 0), [2, 0, 0, 0]);
}

/// Caches behind one name.
struct Cluster<'a> {
    names: Names,
    bench: &'a Bench,
    clouds: &'a [Cloud],
}

impl Cluster<'_> {
    /// Calls to each cache in a run while the name has these addresses.
    #[track_caller]
    fn run(&self, addresses: &[&str], exit: i32) -> Vec<usize> {
        Names::are(self.bench, &[("caches.test", addresses)]);
        self.names.run(self.bench, &["apply"]).exits(exit);
        counts(self.clouds)
    }
}

/// S1: a cache that refused a purge, left its name and comes back with what it held is asked again, alone, until it accepts.
#[test]
fn a_cache_that_comes_back_is_asked_for_what_it_lacks() {
    let Some(names) = Names::new() else { return };
    let clouds = Cloud::cluster::<3>();
    let bench = Bench::new();
    configure(&bench, &clouds, &["caches.test"], "");
    let cluster = Cluster { names, bench: &bench, clouds: &clouds };
    clouds[1].always(Some(Step::say(403, "")));
    bench.assets(&[URL], "1");
    assert_eq!(cluster.run(&[ONE, TWO], 4), [1, 1, 0]);
    assert_eq!(cluster.run(&[ONE], 0), [1, 0, 0], "it is gone and not missed");
    assert_eq!(cluster.run(&[ONE], 0), [0, 0, 0]);
    // Nothing changed but that it is back. A new one is empty.
    Names::are(&bench, &[("caches.test", &[ONE, TWO, THREE])]);
    let two = format!("http://caches.test:{} at {TWO}", clouds[0].address.port());
    let back = format!("note: in use again: {two}; 1 target purged meanwhile is purged there again");
    names.run(&bench, &["apply", "--only", "*/none"]).exits(4).says(&back);
    assert_eq!((counts(&clouds), accepted_at(&bench)), (vec![0, 0, 0], vec![ONE.to_owned()]));
    let lacks = format!("{two} was away when this was purged last");
    bench.run(&["plan"]).exits(0).says("1 purge in").says(&lacks);
    bench.run(&["explain", URL]).exits(0).says(&lacks);
    for _ in 0..2 {
        assert_eq!(cluster.run(&[ONE, TWO], 4), [0, 1, 0]);
    }
    // It leaves again before it accepts anything.
    assert_eq!(cluster.run(&[ONE], 0), [1, 0, 0]);
    clouds[1].always(None);
    bench.assets(&[URL, "http://cdn.example.com/b"], "1");
    assert_eq!(cluster.run(&[ONE, TWO], 0), [1, 2, 0], "what it lacks, and what is new");
    let log = clouds[1].log();
    assert!(log[log.len() - 2..].iter().any(|purged| purged.target.text == URL));
    assert_eq!(cluster.run(&[ONE, TWO], 0), [0, 0, 0]);
}

/// S1: a cache lacks all that is purged while it is away: changed, new and removed pages, and all that a manifest listed.
#[test]
fn what_is_removed_while_a_cache_is_away_is_purged_there_when_it_comes_back() {
    let Some(names) = Names::new() else { return };
    let clouds = Cloud::cluster::<2>();
    let bench = Bench::new();
    configure(&bench, &clouds, &["caches.test"], "");
    let cluster = Cluster { names, bench: &bench, clouds: &clouds };
    let urls = ["a", "b", "c", "d"].map(|path| format!("http://cdn.example.com/{path}"));
    bench.assets(&urls[..3], "1");
    bench.write("manifests/other.yaml", crate::support::cli::manifest(&urls[3..], "1"));
    assert_eq!(cluster.run(&[ONE, TWO], 0), [4, 4]);
    bench.assets(&urls[..2], "2");
    std::fs::remove_file(bench.path("manifests/other.yaml")).expect("it was there");
    assert_eq!(cluster.run(&[ONE], 0), [4, 0]);
    assert_eq!(bench.exported().len(), 2);
    assert_eq!(cluster.run(&[ONE, TWO], 0), [0, 4]);
    let mut purged: Vec<String> = clouds[1].log()[4..].iter().map(|purged| purged.target.text.clone()).collect();
    purged.sort();
    assert_eq!((purged, bench.exported().len()), (urls.to_vec(), 2));
    assert_eq!(cluster.run(&[ONE, TWO], 0), [0, 0]);
    // What is listed again meanwhile is purged with its content.
    bench.assets(&urls[..1], "2");
    assert_eq!(cluster.run(&[ONE], 0), [1, 0]);
    bench.assets(&urls[..2], "2");
    assert_eq!(cluster.run(&[ONE], 0), [1, 0]);
    assert_eq!((cluster.run(&[ONE, TWO], 0), bench.recorded().len()), (vec![0, 1], 2));
}

/// S1, R7: a cache that lacks the removal of a page purges it also where the page was listed again meanwhile, and went before any
/// cache had accepted its purge.
#[test]
fn what_is_listed_again_and_goes_while_a_cache_lacks_its_removal_is_purged_there() {
    let Some(names) = Names::new() else { return };
    let clouds = Cloud::cluster::<2>();
    let bench = Bench::new();
    configure(&bench, &clouds, &["caches.test"], "");
    let cluster = Cluster { names, bench: &bench, clouds: &clouds };
    let refuse = |refuses: bool| {
        for cloud in &clouds {
            cloud.always(refuses.then(|| Step::say(403, "")));
        }
    };
    for is_back_before_it_is_listed in [false, true] {
        bench.assets(&[URL], "1");
        assert_eq!(cluster.run(&[ONE, TWO], 0), [1, 1]);
        bench.write("manifests/site.yaml", "assets: {}\n");
        assert_eq!(cluster.run(&[ONE], 0), [1, 0], "the other one lacks this");
        refuse(true);
        if is_back_before_it_is_listed {
            assert_eq!(cluster.run(&[ONE, TWO], 4), [0, 1]);
        }
        bench.assets(&[URL], "2");
        assert_eq!(cluster.run(&[ONE, TWO], 4), [1, 1]);
        bench.write("manifests/site.yaml", "assets: {}\n");
        refuse(false);
        assert_eq!(cluster.run(&[ONE, TWO], 0), [1, 1]);
        assert!(bench.exported().is_empty());
    }
}

/// S1: also where no manifest is left that lists anything.
#[test]
fn the_last_targets_of_a_provider_are_purged_where_a_cache_comes_back() {
    let Some(names) = Names::new() else { return };
    let clouds = Cloud::cluster::<2>();
    let bench = Bench::new();
    configure(&bench, &clouds, &["caches.test"], "");
    let cluster = Cluster { names, bench: &bench, clouds: &clouds };
    bench.write("manifests/other.yaml", crate::support::cli::manifest(&[URL], "1"));
    assert_eq!(cluster.run(&[ONE, TWO], 0), [1, 1]);
    std::fs::remove_file(bench.path("manifests/other.yaml")).expect("it was there");
    assert_eq!(cluster.run(&[ONE], 0), [1, 0]);
    assert_eq!(cluster.run(&[ONE, TWO], 0), [0, 1]);
    assert_eq!(cluster.run(&[ONE, TWO], 0), [0, 0]);
}

/// S1: an endpoint that leaves the list and comes back lacks what was purged meanwhile, whether a run purged there before or
/// `adopt` recorded what it holds, and however long ago that was.
#[test]
fn an_endpoint_that_comes_back_into_the_list_is_asked_for_what_it_lacks() {
    let clouds = Cloud::cluster::<3>();
    let urls = ["a", "b", "c"].map(|path| format!("http://cdn.example.com/{path}"));
    for is_adopted in [false, true] {
        let bench = Bench::new();
        let run = |hosts: &[&str], extra: &str, urls: &[String], revision: &str, exit| {
            configure(&bench, &clouds, hosts, extra);
            bench.assets(urls, revision);
            bench.run(&["apply"]).exits(exit);
            counts(&clouds)
        };
        configure(&bench, &clouds, &[ONE, TWO], "");
        bench.assets(&urls, "1");
        bench.run(&[if is_adopted { "adopt" } else { "apply" }]).exits(0);
        counts(&clouds);
        bench.by_hand("UPDATE cache_address SET seen_at = seen_at - 2592000001");
        assert_eq!(run(&[ONE], "", &urls[..2], "2", 0), [3, 0, 0], "two changed, one removed");
        // A new one is empty.
        assert_eq!(run(&[ONE, TWO, THREE], "", &urls[..2], "2", 0), [0, 3, 0]);
        assert_eq!(run(&[ONE, TWO, THREE], "", &urls[..2], "2", 0), [0, 0, 0]);
        // Both at once, and a refusal.
        assert_eq!(run(&[ONE], "", &urls[..1], "2", 0), [1, 0, 0]);
        clouds[1].always(Some(Step::say(403, "")));
        assert_eq!(run(&[ONE, TWO, THREE], "", &urls[..1], "2", 4), [0, 1, 1]);
        clouds[1].always(None);
        assert_eq!(run(&[ONE, TWO, THREE], "", &urls[..1], "2", 0), [0, 1, 0]);
        // Where some are enough, none lacks anything.
        assert_eq!(
            run(
                &[ONE],
                "    require: 1
",
                &urls[..1],
                "3",
                0
            ),
            [1, 0, 0]
        );
        assert_eq!(run(&[ONE, TWO, THREE], "", &urls[..1], "3", 0), [0, 0, 0]);
    }
}

/// S1: an endpoint may serve visitors as soon as it is listed, so it is known from the first run that reads it, whatever comes of
/// that run.
#[test]
fn an_endpoint_is_known_from_the_first_run_that_reads_it() {
    let clouds = Cloud::cluster::<2>();
    let urls = ["a", "b", "c"].map(|path| format!("http://cdn.example.com/{path}"));
    let ways: [(&[&str], i32); 6] = [
        (&["apply"], 0),
        (&["watch", "--once"], 0),
        (&["adopt"], 0),
        (&["apply", "--deadline", "0s"], 0),
        (&["apply", "--only", "*/none"], 0),
        (&["apply", "--expect", "another"], 5),
    ];
    for (way, exit) in ways {
        let bench = Bench::new();
        configure(&bench, &clouds, &[ONE], "");
        bench.assets(&urls, "1");
        bench.run(&["apply"]).exits(0);
        configure(&bench, &clouds, &[ONE, TWO], "");
        bench.run(way).exits(exit);
        configure(&bench, &clouds, &[ONE], "");
        bench.assets(&urls[..2], "2");
        bench.run(&["apply"]).exits(0);
        counts(&clouds);
        configure(&bench, &clouds, &[ONE, TWO], "");
        bench.run(&["apply"]).exits(0);
        assert_eq!(counts(&clouds), [0, 3], "{way:?}");
        bench.run(&["apply"]).exits(0);
        assert_eq!(counts(&clouds), [0, 0], "{way:?}");
    }
}

/// S1: what a cache lacks that is back stays due until it is purged there, also where the first run that finds it has no time or is
/// about something else. What is adopted is fresh.
#[test]
fn what_a_cache_lacks_outlasts_runs_that_do_not_purge_it() {
    let clouds = Cloud::cluster::<2>();
    let urls = ["a", "b"].map(|path| format!("http://cdn.example.com/{path}"));
    let ways: [(&[&str], &str, i32, usize); 6] = [
        (&["adopt", "--only", "*/none"], "", 0, 2),
        (&["adopt", "--only", "*/b"], "", 0, 1),
        (&["adopt"], "", 0, 0),
        (&["apply", "--deadline", "0s"], "", 4, 2),
        (&["apply", "--expect", "another"], "", 5, 2),
        (&["apply", "--expect", "another"], "    require: 1\n", 5, 2),
    ];
    for (way, extra, exit, lacks) in ways {
        let bench = Bench::new();
        let publish = |hosts: &[&str], revision| {
            configure(&bench, &clouds, hosts, "");
            bench.assets(&urls, revision);
        };
        publish(&[ONE, TWO], "1");
        bench.run(&["apply"]).exits(0);
        publish(&[ONE], "2");
        bench.run(&["apply"]).exits(0);
        counts(&clouds);
        configure(&bench, &clouds, &[ONE, TWO], extra);
        bench.run(way).exits(exit);
        assert_eq!(counts(&clouds), [0, 0], "{way:?}");
        publish(&[ONE, TWO], "2");
        for _ in 0..2 {
            bench.run(&["apply"]).exits(0);
        }
        assert_eq!(counts(&clouds), [0, lacks], "{way:?}");
    }
}

/// S1: the caches of a provider are away while it is of another kind.
#[test]
fn caches_lack_what_was_purged_while_their_provider_was_of_another_kind() {
    let caches = Cloud::cluster::<1>();
    let vendor = Cloud::of("tencent-cdn");
    let bench = Bench::new().keys("tencent-cdn", KEY_ID, KEY_SECRET, None);
    let urls = ["a", "b", "c"].map(|path| format!("http://cdn.example.com/{path}"));
    configure(&bench, &caches, &[ONE], "");
    bench.assets(&urls, "1");
    bench.run(&["apply"]).exits(0);
    assert_eq!(counts(&caches), [3]);
    bench.write("manifests/provider-own.yaml", provider("own", "tencent-cdn", &vendor.url(), ""));
    bench.assets(&["http://cdn.example.com/a", "http://cdn.example.com/d"], "1");
    bench.run(&["apply"]).exits(0);
    assert_eq!(vendor.purged().len(), 3, "two removed, one new");
    configure(&bench, &caches, &[ONE], "");
    bench.run(&["apply"]).exits(0);
    assert_eq!(counts(&caches), [3]);
    bench.run(&["apply"]).exits(0);
    assert_eq!(counts(&caches), [0]);
}

/// S1: and so is the CDN of a vendor.
#[test]
fn a_vendor_lacks_what_was_purged_while_its_provider_was_of_another_kind() {
    let caches = Cloud::cluster::<1>();
    let vendor = Cloud::of("tencent-cdn");
    let bench = Bench::new().keys("tencent-cdn", KEY_ID, KEY_SECRET, None);
    let of_vendor = || bench.write("manifests/provider-own.yaml", provider("own", "tencent-cdn", &vendor.url(), ""));
    let urls = ["a", "b", "c"].map(|path| format!("http://cdn.example.com/{path}"));
    of_vendor();
    bench.assets(&urls, "1");
    bench.run(&["apply"]).exits(0);
    configure(&bench, &caches, &[ONE], "");
    bench.assets(&urls[1..], "1");
    bench.run(&["apply"]).exits(0);
    of_vendor();
    bench.run(&["apply"]).exits(0);
    let mut expected = [&urls[..1], &urls].concat();
    expected.sort();
    assert_eq!(vendor.purged(), expected, "it was removed meanwhile");
    bench.run(&["apply"]).exits(0).says("Nothing to do");
}

/// S1, T2: what one run with a wrong clock says makes no cache a new one.
#[test]
fn a_clock_that_is_wrong_in_one_run_makes_no_cache_forgotten() {
    let clouds = Cloud::cluster::<2>();
    for days in [40, -40] {
        let bench = Bench::new();
        let publish = |hosts: &[&str], revision| {
            configure(&bench, &clouds, hosts, "");
            bench.assets(&[URL], revision);
        };
        publish(&[ONE, TWO], "1");
        bench.run(&["apply"]).exits(0);
        publish(&[ONE], "2");
        bench.run(&["apply"]).exits(0);
        // As if the clock of that run, which noted what is away, had been off by so much.
        let off = i64::from(days) * 86_400_000;
        bench.by_hand(&format!("UPDATE run SET started_at = started_at + {off} WHERE id = (SELECT max(id) FROM run)"));
        bench.by_hand(&format!("UPDATE target SET recorded_at = recorded_at + {off}"));
        bench.by_hand(&format!("UPDATE cache_address SET away_since = away_since + {off} WHERE away_since > 0"));
        publish(&[ONE], "3");
        bench.run(&["apply"]).exits(0);
        counts(&clouds);
        publish(&[ONE, TWO], "3");
        bench.run(&["apply"]).exits(0);
        assert_eq!(counts(&clouds), [0, 1], "{days} days");
    }
}

/// S1: a removal that other caches have purged is due at one that is back, also where the manifests that are left forget their own.
#[test]
fn a_removal_that_a_cache_lacks_is_no_manifests_to_forget() {
    let clouds = Cloud::cluster::<2>();
    for emptied in [None, Some("assets: {}\n"), Some("on_removed: forget\nassets: {}\n")] {
        let bench = Bench::new();
        let list = |hosts: &[&str]| configure(&bench, &clouds, hosts, "on_removed: forget\n");
        list(&[ONE, TWO]);
        bench.assets(&[URL], "1");
        bench.run(&["apply"]).exits(0);
        list(&[ONE]);
        match emptied {
            None => std::fs::remove_file(bench.path("manifests/site.yaml")).expect("it was there"),
            Some(_) => bench.write("manifests/site.yaml", "assets: {}\n"),
        }
        bench.run(&["apply"]).exits(0);
        assert_eq!((counts(&clouds), bench.exported().len()), (vec![2, 1], 0));
        if let Some(text) = emptied {
            bench.write("manifests/site.yaml", text);
        }
        list(&[ONE, TWO]);
        bench.run(&["adopt"]).exits(0);
        assert_eq!((bench.due(), counts(&clouds)), (vec![URL.to_owned()], vec![0, 0]), "{emptied:?}");
        bench.write("export.jsonl", bench.run(&["state", "export"]).exits(0).stdout);
        bench.run(&["state", "import", "export.jsonl"]).exits(0);
        bench.run(&["plan"]).exits(0).says("1 purge in");
        bench.run(&["status"]).exits(0);
        bench.run(&["explain", URL]).exits(0).says("was away when this was purged last");
        bench.run(&["apply"]).exits(0);
        assert_eq!((counts(&clouds), bench.exported().len()), (vec![0, 1], 0), "{emptied:?}");
    }
}

/// The same for a name.
#[test]
fn a_name_that_comes_back_into_the_list_is_asked_for_what_it_lacks() {
    let Some(names) = Names::new() else { return };
    let clouds = Cloud::cluster::<2>();
    let bench = Bench::new();
    Names::are(&bench, &[("caches.test", &[TWO])]);
    let run = |hosts: &[&str], revision: &str| {
        configure(&bench, &clouds, hosts, "");
        bench.assets(&[URL], revision);
        names.run(&bench, &["apply"]).exits(0);
        counts(&clouds)
    };
    assert_eq!(run(&[ONE, "caches.test"], "1"), [1, 1]);
    assert_eq!(run(&[ONE], "2"), [1, 0]);
    assert_eq!(run(&[ONE, "caches.test"], "2"), [0, 1]);
    assert_eq!(run(&[ONE, "caches.test"], "2"), [0, 0]);
}

/// S1: a run that looks no name up leaves what is back there to the next one.
#[test]
fn a_name_that_is_back_is_looked_up_once_there_is_time() {
    let Some(names) = Names::new() else { return };
    let clouds = Cloud::cluster::<2>();
    let vendor = Cloud::of("tencent-cdn");
    for way in [&["apply", "--deadline", "0s"][..], &["adopt", "--only", "*/none"], &["apply", "--only", "*/none"]] {
        let bench = Bench::new().keys("tencent-cdn", KEY_ID, KEY_SECRET, None);
        configure(&bench, &clouds, &["caches.test"], "");
        let cluster = Cluster { names, bench: &bench, clouds: &clouds };
        bench.assets(&[URL], "1");
        assert_eq!(cluster.run(&[ONE, TWO], 0), [1, 1]);
        bench.assets(&[URL], "2");
        assert_eq!(cluster.run(&[ONE], 0), [1, 0]);
        Names::are(&bench, &[("caches.test", &[ONE, TWO])]);
        names.run(&bench, way);
        assert_eq!(counts(&clouds), [0, 0]);
        assert_eq!(cluster.run(&[ONE, TWO], 0), [0, 1], "{way:?}");
        // Of another kind, which has no caches.
        bench.write("manifests/provider-own.yaml", provider("own", "tencent-cdn", &vendor.url(), ""));
        bench.assets(&[URL], "3");
        assert_eq!(cluster.run(&[ONE, TWO], 0), [0, 0]);
        configure(&bench, &clouds, &["caches.test"], "");
        names.run(&bench, way);
        assert_eq!(cluster.run(&[ONE, TWO], 0), [1, 1], "{way:?}");
        assert_eq!(cluster.run(&[ONE, TWO], 0), [0, 0], "{way:?}");
    }
}

/// A cache that was away for a month is a new one. Where some are enough, none lacks anything.
#[test]
fn a_cache_lacks_nothing_after_a_month_nor_where_some_are_enough() {
    let Some(names) = Names::new() else { return };
    let clouds = Cloud::cluster::<2>();
    let bench = Bench::new();
    configure(&bench, &clouds, &["caches.test"], "");
    let cluster = Cluster { names, bench: &bench, clouds: &clouds };
    let publish = |revision| bench.assets(&[URL], revision);
    publish("1");
    assert_eq!(cluster.run(&[ONE, TWO], 0), [1, 1]);
    publish("2");
    assert_eq!(cluster.run(&[ONE], 0), [1, 0]);
    bench.by_hand("UPDATE cache_address SET seen_at = seen_at - 2592060000 WHERE away_since IS NOT NULL");
    publish("3");
    assert_eq!(cluster.run(&[ONE], 0), [1, 0]);
    assert_eq!(cluster.run(&[ONE, TWO], 0), [0, 0]);
    configure(&bench, &clouds, &["caches.test"], "    require: 1\n");
    publish("4");
    assert_eq!(cluster.run(&[ONE], 0), [1, 0]);
    assert_eq!(cluster.run(&[ONE, TWO], 0), [0, 0]);
}

#[test]
fn a_name_without_an_address_is_an_error_of_its_endpoint_alone() {
    let Some(names) = Names::new() else { return };
    let clouds = Cloud::cluster::<2>();
    let bench = Bench::new();
    configure(&bench, &clouds, &["gone.test", ONE, "caches.test"], "");
    bench.assets(&[URL], "1");
    Names::are(&bench, &[("caches.test", &[TWO])]);
    let gone = format!("no address for http://gone.test:{}: ", clouds[0].address.port());
    let text = names.run(&bench, &["apply", "--format", "json"]).exits(4).stdout;
    assert!(text.contains(&gone), "{text}");
    assert_eq!(counts(&clouds), [1, 1]);
    bench.run(&["status"]).says(&gone);
    // Its acceptances stay while it cannot be looked up, and it is one cache more than answered.
    Names::are(&bench, &[]);
    names.run(&bench, &["apply"]).exits(4).says("no address for http://caches.test:");
    Names::are(&bench, &[("caches.test", &[TWO]), ("gone.test", &[TWO])]);
    names.run(&bench, &["apply"]).exits(0);
    assert_eq!(counts(&clouds), [0, 1], "two names of one cache are one");
    // Where one is enough, one is.
    configure(&bench, &clouds, &["nobody.test", ONE], "    require: 1\n");
    bench.assets(&[URL], "2");
    names.run(&bench, &["apply"]).exits(0);
    assert_eq!(counts(&clouds), [1, 0]);
}

#[test]
fn require_counts_addresses_and_waits_for_those_that_are_missing() {
    let Some(names) = Names::new() else { return };
    let clouds = Cloud::cluster::<3>();
    let bench = Bench::new();
    configure(&bench, &clouds, &["caches.test"], "    require: 2\n");
    bench.assets(&[URL], "1");
    clouds[0].always(Some(Step::say(403, "")));
    Names::are(&bench, &[("caches.test", &[ONE, TWO, THREE])]);
    names.run(&bench, &["apply"]).exits(0);
    assert_eq!(counts(&clouds), [1, 1, 1]);
    bench.assets(&[URL], "2");
    Names::are(&bench, &[("caches.test", &[TWO])]);
    let short = "`require: 2`, but its endpoints come to 1 cache now";
    for sent in [[0, 1, 0], [0, 0, 0]] {
        names.run(&bench, &["apply"]).exits(4).says(short);
        assert_eq!(counts(&clouds), sent);
        bench.run(&["status"]).says(short);
    }
    Names::are(&bench, &[("caches.test", &[TWO, THREE])]);
    names.run(&bench, &["apply"]).exits(0);
    assert_eq!(counts(&clouds), [0, 0, 1]);
    // A rehearsal looks nothing up.
    bench.assets(&[URL], "3");
    configure(&bench, &clouds, &["caches.test"], "    require: 3\n");
    bench.run(&["apply", "--rehearse"]).exits(0).says("nothing to do");
}

/// W6: one address that fails holds up no other, and what a restart moves elsewhere is found by the next pass.
#[test]
fn the_watch_leaves_one_address_in_peace_and_finds_new_ones() {
    let Some(names) = Names::new() else { return };
    let clouds = Cloud::cluster::<3>();
    let bench = Bench::new();
    configure(&bench, &clouds, &["caches.test"], "");
    bench.assets(&[URL], "1");
    Names::are(&bench, &[("caches.test", &[ONE, TWO])]);
    clouds[1].always(Some(Step::say(403, "")));
    let watch = ["watch", "--log-format", "json", "--log-level", "debug", "--resync", "1h"];
    let mut watching = Watching::of(names.start(&bench, &watch));
    watching.ends_a_run();
    assert_eq!(counts(&clouds), [1, 1, 0]);
    // In place of the file that is mounted, which is the one that the program sees.
    Names::are(&bench, &[("caches.test", &[ONE, TWO, THREE])]);
    bench.assets(&[URL, "http://cdn.example.com/b"], "1");
    watching.ends_a_run();
    assert_eq!(counts(&clouds), [1, 0, 1], "the new target at those that are well");
    clouds[1].always(None);
    crate::support::watching::signal(watching.id(), "HUP");
    watching.records(2);
    assert_eq!(counts(&clouds), [0, 2, 1]);
    // One that is away meanwhile is asked for what it lacks once it is back, though no manifest changes.
    Names::are(&bench, &[("caches.test", &[ONE, THREE])]);
    bench.assets(&[URL], "1");
    watching.records(1);
    assert_eq!(counts(&clouds), [1, 0, 1]);
    Names::are(&bench, &[("caches.test", &[ONE, TWO, THREE])]);
    crate::support::watching::signal(watching.id(), "HUP");
    watching.records(1);
    assert_eq!(counts(&clouds), [0, 1, 0]);
    watching.stop();
}

/// Two real caches behind one name: visitors of both see the new page after one run.
#[test]
fn visitors_of_each_cache_behind_a_name_see_the_new_page() {
    let Some(names) = Names::new() else { return };
    let Some(caches) = Cache::start_at("varnish", &[ONE, TWO]) else { return };
    let (host, path) = ("cdn.example.com", "/a");
    let bench = Bench::new();
    Names::are(&bench, &[("caches.test", &[ONE, TWO])]);
    let url = format!("http://caches.test:{}", caches[0].port);
    let bench = bench.provider("own", "http-purge", &url, "allow_insecure_endpoint: true");
    bench.assets(&[URL], "1");
    bench.run(&["adopt"]).exits(0);
    for cache in &caches {
        cache.origin.publish(Some(host), path, "old");
        assert_eq!(cache.warm(host, path).body, "old");
        cache.origin.publish(Some(host), path, "new");
        assert_eq!(cache.get(host, path).body, "old");
    }
    bench.assets(&[URL], "2");
    names.run(&bench, &["apply"]).exits(0);
    for cache in &caches {
        assert_eq!(cache.get(host, path).body, "new");
    }
}
