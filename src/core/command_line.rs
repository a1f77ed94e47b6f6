//! Commands that messages offer, as they can be pasted: each carries the state, the manifests and the options that this
//! program was started with.
//!
//! Does not know arguments: what a command carries is made once, where arguments are read.

use std::collections::BTreeMap;

use super::provider_key::ProviderKey;
use super::text::shell_word;

/// What a message may offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// Records manifests as fresh.
    Adopt,
    /// Purges what changed.
    Apply,
    /// Validates manifests.
    Check,
    /// Shows a plan.
    Plan,
    /// Drops what a state knows.
    StateForget,
    /// Lists what a state knows.
    StateList,
    /// Shows what a state holds.
    Status,
    /// Probes edges.
    Verify,
}

impl Verb {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Adopt,
        Self::Apply,
        Self::Check,
        Self::Plan,
        Self::StateForget,
        Self::StateList,
        Self::Status,
        Self::Verify,
    ];

    /// Its words on a command line.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Adopt => "adopt",
            Self::Apply => "apply",
            Self::Check => "check",
            Self::Plan => "plan",
            Self::StateForget => "state forget",
            Self::StateList => "state list",
            Self::Status => "status",
            Self::Verify => "verify",
        }
    }
}

/// An option that a command carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CarriedOption {
    /// With its dashes.
    pub name: String,
    /// `None`: it takes none.
    pub value: Option<String>,
    /// It narrows a run down to some targets.
    pub selects: bool,
}

impl CarriedOption {
    fn spelled(&self) -> String {
        match &self.value {
            None => self.name.clone(),
            Some(value) if value.starts_with('-') => format!("{}={}", self.name, shell_word(value)),
            Some(value) => format!("{} {}", self.name, shell_word(value)),
        }
    }
}

/// What a command carries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Options, in order.
    pub options: Vec<CarriedOption>,
    /// Manifests, where they are not the default.
    pub paths: Vec<String>,
}

/// Spells the commands that messages offer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandLine {
    carried: BTreeMap<Verb, Carried>,
    anywhere: BTreeMap<Verb, Carried>,
}

impl CommandLine {
    /// Commands that carry this in the folder of this program, and that in any other one.
    pub const fn new(carried: BTreeMap<Verb, Carried>, anywhere: BTreeMap<Verb, Carried>) -> Self {
        Self { carried, anywhere }
    }

    /// The same commands for a shell in any folder.
    #[must_use]
    pub fn anywhere(&self) -> Self {
        Self { carried: self.anywhere.clone(), anywhere: self.anywhere.clone() }
    }

    /// A command about the targets that this program is about, with words of its own, in backticks. An option among these
    /// takes the place of one that is carried; one without a value stands last.
    pub fn offer(&self, verb: Verb, own: &[&str]) -> String {
        self.spell(verb, own, |option| !own.contains(&option.name.as_str()))
    }

    /// The same commands for a shell in any folder, about the manifests at these paths, which begin at the root, unless others
    /// were given. None: those that a shell in any folder is offered anyway.
    #[must_use]
    pub fn about(&self, paths: &[String]) -> Self {
        let mut about = self.anywhere();
        for verb in [Verb::Adopt, Verb::Apply, Verb::Check, Verb::Plan, Verb::Status, Verb::Verify] {
            let is_given = self.carried.get(&verb).is_some_and(|carried| !carried.paths.is_empty());
            if !is_given && !paths.is_empty() {
                about.carried.entry(verb).or_default().paths = paths.to_vec();
            }
        }
        about
    }

    /// The command that tries at once what is left at a provider, whatever guards say of other ones.
    pub fn offer_try_now(&self, ProviderKey { namespace, name }: ProviderKey<'_>) -> String {
        match namespace {
            None => self.offer_for_all(Verb::Apply, &["--provider", name, "--except-refused"]),
            Some(namespace) => {
                let own = ["--provider", name, "--namespace", namespace, "--except-refused"];
                self.offer_for_all(Verb::Apply, &own)
            }
        }
    }

    /// The command that makes the probes that are owed at the providers of a namespace.
    pub fn offer_probes(&self, namespace: Option<&str>) -> String {
        match namespace {
            None => self.offer_for_all(Verb::Verify, &["--due"]),
            Some(namespace) => self.offer_for_all(Verb::Verify, &["--namespace", namespace, "--due"]),
        }
    }

    /// The same about all targets, also where this program is narrowed down to some.
    pub fn offer_for_all(&self, verb: Verb, own: &[&str]) -> String {
        self.spell(verb, own, |option| !option.selects && !own.contains(&option.name.as_str()))
    }

    fn spell(&self, verb: Verb, own: &[&str], keeps: impl Fn(&CarriedOption) -> bool) -> String {
        let none = Carried::default();
        let Carried { options, paths } = self.carried.get(&verb).unwrap_or(&none);
        let options = options.iter().filter(|option| keeps(option)).map(CarriedOption::spelled);
        // Without that `status` reads no manifests.
        let reads = verb != Verb::Status || own.contains(&"--refresh");
        let of_path =
            |path: &String| shell_word(&if path.starts_with('-') { format!("./{path}") } else { path.clone() });
        let paths = paths.iter().filter(|_| reads).map(of_path);
        let words: Vec<String> = own_words(own).into_iter().chain(options).chain(paths).collect();
        let blank = if words.is_empty() { "" } else { " " };
        format!("`freshen {}{blank}{}`", verb.words(), words.join(" "))
    }
}

/// Words of a shell. A dash begins an option, so a value with one is part of the word of its option.
fn own_words(own: &[&str]) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut follows_option = false;
    for word in own {
        if let Some(option) = words.last_mut().filter(|_| follows_option && word.starts_with('-')) {
            *option += &format!("={}", shell_word(word));
            follows_option = false;
        } else {
            words.push(shell_word(word));
            follows_option = word.starts_with("--");
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn option(name: &str, value: Option<&str>, selects: bool) -> CarriedOption {
        CarriedOption { name: name.to_owned(), value: value.map(str::to_owned), selects }
    }

    #[test]
    fn a_command_carries_what_it_needs_as_words_of_a_shell() {
        let options = vec![
            option("--state", Some("a b.db"), false),
            option("--only", Some("-x*"), true),
            option("--purge-all", None, false),
            option("--max-purges", Some("1"), false),
        ];
        let carried = Carried { options, paths: vec!["-site".to_owned(), "it's".to_owned()] };
        let line = CommandLine::new(
            BTreeMap::from([(Verb::Apply, carried.clone()), (Verb::Status, carried)]),
            BTreeMap::new(),
        );
        assert_eq!(
            line.offer(Verb::Apply, &["--max-purges", "2"]),
            r"`freshen apply --max-purges 2 --state 'a b.db' --only='-x*' --purge-all ./-site 'it'\''s'`"
        );
        assert_eq!(
            line.offer_for_all(Verb::Apply, &["--force", "*"]),
            r"`freshen apply --force '*' --state 'a b.db' --purge-all --max-purges 1 ./-site 'it'\''s'`"
        );
        assert!(line.offer(Verb::Status, &[]).ends_with("--max-purges 1`"));
        assert!(line.offer(Verb::Status, &["--refresh"]).ends_with(r"'it'\''s'`"));
        assert_eq!(line.offer(Verb::StateList, &[]), "`freshen state list`");
    }

    /// The name of a manifest or provider may begin with a dash.
    #[test]
    fn a_value_of_its_own_that_looks_like_an_option_stands_behind_an_equals_sign() {
        let offered = |own: &[&str]| CommandLine::default().offer(Verb::StateForget, own);
        assert_eq!(offered(&["*", "--manifest", "-x"]), "`freshen state forget '*' --manifest=-x`");
        assert_eq!(
            offered(&["--manifest", "--a b", "--provider", "c"]),
            "`freshen state forget --manifest='--a b' --provider c`"
        );
    }
}
