//! What the plan and the vendors agree on: capabilities as data, calls, replies and classified errors.

use std::collections::BTreeMap;

use super::http::Endpoint;
pub use super::rate::Rate;
use super::secret::Secret;
use super::target::{Scope, Target};
use super::text::is_unsafe;
use super::time::Timestamp;

/// What a provider kind can do and what its vendor allows. Constant data; figures come from the vendors' documentation.
#[derive(Debug)]
pub struct Capabilities {
    /// The word used in manifests.
    pub kind: &'static str,
    /// One line for people.
    pub summary: &'static str,
    /// A warning that is shown whenever the kind is configured.
    pub notice: Option<&'static str>,
    /// Where calls go by default, see [`Capabilities::endpoint_for`]. `{option}` is replaced by that option's value,
    /// `{option|text}` by `text` if the option is absent. `None`: `endpoints` must be given.
    pub default_endpoint: Option<&'static str>,
    /// How calls are authenticated.
    pub credentials: CredentialScheme,
    /// Options of the kind that stand beside the common keys.
    pub options: &'static [OptionSpec],
    /// Purge operations, at most one a scope.
    pub operations: &'static [Operation],
    /// Longest URL in bytes, where a figure is known.
    pub max_url_bytes: Option<usize>,
    /// Offset of the quota day from UTC, in minutes, unless a manifest says otherwise.
    pub quota_day_offset_minutes: i32,
    /// How long after its acceptance a purge is in effect everywhere, in milliseconds.
    pub effect_ms: u64,
}

impl Capabilities {
    /// The operation that purges targets of `scope`.
    pub fn operation(&self, scope: Scope) -> Option<&'static Operation> {
        self.operations.iter().find(|operation| operation.scope == scope)
    }

    /// The default endpoint with the options' values put in; `None` if the kind has no default.
    ///
    /// # Errors
    /// The key of the option that is needed and absent.
    pub fn endpoint_for(&self, options: &Options) -> Option<Result<String, &'static str>> {
        let template = self.default_endpoint?;
        let Some((before, rest)) = template.split_once('{') else { return Some(Ok(template.to_owned())) };
        let (name, after) = rest.split_once('}')?;
        let (key, otherwise) = name.split_once('|').map_or((name, None), |(key, text)| (key, Some(text)));
        let value = options.text(key).or(otherwise);
        Some(value.map(|value| format!("{before}{value}{after}")).ok_or(key))
    }
}

impl Capabilities {
    /// Why no vendor, or not this one, takes such a target: its scope, its length, or what could split it into two.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub fn check_target(&self, target: &Target) -> Result<(), String> {
        if self.operation(target.scope).is_none() {
            return Err(format!("{} cannot purge targets of the sort {}", self.kind, target.scope.word()));
        }
        // A second line of defence behind the manifest's own check: a line break would split one target into two.
        let splits = |c: char| c.is_control() || (c.is_whitespace() && (c != ' ' || target.scope == Scope::AssetId));
        if target.text.is_empty() || target.text.contains(splits) {
            return Err("a target is never empty and holds no line breaks or control characters".into());
        }
        match self.max_url_bytes {
            Some(most) if target.scope == Scope::Url && target.text.len() > most => {
                Err(format!("{} takes URLs of at most {most} bytes; this one has {}", self.kind, target.text.len()))
            }
            _ => Ok(()),
        }
    }
}

/// One purge operation and its documented limits.
#[derive(Debug)]
pub struct Operation {
    /// The vendor's name for it.
    pub name: &'static str,
    /// Name of the quota that it draws on, in the ledger and in what the vendor reports: that of the operation, unless one
    /// operation draws on several.
    pub quota: &'static str,
    /// What it purges.
    pub scope: Scope,
    /// Most targets in one call.
    pub targets_per_call: usize,
    /// Most bytes of a call's targets, each as a JSON text with a comma, where the vendor limits the size of a call.
    pub bytes_per_call: Option<usize>,
    /// Most hosts of a call's targets, where the vendor limits them.
    pub hosts_per_call: Option<usize>,
    /// How often it may be called.
    pub calls: Rate,
    /// How many targets may be sent, where the vendor counts them besides.
    pub targets: Option<Rate>,
    /// Most targets a quota day; `None` where the vendor sets no limit.
    pub targets_per_day: Option<u64>,
    /// For how many quota days that is, today included: 1, or more where the vendor counts over a longer time.
    pub quota_days: usize,
    /// What a target costs, where the vendor charges for it.
    pub cost: Option<Cost>,
    /// How many calls may be under way at once.
    pub calls_in_flight: usize,
}

/// What a vendor charges for purges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Millionths of the currency that a target costs.
    pub micros: u64,
    /// The vendor's currency, as ISO 4217 has it.
    pub currency: &'static str,
    /// Targets of a calendar month that cost nothing.
    pub free_a_month: u64,
}

impl Operation {
    /// The least that a vendor allows: one target a call, a call a second, one at a time. Quotas are counted by its name.
    pub const fn plain(name: &'static str, scope: Scope) -> Self {
        Self {
            name,
            quota: name,
            scope,
            targets_per_call: 1,
            bytes_per_call: None,
            hosts_per_call: None,
            calls: Rate::per_second(1),
            targets: None,
            targets_per_day: None,
            quota_days: 1,
            cost: None,
            calls_in_flight: 1,
        }
    }
}

/// An option of a kind: its key, shape and meaning.
#[derive(Debug)]
pub struct OptionSpec {
    /// Key in the manifest.
    pub key: &'static str,
    /// What the value looks like.
    pub shape: OptionShape,
    /// Whether the kind cannot do without.
    pub required: bool,
    /// Meaning, with the default.
    pub doc: &'static str,
}

/// Shapes of option values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionShape {
    /// Any text without control characters.
    Text,
    /// `true` or `false`.
    Bool,
    /// A whole number from 0.
    Integer,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A list of whole numbers from 0.
    IntegerList,
    /// Header names and values; `${NAME}` in a value stands for an environment variable.
    Headers,
}

impl OptionShape {
    /// In words, for people.
    pub fn words(self) -> String {
        match self {
            Self::Text => "text".into(),
            Self::Bool => "true or false".into(),
            Self::Integer => "whole number".into(),
            Self::OneOf(words) => words.join(" | "),
            Self::IntegerList => "list of whole numbers".into(),
            Self::Headers => "header names and values".into(),
        }
    }
}

/// Values of options, by key, as checked against their [`OptionSpec`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options(pub BTreeMap<String, OptionValue>);

/// One option's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OptionValue {
    /// Of `Text` and `OneOf`.
    Text(String),
    /// Of `Bool`.
    Bool(bool),
    /// Of `Integer`.
    Integer(u64),
    /// Of `IntegerList`.
    IntegerList(Vec<u64>),
    /// Of `Headers`: names with values as written, references not yet replaced.
    Headers(Vec<(String, String)>),
}

impl Options {
    /// Text of a `Text` or `OneOf` option.
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.0.get(key) {
            Some(OptionValue::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// Value of a `Bool` option.
    pub fn bool(&self, key: &str) -> Option<bool> {
        match self.0.get(key) {
            Some(OptionValue::Bool(value)) => Some(*value),
            _ => None,
        }
    }

    /// Value of an `Integer` option.
    pub fn integer(&self, key: &str) -> Option<u64> {
        match self.0.get(key) {
            Some(OptionValue::Integer(value)) => Some(*value),
            _ => None,
        }
    }

    /// Numbers of an `IntegerList` option; empty if absent.
    pub fn integers(&self, key: &str) -> &[u64] {
        match self.0.get(key) {
            Some(OptionValue::IntegerList(list)) => list,
            _ => &[],
        }
    }

    /// Pairs of a `Headers` option; empty if absent.
    pub fn headers(&self, key: &str) -> &[(String, String)] {
        match self.0.get(key) {
            Some(OptionValue::Headers(list)) => list,
            _ => &[],
        }
    }
}

/// How a kind's calls are authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialScheme {
    /// No account; configured headers may hold secrets.
    Headers,
    /// An account: fields that variables, a file or a program give alike.
    Fields {
        /// All that calls need, the key id first where there is one.
        fields: &'static [CredentialField],
        /// Used alone where it is given, in place of all others.
        instead: Option<&'static CredentialField>,
    },
}

impl CredentialScheme {
    /// All fields that may be given.
    pub fn fields(self) -> impl Iterator<Item = &'static CredentialField> {
        let (fields, instead) = match self {
            Self::Headers => (&[][..], None),
            Self::Fields { fields, instead } => (fields, instead),
        };
        fields.iter().chain(instead)
    }

    /// The key id among `credentials`, if it names the account for longer than they are valid.
    pub fn lasting_key_id(self, credentials: &Credentials) -> Option<&Secret> {
        let find = |sort| {
            self.fields().filter(move |field| field.sort == sort).find_map(|field| credentials.field(field.name))
        };
        find(FieldSort::KeyId).filter(|_| find(FieldSort::SessionToken).is_none())
    }
}

/// A field of credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CredentialField {
    /// What a file or a program calls it.
    pub name: &'static str,
    /// The vendor's usual environment variable.
    pub variable: &'static str,
    /// What it is.
    pub sort: FieldSort,
}

impl CredentialField {
    /// Whether calls cannot do without.
    pub fn is_required(&self) -> bool {
        self.sort != FieldSort::SessionToken
    }
}

/// What a field of credentials is. Each is kept and masked as a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldSort {
    /// Names the account and is sent in the open.
    KeyId,
    /// Signed with or sent.
    Secret,
    /// Optional; where it is given, all fields are temporary.
    SessionToken,
}

/// Credentials as a call needs them.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// Extra headers, their references replaced.
    Headers(Vec<(String, Secret)>),
    /// Values of fields, by name.
    Fields(Vec<(&'static str, Secret)>),
}

impl Credentials {
    /// Whether both hold the same values by the same names.
    pub fn is_same(&self, other: &Self) -> bool {
        fn named(credentials: &Credentials) -> Vec<(&str, &str)> {
            match credentials {
                Credentials::Headers(headers) => {
                    headers.iter().map(|(name, value)| (name.as_str(), value.expose())).collect()
                }
                Credentials::Fields(fields) => fields.iter().map(|(name, value)| (*name, value.expose())).collect(),
            }
        }
        named(self) == named(other)
    }

    /// The field called `name`.
    pub fn field(&self, name: &str) -> Option<&Secret> {
        match self {
            Self::Headers(_) => None,
            Self::Fields(fields) => fields.iter().find(|(own, _)| *own == name).map(|(_, value)| value),
        }
    }
}

/// What a call needs to know about its account besides credentials.
#[derive(Clone, Debug)]
pub struct Account {
    /// Name of the provider in the manifest.
    pub provider: String,
    /// Checked options of the kind.
    pub options: Options,
}

/// One purge call: one operation at one endpoint for a batch of targets of one scope.
#[derive(Clone, Debug)]
pub struct Call {
    /// What is called.
    pub operation: &'static Operation,
    /// Where.
    pub endpoint: Endpoint,
    /// What is purged; at most `operation.targets_per_call`.
    pub targets: Vec<Target>,
    /// Headers of the variant that is purged; kinds without variants ignore them.
    pub headers: Vec<(String, String)>,
    /// Stays the same while one purge of these targets is repeated, also by the next run, and differs from that of any other
    /// purge: for vendors that take a repetition for what it is.
    pub id: String,
}

/// What makes each request unique.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// Wall time of signing.
    pub wall: Timestamp,
    /// Never used twice; random enough for the vendors' replay checks.
    pub nonce: u128,
}

/// Longest task id, in bytes; those of vendors have less than a hundred.
const MAX_TASK_ID_BYTES: usize = 256;

/// Whether a text can be the id of one task. Those of a call are kept with commas between them.
pub fn is_task_id(text: &str) -> bool {
    (1..=MAX_TASK_ID_BYTES).contains(&text.len()) && !text.contains(',') && !text.chars().any(is_unsafe)
}

/// Acceptance of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// Vendor task ids: none, one or several.
    pub task_ids: Vec<String>,
    /// Vendor request id.
    pub request_id: Option<String>,
    /// The status with which a cache said that it did not hold the target: nothing was to be dropped.
    pub not_cached: Option<u16>,
    /// Names of request headers by which the cache says that its answers vary, in lower case.
    pub varies: Vec<String>,
    /// Targets that were refused while the others were accepted, by their index in the call, each with its own reason.
    pub refused: Vec<(usize, CallError)>,
}

/// A refusal, an unreadable answer or a failure, sorted by what happens next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallError {
    /// What happens next.
    pub class: ErrorClass,
    /// The vendor's code, or `HTTP 503` and the like.
    pub code: String,
    /// The vendor's message, raw; output cleans and cuts it.
    pub message: String,
    /// Vendor request id.
    pub request_id: Option<String>,
    /// Wait asked for by the answer, in milliseconds.
    pub retry_after_ms: Option<u64>,
    /// The server's clock, from the `Date` header.
    pub server_time: Option<Timestamp>,
}

impl CallError {
    /// Code, message and request id in one line for people: control characters escaped, cut to a readable length.
    pub fn summary(&self) -> String {
        let mut text = self.code.clone();
        if !self.message.is_empty() {
            text.push_str(": ");
            text.push_str(&self.message);
        }
        if let Some(id) = &self.request_id {
            text.push_str(" (request ");
            text.push_str(id);
            text.push(')');
        }
        super::text::one_line(&text, 400)
    }
}

/// The retry classes (`providers.md` §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// Not done; repeat the batch after a backoff.
    Transient,
    /// Perhaps done; never recorded, repeat after a backoff.
    Unknown,
    /// Too fast; repeat after a longer wait and slow the provider down.
    Throttled,
    /// Repeat once at once, with a new nonce and time.
    SignAgain,
    /// The local clock is off; not repeated.
    Clock,
    /// Halve the batch; a batch of one is refused as a target is.
    BatchTooLarge,
    /// The quota of the day is spent; defer the rest.
    QuotaSpent,
    /// At least one target is refused and the batch did nothing; isolate the culprit.
    TargetRefused(Culprit),
    /// Credentials are refused; stop this provider.
    Auth,
    /// The configuration is wrong; stop this provider.
    Config,
    /// The service refuses for good; stop this provider.
    Fatal,
    /// The request is malformed: a defect here or in the configuration; stop this provider.
    Request,
}

impl ErrorClass {
    /// Whether what a vendor says of one operation may be otherwise for another one, with the same credentials.
    pub const fn is_of_the_operation(self) -> bool {
        matches!(self, Self::Auth | Self::Config | Self::Fatal | Self::Request)
    }

    /// Whether the vendor has surely not carried out what it answers so to.
    pub const fn is_surely_not_done(self) -> bool {
        !matches!(self, Self::Unknown | Self::Transient)
    }

    /// One word for records that programs read.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Unknown => "unknown",
            Self::Throttled => "throttled",
            Self::SignAgain => "sign_again",
            Self::Clock => "clock",
            Self::BatchTooLarge => "batch_too_large",
            Self::QuotaSpent => "quota_spent",
            Self::TargetRefused(_) => "target_refused",
            Self::Auth => "credentials",
            Self::Config => "configuration",
            Self::Fatal => "fatal",
            Self::Request => "request",
        }
    }
}

/// What a per-target refusal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Culprit {
    /// A host: all targets of that host share the fate, so split by host first.
    Host,
    /// A host that the vendor does not serve at the moment: split by host, then wait, each time for longer; never refused
    /// for good.
    BusyHost,
    /// A single target, as the vendor says: split by halves.
    Target,
    /// Something in the request, perhaps a single target: split by halves, and to blame only where others are accepted.
    Unclear,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_endpoints_take_options_and_name_missing_ones() {
        let with = |template| Capabilities {
            kind: "k",
            summary: "",
            notice: None,
            default_endpoint: template,
            credentials: CredentialScheme::Headers,
            options: &[],
            operations: &[],
            max_url_bytes: None,
            quota_day_offset_minutes: 0,
            effect_ms: 0,
        };
        let none = Options::default();
        let some = Options([("region".to_owned(), OptionValue::Text("x".into()))].into());
        assert_eq!(with(None).endpoint_for(&none), None);
        assert_eq!(with(Some("https://a")).endpoint_for(&none), Some(Ok("https://a".into())));
        assert_eq!(with(Some("https://a.{region}.b")).endpoint_for(&none), Some(Err("region")));
        assert_eq!(with(Some("https://a.{region}.b")).endpoint_for(&some), Some(Ok("https://a.x.b".into())));
        assert_eq!(with(Some("https://{region|y}.b")).endpoint_for(&none), Some(Ok("https://y.b".into())));
    }
}
