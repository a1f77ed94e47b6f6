//! A reader that asks a listener of ours over HTTP: byte for byte, so that requests can be wrong.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How long a test waits for what must happen, so that a broken test ends.
const BOUND: Duration = Duration::from_mins(1);

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The head as it came.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The value of a header; `name` in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// Connects and sends these bytes.
pub(crate) fn open(at: SocketAddr, request: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(at).expect("connected");
    stream.set_read_timeout(Some(BOUND)).expect("set");
    stream.write_all(request).expect("sent");
    stream
}

/// Sends these bytes and reads the answer to its end.
pub(crate) fn send(at: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = open(at, request);
    let mut raw = Vec::new();
    // What follows the answer may be a reset, where not all of the request was read.
    let _ = stream.read_to_end(&mut raw);
    let text = String::from_utf8(raw).expect("UTF-8");
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no whole head: {text:?}"));
    let status = head.split(' ').nth(1).expect("a status").parse().expect("a number");
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

/// A request for `path` with further headers, each ended by a line break.
pub(crate) fn request(at: SocketAddr, method: &str, path: &str, headers: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: {at}\r\n{headers}\r\n")
}

/// Asks for `path`.
pub(crate) fn get(at: SocketAddr, path: &str) -> Answer {
    send(at, request(at, "GET", path, "").as_bytes())
}

/// A stream of events.
pub(crate) struct Events(BufReader<TcpStream>);

impl Events {
    /// Follows them from now on.
    pub(crate) fn follow(at: SocketAddr) -> Self {
        Self(BufReader::new(open(at, request(at, "GET", "/events", "").as_bytes())))
    }

    /// The next event; lines of chunks and comments are passed over.
    pub(crate) fn next(&mut self) -> serde_json::Value {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.0.read_line(&mut line).expect("a line") > 0, "the stream has ended");
            if let Some(data) = line.strip_prefix("data: ") {
                return serde_json::from_str(data).expect("JSON");
            }
        }
    }

    /// Reads events until one is as wanted.
    pub(crate) fn until(&mut self, is_it: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
        let end = Instant::now() + BOUND;
        let mut seen = Vec::new();
        while Instant::now() < end {
            let event = self.next();
            if is_it(&event) {
                return event;
            }
            seen.push(event);
        }
        panic!("not told; so far: {seen:#?}");
    }
}
