//! The prober against servers that answer well, and against those that behave badly on purpose.

use std::io::Write;
use std::net::SocketAddr;
use std::process::Command;

use base64::Engine as _;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use freshen::core::algorithm::Algorithm;
use freshen::core::http::{Endpoint, Route, TransportFailure, TransportFailureKind};
use freshen::core::probe::{Probe, Probed, Reads, Seen, SeenBody};
use freshen::host::env::SystemEnv;
use freshen::host::probe::{HttpProber, Pauses};
use freshen::host::{Prober, Timeouts};

use crate::support::is_nightly;
use crate::support::raw_server::{Answer, RawServer};

const CANARY: &str = "canary-header-value";
const MIB: usize = 1024 * 1024;
const LARGE: u64 = 1 << 40;

fn at(address: SocketAddr, reads: Reads) -> Probe {
    Probe {
        endpoint: Endpoint {
            tls: false,
            host: address.ip().to_string(),
            port: Some(address.port()),
            path_prefix: String::new(),
            address: None,
        },
        route: Route::Direct,
        host: "www.example.cn".into(),
        path_and_query: "/canary%2Fpath?q".into(),
        headers: Vec::new(),
        reads,
    }
}

fn head() -> Reads {
    Reads::Head { header: Some("X-Rev".into()) }
}

fn body(algorithm: Algorithm, most_bytes: u64) -> Reads {
    Reads::Body { algorithm, most_bytes, normalize: Vec::new(), header: None }
}

async fn probe_within(address: SocketAddr, reads: Reads, timeouts: Timeouts, pauses: Pauses) -> Probed {
    let headers = vec![("X-Token".to_owned(), CANARY.to_owned())];
    HttpProber::with_pauses(&SystemEnv, pauses).probe(at(address, reads), headers, timeouts).await
}

async fn probe(address: SocketAddr, reads: Reads) -> Probed {
    probe_within(address, reads, Timeouts::default(), Pauses::default()).await
}

/// What one answer is seen as.
async fn seen(answer: Vec<u8>, reads: Reads) -> Seen {
    let server = RawServer::start(vec![Answer::Close(answer)]);
    probe(server.address, reads).await.expect("answered")
}

/// What is seen of a body.
async fn seen_body(answer: Vec<u8>, most_bytes: u64) -> SeenBody {
    seen(answer, body(Algorithm::Md5, most_bytes)).await.body
}

/// The failure, after a look for what must not be in it (X1).
fn failure(probed: Probed) -> TransportFailure {
    let failure = probed.expect_err("no whole answer");
    assert!(!failure.message.contains("canary") && !failure.message.contains("://"), "{failure:?}");
    assert!(!failure.message.is_empty());
    failure
}

/// An answer with its length, and with these headers besides.
fn ok(headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn a_probe_is_one_request_with_its_headers_as_written() {
    let server = RawServer::start(vec![Answer::Keep(ok("", b"x"))]);
    probe(server.address, body(Algorithm::Md5, LARGE)).await.expect("answered");
    let mut varied = at(server.address, head());
    varied.host = "other.example.cn:8443".into();
    let headers = [("accept-encoding", "gzip, br"), ("Host", "canary"), ("User-Agent", "other")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    HttpProber::new(&SystemEnv).probe(varied, headers, Timeouts::default()).await.expect("answered");
    let requests = server.seen().requests;
    assert_eq!(requests.len(), 2);
    let lines = |request: &[u8]| {
        let mut lines: Vec<String> = text(request).trim_end().split("\r\n").map(str::to_owned).collect();
        lines[1..].sort_unstable();
        lines
    };
    let version = env!("CARGO_PKG_VERSION");
    let expected = [
        "GET /canary%2Fpath?q HTTP/1.1",
        "accept-encoding: identity",
        "accept: */*",
        "host: www.example.cn",
        &format!("user-agent: freshen/{version}"),
        &format!("x-token: {CANARY}"),
    ];
    assert_eq!(lines(&requests[0]), expected);
    let expected = [
        "HEAD /canary%2Fpath?q HTTP/1.1",
        "accept-encoding: gzip, br",
        "accept: */*",
        "host: other.example.cn:8443",
        "user-agent: other",
    ];
    assert_eq!(lines(&requests[1]), expected);
}

/// The digests are those that `b2sum`-like programs print for `abc`.
#[tokio::test]
async fn a_body_is_seen_as_its_digest_by_any_algorithm() {
    for (algorithm, hash) in [
        (Algorithm::Blake3, "blake3:6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"),
        (Algorithm::Sha256, "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (Algorithm::Sha1, "sha1:a9993e364706816aba3e25717850c26c9cd0d89d"),
        (
            Algorithm::Sha384,
            "sha384:cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
        ),
        (
            Algorithm::Sha512,
            "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        ),
        (Algorithm::Md5, "md5:900150983cd24fb0d6963f7d28e17f72"),
    ] {
        let seen = seen(ok("ETag: \"a\"\r\nX-Rev: 7\r\n", b"abc"), body(algorithm, 3)).await;
        let SeenBody::Digest(found, 3) = &seen.body else { panic!("{seen:?}") };
        assert_eq!((found.as_str(), seen.bytes, seen.header("etag")), (hash, 3, Some("\"a\"")));
        assert_eq!(seen.header("x-rev"), None, "nobody asked for it");
    }
}

/// The digest of a body, as the program at hand sees it.
fn digest(body: &[u8]) -> SeenBody {
    let hash = Algorithm::Md5.hash(&<md5::Md5 as md5::Digest>::digest(body));
    SeenBody::Digest(hash, body.len() as u64)
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body).expect("memory");
    encoder.finish().expect("memory")
}

fn deflate(body: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body).expect("memory");
    encoder.finish().expect("memory")
}

fn zlib(body: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body).expect("memory");
    encoder.finish().expect("memory")
}

/// A body that is larger than what is decoded at once, and does not repeat itself.
fn page() -> Vec<u8> {
    (0..40_000_u32).flat_map(|line| format!("{}\n", line.wrapping_mul(2_654_435_761)).into_bytes()).collect()
}

#[tokio::test]
async fn a_coded_body_is_seen_as_what_it_stands_for() {
    let page = page();
    let two_members = [gzip(&page[..7]), gzip(&page[7..])].concat();
    for (coding, coded) in [
        ("identity", page.clone()),
        (" , ", page.clone()),
        ("gzip", gzip(&page)),
        ("GZip", gzip(&page)),
        ("x-gzip", gzip(&page)),
        ("gzip", two_members),
        ("identity, gzip", gzip(&page)),
        ("deflate", zlib(&page)),
        ("deflate", deflate(&page)),
    ] {
        let bytes = coded.len() as u64;
        let answer = ok(&format!("Content-Encoding: {coding}\r\n"), &coded);
        let seen = seen(answer, body(Algorithm::Md5, page.len() as u64)).await;
        assert_eq!((&seen.body, seen.bytes), (&digest(&page), bytes), "{coding}");
    }
    for coding in ["gzip", "deflate", "br", "zstd"] {
        let nothing = ok(&format!("Content-Encoding: {coding}\r\n"), b"");
        assert_eq!(seen_body(nothing, LARGE).await, digest(b""), "{coding}");
    }
}

/// A text of which each line but the first five hundred comes again, see `golden/bodies`.
fn golden_page() -> Vec<u8> {
    (0..30_000_u64).flat_map(|line| format!("<li>item {}</li>\n", line * line % 499).into_bytes()).collect()
}

const PAGE_BR: &[u8] = include_bytes!("golden/bodies/page.br");
const PAGE_ZST: &[u8] = include_bytes!("golden/bodies/page.zst");

#[tokio::test]
async fn bodies_of_other_encoders_are_decoded_however_they_are_cut() {
    let page = golden_page();
    let skipped = [b"\x5a\x2a\x4d\x18\x03\0\0\0abc", PAGE_ZST, b"\x50\x2a\x4d\x18\0\0\0\0"].concat();
    let twice = [PAGE_ZST, PAGE_ZST].concat();
    for (coding, coded, times) in [
        ("gzip", gzip(&page), 1),
        ("deflate", zlib(&page), 1),
        ("deflate", deflate(&page), 1),
        ("br", PAGE_BR.to_vec(), 1),
        ("zstd", PAGE_ZST.to_vec(), 1),
        ("zstd", skipped, 1),
        ("zstd", twice, 2),
    ] {
        let page = page.repeat(times);
        let whole = ok(&format!("Content-Encoding: {coding}\r\n"), &coded);
        assert_eq!(seen_body(whole, page.len() as u64).await, digest(&page), "{coding}");
        let head = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Encoding: {coding}\r\n\r\n");
        let mut byte_by_byte = head.into_bytes();
        for byte in coded {
            byte_by_byte.extend([b"1\r\n", &[byte][..], b"\r\n"].concat());
        }
        byte_by_byte.extend(b"0\r\n\r\n");
        assert_eq!(seen_body(byte_by_byte, LARGE).await, digest(&page), "{coding}");
    }
}

/// A frame of Zstandard with a window of `2 ^ log` bytes and these blocks.
fn zstd(log: u8, blocks: &[u8]) -> Vec<u8> {
    [b"\x28\xb5\x2f\xfd\0", &[(log - 10) << 3][..], blocks].concat()
}

/// The last block of a frame, with nothing in it.
const LAST_BLOCK: &[u8] = b"\x01\0\0";

/// Memory for what was decoded is what hostile servers might ask for.
#[tokio::test]
async fn windows_beyond_those_of_the_codings_of_http_are_refused() {
    let seen_as = async |coding: &str, coded: Vec<u8>| {
        seen_body(ok(&format!("Content-Encoding: {coding}\r\n"), &coded), LARGE).await
    };
    assert_eq!(seen_as("zstd", zstd(23, LAST_BLOCK)).await, digest(b""));
    assert_eq!(seen_as("zstd", zstd(24, LAST_BLOCK)).await, SeenBody::Coded("zstd, which it is not".into()));
    // An empty body whose window has 24 bits, and one of 30 bits, which an extension of the coding allows.
    assert_eq!(seen_as("br", b"\x3f".to_vec()).await, digest(b""));
    assert_eq!(seen_as("br", b"\x11\xde".to_vec()).await, SeenBody::Coded("br, which it is not".into()));
}

#[tokio::test]
async fn a_body_that_is_not_what_its_coding_says_is_not_compared() {
    let mut flipped = gzip(b"abc");
    let sum_at = flipped.len() - 8;
    flipped[sum_at] ^= 1;
    let whole = gzip(&page());
    for (coding, coded, name) in [
        ("gzip, gzip", gzip(&gzip(b"abc")), "gzip, gzip"),
        ("gzip\r\nContent-Encoding: deflate", gzip(b"abc"), "gzip, deflate"),
        ("compress", b"abc".to_vec(), "compress"),
        ("aes128gcm", b"abc".to_vec(), "aes128gcm"),
        ("gzip", b"abc".to_vec(), "gzip, which it is not"),
        ("gzip", flipped, "gzip, which it is not"),
        ("gzip", whole[..whole.len() - 9].to_vec(), "gzip, which it is not"),
        ("gzip", whole[..whole.len() - 1].to_vec(), "gzip, which it is not"),
        ("gzip", whole[..5].to_vec(), "gzip, which it is not"),
        ("gzip", [gzip(b"abc"), b"<!-- hi -->".to_vec()].concat(), "gzip, which it is not"),
        ("zstd, br", b"abc".to_vec(), "zstd, br"),
        ("br", PAGE_BR[..PAGE_BR.len() - 1].to_vec(), "br, which it is not"),
        ("br", [PAGE_BR, b"a"].concat(), "br, which it is not"),
        ("br", gzip(b"abc"), "br, which it is not"),
        ("zstd", gzip(b"abc"), "zstd, which it is not"),
        ("zstd", PAGE_ZST[..PAGE_ZST.len() - 1].to_vec(), "zstd, which it is not"),
        ("zstd", PAGE_ZST[..9].to_vec(), "zstd, which it is not"),
        ("zstd", [PAGE_ZST, b"a"].concat(), "zstd, which it is not"),
        ("zstd", [PAGE_ZST, b"abcdef"].concat(), "zstd, which it is not"),
        ("zstd", b"\x50\x2a\x4d\x18\x04\0\0\0abc".to_vec(), "zstd, which it is not"),
        ("zstd", zstd(17, b"\x07\0\0"), "zstd, which it is not"),
        ("deflate", gzip(b"abc"), "deflate, which it is not"),
        ("deflate", zlib(b"abc")[..6].to_vec(), "deflate, which it is not"),
        ("deflate", deflate(&page())[..600].to_vec(), "deflate, which it is not"),
        ("deflate", [zlib(b"abc"), b"d".to_vec()].concat(), "deflate, which it is not"),
    ] {
        let answer = ok(&format!("Content-Encoding: {coding}\r\n"), &coded);
        assert_eq!(seen_body(answer, LARGE).await, SeenBody::Coded(name.to_owned()), "{coding} {}", coded.len());
    }
}

#[tokio::test]
async fn a_body_of_the_limit_is_read_and_one_byte_more_is_not() {
    assert_eq!(seen_body(ok("", b"abc"), 3).await, digest(b"abc"));
    assert_eq!(seen_body(ok("", b"abcd"), 3).await, SeenBody::TooLarge(3));
    let page = page();
    let most = page.len() as u64;
    let coded = |body: &[u8]| ok("Content-Encoding: gzip\r\n", &gzip(body));
    assert_eq!(seen_body(coded(&page), most).await, digest(&page));
    assert_eq!(seen_body(coded(&page), most - 1).await, SeenBody::TooLarge(most - 1));
    assert_eq!(seen_body(ok("", b""), 0).await, digest(b""));
}

/// What is left out of the hash of a file is left out of that of an answer as well.
#[tokio::test]
async fn what_does_not_count_is_left_out_of_the_digest() {
    let reads = |most_bytes| Reads::Body {
        algorithm: Algorithm::Md5,
        most_bytes,
        normalize: vec!["build [0-9]+".into()],
        header: None,
    };
    let seen_as = async |answer, most_bytes| seen(answer, reads(most_bytes)).await.body;
    let SeenBody::Digest(rest, _) = digest(b"<p>, </p>") else { unreachable!() };
    let page = b"<p>build 7, build 8</p>";
    assert_eq!(seen_as(ok("", page), LARGE).await, SeenBody::Digest(rest.clone(), 23));
    let coded = ok("Content-Encoding: gzip\r\n", &gzip(page));
    assert_eq!(seen_as(coded, LARGE).await, SeenBody::Digest(rest, 23));
    assert_eq!(seen_as(ok("", b"build 7\0"), LARGE).await, digest(b"build 7\0"), "no text");
    assert_eq!(seen_as(ok("", b"build 7"), 6).await, SeenBody::TooLarge(6));
    let most = 16 * MIB as u64;
    let long = vec![b' '; 16 * MIB];
    assert_eq!(seen_as(ok("", &long), LARGE).await, digest(&long));
    assert_eq!(seen_as(ok("", &[long, b" ".to_vec()].concat()), LARGE).await, SeenBody::TooLarge(most));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_head_is_asked_for_the_first_byte() {
    for status in [405, 501] {
        let refusal = format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\nETag: \"no\"\r\n\r\n");
        let partial =
            "HTTP/1.1 206 Part\r\nContent-Length: 1000000000\r\nContent-Range: bytes 0-0/70\r\nX-Rev: 7\r\n\r\n";
        let endless = Answer::Endless(partial.into(), vec![b'x'; 1 << 16]);
        let server = RawServer::start(vec![Answer::Keep(refusal.into_bytes()), endless]);
        let seen = probe(server.address, head()).await.expect("answered");
        // The connection is dropped: nothing of the body is waited for.
        server.wait_for_end();
        assert_eq!((seen.status, &seen.body, seen.bytes), (206, &SeenBody::Unread, 0));
        assert_eq!((seen.header("x-rev"), seen.header("etag")), (Some("7"), None));
        assert_eq!(seen.header("content-range"), Some("bytes 0-0/70"));
        let requests: Vec<String> = server.seen().requests.iter().map(|request| text(request)).collect();
        assert_eq!(requests.len(), 2);
        assert!(requests[0].starts_with("HEAD /canary%2Fpath?q ") && !requests[0].contains("range"), "{requests:?}");
        assert!(requests[1].starts_with("GET /canary%2Fpath?q "), "{requests:?}");
        for part in
            ["\r\nrange: bytes=0-0\r\n", &format!("\r\nx-token: {CANARY}\r\n"), "\r\naccept-encoding: identity\r\n"]
        {
            assert!(requests[1].contains(part), "{requests:?}");
        }
    }
    let server = RawServer::start(vec![Answer::Close(b"HTTP/1.1 403 No\r\n\r\n".to_vec())]);
    assert_eq!(probe(server.address, head()).await.expect("answered").status, 403);
    assert_eq!(server.seen().requests.len(), 1, "any other refusal is an answer");
}

#[tokio::test]
async fn a_head_is_read_without_a_body() {
    let answer =
        b"HTTP/1.1 200 OK\r\nContent-Length: 70\r\nX-Rev: 7\r\nSet-Cookie: canary\r\nX-Other: 1\r\n\r\n".to_vec();
    let seen = seen(answer, head()).await;
    let headers = [("content-length", "70"), ("x-rev", "7"), ("set-cookie", "")];
    let expected = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!((seen.status, seen.headers.as_slice(), seen.body), (200, &expected[..], SeenBody::Unread));
}

/// A server has nobody asked whom only this machine reaches.
#[tokio::test]
async fn a_redirect_is_seen_and_not_followed() {
    let other = RawServer::start(vec![Answer::Keep(ok("", b""))]);
    for location in [format!("http://{}/", other.address), "http://169.254.169.254/latest/meta-data/".to_owned()] {
        let answer = format!("HTTP/1.1 302 Go\r\nLocation: {location}\r\nContent-Length: 3\r\n\r\nabc");
        for reads in [head(), body(Algorithm::Md5, LARGE)] {
            let seen = seen(answer.clone().into_bytes(), reads).await;
            assert_eq!((seen.status, seen.header("location")), (302, Some(location.as_str())));
            assert_eq!((seen.body, seen.bytes), (SeenBody::Unread, 0));
        }
    }
    assert_eq!(other.seen().connections, 0);
}

#[tokio::test]
async fn only_a_whole_answer_has_a_body() {
    for status in [206, 304, 404, 503] {
        let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 3\r\n\r\nabc");
        let seen = seen(answer.into_bytes(), body(Algorithm::Md5, LARGE)).await;
        assert_eq!((seen.status, seen.body), (status, SeenBody::Unread));
    }
}

// R20
#[tokio::test(flavor = "multi_thread")]
async fn a_body_without_an_end_is_read_to_the_limit_and_no_further() {
    let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    let chunk = [b"10000\r\n".as_slice(), &vec![b'x'; 0x10000], b"\r\n"].concat();
    let server = RawServer::start(vec![Answer::Endless(head, chunk)]);
    let seen = probe(server.address, body(Algorithm::Blake3, 4 * MIB as u64)).await.expect("answered");
    assert_eq!(seen.body, SeenBody::TooLarge(4 * MIB as u64));
    assert!(seen.bytes < 5 * MIB as u64, "{}", seen.bytes);
    server.wait_for_end();
    // What the system buffers comes on top of what was read.
    assert!(server.seen().bytes_written < 32 * MIB, "read {} bytes", server.seen().bytes_written);
}

/// 64 MiB of nothing, by a real encoder with its largest window.
const BOMB_BR: &str = "z///f/gnAOKxQCD3/p/////wTwDEYQGA7v0/////4Z8AiMMiAN37f/7//8M/ARCHBQC69/8D";

// R20
#[tokio::test]
async fn a_body_that_grows_a_thousandfold_is_not_unpacked() {
    let repeated = b"\x02\0\x10\0";
    let zstd_bomb = zstd(23, &[repeated.repeat(512).as_slice(), LAST_BLOCK].concat());
    let br_bomb = base64::engine::general_purpose::STANDARD.decode(BOMB_BR).expect("base64");
    for (coding, bomb) in [("gzip", gzip(&vec![0; 8 * MIB])), ("br", br_bomb), ("zstd", zstd_bomb)] {
        assert!(8 * MIB / bomb.len() > 1000, "{coding}");
        let bytes = bomb.len() as u64;
        let answer = ok(&format!("Content-Encoding: {coding}\r\n"), &bomb);
        let bombed = seen(answer.clone(), body(Algorithm::Md5, LARGE)).await;
        assert_eq!(bombed.body, SeenBody::Coded(format!("{coding}, with more than 1000 bytes for one")));
        assert!(bombed.bytes <= bytes);
        assert_eq!(seen_body(answer, 100).await, SeenBody::TooLarge(100), "{coding}");
    }
    let small = vec![0; MIB];
    assert_eq!(seen_body(ok("Content-Encoding: gzip\r\n", &gzip(&small)), LARGE).await, digest(&small));
    let repeated = zstd(23, &[repeated.repeat(8).as_slice(), LAST_BLOCK].concat());
    assert_eq!(seen_body(ok("Content-Encoding: zstd\r\n", &repeated), LARGE).await, digest(&small));
}

/// Parts of codings that stand for nothing may come for ever.
#[tokio::test(flavor = "multi_thread")]
async fn coded_bytes_that_stand_for_nothing_have_an_end() {
    let stored = b"\0\0\0\xff\xff".repeat(2000);
    let skipped = [b"\x50\x2a\x4d\x18\xf8\x0f\0\0".to_vec(), vec![0; 4088]].concat();
    let raw = b"\0\0\0".repeat(3000);
    for (coding, first, again) in [
        ("deflate", Vec::new(), stored.clone()),
        ("gzip", b"\x1f\x8b\x08\0\0\0\0\0\0\xff".to_vec(), stored),
        ("zstd", Vec::new(), skipped),
        ("zstd", zstd(17, b""), raw),
        ("br", b"\x0c".to_vec(), vec![6; 10_000]),
    ] {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\n\r\n");
        let server = RawServer::start(vec![Answer::Endless([head.as_bytes(), &first].concat(), again)]);
        let seen = probe(server.address, body(Algorithm::Md5, 1000)).await.expect("answered");
        server.wait_for_end();
        assert_eq!(seen.body, SeenBody::TooLarge(1000), "{coding}");
        assert!(seen.bytes < 3 * MIB as u64, "{coding}: {}", seen.bytes);
    }
}

// R20
#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_is_too_large_is_no_answer() {
    let line = |bytes: usize| format!("X-Canary: {}\r\n", "x".repeat(bytes));
    let with = |lines: String| format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{lines}\r\n").into_bytes();
    seen(with(line(60_000)), head()).await;
    for answer in [with(line(70_000)), with(line(1000).repeat(70)), with(line(1).repeat(1000)), with(line(10 * MIB))] {
        let server = RawServer::start(vec![Answer::Close(answer)]);
        let failure = failure(probe(server.address, head()).await);
        assert_eq!(failure.kind, TransportFailureKind::Unknown, "{failure:?}");
    }
    let endless = Answer::Endless(b"HTTP/1.1 200 OK\r\n".to_vec(), line(1000).into_bytes());
    let server = RawServer::start(vec![endless]);
    assert_eq!(failure(probe(server.address, head()).await).kind, TransportFailureKind::Unknown);
    server.wait_for_end();
    assert!(server.seen().bytes_written < 32 * MIB, "read {} bytes", server.seen().bytes_written);
}

#[tokio::test]
async fn a_body_that_is_cut_is_no_answer() {
    let short = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this".to_vec();
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nonly".to_vec();
    let two = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd".to_vec();
    let coded = gzip(&page());
    let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", coded.len());
    let gzipped = [head.as_bytes(), &coded[..coded.len() / 2]].concat();
    for answer in [short, chunked, two, gzipped, b"canary 220 mail.example ESMTP\r\n\r\n".to_vec(), Vec::new()] {
        let server = RawServer::start(vec![Answer::Close(answer)]);
        let failure = failure(probe(server.address, body(Algorithm::Md5, LARGE)).await);
        assert_eq!(failure.kind, TransportFailureKind::Unknown, "{failure:?}");
        assert_eq!(server.seen().requests.len(), 1, "nothing is repeated");
    }
}

// R20
#[tokio::test]
async fn a_server_that_stops_or_takes_its_time_is_no_answer() {
    let within = async |answer, timeouts, pauses| {
        let server = RawServer::start(vec![answer]);
        let failure = failure(probe_within(server.address, body(Algorithm::Md5, LARGE), timeouts, pauses).await);
        assert_eq!(failure.kind, TransportFailureKind::Unknown);
        failure.message
    };
    let (usual, patient) = (Timeouts::default(), Pauses::default());
    let half = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf".to_vec();

    // The limit counts after that of the connection.
    let first_byte = Timeouts { connect_ms: 30, first_byte_ms: 20, ..usual };
    assert_eq!(within(Answer::Silent(Vec::new()), first_byte, patient).await, "no answer within 50 ms");
    let between = Pauses { between_ms: 50, ..patient };
    assert_eq!(within(Answer::Silent(half.clone()), usual, between).await, "the body stopped for 50 ms");
    let total = Pauses { total_ms: 50, ..patient };
    assert_eq!(within(Answer::Silent(half.clone()), usual, total).await, "no whole answer within 50 ms");
    // A byte now and then is never a pause.
    let drip = Answer::Drip(half);
    let total = Pauses { total_ms: 350, ..patient };
    assert_eq!(within(drip, usual, total).await, "no whole answer within 350 ms");
}

#[tokio::test]
async fn a_vantage_is_reached_by_its_address_under_the_name_of_the_host() {
    let server = RawServer::start(vec![Answer::Keep(ok("", b"abc"))]);
    let mut probe = at(server.address, body(Algorithm::Md5, LARGE));
    probe.endpoint.host = "www.example.invalid".into();
    probe.endpoint.address = Some(server.address.ip());
    probe.host = "www.example.invalid".into();
    let seen = HttpProber::new(&SystemEnv).probe(probe, Vec::new(), Timeouts::default()).await.expect("answered");
    assert_eq!(seen.body, digest(b"abc"));
    assert!(text(&server.seen().requests[0]).contains("\r\nhost: www.example.invalid\r\n"));
}

// X1
#[tokio::test]
async fn a_header_that_cannot_be_sent_is_refused_without_its_value() {
    let headers = vec![("X-Token".to_owned(), "canary\r\nX-Other: 1".to_owned())];
    let probe = at(([127, 0, 0, 1], 1).into(), head());
    let failure = failure(HttpProber::new(&SystemEnv).probe(probe, headers, Timeouts::default()).await);
    assert_eq!(failure.kind, TransportFailureKind::NotConnected);
    assert_eq!(failure.message, "the value of a header cannot be sent as written");
}

/// Names the server and the bytes that it sends to the child process of the next test.
const CHILD: &str = "FRESHEN_TEST_PROBE";
/// Most memory of a process that probes, in KiB.
const MOST_KIB: u64 = 64 * 1024;

// A process of its own has a peak of its own.
#[cfg(target_os = "linux")]
#[test]
fn a_large_body_takes_little_memory() {
    let bytes: u64 = if is_nightly() { 2 << 30 } else { 256 << 20 };
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n");
    let block = vec![7; 1 << 16];
    let server = RawServer::start(vec![Answer::Endless(head.into_bytes(), block.clone())]);
    let mut hasher = blake3::Hasher::new();
    (0..bytes >> 16).for_each(|_| {
        hasher.update(&block);
    });
    let status = Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", "host_probe::large_body_child", "--nocapture"])
        .env(CHILD, format!("{} {bytes} {}", server.address, hasher.finalize().to_hex()))
        .status()
        .expect("started");
    assert!(status.success());
}

/// Does nothing unless the test above started it.
#[tokio::test]
async fn large_body_child() {
    let Ok(arguments) = std::env::var(CHILD) else { return };
    let mut arguments = arguments.split(' ');
    let mut next = || arguments.next().expect("three arguments");
    let (address, bytes, hash) = (next().parse().expect("an address"), next().parse().expect("a number"), next());
    let seen = probe(address, body(Algorithm::Blake3, LARGE)).await.expect("answered");
    let SeenBody::Digest(found, length) = seen.body else { panic!("{:?}", seen.body) };
    assert_eq!((found.as_str(), length, seen.bytes), (format!("blake3:{hash}").as_str(), bytes, bytes));
    let status = std::fs::read_to_string("/proc/self/status").expect("of this process");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
    let peak: u64 = peak.expect("a peak");
    assert!((1..MOST_KIB).contains(&peak), "{peak} KiB");
}
