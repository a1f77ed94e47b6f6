//! Text from outside made safe to show: one record stays one line, terminals and CI logs get no commands.

/// At most `most` characters of `text`, control and invisible direction characters escaped.
pub fn one_line(text: &str, most: usize) -> String {
    let mut shown = String::with_capacity(text.len().min(most));
    for (count, character) in text.chars().enumerate() {
        if count == most {
            shown.push('…');
            break;
        }
        if is_unsafe(character) {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    without_ci_commands(&shown)
}

/// Takes from a text what CI systems obey: `::` at the start of a line, blanks before it or not, and `##[` anywhere.
pub fn without_ci_commands(text: &str) -> String {
    let text = text.replace("##[", "##\\u{5b}");
    let command = text.trim_start();
    match command.strip_prefix("::") {
        Some(rest) => format!("{}\\u{{3a}}:{rest}", &text[..text.len() - command.len()]),
        None => text,
    }
}

/// A number with the word for what is counted, or its plural.
pub fn count(number: impl TryInto<u64>, word: &str) -> String {
    let number = number.try_into().unwrap_or(u64::MAX);
    format!("{number} {word}{}", if number == 1 { "" } else { "s" })
}

/// Whether a character can break out of its line: control characters, line separators and characters that reorder text.
pub fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Bytes as hexadecimal digits in lower case.
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    push_hex(&mut text, bytes);
    text
}

/// Appends bytes as lower-case hex digits.
pub fn push_hex(text: &mut String, bytes: &[u8]) {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    text.extend(bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]));
}

/// A text as a word of a shell's command, on one line and without anything that a terminal would act on.
pub fn shell_word(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:,@%+=".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        return text.to_owned();
    }
    if text.chars().any(is_unsafe) {
        let escaped = |byte: u8| match byte {
            b' '..=b'~' if !b"'\\".contains(&byte) => char::from(byte).to_string(),
            _ => format!("\\x{byte:02x}"),
        };
        return format!("$'{}'", text.bytes().map(escaped).collect::<String>());
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::{one_line, shell_word};

    /// X5
    #[test]
    fn nothing_can_break_out_of_its_line() {
        assert_eq!(one_line("a\nb\u{1b}[31m\u{202e}c", 99), "a\\u{a}b\\u{1b}[31m\\u{202e}c");
        assert_eq!(one_line(" ::set-output name=x::y", 99), " \\u{3a}:set-output name=x::y");
        assert_eq!(one_line("a ##[add-mask]b", 99), "a ##\\u{5b}add-mask]b");
        assert_eq!(one_line("äöüß", 2), "äö…");
    }

    #[test]
    fn words_of_a_shell_are_quoted_where_it_matters() {
        assert_eq!(shell_word("web:manifests/a-1.yaml"), "web:manifests/a-1.yaml");
        assert_eq!(
            (shell_word("a b"), shell_word("it's"), shell_word("")),
            ("'a b'".into(), r"'it'\''s'".into(), "''".into())
        );
        assert_eq!(shell_word("a'\\\n\u{7f}\u{202e}"), r"$'a\x27\x5c\x0a\x7f\xe2\x80\xae'");
    }
}
