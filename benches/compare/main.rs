//! Every comparison of `docs/performance.md` in one run: the program as a user starts it, beside what others take for
//! the same work on the same machine, with the bar that it has to hold.
//!
//! `cargo bench --bench compare -- --help`. Inputs are generated once and kept for the next run. Does not know how
//! anything is measured.

mod inputs;
mod manifests;
mod measure;
mod program;
mod purges;
#[expect(dead_code, reason = "shared with what is measured of the watch")]
mod table;
mod trees;

use std::path::PathBuf;
use std::process::ExitCode;

use measure::Setup;
use table::Table;

const HELP: &str = "\
cargo bench --bench compare -- [NAME…] [--scale X] [--runs N] [--build] [--clean] [--help]

Runs all cases, or those whose names begin with a NAME, and prints one table of them. Fails if a bar is missed.

  --scale X  inputs of X times the size; at any other than 1 no bar is judged
  --runs N   times are the shortest of N runs (5); what takes long runs fewer times
  --build    builds the program from scratch, and runs no other case that is not named
  --clean    removes all inputs and states once the cases have run

Inputs lie in FRESHEN_BENCH_DIR, or in the system's folder for temporary files, and take 12 GB.

Cases:
";

/// A case of the table.
struct Case {
    name: &'static str,
    about: &'static str,
    run: fn(&Setup, &mut Table),
}

const CASES: [Case; 14] = [
    Case { name: "nothing_changed", about: "1 000 000 assets, a no-op", run: manifests::nothing_changed },
    Case { name: "one_changed", about: "the same, one asset changed", run: manifests::one_changed },
    Case { name: "hundred_files", about: "the same in 100 files", run: manifests::hundred_files },
    Case { name: "ten_million", about: "10 000 000 assets in checksum lists", run: manifests::ten_million },
    Case { name: "first_scan", about: "a directory of 100 000 files, hashed", run: trees::first_scan },
    Case { name: "unchanged_tree", about: "the same, a no-op", run: trees::unchanged_tree },
    Case { name: "big_files", about: "4 files of 1 GB, hashed", run: trees::big_files },
    Case { name: "commit", about: "an accepted batch of 1000 in the state", run: program::commit },
    Case { name: "purges", about: "50 000 purges of a cache without a limit", run: purges::purges },
    Case { name: "slow_commits", about: "1000 purges on a slow disk", run: purges::slow_commits },
    Case { name: "start", about: "the program's start", run: program::start },
    Case { name: "plan_of_ten", about: "a plan of ten assets", run: program::plan_of_ten },
    Case { name: "size", about: "the program's size", run: program::size },
    Case { name: BUILD, about: "the program's build; only by its name or --build", run: program::build },
];
const BUILD: &str = "build";

/// What the user asks for.
struct Asked {
    names: Vec<String>,
    scale: f64,
    runs: usize,
    build: bool,
    clean: bool,
}

fn main() -> ExitCode {
    let asked = match Asked::of(std::env::args().skip(1)) {
        Ok(asked) => asked,
        Err(message) => {
            eprint!("{message}{HELP}");
            for case in &CASES {
                eprintln!("  {:<16} {}", case.name, case.about);
            }
            return ExitCode::from(if message.is_empty() { 0 } else { 2 });
        }
    };
    let setup = Setup::new(&folder(asked.scale), asked.scale, asked.runs);
    let mut table = Table::new(asked.scale);
    for case in CASES.iter().filter(|case| asked.selects(case.name)) {
        eprintln!("{}: {} …", case.name, case.about);
        table.begin(case.name);
        (case.run)(&setup, &mut table);
    }
    print!("{table}");
    if asked.clean {
        setup.clean();
    }
    if table.is_met() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Asked {
    /// An empty error asks for help.
    fn of(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut asked = Self { names: Vec::new(), scale: 1.0, runs: 5, build: false, clean: false };
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("`{argument}` needs a value\n\n"));
            match argument.as_str() {
                // The harness of cargo adds it.
                "--bench" => {}
                "--scale" => asked.scale = number(&value()?)?,
                "--runs" => asked.runs = number(&value()?)?,
                "--build" => asked.build = true,
                "--clean" => asked.clean = true,
                "--help" => return Err(String::new()),
                name if CASES.iter().any(|case| case.name.starts_with(name)) => asked.names.push(argument),
                _ => return Err(format!("there is no case or option `{argument}`\n\n")),
            }
        }
        let is_sound = asked.scale.is_finite() && asked.scale > 0.0 && asked.runs > 0;
        if is_sound { Ok(asked) } else { Err("scale and runs are numbers above 0\n\n".to_owned()) }
    }

    fn selects(&self, case: &str) -> bool {
        let is_named = self.names.iter().any(|name| case.starts_with(name.as_str()));
        if case == BUILD { self.build || is_named } else { is_named || self.names.is_empty() && !self.build }
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("`{text}` is not a number\n\n"))
}

/// Where inputs and states lie: a folder for each scale.
#[expect(clippy::disallowed_methods, reason = "the user names the folder")]
fn folder(scale: f64) -> PathBuf {
    let parent = std::env::var_os("FRESHEN_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    parent.join("freshen-bench").join(scale.to_string())
}
