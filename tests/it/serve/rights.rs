//! Which requests are answered.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;

use super::{address, listening, settled, urls};
use crate::support::cli::Bench;
use crate::support::cloud::Cloud;
use crate::support::reader::{Answer, get, request, send};
use crate::support::watching::Watching;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

fn with_token(mode: u32) -> (Cloud, Bench) {
    let cloud = Cloud::of("http-purge");
    let bench = Bench::at("http-purge", &cloud).file("token", format!("{TOKEN}\n"));
    std::fs::set_permissions(bench.path("token"), std::fs::Permissions::from_mode(mode)).expect("set");
    bench.assets(&urls(1), "0");
    bench.run(&["adopt"]).exits(0);
    (cloud, bench)
}

/// H2: pages of others cannot ask, whatever their name means to a resolver.
#[test]
fn only_known_hosts_are_answered() {
    let (_cloud, _bench, watching, at) = settled(1, &["--listen-host", "watch.example"]);
    let ask = |host: &str| send(at, format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
    for host in [at.to_string(), format!("localhost:{}", at.port()), "watch.example".to_owned()] {
        assert_eq!(ask(&host).status, 200, "{host}");
    }
    for host in ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "127.0.0.2", ""] {
        let answer = ask(host);
        assert!([400, 421].contains(&answer.status), "{host}: {answer:?}");
        assert!(!answer.body.contains("cdn") && !answer.body.contains("freshen watch</h1>"), "{answer:?}");
    }
    for raw in ["GET / HTTP/1.0\r\n\r\n", "GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n"] {
        assert_eq!(send(at, raw.as_bytes()).status, 421, "{raw}");
    }
    watching.stop();
}

/// H2: there is nothing to do here, and nothing for pages of others to read.
#[test]
fn it_is_for_reading_only() {
    let (_cloud, _bench, watching, at) = settled(1, &[]);
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PURGE"] {
        let answer = send(at, request(at, method, "/", "Origin: http://evil.example\r\n").as_bytes());
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{method}");
    }
    for path in ["/", "/metrics", "/app.js", "/readyz", "/none"] {
        let answer = send(at, request(at, "GET", path, "Origin: http://evil.example\r\n").as_bytes());
        assert!(!answer.head.contains("access-control"), "{answer:?}");
        let policy = answer.header("content-security-policy").expect("a policy");
        assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"), "{policy}");
        let fixed = [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
            ("cross-origin-resource-policy", "same-origin"),
        ];
        for (name, value) in fixed {
            assert_eq!(answer.header(name), Some(value), "{path}");
        }
    }
    watching.stop();
}

fn ask(at: SocketAddr, path: &str, authorization: &str) -> Answer {
    send(at, request(at, "GET", path, &format!("Authorization: {authorization}\r\n")).as_bytes())
}

/// H1: other machines are answered if they have the token, and whether it lives is shown to all.
#[test]
fn an_address_for_all_needs_a_token() {
    let (_cloud, bench) = with_token(0o600);
    bench.run(&["watch", "--listen", "0.0.0.0:0"]).exits(2).says("give `--listen-token-file`");
    let mut watching = Watching::start(&bench, &["--listen", "0.0.0.0:0", "--listen-token-file", "token"]);
    let told = watching.says("listening at")["message"].as_str().expect("a text").to_owned();
    let at = SocketAddr::from(([127, 0, 0, 1], address(&told).port()));
    watching.ends_a_run();
    for path in ["/", "/metrics", "/events", "/app.js", "/style.css", "/none"] {
        let answer = get(at, path);
        assert_eq!(answer.status, 401, "{path}");
        assert!(answer.header("www-authenticate").expect("asked for").starts_with("Basic "));
        assert_eq!(ask(at, path, "Bearer 0123456789abcdef0123456789abcdeF").status, 401, "{path}");
        assert_eq!(get(at, &format!("{path}?token={TOKEN}")).status, 401, "never in a URL: {path}");
    }
    // `x:TOKEN`, as browsers send it.
    let basic = "Basic eDowMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZg==";
    for authorization in [format!("Bearer {TOKEN}"), basic.to_owned()] {
        assert_eq!(ask(at, "/", &authorization).status, 200);
        assert_eq!(ask(at, "/metrics", &authorization).status, 200);
    }
    assert_eq!((get(at, "/healthz").status, get(at, "/readyz").status), (200, 200));
    bench.write("manifests/site.yaml", "assets: [");
    watching.says("the manifests are not valid");
    watching.ends_a_run();
    assert_eq!(get(at, "/readyz").body, "not ready\n");
    assert!(ask(at, "/readyz", &format!("Bearer {TOKEN}")).body.contains("site.yaml"));
    let log = format!("{:?}", watching.stop());
    assert!(!log.contains(TOKEN), "X1");
}

/// H1: a token that was replaced is taken from the next SIGHUP on, and the one before no longer.
#[test]
fn a_new_token_is_taken_at_sighup() {
    let (_cloud, bench) = with_token(0o600);
    let (mut watching, at) = listening(&bench, &["--listen-token-file", "token"]);
    watching.ends_a_run();
    let status = |token: &str| ask(at, "/metrics", &format!("Bearer {token}")).status;
    assert_eq!((status(TOKEN), status(&TOKEN.replace('0', "1"))), (200, 401));
    let asked = |record: &serde_json::Value| record["message"] == "run begins" && record["reason"] == "reload";
    bench.write("token", "short");
    watching.signal("HUP");
    watching.says("the token stays as it was");
    watching.wait("a run", asked);
    assert_eq!(status(TOKEN), 200);
    bench.write("token", TOKEN.replace('0', "1"));
    watching.signal("HUP");
    watching.wait("a run", asked);
    assert_eq!((status(TOKEN), status(&TOKEN.replace('0', "1"))), (401, 200));
    let log = format!("{:?}", watching.stop());
    assert!(!log.contains(&TOKEN.replace('0', "1")), "X1");
}

/// H2: a name is one name, and an address is known however it is written.
#[test]
fn listen_host_takes_names_and_addresses() {
    let (_cloud, bench) = with_token(0o600);
    for bad in ["*", "*.example", "", "watch.example:80", "[::1]:80", "http://watch.example", "a b", "a..b", "example."]
    {
        let ran = bench.run(&["watch", "--listen", "127.0.0.1:0", "--listen-host", bad]).exits(2);
        ran.says("one name or address without a port");
    }
    let hosts = ["--listen-host", "0:0::1", "--listen-host", "[::2]", "--listen-host", "Watch.Example"];
    let (mut watching, at) = listening(&bench, &hosts);
    watching.ends_a_run();
    let status = |host: &str| send(at, format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).status;
    for (host, known) in
        [("[::1]:9464", 200), ("[0::2]", 200), ("watch.example", 200), ("[::3]", 421), ("a.example", 421)]
    {
        assert_eq!(status(host), known, "{host}");
    }
    watching.stop();
}

/// H1: a token that others can read, or guess, is none.
#[test]
fn token_files_are_private_and_long_enough() {
    let listen = ["watch", "--listen", "127.0.0.1:0", "--listen-token-file", "token"];
    let (_cloud, bench) = with_token(0o644);
    bench.run(&listen).exits(2).says("token file `token` has mode 0644");
    let (_cloud, bench) = with_token(0o600);
    bench.write("token", "short\n");
    bench.run(&listen).exits(2).says("fewer than 16 characters");
}
