//! `normalize`: parts of texts that change with every build and are of no account, left out of their hash.

use std::ops::Range;

use regex::{Regex, RegexBuilder};

use super::file_patterns::{PatternProblem, problem};

/// Most memory of one compiled expression, in bytes; the crate's other limits follow from it.
const MAX_COMPILED_BYTES: usize = 1024 * 1024;
/// Most expressions in a list.
const MAX_EXPRESSIONS: usize = 64;

/// Regular expressions whose matches do not count.
///
/// The rule: of a text, everything that any of the expressions matches is left out, and the rest is hashed. A text is a
/// file of at most [`MAX_TEXT_BYTES`](Self::MAX_TEXT_BYTES) that is UTF-8 and holds no NUL; every other file, and a text
/// without any match, has the plain hash of its bytes. Each expression is held against the text as it is in the file, so
/// their order is of no account.
#[derive(Clone, Debug, Default)]
pub struct Normalizer {
    expressions: Vec<Regex>,
}

impl Normalizer {
    /// Longest text that is normalised, in bytes.
    pub const MAX_TEXT_BYTES: u64 = 16 * 1024 * 1024;

    /// Compiles expressions in the syntax of the `regex` crate.
    ///
    /// # Errors
    /// The first one that is not an expression, is too large, or matches the empty text, which is a mistake: `.*`
    /// leaves nothing to compare.
    pub fn compile<T: AsRef<str>>(expressions: &[T]) -> Result<Self, PatternProblem> {
        let one = |(index, text): (usize, &T)| {
            let text = text.as_ref();
            if index >= MAX_EXPRESSIONS {
                return Err(problem(index, text, format!("is one too many: {MAX_EXPRESSIONS} are allowed; join some")));
            }
            let expression = RegexBuilder::new(text)
                .size_limit(MAX_COMPILED_BYTES)
                .build()
                .map_err(|error| problem(index, text, why(&error)))?;
            if expression.is_match("") {
                return Err(problem(index, text, "matches the empty text; name what is to be left out"));
            }
            Ok(expression)
        };
        Ok(Self { expressions: expressions.iter().enumerate().map(one).collect::<Result<_, _>>()? })
    }

    /// Whether there is nothing to leave out, whatever the content.
    pub fn is_empty(&self) -> bool {
        self.expressions.is_empty()
    }

    /// The expressions as they are written: all that decides what is left out.
    pub fn expressions(&self) -> impl ExactSizeIterator<Item = &str> {
        self.expressions.iter().map(Regex::as_str)
    }

    /// The parts of `content` that count, in order; `None` if all of it does.
    pub fn kept<'c>(&self, content: &'c [u8]) -> Option<Vec<&'c [u8]>> {
        if self.is_empty() || content.contains(&0) {
            return None;
        }
        let text = std::str::from_utf8(content).ok()?;
        let matches = self.expressions.iter().flat_map(|expression| expression.find_iter(text));
        let mut dropped: Vec<Range<usize>> = matches.map(|found| found.range()).filter(|it| !it.is_empty()).collect();
        if dropped.is_empty() {
            return None;
        }
        dropped.sort_unstable_by_key(|range| range.start);
        let (mut kept, mut from) = (Vec::with_capacity(dropped.len() + 1), 0);
        for range in dropped {
            if range.start > from {
                kept.push(&content[from..range.start]);
            }
            from = from.max(range.end);
        }
        kept.push(&content[from..]);
        Some(kept)
    }
}

fn why(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(_) => {
            format!("takes more than {MAX_COMPILED_BYTES} bytes when compiled; repeat less")
        }
        // The crate shows the expression on lines of its own; its last line says what is wrong.
        other => {
            let text = other.to_string();
            let last = text.lines().last().unwrap_or_default().trim();
            format!("is not a regular expression: {}", last.strip_prefix("error: ").unwrap_or(last))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rest(expressions: &[&str], content: &[u8]) -> Option<Vec<u8>> {
        Normalizer::compile(expressions).unwrap().kept(content).map(|parts| parts.concat())
    }

    #[test]
    fn matches_of_all_expressions_are_left_out_of_texts() {
        let page = b"<p>x</p><!-- build 7f3a at 12:00 --><i>build 8</i>";
        assert_eq!(rest(&["<!-- build .*? -->"], page).unwrap(), b"<p>x</p><i>build 8</i>");
        let both = rest(&["build [0-9a-f]+", "<!-- build .*? -->"], page).unwrap();
        assert_eq!(both, b"<p>x</p><i></i>");
        assert_eq!(rest(&["<!-- build .*? -->", "build [0-9a-f]+"], page).unwrap(), both, "in any order");
        assert_eq!(rest(&["(?s)^.+$"], page).unwrap(), b"");
        assert_eq!(rest(&["\\b", "none"], page), None);
    }

    #[test]
    fn what_is_not_text_is_left_as_it_is() {
        assert_eq!(rest(&["x"], b"x\0x"), None);
        assert_eq!(rest(&["x"], b"x\xff"), None);
        assert_eq!(rest(&[], b"x"), None);
        assert_eq!(rest(&["x"], "x你".as_bytes()).unwrap(), "你".as_bytes());
    }

    #[test]
    fn bad_expressions_are_refused_by_name() {
        for (bad, message) in [
            ("a(", "`a(` is not a regular expression: unclosed group"),
            ("a*", "`a*` matches the empty text"),
            (".*", "`.*` matches the empty text"),
            ("(?:a{1000}){1000}", "`(?:a{1000}){1000}` takes more than 1048576 bytes when compiled"),
        ] {
            let problem = Normalizer::compile(&["fine", bad]).unwrap_err();
            assert!(problem.to_string().starts_with(message), "{problem}");
            assert_eq!(problem.index, 1);
        }
        assert!(Normalizer::compile(&["a"; MAX_EXPRESSIONS + 1]).is_err());
    }

    proptest! {
        #[test]
        fn what_is_kept_has_no_part_of_a_match_and_all_else(text in "[ab1-3\\n]{0,40}") {
            let expected: String = text.chars().filter(|c| !c.is_ascii_digit()).collect();
            let kept = rest(&["[0-9]+", "[12]"], text.as_bytes()).unwrap_or_else(|| text.clone().into_bytes());
            prop_assert_eq!(String::from_utf8(kept).unwrap(), expected);
        }
    }
}
