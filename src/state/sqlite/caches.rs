//! Caches that come and go, in a name or in the list of endpoints: what is recorded while one is away, it has not purged, and
//! may hold when it comes back.

use std::collections::BTreeSet;
use std::net::IpAddr;

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::rows::{json_list, scope_number};
use super::{SqliteStore, StateError};
use crate::core::endpoints::{AwayCache, CacheAddress, FoundCaches, ReturnedCache};
use crate::core::target::Target;
use crate::core::time::Timestamp;

/// A cache that was away for longer is forgotten.
const KEPT_MS: i64 = 30 * 86_400_000;
/// Most addresses of a provider that are kept, the newest ones: pods get others each time.
const KEPT: usize = 256;

/// Caches that are away, and were there in the last 30 days.
pub(super) fn away(db: &Connection, now: Timestamp) -> rusqlite::Result<Vec<AwayCache>> {
    let (earlier, _) = last_clocks(db, now)?;
    let known = known(db, None)?.into_iter().filter(|known| !known.is_forgotten(earlier));
    Ok(known.filter_map(|known| Some(AwayCache { cache: known.cache, since: known.away_since? })).collect())
}

struct KnownCache {
    cache: CacheAddress,
    /// When it was found first, or was there last.
    seen_at: Timestamp,
    away_since: Option<Timestamp>,
}

/// The clock of a run and that of the run before, the earlier one first: what only one of them says makes no cache older.
fn last_clocks(db: &Connection, now: Timestamp) -> rusqlite::Result<(Timestamp, Timestamp)> {
    let mut last = db.prepare_cached("SELECT started_at FROM run ORDER BY id DESC LIMIT 1")?;
    let before = last.query_row([], |row| row.get(0).map(Timestamp::from_unix_ms)).optional()?.unwrap_or(now);
    Ok((now.min(before), now.max(before)))
}

/// Those that are known, of one provider or of all: first those that are there, each the newest first.
fn known(db: &Connection, provider: Option<&str>) -> rusqlite::Result<Vec<KnownCache>> {
    let mut statement = db.prepare_cached(
        "SELECT provider, endpoint, host, address, seen_at, away_since FROM cache_address WHERE provider = coalesce(?1, provider)
         ORDER BY away_since IS NOT NULL, seen_at DESC, provider, endpoint, address",
    )?;
    let read = |row: &Row<'_>| {
        let text: String = row.get(3)?;
        let parsed = (!text.is_empty()).then(|| text.parse::<IpAddr>()).transpose();
        let address = parsed.map_err(|_| super::rows::never_written(&text))?;
        let cache = CacheAddress { provider: row.get(0)?, endpoint: row.get(1)?, host: row.get(2)?, address };
        let away_since = row.get::<_, Option<i64>>(5)?.map(Timestamp::from_unix_ms);
        Ok(KnownCache { cache, seen_at: Timestamp::from_unix_ms(row.get(4)?), away_since })
    };
    statement.query_map([provider], read)?.collect()
}

/// As it is written: an endpoint that is one cache has none.
fn address_text(cache: &CacheAddress) -> String {
    cache.address.map_or_else(String::new, |address| address.to_string())
}

/// Notes what runs have found, if any of it is new: most runs find what others found before.
pub(super) fn note_new(store: &mut SqliteStore, found: &[FoundCaches], at: Timestamp) -> Result<(), StateError> {
    let all_noted = |db: &Connection| found.iter().try_fold(true, |noted, found| Ok(noted && is_noted(db, found, at)?));
    if store.read(all_noted)? {
        return Ok(());
    }
    store.write(|transaction| found.iter().try_for_each(|found| note(transaction, found, at)))
}

/// Whether the state knows what a run has found of the caches of a provider.
fn is_noted(db: &Connection, found: &FoundCaches, at: Timestamp) -> rusqlite::Result<bool> {
    let (known, (earlier, _)) = (known(db, Some(&found.provider))?, last_clocks(db, at)?);
    let is_settled = |known: &KnownCache| !known.is_gone(found, at) && !known.is_forgotten(earlier);
    Ok(unknown(&known, found).next().is_none()
        && known.iter().all(is_settled)
        && (found.endpoints.is_some() || known.is_empty()))
}

/// Notes what a run has found of the caches of a provider.
fn note(transaction: &Transaction<'_>, found: &FoundCaches, at: Timestamp) -> rusqlite::Result<()> {
    let before = known(transaction, Some(&found.provider))?;
    let (earlier, later) = last_clocks(transaction, at)?;
    for cache in unknown(&before, found) {
        transaction
            .prepare_cached(
                "INSERT INTO cache_address (provider, endpoint, host, address, seen_at) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (provider, endpoint, address) DO UPDATE SET seen_at = ?5",
            )?
            .execute(params![cache.provider, cache.endpoint, cache.host, address_text(cache), at.unix_ms()])?;
    }
    for KnownCache { cache, .. } in before.iter().filter(|known| known.is_gone(found, at)) {
        let sql = "UPDATE cache_address SET away_since = ?4, seen_at = ?5
                 WHERE provider = ?1 AND endpoint = ?2 AND address = ?3";
        let (away, seen) = (at.unix_ms(), later.unix_ms());
        let values = params![cache.provider, cache.endpoint, address_text(cache), away, seen];
        transaction.prepare_cached(sql)?.execute(values)?;
    }
    for (index, known) in known(transaction, Some(&found.provider))?.into_iter().enumerate() {
        if found.endpoints.is_none() || index >= KEPT || known.is_forgotten(earlier) {
            forget(transaction, &known.cache)?;
        }
    }
    tidy(transaction)
}

/// What is found and not known to be there.
fn unknown<'f>(known: &[KnownCache], found: &'f FoundCaches) -> impl Iterator<Item = &'f CacheAddress> {
    let is_known = |cache: &CacheAddress| known.iter().any(|known| known.away_since.is_none() && known.cache == *cache);
    let owing = found.addresses.iter().filter(|_| found.endpoints.is_some());
    owing.filter(move |cache| !is_known(cache))
}

impl KnownCache {
    /// Whether it is away, and that is not noted. Until now it was there, as far as it is known.
    fn is_gone(&self, found: &FoundCaches, at: Timestamp) -> bool {
        let Some(endpoints) = &found.endpoints else { return false };
        let is_listed = endpoints.contains(&self.cache.endpoint);
        let is_answered = found.addresses.iter().any(|found| found.endpoint == self.cache.endpoint);
        let is_away = (is_answered || !is_listed) && !found.addresses.contains(&self.cache);
        // A clock that was ahead has no say.
        is_away && self.away_since.is_none_or(|since| since > at)
    }

    /// Whether it was away for so long that it counts as a new one, which is empty.
    fn is_forgotten(&self, now: Timestamp) -> bool {
        self.away_since.is_some() && self.seen_at < now.plus_ms(-KEPT_MS)
    }
}

fn forget(transaction: &Transaction<'_>, cache: &CacheAddress) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("DELETE FROM cache_address WHERE provider = ?1 AND endpoint = ?2 AND address = ?3")?
        .execute(params![cache.provider, cache.endpoint, address_text(cache)])
        .map(drop)
}

/// Forgets removals that no cache lacks any more.
fn tidy(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let is_lacked = "SELECT 1 FROM cache_address a WHERE a.provider = cache_removal.provider AND a.away_since <= at";
    transaction.execute(&format!("DELETE FROM cache_removal WHERE NOT EXISTS ({is_lacked})"), []).map(drop)
}

/// When something is recorded, not before caches were noted as away that lack it: a clock may be set back meanwhile.
pub(super) fn no_earlier(transaction: &Transaction<'_>, at: Timestamp) -> rusqlite::Result<Timestamp> {
    let mut last = transaction.prepare_cached("SELECT max(away_since) FROM cache_address")?;
    let away_since: Option<i64> = last.query_row([], |row| row.get(0))?;
    Ok(away_since.map_or(at, |away_since| at.max(Timestamp::from_unix_ms(away_since))))
}

/// A removal was accepted, and its row is about to go: caches that are away lack it.
pub(super) fn note_removal(
    transaction: &Transaction<'_>,
    (provider, target): (&str, &Target),
    at: Timestamp,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO cache_removal (provider, scope, target, at)
             SELECT ?1, ?2, ?3, ?4
             WHERE EXISTS (SELECT 1 FROM cache_address WHERE provider = ?1 AND away_since IS NOT NULL)",
        )?
        .execute(params![provider, scope_number(target.scope), target.text, at.unix_ms()])
        .map(drop)
}

/// Makes due again what caches lack that are back, at them alone as far as it is known that others have it; how much that is.
pub(super) fn owe(transaction: &Transaction<'_>, back: &[ReturnedCache], at: Timestamp) -> rusqlite::Result<u64> {
    let mut due = 0;
    for ReturnedCache { away: AwayCache { cache, since }, others } in back {
        let here = known(transaction, Some(&cache.provider))?.into_iter().filter(|known| known.away_since.is_none());
        let is_back = |other: &String| back.iter().any(|returned| returned.away.cache.to_string() == *other);
        let here = here.map(|known| known.cache.to_string()).chain(others.iter().cloned());
        let accepted_at: BTreeSet<String> = here.filter(|other| !is_back(other)).collect();
        let accepted_at = json_list(&accepted_at.into_iter().collect::<Vec<_>>());
        let reason = format!("{cache} was away when this was purged last");
        let work = params![cache.provider, since.unix_ms(), at.unix_ms(), reason, accepted_at];
        due += transaction
            .prepare_cached(
                "UPDATE target SET work_kind = 'changed', desired = hash, priority = 'normal', since = ?3,
                     standing = 'pending', reason = ?4, until = NULL, refused_config = NULL, waits = NULL,
                     progress = 'admitted', accepted_at = ?5
                 WHERE provider = ?1 AND recorded_at >= ?2 AND hash IS NOT NULL AND work_kind IS NULL",
            )?
            .execute(work)?;
        // No manifest lists it, and what those say that did was done elsewhere.
        due += transaction
            .prepare_cached(
                "INSERT INTO target (provider, scope, target, owners, work_kind, priority, since, standing, reason, progress,
                     accepted_at, may_have_been_purged)
                 SELECT provider, scope, target, '[]', 'removed', 'normal', ?3, 'pending', ?4, 'admitted', ?5, 1
                 FROM cache_removal WHERE provider = ?1 AND at >= ?2
                 -- Listed again, and not recorded since: the cache may hold it all the same.
                 ON CONFLICT DO UPDATE SET may_have_been_purged = 1 WHERE hash IS NULL",
            )?
            .execute(work)?;
        transaction
            .prepare_cached(
                "UPDATE cache_address SET away_since = NULL, seen_at = ?4
                 WHERE provider = ?1 AND endpoint = ?2 AND address = ?3",
            )?
            .execute(params![cache.provider, cache.endpoint, address_text(cache), at.unix_ms()])?;
    }
    tidy(transaction)?;
    Ok(due as u64)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::state::Store;

    const NOW: Timestamp = Timestamp::from_unix_ms(1_790_000_000_000);
    const DAY_MS: i64 = 86_400_000;

    fn cache(endpoint: &str, last: u8) -> CacheAddress {
        let (provider, host) = ("own".to_owned(), endpoint.to_owned());
        CacheAddress { provider, endpoint: format!("http://{endpoint}"), host, address: Some([10, 0, 0, last].into()) }
    }

    /// Notes that names have these addresses, in a run after so many days.
    fn see(store: &mut SqliteStore, day: i64, endpoints: &[&str], addresses: &[CacheAddress]) {
        let endpoints = Some(endpoints.iter().map(|endpoint| format!("http://{endpoint}")).collect());
        note(store, day, endpoints, addresses);
    }

    fn note(store: &mut SqliteStore, day: i64, endpoints: Option<Vec<String>>, addresses: &[CacheAddress]) {
        let found = FoundCaches { provider: "own".to_owned(), endpoints, addresses: addresses.to_vec() };
        store.note_caches(&[found], NOW.plus_ms(day * DAY_MS)).unwrap();
    }

    /// Which are away, and since which day.
    fn away(store: &SqliteStore) -> Vec<(String, i64)> {
        away_after(store, 0)
    }

    fn away_after(store: &SqliteStore, days: i64) -> Vec<(String, i64)> {
        let now = NOW.plus_ms(days * DAY_MS);
        let since = |since: Timestamp| (since.unix_ms() - NOW.unix_ms()) / DAY_MS;
        let mut away: Vec<(String, i64)> =
            store.caches_away(now).unwrap().iter().map(|away| (away.cache.to_string(), since(away.since))).collect();
        away.sort_unstable();
        away
    }

    #[test]
    fn a_cache_is_away_from_the_first_run_that_does_not_find_it() {
        let mut store = SqliteStore::scratch(Path::new("/nowhere/state.db"), "test").unwrap();
        let (one, two, other) = (cache("a", 1), cache("a", 2), cache("b", 1));
        see(&mut store, 0, &["a", "b"], &[one.clone(), two.clone(), other.clone()]);
        assert_eq!(away(&store), []);
        see(&mut store, 2, &["a", "b"], std::slice::from_ref(&one));
        assert_eq!(away(&store), [("http://a at 10.0.0.2".to_owned(), 2)], "`b` had no answer");
        see(&mut store, 3, &["a", "b"], std::slice::from_ref(&one));
        assert_eq!(away(&store)[0].1, 2);
        assert_eq!((away_after(&store, 32).len(), away_after(&store, 33).len()), (1, 0), "away for too long");
        see(&mut store, 1, &["a", "b"], std::slice::from_ref(&one));
        assert_eq!(away(&store)[0].1, 1, "the clock was ahead");
        see(&mut store, 4, &["a", "b"], &[one.clone(), two.clone()]);
        assert_eq!(away(&store).len(), 1, "it still lacks what was recorded meanwhile");
        let back = ReturnedCache { away: store.caches_away(NOW).unwrap().remove(0), others: Vec::new() };
        assert_eq!(store.owe_caches(&[back], NOW.plus_ms(5 * DAY_MS)).unwrap(), 0);
        assert_eq!(away(&store), []);
        see(&mut store, 6, &["a"], &[one.clone(), cache("a", 3)]);
        let expected = [("http://a at 10.0.0.2".to_owned(), 6), ("http://b at 10.0.0.1".to_owned(), 6)];
        assert_eq!(away(&store), expected, "`b` is not configured any more");
        note(&mut store, 7, None, &[one]);
        assert_eq!(away(&store), [], "some are enough");
    }

    /// T2: what is recorded after a clock was set back is no less lacked.
    #[test]
    fn what_is_recorded_is_no_earlier_than_what_is_away() {
        let mut store = SqliteStore::scratch(Path::new("/nowhere/state.db"), "test").unwrap();
        let day = |day: i64| NOW.plus_ms(day * DAY_MS);
        see(&mut store, 0, &["a"], &[cache("a", 1), cache("a", 2)]);
        see(&mut store, 2, &["a"], &[cache("a", 1)]);
        let mut recorded = |at| {
            let mut noted = None;
            store.write(|transaction| no_earlier(transaction, at).map(|at| noted = Some(at))).unwrap();
            noted
        };
        assert_eq!([1, 3].map(|at| recorded(day(at))), [Some(day(2)), Some(day(3))]);
    }

    #[test]
    fn what_is_not_configured_any_more_is_away() {
        let mut store = SqliteStore::scratch(Path::new("/nowhere/state.db"), "test").unwrap();
        let fixed = |endpoint: &str| CacheAddress { address: None, ..cache(endpoint, 0) };
        let (left, stays, address) = (fixed("a"), fixed("b"), cache("c", 1));
        see(&mut store, 0, &["a", "b", "c"], &[left.clone(), stays.clone(), address]);
        see(&mut store, 20, &["b"], std::slice::from_ref(&stays));
        let expected = [("http://a".to_owned(), 20), ("http://c at 10.0.0.1".to_owned(), 20)];
        assert_eq!(away(&store), expected);
        assert_eq!(
            (away_after(&store, 50), away_after(&store, 51)),
            (expected.to_vec(), Vec::new()),
            "they were there until then"
        );
        see(&mut store, 40, &["a", "b"], &[left.clone(), stays.clone()]);
        see(&mut store, 60, &["b"], std::slice::from_ref(&stays));
        assert_eq!(away_after(&store, 60), [("http://a".to_owned(), 20)], "it still lacks what was recorded meanwhile");
    }

    #[test]
    fn caches_that_come_and_go_do_not_pile_up() {
        let mut store = SqliteStore::scratch(Path::new("/nowhere/state.db"), "test").unwrap();
        let half = |endpoint: &str| (0..200).map(|last| cache(endpoint, last)).collect::<Vec<_>>();
        see(&mut store, 0, &["a", "b"], &half("a"));
        see(&mut store, 1, &["a", "b"], &[half("b"), vec![cache("a", 250)]].concat());
        assert_eq!(away(&store).len(), 256 - 201);
        let mut stays = |day| {
            see(&mut store, day, &["a"], &[cache("a", 250)]);
            away(&store).len()
        };
        assert_eq!([2, 32, 33].map(&mut stays), [255, 200, 0]);
    }

    /// S1: no run has to say every month that it is still there.
    #[test]
    fn a_cache_that_is_there_is_known_for_good() {
        let mut store = SqliteStore::scratch(Path::new("/nowhere/state.db"), "test").unwrap();
        see(&mut store, 0, &["a"], &[cache("a", 1), cache("a", 2)]);
        let other = FoundCaches { provider: "other".to_owned(), endpoints: Some(Vec::new()), addresses: Vec::new() };
        store.note_caches(&[other], NOW.plus_ms(90 * DAY_MS)).unwrap();
        see(&mut store, 91, &["a"], &[cache("a", 1)]);
        assert_eq!(away_after(&store, 121), [("http://a at 10.0.0.2".to_owned(), 91)]);
    }

    #[test]
    fn what_is_known_already_is_not_written_again() {
        let mut store = SqliteStore::scratch(Path::new("/nowhere/state.db"), "test").unwrap();
        let both = [cache("a", 1), cache("a", 2)];
        for (day, found, writes) in
            [(0, &both[..], true), (1, &both[..], false), (2, &both[..1], true), (3, &both[..1], false)]
        {
            let before = store.identity().unwrap();
            see(&mut store, day, &["a"], found);
            assert_eq!(store.identity().unwrap() != before, writes, "day {day}");
        }
        let before = store.identity().unwrap();
        see(&mut store, 33, &["a"], &both[..1]);
        assert_ne!(store.identity().unwrap(), before, "what is away too long is forgotten");
    }
}
