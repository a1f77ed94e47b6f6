//! Numbers of bytes as people write them.

/// Units with the bytes that they stand for.
const UNITS: [(&str, u64); 8] = [
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// Reads `64 MB`, `512KiB` or `1 TB` into bytes.
///
/// # Errors
/// A text that says what is wrong and what the form is.
pub fn parse(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = unit.strip_prefix(' ').unwrap_or(unit);
    let Some((_, bytes)) = UNITS.iter().find(|(known, _)| *known == unit) else {
        return Err("write a whole number and a unit, for example 64 MB, 512 KiB or 1 TB".into());
    };
    let number: u64 = number.parse().map_err(|_| "the number is missing or too large".to_owned())?;
    number.checked_mul(*bytes).ok_or_else(|| "too large".to_owned())
}

/// Bytes as [`parse`] reads them, in the largest decimal unit of which they are a whole number.
pub fn written(bytes: u64) -> String {
    let unit = UNITS[..4].iter().rev().find(|(_, unit)| bytes.is_multiple_of(*unit));
    unit.map_or_else(|| format!("{bytes} bytes"), |(name, unit)| format!("{} {name}", bytes / unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_need_a_unit() {
        for (text, bytes) in [("64 MB", 64_000_000), ("64MB", 64_000_000), ("1 TB", 1_000_000_000_000), ("2 KiB", 2048)]
        {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for bad in ["", "64", "MB", "64 mb", "64  MB", "-1 MB", "1.5 MB", "99999999 TiB", "64 MB "] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert_eq!([written(64_000_000), written(1_000_000_000_000)], ["64 MB", "1 TB"]);
    }
}
