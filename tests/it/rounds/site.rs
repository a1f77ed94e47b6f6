//! Running caches with the program's way to each of them, and what the program is given to read.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

use crate::support::cache::Cache;
use crate::support::origin::{Origin, Page};
use crate::support::program::{Program, Ran};
use crate::support::relay::Relay;

use super::HOST;
use super::mode::{Edge, Mode};

/// Pages of a round.
const PAGES: usize = 20;
/// Bytes of a page.
const BYTES: usize = 2048;

/// What is asked of the program.
#[derive(Clone, Copy, Debug)]
pub(super) struct Protocol {
    /// Whether it waits for the origin.
    pub(super) asks_origin: bool,
    /// Probes a second at the origin.
    pub(super) rate: u32,
    /// `verify` of the manifest; with it the run ends when the edge is verified, else when purges are accepted.
    pub(super) verify: Option<&'static str>,
}

/// What happens while the program runs.
#[derive(Debug)]
pub(super) enum Event {
    /// A purge of a path passes on to a layer; 0 is the edge.
    Purge(usize, String, Instant),
    /// The run ended.
    Ended(Ran),
}

/// Caches before an origin.
pub(super) struct Site {
    /// From the edge inwards.
    pub(super) caches: Vec<Cache>,
    /// Where the program purges each.
    relays: Vec<Relay>,
    pub(super) events: Receiver<Event>,
    pub(super) sender: Sender<Event>,
}

impl Site {
    /// `None` if one of the caches is not installed.
    pub(super) fn start(edge: Edge) -> Option<Self> {
        let mut caches: Vec<Cache> = Vec::new();
        for layer in edge.layers.iter().rev() {
            let cache = match caches.last() {
                None => Cache::start(layer)?,
                Some(shield) => Cache::start_over(layer, shield)?,
            };
            caches.push(cache);
        }
        caches.reverse();
        let (sender, events) = channel();
        let relay = |(layer, cache): (usize, &Cache)| {
            let (sender, start) = (sender.clone(), format!("PURGE {HOST}"));
            Relay::observed(cache.port, move |request| {
                if let Some(path) = request.strip_prefix(&start) {
                    // Nobody listens once the round is over.
                    let _ = sender.send(Event::Purge(layer, path.to_owned(), Instant::now()));
                }
            })
        };
        let relays = caches.iter().enumerate().map(relay).collect();
        Some(Self { caches, relays, events, sender })
    }

    /// What visitors ask.
    pub(super) fn edge(&self) -> &Cache {
        &self.caches[0]
    }

    pub(super) fn origin(&self) -> &Origin {
        &self.edge().origin
    }

    /// Where the program purges a layer.
    pub(super) fn endpoint(&self, layer: usize) -> String {
        format!("http://127.0.0.1:{}", self.relays[layer].port)
    }

    /// Drops a page everywhere, as a cache does that is short of room.
    pub(super) fn evict(&self, path: &str) {
        for cache in self.caches.iter().rev() {
            cache.purge(HOST, path);
        }
    }

    /// Writes the manifests: the providers, and all pages with the hash of this version.
    pub(super) fn write_manifests(&self, program: &Program, pages: &Pages, version: &str, protocol: Protocol) {
        let mut text = "providers:\n".to_owned();
        for layer in 0..self.relays.len() {
            text.push_str(&format!(
                "  layer-{layer}:\n    kind: http-purge\n    hosts: [{HOST}]\n    endpoints: [\"{}\"]\n",
                self.endpoint(layer)
            ));
            if layer + 1 < self.relays.len() {
                text.push_str(&format!("    upstream: layer-{}\n", layer + 1));
            }
            if pages.mode == Mode::Soft {
                text.push_str("    headers: {Purge-Mode: soft}\n");
            }
        }
        program.write_manifest("providers.yaml", &text);

        let origin = self.origin();
        let urls: Vec<u16> = if pages.mode == Mode::Replicas { origin.replicas.to_vec() } else { vec![origin.port] };
        let urls: Vec<String> = urls.iter().map(|port| format!("\"http://127.0.0.1:{port}\"")).collect();
        let mut text = format!(
            "base_url: http://{HOST}/\norigin: {{urls: [{}], rate: {}}}\nwait_for_origin: 15s\n",
            urls.join(", "),
            protocol.rate
        );
        if let Some(verify) = protocol.verify {
            text.push_str(&format!("verify: {verify}\n"));
        }
        text.push_str(if pages.mode == Mode::Adopted { "on_new: adopt\n" } else { "" });
        text.push_str("assets:\n");
        for path in &pages.paths {
            let hash = blake3::hash(Pages::content(path, version).as_bytes()).to_hex();
            let further = pages.further(path).map(|path| format!("\"http://{HOST}{path}\""));
            let further = further.map_or_else(String::new, |url| format!(", extra_urls: [{url}]"));
            text.push_str(&format!("  http://{HOST}{path}: {{hash: \"blake3:{hash}\"{further}}}\n"));
        }
        program.write_manifest("site.yaml", &text);
    }
}

/// The pages of one round, which no other round has.
pub(super) struct Pages {
    pub(super) mode: Mode,
    /// Those that the manifest lists by path.
    pub(super) paths: Vec<String>,
}

impl Pages {
    /// Of the round with this number.
    pub(super) fn new(mode: Mode, number: usize) -> Self {
        Self { mode, paths: (0..PAGES).map(|page| format!("/round-{number}/page-{page:02}.txt")).collect() }
    }

    /// The second URL of a page.
    fn further(&self, path: &str) -> Option<String> {
        (self.mode == Mode::Query).then(|| format!("{path}?from=mail"))
    }

    /// The URLs of a page.
    pub(super) fn urls_of<'p>(&self, path: &'p str) -> impl Iterator<Item = String> + use<'p> {
        [Some(path.to_owned()), self.further(path)].into_iter().flatten()
    }

    /// All URLs.
    pub(super) fn urls(&self) -> impl Iterator<Item = String> + '_ {
        self.paths.iter().flat_map(|path| self.urls_of(path))
    }

    /// What a page holds in a version, the same under each of its URLs.
    pub(super) fn content(path: &str, version: &str) -> String {
        let mut content = format!("<title>{version}</title> of {path}\n");
        content.extend(std::iter::repeat_n('.', BYTES - content.len()));
        content
    }

    /// The page as the origin serves it.
    pub(super) fn page(&self, path: &str, version: &str) -> Page {
        let vary = if self.mode == Mode::Vary { "Vary: Accept-Encoding\r\n" } else { "" };
        Page { headers: format!("X-Rev: {version}\r\n{vary}"), ..Page::of(&Self::content(path, version)) }
    }

    /// Publishes a page at replicas of the origin.
    pub(super) fn publish(&self, origin: &Origin, replicas: &[usize], path: &str, page: &Page) {
        for &replica in replicas {
            for url in self.urls_of(path) {
                origin.publish_at(replica, None, &url, page.clone());
            }
        }
    }
}
