//! What Tencent's API 3.0 does for each of its services: the TC3 signature, the common codes and the envelope.
//!
//! Does not know any operation's parameters. Refusals are HTTP 200, as the vendor's are.

use serde_json::{Map, Value, json};

use crate::core::contract::Rate;
use crate::core::http::{Request, Response};
use crate::core::target::Scope;
use crate::core::time::Timestamp;
use crate::vendor::emulation::account::Account;
use crate::vendor::emulation::wire::{self, ErrorAnswer};
use crate::vendor::sign;

const CLOCK_TOLERANCE_S: i64 = 5 * 60;
const MOST_BODY_BYTES: usize = 10 * 1024 * 1024;

/// A service and its purge operations.
pub(in crate::vendor) struct Service {
    /// Name in the credential scope.
    pub(in crate::vendor) name: &'static str,
    pub(in crate::vendor) version: &'static str,
    pub(in crate::vendor) operations: &'static [(&'static str, Scope)],
    pub(in crate::vendor) queries: &'static [&'static str],
}

/// What a call asks for.
#[derive(Clone, Copy)]
pub(in crate::vendor) enum Asked {
    Purge(Scope),
    /// One of the service's queries, by its name.
    Query(&'static str),
}

/// Parameters of a call, each taken once; what is left over is unknown to the operation.
pub(in crate::vendor) struct ApiParameters(Map<String, Value>);

impl ApiParameters {
    /// A list of at least one string.
    pub(in crate::vendor) fn strings(&mut self, name: &str) -> Result<Vec<String>, ErrorAnswer> {
        let value = self.0.remove(name).ok_or_else(|| missing(name))?;
        wire::strings(&value).filter(|list| !list.is_empty()).ok_or_else(|| wrong_type(name))
    }

    /// One of `words`; `None` if it is absent.
    pub(in crate::vendor) fn word(
        &mut self,
        name: &str,
        words: &[&'static str],
    ) -> Result<Option<&'static str>, ErrorAnswer> {
        let Some(value) = self.0.remove(name) else { return Ok(None) };
        let text = value.as_str().ok_or_else(|| wrong_type(name))?;
        let known = words.iter().copied().find(|word| *word == text);
        known.map(Some).ok_or_else(|| refusal("InvalidParameterValue", &format!("{name} has no such value")))
    }

    /// A JSON boolean, if it is there.
    pub(in crate::vendor) fn check_bool(&mut self, name: &str) -> Result<(), ErrorAnswer> {
        self.0.remove(name).is_none_or(|value| value.is_boolean()).then_some(()).ok_or_else(|| wrong_type(name))
    }

    /// A JSON integer from 0, if it is there.
    pub(in crate::vendor) fn check_integer(&mut self, name: &str) -> Result<(), ErrorAnswer> {
        self.0.remove(name).is_none_or(|value| value.is_u64()).then_some(()).ok_or_else(|| wrong_type(name))
    }

    /// A JSON string.
    pub(in crate::vendor) fn text(&mut self, name: &str) -> Result<String, ErrorAnswer> {
        let value = self.0.remove(name).ok_or_else(|| missing(name))?;
        value.as_str().map(str::to_owned).ok_or_else(|| wrong_type(name))
    }

    /// A JSON integer from 0, or `otherwise`.
    pub(in crate::vendor) fn number(&mut self, name: &str, otherwise: usize) -> Result<usize, ErrorAnswer> {
        let Some(value) = self.0.remove(name) else { return Ok(otherwise) };
        value.as_u64().and_then(|number| usize::try_from(number).ok()).ok_or_else(|| wrong_type(name))
    }

    /// Nothing may be left over.
    pub(in crate::vendor) fn end(self) -> Result<(), ErrorAnswer> {
        match self.0.keys().next() {
            Some(name) => Err(refusal("UnknownParameter", &format!("{name} is not a parameter of the operation"))),
            None => Ok(()),
        }
    }
}

/// A refusal by the vendor's code.
pub(in crate::vendor) fn refusal(code: &'static str, message: &str) -> ErrorAnswer {
    ErrorAnswer::new(200, code, message)
}

pub(in crate::vendor) fn missing(name: &str) -> ErrorAnswer {
    refusal("MissingParameter", &format!("{name} is missing"))
}

fn wrong_type(name: &str) -> ErrorAnswer {
    refusal("InvalidParameter", &format!("the value type of {name} is not valid"))
}

/// Answers a request; `execute` checks and carries out one operation and returns what it answers besides the request id.
pub(in crate::vendor) fn answer(
    account: &mut Account,
    service: &Service,
    request: &Request,
    now: Timestamp,
    execute: impl FnOnce(&mut Account, Asked, ApiParameters) -> Result<Map<String, Value>, ErrorAnswer>,
) -> Response {
    if let Some(defect) = wire::http_defect(request) {
        return wire::plain(400, defect, now);
    }
    if request.path_and_query != format!("{}/", account.setup.endpoint.path_prefix) {
        return wire::plain(404, "no such path", now);
    }
    let number = account.next_request();
    let result =
        check_call(account, service, request, now).and_then(|(asked, parameters)| execute(account, asked, parameters));
    let request_id = format!("00000000-0000-4000-8000-{number:012x}");
    let content = match result {
        Ok(mut fields) => {
            fields.insert("RequestId".to_owned(), request_id.into());
            Value::Object(fields)
        }
        Err(refusal) => {
            json!({"Error": {"Code": refusal.code, "Message": refusal.message}, "RequestId": request_id})
        }
    };
    wire::respond(200, "application/json", json!({"Response": content}).to_string(), now)
}

/// Everything that comes before an operation's own parameters.
fn check_call(
    account: &mut Account,
    service: &Service,
    request: &Request,
    now: Timestamp,
) -> Result<(Asked, ApiParameters), ErrorAnswer> {
    if request.method != "POST" {
        return Err(refusal("InvalidRequest", "only POST is served here"));
    }
    if request.header("Host") != Some(account.setup.endpoint.authority().as_str()) {
        return Err(refusal("NoSuchProduct", "the host serves no product"));
    }
    let action = request.header("X-TC-Action").ok_or_else(|| missing("X-TC-Action"))?;
    let version = request.header("X-TC-Version").ok_or_else(|| missing("X-TC-Version"))?;
    if wire::media_type(request) != Some("application/json") {
        return Err(refusal("InvalidRequest", "Content-Type must be application/json"));
    }
    if request.body.len() > MOST_BODY_BYTES {
        return Err(refusal("RequestSizeLimitExceeded", "the body exceeds 10 MB"));
    }
    check_signature(account, service, request, now)?;
    if version != service.version {
        return Err(refusal("NoSuchVersion", "the service has no such version"));
    }
    let (asked, admitted) = if let Some(query) = service.queries.iter().copied().find(|name| *name == action) {
        (Asked::Query(query), account.admit_query(query, now))
    } else {
        let found = service.operations.iter().find(|(name, scope)| *name == action && account.limits(*scope).is_some());
        let &(operation, scope) = found.ok_or_else(|| refusal("InvalidAction", "the service has no such action"))?;
        let rate = account.limits(scope).map_or(Rate::per_second(0), |limits| limits.calls);
        (Asked::Purge(scope), account.admit(operation, rate, now))
    };
    admitted.map_err(|_| refusal("RequestLimitExceeded", "too many calls in a second"))?;
    match serde_json::from_slice(&request.body) {
        Ok(Value::Object(parameters)) => Ok((asked, ApiParameters(parameters))),
        _ => Err(refusal("InvalidRequest", "the body is not a JSON object")),
    }
}

fn check_signature(account: &Account, service: &Service, request: &Request, now: Timestamp) -> Result<(), ErrorAnswer> {
    let timestamp = request.header("X-TC-Timestamp").ok_or_else(|| missing("X-TC-Timestamp"))?;
    let header = request.header("Authorization").ok_or_else(|| missing("Authorization"))?;
    let unreadable = || refusal("AuthFailure.InvalidAuthorization", "the Authorization header is malformed");
    let signed_at = wire::read_seconds(timestamp).ok_or_else(unreadable)?;
    let authorization =
        wire::read_authorization(header, "TC3-HMAC-SHA256", "Credential", ", ").ok_or_else(unreadable)?;
    let (id, scope) = authorization.credential.split_once('/').ok_or_else(unreadable)?;
    let names = &authorization.signed_headers;
    let names_complete =
        names.contains(&"content-type") && names.contains(&"host") && wire::all_present(request, names);
    if scope != format!("{}/{}/tc3_request", signed_at.utc_date(), service.name) || !names_complete {
        return Err(unreadable());
    }
    if !wire::within(signed_at, now, CLOCK_TOLERANCE_S) {
        return Err(refusal("AuthFailure.SignatureExpire", "the signature expired; check the local clock"));
    }
    let unknown_id = || refusal("AuthFailure.SecretIdNotFound", "the SecretId is not found");
    let keys = account.keys().filter(|keys| keys.id == id).ok_or_else(unknown_id)?;
    if request.header("X-TC-Token") != keys.token {
        return Err(refusal("AuthFailure.TokenFailure", "the token is not that of the key"));
    }
    let parts = wire::parts_of(request);
    let signed = sign::tc3(&parts, names, service.name, signed_at.unix_seconds(), keys.secret);
    if signed.signature != authorization.signature {
        return Err(refusal("AuthFailure.SignatureFailure", "the signature does not fit the request"));
    }
    Ok(())
}
