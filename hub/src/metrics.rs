//! Prometheus text: what the store counts, what agents said, and whether the hub is connected.
//!
//! Read at each scrape; nothing is kept here. No names of people or contents of documents.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use waystation_protocol::room::Room;
use waystation_protocol::time::Timestamp;

use crate::board::{self, Site};
use crate::store::{Store, StoreError, Totals};

/// The media type of the text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The one counter that also falls.
const GAUGE: &str = "queued_bytes";

#[derive(Debug)]
struct Snapshot {
    counters: Vec<(&'static str, u64)>,
    totals: Totals,
    room: Option<Room>,
    sites: Vec<Site>,
    is_connected: bool,
    drops: Option<u64>,
    now: Timestamp,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct SiteLabel {
    site: String,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StateLabel {
    state: String,
}

/// The text as of `now`; `drops` are the embedded broker's, where there is one.
///
/// # Errors
///
/// The store fails.
pub fn text(store: &Store, is_connected: bool, drops: Option<u64>, now: Timestamp) -> Result<String, StoreError> {
    let snapshot = Snapshot {
        counters: store.counters().all(),
        totals: store.totals()?,
        room: store.room().ok(),
        sites: board::sites(&store.sites()?, &store.agents()?, now),
        is_connected,
        drops,
        now,
    };
    let mut registry = Registry::with_prefix("waystation_hub");
    registry.register_collector(Box::new(snapshot));
    let mut text = String::new();
    text::encode(&mut text, &registry).expect("a string takes every line");
    Ok(text)
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        for (name, value) in &self.counters {
            let help = format!("{} since the start", name.replace('_', " "));
            if *name == GAUGE {
                gauge(&mut encoder, name, "Bytes that arrived and are not yet committed", *value as i64)?;
            } else {
                counter(&mut encoder, name, &help, *value)?;
            }
        }
        if let Some(drops) = self.drops {
            counter(&mut encoder, "broker_dropped_messages", "Messages the embedded broker dropped", drops)?;
        }
        gauge(
            &mut encoder,
            "broker_connected",
            "1 while the connection to the broker stands",
            self.is_connected.into(),
        )?;
        if let Some(room) = self.room {
            let short = "1 while the disk is short of room and nothing new is taken";
            gauge(&mut encoder, "disk_short", short, room.is_short().into())?;
            gauge(&mut encoder, "disk_free_bytes", "Room left, the reserve not counted", room.free as i64)?;
        }
        let totals = self.totals;
        for (name, help, value) in [
            ("entries", "Entries committed", totals.stored),
            ("entries_done", "Entries applied, quarantined or parked", totals.processed),
            ("documents", "Documents", totals.documents),
            ("quarantine", "Entries in quarantine", totals.quarantined),
            ("parked", "Entries that wait for another", totals.parked),
        ] {
            gauge(&mut encoder, name, help, value as i64)?;
        }
        self.encode_sites(&mut encoder)
    }
}

impl Snapshot {
    fn encode_sites(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        type Read = fn(&Site, Timestamp) -> Option<i64>;
        let columns: [(&str, &str, Read); 6] = [
            ("site_backlog", "Entries announced and not yet here", |site, _| Some(site.backlog as i64)),
            ("site_oldest_unsent_seconds", "Age of the oldest of them", |site, _| {
                Some(site.oldest_unsent_ms as i64 / 1000)
            }),
            ("site_quarantined", "Entries in quarantine", |site, _| Some(site.quarantined as i64)),
            ("site_clock_offset_ms", "The agent's clock minus the hub's", |site, _| site.clock_offset_ms),
            ("site_clock_steps", "Steps of its agents' clocks", |site, _| Some(site.clock_steps as i64)),
            ("site_silence_seconds", "Time since anything was heard", |site, now| {
                site.last_seen.map(|at| (now.0 - at.0).max(0) / 1000)
            }),
        ];
        for (name, help, read) in columns {
            let rows = self.sites.iter().filter_map(|site| {
                let label = SiteLabel { site: site.site.to_string() };
                read(site, self.now).map(|value| (label, value))
            });
            family(encoder, name, help, rows)?;
        }
        let states = board::State::ALL.iter().map(|state| {
            let count = self.sites.iter().filter(|site| site.state == *state).count();
            (StateLabel { state: state.name().to_owned() }, count as i64)
        });
        family(encoder, "sites", "Sites by state", states)
    }
}

fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> Result<(), std::fmt::Error> {
    let metric = ConstCounter::new(value);
    metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: i64) -> Result<(), std::fmt::Error> {
    let metric = ConstGauge::new(value);
    metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
}

fn family<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    rows: impl Iterator<Item = (L, i64)>,
) -> Result<(), std::fmt::Error> {
    let mut rows = rows.peekable();
    if rows.peek().is_none() {
        return Ok(());
    }
    let kind = ConstGauge::new(0i64).metric_type();
    let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
    for (label, value) in rows {
        ConstGauge::new(value).encode(metric.encode_family(&label)?)?;
    }
    Ok(())
}
