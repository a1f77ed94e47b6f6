//! Undoes the escapes in which servers repeat what they were sent.

/// A character of a text, and where it stands there, its escape included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Character {
    pub(super) shown: char,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// What escape a text begins with, if it begins with one, and how long that is.
type Kind = fn(&[Character]) -> Option<(Unit, usize)>;
/// A byte and where it stands.
type PlacedByte = (u8, usize, usize);

/// Ways to escape. Each is undone by itself: what looks like an escape of one may be plain text of another.
const KINDS: [Kind; 6] = [percent, quoted_printable, entity, backslash, of_style_sheet, mark];
/// Bases in which bytes are listed.
const BASES: [u32; 4] = [2, 8, 10, 16];
/// Numbers with more digits are none of a list, and none of a count.
const MOST_DIGITS: usize = 9;

/// What stands for whatever has a name that is not in [`NAMES`]: letters and digits have none.
const OTHER: char = char::REPLACEMENT_CHARACTER;
/// Names of characters in HTML.
const NAMES: [(&str, char); 40] = [
    ("amp", '&'),
    ("lt", '<'),
    ("gt", '>'),
    ("quot", '"'),
    ("apos", '\''),
    ("nbsp", ' '),
    ("sol", '/'),
    ("plus", '+'),
    ("equals", '='),
    ("colon", ':'),
    ("semi", ';'),
    ("period", '.'),
    ("comma", ','),
    ("num", '#'),
    ("percnt", '%'),
    ("excl", '!'),
    ("dollar", '$'),
    ("lpar", '('),
    ("rpar", ')'),
    ("ast", '*'),
    ("midast", '*'),
    ("quest", '?'),
    ("commat", '@'),
    ("lsqb", '['),
    ("lbrack", '['),
    ("bsol", '\\'),
    ("rsqb", ']'),
    ("rbrack", ']'),
    ("hat", '^'),
    ("lowbar", '_'),
    ("underbar", '_'),
    ("grave", '`'),
    ("lcub", '{'),
    ("lbrace", '{'),
    ("verbar", '|'),
    ("vert", '|'),
    ("rcub", '}'),
    ("rbrace", '}'),
    ("tilde", '~'),
    ("hyphen", '-'),
];

/// What an escape stands for.
enum Unit {
    Character(char),
    /// A byte of UTF-8.
    Byte(u8),
    /// A half of a pair of UTF-16.
    Half(u16),
    /// No character: what stands between some.
    Nothing,
}

/// The text, and what it is with one or two escapes within each other undone; the last ones may be numbers of bytes.
pub(super) fn views(text: &str) -> Vec<Vec<Character>> {
    let plain =
        |(start, character): (usize, char)| Character { shown: character, start, end: start + character.len_utf8() };
    let plain: Vec<Character> = text.char_indices().map(plain).collect();
    let undo = |view: &Vec<Character>| {
        let escapes = KINDS.iter().filter_map(|kind| undone(view, *kind));
        escapes.chain(uncounted(view)).collect::<Vec<_>>()
    };
    let mut views = vec![plain];
    views.extend(undo(&views[0]));
    let once = views.len();
    for at in 1..once {
        views.extend(undo(&views[at]));
    }
    for at in 0..once {
        let listed: Vec<_> = BASES.iter().filter_map(|base| bytes_listed(&views[at], *base)).collect();
        views.extend(listed);
    }
    views
}

/// The bytes whose numbers in a base stand in the view, with anything between them; `None` where there are none.
fn bytes_listed(view: &[Character], base: u32) -> Option<Vec<Character>> {
    let (mut bytes, mut out) = (Vec::new(), Vec::new());
    for (start, digits) in runs(view, |one| one.is_digit(base)) {
        let byte = number(view, start, digits, base).and_then(|number| u8::try_from(number).ok());
        if let Some(byte) = byte.filter(|byte| *byte >= b' ') {
            bytes.push((byte, view[start].start, view[start + digits - 1].end));
        }
    }
    flush(&mut bytes, &mut out);
    (!out.is_empty()).then_some(out)
}

/// The view without numbers that count what stands between them, as in `0=a 1=b`; `None` where none does.
fn uncounted(view: &[Character]) -> Option<Vec<Character>> {
    let words: Vec<(usize, usize)> = runs(view, char::is_alphanumeric).collect();
    let value = |index: usize| words.get(index).and_then(|(start, length)| number(view, *start, *length, 10));
    // What is counted is one word, none, or two.
    let next = |index: usize| {
        let next = value(index)? + 1;
        [2, 1, 3].into_iter().map(|step| index + step).find(|index| value(*index) == Some(next))
    };
    let (mut out, mut done, mut index) = (Vec::new(), 0, 0);
    let mut counted_before = None;
    while index < words.len() {
        let following = next(index);
        if following.is_some() || counted_before == Some(index) {
            let (start, length) = words[index];
            out.extend(&view[done..start]);
            done = start + length;
        }
        counted_before = following;
        index = following.unwrap_or(index + 1);
    }
    out.extend(&view[done..]);
    (done > 0).then_some(out)
}

/// Where characters of a sort stand in a row: the first one, and how many.
fn runs(view: &[Character], is_part: impl Fn(char) -> bool) -> impl Iterator<Item = (usize, usize)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        at += view[at..].iter().position(|one| is_part(one.shown))?;
        let (start, length) = (at, view[at..].iter().take_while(|one| is_part(one.shown)).count());
        at += length;
        Some((start, length))
    })
}

/// The view with all escapes of a kind undone; `None` where there are none.
fn undone(view: &[Character], kind: Kind) -> Option<Vec<Character>> {
    let (mut out, mut at, mut found) = (Vec::with_capacity(view.len()), 0, false);
    let mut bytes: Vec<PlacedByte> = Vec::new();
    let mut half: Option<(u16, usize)> = None;
    while at < view.len() {
        let Some((unit, length)) = kind(&view[at..]) else {
            flush(&mut bytes, &mut out);
            out.push(view[at]);
            (at, half) = (at + 1, None);
            continue;
        };
        found = true;
        let (start, end) = (view[at].start, view[at + length - 1].end);
        at += length;
        match unit {
            Unit::Byte(byte) => bytes.push((byte, start, end)),
            Unit::Nothing => flush(&mut bytes, &mut out),
            Unit::Character(character) => {
                flush(&mut bytes, &mut out);
                out.push(Character { shown: character, start, end });
            }
            Unit::Half(unit) => {
                let pair =
                    half.and_then(|(first, start)| Some((char::decode_utf16([first, unit]).next()?.ok()?, start)));
                if let Some((character, start)) = pair {
                    out.push(Character { shown: character, start, end });
                }
                half = pair.is_none().then_some((unit, start));
            }
        }
    }
    flush(&mut bytes, &mut out);
    found.then_some(out)
}

/// Bytes in a row as the characters that they are; what is no UTF-8 is none.
fn flush(bytes: &mut Vec<PlacedByte>, out: &mut Vec<Character>) {
    let plain: Vec<u8> = bytes.iter().map(|(byte, ..)| *byte).collect();
    let mut at = 0;
    for chunk in plain.utf8_chunks() {
        for character in chunk.valid().chars() {
            let last = at + character.len_utf8() - 1;
            out.push(Character { shown: character, start: bytes[at].1, end: bytes[last].2 });
            at = last + 1;
        }
        at += chunk.invalid().len();
    }
    bytes.clear();
}

fn at(view: &[Character], index: usize) -> Option<char> {
    view.get(index).map(|one| one.shown)
}

/// The number that so many digits from `start` on are.
fn number(view: &[Character], start: usize, digits: usize, radix: u32) -> Option<u32> {
    (digits <= MOST_DIGITS).then_some(())?;
    (start..start + digits)
        .try_fold(0_u32, |number, index| number.checked_mul(radix)?.checked_add(at(view, index)?.to_digit(radix)?))
}

fn byte(view: &[Character], start: usize) -> Option<Unit> {
    u8::try_from(number(view, start, 2, 16)?).ok().map(Unit::Byte)
}

/// Four digits of UTF-16.
fn half(view: &[Character], start: usize) -> Option<Unit> {
    let unit = number(view, start, 4, 16)?;
    Some(char::from_u32(unit).map_or(Unit::Half(u16::try_from(unit).unwrap_or_default()), Unit::Character))
}

/// `%2F`, and `%u002F`.
fn percent(view: &[Character]) -> Option<(Unit, usize)> {
    match (at(view, 0)?, at(view, 1)?) {
        ('%', 'u' | 'U') => Some((half(view, 2)?, 6)),
        ('%', _) => Some((byte(view, 1)?, 3)),
        ('+', _) => Some((Unit::Character(' '), 1)),
        _ => None,
    }
}

/// `=2F`.
fn quoted_printable(view: &[Character]) -> Option<(Unit, usize)> {
    (at(view, 0)? == '=').then_some(())?;
    Some((byte(view, 1)?, 3))
}

/// `&#47;`, `&#x2f;` and `&sol;`; the semicolon of a number may be missing.
fn entity(view: &[Character]) -> Option<(Unit, usize)> {
    const MOST: usize = 32;
    (at(view, 0)? == '&').then_some(())?;
    let taken = |start: usize, is_part: fn(char) -> bool| {
        view.iter().skip(start).take(MOST).take_while(|one| is_part(one.shown)).count()
    };
    let numeric = |start: usize, digits: usize, radix: u32| {
        let number = (start..start + digits).try_fold(0_u32, |number, index| {
            number.checked_mul(radix)?.checked_add(at(view, index)?.to_digit(radix)?)
        })?;
        let end = start + digits + usize::from(at(view, start + digits) == Some(';'));
        (digits > 0).then_some((Unit::Character(char::from_u32(number)?), end))
    };
    match (at(view, 1)?, at(view, 2)?) {
        ('#', 'x' | 'X') => numeric(3, taken(3, |one| one.is_ascii_hexdigit()), 16),
        ('#', _) => numeric(2, taken(2, |one| one.is_ascii_digit()), 10),
        _ => {
            let letters = taken(1, |one| one.is_ascii_alphabetic());
            (letters > 0 && at(view, letters + 1)? == ';').then_some(())?;
            let name: String = view[1..=letters].iter().map(|one| one.shown.to_ascii_lowercase()).collect();
            let known = NAMES.iter().find(|(known, _)| *known == name);
            Some((Unit::Character(known.map_or(OTHER, |(_, character)| *character)), letters + 2))
        }
    }
}

/// `\u002f`, `\u{2f}`, `\U0000002F`, `\x2f`, `0x2f` and, in octal digits, `\057`.
fn backslash(view: &[Character]) -> Option<(Unit, usize)> {
    match (at(view, 0)?, at(view, 1)?) {
        ('\\', 'u') if at(view, 2) == Some('{') => {
            let digits = (3..9).take_while(|&index| at(view, index).is_some_and(|one| one.is_ascii_hexdigit())).count();
            (at(view, 3 + digits)? == '}').then_some(())?;
            Some((Unit::Character(char::from_u32(number(view, 3, digits, 16)?)?), digits + 4))
        }
        ('\\', 'u') => Some((half(view, 2)?, 6)),
        ('\\', 'U') => Some((Unit::Character(char::from_u32(number(view, 2, 8, 16)?)?), 10)),
        ('\\' | '0', 'x' | 'X') => Some((byte(view, 2)?, 4)),
        ('\\', '0'..='7') => Some((Unit::Byte(u8::try_from(number(view, 1, 3, 8)?).ok()?), 4)),
        ('\\', other) if other.is_ascii_punctuation() => Some((Unit::Character(other), 2)),
        _ => None,
    }
}

/// `\2f ` and `\00002f`.
fn of_style_sheet(view: &[Character]) -> Option<(Unit, usize)> {
    (at(view, 0)? == '\\').then_some(())?;
    let digits = (1..7).take_while(|&index| at(view, index).is_some_and(|one| one.is_ascii_hexdigit())).count();
    let character = char::from_u32(number(view, 1, digits, 16)?)?;
    (digits > 0).then_some((Unit::Character(character), 1 + digits + usize::from(at(view, 1 + digits) == Some(' '))))
}

/// A tag, and the number before a numbered character: `<br/>`, `12:`.
fn mark(view: &[Character]) -> Option<(Unit, usize)> {
    let rest = || view.iter().skip(1);
    let (inside, end) = match at(view, 0)? {
        '<' => (rest().take_while(|one| !matches!(one.shown, '<' | '>')).count(), '>'),
        '0'..='9' => (rest().take(MOST_DIGITS).take_while(|one| one.shown.is_ascii_digit()).count(), ':'),
        _ => return None,
    };
    (at(view, inside + 1)? == end).then_some((Unit::Nothing, inside + 2))
}
