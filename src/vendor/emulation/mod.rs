//! Strict emulators of the vendors' purge APIs and of a purging HTTP cache: request in, response out.
//!
//! They take nothing on trust: signatures are computed again over the received bytes, and limits, quotas and hosts
//! are enforced with the vendors' own codes and envelopes. Batches are all or nothing. Questions about quotas and tasks
//! are answered from what the account did. They do no I/O and read no clock; ids come from counters, so equal inputs give
//! equal answers.

use std::collections::BTreeMap;

use crate::core::contract::{Credentials, Options};
use crate::core::http::{Endpoint, Request, Response};
use crate::core::model::{HostPattern, OperationLimits, ProviderConfig};
use crate::core::target::{Scope, Target};
use crate::core::time::Timestamp;

pub(super) mod account;
pub(super) mod limits;
pub(super) mod wire;

/// The account or cache that an emulator plays.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Kind of provider, as in manifests.
    pub kind: String,
    /// Where requests must be addressed to; its path prefix is part of the paths that are answered.
    pub endpoint: Endpoint,
    /// The only credentials that are accepted.
    pub credentials: Credentials,
    /// Options of the kind. Read here: `project_id` of `huawei-vod`; `method` and `expect_status` of `http-purge`.
    pub options: Options,
    /// Hosts that the account owns.
    pub hosts: Vec<HostPattern>,
    /// Limits by scope; a scope that is missing here cannot be purged.
    pub limits: BTreeMap<Scope, OperationLimits>,
    /// What becomes of purges once they are accepted.
    pub afterwards: Afterwards,
}

/// What becomes of accepted purges, as queries about their tasks find it.
#[derive(Clone, Debug)]
pub struct Afterwards {
    /// Time from acceptance to the end of a task, in milliseconds.
    pub takes_ms: i64,
    /// Targets whose first purge fails after it was accepted.
    pub failing: Vec<String>,
    /// Targets of other clients of the account that count against its quota, in each share and on each day.
    pub others: u64,
}

impl Default for Afterwards {
    /// As the vendors put it: minutes.
    fn default() -> Self {
        Self { takes_ms: 5 * 60 * 1000, failing: Vec::new(), others: 0 }
    }
}

impl Setup {
    /// The account that a configured provider describes, at one of its endpoints.
    pub fn of(config: &ProviderConfig, endpoint: &Endpoint, credentials: Credentials) -> Self {
        let limits = Scope::ALL.into_iter().filter_map(|scope| Some((scope, config.limits_of(scope)?)));
        Self {
            kind: config.kind.capabilities().kind.to_owned(),
            endpoint: endpoint.clone(),
            credentials,
            options: config.options.clone(),
            hosts: config.hosts.clone(),
            limits: limits.collect(),
            afterwards: Afterwards::default(),
        }
    }
}

/// One target that was purged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purged {
    /// When the call was answered.
    pub at: Timestamp,
    /// Area named in the call; empty if none was.
    pub area: String,
    /// What was purged, as it was sent.
    pub target: Target,
    /// Vendor task id, where the vendor has them.
    pub task_id: Option<String>,
}

/// An emulated API or cache.
pub trait Emulator: Send {
    /// Whether `request` is one that it was set up for, where several share an address and no key tells them apart.
    fn expects(&self, _request: &Request) -> bool {
        true
    }

    /// Answers `request` as the vendor would at the moment `now` of the vendor's clock.
    fn answer(&mut self, request: &Request, now: Timestamp) -> Response;

    /// Everything that was purged, in order.
    fn log(&self) -> &[Purged];
}
