//! Why an entry was set aside: a stable code, a sentence in each language, and whether waiting may help.
//!
//! Codes are for programs and never change; sentences are for people and may.

use waystation_protocol::PROTOCOL_VERSION;
use waystation_protocol::codec::CodecError;
use waystation_protocol::document::fold::Refusal;
use waystation_protocol::id::EntryId;

/// Its id stands on the document with other bytes.
pub(crate) const SAME_ID: &str = "same_id";
/// Another entry follows what it follows.
pub(crate) const SUPERSEDED: &str = "superseded";
/// What it follows, what caused it or what opened its document was waived.
pub(crate) const RESTS_ON_WAIVED: &str = "rests_on_waived";
/// An earlier entry of its document and journal is set aside.
pub(crate) const BEHIND: &str = "behind";
/// Its bytes are no entry.
pub(crate) const UNDECODABLE: &str = "undecodable";
/// The entry whose effect it is is set aside.
pub(crate) const CAUSE: &str = "cause";
/// It belongs to a branch that no journal holds.
pub(crate) const BRANCH: &str = "branch";

/// Why an entry was not applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reason {
    pub(crate) code: String,
    pub(crate) zh: String,
    pub(crate) en: String,
    pub(crate) is_parked: bool,
}

impl Reason {
    fn new(code: &str, zh: impl Into<String>, en: impl Into<String>) -> Reason {
        Reason { code: code.to_owned(), zh: zh.into(), en: en.into(), is_parked: false }
    }

    fn parked(code: &str, zh: impl Into<String>, en: impl Into<String>) -> Reason {
        Reason { is_parked: true, ..Reason::new(code, zh, en) }
    }

    /// Its journal went on without it. Where it belongs, a person decides, unless some journal brings it.
    pub(super) fn branch() -> Reason {
        Reason::new(
            BRANCH,
            "属于另一支：它的流水没有它而继续了。采集端若重新送来即自动收下；否则请重新判定或放弃",
            "its journal went on without it; it is taken by itself if an agent brings it in a journal, else replay or waive it",
        )
    }

    /// Its bytes are no entry. Which document it meant is unknown, so nothing waits behind it.
    pub(super) fn undecodable(error: &CodecError) -> Reason {
        let zh = match error {
            CodecError::TooLarge { bytes, limit } => format!("{bytes} 字节，超过上限 {limit}"),
            CodecError::Shape { at, .. } => format!("第 {at} 字节起不合编码规则"),
            CodecError::Value(_) => "编码无误，但缺少应有的部分".to_owned(),
        };
        Reason::new(UNDECODABLE, format!("内容不是一条记录：{zh}"), format!("the bytes are no entry: {error}"))
    }

    /// It came in a frame of a newer protocol. Whatever its bytes seem to say, this build cannot know what they mean:
    /// that is no damage, and a newer build takes it up by itself.
    pub(super) fn newer_protocol(found: u8) -> Reason {
        Reason::parked(
            "newer_protocol",
            format!("来自更新的协议版本 {found}，本中心只懂到 {PROTOCOL_VERSION}；升级后自动处理"),
            format!("it came in protocol {found}, newer than {PROTOCOL_VERSION}, the newest known here"),
        )
    }

    pub(super) fn same_id() -> Reason {
        Reason::new(SAME_ID, "同一标识之前已有另一条记录", "another entry with the same id came before")
    }

    pub(super) fn behind() -> Reason {
        let en = "an earlier entry of this document was set aside";
        Reason::parked(BEHIND, "同一单据有更早的记录被搁置", en)
    }

    pub(super) fn cause() -> Reason {
        Reason::parked(CAUSE, "引发它的那条记录被搁置", "the entry that caused it was set aside")
    }

    pub(super) fn rests_on_waived(waived: EntryId) -> Reason {
        Reason::new(
            RESTS_ON_WAIVED,
            format!("它所依据的记录 {waived} 已放弃"),
            format!("it rests on entry {waived}, which was waived"),
        )
    }

    /// Our own code failed on it: a defect, but of no concern to other documents.
    pub(super) fn defect() -> Reason {
        let en = "the hub failed on this entry; please report it";
        Reason::new("defect", "中心处理这条记录时出错，请报告", en)
    }

    /// A fix of what cannot be read.
    pub(super) fn unreadable_fix() -> Reason {
        let en = "its bytes are no entry, so nothing can stand for it; waive it, or replay it after an upgrade";
        Reason::new("unreadable", "内容不是一条记录，无法修正；可放弃，或升级后重新判定", en)
    }

    /// A fix would turn a note into a step, or a step into a note.
    pub(super) fn other_sort() -> Reason {
        let en = "a note cannot stand for a step, nor a step for a note";
        Reason::new("other_sort", "备注不能代替操作，操作也不能代替备注", en)
    }

    /// Its stored bytes cannot be read back.
    pub(super) fn damaged() -> Reason {
        let en = "its stored bytes are damaged; restore a backup, or waive it";
        Reason::new("damaged", "存储的内容已损坏；请恢复备份，或放弃这条记录", en)
    }

    /// A resolution of what is not set aside any more.
    pub(super) fn settled() -> Reason {
        Reason::new("settled", "这条记录已不在隔离区", "the entry is no longer set aside")
    }

    /// The reason as it was, for an entry that lost against a rival.
    pub(super) fn outranked(code: &str, after: Option<EntryId>) -> Reason {
        match (code, after) {
            (SUPERSEDED, Some(after)) => Refusal::Superseded { after }.into(),
            _ => Reason::same_id(),
        }
    }
}

impl From<Refusal> for Reason {
    fn from(refusal: Refusal) -> Reason {
        let zh = match &refusal {
            Refusal::UnknownKind(kind) => format!("本中心不认识单据类型“{kind}”；升级后自动处理"),
            Refusal::NewerForm { kind, found, known } => {
                format!("“{kind}”的表单版本 {found} 比本中心所知的 {known} 新；升级后自动处理")
            }
            Refusal::Ahead => "它所接续的记录还没有到达".to_owned(),
            Refusal::Superseded { after } => format!("已被取代：{after} 之后已有另一条记录"),
            Refusal::Mismatch(why) => format!("与单据不符：{}", mismatch_zh(why)),
            Refusal::UnknownAct { kind, act } => format!("“{kind}”没有操作“{act}”"),
            Refusal::WrongState { act, state } => format!("状态“{state}”下不能执行“{act}”"),
            Refusal::NoPen { holder } => format!("记录方不是执笔方，执笔方是 {holder}"),
            Refusal::HubsAct { act } => format!("操作“{act}”只能由中心人员执行，不论执笔方是谁"),
            Refusal::UnknownField(field) => format!("没有字段“{field}”"),
            Refusal::WrongType { field, expected } => {
                format!("字段“{field}”的值类型不符，应为{}", expected.expectation_zh())
            }
            Refusal::WrongSite => "未注明网点，或记录方不代表该网点".to_owned(),
        };
        Reason { code: refusal.code().to_owned(), zh, en: refusal.to_string(), is_parked: refusal.may_pass() }
    }
}

fn mismatch_zh(why: &'static str) -> &'static str {
    match why {
        "it opens a document that exists" => "它要新建的单据已存在",
        "its document is of another kind" => "单据是另一种类型",
        "a state entry names what it follows" => "没有注明接续哪一条记录",
        _ => "流程有误",
    }
}

/// Whether an entry set aside for this reason is worth another try after a restart.
pub(super) fn may_pass_with_a_newer_build(code: &str) -> bool {
    matches!(code, "unknown_kind" | "newer_form" | "newer_protocol")
}

#[cfg(test)]
mod tests {
    use waystation_protocol::value::Type;

    use super::*;

    #[test]
    fn every_reason_speaks_both_languages() {
        let id = EntryId::from_bytes([7; 16]);
        let refusals = [
            Refusal::UnknownKind("x".into()),
            Refusal::NewerForm { kind: "x".into(), found: 2, known: 1 },
            Refusal::Ahead,
            Refusal::Superseded { after: id },
            Refusal::Mismatch("its document is of another kind"),
            Refusal::UnknownAct { kind: "x".into(), act: "y".into() },
            Refusal::WrongState { act: "y".into(), state: "z".into() },
            Refusal::NoPen { holder: "the hub".into() },
            Refusal::HubsAct { act: "approve".into() },
            Refusal::UnknownField("x".into()),
            Refusal::WrongType { field: "x".into(), expected: Type::Text },
            Refusal::WrongSite,
        ];
        let own = [
            Reason::undecodable(&CodecError::TooLarge { bytes: 2, limit: 1 }),
            Reason::newer_protocol(9),
            Reason::same_id(),
            Reason::behind(),
            Reason::cause(),
            Reason::rests_on_waived(id),
            Reason::defect(),
            Reason::unreadable_fix(),
            Reason::other_sort(),
            Reason::damaged(),
            Reason::branch(),
            Reason::settled(),
        ];
        for reason in refusals.into_iter().map(Reason::from).chain(own) {
            let is_chinese = |text: &str| text.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c));
            assert!(is_chinese(&reason.zh) && !is_chinese(&reason.en) && !reason.en.is_empty(), "{reason:?}");
        }
    }

    #[test]
    fn only_what_is_newer_than_this_build_waits_for_another() {
        for (code, expected) in [("newer_form", true), ("newer_protocol", true), ("undecodable", false)] {
            assert_eq!(may_pass_with_a_newer_build(code), expected, "{code}");
        }
    }
}
