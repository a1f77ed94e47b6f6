//! `include` and `exclude`: which files of a directory are assets. Does not look at the disk.

use std::path::Path;

use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};

/// Which files of a directory are taken: those that any `include` pattern matches (all, if there is none) and no
/// `exclude` pattern does.
///
/// A pattern is held against a file's whole path below the directory, with `/` and in its exact case. `*` and `?` stand
/// for characters other than `/`; `**` as a whole part stands for any number of folders, none included; `[a-z]`,
/// `[!a-z]` and `{a,b}` are sets and alternatives, and stand for themselves too, so that `[slug].js` matches the file of that
/// name; `\` takes the meaning from the next character. `*.html` therefore
/// matches in the uppermost folder only, `**/*.html` in all of them, and `drafts/**` everything below `drafts`. Names
/// that begin with a dot are names like others.
#[derive(Clone, Debug, Default)]
pub struct FilePatterns {
    include: Option<GlobSet>,
    exclude: GlobSet,
    /// Folders below which everything is excluded.
    closed: GlobSet,
}

/// A pattern or expression that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{pattern}` {message}")]
pub struct PatternProblem {
    /// Which one of its list, from 0.
    pub index: usize,
    /// As it is written, safe to show.
    pub pattern: String,
    /// What is wrong and what to do, as it follows the pattern.
    pub message: String,
}

impl FilePatterns {
    /// Compiles the patterns of both lists.
    ///
    /// # Errors
    /// The first pattern of either list that is not one, or that no path can match.
    pub fn compile<T: AsRef<str>>(include: &[T], exclude: &[T]) -> Result<Self, PatternProblem> {
        let included = compiled(include)?;
        let closed = exclude.iter().filter_map(|pattern| pattern.as_ref().strip_suffix("/**"));
        Ok(Self {
            include: (!include.is_empty()).then_some(included),
            exclude: compiled(exclude)?,
            closed: compiled(&closed.collect::<Vec<_>>())?,
        })
    }

    /// Whether the file with this path, relative to the directory, is taken.
    pub fn takes(&self, path: &Path) -> bool {
        self.include.as_ref().is_none_or(|include| include.is_match(path)) && !self.excludes(path)
    }

    /// Whether an `exclude` pattern matches the path, whatever `include` says.
    pub fn excludes(&self, path: &Path) -> bool {
        self.exclude.is_match(path)
    }

    /// Whether nothing below the folder with this path can be taken, so that it need not be read.
    pub fn closes(&self, folder: &Path) -> bool {
        self.closed.is_match(folder)
    }
}

fn compiled<T: AsRef<str>>(patterns: &[T]) -> Result<GlobSet, PatternProblem> {
    let mut set = GlobSetBuilder::new();
    for (index, pattern) in patterns.iter().enumerate() {
        let pattern = pattern.as_ref();
        set.add(glob(pattern).map_err(|message| problem(index, pattern, message))?);
        for plain in with_plain_brackets(pattern) {
            set.add(glob(&plain).map_err(|message| problem(index, pattern, message))?);
        }
    }
    set.build().map_err(|error| problem(0, patterns.first().map_or("", AsRef::as_ref), why(&error)))
}

/// A pattern with brackets, and with braces as well, that stand for themselves: names of files hold them.
fn with_plain_brackets(pattern: &str) -> impl Iterator<Item = String> {
    let escaped = move |marks: &str| {
        let escape = |mark: char| marks.contains(mark).then_some('\\').into_iter().chain([mark]);
        pattern.chars().flat_map(escape).collect::<String>()
    };
    let has_any = pattern.contains(['[', '{']) && !pattern.contains('\\');
    ["[]", "[]{}"].into_iter().filter(move |_| has_any).map(escaped)
}

fn glob(pattern: &str) -> Result<Glob, String> {
    if pattern.ends_with('/') {
        return Err(format!("matches no file; write `{}/**` for all that is below", pattern.trim_end_matches('/')));
    }
    let strange = |part: &str| part.is_empty() || part == "." || part == "..";
    if pattern.split('/').any(strange) {
        let help = "write the path as it is below the directory, without `/` at the beginning, `.` and `..`";
        return Err(format!("matches no file; {help}"));
    }
    GlobBuilder::new(pattern).literal_separator(true).backslash_escape(true).build().map_err(|error| why(&error))
}

fn why(error: &globset::Error) -> String {
    format!("is not a pattern: {}", error.kind())
}

pub(crate) fn problem(index: usize, pattern: &str, message: impl Into<String>) -> PatternProblem {
    PatternProblem { index, pattern: super::node::shown(pattern), message: message.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(include: &[&str], exclude: &[&str], path: &str) -> bool {
        FilePatterns::compile(include, exclude).unwrap().takes(Path::new(path))
    }

    #[test]
    fn patterns_are_held_against_the_whole_path() {
        for (pattern, path, is_match) in [
            ("*.html", "a.html", true),
            ("*.html", "x/a.html", false),
            ("**/*.html", "a.html", true),
            ("**/*.html", "x/y/a.html", true),
            ("x/**", "x/y/a.html", true),
            ("x/**", "x", false),
            ("x", "x/a.html", false),
            ("**/.*", "x/.a", true),
            ("*", ".a", true),
            ("a.{js,css}", "a.css", true),
            ("A.js", "a.js", false),
            (r"\*", "a", false),
            (r"\*", "*", true),
            ("[ab].js", "a.js", true),
            ("[slug].js", "[slug].js", true),
            (r"\[slug\].js", "[slug].js", true),
            (r"\[slug\].js", "s.js", false),
            ("[...all]/*.{js,css}", "[...all]/a.css", true),
            ("{id}/**", "{id}/a", true),
            ("{id}/**", "id/a", true),
        ] {
            assert_eq!(taken(&[pattern], &[], path), is_match, "{pattern} {path}");
            assert_eq!(taken(&[], &[pattern], path), !is_match, "{pattern} {path}");
        }
        assert!(!taken(&["**/*.html"], &["drafts/**"], "drafts/a.html"), "what is excluded stays out");
    }

    #[test]
    fn folders_that_are_excluded_as_a_whole_are_not_entered() {
        let patterns = FilePatterns::compile(&[], &["drafts/**", "**/node_modules/**", "[id]/**", "*"]).unwrap();
        for (folder, closed) in
            [("drafts", true), ("x/node_modules", true), ("[id]", true), ("x", false), ("x/drafts", false)]
        {
            assert_eq!(patterns.closes(Path::new(folder)), closed, "{folder}");
        }
    }

    #[test]
    fn patterns_that_match_nothing_are_refused_by_name() {
        for (bad, message) in [
            ("drafts/", "`drafts/` matches no file; write `drafts/**` for all that is below"),
            ("/a.html", "`/a.html` matches no file"),
            ("./a.html", "`./a.html` matches no file"),
            ("../a", "`../a` matches no file"),
            ("", "`` matches no file"),
            ("a[", "`a[` is not a pattern: unclosed character class"),
        ] {
            let problem = FilePatterns::compile(&["fine", bad], &[]).unwrap_err();
            assert!(problem.to_string().starts_with(message), "{problem}");
            assert_eq!(problem.index, 1);
        }
    }
}
