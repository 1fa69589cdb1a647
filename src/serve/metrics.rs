//! Numbers for Prometheus. No names of projects, images or people are among them: anybody may read them.

use std::sync::atomic::AtomicI64;

use axum::http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::build::{Build, Need, State};

/// What is counted.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    builds: Family<StateLabel, Counter>,
    duration: Histogram,
    waiting: Histogram,
    queued: Gauge<i64, AtomicI64>,
    running: Gauge<i64, AtomicI64>,
    requests: Family<StatusLabel, Counter>,
    hooks: Family<OutcomeLabel, Counter>,
    deliveries: Family<DeliveryLabel, Counter>,
    /// Notifications and statuses that have not arrived.
    pub(super) deliveries_pending: Gauge<i64, AtomicI64>,
    /// Bytes of contexts.
    pub(super) uploaded: Counter,
    /// Open streams of events.
    pub(super) streams: Gauge<i64, AtomicI64>,
    /// Open connections.
    pub(super) connections: Gauge<i64, AtomicI64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusLabel {
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DeliveryLabel {
    kind: &'static str,
    outcome: &'static str,
}

impl Metrics {
    pub(super) fn new(budget: Need) -> Self {
        let mut registry = Registry::with_prefix("cooper");
        let metrics = Self {
            builds: Family::default(),
            duration: Histogram::new(exponential_buckets(0.1, 2.0, 16)),
            waiting: Histogram::new(exponential_buckets(0.01, 3.0, 12)),
            queued: Gauge::default(),
            running: Gauge::default(),
            requests: Family::default(),
            hooks: Family::default(),
            deliveries: Family::default(),
            deliveries_pending: Gauge::default(),
            uploaded: Counter::default(),
            streams: Gauge::default(),
            connections: Gauge::default(),
            registry: Registry::default(),
        };
        for state in State::ALL.into_iter().filter(|state| state.is_end()) {
            drop(metrics.builds.get_or_create(&StateLabel { state: state.name() }));
        }
        let millicpus: Gauge<i64, AtomicI64> = Gauge::default();
        millicpus.set(budget.millicpus.into());
        let memory: Gauge<i64, AtomicI64> = Gauge::default();
        memory.set(i64::try_from(budget.memory).unwrap_or(i64::MAX));
        registry.register("builds", "Builds that have ended", metrics.builds.clone());
        registry.register_with_unit(
            "build_duration",
            "From the last beginning of a build to its end",
            Unit::Seconds,
            metrics.duration.clone(),
        );
        registry.register_with_unit(
            "build_waiting",
            "From a request to the first beginning of its build",
            Unit::Seconds,
            metrics.waiting.clone(),
        );
        registry.register("builds_queued", "Builds that wait", metrics.queued.clone());
        registry.register("builds_running", "Builds that run", metrics.running.clone());
        registry.register("budget_millicpus", "Thousandths of processors for builds", millicpus);
        registry.register_with_unit("budget_memory", "Memory for builds", Unit::Bytes, memory);
        registry.register("http_requests", "Requests that were answered", metrics.requests.clone());
        registry.register("hooks", "Webhooks that came", metrics.hooks.clone());
        registry.register(
            "deliveries",
            "Attempts to deliver notifications and statuses",
            metrics.deliveries.clone(),
        );
        registry.register(
            "deliveries_pending",
            "Notifications and statuses that have not arrived",
            metrics.deliveries_pending.clone(),
        );
        registry.register_with_unit(
            "uploaded",
            "Contexts that came with requests",
            Unit::Bytes,
            metrics.uploaded.clone(),
        );
        registry.register("event_streams", "Open streams of events", metrics.streams.clone());
        registry.register("connections", "Open connections", metrics.connections.clone());
        Self { registry, ..metrics }
    }

    pub(super) fn begun(&self, build: &Build) {
        if build.attempts == 1
            && let Some(started) = build.started_at
        {
            self.waiting.observe(started.seconds_since(build.created_at));
        }
    }

    pub(super) fn ended(&self, build: &Build) {
        self.builds.get_or_create(&StateLabel { state: build.state.name() }).inc();
        if let (Some(started), Some(ended)) = (build.started_at, build.ended_at) {
            self.duration.observe(ended.seconds_since(started));
        }
    }

    pub(super) fn answered(&self, status: StatusCode) {
        self.requests.get_or_create(&StatusLabel { status: status.as_u16() }).inc();
    }

    /// A webhook came: `accepted`, `known`, `ignored` or `refused`.
    pub(super) fn hook(&self, outcome: &'static str) {
        self.hooks.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// An attempt to deliver something: `delivered`, `failed` or `given-up`.
    pub(super) fn delivery(&self, kind: super::deliver::Kind, outcome: &'static str) {
        self.deliveries.get_or_create(&DeliveryLabel { kind: kind.name(), outcome }).inc();
    }

    /// All of it in the format of OpenMetrics.
    pub(super) fn text(&self, queued: i64, running: i64) -> Result<String, std::fmt::Error> {
        self.queued.set(queued);
        self.running.set(running);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
