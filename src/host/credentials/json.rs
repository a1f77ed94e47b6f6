//! The JSON object that credential files hold and credential programs print.
//!
//! Read by hand: the messages of a derived reader repeat the values that they dislike.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::ContentProblem;
use crate::core::contract::CredentialScheme;
use crate::core::secret::{Secret, ValueProblem};
use crate::core::time::Timestamp;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// Key of the time at which all of it ends.
const EXPIRES_AT: &str = "expires_at";

/// What was given.
#[derive(Debug)]
pub(super) struct Given {
    /// Values by name, in the order of the scheme's fields.
    pub(super) fields: Vec<(&'static str, Secret)>,
    pub(super) expires_at: Option<Timestamp>,
}

/// Reads one object with fields of `scheme`, perhaps behind a byte order mark. Absent keys and `null` are the same.
pub(super) fn parse(content: &[u8], scheme: CredentialScheme) -> Result<Given, ContentProblem> {
    let content = content.strip_prefix(BYTE_ORDER_MARK).unwrap_or(content);
    let Pairs(pairs) = serde_json::from_slice(content)
        .map_err(|error| ContentProblem::NotAnObject { line: error.line(), column: error.column() })?;
    let names = || scheme.fields().map(|field| field.name);
    let mut given: Vec<(&'static str, Option<Secret>)> = names().chain([EXPIRES_AT]).map(|name| (name, None)).collect();
    for (number, (key, value)) in (1..).zip(pairs) {
        let Some((name, field)) = given.iter_mut().find(|(name, _)| *name == key) else {
            return Err(ContentProblem::UnknownKey { number, known: names().collect::<Vec<_>>().join(", ") });
        };
        if field.is_some() {
            return Err(ContentProblem::Twice(name));
        }
        *field = text(name, value)?;
    }
    let expires_at = given.pop().and_then(|(_, text)| text).map(|text| time(text.expose())).transpose()?;
    Ok(Given { fields: given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect(), expires_at })
}

fn text(key: &'static str, value: Value) -> Result<Option<Secret>, ContentProblem> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => {
            let secret = Secret::new(text);
            match ValueProblem::of(secret.expose()) {
                None => Ok(Some(secret)),
                Some(problem) => Err(ContentProblem::Value { key, problem }),
            }
        }
        _ => Err(ContentProblem::NotAText(key)),
    }
}

fn time(text: &str) -> Result<Timestamp, ContentProblem> {
    let moment: jiff::Timestamp = text.parse().map_err(|_| ContentProblem::BadTime)?;
    Ok(Timestamp::from_unix_ms(moment.as_millisecond()))
}

/// An object with its keys as given, repeated ones included.
struct Pairs(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PairsVisitor)
    }
}

struct PairsVisitor;

impl<'de> Visitor<'de> for PairsVisitor {
    type Value = Pairs;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(Pairs(pairs))
    }
}
