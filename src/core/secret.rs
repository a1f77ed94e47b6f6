//! A text that must never be seen: no `Display`, no serialization, a masked `Debug`, wiped when dropped.

use secrecy::{ExposeSecret, SecretString};

/// A credential, from the moment it is read until it is signed with or sent.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Takes the text over; the caller keeps no copy.
    pub fn new(text: String) -> Self {
        Self(SecretString::from(text))
    }

    /// The text itself, for signing and for request headers only.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
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
