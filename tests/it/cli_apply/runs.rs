//! Runs that meet other runs, edited manifests and signals.

use super::{Bench, Cloud, urls};
use crate::support::cli::{Ran, interrupt, make_pipe, provider};
use crate::support::cloud::Step;

/// A run that has sent its call and waits for the answer.
fn held(count: usize) -> (Cloud, Bench, std::process::Child) {
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud);
    bench.assets(&urls(count), "1");
    cloud.script([Step::Hold]);
    let child = bench.start(&["apply"]);
    cloud.wait_for_hold();
    (cloud, bench, child)
}

fn ended(child: std::process::Child) -> Ran {
    Ran::of(&child.wait_with_output().expect("ended"))
}

/// R1: the second run learns the holder of the lock; reading needs none.
#[test]
fn r1_a_second_run_names_the_holder_of_the_lock() {
    let (cloud, bench, child) = held(2);
    let ran = bench.run(&["apply", "--lock-timeout", "0s"]).exits(6);
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
    assert!(ran.stderr.contains(&format!("pid {} on host {}", child.id(), host.trim())), "{ran:?}");
    bench.run(&["adopt", "--lock-timeout", "0s"]).exits(6);
    bench.run(&["state", "forget", "*", "--lock-timeout", "0s"]).exits(6);
    let under_way = format!("a run is under way: freshen with pid {} on host {}", child.id(), host.trim());
    bench.run(&["plan"]).exits(0).says(&under_way).says("may be on the way");
    let status = bench.run(&["status"]).exits(0).says(&under_way).says("1 call not answered yet").stdout;
    assert!(!status.contains("did not end") && !status.contains("ended without an answer"), "{status}");
    let json = bench.run(&["status", "--format", "json"]).exits(0).json();
    assert_eq!((&json["running"]["pid"], &json["running"]["host"]), (&child.id().into(), &host.trim().into()));
    assert!(json["running"]["started"].is_string() && json["in_doubt"] == serde_json::json!([]), "{json}");
    let rehearsed = bench.run(&["apply", "--rehearse"]).exits(0).says("2 purges accepted in 1 call");
    assert!(!rehearsed.stderr.contains("was stopped"), "{rehearsed:?}");
    cloud.release();
    ended(child).exits(0);
    assert!(bench.run(&["status", "--format", "json"]).exits(0).json()["running"].is_null());
    bench.run(&["apply", "--lock-timeout", "0s"]).exits(0).says("Nothing to do");
    assert_eq!(cloud.count(), 1);
}

/// T2, R1: whose calls those without an answer are does not hang on the clock, which may have been set back since the run began,
/// or ahead while another one was stopped.
#[test]
fn calls_under_way_are_told_from_lost_ones_whatever_the_clock_says() {
    let (cloud, bench, child) = held(2);
    let sql = "UPDATE run SET started_at = started_at + 3600000;
               INSERT INTO call (id, run, number, provider, operation, targets, at) VALUES (999, 0, 1, 'own', 'PurgeUrlsCache', 3, (SELECT max(started_at) + 1 FROM run))";
    bench.by_hand(sql);
    bench.run(&["status"]).exits(0).says("1 call not answered yet").says("In doubt: a call for 3 targets to `own`");
    let in_doubt = bench.run(&["status", "--format", "json"]).exits(0).json()["in_doubt"].clone();
    assert_eq!((in_doubt.as_array().map(Vec::len), &in_doubt[0]["targets"]), (Some(1), &3.into()), "{in_doubt}");
    cloud.release();
    ended(child).exits(0);
}

/// R1, R2: a run waits for the other one, and a dead holder's lock is free.
#[test]
fn r2_a_waiting_run_goes_on_when_the_holder_ends_or_dies() {
    let (cloud, bench, child) = held(2);
    let second = bench.start(&["apply", "--lock-timeout", "30s"]);
    cloud.release();
    ended(child).exits(0);
    ended(second).exits(0).says("Nothing to do");
    assert_eq!(cloud.count(), 1);

    let (cloud, bench, mut child) = held(2);
    let second = bench.start(&["apply", "--lock-timeout", "30s"]);
    child.kill().expect("killed");
    child.wait().expect("ended");
    ended(second).exits(0);
    assert_eq!((cloud.count(), bench.recorded().len()), (2, 2));
}

/// R4: a run purges and records what it read at its start; newer content is the next run's.
#[test]
fn r4_a_manifest_edited_during_a_run_is_the_next_runs() {
    let (cloud, bench, child) = held(1);
    bench.assets(&urls(1), "2");
    cloud.release();
    ended(child).exits(0);
    assert!(bench.recorded()[0].ends_with("rev:1"));
    bench.run(&["apply"]).exits(0);
    assert!(bench.recorded()[0].ends_with("rev:2"));
    assert_eq!(cloud.log().len(), 2);
}

/// C14: the first signal lets the call under way end and be recorded, and nothing new is sent.
#[test]
fn c14_an_interrupted_run_records_what_was_under_way() {
    let cloud = Cloud::of("tencent-vod");
    let bench = Bench::at("tencent-vod", &cloud);
    bench.assets(&urls(60), "1");
    cloud.script([Step::Hold]);
    let mut child = bench.start(&["apply", "--format", "json"]);
    cloud.wait_for_hold();
    interrupt(&child);
    wait_for_stopping(&mut child);
    cloud.release();
    let ran = ended(child).exits(4);
    assert_eq!(ran.json()["cut_short"], "interrupted");
    assert_eq!((cloud.count(), bench.recorded().len()), (1, 20));
    bench.run(&["apply"]).exits(0);
    assert_eq!((cloud.count(), cloud.log().len()), (2, 60), "nothing twice");
}

/// C14, R6: an interrupt before anything is sent, as by a job that is cancelled, leaves what was seen due, removals as well.
#[test]
fn c14_what_an_interrupted_run_has_seen_stays_due() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud);
    let [changed, removed] = [&urls(2)[0], &urls(2)[1]].map(Clone::clone);
    let publish = |extra: &str, assets: &[String], revision| {
        bench.write("manifests/provider-own.yaml", provider("own", "tencent-cdn", &cloud.url(), extra));
        bench.assets(assets, revision);
    };
    publish("", &urls(2), "1");
    bench.run(&["apply"]).exits(0);
    for name in ["asked", "pipe"] {
        make_pipe(&bench.path(name));
    }
    publish("credentials: {command: [/bin/sh, -c, \"echo > asked; exec cat pipe\"]}\n", &[changed], "2");
    let mut child = bench.start(&["apply"]);
    std::fs::read(bench.path("asked")).expect("it is asked");
    interrupt(&child);
    wait_for_stopping(&mut child);
    ended(child).exits(4).says("the run ended early: interrupted");
    publish("", &urls(2), "1");
    bench.run(&["apply"]).exits(0).says("2 purges accepted");
    assert!(cloud.purged().iter().filter(|url| **url == removed).count() == 2);
}

/// Waits until the run says that it heard the signal.
fn wait_for_stopping(child: &mut std::process::Child) {
    let stderr = child.stderr.as_mut().expect("a pipe");
    let mut said = Vec::new();
    // Behind the note that there was no state.
    while !said.ends_with(b"stopping:") {
        let mut byte = [0];
        std::io::Read::read_exact(stderr, &mut byte).expect("it says that it stops");
        said.push(byte[0]);
    }
}

/// C14: the second signal ends the run at once; the call stays in doubt.
#[test]
fn c14_a_second_signal_ends_the_run_at_once() {
    let (_cloud, bench, mut child) = held(2);
    interrupt(&child);
    wait_for_stopping(&mut child);
    interrupt(&child);
    assert_eq!(child.wait().expect("ended").code(), Some(1));
    bench.run(&["plan"]).exits(0).says("2 targets may have been purged before");
    bench.run(&["apply"]).exits(0);
}

/// The state may stand anywhere, and the variable names it as well as the option.
#[test]
fn the_state_is_where_the_option_or_the_variable_says() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud).var("FRESHEN_STATE", "deep/er/a.db");
    bench.assets(&urls(1), "1");
    bench.run(&["apply"]).exits(0);
    assert!(bench.read("deep/er/a.db").is_some() && bench.read(super::STATE).is_none());
    bench.run(&["apply", "--state", "b.db"]).exits(0);
    assert!(bench.read("b.db").is_some() && cloud.count() == 2);
    std::fs::create_dir(bench.path("folder.db")).expect("made");
    bench.run(&["apply", "--state", "folder.db"]).exits(6).says("not a regular file");
}

/// D4, C11: a manifest that vanished from a folder removes its assets; one that vanished from where the run does not look is
/// left alone, and named.
#[test]
fn a_vanished_manifest_removes_its_assets_only_where_the_run_looks() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud);
    bench.assets(&urls(2), "1");
    bench.write("manifests/more.yaml", "assets: {\"https://cdn.example.com/more.js\": rev:1}\n");
    bench.run(&["apply"]).exits(0);
    std::fs::remove_file(bench.path("manifests/more.yaml")).expect("removed");
    cloud.count();
    bench.run(&["apply", "manifests/provider-own.yaml", "manifests/site.yaml"]).exits(4).says("Nothing to do");
    assert_eq!((cloud.count(), bench.exported().len()), (0, 3));
    bench.run(&["apply"]).exits(0);
    assert_eq!((cloud.count(), bench.exported().len()), (1, 2));
    assert_eq!(cloud.log().last().expect("a purge").target.text, "https://cdn.example.com/more.js");
}

/// R3: a state that went on without this run is not overwritten, and what was accepted meanwhile is reported.
#[test]
fn r3_a_state_that_went_on_meanwhile_is_not_overwritten() {
    for format in ["human", "json"] {
        let cloud = Cloud::of("tencent-cdn");
        let bench = Bench::at("tencent-cdn", &cloud);
        bench.assets(&urls(2), "1");
        cloud.script([Step::Hold]);
        let child = bench.start(&["apply", "--format", format]);
        cloud.wait_for_hold();
        bench.by_hand("UPDATE meta SET serial = serial + 5");
        cloud.release();
        let ran = ended(child).exits(6).says("changed by another run meanwhile");
        for url in urls(2) {
            assert!(ran.stderr.contains(&format!("accepted but not recorded: own {url}")), "{ran:?}");
        }
        if format == "json" {
            let json = ran.json();
            assert_eq!(
                (json["accepted_but_not_recorded"].as_array().map(Vec::len), &json["exit"]),
                (Some(2), &6.into())
            );
        }
        assert!(bench.recorded().is_empty());
        bench.run(&["plan"]).exits(0).says("2 targets may have been purged before");
        bench.run(&["apply"]).exits(0);
        assert_eq!((cloud.count(), bench.recorded().len()), (2, 2));
    }
}

/// R3, S10: another job's copy of the state took the place of this run's: it stays as it is, byte for byte, and what
/// was purged meanwhile, also what was recorded before, is written aside.
#[test]
fn r3_a_state_that_was_replaced_meanwhile_is_not_overwritten_and_outcomes_go_aside() {
    for first_job in [true, false] {
        let cloud = Cloud::of("tencent-vod");
        let bench = Bench::at("tencent-vod", &cloud);
        bench.assets(&urls(2), "1");
        bench.run(&["apply"]).exits(0);
        let copy = bench.read(super::STATE).expect("a state");
        cloud.count();
        bench.assets(&urls(45), "2");
        let provider =
            crate::support::cli::provider("own", "tencent-vod", &cloud.url(), "limits: {calls_per_second: 1}");
        bench.write("manifests/provider-own.yaml", provider);
        cloud.script([Step::Pass, Step::Hold]);
        let child = bench.start(&["apply"]);
        cloud.wait_for_hold();
        if first_job {
            bench.write("copy.db", &copy);
            std::fs::rename(bench.path("copy.db"), bench.path(super::STATE)).expect("replaced");
        } else {
            std::fs::remove_file(bench.path(super::STATE)).expect("removed");
        }
        cloud.release();
        let ran = ended(child).exits(6).says("was replaced or removed by somebody else").says("state.db.aside-");
        assert_eq!(bench.read(super::STATE), first_job.then_some(copy));
        let purged = &urls(45)[..40];
        for url in purged {
            assert!(ran.stderr.contains(&format!("accepted but not recorded: own {url}\n")), "{ran:?}");
        }
        let files = std::fs::read_dir(bench.path(".freshen")).expect("a folder").flatten();
        let aside: Vec<_> = files.filter(|file| file.file_name().to_string_lossy().contains(".aside-")).collect();
        assert_eq!(aside.len(), 1);
        let text = std::fs::read_to_string(aside[0].path()).expect("UTF-8");
        let rows: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let kept: Vec<&str> = rows.iter().filter_map(|row| row["target"].as_str()).collect();
        assert!(kept == purged && rows.iter().all(|row| row["hash"] == "rev:2"), "{text}");
        assert_eq!(cloud.count(), 2, "nothing is sent once the state is known to be another one");
        if first_job {
            bench.run(&["apply"]).exits(6).says("is not the one that was used here last");
            std::fs::remove_file(bench.path(".freshen/state.db.seal")).expect("removed");
        }
        bench.run(&["apply"]).exits(0);
        assert_eq!((cloud.count(), bench.recorded().len()), (3, 45));
        bench.run(&["apply"]).exits(0).says("Nothing to do");
    }
}

/// X4: a crash leaves no copy of the memory behind.
#[cfg(target_os = "linux")]
#[test]
fn x4_core_dumps_are_off() {
    use std::os::unix::fs::MetadataExt;
    let (cloud, _bench, child) = held(1);
    let of_child = |name: &str| format!("/proc/{}/{name}", child.id());
    let limits = std::fs::read_to_string(of_child("limits")).expect("limits");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a line");
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
    // What cannot be dumped belongs to root, whichever user runs it.
    assert_eq!(std::fs::metadata(of_child("environ")).expect("there").uid(), 0);
    cloud.release();
    ended(child).exits(0);
}

/// R7: what was never recorded is dropped and shown; what was recorded is purged as removed.
#[test]
fn r7_an_entry_removed_while_it_waits_is_dropped_or_purged() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud);
    bench.assets(&urls(1), "1");
    bench.run(&["apply"]).exits(0);
    let refusal =
        r#"{"Response": {"Error": {"Code": "AuthFailure.SecretIdNotFound", "Message": "m"}, "RequestId": "r"}}"#;
    cloud.always(Some(Step::say(200, refusal)));
    bench.assets(&urls(3), "2");
    bench.run(&["apply"]).exits(7);
    cloud.always(None);
    bench.assets(&urls(3)[2..], "2");
    bench.run(&["plan"]).exits(0).says("1 target dropped, since the entry went away");
    bench.run(&["apply"]).exits(0);
    let purged: Vec<String> = cloud.log()[1..].iter().map(|purged| purged.target.text.clone()).collect();
    assert_eq!(purged, [urls(3)[0].clone(), urls(3)[2].clone()]);
    assert_eq!(bench.exported().len(), 1);
}

/// A program that hands out credentials is asked once more when they are refused, and no more than that.
#[test]
fn refused_credentials_of_a_program_are_asked_for_again_once() {
    let script = "n=$(cat n 2>/dev/null); echo x$n > n; cat keys$(cat n).json";
    let keys = |secret: &str| format!("{{\"key_id\": \"{}\", \"key_secret\": \"{secret}\"}}", super::KEY_ID);
    for (second, status, calls) in [(super::KEY_SECRET, 0, 2), ("wrong too", 7, 2)] {
        let cloud = Cloud::of("tencent-cdn");
        let extra = "credentials: {command: [/bin/sh, next.sh]}\n";
        let bench = Bench::new()
            .provider("own", "tencent-cdn", &cloud.url(), extra)
            .var("PATH", "/usr/bin:/bin")
            .file("next.sh", script)
            .file("keysx.json", keys("wrong"))
            .file("keysxx.json", keys(second))
            .file("keysxxx.json", keys(super::KEY_SECRET));
        bench.assets(&urls(2), "1");
        bench.run(&["apply"]).exits(status);
        assert_eq!((cloud.count(), bench.read("n")), (calls, Some(b"xx\n".to_vec())));
    }
}

#[test]
fn a_refused_target_is_tried_again_once_its_provider_is_configured_otherwise() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud);
    bench.assets(&urls(1), "1");
    let error = r#"{"Code": "InvalidParameter.CdnUrlExceedLength", "Message": "m"}"#;
    cloud.script([Step::say(200, &format!("{{\"Response\": {{\"Error\": {error}, \"RequestId\": \"r\"}}}}"))]);
    bench.run(&["apply"]).exits(4).says("rejected: InvalidParameter.CdnUrlExceedLength");
    cloud.count();
    bench.run(&["apply"]).exits(4);
    assert_eq!(cloud.count(), 0);
    let bench = bench.provider("own", "tencent-cdn", &cloud.url(), "area: mainland\n");
    bench.run(&["apply"]).exits(0);
    assert_eq!(cloud.count(), 1);
}

/// C1, C2, C3, S1, S2, S3, S5: killed again and again, a plan comes to its end; nothing is recorded that was not
/// accepted, and only what was in doubt is sent twice.
#[test]
fn c3_a_run_that_is_killed_again_and_again_loses_nothing_and_repeats_only_what_was_in_doubt() {
    let cloud = Cloud::of("huawei-vod");
    let bench = Bench::at("huawei-vod", &cloud);
    bench.assets(&urls(90), "1");
    let mut doubts = 0;
    for kills in 1..=4 {
        cloud.script([Step::Pass, Step::Hold]);
        let mut child = bench.start(&["apply"]);
        cloud.wait_for_hold();
        child.kill().expect("killed");
        child.wait().expect("ended");
        cloud.release();
        let (rows, purged) = (bench.exported(), cloud.purged());
        assert_eq!(rows.len(), 90, "everything is known from the first moment on");
        doubts += rows.iter().filter(|row| row["work"]["in_doubt"] == true).count();
        let recorded = rows.iter().filter(|row| row["work"].is_null());
        let recorded: Vec<&str> = recorded.map(|row| row["target"].as_str().expect("text")).collect();
        assert!(recorded.len() >= 10 * kills && recorded.iter().all(|url| purged.iter().any(|known| known == url)));
    }
    assert!(doubts >= 40, "each kill left a call without an answer");
    bench.run(&["apply"]).exits(0);
    let sent = cloud.log().len();
    assert!(bench.recorded().len() == 90 && (90..=90 + doubts).contains(&sent), "{sent} sent, {doubts} in doubt");
    let status = bench.run(&["status", "--format", "json"]).exits(0).json();
    let used: u64 = status["quota"].as_array().expect("a list").iter().filter_map(|row| row["used"].as_u64()).sum();
    assert!(used >= sent as u64, "{used} counted, {sent} sent");
    bench.run(&["apply"]).exits(0).says("Nothing to do");
}

/// C7: a state that cannot grow is an error with words; what was accepted and not recorded is reported, and nothing is lost.
#[test]
fn c7_a_limit_on_the_size_of_files_is_told_and_loses_nothing() {
    let mut cut_in_the_middle = 0;
    for blocks in (8..=400).step_by(40) {
        let cloud = Cloud::of("huawei-vod");
        let bench = Bench::at("huawei-vod", &cloud);
        bench.assets(&urls(40), "1");
        let ran = bench.limited(blocks, &["apply"]);
        let purged = cloud.purged();
        let names = std::fs::read_dir(bench.path(".freshen")).expect("a folder").flatten();
        let left: Vec<_> = names.map(|entry| entry.file_name().into_string().expect("a name")).collect();
        assert!(!left.iter().any(|name| name.contains(".new")), "{blocks}: {left:?}");
        if ran.status != 0 {
            assert_eq!(ran.status, 1, "{blocks}: {ran:?}");
            assert!(
                ran.stderr.contains("state.db` cannot be") && ran.stderr.contains("`ulimit -f`"),
                "{blocks}: {ran:?}"
            );
        }
        let known = if bench.read(super::STATE).is_some() { bench.recorded() } else { Vec::new() };
        for url in &purged {
            let is_told = ran.stderr.contains(&format!("accepted but not recorded: own {url}"));
            let is_recorded = known.iter().any(|row| row.starts_with(&format!("own {url} ")));
            assert!(is_told != is_recorded, "{blocks}: {url} {is_told} {is_recorded} {ran:?}");
        }
        cut_in_the_middle += usize::from(ran.status == 1 && !purged.is_empty());
        bench.run(&["apply"]).exits(0);
        assert_eq!(bench.recorded().len(), 40, "{blocks}");
    }
    assert!(cut_in_the_middle > 0, "some limit meets a run in its middle");
}

/// C7: a limit of addresses of memory is enough, or is named with what is needed.
#[cfg(target_os = "linux")]
#[test]
fn c7_a_limit_of_addresses_is_enough_or_is_told() {
    let cloud = Cloud::of("huawei-vod");
    let bench = Bench::at("huawei-vod", &cloud);
    bench.assets(&urls(40), "1");
    bench.within(&["-v", "90000"], &["apply"]).exits(1).says("`ulimit -v 196608`");
    for revision in ["1", "2", "3"] {
        bench.assets(&urls(40), revision);
        bench.within(&["-v", "300000"], &["apply"]).exits(0);
    }
    assert_eq!(cloud.purged().len(), 120);
}
