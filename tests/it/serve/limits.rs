//! H4: readers that are slow, many or rude, and purges that go through meanwhile.

use std::io::Read;

use super::{settled, urls};
use crate::support::reader::{Events, get, open, request, send};

/// Connections that are served at once, and heads without an end that are sent.
const CONNECTIONS: usize = 64;
const HALVES: usize = 80;

/// Whether the other side has closed, or sent something before it did.
fn is_closed(stream: &mut std::net::TcpStream) -> bool {
    stream.set_nonblocking(true).expect("set");
    let read = stream.peek(&mut [0; 1]);
    !read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}

#[test]
fn slow_and_many_readers_hold_nothing_up() {
    let (cloud, bench, mut watching, at) = settled(200, &[]);
    // Streams that are never read, and heads that never end: the latter alone are more than are served at once.
    let ask = request(at, "GET", "/events", "");
    let streams: Vec<_> = (0..20).map(|_| open(at, ask.as_bytes())).collect();
    let mut halves: Vec<_> = (0..HALVES).map(|_| open(at, b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")).collect();
    bench.assets(&urls(200), "1");
    watching.records(200);
    assert_eq!(cloud.purged().len(), 200);
    // A later reader has to wait for a place.
    assert_eq!(get(at, "/healthz").status, 200);
    let given_up = halves.iter_mut().filter_map(|half| is_closed(half).then_some(())).count();
    assert!(given_up > HALVES - CONNECTIONS, "{given_up} places were free again");
    // Heads that never end are given up, so their places are free again.
    for mut half in halves {
        half.set_nonblocking(false).expect("set");
        let mut rest = Vec::new();
        assert!(half.read_to_end(&mut rest).is_ok_and(|_| !rest.starts_with(b"HTTP/1.1 200")));
    }
    drop(streams);
    bench.assets(&urls(200), "2");
    watching.records(200);
    watching.stop();
}

#[test]
fn streams_are_bounded_and_their_place_is_given_back() {
    let (_cloud, _bench, watching, at) = settled(1, &[]);
    let mut streams: Vec<Events> = (0..16).map(|_| Events::follow(at)).collect();
    for stream in &mut streams {
        stream.next();
    }
    let status = || {
        let mut head = [0; 12];
        open(at, request(at, "GET", "/events", "").as_bytes()).read_exact(&mut head).expect("a status");
        String::from_utf8(head.to_vec()).expect("ASCII")
    };
    assert_eq!(status(), "HTTP/1.1 503");
    assert_eq!(get(at, "/").status, 200);
    streams.pop();
    while status() != "HTTP/1.1 200" {}
    watching.stop();
}

/// Heads that are too large are refused, and nothing is kept of them.
#[test]
fn heads_are_bounded() {
    let (_cloud, _bench, watching, at) = settled(1, &[]);
    let long = request(at, "GET", "/", &format!("X-Long: {}\r\n", "x".repeat(64 * 1024)));
    assert_eq!(send(at, long.as_bytes()).status, 431);
    for (headers, status) in [(200, 200), (300, 431)] {
        let many = request(at, "GET", "/", &"X-Many: x\r\n".repeat(headers));
        assert_eq!(send(at, many.as_bytes()).status, status, "{headers} headers");
    }
    let path = format!("/{}", "x".repeat(64 * 1024));
    assert!([414, 431].contains(&get(at, &path).status));
    assert_eq!(send(at, b"\x16\x03\x01\x02\x00\r\n\r\n").status, 400);
    assert_eq!(get(at, "/healthz").status, 200);
    watching.stop();
}
