//! Metrics in the OpenMetrics form, and in the older one of Prometheus.
//!
//! Labels come from closed sets, but for names of providers, which are as many as manifests name: those beyond
//! [`PROVIDERS`] have no series (H5).

use std::collections::BTreeSet;
use std::fmt::Error;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeGaugeValue, EncodeLabelSet, MetricEncoder, NoLabelSet, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::core::report::{ACCEPTED, DURATION_BOUNDS_MS, EdgesReport, ManifestsReport, ProviderReport, Report};
use crate::core::time::Timestamp;

/// Providers that have series, the first by name.
pub(super) const PROVIDERS: usize = 100;

/// The report as OpenMetrics text.
pub(super) fn open_metrics(report: Report, now: Timestamp) -> String {
    let known = report.providers.keys().chain(report.calls.keys().map(|(provider, _)| provider));
    let mut shown: BTreeSet<String> = report.providers.keys().take(PROVIDERS).cloned().collect();
    for name in known {
        if shown.len() < PROVIDERS {
            shown.insert(name.clone());
        }
    }
    let mut registry = Registry::with_prefix("freshen");
    registry.register_collector(Box::new(Arc::new(Snapshot { report, now, shown })));
    let mut written = String::new();
    // Writing to a String does not fail, and nothing else here does.
    let _ = text::encode(&mut written, &registry);
    written
}

/// The same in the form that Prometheus reads where OpenMetrics is not asked for: counters are named as their samples are.
pub(super) fn as_prometheus(open_metrics: &str) -> String {
    let mut written = String::with_capacity(open_metrics.len());
    // The kind follows the help text, which the name of a counter changes already.
    let counters: BTreeSet<&str> =
        open_metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    for line in open_metrics.lines().filter(|line| !line.starts_with("# EOF") && !line.starts_with("# UNIT")) {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some(what), Some(name), Some(rest)) if counters.contains(name) => {
                written.push_str(&format!("# {what} {name}_total {rest}\n"));
            }
            _ => written.push_str(&format!("{line}\n")),
        }
    }
    written
}

#[derive(Debug)]
struct Snapshot {
    report: Report,
    now: Timestamp,
    /// Names of providers that have series.
    shown: BTreeSet<String>,
}

impl Collector for Snapshot {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut sheet = Sheet { encoder };
        self.program(&mut sheet)?;
        self.manifests(&mut sheet)?;
        self.runs(&mut sheet)?;
        self.providers(&mut sheet)?;
        self.limits(&mut sheet)?;
        self.calls(&mut sheet)
    }
}

impl Snapshot {
    fn program(&self, sheet: &mut Sheet<'_>) -> Result<(), Error> {
        let build = [([("version", env!("CARGO_PKG_VERSION"))], 1_u64)];
        sheet.gauges("build_info", "Version of the program", build)?;
        let report = &self.report;
        sheet.counter("file_events", "Events of files that mattered", report.events)?;
        sheet.gauge("watched_folders", "Folders that are watched", report.folders as u64)?;
        sheet.gauge(
            "polling",
            "Whether files are looked at every so often in place of events",
            flag(report.polling.is_some()),
        )
    }

    fn manifests(&self, sheet: &mut Sheet<'_>) -> Result<(), Error> {
        let (valid, manifests, targets) = match self.report.manifests {
            ManifestsReport::Valid { manifests, targets } => (true, manifests, targets),
            ManifestsReport::Unread | ManifestsReport::Invalid { .. } => (false, 0, 0),
        };
        sheet.gauge("manifests_valid", "Whether all manifests are valid", flag(valid))?;
        if valid {
            sheet.gauge("manifests", "Manifests", manifests)?;
            sheet.gauge("manifest_targets", "Targets that manifests ask for", targets)?;
        }
        sheet.gauge(
            "refused",
            "Whether a guard refuses what the manifests ask for",
            flag(!self.report.refusals.is_empty()),
        )
    }

    fn runs(&self, sheet: &mut Sheet<'_>) -> Result<(), Error> {
        let report = &self.report;
        sheet.gauge("in_trouble", "Whether the last run could not be made", flag(report.trouble.is_some()))?;
        sheet.gauge("run_active", "Whether a run is under way", flag(report.running.is_some()))?;
        if let Some(run) = &report.running {
            sheet.moment("run_started_timestamp_seconds", "When the run that is under way began", run.since)?;
        }
        if let Some(at) = report.last_success {
            let help = "When a run last went through with nothing left pending";
            sheet.moment("last_success_timestamp_seconds", help, at)?;
        }
        let started = report.started.iter().map(|(reason, count)| ([("reason", *reason)], *count));
        sheet.counters("runs", "Runs by what caused them", started)?;
        let bounds = DURATION_BOUNDS_MS.iter().map(|&bound| seconds(bound.cast_signed())).chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(report.durations.counts).collect();
        let (sum, count) = (seconds(report.durations.sum_ms.cast_signed()), report.durations.counts.iter().sum());
        sheet
            .family("run_duration_seconds", "How long runs took", MetricType::Histogram)?
            .encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn providers(&self, sheet: &mut Sheet<'_>) -> Result<(), Error> {
        let all = self.report.providers.len() as u64;
        sheet.gauge("providers", "Configured providers, with series or without", all)?;
        let shown = || self.report.providers.iter().filter(|(name, _)| self.shown.contains(*name));
        let states = |name: &str, provider: &ProviderReport| {
            let EdgesReport { stale, unverified } = self.report.edges.get(name).copied().unwrap_or_default();
            [
                ("waiting", provider.waiting),
                ("pending", provider.pending),
                ("deferred", provider.deferred),
                ("rejected", provider.rejected),
                ("stale", stale),
                ("unverified", unverified),
            ]
        };
        let targets = shown().flat_map(|(name, provider)| {
            states(name, provider).map(|(state, count)| ([("provider", name.as_str()), ("state", state)], count))
        });
        sheet.gauges(
            "targets",
            "Targets with work that is left, and those that edges were not seen to serve",
            targets,
        )?;
        let age = |oldest: Option<Timestamp>| {
            oldest.map_or(0.0, |oldest| seconds(self.now.unix_ms().saturating_sub(oldest.unix_ms()).max(0)))
        };
        let pending = |provider: &ProviderReport| age(provider.oldest.filter(|_| provider.pending > 0));
        let ages = shown().map(|(name, provider)| ([("provider", name.as_str())], pending(provider)));
        sheet.gauges("oldest_pending_age_seconds", "Time since the oldest pending change was first seen", ages)?;
        let ages = shown().map(|(name, provider)| ([("provider", name.as_str())], age(provider.oldest_waiting)));
        let help = "Time since the oldest change that waits for its origin was first seen";
        sheet.gauges("oldest_waiting_age_seconds", help, ages)?;
        let failures = shown().map(|(name, provider)| ([("provider", name.as_str())], provider.failures));
        sheet.gauges("provider_failures", "Runs in a row that failed at a provider", failures)
    }

    fn limits(&self, sheet: &mut Sheet<'_>) -> Result<(), Error> {
        let shown = || self.report.quotas.iter().filter(|((provider, ..), _)| self.shown.contains(provider));
        let labels = |provider, operation, area| [("provider", provider), ("operation", operation), ("area", area)];
        let left = shown().map(|((provider, operation, area), quota)| {
            (labels(provider.as_str(), operation.as_str(), area.as_str()), quota.left(self.now))
        });
        sheet.gauges("quota_left", "Targets that may still be purged today", left)?;
        let limits = shown().map(|((provider, operation, area), quota)| {
            (labels(provider.as_str(), operation.as_str(), area.as_str()), quota.limit)
        });
        sheet.gauges("quota_limit", "Targets that may be purged a day", limits)?;
        let rates = self.report.rates.iter().filter(|((provider, _), _)| self.shown.contains(provider));
        let rates = rates.map(|((provider, operation), rate)| {
            ([("provider", provider.as_str()), ("operation", *operation)], rate.a_second())
        });
        sheet.gauges("allowed_calls_per_second", "Most calls a second, on average over the period of the vendor", rates)
    }

    fn calls(&self, sheet: &mut Sheet<'_>) -> Result<(), Error> {
        let shown = || self.report.calls.iter().filter(|((provider, _), _)| self.shown.contains(provider));
        let calls = shown().map(|((provider, outcome), count)| {
            ([("provider", provider.as_str()), ("outcome", *outcome)], count.calls)
        });
        sheet.counters("calls", "Calls that ended, by their outcome", calls)?;
        let accepted = shown().filter(|((_, outcome), _)| *outcome == ACCEPTED);
        let accepted = accepted.map(|((provider, _), count)| ([("provider", provider.as_str())], count.targets));
        sheet.counters("accepted_targets", "Targets in calls that were accepted", accepted)?;
        let not_cached = shown().filter(|((_, outcome), _)| *outcome == ACCEPTED).map(|((provider, _), _)| {
            let targets = self.report.not_cached.get(provider).copied().unwrap_or_default();
            ([("provider", provider.as_str())], targets)
        });
        sheet.counters("not_cached_targets", "Targets in accepted calls that were not in the cache", not_cached)
    }
}

/// Writes families one after another.
struct Sheet<'a> {
    encoder: DescriptorEncoder<'a>,
}

impl Sheet<'_> {
    fn family<'s>(&'s mut self, name: &'s str, help: &str, kind: MetricType) -> Result<MetricEncoder<'s>, Error> {
        self.encoder.encode_descriptor(name, help, None, kind)
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> Result<(), Error> {
        self.family(name, help, MetricType::Gauge)?.encode_gauge(&value)
    }

    fn moment(&mut self, name: &str, help: &str, at: Timestamp) -> Result<(), Error> {
        self.family(name, help, MetricType::Gauge)?.encode_gauge(&seconds(at.unix_ms()))
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> Result<(), Error> {
        self.family(name, help, MetricType::Counter)?.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    fn gauges<L: EncodeLabelSet, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, V)>,
    ) -> Result<(), Error> {
        let mut family = self.family(name, help, MetricType::Gauge)?;
        values.into_iter().try_for_each(|(labels, value)| family.encode_family(&labels)?.encode_gauge(&value))
    }

    fn counters<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, u64)>,
    ) -> Result<(), Error> {
        let mut family = self.family(name, help, MetricType::Counter)?;
        values.into_iter().try_for_each(|(labels, value)| {
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)
        })
    }
}

const fn flag(is_so: bool) -> u64 {
    is_so as u64
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds stay far below 2^53")]
const fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}
