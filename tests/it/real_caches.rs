//! Real caches on loopback: what a purge does to each, sent by the program's own HTTP client.

use freshen::core::http::{Endpoint, Request};
use freshen::host::env::SystemEnv;
use freshen::host::http::HttpClient;
use freshen::host::{Http, Timeouts};

use crate::support::cache::Cache;

const HOST: &str = "static.example.test";
const PATH: &str = "/a%2Fb.txt?v=1";

/// A visitor sees the old content until its purge; `not_cached` is the status of a purge that finds nothing.
async fn purge_replaces_old_content(name: &'static str, not_cached: u16) {
    let Some(cache) = Cache::start(name) else { return };
    cache.origin.publish(Some(HOST), PATH, "old");
    cache.origin.publish(None, PATH, "of another host");
    assert_eq!(cache.get(HOST, PATH).body, "old");
    let second = cache.warm(HOST, PATH);
    assert_eq!((second.status, second.body.as_str()), (200, "old"));
    assert!(second.header("age").is_some() || second.header("x-cache") == Some("HIT"), "{second:?}");
    assert_eq!(cache.origin.fetches(PATH), 1);

    cache.origin.publish(Some(HOST), PATH, "new");
    assert_eq!(cache.get(HOST, PATH).body, "old");

    let request = Request {
        route: freshen::core::http::Route::Direct,
        method: "PURGE".into(),
        endpoint: Endpoint {
            tls: false,
            host: "127.0.0.1".into(),
            port: Some(cache.port),
            path_prefix: String::new(),
            address: None,
        },
        path_and_query: PATH.into(),
        headers: vec![("Host".into(), HOST.into())],
        body: Vec::new(),
    };
    let client = HttpClient::new(&SystemEnv);
    let purged = client.send(request, Timeouts::default()).await.expect("an answer");
    assert_eq!(purged.status, 200);
    assert_eq!(cache.purge(HOST, PATH).status, not_cached);
    assert_eq!(cache.get(HOST, PATH).body, "new");
    assert_eq!(cache.origin.fetches(PATH), 2);
}

#[tokio::test]
async fn varnish_serves_new_content_after_a_purge() {
    purge_replaces_old_content("varnish", 200).await;
}

#[tokio::test]
async fn nginx_serves_new_content_after_a_purge() {
    purge_replaces_old_content("nginx", 404).await;
}

#[tokio::test]
async fn squid_serves_new_content_after_a_purge() {
    purge_replaces_old_content("squid", 404).await;
}

#[tokio::test]
async fn trafficserver_serves_new_content_after_a_purge() {
    purge_replaces_old_content("trafficserver", 404).await;
}
