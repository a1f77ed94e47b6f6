//! By what the state knows a provider: providers of two repositories may have one name, and never meet.

use std::fmt;

/// A provider of a namespace. As text, its name after the namespace and `:`, which no name holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProviderKey<'a> {
    /// What keeps its repository apart from others, if anything does.
    pub namespace: Option<&'a str>,
    /// Its own name.
    pub name: &'a str,
}

impl<'a> ProviderKey<'a> {
    /// The key that is written so.
    pub fn of(text: &'a str) -> Self {
        match text.split_once(Self::SEPARATOR) {
            Some((namespace, name)) => Self { namespace: Some(namespace), name },
            None => Self { namespace: None, name: text },
        }
    }

    /// Stands between the two.
    const SEPARATOR: char = ':';
}

impl fmt::Display for ProviderKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(namespace) = self.namespace {
            write!(f, "{namespace}{}", Self::SEPARATOR)?;
        }
        f.write_str(self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_what_it_is_written_as() {
        for (text, namespace, name) in [("own", None, "own"), ("team/web:own", Some("team/web"), "own")] {
            let key = ProviderKey::of(text);
            assert_eq!((key.namespace, key.name, key.to_string().as_str()), (namespace, name, text));
        }
    }
}
