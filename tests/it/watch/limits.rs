//! Systems that refuse to watch.

use std::time::{Duration, Instant};

use super::{is_recorded, recorded, urls};
use crate::support::is_installed;
use crate::support::watching::Watching;

/// Runs with every such call refused, and looks whether changes are found all the same.
fn polls_without(call: &str, error: &str) {
    if !is_installed("strace", "strace") {
        return;
    }
    let (cloud, bench) = recorded(2);
    let (trace, inject) = (format!("trace={call}"), format!("inject={call}:error={error}"));
    // The tracer stands aside: signals go to the program itself.
    let strace = ["-D", "-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
    let watch = ["watch", "--log-format", "json", "--log-level", "debug"];
    let mut watching = Watching::of(bench.wrapped("strace", &strace, &watch).spawn().expect("started"));
    let told = watching.says("looking at files every so often");
    // What is known before any run is of none.
    assert_eq!(told["pass"].as_u64(), (call == "inotify_add_watch").then_some(1));
    assert_eq!(told["level"], "WARN");
    watching.ends_a_run();
    bench.assets(&urls(2), "1");
    let run = watching.records(2);
    assert_eq!((run["reason"].as_str(), cloud.purged().len()), (Some("changed"), 2));
    watching.stop();
    assert!(is_recorded(&bench, 2, "1"));
}

/// C14: folders may be many, and disks slow; a watch that is asked to stop while it begins to watch them stops.
#[test]
fn a_stop_is_heard_while_folders_are_looked_through() {
    if !is_installed("strace", "strace") {
        return;
    }
    let (_cloud, bench) = recorded(1);
    // For each folder.
    let wait = Duration::from_secs(5);
    let delay = &format!("inject=inotify_add_watch:delay_enter={}", wait.as_micros());
    let strace = ["-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=inotify_add_watch", "-e", delay];
    let watch = ["watch", "--log-format", "json", "--log-level", "debug"];
    let mut watching = Watching::of(bench.wrapped("strace", &strace, &watch).spawn().expect("started"));
    watching.says("run begins");
    let told_to_stop = Instant::now();
    watching.signal("TERM");
    let told = watching.wait("the end", |record| record["message"] == "run ended" || record["message"] == "stopped");
    assert_eq!(told["message"], "stopped");
    assert!(told_to_stop.elapsed() < wait, "nobody waited for a folder");
    assert_eq!(watching.ended(), Some(0));
}

/// W5: where the system has no more instances for events, files are looked at every so often, and the log says so.
#[test]
fn without_instances_files_are_looked_at() {
    polls_without("inotify_init1", "EMFILE");
}

/// W5: the same where it refuses one more folder.
#[test]
fn without_watches_files_are_looked_at() {
    polls_without("inotify_add_watch", "ENOSPC");
}
