//! A vendor that no table lists, with all that vendors to come ask of the contract: fields of its own, rates with a burst, calls
//! cut by bytes and hosts, targets without a scheme, partly accepted calls and ids of purges. Its emulator is as strict.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use freshen::core::budget::LastCalls;
use freshen::core::contract::{
    Account, Call, CallError, Capabilities, Cost, CredentialField, CredentialScheme, Credentials, Culprit, ErrorClass,
    FieldSort, Operation, OptionShape, OptionSpec, Options, Rate, Reply, Stamp,
};
use freshen::core::diff::Difference;
use freshen::core::event::ItemState;
use freshen::core::http::{Request, Response, Route, TransportFailure};
use freshen::core::model::ProviderConfig;
use freshen::core::owners::Reach;
use freshen::core::plan::QuotaKey;
use freshen::core::provider::Provider;
use freshen::core::secret::Secret;
use freshen::core::target::{ContentHash, Scope, Target};
use freshen::core::time::{Now, Tick, Timestamp};
use freshen::engine::Desired;
use freshen::engine::executor::{self, ExecutorInputs, Outcome};
use freshen::engine::rehearsal::Rehearsal;
use freshen::host::credentials::CredentialStore;
use freshen::host::probe::NoProber;
use freshen::host::resolver::SystemResolver;
use freshen::host::virtual_clock::VirtualClock;
use freshen::host::worker::InPlace;
use freshen::host::{BoxFuture, CommandError, CommandLimits, Env, Host, Http, PrivateFileError, Timeouts};
use freshen::manifest::{BuildOptions, NoSources, SourceFile, build_with, schema};
use freshen::state::{RunStart, SqliteStore, Store};
use freshen::vendor::emulation::{self, Purged, Setup};
use freshen::vendor::{VENDORS, Vendor, Vendors};
use secrecy::zeroize::Zeroizing;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{Notify, watch};

use crate::conformance::largest_batches_are_accepted;
use crate::readme::vendor_lists;
use crate::support::world::{START, World, accept, change, config};

/// Bytes of the list in a body, and hosts in it.
const MOST_BYTES: usize = 300;
const MOST_HOSTS: usize = 3;
const FIELDS: &[CredentialField] = &[
    CredentialField { name: "client_token", variable: "NEWCOMER_CLIENT_TOKEN", sort: FieldSort::KeyId },
    CredentialField { name: "access_token", variable: "NEWCOMER_ACCESS_TOKEN", sort: FieldSort::Secret },
];

static CAPABILITIES: Capabilities = Capabilities {
    kind: "newcomer",
    summary: "",
    notice: None,
    default_endpoint: Some("https://api.newcomer.example"),
    credentials: CredentialScheme::Fields { fields: FIELDS, instead: None },
    options: &[OptionSpec { key: "network", shape: OptionShape::Text, required: false, doc: "which network" }],
    operations: &[Operation {
        targets_per_call: 20,
        bytes_per_call: Some(MOST_BYTES),
        hosts_per_call: Some(MOST_HOSTS),
        calls: Rate { count: 1, period: Duration::from_secs(2), burst: 4 },
        targets: Some(Rate { count: 10, period: Duration::from_secs(1), burst: 15 }),
        targets_per_day: Some(500),
        quota_days: 31,
        cost: Some(Cost { micros: 5000, currency: "USD", free_a_month: 50 }),
        calls_in_flight: 4,
        ..Operation::plain("purge", Scope::Url)
    }],
    max_url_bytes: None,
    quota_day_offset_minutes: 0,
    effect_ms: 0,
};

static NEWCOMER: Newcomer = Newcomer;

struct Newcomer;

/// A target without its scheme, as it travels.
fn spelled(target: &Target) -> String {
    target.text.split_once("://").map_or(target.text.as_str(), |(_, rest)| rest).to_owned()
}

fn error(class: ErrorClass, code: &str) -> CallError {
    CallError {
        class,
        code: code.to_owned(),
        message: String::new(),
        request_id: None,
        retry_after_ms: None,
        server_time: None,
    }
}

impl Provider for Newcomer {
    fn capabilities(&self) -> &'static Capabilities {
        &CAPABILITIES
    }

    fn wire_key(&self, target: &Target, _: &Options) -> Option<String> {
        Some(spelled(target))
    }

    fn encode(&self, call: &Call, _: &Account, credentials: &Credentials, _: &Stamp) -> Result<Request, String> {
        let [id, secret] = FIELDS else { return Err("two fields".into()) };
        let field = |field: &CredentialField| credentials.field(field.name).map(Secret::expose).ok_or("no credentials");
        let authorization = format!("Newcomer {}:{}", field(id)?, field(secret)?);
        let targets: Vec<String> = call.targets.iter().map(spelled).collect();
        Ok(Request {
            method: "POST".to_owned(),
            endpoint: call.endpoint.clone(),
            route: Route::ByProxy,
            path_and_query: "/purge".to_owned(),
            headers: vec![("Host".to_owned(), call.endpoint.authority()), ("Authorization".to_owned(), authorization)],
            body: json!({"id": call.id, "targets": targets}).to_string().into_bytes(),
        })
    }

    fn decode(&self, _: &Call, _: &Account, response: &Response) -> Result<Reply, CallError> {
        let body: Value = serde_json::from_slice(&response.body).map_err(|_| error(ErrorClass::Unknown, "no JSON"))?;
        if let Some(code) = body["error"].as_str() {
            let class = if code == "TooFast" { ErrorClass::Throttled } else { ErrorClass::Request };
            return Err(error(class, code));
        }
        let refused = body["refused"].as_array().into_iter().flatten().filter_map(Value::as_u64);
        let refused = refused.filter_map(|at| usize::try_from(at).ok());
        let refused = refused.map(|at| (at, error(ErrorClass::TargetRefused(Culprit::Target), "Refused")));
        let task_ids = body["task"].as_str().map(str::to_owned).into_iter().collect();
        Ok(Reply { task_ids, refused: refused.collect(), ..Reply::default() })
    }
}

/// What the vendor knows: purges by their ids, and what it was asked and when.
#[derive(Default)]
struct Emulator {
    purges: BTreeMap<String, Vec<String>>,
    calls: Vec<(u64, usize)>,
    problems: Vec<String>,
    /// What it asks for, if not the usual.
    authorization: Option<String>,
}

impl Emulator {
    fn answer(&mut self, request: &Request, now: Tick) -> Value {
        let body: Value = serde_json::from_slice(&request.body).expect("JSON");
        let id = body["id"].as_str().expect("an id").to_owned();
        let list = body["targets"].to_string();
        let targets: Vec<String> = serde_json::from_value(body["targets"].clone()).expect("texts");
        let hosts: BTreeSet<&str> = targets.iter().filter_map(|target| target.split('/').next()).collect();
        self.calls.push((now.ms(), targets.len()));
        let twice = targets.iter().collect::<BTreeSet<_>>().len() < targets.len();
        let purged_before = self.purges.iter().any(|(other, known)| *other != id && known == &targets);
        let authorization = self.authorization.as_deref().unwrap_or("Newcomer ct:canary");
        let problem = if request.header("Authorization") != Some(authorization) {
            Some("Unauthorized")
        } else if list.len() > MOST_BYTES || targets.len() > 20 {
            Some("TooLarge")
        } else if hosts.len() > MOST_HOSTS {
            Some("TooManyHosts")
        } else if twice || purged_before {
            Some("PaidTwice")
        } else if self.purges.get(&id).is_some_and(|known| *known != targets) {
            Some("IdReused")
        } else if id.len() != 32 {
            Some("BadId")
        } else {
            (!self.has_room()).then_some("TooFast")
        };
        if let Some(problem) = problem {
            self.problems.push(problem.to_owned());
            return json!({"error": problem});
        }
        let refused = targets.iter().enumerate().filter(|(_, target)| target.contains("refuse")).map(|(at, _)| at);
        let answer = json!({"task": id, "refused": refused.collect::<Vec<_>>()});
        self.purges.insert(id, targets);
        answer
    }

    /// Whether token buckets that were empty at the start have let all calls pass.
    fn has_room(&self) -> bool {
        let (mut calls, mut targets, mut last) = (0.0_f64, 0.0_f64, 0);
        self.calls.iter().all(|&(at, count)| {
            #[expect(clippy::cast_precision_loss, reason = "a short run")]
            let (seconds, count) = ((at - last) as f64 / 1000.0, count as f64);
            calls = (calls + seconds * 0.5).min(4.0) - 1.0;
            targets = (targets + seconds * 10.0).min(15.0) - count;
            last = at;
            calls >= -1e-9 && targets >= -1e-9
        })
    }
}

/// The vendor at the other end, which may keep its answers to itself.
struct Network {
    clock: Arc<VirtualClock>,
    emulator: Mutex<Emulator>,
    is_silent: bool,
    asked: Notify,
}

impl Network {
    fn emulator(&self) -> MutexGuard<'_, Emulator> {
        self.emulator.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Http for Network {
    fn send(&self, request: Request, _: Timeouts) -> BoxFuture<'_, Result<Response, TransportFailure>> {
        Box::pin(async move {
            let body = self.emulator().answer(&request, freshen::host::Clock::now(self.clock.as_ref()).tick);
            self.asked.notify_one();
            if self.is_silent {
                std::future::pending::<()>().await;
            }
            Ok(Response { status: 200, headers: Vec::new(), body: body.to_string().into_bytes() })
        })
    }
}

struct Variables;

impl Env for Variables {
    fn var(&self, name: &str) -> Option<String> {
        let values = [("NEWCOMER_CLIENT_TOKEN", "ct"), ("NEWCOMER_ACCESS_TOKEN", "canary")];
        values.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    }

    fn read_private(&self, _: &str, _: usize) -> Result<Zeroizing<Vec<u8>>, PrivateFileError> {
        Err(PrivateFileError::NotRegular)
    }

    fn run<'a>(&'a self, _: &'a [String], _: CommandLimits) -> BoxFuture<'a, Result<Zeroizing<Vec<u8>>, CommandError>> {
        Box::pin(async { Err(CommandError::NotRun("none".into())) })
    }
}

fn world(urls: &[&str]) -> World {
    let mut world = World::new(vec![ProviderConfig { kind: &NEWCOMER, ..config("new", "tencent-vod") }]);
    let mut urls: Vec<&str> = urls.to_vec();
    urls.sort_unstable();
    world.changes = urls.into_iter().map(|url| change(0, url)).collect();
    world
}

/// A state with runs against one emulator; each run is killed while its first call is under way, if the network is silent.
struct Site {
    folder: TempDir,
    emulator: Emulator,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        SqliteStore::create(&folder.path().join("state.db"), "test").expect("made");
        Self { folder, emulator: Emulator::default() }
    }

    fn store(&self) -> SqliteStore {
        SqliteStore::open(&self.folder.path().join("state.db")).expect("readable").expect("there")
    }

    fn run(&mut self, world: &World, seed: u64, is_silent: bool) -> Option<Outcome> {
        let clock = Arc::new(VirtualClock::starting_at(Now { wall: START, tick: Tick::from_ms(0) }));
        let emulator = Mutex::new(Emulator { calls: Vec::new(), ..std::mem::take(&mut self.emulator) });
        let network = Arc::new(Network { clock: clock.clone(), emulator, is_silent, asked: Notify::new() });
        let env = Arc::new(Variables);
        let http = network.clone();
        let host = Host {
            clock,
            http,
            prober: Arc::new(NoProber),
            resolver: Arc::new(SystemResolver),
            env: env.clone(),
            worker: Arc::new(InPlace),
            seed,
        };
        let difference = Difference { changes: world.table().into(), ..Difference::default() };
        let mut store = self.store();
        store.mark(&world.model, &difference, START).expect("marked");
        let begun = RunStart { at: START, host: "here".to_owned(), pid: 1 };
        let run = store.begin_run(&begun, &[], &[]).expect("begun");
        let credentials = CredentialStore::new(env);
        let (_sender, interrupted) = watch::channel(false);
        let plan = world.plan();
        let inputs = ExecutorInputs {
            model: &world.model,
            changes: &difference.changes,
            plan: &plan,
            grounds: &["a".to_owned()],
            credentials: &credentials,
            unavailable: &[],
            run,
            deadline: None,
            timeouts: Timeouts::default(),
            interrupted,
            grace_ms: executor::GRACE_MS,
            last_calls: LastCalls::default(),
            questions: Vec::new(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let mut observe = |_: &executor::CallReport, _: &[Target]| Ok(());
        let outcome = runtime.block_on(async {
            tokio::select! {
                biased;
                () = network.asked.notified(), if is_silent => None,
                (_, outcome) = executor::apply(&host, Box::new(store), inputs, &mut observe) => Some(outcome),
            }
        });
        drop(host);
        self.emulator = std::mem::take(&mut *network.emulator());
        outcome
    }
}

/// U9, S5, R10: with fields, bytes, hosts, rates and twins of its own a vendor is served as it asks, and each target ends where the
/// vendor says.
#[test]
fn a_vendor_with_all_that_the_contract_knows_is_served() {
    let hosts = ["a", "b", "c", "d", "e"].map(|host| format!("https://{host}.example"));
    let mut urls: Vec<String> =
        hosts.iter().flat_map(|host| (0..12).map(move |number| format!("{host}/{number:03}"))).collect();
    urls.push("https://a.example/refuse".to_owned());
    urls.push("http://a.example/001".to_owned());
    urls.push("http://e.example/refuse".to_owned());
    urls.push("https://e.example/refuse".to_owned());
    urls.push(format!("https://c.example/{}", "x".repeat(120)));
    let world = world(&urls.iter().map(String::as_str).collect::<Vec<_>>());
    let mut site = Site::new();
    let outcome = site.run(&world, 1, false).expect("it ends");
    assert_eq!(site.emulator.problems, Vec::<String>::new());
    let rejected = |index: usize| matches!(outcome.states.get(index), ItemState::Rejected(_));
    let refused: Vec<&str> = (0..urls.len())
        .filter(|&index| rejected(index))
        .map(|index| world.changes[index].target.text.as_str())
        .collect();
    assert_eq!(refused, ["http://e.example/refuse", "https://a.example/refuse", "https://e.example/refuse"]);
    let recorded = site.store().recorded().expect("readable").into_iter().filter(|row| row.work.is_none()).count();
    assert_eq!(recorded, urls.len() - 3);
    let sent: Vec<&String> = site.emulator.purges.values().flatten().collect();
    assert_eq!(sent.len(), urls.len() - 2, "twins travel once");
    assert_eq!(world.plan().calls(), site.emulator.purges.len(), "what is shown is what is done");
}

/// C2: a purge whose answer was lost in a crash goes on under its id; another content or another set of targets is another purge.
#[test]
fn a_purge_keeps_its_id_over_a_crash_and_another_has_another() {
    let urls = ["https://a.example/1", "https://a.example/2"];
    let mut site = Site::new();
    let mut world = world(&urls);
    assert!(site.run(&world, 1, true).is_none(), "killed");
    assert_eq!(site.emulator.purges.len(), 1);
    site.run(&world, 2, true);
    site.run(&world, 3, false).expect("it ends");
    assert_eq!((site.emulator.purges.len(), &site.emulator.problems), (1, &Vec::new()), "paid once");
    // The same targets later on: the content is another, or the same once more.
    site.emulator.purges.iter_mut().for_each(|(_, known)| known.push("before".to_owned()));
    site.run(&world, 4, true);
    site.emulator.purges.iter_mut().for_each(|(_, known)| known.push("before".to_owned()));
    world.changes[1].desired = Some(ContentHash::from_canonical("rev:3"));
    site.run(&world, 5, false).expect("it ends");
    assert_eq!((site.emulator.purges.len(), &site.emulator.problems), (3, &Vec::new()));
}

/// The same over attempts of one run: what is repeated whole has its id, parts of a split batch have their own.
#[test]
fn a_purge_keeps_its_id_over_the_attempts_of_a_run() {
    use freshen::core::event::Record;

    use crate::support::world::{Step, refuse};

    let urls: Vec<String> = (0..4).map(|number| format!("https://a.example/{number}")).collect();
    let ids_of = |classes: &[ErrorClass]| {
        let mut world = world(&urls.iter().map(String::as_str).collect::<Vec<_>>());
        let mut left = classes.iter();
        let report = world.run(|_| left.next().map_or_else(accept, |class| refuse(*class)));
        assert_eq!(report.counts().0, 4);
        let id = |step: &Step| match step {
            Step::Persist(Record::Intent { purge, items, .. }) => Some((purge.id.clone(), items.len())),
            _ => None,
        };
        report.log.iter().filter_map(|(_, step)| id(step)).collect::<Vec<_>>()
    };
    let repeated = ids_of(&[ErrorClass::Unknown, ErrorClass::Throttled]);
    assert_eq!((repeated.len(), repeated.iter().collect::<BTreeSet<_>>().len()), (3, 1), "{repeated:?}");
    let split = ids_of(&[ErrorClass::TargetRefused(Culprit::Unclear)]);
    assert_eq!((split.len(), split.iter().collect::<BTreeSet<_>>().len()), (3, 3), "{split:?}");
}

/// S5: a quota over several days and a price stand in the plan before anything is sent.
#[test]
fn the_plan_shows_what_it_costs_and_what_is_left_of_a_longer_quota() {
    let urls: Vec<String> = (0..30).map(|number| format!("https://a.example/{number}")).collect();
    let mut world = world(&urls.iter().map(String::as_str).collect::<Vec<_>>());
    let key = |day: &str| QuotaKey {
        account: "account of new".to_owned(),
        operation: "purge",
        area: String::new(),
        day: day.to_owned(),
        offset_minutes: 0,
    };
    for (day, used) in [("2023-10-14", 400), ("2023-10-15", 100), ("2023-11-01", 20), ("2023-11-14", 10)] {
        world.disk.quota.insert(key(day), used);
    }
    let plan = world.plan();
    let quota = plan.jobs[0].quota.as_ref().expect("a quota");
    assert_eq!((quota.used, quota.used_after, quota.limit), (130, 160, 500), "31 days count");
    let charge = plan.jobs[0].charge.expect("a price");
    assert_eq!((charge.used, charge.free_left(), charge.micros()), (30, 20, 50_000), "the calendar month counts");
    world.disk.quota.insert(key("2023-11-02"), 365);
    assert_eq!((world.plan().jobs[0].targets, world.plan().jobs[0].over_quota.len()), (5, 25));
}

/// The vendor behind an endpoint, as rehearsals have it.
struct RehearsedAccount {
    emulator: Emulator,
    purged: Vec<Purged>,
}

impl emulation::Emulator for RehearsedAccount {
    fn answer(&mut self, request: &Request, now: Timestamp) -> Response {
        let answer = self.emulator.answer(request, Tick::from_ms(now.unix_ms().unsigned_abs()));
        let task = answer["task"].as_str().map(str::to_owned);
        for target in task.iter().flat_map(|task| &self.emulator.purges[task]) {
            let target = Target::url(format!("https://{target}"));
            self.purged.push(Purged { at: now, area: String::new(), target, task_id: task.clone() });
        }
        Response { status: 200, headers: Vec::new(), body: answer.to_string().into_bytes() }
    }

    fn log(&self) -> &[Purged] {
        &self.purged
    }
}

fn emulator(setup: Setup) -> Box<dyn emulation::Emulator> {
    let Setup { credentials, .. } = setup;
    let field = |field: &CredentialField| credentials.field(field.name).expect("a field").expose().to_owned();
    let authorization = Some(format!("Newcomer {}:{}", field(&FIELDS[0]), field(&FIELDS[1])));
    Box::new(RehearsedAccount { emulator: Emulator { authorization, ..Emulator::default() }, purged: Vec::new() })
}

/// The table of vendors with a line more.
pub(crate) fn with_newcomer() -> Vendors {
    let line = Vendor { adapter: &NEWCOMER, emulator };
    Vendors(Box::leak(VENDORS.0.iter().copied().chain([line]).collect()))
}

/// A vendor is a folder and a line: all that lists kinds lists those of the table that it is given.
#[test]
fn a_line_in_the_table_is_all_that_makes_a_vendor_known() {
    let manifest = |kind: &str| {
        let provider = format!("{{kind: {kind}, hosts: [a.example], network: \"${{NETWORK}}\"}}");
        let text = format!("providers: {{new: {provider}}}\nassets: {{\"https://a.example/1\": rev:1}}\n");
        [SourceFile::whole("m.yaml", text)]
    };
    let variables = |_: &str| Some("staging".to_owned());
    let built = |kind: &str, vendors| {
        let options = BuildOptions { variables: &variables, vendors, ..BuildOptions::default() };
        build_with(&manifest(kind), options, &mut NoSources)
    };
    assert!(built("newcomer", VENDORS).model.is_none());
    let misspelled = built("newcommer", with_newcomer()).diagnostics;
    assert!(misspelled.iter().any(|problem| format!("{problem:?}").contains("did you mean `newcomer`?")));
    let model = built("newcomer", with_newcomer()).model.expect("a kind of the table");
    assert_eq!(model.providers[0].options.text("network"), Some("staging"));

    let schema = schema(with_newcomer()).to_string();
    assert!(schema.contains("\"newcomer\"") && schema.contains("which network"), "the schema lacks it");
    for (list, expected) in vendor_lists(with_newcomer()).iter().zip(vendor_lists(VENDORS)) {
        let added = list.strip_prefix(&expected).expect("the others stand before it");
        assert!(added.contains("newcomer"), "{list}");
    }
    assert_eq!(largest_batches_are_accepted(with_newcomer()).last(), Some(&"newcomer"));
    assert_rehearsed(Desired::new(model, Reach::default()));
}

/// A rehearsal with the table that has the vendor answers its calls.
fn assert_rehearsed(mut desired: Desired) {
    let folder = tempfile::tempdir().expect("a folder");
    let state = freshen::state::at(&folder.path().join("state.db"));
    let clock = Arc::new(VirtualClock::starting_at(Now { wall: START, tick: Tick::from_ms(0) }));
    let (emulator, asked) = (Mutex::default(), Notify::new());
    let http = Arc::new(Network { clock: clock.clone(), emulator, is_silent: false, asked });
    let real = Host {
        clock,
        http,
        prober: Arc::new(NoProber),
        resolver: Arc::new(SystemResolver),
        env: Arc::new(Variables),
        worker: Arc::new(InPlace),
        seed: 1,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let reply = runtime.block_on(async {
        let rehearsal = Rehearsal::new(&real, &*state, &mut desired, with_newcomer()).await.expect("a rehearsal");
        let config = &desired.model.providers[0];
        let credentials = CredentialStore::new(rehearsal.host.env.clone()).get(config, START).await.expect("invented");
        let call = Call {
            operation: &CAPABILITIES.operations[0],
            endpoint: config.endpoints.first().expect("an endpoint").clone(),
            targets: vec![Target::url("https://a.example/1")],
            headers: Vec::new(),
            id: "0123456789abcdef0123456789abcdef".to_owned(),
        };
        let account = Account { provider: "new".to_owned(), options: Options::default() };
        let stamp = Stamp { wall: START, nonce: 1 };
        let request = NEWCOMER.encode(&call, &account, &credentials, &stamp).expect("a request");
        let answer = rehearsal.host.http.send(request, Timeouts::default()).await.expect("an emulator");
        NEWCOMER.decode(&call, &account, &answer)
    });
    assert_eq!(reply.map(|reply| reply.task_ids.len()), Ok(1));
}
