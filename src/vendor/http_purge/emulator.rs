//! A purging HTTP cache: one purge method, success whether or not the object was cached.
//!
//! It cannot know a URL's scheme: purges are logged with that of `X-Forwarded-Proto`, else as `http`.

use std::collections::BTreeSet;

use crate::core::contract::{Credentials, Rate};
use crate::core::http::{Request, Response};
use crate::core::target::{Scope, Target};
use crate::core::time::Timestamp;
use crate::vendor::emulation::account::{Account, Purge};
use crate::vendor::emulation::wire;
use crate::vendor::emulation::{Emulator, Purged, Setup};

const DEFAULT_METHOD: &str = "PURGE";

/// It has no quota of its own.
const QUOTA_DAY_OFFSET_MINUTES: i32 = 0;

/// The account, or the cache, that `setup` describes.
pub(in crate::vendor) fn emulator(setup: Setup) -> Box<dyn Emulator> {
    Box::new(HttpPurgeEmulator::new(setup))
}

struct HttpPurgeEmulator {
    account: Account,
    gone: BTreeSet<String>,
}

impl HttpPurgeEmulator {
    fn new(setup: Setup) -> Self {
        Self { account: Account::new(setup, QUOTA_DAY_OFFSET_MINUTES), gone: BTreeSet::new() }
    }

    fn method(&self) -> &str {
        self.account.setup.options.text("method").unwrap_or(DEFAULT_METHOD)
    }

    /// Status and text of the answer; what was purged is remembered by host and path.
    fn purge(&mut self, request: &Request, now: Timestamp) -> (u16, &'static str) {
        let setup = &self.account.setup;
        if request.method != self.method() {
            return (405, "method not allowed");
        }
        if let Credentials::Headers(expected) = &setup.credentials
            && !expected.iter().all(|(name, value)| request.header(name) == Some(value.expose()))
        {
            return (403, "forbidden");
        }
        let Some(path) = request.path_and_query.strip_prefix(setup.endpoint.path_prefix.as_str()) else {
            return (403, "forbidden");
        };
        let key = format!("{}{path}", request.header("Host").unwrap_or_default());
        let rate = self.account.limits(Scope::Url).map_or(Rate::per_second(0), |limits| limits.calls);
        if self.account.admit("purge", rate, now).is_err() {
            return (429, "too many requests");
        }
        let was_cached = self.gone.insert(key.clone());
        let scheme = request.header("X-Forwarded-Proto").unwrap_or("http");
        let target = Target::url(format!("{scheme}://{key}"));
        self.account.purge(Purge { area: "", shares: &[], targets: vec![(target, None)] }, now);
        if was_cached { (self.status(200), "purged") } else { (self.status(404), "not in cache") }
    }

    /// The usual status, or one that is expected in its place: only the configuration says what the real cache says.
    fn status(&self, usual: u16) -> u16 {
        let expected = self.account.setup.options.integers("expect_status");
        if expected.contains(&u64::from(usual)) {
            return usual;
        }
        expected.first().and_then(|status| u16::try_from(*status).ok()).unwrap_or(usual)
    }
}

impl Emulator for HttpPurgeEmulator {
    fn expects(&self, request: &Request) -> bool {
        let host = request.header("Host").unwrap_or_default();
        request.endpoint == self.account.setup.endpoint
            && request.method == self.method()
            && self.account.owns(&Target::url(format!("http://{host}/")))
    }

    fn answer(&mut self, request: &Request, now: Timestamp) -> Response {
        if let Some(defect) = wire::http_defect(request) {
            return wire::plain(400, defect, now);
        }
        let (status, text) = self.purge(request, now);
        let mut response = wire::plain(status, text, now);
        if status == 429 {
            response.headers.push(("Retry-After".to_owned(), "1".to_owned()));
        }
        response
    }

    fn log(&self) -> &[Purged] {
        self.account.log()
    }
}
