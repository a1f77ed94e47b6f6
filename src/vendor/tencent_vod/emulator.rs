//! Tencent VOD: `RefreshUrlCache`.

use serde_json::Map;

use crate::core::http::{Request, Response};
use crate::core::model::OperationLimits;
use crate::core::target::{Scope, Target};
use crate::core::time::Timestamp;
use crate::vendor::emulation::account::{Account, Purge};
use crate::vendor::emulation::wire::{self, ErrorAnswer};
use crate::vendor::emulation::{Emulator, Purged, Setup};
use crate::vendor::tencent_api::emulator::{self as tencent_api, ApiParameters, Asked, Service, refusal};

static SERVICE: Service =
    Service { name: "vod", version: "2018-07-17", operations: &[("RefreshUrlCache", Scope::Url)], queries: &[] };

/// Its quota days are Beijing's.
const QUOTA_DAY_OFFSET_MINUTES: i32 = 8 * 60;

/// The account, or the cache, that `setup` describes.
pub(in crate::vendor) fn emulator(setup: Setup) -> Box<dyn Emulator> {
    Box::new(TencentVodEmulator::new(setup))
}

struct TencentVodEmulator {
    account: Account,
}

impl TencentVodEmulator {
    fn new(setup: Setup) -> Self {
        Self { account: Account::new(setup, QUOTA_DAY_OFFSET_MINUTES) }
    }
}

impl Emulator for TencentVodEmulator {
    fn answer(&mut self, request: &Request, now: Timestamp) -> Response {
        tencent_api::answer(&mut self.account, &SERVICE, request, now, |account, asked, parameters| {
            let limits = match asked {
                Asked::Purge(scope) => account.limits(scope),
                Asked::Query(_) => None,
            };
            let limits = limits.ok_or_else(|| refusal("InvalidAction", "not for this account"))?;
            refresh(account, &limits, parameters, now).map(|()| Map::new())
        })
    }

    fn log(&self) -> &[Purged] {
        self.account.log()
    }
}

/// The service answers without a task id.
fn refresh(
    account: &mut Account,
    limits: &OperationLimits,
    mut parameters: ApiParameters,
    now: Timestamp,
) -> Result<(), ErrorAnswer> {
    let urls = parameters.strings("Urls")?;
    parameters.check_integer("SubAppId")?;
    parameters.end()?;
    if urls.len() > limits.targets_per_call {
        return Err(refusal("InvalidParameter", "too many Urls"));
    }
    if !urls.iter().all(|url| wire::is_web_url(url)) {
        return Err(refusal("InvalidParameterValue.Url", "a URL is malformed"));
    }
    let targets: Vec<Target> = urls.into_iter().map(Target::url).collect();
    // The vendor does not say which code a foreign domain yields; of those it defines this one fits best.
    if !targets.iter().all(|target| account.owns(target)) {
        return Err(refusal("InvalidParameterValue.DomainName", "a domain is not registered"));
    }
    if !account.has_quota(limits.targets_per_day, &[""], targets.len(), now) {
        return Err(refusal("LimitExceeded", "the quota of the day is spent"));
    }
    let targets = targets.into_iter().map(|target| (target, None)).collect();
    account.purge(Purge { area: "", shares: &[""], targets }, now);
    Ok(())
}
