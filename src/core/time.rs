//! Wall time, monotonic time and the civil dates that vendors sign with.
//!
//! Does not know where time comes from: every value arrives as an argument.

use jiff::tz::{Offset, TimeZone};

/// A moment on the wall clock, in milliseconds since 1970 UTC. Wall clocks jump; use [`Tick`] for delays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since 1970 UTC.
    pub const fn from_unix_ms(ms: i64) -> Self {
        Self(ms)
    }

    /// Milliseconds since 1970 UTC.
    pub const fn unix_ms(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970 UTC, rounded down.
    pub const fn unix_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This moment moved by `ms` milliseconds.
    #[must_use]
    pub const fn plus_ms(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// From the date of an HTTP header, like `Tue, 14 Nov 2023 22:13:20 GMT`; `None` for anything else.
    pub fn from_http_date(text: &str) -> Option<Self> {
        let moment =
            jiff::fmt::rfc2822::parse(text.trim().strip_suffix("GMT").map(|date| format!("{date}+0000"))?.as_str());
        Some(Self(moment.ok()?.timestamp().as_millisecond()))
    }

    /// `2023-11-14`, the UTC date.
    pub fn utc_date(self) -> String {
        self.format("%Y-%m-%d", 0)
    }

    /// `2023-11-14T22:13:20Z`.
    pub fn utc_extended(self) -> String {
        self.format("%Y-%m-%dT%H:%M:%SZ", 0)
    }

    /// A moment for people: `2023-11-14 22:13 UTC`.
    pub fn utc_minute(self) -> String {
        self.format("%Y-%m-%d %H:%M UTC", 0)
    }

    /// The same with seconds: `2023-11-14 22:13:20 UTC`.
    pub fn utc_second(self) -> String {
        self.format("%Y-%m-%d %H:%M:%S UTC", 0)
    }

    /// `20231114T221320Z`.
    pub fn utc_basic(self) -> String {
        self.format("%Y%m%dT%H%M%SZ", 0)
    }

    /// The civil date at a fixed offset from UTC, in minutes; names a quota day.
    pub fn date_at_offset(self, offset_minutes: i32) -> String {
        self.format("%Y-%m-%d", offset_minutes)
    }

    /// When a civil date begins at a fixed offset from UTC, in minutes; `None` for a text that is no date.
    pub fn midnight_of(date: &str, offset_minutes: i32) -> Option<Self> {
        let midnight = date.parse::<jiff::civil::Date>().ok()?.at(0, 0, 0, 0).to_zoned(TimeZone::UTC).ok()?;
        Some(Self(midnight.timestamp().as_millisecond() - i64::from(offset_minutes) * 60_000))
    }

    /// The first moment of the next civil day at a fixed offset from UTC, in minutes.
    #[must_use]
    pub const fn next_midnight(self, offset_minutes: i32) -> Self {
        const DAY_MS: i64 = 86_400_000;
        let shift = offset_minutes as i64 * 60_000;
        let local = self.0.saturating_add(shift);
        let day = local.div_euclid(DAY_MS).saturating_add(1);
        Self(day.saturating_mul(DAY_MS).saturating_sub(shift))
    }

    /// Moments that the calendar cannot hold are shown as its nearest end.
    fn format(self, pattern: &str, offset_minutes: i32) -> String {
        let clamped = self.0.clamp(
            jiff::Timestamp::MIN.as_millisecond() + 86_400_000,
            jiff::Timestamp::MAX.as_millisecond() - 86_400_000,
        );
        let moment = jiff::Timestamp::from_millisecond(clamped).unwrap_or_default();
        let offset = Offset::from_seconds(offset_minutes * 60).unwrap_or(Offset::UTC);
        moment.to_zoned(TimeZone::fixed(offset)).strftime(pattern).to_string()
    }
}

/// A moment on the monotonic clock, in milliseconds since an arbitrary start. Backoff and rates use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Tick(u64);

impl Tick {
    /// From milliseconds since the clock's start.
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the clock's start.
    pub const fn ms(self) -> u64 {
        self.0
    }

    /// This moment moved forward by `ms` milliseconds.
    #[must_use]
    pub const fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this moment; 0 if `earlier` is later.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Both clocks, read together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Now {
    /// The wall clock.
    pub wall: Timestamp,
    /// The monotonic clock.
    pub tick: Tick,
}

/// Milliseconds for people: `under 1 s`, `12 s`, `3 min`, `2 h 5 min`.
pub fn shown_duration(ms: u64) -> String {
    let seconds = ms.div_ceil(1000);
    match seconds {
        _ if ms < 1000 => "under 1 s".into(),
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_vectors() {
        let stamp = Timestamp::from_unix_ms(1_700_000_000_999);
        assert_eq!(stamp.utc_date(), "2023-11-14");
        assert_eq!(stamp.utc_extended(), "2023-11-14T22:13:20Z");
        assert_eq!(stamp.utc_basic(), "20231114T221320Z");
        assert_eq!(stamp.date_at_offset(480), "2023-11-15");
        assert_eq!(stamp.unix_seconds(), 1_700_000_000);
    }

    #[test]
    fn dates_of_headers_are_read_or_refused() {
        let read = |text| Timestamp::from_http_date(text).map(Timestamp::unix_seconds);
        assert_eq!(read("Tue, 14 Nov 2023 22:13:20 GMT"), Some(1_700_000_000));
        for text in
            ["", "GMT", "14", "tomorrow GMT", "Tue, 14 Nov 2023 22:13:20 +0800", "Tue, 99 Nov 2023 22:13:20 GMT"]
        {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn quota_day_ends_at_local_midnight() {
        let stamp = Timestamp::from_unix_ms(1_700_000_000_000);
        let midnight = stamp.next_midnight(480);
        assert_eq!(midnight.utc_extended(), "2023-11-15T16:00:00Z");
        assert_eq!(midnight.plus_ms(-1).date_at_offset(480), "2023-11-15");
        assert_eq!(midnight.date_at_offset(480), "2023-11-16");
        assert_eq!(midnight.next_midnight(480).utc_extended(), "2023-11-16T16:00:00Z");
        assert_eq!(Timestamp::midnight_of("2023-11-16", 480), Some(midnight));
        assert!(["", "2023-11", "2023-13-01", "x"].iter().all(|text| Timestamp::midnight_of(text, 0).is_none()));
    }

    #[test]
    fn moments_outside_the_calendar_do_not_panic() {
        for ms in [i64::MIN, i64::MAX, 0] {
            let stamp = Timestamp::from_unix_ms(ms);
            assert!(!stamp.utc_extended().is_empty());
            let _ = stamp.next_midnight(480);
        }
    }

    #[test]
    fn durations_read_well() {
        assert_eq!(
            [shown_duration(0), shown_duration(1500), shown_duration(300_000), shown_duration(7_500_000)],
            ["under 1 s", "2 s", "5 min", "2 h 5 min"]
        );
    }
}
