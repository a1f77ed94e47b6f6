//! Alibaba Cloud `ApsaraVideo` VOD: `RefreshVodObjectCaches` and the queries of quotas and tasks, signed by ACS3 or by the
//! older RPC scheme.
//!
//! Of the object types it knows `File` and `Directory`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::core::http::{Request, Response};
use crate::core::query::TaskState;
use crate::core::target::{Scope, Target};
use crate::core::time::Timestamp;
use crate::vendor::emulation::account::{Account, Keys, Purge};
use crate::vendor::emulation::limits::NonceMemory;
use crate::vendor::emulation::wire::{self, ErrorAnswer};
use crate::vendor::emulation::{Emulator, Purged, Setup};
use crate::vendor::sign;

const ACTION: &str = "RefreshVodObjectCaches";
const QUOTA: &str = "DescribeVodRefreshQuota";
const TASKS: &str = "DescribeVodRefreshTasks";
const ACTIONS: [&str; 3] = [ACTION, QUOTA, TASKS];
/// Rows of a page: unless the call says otherwise, and at most.
const PAGE: (usize, usize) = (20, 50);
const VERSION: &str = "2017-03-21";
const CLOCK_TOLERANCE_S: i64 = 15 * 60;
const MOST_URL_CHARACTERS: usize = 1024;
const FORM: &str = "application/x-www-form-urlencoded";

/// Parameters of the RPC scheme itself.
const RPC_PARAMETERS: [&str; 10] = [
    "Action",
    "Version",
    "Format",
    "AccessKeyId",
    "SignatureMethod",
    "SignatureVersion",
    "SignatureNonce",
    "Timestamp",
    "Signature",
    "SecurityToken",
];

/// Its quota days are Beijing's.
const QUOTA_DAY_OFFSET_MINUTES: i32 = 8 * 60;

/// The account, or the cache, that `setup` describes.
pub(in crate::vendor) fn emulator(setup: Setup) -> Box<dyn Emulator> {
    Box::new(AlibabaVodEmulator::new(setup))
}

struct AlibabaVodEmulator {
    account: Account,
    nonces: NonceMemory,
    /// By host: the second of its newest task, and the task.
    tasks: BTreeMap<String, (i64, String)>,
}

/// What signs the call, wherever the scheme carries it.
struct Claims<'a> {
    action: &'a str,
    version: &'a str,
    date: &'a str,
    nonce: &'a str,
    key_id: &'a str,
    token: Option<&'a str>,
}

type AlibabaParameters = BTreeMap<String, String>;

impl AlibabaVodEmulator {
    fn new(setup: Setup) -> Self {
        // A nonce must be remembered for as long as a request that carries it could be valid, before and after.
        let nonces = NonceMemory::new(2 * CLOCK_TOLERANCE_S * 1000);
        Self { account: Account::new(setup, QUOTA_DAY_OFFSET_MINUTES), nonces, tasks: BTreeMap::new() }
    }

    /// The fields of the answer besides the request id.
    fn execute(&mut self, request: &Request, now: Timestamp) -> Result<Value, ErrorAnswer> {
        self.check_line(request)?;
        let mut parameters = read_parameters(request)?;
        let action = if request.header("Authorization").is_some() {
            self.check_acs3(request, now)?
        } else {
            let action = self.check_rpc(request, &parameters, now)?;
            parameters.retain(|name, _| !RPC_PARAMETERS.contains(&name.as_str()));
            action
        };
        match action {
            ACTION => Ok(json!({"RefreshTaskId": self.refresh(parameters, now)?})),
            _ => self.tell(action, parameters, now),
        }
    }

    fn tell(
        &mut self,
        query: &'static str,
        mut parameters: AlibabaParameters,
        now: Timestamp,
    ) -> Result<Value, ErrorAnswer> {
        self.account.admit_query(query, now).map_err(throttled)?;
        if query == QUOTA {
            no_more(&parameters)?;
            return Ok(self.quotas(now));
        }
        let task_id = parameters.remove("TaskId").ok_or_else(|| missing("TaskId"))?;
        let mut number = |name: &'static str, otherwise: usize, most: usize| {
            let given = parameters.remove(name).map_or(Some(otherwise), |text| text.parse().ok());
            let wrong = || ErrorAnswer::new(400, "InvalidParameter", format!("{name} must be from 1 to {most}"));
            given.filter(|number| (1..=most).contains(number)).ok_or_else(wrong)
        };
        let (page, size) = (number("PageNumber", 1, 100_000)?, number("PageSize", PAGE.0, PAGE.1)?);
        no_more(&parameters)?;
        let all = self.account.results(&task_id, now);
        let rows = all.iter().skip((page - 1) * size).take(size).map(|(purged, state)| {
            let (status, process) = match state {
                TaskState::Done => ("Complete", "100%"),
                TaskState::Processing => ("Refreshing", "50%"),
                TaskState::Failed => ("Failed", "50%"),
            };
            let sort = if purged.target.scope == Scope::Directory { "directory" } else { "file" };
            json!({
                "TaskId": task_id, "ObjectPath": purged.target.text, "ObjectType": sort, "Status": status,
                "Process": process,
            })
        });
        let rows: Value = rows.collect();
        Ok(json!({"Tasks": {"Task": rows}, "TotalCount": all.len(), "PageNumber": page, "PageSize": size}))
    }

    fn quotas(&self, now: Timestamp) -> Value {
        let quota = |scope: Scope| self.account.quota(scope, scope.word(), now);
        let ((urls, urls_left), (folders, folders_left)) = (quota(Scope::Url), quota(Scope::Directory));
        json!({
            "UrlQuota": urls.to_string(),
            "UrlRemain": urls_left.to_string(),
            "DirQuota": folders.to_string(),
            "DirRemain": folders_left.to_string(),
        })
    }

    fn check_line(&self, request: &Request) -> Result<(), ErrorAnswer> {
        let endpoint = &self.account.setup.endpoint;
        if !matches!(request.method.as_str(), "GET" | "POST") {
            return Err(ErrorAnswer::new(405, "UnsupportedHTTPMethod", "only GET and POST are served"));
        }
        let served = wire::split_path(request).0 == format!("{}/", endpoint.path_prefix)
            && request.header("Host") == Some(endpoint.authority().as_str());
        served.then_some(()).ok_or_else(|| ErrorAnswer::new(404, "InvalidAction.NotFound", "nothing is served here"))
    }

    fn check_acs3(&mut self, request: &Request, now: Timestamp) -> Result<&'static str, ErrorAnswer> {
        let incomplete = || ErrorAnswer::new(400, "IncompleteSignature", "the signature is incomplete");
        let header = request.header("Authorization").ok_or_else(incomplete)?;
        let authorization =
            wire::read_authorization(header, "ACS3-HMAC-SHA256", "Credential", ",").ok_or_else(incomplete)?;
        let required = |name: &'static str| request.header(name).ok_or_else(|| missing(name));
        let hash = required("x-acs-content-sha256")?;
        let claims = Claims {
            action: required("x-acs-action")?,
            version: required("x-acs-version")?,
            date: required("x-acs-date")?,
            nonce: required("x-acs-signature-nonce")?,
            key_id: authorization.credential,
            token: request.header("x-acs-security-token"),
        };
        let names = &authorization.signed_headers;
        let must_sign = |name: &str| name == "host" || name == "content-type" || name.starts_with("x-acs-");
        let all_signed = request.headers.iter().all(|(name, _)| {
            let name = name.to_ascii_lowercase();
            !must_sign(&name) || names.contains(&name.as_str())
        });
        if !all_signed || !wire::all_present(request, names) {
            return Err(incomplete());
        }
        let (action, keys) = check_claims(&self.account, &claims, now)?;
        let signed = sign::acs3(&wire::parts_of(request), names, keys.secret);
        let fits = signed.signature == authorization.signature && hash == sign::sha256_hex(&request.body);
        check_once(fits, &mut self.nonces, claims.nonce, now)?;
        Ok(action)
    }

    fn check_rpc(
        &mut self,
        request: &Request,
        parameters: &AlibabaParameters,
        now: Timestamp,
    ) -> Result<&'static str, ErrorAnswer> {
        let required = |name: &'static str| parameters.get(name).map(String::as_str).ok_or_else(|| missing(name));
        let fixed = [("Format", "JSON"), ("SignatureMethod", "HMAC-SHA1"), ("SignatureVersion", "1.0")];
        for (name, value) in fixed {
            if required(name)? != value {
                return Err(ErrorAnswer::new(400, "InvalidParameter", format!("{name} must be {value}")));
            }
        }
        let claims = Claims {
            action: required("Action")?,
            version: required("Version")?,
            date: required("Timestamp")?,
            nonce: required("SignatureNonce")?,
            key_id: required("AccessKeyId")?,
            token: parameters.get("SecurityToken").map(String::as_str),
        };
        let signature = required("Signature")?;
        let (action, keys) = check_claims(&self.account, &claims, now)?;
        let covered = parameters.iter().filter(|(name, _)| *name != "Signature");
        let covered: Vec<(String, String)> = covered.map(|(name, value)| (name.clone(), value.clone())).collect();
        let fits = sign::acs_rpc(&request.method, &covered, keys.secret).signature == signature;
        check_once(fits, &mut self.nonces, claims.nonce, now)?;
        Ok(action)
    }

    fn refresh(&mut self, mut parameters: AlibabaParameters, now: Timestamp) -> Result<String, ErrorAnswer> {
        let scope = match parameters.remove("ObjectType").as_deref() {
            None | Some("File") => Scope::Url,
            Some("Directory") => Scope::Directory,
            Some(_) => return Err(ErrorAnswer::new(400, "InvalidObjectType.ValueNotSupported", "no such ObjectType")),
        };
        let unsupported = || ErrorAnswer::new(400, "InvalidObjectType.ValueNotSupported", "not for this account");
        let limits = self.account.limits(scope).ok_or_else(unsupported)?;
        self.account.admit(ACTION, limits.calls, now).map_err(throttled)?;
        let path = parameters.remove("ObjectPath").ok_or_else(|| missing("ObjectPath"))?;
        if !matches!(parameters.remove("Force").as_deref(), None | Some("true" | "false")) {
            return Err(ErrorAnswer::new(400, "InvalidParameter", "Force must be true or false"));
        }
        no_more(&parameters)?;
        let targets = self.read_targets(&path, scope, limits.targets_per_call)?;
        if !self.account.has_quota(limits.targets_per_day, &[scope.word()], targets.len(), now) {
            return Err(ErrorAnswer::new(400, "QuotaExceeded.Refresh", "the quota of the day is spent"));
        }
        let mut task_ids: Vec<String> = Vec::new();
        let mut purged = Vec::with_capacity(targets.len());
        for (host, target) in targets {
            let task_id = self.task_of(host, now);
            if !task_ids.contains(&task_id) {
                task_ids.push(task_id.clone());
            }
            purged.push((target, Some(task_id)));
        }
        self.account.purge(Purge { area: "", shares: &[scope.word()], targets: purged }, now);
        Ok(task_ids.join(","))
    }

    /// Each line of `ObjectPath` with its host.
    fn read_targets(&self, path: &str, scope: Scope, most: usize) -> Result<Vec<(String, Target)>, ErrorAnswer> {
        let lines: Vec<&str> = path.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).collect();
        if lines.len() > most {
            return Err(ErrorAnswer::new(400, "InvalidObjectPath.Size.Malformed", "too many URLs in one call"));
        }
        let malformed = || ErrorAnswer::new(400, "InvalidObjectPath.Malformed", "a URL is malformed");
        let mut targets = Vec::with_capacity(lines.len());
        for line in lines {
            let url = if line.contains("://") { line.to_owned() } else { format!("http://{line}") };
            let too_long = line.chars().count() > MOST_URL_CHARACTERS;
            if too_long || !wire::is_web_url(&url) || (scope == Scope::Directory && !url.ends_with('/')) {
                return Err(malformed());
            }
            let whole = Target { scope, text: url };
            if !self.account.owns(&whole) {
                return Err(ErrorAnswer::new(404, "InvalidDomain.NotFound", "a domain does not belong to the account"));
            }
            let host = whole.host().ok_or_else(malformed)?.to_ascii_lowercase();
            targets.push((host, Target { scope, text: line.to_owned() }));
        }
        Ok(targets)
    }

    /// Purges of one domain within one second share a task; other domains have their own.
    fn task_of(&mut self, host: String, now: Timestamp) -> String {
        let second = now.unix_seconds();
        match self.tasks.get(&host) {
            Some((at, task_id)) if *at == second => task_id.clone(),
            _ => {
                let task_id = format!("{}", 100_000_000 + self.account.next_task());
                self.tasks.insert(host, (second, task_id.clone()));
                task_id
            }
        }
    }
}

impl Emulator for AlibabaVodEmulator {
    fn answer(&mut self, request: &Request, now: Timestamp) -> Response {
        if let Some(defect) = wire::http_defect(request) {
            return wire::plain(400, defect, now);
        }
        let request_id = format!("00000000-0000-4000-8000-{:012X}", self.account.next_request());
        match self.execute(request, now) {
            Ok(mut body) => {
                body["RequestId"] = request_id.into();
                wire::respond(200, "application/json", body.to_string(), now)
            }
            Err(refusal) => {
                let body = json!({
                    "RequestId": request_id,
                    "HostId": self.account.setup.endpoint.authority(),
                    "Code": refusal.code,
                    "Message": refusal.message,
                    "Recommend": "",
                });
                let mut response = wire::respond(refusal.status, "application/json", body.to_string(), now);
                let wait = refusal.wait_ms.map(|wait| ("x-acs-retry-after".to_owned(), wait.to_string()));
                response.headers.extend(wait);
                response
            }
        }
    }

    fn log(&self) -> &[Purged] {
        self.account.log()
    }
}

fn missing(name: &str) -> ErrorAnswer {
    ErrorAnswer::new(400, "MissingParameter", format!("{name} is missing"))
}

/// Nothing may be left over.
fn no_more(parameters: &AlibabaParameters) -> Result<(), ErrorAnswer> {
    let unknown =
        |name| ErrorAnswer::new(400, "InvalidParameter", format!("{name} is not a parameter of the operation"));
    parameters.keys().next().map_or(Ok(()), |name| Err(unknown(name)))
}

fn throttled(wait_ms: i64) -> ErrorAnswer {
    ErrorAnswer { wait_ms: Some(wait_ms), ..ErrorAnswer::new(400, "Throttling.User", "too many calls in a second") }
}

/// Query and form together; no name may come twice.
fn read_parameters(request: &Request) -> Result<AlibabaParameters, ErrorAnswer> {
    let malformed = || ErrorAnswer::new(400, "InvalidParameter", "the parameters are malformed");
    let mut pairs = sign::form_decode(wire::split_path(request).1).ok_or_else(malformed)?;
    if !request.body.is_empty() {
        if wire::media_type(request) != Some(FORM) {
            return Err(ErrorAnswer::new(400, "InvalidParameter", "the body must be a form"));
        }
        let text = std::str::from_utf8(&request.body).map_err(|_| malformed())?;
        pairs.extend(sign::form_decode(text).ok_or_else(malformed)?);
    }
    let count = pairs.len();
    let parameters: AlibabaParameters = pairs.into_iter().collect();
    (parameters.len() == count).then_some(parameters).ok_or_else(malformed)
}

/// Everything about a call's claims but the signature itself; which action it calls, and the keys it must be signed with.
fn check_claims<'a>(
    account: &'a Account,
    claims: &Claims,
    now: Timestamp,
) -> Result<(&'static str, Keys<'a>), ErrorAnswer> {
    let unknown = || ErrorAnswer::new(404, "InvalidAction.NotFound", "the service has no such action");
    let action = ACTIONS.into_iter().find(|known| *known == claims.action).ok_or_else(unknown)?;
    if claims.version != VERSION {
        return Err(ErrorAnswer::new(400, "InvalidVersion", "the service has no such version"));
    }
    let signed_at = wire::read_date(claims.date, "%Y-%m-%dT%H:%M:%SZ", Timestamp::utc_extended)
        .ok_or_else(|| ErrorAnswer::new(400, "InvalidTimeStamp.Format", "the date is malformed"))?;
    if !wire::within(signed_at, now, CLOCK_TOLERANCE_S) {
        return Err(ErrorAnswer::new(400, "InvalidTimeStamp.Expired", "the date is off by more than 15 minutes"));
    }
    if claims.nonce.is_empty() {
        return Err(missing("SignatureNonce"));
    }
    let unknown_id = || ErrorAnswer::new(404, "InvalidAccessKeyId.NotFound", "the access key id is not found");
    let keys = account.keys().filter(|keys| keys.id == claims.key_id).ok_or_else(unknown_id)?;
    match (keys.token, claims.token) {
        (Some(_), None) => Err(ErrorAnswer::new(400, "MissingSecurityToken", "the security token is missing")),
        (own, given) if own != given => {
            Err(ErrorAnswer::new(400, "InvalidSecurityToken.Malformed", "the security token is not that of the key"))
        }
        _ => Ok((action, keys)),
    }
}

/// The signature must fit, and only then is its nonce used up.
fn check_once(fits: bool, nonces: &mut NonceMemory, nonce: &str, now: Timestamp) -> Result<(), ErrorAnswer> {
    if !fits {
        return Err(ErrorAnswer::new(400, "SignatureDoesNotMatch", "the signature does not fit the request"));
    }
    if !nonces.is_new(nonce, now) {
        return Err(ErrorAnswer::new(400, "SignatureNonceUsed", "the nonce was used before"));
    }
    Ok(())
}
