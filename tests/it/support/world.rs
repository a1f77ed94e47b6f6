//! A run without a disk and without a network: changes, a scripted vendor and virtual time around the apply machine.
//!
//! Every run is checked against what must always hold, whatever the scenario is about; see [`Report::check`].

use std::collections::{BTreeMap, BTreeSet};

use freshen::core::apply::Apply;
use freshen::core::budget::Paces;
use freshen::core::changes::Change;
use freshen::core::changes::Changes;
use freshen::core::contract::{CallError, ErrorClass, Options, Rate, Reply};
use freshen::core::event::{
    Action, CallId, Ending, EndpointEnd, Event, ItemOutcome, ItemState, Left, ProviderStop, Record,
};
use freshen::core::hold::Hold;
use freshen::core::http::{Endpoint, TransportFailure, TransportFailureKind};
use freshen::core::model::{CredentialSource, HostPattern, Limits, Location, Model, Priority, ProviderConfig};
use freshen::core::plan::{Circumstances, Job, Plan, QuotaKey, plan};
use freshen::core::recorded::{ChangeKind, Progress, Standing, Wait};
use freshen::core::target::{ContentHash, Target};
use freshen::core::time::{Now, Tick, Timestamp};
use freshen::vendor::VENDORS;

/// Wall time at which each world begins: 2023-11-14 22:13:20 UTC.
pub(crate) const START: Timestamp = Timestamp::from_unix_ms(1_700_000_000_000);

/// A provider of `kind` with one endpoint that is never reached.
pub(crate) fn config(name: &str, kind: &str) -> ProviderConfig {
    ProviderConfig {
        name: name.to_owned(),
        kind: VENDORS.find(kind).expect("a known kind"),
        hosts: vec![HostPattern::from_checked("a.example".to_owned())],
        endpoints: vec![endpoint(0)].into(),
        require: None,
        options: Options::default(),
        limits: Limits::default(),
        ignore_query: false,
        upstream: None,
        account: None,
        credentials: CredentialSource::Environment { prefix: String::new() },
        place: Location::default(),
    }
}

/// A cluster of self-hosted caches of which `require` must accept.
pub(crate) fn cluster(name: &str, endpoints: u16, require: usize) -> ProviderConfig {
    let endpoints = (0..endpoints).map(endpoint).collect();
    ProviderConfig { endpoints, require: Some(require), ..config(name, "http-purge") }
}

/// The endpoint of this number.
pub(crate) fn endpoint(number: u16) -> Endpoint {
    Endpoint {
        tls: false,
        host: "127.0.0.1".to_owned(),
        port: Some(6000 + number),
        path_prefix: String::new(),
        address: None,
    }
}

/// A change of `text` at a provider, first seen at [`START`].
pub(crate) fn change(provider: usize, text: &str) -> Change {
    Change {
        provider,
        target: Target::url(text),
        desired: Some(ContentHash::from_canonical("rev:2")),
        recorded: Some(ContentHash::from_canonical("rev:1")),
        kind: ChangeKind::Changed,
        priority: Priority::Normal,
        since: START,
        standing: Standing::fresh(),
        progress: Progress::Seen,
        in_doubt: false,
        accepted_at: Vec::new(),
        owners: vec!["site".to_owned()],
        place: None,
    }
}

/// A call that left.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) at: u64,
    pub(crate) provider: usize,
    pub(crate) endpoint: usize,
    pub(crate) operation: &'static str,
    pub(crate) items: Vec<usize>,
    /// What it names: the URLs of its items, or a directory in their place.
    pub(crate) urls: Vec<String>,
    pub(crate) is_directory: bool,
    /// Headers of the variant that it purges.
    pub(crate) headers: Vec<(String, String)>,
    /// Calls that were under way when it left.
    pub(crate) beside: usize,
    /// When its answer comes.
    pub(crate) lands: u64,
}

impl Sent {
    pub(crate) fn has(&self, url: &str) -> bool {
        self.urls.iter().any(|sent| sent == url)
    }
}

/// What the machine asked for.
#[derive(Debug, PartialEq)]
pub(crate) enum Step {
    Persist(Record),
    Send(CallId),
}

/// What a state would hold: the machine's records, applied.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    pub(crate) states: BTreeMap<usize, ItemState>,
    pub(crate) accepted_at: BTreeMap<usize, Vec<String>>,
    pub(crate) waits: BTreeMap<usize, Wait>,
    pub(crate) quota: BTreeMap<QuotaKey, u64>,
    open: BTreeSet<u64>,
}

impl Disk {
    fn write(&mut self, record: &Record) {
        match record {
            Record::Intent { call, debit, .. } => {
                assert!(self.open.insert(call.0), "{call:?} has two intents");
                if let Some((key, cost)) = debit {
                    *self.quota.entry(key.clone()).or_default() += cost;
                }
            }
            Record::Outcome { call, items, credit, .. } => {
                assert!(self.open.remove(&call.0), "{call:?} has an outcome and no intent");
                for (index, outcome) in items {
                    self.outcome(*index, outcome);
                }
                if let Some((key, cost)) = credit {
                    let used = self.quota.entry(key.clone()).or_default();
                    *used = used.checked_sub(*cost).expect("no more credit than debit");
                }
            }
            Record::DirectoriesRefused { .. } | Record::Ready { .. } | Record::Varies { .. } => {}
            Record::QuotaSpent { key, used } => {
                let known = self.quota.entry(key.clone()).or_default();
                *known = (*known).max(*used);
            }
            Record::Left { items, left } => {
                for &index in items {
                    self.stand(index, ItemState::from(left));
                    self.waits.remove(&index);
                    if let Left::Deferred(.., wait) = left {
                        self.waits.insert(index, *wait);
                    }
                }
            }
        }
    }

    fn outcome(&mut self, index: usize, outcome: &ItemOutcome) {
        match outcome {
            ItemOutcome::Recorded { .. } => {
                self.states.insert(index, ItemState::Recorded);
            }
            ItemOutcome::AcceptedAt(endpoint) => self.accepted_at.entry(index).or_default().push(endpoint.clone()),
            ItemOutcome::Rejected(reason) => self.stand(index, ItemState::Rejected(reason.clone())),
            ItemOutcome::Later(reason) => self.stand(index, ItemState::Pending(reason.clone())),
        }
    }

    /// A recorded target has no work left that could stand anywhere.
    fn stand(&mut self, index: usize, state: ItemState) {
        if self.states.get(&index) != Some(&ItemState::Recorded) {
            self.states.insert(index, state);
        }
    }
}

/// Providers, changes and what is on the disk before a run.
pub(crate) struct World {
    pub(crate) model: Model,
    pub(crate) changes: Vec<Change>,
    pub(crate) accounts: Vec<String>,
    pub(crate) disk: Disk,
    /// Wall time of the run's start.
    pub(crate) wall: Timestamp,
    /// When the run is cancelled, in milliseconds after its start.
    pub(crate) cancel_at: Option<u64>,
    /// Providers that get nothing, with the reason.
    pub(crate) excluded: Vec<(usize, &'static str)>,
    /// How long each call takes, in milliseconds.
    pub(crate) latency: u64,
    /// How long each commit takes, in milliseconds.
    pub(crate) commit_ms: u64,
    /// How far the wall clock is off at a tick, in milliseconds.
    pub(crate) clock_off: fn(u64) -> i64,
    /// Hosts whose answers vary by what visitors accept.
    pub(crate) varies: BTreeSet<String>,
    /// Variants that are stale, by change.
    pub(crate) stale: std::collections::HashMap<usize, Vec<Vec<(String, String)>>>,
}

impl World {
    pub(crate) fn new(providers: Vec<ProviderConfig>) -> Self {
        let accounts = providers.iter().map(|config| format!("account of {}", config.name)).collect();
        Self {
            model: Model { providers, ..Model::default() },
            changes: Vec::new(),
            accounts,
            disk: Disk::default(),
            wall: START,
            cancel_at: None,
            excluded: Vec::new(),
            latency: 50,
            commit_ms: 0,
            clock_off: |_| 0,
            varies: BTreeSet::new(),
            stale: std::collections::HashMap::new(),
        }
    }

    /// Adds `count` changed URLs of a provider.
    pub(crate) fn urls(mut self, provider: usize, count: usize) -> Self {
        let first = self.changes.len();
        self.changes.extend((first..first + count).map(|number| change(provider, &url(number))));
        self
    }

    pub(crate) fn plan(&self) -> Plan {
        let used = |key: &QuotaKey| self.disk.quota.get(key).copied().unwrap_or(0);
        let circumstances = Circumstances {
            accounts: &self.accounts,
            used: &used,
            without_directories: &[],
            selected: None,
            hold: &Hold::default(),
            varies: &self.varies,
            stale: &self.stale,
            now: self.wall,
        };
        plan(&self.model, &self.table(), &circumstances)
    }

    /// The changes as a run holds them.
    pub(crate) fn table(&self) -> Changes {
        self.changes.iter().cloned().collect()
    }

    /// Targets that the ledger counts, of all quotas.
    pub(crate) fn used(&self) -> u64 {
        self.disk.quota.values().sum()
    }

    /// Runs the plan to its end as the driver does and takes over what it wrote.
    pub(crate) fn run(&mut self, vendor: impl FnMut(&Sent) -> Ending) -> Report {
        let plan = self.plan();
        let changes = self.table();
        let mut machine = Apply::new(&self.model, &changes, &plan, Paces::at_start(Tick::from_ms(0)), 7);
        for (provider, reason) in &self.excluded {
            machine.exclude(*provider, reason);
        }
        let disk = Disk { quota: self.disk.quota.clone(), open: self.disk.open.clone(), ..Disk::default() };
        let mut run = Run { world: self, machine, vendor, now: 0, log: Vec::new(), sent: Vec::new(), disk };
        run.finish();
        let Run { machine, log, sent, disk, now, .. } = run;
        let (states, stops) = (machine.states().iter().cloned().collect(), machine.stops().to_vec());
        let endpoints = machine.endpoints();
        assert_eq!(machine.calls_open(), 0);
        drop(machine);
        let report = Report { log, sent, states, stops, endpoints, accepted_at: disk.accepted_at.clone(), took: now };
        report.check(self, &plan, &disk);
        self.disk = disk;
        report
    }

    /// Goes on to the next run `ms` later: what was recorded is gone, the rest stands where the run left it.
    pub(crate) fn next(&mut self, report: &Report, ms: i64) {
        self.wall = self.wall.plus_ms(ms);
        let states = report.states.iter();
        let changes = std::mem::take(&mut self.changes).into_iter().zip(states).enumerate();
        self.changes = changes
            .filter_map(|(index, (mut change, state))| {
                change.standing = match state {
                    state if *state == ItemState::from(&change.standing) => change.standing,
                    ItemState::Recorded => return None,
                    ItemState::Waiting(reason) => Standing::Waiting { reason: reason.clone() },
                    ItemState::Pending(reason) => Standing::Pending { reason: reason.clone() },
                    ItemState::Deferred(until, reason, wait) => {
                        Standing::Deferred { until: *until, reason: reason.clone(), wait: *wait, config: String::new() }
                    }
                    ItemState::Rejected(reason) => Standing::Rejected { reason: reason.clone(), config: String::new() },
                };
                change.progress = if change.standing.has_ever_failed() { Progress::Tried } else { Progress::Admitted };
                change.accepted_at.extend(report.accepted_at.get(&index).into_iter().flatten().cloned());
                Some(change)
            })
            .collect();
    }
}

/// The text of the URL with this number; numbers sort as their URLs do.
pub(crate) fn url(number: usize) -> String {
    format!("https://a.example/{number:06}")
}

struct Run<'a, V> {
    world: &'a World,
    machine: Apply<'a>,
    vendor: V,
    now: u64,
    log: Vec<(u64, Step)>,
    sent: Vec<Sent>,
    disk: Disk,
}

impl<V: FnMut(&Sent) -> Ending> Run<'_, V> {
    fn now(&self) -> Now {
        let elapsed = i64::try_from(self.now).expect("a short run");
        let wall = self.world.wall.plus_ms(elapsed).plus_ms((self.world.clock_off)(self.now));
        Now { wall, tick: Tick::from_ms(self.now) }
    }

    fn finish(&mut self) {
        let mut flights: BTreeMap<(u64, u64), Ending> = BTreeMap::new();
        let (mut cancelled, mut wakes) = (false, 0);
        // Records that wait for the commit under way, with the calls of their intents, and that one.
        let mut gathered: Option<Vec<CallId>> = None;
        let mut committing: Option<(u64, Vec<CallId>)> = None;
        self.machine.handle(Event::Woke, self.now());
        loop {
            let mut wake = None;
            let done = loop {
                match self.machine.poll(self.now()) {
                    Action::Persist(record) => {
                        self.disk.write(&record);
                        gathered.get_or_insert_default().extend(intent_of(&record));
                        self.log.push((self.now, Step::Persist(record)));
                    }
                    Action::Send(call) => {
                        let (lands, ending) = self.send(call, flights.len());
                        flights.insert((lands, call.0), ending);
                    }
                    Action::WakeAt(tick) => {
                        wake = tick;
                        break false;
                    }
                    Action::Done => break true,
                }
            };
            committing = committing.or_else(|| Some((self.now + self.world.commit_ms, gathered.take()?)));
            if done && committing.is_none() {
                return assert!(flights.is_empty(), "done with calls under way");
            }
            let cut = self.world.cancel_at.filter(|_| !cancelled);
            let lands = flights.keys().next().map(|&(tick, _)| tick);
            let ends = committing.as_ref().map(|(ends, _)| *ends);
            let next =
                [wake.map(Tick::ms), cut, lands, ends].into_iter().flatten().min().expect("the machine is stuck");
            wakes = if next > self.now { 0 } else { wakes + 1 };
            assert!(wakes < 5000, "the machine turns in circles at {next} ms");
            self.now = self.now.max(next);
            if ends == Some(next) {
                let (_, calls) = committing.take().expect("a commit under way");
                for call in calls {
                    self.machine.handle(Event::Persisted(call), self.now());
                }
            } else if cut == Some(next) {
                cancelled = true;
                self.machine.handle(Event::Cancelled, self.now());
            } else if lands == Some(next) {
                let ((_, call), ending) = flights.pop_first().expect("a call under way");
                self.machine.handle(Event::Ended(CallId(call), ending), self.now());
            } else {
                self.machine.handle(Event::Woke, self.now());
            }
        }
    }

    fn send(&mut self, call: CallId, beside: usize) -> (u64, Ending) {
        let view = self.machine.call(call).expect("a call that is to be sent");
        let sent = Sent {
            at: self.now,
            provider: view.provider,
            endpoint: view.endpoint,
            operation: view.operation.name,
            items: view.items.to_vec(),
            urls: match view.directory {
                Some(directory) => vec![directory.text.clone()],
                None => view.items.iter().map(|&index| self.world.changes[index].target.text.clone()).collect(),
            },
            is_directory: view.directory.is_some(),
            headers: view.headers.to_vec(),
            beside,
            lands: self.now + self.world.latency,
        };
        let ending = (self.vendor)(&sent);
        let lands = sent.lands;
        self.log.push((self.now, Step::Send(call)));
        self.sent.push(sent);
        assert!(self.sent.len() < 20_000, "the machine never stops calling");
        (lands, ending)
    }
}

fn intent_of(record: &Record) -> Option<CallId> {
    match record {
        Record::Intent { call, .. } => Some(*call),
        _ => None,
    }
}

/// What a run came to.
pub(crate) struct Report {
    /// Records and sends in order, with their times in milliseconds.
    pub(crate) log: Vec<(u64, Step)>,
    pub(crate) sent: Vec<Sent>,
    pub(crate) states: Vec<ItemState>,
    pub(crate) stops: Vec<ProviderStop>,
    /// How the endpoints of each provider fared.
    pub(crate) endpoints: Vec<Vec<EndpointEnd>>,
    /// Endpoints that accepted, by change, where more are needed.
    pub(crate) accepted_at: BTreeMap<usize, Vec<String>>,
    /// Virtual time of the run, in milliseconds.
    pub(crate) took: u64,
}

impl Report {
    /// How many changes stand so: (recorded, pending, deferred, rejected).
    pub(crate) fn counts(&self) -> (usize, usize, usize, usize) {
        let mut counts = (0, 0, 0, 0);
        for state in &self.states {
            match state {
                ItemState::Recorded => counts.0 += 1,
                ItemState::Waiting(_) | ItemState::Pending(_) => counts.1 += 1,
                ItemState::Deferred(..) => counts.2 += 1,
                ItemState::Rejected(_) => counts.3 += 1,
            }
        }
        counts
    }

    /// Calls to this provider.
    pub(crate) fn calls_to(&self, provider: usize) -> usize {
        self.sent.iter().filter(|sent| sent.provider == provider).count()
    }

    /// Whether a record is in the log.
    pub(crate) fn wrote(&self, wanted: impl Fn(&Record) -> bool) -> bool {
        self.log.iter().any(|(_, step)| matches!(step, Step::Persist(record) if wanted(record)))
    }

    /// What holds for every run: intent before send, limits, one flight a target and endpoint, and a summary that
    /// says what the disk says.
    fn check(&self, world: &World, plan: &Plan, disk: &Disk) {
        assert!(disk.open.is_empty(), "intents without an outcome: {:?}", disk.open);
        let mut intents = BTreeSet::new();
        for (_, step) in &self.log {
            match step {
                Step::Persist(record) => intents.extend(intent_of(record)),
                Step::Send(call) => assert!(intents.contains(call), "{call:?} left before its intent was written"),
            }
        }
        let planned: BTreeSet<usize> = plan.jobs.iter().flat_map(Job::changes).collect();
        for index in planned {
            let told = &self.states[index];
            match disk.states.get(&index) {
                Some(written) => assert_eq!(told, written, "change {index}: told and written"),
                None => assert!(matches!(told, ItemState::Pending(_)), "change {index}: {told:?} and never written"),
            }
        }
        for job in &plan.jobs {
            for endpoint in 0..world.model.providers[job.provider].endpoints.len() {
                let here = |sent: &&Sent| {
                    (sent.provider, sent.endpoint, sent.operation) == (job.provider, endpoint, job.operation.name)
                };
                let calls: Vec<&Sent> = self.sent.iter().filter(here).collect();
                assert!(
                    calls.iter().all(|sent| sent.urls.len() <= job.limits.targets_per_call),
                    "a batch is too large"
                );
                assert_rate(&calls, job.limits.calls);
                assert_no_target_twice_at_once(&calls);
            }
        }
    }
}

/// S5: no period holds more calls than `rate`.
pub(crate) fn assert_rate(calls: &[&Sent], rate: Rate) {
    let most = (rate.count + rate.burst - 1) as usize;
    for window in calls.windows(most + 1) {
        let span = window[most].at - window[0].at;
        assert!(u128::from(span) >= rate.period.as_millis(), "{} calls within {span} ms, {rate} is allowed", most + 1);
    }
}

fn assert_no_target_twice_at_once(calls: &[&Sent]) {
    let mut free_at = BTreeMap::new();
    for sent in calls {
        for &item in &sent.items {
            let before = free_at.insert((item, &sent.headers), sent.lands);
            assert!(before.is_none_or(|free| free <= sent.at), "a variant of change {item} is in two calls at once");
        }
    }
}

/// The whole call is accepted.
pub(crate) fn accept() -> Ending {
    Ending::Accepted(Reply { task_ids: vec!["task".to_owned()], request_id: None, ..Reply::default() })
}

/// A refusal of this class.
pub(crate) fn refuse(class: ErrorClass) -> Ending {
    refuse_until(class, None)
}

/// A refusal that asks for a wait.
pub(crate) fn refuse_until(class: ErrorClass, retry_after_ms: Option<u64>) -> Ending {
    Ending::Refused(CallError {
        class,
        code: format!("{class:?}"),
        message: "said the vendor".to_owned(),
        request_id: None,
        retry_after_ms,
        server_time: None,
    })
}

/// No answer.
pub(crate) fn fail(kind: TransportFailureKind) -> Ending {
    Ending::Failed(TransportFailure { kind, message: format!("{kind:?}") })
}
