//! Progress bars: for people on a terminal, and for nobody else.

use super::{Bench, Cloud, urls};

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
    assert_eq!((ran.stderr.as_str(), cloud.count()), ("", 3));
}

#[test]
fn a_long_run_shows_its_progress_on_a_terminal() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = bench(&cloud);
    // Makes a terminal; what the program writes to it comes out at the other end.
    let program = env!("CARGO_BIN_EXE_freshen");
    let line = format!("TERM=xterm {program} apply > result");
    let output = match bench.other("script", &["-qec", &line, "/dev/null"]).output() {
        Ok(output) => output,
        Err(error) => {
            eprintln!("SKIPPED: script: {error}");
            return;
        }
    };
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && shown.contains("purging") && shown.contains("of 3 targets"), "{shown}");
    let result = String::from_utf8(bench.read("result").expect("written")).expect("UTF-8");
    assert!(result.contains("3 purges accepted in 3 calls") && !result.contains("purging"), "{result}");
}
