//! A JSON result whose long lists are written as they are made: a million changes are never held as a tree.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::Value;

/// Makes the items of a list anew each time it is asked.
type DocumentItems<'a> = Box<dyn Fn() -> Box<dyn Iterator<Item = Value> + 'a> + 'a>;

/// One JSON object, its keys in order of the alphabet.
#[derive(Default)]
pub(crate) struct Document<'a> {
    fields: BTreeMap<String, Field<'a>>,
}

enum Field<'a> {
    Value(Value),
    List(DocumentItems<'a>),
}

impl<'a> Document<'a> {
    /// Adds a short value.
    pub(crate) fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.fields.insert(key.to_owned(), Field::Value(value.into()));
    }

    /// Adds a list that may be long.
    pub(crate) fn list<I>(&mut self, key: &str, items: impl Fn() -> I + 'a)
    where
        I: Iterator<Item = Value> + 'a,
    {
        self.fields.insert(key.to_owned(), Field::List(Box::new(move || Box::new(items()))));
    }
}

impl From<Value> for Document<'_> {
    /// Takes over the fields of an object.
    fn from(value: Value) -> Self {
        let fields = match value {
            Value::Object(object) => object.into_iter().map(|(key, value)| (key, Field::Value(value))).collect(),
            _ => BTreeMap::new(),
        };
        Self { fields }
    }
}

impl Serialize for Document<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(&self.fields)
    }
}

impl Serialize for Field<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Value(value) => value.serialize(serializer),
            Self::List(items) => serializer.collect_seq(items()),
        }
    }
}
