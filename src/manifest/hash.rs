//! Hashes as manifests write them, to their one canonical form.
//!
//! The one folding: hex digits in upper case become lower case. Everything else is taken as written or refused.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::node::{is_invisible, shown};
use super::secrets;
use super::variables::{NOT_REPLACED, REPLACED_IN};
use crate::core::algorithm::Algorithm;
use crate::core::target::ContentHash;

/// Algorithms of the subresource-integrity form.
const INTEGRITY: &[Algorithm] = &[Algorithm::Sha256, Algorithm::Sha384, Algorithm::Sha512];
/// Longest opaque text, in bytes.
const MAX_OPAQUE_BYTES: usize = 1024;

const FORMS: &str = "write for example `sha256:` and 64 hex digits (also blake3, sha1, sha384, sha512, md5), \
    `sha256-` and base64, `etag:…` or `rev:…`";

/// Why a text is no hash, and what to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct HashProblem {
    pub(crate) message: String,
    pub(crate) help: String,
}

fn problem(message: impl Into<String>, help: impl Into<String>) -> HashProblem {
    HashProblem { message: message.into(), help: help.into() }
}

/// What to write in place of a text that names no algorithm.
fn meant(text: &str) -> String {
    let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let fitting = Algorithm::ALL.iter().filter(|algorithm| is_hex && 2 * algorithm.digest_bytes() == text.len());
    let mut words: Vec<String> = fitting.map(|algorithm| format!("`{}:`", algorithm.word())).collect();
    if !words.is_empty() {
        // Revisions of Git have as many digits as SHA-1.
        words.push("`rev:`".to_owned());
        return format!("write what it is before it: {}", words.join(" or "));
    }
    let is_word =
        !text.is_empty() && text.len() <= 40 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    if is_word { format!("{FORMS}; a version or date of your own is `rev:{text}`") } else { FORMS.to_owned() }
}

/// Reads a hash of a manifest. A reference to a variable would stand for itself, and so never change.
pub(crate) fn parse_written(text: &str) -> Result<ContentHash, HashProblem> {
    if secrets::has_reference(text) {
        let help = format!("write the hash itself, for example with `envsubst`; {REPLACED_IN}");
        return Err(problem(format!("`hash`: {NOT_REPLACED}"), help));
    }
    parse(text)
}

/// Reads a hash.
pub(crate) fn parse(text: &str) -> Result<ContentHash, HashProblem> {
    if let Some(bad) = text.chars().find(|c| is_invisible(*c)) {
        return Err(problem(format!("control character U+{:04X} in the hash", u32::from(bad)), "delete it"));
    }
    match text.find([':', '-']) {
        Some(at) if text.as_bytes()[at] == b':' => tagged(text, &text[..at], &text[at + 1..]),
        Some(at) => integrity(text, &text[..at], &text[at + 1..]),
        None => Err(problem(format!("`{}` is not a hash", shown(text)), meant(text))),
    }
}

fn tagged(text: &str, algorithm: &str, rest: &str) -> Result<ContentHash, HashProblem> {
    if algorithm == "etag" || algorithm == "rev" {
        return opaque(text, algorithm, rest);
    }
    let bytes = known(text, algorithm)?.digest_bytes();
    if let Some(bad) = rest.chars().find(|c| !c.is_ascii_hexdigit()) {
        return Err(problem(format!("`{}` is not a hex digit", shown(&bad.to_string())), FORMS));
    }
    if rest.len() != 2 * bytes {
        return Err(problem(
            format!("{algorithm} has {} hex digits, found {}", 2 * bytes, rest.len()),
            "compute the hash again; it may have been cut",
        ));
    }
    Ok(ContentHash::from_canonical(format!("{algorithm}:{}", rest.to_ascii_lowercase())))
}

fn opaque(text: &str, algorithm: &str, rest: &str) -> Result<ContentHash, HashProblem> {
    if rest.trim().is_empty() {
        return Err(problem(format!("nothing after `{algorithm}:`"), "write the opaque text there"));
    }
    if rest.len() > MAX_OPAQUE_BYTES {
        return Err(problem(
            format!("{} bytes after `{algorithm}:`, more than {MAX_OPAQUE_BYTES}", rest.len()),
            "use a hash of the content",
        ));
    }
    Ok(ContentHash::from_canonical(text))
}

fn integrity(text: &str, algorithm: &str, rest: &str) -> Result<ContentHash, HashProblem> {
    let known = known(text, algorithm)?;
    let bytes = known.digest_bytes();
    if !INTEGRITY.contains(&known) {
        return Err(problem(
            format!("{algorithm} has no form with `-`"),
            format!("write `{algorithm}:` and {} hex digits", 2 * bytes),
        ));
    }
    if rest.contains(char::is_whitespace) {
        return Err(problem("several hashes in one text", "write one of them"));
    }
    let decoded = STANDARD.decode(rest).map_err(|_| {
        problem(format!("what follows `{algorithm}-` is not base64"), "write it with its `=` at the end")
    })?;
    if decoded.len() != bytes {
        return Err(problem(
            format!("{algorithm} has {bytes} bytes, the base64 text holds {}", decoded.len()),
            "compute the hash again; it may have been cut",
        ));
    }
    Ok(known.hash(&decoded))
}

fn known(text: &str, algorithm: &str) -> Result<Algorithm, HashProblem> {
    if let Some(known) = Algorithm::of_word(algorithm) {
        return Ok(known);
    }
    let lower = algorithm.to_ascii_lowercase();
    let joined = lower.replace(['-', '_'], "");
    if Algorithm::of_word(&joined).is_some() || joined == "etag" || joined == "rev" {
        return Err(problem(format!("`{}` is not a known algorithm", shown(algorithm)), format!("write `{joined}`")));
    }
    Err(problem(format!("`{}` is not a hash", shown(text)), meant(text)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ABC_SHA256: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn forms_of_one_hash_have_one_canonical_form() {
        let canonical = format!("sha256:{ABC_SHA256}");
        for form in [
            canonical.clone(),
            format!("sha256:{}", ABC_SHA256.to_uppercase()),
            "sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=".to_owned(),
        ] {
            assert_eq!(parse(&form).unwrap().as_str(), canonical, "{form}");
        }
        assert_eq!(parse("etag:\"5d8c:72\"").unwrap().as_str(), "etag:\"5d8c:72\"");
        assert_eq!(parse("rev:V1-A").unwrap().as_str(), "rev:V1-A");
        assert!(parse("md5:0cc175b9c0f1b6a831c399e269772661").is_ok());
    }

    // Y3, Y4
    #[test]
    fn what_is_no_hash_is_refused() {
        for (bad, message) in [
            ("123", "`123` is not a hash"),
            ("1e5", "`1e5` is not a hash"),
            ("0123", "`0123` is not a hash"),
            ("0x1F", "`0x1F` is not a hash"),
            ("no", "`no` is not a hash"),
            ("-1", "`-1` is not a hash"),
            ("crc32:00000000", "`crc32:00000000` is not a hash"),
            ("sha256:abc", "sha256 has 64 hex digits, found 3"),
            ("sha256:", "sha256 has 64 hex digits, found 0"),
            ("md5:0cc175b9c0f1b6a831c399e26977266g", "`g` is not a hex digit"),
            ("sha256: 00", "` ` is not a hex digit"),
            ("SHA256:00", "`SHA256` is not a known algorithm"),
            ("sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0", "what follows `sha256-` is not base64"),
            ("sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa1=", "what follows `sha256-` is not base64"),
            ("sha256-AAAA", "sha256 has 32 bytes, the base64 text holds 3"),
            ("md5-AAAA", "md5 has no form with `-`"),
            ("sha384-AAAA sha256-BBBB", "several hashes in one text"),
            ("etag:", "nothing after `etag:`"),
            ("rev: ", "nothing after `rev:`"),
            ("etag:a\nb", "control character U+000A in the hash"),
        ] {
            assert_eq!(parse(bad).unwrap_err().message, message, "{bad:?}");
        }
        assert!(parse(&format!("etag:{}", "x".repeat(1025))).is_err());
    }

    proptest! {
        // Y3, Y4: whatever is accepted is the text itself, apart from the case of hex digits and the integrity form.
        #[test]
        fn an_accepted_hash_is_never_another_value(text in "(sha256|md5|sha1|etag|rev|[a-z0-9]{1,6})[:-][0-9a-fA-F]{0,66}|\\PC{0,80}") {
            if let Ok(hash) = parse(&text) {
                let same = if text.starts_with("etag:") || text.starts_with("rev:") {
                    hash.as_str() == text
                } else {
                    hash.as_str() == text.to_ascii_lowercase() || text.contains('-')
                };
                prop_assert!(same, "{text:?} became {hash}");
                prop_assert_eq!(parse(hash.as_str()).unwrap(), hash);
            }
        }
    }
}
