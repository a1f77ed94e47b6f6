//! What a service manager such as systemd hears.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use super::cli::Bench;

/// How long something may take to be heard.
const PATIENCE: Duration = Duration::from_mins(1);

/// Listens to a program that was started by a [`Bench`].
pub(crate) struct ServiceManager {
    socket: UnixDatagram,
    told: String,
}

impl ServiceManager {
    /// Lets programs of this bench send it how they are. They show that they live twice in the time of the watchdog.
    pub(crate) fn of(bench: Bench, watchdog: Duration) -> (Bench, Self) {
        let path = bench.path("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("set");
        let path = path.to_str().expect("UTF-8").to_owned();
        let bench = bench.var("NOTIFY_SOCKET", &path).var("WATCHDOG_USEC", &watchdog.as_micros().to_string());
        (bench, Self { socket, told: String::new() })
    }

    /// Waits until `what` is heard, behind what was waited for before; returns all that was heard up to it.
    pub(crate) fn hears(&mut self, what: &str) -> String {
        let end = loop {
            if let Some(start) = self.told.find(what) {
                break start + what.len();
            }
            let mut datagram = [0; 4096];
            let length = self.socket.recv(&mut datagram);
            let length = length.unwrap_or_else(|error| panic!("{what}: {error}; {}", self.told));
            self.told += std::str::from_utf8(&datagram[..length]).expect("UTF-8");
            self.told += "\n";
        };
        self.told.drain(..end).collect()
    }
}
