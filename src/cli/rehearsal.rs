//! `freshen apply --rehearse`: the real run against emulators, on a scratch copy of the state, in virtual time.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use secrecy::zeroize::Zeroizing;

use super::apply;
use super::args::{ApplyArgs, Format, Global, Selection};
use super::exit::Exit;
use super::render::{github, markdown, outcome as render, plan as plan_render, strong};
use super::session::{self, Lookup};
use super::stat_caches::Own;
use super::{interrupt, pass, select, terminal};
use crate::core::budget::LastCalls;
use crate::core::contract::{CredentialScheme, Credentials};
use crate::core::endpoints::Addresses;
use crate::core::http::{Request, Response, TransportFailure, TransportFailureKind};
use crate::core::model::{CredentialSource, HostPattern, Model};
use crate::core::secret::Secret;
use crate::core::target::Target;
use crate::engine::executor::{CallReport, GRACE_MS};
use crate::engine::{self, Accounts, Desired, Prepared, Run};
use crate::host::credentials::CredentialStore;
use crate::host::virtual_clock::VirtualClock;
use crate::host::{
    BoxFuture, Clock, CommandError, CommandLimits, Env, Host, Http, PrivateFileError, Resolver, Timeouts,
};
use crate::state::Store;
use crate::vendor::{
    emulation::{Emulator, Setup},
    emulator,
};

/// Runs the command.
pub(super) async fn run(host: &Host, global: &Global, args: &ApplyArgs) -> Result<Exit> {
    let state = &*global.backend();
    let own = Own { audit: args.audit.as_deref(), ..global.own(state) };
    let mut desired = session::find(Lookup::selected(global, &args.manifests, &args.selection))?
        .load_all(host, own, global.format)?
        .0;
    let mut store = state.scratch(&session::lineage(host))?;
    // The real accounts, so that the quota that they have spent today counts.
    let accounts = engine::accounts(host, &desired.model, Some(&*store)).await?;
    let stage = Stage::new(host, &mut desired.model, &*store)?;
    let start = session::run_start(&stage.host);
    let begun = stage.host.clock.now();
    let mut prepared = session::prepare(&desired, Some(&*store), &args.selection, &accounts, begun.wall)?;
    select::unmatched(&desired.model, &prepared.difference.changes, &args.selection)?
        .iter()
        .for_each(|warning| terminal::tell(&format!("warning: {warning}\n")));
    let human = global.format == Format::Human;
    if human {
        show_plan(&desired, &prepared, args);
    }
    pass::admit(&desired, &mut prepared, Some(&mut *store), (args.allowed.allowed(), args.expect.as_deref()))?;
    let mut reports = Vec::new();
    let interrupted = interrupt::listen();
    let (host, deadline_ms) = (&stage.host, args.deadline);
    let credentials = &CredentialStore::new(host.env.clone());
    let learned = pass::ask_quotas(host, &desired, &prepared, credentials, args.timeout, &mut *store).await?;
    learned.notes.iter().for_each(|note| terminal::tell(&format!("note: {note}\n")));
    if learned.changed {
        prepared = session::prepare(&desired, Some(&*store), &args.selection, &accounts, begun.wall)?;
        pass::admit(&desired, &mut prepared, Some(&mut *store), (args.allowed.allowed(), None))?;
    }
    let found = Accounts::look_up(host, &desired, &prepared.plan, credentials, &accounts, None).await;
    let run = Run {
        host,
        desired: &desired,
        prepared: &prepared,
        start,
        deadline_ms,
        timeouts: Timeouts::default(),
        credentials,
        accounts: &found,
        interrupted,
        grace_ms: GRACE_MS,
        last_calls: LastCalls::default(),
    };
    let mut keep = |call: &CallReport, _: &[Target]| {
        reports.push(call.clone());
        Ok(())
    };
    let finished = run.execute(&mut *store, &mut keep).await?;
    let view = apply::view(&finished, true);
    if human {
        terminal::print(&format!("\n{}\n", strong("Calls made, to emulators of the providers")));
        terminal::print(&render::calls(&view, &reports, begun));
        terminal::print("\n");
        terminal::print(&render::human(&view));
        terminal::print(&second_run(&stage, &desired, &*store, &accounts)?);
        return Ok(finished.exit);
    }
    let left = second_run_changes(&stage, &desired, &*store, &accounts)?;
    match global.format {
        Format::Markdown => terminal::print(&markdown::outcome(&view, Some(&verdict(left)))),
        Format::Github => terminal::print(&github::outcome(&view)),
        Format::Human | Format::Json => {
            let mut json = render::json(&view);
            json.set("second_run_changes", left);
            terminal::print_json(&json);
        }
    }
    Ok(finished.exit)
}

/// Shows people what is about to be rehearsed.
fn show_plan(desired: &Desired, prepared: &Prepared, args: &ApplyArgs) {
    let refusals = engine::refusals(desired, prepared, args.allowed.allowed());
    terminal::print(&format!("{}\n\n", strong("Rehearsal: nothing leaves this machine, the state stays as it is.")));
    let view = plan_render::View { desired, prepared, refusals: &refusals, is_running: false };
    terminal::print(&plan_render::human(&view));
}

fn second_run_changes(stage: &Stage, desired: &Desired, store: &dyn Store, accounts: &[String]) -> Result<usize> {
    let nothing = Selection::default();
    let again = session::prepare(desired, Some(store), &nothing, accounts, stage.host.clock.now().wall)?;
    Ok(again.difference.changes.len())
}

fn second_run(stage: &Stage, desired: &Desired, store: &dyn Store, accounts: &[String]) -> Result<String> {
    let left = second_run_changes(stage, desired, store, accounts)?;
    Ok(format!("{} {}.\n", strong("A second run would find:"), verdict(left)))
}

fn verdict(left: usize) -> String {
    if left == 0 { "nothing to do".to_owned() } else { format!("{left} still to do") }
}

/// The machine's stand-in: emulators for the network, invented credentials, time that moves only by waiting.
struct Stage {
    host: Host,
}

impl Stage {
    fn new(real: &Host, model: &mut Model, store: &dyn Store) -> Result<Self> {
        let clock = Arc::new(VirtualClock::starting_at(real.clock.now()));
        let mut variables = HashMap::new();
        let mut actors = Vec::new();
        let hosts = hosts_of(model, store)?;
        for (index, hosts) in hosts.into_iter().enumerate() {
            let prefix = format!("REHEARSAL_{index}_");
            let credentials = invent(index, &prefix, model.providers[index].scheme(), &mut variables);
            let config = &mut model.providers[index];
            config.credentials = match config.scheme() {
                CredentialScheme::Headers => CredentialSource::Environment { prefix: String::new() },
                CredentialScheme::Keys { .. } => CredentialSource::Environment { prefix },
            };
            // How many addresses names have is not asked here: each endpoint is one cache.
            config.require = config.require.filter(|asked| *asked <= config.endpoints.len());
            for endpoint in &config.endpoints {
                let mut setup = Setup::of(config, endpoint, credentials.clone());
                setup.hosts.clone_from(&hosts);
                actors.extend(emulator(setup).map(|emulator| Actor {
                    authority: endpoint.authority(),
                    key_id: key_id(index, config.scheme()),
                    emulator: Mutex::new(emulator),
                }));
            }
        }
        let http = Arc::new(Emulators { clock: clock.clone(), actors });
        let env = Arc::new(Invented { variables });
        Ok(Self { host: Host { clock, http, resolver: env.clone(), env, seed: real.seed } })
    }
}

/// Hosts that each emulated account owns: the configured ones, else those of the provider's URLs, listed or recorded.
fn hosts_of(model: &Model, store: &dyn Store) -> Result<Vec<Vec<HostPattern>>> {
    let unnamed = |provider: &usize| model.providers[*provider].hosts.is_empty();
    let mut hosts: Vec<BTreeSet<String>> = vec![BTreeSet::new(); model.providers.len()];
    let mut add = |provider: usize, target: &Target| {
        hosts[provider].extend(target.host().map(str::to_ascii_lowercase));
    };
    if (0..model.providers.len()).any(|provider| unnamed(&provider)) {
        model
            .entries
            .iter()
            .filter(|entry| unnamed(&entry.provider))
            .for_each(|entry| add(entry.provider, &entry.target));
        store.scan(&mut |row| {
            if let Some(provider) = model.provider_index(row.provider).filter(unnamed) {
                add(provider, &Target { scope: row.scope, text: row.text.to_owned() });
            }
        })?;
    }
    let of_urls = |hosts: BTreeSet<String>| hosts.into_iter().map(HostPattern::from_checked).collect();
    let named = model.providers.iter().map(|config| config.hosts.clone());
    Ok(named.zip(hosts).map(|(named, hosts)| if named.is_empty() { of_urls(hosts) } else { named }).collect())
}

/// Tells the accounts of a rehearsal apart at an endpoint that several providers share.
fn key_id(index: usize, scheme: CredentialScheme) -> Option<String> {
    matches!(scheme, CredentialScheme::Keys { .. }).then(|| format!("REHEARSAL-KEY-{index}-END"))
}

fn invent(
    index: usize,
    prefix: &str,
    scheme: CredentialScheme,
    variables: &mut HashMap<String, String>,
) -> Credentials {
    let CredentialScheme::Keys { id_env, secret_env, token_env, .. } = scheme else {
        return Credentials::Headers(Vec::new());
    };
    let id = key_id(index, scheme).unwrap_or_default();
    let (secret, token) = (format!("rehearsal-secret-{index}"), format!("rehearsal-token-{index}"));
    for (name, value) in [(id_env, &id), (secret_env, &secret), (token_env, &token)] {
        variables.insert(format!("{prefix}{name}"), value.clone());
    }
    Credentials::Keys { id: Secret::new(id), secret: Secret::new(secret), token: Some(Secret::new(token)) }
}

struct Actor {
    authority: String,
    key_id: Option<String>,
    emulator: Mutex<Box<dyn Emulator>>,
}

impl Actor {
    /// Whether a request to its address is its provider's, and not another's that shares the address.
    fn is_meant(&self, request: &Request) -> bool {
        let Some(key_id) = &self.key_id else { return self.play().expects(request) };
        let named = |text: &str| text.contains(key_id.as_str());
        named(&request.path_and_query)
            || request.headers.iter().any(|(_, value)| named(value))
            || named(&String::from_utf8_lossy(&request.body))
    }

    fn play(&self) -> MutexGuard<'_, Box<dyn Emulator>> {
        self.emulator.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Emulators {
    clock: Arc<VirtualClock>,
    actors: Vec<Actor>,
}

impl Http for Emulators {
    fn send(&self, request: Request, _: Timeouts) -> BoxFuture<'_, Result<Response, TransportFailure>> {
        Box::pin(async move {
            let authority = request.endpoint.authority();
            let mut here = self.actors.iter().filter(|actor| actor.authority == authority);
            let Some(actor) = here.find(|actor| actor.is_meant(&request)) else {
                let message = format!("no emulator plays {authority}");
                return Err(TransportFailure { kind: TransportFailureKind::NotConnected, message });
            };
            Ok(actor.play().answer(&request, self.clock.now().wall))
        })
    }
}

struct Invented {
    variables: HashMap<String, String>,
}

impl Resolver for Invented {
    fn addresses<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Addresses> {
        Box::pin(async { Err("a rehearsal looks no names up".into()) })
    }
}

impl Env for Invented {
    fn var(&self, name: &str) -> Option<String> {
        match self.variables.get(name) {
            Some(value) => Some(value.clone()),
            // Optional variables of the schemes stay unset; header references get a stand-in.
            None if name.starts_with("REHEARSAL_") => None,
            None => Some("rehearsal".to_owned()),
        }
    }

    fn read_private(&self, _: &str, _: usize) -> Result<Zeroizing<Vec<u8>>, PrivateFileError> {
        Err(PrivateFileError::Unreadable("a rehearsal reads no credentials".into()))
    }

    fn run<'a>(&'a self, _: &'a [String], _: CommandLimits) -> BoxFuture<'a, Result<Zeroizing<Vec<u8>>, CommandError>> {
        Box::pin(async { Err(CommandError::NotRun("a rehearsal runs no programs".into())) })
    }
}
