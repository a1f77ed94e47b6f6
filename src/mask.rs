//! Keeps credentials out of what a server echoes back.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::core::contract::Credentials;
use crate::core::http::Request;
use crate::core::secret::Secret;
use crate::core::text::{hex, is_unsafe};

/// Texts with fewer characters than this would mask ordinary words.
const SHORTEST: usize = 4;
/// From so many characters on, the beginning of a credential is masked wherever it stands; no encoding of a shorter one is.
const SHORTEST_PART: usize = 8;

/// What forms and queries encode: all but letters, digits and `-_.~`.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Everything that must not be shown if an answer repeats it.
pub(crate) struct Sensitive(Vec<Form>);

/// A text in one of the forms in which servers repeat it.
struct Form {
    /// Folded.
    text: Secret,
    characters: usize,
    /// Its beginning is hidden as well.
    in_part: bool,
}

/// Everything in a request that must not be shown.
pub(crate) fn sensitive(credentials: &Credentials, request: &Request) -> Sensitive {
    let mut forms = Vec::new();
    for (text, in_part) in of_credentials(credentials) {
        let encoded = encodings(text).into_iter().filter(|form| form.len() >= SHORTEST_PART);
        forms.extend(as_written(text).into_iter().chain(encoded).map(|text| Form::of(&text, in_part)));
    }
    // Much in it is no secret.
    let signed = of_request(request);
    forms.extend(signed.iter().flat_map(|text| as_written(text)).map(|text| Form::of(&text, false)));
    forms.retain(|form| form.characters >= SHORTEST);
    Sensitive(forms)
}

/// The texts, and whether the beginning of each tells something as well.
fn of_credentials(credentials: &Credentials) -> Vec<(&str, bool)> {
    match credentials {
        Credentials::Headers(headers) => {
            let values = headers.iter().map(|(_, value)| value.expose());
            // Without `Bearer` as well. A whole value may be no secret, and begin as URLs and types of media do.
            let bare = |value| str::split_once(value, ' ').map(|(_, rest)| (rest, true));
            values.flat_map(|value| [Some((value, false)), bare(value)]).flatten().collect()
        }
        Credentials::Keys { id, secret, token } => {
            [id, secret].into_iter().chain(token).map(|text| (text.expose(), true)).collect()
        }
        Credentials::Bearer(token) => vec![(token.expose(), true)],
    }
}

fn of_request(request: &Request) -> Vec<String> {
    let mut texts = Vec::new();
    if let Some(authorization) = request.header("Authorization") {
        texts.push(authorization.to_owned());
        texts.extend(authorization.rsplit_once("Signature=").map(|(_, signature)| signature.to_owned()));
    }
    let form = String::from_utf8_lossy(&request.body);
    if let Some(signature) = form.split('&').find_map(|pair| pair.strip_prefix("Signature=")) {
        texts.push(signature.to_owned());
        texts.push(percent_encoding::percent_decode_str(signature).decode_utf8_lossy().into_owned());
    }
    texts
}

/// A text as it is and as it stands in a URL.
fn as_written(text: &str) -> [String; 2] {
    [text.to_owned(), utf8_percent_encode(text, RESERVED).to_string()]
}

/// A text in hexadecimal digits and in base64. There it looks different after one and after two other bytes; the characters
/// that it shares with what surrounds it are left out.
fn encodings(text: &str) -> [String; 4] {
    let base64 = |before: usize| {
        let bytes = [&[0; 2][..before], text.as_bytes()].concat();
        let shared_at_end = usize::from(!bytes.len().is_multiple_of(3));
        let encoded = STANDARD_NO_PAD.encode(&bytes);
        let shared = if before == 0 { 0 } else { before + 1 };
        encoded.get(shared..encoded.len() - shared_at_end).unwrap_or_default().to_owned()
    };
    [hex(text.as_bytes()), base64(0), base64(1), base64(2)]
}

impl Form {
    fn of(text: &str, in_part: bool) -> Self {
        let folded: String = text.chars().filter_map(fold).collect();
        Self { characters: folded.chars().count(), text: Secret::new(folded), in_part }
    }

    /// How many characters of it `text` begins with, if they have to be hidden. It may be cut off at the end of `text`.
    fn begins(&self, text: &[Character]) -> Option<usize> {
        let same = self.text.expose().chars().zip(text).take_while(|(own, other)| *own == other.folded).count();
        let is_cut_off = same == text.len() && same >= SHORTEST;
        let is_part = self.in_part && same >= SHORTEST_PART;
        (same == self.characters || is_cut_off || is_part).then_some(same)
    }
}

/// A character of a text that is compared, and where it stands.
struct Character {
    folded: char,
    start: usize,
    end: usize,
}

/// What a character is compared as: in lower case, the two alphabets of base64 alike. `None`: not at all, since servers break
/// lines and escape quotes and slashes.
fn fold(character: char) -> Option<char> {
    match character {
        '\\' => None,
        _ if is_unsafe(character) => None,
        '-' => Some('+'),
        '_' => Some('/'),
        _ => Some(character.to_ascii_lowercase()),
    }
}

/// `text` with every sensitive part replaced, also one that was cut off at its end.
pub(crate) fn hide(text: &str, sensitive: &Sensitive) -> String {
    let character = |(start, character): (usize, char)| {
        Some(Character { folded: fold(character)?, start, end: start + character.len_utf8() })
    };
    let characters: Vec<Character> = text.char_indices().filter_map(character).collect();
    let (mut shown, mut done) = (String::new(), 0);
    for (index, Character { start, .. }) in characters.iter().enumerate() {
        let rest = &characters[index..];
        let Some(length) = sensitive.0.iter().filter_map(|form| form.begins(rest)).max() else { continue };
        // Where two overlap, both are hidden.
        if *start >= done {
            shown += &text[done..*start];
            shown += "***";
        }
        done = done.max(rest[length - 1].end);
    }
    shown + &text[done..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::http::Endpoint;

    fn request(headers: Vec<(String, String)>, body: &[u8]) -> Request {
        let endpoint = Endpoint { tls: true, host: "a".into(), port: None, path_prefix: String::new() };
        let (method, route) = ("POST".into(), crate::core::http::Route::Direct);
        Request { method, endpoint, route, path_and_query: "/".into(), headers, body: body.to_vec() }
    }

    /// X2
    #[test]
    fn an_echo_of_the_request_is_masked() {
        let keys = Credentials::Keys {
            id: Secret::new("AKIDcanary".into()),
            secret: Secret::new("SECRETcanary".into()),
            token: Some(Secret::new("TOKENcanary".into())),
        };
        let authorization = "TC3 Credential=AKIDcanary/x, Signature=abcdef0123";
        let request = request(vec![("Authorization".into(), authorization.into())], b"");
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
        let request = request(Vec::new(), b"Token=TOKEN%2Bcanary%3D&Signature=ab%2Bcd");
        let list = sensitive(&keys, &request);
        let echo = "SecretId=AKID%20canary&Token=TOKEN%2Bcanary%3D&Signature=ab%2Bcd, that is ab+cd";
        assert_eq!(hide(echo, &list), "SecretId=***&Token=***&Signature=***, that is ***");
    }

    /// X1
    #[test]
    fn an_echo_in_another_form_is_masked() {
        let secret = "Canary/secret?key+9";
        let list = sensitive(&Credentials::Bearer(Secret::new(secret.into())), &request(Vec::new(), b""));
        let shown = |text: &str| hide(text, &list);
        let hex = hex(secret.as_bytes());
        assert_eq!(shown(&format!("hex {hex}, {}", hex.to_uppercase())), "hex ***, ***");
        assert_eq!(shown("as CANARY/SECRET?KEY+9, Canary\\/secret?key+9, Canary\n/secret?key\r+9"), "as ***, ***, ***");
        assert_eq!(shown("it begins with Canary/s and ends"), "it begins with *** and ends");
        assert_eq!(shown("a Canary/ is a bird"), "a Canary/ is a bird");
        for before in ["", "a", "ab", "abc"] {
            for engine in [STANDARD_NO_PAD, base64::engine::general_purpose::URL_SAFE_NO_PAD] {
                for after in ["", "a", "ab"] {
                    let text = shown(&engine.encode(format!("{before}{secret}{after}")));
                    assert!(text.contains("***") && text.len() < 3 + 2 * 4, "{before} {after}: {text}");
                }
            }
        }
    }

    /// What a header always says hides nothing that merely begins like it.
    #[test]
    fn constant_headers_hide_no_other_text() {
        let headers = vec![("Referer".to_owned(), Secret::new("https://www.example.cn/".into()))];
        let list = sensitive(&Credentials::Headers(headers), &request(Vec::new(), b""));
        assert_eq!(hide("https://cdn.example.com/a is no page", &list), "https://cdn.example.com/a is no page");
    }

    /// X1: keys that begin alike, or of which one holds the other.
    #[test]
    fn credentials_that_overlap_are_hidden_whole() {
        let headers = ["abcdefgh1234", "h1234567", "Bearer h1234567"].map(|value| Secret::new(value.into()));
        let headers = headers.into_iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect();
        let list = sensitive(&Credentials::Headers(headers), &request(Vec::new(), b""));
        assert_eq!(hide("to abcdefgh1234567, h1234567: Bearer h1234567.", &list), "to ***, ***: ***.");
    }
}
