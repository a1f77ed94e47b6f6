//! Manifests written: the short form of a list of files. What it writes is what `load.rs` and `assets.rs` read back.

use std::borrow::Cow;

use super::file_url::{browser_spellings, url_path};
use super::hosts::HostRefusal;
use super::url::{self, BaseUrl};
use crate::core::target::ContentHash;
use crate::core::text::one_line;

/// Why a list of files is no manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", one_line(.what, 300))]
pub struct WriteProblem {
    /// The path of a file, or `base_url`.
    pub what: String,
    /// What is wrong with it and, where that helps, what to do.
    pub message: String,
}

impl WriteProblem {
    fn new(what: &str, refusal: HostRefusal) -> Self {
        let HostRefusal { message, help } = refusal;
        let message = help.map_or_else(|| message.clone(), |help| format!("{message}; {help}"));
        Self { what: what.to_owned(), message }
    }
}

/// What a directory is published at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedAt {
    base: BaseUrl,
}

impl PublishedAt {
    /// Checks a `base_url`.
    ///
    /// # Errors
    /// A text that manifests could not have there.
    pub fn new(base_url: &str) -> Result<Self, WriteProblem> {
        let base = BaseUrl::check(base_url).map_err(|refusal| WriteProblem::new("base_url", refusal))?;
        Ok(Self { base })
    }

    /// The URL of the file with this path below the directory.
    ///
    /// # Errors
    /// A URL that manifests could not have: one that is too long.
    pub fn url(&self, file: &str) -> Result<String, WriteProblem> {
        let url = self.base.join(&url_path(file));
        match url::check(&url) {
            Ok(_) => Ok(url),
            Err(refusal) => Err(WriteProblem::new(file, refusal)),
        }
    }

    /// The path of a URL below `base_url`, still encoded; `None` if it is not below.
    pub fn path_of<'u>(&self, url: &'u str) -> Option<&'u str> {
        url.strip_prefix(&self.base.join(""))
    }
}

/// A manifest in the short form of these files and hashes; without `base_url` it says where to put it.
///
/// # Errors
/// The first file that no manifest could have.
pub fn manifest_of<'f>(
    published: Option<&PublishedAt>,
    files: impl Iterator<Item = (&'f str, ContentHash)> + Clone,
) -> Result<String, WriteProblem> {
    let mut text = match published {
        Some(published) => format!("base_url: {}\n", scalar(&published.base.join(""))),
        None => "# Paths are put below a URL; write it here:\n# base_url: https://www.example.com/\n".to_owned(),
    };
    text.push_str("assets:\n");
    // A key that begins as URLs do would be taken for one that lacks a slash.
    let is_list = files.clone().any(|(file, _)| url::is_nearly_url(&url_path(file)));
    for (file, hash) in files {
        let path = url_path(file);
        match published {
            Some(published) => drop(published.url(file)?),
            None => url::check_path(&path).map_err(|refusal| WriteProblem::new(file, refusal))?,
        }
        // Paths are sent as they are written, so browsers' spellings are written out.
        for path in std::iter::once(path.to_string()).chain(browser_spellings(&path)) {
            let path = scalar(&path);
            if is_list {
                text.push_str(&format!("  - path: {path}\n    hash: {hash}\n"));
            } else {
                text.push_str(&format!("  {path}: {hash}\n"));
            }
        }
    }
    Ok(text)
}

/// A text as YAML has it: plain where no reader could take it for anything else, otherwise in double quotes.
fn scalar(text: &str) -> Cow<'_, str> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._/~+-".contains(&byte);
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.contains(['.', '/'])
        && text.replacen("://", "", 1).bytes().all(is_name);
    if is_plain {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::algorithm::Algorithm;
    use crate::manifest::{SourceFile, build};
    use proptest::prelude::*;

    const PROVIDER: &str = "providers: {own: {kind: http-purge, hosts: [a.cn], endpoints: [\"http://127.0.0.1:1\"]}}\n";

    /// What freshen reads of its own manifest.
    fn read_back(base_url: &str, files: &[&str]) -> Vec<String> {
        let published = PublishedAt::new(base_url).unwrap();
        let hash = Algorithm::Md5.hash(&[7; 16]);
        let text = manifest_of(Some(&published), files.iter().map(|file| (*file, hash.clone()))).unwrap();
        let source = SourceFile::whole("m.yaml", format!("{PROVIDER}{text}"));
        let built = build(&[source]);
        assert!(built.diagnostics.is_empty(), "{text}\n{:?}", built.diagnostics);
        let model = built.model.unwrap();
        assert!(model.entries.iter().all(|entry| entry.hash == hash));
        model.entries.iter().map(|entry| entry.target.text.clone()).collect()
    }

    #[test]
    fn plain_names_stand_without_quotes() {
        let files = ["css/a-b_c.css", "404.html", "null", "a b.html"].map(|file| (file, Algorithm::Md5.hash(&[1])));
        let text = manifest_of(PublishedAt::new("https://a.cn/x").ok().as_ref(), files.into_iter()).unwrap();
        let expected = "base_url: https://a.cn/x/\nassets:\n  css/a-b_c.css: md5:01\n  \"404.html\": md5:01\n  \
                        \"null\": md5:01\n  \"a%20b.html\": md5:01\n";
        assert_eq!(text, expected);
    }

    // D3, Y3: names that YAML readers make something else of.
    #[test]
    fn nasty_names_are_read_back_as_they_are() {
        let mut files = [
            "null",
            "~",
            "true",
            "no",
            "0123",
            "1e5",
            "1.5",
            "-",
            "- a",
            "? a",
            "a: b",
            "a:",
            ":a",
            "#a",
            "a #b",
            "&a",
            "*a",
            "!a",
            "%a",
            "@a",
            "`a",
            "'a'",
            "\"a\"",
            "{a}",
            "[a]",
            "a,b",
            "|",
            ">",
            "...",
            "---",
            "<<",
            "=",
            "y",
            "2026-11-21",
            ".inf",
            "0x1f",
            " a ",
            "a\\b",
            "你好/é.html",
            "a%20b",
            "$a",
            "${A}",
            "a?b",
            "a&b=c",
            "-/a",
        ];
        let urls = read_back("https://a.cn/", &files);
        files.sort_by_key(|file| url_path(file).into_owned());
        let mut expected: Vec<String> = files.iter().map(|file| format!("https://a.cn/{}", url_path(file))).collect();
        expected.extend(["[a]", "|"].map(|spelling| format!("https://a.cn/{spelling}")));
        expected.sort_unstable();
        assert_eq!(urls, expected);
    }

    #[test]
    fn names_that_begin_as_urls_do_are_written_as_a_list() {
        let urls = read_back("https://a.cn/x", &["a.html", "https:a.html"]);
        assert_eq!(urls, ["https://a.cn/x/a.html", "https://a.cn/x/https:a.html"]);
    }

    #[test]
    fn what_no_manifest_could_have_is_refused() {
        assert!(PublishedAt::new("a.cn").unwrap_err().to_string().starts_with("base_url: not a whole URL; write"));
        let long = "你".repeat(1000);
        let at = PublishedAt::new("https://a.cn/").unwrap();
        let problem = manifest_of(Some(&at), [(long.as_str(), Algorithm::Md5.hash(&[1]))].into_iter()).unwrap_err();
        assert_eq!(problem.message, "a URL of 9013 bytes, more than 8192");
    }

    proptest! {
        #[test]
        fn every_name_is_read_back(file in "[^\\x00-\\x1f\\x7f-\\x9f/]{1,9}(/[^\\x00-\\x1f\\x7f-\\x9f/]{1,9})?", base in "https://a\\.cn(/[a-z~+-]{1,9}){0,2}/?") {
            prop_assume!(!file.split('/').any(|part| matches!(part, "." | "..")));
            let published = PublishedAt::new(&base).unwrap();
            let url = published.url(&file).unwrap();
            prop_assert_eq!(published.path_of(&url), Some(&*url_path(&file)));
            let spellings = browser_spellings(&url_path(&file)).map(|spelling| published.base.join(&spelling));
            let mut urls: Vec<String> = std::iter::once(url).chain(spellings).collect();
            urls.sort_unstable();
            prop_assert_eq!(read_back(&base, &[&file]), urls);
        }
    }
}
