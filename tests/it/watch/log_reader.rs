//! The log, and its readers.

use std::io::{PipeReader, PipeWriter, Read, Write};
use std::process::Child;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use super::{is_recorded, recorded, urls};
use crate::support::cli::Bench;
use crate::support::cloud::Step;
use crate::support::watching::{ended, signal};

/// A pipe that holds as much as it can, and how much that is. Its writer waits until it is read.
fn full_pipe() -> (PipeReader, PipeWriter, usize) {
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    let flags = fcntl_getfl(&writer).expect("flags");
    fcntl_setfl(&writer, flags | OFlags::NONBLOCK).expect("set");
    let mut held = 0;
    while let Ok(written) = writer.write(b"\n") {
        held += written;
    }
    fcntl_setfl(&writer, flags).expect("set");
    (reader, writer, held)
}

/// A program that is killed when the test ends.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A watch that writes there.
fn start(bench: &Bench, log: PipeWriter) -> Started {
    let mut command = bench.command(&["watch", "--log-format", "json", "--log-level", "debug"]);
    Started(command.stderr(log).spawn().expect("started"))
}

/// W6, C14: purges and signals do not wait for the reader of the log.
#[test]
fn a_reader_of_the_log_that_stops_holds_up_nothing() {
    let (cloud, bench) = recorded(3);
    let (reader, log, _) = full_pipe();
    bench.assets(&urls(3), "1");
    cloud.script([Step::Pass, Step::Pass, Step::Hold]);
    let mut child = start(&bench, log);
    cloud.wait_for_hold();
    signal(child.0.id(), "TERM");
    cloud.release();
    assert_eq!(ended(&mut child.0), Some(0), "nobody reads to its end");
    assert!(is_recorded(&bench, 3, "1"));
    drop(reader);
}

/// C14: what was not written yet when the program is asked to end is written if there is a reader, in whole lines.
#[test]
fn what_is_left_of_the_log_is_written_at_the_end() {
    let (cloud, bench) = recorded(3);
    let (mut reader, log, held) = full_pipe();
    bench.assets(&urls(3), "1");
    cloud.script([Step::Pass, Step::Pass, Step::Hold]);
    let mut child = start(&bench, log);
    cloud.wait_for_hold();
    signal(child.0.id(), "TERM");
    cloud.release();
    let mut told = String::new();
    reader.read_to_string(&mut told).expect("text");
    let lines = told[held..].lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("a record"));
    let messages: Vec<String> = lines.map(|record| record["message"].as_str().expect("a text").to_owned()).collect();
    assert_eq!(messages.first().map(String::as_str), Some("watching"));
    assert_eq!(messages.last().map(String::as_str), Some("stopped"));
    assert_eq!(messages.iter().filter(|message| *message == "call").count(), 3, "{messages:?}");
    assert_eq!(ended(&mut child.0), Some(0));
}
