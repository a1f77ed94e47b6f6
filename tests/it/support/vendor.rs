//! What tests, simulation and fuzz checks know of a vendor apart from its adapter: `tests/it/golden/vendors/<kind>.yaml`, a file
//! each, from the vendor's documents.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use freshen::core::contract::{
    CredentialField, CredentialScheme, Credentials, FieldSort, OptionSpec, OptionValue, Options,
};
use freshen::core::provider::Provider;
use freshen::core::secret::Secret;
use freshen::core::time::Timestamp;
use serde::Deserialize;
use serde_json::Value;

/// The folder, from the root of the repository.
pub(crate) const FOLDER: &str = "tests/it/golden/vendors";

/// All files by their kinds.
static FACTS: LazyLock<BTreeMap<String, Value>> = LazyLock::new(|| {
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let folder = above.map(|root| root.join(FOLDER)).find(|folder| folder.is_dir()).expect(FOLDER);
    let paths = std::fs::read_dir(folder).expect(FOLDER).map(|entry| entry.expect("an entry").path());
    let file = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("a readable file");
        let facts = serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (path.file_stem().expect("a name").to_string_lossy().into_owned(), facts)
    };
    paths.filter(|path| path.extension().is_some_and(|ending| ending == "yaml")).map(file).collect()
});

/// What the file of `kind` says at `key`, like `refusal.body`.
pub(crate) fn fact<T: Deserialize<'static>>(kind: &str, key: &str) -> T {
    let how = "see \"Adding a vendor\" in CONTRIBUTING.md";
    let facts = FACTS.get(kind).unwrap_or_else(|| panic!("{FOLDER}/{kind}.yaml is missing: {how}"));
    let value = facts.pointer(&format!("/{}", key.replace('.', "/")));
    let value = value.unwrap_or_else(|| panic!("{FOLDER}/{kind}.yaml lacks `{key}`: {how}"));
    T::deserialize(value).unwrap_or_else(|error| panic!("{FOLDER}/{kind}.yaml, `{key}`: {error}: {how}"))
}

/// An answer of a vendor.
#[derive(Clone, Copy, Deserialize)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: &'static str,
}

/// The first midnight of the kind's quota days after 2023-11-14T22:13:20Z.
pub(crate) fn quota_day_ends(kind: &str) -> Timestamp {
    let moment = fact::<&str>(kind, "quota_day_ends").parse::<jiff::Timestamp>().expect("a moment as RFC 3339 has it");
    Timestamp::from_unix_ms(moment.as_millisecond())
}

/// Options that a provider of the kind cannot do without.
pub(crate) fn options(kind: &dyn Provider) -> Options {
    let capabilities = kind.capabilities();
    let mut given: BTreeMap<String, Value> = fact(capabilities.kind, "manifest");
    let value = |option: &OptionSpec| match given.remove(option.key)? {
        Value::String(text) => Some((option.key.to_owned(), OptionValue::Text(text))),
        Value::Bool(is_on) => Some((option.key.to_owned(), OptionValue::Bool(is_on))),
        other => panic!("{FOLDER}/{}.yaml, `manifest`: tests do not read options like {other} yet", capabilities.kind),
    };
    Options(capabilities.options.iter().filter_map(value).collect())
}

/// Key id, secret, session token.
pub(crate) type Keys<'a> = (&'a str, &'a str, Option<&'a str>);

/// The fields of the kind's credentials with what each holds, by their sorts; none if it has no account.
pub(crate) fn fields<'a>(
    kind: &dyn Provider,
    (id, secret, token): Keys<'a>,
) -> Vec<(&'static CredentialField, &'a str)> {
    let CredentialScheme::Fields { fields, .. } = kind.capabilities().credentials else { return Vec::new() };
    let value = |sort| match sort {
        FieldSort::KeyId => Some(id),
        FieldSort::Secret => Some(secret),
        FieldSort::SessionToken => token,
    };
    fields.iter().filter_map(|field| Some((field, value(field.sort)?))).collect()
}

/// Credentials of the kind.
pub(crate) fn credentials(kind: &dyn Provider, keys: Keys<'_>) -> Credentials {
    if kind.capabilities().credentials == CredentialScheme::Headers {
        return Credentials::Headers(Vec::new());
    }
    let fields = fields(kind, keys).into_iter();
    Credentials::Fields(fields.map(|(field, value)| (field.name, Secret::new(value.to_owned()))).collect())
}
