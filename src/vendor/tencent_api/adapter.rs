//! Tencent's API 3.0: one way to call and one envelope for all of its services.
//!
//! Does not know operations or their parameters. Failures come with HTTP 200 and an `Error` in the body.

use serde_json::Value;

use crate::core::contract::ErrorClass::{Auth, BatchTooLarge, Clock, Fatal, QuotaSpent, Request as Malformed};
use crate::core::contract::ErrorClass::{Throttled, Transient};
use crate::core::contract::{CallError, CredentialScheme, Stamp};
use crate::core::http::{Endpoint, Request, Response};
use crate::vendor::answer::{self, Codes, VendorRefusal};
use crate::vendor::request::{self, Keys};
use crate::vendor::sign::{self, Parts};

/// Tencent's usual environment variables.
pub(in crate::vendor) const CREDENTIALS: CredentialScheme = CredentialScheme::Fields {
    fields: &[
        request::key_id("TENCENTCLOUD_SECRET_ID"),
        request::key_secret("TENCENTCLOUD_SECRET_KEY"),
        request::session_token("TENCENTCLOUD_TOKEN"),
    ],
    instead: None,
};

/// Codes that any service may answer with.
pub(in crate::vendor) const COMMON_CODES: &Codes = &[
    ("RequestLimitExceeded.*", Throttled),
    ("InternalError.*", Transient),
    ("ServiceUnavailable", Transient),
    ("FailedOperation", Transient),
    ("AuthFailure.SignatureExpire", Clock),
    ("AuthFailure.*", Auth),
    ("UnauthorizedOperation.*", Auth),
    ("OperationDenied.*", Fatal),
    ("MissingParameter", Malformed),
    ("InvalidParameter", Malformed),
    ("InvalidParameterValue", Malformed),
    ("UnknownParameter", Malformed),
    ("InvalidAction", Malformed),
    ("NoSuchVersion", Malformed),
    ("NoSuchProduct", Malformed),
    ("UnsupportedOperation.*", Malformed),
    ("InvalidRequest", Malformed),
    ("RequestSizeLimitExceeded", BatchTooLarge),
    ("LimitExceeded.*", QuotaSpent),
    ("ActionOffline", Fatal),
    ("IpInBlacklist", Fatal),
    ("IpNotInWhitelist", Fatal),
];

/// A service and one of its operations.
pub(in crate::vendor) struct TencentAction {
    /// Name in the scope of the signature, whatever the host.
    pub(in crate::vendor) service: &'static str,
    /// Value of `X-TC-Action`.
    pub(in crate::vendor) name: &'static str,
    /// Value of `X-TC-Version`.
    pub(in crate::vendor) version: &'static str,
}

/// The signed request that posts `body` as the parameters of `action`.
pub(in crate::vendor) fn encode(
    endpoint: &Endpoint,
    action: &TencentAction,
    keys: &Keys<'_>,
    stamp: &Stamp,
    body: Vec<u8>,
) -> Request {
    let seconds = stamp.wall.unix_seconds();
    let path = request::path(endpoint, "/");
    let mut headers = vec![
        request::pair("Host", endpoint.authority()),
        request::pair("Content-Type", "application/json"),
        request::pair("X-TC-Action", action.name),
        request::pair("X-TC-Version", action.version),
        request::pair("X-TC-Timestamp", seconds.to_string()),
    ];
    if let Some(token) = keys.token {
        headers.push(request::pair("X-TC-Token", token.expose()));
    }
    let parts = Parts { method: "POST", path: &path, query: "", headers: &headers, body: &body };
    let signed = sign::tc3(&parts, &["content-type", "host"], action.service, seconds, keys.secret);
    let (id, date, service) = (keys.id.expose(), stamp.wall.utc_date(), action.service);
    let authorization = format!(
        "TC3-HMAC-SHA256 Credential={id}/{date}/{service}/tc3_request, SignedHeaders=content-type;host, Signature={}",
        signed.signature
    );
    headers.push(request::pair("Authorization", authorization));
    request::post(endpoint, path, headers, body)
}

/// The content of `Response` if the service accepted the call.
///
/// # Errors
/// A refusal by the codes of `own` and the common ones, and every answer that is not the service's.
pub(in crate::vendor) fn accepted(response: &Response, own: &Codes) -> Result<Value, CallError> {
    answer::refuse_redirect(response)?;
    let body = answer::json_object(response);
    let Some((body, content)) = body.as_ref().and_then(|body| Some((body, body.get("Response")?))) else {
        return Err(answer::without_code(response));
    };
    let request_id = request_id(content);
    if let Some((error, code)) =
        content.get("Error").and_then(|error| Some((error, answer::text_of(error, &["Code"])?)))
    {
        // Refusals are documented with HTTP 200; another success is no answer of the service.
        let class = answer::classify(&code, &[own, COMMON_CODES]);
        let class = class.filter(|_| !matches!(response.status, 201..300));
        let message = answer::text_of(error, &["Message"]).unwrap_or_default();
        return Err(VendorRefusal { code, message, request_id }.error(class, response));
    }
    // Success is HTTP 200 without any `Error`; the request id shows that the service itself answered.
    let has_error = answer::has_error_member(content, &[]) || answer::has_error_member(body, &[]);
    if response.status != 200 || has_error || request_id.is_none() {
        return Err(CallError { request_id, ..answer::without_code(response) });
    }
    Ok(content.clone())
}

/// `RequestId` of an answer's content.
pub(in crate::vendor) fn request_id(content: &Value) -> Option<String> {
    answer::text_of(content, &["RequestId"])
}
