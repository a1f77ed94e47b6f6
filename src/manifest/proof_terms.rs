//! `origin`, `wait_for_origin` and `verify`: what manifests and assets ask of origins and edges.
//!
//! Does not know hashes of assets, and asks nobody.

use std::collections::HashMap;
use std::net::Ipv6Addr;

use super::diagnostic::{Diagnostic, Diagnostics, Span};
use super::endpoint;
use super::fields::{self, Fields};
use super::hosts::{self, HostRefusal};
use super::node::{Node, Value, shown};
use super::options;
use super::secrets;
use super::shape::{self, MATCH, ORIGIN, VERIFY};
use super::url;
use crate::core::http::Endpoint;
use crate::core::proof_terms::{Comparison, Headers, Origin, ProofTerms, Vantage, Verify, WAIT_FOR_ORIGIN_MS};

/// Turns `origin` off.
const NONE: &str = "none";
/// Stands for each address of a host.
const ALL: &str = "all";
/// Most items of `variants`.
const MAX_VARIANTS: usize = 8;
/// Most items of `vantage`.
const MAX_VANTAGES: usize = 16;

/// Terms of proof, each once.
#[derive(Default)]
pub(crate) struct TermsTable {
    all: Vec<ProofTerms>,
    known: HashMap<ProofTerms, usize>,
}

impl TermsTable {
    /// The index of terms; `None` for those that ask for nothing.
    pub(crate) fn index(&mut self, terms: ProofTerms) -> Option<usize> {
        if terms.origin.is_none() && terms.verify.is_none() {
            return None;
        }
        if let Some(known) = self.known.get(&terms) {
            return Some(*known);
        }
        let index = self.all.len();
        self.all.push(terms.clone());
        self.known.insert(terms, index);
        Some(index)
    }

    /// All terms, by index.
    pub(crate) fn into_all(self) -> Vec<ProofTerms> {
        self.all
    }
}

/// `origin` of a manifest or an asset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OriginKey {
    /// It is left out.
    Absent,
    /// It is wrong, which is reported already.
    Broken,
    /// It is `none`.
    Off,
    /// The servers.
    At(Box<Origin>),
}

/// What a manifest asks for.
pub(crate) struct ManifestTerms {
    /// For assets that ask for nothing else, without expressions.
    pub(crate) usual: ProofTerms,
    /// Whether it says what is compared.
    pub(crate) has_match: bool,
    /// Whether something of it is wrong, which is reported already.
    pub(crate) is_broken: bool,
    /// Where `wait_for_origin` stands, if no origin is known that it could be about.
    pub(crate) idle_wait: Option<Span>,
}

impl ManifestTerms {
    /// Reads the keys of a manifest.
    pub(crate) fn read(file: usize, fields: &Fields<'_, '_>, report: &mut Diagnostics) -> Self {
        let mut reader = Reader { file, report };
        let origin = reader.origin(fields);
        let wait = fields.node("wait_for_origin");
        let (verify, has_match) = match fields.node("verify") {
            None => (Ok(None), false),
            Some(node) => reader.verify(node),
        };
        let keys = ["origin", "wait_for_origin", "verify"];
        let is_broken =
            keys.iter().any(|key| fields.is_broken(key)) || origin == OriginKey::Broken || verify == Err(Refused);
        let idle_wait = wait.and_then(|_| fields.key_span("wait_for_origin"));
        let idle_wait = idle_wait.filter(|_| matches!(origin, OriginKey::Absent | OriginKey::Off));
        let origin = match origin {
            OriginKey::At(origin) => Some(*origin),
            _ => None,
        };
        let wait_for_origin_ms = wait.and_then(shape::duration_ms).unwrap_or(WAIT_FOR_ORIGIN_MS);
        let verify = verify.unwrap_or_default();
        let usual = ProofTerms { origin, wait_for_origin_ms, verify, normalize: Vec::new() };
        Self { usual, has_match, is_broken, idle_wait }
    }
}

/// Reads `origin` of an asset.
pub(crate) fn origin_of_asset(file: usize, fields: &Fields<'_, '_>, report: &mut Diagnostics) -> OriginKey {
    Reader { file, report }.origin(fields)
}

/// Something is wrong, which is reported already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Refused;

struct Reader<'r> {
    file: usize,
    report: &'r mut Diagnostics,
}

impl Reader<'_> {
    fn fail(&mut self, span: Span, message: impl Into<String>, help: impl Into<String>) -> Refused {
        self.report.push(Diagnostic::error(self.file, span, message).help(help));
        Refused
    }

    fn refuse(&mut self, span: Span, key: &str, refusal: HostRefusal) -> Refused {
        let diagnostic = Diagnostic::error(self.file, span, format!("{key}: {}", refusal.message));
        self.report.push(match refusal.help {
            Some(help) => diagnostic.help(help),
            None => diagnostic,
        });
        Refused
    }

    fn origin(&mut self, fields: &Fields<'_, '_>) -> OriginKey {
        let Some(node) = fields.node("origin") else {
            return if fields.is_broken("origin") { OriginKey::Broken } else { OriginKey::Absent };
        };
        let origin = match &node.value {
            Value::Map(entries) => {
                let fields = fields::read(self.file, &ORIGIN, Some(&[]), node.span, entries, self.report);
                self.long_origin(&fields)
            }
            _ => match shape::text(node) {
                Some(NONE) => return OriginKey::Off,
                text => self.origin_url(text.unwrap_or_default(), node.span).map(|url| Origin::new(vec![url])),
            },
        };
        origin.map_or(OriginKey::Broken, |origin| OriginKey::At(Box::new(origin)))
    }

    fn origin_url(&mut self, text: &str, span: Span) -> Result<Endpoint, Refused> {
        endpoint::origin(text).map_err(|refusal| self.refuse(span, "origin", refusal))
    }

    fn long_origin(&mut self, fields: &Fields<'_, '_>) -> Result<Origin, Refused> {
        let mut sound = if fields.any_broken() { Err(Refused) } else { Ok(()) };
        let headers = self.headers("origin.headers", fields.node("headers"));
        let has_variables = matches!(fields.node("headers"), Some(node) if has_reference(node));
        let mut urls: Vec<Endpoint> = Vec::new();
        for (text, span) in fields.texts("urls").unwrap_or_default() {
            let url = self.origin_url(text, span).and_then(|url| {
                if urls.contains(&url) {
                    return Err(self.fail(span, format!("origin `{url}` is given twice"), "keep one of the two"));
                }
                let is_open = !url.tls && !url.is_loopback();
                if is_open && has_variables && !fields.flag("allow_insecure") {
                    let message = format!("origin: headers with variables by plain http to `{}`", url.host);
                    let help = "write https, or add `allow_insecure: true` if everyone on the way may read them";
                    return Err(self.fail(span, message, help));
                }
                Ok(url)
            });
            match url {
                Ok(url) => urls.push(url),
                Err(Refused) => sound = Err(Refused),
            }
        }
        let host = fields.text("host").map(|host| self.host(host)).transpose();
        sound?;
        let number = |key: &str, usual: u32| fields.integer(key).map_or(usual, small);
        let usual = Origin::new(urls);
        let (samples, rate) = (number("samples", usual.samples), number("rate", usual.rate));
        Ok(Origin { host: host?, headers: headers?, samples, rate, ..usual })
    }

    /// What is sent as `Host`.
    fn host(&mut self, (text, span): (&str, Span)) -> Result<String, Refused> {
        match host_and_port(text) {
            Ok(_) => Ok(text.to_owned()),
            Err(refusal) => Err(self.refuse(span, "host", refusal)),
        }
    }

    /// `verify`, and whether it says what is compared.
    fn verify(&mut self, node: &Node<'_>) -> (Result<Option<Verify>, Refused>, bool) {
        let Value::Map(entries) = &node.value else {
            return (Ok((shape::boolean(node) == Some(true)).then(Verify::default)), false);
        };
        let fields = fields::read(self.file, &VERIFY, Some(&[]), node.span, entries, self.report);
        let verify = self.long_verify(&fields);
        (verify.map(Some), fields.has("match"))
    }

    fn long_verify(&mut self, fields: &Fields<'_, '_>) -> Result<Verify, Refused> {
        let usual = Verify::default();
        let compare = fields.node("match").map(|node| self.comparison(node)).transpose();
        let variants = self.variants(fields);
        let vantage = self.vantage(fields);
        let headers = self.headers("verify.headers", fields.node("headers"));
        let share = self.share(fields);
        if fields.any_broken() {
            return Err(Refused);
        }
        Ok(Verify {
            compare: compare?.unwrap_or(usual.compare),
            settle_ms: fields.node("settle").and_then(shape::duration_ms).unwrap_or(usual.settle_ms),
            repurge: fields.integer("repurge").map_or(usual.repurge, small),
            variants: variants?,
            vantage: vantage?,
            headers: headers?,
            max_body: fields.node("max_body").and_then(shape::size).unwrap_or(usual.max_body),
            rate: fields.integer("rate").map_or(usual.rate, small),
            every_ms: fields.node("every").and_then(shape::duration_ms),
            share: share?.unwrap_or(usual.share),
        })
    }

    fn comparison(&mut self, node: &Node<'_>) -> Result<Comparison, Refused> {
        let Value::Map(entries) = &node.value else {
            return Ok(if shape::text(node) == Some("etag") { Comparison::Etag } else { Comparison::Body });
        };
        let fields = fields::read(self.file, &MATCH, Some(&[]), node.span, entries, self.report);
        let (name, span) = fields.text("header").ok_or(Refused)?;
        match options::name_problem(name) {
            None => Ok(Comparison::Header(name.to_owned())),
            Some(problem) => {
                let help = "write its name as answers have it, for example `X-Revision`";
                Err(self.fail(span, format!("match: {problem}: `{}`", shown(name)), help))
            }
        }
    }

    fn variants(&mut self, fields: &Fields<'_, '_>) -> Result<Option<Vec<Headers>>, Refused> {
        let Some(Node { value: Value::List(items), .. }) = fields.node("variants") else { return Ok(None) };
        if let Some(surplus) = items.get(MAX_VARIANTS) {
            let message = format!("variants: {} of them, more than {MAX_VARIANTS}", items.len());
            return Err(self.fail(surplus.span, message, "keep those that visitors ask for most"));
        }
        let variants: Vec<_> = items.iter().map(|item| self.headers("verify.variants", Some(item))).collect();
        variants.into_iter().collect::<Result<_, _>>().map(Some)
    }

    fn vantage(&mut self, fields: &Fields<'_, '_>) -> Result<Vantage, Refused> {
        let Some(texts) = fields.texts("vantage") else { return Ok(Vantage::Usual) };
        if let [(ALL, _)] = texts.as_slice() {
            return Ok(Vantage::All);
        }
        if let Some((_, span)) = texts.get(MAX_VANTAGES) {
            let message = format!("vantage: {} of them, more than {MAX_VANTAGES}", texts.len());
            return Err(self.fail(*span, message, "keep those that stand for the others"));
        }
        let (mut found, mut sound): (Vec<Endpoint>, _) = (Vec::new(), Ok(()));
        for (text, span) in texts {
            match self.one_vantage(text, span) {
                Ok(vantage) if found.contains(&vantage) => {
                    let message = format!("vantage `{}` is given twice", vantage.authority());
                    sound = Err(self.fail(span, message, "keep one of the two"));
                }
                Ok(vantage) => found.push(vantage),
                Err(Refused) => sound = Err(Refused),
            }
        }
        sound.map(|()| Vantage::At(found))
    }

    /// A host or address, and a port.
    fn one_vantage(&mut self, text: &str, span: Span) -> Result<Endpoint, Refused> {
        if text == ALL {
            return Err(self.fail(span, "vantage: `all` beside others", "write `vantage: all`, or list addresses"));
        }
        if let Some(meant) = respelled_vantage(text) {
            let help = "an address has one spelling here";
            return Err(self.fail(span, format!("vantage {}: write it as {meant}", shown(text)), help));
        }
        let (host, port) = host_and_port(text).map_err(|refusal| self.refuse(span, "vantage", refusal))?;
        if let Some(reason) = hosts::refused_endpoint_host(host) {
            let help = "write the address of a cache or of an edge of your CDN";
            return Err(self.fail(span, format!("vantage: `{host}` {reason}"), help));
        }
        Ok(Endpoint { tls: true, host: host.to_owned(), port, path_prefix: String::new(), address: None })
    }

    fn share(&mut self, fields: &Fields<'_, '_>) -> Result<Option<u64>, Refused> {
        let (Some(share), Some(span)) = (fields.node("share"), fields.key_span("share")) else { return Ok(None) };
        if !fields.has("every") {
            let help = "give `every`, for example `every: 6h`, or delete it";
            return Err(self.fail(span, "share without every", help));
        }
        match shape::percent(share) {
            Some(0) => Err(self.fail(share.span, "share: 0% probes nothing", "delete `every` and `share`")),
            share => Ok(share),
        }
    }

    /// Headers of probes. `place` is where they stand.
    fn headers(&mut self, place: &str, node: Option<&Node<'_>>) -> Result<Headers, Refused> {
        let Some(node) = node else { return Ok(Headers::new()) };
        let Some(headers) = options::headers(self.file, node, self.report) else { return Err(Refused) };
        let Value::Map(entries) = &node.value else { return Err(Refused) };
        let mut sound = Ok(());
        for ((name, value), (key, node)) in headers.iter().zip(entries) {
            if let Some((problem, help)) = header_problem(place, name) {
                sound = Err(self.fail(key.span, format!("{place}: {problem}"), help));
            }
            if !value.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
                let message = format!("header `{name}`: a character in its value that is not ASCII");
                sound = Err(self.fail(node.span, message, "write visible ASCII characters and blanks"));
            }
        }
        sound.map(|()| headers)
    }
}

/// Why a probe cannot have a header, and what to do.
fn header_problem(place: &str, name: &str) -> Option<(String, &'static str)> {
    const OWN: [&str; 4] = ["Host", "Content-Length", "Connection", "Transfer-Encoding"];
    let is = |known: &str| name.eq_ignore_ascii_case(known);
    let is_condition = name.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("if-"));
    if is("Cache-Control") || is("Pragma") || is_condition {
        let help = "delete it: a probe asks as visitors do, and must not heal what it is to see";
        return Some((format!("{name} would change what the cache serves"), help));
    }
    if is("Host") && place.starts_with("origin") {
        return Some((format!("{name} is set by freshen itself"), "give `host` of `origin`"));
    }
    if OWN.into_iter().any(is) {
        return Some((format!("{name} is set by freshen itself"), "delete it"));
    }
    if is("Range") {
        return Some((format!("{name} would ask for a part of the content"), "delete it: a part proves nothing"));
    }
    if is("Accept-Encoding") && !place.ends_with("variants") {
        return Some((format!("{name} is set by freshen itself"), "list it in `variants` of `verify`"));
    }
    None
}

fn has_reference(headers: &Node<'_>) -> bool {
    let Value::Map(entries) = &headers.value else { return false };
    entries.iter().filter_map(|(_, value)| shape::text(value)).any(secrets::has_reference)
}

/// A host and a port as URLs have them.
fn host_and_port(text: &str) -> Result<(&str, Option<u16>), HostRefusal> {
    if text.contains(['/', '?', '#']) {
        let refusal = HostRefusal::new(format!("`{}` is more than a host", shown(text)));
        return Err(refusal.help("write a host or an address, and a port if it is not the scheme's own"));
    }
    // The check of URLs knows each form of a host.
    let url = format!("https://{text}");
    let parts = url::check(&url)?;
    Ok((&text[..parts.host.len()], parts.port))
}

/// The one spelling of a vantage whose address is written in another one.
fn respelled_vantage(text: &str) -> Option<String> {
    if text.parse::<Ipv6Addr>().is_ok() {
        return Some(hosts::respelled_address(&format!("[{text}]")).unwrap_or_else(|| format!("[{text}]")));
    }
    let inside = text.rfind(']').unwrap_or(0);
    let (host, port) = text.split_at(text[inside..].find(':').map_or(text.len(), |at| inside + at));
    let is_number = port.is_empty() || port[1..].parse::<u16>().is_ok();
    Some(hosts::respelled_address(host).filter(|_| is_number)? + port)
}

fn small(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
