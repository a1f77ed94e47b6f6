//! Further URLs of the same content: `index`, `slashless` and `strip_extension`.
//!
//! Does not know what stands before paths.

use super::diagnostic::{Diagnostic, Diagnostics, Span};
use super::fields::Fields;
use super::file_url::{browser_spellings, url_path};
use super::node::shown;
use super::shape;

/// Under which further URLs the paths of a manifest are found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct UrlForms {
    /// As they stand in URLs.
    index: Vec<String>,
    slashless: bool,
    /// As they stand in URLs, each with its dot.
    extensions: Vec<String>,
}

/// A URL of an asset, given from `base_url` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form<'p> {
    /// `base_url`, `/` and this; empty for `base_url` with its slash.
    Below(&'p str),
    /// `base_url` without a slash at its end.
    Bare,
}

impl UrlForms {
    /// Reads the keys of a manifest.
    pub(crate) fn read(file: usize, fields: &Fields<'_, '_>, report: &mut Diagnostics) -> Self {
        let mut texts = |key: &str, is_sound: fn(&str) -> bool, help: &str| {
            let mut found: Vec<String> = Vec::new();
            let is_switch = fields.node(key).is_some_and(|node| shape::boolean(node).is_some());
            for (text, span) in fields.texts(key).unwrap_or_default() {
                if is_sound(text) && !is_switch {
                    found.push(url_path(text).into_owned());
                } else {
                    report.push(refusal(file, span, key, text, help));
                }
            }
            found.sort_unstable();
            found.dedup();
            found
        };
        let index = texts("index", is_name, "write the name of a file, without a folder: `index.html`");
        let extensions = texts("strip_extension", is_extension, "write an extension with its dot: `.html`");
        Self { index, slashless: fields.flag("slashless"), extensions }
    }

    /// Shows `each` every URL of the asset with this path: as it is first, then the further ones.
    ///
    /// Each key adds its forms by itself: with all of them `blog/index.html` is also `blog/`, `blog` and `blog/index`.
    /// A path with a query is that URL and no other.
    pub(crate) fn each(&self, path: &str, each: &mut dyn FnMut(Form<'_>)) {
        each(Form::Below(path));
        if *self == Self::default() || path.contains('?') {
            return;
        }
        let (folder, name) = path.split_at(path.rfind('/').map_or(0, |slash| slash + 1));
        let is_index = self.index.iter().any(|index| index == name);
        if is_index {
            each(Form::Below(folder));
        }
        if self.slashless && (is_index || name.is_empty()) {
            each(folder.strip_suffix('/').map_or(Form::Bare, Form::Below));
        }
        for extension in &self.extensions {
            let stem = name.strip_suffix(extension.as_str()).unwrap_or_default();
            if !matches!(stem, "" | "." | "..") {
                each(Form::Below(&path[..folder.len() + stem.len()]));
            }
        }
    }
}

impl UrlForms {
    /// As [`UrlForms::each`], of the name of a file: each form also as browsers spell it.
    pub(crate) fn each_of_file(&self, path: &str, each: &mut dyn FnMut(Form<'_>)) {
        self.each(path, &mut |form| {
            each(form);
            if let Form::Below(rest) = form {
                browser_spellings(rest).for_each(|spelling| each(Form::Below(&spelling)));
            }
        });
    }
}

fn is_name(text: &str) -> bool {
    !text.contains('/') && !matches!(text, "." | "..")
}

fn is_extension(text: &str) -> bool {
    text.len() > 1 && text.starts_with('.') && is_name(text)
}

fn refusal(file: usize, span: Span, key: &str, text: &str, help: &str) -> Diagnostic {
    Diagnostic::error(file, span, format!("`{}` is of no use in `{key}`", shown(text))).help(help)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Form::{Bare, Below};

    fn forms(index: &[&str], slashless: bool, extensions: &[&str], path: &str) -> Vec<String> {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let forms = UrlForms { index: owned(index), slashless, extensions: owned(extensions) };
        let mut found = Vec::new();
        forms.each(path, &mut |form| {
            found.push(match form {
                Below(rest) => format!("/{rest}"),
                Bare => String::new(),
            });
        });
        found
    }

    #[test]
    fn each_key_adds_its_forms() {
        let index = &["index.html"];
        assert_eq!(forms(&[], false, &[], "blog/index.html"), ["/blog/index.html"]);
        assert_eq!(forms(index, false, &[], "blog/index.html"), ["/blog/index.html", "/blog/"]);
        assert_eq!(forms(index, true, &[], "blog/index.html"), ["/blog/index.html", "/blog/", "/blog"]);
        assert_eq!(
            forms(index, true, &[".html"], "blog/index.html"),
            ["/blog/index.html", "/blog/", "/blog", "/blog/index"]
        );
        assert_eq!(forms(index, true, &[], "index.html"), ["/index.html", "/", ""]);
        assert_eq!(forms(index, true, &[".html"], "about.html"), ["/about.html", "/about"]);
        assert_eq!(forms(&[], true, &[], "blog/"), ["/blog/", "/blog"]);
        assert_eq!(forms(&[], false, &[".gz", ".tar.gz"], "a.tar.gz"), ["/a.tar.gz", "/a.tar", "/a"]);
    }

    #[test]
    fn what_only_looks_alike_has_no_further_form() {
        let all = |path: &str| forms(&["index.html"], true, &[".html"], path);
        for path in [
            "xindex.htm",
            "index.html/x",
            ".html",
            "a/.html",
            "...html",
            "a.html?q=1",
            "index.html?q",
            "a.htm",
            "aindex",
            "a?b.html",
            "a?b/index.html",
            "a?b/",
        ] {
            assert_eq!(all(path), [format!("/{path}")], "{path}");
        }
    }
}
