//! `freshen watch`: stays up, and runs what `apply` runs whenever files change, work is due or time has passed.
//!
//! The machine of `core/watch.rs` decides when; this file waits, starts runs and tells what came of them.

mod cover;
mod left;
mod listen;
mod log;
mod newest;
mod reading;
mod round;
mod side;
mod signals;
mod systemd;
mod trouble;
mod voice;

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::{Context, Result};
use tokio::sync::watch;

use super::args::{ApplyArgs, Global, LockArgs, Selection, WatchArgs};
use super::exit::{Exit, Stop};
use super::{apply, duration};
use crate::core::report::{Report, Running};
use crate::core::time::{Now, Tick, Timestamp};
use crate::core::watch::{Action, Event, Order, Reason, RunEnd, Watch};
use crate::host::Host;
use crate::host::sources::NamedSource;
use crate::host::watcher::{Root, RootKind, Since, Watcher};
use crate::state::Backend;
use listen::TokenFile;
use round::{Ended, Memory, Round};
use side::Link;
use signals::{Signal, Signals};
use systemd::Systemd;
use voice::Voice;

/// How long a single run waits for another one to end, in milliseconds.
const LOCK_TIMEOUT_MS: u64 = 10_000;
/// Being asked to read everything anew is told at most this often, in milliseconds.
const AGAIN_MS: u64 = 1_000;

/// Runs the command.
pub(super) async fn run(host: &Host, global: &Global, args: &WatchArgs) -> Result<Exit> {
    if args.once {
        return apply::run(host, global, &as_apply(args)).await;
    }
    check_poll(args)?;
    let _log = log::start(args.log_format, args.log_level).context("no log can be written")?;
    let signals = Signals::listen().context("signals cannot be listened for")?;
    let report = Arc::new(watch::channel(Report::default()).0);
    let turned = watch::channel(host.clock.now().tick).0;
    let token = listen::start(host, global.backend(), &args.listen, &report, turned.subscribe()).await?;
    let (watcher, polling) = Watcher::new(Arc::clone(&host.clock), &global.state, args.audit.as_deref(), args.poll);
    let keeper = Keeper {
        host,
        global,
        args,
        machine: Watch::new(args.resync, host.seed),
        roots: roots(args, &[]),
        watcher: Arc::new(watcher),
        token,
        systemd: Systemd::of(host),
        voice: Voice::default(),
        report,
        turned,
        state: global.backend(),
        memory: Some(Memory::new(host)),
        link: Link::new(),
        started: host.clock.now(),
        slow_at: None,
        passes: 0,
        again_told: None,
    };
    Ok(keeper.run(signals, polling).await)
}

/// Its duration is optional, so that `--poll 30s` would watch a path of that name.
fn check_poll(args: &WatchArgs) -> Result<(), Stop> {
    let is_meant = |path: &str| args.poll.is_some() && duration::parse(path).is_ok() && !Path::new(path).exists();
    match args.manifests.paths.iter().filter_map(|path| path.to_str()).find(|path| is_meant(path)) {
        Some(path) => Err(Stop::bad_input(format!("there is no `{path}`; for a duration write `--poll={path}`"))),
        None => Ok(()),
    }
}

/// The same words for a single run.
fn as_apply(args: &WatchArgs) -> ApplyArgs {
    ApplyArgs {
        manifests: args.manifests.clone(),
        selection: Selection::default(),
        dry_run: false,
        rehearse: false,
        expect: None,
        deadline: None,
        timeout: args.timeout,
        audit: args.audit.clone(),
        allowed: args.allowed.clone(),
        lock: LockArgs { lock_timeout: LOCK_TIMEOUT_MS },
    }
}

/// All paths whose changes matter.
fn roots(args: &WatchArgs, named: &[NamedSource]) -> Vec<Root> {
    let given = args.manifests.paths.iter().map(|path| Root { path: path.clone(), kind: RootKind::Manifests });
    let sources = named.iter().map(|source| {
        let kind = source.walk.map_or(RootKind::File, RootKind::Tree);
        Root { path: source.path.clone().into(), kind }
    });
    given.chain(sources).collect()
}

/// A run that is under way.
type UnderWay<'a> = Pin<Box<dyn Future<Output = Ended> + 'a>>;

/// What happened while nothing was to be done.
enum Woken {
    Time,
    Files,
    Sending,
    Told(Signal),
    Ended(Box<Ended>),
}

/// Everything that stays while runs come and go.
struct Keeper<'a> {
    host: &'a Host,
    global: &'a Global,
    args: &'a WatchArgs,
    state: Arc<dyn Backend>,
    machine: Watch,
    watcher: Arc<Watcher>,
    roots: Vec<Root>,
    /// What readers have to show, if anything.
    token: Option<TokenFile>,
    systemd: Systemd,
    voice: Voice,
    report: Arc<watch::Sender<Report>>,
    /// When the loop last turned.
    turned: watch::Sender<Tick>,
    /// `None` while a run has it.
    memory: Option<Memory>,
    link: Arc<Link>,
    /// When the run that is under way, or the last one, began.
    started: Now,
    /// When the run that is under way is told to read for too long, unless it was, or reads no more.
    slow_at: Option<Tick>,
    /// How many began.
    passes: u64,
    /// When it was last told that everything is read anew because somebody asks for it.
    again_told: Option<Tick>,
}

impl<'a> Keeper<'a> {
    async fn run(mut self, mut signals: Signals, polling: Option<String>) -> Exit {
        tracing::info!(version = env!("CARGO_PKG_VERSION"), "watching");
        let how = (self.watcher.poll_ms(), self.args.poll.is_some());
        cover::tell_polling(polling, how, None, &self.report);
        // The first look at everything may take long, and nothing that waits for this program has to wait for that.
        self.systemd.ready("reading");
        let mut under_way: Option<UnderWay<'a>> = None;
        let mut stopping = false;
        loop {
            self.turned.send_replace(self.host.clock.now().tick);
            if let Some(at) = self.watcher.take() {
                self.handle(Event::Changed(at));
                self.tell_files();
            }
            self.tell_slow_reading();
            if self.machine.is_unquiet() {
                self.handle(Event::Writing(self.watcher.is_writing()));
            }
            let until = match self.machine.poll(self.host.clock.now()) {
                Action::Run(order) => {
                    under_way = Some(self.start(order));
                    continue;
                }
                Action::CutShort => {
                    self.link.cut.send_replace(true);
                    continue;
                }
                Action::Exit => {
                    tracing::info!("stopped");
                    return Exit::Done;
                }
                Action::WakeAt(until) => until,
            };
            match self.wait(&mut signals, &mut under_way, until).await {
                Woken::Time | Woken::Files => {}
                Woken::Sending => {
                    // A first run may take hours, and it is up.
                    self.systemd.ready("purging");
                    self.handle(Event::Sending);
                }
                Woken::Told(Signal::Again) => self.again(),
                Woken::Told(Signal::Stop) if stopping => return Exit::Failed,
                Woken::Told(Signal::Stop) => {
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

    fn handle(&mut self, event: Event) {
        self.machine.handle(event, self.host.clock.now());
    }

    /// Waits for whatever comes first.
    async fn wait(
        &mut self,
        signals: &mut Signals,
        under_way: &mut Option<UnderWay<'a>>,
        until: Option<Tick>,
    ) -> Woken {
        let unquiet = self.machine.is_unquiet();
        let until = until.into_iter().chain(self.slow_at).min();
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
            signal = signals.next() => Woken::Told(signal),
            ended = run => Woken::Ended(Box::new(ended)),
            () = self.link.sending.notified() => Woken::Sending,
            () = self.systemd.beat(self.host) => Woken::Time,
            () = time => Woken::Time,
            // Once it is known that files are being written, only the last event counts, which is asked for in time.
            () = self.watcher.changed(), if !unquiet => Woken::Files,
        }
    }

    fn start(&mut self, order: Order) -> UnderWay<'a> {
        if !matches!(order.reason, Reason::Changed | Reason::Retry) {
            self.watcher.look_around();
        }
        if order.reason == Reason::Asked {
            self.systemd.reload_begins();
            self.memory.iter_mut().for_each(|memory| memory.renew(self.host));
        }
        self.passes += 1;
        self.started = self.host.clock.now();
        self.slow_at = Some(self.started.tick.plus_ms(self.args.listen.ready_within));
        self.link = Link::new();
        tracing::debug!(pass = self.passes, reason = order.reason.word(), "run begins");
        let running = Running {
            run: None,
            reads_long: false,
            reason: order.reason,
            since: self.started.wall,
            purges: 0,
            calls_done: 0,
            purges_done: 0,
        };
        self.report.send_modify(|report| {
            *report.started.entry(order.reason.word()).or_default() += 1;
            report.running = Some(running);
        });
        let round = Round {
            host: self.host,
            global: self.global,
            args: self.args,
            state: Arc::clone(&self.state),
            pass: self.passes,
            order,
            roots: self.roots.clone(),
            since: Since::now(&self.watcher),
            link: Arc::clone(&self.link),
            report: Arc::clone(&self.report),
        };
        let memory = self.memory.take().unwrap_or_else(|| Memory::new(self.host));
        let (watcher, roots) = (Arc::clone(&self.watcher), self.roots.clone());
        Box::pin(async move {
            cover::cover(watcher, roots, &round).await;
            round.run(memory).await
        })
    }

    fn ended(&mut self, ended: Ended) {
        let now = self.host.clock.now();
        self.slow_at = None;
        let is_stale = ended.end == RunEnd::Stale;
        self.machine.handle(Event::RunEnded(ended.end.clone()), now);
        voice::report(&self.report, &ended, (self.started, now), &self.machine);
        self.voice.tell(&ended, self.passes, &self.machine, now);
        self.memory = Some(ended.memory);
        if let Some(named) = ended.named {
            let roots = roots(self.args, &named);
            if roots != self.roots {
                self.roots = roots;
                // They may change before the next run watches them.
                self.machine.handle(Event::Changed(now.tick), now);
            }
        }
        self.tell_files();
        if !is_stale {
            self.systemd.ready(self.voice.status());
        }
    }

    /// A disk that hangs, such as a share whose server is gone, ends no run and lets none begin.
    fn tell_slow_reading(&mut self) {
        if self.slow_at.is_none_or(|at| at > self.host.clock.now().tick) {
            return;
        }
        self.slow_at = None;
        if self.link.reading.load(Ordering::Acquire) {
            let within = super::duration::show(self.args.listen.ready_within);
            tracing::warn!(
                pass = self.passes,
                "still reading files after {within}; if a disk hangs, nothing is purged"
            );
            self.report.send_modify(|report| report.running.iter_mut().for_each(|running| running.reads_long = true));
        }
    }

    fn tell_files(&self) {
        let (events, folders) = (self.watcher.events(), self.watcher.folders());
        self.report.send_modify(|report| (report.events, report.folders) = (events, folders));
    }

    fn again(&mut self) {
        let now = self.host.clock.now().tick;
        // Whoever asks again and again is told so once a second.
        if self.again_told.is_none_or(|told| now.since(told) >= AGAIN_MS) {
            tracing::info!("reading everything anew");
            self.again_told = Some(now);
        }
        self.systemd.reloading();
        if let Some(token) = &self.token {
            token.renew(self.host);
        }
        self.handle(Event::Asked);
    }

    fn stop(&mut self, runs: bool) {
        if runs {
            let grace = duration::show(self.args.grace);
            tracing::info!(
                grace,
                "stopping: calls under way may end, nothing new is sent; a second signal stops at once"
            );
        }
        Systemd::stopping();
        self.report.send_modify(|report| report.stopping = true);
        self.handle(Event::Stop);
    }
}

/// The wall time at which the monotonic clock will show `tick`, if neither is set meanwhile.
fn wall_of(tick: Tick, now: Now) -> Timestamp {
    now.wall.plus_ms(i64::try_from(tick.since(now.tick)).unwrap_or(i64::MAX))
}
