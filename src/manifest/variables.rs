//! `${NAME}` in manifests: which texts take the values of environment variables, and what no value may hold. Headers take theirs when
//! a call is made; here is only seen whether they have one.
//!
//! A reference is replaced once, by the value as it is, before the text is checked. Does not read the environment: what
//! builds a model hands in what does. A value may be a secret, so no message repeats one.

use std::borrow::Cow;

use super::diagnostic::{Diagnostic, Diagnostics};
use super::node::{Node, Value, shown};
use super::{BuildOptions, secrets, shape};
use crate::core::contract::OptionShape;
use crate::core::secret::{Secret, ValueProblem};

/// Looks up a variable by name.
pub type Variables<'v> = &'v dyn Fn(&str) -> Option<String>;

/// Where references are replaced, for messages about other places.
pub(crate) const REPLACED_IN: &str = "variables stand in `base_url`, `hosts`, `endpoint`, `endpoints`, `origin`, header values and text options of providers";
/// What is said of a reference anywhere else.
pub(crate) const NOT_REPLACED: &str = "`${…}` is not replaced here";

/// Replaces the references in the texts of a manifest that take them. Says whether there are any.
pub(crate) fn replace(file: usize, tree: &mut Node<'_>, options: BuildOptions<'_>, report: &mut Diagnostics) -> bool {
    let Value::Map(entries) = &mut tree.value else { return false };
    let mut replacer = Replacer { file, options, report, has_any: false };
    for (key, node) in entries {
        match (key.text.as_ref(), &mut node.value) {
            ("base_url", _) => replacer.texts(node),
            ("origin", _) => replacer.origin(node),
            ("verify", Value::Map(verify)) => verify.iter().for_each(|(key, node)| replacer.probes(&key.text, node)),
            ("assets", Value::Map(assets)) => assets.iter_mut().for_each(|(_, node)| replacer.asset(node)),
            ("assets", Value::List(assets)) => assets.iter_mut().for_each(|node| replacer.asset(node)),
            ("providers", Value::Map(providers)) => providers.iter_mut().for_each(|(_, node)| replacer.provider(node)),
            _ => {}
        }
    }
    replacer.has_any
}

struct Replacer<'r> {
    file: usize,
    options: BuildOptions<'r>,
    report: &'r mut Diagnostics,
    has_any: bool,
}

impl Replacer<'_> {
    fn provider(&mut self, node: &mut Node<'_>) {
        let Value::Map(entries) = &mut node.value else { return };
        let kind = entries.iter().find(|(key, _)| key.text == "kind").and_then(|(_, node)| shape::text(node));
        let kind = kind.and_then(|kind| self.options.vendors.find(kind));
        let options = kind.map_or(&[][..], |kind| kind.capabilities().options);
        for (key, node) in entries {
            let option = options.iter().find(|spec| spec.key == key.text).map(|spec| spec.shape);
            if option == Some(OptionShape::Headers) {
                self.headers(node, "nothing is sent to this provider");
            }
            if option == Some(OptionShape::Text) || ["hosts", "endpoint", "endpoints"].contains(&key.text.as_ref()) {
                self.texts(node);
            }
        }
    }

    fn asset(&mut self, node: &mut Node<'_>) {
        let Value::Map(entries) = &mut node.value else { return };
        let origins = entries.iter_mut().filter(|(key, _)| key.text == "origin");
        origins.for_each(|(_, node)| self.origin(node));
    }

    fn origin(&mut self, node: &mut Node<'_>) {
        let Value::Map(entries) = &mut node.value else { return self.texts(node) };
        for (key, node) in entries {
            match key.text.as_ref() {
                "urls" => self.texts(node),
                key => self.probes(key, node),
            }
        }
    }

    /// A key with headers that probes send.
    fn probes(&mut self, key: &str, node: &Node<'_>) {
        match (key, &node.value) {
            ("headers", _) => self.headers(node, "no probe is made with it"),
            ("variants", Value::List(maps)) => maps.iter().for_each(|map| self.probes("headers", map)),
            _ => {}
        }
    }

    /// Warns of variables that have no value for a header: all else goes on.
    fn headers(&mut self, node: &Node<'_>, otherwise: &str) {
        let Value::Map(entries) = &node.value else { return };
        for (header, node) in entries {
            let text = shape::text(node).filter(|text| secrets::reference_problem(text).is_none());
            for name in text.into_iter().flat_map(secrets::references) {
                let value = (self.options.variables)(name).map(Secret::new);
                let Some(problem) = ValueProblem::of_variable(value.as_ref().map(Secret::expose)) else { continue };
                // In quotes it would be taken for a part of the value.
                let message = format!("header `{}`: variable {} {problem}", shown(&header.text), shown(name));
                let help = format!("set it where freshen is started; without it {otherwise}");
                self.report.push(Diagnostic::warning(self.file, node.span, message).help(help).about_credentials());
            }
        }
    }

    fn texts(&mut self, node: &mut Node<'_>) {
        let span = node.span;
        match &mut node.value {
            Value::List(list) => list.iter_mut().for_each(|item| self.texts(item)),
            Value::Scalar { text, .. } if secrets::has_reference(text) => {
                self.has_any = true;
                match self.replaced(text) {
                    Ok(replaced) => *text = Cow::Owned(replaced),
                    Err((message, help)) => {
                        self.report.push(Diagnostic::error(self.file, span, message).help(help));
                        self.report.withhold(self.file, span, true);
                        return;
                    }
                }
                self.report.withhold(self.file, span, false);
            }
            _ => {}
        }
    }

    fn replaced(&self, text: &str) -> Result<String, (String, &'static str)> {
        if let Some(problem) = secrets::reference_problem(text) {
            return Err((problem.to_owned(), "write `${NAME}` with the name of an environment variable"));
        }
        let mut replaced = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let (name, behind) = after.split_once('}').unwrap_or((after, ""));
            let Some(value) = (self.options.variables)(name) else {
                return Err((format!("the environment has no variable `{name}`"), "set it where freshen is started"));
            };
            if !value.chars().all(may_stand) {
                let message = format!("the value of `{name}` holds a character that cannot stand here");
                return Err((
                    message,
                    "give it visible ASCII characters without `@`, `#`, `?` and `\\`; it is not shown",
                ));
            }
            replaced.push_str(before);
            replaced.push_str(&value);
            rest = behind;
        }
        Ok(replaced + rest)
    }
}

/// Whether a value may hold it: nothing that would end a line or a host, or be taken for a password.
fn may_stand(c: char) -> bool {
    c.is_ascii_graphic() && !matches!(c, '@' | '#' | '?' | '\\')
}
