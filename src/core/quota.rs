//! Daily quotas: ledgers that several providers may draw on, what fits into which day, and what is left during a run.
//!
//! Knows neither calls nor providers; the state keeps the ledgers that a run starts from.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::time::Timestamp;

/// Days after today of which a ledger is read: where a quota day begins lies up to 28 hours apart, and clocks are set.
const DAYS_AHEAD: i64 = 2;
/// Length of a quota day, in milliseconds.
pub const DAY_MS: i64 = 86_400_000;
/// How long after midnight a vendor may still count the day before, in milliseconds.
pub const COUNTS_ANEW_MS: i64 = 900_000;

/// From when on what a vendor says is surely of the quota day that ends at `resets_at`.
#[must_use]
pub const fn counts_anew_at(resets_at: Timestamp) -> Timestamp {
    resets_at.plus_ms(COUNTS_ANEW_MS - DAY_MS)
}

/// Which ledger a call counts on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QuotaKey {
    /// The account, by its name in the ledger.
    pub account: String,
    /// Name of the quota, see [`Operation::quota`](super::contract::Operation::quota).
    pub operation: &'static str,
    /// Share of the quota, for example an area; empty for all of them.
    pub area: String,
    /// Civil date of the quota day.
    pub day: String,
    /// At which offset from UTC, in minutes, the midnight lies at which it begins.
    pub offset_minutes: i32,
}

impl QuotaKey {
    /// Whether its day has a moment in common with another date at another offset. Where the manifest moves the beginning of the
    /// day, it is not known by which of both the vendor counted what was spent; so it counts on each day that overlaps it.
    pub fn overlaps(&self, day: &str, offset_minutes: i32) -> bool {
        if self.offset_minutes == offset_minutes {
            return self.day == day;
        }
        let midnight = |day, offset| Timestamp::midnight_of(day, offset).map(Timestamp::unix_ms);
        midnight(&self.day, self.offset_minutes)
            .zip(midnight(day, offset_minutes))
            .is_none_or(|(own, other)| own.abs_diff(other) < DAY_MS.unsigned_abs())
    }
}

/// Targets purged on a day, by area.
///
/// A purge in no area of its own draws on the quota of each area that it touches, which only the vendor knows: it counts in all
/// of them, and has the room that is left in the fullest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uses {
    everywhere: u64,
    areas: BTreeMap<String, u64>,
}

impl Uses {
    /// What `used` says of a day's ledgers; `areas` are those that the vendor has. The area of `key` does not matter.
    pub fn read(key: &QuotaKey, areas: &[&str], used: &dyn Fn(&QuotaKey) -> u64) -> Self {
        let of = |area: &str| used(&QuotaKey { area: area.to_owned(), ..key.clone() });
        let areas = areas.iter().map(|area| ((*area).to_owned(), of(area))).collect();
        Self { everywhere: of(""), areas }
    }

    /// Targets that leave no room for others in `area`; empty for purges in no area of their own.
    pub fn of(&self, area: &str) -> u64 {
        let in_area = if area.is_empty() { self.areas.values().copied().max() } else { self.areas.get(area).copied() };
        self.everywhere.saturating_add(in_area.unwrap_or(0))
    }

    fn row(&mut self, area: &str) -> &mut u64 {
        if area.is_empty() { &mut self.everywhere } else { self.areas.entry(area.to_owned()).or_default() }
    }

    fn add(&mut self, area: &str, targets: u64) {
        let row = self.row(area);
        *row = row.saturating_add(targets);
    }

    /// The sum of several days.
    fn sum<'u>(days: impl IntoIterator<Item = &'u Self>) -> Self {
        let mut sum = Self::default();
        for day in days {
            sum.add("", day.everywhere);
            day.areas.iter().for_each(|(area, targets)| sum.add(area, *targets));
        }
        sum
    }
}

/// What draws on a ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draw {
    /// Index of the ledger.
    pub ledger: usize,
    /// Where its targets count.
    pub area: String,
    /// It takes none once so many are used; `None`: it may take any number, which count all the same.
    pub limit: Option<u64>,
}

impl Draw {
    /// Whether one more target has room beside those that are used.
    pub fn fits(&self, uses: &Uses) -> bool {
        self.limit.is_none_or(|limit| uses.of(&self.area) < limit)
    }
}

/// The quota of an account: what is used today, and what is known of the days that follow.
#[derive(Clone, Debug)]
pub struct Ledger {
    key: QuotaKey,
    /// Days before today on which the quota counts, the latest first.
    past: VecDeque<Uses>,
    today: Uses,
    ahead: BTreeMap<String, Uses>,
    /// How many days the quota is for.
    days: usize,
    resets_at: Timestamp,
    /// Areas of which the vendor said that nothing is left, whatever was counted here.
    said_spent: BTreeSet<String>,
}

impl Ledger {
    /// The ledger of an account and operation as `rows` have it at `now`. Its quota is for `days` days, which begin at
    /// midnight at this offset from UTC.
    pub fn read(
        (account, operation, days): (&str, &'static str, usize),
        areas: &[&str],
        (now, offset_minutes): (Timestamp, i32),
        rows: &dyn Fn(&QuotaKey) -> u64,
    ) -> Self {
        let (account, area) = (account.to_owned(), String::new());
        let key = QuotaKey { account, operation, area, day: now.date_at_offset(offset_minutes), offset_minutes };
        let resets_at = now.next_midnight(offset_minutes);
        let day = |ahead: i64| {
            let day = now.plus_ms(DAY_MS.saturating_mul(ahead)).date_at_offset(offset_minutes);
            let uses = Uses::read(&QuotaKey { day: day.clone(), ..key.clone() }, areas, rows);
            (day, uses)
        };
        let today = Uses::read(&key, areas, rows);
        let days = days.max(1);
        let past = (1..i64::try_from(days).unwrap_or(1)).map(|before| day(-before).1).collect();
        let ahead = (1..=DAYS_AHEAD).map(day).collect();
        Self { key, past, today, ahead, days, resets_at, said_spent: BTreeSet::new() }
    }

    /// Whether it is that of this account and operation.
    pub fn is_of(&self, account: &str, operation: &str) -> bool {
        self.key.account == account && self.key.operation == operation
    }

    /// The row of today that targets in `area` count in.
    pub fn key(&self, area: &str) -> QuotaKey {
        QuotaKey { area: area.to_owned(), ..self.key.clone() }
    }

    /// What is used of the quota.
    pub fn uses(&self) -> Uses {
        Uses::sum(self.past.iter().chain([&self.today]))
    }

    /// When the next day begins.
    pub const fn resets_at(&self) -> Timestamp {
        self.resets_at
    }

    /// Whether a call that counts on `key` counts today.
    pub fn is_today(&self, key: &QuotaKey) -> bool {
        self.key.day == key.day
    }

    /// Turns to the day of `now` if the one before is over; whether it was.
    pub fn begin_day(&mut self, now: Timestamp) -> bool {
        if now < self.resets_at {
            return false;
        }
        self.key.day = now.date_at_offset(self.key.offset_minutes);
        self.resets_at = now.next_midnight(self.key.offset_minutes);
        self.past.push_front(std::mem::take(&mut self.today));
        self.past.truncate(self.days - 1);
        self.today = self.ahead.remove(&self.key.day).unwrap_or_default();
        self.said_spent.clear();
        true
    }

    /// Counts targets; returns the row that they count in.
    pub fn debit(&mut self, area: &str, targets: u64) -> QuotaKey {
        self.today.add(area, targets);
        self.key(area)
    }

    /// Takes targets back; `false`: the vendor's own count stands against it.
    pub fn give_back(&mut self, key: &QuotaKey, targets: u64) -> bool {
        if !self.is_today(key) {
            return true;
        }
        if self.said_spent.contains(&key.area) {
            return false;
        }
        let row = self.today.row(&key.area);
        *row = row.saturating_sub(targets);
        true
    }

    /// The vendor says that the day's quota in `area` is spent: at least `limit` targets are used. Returns what its row comes to.
    pub fn spend(&mut self, area: &str, limit: u64) -> u64 {
        self.said_spent.insert(area.to_owned());
        self.today.add(area, limit.saturating_sub(self.uses().of(area)));
        *self.today.row(area)
    }
}

/// Room on a ledger from today on, given away target by target: the first one gets the earliest day.
#[derive(Clone, Debug)]
pub struct Days {
    /// From the first day on that counts today.
    days: Vec<Uses>,
    /// How many of them are before today.
    past: usize,
}

impl Days {
    /// All that the ledger has left.
    pub fn of(ledger: &Ledger) -> Self {
        let days = ledger.past.iter().rev().chain([&ledger.today]).chain(ledger.ahead.values());
        Self { days: days.cloned().collect(), past: ledger.days - 1 }
    }

    /// What is used of the quota today and given away.
    pub fn today(&self) -> Uses {
        Uses::sum(self.window(0))
    }

    /// The days that count on a day, 0 for today.
    fn window(&self, day: usize) -> &[Uses] {
        &self.days[day..=day + self.past]
    }

    fn fits(&self, draw: &Draw, day: usize) -> bool {
        match self.window(day) {
            [alone] => draw.fits(alone),
            _ if draw.limit.is_none() => true,
            several => draw.fits(&Uses::sum(several)),
        }
    }

    /// Whether today has room for one more target, which it then is given.
    pub fn take_today(&mut self, draw: &Draw) -> bool {
        let fits = self.fits(draw, 0);
        if fits {
            self.days[self.past].add(&draw.area, 1);
        }
        fits
    }

    /// The first day, 0 for today, that has room for one more target, which it then is given. Days before `from` are known to
    /// be full for this draw.
    pub fn take(&mut self, draw: &Draw, from: usize) -> usize {
        let mut day = from;
        loop {
            if day + self.past == self.days.len() {
                self.days.push(Uses::default());
            }
            // A quota of nothing never has room; that is a day on its own.
            if self.fits(draw, day) || draw.limit == Some(0) && day > from + self.past {
                self.days[day + self.past].add(&draw.area, 1);
                return day;
            }
            day += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(now: Timestamp, used: &[(&str, &str, u64)]) -> Ledger {
        let rows = |key: &QuotaKey| {
            let row = used.iter().find(|(area, day, _)| (*area, *day) == (key.area.as_str(), key.day.as_str()));
            row.map_or(0, |(.., used)| *used)
        };
        Ledger::read(("a", "purge", 1), &["mainland", "overseas"], (now, 480), &rows)
    }

    const NOON: Timestamp = Timestamp::from_unix_ms(1_700_020_800_000);

    fn draw(area: &str, limit: u64) -> Draw {
        Draw { ledger: 0, area: area.to_owned(), limit: Some(limit) }
    }

    /// T3, T4
    #[test]
    fn what_the_vendor_calls_spent_stays_spent_until_its_next_day() {
        let mut ledger = ledger(NOON, &[("", "2023-11-15", 40)]);
        let midnight = ledger.resets_at();
        let key = ledger.debit("", 60);
        assert!(ledger.give_back(&key, 20) && ledger.uses().of("") == 80);
        assert_eq!(ledger.spend("", 100), 100);
        assert!(!ledger.give_back(&key, 20) && ledger.uses().of("") == 100);
        assert!(!ledger.begin_day(midnight.plus_ms(-1)) && ledger.begin_day(midnight));
        assert_eq!((ledger.uses().of(""), ledger.is_today(&key)), (0, false));
        ledger.debit("", 100);
        assert!(ledger.give_back(&key, 20), "the old day's row takes it");
        assert_eq!(ledger.uses().of(""), 100, "the new day has no more");
    }

    /// T2: clocks are set, and quota days are moved: a day that begins may have been drawn on.
    #[test]
    fn a_day_begins_with_what_its_ledger_holds() {
        let mut ledger = ledger(NOON, &[("", "2023-11-16", 7), ("mainland", "2023-11-17", 3)]);
        let (at, midnight) = (|ledger: &Ledger| ledger.uses().of("mainland"), ledger.resets_at());
        assert_eq!(at(&ledger), 0);
        assert!(ledger.begin_day(midnight));
        assert_eq!((at(&ledger), ledger.key("").day.as_str()), (7, "2023-11-16"));
        assert!(ledger.begin_day(midnight.plus_ms(DAY_MS)));
        assert_eq!(at(&ledger), 3);
        let mut days = Days::of(&ledger);
        assert_eq!((days.take(&draw("", 3), 0), days.take(&draw("overseas", 3), 0)), (1, 0));
    }

    /// S5: days of one offset follow each other; of two offsets those overlap that have a moment in common.
    #[test]
    fn days_overlap_where_they_have_a_moment_in_common() {
        let key =
            |day: &str, offset_minutes| QuotaKey { day: day.to_owned(), offset_minutes, ..ledger(NOON, &[]).key("") };
        let today = key("2023-11-15", 480);
        for (day, offset_minutes, overlaps) in [
            ("2023-11-15", 480, true),
            ("2023-11-14", 480, false),
            ("2023-11-16", 480, false),
            ("2023-11-14", 479, true),
            ("2023-11-15", 0, true),
            ("2023-11-14", 0, true),
            ("2023-11-16", 0, false),
            ("2023-11-16", 840, true),
            ("2023-11-13", -840, false),
            ("no date", 0, true),
            ("no date", 480, false),
        ] {
            assert_eq!(today.overlaps(day, offset_minutes), overlaps, "{day} {offset_minutes}");
        }
        assert!(!key("2023-11-15", 840).overlaps("2023-11-15", -840), "28 hours apart");
    }

    /// S5: Tencent CDN counts a purge without an area in each area that it touches.
    #[test]
    fn a_purge_in_no_area_counts_in_all_of_them() {
        let mut ledger = ledger(NOON, &[("mainland", "2023-11-15", 5), ("overseas", "2023-11-15", 2)]);
        ledger.debit("", 3);
        let uses = ledger.uses();
        assert_eq!((uses.of("mainland"), uses.of("overseas"), uses.of("")), (8, 5, 8));
        assert_eq!(ledger.spend("mainland", 100), 97, "with those in all areas");
        assert_eq!((ledger.uses().of("mainland"), ledger.uses().of("overseas")), (100, 5));
    }

    /// Each takes the first day with room for it, whatever others of another limit could not have.
    #[test]
    fn days_are_given_away_in_order() {
        let mut days = Days::of(&ledger(NOON, &[("", "2023-11-16", 2)]));
        let mut take = |limit| days.take(&draw("", limit), 0);
        assert_eq!([take(2), take(2), take(2), take(4), take(2), take(4), take(3)], [0, 0, 2, 0, 2, 0, 1]);
        let any = Draw { limit: None, ..draw("", 1) };
        assert_eq!(days.take(&any, 0), 0);
    }

    /// T2, S5: a quota over several days leaves room for what the days before today have not used of it.
    #[test]
    fn a_quota_over_several_days_counts_the_days_before() {
        let rows = |key: &QuotaKey| match key.day.as_str() {
            "2023-11-12" => 50,
            "2023-11-13" => 30,
            "2023-11-14" => 20,
            "2023-11-15" => 4,
            _ => 0,
        };
        let mut ledger = Ledger::read(("a", "purge", 3), &[], (NOON, 480), &rows);
        assert_eq!(ledger.uses().of(""), 54);
        let mut days = Days::of(&ledger);
        let given: Vec<usize> = (0..80).map(|_| days.take(&draw("", 100), 0)).collect();
        let on = |day| given.iter().filter(|&&given| given == day).count();
        assert_eq!([on(0), on(1), on(2)], [46, 30, 4], "as days go out of the window");
        ledger.debit("", 6);
        assert!(ledger.begin_day(ledger.resets_at()));
        assert_eq!(ledger.uses().of(""), 30, "yesterday and the day before");
        assert_eq!(ledger.spend("", 100), 70, "its own row has only what is of today");
    }
}
