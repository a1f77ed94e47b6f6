//! Progress bars: for people on a terminal, and for nobody else.

use super::{Bench, Cloud, urls};
use crate::support::cloud::HOSTS;
use crate::support::is_installed;

/// A run that lasts longer than a second: three calls, one a second.
fn bench(cloud: &Cloud) -> Bench {
    let slow = "limits: {calls_per_second: 1, urls_per_call: 1}\n";
    let bench = Bench::at("tencent-cdn", cloud).provider("own", "tencent-cdn", &cloud.url(), slow);
    bench.assets(&urls(3), "1");
    bench
}

/// X5: a log of a CI system holds no bars.
#[test]
fn nothing_of_a_progress_bar_reaches_a_file_or_pipe() {
    let cloud = Cloud::of("tencent-cdn");
    let ran = bench(&cloud).run(&["apply"]).exits(0);
    assert_eq!((ran.stderr.lines().count(), cloud.count()), (1, 3), "{}", ran.stderr);
    assert!(ran.stderr.starts_with("note: no state at "), "{}", ran.stderr);
}

/// What a run shows on a terminal, and its result; `None` where no terminal can be made. `tracer` is a program that runs it.
fn on_a_terminal(bench: &Bench, tracer: &str, verb: &str) -> Option<(String, String)> {
    // Makes a terminal; what the program writes to it comes out at the other end.
    let program = env!("CARGO_BIN_EXE_freshen");
    let line = format!("TERM=xterm {tracer} {program} {verb} > result");
    let output = bench.other("script", &["-qec", &line, "/dev/null"]).output();
    let output = output.inspect_err(|error| eprintln!("SKIPPED: script: {error}")).ok()?;
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{shown}");
    Some((shown, String::from_utf8(bench.read("result").expect("written")).expect("UTF-8")))
}

#[test]
fn a_long_run_shows_its_progress_on_a_terminal() {
    let cloud = Cloud::of("tencent-cdn");
    let Some((shown, result)) = on_a_terminal(&bench(&cloud), "", "apply") else { return };
    assert!(shown.contains("purging") && shown.contains("of 3 purges"), "{shown}");
    assert!(result.contains("3 purges accepted in 3 calls") && !result.contains("purging"), "{result}");
}

/// D5: a person that waits for a directory or a list sees how far its reading is.
#[test]
fn reading_sources_shows_its_progress_on_a_terminal() {
    if !is_installed("strace", "strace") {
        return;
    }
    let cloud = Cloud::of("http-purge");
    let bench = Bench::at("http-purge", &cloud).file("public/a", "a").file("public/b/c", "c").file("public/video", "v");
    let site = format!("base_url: https://{}/\nsources: [{{directory: ../public}}]\n", HOSTS[0]);
    bench.write("manifests/site.yaml", site);
    let video = bench.path("public/video").canonicalize().expect("a file");
    // As long as a large file on a slow disk.
    let slowly = "-e trace=read -e inject=read:delay_enter=2000000:when=1";
    let tracer = format!("strace -f -qqq -o /dev/null -P {} {slowly}", video.display());
    let Some((shown, result)) = on_a_terminal(&bench, &tracer, "plan") else { return };
    assert!(shown.contains("reading manifests and 2 files of their sources"), "{shown}");
    assert!(result.contains("3 purges in") && !result.contains("reading"), "{result}");
}
