//! Ways in which files change.

use std::fs;
use std::io::Write;
use std::time::{Duration, Instant};

use super::{is_recorded, recorded, urls, watched};
use crate::support::cli::{Bench, manifest, provider};
use crate::support::cloud::Cloud;
use crate::support::reader::get;
use crate::support::service_manager::ServiceManager;
use crate::support::watching::{Watching, ended};

/// W2: an editor writes beside the file and renames.
#[test]
fn a_file_saved_by_rename_is_purged() {
    let (cloud, bench, mut watching) = watched(3);
    bench.write("manifests/.site.yaml.tmp", manifest(&urls(3), "1"));
    fs::rename(bench.path("manifests/.site.yaml.tmp"), bench.path("manifests/site.yaml")).unwrap();
    watching.records(3);
    assert_eq!(cloud.purged().len(), 3);
    watching.stop();
    assert!(is_recorded(&bench, 3, "1"));
}

/// W2, Y5: a file that is truncated and then written is never taken for one without assets, and what its first half says is
/// never taken for all of it.
#[test]
fn a_file_that_is_truncated_first_removes_nothing() {
    let (cloud, bench, mut watching) = watched(3);
    fs::write(bench.path("manifests/site.yaml"), "").unwrap();
    watching.says("the manifests are not valid");
    fs::write(bench.path("manifests/site.yaml"), "assets:\n  \"http://cdn.exa").unwrap();
    watching.ends_a_run();
    assert_eq!(cloud.arrived(), 0);
    bench.write("manifests/site.yaml", manifest(&urls(3), "1"));
    watching.says("the manifests are valid again");
    watching.records(3);
    assert_eq!(cloud.purged().len(), 3);
    let told = watching.stop();
    let told = |text: &str| told.iter().filter(|record| record["message"].as_str().unwrap().contains(text)).count();
    assert_eq!((told("are not valid"), told("valid again")), (1, 1), "told once");
}

/// W2: half of a file may be valid, and what it lacks would be purged. A slow writer is waited for until it closes the file.
#[test]
fn half_of_a_file_that_is_still_written_purges_nothing() {
    let (cloud, bench) = recorded(16);
    let (bench, mut manager) = ServiceManager::of(bench, Duration::from_secs(2));
    let mut watching = Watching::start(&bench, &[]);
    watching.ends_a_run();
    let text = manifest(&urls(16), "1");
    let half = text.match_indices('\n').nth(text.lines().count() / 2).unwrap().0 + 1;
    let mut file = fs::File::create(bench.path("manifests/site.yaml")).unwrap();
    file.write_all(&text.as_bytes()[..half]).unwrap();
    // Longer than the most that is waited for quiet, by the watch's own clock: a sign of life a second.
    (0..4).for_each(|_| drop(manager.hears("WATCHDOG=1")));
    file.write_all(&text.as_bytes()[half..]).unwrap();
    drop(file);
    assert_eq!(watching.wait("a run", |record| record["message"] == "run ended")["recorded"], 16);
    assert_eq!(cloud.purged().len(), 16);
    watching.stop();
    assert!(is_recorded(&bench, 16, "1"));
}

/// S9: a log that lies in a published directory would be purged with each of its lines.
#[test]
fn a_log_inside_a_published_directory_is_refused() {
    let (cloud, bench) = recorded(1);
    bench.write("public/index.html", "1");
    bench.write("manifests/site.yaml", "base_url: http://cdn.example.com\nsources: [{directory: ../public}]\n");
    let mut command = bench.command(&["watch", "--listen", "127.0.0.1:0"]);
    command.stderr(fs::File::create(bench.path("public/watch.log")).unwrap());
    let mut child = command.spawn().unwrap();
    let log = || String::from_utf8(bench.read("public/watch.log").unwrap()).unwrap();
    let end = Instant::now() + Duration::from_mins(1);
    while !log().contains("the manifests are not valid") && Instant::now() < end {
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(log().contains("standard error goes to `watch.log` in this directory"), "{}", log());
    assert_eq!(cloud.arrived(), 0);
}

/// W4, S9: logs of its own that are left out of what is published are no change each time that they grow.
#[test]
fn logs_beside_published_files_are_no_changes() {
    let cloud = Cloud::of("http-purge");
    let bench = Bench::at("http-purge", &cloud);
    bench.write("public/index.html", "0");
    let sources =
        "base_url: http://cdn.example.com\nsources: [{directory: ../public, exclude: ['*.log', '*.jsonl']}]\n";
    bench.write("manifests/site.yaml", sources);
    bench.write("public/audit.jsonl", "");
    let arguments = ["watch", "--log-level", "debug", "--audit", "public/audit.jsonl", "--listen", "127.0.0.1:0"];
    let mut command = bench.command(&arguments);
    command.stderr(fs::File::create(bench.path("public/watch.log")).unwrap());
    let mut child = command.spawn().unwrap();
    let log = || String::from_utf8(bench.read("public/watch.log").unwrap()).unwrap();
    for change in 1..=6 {
        let end = Instant::now() + Duration::from_mins(1);
        while cloud.purged().len() < change && Instant::now() < end {
            std::thread::yield_now();
        }
        bench.write("public/index.html", change.to_string());
    }
    let at = log().split_once("listening at http://").unwrap().1.lines().next().unwrap().parse().unwrap();
    let metrics = get(at, "/metrics").body;
    child.kill().unwrap();
    child.wait().unwrap();
    let events = metrics.lines().find_map(|line| line.strip_prefix("freshen_file_events_total ")).unwrap();
    // Six times a file was truncated, written and closed; each time five lines were logged.
    assert!(events.parse::<u32>().unwrap() <= 18, "{events} events: {}", log());
}

/// W7: each problem is logged once, also one that comes while there is another.
#[test]
fn a_second_problem_is_told_as_well() {
    let (_cloud, bench, mut watching) = watched(1);
    bench.write("manifests/first.yaml", "assets: [");
    watching.says("first.yaml");
    watching.says("the manifests are not valid");
    bench.write("manifests/second.yaml", "assets: [");
    watching.says("second.yaml");
    watching.signal("HUP");
    watching.says("reloading");
    watching.ends_a_run();
    fs::remove_file(bench.path("manifests/first.yaml")).unwrap();
    fs::remove_file(bench.path("manifests/second.yaml")).unwrap();
    watching.says("valid again");
    let told = watching.stop();
    let told = |text: &str| told.iter().filter(|record| record["message"].as_str().unwrap().contains(text)).count();
    assert_eq!((told("first.yaml"), told("second.yaml"), told("are not valid")), (1, 1, 1));
}

/// W7: errors are logged as such and counted, as `check` does; warnings once there is nothing worse.
#[test]
fn warnings_are_no_errors_while_manifests_are_not_valid() {
    let cloud = Cloud::of("http-purge");
    let bench = Bench::at("http-purge", &cloud);
    bench.write("manifests/odd.yaml", manifest(&["http://cdn.example.com/%7eb"], "0"));
    bench.write("manifests/site.yaml", "assets: {\"http://nobody.example.org/\": rev:0}\n");
    let checked = bench.run(&["check", "--format", "json"]).exits(2).json();
    let severities: Vec<_> =
        checked["problems"].as_array().expect("a list").iter().map(|one| &one["severity"]).collect();
    assert_eq!(severities, ["warning", "error"], "{checked:#}");
    let mut watching = Watching::start(&bench, &["--listen", "127.0.0.1:0"]);
    let listens = watching.says("listening at")["message"].as_str().unwrap().to_owned();
    let told = watching.says("the manifests are not valid");
    assert_eq!((&told["problems"], told["message"].as_str().unwrap().contains("; nothing is done")), (&1.into(), true));
    let page = get(listens.rsplit_once('/').expect("an address").1.parse().expect("an address"), "/").body;
    assert!(page.contains("1 problem since ") && page.contains("; nothing is done"), "{page}");
    let odd = |watching: &Watching| {
        let mut seen = watching.seen.iter().filter(|record| record["message"].as_str().unwrap().contains("odd.yaml"));
        seen.next().map(|record| record["level"].clone())
    };
    assert_eq!(odd(&watching), None);
    std::fs::remove_file(bench.path("manifests/site.yaml")).expect("removed");
    watching.records(1);
    assert_eq!(odd(&watching), Some("WARN".into()));
    watching.stop();
}

/// W2: as Kubernetes mounts a ConfigMap.
#[test]
fn a_swapped_config_map_is_purged() {
    use std::os::unix::fs::symlink;
    let cloud = Cloud::of("http-purge");
    let bench = Bench::new();
    for (folder, revision) in [("..1", "1"), ("..2", "2"), ("..3", "3")] {
        bench.write(&format!("config/{folder}/site.yaml"), manifest(&urls(2), revision));
        bench.write(&format!("config/{folder}/own.yaml"), provider("own", "http-purge", &cloud.url(), ""));
    }
    let swap = |to: &str| {
        symlink(to, bench.path("config/..data_tmp")).unwrap();
        fs::rename(bench.path("config/..data_tmp"), bench.path("config/..data")).unwrap();
    };
    swap("..1");
    for file in ["site.yaml", "own.yaml"] {
        symlink(format!("..data/{file}"), bench.path("config").join(file)).unwrap();
    }
    bench.run(&["adopt", "config"]).exits(0);
    let mut watching = Watching::start(&bench, &["config"]);
    watching.ends_a_run();
    for revision in ["2", "3"] {
        swap(&format!("..{revision}"));
        watching.records(2);
        fs::remove_dir_all(bench.path(&format!("config/..{}", revision.parse::<u32>().unwrap() - 1))).unwrap();
    }
    assert_eq!(cloud.purged().len(), 4);
    watching.stop();
    assert!(is_recorded(&bench, 2, "3"));
}

/// W3, D4: a folder that is gone removes nothing; once it is there again it is read, and watched.
#[test]
fn a_folder_that_is_gone_and_comes_back_is_watched() {
    let (cloud, bench, mut watching) = watched(2);
    for revision in ["1", "2"] {
        fs::rename(bench.path("manifests"), bench.path("aside")).unwrap();
        watching.says("the manifests are not valid");
        assert_eq!(cloud.count(), 0);
        let own = fs::read(bench.path("aside/provider-own.yaml")).unwrap();
        fs::remove_dir_all(bench.path("aside")).unwrap();
        bench.write("manifests/provider-own.yaml", own);
        bench.write("manifests/site.yaml", manifest(&urls(2), revision));
        watching.says("valid again");
        watching.records(2);
        assert_eq!(cloud.count(), 2);
    }
    watching.stop();
    assert!(is_recorded(&bench, 2, "2"));
}

/// W4: a checkout of a hundred files is few runs, and each purge is sent once.
#[test]
fn a_hundred_files_at_once_are_few_runs() {
    let cloud = Cloud::of("http-purge");
    let bench = Bench::at("http-purge", &cloud);
    let write = |revision: &str| {
        for (index, url) in urls(100).iter().enumerate() {
            bench.write(&format!("manifests/{}/{index}.yaml", index % 7), manifest(&[url], revision));
        }
    };
    write("0");
    bench.run(&["adopt"]).exits(0);
    let mut watching = Watching::start(&bench, &[]);
    watching.ends_a_run();
    write("1");
    let mut recorded = 0;
    while recorded < 100 {
        recorded += watching.wait("a run", |record| record["recorded"].is_u64())["recorded"].as_u64().unwrap();
    }
    assert_eq!((recorded, cloud.purged().len()), (100, 100));
    watching.stop();
    assert!(is_recorded(&bench, 100, "1"));
}

/// Files that are added and removed, and with them their assets.
#[test]
fn added_and_removed_files_are_purged() {
    let (cloud, bench, mut watching) = watched(2);
    let more = ["http://cdn.example.com/more"];
    bench.write("manifests/deep/er/more.yaml", manifest(&more, "1"));
    watching.records(1);
    fs::remove_file(bench.path("manifests/deep/er/more.yaml")).unwrap();
    watching.records(1);
    assert_eq!(cloud.purged(), [more[0], more[0]]);
    watching.stop();
    assert!(is_recorded(&bench, 2, "0"));
}

/// Sources are watched as well, from the moment on that a manifest names them.
#[test]
fn directories_and_checksum_lists_are_watched() {
    let (cloud, bench, mut watching) = watched(1);
    bench.write("public/blog/index.html", "one");
    bench.write("public/a.js", "one");
    bench.write("lists/SHA256SUMS", format!("{}  b.css\n", "0".repeat(64)));
    let sources =
        "base_url: http://cdn.example.com/\nsources:\n  - directory: ../public\n  - checksums: ../lists/SHA256SUMS\n";
    bench.write("manifests/built.yaml", sources);
    watching.records(3);
    bench.write("public/blog/index.html", "two");
    watching.records(1);
    bench.write("lists/SHA256SUMS.new", format!("{}  b.css\n", "1".repeat(64)));
    fs::rename(bench.path("lists/SHA256SUMS.new"), bench.path("lists/SHA256SUMS")).unwrap();
    watching.records(1);
    bench.write("public/new/folder/c.js", "one");
    watching.records(1);
    assert_eq!(cloud.purged().len(), 6);
    watching.stop();
}

/// As rsync writes: beside the file, under a name of its own, and renamed; a published folder behind a link included.
#[test]
fn files_that_are_transferred_are_purged_once_and_nothing_else_is() {
    let (cloud, bench, mut watching) = watched(1);
    bench.write("public/v1/index.html", "0");
    bench.write("public/v1/a.js", "0");
    std::os::unix::fs::symlink("v1", bench.path("public/stable")).unwrap();
    bench.write("manifests/built.yaml", "base_url: http://cdn.example.com/\nsources: [{directory: ../public}]\n");
    watching.records(4);
    let before = cloud.log().len();
    let transfer = |name: &str, content: &str, end: bool| {
        let beside = bench.path(&format!("public/v1/.{name}.Ab12Cd"));
        fs::write(&beside, content).unwrap();
        if end {
            fs::rename(beside, bench.path(&format!("public/v1/{name}"))).unwrap();
        }
    };
    // One is still under way when the others are purged.
    transfer("new.css", "1", false);
    transfer("index.html", "1", true);
    transfer("a.js", "1", true);
    watching.records(4);
    transfer("new.css", "1", true);
    watching.records(2);
    let mut purged: Vec<String> = cloud.log()[before..].iter().map(|purged| purged.target.text.clone()).collect();
    purged.sort();
    let names = ["stable/a.js", "stable/index.html", "stable/new.css", "v1/a.js", "v1/index.html", "v1/new.css"];
    assert_eq!(purged, names.map(|name| format!("http://cdn.example.com/{name}")));
    watching.stop();
}

/// What freshen writes itself is no change, wherever the state lies.
#[test]
fn the_state_does_not_trigger_runs() {
    for state in [".freshen/state.db", "manifests/state.db"] {
        let cloud = Cloud::of("http-purge");
        let bench = Bench::at("http-purge", &cloud);
        bench.assets(&urls(3), "1");
        let mut watching = Watching::start(&bench, &["--state", state, "."]);
        watching.records(3);
        bench.assets(&urls(3), "2");
        watching.records(3);
        bench.assets(&urls(3), "3");
        watching.records(3);
        let told = watching.stop();
        let reasons: Vec<_> = told.iter().filter(|record| record["message"] == "run begins").collect();
        // The last purges may be followed by a look at files that were closed a moment after they were read.
        assert!((3..=5).contains(&reasons.len()), "{state}: {reasons:#?}");
    }
}

/// A directory of so many files that is published and recorded.
fn published(files: usize) -> (Cloud, Bench) {
    let cloud = Cloud::of("http-purge");
    let bench = Bench::at("http-purge", &cloud);
    (0..files).for_each(|file| bench.write(&format!("public/{file}.txt"), "content"));
    bench.write("manifests/site.yaml", "base_url: http://cdn.example.com/\nsources: [{directory: ../public}]\n");
    bench.run(&["adopt"]).exits(0);
    (cloud, bench)
}

/// Removes some of them, beside and put back, so that no run sees half of it.
fn remove(bench: &Bench, files: std::ops::Range<usize>) {
    fs::rename(bench.path("public"), bench.path("aside")).expect("renamed");
    files.for_each(|file| fs::remove_file(bench.path(&format!("aside/{file}.txt"))).expect("removed"));
    fs::rename(bench.path("aside"), bench.path("public")).expect("renamed");
}

/// D4, C11: a directory that is emptied little by little is refused as one that is emptied at once, however long that takes,
/// until somebody else says that it is meant.
#[test]
fn a_directory_that_is_emptied_slowly_is_refused() {
    let (cloud, bench) = published(40);
    let mut watching = Watching::start(&bench, &["--resync", "100ms"]);
    watching.ends_a_run();
    remove(&bench, 0..10);
    watching.records(10);
    remove(&bench, 10..20);
    watching.says("20 of its 40 recorded targets are no longer listed, 10 of them since earlier runs");
    watching.ends_a_run();
    watching.ends_a_run();
    assert_eq!(cloud.arrived(), 10);
    bench.run(&["apply", "--allow-removals"]).exits(0);
    watching.says("nothing is refused any more");
    remove(&bench, 20..30);
    watching.records(10);
    assert_eq!(cloud.arrived(), 30);
    watching.stop();
}

/// W1: where events do not work files are looked at; and without any hint a rescan finds what changed.
#[test]
fn changes_are_found_without_events() {
    for arguments in [["--poll=50ms", "--resync=1h"], ["--poll=1h", "--resync=100ms"]] {
        let (cloud, bench) = recorded(2);
        let mut watching = Watching::start(&bench, &arguments);
        let told = watching.says("looking at files every so often");
        assert_eq!(told["level"], "INFO", "it was asked for");
        watching.ends_a_run();
        bench.assets(&urls(2), "1");
        watching.records(2);
        assert_eq!(cloud.purged().len(), 2);
        watching.stop();
    }
}

/// A duration that stands apart is no path of manifests, unless there is one.
#[test]
fn a_duration_apart_from_poll_is_named() {
    let (_cloud, bench) = recorded(1);
    let mut child = bench.start(&["watch", "--poll", "30s"]);
    let told = child.stderr.take().expect("a pipe");
    assert_eq!(ended(&mut child), Some(2));
    let told = std::io::read_to_string(told).expect("text");
    assert!(told.contains("there is no `30s`; for a duration write `--poll=30s`"), "{told}");
    std::fs::rename(bench.path("manifests"), bench.path("30s")).expect("renamed");
    let mut watching = Watching::start(&bench, &["--poll", "30s"]);
    watching.ends_a_run();
    watching.stop();
}

/// C11: a directory that is emptied in slices stays refused, whatever commands use the same state meanwhile.
#[test]
fn an_unrelated_command_lifts_no_refusal() {
    let (cloud, bench) = published(40);
    bench.write("other/provider.yaml", bench.read("manifests/provider-own.yaml").unwrap());
    bench.write("other/site.yaml", manifest(&["http://cdn.example.com/unrelated"], "1"));
    let mut watching = Watching::start(&bench, &["--resync", "100ms"]);
    watching.ends_a_run();
    remove(&bench, 0..10);
    watching.records(10);
    remove(&bench, 10..20);
    watching.says("20 of its 40 recorded targets are no longer listed, 10 of them since earlier runs");
    watching.ends_a_run();
    bench.run(&["apply", "other"]).exits(0);
    (0..8).for_each(|_| drop(watching.ends_a_run()));
    assert_eq!(cloud.arrived(), 11, "ten that were let through and the unrelated one");
    bench.run(&["apply", "--allow-removals"]).exits(0);
    watching.says("nothing is refused any more");
    watching.stop();
    assert_eq!(cloud.arrived(), 21);
}
