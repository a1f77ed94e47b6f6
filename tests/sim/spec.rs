//! The providers of a world: what they are to the engine, and the vendors that play them.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use freshen::core::collapse::Collapse;
use freshen::core::contract::{Credentials, OptionValue, Options};
use freshen::core::guard::Guard;
use freshen::core::http::Endpoint;
use freshen::core::model::{
    CredentialSource, Entry, HostPattern, Limits, Manifest, Matched, Model, OnNew, OnRemoved, Place, Priority,
    ProviderConfig,
};
use freshen::core::owners::TreePath;
use freshen::core::secret::Secret;
use freshen::core::target::{ContentHash, Scope, Target};
use freshen::provider;
use freshen::rehearse::{Setup, emulator};

use crate::planted::{Bug, adapter};
use crate::vendors::{Actor, Key, mark};

const KINDS: [&str; 6] = ["tencent-cdn", "tencent-vod", "alibaba-vod", "huawei-vod", "qcloud-cdn", "http-purge"];
const PROJECT: &str = "0123456789abcdef0123456789abcdef";

/// A provider as the seed has it.
#[derive(Clone)]
pub(crate) struct Spec {
    pub(crate) kind: &'static str,
    /// Whose account and endpoints it uses: its own index, or that of another provider.
    pub(crate) account: usize,
    pub(crate) endpoints: usize,
    pub(crate) require: usize,
    pub(crate) batch: usize,
    pub(crate) rate: u32,
    pub(crate) quota: Option<u64>,
    /// The vendor enforces the limits; else only the simulation watches them.
    pub(crate) strict: bool,
}

impl Spec {
    pub(crate) fn draw(rng: &mut Rng, index: usize) -> Self {
        let kind = KINDS[rng.usize(..KINDS.len())];
        let endpoints = if kind == "http-purge" { rng.usize(1..=3) } else { 1 };
        Self {
            kind,
            account: index,
            endpoints,
            require: rng.usize(1..=endpoints),
            batch: if kind == "http-purge" { 1 } else { rng.usize(2..=5) },
            rate: [1, 2, 5, 20, 60][rng.usize(..5)],
            quota: rng.bool().then(|| rng.u64(8..40)),
            strict: rng.bool(),
        }
    }

    pub(crate) fn is_cloud(&self) -> bool {
        self.kind != "http-purge"
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
            kind: adapter(provider::find(self.kind).expect("a kind"), bug),
            hosts: Vec::new(),
            endpoints: (0..self.endpoints).map(|number| self.endpoint(number)).collect(),
            require: Some(self.require),
            options: Options(BTreeMap::from([("project_id".to_owned(), OptionValue::Text(PROJECT.to_owned()))])),
            limits: Limits {
                urls_per_day: self.quota,
                calls_per_second: Some(engine_rate),
                urls_per_call: Some(engine_batch),
                quota_day_offset_minutes: None,
            },
            ignore_query: false,
            account: None,
            credentials: CredentialSource::Environment { prefix: format!("KEY{}_", self.account) },
            place: Place::default(),
        }
    }

    pub(crate) fn credentials(&self) -> Credentials {
        if !self.is_cloud() {
            return Credentials::Headers(Vec::new());
        }
        let secret = Secret::new(format!("secret-of-KEY{}", self.account));
        Credentials::Keys { id: Secret::new(format!("KEY{}", self.account)), secret, token: None }
    }
}

pub(crate) fn text_of(key: Key, spec: &Spec, poison: bool) -> String {
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
            }
            continue;
        }
        let config = spec.config(index, None);
        for number in 0..spec.endpoints {
            let mut setup = Setup::of(&config, &spec.endpoint(number), spec.credentials());
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
                        calls_per_second: 1_000_000,
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
                emulator: emulator(setup).expect("an emulator"),
                poison: if spec.is_cloud() { BTreeSet::new() } else { poison.clone() },
                batch: spec.batch,
                rate: spec.rate,
                at_once: if two_runners || collapses { 2 * at_once } else { at_once },
                quota: spec.quota.filter(|_| watched),
                paced: !two_runners,
                seen: 0,
                flights: 0,
                requests: 0,
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
}

/// A manifest that lists these.
pub(crate) fn model(
    specs: &[Spec],
    texts: &BTreeMap<Key, String>,
    listed: &BTreeMap<Key, String>,
    policy: Policy,
    bug: Option<Bug>,
) -> Model {
    let entry = |(key, hash): (&Key, &String)| Entry {
        provider: key.0,
        target: Target::url(&texts[key]),
        hash: ContentHash::from_canonical(hash.clone()),
        priority: [Priority::High, Priority::Normal, Priority::Normal, Priority::Low][key.1 % 4],
        manifests: vec![0],
        place: Place::default(),
        matched: Matched::Host,
    };
    let entries = listed.iter().map(entry).collect();
    let manifest = Manifest {
        name: "site".to_owned(),
        path: "site.yaml".to_owned(),
        tree: TreePath { root: "/site".to_owned(), path: "site.yaml".to_owned() },
        namespace: None,
        on_new: if policy.adopts { OnNew::Adopt } else { OnNew::Purge },
        on_removed: if policy.forgets { OnRemoved::Forget } else { OnRemoved::Purge },
        // A whole host is purged only where somebody set a limit for it.
        guard: Guard { max_purges: policy.collapse.map(|_| u64::MAX), ..Guard::default() },
        collapse: policy.collapse.map(|above| Collapse { directory: "/".to_owned(), above }).into_iter().collect(),
    };
    let providers = specs.iter().enumerate().map(|(index, spec)| spec.config(index, bug)).collect();
    Model { providers, manifests: vec![manifest], entries }
}
