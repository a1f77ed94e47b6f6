//! Patterns of URLs, ids and names: `*` stands for any text, every other character for itself.
//!
//! URLs hold `?`, `[` and `{`, which patterns of files give a meaning, so that those would match other URLs.

/// A list of patterns.
#[derive(Clone, Debug, Default)]
pub struct TextPatterns(Vec<TextPattern>);

#[derive(Clone, Debug)]
struct TextPattern {
    start: String,
    /// What follows each `*`; nothing for a text without any.
    rest: Vec<String>,
}

impl TextPattern {
    fn new(pattern: &str) -> Self {
        let mut parts = pattern.split('*').map(str::to_owned);
        Self { start: parts.next().unwrap_or_default(), rest: parts.collect() }
    }

    fn is_match(&self, text: &str) -> bool {
        let Some((end, middle)) = self.rest.split_last() else { return text == self.start };
        let Some(text) = text.strip_prefix(self.start.as_str()) else { return false };
        let Some(mut text) = text.strip_suffix(end.as_str()) else { return false };
        // The first place leaves the most for what follows.
        middle.iter().all(|part| {
            let found = text.find(part.as_str());
            text = found.map_or("", |at| &text[at + part.len()..]);
            found.is_some()
        })
    }
}

impl TextPatterns {
    /// Takes every text: each is a pattern.
    pub fn new<T: AsRef<str>>(patterns: &[T]) -> Self {
        Self(patterns.iter().map(|pattern| TextPattern::new(pattern.as_ref())).collect())
    }

    /// Whether any of them matches the whole text.
    pub fn is_match(&self, text: &str) -> bool {
        self.matches(text).next().is_some()
    }

    /// Which of them match the whole text, each by its index.
    pub fn matches<'t>(&'t self, text: &'t str) -> impl Iterator<Item = usize> + 't {
        let matches = move |(index, pattern): (usize, &TextPattern)| pattern.is_match(text).then_some(index);
        self.0.iter().enumerate().filter_map(matches)
    }
}

#[cfg(test)]
mod tests {
    use super::TextPatterns;
    use proptest::prelude::*;

    #[test]
    fn only_a_star_stands_for_other_text() {
        for (pattern, text, is_match) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "a/b", true),
            ("a", "a", true),
            ("a", "ab", false),
            ("a*", "ab/c", true),
            ("*/b", "a/b", true),
            ("*/b", "b", false),
            ("a*b*c", "abc", true),
            ("a*b*c", "a-c-b", false),
            ("ab*ba", "aba", false),
            ("ab*ba", "abba", true),
            ("*a*a*", "a", false),
            ("*a*a*", "xaya", true),
            ("**/x", "a/x", true),
            ("*é*", "né", true),
            ("[slug].js", "[slug].js", true),
            ("[slug].js", "s.js", false),
            ("q.js?v=1", "q.js?v=1", true),
            ("q.js?v=1", "q.jsXv=1", false),
            (r"a\*", r"a\b", true),
            (r"\*", "*", false),
            ("{a,b}", "{a,b}", true),
            ("{a,b}", "a", false),
        ] {
            assert_eq!(TextPatterns::new(&[pattern]).is_match(text), is_match, "{pattern} {text}");
        }
        assert_eq!(TextPatterns::new(&["a", "*", "b"]).matches("b").collect::<Vec<_>>(), [1, 2]);
        assert!(!TextPatterns::default().is_match(""));
    }

    proptest! {
        #[test]
        fn matches_are_those_of_trying_every_place(pattern in "[ab*]{0,8}", text in "[ab]{0,8}") {
            fn tried(pattern: &[u8], text: &[u8]) -> bool {
                match (pattern, text) {
                    ([], text) => text.is_empty(),
                    ([b'*', rest @ ..], text) => (0..=text.len()).any(|at| tried(rest, &text[at..])),
                    ([byte, rest @ ..], [first, others @ ..]) => byte == first && tried(rest, others),
                    (_, []) => false,
                }
            }
            let found = TextPatterns::new(&[&pattern]).is_match(&text);
            prop_assert_eq!(found, tried(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
