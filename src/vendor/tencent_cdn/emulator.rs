//! Tencent CDN: `PurgeUrlsCache` and `PurgePathCache`, and the queries of quotas and tasks.

use serde_json::{Map, Value, json};

use crate::core::http::{Request, Response};
use crate::core::query::TaskState;
use crate::core::target::{Scope, Target};
use crate::core::time::Timestamp;
use crate::vendor::emulation::account::{Account, Purge};
use crate::vendor::emulation::wire::{self, ErrorAnswer};
use crate::vendor::emulation::{Emulator, Purged, Setup};
use crate::vendor::tencent_api::emulator::{self as tencent_api, ApiParameters, Asked, Service, missing, refusal};

static SERVICE: Service = Service {
    name: "cdn",
    version: "2018-06-06",
    operations: &[("PurgeUrlsCache", Scope::Url), ("PurgePathCache", Scope::Directory)],
    queries: &[QUOTA, "DescribePurgeTasks"],
};
const QUOTA: &str = "DescribePurgeQuota";
const AREAS: [&str; 2] = ["mainland", "overseas"];
/// Rows of a page, unless the call says otherwise.
const PAGE: usize = 20;

/// Its quota days are Beijing's.
const QUOTA_DAY_OFFSET_MINUTES: i32 = 8 * 60;

/// The account, or the cache, that `setup` describes.
pub(in crate::vendor) fn emulator(setup: Setup) -> Box<dyn Emulator> {
    Box::new(TencentCdnEmulator::new(setup))
}

struct TencentCdnEmulator {
    account: Account,
}

impl TencentCdnEmulator {
    fn new(setup: Setup) -> Self {
        Self { account: Account::new(setup, QUOTA_DAY_OFFSET_MINUTES) }
    }
}

impl Emulator for TencentCdnEmulator {
    fn answer(&mut self, request: &Request, now: Timestamp) -> Response {
        tencent_api::answer(&mut self.account, &SERVICE, request, now, |account, asked, parameters| match asked {
            Asked::Purge(scope) => {
                let call = PurgeCall::read(scope, parameters)?;
                let task_id = execute(account, scope, call, now)?;
                Ok(Map::from_iter([("TaskId".to_owned(), task_id.into())]))
            }
            Asked::Query(QUOTA) => tell_quota(account, parameters, now),
            Asked::Query(_) => tell_task(account, parameters, now),
        })
    }

    fn log(&self) -> &[Purged] {
        self.account.log()
    }
}

struct PurgeCall {
    targets: Vec<Target>,
    area: Option<&'static str>,
}

impl PurgeCall {
    fn read(scope: Scope, mut parameters: ApiParameters) -> Result<Self, ErrorAnswer> {
        let texts = parameters.strings(if scope == Scope::Directory { "Paths" } else { "Urls" })?;
        let area = parameters.word("Area", &AREAS)?;
        parameters.check_bool("UrlEncode")?;
        if scope == Scope::Directory {
            parameters.word("FlushType", &["flush", "delete"])?.ok_or_else(|| missing("FlushType"))?;
        }
        parameters.end()?;
        Ok(Self { targets: texts.into_iter().map(|text| Target { scope, text }).collect(), area })
    }
}

fn execute(account: &mut Account, scope: Scope, call: PurgeCall, now: Timestamp) -> Result<String, ErrorAnswer> {
    let limits = account.limits(scope).ok_or_else(|| refusal("InvalidAction", "not for this account"))?;
    let (too_many, spent) = match scope {
        Scope::Directory => ("LimitExceeded.CdnPurgePathExceedBatchLimit", "LimitExceeded.CdnPurgePathExceedDayLimit"),
        _ => ("LimitExceeded.CdnPurgeUrlExceedBatchLimit", "LimitExceeded.CdnPurgeUrlExceedDayLimit"),
    };
    if call.targets.len() > limits.targets_per_call {
        return Err(refusal(too_many, "too many targets in one call"));
    }
    for target in &call.targets {
        check_target(account, target)?;
    }
    // Where a call names no area the vendor purges wherever the domain is accelerated; here that is everywhere.
    let named = call.area.map(|area| [area]);
    let areas: &[&str] = named.as_ref().map_or(&AREAS, <[&str; 1]>::as_slice);
    let shares: Vec<String> = areas.iter().map(|area| share(area, scope)).collect();
    let shares: Vec<&str> = shares.iter().map(String::as_str).collect();
    if !account.has_quota(limits.targets_per_day, &shares, call.targets.len(), now) {
        return Err(refusal(spent, "the quota of the day is spent"));
    }
    let task_id = format!("{}-{:08x}", now.unix_seconds(), account.next_task());
    let targets = call.targets.into_iter().map(|target| (target, Some(task_id.clone()))).collect();
    account.purge(Purge { area: call.area.unwrap_or_default(), shares: &shares, targets }, now);
    Ok(task_id)
}

/// The quota that purges of `scope` in an area draw on.
fn share(area: &str, scope: Scope) -> String {
    format!("{area} {}", scope.word())
}

fn tell_quota(account: &Account, parameters: ApiParameters, now: Timestamp) -> Result<Map<String, Value>, ErrorAnswer> {
    parameters.end()?;
    let lists = [("UrlPurge", Scope::Url), ("PathPurge", Scope::Directory)].map(|(name, scope)| {
        let most = account.limits(scope).map_or(0, |limits| limits.targets_per_call);
        let row = |area: &str| {
            let (total, left) = account.quota(scope, &share(area, scope), now);
            json!({"Area": area, "Batch": most, "Total": total, "Available": left})
        };
        (name.to_owned(), AREAS.into_iter().map(row).collect())
    });
    Ok(lists.into_iter().collect())
}

fn tell_task(
    account: &Account,
    mut parameters: ApiParameters,
    now: Timestamp,
) -> Result<Map<String, Value>, ErrorAnswer> {
    let task_id = parameters.text("TaskId")?;
    let (skipped, most) = (parameters.number("Offset", 0)?, parameters.number("Limit", PAGE)?);
    parameters.end()?;
    let all = account.results(&task_id, now);
    let rows = all.iter().skip(skipped).take(most).map(|(purged, state)| {
        let status = match state {
            TaskState::Done => "done",
            TaskState::Processing => "process",
            TaskState::Failed => "fail",
        };
        let sort = if purged.target.scope == Scope::Directory { "path" } else { "url" };
        json!({"TaskId": task_id, "Url": purged.target.text, "Status": status, "PurgeType": sort})
    });
    let logs = rows.collect::<Value>();
    Ok(Map::from_iter([("PurgeLogs".to_owned(), logs), ("TotalCount".to_owned(), all.len().into())]))
}

fn check_target(account: &Account, target: &Target) -> Result<(), ErrorAnswer> {
    let url = &target.text;
    if !wire::is_web_url(url) || (target.scope == Scope::Directory && !url.ends_with('/')) {
        return Err(refusal("InvalidParameter.CdnParamError", "a URL is malformed"));
    }
    if url.ends_with("/*") || target.host().is_some_and(|host| host.contains('*')) {
        return Err(refusal("InvalidParameter.CdnPurgeWildcardNotAllowed", "wildcards are not purged"));
    }
    if !account.owns(target) {
        return Err(refusal("ResourceNotFound.CdnHostNotExists", "a domain does not belong to the account"));
    }
    Ok(())
}
