//! The listener of a program that stays up: shows over HTTP how it is, to readers with the right, and takes no orders.
//!
//! Knows the report and nothing of plans, providers or the state. Reads copies of the report, so its writer never
//! waits for a reader (H4); a connection serves one request and is bounded in size, time and number.

mod events;
mod guard;
mod metrics;
mod page;
mod places;
mod ready;
mod view;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router, middleware};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use crate::core::report::Report;
use crate::core::text::one_line;
use crate::core::time::{Tick, Timestamp};
use crate::host::{Clock, room};
use guard::{AccessGuard, Admitted};
pub use guard::{MOST_TOKEN_BYTES, Token};
use places::{ConnectionSlot, ConnectionSlots};
use view::PageView;

/// Connections at once, where the process may have so many files.
const CONNECTIONS: usize = 64;
/// Streams of events at once, fewer than connections, so that others always get through.
const STREAMS: usize = 16;
/// Largest head of a request, in bytes, and most headers in it.
const HEAD_BYTES: usize = 16 * 1024;
const HEADERS: usize = 256;
/// How long the head of a request may take to arrive.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// How long a connection may take, in milliseconds, unless it is a stream of events.
const CONNECTION_MS: u64 = 30_000;
/// How often the main loop turns at least, in milliseconds.
pub const TURN_MS: u64 = 15_000;
/// After how long without a turn it hangs, in milliseconds. Comparing and noting millions of targets is one turn, and may take a
/// minute where the processor or the disk is slow: a restart of the program for that makes it begin anew.
const HANGS_MS: u64 = 300_000;
/// How long it is believed whether something can be recorded, in milliseconds.
const BELIEVED_MS: u64 = 3_000;
/// Wait after the system did not hand over a connection, in milliseconds: it may be out of files.
const ACCEPT_AGAIN_MS: u64 = 200;

/// What readers have to show and get to see.
pub struct Settings {
    /// What they have to send, as of now; `None`: nothing.
    pub token: Option<watch::Receiver<Token>>,
    /// Names in lower case and addresses without brackets that they may use for this machine, besides `localhost` and the address that they reached.
    pub hosts: Vec<String>,
    /// How long targets may be pending at a provider before it counts as stuck, in milliseconds.
    pub ready_within_ms: u64,
    /// When the program's main loop last turned, which it does at least every [`TURN_MS`].
    pub turned: watch::Receiver<Tick>,
    /// Tells why nothing could be recorded now, if so. Asked every few seconds at most, on a thread that may wait for a disk.
    pub write_probe: Arc<WriteProbe>,
}

/// What [`Settings::write_probe`] is.
pub type WriteProbe = dyn Fn() -> Option<String> + Send + Sync;

/// A socket that listens.
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Takes the address; port 0 is any free one.
    ///
    /// # Errors
    /// What the system said.
    pub async fn bind(address: SocketAddr) -> std::io::Result<Self> {
        let socket = TcpListener::bind(address).await?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers for as long as the future is polled.
    pub async fn serve(self, clock: Arc<dyn Clock>, report: watch::Receiver<Report>, settings: Settings) {
        let connections = room::connections(CONNECTIONS);
        let served = Arc::new(Served {
            clock,
            report,
            guard: AccessGuard::new(settings.token, settings.hosts),
            ready_within_ms: settings.ready_within_ms,
            turned: settings.turned,
            write_probe: settings.write_probe,
            known: tokio::sync::Mutex::default(),
            streams: Arc::new(Semaphore::new(STREAMS.min(connections - 1))),
        });
        let router = router(&served);
        let places = ConnectionSlots::new(connections);
        loop {
            let Ok((stream, _)) = self.socket.accept().await else {
                served.clock.sleep_until(after(served.clock.as_ref(), ACCEPT_AGAIN_MS)).await;
                continue;
            };
            let (router, clock) = (router.clone(), Arc::clone(&served.clock));
            let place = places.take().await;
            tokio::spawn(async move { converse(stream, router, clock.as_ref(), place).await });
        }
    }
}

/// How a request arrived.
#[derive(Clone)]
struct Arrival {
    /// The address of ours that was reached.
    at: SocketAddr,
    /// Set once the answer is known to be a stream, which lasts longer than other answers.
    is_stream: Arc<AtomicBool>,
}

/// Serves one request and closes.
async fn converse(stream: TcpStream, router: Router, clock: &dyn Clock, place: ConnectionSlot) {
    let Ok(at) = stream.local_addr() else { return };
    let is_stream = Arc::new(AtomicBool::new(false));
    let answers = TowerToHyperService::new(router.layer(Extension(Arrival { at, is_stream: Arc::clone(&is_stream) })));
    let service = service_fn(|request| {
        place.keep();
        answers.call(request)
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME);
    server.keep_alive(false).max_buf_size(HEAD_BYTES).max_headers(HEADERS);
    let connection = server.serve_connection(TokioIo::new(stream), service);
    let begun = clock.now().tick;
    let too_long = async {
        clock.sleep_until(begun.plus_ms(CONNECTION_MS)).await;
        if is_stream.load(Ordering::Relaxed) {
            clock.sleep_until(begun.plus_ms(CONNECTION_MS + events::STREAM_MS)).await;
        }
    };
    tokio::select! {
        biased;
        // Whatever went wrong, it is the reader's concern.
        _ = connection => {}
        () = place.wanted() => {}
        () = too_long => {}
    }
}

/// Whether something can be recorded, as far as it was asked.
#[derive(Default)]
struct KnownProbe {
    /// Until when the answer is believed.
    until: Tick,
    answer: Option<String>,
    /// It is being asked. A disk that hangs holds one thread, however many readers give up waiting.
    asking: Option<JoinHandle<Option<String>>>,
}

/// What all requests are answered from.
struct Served {
    clock: Arc<dyn Clock>,
    report: watch::Receiver<Report>,
    guard: AccessGuard,
    ready_within_ms: u64,
    turned: watch::Receiver<Tick>,
    write_probe: Arc<WriteProbe>,
    known: tokio::sync::Mutex<KnownProbe>,
    streams: Arc<Semaphore>,
}

impl Served {
    fn now(&self) -> Timestamp {
        self.clock.now().wall
    }

    /// A copy: nothing waits while it is shown.
    fn report(&self) -> Report {
        self.report.borrow().clone()
    }

    async fn view(&self, report: &Report) -> PageView {
        PageView::of(report, &self.reasons(report).await, self.now())
    }

    /// Why not all is well; empty if all is.
    async fn reasons(&self, report: &Report) -> Vec<String> {
        // Before what came of it, which may say less.
        let write_probe = self.write_probe().await;
        let write_probe = write_probe.map(|why| format!("nothing could be recorded: {}", one_line(&why, ready::MOST)));
        write_probe.into_iter().chain(ready::reasons(report, self.now(), self.ready_within_ms)).collect()
    }

    async fn write_probe(&self) -> Option<String> {
        let mut known = self.known.lock().await;
        if known.until <= self.clock.now().tick {
            let ask = || {
                let ask = Arc::clone(&self.write_probe);
                tokio::task::spawn_blocking(move || ask())
            };
            let answer = known.asking.get_or_insert_with(ask).await.ok().flatten();
            *known = KnownProbe { until: after(self.clock.as_ref(), BELIEVED_MS), answer, asking: None };
        }
        known.answer.clone()
    }
}

fn router(served: &Arc<Served>) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/app.js", get(|| async { typed("text/javascript; charset=utf-8", include_str!("app.js")) }))
        .route("/style.css", get(|| async { typed("text/css; charset=utf-8", include_str!("style.css")) }))
        .route("/events", get(events))
        .route("/metrics", get(metrics))
        .route("/healthz", get(health))
        .route("/readyz", get(ready))
        .fallback(|| async { (StatusCode::NOT_FOUND, "there is /, /metrics, /healthz and /readyz\n") })
        .layer(middleware::from_fn_with_state(Arc::clone(served), guard::check))
        .with_state(Arc::clone(served))
}

fn typed(kind: &'static str, body: impl IntoResponse) -> Response {
    ([(CONTENT_TYPE, kind)], body).into_response()
}

async fn page(State(served): State<Arc<Served>>) -> Response {
    typed("text/html; charset=utf-8", page::html(&served.view(&served.report()).await))
}

async fn metrics(State(served): State<Arc<Served>>, headers: HeaderMap) -> Response {
    let wants_open = headers.get_all(ACCEPT).iter().any(|accept| {
        accept.to_str().is_ok_and(|accept| accept.to_ascii_lowercase().contains("application/openmetrics-text"))
    });
    let text = metrics::open_metrics(served.report(), served.now());
    if wants_open {
        typed("application/openmetrics-text; version=1.0.0; charset=utf-8", text)
    } else {
        typed("text/plain; version=0.0.4; charset=utf-8", metrics::as_prometheus(&text))
    }
}

async fn health(State(served): State<Arc<Served>>) -> Response {
    let still_ms = served.clock.now().tick.since(*served.turned.borrow());
    if still_ms < HANGS_MS {
        return "alive\n".into_response();
    }
    let text = format!("the program hangs: its main loop has stood still for {} s\n", still_ms / 1000);
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}

/// Why it is not ready is shown to readers of everything, whether it is to anybody.
async fn ready(State(served): State<Arc<Served>>, Extension(admitted): Extension<Admitted>) -> Response {
    let reasons = served.reasons(&served.report()).await;
    if reasons.is_empty() {
        return "ready\n".into_response();
    }
    let text = match admitted {
        Admitted::ToAll => reasons.join("\n") + "\n",
        Admitted::ToLittle => "not ready\n".to_owned(),
    };
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}

async fn events(State(served): State<Arc<Served>>, Extension(arrival): Extension<Arrival>) -> Response {
    let Ok(permit) = Arc::clone(&served.streams).try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many readers follow already\n").into_response();
    };
    arrival.is_stream.store(true, Ordering::Relaxed);
    typed("text/event-stream; charset=utf-8", Body::from_stream(events::stream(served, permit)))
}

/// Later by so many milliseconds.
fn after(clock: &dyn Clock, ms: u64) -> Tick {
    clock.now().tick.plus_ms(ms)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::AtomicUsize;
    use std::sync::mpsc::channel;

    use futures_util::FutureExt;

    use super::*;
    use crate::core::report::ManifestsReport;
    use crate::core::time::Now;
    use crate::host::clock::SystemClock;
    use crate::host::virtual_clock::VirtualClock;

    /// A request would be answered by this.
    fn served(clock: impl Clock + 'static, write_probe: impl Fn() -> Option<String> + Send + Sync + 'static) -> Served {
        Served {
            turned: watch::channel(clock.now().tick).1,
            clock: Arc::new(clock),
            report: watch::channel(Report::default()).1,
            guard: AccessGuard::new(None, Vec::new()),
            ready_within_ms: 1,
            write_probe: Arc::new(write_probe),
            known: tokio::sync::Mutex::default(),
            streams: Arc::new(Semaphore::new(1)),
        }
    }

    /// C7: a full disk is named also once runs have failed for it.
    #[tokio::test]
    async fn what_keeps_the_state_from_being_written_is_told_first() {
        let served = served(VirtualClock::starting_at(Now::default()), || Some("the disk is full".to_owned()));
        let trouble = Some("state `s` cannot be read: disk I/O error".to_owned());
        let manifests = ManifestsReport::Valid { manifests: 1, targets: 1 };
        let reasons = served.reasons(&Report { manifests, trouble, ..Report::default() }).await;
        assert_eq!(
            reasons,
            [
                "nothing could be recorded: the disk is full",
                "runs cannot be made: state `s` cannot be read: disk I/O error"
            ]
        );
    }

    /// W6: a loop that hangs purges nothing, however well the listener answers.
    #[tokio::test]
    async fn a_loop_that_stands_still_is_not_alive() {
        let served = Arc::new(served(VirtualClock::starting_at(Now::default()), || None));
        for (ms, status) in [(0, 200), (HANGS_MS - 1, 200), (HANGS_MS, 503)] {
            served.clock.sleep_until(Tick::from_ms(ms)).await;
            assert_eq!(health(State(Arc::clone(&served))).await.status(), status, "after {ms} ms");
        }
    }

    /// H4: where a disk hangs, readers that give up and come back are no reason to ask it again.
    #[tokio::test]
    async fn a_disk_that_hangs_is_asked_once() {
        let (release, released) = channel::<()>();
        let (released, asked) = (Mutex::new(released), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&asked);
        let write_probe = move || {
            count.fetch_add(1, Ordering::SeqCst);
            let _ = released.lock().expect("no panic").recv();
            Some("it was slow".to_owned())
        };
        let served = served(SystemClock::start(), write_probe);
        for _ in 0..3 {
            assert_eq!(served.write_probe().now_or_never(), None, "given up");
        }
        drop(release);
        assert_eq!(served.write_probe().await.as_deref(), Some("it was slow"));
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }
}
