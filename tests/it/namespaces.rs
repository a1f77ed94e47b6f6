//! Repositories that share a state by namespaces and call their providers the same: nothing of one meets the other.

use std::cell::Cell;

use serde_json::Value;

use crate::support::cli::{Bench, Ran, STATE};
use crate::support::cloud::{Cloud, Step};

/// What a repository publishes.
struct Site<'a> {
    /// Caches of its provider `own`, by their place in the cluster.
    caches: &'a [usize],
    /// Further keys of the provider.
    extra: &'a str,
    /// Paths with their revisions; those that begin with `https:` are whole URLs.
    assets: &'a [(&'a str, u32)],
}

/// Repositories in folders of their own, beside the state, and the caches.
struct World {
    bench: Bench,
    clouds: [Cloud; 3],
    /// How many requests of each were asked about.
    seen: [Cell<usize>; 3],
}

impl World {
    fn new() -> Self {
        Self { bench: Bench::new(), clouds: Cloud::cluster(), seen: Default::default() }
    }

    /// Writes the manifest `NAME/manifests/NAME.yaml`, for the host `NAME.example.net` unless URLs say otherwise.
    fn publish(&self, name: &str, site: &Site<'_>) {
        let port = self.clouds[0].address.port();
        let endpoints: Vec<String> =
            site.caches.iter().map(|cache| format!("\"http://127.0.0.{}:{port}\"", cache + 1)).collect();
        let assets: Vec<String> =
            site.assets.iter().map(|(path, revision)| format!("\"{path}\": rev:{revision}")).collect();
        let text = format!(
            "providers:\n  own: {{kind: http-purge, hosts: [\"*.example.net\"], endpoints: [{}]{}}}\n\
             base_url: https://{name}.example.net/\nassets: {{{}}}\n",
            endpoints.join(", "),
            site.extra,
            assets.join(", ")
        );
        self.bench.write(&format!("{name}/manifests/{name}.yaml"), text);
    }

    /// Runs a command about a repository, in its namespace.
    fn run(&self, name: &str, arguments: &[&str]) -> Ran {
        let more = [&format!("{name}/manifests"), "--namespace", name];
        self.bench.run(&[arguments, &more].concat())
    }

    /// Applies a repository in its namespace; the paths that each cache was asked for, in order.
    #[track_caller]
    fn apply(&self, name: &str) -> [Vec<String>; 3] {
        self.run(name, &["apply"]).exits(0);
        self.purged()
    }

    /// The paths that each cache was asked for since the last question, in order.
    fn purged(&self) -> [Vec<String>; 3] {
        [0, 1, 2].map(|cache| {
            let mut requests = self.clouds[cache].requests();
            let before = self.seen[cache].replace(requests.len());
            let path = |request: Vec<u8>| {
                let text = String::from_utf8_lossy(&request).into_owned();
                text.split(' ').nth(1).expect("a request line").to_owned()
            };
            let mut paths: Vec<String> = requests.drain(before..).map(path).collect();
            paths.sort();
            paths
        })
    }
}

/// A site with one cache.
fn at<'a>(cache: &'a usize, assets: &'a [(&'a str, u32)]) -> Site<'a> {
    Site { caches: std::slice::from_ref(cache), extra: "", assets }
}

const NOTHING: [&[&str]; 3] = [&[], &[], &[]];

/// S3, S9: caches of one are not taken for those of the other, gone and back in each run.
#[test]
fn runs_in_turn_purge_nothing_where_nothing_changed() {
    let world = World::new();
    world.publish("a", &at(&0, &[("a", 1), ("b", 1)]));
    world.publish("b", &at(&1, &[("c", 1), ("d", 1)]));
    assert_eq!(world.apply("a"), [&["/a", "/b"][..], &[], &[]]);
    assert_eq!(world.apply("b"), [&[][..], &["/c", "/d"], &[]]);
    world.publish("a", &at(&0, &[("a", 2), ("b", 1)]));
    assert_eq!(world.apply("a"), [&["/a"][..], &[], &[]]);
    for name in ["b", "a", "b", "a"] {
        assert_eq!(world.apply(name), NOTHING, "{name}");
        world.run(name, &["watch", "--once"]).exits(0);
        assert_eq!(world.purged(), NOTHING, "{name}");
    }
}

/// S1: what a cache of one lacks is not forgotten where some caches of the other are enough.
#[test]
fn what_a_cache_lacks_is_owed_whatever_another_namespace_requires() {
    let world = World::new();
    let enough =
        |revision| world.publish("b", &Site { caches: &[2, 0], extra: ", require: 1", assets: &[("c", revision)] });
    let publish = |caches: &[usize], revision| {
        world.publish("a", &Site { caches, extra: "", assets: &[("a", revision), ("b", 1)] });
    };
    enough(1);
    world.apply("b");
    publish(&[0, 1], 1);
    world.apply("a");
    publish(&[0], 2);
    assert_eq!(world.apply("a"), [&["/a"][..], &[], &[]]);
    enough(2);
    world.apply("b");
    publish(&[0, 1], 2);
    assert_eq!(world.apply("a"), [&[][..], &["/a"], &[]]);
}

/// S1, S3: each namespace purges a URL that both list through its own provider.
#[test]
fn one_url_in_two_namespaces_is_purged_through_both_providers() {
    let world = World::new();
    let shared = "https://both.example.net/z";
    for revision in [1, 2] {
        world.publish("a", &at(&0, &[(shared, revision)]));
        world.publish("b", &at(&1, &[(shared, revision)]));
        assert_eq!(world.apply("a"), [&["/z"][..], &[], &[]]);
        assert_eq!(world.apply("b"), [&[][..], &["/z"], &[]]);
    }
    // Work that is left of one is not that of the other.
    world.clouds[0].always(Some(Step::say(403, "")));
    for name in ["a", "b"] {
        world.publish(name, &at(if name == "a" { &0 } else { &1 }, &[(shared, 3)]));
    }
    world.run("a", &["apply"]).exits(4);
    world.purged();
    assert_eq!(world.apply("b"), [&[][..], &["/z"], &[]]);
    world.clouds[0].always(None);
    assert_eq!(world.apply("a"), [&["/z"][..], &[], &[]]);
    // One that lists it no more purges it at its own, and leaves that of the other.
    world.publish("a", &at(&0, &[]));
    assert_eq!(world.apply("a"), [&["/z"][..], &[], &[]]);
    assert_eq!(world.apply("b"), NOTHING);
    let plan = world.run("b", &["explain", shared]).exits(0);
    plan.says("at provider own").says("do nothing: the recorded hash is the desired one");
}

/// S4: a removal goes to the caches of the provider that it was listed for.
#[test]
fn a_removed_url_is_sent_to_no_cache_of_another_namespace() {
    let world = World::new();
    world.publish("b", &at(&1, &[("c", 1)]));
    world.apply("b");
    world.publish("a", &at(&0, &[("k", 1)]));
    let other = "base_url: https://a.example.net/\nassets: {secret: rev:1}\n";
    world.bench.write("a/manifests/x.yaml", other);
    world.apply("a");
    std::fs::remove_file(world.bench.path("a/manifests/x.yaml")).expect("removed");
    assert_eq!(world.apply("a"), [&["/secret"][..], &[], &[]]);
    assert_eq!(world.apply("b"), NOTHING);
    // Adopted is what is recorded at its own as well.
    world.publish("b", &at(&1, &[("c", 2)]));
    world.run("b", &["adopt"]).exits(0);
    assert_eq!((world.apply("a"), world.apply("b")), (NOTHING.map(owned), NOTHING.map(owned)));
}

fn owned(paths: &[&str]) -> Vec<String> {
    paths.iter().map(|&path| path.to_owned()).collect()
}

/// Repositories that shared a state and its provider without namespaces come into them one by one, with what each lists and no
/// purge. A look at it changes nothing.
#[test]
fn each_repository_takes_what_it_lists_into_its_namespace() {
    let world = World::new();
    let shared = "https://both.example.net/z";
    let publish = |name, assets: &[(&str, u32)]| world.publish(name, &Site { caches: &[0, 1], extra: "", assets });
    let bare = |name: &str, exit| {
        world.bench.run(&["apply", &format!("{name}/manifests")]).exits(exit);
        world.purged()
    };
    publish("a", &[("a", 1), (shared, 1)]);
    publish("b", &[("b", 1), (shared, 1)]);
    bare("a", 0);
    bare("b", 0);
    // A cache refuses a page, one lacks another page since it is away, and a page is removed meanwhile.
    world.clouds[0].always(Some(Step::say(403, "")));
    publish("b", &[("b", 2), (shared, 1)]);
    assert_eq!(bare("b", 4), [&["/b"][..], &["/b"], &[]]);
    world.clouds[0].always(None);
    world.publish("a", &at(&0, &[("a", 2), (shared, 1)]));
    assert_eq!(bare("a", 0), [&["/a"][..], &[], &[]]);
    publish("a", &[("a", 2), (shared, 1)]);
    let before = world.bench.read(STATE);
    world.run("b", &["plan"]).exits(0).says("1 purge in");
    world.run("b", &["explain", shared]).exits(0).says("do nothing: the recorded hash is the desired one");
    world.run("b", &["apply", "--rehearse"]).exits(0);
    assert!(world.bench.read(STATE) == before, "a look has written");
    assert_eq!(world.apply("a"), [&[][..], &["/a"], &[]], "what the cache lacks");
    assert_eq!(world.apply("b"), [&["/b"][..], &[], &[]], "what the cache refused");
    assert_eq!((world.apply("a"), world.apply("b")), (NOTHING.map(owned), NOTHING.map(owned)));
    let rows = world.bench.recorded();
    let [of_a, of_b] =
        ["a", "b"].map(|name| rows.iter().filter(|row| row.starts_with(&format!("{name}:own "))).count());
    assert_eq!((of_a, of_b, rows.len()), (2, 2, 4), "{rows:?}");
    publish("a", &[("a", 2)]);
    assert_eq!(world.apply("a"), [&["/z"][..], &["/z"], &[]]);
    assert_eq!(world.apply("b"), NOTHING);
    world.bench.run(&["apply", "b/manifests"]).exits(5).says("`--namespace a`, `--namespace b`");
}

/// S1, L1: what a cache lacks comes in as well, also where nothing is listed any more, or its purge failed just before.
#[test]
fn what_a_cache_lacks_comes_into_the_namespace_though_nothing_is_listed() {
    for is_tried in [false, true] {
        for rest in [&[][..], &[("b", 1)]] {
            let world = World::new();
            let publish =
                |caches: &[usize], assets: &[(&str, u32)]| world.publish("a", &Site { caches, extra: "", assets });
            let bare = |exit| {
                world.bench.run(&["apply", "a/manifests"]).exits(exit);
                world.purged()
            };
            publish(&[0, 1], &[&[("a", 1)], rest].concat());
            bare(0);
            publish(&[0], rest);
            assert_eq!(bare(0), [&["/a"][..], &[], &[]]);
            if is_tried {
                world.clouds[1].always(Some(Step::say(403, "")));
                publish(&[0, 1], rest);
                assert_eq!(bare(4), [&[][..], &["/a"], &[]]);
                world.clouds[1].always(None);
            } else {
                assert_eq!(world.apply("a"), NOTHING);
                publish(&[0, 1], rest);
            }
            assert_eq!(world.apply("a"), [&[][..], &["/a"], &[]], "{is_tried} {rest:?}");
            assert_eq!(world.apply("a"), NOTHING);
        }
    }
}

/// S1: an export from before the namespace comes in as well; what differs from what is known by now is due.
#[test]
fn what_an_old_export_says_otherwise_is_due() {
    let world = World::new();
    world.publish("a", &at(&0, &[("a", 1), ("b", 1), ("c", 1)]));
    world.bench.run(&["apply", "a/manifests"]).exits(0);
    let exported = world.bench.run(&["state", "export"]).exits(0).stdout;
    world.publish("a", &at(&0, &[("a", 2), ("b", 1)]));
    world.run("a", &["apply"]).exits(0);
    world.publish("a", &at(&0, &[("a", 1), ("b", 1)]));
    world.purged();
    world.bench.write("export", exported);
    world.bench.run(&["state", "import", "export"]).exits(0);
    world.run("a", &["plan"]).exits(0).says("2 purges in");
    assert_eq!(world.apply("a"), [&["/a", "/c"][..], &[], &[]]);
    assert_eq!(world.apply("a"), NOTHING);
}

/// S2: what a first run in a namespace brought in stays there, whatever becomes of the run.
#[test]
fn a_refused_first_run_in_a_namespace_holds_the_state_to_it() {
    let world = World::new();
    world.publish("a", &at(&0, &[("a", 1)]));
    world.bench.run(&["apply", "a/manifests"]).exits(0);
    world.purged();
    world.publish("a", &at(&0, &[("a", 2)]));
    world.run("a", &["apply", "--expect", "00000000000000000000000000000000"]).exits(5);
    world.bench.run(&["apply", "a/manifests"]).exits(5).says("`--namespace a`");
    assert_eq!(world.apply("a"), [&["/a"][..], &[], &[]]);
    assert_eq!(world.apply("a"), NOTHING);
}

/// Runs show the provider's own name, all of a state shows the namespace before it, and both are understood.
#[test]
fn providers_are_shown_and_found_by_name() {
    let world = World::new();
    let shared = "https://both.example.net/z";
    for name in ["a", "b"] {
        world.publish(name, &at(&0, &[(shared, 1), (name, 1)]));
        let ran = world.run(name, &["apply", "--format", "json", "--provider", "own"]).exits(0).json();
        let changes = ran["targets"].as_array().expect("a list").iter();
        assert!(changes.clone().count() == 2 && changes.clone().all(|change| change["provider"] == "own"), "{ran}");
    }
    let explained = world.run("a", &["explain", shared]).exits(0).says("at provider own");
    explained.says("at provider b:own").says("do nothing: no manifest here speaks for it");
    let status = world.bench.run(&["status", "--format", "json"]).exits(0).json();
    let providers = status["providers"].as_array().expect("a list").iter();
    let counts: Vec<(&Value, &Value)> = providers.map(|row| (&row["provider"], &row["recorded"])).collect();
    assert_eq!(counts, [(&"a:own".into(), &2.into()), (&"b:own".into(), &2.into())]);
    // All of it goes to another state, and nothing is purged anew.
    world.purged();
    let exported = world.bench.run(&["state", "export"]).exits(0).stdout;
    world.bench.write("export", &exported);
    world.bench.run(&["state", "import", "export", "--state", "2.db"]).exits(0);
    for name in ["a", "b"] {
        world.run(name, &["apply", "--state", "2.db"]).exits(0).says("Nothing to do");
    }
    assert_eq!(world.bench.run(&["state", "export", "--state", "2.db"]).exits(0).stdout, exported);
    for (bad, why) in [("A b:own", "provider"), ("a:Own", "provider"), ("a:b:own", "provider"), (":own", "provider")] {
        world.bench.write("bad", exported.replace("\"a:own\"", &format!("{bad:?}")));
        world.bench.run(&["state", "import", "bad", "--state", "3.db"]).exits(2).says(why);
    }
    let forget = |arguments: &[&str]| world.bench.run(&[&["state", "forget"], arguments].concat());
    forget(&["*", "--provider", "owns"]).exits(2).says("did you mean `own`?");
    forget(&["*", "--provider", "own", "--namespace", "c"]).exits(2).says("the state knows no provider `own`");
    forget(&["*/z", "--provider", "own", "--namespace", "b"]).exits(0).says("1 target forgotten");
    forget(&["*/b", "--namespace", "a"]).exits(0).says("0 targets forgotten");
    forget(&["*/z", "--provider", "a:own"]).exits(0).says("1 target forgotten");
    forget(&["*", "--provider", "own"]).exits(0).says("2 targets forgotten");
}

/// What a state of the first format holds comes into a namespace whole.
#[test]
fn a_state_of_the_first_format_comes_into_a_namespace() {
    let bench = Bench::new();
    bench.write(STATE, include_bytes!("golden/states/format-1.db"));
    let before = bench.exported();
    let of = |provider: &str| {
        let rows = before.iter().filter(|row| row["provider"] == provider);
        let line = |row: &Value| match (row["scope"].as_str(), row["target"].as_str().expect("text")) {
            (Some("url"), url) => format!("  - {{url: \"{url}\", hash: rev:2}}\n"),
            (_, id) => format!("  - {{asset_id: {id}, hash: rev:2}}\n"),
        };
        rows.map(line).collect::<String>()
    };
    let providers = "providers:\n  a: {kind: huawei-vod, hosts: [a.example], region: cn-north-4, project_id: 0123456789abcdef0123456789abcdef}\n  \
                     b: {kind: http-purge, hosts: [a.example], endpoints: [\"http://127.0.0.1:6081\", \"http://127.0.0.1:6082\"]}\n";
    bench.write("manifests/a.yaml", format!("name: site\n{providers}provider: a\nassets:\n{}", of("a")));
    bench.write("manifests/b.yaml", format!("provider: b\nassets:\n{}", of("b")));
    let unseen = bench.read(STATE);
    let plan = bench.run(&["plan", "--namespace", "web", "--format", "json"]).exits(0).json();
    let changes = plan["changes"].as_array().expect("a list").len();
    let due = before.iter().filter(|row| row["hash"] != "rev:2").count();
    assert_eq!(changes, due);
    assert!(bench.read(STATE) == unseen, "a look has written");
    bench.run(&["apply", "--namespace", "web", "--only", "none"]).exits(4);
    let after = bench.exported();
    let seen = |row: &Value, prefix: &str| {
        let mut row = row.clone();
        row["provider"] = format!("{prefix}{}", row["provider"].as_str().expect("text")).into();
        // What is refused or waits does so for a configuration, and removals are listed again.
        for key in ["kind", "desired", "standing", "reason", "until_ms", "refused_config", "progress", "waits"] {
            if row["work"].is_object() {
                row["work"][key] = Value::Null;
            }
        }
        row["owners"] = Value::Null;
        row
    };
    assert_eq!(after.len(), before.len());
    for (after, before) in after.iter().zip(&before) {
        assert_eq!(seen(after, ""), seen(before, "web:"));
    }
    bench.run(&["status"]).exits(0).says("`web:a`");
}
