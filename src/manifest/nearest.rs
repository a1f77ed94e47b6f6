//! The known word that was probably meant.

use strsim::osa_distance;

/// The word of `known` that is closest to `found`, if any is close enough to be a slip.
pub(crate) fn nearest<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if found.len() > 64 {
        return None;
    }
    let lower = found.to_ascii_lowercase();
    let far = lower.chars().count().max(3) / 3;
    known
        .into_iter()
        .map(|word| (osa_distance(&lower, word), word))
        .filter(|(distance, word)| *distance <= far.max(1) || (word.starts_with(&lower) && lower.len() >= 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// Whether `found` is `word` but for one slip: a letter more, less, other or swapped.
pub(crate) fn is_slip(found: &str, word: &str) -> bool {
    found.len().abs_diff(word.len()) <= 1 && osa_distance(&found.to_ascii_lowercase(), word) <= 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_find_their_word_and_strangers_do_not() {
        let known = ["hosts", "kind", "limits", "assets"];
        assert_eq!(nearest("hots", known), Some("hosts"));
        assert_eq!(nearest("Kind", known), Some("kind"));
        assert_eq!(nearest("knid", known), Some("kind"));
        assert_eq!(nearest("asset", known), Some("assets"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(nearest(&"h".repeat(1000), known), None);
    }
}
