//! Convergence: every document has the same hash at its agent and at the hub.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use waystation_agent::store::Filter;
use waystation_protocol::codec;
use waystation_protocol::document::Document;
use waystation_protocol::value::Value;

use crate::stage::Stage;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Entries captured at all agents.
    pub(crate) entries: u64,
    /// Entries the hub has stored.
    pub(crate) stored: u64,
    /// Entries the hub has processed.
    pub(crate) processed: u64,
    /// Entries in quarantine.
    pub(crate) quarantined: u64,
    /// Documents at all agents.
    pub(crate) documents: u64,
    /// What differs, in words.
    pub(crate) differences: Vec<String>,
}

/// Waits until the hub has processed everything captured; false after `limit`.
pub(crate) async fn settled(stage: &Stage, limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    let mut changes = stage.hub_store().watch_changes();
    loop {
        let captured: u64 = stage.outlets.iter().map(|outlet| outlet.store().head().seq.0).sum();
        let acknowledged: u64 = stage.outlets.iter().map(|outlet| outlet.store().stored().seq.0).sum();
        let (_, processed) = at_hub(stage).unwrap_or_default();
        // what the hub did itself has come down where every copy is equal
        let is_told = || compare(stage).is_ok_and(|found| found.differences.is_empty());
        if processed == captured && acknowledged == captured && is_told() {
            return true;
        }
        if Instant::now() > deadline {
            eprintln!("not settled: {captured} captured, {acknowledged} acknowledged, {processed} processed");
            return false;
        }
        // A change at the hub wakes this; acknowledgements on their way back do not, so look again soon.
        drop(tokio::time::timeout(Duration::from_millis(100), changes.changed()).await);
    }
}

/// Entries of the outlets that the hub has stored, and processed.
fn at_hub(stage: &Stage) -> anyhow::Result<(u64, u64)> {
    let agents = stage.hub_store().agents()?;
    let sum = |(stored, processed), seqs: (u64, u64)| (stored + seqs.0, processed + seqs.1);
    Ok(agents.iter().map(|agent| (agent.stored_seq.0, agent.processed_seq.0)).fold((0, 0), sum))
}

/// Compares every document; one may be known at more than one outlet.
pub(crate) fn compare(stage: &Stage) -> anyhow::Result<Found> {
    let totals = stage.hub_store().totals()?;
    let (stored, processed) = at_hub(stage)?;
    let mut ids = BTreeSet::new();
    let mut found = Found { stored, processed, quarantined: totals.quarantined + totals.parked, ..Found::default() };
    for outlet in &stage.outlets {
        found.entries += outlet.store().head().seq.0;
        let mut filter = Filter { limit: 500, ..Filter::default() };
        loop {
            let page = outlet.store().documents(&filter)?;
            ids.extend(page.items.iter().map(|document| document.id));
            for own in &page.items {
                match stage.hub_store().document(own.id)? {
                    Some(theirs) if theirs.digest() == own.digest() => {}
                    Some(theirs) => {
                        found.differences.push(format!("{} {}: {}", own.kind, own.id, difference(own, &theirs)))
                    }
                    None => found.differences.push(format!("{} {} is not at the hub", own.kind, own.id)),
                }
            }
            match page.next {
                Some(next) => filter.cursor = Some(next),
                None => break,
            }
        }
    }
    found.documents = ids.len() as u64;
    if found.documents != totals.documents {
        found.differences.push(format!("{} documents at agents, {} at the hub", found.documents, totals.documents));
    }
    Ok(found)
}

/// Alters one document behind the hub's back, so that the comparison has something to find.
pub(crate) fn plant(stage: &Stage) -> anyhow::Result<()> {
    let file = std::fs::read_dir(&stage.hub_folder)?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.extension().is_some_and(|ending| ending == "db" || ending == "sqlite"))
        .context("the hub's database is not in its folder")?;
    let database = rusqlite::Connection::open(file)?;
    database.busy_timeout(Duration::from_secs(10))?;
    let (rowid, body): (i64, Vec<u8>) =
        database.query_row("SELECT rowid, body FROM document LIMIT 1", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut document: Document = codec::decode_own(&body)?;
    document.fields.insert("planted".into(), Value::Flag(true));
    let changed =
        database.execute("UPDATE document SET body = ?1 WHERE rowid = ?2", (codec::encode(&document), rowid))?;
    if changed != 1 {
        bail!("the document to alter is gone");
    }
    Ok(())
}

fn difference(own: &Document, theirs: &Document) -> String {
    if own.state != theirs.state {
        return format!("state {} here, {} at the hub", own.state, theirs.state);
    }
    let keys = own.fields.keys().chain(theirs.fields.keys());
    let differing = keys.into_iter().find(|key| own.fields.get(*key) != theirs.fields.get(*key));
    differing.map_or_else(|| "other than in its fields".to_owned(), |key| format!("field {key}"))
}
