//! The options of a provider's kind: values from the manifest, header names and values checked.

use super::diagnostic::{Diagnostic, Diagnostics, Span};
use super::fields::Fields;
use super::node::{Node, Value, is_invisible, shown};
use super::variables::NOT_REPLACED;
use super::{secrets, shape};
use crate::core::contract::{OptionShape, OptionSpec, OptionValue, Options};

/// Collects the options that are there. `false` if some was refused.
pub(crate) fn collect(
    file: usize,
    specs: &'static [OptionSpec],
    fields: &Fields<'_, '_>,
    place: Span,
    report: &mut Diagnostics,
) -> (Options, bool) {
    let mut options = Options::default();
    let mut sound = true;
    for spec in specs {
        let Some(node) = fields.node(spec.key) else {
            if spec.required && !fields.is_broken(spec.key) {
                report.push(
                    Diagnostic::error(file, place, format!("this kind of provider needs `{}`", spec.key))
                        .help(spec.doc),
                );
            }
            sound &= !spec.required && !fields.is_broken(spec.key);
            continue;
        };
        match value(file, spec, node, report) {
            Some(value) => {
                options.0.insert(spec.key.to_owned(), value);
            }
            None => sound = false,
        }
    }
    (options, sound)
}

fn value(file: usize, spec: &OptionSpec, node: &Node<'_>, report: &mut Diagnostics) -> Option<OptionValue> {
    let list = || match &node.value {
        Value::List(list) => list.as_slice(),
        _ => &[],
    };
    Some(match spec.shape {
        OptionShape::Text | OptionShape::OneOf(_) => OptionValue::Text(plain_text(file, spec.key, node, report)?),
        OptionShape::Bool => OptionValue::Bool(shape::boolean(node)?),
        OptionShape::Integer => OptionValue::Integer(shape::integer(node)?),
        OptionShape::IntegerList => OptionValue::IntegerList(list().iter().filter_map(shape::integer).collect()),
        OptionShape::Headers => OptionValue::Headers(headers(file, node, report)?),
    })
}

/// A text; references to variables were replaced before.
fn plain_text(file: usize, key: &str, node: &Node<'_>, report: &mut Diagnostics) -> Option<String> {
    let text = shape::text(node)?;
    if secrets::has_reference(text) {
        report.push(Diagnostic::error(file, node.span, format!("`{key}`: {NOT_REPLACED}")).help("write the value out"));
        return None;
    }
    Some(text.to_owned())
}

/// Names and values of headers; `None` if some was refused, which is reported.
pub(super) fn headers(file: usize, node: &Node<'_>, report: &mut Diagnostics) -> Option<Vec<(String, String)>> {
    let Value::Map(entries) = &node.value else { return None };
    let mut sound = true;
    let mut pairs: Vec<(String, String)> = Vec::with_capacity(entries.len());
    for (name, value) in entries {
        let repeated = pairs.iter().any(|(known, _)| known.eq_ignore_ascii_case(&name.text));
        let text = scalar(value);
        let problem = name_problem(&name.text)
            .or_else(|| repeated.then_some("a header that is given twice"))
            .map(|problem| Diagnostic::error(file, name.span, format!("{problem}: `{}`", shown(&name.text))))
            .or_else(|| {
                let (message, help) = value_problem(&name.text, text)?;
                Some(Diagnostic::error(file, value.span, format!("header `{}`: {message}", name.text)).help(help))
            });
        match (problem, text) {
            (None, Some(text)) => pairs.push((name.text.to_string(), text.to_owned())),
            (problem, _) => {
                sound = false;
                if let Some(problem) = problem {
                    report.push(problem);
                }
            }
        }
    }
    sound.then_some(pairs)
}

fn scalar<'n>(node: &'n Node<'_>) -> Option<&'n str> {
    match &node.value {
        Value::Scalar { text, .. } => Some(text),
        _ => None,
    }
}

/// U8: what is no token would split or forge headers.
pub(super) fn name_problem(name: &str) -> Option<&'static str> {
    let is_token =
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
    (!is_token).then_some("not a header name")
}

/// What is wrong with a value and what to do; the value itself is never repeated.
fn value_problem(name: &str, value: Option<&str>) -> Option<(&'static str, String)> {
    let Some(value) = value else { return Some(("its value must be a text", "put the value in quotes".to_owned())) };
    if value.chars().any(is_invisible) {
        return Some(("control character in its value", "delete it; a header is one line".to_owned()));
    }
    if value.trim() != value {
        return Some(("blanks at the beginning or end of its value", "delete them".to_owned()));
    }
    if let Some(problem) = secrets::reference_problem(value) {
        return Some((problem, "write `${NAME}` with the name of an environment variable".to_owned()));
    }
    if secrets::is_secret_header(name) && !secrets::has_reference(value) {
        let help = "write `${NAME}` and set the environment variable; change the secret if the file was shared";
        return Some(("secrets must not stand in a manifest", help.to_owned()));
    }
    None
}
