//! Configured providers: from the `providers` maps of all files to their checked configuration.
//!
//! What kinds there are and which options they have is in the provider table.

use std::collections::HashMap;

use super::diagnostic::{Diagnostic, Diagnostics, Span};
use super::fields::{self, Fields};
use super::head::Head;
use super::hints;
use super::hosts;
use super::nearest::nearest;
use super::node::{Key, Node, Value, shown};
use super::shape::{self, CREDENTIALS, LIMITS, PROVIDER};
use super::{endpoint, options};
use crate::core::contract::{CredentialScheme, Options};
use crate::core::endpoints::Endpoints;
use crate::core::http::Endpoint;
use crate::core::model::{CredentialSource, HostPattern, Limits, Location, ProviderConfig};
use crate::core::provider::Provider;
use crate::vendor::Vendors;

/// Longest name of a provider, in bytes.
const MAX_NAME_BYTES: usize = 64;

/// A provider as far as it could be read; assets are matched even if some of its keys are wrong.
pub(crate) struct ProviderDraft {
    pub(crate) name: String,
    pub(crate) hosts: Vec<HostPattern>,
    /// Whether all of `hosts` could be read.
    pub(crate) hosts_known: bool,
    /// All of it, if nothing is wrong.
    pub(crate) config: Option<ProviderConfig>,
    file: usize,
    span: Span,
    /// Name of the provider that it fetches through, and where that stands.
    upstream: Option<(String, Span)>,
}

/// All providers in order of name.
#[derive(Default)]
pub(crate) struct Providers {
    pub(crate) drafts: Vec<ProviderDraft>,
    by_name: HashMap<String, usize>,
    /// Whether some file or part could not be read, so that a provider that seems missing may stand there.
    pub(crate) incomplete: bool,
}

impl Providers {
    /// Reads the providers of all manifests.
    pub(crate) fn collect(
        heads: &[Head<'_, '_>],
        incomplete: bool,
        vendors: Vendors,
        report: &mut Diagnostics,
    ) -> Self {
        let mut drafts: Vec<ProviderDraft> = Vec::new();
        let mut incomplete = incomplete;
        for head in heads {
            incomplete |= head.fields.is_broken("providers");
            let Some(Node { value: Value::Map(entries), .. }) = head.fields.node("providers") else { continue };
            for (key, node) in entries {
                match draft((head.file, vendors), key, node, report) {
                    Some(draft) => drafts.push(draft),
                    None => incomplete = true,
                }
            }
        }
        // Stable: of two with one name the first in reading order stays first.
        drafts.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        for pair in drafts.windows(2).filter(|pair| pair[0].name == pair[1].name) {
            report.push(
                Diagnostic::error(
                    pair[1].file,
                    pair[1].span,
                    format!("provider `{}` is configured twice", pair[1].name),
                )
                .label("configured again")
                .help("give it another name; names are unique over all manifests")
                .related(pair[0].file, pair[0].span, "first configured here"),
            );
        }
        drafts.dedup_by(|later, first| later.name == first.name);
        let by_name = drafts.iter().enumerate().map(|(index, draft)| (draft.name.clone(), index)).collect();
        let providers = Self { drafts, by_name, incomplete };
        providers.check_upstreams(report);
        providers
    }

    /// Reports providers that fetch through one that is not there, or in the end through themselves.
    fn check_upstreams(&self, report: &mut Diagnostics) {
        let upstream = |draft: &ProviderDraft| self.by_name.get(&draft.upstream.as_ref()?.0).copied();
        for (first, draft) in self.drafts.iter().enumerate() {
            let Some((name, span)) = &draft.upstream else { continue };
            let mut next = upstream(draft);
            if next.is_none() {
                self.named(draft.file, (name, *span), report);
            }
            let mut circle = vec![first];
            // Each circle is reported once, by its first provider.
            while let Some(at) = next.filter(|at| *at > first && !circle.contains(at)) {
                circle.push(at);
                next = upstream(&self.drafts[at]);
            }
            if next != Some(first) {
                continue;
            }
            let names: Vec<&str> = circle.iter().map(|at| self.drafts[*at].name.as_str()).collect();
            let message = match names.as_slice() {
                [one] => format!("upstream: {one} names itself"),
                [one, other] => format!("upstream: {one} and {other} name each other"),
                several => format!("upstream: {} name each other in a circle", several.join(", ")),
            };
            let help = "the one that is next to the origin has no `upstream`";
            report.push(Diagnostic::error(draft.file, *span, message).help(help));
        }
    }

    /// Index of a provider by name; reports an unknown name.
    pub(crate) fn named(&self, file: usize, (name, span): (&str, Span), report: &mut Diagnostics) -> Option<usize> {
        if let Some(index) = self.by_name.get(name) {
            return Some(*index);
        }
        if !self.incomplete {
            let names: Vec<&str> = self.drafts.iter().map(|draft| draft.name.as_str()).collect();
            let help = match nearest(name, names.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None if names.is_empty() => "configure it under `providers` in one of the manifests".to_owned(),
                None => format!("configured providers: {}", shape::quoted(&names)),
            };
            report.push(
                Diagnostic::error(file, span, format!("provider `{}` is not configured", shown(name))).help(help),
            );
        }
        None
    }
}

fn draft(
    (file, vendors): (usize, Vendors),
    key: &Key<'_>,
    node: &Node<'_>,
    report: &mut Diagnostics,
) -> Option<ProviderDraft> {
    let named = check_name(file, key, report);
    let (what, help) = (format!("provider `{}`", shown(&key.text)), hints::of_provider(&key.text));
    let entries = fields::entries_or(file, &what, node, Some(&help), report)?;
    let kind_node = entries.iter().find(|(key, _)| key.text == "kind").map(|(_, node)| node);
    let kind = kind_node.and_then(shape::text).and_then(|kind| vendors.find(kind));
    let specs = kind.map(|kind| kind.capabilities().options);
    let fields = fields::read(file, &PROVIDER, specs, key.span, entries, report);
    if kind.is_none() {
        fields.text("kind").into_iter().for_each(|found| unknown_kind(file, found, vendors, report));
    }
    let (hosts, hosts_known) = host_patterns(file, &fields, report);
    let mut reader = ProviderReader {
        file,
        place: key.span,
        fields: &fields,
        report,
        sound: hosts_known && named && !fields.any_broken(),
    };
    let config = if let Some(kind) = kind {
        reader.config(kind, &key.text, hosts.clone())
    } else {
        reader.parts_of_any_kind();
        None
    };
    let upstream = fields.text("upstream").map(|(name, span)| (name.to_owned(), span));
    Some(ProviderDraft { name: key.text.to_string(), hosts, hosts_known, config, file, span: key.span, upstream })
}

/// # Errors
/// How the name of a provider is to be spelled, for one that is none.
pub(super) fn check_spelling(name: &str) -> Result<(), String> {
    let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let valid = name.len() <= MAX_NAME_BYTES
        && name.bytes().next().is_some_and(is_word)
        && name.bytes().all(|b| is_word(b) || matches!(b, b'.' | b'_' | b'-'));
    let help = || format!("use a-z, 0-9, `.`, `_` and `-`, beginning with a letter or digit, {MAX_NAME_BYTES} at most");
    if valid { Ok(()) } else { Err(help()) }
}

fn check_name(file: usize, key: &Key<'_>, report: &mut Diagnostics) -> bool {
    let name = key.text.as_ref();
    let checked = check_spelling(name).map_err(|help| {
        let message = format!("`{}` cannot be the name of a provider", shown(name));
        report.push(Diagnostic::error(file, key.span, message).help(help));
    });
    checked.is_ok()
}

fn unknown_kind(file: usize, (found, span): (&str, Span), vendors: Vendors, report: &mut Diagnostics) {
    let kinds = vendors.names();
    let plain = |text: &str| text.replace(['-', '_', ' '], "").to_ascii_lowercase();
    let is_called = |kind: &&dyn Provider| kind.also_called().iter().any(|name| plain(name) == plain(found));
    let help = match (vendors.all().find(is_called), nearest(found, kinds.iter().copied())) {
        (Some(kind), _) => format!("write `{}`: {}", kind.capabilities().kind, kind.capabilities().summary),
        (None, Some(meant)) => format!("did you mean `{meant}`?"),
        (None, None) => format!("known kinds: {}", shape::quoted(&kinds)),
    };
    report.push(Diagnostic::error(file, span, format!("`{}` is not a kind of provider", shown(found))).help(help));
}

fn host_patterns(file: usize, fields: &Fields<'_, '_>, report: &mut Diagnostics) -> (Vec<HostPattern>, bool) {
    let mut known = !fields.is_broken("hosts");
    let mut patterns = Vec::new();
    for (text, span) in fields.texts("hosts").unwrap_or_default() {
        match hosts::check_pattern(text) {
            Ok(()) => patterns.push(HostPattern::from_checked(text.to_owned())),
            Err(refusal) => {
                known = false;
                report.push(refused(file, span, "hosts", refusal));
            }
        }
    }
    (patterns, known)
}

/// A refusal as a problem of `key`.
fn refused(file: usize, span: Span, key: &str, refusal: hosts::HostRefusal) -> Diagnostic {
    let diagnostic = Diagnostic::error(file, span, format!("`{key}`: {}", refusal.message));
    match refusal.help {
        Some(help) => diagnostic.help(help),
        None => diagnostic,
    }
}

/// Reads one provider's keys; `sound` turns false with the first problem.
struct ProviderReader<'r, 'n, 'a> {
    file: usize,
    place: Span,
    fields: &'r Fields<'n, 'a>,
    report: &'r mut Diagnostics,
    sound: bool,
}

impl ProviderReader<'_, '_, '_> {
    fn config(&mut self, kind: &'static dyn Provider, name: &str, hosts: Vec<HostPattern>) -> Option<ProviderConfig> {
        let capabilities = kind.capabilities();
        let options = self.options(kind);
        let endpoints: Endpoints = self.endpoints(kind, &options).into();
        let most =
            (!kind.has_cache_per_address(&options) || endpoints.names().next().is_none()).then_some(endpoints.len());
        let require = self.require(most);
        let limits = self.limits(kind);
        let credentials = self.credentials();
        if capabilities.credentials == CredentialScheme::Headers && self.fields.has("credentials") {
            let message = format!("`{}` has no account and takes no `credentials`", capabilities.kind);
            self.fail(self.fields.key_span("credentials"), message, "put secrets as `${NAME}` into `headers`");
        }
        if let Some(notice) = capabilities.notice {
            let span = self.fields.text("kind").map_or(self.place, |(_, span)| span);
            self.report.push(Diagnostic::warning(self.file, span, format!("`{}`: {notice}", capabilities.kind)));
        }
        self.sound.then(|| ProviderConfig {
            name: name.to_owned(),
            kind,
            hosts,
            endpoints,
            require,
            options,
            limits,
            ignore_query: self.fields.flag("ignore_query"),
            upstream: self.fields.text("upstream").map(|(name, _)| name.to_owned()),
            account: self.fields.text("account").map(|(name, _)| name.to_owned()),
            credentials,
            place: Location { manifest: self.file, line: self.place.line, column: self.place.column },
        })
    }

    /// What can be checked although the kind is not known.
    fn parts_of_any_kind(&mut self) {
        self.credentials();
        for key in ["endpoint", "endpoints"] {
            for (text, span) in fields::texts_of(self.fields.items(key)) {
                self.endpoint(key, text, span);
            }
        }
    }

    fn fail(&mut self, span: Option<Span>, message: String, help: impl Into<String>) {
        self.sound = false;
        self.report.push(Diagnostic::error(self.file, span.unwrap_or(self.place), message).help(help));
    }

    fn options(&mut self, kind: &'static dyn Provider) -> Options {
        let specs = kind.capabilities().options;
        let (options, sound) = options::collect(self.file, specs, self.fields, self.place, self.report);
        self.sound &= sound;
        if sound {
            for (key, problem) in kind.check_options(&options) {
                self.sound = false;
                let span = self.fields.node(key).map_or(self.place, |node| node.span);
                self.report.push(Diagnostic::error(self.file, span, format!("`{key}`: {problem}")));
            }
        }
        options
    }

    fn endpoint(&mut self, key: &str, text: &str, span: Span) -> Option<Endpoint> {
        match endpoint::parse(text, self.fields.flag("allow_insecure_endpoint")) {
            Ok(endpoint) => Some(endpoint),
            Err(refusal) => {
                self.sound = false;
                self.report.push(refused(self.file, span, key, refusal));
                None
            }
        }
    }

    fn endpoints(&mut self, kind: &'static dyn Provider, options: &Options) -> Vec<Endpoint> {
        let capabilities = kind.capabilities();
        let [one, several] = ["endpoint", "endpoints"].map(|key| self.fields.items(key));
        let has_several = self.fields.node("endpoints").is_some();
        if has_several && capabilities.default_endpoint.is_some() {
            let message = format!("`{}` has one endpoint", capabilities.kind);
            self.fail(self.fields.key_span("endpoints"), message, "write `endpoint` with one URL, or leave it out");
        } else if has_several && !one.is_empty() {
            self.fail(
                self.fields.key_span("endpoint"),
                "`endpoint` beside `endpoints`".to_owned(),
                "keep one of the two",
            );
        }
        if one.is_empty() && several.is_empty() {
            return self.default_endpoint(kind, options).into_iter().collect();
        }
        let mut endpoints: Vec<Endpoint> = Vec::new();
        let of_key = |key, items| fields::texts_of(items).map(move |(text, span)| (key, text, span));
        for (key, text, span) in of_key("endpoint", one).chain(of_key("endpoints", several)) {
            let Some(endpoint) = self.endpoint(key, text, span) else { continue };
            if endpoints.contains(&endpoint) {
                self.fail(Some(span), format!("endpoint `{endpoint}` is given twice"), "keep one of the two");
            } else {
                endpoints.push(endpoint);
            }
        }
        endpoints
    }

    fn default_endpoint(&mut self, kind: &'static dyn Provider, options: &Options) -> Option<Endpoint> {
        if self.fields.is_broken("endpoint") || self.fields.is_broken("endpoints") {
            return None;
        }
        let Some(template) = kind.capabilities().default_endpoint else {
            let message = format!("`{}` needs `endpoints`", kind.capabilities().kind);
            self.fail(None, message, "list the URLs of the caches, for example `endpoints: [http://127.0.0.1:6081]`");
            return None;
        };
        match kind.capabilities().endpoint_for(options)? {
            Ok(text) => match endpoint::parse(&text, false) {
                Ok(endpoint) if endpoint.path_prefix.is_empty() => Some(endpoint),
                // An option with characters that a host cannot hold; its own check may have said so already.
                _ if !self.sound => None,
                _ => {
                    let message = format!("the options make no valid host of the endpoint `{template}`");
                    self.fail(None, message, "correct them, or give `endpoint`");
                    None
                }
            },
            // A required option that is missing was reported as such.
            Err(name) if self.fields.is_broken(name) || is_required(kind, name) => {
                self.sound = false;
                None
            }
            Err(name) => {
                let message = format!("the endpoint `{template}` needs `{name}`");
                self.fail(None, message, format!("give `{name}`, or `endpoint`"));
                None
            }
        }
    }

    /// `most`: how many endpoints there are, unless only names show it in the end.
    fn require(&mut self, most: Option<usize>) -> Option<usize> {
        let asked = self.fields.integer("require")?;
        let require = usize::try_from(asked).unwrap_or(usize::MAX);
        if let Some(endpoints) = most.filter(|most| self.sound && require > *most) {
            let span = self.fields.node("require").map(|node| node.span);
            let (there, help) = match endpoints {
                1 => ("there is 1 endpoint".to_owned(), "write 1, or leave it out".to_owned()),
                _ => (format!("there are {endpoints} endpoints"), format!("write a number from 1 to {endpoints}")),
            };
            self.fail(span, format!("`require: {asked}`, but {there}"), help);
        }
        Some(require)
    }

    fn limits(&mut self, kind: &'static dyn Provider) -> Limits {
        let Some(Node { value: Value::Map(entries), span }) = self.fields.node("limits") else {
            return Limits::default();
        };
        let fields = fields::read(self.file, &LIMITS, Some(&[]), *span, entries, self.report);
        self.sound &= !fields.any_broken();
        let most = kind.capabilities().operations.iter().map(|operation| operation.targets_per_call).max();
        let per_call = fields.integer("urls_per_call").map(|value| usize::try_from(value).unwrap_or(usize::MAX));
        if let (Some(asked), Some(most)) = (per_call, most)
            && asked > most
        {
            let span = fields.node("urls_per_call").map_or(*span, |node| node.span);
            let message = format!("`urls_per_call: {asked}` has no effect: the vendor takes {most} at most");
            self.report.push(Diagnostic::warning(self.file, span, message));
        }
        Limits {
            urls_per_day: fields.integer("urls_per_day"),
            calls_per_second: fields.integer("calls_per_second").map(|value| u32::try_from(value).unwrap_or(u32::MAX)),
            urls_per_call: per_call,
            quota_day_offset_minutes: fields.node("quota_day").and_then(shape::utc_offset_minutes),
        }
    }

    fn credentials(&mut self) -> CredentialSource {
        let from_environment = CredentialSource::Environment { prefix: String::new() };
        let Some(Node { value: Value::Map(entries), span }) = self.fields.node("credentials") else {
            return from_environment;
        };
        let fields = fields::read(self.file, &CREDENTIALS, Some(&[]), *span, entries, self.report);
        self.sound &= !fields.any_broken();
        let given = CREDENTIALS.keys.iter().filter(|spec| fields.has(spec.key)).count();
        if given > 1 || entries.is_empty() {
            let message = format!("`credentials` needs exactly one source, found {given}");
            self.fail(Some(*span), message, "give one of `env_prefix`, `file` and `command`");
        }
        if let Some((prefix, span)) = fields.text("env_prefix") {
            let is_name = prefix.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
                && !prefix.as_bytes()[0].is_ascii_digit();
            if !is_name {
                let help = "use letters, digits and `_`, for example `PROD_`";
                self.fail(Some(span), "`env_prefix` cannot begin the name of a variable".to_owned(), help);
            }
            return CredentialSource::Environment { prefix: prefix.to_owned() };
        }
        if let Some((path, _)) = fields.text("file") {
            return CredentialSource::File(path.to_owned());
        }
        let command = fields.texts("command").unwrap_or_default();
        CredentialSource::Command(command.into_iter().map(|(word, _)| word.to_owned()).collect())
    }
}

fn is_required(kind: &'static dyn Provider, option: &str) -> bool {
    kind.capabilities().options.iter().any(|spec| spec.key == option && spec.required)
}
