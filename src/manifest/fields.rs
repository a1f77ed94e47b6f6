//! The keys of one map, checked against their table: unknown, unsupported, missing and misshapen ones are reported.

use super::diagnostic::{Diagnostic, Diagnostics, Span};
use super::hints;
use super::nearest::nearest;
use super::node::{Key, Node, Value, described, is_invisible, shown};
use super::secrets;
use super::shape::{self, KeySpec, Section, Shape};
use super::variables::{NOT_REPLACED, REPLACED_IN};
use crate::core::contract::OptionSpec;

/// The keys of a map whose values have the shape that its table asks for.
pub(crate) struct Fields<'n, 'a> {
    known: Vec<(&'static str, &'n Key<'a>, &'n Node<'a>)>,
    /// Keys that are there but misshapen; already reported.
    broken: Vec<&'static str>,
}

impl<'n, 'a> Fields<'n, 'a> {
    /// The value of `key`, if it is there and well shaped.
    pub(crate) fn node(&self, key: &str) -> Option<&'n Node<'a>> {
        self.known.iter().find(|(known, ..)| *known == key).map(|(_, _, node)| *node)
    }

    /// The place of the key itself.
    pub(crate) fn key_span(&self, key: &str) -> Option<Span> {
        self.known.iter().find(|(known, ..)| *known == key).map(|(_, found, _)| found.span)
    }

    /// Whether `key` is there but was refused.
    pub(crate) fn is_broken(&self, key: &str) -> bool {
        self.broken.contains(&key)
    }

    /// Whether some key was refused.
    pub(crate) fn any_broken(&self) -> bool {
        !self.broken.is_empty()
    }

    /// Whether `key` is there, well shaped or not.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.node(key).is_some() || self.is_broken(key)
    }

    /// Text of `key` and its place.
    pub(crate) fn text(&self, key: &str) -> Option<(&'n str, Span)> {
        let node = self.node(key)?;
        Some((shape::text(node)?, node.span))
    }

    /// Texts of `key` with their places; one text counts as a list of one.
    pub(crate) fn texts(&self, key: &str) -> Option<Vec<(&'n str, Span)>> {
        self.node(key)?;
        Some(texts_of(self.items(key)).collect())
    }

    /// The items of the list at `key`; anything else is a list of one, and what is not there of none.
    pub(crate) fn items(&self, key: &str) -> &'n [Node<'a>] {
        match self.node(key).map(|node| (node, &node.value)) {
            None => &[],
            Some((_, Value::List(list))) => list,
            Some((node, _)) => std::slice::from_ref(node),
        }
    }

    /// Value of a number.
    pub(crate) fn integer(&self, key: &str) -> Option<u64> {
        shape::integer(self.node(key)?)
    }

    /// Value of a switch, `false` if it is left out.
    pub(crate) fn flag(&self, key: &str) -> bool {
        self.node(key).and_then(shape::boolean).unwrap_or(false)
    }
}

/// Texts of a list with their places, one by one: there may be many.
pub(crate) fn texts_of<'n>(items: &'n [Node<'_>]) -> impl Iterator<Item = (&'n str, Span)> {
    items.iter().filter_map(|item| Some((shape::text(item)?, item.span)))
}

/// Reads a map by its table and, for providers, the options of the kind. Misfits are reported. Without `options` it is
/// not known what else may stand here, so unknown keys are let through unless they look like secrets.
pub(crate) fn read<'n, 'a>(
    file: usize,
    section: &'static Section,
    options: Option<&'static [OptionSpec]>,
    place: Span,
    entries: &'n [(Key<'a>, Node<'a>)],
    report: &mut Diagnostics,
) -> Fields<'n, 'a> {
    let mut fields = Fields { known: Vec::with_capacity(entries.len()), broken: Vec::new() };
    for (key, node) in entries {
        let Some((known, shape, doc)) = look_up(file, section, options, key, report) else {
            continue;
        };
        match shape.misfit(node) {
            None => match unreplaced(known, shape, node) {
                None => fields.known.push((known, key, node)),
                Some(place) => {
                    fields.broken.push(known);
                    report.push(Diagnostic::error(file, place, format!("`{known}`: {NOT_REPLACED}")).help(REPLACED_IN));
                }
            },
            Some(misfit) => {
                fields.broken.push(known);
                report.push(misshapen(file, known, shape, doc, misfit));
            }
        }
    }
    for spec in section.keys.iter().filter(|spec| spec.required) {
        if fields.has(spec.key) {
            continue;
        }
        report.push(
            Diagnostic::error(file, place, format!("{} needs `{}`", section.name, spec.key)).help(spec.doc.to_owned()),
        );
        fields.broken.push(spec.key);
    }
    fields
}

/// Where a text of a key that takes no variables refers to one. URLs have words of their own for it.
fn unreplaced(key: &str, shape: Shape, node: &Node<'_>) -> Option<Span> {
    const REPLACED: [&str; 5] = ["base_url", "hosts", "endpoint", "endpoints", "urls"];
    const OTHERS: [&str; 5] = ["path", "url", "extra_urls", "hash", "normalize"];
    let is_text = matches!(shape, Shape::Text | Shape::Texts | Shape::TextList);
    if !is_text || REPLACED.contains(&key) || OTHERS.contains(&key) {
        return None;
    }
    let texts = match &node.value {
        Value::List(list) => list.as_slice(),
        _ => std::slice::from_ref(node),
    };
    let mut before = "";
    for node in texts {
        let text = shape::text(node).unwrap_or_default();
        let is_script = key == "command" && takes_script(before);
        if secrets::has_reference(text) && !is_script {
            return Some(node.span);
        }
        before = text;
    }
    None
}

/// Whether a script follows this argument, as in `sh -c` and `perl -e`: its `${…}` is its own.
fn takes_script(argument: &str) -> bool {
    argument.starts_with('-') && argument.len() <= 4 && argument.ends_with(['c', 'e'])
}

type Known = (&'static str, Shape, &'static str);

fn look_up(
    file: usize,
    section: &'static Section,
    options: Option<&'static [OptionSpec]>,
    key: &Key<'_>,
    report: &mut Diagnostics,
) -> Option<Known> {
    if let Some(option) = options.unwrap_or_default().iter().find(|option| option.key == key.text) {
        return Some((option.key, shape::of_option(option.shape), option.doc));
    }
    match section.keys.iter().find(|spec| spec.key == key.text) {
        Some(KeySpec { key: word, later: Some(instead), .. }) => {
            report.push(
                Diagnostic::error(file, key.span, format!("`{word}` is not supported yet; {instead}"))
                    .label("not supported yet"),
            );
            None
        }
        Some(spec) => Some((spec.key, spec.shape, spec.doc)),
        None => {
            if let Some(diagnostic) = unknown_key(file, section, options, key) {
                report.push(diagnostic);
            }
            None
        }
    }
}

fn unknown_key(
    file: usize,
    section: &Section,
    options: Option<&'static [OptionSpec]>,
    key: &Key<'_>,
) -> Option<Diagnostic> {
    let found = shown(&key.text);
    if secrets::names_credential(&key.text) {
        let help = "delete it, change the secret if the file was shared, and use `credentials` or the vendor's environment variables";
        return Some(
            Diagnostic::error(file, key.span, format!("`{found}`: secrets must not stand in a manifest"))
                .label("looks like a secret")
                .help(help),
        );
    }
    let options = options?;
    let supported = section.keys.iter().filter(|spec| spec.later.is_none()).map(|spec| spec.key);
    let supported: Vec<&str> = supported.chain(options.iter().map(|option| option.key)).collect();
    let meant = || nearest(&key.text, section.keys.iter().map(|spec| spec.key).chain(supported.iter().copied()));
    let help = hints::of_key(section, &key.text)
        .or_else(|| meant().map(|word| format!("did you mean `{word}`?")))
        .unwrap_or_else(|| format!("known keys: {}", shape::quoted(&supported)));
    let message = format!("{} has no key `{found}`", section.name);
    Some(Diagnostic::error(file, key.span, message).label("unknown key").help(help))
}

fn misshapen(file: usize, key: &str, shape: Shape, doc: &str, misfit: &Node<'_>) -> Diagnostic {
    if let Value::Scalar { text, .. } = &misfit.value
        && let Some(bad) = text.chars().find(|c| is_invisible(*c))
    {
        let message = format!("control character U+{:04X} in `{key}`", u32::from(bad));
        return Diagnostic::error(file, misfit.span, message).help("delete it");
    }
    if let (Value::Scalar { text, .. }, Shape::Text | Shape::Texts | Shape::TextList) = (&misfit.value, shape)
        && text.trim().is_empty()
    {
        let message = match (shape, text.is_empty()) {
            (Shape::Text, true) => format!("`{key}` is empty"),
            (Shape::Text, false) => format!("`{key}` is blank"),
            (_, true) => format!("an empty text in `{key}`"),
            (_, false) => format!("a blank text in `{key}`"),
        };
        return Diagnostic::error(file, misfit.span, message).help(doc.to_owned());
    }
    if let (true, Shape::Texts | Shape::TextList | Shape::HeaderMaps(_)) = (shape::is_empty_list(misfit), shape) {
        let help = format!("give one at least, or leave `{key}` out");
        return Diagnostic::error(file, misfit.span, format!("`{key}` is an empty list")).help(help);
    }
    let message = format!("`{key}` must be {}, found {}", shape.expected(), described(misfit));
    let diagnostic = Diagnostic::error(file, misfit.span, message);
    let diagnostic = diagnostic.label(format!("not {}", shape.expected()));
    diagnostic.help(hints::of_value(key, shape, misfit).unwrap_or_else(|| doc.to_owned()))
}

/// The entries of a node that must be a map.
pub(crate) fn entries<'n, 'a>(
    file: usize,
    what: &str,
    node: &'n Node<'a>,
    report: &mut Diagnostics,
) -> Option<&'n [(Key<'a>, Node<'a>)]> {
    entries_or(file, what, node, None, report)
}

/// The same, with what to write in place of anything else.
pub(crate) fn entries_or<'n, 'a>(
    file: usize,
    what: &str,
    node: &'n Node<'a>,
    help: Option<&str>,
    report: &mut Diagnostics,
) -> Option<&'n [(Key<'a>, Node<'a>)]> {
    if let Value::Map(entries) = &node.value {
        return Some(entries);
    }
    let diagnostic = Diagnostic::error(file, node.span, format!("{what} must be a map, found {}", described(node)));
    report.push(match help {
        Some(help) => diagnostic.help(help),
        None => diagnostic,
    });
    None
}
