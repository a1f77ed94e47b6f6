//! Which manifest may speak for a target: names of manifests, what is gone, what was refused, namespaces.

mod moves;

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::support::cli::{Bench, Ran, STATE, manifest};
use crate::support::cloud::{Cloud, Step};

fn url(name: &str) -> String {
    format!("https://cdn.example.com/{name}")
}

/// A manifest that lists these, each with its revision.
fn listing(assets: &[(&str, u32)]) -> String {
    let line = |(name, revision): &(&str, u32)| format!("  {}: rev:{revision}\n", url(name));
    format!("assets:\n{}", assets.iter().map(line).collect::<String>())
}

struct Site {
    cloud: Cloud,
    bench: Bench,
    /// How many purges were asked about.
    seen: Cell<usize>,
}

impl Site {
    fn new() -> Self {
        let cloud = Cloud::of("tencent-cdn");
        let bench = Bench::at("tencent-cdn", &cloud);
        Self { cloud, bench, seen: Cell::new(0) }
    }

    /// Runs in a folder of its own, with the usual state.
    fn run_in(&self, folder: &Path, arguments: &[&str]) -> Ran {
        let state = self.bench.path(STATE);
        let state = ["--state", state.to_str().expect("UTF-8")];
        let mut command = self.bench.command(&[arguments, &state].concat());
        Ran::of(&command.current_dir(folder).output().expect("started"))
    }

    /// What was purged since the last question, by name and in order.
    fn purged(&self) -> Vec<String> {
        let log = self.cloud.log();
        let new = log.iter().skip(self.seen.replace(log.len()));
        let name = |text: &String| text.rsplit('/').next().unwrap_or_default().to_owned();
        let mut names: Vec<String> = new.map(|purged| name(&purged.target.text)).collect();
        names.sort();
        names
    }

    fn remove(&self, file: &str) {
        fs::remove_file(self.bench.path(file)).expect("removed");
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.bench.path(from), self.bench.path(to)).expect("renamed");
    }

    /// Has this file hold `text`, and `at` lead there, or be it.
    fn place(&self, at: &str, file: &str, text: &str) {
        drop(fs::remove_file(self.bench.path(at)));
        self.bench.write(file, text);
        if at != file {
            symlink(self.bench.path(file), self.bench.path(at)).expect("linked");
        }
    }

    /// Names of the manifests that the state knows.
    fn manifests(&self) -> Vec<String> {
        let state = rusqlite::Connection::open(self.bench.path(STATE)).expect("opened");
        let mut names = state.prepare("SELECT name FROM manifest ORDER BY name").expect("a table");
        let names = names.query_map([], |row| row.get(0)).expect("read");
        names.collect::<Result<_, _>>().expect("texts")
    }
}

/// Wherever a run begins and whatever leads to the files, a manifest is the same one: what is removed from it is purged, and
/// nothing else.
#[test]
fn a_manifest_is_the_same_one_wherever_it_is_read_from() {
    let ways: [(&str, &[&str]); 8] = [
        (".", &["manifests"]),
        ("manifests", &["."]),
        ("elsewhere", &["../manifests"]),
        ("/", &["ABSOLUTE/manifests"]),
        ("/", &["ABSOLUTE/link"]),
        (".", &["manifests/site.yaml", "manifests/provider-own.yaml"]),
        ("elsewhere", &["ABSOLUTE/current/manifests"]),
        ("checkouts/2", &["manifests"]),
    ];
    for first in 0..ways.len() {
        for second in [(first + 1) % ways.len(), (first + 3) % ways.len()] {
            let site = Site::new();
            let root = site.bench.path(".").canonicalize().expect("a folder");
            let write = |text: &str| {
                for folder in ["manifests", "checkouts/1/manifests", "checkouts/2/manifests"] {
                    let provider = site.bench.read("manifests/provider-own.yaml").expect("a provider");
                    site.bench.write(&format!("{folder}/provider-own.yaml"), provider);
                    site.bench.write(&format!("{folder}/site.yaml"), text);
                }
            };
            fs::create_dir(root.join("elsewhere")).expect("made");
            symlink("manifests", root.join("link")).expect("linked");
            symlink("checkouts/1", root.join("current")).expect("linked");
            let run = |verb: &str, (folder, paths): (&str, &[&str])| {
                let absolute = root.to_str().expect("UTF-8");
                let paths: Vec<String> = paths.iter().map(|path| path.replace("ABSOLUTE", absolute)).collect();
                let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
                site.run_in(&root.join(folder), &[&[verb], &paths[..]].concat())
            };
            write(&listing(&[("kept", 1), ("gone", 1)]));
            run("apply", ways[first]).exits(0);
            run("adopt", ways[second]).exits(0);
            site.purged();
            write(&listing(&[("kept", 1)]));
            run("apply", ways[first]).exits(0);
            assert_eq!(site.purged(), ["gone"], "{:?} and {:?}", ways[first], ways[second]);
            run("apply", ways[second]).exits(0).says("Nothing to do");
        }
    }
}

/// Owners are noted with their manifests also by a run that a guard refuses: what is taken back leaves nothing, and holds
/// nothing that others give up.
#[test]
fn what_a_refused_run_saw_can_be_spoken_for() {
    let site = Site::new();
    site.bench.write("manifests/site.yaml", listing(&[("own", 1), ("shared", 1)]));
    site.bench.run(&["apply"]).exits(0);
    let new = listing(&[("new-1", 1), ("new-2", 1), ("shared", 1)]);
    site.bench.write("manifests/new.yaml", format!("guard: {{max_purges: 1}}\n{new}"));
    site.bench.run(&["apply"]).exits(5);
    assert_eq!(site.bench.due(), [url("new-1"), url("new-2")]);
    site.remove("manifests/new.yaml");
    site.purged();
    site.bench.run(&["apply"]).exits(0);
    assert_eq!((site.bench.due(), site.purged().len()), (Vec::new(), 0));
    site.bench.write("manifests/site.yaml", listing(&[("own", 1)]));
    site.bench.run(&["apply"]).exits(0);
    assert_eq!(site.purged(), ["shared"]);
    assert_eq!(site.manifests(), ["manifests/provider-own.yaml", "manifests/site.yaml"]);
}

/// The same for a plan that is not the reviewed one.
#[test]
fn what_an_unexpected_plan_saw_can_be_spoken_for() {
    let site = Site::new();
    site.bench.write("manifests/site.yaml", listing(&[("a", 1)]));
    site.bench.run(&["apply"]).exits(0);
    site.bench.write("manifests/new.yaml", listing(&[("b", 1)]));
    site.bench.run(&["apply", "--expect", "0"]).exits(5);
    site.rename("manifests/new.yaml", "manifests/other.yaml");
    site.bench.write("manifests/other.yaml", listing(&[("c", 1)]));
    site.purged();
    site.bench.run(&["apply"]).exits(0);
    assert_eq!((site.purged(), site.bench.due()), (vec!["c".to_owned()], Vec::new()));
}

/// A name that is taken back after a refused run under another one loses nothing.
#[test]
fn a_name_that_comes_back_after_a_refusal_keeps_its_targets() {
    let site = Site::new();
    let write = |name: &str, assets: &[(&str, u32)]| {
        site.bench.write(&format!("manifests/{name}.yaml"), format!("guard: {{max_purges: 2}}\n{}", listing(assets)));
    };
    write("site", &[("x", 1), ("y", 1), ("z", 1)]);
    site.bench.run(&["apply", "--max-purges", "9"]).exits(0);
    site.remove("manifests/site.yaml");
    write("www", &[("x", 2), ("y", 2), ("z", 2)]);
    site.bench.run(&["apply"]).exits(5);
    site.rename("manifests/www.yaml", "manifests/site.yaml");
    site.bench.run(&["apply", "--max-purges", "9"]).exits(0);
    site.purged();
    write("site", &[("x", 2), ("y", 2)]);
    site.bench.run(&["apply"]).exits(0);
    assert_eq!(site.purged(), ["z"]);
}

/// A manifest given as a file and renamed: no run covers the folder, so each says what nobody speaks for, and how to go on.
#[test]
fn what_nobody_speaks_for_is_said_by_each_run_until_it_is_purged_or_forgotten() {
    for way in ["--vanished", "forget", "folder"] {
        let site = Site::new();
        let provider = "manifests/provider-own.yaml";
        site.bench.write("manifests/old.yaml", listing(&[("kept", 1), ("given-up", 1), ("lost", 1)]));
        site.bench.run(&["apply", provider, "manifests/old.yaml"]).exits(0);
        site.rename("manifests/old.yaml", "manifests/new.yaml");
        site.bench.write("manifests/new.yaml", listing(&[("kept", 1), ("given-up", 1)]));
        let run = |more: &[&str]| site.bench.run(&[&["apply", provider, "manifests/new.yaml"], more].concat());
        site.purged();
        for _ in 0..2 {
            let said = run(&[]).exits(4).says("1 target of manifest `manifests/old.yaml`");
            said.says("freshen apply --vanished manifests/old.yaml");
        }
        let json = run(&["--format", "json"]).json();
        assert_eq!((json["unclaimed"][0]["targets"].as_u64(), json["exit"].as_u64()), (Some(1), Some(4)));
        site.bench.run(&["plan", provider, "manifests/new.yaml"]).exits(0).says("of manifest `manifests/old.yaml`");
        site.bench.run(&["status"]).exits(0).says("1 target of manifest `manifests/old.yaml`");
        // What the present manifest gives up is not held by one that is gone.
        site.bench.write("manifests/new.yaml", listing(&[("kept", 1)]));
        run(&[]).exits(4);
        assert_eq!(site.purged(), ["given-up"]);
        match way {
            "--vanished" => drop(run(&["--vanished", "manifests/old.yaml"]).exits(0)),
            "folder" => drop(site.bench.run(&["apply"]).exits(0)),
            _ => drop(site.bench.run(&["state", "forget", "*", "--manifest", "manifests/old.yaml"]).exits(0)),
        }
        assert_eq!(site.purged().len(), usize::from(way != "forget"), "{way}");
        run(&[]).exits(0).says("Nothing to do: 1 target recorded");
        assert_eq!(site.manifests(), ["manifests/new.yaml", provider]);
        run(&["--vanished", "manifests/new.yaml"]).exits(2).says("still there");
        run(&["--vanished", "manifests/old.yaml"]).exits(2);
    }
}

/// Vanished is what is not there: not what a folder would not read, nor what is beside it.
#[test]
fn what_is_there_is_not_taken_for_vanished() {
    let site = Site::new();
    let provider =
        String::from_utf8(site.bench.read("manifests/provider-own.yaml").expect("a provider")).expect("text");
    let others = ["manifests/.hidden/a.yaml", "manifests/list.txt", "manifests/.b.yaml", "beside/c.yaml", "d.yaml"];
    for (index, file) in others.into_iter().enumerate() {
        site.bench.write(file, format!("{provider}{}", listing(&[(&format!("of-{index}"), 1)])));
        site.bench.run(&["apply", file]).exits(0);
    }
    fs::create_dir_all(site.bench.path("beside/deep")).expect("made");
    site.purged();
    let deep = site.bench.path("beside/deep");
    site.bench.write("manifests/site.yaml", listing(&[("site", 1)]));
    site.bench.run(&["apply"]).exits(0);
    site.run_in(&deep, &["apply", "../../manifests"]).exits(0).says("Nothing to do");
    assert_eq!(site.purged(), ["site"]);
    for file in others {
        site.bench.run(&["apply", file]).exits(0).says("Nothing to do: 1 target recorded");
    }
    site.remove("manifests/.hidden/a.yaml");
    site.bench.run(&["apply"]).exits(0);
    assert_eq!(site.purged(), ["of-0"]);
}

/// A manifest that went is forgotten with the last of its targets, so that later runs read only what changed.
#[test]
fn manifests_that_own_nothing_any_more_are_forgotten() {
    let site = Site::new();
    site.bench.write("manifests/site.yaml", listing(&[("a", 1)]));
    site.bench.write("manifests/old.yaml", listing(&[("b", 1)]));
    site.bench.run(&["apply"]).exits(0);
    site.remove("manifests/old.yaml");
    site.cloud.always(Some(Step::say(503, "")));
    site.bench.run(&["apply"]).exits(4);
    assert_eq!(site.manifests().len(), 3, "it still owns what is to be purged");
    site.cloud.always(None);
    site.bench.run(&["apply"]).exits(0);
    assert_eq!(site.manifests(), ["manifests/provider-own.yaml", "manifests/site.yaml"]);
}

/// Two repositories whose manifests are called the same share a state by namespaces, and neither can be forgotten to be said.
#[test]
fn namespaces_keep_repositories_apart() {
    let site = Site::new();
    let provider = site.bench.read("manifests/provider-own.yaml").expect("a provider");
    for (repository, asset) in [("one", "a"), ("two", "b")] {
        site.bench.write(&format!("{repository}/manifests/provider-own.yaml"), &provider);
        site.bench.write(&format!("{repository}/manifests/site.yaml"), listing(&[(asset, 1), ("both", 1)]));
    }
    let run = |repository: &str, arguments: &[&str]| site.run_in(&site.bench.path(repository), arguments);
    run("one", &["apply", "--namespace", "one"]).exits(0);
    run("two", &["apply", "--namespace", "two"]).exits(0);
    assert_eq!(site.purged(), ["a", "b", "both", "both"], "each through its own provider");
    for verb in ["apply", "adopt"] {
        run("two", &[verb]).exits(5).says("`--namespace one`, `--namespace two`");
    }
    run("two", &["plan"]).exits(0).says("apply would refuse: this state is used with");
    run("one", &["apply", "--namespace", "a:b"]).exits(2);
    site.bench.write("one/manifests/site.yaml", listing(&[]).replace("assets:", "assets: {}"));
    run("one", &["apply", "--namespace", "one"]).exits(0);
    assert_eq!(site.purged(), ["a", "both"]);
    run("two", &["apply", "--namespace", "two"]).exits(0).says("Nothing to do: 2 targets recorded");
    assert!(site.manifests().iter().all(|name| name.starts_with("one:") || name.starts_with("two:")));
}

/// S5: providers of two repositories may have one name and different accounts: what each has spent stays with it.
#[test]
fn ledgers_of_two_repositories_do_not_move_to_each_other() {
    let site = Site::new();
    let provider =
        String::from_utf8(site.bench.read("manifests/provider-own.yaml").expect("a provider")).expect("UTF-8");
    let other = Cloud::of("tencent-cdn");
    for (repository, assets, cloud) in [("one", &["a", "b"][..], &site.cloud), ("two", &["c"], &other)] {
        let provider = provider.replace(&site.cloud.url(), &cloud.url());
        let named = format!("{provider}    account: {repository}\n");
        site.bench.write(&format!("{repository}/manifests/provider-own.yaml"), named);
        let assets: Vec<_> = assets.iter().map(|&asset| (asset, 1)).collect();
        site.bench.write(&format!("{repository}/manifests/site.yaml"), listing(&assets));
    }
    for round in 1..3 {
        for repository in ["one", "two"] {
            let arguments = ["apply", "--force", "*", "--namespace", repository];
            site.run_in(&site.bench.path(repository), &arguments).exits(0);
        }
        let quota = site.bench.run(&["status", "--format", "json"]).exits(0).json()["quota"].clone();
        let quota = quota.as_array().expect("a list");
        let used: Vec<_> = quota.iter().map(|row| (row["account"].clone(), row["used"].as_u64())).collect();
        let expected = [("account one".into(), Some(2 * round)), ("account two".into(), Some(round))];
        assert_eq!(used, expected);
    }
}

/// A state comes into a namespace as it is.
#[test]
fn a_namespace_takes_over_what_was_known_without_one() {
    let site = Site::new();
    site.bench.write("manifests/site.yaml", listing(&[("a", 1), ("b", 1)]));
    site.bench.run(&["apply"]).exits(0);
    site.purged();
    site.bench.write("manifests/site.yaml", listing(&[("a", 1)]));
    site.bench.run(&["apply", "--namespace", "web"]).exits(0);
    assert_eq!(site.purged(), ["b"]);
    assert_eq!(site.manifests(), ["web:manifests/provider-own.yaml", "web:manifests/site.yaml"]);
}

/// Without a namespace another repository's manifest of the same name purges nothing of the first one's.
#[test]
fn another_manifest_of_the_same_name_is_refused() {
    let site = Site::new();
    let provider = site.bench.read("manifests/provider-own.yaml").expect("a provider");
    for (repository, asset) in [("one", "a"), ("two", "b")] {
        site.bench.write(&format!("{repository}/manifests/provider-own.yaml"), &provider);
        site.bench.write(&format!("{repository}/manifests/site.yaml"), manifest(&[url(asset)], "1"));
    }
    let run = |repository: &str, more: &[&str]| site.run_in(&site.bench.path(repository), &[&["apply"], more].concat());
    run("one", &[]).exits(0);
    for arguments in [&["apply"][..], &["adopt"], &["apply", "--only", "*/b"], &["apply"]] {
        let refused = site.run_in(&site.bench.path("two"), arguments).exits(5);
        refused.says("one/manifests/site.yaml` before, where it still is");
    }
    assert_eq!(site.purged(), ["a"]);
    run("one", &[]).exits(0);
    run("two", &["--allow-removals"]).exits(0);
    assert_eq!(site.purged(), ["a", "b"]);
}

/// A release whose folder holds the next checkout: manifests that are not in it any more have vanished, whether or not the
/// folder before is kept.
#[test]
fn a_manifest_that_is_not_in_the_next_checkout_has_vanished() {
    for keeps in [true, false] {
        let site = Site::new();
        let provider = site.bench.read("manifests/provider-own.yaml").expect("a provider");
        for release in ["1", "2"] {
            site.bench.write(&format!("{release}/manifests/provider-own.yaml"), &provider);
            site.bench.write(&format!("{release}/manifests/site.yaml"), listing(&[("site", 1)]));
        }
        site.bench.write("1/manifests/old.yaml", listing(&[("old", 1)]));
        site.run_in(&site.bench.path("1"), &["apply"]).exits(0);
        if !keeps {
            fs::remove_dir_all(site.bench.path("1")).expect("removed");
        }
        site.purged();
        site.run_in(&site.bench.path("2"), &["apply"]).exits(0);
        assert_eq!(site.purged(), ["old"]);
        site.run_in(&site.bench.path("2"), &["apply"]).exits(0).says("Nothing to do");
    }
}

/// What vanished with the next checkout stays so until it is purged: after a failure, after a run over some files alone, and
/// after an `adopt`.
#[test]
fn what_vanished_with_a_checkout_is_purged_however_its_first_run_ends() {
    for first in [&["apply"][..], &["apply", "--only", "*/a"], &["adopt"], &["apply", "manifests/provider-own.yaml"]] {
        let site = Site::new();
        let provider = site.bench.read("manifests/provider-own.yaml").expect("a provider");
        let provider = format!("{}{}", String::from_utf8_lossy(&provider), listing(&[("a", 1)]));
        for release in ["1", "2"] {
            site.bench.write(&format!("{release}/manifests/provider-own.yaml"), &provider);
        }
        site.bench.write("1/manifests/old.yaml", listing(&[("old", 1)]));
        site.run_in(&site.bench.path("1"), &["apply"]).exits(0);
        let second = site.bench.path("2");
        site.cloud.always(Some(Step::say(503, "")));
        let ran =
            site.run_in(&second, &[first, &["--deadline", "1s"][..2 * usize::from(first[0] == "apply")]].concat());
        assert!([0, 4].contains(&ran.status), "{ran:?}");
        site.cloud.always(None);
        site.purged();
        site.run_in(&second, &["apply"]).exits(0);
        assert_eq!(site.purged(), ["old"], "{first:?}");
        site.run_in(&second, &["apply"]).exits(0).says("Nothing to do");
    }
}

/// A file that moves to another repository takes nothing of the one that it leaves along.
#[test]
fn a_manifest_that_changes_its_repository_takes_no_other_along() {
    let site = Site::new();
    let provider = site.bench.read("manifests/provider-own.yaml").expect("a provider");
    site.bench.write("1/manifests/api.yaml", [&provider[..], listing(&[("api", 1)]).as_bytes()].concat());
    site.bench.write("1/manifests/site.yaml", listing(&[("site", 1)]));
    site.run_in(&site.bench.path("1"), &["apply"]).exits(0);
    site.bench.write("2/manifests/provider-own.yaml", &provider);
    site.rename("1/manifests/site.yaml", "2/manifests/site.yaml");
    site.purged();
    for folder in ["2", "1", "2"] {
        site.run_in(&site.bench.path(folder), &["apply"]).exits(0).says("Nothing to do");
    }
    assert!(site.purged().is_empty());
}

/// What vanished before a namespace was given, or is known by an import alone, has a voice in the namespace.
#[test]
fn what_vanished_is_spoken_for_in_a_namespace() {
    let namespace = ["--namespace", "web"];
    let site = Site::new();
    site.bench.write("manifests/old.yaml", listing(&[("kept", 1), ("lost", 1)]));
    site.bench.run(&["apply"]).exits(0);
    site.rename("manifests/old.yaml", "manifests/new.yaml");
    site.bench.write("manifests/new.yaml", listing(&[("kept", 1)]));
    site.purged();
    site.bench.run(&[&["apply"], &namespace[..]].concat()).exits(0);
    assert_eq!(site.purged(), ["lost"]);
    let exported = site.bench.run(&["state", "export"]).exits(0).stdout;
    site.bench.write("export", exported);
    site.bench.run(&["state", "import", "--state", "2.db", "export"]).exits(0);
    site.remove("manifests/new.yaml");
    site.bench.run(&[&["apply", "--state", "2.db"], &namespace[..]].concat()).exits(0);
    assert_eq!(site.purged(), ["kept"]);
}

/// S1, R7: a link leads to another file than before, and the first one is kept.
#[test]
fn what_a_manifest_behind_a_link_lists_no_more_is_purged() {
    let at = "manifests/site.yaml";
    let ways: [&[&str]; 2] = [&["apply"], &["apply", "manifests/provider-own.yaml", at]];
    for (is_repository, first, second) in [
        (false, "store/1.yaml", "store/2.yaml"),
        (true, "store/1/site.yaml", "store/2/site.yaml"),
        (false, at, "store/x.yaml"),
        (false, "store/x.yaml", at),
        (false, at, "manifests/site-2.yaml"),
    ] {
        for way in ways {
            let site = Site::new();
            if is_repository {
                fs::create_dir(site.bench.path(".git")).expect("made");
            }
            site.place(at, first, &listing(&[("kept", 1), ("gone", 1)]));
            site.bench.run(way).exits(0);
            site.purged();
            site.place(at, second, &listing(&[("kept", 1)]));
            site.bench.run(way).exits(0);
            assert_eq!(site.purged(), ["gone"], "{first} and {second}, {way:?}");
            site.bench.run(way).exits(0).says("Nothing to do: 1 target recorded");
        }
    }
}

/// S1, R7: manifests that links enable.
#[test]
fn what_a_link_that_was_deleted_listed_is_purged_or_named() {
    for way in [&["apply"][..], &["apply", "manifests/provider-own.yaml", "--vanished", "shop.yaml"]] {
        let site = Site::new();
        site.place("manifests/shop.yaml", "available/shop.yaml", &listing(&[("gone", 1)]));
        site.bench.run(&["apply"]).exits(0);
        site.purged();
        site.bench.run(&[way, &["--vanished", "shop.yaml"][..2 * usize::from(way.len() == 1)]].concat()).exits(2);
        site.remove("manifests/shop.yaml");
        let gone = "manifests/shop.yaml` is not there any more";
        site.bench.run(&["status"]).exits(0).says(gone);
        site.bench.run(&["apply", "manifests/provider-own.yaml"]).exits(4).says(gone);
        site.bench.run(way).exits(0);
        assert_eq!(
            (site.purged(), site.manifests()),
            (vec!["gone".to_owned()], vec!["manifests/provider-own.yaml".to_owned()])
        );
    }
}

/// S1, R7: releases side by side in one repository, by a link to the present one.
#[test]
fn what_the_next_release_behind_a_link_lists_no_more_is_purged() {
    for (is_inside, path) in [(false, "current"), (true, "."), (true, "../current/../1/../current")] {
        let site = Site::new();
        let provider = site.bench.read("manifests/provider-own.yaml").expect("a provider");
        fs::create_dir(site.bench.path(".git")).expect("made");
        let current = site.bench.path("current");
        let run = || {
            let state = site.bench.path(STATE);
            let mut command = site.bench.command(&["apply", path, "--state", state.to_str().expect("UTF-8")]);
            let folder = if is_inside { current.clone() } else { site.bench.path(".") };
            Ran::of(&command.env("PWD", &folder).current_dir(folder).output().expect("started"))
        };
        for (release, assets) in [("1", &[("kept", 1), ("gone", 1)][..]), ("2", &[("kept", 1)])] {
            site.bench.write(&format!("{release}/provider-own.yaml"), &provider);
            site.bench.write(&format!("{release}/site.yaml"), listing(assets));
            site.bench.write(&format!("{release}/only-{release}.yaml"), listing(&[(release, 1)]));
            drop(fs::remove_file(&current));
            symlink(release, &current).expect("linked");
            site.purged();
            run().exits(0);
        }
        assert_eq!(site.purged(), ["1", "2", "gone"], "{path}");
        run().exits(0).says("Nothing to do: 2 targets recorded");
    }
}

/// Other manifests that are there, by links or without, keep what they list.
#[test]
fn manifests_that_are_both_there_take_nothing_from_each_other() {
    let site = Site::new();
    let provider = site.bench.read("manifests/provider-own.yaml").expect("a provider");
    fs::create_dir(site.bench.path(".git")).expect("made");
    for folder in ["1", "2", "enabled/1", "enabled/2"] {
        site.bench.write(&format!("{folder}/provider-own.yaml"), &provider);
    }
    for release in ["1", "2"] {
        let text = listing(&[(release, 1), ("both", 1)]);
        site.place(&format!("enabled/{release}/site.yaml"), &format!("{release}/site.yaml"), &text);
    }
    for path in ["1", "2", "1", "enabled/1", "enabled/2", "enabled/1", "2"] {
        site.bench.run(&["apply", path]).exits(0);
    }
    assert_eq!(site.purged(), ["1", "2", "both"]);
}

/// Another repository of the same state is deleted. Its manifest had a name, and the path of one that is there.
#[test]
fn what_is_gone_elsewhere_is_named_by_runs_without_work_too() {
    let site = Site::new();
    let provider =
        String::from_utf8(site.bench.read("manifests/provider-own.yaml").expect("a provider")).expect("text");
    for name in ["one", "two"] {
        let text = format!("name: {name}\n{provider}{}", listing(&[(name, 1)]));
        site.bench.write(&format!("{name}/manifests/site.yaml"), text);
        site.run_in(&site.bench.path(name), &["apply"]).exits(0);
    }
    site.run_in(&site.bench.path("two"), &["apply"]).exits(0).says("Nothing to do");
    fs::remove_dir_all(site.bench.path("one")).expect("removed");
    let gone = "1 target of manifest `one`";
    site.bench.run(&["status"]).exits(0).says(gone);
    for _ in 0..2 {
        site.run_in(&site.bench.path("two"), &["apply"]).exits(4).says(gone);
    }
}

/// A link that was moved on before the run that it was moved for: also where that run has no work.
#[test]
fn a_link_that_moves_to_what_was_read_before_is_noticed() {
    let site = Site::new();
    fs::create_dir(site.bench.path(".git")).expect("made");
    let provider = site.bench.read("manifests/provider-own.yaml").expect("a provider");
    for (release, assets) in [("1", &[("kept", 1), ("gone", 1)][..]), ("2", &[("kept", 1)])] {
        site.bench.write(&format!("{release}/site.yaml"), [&provider[..], listing(assets).as_bytes()].concat());
    }
    symlink("1", site.bench.path("current")).expect("linked");
    for path in ["current", "2", "2"] {
        site.bench.run(&["apply", path]).exits(0);
    }
    assert_eq!(site.purged(), ["gone", "kept"]);
    fs::remove_file(site.bench.path("current")).expect("removed");
    symlink("2", site.bench.path("current")).expect("linked");
    site.bench.run(&["apply", "2"]).exits(0);
    assert_eq!(site.purged(), ["gone"]);
}

/// Copies whose roots differ may be other repositories. One that keeps some targets and lists others no more is named.
#[test]
fn a_copy_of_another_root_is_named_where_it_shares_targets() {
    for (shared, status) in [("kept", 4), ("other", 0)] {
        let site = Site::new();
        let provider = site.bench.read("manifests/provider-own.yaml").expect("a provider");
        let write = |folder: &str, assets: &[(&str, u32)]| {
            site.bench.write(&format!("{folder}/x.yaml"), [&provider[..], listing(assets).as_bytes()].concat());
        };
        fs::create_dir(site.bench.path("1")).and_then(|()| fs::create_dir(site.bench.path("1/.git"))).expect("made");
        write("1/conf", &[("kept", 1), ("gone", 1)]);
        write("2/conf", &[(shared, 1)]);
        site.run_in(&site.bench.path("1"), &["apply", "conf"]).exits(0);
        let second = site.bench.path("2");
        for _ in 0..2 {
            site.run_in(&second, &["apply", "conf"]).exits(status);
        }
        if status == 4 {
            let said = site.run_in(&second, &["plan", "conf"]).exits(0);
            said.says("if `conf/x.yaml` is in a copy of its tree").says("freshen apply --vanished conf/x.yaml");
            site.purged();
            site.run_in(&second, &["apply", "conf", "--vanished", "conf/x.yaml"]).exits(0);
            assert_eq!(site.purged(), ["gone"]);
        }
        site.run_in(&second, &["apply", "conf"]).exits(0).says("Nothing to do");
    }
}

/// Two files of one tree with one name, run in turn, take nothing from each other.
#[test]
fn two_files_of_one_name_are_refused_when_they_run_in_turn() {
    let site = Site::new();
    let provider =
        String::from_utf8(site.bench.read("manifests/provider-own.yaml").expect("a provider")).expect("text");
    for name in ["a", "b"] {
        site.bench.write(&format!("files/{name}.yaml"), format!("name: site\n{provider}{}", listing(&[(name, 1)])));
    }
    site.bench.run(&["apply", "files/a.yaml"]).exits(0);
    site.bench.run(&["apply", "files/b.yaml"]).exits(5).says("files/a.yaml` before, where it still is");
    assert_eq!(site.purged(), ["a"]);
}

/// A state of an older program: names as seen from several working directories, and owners that no manifest was noted for.
#[test]
fn owners_of_older_states_are_brought_along() {
    let site = Site::new();
    site.bench.write(STATE, include_bytes!("golden/states/format-2.db"));
    let root = site.bench.path(".").canonicalize().expect("a folder");
    let from_root = root.join("manifests/site.yaml").to_str().expect("UTF-8").trim_start_matches('/').to_owned();
    let target = |name: &str, owners: &str| {
        let url = url(name);
        format!(
            "INSERT INTO target (provider, scope, target, owners, hash) VALUES ('own', 0, '{url}', json_array({owners}), 'rev:1');"
        )
    };
    let manifest = |name: &str| format!("INSERT INTO manifest VALUES ('{name}', '{name}', 'purge');");
    let statements = [
        "DELETE FROM target; DELETE FROM manifest; DELETE FROM call; DELETE FROM quota;".to_owned(),
        manifest("manifests/site.yaml"),
        manifest(&from_root),
        target("kept", "'manifests/site.yaml'"),
        target("seen-from-root", &format!("'manifests/site.yaml', '{from_root}'")),
        target("zombie", "'manifests/taken-back.yaml'"),
    ];
    let state = rusqlite::Connection::open(site.bench.path(STATE)).expect("opened");
    state.execute_batch(&statements.concat()).expect("written");
    drop(state);
    site.bench.write("manifests/site.yaml", listing(&[("kept", 1)]));
    site.bench.run(&["apply"]).exits(0);
    assert_eq!(site.purged(), ["seen-from-root", "zombie"]);
    assert_eq!(site.manifests(), ["manifests/provider-own.yaml", "manifests/site.yaml"]);
}
