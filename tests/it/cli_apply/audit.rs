//! `apply --audit`: each call leaves one line, and without its line nothing more is sent.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use super::{Bench, Cloud, urls};
use crate::support::cli::STATE;
use crate::support::cloud::{KEY_ID, KEY_SECRET, Step};

fn lines(bench: &Bench, name: &str) -> Vec<Value> {
    let text = String::from_utf8(bench.read(name).expect("an audit log")).expect("UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect()
}

/// X5, X6: accepted, refused and lost calls are told apart, with the vendor's own words, in a private file.
#[test]
fn each_call_is_one_line_with_targets_outcome_and_request_id() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud).var("FRESHEN_AUDIT", "logs/audit.jsonl");
    bench.assets(&urls(3), "1");
    let busy = r#"{"Response": {"Error": {"Code": "InternalError", "Message": "a\nb\u2028c"}, "RequestId": "r-1"}}"#;
    cloud.script([Step::say(200, busy), Step::Lose]);
    bench.run(&["apply"]).exits(0);
    let lines = lines(&bench, "logs/audit.jsonl");
    let outcomes: Vec<&Value> = lines.iter().map(|line| &line["outcome"]).collect();
    // After two failures in a row it is asked with one target first.
    assert_eq!(outcomes, ["transient", "unknown", "accepted", "accepted"]);
    for (line, of) in lines.iter().zip([0..3, 0..3, 0..1, 1..3]) {
        assert_eq!((&line["version"], &line["run"], &line["provider"]), (&1.into(), &1.into(), &"own".into()));
        assert_eq!((&line["count"], &line["targets"]), (&of.len().into(), &json!(urls(3)[of])));
        assert_eq!((&line["operation"], &line["endpoint"]), (&"PurgeUrlsCache".into(), &cloud.url().into()));
        assert!(line["time"].as_str().is_some_and(|time| time.ends_with('Z')) && line["duration_ms"].is_u64());
    }
    assert_eq!((&lines[0]["code"], &lines[0]["request_id"]), (&"InternalError".into(), &"r-1".into()));
    assert_eq!((&lines[1]["code"], &lines[1]["request_id"]), (&Value::Null, &Value::Null));
    assert_eq!(lines[2]["task_ids"].as_array().map(Vec::len), Some(1));
    let mode = std::fs::metadata(bench.path("logs/audit.jsonl")).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn rehearsals_and_quiet_runs_write_no_line() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud);
    bench.assets(&urls(3), "1");
    bench.run(&["apply", "--rehearse", "--audit", "audit.jsonl"]).exits(0);
    assert!(bench.read("audit.jsonl").is_none());
    bench.run(&["apply", "--audit", "audit.jsonl"]).exits(0);
    bench.run(&["apply", "--audit", "audit.jsonl"]).exits(0).says("Nothing to do");
    assert_eq!(lines(&bench, "audit.jsonl").len(), 1);
}

#[test]
fn an_audit_log_that_cannot_be_written_stops_the_run_before_anything_is_sent() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud).file("notes.txt", "not ours\n").file("folder/x", "");
    bench.assets(&urls(3), "1");
    for (name, cause) in [("folder", "not a regular file"), ("notes.txt/a", "Not a")] {
        bench.run(&["apply", "--audit", name]).exits(1).says("nothing was sent").says(cause);
    }
    assert_eq!((cloud.count(), bench.read("notes.txt")), (0, Some(b"not ours\n".to_vec())));
}

/// As C7 for the audit log: what was accepted is recorded and its line is shown, and nothing more is sent.
#[test]
fn a_log_that_cannot_grow_in_mid_run_stops_sending_and_shows_the_line() {
    const MOST: usize = 1 << 20;
    let cloud = Cloud::of("tencent-vod");
    let limits = "limits: {calls_per_second: 1}\n";
    let bench = Bench::at("tencent-vod", &cloud).provider("own", "tencent-vod", &cloud.url(), limits);
    bench.assets(&urls(60), "1");
    // Room for the line of one call with twenty targets, and for half of the next.
    let record = r#"{"outcome":"accepted","provider":"own","run":1,"time":"","version":1}"#;
    let full = format!("{}{record}\n", " ".repeat(MOST - 1900));
    bench.write("audit.jsonl", &full);
    let ran = bench.limited(MOST / 512, &["apply", "--audit", "audit.jsonl"]);
    let ran = ran.exits(1).says("File too large").says("sending was stopped");
    let told = ran.stderr.lines().filter_map(|line| line.strip_prefix("not in the audit log: "));
    let told: Vec<Value> = told.map(|line| serde_json::from_str(line).expect("a JSON line")).collect();
    assert_eq!((told.len(), &told[0]["outcome"]), (1, &"accepted".into()));
    assert_eq!((lines(&bench, "audit.jsonl").len(), cloud.count(), bench.recorded().len()), (2, 2, 40));
    bench.run(&["apply"]).exits(0);
    assert_eq!(cloud.count(), 1, "what was accepted is not sent again");
}

/// A cache that held nothing of what it was to drop usually has another key: that is reported, and it is no failure.
#[test]
fn purges_of_what_was_not_in_the_cache_are_told_apart() {
    for (status, count, missed, headline, is_warned) in [
        (404, 9, 9, "9 purges accepted in 9 calls, none of them was in the cache", true),
        (412, 5, 5, "5 purges accepted in 5 calls, none of them was in the cache", true),
        (404, 4, 4, "4 purges accepted in 4 calls, none of them was in the cache", false),
        (404, 1, 1, "1 purge accepted in 1 call, it was not in the cache", false),
        (404, 9, 8, "9 purges accepted in 9 calls, 8 of 9 answers say: not in the cache", false),
        (200, 9, 0, "9 purges accepted in 9 calls, everything is recorded", false),
    ] {
        let cloud = Cloud::of("http-purge");
        let bench = Bench::at("http-purge", &cloud);
        bench.assets(&urls(count), "1");
        cloud.always(Some(Step::say(status, "")));
        cloud.script((missed..count).map(|_| Step::say(200, "")));
        let told = bench.run(&["apply", "--audit", "audit.jsonl"]).exits(0).says(headline);
        let warning = format!(
            "warning: provider `own`: none of the {count} targets purged at {} was in the cache; unless it is empty, check that \
             its key has the scheme, host and port of these URLs, and that a cache answers there\n",
            cloud.url()
        );
        assert_eq!(told.stderr.contains(&warning), is_warned, "{told:?}");
        for format in ["json", "markdown", "github"] {
            bench.assets(&urls(count), format);
            cloud.script((missed..count).map(|_| Step::say(200, "")));
            let shown = bench.run(&["apply", "--format", format]).exits(0).stdout;
            assert_eq!(shown.contains("was in the cache; unless"), is_warned, "{format}: {shown}");
        }
        let not_cached = lines(&bench, "audit.jsonl").into_iter().filter(|line| line["not_cached"] == true);
        let codes: Vec<Value> = not_cached.map(|line| line["code"].clone()).collect();
        assert_eq!(codes, vec![Value::from(format!("HTTP {status}")); missed]);
        let json = bench.run(&["apply", "--force", "*", "--format", "json"]).exits(0).json();
        let all = if status == 200 { 0 } else { count };
        assert_eq!((&json["not_cached"], &json["providers"][0]["not_cached"]), (&all.into(), &all.into()));
    }
}

/// S10: what is written to a file of the state, or to one that the run reads, is lost or does harm: it is refused before anything
/// is written, by any of its names.
#[test]
fn an_audit_log_in_the_place_of_another_file_is_refused() {
    let cloud = Cloud::of("tencent-cdn");
    let keys = format!(r#"{{"key_id":"{KEY_ID}","key_secret":"{KEY_SECRET}"}}"#);
    let list = "0cc175b9c0f1b6a831c399e269772661  x.js\n";
    let bench = Bench::new()
        .provider("own", "tencent-cdn", &cloud.url(), "credentials: {file: keys.json}\n")
        .file("keys.json", keys)
        .file("lists/SUMS", list)
        .file(
            "manifests/list.yaml",
            "base_url: https://cdn.example.com/l/\nsources: [{checksums: ../lists/SUMS, algorithm: md5}]\n",
        )
        .file("manifests/empty.json", "{\"assets\": {}}")
        .file("x", "");
    std::fs::set_permissions(bench.path("keys.json"), std::fs::Permissions::from_mode(0o600)).expect("private");
    bench.assets(&urls(3), "1");
    std::fs::create_dir(bench.path(".freshen")).expect("made");
    std::os::unix::fs::symlink(".freshen", bench.path("link")).expect("linked");
    let suffixes = ["", "-wal", "-shm", "-journal", ".lock", ".seal", ".new", ".new-wal", ".old-wal", ".aside-1.jsonl"];
    let refused = |name: &str| {
        for command in [&["apply"][..], &["watch", "--once"]] {
            bench.run(&[command, &["--audit", name]].concat()).exits(2).says("write it elsewhere");
        }
        assert!(bench.read(STATE).is_none() && bench.read(name).is_none_or(|bytes| !bytes.ends_with(b"}\n")), "{name}");
    };
    for suffix in suffixes {
        for before in ["", "./", "link/../", "manifests/.."] {
            refused(&format!("{before}/.freshen/state.db{suffix}").trim_start_matches('/').replace("//", "/"));
        }
        refused(&format!("link/state.db{suffix}"));
    }
    let inputs =
        ["manifests/site.yaml", "manifests/empty.json", "manifests/new.yaml", "manifests/a/New.YML", "keys.json"];
    for name in inputs {
        refused(name);
    }
    refused("lists/SUMS");
    // By another name of the file.
    std::fs::hard_link(bench.path("keys.json"), bench.path("hard.json")).expect("linked");
    std::fs::hard_link(bench.path("manifests/empty.json"), bench.path("hard.yaml.log")).expect("linked");
    refused("hard.json");
    refused("hard.yaml.log");
    bench.run(&["apply", "--audit", ".freshen/audit.jsonl"]).exits(0);
    // Also where nothing is to be sent.
    std::fs::write(bench.path("manifests/empty.json"), "{\"assets\": {}}  ").expect("written");
    bench.run(&["apply", "--audit", "keys.json"]).exits(2).says("write it elsewhere");
    std::fs::hard_link(bench.path(STATE), bench.path("state.log")).expect("linked");
    bench.assets(&urls(4), "1");
    bench.run(&["apply", "--audit", "state.log"]).exits(2).says("write it elsewhere");
    assert_eq!(lines(&bench, ".freshen/audit.jsonl").len(), 1);
}

/// X5: a file that holds lines of others is theirs, in any form, and nothing is sent.
#[test]
fn a_file_with_lines_of_others_is_no_audit_log() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud);
    bench.assets(&urls(3), "1");
    for text in [
        "not ours\n",
        "{\"name\":\"app\",\"version\":\"1.0.0\",\"private\":true}",
        "{\"name\":\"app\"}\n",
        "{\n  \"name\": \"app\"\n}\n",
        "{\"level\":\"info\",\"time\":\"2026-01-01T00:00:00Z\",\"msg\":\"x\"}\n{\"level\":\"info\"}\n",
        "{}\n",
        "{\"cut",
        "\n\n[]\n",
        "\u{feff}{}\n",
    ] {
        bench.write("theirs.json", text);
        for verb in [&["apply"][..], &["watch", "--once"]] {
            bench
                .run(&[verb, &["--audit", "theirs.json"]].concat())
                .exits(2)
                .says("nothing was sent")
                .says("other lines");
        }
        assert_eq!((cloud.count(), bench.read("theirs.json").as_deref()), (0, Some(text.as_bytes())));
        assert!(bench.read(STATE).is_none());
    }
    // What a stopped program left of its first line is ours.
    for text in ["", "\n", "{\"address\":null,\"code\":nu"] {
        bench.write("audit.jsonl", text);
        bench.assets(&urls(3), &format!("a{}", text.len()));
        bench.run(&["apply", "--audit", "audit.jsonl"]).exits(0);
        bench.assets(&urls(3), &format!("b{}", text.len()));
        bench.run(&["apply", "--audit", "audit.jsonl"]).exits(0);
    }
}
