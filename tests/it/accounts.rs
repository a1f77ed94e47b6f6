//! Runs whose credentials come late or run out, in virtual time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use freshen::core::budget::LastCalls;
use freshen::core::diff::Difference;
use freshen::core::event::{FailureScope, ItemState};
use freshen::core::http::{Request, Response, TransportFailure};
use freshen::core::model::{CredentialSource, ProviderConfig};
use freshen::core::owners::Reach;
use freshen::core::time::{Now, Tick};
use freshen::engine::executor;
use freshen::engine::{Accounts, Desired, Exit, Prepared, Run};
use freshen::host::credentials::CredentialStore;
use freshen::host::probe::NoProber;
use freshen::host::resolver::SystemResolver;
use freshen::host::virtual_clock::VirtualClock;
use freshen::host::worker::InPlace;
use freshen::host::{BoxFuture, CommandError, CommandLimits, Env, Host, Http, PrivateFileError, Timeouts};
use freshen::state::{RunStart, SqliteStore};
use secrecy::zeroize::Zeroizing;
use tokio::sync::watch;

use crate::support::world::{START, World, config, endpoint};

/// Prints keys that expire at once, so that they are asked for again, `good` times; hangs from then on, and has the run cut
/// when it does.
struct Program {
    good: usize,
    asked: AtomicUsize,
    cut: watch::Sender<bool>,
}

impl Env for Program {
    fn var(&self, _: &str) -> Option<String> {
        None
    }

    fn read_private(&self, _: &str, _: usize) -> Result<Zeroizing<Vec<u8>>, PrivateFileError> {
        Err(PrivateFileError::NotRegular)
    }

    fn run<'a>(&'a self, _: &'a [String], _: CommandLimits) -> BoxFuture<'a, Result<Zeroizing<Vec<u8>>, CommandError>> {
        Box::pin(async {
            if self.asked.fetch_add(1, Ordering::Relaxed) >= self.good {
                self.cut.send_replace(self.good > 0);
                std::future::pending::<()>().await;
            }
            let expires_at = START.plus_ms(30_000).utc_extended();
            let keys = format!(r#"{{"key_id":"a","key_secret":"b","expires_at":"{expires_at}"}}"#);
            Ok(Zeroizing::new(keys.into_bytes()))
        })
    }
}

/// Accepts everything.
struct Accepts;

impl Http for Accepts {
    fn send(&self, _: Request, _: Timeouts) -> BoxFuture<'_, Result<Response, TransportFailure>> {
        Box::pin(async { Ok(Response { status: 200, headers: Vec::new(), body: Vec::new() }) })
    }
}

/// What came of a run.
struct Came {
    exit: Exit,
    states: Vec<ItemState>,
    /// Endpoints of each provider that are in trouble.
    troubled: Vec<usize>,
    unavailable: Vec<(usize, String)>,
    calls: u64,
    in_doubt: usize,
    asked: usize,
    cut: bool,
}

/// A run over three URLs at a provider with a program that prints keys `good` times, and at one that needs none.
fn run(good: usize, cut_before: bool) -> Came {
    let program = CredentialSource::Command(vec!["program".to_owned()]);
    let keyed = ProviderConfig { credentials: program, ..config("keyed", "tencent-cdn") };
    let other = ProviderConfig { endpoints: vec![endpoint(1)].into(), ..config("other", "http-purge") };
    let world = World::new(vec![keyed, other]).urls(0, 3).urls(1, 3);
    let (cut, interrupted) = watch::channel(false);
    let env = Arc::new(Program { good, asked: AtomicUsize::new(0), cut });
    let clock = Arc::new(VirtualClock::starting_at(Now { wall: START, tick: Tick::from_ms(0) }));
    let host = Host {
        clock,
        http: Arc::new(Accepts),
        prober: Arc::new(NoProber),
        resolver: Arc::new(SystemResolver),
        env: env.clone(),
        worker: Arc::new(InPlace),
        seed: 1,
    };
    let store = SqliteStore::scratch("nowhere/state.db".as_ref(), "test").expect("in memory");
    let difference = Difference { changes: world.table().into(), ..Difference::default() };
    let (plan, digest) = (world.plan(), String::new());
    let prepared =
        Prepared { manifests_changed: false, first_run: true, difference, plan, digest, refusals: Vec::new() };
    let World { model, accounts: guessed, .. } = world;
    let desired = Desired::new(model, Reach::default());
    let credentials = CredentialStore::new(host.env.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let looking = Accounts::look_up(&host, &desired, &prepared.plan, &credentials, &guessed, Some(5_000));
    let accounts = runtime.block_on(looking);
    assert_eq!(accounts.all()[0] == guessed[0], good == 0, "a guess stays one");
    if cut_before {
        env.cut.send_replace(true);
    }
    let run = Run {
        host: &host,
        desired: &desired,
        prepared: &prepared,
        start: RunStart { at: START, host: "here".to_owned(), pid: 1 },
        deadline_ms: None,
        timeouts: Timeouts::default(),
        credentials: &credentials,
        accounts: &accounts,
        interrupted,
        grace_ms: executor::GRACE_MS,
        last_calls: LastCalls::default(),
        deferred_ok: false,
        wait_for_origins_ms: None,
    };
    let (store, finished) = runtime.block_on(run.execute(Box::new(store), &mut |_, _| Ok(())));
    let finished = finished.expect("written");
    let outcome = &finished.outcome;
    let is_troubled =
        |provider: &usize| outcome.endpoints[*provider].iter().any(|end| end.trouble == Some(FailureScope::Endpoint));
    let rows = store.recorded().expect("readable");
    Came {
        exit: finished.exit,
        states: outcome.states.iter().cloned().collect(),
        troubled: (0..2).filter(is_troubled).collect(),
        unavailable: finished.unavailable.clone(),
        calls: outcome.calls,
        in_doubt: rows.iter().filter(|row| row.work.as_ref().is_some_and(|work| work.in_doubt)).count(),
        asked: env.asked.load(Ordering::Relaxed),
        cut: outcome.cut_short.is_some(),
    }
}

/// L2: a program that hangs is asked once; its provider is left to the next run with the reason, and the other one is done.
#[test]
fn a_provider_whose_account_is_not_known_in_time_is_left_to_the_next_run() {
    let came = run(0, false);
    let late = "no credentials within 5000 ms";
    assert!(matches!(&came.unavailable[..], [(0, reason)] if reason.contains(late)), "{:?}", came.unavailable);
    assert!(came.states[..3].iter().all(|state| matches!(state, ItemState::Pending(Some(why)) if why.contains(late))));
    assert!(came.states[3..].iter().all(|state| *state == ItemState::Recorded));
    assert_eq!((came.asked, came.troubled, came.exit), (1, vec![0], Exit::BadInput));
}

/// L2, W6: a run that is cut short before its first call says so as well: else the next run would ask again at once.
#[test]
fn a_run_that_is_cut_at_once_tells_who_has_no_credentials() {
    let came = run(0, true);
    assert!(came.cut && came.calls == 0);
    assert_eq!((came.asked, came.troubled, came.unavailable.len()), (1, vec![0], 1));
}

/// C14: calls that wait for credentials when a run is cut short are not waited for, and nothing about them is in doubt.
#[test]
fn calls_without_credentials_leave_no_doubt_when_a_run_is_cut() {
    let came = run(1, false);
    assert!(came.cut && came.asked == 2);
    assert_eq!(came.in_doubt, 0);
    assert!(came.states[..3].iter().all(|state| matches!(state, ItemState::Pending(_))));
}
