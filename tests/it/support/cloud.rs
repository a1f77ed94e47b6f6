//! A vendor on loopback: an HTTP/1.1 server that hands each request, as it was received, to a strict emulator, and
//! that can be scripted beforehand to answer something else, to lose or hold answers, or to close connections.

use std::collections::{BTreeMap, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use freshen::core::contract::{Capabilities, CredentialScheme, Credentials, FieldSort, Rate};
use freshen::core::http::{Endpoint, Request, Response};
use freshen::core::model::{HostPattern, OperationLimits};
use freshen::core::provider::Provider;
use freshen::core::target::Scope;
use freshen::core::time::Timestamp;
use freshen::vendor::VENDORS;
use freshen::vendor::emulation::{Afterwards, Emulator, Purged, Setup};

use super::vendor;

/// How long a test waits for what must happen, so that a broken test ends.
const BOUND: Duration = Duration::from_secs(30);

/// Hosts that emulated accounts own.
pub(crate) const HOSTS: [&str; 2] = ["cdn.example.com", "*.example.net"];
/// The credentials that emulated accounts take unless scripted otherwise.
pub(crate) const KEY_ID: &str = "AKIDloopback";
pub(crate) const KEY_SECRET: &str = "SECRETloopback";

/// What the server does with one request.
pub(crate) enum Step {
    /// Answers this; the emulator never sees the request.
    Say(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// Answers with this status and the whole request, as received, wrapped by the function.
    Echo(u16, Arc<dyn Fn(&str) -> String + Send + Sync>),
    /// Closes the connection; the emulator never sees the request.
    Close,
    /// The emulator answers, as it does without a script.
    Pass,
    /// The emulator carries the request out, but the connection closes without an answer.
    Lose,
    /// The emulator carries the request out, and half of its answer arrives.
    Cut,
    /// The emulator carries the request out; its answer waits for [`Cloud::release`].
    Hold,
}

impl Step {
    /// An answer with a body and nothing else.
    pub(crate) fn say(status: u16, body: &str) -> Self {
        Self::Say(status, Vec::new(), body.as_bytes().to_vec())
    }

    pub(crate) fn again(&self) -> Self {
        match self {
            Self::Say(status, headers, body) => Self::Say(*status, headers.clone(), body.clone()),
            Self::Echo(status, wrap) => Self::Echo(*status, Arc::clone(wrap)),
            Self::Pass => Self::Pass,
            Self::Close => Self::Close,
            Self::Lose => Self::Lose,
            Self::Cut => Self::Cut,
            Self::Hold => Self::Hold,
        }
    }
}

struct Shared {
    setup: Setup,
    emulator: Mutex<Option<Box<dyn Emulator>>>,
    endpoint: Endpoint,
    script: Mutex<VecDeque<Step>>,
    always: Mutex<Option<Step>>,
    requests: Mutex<Vec<Vec<u8>>>,
    queries: Mutex<Vec<Vec<u8>>>,
    query: Mutex<Option<Step>>,
    arrival: Condvar,
    held: Mutex<Sender<()>>,
    released: Mutex<Receiver<()>>,
}

/// A running server; it ends with the test process.
pub(crate) struct Cloud {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    held: Mutex<Receiver<()>>,
    release: Sender<()>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Cloud {
    /// A server with an account of `kind` behind it that takes the usual test credentials.
    pub(crate) fn of(kind: &str) -> Self {
        Self::with(kind, |_| {})
    }

    /// As [`Cloud::of`], with the account changed by `arrange`.
    pub(crate) fn with(kind: &str, arrange: impl FnOnce(&mut Setup)) -> Self {
        Self::behind(TcpListener::bind("127.0.0.1:0").expect("a loopback port"), kind, arrange)
    }

    /// Servers of their own at 127.0.0.1, 127.0.0.2 and so on, all at one port.
    pub(crate) fn cluster<const COUNT: usize>() -> [Self; COUNT] {
        loop {
            let mut port = 0;
            let listeners: std::io::Result<Vec<TcpListener>> = (1..=COUNT)
                .map(|last| {
                    let listener = TcpListener::bind(format!("127.0.0.{last}:{port}"))?;
                    port = listener.local_addr()?.port();
                    Ok(listener)
                })
                .collect();
            // Another process may have the port of the first one at another address.
            let Ok(listeners) = listeners else { continue };
            let mut listeners = listeners.into_iter();
            return [(); COUNT].map(|()| Self::behind(listeners.next().expect("one each"), "http-purge", |_| {}));
        }
    }

    fn behind(listener: TcpListener, kind: &str, arrange: impl FnOnce(&mut Setup)) -> Self {
        let address = listener.local_addr().expect("bound");
        let endpoint = Endpoint {
            tls: false,
            host: "127.0.0.1".into(),
            port: Some(address.port()),
            path_prefix: String::new(),
            address: None,
        };
        let mut setup = setup(kind, endpoint.clone());
        arrange(&mut setup);
        let (sender, held) = channel();
        let (release, released) = channel();
        let shared = Arc::new(Shared {
            emulator: Mutex::new(VENDORS.emulator(setup.clone())),
            setup,
            endpoint,
            script: Mutex::default(),
            always: Mutex::default(),
            requests: Mutex::default(),
            queries: Mutex::default(),
            query: Mutex::default(),
            arrival: Condvar::new(),
            held: Mutex::new(sender),
            released: Mutex::new(released),
        });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&serving);
                std::thread::spawn(move || serve(stream, &shared));
            }
        });
        Self { address, shared, held: Mutex::new(held), release }
    }

    /// `http://127.0.0.1:PORT`
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next requests meet these steps, in order, before the emulator.
    pub(crate) fn script(&self, steps: impl IntoIterator<Item = Step>) {
        lock(&self.shared.script).extend(steps);
    }

    /// Every request meets this step from now on; `None`: the emulator answers again.
    pub(crate) fn always(&self, step: Option<Step>) {
        *lock(&self.shared.always) = step;
    }

    /// Every query meets this step from now on; `None`: the emulator answers again.
    pub(crate) fn ask_me(&self, step: Option<Step>) {
        *lock(&self.shared.query) = step;
    }

    /// Questions about quotas and tasks as they arrived. They meet no script of purges, and are not among the requests.
    pub(crate) fn queries(&self) -> Vec<Vec<u8>> {
        lock(&self.shared.queries).clone()
    }

    /// Requests as they arrived, heads with bodies; without queries.
    pub(crate) fn requests(&self) -> Vec<Vec<u8>> {
        lock(&self.shared.requests).clone()
    }

    /// How many requests arrived and were not counted yet.
    pub(crate) fn arrived(&self) -> usize {
        lock(&self.shared.requests).len()
    }

    /// Waits, not for long, until so many arrived; whether they did.
    pub(crate) fn has_soon(&self, arrived: usize) -> bool {
        let soon = Duration::from_millis(20);
        let requests = lock(&self.shared.requests);
        let waited = self.shared.arrival.wait_timeout_while(requests, soon, |requests| requests.len() < arrived);
        !waited.expect("whole").1.timed_out()
    }

    /// How many requests arrived since this was asked last.
    pub(crate) fn count(&self) -> usize {
        std::mem::take(&mut *lock(&self.shared.requests)).len()
    }

    /// Everything the emulator purged, in order.
    pub(crate) fn log(&self) -> Vec<Purged> {
        lock(&self.shared.emulator).as_ref().expect("an emulator").log().to_vec()
    }

    /// Texts of what was purged, sorted.
    pub(crate) fn purged(&self) -> Vec<String> {
        let mut texts: Vec<String> = self.log().into_iter().map(|purged| purged.target.text).collect();
        texts.sort();
        texts
    }

    /// The account's quota begins anew, and so does the log.
    pub(crate) fn new_day(&self) {
        *lock(&self.shared.emulator) = VENDORS.emulator(self.shared.setup.clone());
    }

    /// Waits until an answer is held back.
    pub(crate) fn wait_for_hold(&self) {
        lock(&self.held).recv_timeout(BOUND).expect("a request to hold");
    }

    /// Lets one answer go that is held back.
    pub(crate) fn release(&self) {
        self.release.send(()).expect("a server");
    }
}

/// The account: documented limits, but a rate that the tests' own timing cannot exceed.
fn setup(kind: &str, endpoint: Endpoint) -> Setup {
    let provider = VENDORS.find(kind).expect("a kind");
    let limits = provider.capabilities().operations.iter().map(|operation| {
        let limits = OperationLimits {
            targets_per_call: operation.targets_per_call,
            calls: Rate::per_second(100_000),
            bytes_per_call: None,
            hosts_per_call: None,
            targets: None,
            targets_per_day: operation.targets_per_day,
            calls_in_flight: operation.calls_in_flight,
        };
        (operation.scope, limits)
    });
    Setup {
        kind: kind.to_owned(),
        endpoint,
        credentials: keys(kind, KEY_ID, KEY_SECRET, None),
        options: vendor::options(provider),
        hosts: HOSTS.map(|host| HostPattern::from_checked(host.to_owned())).to_vec(),
        limits: limits.collect::<BTreeMap<Scope, _>>(),
        afterwards: Afterwards::default(),
    }
}

/// All kinds that sign their requests.
pub(crate) fn clouds() -> impl Iterator<Item = &'static str> {
    let signs = |kind: &&Capabilities| matches!(kind.credentials, CredentialScheme::Fields { .. });
    VENDORS.all().map(Provider::capabilities).filter(signs).map(|kind| kind.kind)
}

/// The credentials of an account of `kind`; without its token if there is none.
pub(crate) fn keys(kind: &str, id: &str, secret: &str, token: Option<&str>) -> Credentials {
    vendor::credentials(VENDORS.find(kind).expect("a kind"), (id, secret, token))
}

/// The variables that a kind with a key pair reads: key id, secret, token.
pub(crate) fn variables(kind: &str) -> [&'static str; 3] {
    let fields = vendor::fields(VENDORS.find(kind).expect("a kind"), ("", "", Some("")));
    [FieldSort::KeyId, FieldSort::Secret, FieldSort::SessionToken].map(|sort| {
        let found = fields.iter().find(|(field, _)| field.sort == sort);
        found.unwrap_or_else(|| panic!("{kind} has no field that is a {sort:?}")).0.variable
    })
}

fn serve(mut stream: TcpStream, shared: &Shared) {
    while let Some(raw) = read_request(&mut stream) {
        let step = if is_query(&shared.setup.kind, &raw) {
            lock(&shared.queries).push(raw.clone());
            lock(&shared.query).as_ref().map(Step::again)
        } else {
            lock(&shared.requests).push(raw.clone());
            shared.arrival.notify_all();
            let scripted = lock(&shared.script).pop_front();
            scripted.or_else(|| lock(&shared.always).as_ref().map(Step::again))
        };
        let answer = match step {
            None | Some(Step::Pass) => rendered(&emulate(shared, &raw)),
            Some(Step::Say(status, headers, body)) => {
                let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
                rendered(&Response { status, headers, body })
            }
            Some(Step::Echo(status, wrap)) => {
                let body = wrap(&String::from_utf8_lossy(&raw)).into_bytes();
                rendered(&Response { status, headers: Vec::new(), body })
            }
            Some(Step::Close) => return,
            Some(Step::Lose) => {
                emulate(shared, &raw);
                return;
            }
            Some(Step::Cut) => {
                let whole = rendered(&emulate(shared, &raw));
                let _ = stream.write_all(&whole[..whole.len() - 10]);
                return;
            }
            Some(Step::Hold) => {
                let answer = emulate(shared, &raw);
                let _ = lock(&shared.held).send(());
                let _ = lock(&shared.released).recv_timeout(BOUND);
                rendered(&answer)
            }
        };
        if stream.write_all(&answer).is_err() {
            return;
        }
    }
}

/// Whether a request asks for a quota or a task; URLs of tests hold no such words.
fn is_query(kind: &str, raw: &[u8]) -> bool {
    let text = String::from_utf8_lossy(raw);
    vendor::fact::<Vec<&str>>(kind, "queries").iter().any(|word| text.contains(word))
}

#[expect(clippy::disallowed_methods, reason = "the binary signs with the real time, so its judge reads it too")]
pub(crate) fn now() -> Timestamp {
    let now = std::time::SystemTime::now();
    let elapsed = now.duration_since(std::time::SystemTime::UNIX_EPOCH).expect("after 1970");
    Timestamp::from_unix_ms(i64::try_from(elapsed.as_millis()).expect("before the end of time"))
}

fn emulate(shared: &Shared, raw: &[u8]) -> Response {
    let request = parse(raw, shared.endpoint.clone());
    lock(&shared.emulator).as_mut().expect("an emulator").answer(&request, now())
}

fn rendered(response: &Response) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {} Answer\r\n", response.status).into_bytes();
    for (name, value) in &response.headers {
        bytes.extend(format!("{name}: {value}\r\n").bytes());
    }
    let is_sized = response.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    if !is_sized {
        bytes.extend(format!("Content-Length: {}\r\n", response.body.len()).bytes());
    }
    bytes.extend(b"\r\n");
    bytes.extend(&response.body);
    bytes
}

fn parse(raw: &[u8], endpoint: Endpoint) -> Request {
    let end = raw.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let head = std::str::from_utf8(&raw[..end]).expect("an ASCII head");
    let mut lines = head.split("\r\n");
    let mut words = lines.next().expect("a request line").split(' ');
    let (method, path) = (words.next().expect("a method"), words.next().expect("a path"));
    let header = |line: &str| {
        let (name, value) = line.split_once(": ").expect("a header");
        (name.to_owned(), value.to_owned())
    };
    Request {
        route: freshen::core::http::Route::Direct,
        method: method.to_owned(),
        endpoint,
        path_and_query: path.to_owned(),
        headers: lines.map(header).collect(),
        body: raw[end + 4..].to_vec(),
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
