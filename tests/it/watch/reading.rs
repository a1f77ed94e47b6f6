//! Files that take long to read.

use std::fs::File;
use std::time::Duration;

use crate::support::cli::Bench;
use crate::support::cloud::Cloud;
use crate::support::reader::get;
use crate::support::service_manager::ServiceManager;
use crate::support::watching::Watching;

/// More than is hashed in the time of a test, and no space on the disk.
const ENDLESS_BYTES: u64 = 1 << 40;

/// A directory that takes hours to be read.
fn endless(cloud: &Cloud) -> Bench {
    let bench = Bench::at("http-purge", cloud);
    bench.write("public/film.mp4", "");
    let film = File::options().write(true).open(bench.path("public/film.mp4")).expect("a file");
    film.set_len(ENDLESS_BYTES).expect("a file system with holes");
    bench.write("manifests/site.yaml", "base_url: http://cdn.example.com\nsources: [{directory: ../public}]\n");
    bench
}

/// C14, W4: whoever reads is told to stop, and nothing was sent, so there is nothing to wait for. Meanwhile it shows that it
/// lives, and systemd waits for no first look at everything.
#[test]
fn a_long_first_look_neither_hides_signs_of_life_nor_holds_up_the_end() {
    let cloud = Cloud::of("http-purge");
    let (bench, mut manager) = ServiceManager::of(endless(&cloud), Duration::from_millis(100));
    let mut watching = Watching::start(&bench, &["--listen", "127.0.0.1:0"]);
    let told = watching.says("listening at")["message"].as_str().expect("a text").to_owned();
    watching.says("run begins");
    manager.hears("READY=1");
    (0..3).for_each(|_| manager.hears("WATCHDOG=1"));
    let at = told.rsplit_once("http://").expect("an address").1.parse().expect("an address");
    assert_eq!((get(at, "/healthz").status, get(at, "/readyz").status), (200, 503));
    watching.signal("TERM");
    manager.hears("STOPPING=1");
    watching.says("stopped");
    assert_eq!(watching.ended(), Some(0));
    assert_eq!(cloud.arrived(), 0);
}
