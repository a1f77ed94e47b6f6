//! The driver with a store in memory and a network that does what the test wants.

use std::sync::Arc;

use freshen::core::budget::LastCalls;
use freshen::core::diff::Difference;
use freshen::core::event::ItemState;
use freshen::core::http::{Request, Response, TransportFailure};
use freshen::core::time::{Now, Tick};
use freshen::engine::executor::{self, CallReport, ExecutorInputs, Outcome};
use freshen::host::credentials::CredentialStore;
use freshen::host::env::SystemEnv;
use freshen::host::probe::NoProber;
use freshen::host::resolver::SystemResolver;
use freshen::host::virtual_clock::VirtualClock;
use freshen::host::worker::InPlace;
use freshen::host::{BoxFuture, Host, Http, Timeouts};
use freshen::state::{RunStart, SqliteStore, Store};
use tokio::sync::watch;

use crate::support::world::{START, World, config, endpoint};

/// Accepts everything, except that it panics at the first endpoint, with a secret in its words.
struct Panics;

impl Http for Panics {
    fn send(&self, request: Request, _: Timeouts) -> BoxFuture<'_, Result<Response, TransportFailure>> {
        Box::pin(async move {
            assert_ne!(request.endpoint, endpoint(0), "SECRETcanary");
            Ok(Response { status: 200, headers: Vec::new(), body: Vec::new() })
        })
    }
}

/// Two providers with work; what came of it, and each call as it was seen. `observe` may fail.
fn run(observe: &dyn Fn(&CallReport) -> std::io::Result<()>) -> (Outcome, Vec<CallReport>, Vec<String>) {
    let other =
        freshen::core::model::ProviderConfig { endpoints: vec![endpoint(1)].into(), ..config("other", "http-purge") };
    let world = World::new(vec![config("broken", "http-purge"), other]).urls(0, 3).urls(1, 3);
    let start = Now { wall: START, tick: Tick::from_ms(0) };
    let env = Arc::new(SystemEnv);
    let host = Host {
        clock: Arc::new(VirtualClock::starting_at(start)),
        http: Arc::new(Panics),
        prober: Arc::new(NoProber),
        resolver: Arc::new(SystemResolver),
        env,
        worker: Arc::new(InPlace),
        seed: 1,
    };
    let mut store = SqliteStore::scratch("nowhere/state.db".as_ref(), "test").expect("in memory");
    let difference = Difference { changes: world.table().into(), ..Difference::default() };
    store.mark(&world.model, &difference, START).expect("marked");
    let begun = RunStart { at: START, host: "here".to_owned(), pid: 1 };
    let number = store.begin_run(&begun, &[], &[]).expect("begun");
    let credentials = CredentialStore::new(host.env.clone());
    let (_sender, interrupted) = watch::channel(false);
    let plan = world.plan();
    let inputs = ExecutorInputs {
        model: &world.model,
        changes: &difference.changes,
        plan: &plan,
        grounds: &["a".to_owned(), "b".to_owned()],
        credentials: &credentials,
        unavailable: &[],
        run: number,
        deadline: None,
        timeouts: Timeouts::default(),
        interrupted,
        grace_ms: executor::GRACE_MS,
        last_calls: LastCalls::default(),
        questions: Vec::new(),
    };
    let mut seen = Vec::new();
    let mut keep = |call: &CallReport, _: &[_]| {
        seen.push(call.clone());
        observe(call)
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let (store, outcome) = runtime.block_on(executor::apply(&host, Box::new(store), inputs, &mut keep));
    let rows = store.recorded().expect("readable").into_iter().filter(|row| row.work.is_none());
    let recorded = rows.map(|row| row.provider).collect();
    (outcome, seen, recorded)
}

/// C13, L2, X1: a panic ends one call; its entries stay pending, the other provider is done, and its words stay unsaid.
#[test]
fn c13_a_panic_in_one_call_leaves_the_other_provider_alone() {
    let (outcome, seen, recorded) = run(&|_| Ok(()));
    assert!(outcome.panicked);
    assert_eq!(recorded, ["other", "other", "other"]);
    let broken = outcome.states.iter().filter(|state| matches!(state, ItemState::Pending(_))).count();
    assert_eq!((broken, outcome.states.len()), (3, 6));
    let of_broken: Vec<&CallReport> = seen.iter().filter(|call| call.provider == 0).collect();
    assert!(!of_broken.is_empty() && of_broken.iter().all(|call| call.code.as_deref() == Some("internal error")));
    assert!(!format!("{seen:?} {:?}", outcome.states).contains("SECRETcanary"));
}

#[test]
fn a_call_that_cannot_be_written_down_is_recorded_and_the_last_one() {
    let full = |call: &CallReport| match call.outcome {
        "accepted" => Err(std::io::Error::other("no room")),
        _ => Ok(()),
    };
    let (outcome, seen, recorded) = run(&full);
    let accepted = seen.iter().filter(|call| call.outcome == "accepted").count();
    assert!(accepted >= 1 && recorded.len() == accepted, "{recorded:?}");
    assert_eq!(outcome.observer_error.as_deref(), Some("no room"));
    assert_eq!(seen.len() as u64, outcome.calls, "each call is seen, those that were given up as well");
}
