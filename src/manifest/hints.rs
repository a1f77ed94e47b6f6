//! What was probably meant by a value of the wrong form, and what to write in its place.
//!
//! Only hints: nothing is read from here.

use super::nearest::nearest;
use super::node::{Key, Node, Value};
use super::secrets;
use super::shape::{self, MANIFEST, MATCH, ORIGIN, PROVIDER, SOURCE, Section, Shape, VERIFY};
use super::variables::{NOT_REPLACED, REPLACED_IN};
use crate::core::{byte_size, duration};

/// What to write in place of a value of `key` that does not have its shape.
pub(super) fn of_value(key: &str, shape: Shape, misfit: &Node<'_>) -> Option<String> {
    match (&misfit.value, shape) {
        (Value::Scalar { text, .. }, _) if secrets::has_reference(text) => {
            Some(format!("{NOT_REPLACED}; {REPLACED_IN}"))
        }
        (Value::Scalar { text, plain }, Shape::Bool | Shape::FlagOr(_)) => boolean(text).map(|word| {
            let bare = if *plain { "" } else { ", without quotes" };
            format!("write `{word}`{bare}")
        }),
        (Value::Scalar { text, plain }, Shape::Integer(least)) => digits(text, *plain, least),
        (Value::Scalar { text, plain }, Shape::Within(least, most)) => {
            digits(text, *plain, least).filter(|_| whole_number(text).is_some_and(|number| number <= most))
        }
        (Value::Scalar { text, .. }, Shape::Duration(..)) => duration::parse(text).err(),
        (Value::Scalar { text, .. }, Shape::Size(_)) => byte_size::parse(text).err(),
        (Value::Scalar { text, .. }, Shape::WordOr(..)) if key == "match" && text == "size" => {
            Some("`size` is not supported yet; compare with `etag` or the value of a header".to_owned())
        }
        (Value::Scalar { text, .. }, Shape::WordOr(words, _)) => {
            nearest(text, words.iter().copied()).map(|word| format!("did you mean `{word}`?"))
        }
        (Value::List(_), Shape::TextOr(section)) if *section == ORIGIN => {
            Some("write several as `origin: {urls: [URL, URL]}`: each must serve the content".to_owned())
        }
        (Value::Scalar { text, plain }, Shape::IntegerOrPercent) if !text.contains(['%', '.']) => {
            digits(text, *plain, 0)
        }
        (Value::Scalar { text, .. }, Shape::Percent | Shape::IntegerOrPercent) => {
            share(text).map(|percent| format!("write `{percent}%`"))
        }
        (Value::Scalar { text, .. }, Shape::OneOf(words)) => {
            nearest(text, words.iter().copied()).map(|word| format!("did you mean `{word}`?"))
        }
        (Value::Scalar { .. }, Shape::TextList) => Some(format!("write a list: `{key}: [program, argument]`")),
        (Value::Scalar { text, .. }, Shape::Assets) if text.contains(':') => {
            Some("write a blank behind the `:` that ends a path or URL".to_owned())
        }
        (Value::Scalar { .. }, Shape::List(_)) if key == "sources" => {
            Some("write a list of maps: `sources: [{directory: ../public}]`".to_owned())
        }
        (Value::Map(_), Shape::List(_)) => {
            Some("it is a list: write `- ` before the first key of each item".to_owned())
        }
        (Value::Map(_), Shape::Texts) if key == "provider" => {
            Some("did you mean `providers`? That configures them; `provider` names one".to_owned())
        }
        (Value::Scalar { .. }, Shape::Named(_)) if key == "providers" => {
            Some("did you mean `provider`? That names one; `providers` configures them".to_owned())
        }
        (Value::List(_), Shape::Named(_)) => {
            Some("write a name in place of each `-`, and indent its keys below it: `own: {kind: …}`".to_owned())
        }
        _ => None,
    }
}

/// Where a key belongs that a map of `section` does not have.
pub(super) fn of_key(section: &Section, key: &str) -> Option<String> {
    let is_listed = |section: &Section| section.keys.iter().any(|spec| spec.key == key && spec.later.is_none());
    let is_proof = |section: &Section| [&ORIGIN, &VERIFY, &MATCH].contains(&section);
    if is_proof(section) && nearest(key, section.keys.iter().map(|spec| spec.key)).is_some() {
        return None;
    }
    // Keys of these have names that mean something else in other maps.
    let may_be_meant = |other: &Section| !is_proof(other) || is_proof(section) || *section == MANIFEST;
    let is_other = |other: &&Section| **other != *section && may_be_meant(other) && is_listed(other);
    let other = shape::SECTIONS.into_iter().find(is_other)?;
    for (proof, word) in [(&ORIGIN, "origin"), (&VERIFY, "verify")] {
        if *section == MANIFEST && *other == *proof {
            return Some(format!("write it as `{word}: {{{key}: …}}`"));
        }
    }
    let place = if *other == SOURCE {
        "an item of `sources`"
    } else if *other == MANIFEST {
        "the top of the manifest"
    } else if *other == PROVIDER {
        "a provider below `providers`"
    } else {
        other.name
    };
    Some(format!("`{key}` belongs to {place}"))
}

/// What an item of `assets` is to be written as.
pub(super) const ASSET_FORMS: &str = "write `- {url: URL, hash: HASH}`, or leave the `-` out and write `URL: HASH`; `sources` finds files and hashes them";
/// What an item of `sources` is to be written as.
pub(super) const SOURCE_FORMS: &str = "write `- directory: PATH` or `- checksums: PATH`";

/// What is to be said of a provider called `name` that is no map.
pub(super) fn of_provider(name: &str) -> String {
    if PROVIDER.keys.iter().any(|spec| spec.key == name) {
        return format!("`{name}` is a key of a provider: indent it further than the provider's name");
    }
    "indent its keys further than its name".to_owned()
}

/// Whether a line begins with blanks of which one is a tab.
pub(super) fn is_indented_with_tab(line: &str) -> bool {
    line.chars().take_while(|blank| matches!(blank, ' ' | '\t')).any(|blank| blank == '\t')
}

/// Where a tab indents the next line with text behind the first one of `rest`: the reader of a value goes on until there.
pub(super) fn tab_below(rest: &str) -> Option<usize> {
    let mut at = 0;
    let mut lines = rest.split_inclusive('\n').map(|line| {
        at += line.len();
        (at - line.len(), line)
    });
    lines.next()?;
    let (at, line) = lines.find(|(_, line)| !line.trim().is_empty())?;
    is_indented_with_tab(line).then(|| at + line.find('\t').unwrap_or_default())
}

/// What is to be said where reading ended in the last line of `before`, if that line stands further in than one with a value, or as
/// far in as no line above.
pub(super) fn of_indentation(before: &str) -> Option<&'static str> {
    let indent = |line: &str| line.len() - line.trim_start_matches(' ').len();
    let (above, line) = before.rsplit_once(['\n', '\r'])?;
    let is_text = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    let mut lines = above.lines().rev().filter(is_text);
    let last = lines.next()?;
    if line.trim().is_empty() && indent(line) < indent(last) {
        let is_like = |other: &str| indent(other) == indent(line);
        return (!is_like(last) && !lines.any(is_like))
            .then_some("indent it as the keys that it belongs to: no line above stands as far in");
    }
    let has_value = last.trim_end().split_once(": ").is_some_and(|(_, value)| !value.trim().is_empty());
    (has_value && !line.contains(": ") && !line.trim().is_empty() && indent(line) > indent(last))
        .then_some("it stands further in than the key above, which has a value: indent both alike")
}

/// The one entry of an asset that is written as in the short form, `- URL: HASH`.
pub(super) fn is_short_asset(entries: &[(Key<'_>, Node<'_>)]) -> bool {
    let is_known = |key: &str| shape::SECTIONS.iter().any(|section| section.keys.iter().any(|spec| spec.key == key));
    matches!(entries, [(key, Node { value: Value::Scalar { .. }, .. })] if !is_known(&key.text) && key.text.contains(['.', '/']))
}

fn boolean(text: &str) -> Option<&'static str> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "y" | "on" | "true" | "1" => Some("true"),
        "no" | "n" | "off" | "false" | "0" => Some("false"),
        _ => None,
    }
}

fn digits(text: &str, plain: bool, least: u64) -> Option<String> {
    let number = whole_number(text).filter(|number| *number >= least)?;
    let bare = if plain { "" } else { ", without quotes" };
    Some(format!("write its digits alone{bare}: `{number}`"))
}

/// The number that people mean by `10k`, `1_000`, `10,000`, `1e5`, `0123`, `10.0` or `10/s`.
fn whole_number(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let text = text.strip_suffix("/s").unwrap_or(&text);
    let (text, factor) = match text.strip_suffix(['k', 'm']) {
        Some(number) => (number.trim_end(), if text.ends_with('k') { 1_000 } else { 1_000_000 }),
        None => (text, 1),
    };
    let (text, exponent) = match text.split_once('e') {
        Some((number, exponent)) => (number, exponent.parse().ok()?),
        None => (text, 0),
    };
    let text = text.strip_suffix(".00").or_else(|| text.strip_suffix(".0")).unwrap_or(text);
    let groups: Vec<&str> = text.split(['_', ',', ' ', '\'']).collect();
    let is_group = |group: &&str| group.len() == 3;
    let number = groups.concat();
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = (is_number && groups[1..].iter().all(is_group)).then(|| number.parse().ok()).flatten()?;
    10_u64.checked_pow(exponent)?.checked_mul(factor)?.checked_mul(number)
}

/// The share that people mean by `30`, `30 %` or `0.3`.
fn share(text: &str) -> Option<u64> {
    let text = text.trim().trim_end_matches('%').trim_end();
    let percent = match text.strip_prefix("0.") {
        Some(digits) if digits.len() <= 2 => {
            let number: u64 = digits.parse().ok()?;
            if digits.len() == 1 { number * 10 } else { number }
        }
        _ => text.parse().ok()?,
    };
    (percent <= 100).then_some(percent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_understood_as_people_write_them() {
        for (text, number) in [
            ("10k", 10_000),
            ("2M", 2_000_000),
            ("1_000", 1000),
            ("10,000", 10_000),
            ("10 000", 10_000),
            ("1'000", 1000),
            ("1e5", 100_000),
            ("0123", 123),
            ("10.0", 10),
            ("10/s", 10),
        ] {
            assert_eq!(whole_number(text), Some(number), "{text}");
        }
        for text in
            ["", "k", "-1", "ten", "1.5", "1e99", "99999999999999999999", "0x10", "e5", "1,5", "1_00", "100/min"]
        {
            assert_eq!(whole_number(text), None, "{text}");
        }
        for (text, percent) in [("30", 30), ("30 %", 30), ("0.3", 30), ("0.05", 5), ("100", 100)] {
            assert_eq!(share(text), Some(percent), "{text}");
        }
        assert_eq!([share("130"), share("x"), share("1.5"), share("0.125")], [None; 4]);
    }
}
