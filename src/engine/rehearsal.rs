//! What a rehearsal has in place of the world: emulators for the network, invented credentials, time that moves only by waiting,
//! a state that is gone afterwards. The pass is the real one.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use secrecy::zeroize::Zeroizing;

use super::{Claim, Desired, accounts, lineage};
use crate::core::contract::{CredentialField, CredentialScheme, Credentials};
use crate::core::endpoints::Addresses;
use crate::core::http::{Request, Response, TransportFailure, TransportFailureKind};
use crate::core::model::{CredentialSource, HostPattern, Model};
use crate::core::secret::Secret;
use crate::core::target::Target;
use crate::host::probe::NoProber;
use crate::host::virtual_clock::VirtualClock;
use crate::host::worker::InPlace;
use crate::host::{
    BoxFuture, Clock, CommandError, CommandLimits, Env, Host, Http, PrivateFileError, Resolver, Timeouts,
};
use crate::state::{Backend, LockedState, StateError, Store};
use crate::vendor::Vendors;
use crate::vendor::emulation::{Emulator, Setup};

/// All that a pass needs to be a rehearsal.
pub struct Rehearsal {
    /// The stand-in of the machine.
    pub host: Host,
    /// The real accounts, so that the quota that they have spent today counts.
    pub accounts: Vec<String>,
    /// A copy of the state, locked.
    pub claim: Claim,
}

impl Rehearsal {
    /// Prepares to rehearse what is `desired`, whose providers get invented credentials and the emulators of `vendors`.
    ///
    /// # Errors
    /// A state that cannot be read.
    pub async fn new(real: &Host, state: &dyn Backend, desired: &mut Desired, vendors: Vendors) -> Result<Self> {
        let store = state.scratch(&lineage(real))?;
        let accounts = accounts(real, &desired.model, Some(&*store)).await?;
        let host = stage(real, &mut desired.model, &*store, vendors)?;
        let claim = Claim::Held(Box::new(Scratch { location: state.location(), store: Mutex::new(Some(store)) }));
        Ok(Self { host, accounts, claim })
    }
}

/// A state in memory that is opened once.
struct Scratch {
    location: String,
    store: Mutex<Option<Box<dyn Store>>>,
}

impl Scratch {
    fn not_written(&self) -> StateError {
        let cause = "a rehearsal writes nothing".to_owned();
        StateError::Io { location: self.location.clone(), action: "written", cause }
    }
}

impl LockedState for Scratch {
    fn open(&self) -> Result<Option<Box<dyn Store>>, StateError> {
        Ok(self.store.lock().unwrap_or_else(PoisonError::into_inner).take())
    }

    fn create(&self, _: &str) -> Result<Box<dyn Store>, StateError> {
        Err(self.not_written())
    }

    fn write_recovery_file(&self, _: &str, _: &str) -> Result<String, StateError> {
        Err(self.not_written())
    }
}

fn stage(real: &Host, model: &mut Model, store: &dyn Store, vendors: Vendors) -> Result<Host> {
    let clock = Arc::new(VirtualClock::starting_at(real.clock.now()));
    let mut variables = HashMap::new();
    let mut actors = Vec::new();
    let hosts = hosts_of(model, store)?;
    for (index, hosts) in hosts.into_iter().enumerate() {
        let prefix = format!("REHEARSAL_{index}_");
        let credentials = invent(index, &prefix, model.providers[index].scheme(), &mut variables);
        let marks = marks_of(&credentials);
        let config = &mut model.providers[index];
        config.credentials = match config.scheme() {
            CredentialScheme::Headers => CredentialSource::Environment { prefix: String::new() },
            CredentialScheme::Fields { .. } => CredentialSource::Environment { prefix },
        };
        // How many addresses names have is not asked here: each endpoint is one cache.
        config.require = config.require.filter(|asked| *asked <= config.endpoints.len());
        for endpoint in &config.endpoints {
            let mut setup = Setup::of(config, endpoint, credentials.clone());
            setup.hosts.clone_from(&hosts);
            actors.extend(vendors.emulator(setup).map(|emulator| Actor {
                authority: endpoint.authority(),
                marks: marks.clone(),
                emulator: Mutex::new(emulator),
            }));
        }
    }
    let http = Arc::new(Emulators { clock: clock.clone(), actors });
    let env = Arc::new(Invented { variables });
    Ok(Host {
        clock,
        http,
        prober: Arc::new(NoProber),
        resolver: env.clone(),
        env,
        worker: Arc::new(InPlace),
        seed: real.seed,
    })
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
            if let Some(provider) = model.index_of_key(row.provider).filter(unnamed) {
                add(provider, &Target { scope: row.scope, text: row.text.to_owned() });
            }
        })?;
    }
    let of_urls = |hosts: BTreeSet<String>| hosts.into_iter().map(HostPattern::from_checked).collect();
    let named = model.providers.iter().map(|config| config.hosts.clone());
    Ok(named.zip(hosts).map(|(named, hosts)| if named.is_empty() { of_urls(hosts) } else { named }).collect())
}

/// Texts that tell the accounts of a rehearsal apart at an endpoint that several providers share.
fn marks_of(credentials: &Credentials) -> Vec<String> {
    match credentials {
        Credentials::Headers(_) => Vec::new(),
        Credentials::Fields(fields) => fields.iter().map(|(_, value)| value.expose().to_owned()).collect(),
    }
}

fn invent(
    index: usize,
    prefix: &str,
    scheme: CredentialScheme,
    variables: &mut HashMap<String, String>,
) -> Credentials {
    let CredentialScheme::Fields { fields, .. } = scheme else {
        return Credentials::Headers(Vec::new());
    };
    let value = |field: &'static CredentialField| {
        let value = format!("REHEARSAL-{}-{index}-END", field.name);
        variables.insert(format!("{prefix}{}", field.variable), value.clone());
        (field.name, Secret::new(value))
    };
    Credentials::Fields(fields.iter().map(value).collect())
}

struct Actor {
    authority: String,
    marks: Vec<String>,
    emulator: Mutex<Box<dyn Emulator>>,
}

impl Actor {
    /// Whether a request to its address is its provider's, and not another's that shares the address.
    fn is_meant(&self, request: &Request) -> bool {
        if self.marks.is_empty() {
            return self.play().expects(request);
        }
        let named = |text: &str| self.marks.iter().any(|mark| text.contains(mark.as_str()));
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
