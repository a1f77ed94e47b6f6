//! What is kept of the headers of an answer.

use crate::core::probe::{KEPT_HEADERS, LONGEST_HEADER, NOTED_HEADERS};

/// [`KEPT_HEADERS`] and `asked`, in the order in which they came, each once: values of a name that comes again are joined. Of
/// [`NOTED_HEADERS`] only that they came.
pub(super) fn kept<'a>(
    headers: impl Iterator<Item = (&'a str, &'a [u8])>,
    asked: Option<&str>,
) -> Vec<(String, String)> {
    let is_asked = |name: &str| asked.is_some_and(|asked| asked.eq_ignore_ascii_case(name));
    let mut kept: Vec<(String, String)> = Vec::new();
    for (name, value) in headers {
        let is_noted = NOTED_HEADERS.contains(&name) && !is_asked(name);
        if !is_noted && !KEPT_HEADERS.contains(&name) && !is_asked(name) {
            continue;
        }
        let value = if is_noted { String::new() } else { String::from_utf8_lossy(value).into_owned() };
        match kept.iter_mut().find(|(known, _)| known == name) {
            Some(_) if is_noted => {}
            Some((_, joined)) => joined.extend([", ", &value]),
            None => kept.push((name.to_owned(), value)),
        }
    }
    for (_, value) in &mut kept {
        value.truncate(value.floor_char_boundary(LONGEST_HEADER));
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_come_again_are_joined_long_ones_cut_and_all_others_dropped() {
        let long = format!("{}ä", "x".repeat(LONGEST_HEADER - 1));
        let headers: [(&str, &[u8]); 8] = [
            ("x-rev", b"7"),
            ("vary", b"Accept-Encoding"),
            ("x-other", b"canary"),
            ("set-cookie", b"session=canary"),
            ("set-cookie", b"other=canary"),
            ("vary", b"Origin"),
            ("etag", b"\xff"),
            ("via", long.as_bytes()),
        ];
        let expected = [
            ("x-rev", "7"),
            ("vary", "Accept-Encoding, Origin"),
            ("set-cookie", ""),
            ("etag", "\u{fffd}"),
            ("via", &long[..LONGEST_HEADER - 1]),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(kept(headers.into_iter(), Some("X-Rev")), expected);
        assert_eq!(kept(headers.into_iter(), None), expected[1..]);
    }
}
