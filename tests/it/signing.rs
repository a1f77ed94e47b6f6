//! Every signing scheme against every vector: the vendors' SDKs and documents made them, not this program.

use freshen::core::secret::Secret;
use freshen::provider::sign::{self, Parts, QcloudMethod, Signed};
use serde_json::Value;

/// File, its text, and how many vectors it holds; a vector that is dropped by accident fails the count.
const FILES: &[(&str, &str, usize)] = &[
    ("tencent-cdn", include_str!("golden/vectors/tencent-cdn.json"), 13),
    ("tencent-vod", include_str!("golden/vectors/tencent-vod.json"), 8),
    ("alibaba-vod", include_str!("golden/vectors/alibaba-vod.json"), 15),
    ("huawei-vod", include_str!("golden/vectors/huawei-vod.json"), 9),
    ("qcloud-cdn", include_str!("golden/vectors/qcloud-cdn.json"), 9),
];

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no text at {key} in {value}"))
}

fn secret(vector: &Value) -> Secret {
    let credentials = &vector["input"]["credentials"];
    let names = ["secret_key", "access_key_secret", "sk"];
    let found = names.iter().find_map(|name| credentials[name].as_str()).expect("a secret");
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
        other => panic!("no signer for {other}"),
    }
}

#[test]
fn every_vector_is_signed_exactly() {
    for (file, content, count) in FILES {
        let parsed: Value = serde_json::from_str(content).expect("valid JSON");
        let vectors = parsed["vectors"].as_array().expect("a list");
        assert_eq!(vectors.len(), *count, "vectors in {file}.json");
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
fn no_vector_file_is_left_out() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/golden/vectors");
    let mut found: Vec<String> = std::fs::read_dir(folder)
        .expect("the vectors' folder")
        .filter_map(|entry| {
            entry.expect("an entry").file_name().into_string().ok()?.strip_suffix(".json").map(Into::into)
        })
        .collect();
    let mut listed: Vec<&str> = FILES.iter().map(|(name, _, _)| *name).collect();
    found.sort();
    listed.sort_unstable();
    assert_eq!(found, listed);
}

#[test]
fn another_secret_gives_another_signature() {
    for (file, content, _) in FILES {
        let mut parsed: Value = serde_json::from_str(content).expect("valid JSON");
        let vector = &mut parsed["vectors"][0];
        let before = resign(vector).signature;
        for name in ["secret_key", "access_key_secret", "sk"] {
            if vector["input"]["credentials"][name].is_string() {
                vector["input"]["credentials"][name] = Value::from("another");
            }
        }
        assert_ne!(resign(vector).signature, before, "{file}");
    }
}
