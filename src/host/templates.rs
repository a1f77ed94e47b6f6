//! `${NAME}` in configured header values: each reference is replaced once, by a variable as it is.

/// A piece of a header value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// Sent as written.
    Text(&'a str),
    /// Stands for the variable of that name.
    Variable(&'a str),
}

/// Cuts a template into pieces. A `$` without `{` is text.
///
/// # Errors
/// `None` if a reference has no end or no valid name.
pub(super) fn pieces(template: &str) -> Option<Vec<Piece<'_>>> {
    let mut pieces = Vec::new();
    let mut rest = template;
    while let Some((text, after)) = rest.split_once("${") {
        let (name, tail) = after.split_once('}')?;
        if !is_name(name) {
            return None;
        }
        pieces.extend([Piece::Text(text), Piece::Variable(name)]);
        rest = tail;
    }
    pieces.push(Piece::Text(rest));
    Some(pieces)
}

/// Joins pieces, with what `value` gives for each variable.
///
/// # Errors
/// The first error of `value`.
pub(super) fn join<E>(pieces: &[Piece<'_>], mut value: impl FnMut(&str) -> Result<String, E>) -> Result<String, E> {
    let mut joined = String::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => joined.push_str(text),
            Piece::Variable(name) => joined.push_str(&value(name)?),
        }
    }
    Ok(joined)
}

fn is_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_found_and_other_dollars_are_text() {
        use Piece::{Text, Variable};
        assert_eq!(
            pieces("a $5 ${A}${B_1}$"),
            Some(vec![Text("a $5 "), Variable("A"), Text(""), Variable("B_1"), Text("$")])
        );
        for bad in ["${", "${}", "${A", "${1A}", "${A B}", "${A:-x}"] {
            assert_eq!(pieces(bad), None, "{bad}");
        }
    }

    // Y6
    #[test]
    fn replaced_text_is_not_replaced_again() {
        let joined = join(&pieces("x${A}").expect("valid"), |name| Ok::<_, ()>(format!("${{{name}}}")));
        assert_eq!(joined.as_deref(), Ok("x${A}"));
    }
}
