//! What every document has: header fields, and the acts no kind needs to declare.

/// Opens a document from a row of someone else's history, straight into the mapped state.
pub const IMPORTED: &str = "imported";
/// Ends a document; its number is kept.
pub const VOIDED: &str = "void";
/// The hub takes the pen of a document whose outlet cannot act any more; the state stays.
pub const RECLAIMED: &str = "reclaim";
/// The hub gives the pen it holds to the document's site, or to the one named; the state stays.
pub const HANDED_OVER: &str = "hand_over";
/// A remark that changes no state.
pub const NOTE: &str = "note";

crate::fields! {
    pub SITE: Text = "site" "网点" / "Site";
    pub NUMBER: Text = "number" "单号" / "Number", searched;
    pub OCCURRED_AT: Time = "occurred_at" "发生时间" / "Occurred at";
    pub STATE: Text = "state" "状态" / "State";
    pub REASON: Text = "void_reason" "作废原因" / "Reason for voiding";
    pub RECLAIM_REASON: Text = "reclaim_reason" "收回原因" / "Reason for reclaiming";
    /// Where the pen goes when the hub hands it over; the document's own site where absent.
    pub PEN_SITE: Text = "pen_site" "移交网点" / "Handed over to";
    pub TEXT: Text = "note_text" "备注" / "Note";
    /// The identity of the imported row: its key columns, or the hash of the whole row.
    pub SOURCE_KEY: Text = "source_key" "来源标识" / "Source key", searched;
    /// Which occurrence of that identity in its file, from 1; absent for the first.
    pub SOURCE_OCCURRENCE: Integer = "source_occurrence" "来源序次" / "Source occurrence";
}
