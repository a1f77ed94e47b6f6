//! What looks like a secret in a manifest: which names suggest one, and references to variables in place of one.

/// Parts of names that stand for credentials, without what separates words.
const KEY_PARTS: &[&str] = &[
    "secret",
    "passw",
    "pasw",
    "passphrase",
    "passcode",
    "token",
    "accesskey",
    "apikey",
    "privatekey",
    "credential",
    "signature",
    "authorization",
    "authentication",
    "basicauth",
    "bearer",
    "cookie",
    "connectionstring",
    "session",
    "webhook",
    "密码",
    "密钥",
    "口令",
];
/// Words of names that stand for credentials.
const KEY_WORDS: &[&str] = &[
    "pw", "pwd", "pass", "auth", "oauth", "key", "keys", "dsn", "sas", "sig", "sign", "jwt", "otp", "psk", "pem",
    "hmac", "cred", "creds", "ak", "sk", "pat", "sid", "tok", "pin", "access", "private",
];
/// Parts of header names that stand for secrets, without `-` and `_`.
const HEADER_PARTS: &[&str] = &[
    "authorization",
    "authentication",
    "cookie",
    "secret",
    "password",
    "passwd",
    "token",
    "apikey",
    "accesskey",
    "credential",
];

/// Ends of words of names that stand for credentials: `dbpass`, `appkey`.
const KEY_ENDS: [&str; 2] = ["pass", "key"];
/// Whether a name suggests a credential: `secret_id`, `AccessKeySecret`, `apiKey`, `x-token`, `PASS`.
pub(crate) fn names_credential(name: &str) -> bool {
    let is_credential = |word: String| KEY_WORDS.contains(&&*word) || KEY_ENDS.iter().any(|end| word.ends_with(end));
    holds_any(name, KEY_PARTS) || words(name).map(str::to_lowercase).any(is_credential)
}

/// The words of a name: cut at what is no letter or digit, and before a capital that follows a small letter.
fn words(name: &str) -> impl Iterator<Item = &str> {
    name.split(|c: char| !c.is_alphanumeric()).flat_map(|part| {
        let mut rest = part;
        std::iter::from_fn(move || {
            let mut pairs = rest.char_indices().zip(rest.chars().skip(1));
            let end = pairs.find(|((_, c), next)| c.is_lowercase() && next.is_uppercase());
            let (word, behind) = rest.split_at(end.map_or(rest.len(), |((at, c), _)| at + c.len_utf8()));
            rest = behind;
            (!word.is_empty()).then_some(word)
        })
    })
}

/// Whether a header carries credentials, so that its value must come from the environment.
pub(crate) fn is_secret_header(name: &str) -> bool {
    holds_any(name, HEADER_PARTS)
        || name.split(['-', '_']).any(|word| ["auth", "key"].iter().any(|secret| word.eq_ignore_ascii_case(secret)))
}

fn holds_any(name: &str, parts: &[&str]) -> bool {
    let plain: String = name.chars().filter(|c| c.is_alphanumeric()).collect::<String>().to_lowercase();
    parts.iter().any(|part| plain.contains(part))
}

/// A problem of `${NAME}` references in a text, if there is one.
pub(crate) fn reference_problem(text: &str) -> Option<&'static str> {
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let Some(length) = rest[at + 2..].find('}') else { return Some("`${` without its `}`") };
        let name = &rest[at + 2..at + 2 + length];
        let is_name = !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && !name.as_bytes()[0].is_ascii_digit();
        if !is_name {
            return Some("`${…}` holds something else than the name of a variable");
        }
        rest = &rest[at + 2 + length + 1..];
    }
    None
}

/// Names of the variables that a text without a [`reference_problem`] refers to.
pub(crate) fn references(text: &str) -> impl Iterator<Item = &str> {
    text.split("${").skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name)
}

/// Whether the text holds a `${NAME}` reference.
pub(crate) fn has_reference(text: &str) -> bool {
    text.contains("${")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_known() {
        for key in [
            "secret_key",
            "SecretId",
            "access-key",
            "password",
            "Passwort",
            "x_token",
            "api_key",
            "pw",
            "pwd",
            "PASS",
            "passphrase",
            "basicAuth",
            "auth",
            "bearer",
            "cookie",
            "dsn",
            "sas",
            "key",
            "apiKey",
            "x-api-key",
            "authorization",
            "密码",
            "private",
            "appkey",
            "userpass",
            "dbPass",
            "sessionid",
            "tok",
            "pin",
            "access",
            "webhook_url",
        ] {
            assert!(names_credential(key), "{key}");
        }
        for key in ["hosts", "keyword", "assets", "path", "author", "passive", "design", "provider", "", "-"] {
            assert!(!names_credential(key), "{key}");
        }
        for name in ["Authorization", "proxy-authorization", "Cookie", "X-Auth", "X-Purge-Key", "X-My-Token"] {
            assert!(is_secret_header(name), "{name}");
        }
        assert!(!is_secret_header("X-Author") && !is_secret_header("Accept"));
    }

    // Y6
    #[test]
    fn references_are_names_in_braces() {
        for good in ["", "a", "$", "Bearer ${TOKEN}", "${A}${_b1}", "cost $5"] {
            assert_eq!(reference_problem(good), None, "{good}");
        }
        for bad in ["${", "${}", "${A", "${A-B}", "${1A}", "${A:-x}", "${${A}}"] {
            assert!(reference_problem(bad).is_some(), "{bad}");
        }
    }
}
