//! What was salvaged of a damaged store, told to people and programs.

use serde_json::{Value, json};
use waystation_protocol::document::capture::Problem;

use crate::store::Salvage;

/// How many ranges a sentence names; the report names all.
const RANGES_SHOWN: usize = 5;

/// As the status tells it.
pub(super) fn json(salvage: &Salvage) -> Value {
    json!({
        "damaged": salvage.damaged,
        "report": salvage.report,
        "reason": salvage.reason,
        "entries_kept": salvage.kept,
        "entries_moved": salvage.moved,
        "lost": salvage.lost,
        "without_document": salvage.without_document,
        "is_new_agent": salvage.is_new_agent,
        "is_complete": salvage.is_complete(),
    })
}

/// What was salvaged, in a sentence. Ranges beyond the first few stand in the report alone.
pub(super) fn problem(salvage: &Salvage) -> Problem {
    let Salvage { damaged, report, .. } = salvage;
    if salvage.is_complete() {
        return Problem::whole(
            format!("本机数据文件曾损坏，全部记录已救回；损坏的文件留作 {damaged}。知悉后请执行 dismiss"),
            format!(
                "the store was damaged and all of it was salvaged; the damaged file is kept as {damaged}: dismiss this once it is known"
            ),
        );
    }
    if salvage.is_new_agent {
        return Problem::whole(
            format!("本机数据文件已损坏，身份读不出，已作为新终端重新开始；损坏的文件留作 {damaged}，详情见 {report}"),
            format!(
                "the store was damaged beyond knowing who this agent was, and began anew; the damaged file is kept as {damaged}, the report is {report}"
            ),
        );
    }
    let ranges = missing(salvage);
    Problem::whole(
        format!("本机数据文件曾损坏，下列记录未能读出：{ranges}；详情见 {report}，损坏的文件留作 {damaged}"),
        format!(
            "the store was damaged and these entries could not be read: {ranges}; see {report}; the damaged file is kept as {damaged}"
        ),
    )
}

/// The first ranges that could not be read.
fn missing(salvage: &Salvage) -> String {
    let all = salvage.lost.iter().chain(&salvage.without_document);
    let shown = all.clone().take(RANGES_SHOWN).map(|range| {
        if range.first == range.last { range.first.to_string() } else { format!("{}–{}", range.first, range.last) }
    });
    let more = if all.count() > RANGES_SHOWN { " …" } else { "" };
    shown.collect::<Vec<_>>().join(", ") + more
}

#[cfg(test)]
mod tests {
    use waystation_protocol::chain::{Seq, SeqRange};
    use waystation_protocol::time::Timestamp;

    use super::*;

    #[test]
    fn the_sentence_names_what_is_missing_in_both_languages() {
        let check = |lost: &[(u64, u64)], is_new_agent: bool, zh: &str, en: &str| {
            let range = |(first, last): &(u64, u64)| SeqRange { first: Seq(*first), last: Seq(*last) };
            let salvage = Salvage {
                damaged: "store.redb.damaged-x".into(),
                report: "salvage-x.json".into(),
                written_at: Timestamp(0),
                reason: "a page".into(),
                kept: 9,
                moved: 0,
                lost: lost.iter().map(range).collect(),
                without_document: vec![],
                is_new_agent,
            };
            let told = problem(&salvage);
            assert!(told.zh.contains(zh) && told.en.contains(en), "{told:?}");
            assert!(told.zh.contains("store.redb.damaged-x") && told.en.contains("store.redb.damaged-x"), "{told:?}");
        };
        check(&[], false, "全部记录已救回", "all of it was salvaged");
        check(&[(3, 3), (7, 9)], false, "3, 7–9", "could not be read: 3, 7–9; see salvage-x.json");
        check(&[(1, 1); 9], false, "1, 1, 1, 1, 1 …", "1, 1, 1, 1, 1 …");
        check(&[], true, "新终端", "began anew");
    }
}
