//! A cache on loopback that accepts every purge and notes when each began to arrive.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use crate::now;

const BOUND: Duration = Duration::from_secs(30);

/// It ends with the program.
pub(crate) struct Endpoint {
    address: SocketAddr,
    arrivals: Receiver<Instant>,
}

impl Endpoint {
    pub(crate) fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        let address = listener.local_addr().expect("bound");
        let (sender, arrivals) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let sender = sender.clone();
                std::thread::spawn(move || serve(stream, &sender));
            }
        });
        Self { address, arrivals }
    }

    /// A manifest that configures it.
    pub(crate) fn provider(&self) -> String {
        let limits = "limits: {calls_per_second: 1000}";
        format!(
            "providers:\n  own: {{kind: http-purge, hosts: [www.example.com], endpoints: [\"http://{}\"], {limits}}}\n",
            self.address
        )
    }

    /// When the next purge began to arrive.
    pub(crate) fn next(&self) -> Instant {
        self.arrivals.recv_timeout(BOUND).expect("a purge")
    }
}

fn serve(mut stream: TcpStream, arrivals: &Sender<Instant>) {
    let mut byte = [0];
    let mut head = Vec::new();
    while matches!(stream.read(&mut byte), Ok(1)) {
        if head.is_empty() {
            let _ = arrivals.send(now());
        }
        head.push(byte[0]);
        if head.ends_with(b"\r\n\r\n") {
            head.clear();
            if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").is_err() {
                return;
            }
        }
    }
}
