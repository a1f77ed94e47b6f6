//! The JSON Schema of manifests, made from the tables that the check reads. For editors; the check is stricter.

use serde_json::{Map, Value, json};

use super::shape::{
    ASSET, COLLAPSE, CREDENTIALS, GUARD, KeySpec, LIMITS, MANIFEST, MATCH, ORIGIN, PRIORITY, PROVIDER, SHORT_ASSET,
    SOURCE, Section, Shape, VERIFY, of_option,
};
use crate::core::contract::Capabilities;
use crate::core::provider::Provider;
use crate::vendor::Vendors;

/// A share as manifests give it.
const PERCENT: &str = "^(100|[1-9]?[0-9])%$";

/// The path of a directory as URLs begin with it; no part is `.` or `..`.
const DIRECTORY: &str = "^/(([^.*?#/\\\\]|\\.[^.*?#/\\\\]|\\.\\.[^*?#/\\\\])[^*?#/\\\\]*/)*$";

/// JSON Schema (draft 2020-12) of one manifest file with providers of these kinds.
pub fn schema(vendors: Vendors) -> Value {
    let mut root = section(&MANIFEST);
    if let Some(object) = root.as_object_mut() {
        object.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
        object.insert("title".into(), json!("freshen manifest"));
        object.insert("anyOf".into(), ["assets", "providers", "sources"].map(|key| json!({"required": [key]})).into());
        object.insert(
            "$defs".into(),
            json!({
                "asset": asset(),
                "short_asset": section(&SHORT_ASSET),
                "hash": hash(),
                "provider": provider_schema(vendors),
                "guard": not_empty(&GUARD),
                "collapse": collapse(),
                "limits": section(&LIMITS),
                "credentials": credentials(),
                "source": source(),
                "priority": section(&PRIORITY),
                "origin": section(&ORIGIN),
                "verify": section(&VERIFY),
                "match": section(&MATCH),
            }),
        );
    }
    root
}

fn section(section: &Section) -> Value {
    let known = section.keys.iter().filter(|spec| spec.later.is_none());
    let properties: Map<String, Value> = known.map(|spec| (spec.key.to_owned(), property(spec))).collect();
    let required: Vec<&str> = section.keys.iter().filter(|spec| spec.required).map(|spec| spec.key).collect();
    let mut object = json!({
        "type": "object",
        "description": section.doc,
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        object["required"] = json!(required);
    }
    object
}

fn property(spec: &KeySpec) -> Value {
    let mut value = match spec.key {
        "version" => json!({"const": 1}),
        "hash" => json!({"$ref": "#/$defs/hash"}),
        _ => shape(spec.shape),
    };
    value["description"] = json!(spec.doc);
    value
}

fn shape(shape: Shape) -> Value {
    let text = || json!({"type": "string", "minLength": 1, "pattern": "\\S"});
    match shape {
        Shape::Text => text(),
        Shape::Texts => json!({"anyOf": [text(), {"type": "array", "items": text(), "minItems": 1}]}),
        Shape::TextList => json!({"type": "array", "items": text(), "minItems": 1}),
        Shape::Bool => json!({"type": "boolean"}),
        Shape::Integer(least) => json!({"type": "integer", "minimum": least}),
        Shape::Within(least, most) => json!({"type": "integer", "minimum": least, "maximum": most}),
        Shape::IntegerList => json!({"type": "array", "items": {"type": "integer", "minimum": 0}}),
        Shape::UtcOffset => json!({"type": "string", "pattern": "^[+-]((0[0-9]|1[0-3]):[0-5][0-9]|14:00)$"}),
        Shape::Percent => json!({"type": "string", "pattern": PERCENT}),
        Shape::IntegerOrPercent => {
            json!({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": PERCENT}]})
        }
        Shape::Duration(..) => json!({"type": "string", "pattern": "^[0-9]+(ms|s|m|h)$"}),
        Shape::Size(_) => json!({"type": "string", "pattern": "^[0-9]+ ?[KMGT]i?B$"}),
        Shape::OneOf(words) => json!({"enum": words}),
        Shape::Headers => headers(),
        Shape::HeaderMaps(word) => {
            json!({"anyOf": [{"const": word}, {"type": "array", "items": headers(), "minItems": 1}]})
        }
        Shape::TextOr(section) => json!({"anyOf": [text(), {"$ref": reference(section)}]}),
        Shape::FlagOr(section) => json!({"anyOf": [{"type": "boolean"}, {"$ref": reference(section)}]}),
        Shape::WordOr(words, section) => json!({"anyOf": [{"enum": words}, {"$ref": reference(section)}]}),
        Shape::Section(section) => json!({"$ref": reference(section)}),
        Shape::Named(section) => json!({
            "type": "object",
            "propertyNames": {"pattern": "^[a-z0-9][a-z0-9._-]*$", "maxLength": 64},
            "additionalProperties": {"$ref": reference(section)},
        }),
        Shape::Assets => json!({"anyOf": [
            {
                "type": "object",
                "propertyNames": {"minLength": 1},
                "additionalProperties": {"anyOf": [{"$ref": "#/$defs/hash"}, {"$ref": "#/$defs/short_asset"}]},
            },
            {"type": "array", "items": {"$ref": "#/$defs/asset"}},
        ]}),
        Shape::List(section) => json!({"type": "array", "items": {"$ref": reference(section)}, "minItems": 1}),
        Shape::OneOrList(section) => {
            let one = json!({"$ref": reference(section)});
            json!({"anyOf": [one, {"type": "array", "items": one, "minItems": 1}]})
        }
    }
}

fn headers() -> Value {
    json!({"type": "object", "additionalProperties": {"type": "string"}})
}

fn reference(section: &Section) -> &'static str {
    let defined: [(&Section, &str); 9] = [
        (&LIMITS, "#/$defs/limits"),
        (&GUARD, "#/$defs/guard"),
        (&COLLAPSE, "#/$defs/collapse"),
        (&CREDENTIALS, "#/$defs/credentials"),
        (&SOURCE, "#/$defs/source"),
        (&PRIORITY, "#/$defs/priority"),
        (&ORIGIN, "#/$defs/origin"),
        (&VERIFY, "#/$defs/verify"),
        (&MATCH, "#/$defs/match"),
    ];
    let defined = defined.iter().find(|(known, _)| *known == section);
    defined.map_or("#/$defs/provider", |(_, reference)| reference)
}

fn asset() -> Value {
    let mut object = section(&ASSET);
    object["oneOf"] = json!([{"required": ["path"]}, {"required": ["url"]}, {"required": ["asset_id"]}]);
    object
}

/// Each of the two kinds with its own keys only.
fn source() -> Value {
    let mut object = section(&SOURCE);
    let without =
        |keys: &[&str]| -> Map<String, Value> { keys.iter().map(|key| ((*key).into(), json!(false))).collect() };
    object["oneOf"] = json!([
        {"required": ["directory"], "properties": without(&["checksums", "algorithm"])},
        {"required": ["checksums"], "properties": without(&["directory", "include", "exclude", "normalize"])},
    ]);
    object
}

/// A map that must say something.
fn not_empty(of: &Section) -> Value {
    let mut object = section(of);
    object["minProperties"] = json!(1);
    object
}

fn collapse() -> Value {
    let mut object = section(&COLLAPSE);
    object["properties"]["directory"]["pattern"] = json!(DIRECTORY);
    object
}

fn credentials() -> Value {
    let mut object = not_empty(&CREDENTIALS);
    object["maxProperties"] = json!(1);
    object
}

fn hash() -> Value {
    json!({
        "type": "string",
        "anyOf": [
            {"pattern": "^(blake3|sha256):[0-9a-fA-F]{64}$"},
            {"pattern": "^sha1:[0-9a-fA-F]{40}$"},
            {"pattern": "^sha384:[0-9a-fA-F]{96}$"},
            {"pattern": "^sha512:[0-9a-fA-F]{128}$"},
            {"pattern": "^md5:[0-9a-fA-F]{32}$"},
            {"pattern": "^sha256-[0-9A-Za-z+/]{43}=$"},
            {"pattern": "^sha384-[0-9A-Za-z+/]{64}$"},
            {"pattern": "^sha512-[0-9A-Za-z+/]{86}==$"},
            {"pattern": "^(etag|rev):.*\\S"},
        ],
    })
}

/// The common keys, and the options of the kind that is named.
fn provider_schema(vendors: Vendors) -> Value {
    let mut object = section(&PROVIDER);
    let kinds: Vec<&'static Capabilities> = vendors.all().map(Provider::capabilities).collect();
    let listed: Vec<Value> =
        kinds.iter().map(|kind| json!({"const": kind.kind, "description": kind.summary})).collect();
    let doc = object["properties"]["kind"]["description"].take();
    object["properties"]["kind"] = json!({"description": doc, "type": "string", "oneOf": listed});
    // Options stand beside the common keys, so what is allowed is only known when both are.
    if let Some(object) = object.as_object_mut() {
        object.remove("additionalProperties");
    }
    object["unevaluatedProperties"] = json!(false);
    object["allOf"] = kinds.iter().map(|kind| of_kind(kind)).collect();
    object
}

fn of_kind(kind: &Capabilities) -> Value {
    let mut properties = Map::new();
    let mut required: Vec<&str> =
        kind.options.iter().filter(|option| option.required).map(|option| option.key).collect();
    for option in kind.options {
        let mut value = shape(of_option(option.shape));
        value["description"] = json!(option.doc);
        properties.insert(option.key.to_owned(), value);
    }
    let mut then = json!({"properties": properties});
    if kind.default_endpoint.is_some() {
        then["properties"]["endpoints"] = json!(false);
    } else {
        required.retain(|key| *key != "endpoints");
        then["anyOf"] = json!([{"required": ["endpoint"]}, {"required": ["endpoints"]}]);
    }
    if !required.is_empty() {
        then["required"] = json!(required);
    }
    json!({
        "if": {"required": ["kind"], "properties": {"kind": {"const": kind.kind}}},
        "then": then,
    })
}
