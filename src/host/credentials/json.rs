//! The JSON object that credential files hold and credential programs print.
//!
//! Read by hand: the messages of a derived reader repeat the values that they dislike.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::{ContentProblem, problem_of};
use crate::core::secret::Secret;
use crate::core::time::Timestamp;

/// What was given.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) key_id: Option<Secret>,
    pub(super) key_secret: Option<Secret>,
    pub(super) token: Option<Secret>,
    pub(super) bearer_token: Option<Secret>,
    pub(super) expires_at: Option<Timestamp>,
}

/// Reads one object. Absent keys and `null` are the same.
pub(super) fn parse(content: &[u8]) -> Result<Fields, ContentProblem> {
    let Pairs(pairs) = serde_json::from_slice(content)
        .map_err(|error| ContentProblem::NotAnObject { line: error.line(), column: error.column() })?;
    let mut fields = Fields::default();
    let mut expires_at = None;
    for (number, (key, value)) in (1..).zip(pairs) {
        let (name, field) = match key.as_str() {
            "key_id" => ("key_id", &mut fields.key_id),
            "key_secret" => ("key_secret", &mut fields.key_secret),
            "token" => ("token", &mut fields.token),
            "bearer_token" => ("bearer_token", &mut fields.bearer_token),
            "expires_at" => ("expires_at", &mut expires_at),
            _ => return Err(ContentProblem::UnknownKey(number)),
        };
        if field.is_some() {
            return Err(ContentProblem::Twice(name));
        }
        *field = text(name, value)?;
    }
    fields.expires_at = expires_at.map(|text| time(text.expose())).transpose()?;
    Ok(fields)
}

fn text(key: &'static str, value: Value) -> Result<Option<Secret>, ContentProblem> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => {
            let secret = Secret::new(text);
            match problem_of(secret.expose()) {
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
