//! Huawei Cloud VOD: refresh of URLs and asset ids and its results, signed by AK/SK or with an IAM token.

use serde_json::{Value, json};

use super::adapter::BEARER_TOKEN;
use crate::core::contract::Rate;
use crate::core::http::{Request, Response};
use crate::core::query::TaskState;
use crate::core::target::{Scope, Target};
use crate::core::time::Timestamp;
use crate::vendor::emulation::account::{Account, Purge};
use crate::vendor::emulation::wire::{self, ErrorAnswer};
use crate::vendor::emulation::{Emulator, Purged, Setup};
use crate::vendor::sign;

const OPERATION: &str = "refresh";
const QUERY: &str = "refresh result";
const CLOCK_TOLERANCE_S: i64 = 15 * 60;
const MOST_URL_CHARACTERS: usize = 10_240;
const MOST_BODY_BYTES: usize = 12 * 1024 * 1024;
/// The vendor does not publish its code for a spent quota, so this is one that no client can know.
const QUOTA_CODE: &str = "VOD.19999";

/// Its quota days are Beijing's.
const QUOTA_DAY_OFFSET_MINUTES: i32 = 8 * 60;

/// The account, or the cache, that `setup` describes.
pub(in crate::vendor) fn emulator(setup: Setup) -> Box<dyn Emulator> {
    Box::new(HuaweiVodEmulator::new(setup))
}

struct HuaweiVodEmulator {
    account: Account,
}

impl HuaweiVodEmulator {
    fn new(setup: Setup) -> Self {
        Self { account: Account::new(setup, QUOTA_DAY_OFFSET_MINUTES) }
    }

    /// Status and body of the answer.
    fn execute(&mut self, request: &Request, now: Timestamp) -> Result<(u16, Value), ErrorAnswer> {
        self.check_line(request)?;
        match self.account.setup.credentials.field(BEARER_TOKEN) {
            Some(token) if request.header("X-Auth-Token") != Some(token.expose()) => {
                return Err(unauthorized("incorrect IAM token"));
            }
            Some(_) => {}
            None => check_signature(&self.account, request, now)?,
        }
        self.check_project(request)?;
        let throttled = |_| ErrorAnswer::new(429, "APIGW.0308", "the throttling threshold has been reached");
        if request.method == "GET" {
            self.account.admit_query(QUERY, now).map_err(throttled)?;
            return self.results(request, now).map(|body| (200, body));
        }
        if wire::media_type(request) != Some("application/json") {
            return Err(ErrorAnswer::new(403, "VOD.10059", "Content-Type must be application/json"));
        }
        let scopes = [Scope::Url, Scope::AssetId];
        let rates = scopes.iter().filter_map(|scope| Some(self.account.limits(*scope)?.calls));
        let rate = rates.reduce(Rate::at_most).unwrap_or(Rate::per_second(0));
        self.account.admit(OPERATION, rate, now).map_err(throttled)?;
        let targets = self.read_targets(&request.body)?;
        self.refresh(targets, now).map(|task_id| (202, json!({"task_id": task_id})))
    }

    fn results(&self, request: &Request, now: Timestamp) -> Result<Value, ErrorAnswer> {
        let parameters = sign::form_decode(wire::split_path(request).1).ok_or_else(|| illegal("a malformed query"))?;
        let [(name, task_id)] = parameters.as_slice() else { return Err(illegal("task_id must be given")) };
        if name != "task_id" || !request.body.is_empty() {
            return Err(illegal("task_id must be given, and nothing else"));
        }
        let rows = self.account.results(task_id, now).into_iter().map(|(purged, state)| {
            let status = match state {
                TaskState::Done => "SUCCEED",
                TaskState::Processing => "PROCESSING",
                TaskState::Failed => "FAILED",
            };
            json!({"url": purged.target.text, "status": status})
        });
        Ok(json!({"refresh_results": rows.collect::<Value>()}))
    }

    fn check_line(&self, request: &Request) -> Result<(), ErrorAnswer> {
        let endpoint = &self.account.setup.endpoint;
        let path = wire::split_path(request).0.strip_prefix(endpoint.path_prefix.as_str());
        let known = path.and_then(|path| path.strip_prefix("/v1/")?.strip_suffix("/asset/refresh"));
        if request.header("Host") != Some(endpoint.authority().as_str())
            || known.is_none_or(|project| project.is_empty() || project.contains('/'))
        {
            return Err(ErrorAnswer::new(404, "APIGW.0101", "the API does not exist"));
        }
        let has_query = request.path_and_query.contains('?');
        if !matches!((request.method.as_str(), has_query), ("POST", false) | ("GET", _)) {
            return Err(ErrorAnswer::new(404, "APIGW.0103", "the API does not have this method"));
        }
        if request.body.len() > MOST_BODY_BYTES {
            return Err(ErrorAnswer::new(413, "APIGW.0201", "request entity too large"));
        }
        Ok(())
    }

    /// The project in the path and in `X-Project-Id` must be the account's.
    fn check_project(&self, request: &Request) -> Result<(), ErrorAnswer> {
        let own = self.account.setup.options.text("project_id").unwrap_or_default();
        let path = format!("{}/v1/{own}/asset/refresh", self.account.setup.endpoint.path_prefix);
        let fits = wire::split_path(request).0 == path && request.header("X-Project-Id").is_none_or(|id| id == own);
        fits.then_some(()).ok_or_else(|| ErrorAnswer::new(403, "VOD.10057", "the tenant id is not valid"))
    }

    fn read_targets(&self, body: &[u8]) -> Result<Vec<Target>, ErrorAnswer> {
        let Ok(Value::Object(mut fields)) = serde_json::from_slice(body) else {
            return Err(illegal("the body is not a JSON object"));
        };
        let mut targets = Vec::new();
        for (name, scope) in [("urls", Scope::Url), ("asset_id_list", Scope::AssetId)] {
            let Some(value) = fields.remove(name) else { continue };
            let limits = self.account.limits(scope).ok_or_else(|| illegal("not for this account"))?;
            let texts = wire::strings(&value).ok_or_else(|| illegal("a list must hold strings"))?;
            if texts.len() > limits.targets_per_call {
                return Err(illegal("a list is too long"));
            }
            targets.extend(texts.into_iter().map(|text| Target { scope, text }));
        }
        if let Some(name) = fields.keys().next() {
            return Err(illegal(format!("{name} is not a parameter of the operation")));
        }
        if targets.is_empty() {
            return Err(illegal("urls or asset_id_list must be given"));
        }
        Ok(targets)
    }

    fn refresh(&mut self, targets: Vec<Target>, now: Timestamp) -> Result<String, ErrorAnswer> {
        if !targets.iter().all(is_well_formed) {
            return Err(illegal("a URL or asset id is malformed"));
        }
        if !targets.iter().all(|target| self.account.owns(target)) {
            return Err(ErrorAnswer::new(400, "VOD.10062", "the resource does not exist"));
        }
        // One quota for both kinds: the vendor counts assets a day and tenant.
        let fits = targets
            .iter()
            .filter_map(|target| self.account.limits(target.scope))
            .all(|limits| self.account.has_quota(limits.targets_per_day, &[""], targets.len(), now));
        if !fits {
            return Err(ErrorAnswer::new(403, QUOTA_CODE, "the quota of the day is spent"));
        }
        let task_id = format!("{:032x}", self.account.next_task());
        let targets = targets.into_iter().map(|target| (target, Some(task_id.clone()))).collect();
        self.account.purge(Purge { area: "", shares: &[""], targets }, now);
        Ok(task_id)
    }
}

impl Emulator for HuaweiVodEmulator {
    fn answer(&mut self, request: &Request, now: Timestamp) -> Response {
        if let Some(defect) = wire::http_defect(request) {
            return wire::plain(400, defect, now);
        }
        let request_id = format!("{:032x}", self.account.next_request());
        let (status, body) = match self.execute(request, now) {
            Ok(answer) => answer,
            Err(refusal) if refusal.code.starts_with("APIGW.") => (
                refusal.status,
                json!({"error_code": refusal.code, "error_msg": refusal.message, "request_id": request_id}),
            ),
            Err(refusal) => (refusal.status, json!({"error_code": refusal.code, "error_msg": refusal.message})),
        };
        let mut response = wire::respond(status, "application/json", body.to_string(), now);
        response.headers.push(("X-Request-Id".to_owned(), request_id));
        response
    }

    fn log(&self) -> &[Purged] {
        self.account.log()
    }
}

fn illegal(message: impl Into<String>) -> ErrorAnswer {
    ErrorAnswer::new(400, "VOD.10053", message)
}

fn unauthorized(detail: &str) -> ErrorAnswer {
    ErrorAnswer::new(401, "APIGW.0301", format!("Incorrect IAM authentication information: {detail}"))
}

fn is_well_formed(target: &Target) -> bool {
    let text = &target.text;
    match target.scope {
        Scope::Url => text.chars().count() <= MOST_URL_CHARACTERS && wire::is_web_url(text),
        Scope::AssetId => text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit()),
        Scope::Directory => false,
    }
}

fn check_signature(account: &Account, request: &Request, now: Timestamp) -> Result<(), ErrorAnswer> {
    let header = request.header("Authorization").ok_or_else(|| unauthorized("no Authorization header"))?;
    let authorization = wire::read_authorization(header, "SDK-HMAC-SHA256", "Access", ", ")
        .ok_or_else(|| unauthorized("malformed Authorization header"))?;
    let names = &authorization.signed_headers;
    let sound = names.contains(&"x-sdk-date") && !names.iter().any(|name| name.contains('_'));
    if !sound || !wire::all_present(request, names) {
        return Err(unauthorized("signed headers are missing or not allowed"));
    }
    let date = request.header("X-Sdk-Date").unwrap_or_default();
    let signed_at = wire::read_date(date, "%Y%m%dT%H%M%SZ", Timestamp::utc_basic)
        .ok_or_else(|| unauthorized("x-sdk-date is malformed"))?;
    if !wire::within(signed_at, now, CLOCK_TOLERANCE_S) {
        return Err(unauthorized("x-sdk-date is expired"));
    }
    let keys = account.keys().filter(|keys| keys.id == authorization.credential);
    let keys = keys.ok_or_else(|| unauthorized("unknown access key"))?;
    if request.header("X-Security-Token") != keys.token {
        return Err(unauthorized("the security token is not that of the key"));
    }
    let body_hash = request.header("X-Sdk-Content-Sha256");
    let signed = sign::sdk_hmac(&wire::parts_of(request), names, date, keys.secret);
    if signed.signature != authorization.signature
        || body_hash.is_some_and(|hash| hash != sign::sha256_hex(&request.body))
    {
        return Err(unauthorized("verify aksk signature fail"));
    }
    Ok(())
}
