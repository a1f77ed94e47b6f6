//! What the manifests of a command ask for, as a run needs it; and what a later run knows them again by.

use crate::core::model::{Model, ProviderConfig};
use crate::core::owners::Reach;
use crate::core::recorded::Inputs;

use super::incremental::Incremental;

/// The manifests of a command, checked.
pub struct Desired {
    /// What they ask for.
    pub model: Model,
    /// Digest of each provider's configuration, by index.
    pub config_digests: Vec<String>,
    /// Where the command looks for manifests.
    pub(super) reach: Reach,
    /// What a later run knows the manifests by, if it may.
    inputs: Option<Inputs>,
    /// What an earlier run noted, where lists that did not change since were passed over.
    pub(super) since: Option<Incremental>,
}

/// Identifies what refusals and waits depend on: the adapter, where calls go, as whom, with which options and limits.
fn config_digest(config: &ProviderConfig) -> String {
    let mut hash = blake3::Hasher::new();
    hash.update(config.kind.capabilities().kind.as_bytes());
    for endpoint in config.endpoints.configured() {
        hash.update(&[0]).update(endpoint.to_string().as_bytes());
    }
    let ProviderConfig { options, credentials, limits, .. } = config;
    // All that are written are as many as they are; all addresses are not known.
    let all = (!config.has_cache_per_address()).then_some(config.endpoints.configured().len());
    let require = config.require.or(all).map_or("all".to_owned(), |asked| asked.to_string());
    hash.update(format!("{options:?} {credentials:?} {require} {limits:?}").as_bytes());
    hash.finalize().to_hex()[..32].to_owned()
}

/// Identifies all that lists of assets depend on besides their own manifests.
fn configuration_digest(providers: &[ProviderConfig]) -> String {
    let mut hash = blake3::Hasher::new();
    for config in providers {
        let ProviderConfig { name, hosts, ignore_query, account, upstream, .. } = config;
        hash.update(format!("{name:?} {hosts:?} {ignore_query} {account:?} ").as_bytes());
        if let Some(upstream) = upstream {
            hash.update(format!("{upstream:?} ").as_bytes());
        }
        hash.update(config_digest(config).as_bytes());
    }
    hash.finalize().to_hex()[..32].to_owned()
}

fn name_and_kind(config: &ProviderConfig) -> (String, String) {
    (config.name.clone(), config.kind.capabilities().kind.to_owned())
}

impl Desired {
    /// What manifests ask for that were found within `reach`, whose namespace comes before their names.
    pub fn new(mut model: Model, reach: Reach) -> Self {
        if let Some(namespace) = &reach.namespace {
            for manifest in &mut model.manifests {
                manifest.name = format!("{namespace}:{}", manifest.name);
                manifest.namespace = Some(namespace.clone());
            }
        }
        let config_digests = model.providers.iter().map(config_digest).collect();
        Self { model, config_digests, reach, inputs: None, since: None }
    }

    /// Identifies what a refusal or a wait of each provider holds for, by index: its configuration, and whose account it is.
    /// Other credentials may have other rights.
    pub fn grounds(&self, accounts: &[String]) -> Vec<String> {
        let ground = |(config, account): (&String, &String)| {
            let mut hash = blake3::Hasher::new();
            hash.update(config.as_bytes()).update(&[0]).update(account.as_bytes());
            hash.finalize().to_hex()[..32].to_owned()
        };
        self.config_digests.iter().zip(accounts).map(ground).collect()
    }

    /// Lets a later run know the manifests again. Of `inputs` digests and files are used; targets that were read are added to
    /// those of their files. Not for manifests about which there was something to say.
    #[must_use]
    pub fn known_by(mut self, mut inputs: Inputs) -> Self {
        let entries = &self.model.entries;
        let mut listed = vec![0; self.model.manifests.len()];
        for entry in 0..entries.len() {
            entries.manifests(entry).iter().for_each(|&manifest| listed[manifest] += 1);
        }
        inputs.files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        for (manifest, count) in self.model.manifests.iter().zip(listed) {
            if let Ok(file) = inputs.files.binary_search_by(|file| file.path.cmp(&manifest.path)) {
                inputs.files[file].targets += count;
            }
        }
        inputs.targets = entries.len() as u64;
        inputs.providers = self.model.providers.iter().map(name_and_kind).collect();
        inputs.configuration = configuration_digest(&self.model.providers);
        self.inputs = Some(inputs);
        self
    }

    /// As [`Desired::known_by`], where lists were passed over since they are as an earlier run noted them: `passed_over` by
    /// manifest, with the targets of their files counted in `inputs`. `None` if all have to be read.
    pub fn known_since(self, inputs: Inputs, noted: Inputs, passed_over: &[bool]) -> Option<Self> {
        let listed_before: u64 = inputs.files.iter().map(|file| file.targets).sum();
        let mut desired = self.known_by(inputs);
        let entries = desired.model.entries.len() as u64;
        let inputs = desired.inputs.as_mut()?;
        inputs.targets = inputs.files.iter().map(|file| file.targets).sum();
        // A target that two manifests list depends on both.
        let is_shared = inputs.targets != listed_before + entries || noted.has_shared_targets();
        // A plan with a directory shows what else is listed below it.
        let collapses = desired.model.manifests.iter().any(|manifest| !manifest.collapse.is_empty());
        if is_shared || collapses || inputs.configuration != noted.configuration {
            return None;
        }
        desired.since = Some(Incremental::new(noted, &desired.model, passed_over));
        Some(desired)
    }

    /// Manifests within `reach` that were not read, since they are as they were when all they ask for was found to be recorded.
    pub fn unread(inputs: Inputs, reach: Reach) -> Self {
        let (model, config_digests) = (Model::default(), Vec::new());
        Self { model, config_digests, reach, inputs: Some(inputs), since: None }
    }

    /// The same to go on with after a run has left work, as long as no other one uses the state. No later run knows it again
    /// where lists were passed over: they may differ by then.
    #[must_use]
    pub fn tried(mut self) -> Self {
        if let Some(since) = &mut self.since {
            since.go_on();
            self.inputs = None;
        }
        self
    }

    /// How many manifests there are.
    pub fn manifests(&self) -> u64 {
        self.inputs.as_ref().map_or(self.model.manifests.len() as u64, |inputs| inputs.files.len() as u64)
    }

    /// How many targets they ask for, at all providers together.
    pub fn targets(&self) -> u64 {
        self.inputs.as_ref().map_or(self.model.entries.len() as u64, |inputs| inputs.targets)
    }

    /// Name and kind of each provider, in order.
    pub fn providers(&self) -> Vec<(String, String)> {
        let read = || self.model.providers.iter().map(name_and_kind).collect();
        self.inputs.as_ref().map_or_else(read, |inputs| inputs.providers.clone())
    }

    /// What a later run knows the manifests by.
    pub fn inputs(&self) -> Option<&Inputs> {
        self.inputs.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{SourceFile, build};

    const UPSTREAM: &str = ", upstream: shield";

    fn desired(manifest: &str, upstream: &str) -> Desired {
        let providers = format!(
            "providers:\n  edge: {{kind: http-purge, endpoints: 'http://127.0.0.1:1'{upstream}}}\n  shield: {{kind: http-purge, \
             endpoints: 'http://127.0.0.1:2'}}\n{manifest}assets: {{}}\n"
        );
        let model = build(&[SourceFile::whole("m.yaml", providers)]).model.unwrap();
        Desired::new(model, Reach::default()).known_by(Inputs::default())
    }

    /// What a provider fetches through decides when its lists are read anew, and nothing about refusals and waits.
    #[test]
    fn upstreams_are_part_of_what_lists_depend_on_alone() {
        let (plain, through) = (desired("", ""), desired("", UPSTREAM));
        assert_eq!(plain.config_digests, through.config_digests);
        assert_ne!(plain.inputs().unwrap().configuration, through.inputs().unwrap().configuration);
    }

    /// What a manifest asks of origins and edges stands in its own bytes.
    #[test]
    fn terms_of_proof_are_part_of_no_digest() {
        let (plain, proven) = (desired("", ""), desired("origin: http://127.0.0.1:3\nverify: true\n", ""));
        assert_eq!(proven.model.proof_terms.len(), 1);
        assert_eq!(plain.config_digests, proven.config_digests);
        assert_eq!(plain.inputs().unwrap().configuration, proven.inputs().unwrap().configuration);
    }
}
