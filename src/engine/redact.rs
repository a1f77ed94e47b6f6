//! Keeps credentials out of what a server echoes back, however it spells them.
//!
//! A text is compared as it is and with its escapes undone, up to two of them within each other; letters and digits are compared
//! without what separates them as well. All of it takes time in proportion to the text.

mod escapes;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use secrecy::zeroize::Zeroizing;

use crate::core::contract::Credentials;
use crate::core::http::Request;
use crate::core::text::{hex, is_unsafe};
use escapes::{Character, views};

/// Texts with fewer characters than this would mask ordinary words.
const SHORTEST: usize = 4;
/// So many characters of a credential in a row are masked wherever they stand; no encoding of a shorter one is.
const SHORTEST_PART: usize = 8;
/// So many characters that are the same stand for what was left out.
const CUT: usize = 3;

/// Credentials of a provider: those that are used, and the last ones before them.
pub(crate) type KnownCredentials = Arc<Vec<Credentials>>;

/// Everything that must not be shown if an answer repeats it: of the credentials, and of the request. It is spelt for the first
/// text that is looked at: most answers have none.
pub(crate) struct Sensitive<'a> {
    redactor: &'a Redactor,
    provider: &'a str,
    credentials: KnownCredentials,
    request: Vec<String>,
    spelt: OnceLock<[Arc<Spellings>; 2]>,
}

/// Texts that are hidden. Without separators, short ones are also times and numbers.
struct Spellings([Folded; 2]);

/// Keeps what must not be shown of the credentials of each provider: to spell it takes longer than a call.
#[derive(Default)]
pub(crate) struct Redactor(Mutex<HashMap<String, (KnownCredentials, Arc<Spellings>)>>);

impl Redactor {
    /// Everything in a request of a provider that must not be shown.
    pub(crate) fn sensitive<'a>(
        &'a self,
        provider: &'a str,
        credentials: KnownCredentials,
        request: &Request,
    ) -> Sensitive<'a> {
        Sensitive { request: of_request(request), ..self.sensitive_credentials(provider, credentials) }
    }

    /// The credentials of a provider alone, where requests hold nothing besides.
    pub(crate) fn sensitive_credentials<'a>(
        &'a self,
        provider: &'a str,
        credentials: KnownCredentials,
    ) -> Sensitive<'a> {
        Sensitive { redactor: self, provider, credentials, request: Vec::new(), spelt: OnceLock::new() }
    }
}

impl Sensitive<'_> {
    fn spelt(&self) -> &[Arc<Spellings>; 2] {
        self.spelt.get_or_init(|| [self.of_credentials(), Spellings::of_request(&self.request).into()])
    }

    fn of_credentials(&self) -> Arc<Spellings> {
        let mut known = self.redactor.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, spelt)) = known.get(self.provider).filter(|(of, _)| Arc::ptr_eq(of, &self.credentials)) {
            return Arc::clone(spelt);
        }
        let spelt = Arc::new(Spellings::of_credentials(&self.credentials));
        known.insert(self.provider.to_owned(), (Arc::clone(&self.credentials), Arc::clone(&spelt)));
        spelt
    }
}

/// The same by one way of comparing characters.
struct Folded {
    fold: fn(char) -> Option<char>,
    /// The least that is hidden as a whole.
    shortest: usize,
    wholes: Vec<Whole>,
    /// Hashes of all parts of [`SHORTEST_PART`] characters, of what is hidden in part, sorted.
    parts: Vec<u64>,
}

/// A text that is hidden as a whole, and its beginning where it is cut off.
struct Whole {
    text: Zeroizing<Vec<char>>,
    /// For each of its characters how many of those up to it are also its beginning (the table of Knuth, Morris and Pratt).
    borders: Vec<usize>,
}

/// The texts, and whether parts of each reveal something as well.
fn of_credentials(credentials: &Credentials) -> Vec<(Cow<'_, str>, bool)> {
    let mut texts = Vec::new();
    match credentials {
        Credentials::Headers(headers) => {
            for (_, value) in headers {
                // A whole value may be no secret, and look like URLs and types of media in part.
                texts.push((value.expose(), false));
                texts.extend(value.variables().chain(without_scheme(value.expose())).map(|part| (part, true)));
            }
        }
        Credentials::Fields(fields) => texts.extend(fields.iter().map(|(_, value)| (value.expose(), true))),
    }
    let decoded: Vec<String> =
        texts.iter().filter(|(_, in_part)| *in_part).flat_map(|(text, _)| decoded(text)).collect();
    let texts = texts.into_iter().map(|(text, in_part)| (Cow::from(text), in_part));
    texts.chain(decoded.into_iter().map(|text| (Cow::from(text), true))).collect()
}

/// What a text in base64 stands for, and the user name and the password in that.
fn decoded(text: &str) -> Vec<String> {
    let digits = text.trim_end_matches('=');
    let bytes = STANDARD_NO_PAD.decode(digits).or_else(|_| URL_SAFE_NO_PAD.decode(digits));
    let plain = bytes.ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let Some(plain) = plain.filter(|plain| !plain.contains(is_unsafe)) else { return Vec::new() };
    let parts = plain.split_once(':').map(|(user, password)| [user.to_owned(), password.to_owned()]);
    parts.into_iter().flatten().chain([plain]).collect()
}

/// What follows `Bearer` and the like, which is one word.
fn without_scheme(value: &str) -> Option<&str> {
    let (scheme, rest) = value.split_once(' ')?;
    let is_scheme = scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    (is_scheme && !rest.contains(' ')).then_some(rest)
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

/// A text in hexadecimal digits and in base64.
fn encodings(text: &str) -> Vec<String> {
    let [first, second, third] = aligned::<3>(text.as_bytes(), 6, |bytes| STANDARD_NO_PAD.encode(bytes));
    vec![hex(text.as_bytes()), first, second, third]
}

/// A text in the two alphabets of base32.
fn base32_forms(text: &str) -> Vec<String> {
    let usual = aligned::<5>(text.as_bytes(), 5, |bytes| base32(bytes, b"abcdefghijklmnopqrstuvwxyz234567"));
    let of_hex = aligned::<5>(text.as_bytes(), 5, |bytes| base32(bytes, b"0123456789abcdefghijklmnopqrstuv"));
    usual.into_iter().chain(of_hex).collect()
}

/// A text in base64 or hexadecimal digits of either of them. What is compared alike after one encoding differs after two.
fn encoded_twice(text: &str) -> Vec<String> {
    let small = hex(text.as_bytes());
    let url_safe = aligned::<3>(text.as_bytes(), 6, |bytes| URL_SAFE_NO_PAD.encode(bytes));
    let once = encodings(text).into_iter().chain(url_safe).chain([small.to_uppercase()]);
    once.flat_map(|once| encodings(&once)).collect()
}

/// A text in hexadecimal digits of words of two bytes, of which the second one counts more: what `od -x` prints.
fn hex_of_words(text: &str) -> String {
    text.as_bytes().chunks_exact(2).map(|word| hex(&[word[1], word[0]])).collect()
}

fn reversed(text: &str) -> String {
    text.chars().rev().collect()
}

/// What bytes look like in an encoding with digits of `bits` bits, after each number of other bytes that makes a
/// difference. The digits that they share with what surrounds them are left out.
fn aligned<const WAYS: usize>(bytes: &[u8], bits: usize, encode: impl Fn(&[u8]) -> String) -> [String; WAYS] {
    std::array::from_fn(|before| {
        let all = [&[0; 8][..before], bytes].concat();
        let encoded = encode(&all);
        let (shared, whole) = ((before * 8).div_ceil(bits), all.len() * 8 / bits);
        encoded.get(shared..whole).unwrap_or_default().to_owned()
    })
}

fn base32(bytes: &[u8], alphabet: &[u8; 32]) -> String {
    let (mut digits, mut bits, mut number) = (String::new(), 0, 0_u16);
    for byte in bytes {
        (number, bits) = (number << 8 | u16::from(*byte), bits + 8);
        while bits >= 5 {
            bits -= 5;
            digits.push(char::from(alphabet[usize::from(number >> bits & 31)]));
        }
        number &= (1 << bits) - 1;
    }
    digits
}

impl Spellings {
    fn none() -> Self {
        Self([Folded::new(fold, SHORTEST), Folded::new(fold_to_letters, SHORTEST_PART)])
    }

    fn of_credentials(known: &[Credentials]) -> Self {
        let mut spellings = Self::none();
        for (text, in_part) in known.iter().flat_map(of_credentials) {
            spellings.add_wholes(&[&text], SHORTEST);
            let encoded = encodings(&text);
            spellings.add_wholes(&encoded, SHORTEST_PART);
            let mut forms = [base32_forms(&text), encoded_twice(&text), encodings(&reversed(&text))].concat();
            forms.push(hex_of_words(&text));
            if in_part {
                forms.extend(encoded);
                forms.push(text.into_owned());
                spellings.add_parts(&forms);
            } else {
                spellings.add_wholes(&forms, SHORTEST_PART);
            }
        }
        spellings.0.iter_mut().for_each(|folded| folded.parts.sort_unstable());
        spellings
    }

    /// Much in a request is no secret.
    fn of_request(texts: &[String]) -> Self {
        let mut spellings = Self::none();
        spellings.add_wholes(texts, SHORTEST);
        spellings
    }

    /// Takes texts of at least so many characters.
    fn add_wholes(&mut self, texts: &[impl AsRef<str>], shortest: usize) {
        for text in texts {
            self.0.iter_mut().for_each(|folded| folded.add_whole(text.as_ref(), shortest));
        }
    }

    fn add_parts(&mut self, texts: &[String]) {
        for text in texts {
            self.0.iter_mut().for_each(|folded| folded.add_parts(text));
        }
    }
}

impl Folded {
    fn new(fold: fn(char) -> Option<char>, shortest: usize) -> Self {
        Self { fold, shortest, wholes: Vec::new(), parts: Vec::new() }
    }

    fn folded(&self, text: &str) -> Zeroizing<Vec<char>> {
        Zeroizing::new(text.chars().filter_map(self.fold).collect())
    }

    fn add_parts(&mut self, text: &str) {
        let characters = self.folded(text);
        self.parts.extend(characters.windows(SHORTEST_PART).map(|part| hash(part.iter().copied())));
    }

    fn add_whole(&mut self, text: &str, shortest: usize) {
        let characters = self.folded(text);
        if characters.len() < shortest.max(self.shortest) {
            return;
        }
        let mut borders = vec![0; characters.len()];
        let mut same = 0;
        for index in 1..characters.len() {
            same = step(&characters, &borders, same, characters[index]);
            borders[index] = same;
        }
        self.wholes.push(Whole { text: characters, borders });
    }

    /// Takes in the ranges of the text that are to be hidden, read forwards and backwards.
    fn find(&self, view: &[Character], hidden: &mut Vec<(usize, usize)>) {
        let folded = |character: &Character| Some(Character { shown: (self.fold)(character.shown)?, ..*character });
        let mut characters: Vec<Character> = view.iter().filter_map(folded).collect();
        let mut hide = |part: &[Character]| {
            if let (Some(first), Some(last)) = (part.first(), part.last()) {
                hidden.push((first.start.min(last.start), first.end.max(last.end)));
            }
        };
        for backwards in [false, true] {
            if !self.parts.is_empty() {
                let is_part =
                    |part: &&[Character]| self.parts.binary_search(&hash(part.iter().map(|one| one.shown))).is_ok();
                characters.windows(SHORTEST_PART).filter(is_part).for_each(&mut hide);
            }
            for whole in &self.wholes {
                let same = whole.find(&characters, &mut hide);
                if !backwards && same >= SHORTEST {
                    // The text was cut off at its end.
                    hide(&characters[characters.len() - same..]);
                }
            }
            characters.reverse();
        }
    }
}

impl Whole {
    /// Returns how many of the last characters are its beginning.
    fn find(&self, characters: &[Character], hide: &mut dyn FnMut(&[Character])) -> usize {
        let own = &*self.text;
        let mut same = 0;
        for (index, one) in characters.iter().enumerate() {
            if same == own.len() {
                same = self.borders[same - 1];
            } else if same >= SHORTEST && own[same] != one.shown {
                // Cut off by who shows only the ends of a secret.
                if is_cut(one, own[same - 1], characters.get(index..index + CUT)) {
                    hide(&characters[index - same..index]);
                }
            }
            let row = index.checked_sub(CUT).map(|start| &characters[start..index]);
            if index > 0 && is_cut(&characters[index - 1], one.shown, row) {
                let behind = &characters[index..];
                let is_end = |length: &usize| *length <= own.len() && begins_with(behind, &own[own.len() - length..]);
                hide(&behind[..(SHORTEST..SHORTEST_PART).rev().find(is_end).unwrap_or(0)]);
            }
            same = step(own, &self.borders, same, one.shown);
            if same == own.len() {
                hide(&characters[index + 1 - same..=index]);
            }
        }
        same
    }
}

fn begins_with(characters: &[Character], text: &[char]) -> bool {
    characters.len() >= text.len() && characters.iter().zip(text).all(|(one, own)| one.shown == *own)
}

/// Whether a character beside another one stands for what was left out: `*`, or any one that stands three times in a row.
fn is_cut(one: &Character, beside: char, row: Option<&[Character]>) -> bool {
    let is_repeated = || row.is_some_and(|row| row.iter().all(|other| other.shown == one.shown));
    matches!(one.shown, '*' | '…') || one.shown != beside && is_repeated()
}

/// How many characters `text` begins with at the end of what was read, once `next` is read as well; `same` before it.
fn step(text: &[char], borders: &[usize], mut same: usize, next: char) -> usize {
    while same > 0 && text[same] != next {
        same = borders[same - 1];
    }
    same + usize::from(text[same] == next)
}

/// Of texts that are equal, the same; that of others hides what need not be, which is as good as never.
fn hash(characters: impl Iterator<Item = char>) -> u64 {
    characters.fold(0, |hash: u64, character| {
        let mixed = (hash ^ u64::from(character)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ (mixed >> 32)
    })
}

/// What a character is compared as: in lower case, the two alphabets of base64 alike. `None`: not at all, since servers break
/// lines and escape quotes and slashes.
fn fold(character: char) -> Option<char> {
    match narrow(character) {
        '\\' => None,
        other if is_unsafe(other) => None,
        '-' => Some('+'),
        '_' => Some('/'),
        other => Some(other.to_ascii_lowercase()),
    }
}

/// The same where whatever separates letters and digits is left out.
fn fold_to_letters(character: char) -> Option<char> {
    character.is_alphanumeric().then(|| narrow(character).to_ascii_lowercase())
}

/// The character of ASCII for its full-width form.
fn narrow(character: char) -> char {
    let ascii = u32::from(character).checked_sub(0xfee0).filter(|code| (0x21..=0x7e).contains(code));
    ascii.and_then(char::from_u32).unwrap_or(character)
}

/// `text` with every sensitive part replaced, also one that was cut off at its end.
pub(crate) fn hide(text: &str, sensitive: &Sensitive<'_>) -> String {
    if text.is_empty() {
        return String::new();
    }
    let mut hidden = Vec::new();
    for view in views(text) {
        let folded = sensitive.spelt().iter().flat_map(|spellings| &spellings.0);
        folded.for_each(|folded| folded.find(&view, &mut hidden));
    }
    hidden.sort_unstable();
    let (mut shown, mut done) = (String::new(), 0);
    for (start, end) in hidden {
        // Where two overlap, both are hidden.
        if start >= done {
            shown += &text[done..start];
            shown += "***";
        }
        done = done.max(end);
    }
    shown + &text[done..]
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};

    use super::*;
    use crate::core::http::Endpoint;
    use crate::core::secret::Secret;

    fn sensitive(credentials: &Credentials, request: &Request) -> Sensitive<'static> {
        // Tests end before their memory is missed.
        Box::leak(Box::<Redactor>::default()).sensitive("p", Arc::new(vec![credentials.clone()]), request)
    }

    /// Fields of an account, by any name.
    fn fields(values: &[&str]) -> Credentials {
        let names = ["client_token", "client_secret", "access_token"];
        Credentials::Fields(
            names.into_iter().zip(values).map(|(name, value)| (name, Secret::new((*value).into()))).collect(),
        )
    }

    fn request(headers: Vec<(String, String)>, body: &[u8]) -> Request {
        let endpoint = Endpoint { tls: true, host: "a".into(), port: None, path_prefix: String::new(), address: None };
        let (method, route) = ("POST".into(), crate::core::http::Route::Direct);
        Request { method, endpoint, route, path_and_query: "/".into(), headers, body: body.to_vec() }
    }

    /// X2: what was sent last is hidden, with credentials that were renewed meanwhile and at another provider.
    #[test]
    fn each_providers_own_credentials_are_masked_renewed_ones_too() {
        let (redactor, request) = (Redactor::default(), request(Vec::new(), b""));
        let known = |secrets: &[&str]| Arc::new(secrets.iter().map(|secret| fields(&["AKIDcanary", secret])).collect());
        for (name, secrets) in [
            ("a", &["FIRSTcanary"][..]),
            ("b", &["OTHERcanary"]),
            ("a", &["FIRSTcanary", "SECONDcanary"]),
            ("b", &["OTHERcanary"]),
        ] {
            let list = redactor.sensitive(name, known(secrets), &request);
            for secret in secrets {
                assert_eq!(hide(&format!("{secret} at {name}"), &list), format!("*** at {name}"));
            }
        }
    }

    /// X2
    #[test]
    fn an_echo_of_the_request_is_masked() {
        let keys = fields(&["AKIDcanary", "SECRETcanary", "TOKENcanary"]);
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
        let keys = fields(&["AKID canary", "SECRET/canary", "TOKEN+canary="]);
        let request = request(Vec::new(), b"Token=TOKEN%2Bcanary%3D&Signature=ab%2Bcd");
        let list = sensitive(&keys, &request);
        let echo = "SecretId=AKID%20canary&Token=TOKEN%2Bcanary%3D&Signature=ab%2Bcd, that is ab+cd";
        assert_eq!(hide(echo, &list), "SecretId=***&Token=***&Signature=***, that is ***");
    }

    /// X1
    #[test]
    fn an_echo_in_another_form_is_masked() {
        let secret = "Canary/secret?key+9";
        let list = sensitive(&fields(&[secret]), &request(Vec::new(), b""));
        let shown = |text: &str| hide(text, &list);
        let hex = hex(secret.as_bytes());
        assert_eq!(shown(&format!("hex {hex}, {}", hex.to_uppercase())), "hex ***, ***");
        assert_eq!(shown("as CANARY/SECRET?KEY+9, Canary\\/secret?key+9, Canary\n/secret?key\r+9"), "as ***, ***, ***");
        assert_eq!(shown("it begins with Canary/s and ends"), "it begins with *** and ends");
        assert_eq!(shown("it had ecret?key within"), "it had *** within");
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

    /// RFC 4648 without padding.
    fn in_base32(bytes: &[u8], alphabet: &[u8; 32]) -> String {
        let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
        let digit = |bits: &[u8]| (0..5).fold(0, |digit, at| digit << 1 | usize::from(bits.get(at) == Some(&1)));
        bits.chunks(5).map(|bits| char::from(alphabet[digit(bits)])).collect()
    }

    /// X1: with any text around it in what was encoded.
    #[test]
    fn an_echo_that_is_encoded_twice_or_turned_round_is_masked() {
        let secret = "Canary/secret?key+9-and_more";
        let list = sensitive(&fields(&[secret]), &request(Vec::new(), b""));
        let turned = |text: &str| text.chars().rev().collect::<String>();
        let assert_hidden = |text: &str, most: usize| {
            let shown = hide(text, &list);
            assert!(shown.contains("***") && shown.len() <= most, "{text}: {shown}");
        };
        assert_eq!(hide(&format!("it is {} turned", turned(secret)), &list), "it is *** turned");
        for before in ["", "a", "ab", "abc", "abcd", "abcde"] {
            for after in ["", "a", "ab", "abc"] {
                let whole = format!("{before}{secret}{after}");
                for alphabet in [b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", b"0123456789ABCDEFGHIJKLMNOPQRSTUV"] {
                    let encoded = in_base32(whole.as_bytes(), alphabet);
                    assert_hidden(&encoded, 22);
                    assert_hidden(&encoded.to_lowercase(), 22);
                    assert_hidden(&turned(&encoded), 22);
                }
                for once in [STANDARD.encode(&whole), STANDARD_NO_PAD.encode(&whole), URL_SAFE.encode(&whole)] {
                    assert_hidden(&turned(&once), 18);
                    for twice in [STANDARD.encode(&once), URL_SAFE_NO_PAD.encode(&once)] {
                        assert_hidden(&twice, 34);
                        assert_hidden(&turned(&twice), 34);
                    }
                    assert_hidden(&STANDARD.encode(format!("{before}{once}")), 38);
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

    /// Spellings of a text, all of it escaped or only what is no letter and no digit.
    fn spellings(text: &str) -> Vec<String> {
        let escapes: [&dyn Fn(char) -> String; 15] = [
            &|one| format!("%{:02X}", u32::from(one)),
            &|one| format!("%{:02x}", u32::from(one)),
            &|one| format!("={:02X}", u32::from(one)),
            &|one| format!("&#{};", u32::from(one)),
            &|one| format!("&#x{:x};", u32::from(one)),
            &|one| format!("&#X{:04X};", u32::from(one)),
            &|one| format!("\\u{:04x}", u32::from(one)),
            &|one| format!("\\u{:04X}", u32::from(one)),
            &|one| format!("\\x{:02x}", u32::from(one)),
            &|one| format!("%25{:02x}", u32::from(one)),
            &|one| format!("&amp;#x{:x};", u32::from(one)),
            &|one| format!("\\{:03o}", u32::from(one)),
            &|one| format!("\\{:06x} ", u32::from(one)),
            &|one| format!("\\{:x} ", u32::from(one)),
            &|one| char::from_u32(u32::from(one) + 0xfee0).unwrap().to_string(),
        ];
        let named = |one| match one {
            '/' => "&sol;".to_owned(),
            '+' => "&plus;".to_owned(),
            '=' => "&equals;".to_owned(),
            '&' => "&amp;".to_owned(),
            '<' => "&lt;".to_owned(),
            '"' => "&quot;".to_owned(),
            other => other.to_string(),
        };
        let unended = text.chars().map(|one| format!("&#{:05}", u32::from(one))).collect::<Vec<_>>().concat();
        let mut all = vec![text.to_owned(), text.to_uppercase(), text.chars().map(named).collect(), unended];
        for escape in escapes {
            all.push(text.chars().map(escape).collect());
            let rest = |one: char| if one.is_ascii_alphanumeric() { one.to_string() } else { escape(one) };
            all.push(text.chars().map(rest).collect());
        }
        all
    }

    /// X1, X2: every spelling of eight characters or more is hidden, wherever in the secret they stand, and nothing else is.
    #[test]
    fn every_spelling_of_a_part_of_a_secret_is_masked() {
        let mut random = fastrand::Rng::with_seed(9);
        let alphabet: Vec<char> = ('0'..='9').chain('a'..='z').chain('A'..='Z').chain("+/=&<\"-_.~".chars()).collect();
        for round in 0..8 {
            let length = random.usize(8..60);
            let secret: String = (0..length).map(|_| alphabet[random.usize(..alphabet.len())]).collect();
            let keys = fields(&["AKIDcanary", &secret]);
            let list = sensitive(&keys, &request(Vec::new(), b""));
            let start = random.usize(..=length - 8);
            let part = &secret[start..start + random.usize(8..=length - start)];
            for spelt in spellings(part) {
                // Letters that no secret here holds.
                let shown = hide(&format!("<p>é {spelt} é"), &list);
                assert_eq!(shown, "<p>é *** é", "round {round}: {secret} as {spelt}");
            }
            // Separated, only letters and digits are compared.
            let letters: String = secret.chars().filter(char::is_ascii_alphanumeric).collect();
            for separator in ["-", " ", ":", "\r\n", ", "].iter().filter(|_| letters.len() >= 8) {
                for every in [1, 2, 4] {
                    let pieces: Vec<&str> = (0..letters.len())
                        .step_by(every)
                        .map(|at| &letters[at..(at + every).min(letters.len())])
                        .collect();
                    let spelt = pieces.join(separator);
                    assert_eq!(hide(&format!("é({spelt})é"), &list), "é(***)é", "round {round}: {secret} as {spelt}");
                }
            }
            if letters.len() >= 8 {
                let numbered: Vec<String> = letters.char_indices().map(|(at, one)| format!("{at}:{one}")).collect();
                let numbers: Vec<String> = letters.bytes().map(|byte| byte.to_string()).collect();
                let tagged: Vec<String> = letters.chars().map(String::from).collect();
                let in_base = |separator: &str, form: fn(u8) -> String| {
                    letters.bytes().map(form).collect::<Vec<_>>().join(separator)
                };
                let lines: Vec<&str> =
                    (0..letters.len()).step_by(4).map(|at| &letters[at..(at + 4).min(letters.len())]).collect();
                for spelt in [
                    numbered.join(" ")["0:".len()..].to_owned(),
                    numbers.join(", "),
                    numbers.join(","),
                    numbers.join(" "),
                    numbers.join("\t"),
                    numbers.join("\r\n"),
                    numbers.join("."),
                    numbers.join(" | "),
                    numbers.join("\", \""),
                    in_base(", 0x", |byte| format!("{byte:x}")),
                    in_base(" U+", |byte| format!("{byte:04x}")),
                    in_base(" ", |byte| format!("{byte:03o}")),
                    in_base("-0b", |byte| format!("{byte:08b}")),
                    tagged.join("</i><i>"),
                    tagged.join("</span><span class=\"token string highlight\">"),
                    lines.join("<br/>"),
                ] {
                    assert_eq!(hide(&format!("é[{spelt}]é"), &list), "é[***]é", "round {round}: {secret} as {spelt}");
                }
                for (before, behind) in
                    [("", "="), ("", ". "), ("[", "]="), ("\"", "\": \""), ("(", ") => "), (" ", "\t")]
                {
                    let count = |(at, one)| format!("{before}{}{behind}{one}", at + 9);
                    let spelt: Vec<String> = letters.char_indices().map(count).collect();
                    let shown = hide(&format!("é 404 é{}é", spelt.join(", ")), &list);
                    assert!(
                        shown.contains("***é") && shown.len() < 30,
                        "round {round}: {secret} as {spelt:?}: {shown}"
                    );
                }
            }
            let turned = reversed(&secret);
            let half = &turned[..(length / 2).max(8)];
            assert_eq!(hide(&format!("é({half})é"), &list), "é(***)é", "round {round}: {secret} as {half}");
            let forms = |text: &str| {
                [
                    hex(text.as_bytes()),
                    hex(text.as_bytes()).to_uppercase(),
                    STANDARD.encode(text),
                    URL_SAFE.encode(text),
                ]
            };
            for spelt in forms(&secret).iter().flat_map(|once| forms(once)).chain(forms(&turned)) {
                let shown = hide(&format!("é({spelt})é"), &list);
                assert!(shown.contains("***") && shown.len() < 20, "round {round}: {secret} as {spelt}: {shown}");
            }
            if length > 12 {
                let ends = format!("é({}****)é", &secret[..6]);
                assert_eq!(hide(&ends, &list), "é(*******)é", "round {round}: {secret}");
                for cut in ["...", "…", "****", "xxxx"] {
                    let ends = format!("é({}{cut}{})é", &secret[..5], &secret[length - 5..]);
                    assert_eq!(hide(&ends, &list), format!("é(***{cut}***)é"), "round {round}: {secret}");
                }
            }
            let words: Vec<String> = secret.as_bytes().chunks_exact(2).map(|word| hex(&[word[1], word[0]])).collect();
            let spelt = words.join(" ");
            assert_eq!(hide(&format!("é({spelt})é"), &list), "é(***)é", "round {round}: {secret} as {spelt}");
            let bytes: Vec<String> = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
            for separator in ["", ":", " ", "-", "\n"] {
                let spelt = bytes.join(separator);
                assert_eq!(hide(&format!("é({spelt})é"), &list), "é(***)é", "round {round}: {secret} as {spelt}");
            }
            for innocent in [
                "InvalidParameter.SecretId: the signature expired at 2026-11-29T22:00:00Z",
                "https://a.cn/%2Fb?x=1&amp;y",
            ] {
                assert_eq!(hide(innocent, &list), innocent);
            }
        }
    }

    /// An answer that looks like a credential all over takes no more time than another one.
    #[test]
    fn hiding_takes_time_in_proportion() {
        let secret = "a".repeat(4000) + "b";
        let headers = vec![("Authorization".to_owned(), Secret::new(secret))];
        let list = sensitive(&Credentials::Headers(headers), &request(Vec::new(), b""));
        let text = "a".repeat(200_000) + "é";
        assert_eq!(hide(&text, &list), text);
    }

    /// X1: what a variable holds is a secret in part as well; what stands in a manifest, and looks like one, is none.
    #[test]
    fn values_of_variables_are_hidden_in_part_and_constants_are_not() {
        let headers = [
            ("X-Key", "canary0123456789", &["canary0123456789"][..]),
            ("X-Url", "https://www.example.cn/sesame-open-now?x", &["sesame-open-now"]),
            ("X-Pair", "Basic hunter2:swordfi", &["hunter2", "swordfi"]),
            ("Authorization", "Basic cHVyZ2VhZG06WnE3eDkza0xt", &["cHVyZ2VhZG06WnE3eDkza0xt"]),
            ("Proxy-Authorization", "Basic dXNlcm5hbWU6a2V5cGhyYXNl", &[]),
            ("Accept", "text/html, application/xhtml+xml", &[]),
            ("X-Note", "purged by the release job", &[]),
        ];
        let headers = headers.map(|(name, value, variables)| {
            let variables = variables.iter().map(|value| (*value).to_owned()).collect();
            (name.to_owned(), Secret::filled_in(value.to_owned(), variables))
        });
        let list = sensitive(&Credentials::Headers(headers.into()), &request(Vec::new(), b""));
        for (text, shown) in [
            ("the key ary01234567", "the key ***"),
            ("https://www.example.cn/other?x", "https://www.example.cn/other?x"),
            ("no /sesame-open here", "no /*** here"),
            ("neither hunter2 nor swordfi", "neither *** nor ***"),
            ("purgeadm with Zq7x93kLm may not", "*** with *** may not"),
            ("nor username with keyphrase", "nor *** with ***"),
            ("application/xhtml+xml is not taken", "application/xhtml+xml is not taken"),
            ("the release job is over", "the release job is over"),
        ] {
            assert_eq!(hide(text, &list), shown);
        }
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
