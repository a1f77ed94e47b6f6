//! How the quotas of providers stand, from the state alone.

use std::collections::BTreeSet;

use crate::core::plan::{QuotaKey, QuotaTerms};
use crate::core::quota::Ledger;
use crate::core::time::Timestamp;
use crate::state::{QuotaUse, StateError, Store};

/// The daily quota of a provider, and what is used of it by all that draw on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaStanding {
    /// What the provider may purge.
    pub terms: QuotaTerms,
    /// Its account, by its name in the ledger.
    pub account: String,
    /// Targets that count as used.
    pub used: u64,
    /// When the next day begins.
    pub resets_at: Timestamp,
    /// Other providers that draw on the same quota, by what the state knows them by.
    pub shared_with: Vec<String>,
}

impl QuotaStanding {
    /// Targets that may still be purged.
    pub const fn left(&self) -> u64 {
        self.terms.limit.saturating_sub(self.used)
    }
}

/// The quotas of all providers that the state knows, in order, as its ledger has them at `now`.
///
/// # Errors
/// A state that cannot be read.
pub fn quotas(store: &dyn Store, now: Timestamp) -> Result<Vec<QuotaStanding>, StateError> {
    let (all, ledger) = (store.quota_terms()?, store.quota_uses()?);
    let standing = |(terms, account): &(QuotaTerms, String)| {
        let (used, resets_at) = used(terms, account, &ledger, now);
        let shares = |(other, its): &&(QuotaTerms, String)| {
            let meets = other.area == terms.area || other.area.is_empty() || terms.area.is_empty();
            its == account && other.operation == terms.operation && meets && other.provider != terms.provider
        };
        let shared_with = all.iter().filter(shares).map(|(other, _)| other.provider.clone()).collect();
        QuotaStanding { terms: terms.clone(), account: account.clone(), used, resets_at, shared_with }
    };
    Ok(all.iter().map(standing).collect())
}

fn used(terms: &QuotaTerms, account: &str, ledger: &[QuotaUse], now: Timestamp) -> (u64, Timestamp) {
    let rows: Vec<&QuotaUse> =
        ledger.iter().filter(|row| row.account == account && row.operation == terms.operation).collect();
    let areas: BTreeSet<&str> = rows.iter().map(|row| row.area.as_str()).filter(|area| !area.is_empty()).collect();
    let of_key = |key: &QuotaKey| {
        let counts = |row: &&&QuotaUse| row.area == key.area && key.overlaps(&row.day, row.offset_minutes);
        rows.iter().filter(counts).fold(0_u64, |used, row| used.saturating_add(row.used))
    };
    // The rows are those of the operation already.
    let whose = (account, "", terms.days);
    let areas: Vec<&str> = areas.into_iter().collect();
    let today = Ledger::read(whose, &areas, (now, terms.offset_minutes), &of_key);
    (today.uses().of(&terms.area), today.resets_at())
}
