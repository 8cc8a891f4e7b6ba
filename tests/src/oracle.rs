//! The oracle: compares what clerks were told with what hub and agents hold. It shares no code with the product.
//!
//! Every confirmed document is at the hub exactly once, as the clerk sent it, with as many acts as were confirmed;
//! nothing is in quarantine; marks meet; agents and hub show equal documents. An opening whose answer was missed may
//! stand at the hub or not, but never twice.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::api::{self, Document, Marks};
use crate::clerk::{self, Confirmed};
use crate::http::Http;
use crate::wait::eventually;

/// Findings shown when a check fails.
const SHOWN: usize = 20;

/// What hub and agents tell, ready to be judged.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// The hub's documents, each with the number of acts applied to it.
    pub hub: Vec<(Document, usize)>,
    /// All agents' documents.
    pub agents: Vec<Document>,
    /// Every agent's journal as the hub knows it.
    pub marks: Vec<Marks>,
}

/// Waits until no agent has anything unsent and the hub has processed every entry of their journals.
///
/// # Panics
///
/// After `limit`, with what was still awaited.
pub fn settled(hub: &Http, agents: &[Http], limit: Duration) {
    eventually(limit, "agents and hub to settle", || {
        let mut heads = 0;
        for agent in agents {
            let status = clerk::status(agent)?;
            if status["unsent"] != 0 {
                return Err(format!("an agent has unsent entries: {status}"));
            }
            heads += status["head_seq"].as_u64().ok_or_else(|| format!("no head_seq: {status}"))?;
        }
        let marks = api::marks(hub)?;
        let processed: u64 = marks.iter().map(|marks| marks.processed).sum();
        if processed == heads { Ok(()) } else { Err(format!("agents captured {heads} entries, the hub has {marks:?}")) }
    });
}

/// Asks hub and agents for everything and judges it against what was `confirmed`.
///
/// # Panics
///
/// On any finding, showing the first of them.
pub fn check(hub: &Http, agents: &[Http], confirmed: &[Confirmed]) {
    let mut findings = match gather(hub, agents) {
        Ok(evidence) => judge(confirmed, &evidence),
        Err(reason) => vec![reason],
    };
    let count = findings.len();
    findings.truncate(SHOWN);
    assert!(count == 0, "the oracle has {count} findings:\n{}", findings.join("\n"));
}

/// The findings, empty if all is well.
pub fn judge(confirmed: &[Confirmed], evidence: &Evidence) -> Vec<String> {
    let mut findings = each_once(&evidence.hub);
    let by_id: BTreeMap<&str, &(Document, usize)> =
        evidence.hub.iter().map(|entry| (entry.0.id.as_str(), entry)).collect();
    for told in confirmed {
        match by_id.get(told.id.as_str()) {
            Some((document, acts)) => findings.extend(as_told(told, document, *acts)),
            None => findings.push(format!("{} ({}) was confirmed and is missing", told.id, told.tag)),
        }
    }
    for marks in &evidence.marks {
        if marks.quarantined != 0 || marks.stored != marks.head || marks.processed != marks.head {
            findings.push(format!("the marks do not meet, or entries are in quarantine: {marks:?}"));
        }
    }
    let acts: u64 = evidence.hub.iter().map(|(_, acts)| *acts as u64).sum();
    let processed: u64 = evidence.marks.iter().map(|marks| marks.processed).sum();
    if acts != processed {
        findings.push(format!("{processed} entries were processed, the documents hold {acts}"));
    }
    findings.extend(same(&evidence.agents, &by_id));
    findings
}

fn gather(hub: &Http, agents: &[Http]) -> Result<Evidence, String> {
    let mut evidence = Evidence { marks: api::marks(hub)?, ..Evidence::default() };
    for document in api::documents(hub)? {
        let acts = api::history_length(hub, &document.id)?;
        evidence.hub.push((document, acts));
    }
    for agent in agents {
        evidence.agents.extend(api::documents(agent)?);
    }
    Ok(evidence)
}

/// No id twice, and no clerk's tag twice: the latter would be one capture applied as two.
fn each_once(documents: &[(Document, usize)]) -> Vec<String> {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for (document, _) in documents {
        *seen.entry(&document.id).or_insert(0) += 1;
        if let Some(tag) = document.fields.get("symptom").and_then(|symptom| symptom.as_str()) {
            *seen.entry(tag).or_insert(0) += 1;
        }
    }
    let twice = seen.into_iter().filter(|(_, count)| *count > 1);
    twice.map(|(name, count)| format!("{name} is at the hub {count} times")).collect()
}

fn as_told(told: &Confirmed, document: &Document, acts: usize) -> Option<String> {
    let is = |field: &str, text: &str| document.fields.get(field).is_some_and(|value| value == text);
    let state = if acts == 1 { "checked_in" } else { "estimated" };
    let good = document.kind == "repair_order"
        && is("symptom", &told.tag)
        && is("category", "Laptop")
        && is("pre_inspection", "外观完好")
        && document.state == state
        && (document.fields.contains_key("promised_at") == (acts > 1));
    let counted = acts == told.acts || (told.has_doubt && acts == told.acts + 1);
    (!good || !counted).then(|| format!("not as confirmed: told {told:?}, found {acts} acts on {document:?}"))
}

fn same(agents: &[Document], hub: &BTreeMap<&str, &(Document, usize)>) -> Vec<String> {
    let mut findings = Vec::new();
    for own in agents {
        let theirs = hub.get(own.id.as_str()).map(|(document, _)| document);
        if theirs != Some(own) {
            findings.push(format!("agent and hub differ: {own:?}, {theirs:?}"));
        }
    }
    if agents.len() != hub.len() {
        findings.push(format!("agents show {} documents, the hub {}", agents.len(), hub.len()));
    }
    findings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn order(id: &str, tag: &str, acts: usize) -> (Document, usize) {
        let mut fields = json!({"symptom": tag, "category": "Laptop", "pre_inspection": "外观完好"});
        if acts > 1 {
            fields["promised_at"] = json!("2026-11-20 18:00");
        }
        let (site, kind) = ("3701".to_owned(), "repair_order".to_owned());
        let state = if acts > 1 { "estimated" } else { "checked_in" }.to_owned();
        let fields = fields.as_object().cloned().unwrap();
        (Document { id: id.to_owned(), kind, site, state, fields }, acts)
    }

    /// Two confirmed orders, one of them with an act in doubt that counted, and one whose opening was not answered.
    fn good() -> (Vec<Confirmed>, Evidence) {
        let told = |id: &str, tag: &str, acts, has_doubt| Confirmed { id: id.into(), tag: tag.into(), acts, has_doubt };
        let hub = vec![order("1", "a", 2), order("2", "b", 2), order("3", "c", 1)];
        let agents = hub.iter().map(|(document, _)| document.clone()).collect();
        let marks = vec![Marks { head: 5, stored: 5, processed: 5, quarantined: 0 }];
        (vec![told("1", "a", 2, false), told("2", "b", 1, true)], Evidence { hub, agents, marks })
    }

    fn check(plant: impl FnOnce(&mut Evidence), expected: &str) {
        let (confirmed, mut evidence) = good();
        plant(&mut evidence);
        let findings = judge(&confirmed, &evidence).join("\n");
        assert!(findings.contains(expected), "expected '{expected}' in: {findings}");
    }

    #[test]
    fn a_good_hub_is_acquitted() {
        let (confirmed, evidence) = good();
        assert_eq!(judge(&confirmed, &evidence), Vec::<String>::new());
    }

    #[test]
    fn every_planted_fault_is_found() {
        check(|found| drop(found.hub.remove(0)), "1 (a) was confirmed and is missing");
        check(|found| found.hub.push(order("9", "a", 2)), "a is at the hub 2 times");
        check(|found| found.hub.push(order("1", "z", 2)), "1 is at the hub 2 times");
        check(|found| found.hub[0].1 = 3, "not as confirmed");
        check(|found| found.hub[0] = order("1", "a", 1), "not as confirmed");
        check(|found| found.hub[0].0.fields["category"] = json!("Phone"), "not as confirmed");
        check(|found| found.hub[1].0.state = "void".into(), "not as confirmed");
        check(|found| found.hub[2].1 = 2, "5 entries were processed, the documents hold 6");
        check(|found| found.marks[0].quarantined = 1, "in quarantine");
        check(|found| found.marks[0].stored = 4, "the marks do not meet");
        check(|found| found.agents[2].state = "void".into(), "agent and hub differ");
        check(|found| drop(found.agents.pop()), "agents show 2 documents");
    }
}
