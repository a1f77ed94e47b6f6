//! Every signing scheme against every vector: the vendors' SDKs and documents made them, not this program.

use std::path::Path;

use freshen::core::secret::Secret;
use freshen::vendor::sign;
use freshen::vendor::sign::{Parts, QcloudMethod, Signed};
use serde_json::Value;

use crate::support::cloud::clouds;

/// Where the secret of a vector stands among its credentials.
const SECRETS: [&str; 3] = ["secret_key", "access_key_secret", "sk"];

/// The vectors of each kind that signs, by its name. Each file says how many it holds, so that one that is dropped by accident
/// is noticed.
fn files() -> Vec<(&'static str, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/golden/vectors");
    let file = |kind: &'static str| {
        let path = folder.join(format!("{kind}.json"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (kind, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    };
    clouds().map(file).collect()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no text at {key} in {value}"))
}

fn secret(vector: &Value) -> Secret {
    let credentials = &vector["input"]["credentials"];
    let found = SECRETS.iter().find_map(|name| credentials[name].as_str());
    let found = found.unwrap_or_else(|| panic!("{}: `credentials` has none of {SECRETS:?}", vector["id"]));
    Secret::new(found.to_owned())
}

/// Parameters of a query and a body together, without the signature.
fn params(expected: &Value) -> Vec<(String, String)> {
    let mut params = sign::form_decode(text(expected, "query")).expect("readable query");
    params.extend(sign::form_decode(text(expected, "body")).expect("readable body"));
    params.retain(|(name, _)| name != "Signature");
    params
}

fn resign(vector: &Value) -> Signed {
    let (input, expected) = (&vector["input"], &vector["expected"]);
    let headers: Vec<(String, String)> = expected["headers"]
        .as_object()
        .expect("headers")
        .iter()
        .map(|(name, value)| (name.clone(), value.as_str().expect("text").to_owned()))
        .collect();
    let parts = Parts {
        method: text(expected, "method"),
        path: text(expected, "path"),
        query: text(expected, "query"),
        headers: &headers,
        body: text(expected, "body").as_bytes(),
    };
    // Reversed, because the order in which a caller names the headers must not matter.
    let signed_headers: Vec<&str> =
        expected["signed_headers"].as_str().map_or_else(Vec::new, |names| names.split(';').rev().collect());
    let secret = secret(vector);
    match text(input, "scheme") {
        "tc3" => {
            let seconds = input["timestamp"].as_i64().expect("seconds");
            sign::tc3(&parts, &signed_headers, text(input, "service"), seconds, &secret)
        }
        "acs3" => sign::acs3(&parts, &signed_headers, &secret),
        "acs-rpc-hmac-sha1" => sign::acs_rpc(parts.method, &params(expected), &secret),
        "sdk-hmac-sha256" => sign::sdk_hmac(&parts, &signed_headers, text(input, "sdk_date"), &secret),
        "qcloud-v2" => {
            let algorithm = match input["signature_method"].as_str() {
                Some("HmacSHA256") => QcloudMethod::HmacSha256,
                _ => QcloudMethod::HmacSha1,
            };
            sign::qcloud(parts.method, text(input, "host"), parts.path, &params(expected), algorithm, &secret)
        }
        other => panic!("{}: add an arm for the scheme `{other}` to `resign` in tests/it/signing.rs", vector["id"]),
    }
}

#[test]
fn every_vector_is_signed_exactly() {
    for (kind, parsed) in files() {
        let vectors = parsed["vectors"].as_array().expect("a list");
        assert_eq!(Some(vectors.len() as u64), parsed["count"].as_u64(), "vectors of {kind}");
        for vector in vectors {
            let (id, expected) = (text(vector, "id"), &vector["expected"]);
            let signed = resign(vector);
            if let Some(canonical) = expected["canonical_request"].as_str() {
                assert_eq!(signed.canonical_request, canonical, "canonical request of {id}");
            }
            assert_eq!(signed.string_to_sign, text(expected, "string_to_sign"), "string to sign of {id}");
            assert_eq!(signed.signature, text(expected, "signature"), "signature of {id}");
        }
    }
}

#[test]
fn another_secret_gives_another_signature() {
    for (kind, mut parsed) in files() {
        let vector = &mut parsed["vectors"][0];
        let before = resign(vector).signature;
        for name in SECRETS {
            if vector["input"]["credentials"][name].is_string() {
                vector["input"]["credentials"][name] = Value::from("another");
            }
        }
        assert_ne!(resign(vector).signature, before, "{kind}");
    }
}
