//! Turns a provider's configured source into credentials, and keeps them until they expire or are refused.
//!
//! Does not know vendors beyond their variables' names, and never shows a value: not in errors, not in `Debug`.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::{FutureExt, Shared};

use super::{BoxFuture, CommandError, CommandLimits, Env, PrivateFileError, templates};
use crate::core::account;
use crate::core::contract::{CredentialField, CredentialScheme, Credentials};
use crate::core::model::{CredentialSource, ProviderConfig};
use crate::core::secret::{Secret, ValueProblem};
use crate::core::time::Timestamp;

mod file;
mod json;

/// Key of the option that holds header templates.
const HEADERS_OPTION: &str = "headers";
/// Largest file or output of credentials.
const MOST_BYTES: usize = 64 * 1024;
/// How long a program or a file may take.
const SOURCE_TIMEOUT_MS: u64 = 30_000;
/// Credentials of a provider that are kept from being shown: the newest ones.
const MOST_KNOWN: usize = 4;
/// Credentials that expire within this time are asked for again.
const RENEW_BEFORE_MS: i64 = 60_000;

/// Why there are no credentials. Names variables, files and keys, never a value; the caller names the provider.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// Variables that must be set are not.
    #[error("no credentials in the environment: set {}", wanted(.variables, .instead.as_ref()))]
    NotSet {
        /// The missing ones, prefix included.
        variables: Vec<String>,
        /// A single variable that would do as well, prefix included.
        instead: Option<String>,
    },
    /// A variable's value cannot be a credential.
    #[error("variable {variable} {problem}")]
    Variable {
        /// Its name.
        variable: String,
        /// What is wrong.
        problem: ValueProblem,
    },
    /// A header's value refers to a variable that holds no value.
    #[error("header `{header}` refers to variable {variable}, which {problem}")]
    UnknownReference {
        /// Name of the header.
        header: String,
        /// Name of the variable.
        variable: String,
        /// Whether it is not set, or set to nothing.
        problem: ValueProblem,
    },
    /// A header's value cannot be read as a template.
    #[error("header `{header}` holds a broken reference: write it like ${{NAME}}")]
    BrokenReference {
        /// Name of the header.
        header: String,
    },
    /// A header's value, with its references replaced, cannot be sent.
    #[error("header `{header}` {problem}")]
    Header {
        /// Name of the header.
        header: String,
        /// What is wrong.
        problem: ValueProblem,
    },
    /// The file was not read.
    #[error("credentials file `{path}` {problem}")]
    File {
        /// As configured.
        path: String,
        /// What is wrong.
        problem: PrivateFileError,
    },
    /// The program gave nothing.
    #[error("credentials command `{program}` {problem}")]
    Command {
        /// The program without its arguments.
        program: String,
        /// What is wrong.
        problem: CommandError,
    },
    /// What the file or program gave cannot be used.
    #[error("{origin} {}", problem.told_of(origin))]
    Content {
        /// The file or program.
        origin: Origin,
        /// What is wrong.
        problem: ContentProblem,
    },
    /// What the file or program gave has expired.
    #[error("{origin} gave credentials that expired at {}", .expired_at.utc_extended())]
    Expired {
        /// The file or program.
        origin: Origin,
        /// When.
        expired_at: Timestamp,
    },
    /// The source has not answered yet, and this run does not wait for it any more.
    #[error("no credentials within {waited_ms} ms; their source goes on, and the next run looks again")]
    Late {
        /// How long it was waited for.
        waited_ms: u64,
    },
    /// Kinds without an account read nothing but variables.
    #[error("this kind sends only configured headers: put ${{NAME}} into their values instead of a file or command")]
    NoAccount,
}

/// Where a JSON object of credentials came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A file, by its path.
    File(String),
    /// A program, without its arguments.
    Command(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "credentials file `{path}`"),
            Self::Command(program) => write!(f, "credentials command `{program}`"),
        }
    }
}

/// What is wrong with a JSON object of credentials.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentProblem {
    /// Something else, or broken JSON.
    #[error("is not one JSON object (line {line}, column {column})")]
    NotAnObject {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// An unknown key, by its number: it may be a secret, or the file another one.
    #[error("has an unknown key, its key number {number}; this kind knows {known} and expires_at")]
    UnknownKey {
        /// From 1.
        number: usize,
        /// Names of the kind's fields.
        known: String,
    },
    /// A key given twice.
    #[error("gives `{0}` twice")]
    Twice(&'static str),
    /// A value that is not a text.
    #[error("gives `{0}` as something else than a text")]
    NotAText(&'static str),
    /// A value that cannot be a credential.
    #[error("gives a `{key}` that {problem}")]
    Value {
        /// Its key.
        key: &'static str,
        /// What is wrong.
        problem: ValueProblem,
    },
    /// A key that must be there is not.
    #[error("lacks `{0}`")]
    Lacks(&'static str),
    /// A time that cannot be read.
    #[error("gives an `expires_at` that is not a time like 2030-01-31T08:00:00Z")]
    BadTime,
}

impl ContentProblem {
    /// The problem in words that fit a file or a program.
    fn told_of(&self, origin: &Origin) -> String {
        match (self, origin) {
            (Self::NotAnObject { line, column }, Origin::Command(_)) => {
                format!("printed no JSON object (line {line}, column {column})")
            }
            (Self::Lacks(key), Origin::Command(_)) => format!("printed no `{key}`"),
            _ => self.to_string(),
        }
    }
}

fn wanted(variables: &[String], instead: Option<&String>) -> String {
    let all = variables.join(" and ");
    instead.map_or_else(|| all.clone(), |other| format!("{all}, or {other}"))
}

/// Credentials with the time at which they end, if they do.
#[derive(Clone, Debug)]
struct HeldCredentials {
    credentials: Credentials,
    expires_at: Option<Timestamp>,
}

impl HeldCredentials {
    fn lasts(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| now.plus_ms(RENEW_BEFORE_MS) < end)
    }
}

/// What a source answers, for all callers that wait for it. It goes on where it was when they stop and others begin to wait.
type Answer = Shared<BoxFuture<'static, Result<HeldCredentials, CredentialError>>>;

/// Where a provider's credentials come from, as it is configured.
#[derive(Clone, PartialEq, Eq)]
struct Source {
    kind: &'static str,
    scheme: CredentialScheme,
    from: CredentialSource,
    headers: Vec<(String, String)>,
}

impl Source {
    fn of(provider: &ProviderConfig) -> Self {
        Self {
            kind: provider.kind.capabilities().kind,
            scheme: provider.scheme(),
            from: provider.credentials.clone(),
            headers: provider.options.headers(HEADERS_OPTION).to_vec(),
        }
    }

    fn ask(&self, env: &Arc<dyn Env>, now: Timestamp) -> Answer {
        let (env, source) = (Arc::clone(env), self.clone());
        let answer: BoxFuture<'static, _> = Box::pin(async move { read(&env, &source, now).await });
        answer.shared()
    }
}

/// What is known of a provider's credentials.
struct Slot {
    source: Source,
    /// `None`: the source was not asked.
    answer: Option<Answer>,
    /// This run does not wait for the answer any more.
    late: Option<CredentialError>,
    /// The source was asked again because the vendor refused what it gave.
    asked_again: bool,
}

impl Slot {
    const fn of(source: Source) -> Self {
        Self { source, answer: None, late: None, asked_again: false }
    }

    /// The answer to wait for: the one that was given or is under way, unless it has run out. A failure is one as well.
    fn answer(&mut self, env: &Arc<dyn Env>, now: Timestamp) -> Result<Answer, CredentialError> {
        if let Some(late) = &self.late {
            return Err(late.clone());
        }
        let known = self.answer.take().filter(|answer| match answer.peek() {
            Some(Ok(held)) => held.lasts(now),
            Some(Err(_)) | None => true,
        });
        Ok(self.answer.insert(known.unwrap_or_else(|| self.source.ask(env, now))).clone())
    }

    fn begin_run(&mut self) {
        self.late = None;
        self.asked_again = false;
        if let Some(Err(_)) = self.answer.as_ref().and_then(Shared::peek) {
            self.answer = None;
        }
        // Where nobody waited meanwhile, a program whose time is over is stopped now; its failure is this run's.
        if let Some(answer) = &self.answer {
            let _ = answer.clone().now_or_never();
        }
    }
}

/// Credentials of providers by their names, each for as long as it is configured in the same way.
pub struct CredentialStore {
    env: Arc<dyn Env>,
    slots: Mutex<HashMap<String, Slot>>,
    known: Mutex<HashMap<String, Arc<Vec<Credentials>>>>,
}

impl CredentialStore {
    /// An empty store that reads through `env`.
    pub fn new(env: Arc<dyn Env>) -> Self {
        Self { env, slots: Mutex::default(), known: Mutex::default() }
    }

    /// The provider's credentials. The source is asked on first use, when it is configured differently, after a refusal
    /// ([`Self::renewed`]), and when they expire within a minute; calls that come meanwhile wait for that one answer.
    /// A caller that stops waiting does not stop the source: the next one gets its answer.
    ///
    /// # Errors
    /// Why there are none, which stays so for the rest of the run.
    pub async fn get(&self, provider: &ProviderConfig, now: Timestamp) -> Result<Credentials, CredentialError> {
        let answer = self.with_slot(provider, |slot| slot.answer(&self.env, now))?;
        let credentials = answer.await?.credentials;
        self.note(&provider.name, &credentials);
        Ok(credentials)
    }

    /// The credentials that a provider was given last, the newest at the end. Answers may repeat those of before too.
    pub fn known(&self, provider: &str) -> Arc<Vec<Credentials>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(provider).cloned().unwrap_or_default()
    }

    fn note(&self, provider: &str, credentials: &Credentials) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let all = known.get(provider).map_or(&[][..], |all| all.as_slice());
        if !all.iter().any(|one| one.is_same(credentials)) {
            let kept = &all[all.len().saturating_sub(MOST_KNOWN - 1)..];
            let all = [kept, std::slice::from_ref(credentials)].concat();
            known.insert(provider.to_owned(), all.into());
        }
    }

    /// The rest of the run does without an answer that has not come after `waited_ms` milliseconds. Returns the error that is
    /// given from now on.
    pub fn give_up(&self, provider: &ProviderConfig, waited_ms: u64) -> CredentialError {
        let late = CredentialError::Late { waited_ms };
        self.with_slot(provider, |slot| slot.late.insert(late).clone())
    }

    /// A run begins: sources that failed are asked anew in it, and all may be asked once more. For a caller that keeps a store over
    /// runs.
    pub fn begin_run(&self) {
        self.slots().values_mut().for_each(Slot::begin_run);
    }

    /// Whether the source has other credentials than the ones that were `used` and refused. It is asked once more in
    /// a run, unless the held ones are others already.
    pub async fn renewed(&self, provider: &ProviderConfig, used: &Credentials, now: Timestamp) -> bool {
        if !Self::can_refresh(provider) {
            return false;
        }
        if self.get(provider, now).await.is_ok_and(|held| !held.is_same(used)) {
            return true;
        }
        if self.with_slot(provider, |slot| std::mem::replace(&mut slot.asked_again, true)) {
            return false;
        }
        self.invalidate(provider);
        self.get(provider, now).await.is_ok_and(|fresh| !fresh.is_same(used))
    }

    /// Forgets the answer, because the vendor refused it.
    fn invalidate(&self, provider: &ProviderConfig) {
        self.with_slot(provider, |slot| slot.answer = None);
    }

    /// Whether asking the source again can give other credentials within a run: variables stay as they are.
    pub fn can_refresh(provider: &ProviderConfig) -> bool {
        match (provider.scheme(), &provider.credentials) {
            (CredentialScheme::Headers, _) | (_, CredentialSource::Environment { .. }) => false,
            (_, CredentialSource::File(_) | CredentialSource::Command(_)) => true,
        }
    }

    /// Uses what is known of the provider's credentials; nothing is if it was configured differently.
    fn with_slot<T>(&self, provider: &ProviderConfig, using: impl FnOnce(&mut Slot) -> T) -> T {
        let (mut slots, source) = (self.slots(), Source::of(provider));
        let slot = match slots.entry(provider.name.clone()) {
            Entry::Occupied(known) if known.get().source == source => known.into_mut(),
            other => other.insert_entry(Slot::of(source)).into_mut(),
        };
        using(slot)
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<String, Slot>> {
        // Each entry is whole at every moment, so a panic elsewhere does not spoil the map.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Names the account of a provider in the quota ledger, now that its credentials are known.
pub fn account_of(providers: &[ProviderConfig], provider: usize, credentials: &Credentials) -> String {
    let config = &providers[provider];
    let by_use = || match (credentials, config.endpoints.configured().first()) {
        (Credentials::Headers(_), Some(endpoint)) => Some(fingerprint("endpoint", &endpoint.to_string())),
        _ => Some(fingerprint("key", config.scheme().lasting_key_id(credentials)?.expose())),
    };
    account::named(providers, provider).or_else(by_use).unwrap_or_else(|| lasting_account(config))
}

/// The account of a provider whose credentials have no key id that lasts: that of the variables, the file or the program that they come from,
/// by any name of the provider.
pub fn lasting_account(provider: &ProviderConfig) -> String {
    let source = match (provider.scheme(), &provider.credentials) {
        // Headers are each provider's own.
        (CredentialScheme::Headers, _) => return account::of_provider(&provider.name),
        (scheme @ CredentialScheme::Fields { .. }, CredentialSource::Environment { prefix }) => {
            format!("variable {prefix}{}", scheme.fields().next().map_or("", |field| field.variable))
        }
        (_, CredentialSource::File(path)) => format!("file {path}"),
        (_, CredentialSource::Command(command)) => {
            let mut hash = blake3::Hasher::new();
            for part in command {
                hash.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
            }
            // Arguments may be secrets.
            let program = command.first().map_or("", String::as_str);
            format!("program {program} {}", &hash.finalize().to_hex()[..16])
        }
    };
    account::of_source(&source)
}

/// 16 hexadecimal digits of a hash over the key id, or over the endpoint where there is no account. Neither can be read back
/// from it.
fn fingerprint(sort: &str, name: &str) -> String {
    let mut hash = blake3::Hasher::new();
    hash.update(sort.as_bytes()).update(&[0]).update(name.as_bytes());
    hash.finalize().to_hex()[..16].to_owned()
}

async fn read(env: &Arc<dyn Env>, source: &Source, now: Timestamp) -> Result<HeldCredentials, CredentialError> {
    let scheme = source.scheme;
    let forever = |credentials| HeldCredentials { credentials, expires_at: None };
    match (&source.from, scheme) {
        (CredentialSource::Environment { .. }, CredentialScheme::Headers) => {
            from_templates(env.as_ref(), &source.headers).map(forever)
        }
        (_, CredentialScheme::Headers) => Err(CredentialError::NoAccount),
        (CredentialSource::Environment { prefix }, CredentialScheme::Fields { fields, instead }) => {
            from_variables(env.as_ref(), prefix, fields, instead).map(forever)
        }
        (CredentialSource::File(path), CredentialScheme::Fields { .. }) => {
            let content =
                file::read(env, path).await.map_err(|problem| CredentialError::File { path: path.clone(), problem })?;
            from_json(Origin::File(path.clone()), &content, scheme, now)
        }
        (CredentialSource::Command(command), CredentialScheme::Fields { .. }) => {
            let program = command.first().cloned().unwrap_or_default();
            let limits = CommandLimits { timeout_ms: SOURCE_TIMEOUT_MS, most_bytes: MOST_BYTES };
            let output = env
                .run(command, limits)
                .await
                .map_err(|problem| CredentialError::Command { program: program.clone(), problem })?;
            from_json(Origin::Command(program), &output, scheme, now)
        }
    }
}

fn from_variables(
    env: &dyn Env,
    prefix: &str,
    fields: &'static [CredentialField],
    instead: Option<&'static CredentialField>,
) -> Result<Credentials, CredentialError> {
    let named = |field: &CredentialField| format!("{prefix}{}", field.variable);
    let value = |field: &'static CredentialField| Ok(variable(env, &named(field))?.map(|value| (field.name, value)));
    if let Some(alone) = instead.map(value).transpose()?.flatten() {
        return Ok(Credentials::Fields(vec![alone]));
    }
    let given: Vec<_> = fields.iter().map(value).collect::<Result<_, _>>()?;
    let missing = fields.iter().zip(&given).filter(|(field, value)| value.is_none() && field.is_required());
    let variables: Vec<String> = missing.map(|(field, _)| named(field)).collect();
    if variables.is_empty() {
        return Ok(Credentials::Fields(given.into_iter().flatten().collect()));
    }
    Err(CredentialError::NotSet { variables, instead: instead.map(named) })
}

/// A variable that holds a credential.
fn variable(env: &dyn Env, name: &str) -> Result<Option<Secret>, CredentialError> {
    // CI systems hand secrets that do not exist over as empty variables.
    let Some(value) = env.var(name).filter(|value| !value.is_empty()).map(Secret::new) else { return Ok(None) };
    match ValueProblem::of(value.expose()) {
        None => Ok(Some(value)),
        Some(problem) => Err(CredentialError::Variable { variable: name.to_owned(), problem }),
    }
}

fn from_templates(env: &dyn Env, headers: &[(String, String)]) -> Result<Credentials, CredentialError> {
    fill_in(env, headers).map(Credentials::Headers)
}

/// The values of configured headers with their references to variables replaced.
///
/// # Errors
/// A reference that is broken or has no value, and a value that cannot be sent; no value is named.
pub fn fill_in(env: &dyn Env, headers: &[(String, String)]) -> Result<Vec<(String, Secret)>, CredentialError> {
    let mut filled = Vec::with_capacity(headers.len());
    for (name, template) in headers {
        let pieces =
            templates::pieces(template).ok_or_else(|| CredentialError::BrokenReference { header: name.clone() })?;
        let mut variables = Vec::new();
        let text = templates::join(&pieces, |reference| {
            let unset = || {
                let problem = if env.var(reference).is_some() { ValueProblem::Nothing } else { ValueProblem::NotSet };
                CredentialError::UnknownReference { header: name.clone(), variable: reference.to_owned(), problem }
            };
            let value = variable(env, reference)?.ok_or_else(unset)?;
            variables.push(value.expose().to_owned());
            Ok(value.expose().to_owned())
        })?;
        let value = Secret::filled_in(text, variables);
        if value.expose().contains(char::is_control) {
            return Err(CredentialError::Header { header: name.clone(), problem: ValueProblem::Control });
        }
        filled.push((name.clone(), value));
    }
    Ok(filled)
}

fn from_json(
    origin: Origin,
    content: &[u8],
    scheme: CredentialScheme,
    now: Timestamp,
) -> Result<HeldCredentials, CredentialError> {
    let held = match json::parse(content, scheme).and_then(|given| chosen(given, scheme)) {
        Ok(held) => held,
        Err(problem) => return Err(CredentialError::Content { origin, problem }),
    };
    match held.expires_at {
        Some(expired_at) if expired_at <= now => Err(CredentialError::Expired { origin, expired_at }),
        _ => Ok(held),
    }
}

/// The field that takes the place of all others wins, as in the environment.
fn chosen(given: json::Given, scheme: CredentialScheme) -> Result<HeldCredentials, ContentProblem> {
    let json::Given { mut fields, expires_at } = given;
    let is_given = |name: &str| fields.iter().any(|(own, _)| *own == name);
    let alone = match scheme {
        CredentialScheme::Headers => None,
        CredentialScheme::Fields { instead, .. } => instead.map(|field| field.name).filter(|name| is_given(name)),
    };
    if let CredentialScheme::Fields { fields: all, .. } = scheme
        && let Some(field) = all.iter().find(|field| field.is_required() && !is_given(field.name))
        && alone.is_none()
    {
        return Err(ContentProblem::Lacks(field.name));
    }
    fields.retain(|(name, _)| alone.is_none_or(|alone| *name == alone));
    Ok(HeldCredentials { credentials: Credentials::Fields(fields), expires_at })
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
