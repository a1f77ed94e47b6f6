//! Keeps credentials out of what a server echoes back.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::core::contract::Credentials;
use crate::core::http::Request;
use crate::core::secret::Secret;

/// Texts shorter than this would mask ordinary words.
const SHORTEST: usize = 4;

/// What forms and queries encode: all but letters, digits and `-_.~`.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Everything in a request that must not be shown if the answer repeats it.
pub(crate) fn sensitive(credentials: &Credentials, request: &Request) -> Vec<Secret> {
    let mut texts: Vec<&str> = Vec::new();
    match credentials {
        Credentials::Headers(headers) => texts.extend(headers.iter().map(|(_, value)| value.expose())),
        Credentials::Keys { id, secret, token } => {
            texts.extend([id.expose(), secret.expose()]);
            texts.extend(token.as_ref().map(Secret::expose));
        }
        Credentials::Bearer(token) => texts.push(token.expose()),
    }
    if let Some(authorization) = request.header("Authorization") {
        texts.push(authorization);
        texts.extend(authorization.rsplit_once("Signature=").map(|(_, signature)| signature));
    }
    let form = String::from_utf8_lossy(&request.body);
    let in_form = form.split('&').find_map(|pair| pair.strip_prefix("Signature="));
    let decoded = in_form.map(|text| percent_encoding::percent_decode_str(text).decode_utf8_lossy());
    texts.extend(in_form);
    texts.extend(decoded.as_deref());
    let encoded: Vec<String> = texts.iter().map(|text| utf8_percent_encode(text, RESERVED).to_string()).collect();
    texts.extend(encoded.iter().map(String::as_str));
    let mut list: Vec<Secret> =
        texts.into_iter().filter(|text| text.len() >= SHORTEST).map(|text| Secret::new(text.to_owned())).collect();
    // The longest first, so that no rest of a longer text stays.
    list.sort_by_key(|secret| std::cmp::Reverse(secret.expose().len()));
    list
}

/// `text` with every sensitive part replaced, also one that was cut off at its end.
pub(crate) fn hide(text: &str, sensitive: &[Secret]) -> String {
    let mut text = sensitive.iter().fold(text.to_owned(), |text, secret| text.replace(secret.expose(), "***"));
    if let Some(length) = sensitive.iter().filter_map(|secret| cut_off(&text, secret.expose())).max() {
        text.truncate(text.len() - length);
        text.push_str("***");
    }
    text
}

/// Length of the beginning of `secret` with which `text` ends, if it is long enough to tell.
fn cut_off(text: &str, secret: &str) -> Option<usize> {
    (SHORTEST..secret.len()).rev().find(|&length| secret.is_char_boundary(length) && text.ends_with(&secret[..length]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::http::Endpoint;

    /// X2
    #[test]
    fn an_echo_of_the_request_is_masked() {
        let keys = Credentials::Keys {
            id: Secret::new("AKIDcanary".into()),
            secret: Secret::new("SECRETcanary".into()),
            token: Some(Secret::new("TOKENcanary".into())),
        };
        let authorization = "TC3 Credential=AKIDcanary/x, Signature=abcdef0123";
        let request = Request {
            method: "POST".into(),
            endpoint: Endpoint { tls: true, host: "a".into(), port: None, path_prefix: String::new() },
            path_and_query: "/".into(),
            headers: vec![("Authorization".into(), authorization.into())],
            body: Vec::new(),
        };
        let list = sensitive(&keys, &request);
        let echo = format!("you sent {authorization} with SECRETcanary, TOKENcanary and abcdef0123");
        let shown = hide(&echo, &list);
        assert_eq!(shown, "you sent *** with ***, *** and ***");
        assert_eq!(hide("and TOKENcan", &list), "and ***", "what was cut is hidden as well");
    }

    /// X2
    #[test]
    fn an_echo_of_an_encoded_form_is_masked() {
        let keys = Credentials::Keys {
            id: Secret::new("AKID canary".into()),
            secret: Secret::new("SECRET/canary".into()),
            token: Some(Secret::new("TOKEN+canary=".into())),
        };
        let request = Request {
            method: "POST".into(),
            endpoint: Endpoint { tls: true, host: "a".into(), port: None, path_prefix: String::new() },
            path_and_query: "/".into(),
            headers: Vec::new(),
            body: b"Token=TOKEN%2Bcanary%3D&Signature=ab%2Bcd".to_vec(),
        };
        let list = sensitive(&keys, &request);
        let echo = "SecretId=AKID%20canary&Token=TOKEN%2Bcanary%3D&Signature=ab%2Bcd, that is ab+cd";
        assert_eq!(hide(echo, &list), "SecretId=***&Token=***&Signature=***, that is ***");
    }
}
