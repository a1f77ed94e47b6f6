//! A text that must never be seen: no `Display`, no serialization, a masked `Debug`, wiped when dropped.

use secrecy::{ExposeSecret, SecretString};

/// What is wrong with the value of a credential, which is not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueProblem {
    /// There is no such variable.
    #[error("is not set")]
    NotSet,
    /// A variable without a value.
    #[error("is set to nothing")]
    Nothing,
    /// Empty or blank.
    #[error("is blank: give it a value or remove it")]
    Blank,
    /// Often a newline that came along from a file.
    #[error("begins or ends with a blank or a line break: remove that")]
    OuterBlank,
    /// Control characters.
    #[error("holds a control character")]
    Control,
    /// Bytes that are not UTF-8.
    #[error("is not valid UTF-8")]
    NotText,
}

impl ValueProblem {
    /// What is wrong with a value; `None` if it can be a credential.
    pub fn of(value: &str) -> Option<Self> {
        if value.trim().is_empty() {
            Some(Self::Blank)
        } else if value.trim() != value {
            Some(Self::OuterBlank)
        } else if value.contains(char::is_control) {
            Some(Self::Control)
        } else if value.contains(char::REPLACEMENT_CHARACTER) {
            Some(Self::NotText)
        } else {
            None
        }
    }

    /// As [`ValueProblem::of`], for the value of a variable, if it has one.
    pub fn of_variable(value: Option<&str>) -> Option<Self> {
        match value {
            None => Some(Self::NotSet),
            Some("") => Some(Self::Nothing),
            Some(value) => Self::of(value),
        }
    }
}

/// A credential, from the moment it is read until it is signed with or sent.
#[derive(Clone)]
pub struct Secret {
    text: SecretString,
    variables: Vec<SecretString>,
}

impl Secret {
    /// Takes the text over; the caller keeps no copy.
    pub fn new(text: String) -> Self {
        Self::filled_in(text, Vec::new())
    }

    /// A text into which the values of `variables` were filled in: each is a secret of its own.
    pub fn filled_in(text: String, variables: Vec<String>) -> Self {
        let variables = variables.into_iter().map(SecretString::from).collect();
        Self { text: SecretString::from(text), variables }
    }

    /// The text itself, for signing and for request headers only.
    pub fn expose(&self) -> &str {
        self.text.expose_secret()
    }

    /// The values of the variables in it.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.variables.iter().map(ExposeSecret::expose_secret)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_is_masked() {
        let secret = Secret::new("canary-value".into());
        assert!(!format!("{secret:?} {secret:#?}").contains("canary"));
    }
}
