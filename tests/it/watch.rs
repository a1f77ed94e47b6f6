//! `freshen watch` as a program: files change under it, providers fail, signals come. What is purged is counted at a cache
//! on loopback.

mod credentials;
mod faults;
mod files;
mod half;
mod limits;
mod log;
mod log_reader;
mod mounts;
mod reading;
mod storms;

use crate::support::cli::Bench;
use crate::support::cloud::Cloud;
use crate::support::watching::Watching;

/// A cache, and a folder with a manifest of `number` assets that are recorded already.
fn recorded(number: usize) -> (Cloud, Bench) {
    let cloud = Cloud::of("http-purge");
    let bench = Bench::at("http-purge", &cloud);
    bench.assets(&urls(number), "0");
    bench.run(&["adopt"]).exits(0);
    (cloud, bench)
}

/// The same, watched; its first run is over.
fn watched(number: usize) -> (Cloud, Bench, Watching) {
    let (cloud, bench) = recorded(number);
    let mut watching = Watching::start(&bench, &[]);
    watching.ends_a_run();
    (cloud, bench, watching)
}

fn urls(number: usize) -> Vec<String> {
    (0..number).map(|index| format!("http://cdn.example.com/{index}")).collect()
}

/// Whether all of them are recorded with this revision.
fn is_recorded(bench: &Bench, number: usize, revision: &str) -> bool {
    let recorded = bench.recorded();
    recorded.len() == number && recorded.iter().all(|row| row.ends_with(&format!("rev:{revision}")))
}
