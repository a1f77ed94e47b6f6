//! Stands between the program and a cache: down until it is opened, it counts what passes.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::TcpSocket;

/// Sees each request before it is passed on.
type Observer = Arc<dyn Fn(&str) + Send + Sync>;

/// What passed an open relay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Passed {
    /// Connections that were accepted.
    pub(crate) connections: usize,
    /// Requests as `PURGE static.example.test/path`, in order of arrival.
    pub(crate) requests: Vec<String>,
}

/// What an open relay does with a request.
#[derive(Clone, Copy)]
enum Way {
    /// Passes it on to this port of 127.0.0.1.
    Forward(u16),
    /// Reads it and closes the connection, as a cache does whose worker dies.
    HangUp,
}

/// A port of 127.0.0.1 that refuses connections until the relay is opened; then it stays open with the test process.
pub(crate) struct Relay {
    /// The port, the same while down and while open.
    pub(crate) port: u16,
    /// Holds the port without listening: connections are refused and nobody else gets the port.
    down: Option<TcpSocket>,
    way: Arc<Mutex<Option<Way>>>,
    passed: Arc<Mutex<Passed>>,
    observer: Observer,
}

impl Relay {
    /// A relay that is down.
    pub(crate) fn down() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(([127, 0, 0, 1], 0).into()).expect("a loopback port");
        let port = socket.local_addr().expect("bound").port();
        Self { port, down: Some(socket), way: Arc::default(), passed: Arc::default(), observer: Arc::new(|_| ()) }
    }

    /// An open relay to a port of 127.0.0.1. `observer` sees each request before it is passed on.
    pub(crate) fn observed(port: u16, observer: impl Fn(&str) + Send + Sync + 'static) -> Self {
        let mut relay = Self { observer: Arc::new(observer), ..Self::down() };
        relay.forward_to(port);
        relay
    }

    /// An open relay to a port of 127.0.0.1.
    pub(crate) fn to(port: u16) -> Self {
        let mut relay = Self::down();
        relay.forward_to(port);
        relay
    }

    /// Passes requests of new connections on from now on.
    pub(crate) fn forward_to(&mut self, port: u16) {
        self.open(Way::Forward(port));
    }

    /// Closes connections after their first request from now on.
    pub(crate) fn hang_up(&mut self) {
        self.open(Way::HangUp);
    }

    /// What passed so far.
    pub(crate) fn passed(&self) -> Passed {
        lock(&self.passed).clone()
    }

    fn open(&mut self, way: Way) {
        *lock(&self.way) = Some(way);
        let Some(socket) = self.down.take() else { return };
        let listener = listen(socket);
        let (way, passed, observer) = (Arc::clone(&self.way), Arc::clone(&self.passed), Arc::clone(&self.observer));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                lock(&passed).connections += 1;
                let (way, passed, observer) = (*lock(&way), Arc::clone(&passed), Arc::clone(&observer));
                // A reader that hangs up in the middle ends this connection and nothing else.
                std::thread::spawn(move || serve(&client, way?, &passed, &observer));
            }
        });
    }
}

/// Only tokio can bind without listening; from here on the socket is an ordinary one.
fn listen(socket: TcpSocket) -> TcpListener {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
    let listener = runtime.block_on(async { socket.listen(64)?.into_std() }).expect("a listener");
    listener.set_nonblocking(false).expect("a listener that blocks");
    listener
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(client: &TcpStream, way: Way, passed: &Mutex<Passed>, observer: &Observer) -> Option<()> {
    let mut requests = BufReader::new(client);
    let Way::Forward(port) = way else {
        read_request(&mut requests, passed, observer)?;
        return client.shutdown(Shutdown::Both).ok();
    };
    let mut cache = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let (mut answers, mut back) = (cache.try_clone().ok()?, client.try_clone().ok()?);
    std::thread::spawn(move || {
        // Both ends learn of the end of either.
        let _ = std::io::copy(&mut answers, &mut back);
        let _ = back.shutdown(Shutdown::Both);
    });
    while let Some(head) = read_request(&mut requests, passed, observer) {
        cache.write_all(head.as_bytes()).ok()?;
    }
    cache.shutdown(Shutdown::Both).ok()
}

/// One request without a body, as a purge is; counted before it is passed on. `None` at the end of the connection.
fn read_request(requests: &mut impl BufRead, passed: &Mutex<Passed>, observer: &Observer) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        requests.read_line(&mut head).ok().filter(|&bytes| bytes > 0)?;
    }
    let mut words = head.split(' ');
    let (method, path) = (words.next()?, words.next()?);
    let host = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("host:").map(str::to_owned));
    let request = format!("{method} {}{path}", host.unwrap_or_default().trim());
    observer(&request);
    lock(passed).requests.push(request);
    Some(head)
}
