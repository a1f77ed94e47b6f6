//! The listener of `freshen watch`, asked over loopback.

mod alerts;
mod endpoints;
mod limits;
mod metrics;
mod page;
mod rights;

use std::net::SocketAddr;

use crate::support::cli::Bench;
use crate::support::cloud::Cloud;
use crate::support::watching::Watching;

/// Starts a watch that listens at a free port, and says where.
fn listening(bench: &Bench, arguments: &[&str]) -> (Watching, SocketAddr) {
    let mut watching = Watching::start(bench, &[&["--listen", "127.0.0.1:0"], arguments].concat());
    let told = watching.says("listening at")["message"].as_str().expect("a text").to_owned();
    (watching, address(&told))
}

fn address(told: &str) -> SocketAddr {
    told.rsplit_once("http://").expect("an address").1.parse().expect("an address")
}

/// A cache, and a watch over `number` assets that are recorded already; its first run is over.
fn settled(number: usize, arguments: &[&str]) -> (Cloud, Bench, Watching, SocketAddr) {
    let cloud = Cloud::of("http-purge");
    let bench = Bench::at("http-purge", &cloud);
    bench.assets(&urls(number), "0");
    bench.run(&["adopt"]).exits(0);
    let (mut watching, at) = listening(&bench, arguments);
    watching.ends_a_run();
    (cloud, bench, watching, at)
}

fn urls(number: usize) -> Vec<String> {
    (0..number).map(|index| format!("http://cdn.example.com/{index}")).collect()
}
