//! A TCP server on loopback that records request heads byte for byte and answers with scripted bytes, right or wrong.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a test waits for what must happen, so that a broken test ends.
const BOUND: Duration = Duration::from_secs(20);

/// What the server does after it has read a request.
#[derive(Clone)]
pub(crate) enum Answer {
    /// Sends these bytes and keeps the connection open for the next request.
    Keep(Vec<u8>),
    /// Sends these bytes, perhaps none, and closes.
    Close(Vec<u8>),
    /// Sends the first bytes once, then the second again and again until the client hangs up.
    Endless(Vec<u8>, Vec<u8>),
    /// Sends the first bytes, then one byte every tenth of a second until the client hangs up.
    Drip(Vec<u8>),
    /// Sends these bytes, perhaps none, then nothing until the client hangs up.
    Silent(Vec<u8>),
}

/// What the server saw.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Requests as they arrived, heads with bodies.
    pub(crate) requests: Vec<Vec<u8>>,
    /// Connections that were accepted.
    pub(crate) connections: usize,
    /// Bytes that could be written into connections, answers cut by the client included.
    pub(crate) bytes_written: usize,
}

/// A running server; it ends with the test process.
pub(crate) struct RawServer {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    ended: Mutex<Receiver<()>>,
}

impl RawServer {
    /// Answers the nth request, over all connections, with the nth answer; the last one serves all later ones.
    pub(crate) fn start(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        let address = listener.local_addr().expect("bound");
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (end, ended) = channel();
        let answers = Arc::new(answers);
        let shared = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                lock(&shared).connections += 1;
                let (seen, answers, end) = (Arc::clone(&shared), Arc::clone(&answers), end.clone());
                std::thread::spawn(move || {
                    serve(stream, &answers, &seen);
                    let _ = end.send(());
                });
            }
        });
        Self { address, seen, ended: Mutex::new(ended) }
    }

    /// What was seen so far.
    pub(crate) fn seen(&self) -> Seen {
        lock(&self.seen).clone()
    }

    /// Waits until a connection has ended on the server's side.
    pub(crate) fn wait_for_end(&self) {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        assert_ne!(ended.recv_timeout(BOUND), Err(RecvTimeoutError::Timeout), "the connection stayed open");
    }
}

fn lock(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(mut stream: TcpStream, answers: &[Answer], seen: &Mutex<Seen>) {
    while let Some(request) = read_request(&mut stream) {
        let at = {
            let mut seen = lock(seen);
            seen.requests.push(request);
            seen.requests.len() - 1
        };
        match answers.get(at).or(answers.last()).expect("at least one answer") {
            Answer::Keep(bytes) => write(&mut stream, bytes, seen),
            Answer::Close(bytes) => {
                write(&mut stream, bytes, seen);
                return;
            }
            Answer::Endless(first, again) => {
                write(&mut stream, first, seen);
                while stream.write_all(again).is_ok() {
                    lock(seen).bytes_written += again.len();
                }
                return;
            }
            Answer::Drip(bytes) => {
                write(&mut stream, bytes, seen);
                let _ = stream.set_read_timeout(Some(Duration::from_millis(100)));
                let is_waiting =
                    |error: &std::io::Error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
                while stream.read(&mut [0; 1]).is_err_and(|error| is_waiting(&error)) && stream.write_all(b" ").is_ok()
                {
                }
                return;
            }
            Answer::Silent(bytes) => {
                write(&mut stream, bytes, seen);
                let _ = stream.read(&mut [0; 1]);
                return;
            }
        }
    }
}

fn write(stream: &mut TcpStream, bytes: &[u8], seen: &Mutex<Seen>) {
    if stream.write_all(bytes).is_ok() {
        lock(seen).bytes_written += bytes.len();
    }
}

/// One request: its head, and as much body as `content-length` says. `None` at the end of the connection.
fn read_request(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut request = Vec::new();
    let mut byte = [0; 1];
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => request.push(byte[0]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            _ => return None,
        }
    }
    let head = String::from_utf8_lossy(&request).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")).unwrap_or("0");
    let mut body = vec![0; length.trim().parse().ok()?];
    stream.read_exact(&mut body).ok()?;
    request.extend(body);
    Some(request)
}
