//! Sends queries to providers: what is left of their quotas, what became of accepted purges.
//!
//! A query is sent once, at its own pace, and costs no quota. It decides nothing; the caller does.

use std::collections::BTreeMap;

use crate::core::budget::Pace;
use crate::core::contract::{Account, CallError, Credentials, ErrorClass, Rate, Stamp};
use crate::core::http::{Endpoint, Request, Response, TransportFailure, TransportFailureKind};
use crate::core::model::{Model, ProviderConfig};
use crate::core::query::{QueryContext, QuerySpec, QuotaFound, TaskCursor, TaskResult};
use crate::core::text::one_line;
use crate::core::time::Timestamp;
use crate::engine::redact::Redactor;
use crate::engine::request::{self, CallContext, Hide, RequestError, refusal};
use crate::host::credentials::{CredentialError, CredentialStore, account_of};
use crate::host::{Host, Timeouts};

/// Pages of one task that are read at most, so that an answer that never ends does.
const MOST_PAGES: u32 = 1000;

/// Asks on behalf of one command.
pub struct Asker<'a> {
    host: &'a Host,
    model: &'a Model,
    credentials: &'a CredentialStore,
    timeouts: Timeouts,
    redactor: Redactor,
    nonces: fastrand::Rng,
    paces: BTreeMap<(String, &'static str), Pace>,
}

/// What a query came to.
pub struct Answered<T> {
    /// The answer, or why there is none; credentials are hidden in both.
    pub answer: Result<T, CallError>,
    /// How far the local clock is ahead of the provider's, in seconds, by the `Date` of an answer of any sort; dates
    /// count whole seconds.
    pub clock_ahead_s: Option<i64>,
}

impl<'a> Asker<'a> {
    /// An asker for the providers of `model`.
    pub fn new(host: &'a Host, model: &'a Model, credentials: &'a CredentialStore, timeouts: Timeouts) -> Self {
        // Neither those of the purges of the same run nor those of a run before: vendors refuse a nonce that comes twice.
        let seed = host.seed ^ 0x6173_6b65_6421 ^ host.clock.now().tick.ms();
        let nonces = fastrand::Rng::with_seed(seed);
        let (redactor, paces) = (Redactor::default(), BTreeMap::new());
        Self { host, model, credentials, timeouts, redactor, nonces, paces }
    }

    /// Whether a provider has credentials that can be sent.
    ///
    /// # Errors
    /// Why there are none.
    pub async fn credentials(&self, provider: usize) -> Result<(), CredentialError> {
        let config = &self.model.providers[provider];
        self.credentials.get(config, self.host.clock.now().wall).await.map(drop)
    }

    /// The quotas of a provider's account as the vendor counts them.
    ///
    /// # Errors
    /// Within the answer: classified as refusals of purges are; [`ErrorClass::Config`] if the vendor has no such query.
    pub async fn quota(&mut self, provider: usize) -> Answered<Vec<QuotaFound>> {
        let ProviderConfig { kind, endpoints, .. } = &self.model.providers[provider];
        let (Some(query), Some(endpoint)) = (kind.quota_query(), endpoints.first()) else { return not_asked() };
        let encode = |context: &QueryContext<'_>| query.encode_quota(context);
        let decode = |account: &Account, response: &Response, hide: &Hide<'_>| {
            let mut found = query.decode_quota(account, response)?;
            for quota in &mut found {
                hide(&mut quota.area);
            }
            Ok(found)
        };
        self.ask((provider, endpoint), query.quota_spec(), encode, decode).await
    }

    /// What time it is for the provider that gave an answer; where that does not say, for us.
    pub fn time_of<T>(&self, answered: &Answered<T>) -> Timestamp {
        let ahead_ms = answered.clock_ahead_s.unwrap_or(0).saturating_mul(1000);
        self.host.clock.now().wall.plus_ms(ahead_ms.saturating_neg())
    }

    /// The results of a task, all pages of them.
    ///
    /// # Errors
    /// As [`Asker::quota`]; also where the pages do not end, since what they left out is not known.
    pub async fn task(&mut self, provider: usize, id: &str) -> Result<Vec<TaskResult>, CallError> {
        let ProviderConfig { kind, endpoints, .. } = &self.model.providers[provider];
        let (Some(query), Some(endpoint)) = (kind.task_query(), endpoints.first()) else { return not_asked().answer };
        let mut results = Vec::new();
        for page in 0..MOST_PAGES {
            let cursor = TaskCursor { id, page, seen: results.len() as u64 };
            let encode = |context: &QueryContext<'_>| query.encode_task(cursor, context);
            let decode = |_: &Account, response: &Response, _: &Hide<'_>| query.decode_task(cursor, response);
            let found = self.ask((provider, endpoint), query.task_spec(), encode, decode).await.answer?;
            results.extend(found.results);
            if !found.more {
                return Ok(results);
            }
        }
        let message = format!("the results of the task do not end after {MOST_PAGES} pages");
        Err(refusal(ErrorClass::Unknown, "too many pages", message))
    }

    async fn ask<T>(
        &mut self,
        (provider, endpoint): (usize, &Endpoint),
        spec: QuerySpec,
        encode: impl FnOnce(&QueryContext<'_>) -> Result<Request, String>,
        decode: impl FnOnce(&Account, &Response, &Hide<'_>) -> Result<T, CallError>,
    ) -> Answered<T> {
        let config = &self.model.providers[provider];
        self.keep_pace(provider, spec).await;
        let nonce = self.nonces.u128(..);
        let Self { host, credentials, timeouts, redactor, .. } = &*self;
        let line = CallContext { host, credentials, config, redactor, timeouts: *timeouts };
        let build = |account: &Account, credentials: &Credentials, stamp: &Stamp| {
            encode(&QueryContext { endpoint, account, credentials, stamp })
        };
        let mut server_time = None;
        let read = |account: &Account, response: &Response, hide: &Hide<'_>| {
            server_time = response.header("date").and_then(Timestamp::from_http_date);
            decode(account, response, hide)
        };
        let asked = request::send_request(line, nonce, build, read).await;
        let now = self.host.clock.now().wall;
        let answer = asked.map_err(|trouble| match trouble {
            RequestError::Refused(error, _) => error,
            RequestError::Failed(failure) => failed(&failure, config),
        });
        Answered { answer, clock_ahead_s: server_time.map(|server| now.unix_seconds() - server.unix_seconds()) }
    }

    /// Waits for the turn of one more query to the provider's account.
    async fn keep_pace(&mut self, provider: usize, spec: QuerySpec) {
        let config = &self.model.providers[provider];
        let found = self.credentials.get(config, self.host.clock.now().wall).await.ok();
        let account = found.map(|found| account_of(&self.model.providers, provider, &found));
        let own = config.limits.calls_per_second.map(Rate::per_second);
        let rate = own.map_or(spec.calls, |own| own.at_most(spec.calls));
        let key = (account.unwrap_or_else(|| config.name.clone()), spec.name);
        let start = self.host.clock.now().tick;
        let pace = self.paces.entry(key).or_insert_with(|| Pace::new(rate, start));
        pace.at_most(rate, None);
        self.host.clock.sleep_until(pace.ready_at(1)).await;
        pace.take(1, self.host.clock.now().tick);
    }
}

fn not_asked<T>() -> Answered<T> {
    let error = refusal(ErrorClass::Config, "not asked", "the vendor has no such query".into());
    Answered { answer: Err(error), clock_ahead_s: None }
}

/// Classes are those of purges that get no answer.
fn failed(failure: &TransportFailure, config: &ProviderConfig) -> CallError {
    let (class, code) = match failure.kind {
        TransportFailureKind::NotConnected => (ErrorClass::Transient, "no connection to"),
        TransportFailureKind::Unknown => (ErrorClass::Unknown, "no answer from"),
        TransportFailureKind::Tls => (ErrorClass::Config, "no trusted connection to"),
    };
    let endpoint = config.endpoints.first().map(ToString::to_string).unwrap_or_default();
    refusal(class, &format!("{code} {}", one_line(&endpoint, 200)), failure.message.clone())
}
