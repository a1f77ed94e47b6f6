//! What commands say of origins, of probes that are owed, and of what edges were seen to serve.

use crate::support::cli::Bench;
use crate::support::origin::{Origin, Page, UNCACHED};

/// Where the page of [`Site`] is read.
const URL: &str = "http://www.example.test/a.html";

/// A page at its origin and at an edge that takes purges, both on this machine. The edge serves what it is set to.
pub(crate) struct Site {
    pub(crate) bench: Bench,
    servers: Origin,
}

impl Site {
    /// Both serve this content, and the manifest asks for it.
    pub(crate) fn start(content: &str) -> Self {
        let servers = Origin::start();
        servers.take_all_methods();
        let [edge, _] = servers.replicas;
        let endpoint = format!("endpoints: [\"http://127.0.0.1:{edge}\"]");
        let provider = format!("providers:\n  own: {{kind: http-purge, hosts: [www.example.test], {endpoint}}}\n");
        let site = Self { bench: Bench::new().file("manifests/own.yaml", provider), servers };
        site.edge_serves(content);
        site.origin_serves(content);
        site.asks_for(content);
        site
    }

    pub(crate) fn edge_serves(&self, content: &str) {
        self.servers.publish_at(0, None, "/a.html", Page::of(content));
    }

    /// So does the edge where it has no copy.
    pub(crate) fn origin_serves(&self, content: &str) {
        self.servers.publish_at(1, None, "/a.html", Page::of(content));
        self.servers.publish_at(0, None, &format!("/a.html{UNCACHED}"), Page::of(content));
    }

    /// Has the manifest ask for this content.
    pub(crate) fn asks_for(&self, content: &str) {
        let [_, origin] = self.servers.replicas;
        let proof = "wait_for_origin: 0s\nverify: {settle: 100ms, repurge: 1}";
        let hash = blake3::hash(content.as_bytes()).to_hex();
        self.bench.write(
            "manifests/site.yaml",
            format!("origin: http://127.0.0.1:{origin}\n{proof}\nassets:\n  {URL}: blake3:{hash}\n"),
        );
    }
}

#[test]
fn a_stale_edge_is_told_from_a_fresh_one_and_named() {
    let site = Site::start("new");
    site.bench.run(&["apply", "--wait", "verified"]).exits(0).says("1 of 1 target verified at 1 place");
    site.edge_serves("old");
    let [edge, _] = site.servers.replicas;
    let ran = site.bench.run(&["verify"]).exits(4);
    ran.says(&format!("http://127.0.0.1:{edge} serves other content")).says("own: stale");
}

#[test]
fn a_run_that_makes_no_probes_says_which_it_owes_and_so_does_status() {
    let site = Site::start("new");
    site.bench.run(&["apply"]).exits(0).says("Not probed yet: 1 probe is due from ").says("; `freshen verify --due");
    let status = site.bench.run(&["status"]).exits(0).says("\nOwed: 1 probe, next ").says("`freshen verify --due");
    assert!(!status.stdout.contains("UNVERIFIED"), "{}", status.stdout);
    let explained = site.bench.run(&["explain", URL]).exits(0);
    let explained = explained.says("  ready       ").says(": its origin served the content\n  accepted    ");
    explained.says("  next probe  due from ").says("`freshen verify --due --state ").says("` makes it");
    site.bench.run(&["verify", "--due"]).exits(0).says("1 of 1 target verified");
    let status = site.bench.run(&["status"]).exits(0).says("VERIFIED  STALE");
    assert!(!status.stdout.contains("Owed"), "{}", status.stdout);
    site.bench.run(&["explain", URL]).exits(0).says("\n  verified    ").says("  last seen   http://127.0.0.1:");
}

#[test]
fn stale_targets_are_listed_with_what_was_seen() {
    let site = Site::start("new");
    site.bench.run(&["apply"]).exits(0);
    site.edge_serves("old");
    site.bench.run(&["verify", "--due"]).exits(4).says("the next run purges it again");
    let old = blake3::hash(b"old").to_hex();
    let status = site.bench.run(&["status"]).exits(0).says("Stale\n").says(&format!(" serves blake3:{old} (200)"));
    status.says("; the next run purges it again");
    let json = site.bench.run(&["status", "--format", "json"]).exits(0).json();
    assert_eq!(json["proof"]["stale"][0]["seen"]["hash"], format!("blake3:{old}"), "{json}");
    assert_eq!((&json["providers"][0]["stale"], &json["proof"]["owed"]), (&1.into(), &0.into()), "{json}");
}

#[test]
fn what_waits_for_its_origin_owes_no_probe() {
    let site = Site::start("new");
    site.origin_serves("old");
    let ran = site.bench.run(&["apply"]).exits(4).says("own: waiting: http://127.0.0.1:");
    assert!(!ran.stdout.contains("Not probed yet"), "{}", ran.stdout);
    let status = site.bench.run(&["status"]).exits(0).says("WAITING");
    assert!(!status.stdout.contains("Owed") && !status.stdout.contains("VERIFIED"), "{}", status.stdout);
    site.bench.run(&["apply", "--wait", "verified"]).exits(4).says("\nNothing to probe now.\n");
}
