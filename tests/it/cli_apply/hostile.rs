//! R20, S6: servers that are slow, endless or no servers of the vendor at all cost bounded time and memory, and nothing
//! that they say is recorded. Answers that are merely wrong are in `faults.rs`.

use std::process::Child;
use std::sync::mpsc::channel;
use std::time::Duration;

use serde_json::Value;

use super::{Bench, urls};
use crate::support::cli::Ran;
use crate::support::cloud::{KEY_ID, KEY_SECRET};
use crate::support::is_nightly;
use crate::support::raw_server::{Answer, RawServer};

/// Most memory that a run may need, in KiB. Without sanitizers and the like a run needs some 20 MiB.
const MOST_KIB: u64 = 80 * 1024;

/// Calls that one batch is worth, and the question what is left of the quota.
const MOST_CALLS: usize = 5 + 1;

/// Lets a run end and looks at the most memory that it had meanwhile, in KiB.
fn peak_of(mut child: Child) -> (Ran, u64) {
    let (_keep, never) = channel::<()>();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().expect("a child").is_none() {
        // Until it is the program, it has the memory of this one.
        let text = std::fs::read_to_string(&status).ok().filter(|text| text.starts_with("Name:\tfreshen\n"));
        let text = text.unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).and_then(|kib| kib.parse().ok());
        peak = peak.max(kib.unwrap_or_default());
        let _ = never.recv_timeout(Duration::from_millis(5));
    }
    (Ran::of(&child.wait_with_output().expect("ended")), peak)
}

/// Bytes that are sent, how the audit log classes the call, and its code and message.
fn hostile() -> Vec<(&'static str, Answer, &'static str, Option<&'static str>, &'static str)> {
    let bytes = |text: &str| text.as_bytes().to_vec();
    let block = vec![b'a'; 1 << 16];
    let chunk = [b"10000\r\n".to_vec(), block.clone(), bytes("\r\n")].concat();
    let gzip =
        [bytes("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 20\r\n\r\n"), vec![0x1f; 20]].concat();
    let odd = "the answer is not the documented one";
    vec![
        ("nothing at all", Answer::Silent(Vec::new()), "unknown", None, "answer within 1000 ms"),
        ("half a head", Answer::Silent(bytes("HTTP/1.1 200 OK\r\nX-A:")), "unknown", None, "answer within 1000 ms"),
        (
            "half a body",
            Answer::Silent(bytes("HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{\"Response\": {")),
            "unknown",
            None,
            "answer within 1000 ms",
        ),
        (
            "a byte now and then",
            Answer::Drip(bytes("HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{")),
            "unknown",
            None,
            "answer within 1000 ms",
        ),
        (
            "a head without end",
            Answer::Drip(bytes("HTTP/1.1 200 OK\r\nX-A: ")),
            "unknown",
            None,
            "answer within 1000 ms",
        ),
        (
            "a gigabyte",
            Answer::Endless(bytes("HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n"), block.clone()),
            "unknown",
            None,
            "answer larger than 4 MiB",
        ),
        (
            "a body without end",
            Answer::Endless(bytes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), chunk),
            "unknown",
            None,
            "answer larger than 4 MiB",
        ),
        (
            "headers without end",
            Answer::Endless(bytes("HTTP/1.1 200 OK\r\n"), [bytes("X-A: "), block, bytes("\r\n")].concat()),
            "unknown",
            None,
            "",
        ),
        ("no HTTP", Answer::Close(bytes("220 mail.example.com ESMTP\r\n")), "unknown", None, ""),
        ("a packed body", Answer::Close(gzip), "unknown", Some("HTTP 200"), odd),
        ("a hang-up", Answer::Close(Vec::new()), "unknown", None, ""),
    ]
}

#[test]
fn r20_hostile_servers_cost_bounded_time_and_memory_and_are_never_recorded() {
    std::thread::scope(|scope| {
        for (name, answer, class, code, message) in hostile() {
            scope.spawn(move || {
                // What is waited for is short; what ends by itself must not end by a busy machine.
                let is_slow = matches!(answer, Answer::Silent(_) | Answer::Drip(_));
                let timeout = if is_slow { "1s" } else { "60s" };
                let server = RawServer::start(vec![answer]);
                let url = format!("http://{}", server.address);
                let bench =
                    Bench::new().provider("own", "tencent-cdn", &url, "").keys("tencent-cdn", KEY_ID, KEY_SECRET, None);
                bench.assets(&urls(2), "1");
                let arguments = ["apply", "--timeout", timeout, "--audit", "audit.jsonl"];
                let (ran, peak_kib) = peak_of(bench.start(&arguments));
                let ran = ran.exits(4).says(message);
                assert!((1..MOST_KIB).contains(&peak_kib), "{name}: {peak_kib} KiB");
                let calls = server.seen().requests.len();
                assert!((1..=MOST_CALLS).contains(&calls), "{name}: {calls} calls");
                assert!(bench.recorded().is_empty() && bench.exported().len() == 2, "{name}");
                let audit = String::from_utf8(bench.read("audit.jsonl").expect("a log")).expect("UTF-8");
                for line in audit.lines().map(|line| serde_json::from_str::<Value>(line).expect("a JSON line")) {
                    assert_eq!(
                        (&line["outcome"], &line["code"]),
                        (&class.into(), &code.into()),
                        "{name}: {line} {ran:?}"
                    );
                    // Longer than the timeout by what a busy machine adds, and no endless wait.
                    assert!(line["duration_ms"].as_u64().is_some_and(|ms| ms < 60_000), "{name}: {line}");
                }
                bench.run(&["plan"]).exits(0).says("2");
            });
        }
    });
}

#[test]
fn a_timeout_is_a_duration_and_not_nothing() {
    let bench = Bench::new();
    for bad in ["0s", "1", "soon"] {
        bench.run(&["apply", "--timeout", bad]).exits(2).says("--timeout");
    }
}

/// Y1: whatever a manifest repeats, reading it takes little more than what it has in bytes.
#[test]
fn y1_manifests_that_repeat_a_sign_cost_bounded_memory() {
    // What is read stops at a budget, which the smaller ones have nearly reached.
    let (size, most_over_kib) = if is_nightly() { (10_000_000, 64 * 1024) } else { (2_000_000, 48 * 1024) };
    let lines = |head: &str, line: &str| head.to_owned() + &line.repeat(size / line.len());
    let cases = [
        ("dashes", lines("", "-\n")),
        ("dashes in a list", lines("assets:\n", "-\n")),
        ("nested dashes", lines("assets:\n", "- - - - - - - -\n")),
        ("keys that are asked for", lines("assets:\n", " ? \n")),
        ("keys that are empty", lines("assets:\n", " : \n")),
        ("brackets", lines("assets: ", "[")),
        ("empty lists", lines("assets: [", "[],")),
        ("texts", lines("assets: [", "a,")),
        ("pairs", lines("assets: [", "a: b,")),
        ("directives", lines("%TAG !a! a\n", "%TAG !b! a\n")),
        ("anchors", lines("assets: [", "&a a,*a,")),
    ];
    for (name, text) in cases {
        let bench = Bench::new().file("m.yaml", &text);
        let (ran, peak_kib) = peak_of(bench.start(&["check", "m.yaml"]));
        ran.exits(2);
        let over = peak_kib.saturating_sub(text.len() as u64 / 1024);
        assert!(over < most_over_kib, "{name}: {over} KiB over the input");
    }
}
