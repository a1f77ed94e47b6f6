//! A program that stays up, and runs what `apply` runs whenever files change, work is due or time has passed.
//!
//! The machine of `core/watch.rs` decides when; this folder waits, starts runs and logs what came of them. Files, signals and
//! the machine come in through seams.

mod announce;
mod cycle;
mod cycle_error;
mod events;
mod files;
pub mod listener;
mod newest;
mod proving;
mod reading;
mod remaining;
mod signals;
mod systemd;
mod watch_folders;

pub use files::{Files, WatchedFiles};
pub use newest::Newest;
pub use reading::{ManifestsSeen, Read, WatchedPaths};
pub use signals::{Signal, SignalSource, Signals};
pub use systemd::Systemd;

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::watch;

use crate::core::command_line::CommandLine;
use crate::core::guard::Allowed;
use crate::core::report::{Report, ReportEvent};
use crate::core::text::one_line;
use crate::core::time::{Now, Tick, Timestamp, shown_duration};
use crate::core::watch::{Retry, RunEnd, RunReason, RunRequest, Watch, WatchAction, WatchEvent};
use crate::engine::{Exit, Prepared, Selection};
use crate::host::Host;
use crate::state::Backend;
use announce::LogTransitions;
use cycle::{Cycle, CycleOutcome, Memory};
use events::CycleControl;
use listener::TokenFile;

/// Reloads are logged at most this often, in milliseconds.
const RELOAD_LOG_MS: u64 = 1_000;
/// While a guard refuses something, the state is looked at this often, in milliseconds: a command by hand may have allowed it.
const LOOK_AT_STATE_MS: u64 = 3_000;
/// Most characters of a text in a record of the log.
const LONGEST_IN_LOG: usize = 2000;

/// What is wanted of the daemon, with any manifests.
pub struct WatchOptions<'a> {
    /// All targets.
    pub selection: Selection,
    /// What guards let through in each run.
    pub allowed: Allowed,
    /// How long a call may take, in milliseconds.
    pub timeout_ms: u64,
    /// How long calls under way get to end after a stop, in milliseconds.
    pub grace_ms: u64,
    /// How long a run may read files before that is logged, in milliseconds.
    pub ready_within_ms: u64,
    /// Where calls are written down.
    pub audit: Option<PathBuf>,
    /// What messages offer.
    pub commands: CommandLine,
    /// What keeps its providers apart from others in the state.
    pub namespace: Option<String>,
    /// The user wants files to be looked at every so often.
    pub polls: bool,
    /// Alters plans, for simulations that plant defects.
    #[doc(hidden)]
    pub tamper: Option<&'a dyn Fn(&mut Prepared)>,
}

/// When to run: [`Watch`], or one with a planted defect.
pub trait Machine {
    /// See [`Watch::handle`].
    fn handle(&mut self, event: WatchEvent, now: Now);
    /// See [`Watch::poll`].
    fn poll(&mut self, now: Now) -> WatchAction;
    /// See [`Watch::is_unquiet`].
    fn is_unquiet(&self) -> bool;
    /// See [`Watch::next_try`].
    fn next_try(&self, provider: &str, now: Now) -> Option<Tick>;
    /// See [`Watch::retry_of`].
    fn retry_of(&self, provider: &str) -> Option<Retry>;
}

impl Machine for Watch {
    fn handle(&mut self, event: WatchEvent, now: Now) {
        Self::handle(self, event, now);
    }

    fn poll(&mut self, now: Now) -> WatchAction {
        Self::poll(self, now)
    }

    fn is_unquiet(&self) -> bool {
        Self::is_unquiet(self)
    }

    fn next_try(&self, provider: &str, now: Now) -> Option<Tick> {
        Self::next_try(self, provider, now)
    }

    fn retry_of(&self, provider: &str) -> Option<Retry> {
        Self::retry_of(self, provider)
    }
}

/// What the daemon is made of.
pub struct Daemon<'a> {
    /// Effects.
    pub host: &'a Host,
    /// What is wanted.
    pub options: &'a WatchOptions<'a>,
    /// The state.
    pub state: &'a dyn Backend,
    /// Files.
    pub files: &'a dyn Files,
    /// When to run.
    pub machine: Box<dyn Machine + 'a>,
    /// What it reports of itself.
    pub report: Arc<watch::Sender<Report>>,
    /// When its loop last turned.
    pub turned: watch::Sender<Tick>,
    /// What readers of the listener have to show, if anything.
    pub token: Option<TokenFile>,
    /// Readiness and signs of life.
    pub systemd: Systemd,
    /// Why files are looked at every so often from the start, and how often in milliseconds.
    pub polling: Option<(String, u64)>,
}

impl Daemon<'_> {
    /// Stays up until it is stopped.
    pub async fn run(self, signals: &mut dyn SignalSource) -> Exit {
        let Self { host, options, state, files, machine, report, turned, token, systemd, polling } = self;
        let reporter = Reporter(report);
        tracing::info!(version = env!("CARGO_PKG_VERSION"), "watching");
        watch_folders::log_polling(polling, options.polls, None, &reporter);
        let control = Control {
            host,
            options,
            state,
            files,
            machine,
            token,
            systemd,
            transitions: LogTransitions::offering(&options.commands),
            reporter,
            turned,
            memory: Some(Memory::new(host)),
            link: CycleControl::new(),
            started: host.clock.now(),
            slow_at: None,
            look_at_state: None,
            passes: 0,
            reload_logged: None,
        };
        control.run(signals).await
    }
}

/// A run that is under way.
type UnderWay<'a> = Pin<Box<dyn Future<Output = CycleOutcome> + 'a>>;

/// What happened while nothing was to be done.
enum Woken {
    Time,
    Files,
    Sending,
    Signal(Signal),
    Ended(Box<CycleOutcome>),
}

/// Puts into the report what happened.
#[derive(Clone)]
struct Reporter(Arc<watch::Sender<Report>>);

impl Reporter {
    /// All of it at once, so that no reader sees half.
    fn send(&self, events: &[ReportEvent<'_>]) {
        self.0.send_modify(|report| events.iter().for_each(|event| report.apply(event)));
    }

    /// The run under way has read its files.
    fn reads_no_more(&self) {
        self.0.send_if_modified(|report| {
            let was_slow = report.running.as_ref().is_some_and(|running| running.reads_long);
            if was_slow {
                report.apply(&ReportEvent::ReadsLong(false));
            }
            was_slow
        });
    }

    /// What no run speaks for, as it was reported last.
    fn unclaimed(&self) -> Vec<String> {
        self.0.borrow().unclaimed.clone()
    }

    fn providers(&self) -> Vec<String> {
        self.0.borrow().providers.keys().cloned().collect()
    }
}

/// Everything that stays while runs come and go.
struct Control<'a> {
    host: &'a Host,
    options: &'a WatchOptions<'a>,
    state: &'a dyn Backend,
    files: &'a dyn Files,
    machine: Box<dyn Machine + 'a>,
    token: Option<TokenFile>,
    systemd: Systemd,
    transitions: LogTransitions,
    reporter: Reporter,
    turned: watch::Sender<Tick>,
    /// `None` while a run has it.
    memory: Option<Memory>,
    link: Arc<CycleControl>,
    /// When the run that is under way, or the last one, began.
    started: Now,
    /// When the run that is under way is reported to read for too long, unless it was, or reads no more.
    slow_at: Option<Tick>,
    /// When the state is looked at for other runs, while a guard refuses something.
    look_at_state: Option<Tick>,
    /// How many began.
    passes: u64,
    /// When a reload was last logged.
    reload_logged: Option<Tick>,
}

impl<'a> Control<'a> {
    async fn run(mut self, signals: &mut dyn SignalSource) -> Exit {
        // The first look at everything may take long, and what waits for this program does not have to wait for that.
        self.systemd.ready("reading");
        let mut under_way: Option<UnderWay<'a>> = None;
        let mut stopping = false;
        loop {
            self.turned.send_replace(self.host.clock.now().tick);
            if let Some(at) = self.files.take() {
                self.handle(WatchEvent::Changed(at));
                self.report_files();
            }
            self.report_slow_reading();
            self.look_at_state();
            if self.machine.is_unquiet() {
                self.handle(WatchEvent::Writing(self.files.is_writing()));
            }
            let until = match self.machine.poll(self.host.clock.now()) {
                WatchAction::Run(request) => {
                    under_way = Some(self.start(request));
                    continue;
                }
                WatchAction::CutShort => {
                    self.link.cut.send_replace(true);
                    continue;
                }
                WatchAction::Exit => {
                    tracing::info!("stopped");
                    return Exit::Done;
                }
                WatchAction::WakeAt(until) => until,
            };
            match self.wait(signals, &mut under_way, until).await {
                Woken::Time | Woken::Files => {}
                Woken::Sending => {
                    // A first run may take hours, and it is up.
                    self.systemd.ready("purging");
                    self.handle(WatchEvent::Sending);
                }
                Woken::Signal(Signal::Reload) => self.reload(),
                Woken::Signal(Signal::Stop) if stopping => return Exit::Failed,
                Woken::Signal(Signal::Stop) => {
                    stopping = true;
                    self.stop(under_way.is_some());
                    if under_way.is_some() && self.link.reading.load(Ordering::Acquire) {
                        // There is nothing to finish, and reading may take long.
                        tracing::info!("stopped");
                        return Exit::Done;
                    }
                }
                Woken::Ended(ended) => {
                    under_way = None;
                    self.ended(*ended);
                }
            }
        }
    }

    fn handle(&mut self, event: WatchEvent) {
        self.machine.handle(event, self.host.clock.now());
    }

    /// Waits for what comes first.
    async fn wait(
        &mut self,
        signals: &mut dyn SignalSource,
        under_way: &mut Option<UnderWay<'a>>,
        until: Option<Tick>,
    ) -> Woken {
        let unquiet = self.machine.is_unquiet();
        let until = until.into_iter().chain(self.slow_at).chain(self.look_at_state).min();
        let run = async {
            match under_way {
                Some(run) => run.as_mut().await,
                None => std::future::pending().await,
            }
        };
        let time = async {
            match until {
                Some(tick) => self.host.clock.sleep_until(tick).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            signal = signals.next() => Woken::Signal(signal),
            ended = run => Woken::Ended(Box::new(ended)),
            () = self.link.sending.notified() => Woken::Sending,
            () = self.systemd.beat(self.host) => Woken::Time,
            () = time => Woken::Time,
            // Once it is known that files are being written, only the last event counts, which is asked for in time.
            () = self.files.changed(), if !unquiet => Woken::Files,
        }
    }

    fn start(&mut self, request: RunRequest) -> UnderWay<'a> {
        self.files.run_begins(!matches!(request.reason, RunReason::Changed | RunReason::Retry));
        if request.reason == RunReason::Reload {
            self.systemd.reload_begins();
            self.memory.iter_mut().for_each(|memory| memory.renew(self.host));
        }
        self.passes += 1;
        self.started = self.host.clock.now();
        self.slow_at = Some(self.started.tick.plus_ms(self.options.ready_within_ms));
        self.look_at_state = None;
        self.link = CycleControl::new();
        tracing::debug!(pass = self.passes, reason = request.reason.word(), "run begins");
        self.reporter.send(&[ReportEvent::Began { reason: request.reason, at: self.started.wall }]);
        let cycle = Cycle {
            host: self.host,
            options: self.options,
            state: self.state,
            files: self.files,
            pass: self.passes,
            request,
            link: Arc::clone(&self.link),
            reporter: self.reporter.clone(),
        };
        let memory = self.memory.take().unwrap_or_else(|| Memory::new(self.host));
        Box::pin(cycle.run(memory))
    }

    fn ended(&mut self, ended: CycleOutcome) {
        let now = self.host.clock.now();
        self.slow_at = None;
        let is_stale = ended.end == RunEnd::Stale;
        self.machine.handle(WatchEvent::RunEnded(ended.end.clone()), now);
        let in_ms = |due: Timestamp| due.unix_ms().saturating_sub(now.wall.unix_ms()).max(0).unsigned_abs();
        let proof_at = ended.proof_due.map(|due| now.tick.plus_ms(in_ms(due)));
        self.machine.handle(WatchEvent::ProofDue(proof_at), now);
        let found = ended.found.as_ref().map(|found| found.event(now.wall));
        let names = match &ended.found {
            Some(cycle::ManifestsFound::Valid { providers, .. }) => {
                providers.iter().map(|(name, _)| name.clone()).collect()
            }
            _ => self.reporter.providers(),
        };
        let event = announce::ended(&ended, (self.started, now), (&*self.machine, &names));
        self.reporter.send(&found.into_iter().chain([ReportEvent::Ended(&event)]).collect::<Vec<_>>());
        self.transitions.log(&ended, self.passes, &*self.machine, now);
        self.memory = Some(ended.memory);
        self.look_at_state = self.transitions.is_refused().then(|| now.tick.plus_ms(LOOK_AT_STATE_MS));
        if ended.named.is_some_and(|named| self.files.follow(&named)) {
            // They may change before the next run watches them.
            self.machine.handle(WatchEvent::Changed(now.tick), now);
        }
        self.report_files();
        if !is_stale {
            self.systemd.ready(self.transitions.status());
        }
    }

    /// A disk that hangs, such as a share whose server is gone, ends no run and lets none begin.
    fn report_slow_reading(&mut self) {
        if self.slow_at.is_none_or(|at| at > self.host.clock.now().tick) {
            return;
        }
        self.slow_at = None;
        if self.link.reading.load(Ordering::Acquire) {
            // A reader of the log who looks at the report then finds it there.
            self.reporter.send(&[ReportEvent::ReadsLong(true)]);
            let within = shown_duration(self.options.ready_within_ms);
            tracing::warn!(
                pass = self.passes,
                "still reading files after {within}; if a disk hangs, nothing is purged"
            );
        }
    }

    /// A command by hand may have allowed what is refused: the page is to follow, and what waits for it.
    fn look_at_state(&mut self) {
        let now = self.host.clock.now().tick;
        let Some(memory) = self.memory.as_ref().filter(|_| self.look_at_state.is_some_and(|at| at <= now)) else {
            return;
        };
        self.look_at_state = Some(now.plus_ms(LOOK_AT_STATE_MS));
        let known = memory.refused_by_others(self.state);
        if known.is_some_and(|known| self.transitions.is_refusal_over(&known)) {
            self.handle(WatchEvent::Allowed);
        }
    }

    fn report_files(&self) {
        let (events, folders) = self.files.counts();
        self.reporter.send(&[ReportEvent::Files { events, folders }]);
    }

    fn reload(&mut self) {
        let now = self.host.clock.now().tick;
        if self.reload_logged.is_none_or(|logged| now.since(logged) >= RELOAD_LOG_MS) {
            tracing::info!("reloading: everything is read and tried now");
            self.reload_logged = Some(now);
        }
        self.systemd.reloading();
        if let Some(token) = &self.token {
            token.renew(self.host);
        }
        self.handle(WatchEvent::Reload);
    }

    fn stop(&mut self, runs: bool) {
        if runs {
            let grace = shown_duration(self.options.grace_ms);
            tracing::info!(
                grace,
                "stopping: calls under way may end, nothing new is sent; a second signal stops at once"
            );
        }
        self.systemd.stopping();
        self.reporter.send(&[ReportEvent::Stopping]);
        self.handle(WatchEvent::Stop);
    }
}

/// The wall time at which the monotonic clock will show `tick`, if neither is set meanwhile.
fn wall_of(tick: Tick, now: Now) -> Timestamp {
    now.wall.plus_ms(i64::try_from(tick.since(now.tick)).unwrap_or(i64::MAX))
}

/// A text from outside on one line, nothing in it that a terminal or a CI system would obey.
pub(crate) fn log_line(text: &str) -> String {
    one_line(text.trim(), LONGEST_IN_LOG)
}

/// The same, however long it is.
fn log_whole(text: &str) -> String {
    one_line(text, usize::MAX)
}
