//! The tree of a manifest, and how messages repeat what stands in it.

use std::borrow::Cow;

use super::diagnostic::Span;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node<'a> {
    /// The value.
    pub(crate) value: Value<'a>,
    /// Its place; an alias's own place where one is used.
    pub(crate) span: Span,
}

/// What a node holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// `null`, `~` or nothing at all.
    Null,
    /// A text; as written if it is plain.
    Scalar {
        /// The text, escapes of quoted forms resolved.
        text: Cow<'a, str>,
        /// Whether it stands without quotes.
        plain: bool,
    },
    /// A list.
    List(Vec<Node<'a>>),
    /// Keys and values in order, each key once.
    Map(Vec<(Key<'a>, Node<'a>)>),
}

/// A key of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key<'a> {
    /// The key's text.
    pub(crate) text: Cow<'a, str>,
    /// Its place.
    pub(crate) span: Span,
}

/// What a file says.
pub(crate) struct Document<'a> {
    pub(crate) root: Node<'a>,
    pub(crate) refused: Vec<RefusedKey<'a>>,
}

/// A key that a map cannot have, with its value: of two that are the same the second one, or one that is no text. No setting is
/// read from it, but it may hold what must not be shown.
pub(crate) struct RefusedKey<'a> {
    /// First byte of the map.
    pub(crate) map: u32,
    pub(crate) key: Key<'a>,
    pub(crate) value: Node<'a>,
}

/// How many values a node holds, itself included.
pub(super) fn size_of_tree(node: &Node<'_>) -> usize {
    match &node.value {
        Value::Null | Value::Scalar { .. } => 1,
        Value::List(list) => 1 + list.iter().map(size_of_tree).sum::<usize>(),
        Value::Map(entries) => 1 + entries.iter().map(|(_, value)| 1 + size_of_tree(value)).sum::<usize>(),
    }
}

/// A found text as messages repeat it: cut, control characters escaped.
pub(crate) fn shown(text: &str) -> String {
    const MOST: usize = 80;
    let cut = printable(text.chars().take(MOST));
    if text.chars().nth(MOST).is_some() { format!("{cut}…") } else { cut }
}

/// Characters as messages repeat them: control characters escaped.
pub(crate) fn printable(text: impl Iterator<Item = char>) -> String {
    text.flat_map(escaped).collect()
}

fn escaped(c: char) -> impl Iterator<Item = char> {
    let keep = (!is_invisible(c)).then_some(c);
    keep.into_iter().chain(keep.is_none().then(|| c.escape_default()).into_iter().flatten())
}

/// Characters that would change how a terminal shows the text around them.
pub(crate) fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// How a value is called in messages.
pub(crate) fn described(node: &Node<'_>) -> String {
    match &node.value {
        Value::Null => "nothing".into(),
        Value::Scalar { text, plain: false } => format!("the text \"{}\"", shown(text)),
        Value::Scalar { text, plain: true } => format!("`{}`", shown(text)),
        Value::List(_) => "a list".into(),
        Value::Map(_) => "a map".into(),
    }
}
