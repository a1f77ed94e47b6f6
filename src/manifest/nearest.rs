//! The known word that was probably meant.

/// The word of `known` that is closest to `found`, if any is close enough to be a slip.
pub(crate) fn nearest<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if found.len() > 64 {
        return None;
    }
    let lower = found.to_ascii_lowercase();
    let far = lower.chars().count().max(3) / 3;
    known
        .into_iter()
        .map(|word| (distance(&lower, word), word))
        .filter(|(distance, word)| *distance <= far.max(1) || (word.starts_with(&lower) && lower.len() >= 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// Least number of insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
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
