//! Why an entry was set aside: a stable code, a sentence, and whether waiting may help.

use waystation_protocol::codec::CodecError;
use waystation_protocol::document::fold::Refusal;

/// Why an entry was not applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reason {
    pub(crate) code: &'static str,
    pub(crate) text: String,
    pub(crate) is_parked: bool,
}

impl Reason {
    /// Its bytes are no entry. Which document it meant is unknown, so nothing waits behind it.
    pub(super) fn undecodable(error: &CodecError) -> Reason {
        Reason { code: "undecodable", text: format!("the bytes are no entry: {error}"), is_parked: false }
    }

    /// Its id stands on the document with other bytes.
    pub(super) fn same_id() -> Reason {
        let text = "another entry with the same id came before".to_owned();
        Reason { code: "same_id", text, is_parked: false }
    }

    /// An earlier entry of its document and journal is set aside.
    pub(super) fn behind() -> Reason {
        let text = "an earlier entry of this document was set aside".to_owned();
        Reason { code: "behind", text, is_parked: true }
    }

    /// The entry whose effect it is was set aside.
    pub(super) fn cause() -> Reason {
        Reason { code: "cause", text: "the entry that caused it was set aside".to_owned(), is_parked: true }
    }

    /// Our own code failed on it: a defect, but of no concern to other documents.
    pub(super) fn defect() -> Reason {
        let text = "the hub failed on this entry; please report it".to_owned();
        Reason { code: "defect", text, is_parked: false }
    }
}

impl From<Refusal> for Reason {
    fn from(refusal: Refusal) -> Reason {
        Reason { code: refusal.code(), text: refusal.to_string(), is_parked: refusal.may_pass() }
    }
}

/// Whether an entry set aside for this reason is worth another try after a restart.
pub(super) fn may_pass_with_a_newer_build(code: &str) -> bool {
    matches!(code, "unknown_kind" | "newer_form")
}
