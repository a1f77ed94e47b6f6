//! What an adapter of a vendor can do.

use super::contract::{Account, Call, CallError, Capabilities, Credentials, Operation, Options, Reply, Stamp};
use super::http::{Request, Response};
use super::query::{QuotaQuery, TaskQuery};
use super::target::{Scope, Target};

/// A vendor adapter: a value without state. No clock, no network, no retry, no logging.
pub trait Provider: Sync {
    /// Constant data about the kind.
    fn capabilities(&self) -> &'static Capabilities;

    /// Whether it keeps copies of a target apart by request headers, and each is purged for itself.
    fn has_variants(&self) -> bool {
        false
    }

    /// Other names by which people may look for the kind.
    fn also_called(&self) -> &'static [&'static str] {
        &[]
    }

    /// Problems of the options that their shapes cannot express: (key, what is wrong and what to do).
    fn check_options(&self, options: &Options) -> Vec<(&'static str, String)> {
        let _ = options;
        Vec::new()
    }

    /// Why the vendor would refuse this target in any account; checked before anything is sent.
    fn check_target(&self, target: &Target, options: &Options) -> Result<(), String> {
        let _ = options;
        self.capabilities().check_target(target)
    }

    /// What of a target goes to the vendor, where that is less than the whole: targets with the same one travel once, and what
    /// becomes of that one becomes of all. For vendors that know no host, scheme or query.
    fn wire_key(&self, target: &Target, options: &Options) -> Option<String> {
        let _ = (target, options);
        None
    }

    /// Which share of the account's quota calls with these options draw on, for example an area; empty for the only one.
    fn quota_area(&self, options: &Options) -> String {
        let _ = options;
        String::new()
    }

    /// All shares that [`Provider::quota_area`] may name. A call that draws on none of its own draws on each.
    fn quota_areas(&self) -> &'static [&'static str] {
        &[]
    }

    /// The operation that purges everything below a URL, if there is one with these options.
    fn directories(&self, options: &Options) -> Option<&'static Operation> {
        let _ = options;
        self.capabilities().operation(Scope::Directory)
    }

    /// Whether each address that the name of an endpoint has is a cache of its own, as opposed to one service behind all.
    fn has_cache_per_address(&self, options: &Options) -> bool {
        let _ = options;
        false
    }

    /// Builds and signs the request. Everything the signature depends on is an argument.
    ///
    /// # Errors
    /// A text for people if credentials of the wrong sort were given.
    fn encode(
        &self,
        call: &Call,
        account: &Account,
        credentials: &Credentials,
        stamp: &Stamp,
    ) -> Result<Request, String>;

    /// Reads the answer to `call`. Only the vendor's documented acceptance is a [`Reply`]; it names the
    /// targets that the vendor refused beside those it accepted.
    ///
    /// # Errors
    /// Everything else, by class.
    fn decode(&self, call: &Call, account: &Account, response: &Response) -> Result<Reply, CallError>;

    /// The query of the quotas that are left, if the vendor has one.
    fn quota_query(&self) -> Option<&dyn QuotaQuery> {
        None
    }

    /// The query of what became of tasks, if the vendor has one.
    fn task_query(&self) -> Option<&dyn TaskQuery> {
        None
    }
}
