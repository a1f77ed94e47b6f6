//! The server behind a cache: bodies from memory, cacheable for an hour, and a count of fetches.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Default)]
struct Content {
    /// By host (`None`: any) and path with query.
    bodies: HashMap<(Option<String>, String), String>,
    fetches: HashMap<String, usize>,
}

/// A running origin server; it ends with the test process.
pub(crate) struct Origin {
    /// Its port on 127.0.0.1.
    pub(crate) port: u16,
    content: Arc<Mutex<Content>>,
}

impl Origin {
    /// Starts with nothing to serve: all answers are 404.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        let port = listener.local_addr().expect("bound").port();
        let content = Arc::new(Mutex::new(Content::default()));
        let shared = Arc::clone(&content);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let content = Arc::clone(&shared);
                // A cache that hangs up in the middle is its own business.
                std::thread::spawn(move || serve(stream, &content));
            }
        });
        Self { port, content }
    }

    /// Publishes `body` at `path` (with its query, as in the request line) for one host, or for all.
    pub(crate) fn publish(&self, host: Option<&str>, path: &str, body: &str) {
        let key = (host.map(str::to_owned), path.to_owned());
        lock(&self.content).bodies.insert(key, body.to_owned());
    }

    /// Counts `path` as asked for once.
    pub(crate) fn count_once(&self, path: &str) {
        lock(&self.content).fetches.insert(path.to_owned(), 1);
    }

    /// How often `path` was asked for.
    pub(crate) fn fetches(&self, path: &str) -> usize {
        lock(&self.content).fetches.get(path).copied().unwrap_or(0)
    }
}

fn lock(content: &Mutex<Content>) -> MutexGuard<'_, Content> {
    content.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One request, one answer, end of connection.
fn serve(mut stream: TcpStream, content: &Mutex<Content>) -> Option<()> {
    let lines: Vec<String> =
        BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let mut words = lines.first()?.split(' ');
    let (method, path) = (words.next()?, words.next()?);
    let header = |name: &str| {
        lines.iter().filter_map(|line| line.split_once(':')).find(|(key, _)| key.eq_ignore_ascii_case(name))
    };
    let host = header("host").map(|(_, value)| value.trim().to_owned());
    let body = {
        let mut content = lock(content);
        *content.fetches.entry(path.to_owned()).or_default() += 1;
        let by_host = content.bodies.get(&(host, path.to_owned()));
        by_host.or_else(|| content.bodies.get(&(None, path.to_owned()))).cloned()
    };
    let etag = body.as_ref().map(|body| format!("\"{}\"", &blake3::hash(body.as_bytes()).to_hex()[..16]));
    let known = header("if-none-match").is_some_and(|(_, value)| Some(value.trim()) == etag.as_deref());
    let answer = match (method, body, etag) {
        ("GET" | "HEAD", Some(_), Some(etag)) if known => head("304 Not Modified", &etag, None),
        ("HEAD", Some(body), Some(etag)) => head("200 OK", &etag, Some(body.len())),
        ("GET", Some(body), Some(etag)) => head("200 OK", &etag, Some(body.len())) + &body,
        ("GET" | "HEAD", ..) => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned(),
        // PURGE that a cache passes on must not look like success.
        _ => "HTTP/1.1 501 Not Implemented\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned(),
    };
    stream.write_all(answer.as_bytes()).ok()
}

fn head(status: &str, etag: &str, length: Option<usize>) -> String {
    let length = length.map_or_else(String::new, |length| format!("Content-Length: {length}\r\n"));
    // Caches count age by their own clock, so the origin needs the same one.
    let date = jiff::Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT");
    format!(
        "HTTP/1.1 {status}\r\nDate: {date}\r\n{length}ETag: {etag}\r\nCache-Control: max-age=3600\r\n\
         Content-Type: text/plain\r\nConnection: close\r\n\r\n"
    )
}
