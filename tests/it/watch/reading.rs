//! Files that take long to read.

use std::fs::File;
use std::time::Duration;

use crate::support::cli::Bench;
use crate::support::cloud::{Cloud, Step};
use crate::support::reader::get;
use crate::support::service_manager::ServiceManager;
use crate::support::watching::Watching;

/// More than is hashed in the time of a test, and no space on the disk.
const ENDLESS_BYTES: u64 = 1 << 40;

/// A directory that takes hours to be read.
fn endless(cloud: &Cloud) -> Bench {
    let bench = Bench::at("http-purge", cloud);
    publish_endless(&bench);
    bench
}

fn publish_endless(bench: &Bench) {
    bench.write("public/film.mp4", "");
    let film = File::options().write(true).open(bench.path("public/film.mp4")).expect("a file");
    film.set_len(ENDLESS_BYTES).expect("a file system with holes");
    bench.write("manifests/site.yaml", "base_url: http://cdn.example.com\nsources: [{directory: ../public}]\n");
}

/// A reload is over when all was read for it, not when a run ends that was under way before.
#[test]
fn a_reload_is_not_over_with_the_run_before_it() {
    let cloud = Cloud::of("http-purge");
    let (bench, mut manager) = ServiceManager::of(Bench::at("http-purge", &cloud), Duration::from_millis(100));
    cloud.script([Step::Hold]);
    bench.assets(&["http://cdn.example.com/1"], "1");
    let mut watching = Watching::start(&bench, &[]);
    manager.hears("READY=1");
    cloud.wait_for_hold();
    publish_endless(&bench);
    watching.signal("HUP");
    manager.hears("RELOADING=1");
    cloud.release();
    watching.records(1);
    watching.wait("its own run", |record| record["message"] == "run begins" && record["reason"] == "reload");
    watching.signal("TERM");
    let told = manager.hears("STOPPING=1");
    assert!(!told.contains("READY=1"), "{told}");
    assert_eq!(watching.ended(), Some(0));
}

/// W7: on a disk that hangs a run reads for ever, no other one begins, and the log says so.
#[test]
fn a_run_that_never_ends_reading_is_told() {
    let cloud = Cloud::of("http-purge");
    let bench = Bench::at("http-purge", &cloud);
    bench.assets(&["http://cdn.example.com/1"], "1");
    let mut watching = Watching::start(&bench, &["--listen", "127.0.0.1:0", "--ready-within", "2s"]);
    let told = watching.says("listening at")["message"].as_str().expect("a text").to_owned();
    let at = told.rsplit_once("http://").expect("an address").1.parse().expect("an address");
    watching.records(1);
    assert_eq!(get(at, "/readyz").status, 200);
    publish_endless(&bench);
    let told = watching.says("still reading files after 2 s");
    assert_eq!((&told["level"], told["pass"].is_u64()), (&"WARN".into(), true));
    let ready = get(at, "/readyz");
    assert_eq!(ready.status, 503);
    assert!(ready.body.contains("a run has been reading files since"), "{}", ready.body);
    let metrics = get(at, "/metrics").body;
    assert!(metrics.contains("\nfreshen_run_started_timestamp_seconds 1"), "{metrics}");
    watching.stop();
}

/// C14, W4: a reader is asked to stop, and nothing was sent, so there is nothing to wait for. Meanwhile it shows that it
/// lives, and systemd waits for no first look at everything.
#[test]
fn a_long_first_look_neither_hides_signs_of_life_nor_holds_up_the_end() {
    let cloud = Cloud::of("http-purge");
    let (bench, mut manager) = ServiceManager::of(endless(&cloud), Duration::from_millis(100));
    let mut watching = Watching::start(&bench, &["--listen", "127.0.0.1:0"]);
    let told = watching.says("listening at")["message"].as_str().expect("a text").to_owned();
    watching.says("run begins");
    manager.hears("READY=1");
    (0..3).for_each(|_| drop(manager.hears("WATCHDOG=1")));
    let at = told.rsplit_once("http://").expect("an address").1.parse().expect("an address");
    assert_eq!((get(at, "/healthz").status, get(at, "/readyz").status), (200, 503));
    watching.signal("TERM");
    manager.hears("STOPPING=1");
    watching.says("stopped");
    assert_eq!(watching.ended(), Some(0));
    assert_eq!(cloud.arrived(), 0);
}
