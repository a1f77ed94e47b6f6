//! What all vendors' requests have in common: credentials of the right sort, paths below a prefix, target checks.

use crate::core::contract::{
    Account, Call, Capabilities, CredentialField, CredentialScheme, Credentials, FieldSort, OptionSpec,
};
use crate::core::http::{Endpoint, Request, Route};
use crate::core::secret::Secret;

/// Names of the fields of a key pair.
pub(super) const KEY_ID: &str = "key_id";
pub(super) const KEY_SECRET: &str = "key_secret";
pub(super) const SESSION_TOKEN: &str = "token";

/// The id of a key pair, and the variable that usually holds it.
pub(super) const fn key_id(variable: &'static str) -> CredentialField {
    CredentialField { name: KEY_ID, variable, sort: FieldSort::KeyId }
}

/// The secret of a key pair.
pub(super) const fn key_secret(variable: &'static str) -> CredentialField {
    CredentialField { name: KEY_SECRET, variable, sort: FieldSort::Secret }
}

/// The session token of temporary keys.
pub(super) const fn session_token(variable: &'static str) -> CredentialField {
    CredentialField { name: SESSION_TOKEN, variable, sort: FieldSort::SessionToken }
}

/// A key pair, with a session token if it is temporary.
pub(super) struct Keys<'a> {
    /// Sent in the open.
    pub(super) id: &'a Secret,
    /// Only signed with.
    pub(super) secret: &'a Secret,
    /// Sent with each call.
    pub(super) token: Option<&'a Secret>,
}

/// The key pair among `credentials`.
///
/// # Errors
/// Says what to set if there is none, or which part cannot be sent; shows none of it.
pub(super) fn keys<'a>(
    credentials: &'a Credentials,
    account: &Account,
    capabilities: &Capabilities,
) -> Result<Keys<'a>, String> {
    let [id, secret, token] = [KEY_ID, KEY_SECRET, SESSION_TOKEN].map(|name| credentials.field(name));
    let (Some(id), Some(secret)) = (id, secret) else { return Err(wrong_sort(account, capabilities)) };
    check_sendable(id, "key id")?;
    if let Some(token) = token {
        check_sendable(token, "session token")?;
    }
    Ok(Keys { id, secret, token })
}

/// What to set when credentials of another sort were given.
pub(super) fn wrong_sort(account: &Account, capabilities: &Capabilities) -> String {
    let (kind, provider) = (capabilities.kind, &account.provider);
    match capabilities.credentials {
        CredentialScheme::Headers => {
            format!("provider {provider}: {kind} has no account; put what the cache asks for into `headers`")
        }
        CredentialScheme::Fields { fields, instead } => {
            let required = fields.iter().filter(|field| field.is_required()).map(|field| field.variable);
            let required = required.collect::<Vec<_>>().join(" and ");
            let or = instead.map_or_else(String::new, |field| format!(", or {}", field.variable));
            format!("provider {provider}: {kind} needs credentials; set {required}{or}")
        }
    }
}

/// Whether a credential fits into a header or parameter.
///
/// # Errors
/// Names the credential by `what`, without its text.
pub(super) fn check_sendable(secret: &Secret, what: &str) -> Result<(), String> {
    let text = secret.expose();
    if text.is_empty() {
        return Err(format!("the {what} is empty"));
    }
    if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    Err(format!("the {what} holds a blank, a line break or another character that cannot be sent; copy it again"))
}

/// `path` below the endpoint's prefix, as in the request line and as signed.
pub(super) fn path(endpoint: &Endpoint, path: &str) -> String {
    format!("{}{path}", endpoint.path_prefix)
}

/// The texts of a call's targets, as written.
pub(super) fn texts(call: &Call) -> Vec<&str> {
    call.targets.iter().map(|target| target.text.as_str()).collect()
}

/// A POST to `path`, which holds the endpoint's prefix already.
pub(super) fn post(endpoint: &Endpoint, path: String, headers: Vec<(String, String)>, body: Vec<u8>) -> Request {
    let (method, endpoint) = ("POST".into(), endpoint.clone());
    Request { method, endpoint, route: Route::ByProxy, path_and_query: path, headers, body }
}

/// A header or a parameter of a form, name and value.
pub(super) fn pair(name: &str, value: impl Into<String>) -> (String, String) {
    (name.to_owned(), value.into())
}

/// Whether a region can stand in a host name.
pub(super) fn check_region(region: Option<&str>) -> Option<(&'static str, String)> {
    let is_plain = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    match region {
        Some(region) if !is_plain(region) => {
            Some(("region", "a region holds lower-case letters, digits and `-` only, like `cn-north-4`".into()))
        }
        _ => None,
    }
}

/// Puts one option into a table of options.
pub(super) const fn option(
    key: &'static str,
    shape: crate::core::contract::OptionShape,
    required: bool,
    doc: &'static str,
) -> OptionSpec {
    OptionSpec { key, shape, required, doc }
}
