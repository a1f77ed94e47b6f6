//! Tencent's legacy CDN API v2: `RefreshCdnUrl`, `RefreshCdnDir` and `GetCdnRefreshLog`, by GET or POST. Refusals are HTTP
//! 200.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::core::http::{Request, Response};
use crate::core::query::TaskState;
use crate::core::target::{Scope, Target};
use crate::core::time::Timestamp;
use crate::vendor::emulation::account::{Account, Purge};
use crate::vendor::emulation::limits::NonceMemory;
use crate::vendor::emulation::wire;
use crate::vendor::emulation::{Emulator, Purged, Setup};
use crate::vendor::sign::{self, QcloudMethod};

const CLOCK_TOLERANCE_S: i64 = 2 * 60 * 60;
const LOG: &str = "GetCdnRefreshLog";
const MOST_QUERY_BYTES: usize = 32 * 1024;
const MOST_BODY_BYTES: usize = 1024 * 1024;

/// Parameters that every operation shares; the vendor's own clients name themselves in the last one.
const COMMON: [&str; 9] =
    ["Action", "SecretId", "Timestamp", "Nonce", "Signature", "SignatureMethod", "Token", "Region", "RequestClient"];

type QcloudParameters = BTreeMap<String, String>;

/// A refusal: the general code, the module code or symbolic name, the message.
struct Refused(u16, &'static str, &'static str);

/// Its quota days are Beijing's.
const QUOTA_DAY_OFFSET_MINUTES: i32 = 8 * 60;

/// The account, or the cache, that `setup` describes.
pub(in crate::vendor) fn emulator(setup: Setup) -> Box<dyn Emulator> {
    Box::new(QcloudCdnEmulator::new(setup))
}

struct QcloudCdnEmulator {
    account: Account,
    nonces: NonceMemory,
}

impl QcloudCdnEmulator {
    fn new(setup: Setup) -> Self {
        Self {
            account: Account::new(setup, QUOTA_DAY_OFFSET_MINUTES),
            nonces: NonceMemory::new(2 * CLOCK_TOLERANCE_S * 1000),
        }
    }

    /// `data` of the answer.
    fn execute(&mut self, request: &Request, now: Timestamp) -> Result<Value, Refused> {
        if request.header("Host") != Some(self.account.setup.endpoint.authority().as_str()) {
            return Err(Refused(6100, "ActionNotSupported", "the host does not serve this version"));
        }
        let mut parameters = read_parameters(request)?;
        let action = required(&parameters, "Action")?;
        let (operation, scope, list) = match action {
            "RefreshCdnUrl" => ("RefreshCdnUrl", Scope::Url, "urls"),
            "RefreshCdnDir" => ("RefreshCdnDir", Scope::Directory, "dirs"),
            LOG => return self.tell(request, parameters, now),
            _ => return Err(Refused(4000, "InvalidAction", "no such Action")),
        };
        let limits = self.account.limits(scope).ok_or(Refused(4000, "InvalidAction", "not for this account"))?;
        self.check_signature(request, &parameters, now)?;
        self.account
            .admit(operation, limits.calls, now)
            .map_err(|_| Refused(4400, "LimitExceeded", "too many calls in a second"))?;
        parameters.retain(|name, _| !COMMON.contains(&name.as_str()));
        let targets = read_list(parameters, list, scope)?;
        if targets.len() > limits.targets_per_call {
            return Err(Refused(4000, "9003", "(9003)too many targets in one call"));
        }
        if !targets.iter().all(is_well_formed) {
            return Err(Refused(4000, "9003", "(9003)a target is malformed"));
        }
        if !targets.iter().all(|target| self.account.owns(target)) {
            return Err(Refused(4000, "9110", "(9110)a domain does not belong to the account"));
        }
        if !self.account.has_quota(limits.targets_per_day, &[scope.word()], targets.len(), now) {
            return Err(Refused(4400, "LimitExceeded", "the quota of the day is spent"));
        }
        let task_id = format!("{}{:09}", now.unix_seconds(), self.account.next_task());
        let count = targets.len();
        let targets = targets.into_iter().map(|target| (target, Some(task_id.clone()))).collect();
        self.account.purge(Purge { area: "", shares: &[scope.word()], targets }, now);
        Ok(json!({"count": count, "task_id": task_id}))
    }

    /// A task has one state: it failed if one of its targets did.
    fn tell(&mut self, request: &Request, mut parameters: QcloudParameters, now: Timestamp) -> Result<Value, Refused> {
        self.check_signature(request, &parameters, now)?;
        let throttled = |_| Refused(4400, "LimitExceeded", "too many calls in a second");
        self.account.admit_query(LOG, now).map_err(throttled)?;
        parameters.retain(|name, _| !COMMON.contains(&name.as_str()));
        let task_id = parameters.remove("taskId").filter(|_| parameters.is_empty());
        let task_id = task_id.ok_or(Refused(4000, "InvalidParameter", "taskId must be given, and nothing else"))?;
        let results = self.account.results(&task_id, now);
        let state = results.iter().map(|(_, state)| *state).max();
        let urls: Vec<&str> = results.iter().map(|(purged, _)| purged.target.text.as_str()).collect();
        let row = |state| {
            let status = match state {
                TaskState::Done => 1,
                TaskState::Processing => 0,
                TaskState::Failed => -1,
            };
            json!({"id": task_id, "type": 0, "status": status, "url_list": urls})
        };
        let logs: Vec<Value> = state.into_iter().map(row).collect();
        Ok(json!({"total": logs.len(), "logs": logs}))
    }

    fn check_signature(
        &mut self,
        request: &Request,
        parameters: &QcloudParameters,
        now: Timestamp,
    ) -> Result<(), Refused> {
        let algorithm = match parameters.get("SignatureMethod").map(String::as_str) {
            None | Some("HmacSHA1") => QcloudMethod::HmacSha1,
            Some("HmacSHA256") => QcloudMethod::HmacSha256,
            Some(_) => return Err(Refused(4000, "InvalidParameter", "no such SignatureMethod")),
        };
        let id = required(parameters, "SecretId")?;
        let timestamp = required(parameters, "Timestamp")?;
        let nonce = required(parameters, "Nonce")?;
        let signature = required(parameters, "Signature")?;
        let invalid = Refused(4000, "InvalidParameter", "Timestamp and Nonce must be positive integers");
        let number = nonce.bytes().all(|byte| byte.is_ascii_digit()) && nonce.parse::<u64>().is_ok_and(|n| n > 0);
        let Some(signed_at) = wire::read_seconds(timestamp).filter(|_| number) else { return Err(invalid) };
        let keys = self.account.keys().filter(|keys| keys.id == id);
        let keys = keys.ok_or(Refused(4100, "SecretIdNotFound", "the SecretId is not found"))?;
        if parameters.get("Token").map(String::as_str) != keys.token {
            return Err(Refused(4100, "TokenFailure", "the Token is not that of the key"));
        }
        let covered = parameters.iter().filter(|(name, _)| *name != "Signature");
        let covered: Vec<(String, String)> = covered.map(|(name, value)| (name.clone(), value.clone())).collect();
        let (path, host) = (wire::split_path(request).0, request.header("Host").unwrap_or_default());
        let signed = sign::qcloud(&request.method, host, path, &covered, algorithm, keys.secret);
        if signed.signature != signature {
            return Err(Refused(4100, "SignatureFailure", "the signature does not fit the request"));
        }
        let in_time = wire::within(signed_at, now, CLOCK_TOLERANCE_S);
        if !in_time || !self.nonces.is_new(&format!("{nonce} {timestamp}"), now) {
            return Err(Refused(4500, "ReplayAttack", "the nonce was used before or the clock is off by over 2 hours"));
        }
        Ok(())
    }
}

impl Emulator for QcloudCdnEmulator {
    fn answer(&mut self, request: &Request, now: Timestamp) -> Response {
        if let Some(defect) = wire::http_defect(request) {
            return wire::plain(400, defect, now);
        }
        let (path, query) = wire::split_path(request);
        if path != format!("{}/v2/index.php", self.account.setup.endpoint.path_prefix) {
            return wire::plain(404, "no such path", now);
        }
        match request.method.as_str() {
            "GET" | "POST" if query.len() > MOST_QUERY_BYTES || request.body.len() > MOST_BODY_BYTES => {
                return wire::plain(501, "request too large", now);
            }
            "GET" | "POST" => {}
            _ => return wire::plain(405, "method not allowed", now),
        }
        let body = match self.execute(request, now) {
            Ok(data) => json!({"code": 0, "message": "", "codeDesc": "Success", "data": data}),
            Err(Refused(code, detail, message)) => json!({"code": code, "message": message, "codeDesc": detail}),
        };
        wire::respond(200, "application/json", body.to_string(), now)
    }

    fn log(&self) -> &[Purged] {
        self.account.log()
    }
}

fn required<'a>(parameters: &'a QcloudParameters, name: &str) -> Result<&'a str, Refused> {
    parameters.get(name).map(String::as_str).ok_or(Refused(4000, "MissingParameter", "a common parameter is missing"))
}

/// A GET has everything in its query, a POST in its form; no name may come twice.
fn read_parameters(request: &Request) -> Result<QcloudParameters, Refused> {
    let malformed = || Refused(4000, "InvalidParameter", "the parameters are malformed");
    let (_, query) = wire::split_path(request);
    let text = if request.method == "GET" {
        if !request.body.is_empty() {
            return Err(malformed());
        }
        query
    } else {
        if !query.is_empty() || wire::media_type(request) != Some("application/x-www-form-urlencoded") {
            return Err(malformed());
        }
        std::str::from_utf8(&request.body).map_err(|_| malformed())?
    };
    let pairs = sign::form_decode(text).ok_or_else(malformed)?;
    let count = pairs.len();
    let parameters: QcloudParameters = pairs.into_iter().collect();
    (parameters.len() == count).then_some(parameters).ok_or_else(malformed)
}

/// `urls.0`, `urls.1` and so on without a gap, and nothing else.
fn read_list(mut parameters: QcloudParameters, list: &str, scope: Scope) -> Result<Vec<Target>, Refused> {
    let count = parameters.len();
    let texts = (0..count).map_while(|index| parameters.remove(&format!("{list}.{index}")));
    let targets: Vec<Target> = texts.map(|text| Target { scope, text }).collect();
    if targets.is_empty() || targets.len() != count {
        return Err(Refused(4000, "InvalidParameter", "a list has gaps, or a parameter is unknown"));
    }
    Ok(targets)
}

fn is_well_formed(target: &Target) -> bool {
    wire::is_web_url(&target.text) && (target.scope == Scope::Url || target.text.ends_with('/'))
}
