//! The one-shot HTTP client against servers that behave badly on purpose.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::process::Command;
use std::sync::Arc;

use freshen::core::http::{Endpoint, Request, Response, Route, TransportFailure, TransportFailureKind};
use freshen::host::env::SystemEnv;
use freshen::host::http::HttpClient;
use freshen::host::{Http, Timeouts};

use crate::support::cloud::Cloud;
use crate::support::raw_server::{Answer, RawServer};

const CANARY: &str = "canary-header-value";
const MIB: usize = 1024 * 1024;

fn at(address: SocketAddr, path: &str) -> Request {
    Request {
        route: Route::Direct,
        method: "PURGE".into(),
        endpoint: Endpoint {
            tls: false,
            host: address.ip().to_string(),
            port: Some(address.port()),
            path_prefix: String::new(),
            address: None,
        },
        path_and_query: path.into(),
        headers: vec![("Host".into(), "static.example.cn".into()), ("X-Token".into(), CANARY.into())],
        body: Vec::new(),
    }
}

fn client() -> HttpClient {
    HttpClient::new(&SystemEnv)
}

async fn send(address: SocketAddr, timeouts: Timeouts) -> Result<Response, TransportFailure> {
    client().send(at(address, "/canary-path"), timeouts).await
}

/// The failure, after a look for what must not be in it (X1).
async fn failure(address: SocketAddr, timeouts: Timeouts) -> TransportFailure {
    let failure = send(address, timeouts).await.expect_err("no whole answer");
    assert!(!failure.message.contains("canary") && !failure.message.contains("://"), "{failure:?}");
    assert!(!failure.message.is_empty());
    failure
}

fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nX-Cache: MISS\r\n\r\n{body}", body.len()).into_bytes()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn answer_is_returned_whole() {
    let server = RawServer::start(vec![Answer::Keep(ok("gone"))]);
    let response = send(server.address, Timeouts::default()).await.expect("answered");
    assert_eq!(
        (response.status, response.body.as_slice(), response.header("x-cache")),
        (200, &b"gone"[..], Some("MISS"))
    );
}

// The table of answers: 3xx is refused, never followed.
#[tokio::test]
async fn redirect_is_an_answer_and_not_followed() {
    let other = RawServer::start(vec![Answer::Keep(ok(""))]);
    let location = format!("HTTP/1.1 307 Go\r\nLocation: http://{}/\r\nContent-Length: 0\r\n\r\n", other.address);
    let server = RawServer::start(vec![Answer::Keep(location.into_bytes())]);
    let response = send(server.address, Timeouts::default()).await.expect("answered");
    assert_eq!(response.status, 307);
    assert_eq!((server.seen().requests.len(), other.seen().connections), (1, 0));
}

// R16
#[tokio::test]
async fn connection_closed_without_answer_is_unknown_and_not_repeated() {
    let server = RawServer::start(vec![Answer::Close(Vec::new())]);
    assert_eq!(failure(server.address, Timeouts::default()).await.kind, TransportFailureKind::Unknown);
    assert_eq!(server.seen().requests.len(), 1);
}

// R10, R16: a server that dies on a request over a connection that was used before.
#[tokio::test]
async fn reused_connection_that_dies_on_a_request_is_unknown_and_not_repeated() {
    let server = RawServer::start(vec![Answer::Keep(ok("")), Answer::Close(Vec::new())]);
    let client = client();
    client.send(at(server.address, "/"), Timeouts::default()).await.expect("answered");
    let failure = client.send(at(server.address, "/"), Timeouts::default()).await.expect_err("closed");
    assert_eq!(failure.kind, TransportFailureKind::Unknown);
    let seen = server.seen();
    assert_eq!((seen.requests.len(), seen.connections), (2, 1));
}

#[tokio::test]
async fn cut_body_is_unknown() {
    let cut = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this".to_vec();
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nonly".to_vec();
    for bytes in [cut, chunked] {
        let server = RawServer::start(vec![Answer::Close(bytes)]);
        assert_eq!(failure(server.address, Timeouts::default()).await.kind, TransportFailureKind::Unknown);
    }
}

#[tokio::test]
async fn answer_that_is_not_http_is_unknown() {
    let server = RawServer::start(vec![Answer::Close(b"canary 220 mail.example ESMTP\r\n\r\n".to_vec())]);
    assert_eq!(failure(server.address, Timeouts::default()).await.kind, TransportFailureKind::Unknown);
}

#[tokio::test]
async fn refused_connection_is_not_connected() {
    let address = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    let failure = failure(address, Timeouts::default()).await;
    assert_eq!(failure.kind, TransportFailureKind::NotConnected);
    assert!(failure.message.to_lowercase().contains("refused"), "{failure:?}");
}

#[tokio::test]
async fn unknown_name_is_not_connected() {
    let mut request = at(([127, 0, 0, 1], 1).into(), "/");
    // A name that no server may ever resolve, so nothing leaves the machine but the question at most.
    request.endpoint.host = "freshen.invalid".into();
    let client = HttpClient::new(&NoEnv);
    let failure = client.send(request, Timeouts::default()).await.expect_err("no such name");
    assert_eq!(failure.kind, TransportFailureKind::NotConnected);
}

// R20
#[tokio::test(flavor = "multi_thread")]
async fn endless_body_is_cut_off_at_the_cap() {
    let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    let chunk = [b"10000\r\n".as_slice(), &vec![b'x'; 0x10000], b"\r\n"].concat();
    let server = RawServer::start(vec![Answer::Endless(head, chunk)]);
    let failure = failure(server.address, Timeouts::default()).await;
    assert_eq!((failure.kind, failure.message.as_str()), (TransportFailureKind::Unknown, "answer larger than 4 MiB"));
    server.wait_for_end();
    // What the system buffers comes on top of what was read.
    assert!(server.seen().bytes_written < 32 * MIB, "read {} bytes", server.seen().bytes_written);
}

#[tokio::test]
async fn body_of_the_cap_is_accepted_and_one_byte_more_is_not() {
    let answer = |length: usize| Answer::Close(ok(&"x".repeat(length)));
    let server = RawServer::start(vec![answer(4 * MIB), answer(4 * MIB + 1)]);
    let whole = send(server.address, Timeouts::default()).await.expect("within the cap");
    assert_eq!(whole.body.len(), 4 * MIB);
    assert_eq!(failure(server.address, Timeouts::default()).await.message, "answer larger than 4 MiB");
}

// R20
#[tokio::test]
async fn slow_server_is_unknown() {
    let silent = RawServer::start(vec![Answer::Silent(Vec::new())]);
    let first_byte = Timeouts { first_byte_ms: 50, ..Timeouts::default() };
    let failed = failure(silent.address, first_byte).await;
    assert_eq!((failed.kind, failed.message.as_str()), (TransportFailureKind::Unknown, "no answer within 50 ms"));

    let half = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf".to_vec();
    let stuck = RawServer::start(vec![Answer::Silent(half)]);
    let total = Timeouts { total_ms: 50, ..Timeouts::default() };
    let failed = failure(stuck.address, total).await;
    assert_eq!((failed.kind, failed.message.as_str()), (TransportFailureKind::Unknown, "no whole answer within 50 ms"));
}

// R20: nothing that grows when it is unpacked is asked for, or unpacked.
#[tokio::test]
async fn compressed_body_is_neither_asked_for_nor_unpacked() {
    let bytes = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00".to_vec();
    let server = RawServer::start(vec![Answer::Keep(bytes)]);
    let response = send(server.address, Timeouts::default()).await.expect("answered");
    assert_eq!(response.body, b"\x1f\x8b\x08\x00");
    assert!(!text(&server.seen().requests[0]).to_ascii_lowercase().contains("accept-encoding"));
}

// U4: caches compare bytes.
#[tokio::test]
async fn request_line_and_host_arrive_as_written() {
    let server = RawServer::start(vec![Answer::Keep(ok(""))]);
    let client = client();
    let paths = ["/a%2Fb/+~*%20?q=1&r=%E4%BD%A0", "//a//", "/a?", "/?", "/", "/%66?a=/../b|c", "/x;y=(1)!$&',:@"];
    for path in paths {
        client.send(at(server.address, path), Timeouts::default()).await.expect("answered");
    }
    let seen = server.seen();
    for (path, request) in paths.iter().zip(&seen.requests) {
        let request = text(request);
        assert!(request.starts_with(&format!("PURGE {path} HTTP/1.1\r\n")), "{request}");
        let hosts: Vec<_> = request.lines().filter(|line| line.to_ascii_lowercase().starts_with("host:")).collect();
        assert_eq!(hosts.len(), 1, "{request}");
        assert!(hosts[0].ends_with(": static.example.cn"), "{request}");
        assert!(request.contains(&format!(": {CANARY}\r\n")), "{request}");
        assert!(!request.to_ascii_lowercase().contains("content-length"), "{request}");
    }
}

#[tokio::test]
async fn body_and_header_bytes_arrive_as_written() {
    let server = RawServer::start(vec![Answer::Keep(ok(""))]);
    let mut request = at(server.address, "/");
    request.method = "POST".into();
    request.body = b"{\"a\": \"\xe4\xbd\xa0\"}".to_vec();
    request.headers.push(("X-Two".into(), "a  b,c; \"d\"".into()));
    request.headers.push(("x-two".into(), "second".into()));
    client().send(request.clone(), Timeouts::default()).await.expect("answered");
    let seen = text(&server.seen().requests[0]);
    assert!(seen.ends_with(&format!("\r\n\r\n{}", text(&request.body))), "{seen}");
    assert!(seen.contains(": a  b,c; \"d\"\r\n") && seen.contains(": second\r\n"), "{seen}");
}

#[tokio::test]
async fn connection_is_reused() {
    let server = RawServer::start(vec![Answer::Keep(ok("x"))]);
    let client = client();
    for _ in 0..2 {
        client.send(at(server.address, "/"), Timeouts::default()).await.expect("answered");
    }
    let seen = server.seen();
    assert_eq!((seen.requests.len(), seen.connections), (2, 1));
}

/// An environment with nothing in it, or with every proxy variable.
struct NoEnv;
struct ProxyEnv(SocketAddr);

macro_rules! no_files_or_programs {
    () => {
        fn read_private(
            &self,
            _: &str,
            _: usize,
        ) -> Result<secrecy::zeroize::Zeroizing<Vec<u8>>, freshen::host::PrivateFileError> {
            unreachable!("no file is read")
        }

        fn run<'a>(
            &'a self,
            _: &'a [String],
            _: freshen::host::CommandLimits,
        ) -> freshen::host::BoxFuture<'a, Result<secrecy::zeroize::Zeroizing<Vec<u8>>, freshen::host::CommandError>> {
            unreachable!("nothing is run")
        }
    };
}

impl freshen::host::Env for NoEnv {
    fn var(&self, _: &str) -> Option<String> {
        None
    }
    no_files_or_programs!();
}

impl freshen::host::Env for ProxyEnv {
    fn var(&self, name: &str) -> Option<String> {
        let proxy = name.to_ascii_lowercase().ends_with("_proxy") && !name.eq_ignore_ascii_case("no_proxy");
        proxy.then(|| format!("http://user:canary-password@{}", self.0))
    }
    no_files_or_programs!();
}

// R21
#[tokio::test]
async fn proxy_variables_do_not_count_for_loopback() {
    let proxy = RawServer::start(vec![Answer::Close(Vec::new())]);
    let server = RawServer::start(vec![Answer::Keep(ok(""))]);
    let client = HttpClient::new(&ProxyEnv(proxy.address));
    client.send(at(server.address, "/"), Timeouts::default()).await.expect("answered directly");
    let mut by_name = at(server.address, "/");
    by_name.endpoint.host = "localhost".into();
    client.send(by_name, Timeouts::default()).await.expect("answered directly");
    assert_eq!((server.seen().requests.len(), proxy.seen().connections), (2, 0));
}

// R21, X1
#[tokio::test]
async fn proxy_serves_endpoints_beyond_this_machine_and_its_password_is_not_shown() {
    let refusal = b"HTTP/1.1 407 canary\r\nContent-Length: 0\r\n\r\n".to_vec();
    let proxy = RawServer::start(vec![Answer::Keep(ok("by proxy")), Answer::Close(refusal)]);
    let client = HttpClient::new(&ProxyEnv(proxy.address));
    let mut request = at(proxy.address, "/a%2Fb?c");
    request.endpoint =
        Endpoint { tls: false, host: "cache.invalid".into(), port: None, path_prefix: String::new(), address: None };
    request.route = Route::ByProxy;
    let response = client.send(request.clone(), Timeouts::default()).await.expect("answered by the proxy");
    assert_eq!(response.body, b"by proxy");
    assert!(text(&proxy.seen().requests[0]).starts_with("PURGE http://cache.invalid/a%2Fb?c HTTP/1.1\r\n"));

    request.endpoint.tls = true;
    let failure = client.send(request, Timeouts::default()).await.expect_err("refused by the proxy");
    assert_eq!(failure.kind, TransportFailureKind::NotConnected);
    assert!(!failure.message.contains("canary"), "{failure:?}");
    assert!(text(&proxy.seen().requests[1]).starts_with("CONNECT cache.invalid:443 "));
}

/// U2: a proxy puts the endpoint's name in place of `Host`, and another URL is purged.
#[tokio::test]
async fn a_request_that_goes_by_no_proxy_asks_none_whatever_the_environment_says() {
    let proxy = RawServer::start(vec![Answer::Keep(ok("by proxy"))]);
    let server = RawServer::start(vec![Answer::Keep(ok("directly"))]);
    let client = HttpClient::new(&ProxyEnv(proxy.address));
    // This machine under a name that is not taken for it.
    let mut request = at(server.address, "/");
    request.endpoint.host = "[::ffff:7f00:1]".into();
    let answer = client.send(request.clone(), Timeouts::default()).await.expect("answered");
    assert_eq!(answer.body, b"directly");
    assert!(text(&server.seen().requests[0]).to_ascii_lowercase().contains("host: static.example.cn\r\n"));
    drop(server);
    request.endpoint.port = Some(closed_port());
    let failure = client.send(request, Timeouts::default()).await.expect_err("nobody listens");
    assert_eq!((failure.kind, proxy.seen().connections), (TransportFailureKind::NotConnected, 0));
    assert!(failure.message.contains("proxy"), "it says why the proxy was not asked: {failure:?}");
}

/// A port of this machine that refuses connections.
fn closed_port() -> u16 {
    std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port").local_addr().expect("bound").port()
}

/// A TLS server that answers each connection's first request; the second value is its certificate as PEM.
fn tls_server() -> (SocketAddr, String) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .expect("a pair");
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut tls = rustls::ServerConnection::new(Arc::clone(&config)).expect("a connection");
            let mut stream = rustls::Stream::new(&mut tls, &mut stream);
            // A client that does not trust us hangs up here.
            if stream.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {
                let _ = stream.write_all(&ok("over tls"));
            }
        }
    });
    (address, made.cert.pem())
}

fn over_tls(address: SocketAddr) -> Request {
    let mut request = at(address, "/");
    request.endpoint.tls = true;
    request
}

#[tokio::test]
async fn certificate_that_nobody_signed_is_refused_as_tls() {
    let (address, _) = tls_server();
    let failure = client().send(over_tls(address), Timeouts::default()).await.expect_err("untrusted");
    assert_eq!(failure.kind, TransportFailureKind::Tls);
    assert!(failure.message.contains("certificate"), "{failure:?}");
}

#[tokio::test]
async fn plain_server_on_a_tls_endpoint_is_refused_as_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    let failure = client().send(over_tls(address), Timeouts::default()).await.expect_err("not TLS");
    assert_eq!(failure.kind, TransportFailureKind::Tls);
}

// R20: a request whose connection never stood did not leave.
#[tokio::test]
async fn handshake_that_never_ends_is_not_connected() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let request = over_tls(listener.local_addr().expect("bound"));
    let timeouts = Timeouts { connect_ms: 50, ..Timeouts::default() };
    let failure = client().send(request, timeouts).await.expect_err("no handshake");
    let expected = (TransportFailureKind::NotConnected, "no connection in time");
    assert_eq!((failure.kind, failure.message.as_str()), expected);
}

/// Names the server to the child process of the next test.
const CHILD_ADDRESS: &str = "FRESHEN_TEST_TLS_ADDRESS";

// The system's roots are read from the environment of a process, so this runs in one of its own.
#[cfg(target_os = "linux")]
#[test]
fn certificate_among_the_systems_roots_is_accepted() {
    let (address, pem) = tls_server();
    let folder = tempfile::tempdir().expect("a folder");
    let roots = folder.path().join("roots.pem");
    std::fs::write(&roots, pem).expect("written");
    let status = Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", "host_http::trusted_child", "--nocapture"])
        .env("SSL_CERT_FILE", &roots)
        .env(CHILD_ADDRESS, address.to_string())
        .status()
        .expect("started");
    assert!(status.success());
}

/// Does nothing unless the test above started it.
#[tokio::test]
async fn trusted_child() {
    let Ok(address) = std::env::var(CHILD_ADDRESS) else { return };
    let address = address.parse().expect("an address");
    let response = client().send(over_tls(address), Timeouts::default()).await.expect("trusted");
    assert_eq!(response.body, b"over tls");
}

/// One name, several addresses: each request reaches its own, also where a connection to another one is open.
#[tokio::test]
async fn a_request_reaches_the_one_address_that_it_names() {
    let caches = Cloud::cluster::<3>();
    let client = client();
    for last in [2, 1, 2, 3] {
        let mut request = at(caches[0].address, "/a");
        request.endpoint.host = "caches.invalid".into();
        request.endpoint.address = Some(IpAddr::from([127, 0, 0, last]));
        client.send(request, Timeouts::default()).await.expect("answered");
    }
    assert_eq!(caches.each_ref().map(Cloud::count), [1, 2, 1]);
}

/// The owner of the address is asked for the name, and its certificate is checked for that.
#[tokio::test]
async fn tls_to_an_address_names_the_host() {
    let listener = TcpListener::bind("127.0.0.2:0").expect("a loopback port");
    let mut request = at(listener.local_addr().expect("bound"), "/a");
    let hello = std::thread::spawn(move || {
        let mut hello = vec![0; 4096];
        let length = listener.accept().expect("connected").0.read(&mut hello).expect("a hello");
        text(&hello[..length])
    });
    request.endpoint.tls = true;
    request.endpoint.address = Some(IpAddr::from([127, 0, 0, 2]));
    request.endpoint.host = "caches.invalid".into();
    client().send(request, Timeouts::default()).await.expect_err("no answer");
    assert!(hello.join().expect("no panic").contains("caches.invalid"));
}
