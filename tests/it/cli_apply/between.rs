//! What happens to providers, manifests and states between runs, and is not forgotten by the next one.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use freshen::core::time::Timestamp;
use freshen::state::{RunLock, RunStart};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;

use super::urls;
use crate::support::cli::{Bench, Ran, STATE, manifest, provider};
use crate::support::cloud::{Cloud, Step};
use crate::support::is_installed;

const URL: &str = "https://cdn.example.com/x";

/// S3, A → B → A: while a provider was gone its URLs may have been purged, and cached anew, through another one.
#[test]
fn a_provider_that_comes_back_is_not_trusted_with_what_it_knew() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud);
    bench.assets(&[URL], "1");
    bench.run(&["apply"]).exits(0).says("1 purge accepted");
    bench.write("manifests/provider-own.yaml", provider("mine", "tencent-cdn", &cloud.url(), ""));
    bench.assets(&[URL], "2");
    bench.run(&["apply"]).exits(0).says("1 purge accepted").says("`own`");
    let serial = |bench: &Bench| {
        let state = rusqlite::Connection::open(bench.path(STATE)).expect("opened");
        state.query_row("SELECT serial FROM meta", [], |row| row.get::<_, i64>(0)).expect("a state")
    };
    let before = serial(&bench);
    bench.run(&["apply"]).exits(0).says("Nothing to do");
    assert_eq!(serial(&bench), before, "it is noted once");
    let noted = |bench: &Bench| {
        let of_own = bench.exported().into_iter().find(|row| row["provider"] == "own").expect("known");
        (of_own["hash"].clone(), of_own["left_alone"].clone())
    };
    assert_eq!(noted(&bench), ("rev:1".into(), true.into()));
    bench.write("lines", bench.run(&["state", "export"]).exits(0).stdout);
    bench.run(&["state", "import", "lines"]).exits(0);
    assert_eq!(noted(&bench), ("rev:1".into(), true.into()), "an import keeps it");
    bench.write("manifests/provider-own.yaml", provider("own", "tencent-cdn", &cloud.url(), ""));
    bench.assets(&[URL], "1");
    bench.run(&["apply"]).exits(0).says("1 purge accepted");
    assert_eq!(cloud.count(), 3);
    let recorded = bench.recorded();
    assert!(recorded.contains(&format!("own {URL} rev:1")), "{recorded:?}");
    assert_eq!(noted(&bench), ("rev:1".into(), false.into()));
}

/// S1, S2: the same where the only run meanwhile was refused, or adopted what another provider carries.
#[test]
fn a_provider_that_was_gone_in_a_refused_run_is_not_trusted_either() {
    let cloud = Cloud::of("http-purge");
    let ways: [(&[&str], &str, i32); 5] = [
        (&["apply", "--expect", "another"], "", 5),
        (&["adopt"], "", 0),
        (&["adopt", "--only", "*/none"], "", 0),
        (&["apply"], "guard: {max_purges: 0}\n", 5),
        (&["apply", "--except-refused"], "guard: {max_purges: 0}\n", 5),
    ];
    for (way, guard, exit) in ways {
        let bench = Bench::at("http-purge", &cloud);
        let publish = |name: &str, revision, guard: &str| {
            bench.write("manifests/provider-own.yaml", provider(name, "http-purge", &cloud.url(), ""));
            bench.write("manifests/site.yaml", format!("{guard}{}", manifest(&[URL], revision)));
        };
        publish("own", "1", "");
        bench.run(&["apply"]).exits(0);
        publish("mine", "2", guard);
        bench.run(way).exits(exit);
        publish("own", "1", "");
        cloud.count();
        bench.run(&["apply"]).exits(0).says("1 purge accepted");
        assert_eq!(cloud.count(), 1, "{way:?}");
    }
}

/// S1, S2: nor is what one of its caches accepted before it went, while another one still had to.
#[test]
fn a_purge_that_was_half_done_when_its_provider_went_begins_anew() {
    let clouds = Cloud::cluster::<2>();
    let other = Cloud::of("http-purge");
    for first in ["1", "2"] {
        let bench = Bench::new();
        let publish = |name: &str, endpoints: &[&Cloud], revision: &str| {
            let endpoints: Vec<String> = endpoints.iter().map(|cloud| format!("\"{}\"", cloud.url())).collect();
            let text = format!(
                "providers:\n  {name}: {{kind: http-purge, hosts: [cdn.example.com], endpoints: [{}]}}\n",
                endpoints.join(", ")
            );
            bench.write("manifests/provider-own.yaml", text);
            bench.assets(&[URL], revision);
        };
        let own = [&clouds[0], &clouds[1]];
        if first == "1" {
            publish("own", &own, first);
            bench.run(&["apply"]).exits(0);
        }
        clouds[1].always(Some(Step::say(403, "")));
        publish("own", &own, "2");
        bench.run(&["apply"]).exits(4);
        clouds[1].always(None);
        for revision in ["2", "3", "2"] {
            publish("cdn", &[&other], revision);
            // What is left at the provider that is gone is named.
            bench.run(&["apply"]).exits(4);
        }
        let counts = || [clouds[0].count(), clouds[1].count()];
        counts();
        publish("own", &own, "2");
        bench.run(&["apply"]).exits(0);
        assert_eq!(counts(), [1, 1], "{first}");
    }
}

/// S3: no text of a hash says that its target was left alone; one that looks like what older states had there is a hash.
#[test]
fn a_hash_is_never_read_as_more_than_a_hash() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud);
    bench.assets(&[URL], "left-alone:x");
    bench.run(&["apply"]).exits(0).says("1 purge accepted");
    bench.write("manifests/provider-own.yaml", provider("mine", "tencent-cdn", &cloud.url(), ""));
    bench.run(&["apply"]).exits(0).says("1 purge accepted").says("`own`");
    bench.write("manifests/provider-own.yaml", provider("own", "tencent-cdn", &cloud.url(), ""));
    bench.run(&["apply"]).exits(0).says("1 purge accepted");
    assert_eq!(cloud.count(), 3, "it may have been purged through the other provider meanwhile");
}

/// S2, S3: a manifest that hands an asset over has no say in it any more, also where nothing was purged for that.
#[test]
fn adopted_targets_belong_to_the_manifests_that_list_them_now() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud);
    let write = |first: &[&str], second: &[&str]| {
        bench.write("manifests/a.yaml", manifest(first, "1"));
        bench.write("manifests/b.yaml", manifest(second, "1"));
    };
    let [y, z] = ["https://cdn.example.com/y", "https://cdn.example.com/z"];
    write(&[URL, y], &[z]);
    bench.run(&["adopt"]).exits(0).says("Recorded 3 targets");
    write(&[y], &[URL, z]);
    bench.run(&["adopt"]).exits(0).says("Recorded 1 target ");
    bench.run(&["adopt"]).exits(0).says("Recorded 0 targets");
    let owners =
        |target: &str| bench.exported().iter().find(|row| row["target"] == target).expect("known")["owners"].clone();
    assert_eq!(
        (owners(URL), owners(y)),
        (serde_json::json!(["manifests/b.yaml"]), serde_json::json!(["manifests/a.yaml"]))
    );
    bench.run(&["apply", "manifests/provider-own.yaml", "manifests/a.yaml"]).exits(0).says("Nothing to do");
    assert_eq!(cloud.count(), 0);
}

/// C11: what is adopted is what the manifests list; what they list no more is forgotten, within the selection.
#[test]
fn what_is_no_longer_listed_is_adopted_as_gone() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud);
    bench.assets(&urls(40), "1");
    bench.run(&["adopt"]).exits(0);
    bench.assets(&urls(20), "1");
    bench.run(&["apply"]).exits(5).says("20 of its 40");
    let gone = &urls(40)[39];
    bench.run(&["adopt", "--only", gone]).exits(0).says("1 target no longer listed: forgotten");
    bench.run(&["apply"]).exits(5).says("19 of its 39");
    let json = bench.run(&["adopt", "--format", "json"]).exits(0).json();
    assert_eq!((&json["adopted"], &json["forgotten"]), (&0.into(), &19.into()));
    bench.run(&["apply"]).exits(0).says("Nothing to do");
    assert_eq!((cloud.count(), bench.recorded().len()), (0, 20));
}

/// D4, S9: a state that is published changes with each run, which would then purge it.
#[test]
fn a_state_inside_a_published_directory_is_refused() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud);
    bench.write("public/index.html", "1");
    let site = |more: &str| {
        let sources = format!("sources: [{{directory: ../public{more}}}]");
        bench.write("manifests/site.yaml", format!("base_url: https://cdn.example.com\n{sources}\n"));
    };
    site("");
    for _ in 0..2 {
        let ran = bench.run(&["apply", "--state", "public/.state/state.db"]).exits(2);
        ran.says("site.yaml:2:").says("the state `.state/state.db` is in this directory").says("--state");
    }
    assert_eq!(cloud.count(), 0);
    site(", exclude: [\".state/**\"]");
    bench.run(&["apply", "--state", "public/.state/state.db"]).exits(0).says("1 purge accepted");
    bench.run(&["apply", "--state", "public/.state/state.db"]).exits(0).says("Nothing to do");
}

/// S9: the same where a link leads to them from a published directory, from the first run on.
#[test]
fn files_of_ours_that_links_lead_to_are_refused_before_they_are_there() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud);
    bench.write("public/index.html", "1");
    bench.write("ops/page.html", "1");
    std::os::unix::fs::symlink("../ops", bench.path("public/ops")).expect("a link");
    let site = |more: &str| {
        let sources = format!("sources: [{{directory: ../public, links: follow{more}}}]");
        bench.write("manifests/site.yaml", format!("base_url: https://cdn.example.com\n{sources}\n"));
    };
    site("");
    bench.run(&["apply", "--state", "ops/state.db"]).exits(2).says("state.db` is in this directory");
    bench.run(&["apply", "--audit", "ops/audit.jsonl"]).exits(2).says("audit.jsonl` is in this directory");
    assert_eq!(cloud.count(), 0);
    site(", exclude: [\"ops/*.db\", \"ops/*.jsonl\"]");
    bench.run(&["apply", "--state", "ops/state.db", "--audit", "ops/audit.jsonl"]).exits(0);
}

/// S9: an audit log that is published is purged with each line that is added to it, and each purge adds one.
#[test]
fn an_audit_log_inside_a_published_directory_is_refused() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud);
    bench.write("public/index.html", "1");
    std::os::unix::fs::symlink("public", bench.path("link")).expect("a link");
    let site = |more: &str| {
        let sources = format!("sources: [{{directory: ../public{more}}}]");
        bench.write("manifests/site.yaml", format!("base_url: https://cdn.example.com\n{sources}\n"));
    };
    site("");
    for verb in [&["apply"][..], &["apply", "--rehearse"], &["watch", "--once"]] {
        for log in ["public/audit.jsonl", "link/audit.jsonl"] {
            let ran = bench.run(&[verb, &["--audit", log]].concat()).exits(2);
            ran.says("site.yaml:2:").says("the audit log `audit.jsonl` is in this directory").says("--audit");
        }
    }
    assert!(cloud.count() == 0 && bench.read("public/audit.jsonl").is_none());
    site(", exclude: [audit.jsonl]");
    bench.run(&["apply", "--audit", "public/audit.jsonl"]).exits(0).says("1 purge accepted");
    bench.run(&["apply", "--audit", "public/audit.jsonl"]).exits(0).says("Nothing to do");
}

/// S9: the same for what a run prints.
#[test]
fn output_into_a_published_directory_is_refused() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud);
    bench.write("public/index.html", "1");
    let site = |more: &str| {
        let sources = format!("sources: [{{directory: ../public{more}}}]");
        bench.write("manifests/site.yaml", format!("base_url: https://cdn.example.com\n{sources}\n"));
    };
    site("");
    let mut command = bench.command(&["apply"]);
    command.stdout(std::fs::File::create(bench.path("public/purged.txt")).expect("a file"));
    let ran = Ran::of(&command.output().expect("started")).exits(2);
    ran.says("standard output goes to `purged.txt` in this directory").says("`exclude`");
    assert_eq!(cloud.count(), 0);
    site(", exclude: [purged.txt]");
    let mut command = bench.command(&["apply"]);
    command.stdout(std::fs::File::create(bench.path("public/purged.txt")).expect("a file"));
    Ran::of(&command.output().expect("started")).exits(0);
    assert_eq!(cloud.count(), 1);
}

/// Learns when a command has looked at the lock and found it held, which it does once it has read everything: a look opens the file
/// to read, and closes it once it knows.
struct Looks(OwnedFd);

impl Looks {
    fn at(lock: &Path) -> Self {
        let looks = inotify::init(inotify::CreateFlags::CLOEXEC).expect("events of files");
        inotify::add_watch(&looks, lock, inotify::WatchFlags::CLOSE_NOWRITE).expect("a lock file");
        Self(looks)
    }

    fn wait(&self) {
        let minute = Timespec { tv_sec: 60, tv_nsec: 0 };
        let found = poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&minute)).expect("polled");
        assert_eq!(found, 1, "it does not look at the lock");
    }
}

/// L1: a run that waited for another run does what the manifests say then, not what they said before.
#[test]
fn a_run_that_waited_reads_the_manifests_again() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud);
    bench.assets(&[URL], "1");
    bench.run(&["apply"]).exits(0);
    let start = RunStart { at: Timestamp::from_unix_ms(0), host: "here".into(), pid: 1 };
    let lock = RunLock::try_take(&bench.path(STATE), &start).expect("a lock").expect("free");
    bench.assets(&[URL], "2");
    let looks = Looks::at(&bench.path(&format!("{STATE}.lock")));
    let waiting = bench.start(&["apply", "--lock-timeout", "60s"]);
    looks.wait();
    bench.assets(&[URL], "3");
    drop(lock);
    Ran::of(&waiting.wait_with_output().expect("ended")).exits(0).says("1 purge accepted");
    assert_eq!((cloud.count(), bench.recorded()), (2, vec![format!("own {URL} rev:3")]));
}

/// Starts a command and waits until it is held where it opens the list that is read after the manifests; `None` where nothing
/// can hold it.
#[track_caller]
#[expect(clippy::zombie_processes, reason = "`goes_on` waits for the child")]
fn held(bench: &Bench, arguments: &[&str]) -> Option<Child> {
    const TRACE: &str = "trace.log";
    if !is_installed("strace", "strace") {
        return None;
    }
    drop(std::fs::remove_file(bench.path(TRACE)));
    // The tracer stands aside: it is the command that is waited for. Only the first time counts.
    let strace = ["-D", "-f", "-e", "quiet=all", "-o", TRACE, "-P", "SHA256SUMS", "-e", "trace=openat"];
    let strace = [&strace[..], &["-e", "inject=openat:signal=SIGSTOP:when=1"]].concat();
    let child = bench.wrapped("strace", &strace, arguments).spawn().expect("started");
    let end = Instant::now() + Duration::from_mins(1);
    loop {
        let trace = String::from_utf8_lossy(&bench.read(TRACE).unwrap_or_default()).into_owned();
        if trace.contains("--- stopped by SIGSTOP") {
            return Some(child);
        }
        assert!(Instant::now() < end, "the list is not opened; {trace}");
        std::thread::yield_now();
    }
}

#[expect(clippy::disallowed_methods, reason = "the standard library cannot send signals")]
fn goes_on(child: Child) -> Ran {
    let pid = child.id().to_string();
    let sent = std::process::Command::new("/bin/sh").args(["-c", "kill -CONT \"$0\"", &pid]).status();
    assert!(sent.expect("a shell").success());
    Ran::of(&child.wait_with_output().expect("ended"))
}

/// A page in a manifest, and a list in another one that is read later.
fn page_and_list(cloud: &Cloud) -> Bench {
    let bench = Bench::at("tencent-cdn", cloud);
    bench.write("SHA256SUMS", format!("{:064x}  list/1\n", 1));
    bench.write("manifests/zlist.yaml", "base_url: https://cdn.example.com\nsources: [{checksums: ../SHA256SUMS}]\n");
    bench
}

/// S3, A → B → A: a run that read its manifests before another run came and went must not record what is no longer asked for,
/// nor call it fresh: the page that is rolled back to it is purged.
#[test]
fn what_was_read_before_another_run_wrote_is_read_again() {
    for verb in ["apply", "adopt"] {
        for is_first in [false, true] {
            let cloud = Cloud::of("tencent-cdn");
            let bench = page_and_list(&cloud);
            if !is_first {
                bench.assets(&[URL], "1");
                bench.run(&["apply"]).exits(0);
            }
            bench.assets(&[URL], "2");
            let Some(child) = held(&bench, &[verb]) else { return };
            bench.assets(&[URL], "3");
            bench.run(&["apply"]).exits(0);
            goes_on(child).exits(0);
            cloud.count();
            assert!(
                bench.recorded().contains(&format!("own {URL} rev:3")),
                "{verb} {is_first}: {:?}",
                bench.recorded()
            );
            bench.assets(&[URL], "2");
            bench.run(&["apply"]).exits(0).says("1 purge accepted");
            assert_eq!(cloud.count(), 1, "{verb} {is_first}");
        }
    }
}

/// The plan that was reviewed is that of the manifests as they are read again.
#[test]
fn a_plan_that_was_reviewed_is_compared_with_what_is_read_again() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = page_and_list(&cloud);
    bench.assets(&[URL], "1");
    bench.run(&["apply"]).exits(0);
    bench.assets(&[URL], "2");
    let digest = bench.run(&["plan", "--format", "json"]).exits(0).json()["digest"].as_str().expect("text").to_owned();
    let Some(child) = held(&bench, &["apply", "--expect", &digest]) else { return };
    bench.assets(&[URL], "3");
    bench.run(&["apply"]).exits(0);
    cloud.count();
    goes_on(child).exits(5).says("not the one that was reviewed");
    assert_eq!(cloud.count(), 0);
}

/// S3: rows from a pipe may be older than what a run has recorded since; those of a file are read again.
#[test]
fn rows_that_were_read_before_another_run_wrote_are_not_imported_unseen() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud);
    bench.assets(&[URL], "1");
    bench.run(&["apply"]).exits(0);
    let rows = bench.run(&["state", "export"]).exits(0).stdout;
    let mut child = bench.command(&["state", "import", "-"]).stdin(Stdio::piped()).spawn().expect("started");
    let mut input = child.stdin.take().expect("a pipe");
    // More than a pipe holds: once it is written, the command reads.
    input.write_all(&vec![b'\n'; 1 << 20]).expect("read");
    bench.assets(&[URL], "2");
    bench.run(&["apply"]).exits(0);
    input.write_all(rows.as_bytes()).expect("read");
    drop(input);
    Ran::of(&child.wait_with_output().expect("ended"))
        .exits(6)
        .says("nothing was imported")
        .says("make the lines anew");
    assert_eq!(bench.recorded(), [format!("own {URL} rev:2")]);
    bench.write("rows", rows);
    bench.run(&["state", "import", "rows"]).exits(0);
}
