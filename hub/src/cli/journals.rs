//! `journals`: what the hub holds of every journal, and what it knows to be missing.

use crate::api::journals::JournalJson;
use crate::store::JournalRow;

/// The journals, for people or as the API gives them.
pub(super) fn told(rows: &[JournalRow], is_json: bool) -> anyhow::Result<String> {
    let journals = rows.iter().map(JournalJson::from);
    if is_json {
        return Ok(serde_json::to_string(&journals.collect::<Vec<_>>())?);
    }
    let lines: Vec<String> = journals.flat_map(lines).collect();
    Ok(if lines.is_empty() { "no agent ever said HELLO".to_owned() } else { lines.join("\n") })
}

/// A journal, and below it what is not as usual.
fn lines(journal: JournalJson) -> Vec<String> {
    let JournalJson { stream, agent, head_seq, stored_seq, processed_seq, prunable_seq, .. } = &journal;
    let word = if journal.is_current { "current" } else { "earlier" };
    let mut lines = vec![format!(
        "{stream}  {word}  agent {agent}  head {head_seq}  stored {stored_seq}  processed {processed_seq}  prunable {prunable_seq}"
    )];
    if let (Some(parent), Some(seq)) = (&journal.parent, journal.branch_seq) {
        lines.push(format!("  branched off {parent} after {seq}: its agent's disk was copied or put back"));
    }
    for lost in &journal.lost {
        let (first, last) = (lost.missing.first, lost.missing.last);
        lines.push(format!("  lost {first}..{last}: deleted at the agent and not here, named {}", lost.named_at));
    }
    if let Some(absent) = &journal.announced_not_here {
        let first = absent.first.map_or_else(String::new, |first| format!("{first}.."));
        lines.push(format!("  announced and not here: {first}{}, since {}", absent.last, absent.announced_at));
    }
    if journal.conflicts > 0 {
        lines.push(format!("  {} batches contradicted it", journal.conflicts));
    }
    lines
}
