//! The vendors' signing schemes, as pure functions over the parts of a request.
//!
//! They serve both sides: adapters sign what they send, emulators recompute what they received. Nothing here knows
//! endpoints, operations or credentials beyond the secret that is handed in, and nothing is kept after a call.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use secrecy::zeroize::Zeroizing;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::core::secret::Secret;
use crate::core::text::hex;
use crate::core::time::Timestamp;

/// All bytes but the unreserved ones of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// What is signed: a request taken apart, as it is on the wire.
pub struct Parts<'a> {
    /// `GET`, `POST`, ...
    pub method: &'a str,
    /// Path of the request line, without the query.
    pub path: &'a str,
    /// Query of the request line as sent, without the `?`.
    pub query: &'a str,
    /// Headers as sent; names in any case.
    pub headers: &'a [(String, String)],
    /// The body's bytes.
    pub body: &'a [u8],
}

impl Parts<'_> {
    /// First value of a header, trimmed; empty if it is absent.
    fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value.trim())
    }
}

/// The three stages of a signature. They are for comparing and sending, so `Debug` shows none of them.
#[derive(Clone, PartialEq, Eq)]
pub struct Signed {
    /// The normal form of the request; for schemes without one, the parameters in their signed order.
    pub canonical_request: String,
    /// What the key was applied to.
    pub string_to_sign: String,
    /// Lower-case hex or Base64, as the scheme has it.
    pub signature: String,
}

impl fmt::Debug for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signed(***)")
    }
}

/// TC3-HMAC-SHA256 of Tencent's API 3.0. `signed_headers` in any order and case; `service` is the scope's name for it.
pub fn tc3(parts: &Parts, signed_headers: &[&str], service: &str, unix_seconds: i64, secret: &Secret) -> Signed {
    let names = header_names(signed_headers);
    // The rule lower-cases values too, which keeps signatures whole when a proxy changes a value's case.
    let block = header_block(parts, &names).to_lowercase();
    let payload = match parts.header("x-tc-content-sha256") {
        "UNSIGNED-PAYLOAD" => sha256_hex(b"UNSIGNED-PAYLOAD"),
        _ => sha256_hex(parts.body),
    };
    let canonical_request = canonical(parts.method, parts.path, parts.query, &block, &names, &payload);

    let date = Timestamp::from_unix_ms(unix_seconds.saturating_mul(1000)).utc_date();
    let string_to_sign = format!(
        "TC3-HMAC-SHA256\n{unix_seconds}\n{date}/{service}/tc3_request\n{}",
        sha256_hex(canonical_request.as_bytes())
    );
    let mut first = Zeroizing::new(String::with_capacity(3 + secret.expose().len()));
    first.push_str("TC3");
    first.push_str(secret.expose());
    let of_date = hmac_sha256(first.as_bytes(), date.as_bytes());
    let of_service = hmac_sha256(of_date.as_slice(), service.as_bytes());
    let key = hmac_sha256(of_service.as_slice(), b"tc3_request");
    let signature = hex(hmac_sha256(key.as_slice(), string_to_sign.as_bytes()).as_slice());
    Signed { canonical_request, string_to_sign, signature }
}

/// ACS3-HMAC-SHA256 of Alibaba Cloud. The payload hash is that of the body, whatever `x-acs-content-sha256` says.
pub fn acs3(parts: &Parts, signed_headers: &[&str], secret: &Secret) -> Signed {
    let names = header_names(signed_headers);
    let block = header_block(parts, &names);
    let query = canonical_query(parts.query);
    let payload = sha256_hex(parts.body);
    let canonical_request = canonical(parts.method, parts.path, &query, &block, &names, &payload);
    let string_to_sign = format!("ACS3-HMAC-SHA256\n{}", sha256_hex(canonical_request.as_bytes()));
    let signature = hex(hmac_sha256(secret.expose().as_bytes(), string_to_sign.as_bytes()).as_slice());
    Signed { canonical_request, string_to_sign, signature }
}

/// HMAC-SHA1 of Alibaba Cloud's older RPC calls: over all parameters, of query and body alike, except `Signature`.
pub fn acs_rpc(method: &str, params: &[(String, String)], secret: &Secret) -> Signed {
    let canonical_request = encode_sorted(params.to_vec());
    let string_to_sign = format!("{method}&%2F&{}", rfc3986_encode(&canonical_request));
    let mut key = Zeroizing::new(String::with_capacity(secret.expose().len() + 1));
    key.push_str(secret.expose());
    key.push('&');
    let signature = BASE64.encode(hmac_sha1(key.as_bytes(), string_to_sign.as_bytes()).as_slice());
    Signed { canonical_request, string_to_sign, signature }
}

/// SDK-HMAC-SHA256 of Huawei Cloud. `sdk_date` is the value of `X-Sdk-Date`, like `20231114T221320Z`.
pub fn sdk_hmac(parts: &Parts, signed_headers: &[&str], sdk_date: &str, secret: &Secret) -> Signed {
    let names = header_names(signed_headers);
    let block = header_block(parts, &names);
    let query = canonical_query(parts.query);
    let payload = match names.iter().find(|name| *name == "x-sdk-content-sha256") {
        Some(name) => parts.header(name).to_owned(),
        None => sha256_hex(parts.body),
    };
    let path = canonical_path(parts.path);
    let canonical_request = canonical(parts.method, &path, &query, &block, &names, &payload);
    let string_to_sign = format!("SDK-HMAC-SHA256\n{sdk_date}\n{}", sha256_hex(canonical_request.as_bytes()));
    let signature = hex(hmac_sha256(secret.expose().as_bytes(), string_to_sign.as_bytes()).as_slice());
    Signed { canonical_request, string_to_sign, signature }
}

/// Digest of the legacy Tencent signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QcloudMethod {
    /// `HmacSHA1`, which the service assumes if nothing is given.
    HmacSha1,
    /// `HmacSHA256`.
    HmacSha256,
}

/// Signature of Tencent's API v2: over all parameters except `Signature`, values raw; `host` as in the Host header.
pub fn qcloud(
    method: &str,
    host: &str,
    path: &str,
    params: &[(String, String)],
    algorithm: QcloudMethod,
    secret: &Secret,
) -> Signed {
    let mut sorted: Vec<(String, &str)> =
        params.iter().map(|(name, value)| (name.replace('_', "."), value.as_str())).collect();
    sorted.sort_unstable();
    let pairs: Vec<String> = sorted.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let canonical_request = pairs.join("&");
    let string_to_sign = format!("{method}{host}{path}?{canonical_request}");
    let (key, text) = (secret.expose().as_bytes(), string_to_sign.as_bytes());
    let signature = match algorithm {
        QcloudMethod::HmacSha1 => BASE64.encode(hmac_sha1(key, text).as_slice()),
        QcloudMethod::HmacSha256 => BASE64.encode(hmac_sha256(key, text).as_slice()),
    };
    Signed { canonical_request, string_to_sign, signature }
}

/// Lower-case hex of the SHA-256 of `bytes`.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(Sha256::digest(bytes).as_slice())
}

/// Percent-encodes every byte but letters, digits and `-_.~`.
pub fn rfc3986_encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// Writes a query or form by the rules of RFC 3986, in the order given: a blank becomes `%20`, a plus `%2B`.
pub fn form_encode(pairs: &[(String, String)]) -> String {
    let pairs: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{}={}", rfc3986_encode(name), rfc3986_encode(value))).collect();
    pairs.join("&")
}

/// Reads a query or form, a plus as a blank. `None` if an escape is broken or the text is not UTF-8.
pub fn form_decode(text: &str) -> Option<Vec<(String, String)>> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((percent_decode(&name.replace('+', " "))?, percent_decode(&value.replace('+', " "))?))
        })
        .collect()
}

/// Undoes percent-encoding. `None` if an escape is broken or the result is not UTF-8.
pub fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let is_hex = |next: Option<u8>| next.is_some_and(|digit| digit.is_ascii_hexdigit());
        if byte == b'%' && !(is_hex(bytes.next()) && is_hex(bytes.next())) {
            return None;
        }
    }
    percent_decode_str(text).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

fn canonical(method: &str, path: &str, query: &str, block: &str, names: &[String], payload: &str) -> String {
    format!("{method}\n{path}\n{query}\n{block}\n{}\n{payload}", names.join(";"))
}

/// Names as schemes list them: lower case, in order, each once.
fn header_names(signed_headers: &[&str]) -> Vec<String> {
    let mut names: Vec<String> = signed_headers.iter().map(|name| name.to_ascii_lowercase()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn header_block(parts: &Parts, names: &[String]) -> String {
    names.iter().flat_map(|name| [name.as_str(), ":", parts.header(name), "\n"]).collect()
}

/// A query in its signed spelling; one that cannot be read stays as it is, and no signature will fit it.
fn canonical_query(raw: &str) -> String {
    form_decode(raw).map_or_else(|| raw.to_owned(), encode_sorted)
}

fn encode_sorted(mut pairs: Vec<(String, String)>) -> String {
    pairs.sort_unstable();
    form_encode(&pairs)
}

/// Huawei's spelling of a path: segments encoded anew, a slash at the end.
fn canonical_path(raw: &str) -> String {
    let segments: Vec<String> = raw
        .split('/')
        .map(|segment| rfc3986_encode(&percent_decode(segment).unwrap_or_else(|| segment.to_owned())))
        .collect();
    let mut path = segments.join("/");
    if !path.ends_with('/') {
        path.push('/');
    }
    path
}

fn hmac_sha256(key: &[u8], text: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text);
    Zeroizing::new(mac.finalize().into_bytes().into())
}

fn hmac_sha1(key: &[u8], text: &[u8]) -> Zeroizing<[u8; 20]> {
    let mut mac = Hmac::<Sha1>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text);
    Zeroizing::new(mac.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoding_and_decoding_are_inverse() {
        let pairs = vec![("a b".to_owned(), "é*~+&=%/\n".to_owned()), ("urls.0".to_owned(), String::new())];
        let text = form_encode(&pairs);
        assert_eq!(text, "a%20b=%C3%A9%2A~%2B%26%3D%25%2F%0A&urls.0=");
        assert_eq!(form_decode(&text), Some(pairs));
    }

    #[test]
    fn broken_escapes_are_not_decoded() {
        for text in ["a=%", "a=%4", "a=%zz", "%=1", "a=%ff"] {
            assert_eq!(form_decode(text), None, "{text}");
        }
        assert_eq!(form_decode("a+b=1&&c"), Some(vec![("a b".into(), "1".into()), ("c".into(), String::new())]));
    }

    #[test]
    fn session_token_header_changes_a_huawei_signature_only_if_it_is_signed() {
        let secret = Secret::new("secret".into());
        let sign = |token: &str, names: &[&str]| {
            let headers = [("X-Security-Token".to_owned(), token.to_owned())];
            let parts = Parts { method: "POST", path: "/", query: "", headers: &headers, body: b"" };
            sdk_hmac(&parts, names, "20231114T221320Z", &secret).signature
        };
        assert_ne!(sign("a", &["x-security-token"]), sign("b", &["x-security-token"]));
        assert_eq!(sign("a", &[]), sign("b", &[]));
    }

    #[test]
    fn huawei_paths_end_in_a_slash_and_are_encoded_once() {
        assert_eq!(canonical_path("/v1/a%20b"), "/v1/a%20b/");
        assert_eq!(canonical_path("/v1/a:b/"), "/v1/a%3Ab/");
    }

    // X1: strings to sign never reach a log.
    #[test]
    fn debug_shows_nothing() {
        let signed = acs_rpc("POST", &[("canary".into(), "canary".into())], &Secret::new("canary".into()));
        assert!(!format!("{signed:?} {signed:#?}").contains("canary"));
    }
}
