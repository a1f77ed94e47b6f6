//! The providers of a world: what they are to the engine, and the vendors that play them.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use freshen::core::contract::{CredentialScheme, Credentials, Rate};
use freshen::core::http::Endpoint;
use freshen::core::model::{Collapse, Guard, Limit, TreePath};
use freshen::core::model::{
    CredentialSource, Entry, HostPattern, Limits, Location, Manifest, Matched, Model, OnNew, OnRemoved, Priority,
    ProviderConfig,
};
use freshen::core::target::{ContentHash, Scope, Target};
use freshen::vendor::VENDORS;
use freshen::vendor::emulation::Setup;

use crate::files::{self, Files, Paths};
use crate::planted::{Bug, adapter};
use crate::vendor;
use crate::vendors::{Actor, Key, asset_id, mark};

/// What issues temporary keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Issuer {
    Program,
    Variables,
}

/// Id, secret and token of an account's keys.
pub(crate) fn keys(account: &str, issue: u64) -> [String; 3] {
    let id = if issue == 0 { account.to_owned() } else { format!("{account}i{issue}") };
    [id.clone(), format!("secret-of-{id}"), format!("token-of-{id}")]
}

/// The keys of a provider of `kind` with this id.
pub(crate) fn issued(kind: &str, id: &str) -> Credentials {
    let [id, secret, token] = keys(id, 0);
    let token = id.contains('i').then_some(token);
    vendor::credentials(VENDORS.find(kind).expect("a kind"), (&id, &secret, token.as_deref()))
}

/// A provider as the seed has it.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) kind: &'static str,
    /// Whose account and endpoints it uses: its own index, or that of another provider.
    pub(crate) account: usize,
    pub(crate) endpoints: usize,
    /// Which of them are configured at the moment.
    pub(crate) active: Vec<usize>,
    /// How often its keys were replaced by those of another account.
    pub(crate) rotation: u32,
    pub(crate) require: usize,
    pub(crate) batch: usize,
    pub(crate) rate: u32,
    pub(crate) quota: Option<u64>,
    /// Some assets are named by the vendor's ids.
    pub(crate) ids: bool,
    /// Its keys are issued for a while: by a program that is asked, or to variables before each run.
    pub(crate) temporary: Option<Issuer>,
    /// The vendor enforces the limits; else only the simulation watches them.
    pub(crate) strict: bool,
}

fn has_account(kind: &str) -> bool {
    VENDORS.find(kind).is_some_and(|kind| kind.capabilities().credentials != CredentialScheme::Headers)
}

impl Spec {
    pub(crate) fn draw(rng: &mut Rng, index: usize) -> Self {
        let kinds = VENDORS.names();
        let kind = kinds[rng.usize(..kinds.len())];
        let is_cache = !has_account(kind);
        let endpoints = if is_cache { rng.usize(1..=3) } else { 1 };
        Self {
            kind,
            account: index,
            endpoints,
            active: (0..endpoints).collect(),
            rotation: 0,
            require: rng.usize(1..=endpoints),
            batch: if is_cache { 1 } else { rng.usize(2..=5) },
            rate: [1, 2, 5, 20, 60][rng.usize(..5)],
            quota: rng.bool().then(|| rng.u64(8..40)),
            ids: false,
            temporary: None,
            strict: rng.bool(),
        }
    }

    pub(crate) fn is_cloud(&self) -> bool {
        has_account(self.kind)
    }

    /// Whether it purges assets by the vendor's ids.
    pub(crate) fn takes_ids(&self) -> bool {
        VENDORS.find(self.kind).is_some_and(|kind| kind.capabilities().operation(Scope::AssetId).is_some())
    }

    pub(crate) fn endpoint(&self, number: usize) -> Endpoint {
        let port = u16::try_from(6000 + self.account * 10 + number).expect("a port");
        Endpoint {
            tls: false,
            host: "127.0.0.1".to_owned(),
            port: Some(port),
            path_prefix: String::new(),
            address: None,
        }
    }

    pub(crate) fn config(&self, index: usize, bug: Option<Bug>) -> ProviderConfig {
        let engine_batch = if bug == Some(Bug::BatchIgnored) { 1000 } else { self.batch };
        let engine_rate = if bug == Some(Bug::PaceIgnored) { 1000 } else { self.rate };
        ProviderConfig {
            name: format!("p{index}"),
            kind: adapter(VENDORS.find(self.kind).expect("a kind"), bug),
            hosts: Vec::new(),
            endpoints: self.active.iter().map(|number| self.endpoint(*number)).collect(),
            require: Some(self.require),
            options: vendor::options(VENDORS.find(self.kind).expect("a kind")),
            limits: Limits {
                urls_per_day: self.quota,
                calls_per_second: Some(engine_rate),
                urls_per_call: Some(engine_batch),
                quota_day_offset_minutes: None,
            },
            ignore_query: false,
            upstream: None,
            account: None,
            credentials: self.source(),
            place: Location::default(),
        }
    }

    fn source(&self) -> CredentialSource {
        let name = self.key_name();
        match self.temporary {
            Some(Issuer::Program) => CredentialSource::Command(vec![name, self.kind.to_owned()]),
            Some(Issuer::Variables) => CredentialSource::Environment { prefix: format!("{name}t_") },
            None => CredentialSource::Environment { prefix: format!("{name}_") },
        }
    }

    /// The keys of an issue; 0 are those that last.
    pub(crate) fn credentials(&self, issue: u64) -> Credentials {
        issued(self.kind, &keys(&self.key_name(), issue)[0])
    }

    fn key_name(&self) -> String {
        if self.rotation == 0 {
            format!("KEY{}", self.account)
        } else {
            format!("KEY{}r{}", self.account, self.rotation)
        }
    }

    /// Somebody configures it otherwise.
    pub(crate) fn change(&mut self, dice: &mut Rng) {
        if self.endpoints > 1 && dice.u8(..4) > 0 {
            if dice.bool() {
                self.active = (0..self.endpoints).filter(|_| dice.bool()).collect();
            }
            if self.active.is_empty() {
                self.active.push(dice.usize(..self.endpoints));
            }
            self.require = dice.usize(1..=self.active.len());
        } else if self.is_cloud() && dice.bool() {
            self.rotation += 1;
        } else if !self.strict {
            // What the vendor enforces stays as it is.
            self.quota = dice.bool().then(|| dice.u64(8..40));
        }
    }
}

/// A third of what such a provider carries is named by ids.
fn scope_of(key: Key, spec: &Spec) -> Scope {
    if spec.ids && key.1.is_multiple_of(3) { Scope::AssetId } else { Scope::Url }
}

/// Its place in the order of purges.
pub(crate) fn priority_of(key: Key) -> Priority {
    [Priority::High, Priority::Normal, Priority::Normal, Priority::Low][key.1 % 4]
}

/// What those that share an account may use of its quota at most, which is what the vendor enforces.
fn most_of(specs: &[Spec], account: usize) -> Option<u64> {
    let sharing = specs.iter().filter(|spec| spec.account == account);
    sharing.map(|spec| spec.quota.unwrap_or(u64::MAX)).max().filter(|most| *most < u64::MAX)
}

pub(crate) fn text_of(key: Key, spec: &Spec, poison: bool) -> String {
    if scope_of(key, spec) == Scope::AssetId {
        return asset_id(key);
    }
    let scheme = if spec.is_cloud() { "https" } else { "http" };
    let host = if poison { "bad" } else { "h" };
    format!("{scheme}://{host}{}.p{}.example/{}.js", key.1 % 2, key.0, mark(key))
}

/// The vendors. `collapses`: calls of URLs and of directories may be under way at once.
pub(crate) fn actors(
    specs: &[Spec],
    poison: &BTreeSet<Key>,
    unwatched: bool,
    two_runners: bool,
    collapses: bool,
) -> Vec<Actor> {
    let mut actors: Vec<Actor> = Vec::new();
    for (index, spec) in specs.iter().enumerate() {
        if spec.account != index {
            for actor in actors.iter_mut().filter(|actor| actor.providers.contains(&spec.account)) {
                actor.providers.push(index);
                actor.quotas.extend(spec.quota.filter(|_| !spec.strict && !unwatched).map(|most| (index, most)));
            }
            continue;
        }
        let config = Spec { quota: most_of(specs, index), ..spec.clone() }.config(index, None);
        for number in 0..spec.endpoints {
            let mut setup = Setup::of(&config, &spec.endpoint(number), spec.credentials(0));
            let owned =
                |provider| (0..2).map(move |host| HostPattern::from_checked(format!("h{host}.p{provider}.example")));
            setup.hosts = specs
                .iter()
                .enumerate()
                .filter(|(_, other)| other.account == index)
                .flat_map(|(other, _)| owned(other))
                .collect();
            let at_once = setup.limits[&Scope::Url].calls_in_flight;
            if !spec.strict {
                for limits in setup.limits.values_mut() {
                    *limits = freshen::core::model::OperationLimits {
                        targets_per_call: 1000,
                        calls: Rate::per_second(1_000_000),
                        bytes_per_call: None,
                        hosts_per_call: None,
                        targets: None,
                        targets_per_day: None,
                        calls_in_flight: 1000,
                    };
                }
            }
            let watched = !spec.strict && !unwatched && number == 0;
            actors.push(Actor {
                authority: spec.endpoint(number).authority(),
                endpoint: number,
                providers: vec![index],
                is_cloud: spec.is_cloud(),
                emulator: VENDORS.emulator(setup.clone()).expect("an emulator"),
                setup,
                spec: spec.clone(),
                others: BTreeMap::new(),
                poison: if spec.is_cloud() { BTreeSet::new() } else { poison.clone() },
                batch: spec.batch,
                rate: spec.rate,
                at_once: if two_runners || collapses { 2 * at_once } else { at_once },
                quotas: spec.quota.filter(|_| watched).map(|most| (index, most)).into_iter().collect(),
                paced: !two_runners,
                in_flight: 0,
                requests: 0,
                purges: 0,
                recent: Default::default(),
                used: BTreeMap::new(),
            });
        }
    }
    actors
}

/// What the manifest says of targets that come, go or are many.
#[derive(Clone, Copy, Default)]
pub(crate) struct Policy {
    pub(crate) adopts: bool,
    pub(crate) forgets: bool,
    /// Hosts are purged as a whole in place of more URLs than that.
    pub(crate) collapse: Option<u64>,
    /// Most purges of a run that nobody allowed.
    pub(crate) guard: Option<u64>,
    /// The manifest may lose all of its targets.
    pub(crate) allows_removals: bool,
}

/// A manifest that lists these.
pub(crate) fn model(
    specs: &[Spec],
    texts: &BTreeMap<Key, String>,
    listed: &BTreeMap<Key, String>,
    (files, paths, place): (&Files, Paths, files::Place),
    policy: Policy,
    bug: Option<Bug>,
) -> Model {
    let entry = |(key, hash): (&Key, &String)| Entry {
        provider: key.0,
        target: Target { scope: scope_of(*key, &specs[key.0]), text: texts[key].clone() },
        hash: ContentHash::from_canonical(hash.clone()),
        priority: if bug == Some(Bug::PriorityOfTheFirstAlone) && key.0 > 0 {
            Priority::Normal
        } else {
            priority_of(*key)
        },
        manifests: files.listing(paths, *key),
        place: Location::default(),
        matched: Matched::Host,
    };
    let entries = listed.iter().map(entry).collect();
    let manifest = |path: String| Manifest {
        name: path.clone(),
        path: place.written(&path),
        tree: TreePath { root: place.root().to_owned(), path, link: None },
        namespace: None,
        on_new: if policy.adopts { OnNew::Adopt } else { OnNew::Purge },
        on_removed: if policy.forgets { OnRemoved::Forget } else { OnRemoved::Purge },
        // A whole host is purged only where somebody set a limit for it.
        guard: Guard {
            max_purges: policy.collapse.map(|_| u64::MAX).or(policy.guard.filter(|_| bug != Some(Bug::GuardSleeps))),
            max_removed: policy.allows_removals.then_some(Limit::Percent(100)),
            ..Guard::default()
        },
        collapse: policy.collapse.map(|above| Collapse { directory: "/".to_owned(), above }).into_iter().collect(),
        terms: None,
    };
    let providers = specs.iter().enumerate().map(|(index, spec)| spec.config(index, bug)).collect();
    let manifests = files.paths(paths).into_iter().map(manifest).collect();
    Model { providers, manifests, entries, proof_terms: Vec::new() }
}
