//! Durations as people write them.

/// Reads `500ms`, `90s`, `10m` or `2h` into milliseconds.
///
/// # Errors
/// A text that says what is wrong and what the form is.
pub fn parse(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("write a whole number and a unit, for example 500ms, 90s, 10m or 2h".into()),
    };
    let number: u64 = number.parse().map_err(|_| "the number is missing or too large".to_owned())?;
    number.checked_mul(unit_ms).ok_or_else(|| "too long".to_owned())
}

/// As [`parse`], but nothing that takes no time.
///
/// # Errors
/// As [`parse`].
pub fn parse_positive(text: &str) -> Result<u64, String> {
    match parse(text)? {
        0 => Err("it must be longer than nothing".into()),
        ms => Ok(ms),
    }
}

/// Milliseconds as [`parse`] reads them, in the largest unit of which they are a whole number.
pub fn written(ms: u64) -> String {
    let units = [(3_600_000, "h"), (60_000, "m"), (1000, "s")];
    let unit = units.into_iter().find(|(unit_ms, _)| ms > 0 && ms.is_multiple_of(*unit_ms));
    let (unit_ms, unit) = unit.unwrap_or(if ms == 0 { (1000, "s") } else { (1, "ms") });
    format!("{}{unit}", ms / unit_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_they_are_read() {
        for text in ["0s", "1200ms", "90s", "2m", "6h", "100ms"] {
            assert_eq!(parse(text).map(written).as_deref(), Ok(text));
        }
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(parse("10m"), Ok(600_000));
        assert_eq!(parse("0s"), Ok(0));
        assert!(parse_positive("0ms").is_err() && parse_positive("1ms") == Ok(1));
        for bad in ["", "10", "m", "-1s", "1.5s", "1d", "99999999999999999999s", "18446744073709551615h"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
