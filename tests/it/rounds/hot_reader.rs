//! Visitors who never stop: as soon as a page is dropped, one of them has it fetched again.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::support::cache::Visitor;

use super::HOST;

/// Requests under way at most.
const CONNECTIONS: usize = 4;
/// Between two requests of one connection: 40 requests a second in all.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a test waits for what must happen, so that a broken test ends.
const BOUND: Duration = Duration::from_mins(1);

/// What visitors ask for again and again.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: &'static str,
    pub(super) path: String,
    pub(super) headers: &'static [(&'static str, &'static str)],
}

struct Shared {
    requests: Vec<Request>,
    state: Mutex<State>,
    answered: Condvar,
}

struct State {
    /// The request that is made next.
    next: usize,
    /// By request: when the latest that was answered began.
    answers: Vec<Option<Instant>>,
}

/// Visitors at work; they stop when this is dropped.
pub(super) struct HotReader {
    shared: Arc<Shared>,
    stops: Vec<Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

impl HotReader {
    /// Starts to ask for all of `requests` in turn.
    pub(super) fn start(visitor: Visitor, requests: Vec<Request>) -> Self {
        let state = State { next: 0, answers: vec![None; requests.len()] };
        let shared = Arc::new(Shared { requests, state: Mutex::new(state), answered: Condvar::new() });
        let mut reader = Self { shared, stops: Vec::new(), threads: Vec::new() };
        for connection in 0..CONNECTIONS {
            let (stop, stopped) = channel();
            let shared = Arc::clone(&reader.shared);
            reader.stops.push(stop);
            reader.threads.push(std::thread::spawn(move || {
                // They take turns, each in its part of the pause.
                let mut next = Instant::now() + PAUSE * u32::try_from(connection).expect("few") / 4;
                while stopped.recv_timeout(next.saturating_duration_since(Instant::now()))
                    == Err(RecvTimeoutError::Timeout)
                {
                    shared.ask(visitor);
                    // What took longer than the pause is not made up for.
                    next = (next + PAUSE).max(Instant::now());
                }
            }));
        }
        reader
    }

    /// Waits until each request was answered once more, to somebody who asked after this.
    pub(super) fn lap(&self) {
        let from = Instant::now();
        let state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_behind = |state: &mut State| state.answers.iter().any(|begun| begun.is_none_or(|begun| begun < from));
        let waited = self.shared.answered.wait_timeout_while(state, BOUND, is_behind);
        assert!(!waited.unwrap_or_else(PoisonError::into_inner).1.timed_out(), "visitors get no answers");
    }
}

impl Shared {
    fn ask(&self, visitor: Visitor) {
        let index = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.next = (state.next + 1) % self.requests.len();
            state.next
        };
        let (begun, request) = (Instant::now(), &self.requests[index]);
        // A cache that is being stopped answers nobody.
        if visitor.ask(request.method, HOST, &request.path, request.headers).is_err() {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.answers[index] = state.answers[index].max(Some(begun));
        drop(state);
        self.answered.notify_all();
    }
}

impl Drop for HotReader {
    fn drop(&mut self) {
        self.stops.clear();
        for thread in self.threads.drain(..) {
            // A visitor that panicked has said so.
            let _ = thread.join();
        }
    }
}
