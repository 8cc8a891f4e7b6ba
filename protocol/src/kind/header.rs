//! What every document has: header fields, and the acts no kind needs to declare.

/// Opens a document from a row of someone else's history, straight into the mapped state.
pub const IMPORTED: &str = "imported";
/// Ends a document; its number is kept.
pub const VOIDED: &str = "void";
/// A remark that changes no state.
pub const NOTE: &str = "note";

crate::fields! {
    pub SITE: Text = "site" "网点" / "Site";
    pub NUMBER: Text = "number" "单号" / "Number", searched;
    pub OCCURRED_AT: Time = "occurred_at" "发生时间" / "Occurred at";
    pub STATE: Text = "state" "状态" / "State";
    pub REASON: Text = "void_reason" "作废原因" / "Reason for voiding";
    pub TEXT: Text = "note_text" "备注" / "Note";
    /// The identity of the imported row: its key columns, or the hash of the whole row.
    pub SOURCE_KEY: Text = "source_key" "来源标识" / "Source key", searched;
    /// Which occurrence of that identity in its file, from 1; absent for the first.
    pub SOURCE_OCCURRENCE: Integer = "source_occurrence" "来源序次" / "Source occurrence";
}
