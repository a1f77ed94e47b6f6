//! Programs that print credentials, and hang or are slow while other providers have work.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::time::{Duration, Instant};

use super::{is_recorded, urls};
use crate::support::cli::{Bench, make_pipe};
use crate::support::cloud::{Cloud, KEY_ID, KEY_SECRET};
use crate::support::watching::Watching;

/// A provider `a-hung` whose program prints what comes out of a pipe, beside one that needs no credentials.
fn beside_a_slow_program(slow: &Cloud, good: &Cloud) -> Bench {
    let program = "credentials: {command: [/bin/sh, -c, \"echo asked >> asked; exec cat pipe\"]}\n";
    let bench = Bench::new().provider("a-hung", "tencent-cdn", &slow.url(), program).provider(
        "good",
        "http-purge",
        &good.url(),
        "",
    );
    make_pipe(&bench.path("pipe"));
    bench.assets(&urls(2), "0");
    bench.run(&["adopt"]).exits(0);
    bench
}

/// Waits until the program reads; it hangs for as long as the pipe is open.
fn hold(bench: &Bench) -> File {
    OpenOptions::new().write(true).open(bench.path("pipe")).expect("opened")
}

fn asked(bench: &Bench) -> usize {
    bench.read("asked").map_or(0, |asked| asked.split(|byte| *byte == b'\n').count() - 1)
}

/// L2, W6: what changes goes to the other provider while the program hangs, change after change; the program is neither
/// waited for nor started again meanwhile, and what it prints in the end is used.
#[test]
fn a_hanging_credentials_program_holds_up_no_other_provider() {
    let (slow, good) = (Cloud::of("tencent-cdn"), Cloud::of("http-purge"));
    let bench = beside_a_slow_program(&slow, &good);
    let mut watching = Watching::start(&bench, &[]);
    watching.ends_a_run();
    bench.assets(&urls(2), "1");
    let mut pipe = hold(&bench);
    let run = watching.records(2);
    assert_eq!((&run["pending"], good.purged()), (&2.into(), urls(2)));
    let told = watching.says("provider fails");
    assert!(told["message"].as_str().unwrap().contains("no credentials within 5000 ms"), "{told}");
    assert_eq!(told["provider"], "a-hung");
    for revision in ["2", "3"] {
        bench.assets(&urls(2), revision);
        let run = watching.records(2);
        assert_eq!((&run["calls"], &run["pending"]), (&2.into(), &2.into()));
    }
    assert_eq!((asked(&bench), slow.arrived(), good.purged().len()), (1, 0, 6));
    write!(pipe, r#"{{"key_id":"{KEY_ID}","key_secret":"{KEY_SECRET}"}}"#).expect("read");
    drop(pipe);
    let run = watching.records(2);
    assert_eq!((&run["reason"], &run["pending"]), (&"retry".into(), &0.into()));
    watching.says("in order again");
    assert_eq!((asked(&bench), good.arrived()), (1, 6), "started once");
    watching.stop();
    assert!(is_recorded(&bench, 4, "3"));
}

/// C14: a program that is stopped takes along what it has started, or each try at a provider would leave something behind.
#[test]
fn what_a_credentials_program_has_started_ends_with_it() {
    let cloud = Cloud::of("tencent-cdn");
    let hanging = "credentials: {command: [/bin/sh, -c, \"cat pipe > /dev/null; echo late\"]}\n";
    let bench = Bench::new().provider("own", "tencent-cdn", &cloud.url(), hanging);
    make_pipe(&bench.path("pipe"));
    bench.assets(&urls(1), "1");
    let mut watching = Watching::start(&bench, &["--purge-all"]);
    let mut pipe = hold(&bench);
    watching.says("provider fails");
    watching.stop();
    let end = Instant::now() + Duration::from_mins(1);
    while pipe.write_all(b" ").is_ok() {
        assert!(Instant::now() < end, "somebody still reads");
    }
}

/// W6: a program that fails is started once a run, and left in peace by the runs that others have meanwhile.
#[test]
fn a_failing_credentials_program_is_asked_once_a_run() {
    let (keyed, good) = (Cloud::of("tencent-cdn"), Cloud::of("http-purge"));
    let failing = "credentials: {command: [/bin/sh, -c, \"echo asked >> asked; exit 1\"]}\n";
    let bench = Bench::new().provider("a-failing", "tencent-cdn", &keyed.url(), failing).provider(
        "good",
        "http-purge",
        &good.url(),
        "",
    );
    bench.assets(&urls(1), "0");
    bench.run(&["adopt"]).exits(0);
    let mut watching = Watching::start(&bench, &[]);
    watching.ends_a_run();
    bench.assets(&urls(1), "1");
    watching.says("ended with exit status 1");
    assert_eq!((asked(&bench), good.arrived()), (1, 1));
    bench.assets(&urls(1), "2");
    watching.records(1);
    let runs = watching.stop();
    let retries = runs.iter().filter(|record| record["message"] == "run begins" && record["reason"] == "retry");
    assert!(asked(&bench) <= 1 + retries.count(), "{runs:?}");
}
