//! The server behind a cache: bodies from memory, cacheable for an hour, and a count of fetches. Fetches can take long, and two
//! replicas can differ.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a test waits for what must happen, so that a broken test ends.
const BOUND: Duration = Duration::from_mins(1);
/// What the program calls itself when it probes.
const PROGRAM: &str = "freshen/";

/// Behind a path: what is published there is the answer to queries of the program that no cache has seen.
pub(crate) const UNCACHED: &str = "?freshen=";

/// By host (`None`: any) and path with query.
type Pages = HashMap<(Option<String>, String), Page>;

/// What is served at a path.
#[derive(Clone, Debug, Default)]
pub(crate) struct Page {
    /// The content; without it a 404 that may be cached.
    pub(crate) body: Option<String>,
    /// Further lines of the head, each with its line break.
    pub(crate) headers: String,
    /// Fetches that begin now end when they are let go, and not before they have lasted so long.
    pub(crate) held: Option<Duration>,
}

impl Page {
    /// A page with this content.
    pub(crate) fn of(body: &str) -> Self {
        Self { body: Some(body.to_owned()), ..Self::default() }
    }
}

#[derive(Default)]
struct Content {
    /// Of each replica.
    pages: [Pages; 2],
    /// Requests so far that any replica might answer.
    turn: usize,
    fetches: HashMap<String, usize>,
    /// Paths of fetches that have begun and not ended, by number.
    under_way: HashMap<usize, String>,
    begun: usize,
    /// From when on held fetches of a path may end.
    let_go: HashMap<String, Instant>,
    /// How long fetches of caches take.
    delay: Duration,
    takes_all_methods: bool,
}

#[derive(Default)]
struct Shared {
    content: Mutex<Content>,
    changed: Condvar,
}

/// A running origin server; it ends with the test process.
#[derive(Clone)]
pub(crate) struct Origin {
    /// Its port on 127.0.0.1: a balancer before the replicas, which answer in turn.
    pub(crate) port: u16,
    /// The ports of the replicas.
    pub(crate) replicas: [u16; 2],
    shared: Arc<Shared>,
}

impl Origin {
    /// Starts with nothing to serve: all answers are 404.
    pub(crate) fn start() -> Self {
        let shared = Arc::default();
        let port = listen(&shared, None);
        let replicas = [0, 1].map(|replica| listen(&shared, Some(replica)));
        Self { port, replicas, shared }
    }

    /// Publishes `body` at `path` (with its query, as in the request line) for one host, or for all.
    pub(crate) fn publish(&self, host: Option<&str>, path: &str, body: &str) {
        for replica in 0..self.replicas.len() {
            self.publish_at(replica, host, path, Page::of(body));
        }
    }

    /// Publishes a page at one of the replicas.
    pub(crate) fn publish_at(&self, replica: usize, host: Option<&str>, path: &str, page: Page) {
        let key = (host.map(str::to_owned), path.to_owned());
        self.lock().pages[replica].insert(key, page);
    }

    /// Counts `path` as asked for once.
    pub(crate) fn count_once(&self, path: &str) {
        self.lock().fetches.insert(path.to_owned(), 1);
    }

    /// How often `path` was asked for.
    pub(crate) fn fetches(&self, path: &str) -> usize {
        self.lock().fetches.get(path).copied().unwrap_or(0)
    }

    /// Fetches that have begun so far, of all paths.
    pub(crate) fn begun(&self) -> usize {
        self.lock().begun
    }

    /// Lets each fetch of a cache, but no probe of the program, take so long from now on.
    pub(crate) fn delay_fetches(&self, delay: Duration) {
        self.lock().delay = delay;
    }

    /// Answers 200 to methods that it does not know, as some applications do.
    pub(crate) fn take_all_methods(&self) {
        self.lock().takes_all_methods = true;
    }

    /// Held fetches of `path` may end from `at` on.
    pub(crate) fn let_go(&self, path: &str, at: Instant) {
        self.lock().let_go.insert(path.to_owned(), at);
        self.shared.changed.notify_all();
    }

    /// Whether a fetch of `path` has begun and not ended.
    pub(crate) fn is_under_way(&self, path: &str) -> bool {
        self.lock().under_way.values().any(|other| other == path)
    }

    /// Waits until a fetch of `path` has begun and not ended.
    pub(crate) fn wait_until_under_way(&self, path: &str) {
        self.wait_until(path, |content| content.under_way.values().any(|other| other == path));
    }

    /// Waits until each fetch that has begun by now has ended.
    pub(crate) fn wait_until_ended(&self) {
        let begun = self.begun();
        self.wait_until("ends of fetches", |content| content.under_way.keys().all(|&number| number > begun));
    }

    #[track_caller]
    fn wait_until(&self, what: &str, mut is_so: impl FnMut(&Content) -> bool) {
        let waited = self.shared.changed.wait_timeout_while(self.lock(), BOUND, |content| !is_so(content));
        let (content, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!waited.timed_out(), "waited for {what}; under way: {:?}", content.under_way);
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.shared.lock()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A fetch begins: what is served at this instant is its answer, however long it takes.
    fn begin(&self, path: &str, host: Option<&str>, replica: Option<usize>) -> (Option<Page>, usize) {
        let mut content = self.lock();
        *content.fetches.entry(path.to_owned()).or_default() += 1;
        content.begun += 1;
        let number = content.begun;
        content.under_way.insert(number, path.to_owned());
        let replica = replica.unwrap_or_else(|| {
            content.turn += 1;
            content.turn % content.pages.len()
        });
        // As servers of files do, which ignore a query that they do not know.
        let (path, uncached) = path.split_once("?freshen=").map_or((path, None), |(path, _)| (path, Some(UNCACHED)));
        let page = |host: Option<&str>, query: &str| {
            content.pages[replica].get(&(host.map(str::to_owned), format!("{path}{query}")))
        };
        let any = |query: &str| host.and_then(|host| page(Some(host), query)).or_else(|| page(None, query)).cloned();
        let page = uncached.and_then(any).or_else(|| any(""));
        drop(content);
        self.changed.notify_all();
        (page, number)
    }

    /// Waits as long as this fetch takes.
    fn last(&self, path: &str, page: Option<&Page>, is_program: bool) {
        let begun = Instant::now();
        let mut content = self.lock();
        let held = page.and_then(|page| page.held);
        let least = held.unwrap_or(if is_program { Duration::ZERO } else { content.delay });
        loop {
            let let_go = content.let_go.get(path).copied();
            // Nobody is held for ever, so that a failed test ends.
            let end = match held {
                Some(_) => let_go.map_or(begun + BOUND, |at| at.max(begun + least)),
                None => begun + least,
            };
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            content = self.changed.wait_timeout(content, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// A fetch; it ends when this is dropped.
struct Fetch<'s>(&'s Shared, usize);

impl Drop for Fetch<'_> {
    fn drop(&mut self) {
        self.0.lock().under_way.remove(&self.1);
        self.0.changed.notify_all();
    }
}

/// Serves one replica, or all in turn. Returns the port.
fn listen(shared: &Arc<Shared>, replica: Option<usize>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let port = listener.local_addr().expect("bound").port();
    let shared = Arc::clone(shared);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let shared = Arc::clone(&shared);
            // A cache that hangs up in the middle is its own business.
            std::thread::spawn(move || serve(stream, &shared, replica));
        }
    });
    port
}

/// One request, one answer, end of connection.
fn serve(mut stream: TcpStream, shared: &Shared, replica: Option<usize>) -> Option<()> {
    let lines: Vec<String> =
        BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let mut words = lines.first()?.split(' ');
    let (method, path) = (words.next()?, words.next()?);
    let header = |name: &str| {
        let found =
            lines.iter().filter_map(|line| line.split_once(':')).find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.trim())
    };
    let is_program = header("user-agent").is_some_and(|agent| agent.starts_with(PROGRAM));
    let (page, number) = shared.begin(path, header("host"), replica);
    let _fetch = Fetch(shared, number);
    shared.last(path, page.as_ref(), is_program);
    let answer = match (method, page) {
        ("GET" | "HEAD", Some(page)) => answer(method, &page, header("if-none-match")),
        ("GET" | "HEAD", None) => empty("404 Not Found"),
        _ if shared.lock().takes_all_methods => empty("200 OK"),
        // PURGE that a cache passes on must not look like success.
        _ => empty("501 Not Implemented"),
    };
    stream.write_all(answer.as_bytes()).ok()
}

fn answer(method: &str, page: &Page, known: Option<&str>) -> String {
    let Some(body) = &page.body else {
        return head("404 Not Found", "", Some(0));
    };
    let etag = format!("\"{}\"", &blake3::hash(body.as_bytes()).to_hex()[..16]);
    let headers = format!("ETag: {etag}\r\n{}", page.headers);
    if known == Some(etag.as_str()) {
        return head("304 Not Modified", &headers, None);
    }
    let head = head("200 OK", &headers, Some(body.len()));
    if method == "HEAD" { head } else { head + body }
}

fn empty(status: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

fn head(status: &str, headers: &str, length: Option<usize>) -> String {
    let length = length.map_or_else(String::new, |length| format!("Content-Length: {length}\r\n"));
    // Caches count age by their own clock, so the origin needs the same one.
    let date = jiff::Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT");
    format!(
        "HTTP/1.1 {status}\r\nDate: {date}\r\n{length}{headers}Cache-Control: max-age=3600\r\n\
         Content-Type: text/plain\r\nConnection: close\r\n\r\n"
    )
}
