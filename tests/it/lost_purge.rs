//! The promise, on real caches with the real binary: a purge that fails is not lost, and nothing else is purged.

use serde_json::{Value, json};

use crate::support::cache::Cache;
use crate::support::program::Program;
use crate::support::raw_server::{Answer, RawServer};
use crate::support::relay::Relay;

const HOST: &str = "static.example.test";
/// The page that gets new content, and those that must stay as they are.
const CHANGED: &str = "/news/today.html";
const OTHERS: [&str; 3] = ["/", "/news/", "/a%2Fb.txt?v=1"];

/// Pages with their content, caches that hold them, and manifests that say so.
struct Site {
    caches: Vec<Cache>,
    program: Program,
}

impl Site {
    /// Starts the caches with v1 of all pages cached and adopted. `None` if one is not installed.
    fn start(caches: &[&'static str], endpoints: &[u16], options: &str) -> Option<Self> {
        let caches: Vec<Cache> = caches.iter().map(|name| Cache::start(name)).collect::<Option<_>>()?;
        for cache in &caches {
            for path in pages() {
                cache.origin.publish(Some(HOST), path, &content(path, "v1"));
            }
            for path in pages() {
                assert_eq!(cache.warm(HOST, path).body, content(path, "v1"));
            }
        }
        let site = Self { caches, program: Program::new() };
        site.configure(endpoints, options);
        site.list("v1");
        site.assert_fetched(1);
        site.program.run(&["adopt"]).ended_with(0).says("Recorded 4 targets as fresh without purging");
        Some(site)
    }

    fn configure(&self, endpoints: &[u16], options: &str) {
        let endpoints: Vec<String> = endpoints.iter().map(|port| format!("\"http://127.0.0.1:{port}\"")).collect();
        let endpoints = endpoints.join(", ");
        let text = format!(
            "providers:\n  own:\n    kind: http-purge\n    hosts: [{HOST}]\n    endpoints: [{endpoints}]\n{options}"
        );
        self.program.write_manifest("providers.yaml", &text);
    }

    /// Lists all pages, the changing one with the hash of this version.
    fn list(&self, version: &str) {
        let mut text = format!("base_url: http://{HOST}/\nassets:\n");
        for path in pages() {
            let version = if path == CHANGED { version } else { "v1" };
            text.push_str(&format!("  {}: {}\n", url(path), hash(path, version)));
        }
        self.program.write_manifest("site.yaml", &text);
    }

    /// Publishes v2 of one page at all origins and in the manifest.
    fn publish_v2(&self) {
        for cache in &self.caches {
            cache.origin.publish(Some(HOST), CHANGED, &content(CHANGED, "v2"));
        }
        self.list("v2");
    }

    /// Visitors of each cache see `version` of the page that changed, and v1 of all others.
    #[track_caller]
    fn assert_served(&self, version: &str) {
        for cache in &self.caches {
            assert_eq!(cache.get(HOST, CHANGED).body, content(CHANGED, version));
            for path in OTHERS {
                assert_eq!(cache.get(HOST, path).body, content(path, "v1"));
            }
        }
    }

    /// Each origin was asked so often for the page that changed, and once for all others.
    #[track_caller]
    fn assert_fetched(&self, times: usize) {
        for cache in &self.caches {
            assert_eq!(cache.origin.fetches(CHANGED), times);
            for path in OTHERS {
                assert_eq!(cache.origin.fetches(path), 1, "{path}");
            }
        }
    }

    /// The state holds the old hash and the work that is left, and `status` and `plan` say so (S2).
    #[track_caller]
    fn assert_pending(&self, accepted_at: &[u16]) {
        let row = self.program.exported(&url(CHANGED));
        assert_eq!(row["hash"], hash(CHANGED, "v1"));
        assert_eq!((&row["work"]["standing"], &row["work"]["kind"]), (&json!("pending"), &json!("changed")));
        assert_eq!(row["work"]["desired"], hash(CHANGED, "v2"));
        let accepted_at: Vec<String> = accepted_at.iter().map(|port| format!("http://127.0.0.1:{port}")).collect();
        assert_eq!(row["work"]["accepted_at"], json!(accepted_at));
        self.program.run(&["status"]).ended_with(0).says(&url(CHANGED));
        self.program.run(&["plan", "--exit-code"]).ended_with(3).says(&url(CHANGED));
        self.assert_others_recorded();
    }

    /// Everything is recorded, nothing is left.
    #[track_caller]
    fn assert_recorded(&self) {
        let row = self.program.exported(&url(CHANGED));
        assert_eq!((&row["hash"], &row["work"]), (&json!(hash(CHANGED, "v2")), &Value::Null));
        self.program.run(&["plan", "--exit-code"]).ended_with(0);
        self.assert_others_recorded();
    }

    #[track_caller]
    fn assert_others_recorded(&self) {
        for path in OTHERS {
            let row = self.program.exported(&url(path));
            assert_eq!((&row["hash"], &row["work"]), (&json!(hash(path, "v1")), &Value::Null), "{path}");
        }
    }
}

fn pages() -> impl Iterator<Item = &'static str> {
    OTHERS.into_iter().chain([CHANGED])
}

fn url(path: &str) -> String {
    format!("http://{HOST}{path}")
}

fn content(path: &str, version: &str) -> String {
    format!("{version} of {path}")
}

fn hash(path: &str, version: &str) -> String {
    format!("blake3:{}", blake3::hash(content(path, version).as_bytes()).to_hex())
}

fn purges_of_the_changed_page(times: usize) -> Vec<String> {
    vec![format!("PURGE {HOST}{CHANGED}"); times]
}

/// The endpoint is down when the page changes and comes back later; the manifests are the same in both runs.
fn failed_purge_is_made_up_for(cache: &'static str, first_run: &[&str]) {
    let mut relay = Relay::down();
    let Some(site) = Site::start(&[cache], &[relay.port], "") else { return };
    site.publish_v2();

    let failed = site.program.run(first_run).ended_with(4);
    failed.says(&url(CHANGED));
    failed.says(&format!("http://127.0.0.1:{}", relay.port));
    failed.says("1 pending");
    site.assert_pending(&[]);
    site.assert_served("v1");

    relay.forward_to(site.caches[0].port);
    site.program.run(&["apply"]).ended_with(0).says("1 purge accepted in 1 call, everything is recorded");
    assert_eq!(relay.passed().requests, purges_of_the_changed_page(1));
    site.assert_recorded();
    site.assert_served("v2");
    site.assert_fetched(2);

    let passed = relay.passed();
    site.program.run(&["apply"]).ended_with(0).says("Nothing to do: 4 targets recorded, none changed");
    assert_eq!(relay.passed(), passed);
    site.assert_served("v2");
    site.assert_fetched(2);
}

// S1, S2, S3, S4, S9, L1
#[test]
fn purge_that_varnish_missed_is_made_up_for() {
    failed_purge_is_made_up_for("varnish", &["apply", "--deadline", "5s"]);
}

// S1, S2, S3, S4, S9, L1, and R10: without a deadline the attempts end the run.
#[test]
fn purge_that_nginx_missed_is_made_up_for() {
    failed_purge_is_made_up_for("nginx", &["apply"]);
}

// S1, S2, S3, S4, S9, L1
#[test]
fn purge_that_squid_missed_is_made_up_for() {
    failed_purge_is_made_up_for("squid", &["apply", "--deadline", "5s"]);
}

// S1, S2, S3, S4, S9, L1
#[test]
fn purge_that_trafficserver_missed_is_made_up_for() {
    failed_purge_is_made_up_for("trafficserver", &["apply", "--deadline", "5s"]);
}

// S2: the way to the cache is a matter of configuration, not of what is recorded.
#[test]
fn purge_that_was_sent_to_a_wrong_port_is_made_up_for_at_the_right_one() {
    let wrong = Relay::down();
    let Some(site) = Site::start(&["varnish"], &[wrong.port], "") else { return };
    site.publish_v2();
    site.program.run(&["apply", "--deadline", "5s"]).ended_with(4);
    site.assert_pending(&[]);

    let relay = Relay::to(site.caches[0].port);
    site.configure(&[relay.port], "");
    site.program.run(&["apply"]).ended_with(0);
    assert_eq!(relay.passed().requests, purges_of_the_changed_page(1));
    site.assert_recorded();
    site.assert_served("v2");
    site.assert_fetched(2);
}

/// Varnish and nginx carry the same pages; the endpoint of one of them, by its index, is down for a while (R17).
fn only_the_missing_endpoint_is_asked_again(down: usize) {
    let mut relays = [Relay::down(), Relay::down()];
    let ports = [relays[0].port, relays[1].port];
    let Some(site) = Site::start(&["varnish", "nginx"], &ports, "") else { return };
    let up = 1 - down;
    relays[up].forward_to(site.caches[up].port);
    site.publish_v2();

    let failed = site.program.run(&["apply", "--deadline", "5s"]).ended_with(4);
    failed.says(&format!("http://127.0.0.1:{}", ports[down]));
    assert!(!failed.stdout.contains(&format!("http://127.0.0.1:{}", ports[up])), "{failed:?}");
    assert_eq!(relays[up].passed().requests, purges_of_the_changed_page(1));
    site.assert_pending(&[ports[up]]);
    assert_eq!(site.caches[up].get(HOST, CHANGED).body, content(CHANGED, "v2"));
    assert_eq!(site.caches[down].get(HOST, CHANGED).body, content(CHANGED, "v1"));

    relays[down].forward_to(site.caches[down].port);
    let before = relays[up].passed();
    site.program.run(&["apply"]).ended_with(0).says("1 purge accepted in 1 call, everything is recorded");
    assert_eq!(relays[up].passed(), before);
    assert_eq!(relays[down].passed().requests, purges_of_the_changed_page(1));
    site.assert_recorded();
    site.assert_served("v2");
    site.assert_fetched(2);

    let before = [relays[0].passed(), relays[1].passed()];
    site.program.run(&["apply"]).ended_with(0);
    assert_eq!([relays[0].passed(), relays[1].passed()], before);
}

// R17, L2
#[test]
fn only_varnish_is_asked_again_after_nginx_accepted() {
    only_the_missing_endpoint_is_asked_again(0);
}

// R17, L2
#[test]
fn only_nginx_is_asked_again_after_varnish_accepted() {
    only_the_missing_endpoint_is_asked_again(1);
}

// R16: the connection ends without an answer, each time.
#[test]
fn cache_that_dies_on_purges_is_asked_five_times_and_nothing_is_recorded() {
    let mut relay = Relay::down();
    let Some(site) = Site::start(&["nginx"], &[relay.port], "") else { return };
    site.publish_v2();
    relay.hang_up();

    let failed = site.program.run(&["apply"]).ended_with(4);
    failed.says(&format!("no answer from http://127.0.0.1:{}", relay.port));
    assert_eq!(relay.passed().requests, purges_of_the_changed_page(5));
    site.assert_pending(&[]);
    site.assert_served("v1");

    relay.forward_to(site.caches[0].port);
    site.program.run(&["apply"]).ended_with(0);
    assert_eq!(relay.passed().requests, purges_of_the_changed_page(6));
    site.assert_recorded();
    site.assert_served("v2");
    site.assert_fetched(2);
}

/// A cache that knows no such method passes it on, and the origin refuses it (R15).
fn method_that_does_not_purge_is_not_recorded(cache: &'static str) {
    let mut relay = Relay::down();
    let Some(site) = Site::start(&[cache], &[relay.port], "    method: REFRESH\n") else { return };
    relay.forward_to(site.caches[0].port);
    site.publish_v2();

    let refused = site.program.run(&["apply"]).ended_with(4);
    refused.says(&format!("http://127.0.0.1:{}", relay.port));
    refused.says("not a purging cache");
    assert_eq!(relay.passed().requests, [format!("REFRESH {HOST}{CHANGED}")]);
    // What visitors see is not asked: Squid drops a page when a method that it does not know passes by.
    site.assert_pending(&[]);

    site.configure(&[relay.port], "");
    site.program.run(&["apply"]).ended_with(0);
    site.assert_recorded();
    site.assert_served("v2");
}

// R15
#[test]
fn method_that_varnish_passes_on_is_not_recorded() {
    method_that_does_not_purge_is_not_recorded("varnish");
}

// R15
#[test]
fn method_that_nginx_passes_on_is_not_recorded() {
    method_that_does_not_purge_is_not_recorded("nginx");
}

// R15
#[test]
fn method_that_squid_passes_on_is_not_recorded() {
    method_that_does_not_purge_is_not_recorded("squid");
}

// R15
#[test]
fn method_that_trafficserver_passes_on_is_not_recorded() {
    method_that_does_not_purge_is_not_recorded("trafficserver");
}

// R15: the usual answers of servers that do not purge, and of caches that do not allow it. No cache is needed.
#[test]
fn endpoint_without_purging_is_named_with_its_status_and_asked_once() {
    for status in ["403 Forbidden", "405 Method Not Allowed", "501 Not Implemented"] {
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        let server = RawServer::start(vec![Answer::Keep(answer.into_bytes())]);
        let site = Site { caches: Vec::new(), program: Program::new() };
        site.configure(&[server.address.port()], "");
        site.list("v1");
        site.program.run(&["adopt"]).ended_with(0);
        site.publish_v2();

        let refused = site.program.run(&["apply"]).ended_with(4);
        refused.says(&status[..3]);
        refused.says(&format!("http://{}", server.address));
        refused.says("not a purging cache");
        assert_eq!(server.seen().requests.len(), 1, "{status}");
        site.assert_pending(&[]);
    }
}
