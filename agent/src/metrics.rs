//! Prometheus text at `/metrics`: read from the store and the link at the moment it is asked for.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::api::routes::blocking;
use crate::api::{Fault, Shared};

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// `GET /metrics`
pub async fn show(State(shared): State<Arc<Shared>>) -> Result<Response, Fault> {
    let text = blocking(&shared, |shared| Ok(text(shared))).await?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response())
}

fn text(shared: &Shared) -> String {
    let (store, link) = (&shared.work.store, shared.link.snapshot());
    let (backlog, made, sent) = (store.backlog(), store.counts(), link.counts);
    let now = shared.work.clock.now();
    let oldest_s = backlog.oldest_at.map_or(0.0, |at| (now.0 - at.0).max(0) as f64 / 1000.0);
    let mut registry = Registry::with_prefix("waystation_agent");
    let mut gauge = |name: &str, help: &str, value: f64| registry.register(name, help, ConstGauge::new(value));
    gauge("head_seq", "Entries in the journal", store.head().seq.0 as f64);
    gauge("stored_seq", "Entries the hub confirmed to have stored", store.stored().seq.0 as f64);
    gauge("processed_seq", "Entries the hub has processed", store.processed_and_prunable().0.0 as f64);
    gauge("down_seq", "Entries of the downward journal", store.down().map_or(0, |down| down.head.seq.0) as f64);
    gauge("set_aside", "Entries set aside that may still change", store.count_set_aside().unwrap_or(0) as f64);
    gauge("unsent_entries", "Entries the hub has not confirmed", backlog.entries as f64);
    gauge("unsent_bytes", "Bytes of the entries the hub has not confirmed", backlog.bytes as f64);
    gauge("oldest_unsent_age_seconds", "Age of the oldest entry the hub has not confirmed", oldest_s);
    gauge("connected", "Whether a connection to the broker stands", f64::from(u8::from(link.is_connected)));
    gauge("session_open", "Whether the hub welcomed this session", f64::from(u8::from(link.is_open)));
    gauge("needs_ops", "Whether a person must look", f64::from(u8::from(shared.work.problem(&link).is_some())));
    if let Ok(free) = store.disk_free() {
        gauge("disk_free_bytes", "Bytes free on the store's disk", free as f64);
    }
    if let Some(offset_ms) = link.clock_offset_ms {
        gauge("clock_offset_seconds", "This clock minus the hub's", offset_ms as f64 / 1000.0);
    }
    let mut counter = |name: &str, help: &str, value: u64| registry.register(name, help, ConstCounter::new(value));
    counter("captured_entries", "Entries captured since the start", made.entries);
    counter("clock_steps", "Steps of the clock since the start", store.clock_steps());
    counter("commits", "Durable commits since the start", made.commits);
    counter("pruned_entries", "Entries deleted that the hub has and needs no more", made.pruned);
    counter("connections", "Connections that stood", sent.connections);
    counter("connection_losses", "Attempts that failed and connections that broke", sent.losses);
    counter("client_rebuilds", "Clients rebuilt because nothing was acknowledged", sent.rebuilds);
    counter("sessions", "Sessions the hub welcomed", sent.sessions);
    counter("acks", "Acknowledgements of current sessions", sent.acks);
    counter("batches", "Batches sent, resent ones included", sent.batches);
    counter("sent_bytes", "Bytes of frames sent", sent.bytes_sent);
    counter("frames_dropped", "Frames that were damaged, wrongly signed or out of place", sent.frames_dropped);
    counter("heard_entries", "Entries of the downward journal taken in", sent.heard);
    counter("publishes_refused", "Publishes the broker refused", sent.refusals);
    let mut text = String::new();
    encode(&mut text, &registry).expect("writing to a string does not fail");
    text
}
