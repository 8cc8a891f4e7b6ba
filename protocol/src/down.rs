//! Entries that stand on no document: receipts, commands and their results, the marker of a rehydration, and steps of a clock.
//!
//! Each is an opening entry of a kind that no build folds. They travel in the downward journal, results and steps in the
//! upward one. Both ends build and read them here, so that names are shared; what does not read is for a newer build.

use std::collections::BTreeMap;

use crate::chain::{Mark, Seq};
use crate::entry::Entry;
use crate::id::{DocId, EntryId, StreamId};
use crate::time::Timestamp;
use crate::value::Value;

/// The kind of a receipt.
pub const RECEIPT: &str = "receipt";
/// The kind of a form definition ([`crate::definition`]).
pub const FORM: &str = "form";
/// The kind of a command.
pub const COMMAND: &str = "command";
/// The kind of a command's result; it travels upward.
pub const COMMAND_RESULT: &str = "command_result";
/// The kind of an event: the clock of the capturing machine made a step. It travels upward.
pub const CLOCK_STEP: &str = "clock_step";
/// The kind of the marker after a rehydration.
pub const REHYDRATED: &str = "rehydrated";

/// Who is named as the author of what the hub itself says.
pub const HUB_AUTHOR: &str = "hub";

/// Before each field that stands for a captured one, in a receipt of a fix.
const FIXED_FIELDS: &str = "fields.";

/// Whether an entry of this kind stands on a document.
pub fn is_on_document(kind: &str) -> bool {
    ![RECEIPT, FORM, COMMAND, COMMAND_RESULT, CLOCK_STEP, REHYDRATED].contains(&kind)
}

/// The id and the time of an entry about to be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Its id.
    pub id: EntryId,
    /// Wall time where it is built.
    pub now: Timestamp,
}

/// What became of an entry that was not simply applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Set aside until a person looks.
    Quarantined,
    /// Set aside until something arrives.
    Parked,
    /// Applied after all, by itself.
    Released,
    /// Applied with other values than the captured ones.
    Fixed,
    /// Given up by a person.
    Waived,
    /// Applied after a person asked.
    Replayed,
}

/// What stands for what was captured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Amended {
    /// The act.
    pub act: String,
    /// All its fields.
    pub set: BTreeMap<String, Value>,
}

/// Who decided about an entry that was set aside, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// Who.
    pub by: String,
    /// Why.
    pub why: String,
}

/// Tells an agent what became of an entry of its journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The entry; none where its bytes could not be read.
    pub entry: Option<EntryId>,
    /// Its document, where known.
    pub document: Option<DocId>,
    /// The journal that holds it.
    pub stream: StreamId,
    /// Its place there.
    pub seq: Seq,
    /// What became of it.
    pub fate: Fate,
    /// The reason's stable name.
    pub code: String,
    /// The reason in Chinese.
    pub zh: String,
    /// The reason in English.
    pub en: String,
    /// Of a fix: what stands for the captured act and fields.
    pub amended: Option<Amended>,
    /// Where a person decided: a hub that came back older learns it again from here.
    pub resolved: Option<Resolved>,
}

/// Something an agent is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// What.
    pub name: String,
    /// With what, as text that only the command itself reads.
    pub args: String,
    /// The last moment to do it, by the hub's clock.
    pub not_after: Timestamp,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Done,
    /// The agent does not do it.
    Refused,
    /// It came too late.
    Expired,
}

/// What an agent answers to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandResult {
    /// The command's entry.
    pub command: EntryId,
    /// How it ended.
    pub outcome: Outcome,
    /// More, for people.
    pub text: String,
}

/// The wall clock of the capturing machine jumped against its monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockStep {
    /// Milliseconds by which it now shows more; less if negative.
    pub by_ms: i64,
    /// Milliseconds by which it then is thought to be ahead of the hub's; none where they had not been compared.
    pub offset_ms: Option<i64>,
}

/// All that other branches of a journal hold was relayed before this: the agent of the fork may act again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rehydrated {
    /// The fork.
    pub stream: StreamId,
    /// Where it branched off.
    pub at: Mark,
}

impl Fate {
    /// Its word: the receipt's act.
    pub const fn name(self) -> &'static str {
        match self {
            Fate::Quarantined => "quarantined",
            Fate::Parked => "parked",
            Fate::Released => "released",
            Fate::Fixed => "fixed",
            Fate::Waived => "waived",
            Fate::Replayed => "replayed",
        }
    }

    /// The fate of this word.
    pub fn find(name: &str) -> Option<Fate> {
        let all = [Fate::Quarantined, Fate::Parked, Fate::Released, Fate::Fixed, Fate::Waived, Fate::Replayed];
        all.into_iter().find(|fate| fate.name() == name)
    }
}

impl Outcome {
    /// Its word.
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::Done => "done",
            Outcome::Refused => "refused",
            Outcome::Expired => "expired",
        }
    }

    /// The outcome of this word.
    pub fn find(name: &str) -> Option<Outcome> {
        [Outcome::Done, Outcome::Refused, Outcome::Expired].into_iter().find(|outcome| outcome.name() == name)
    }
}

impl Receipt {
    /// Its entry.
    pub fn entry(&self, stamp: Stamp) -> Entry {
        let mut set = texts([
            ("stream", self.stream.to_string()),
            ("code", self.code.clone()),
            ("zh", self.zh.clone()),
            ("en", self.en.clone()),
        ]);
        set.insert("seq".into(), int(self.seq.0));
        set.extend(self.entry.map(|entry| ("entry".into(), entry.to_string().into())));
        set.extend(self.document.map(|document| ("document".into(), document.to_string().into())));
        if let Some(amended) = &self.amended {
            set.insert("act".into(), amended.act.as_str().into());
            let fields = amended.set.iter();
            set.extend(fields.map(|(key, value)| (format!("{FIXED_FIELDS}{key}"), value.clone())));
        }
        if let Some(Resolved { by, why }) = &self.resolved {
            set.extend(texts([("by", by.clone()), ("why", why.clone())]));
        }
        build(RECEIPT, self.fate.name(), set, stamp)
    }

    /// Reads one; none if it is no receipt of this build's.
    pub fn read(entry: &Entry) -> Option<Receipt> {
        let reader = Reader::of(entry, RECEIPT)?;
        let fields = entry.set.iter();
        let fields =
            fields.filter_map(|(key, value)| Some((key.strip_prefix(FIXED_FIELDS)?.to_owned(), value.clone())));
        Some(Receipt {
            entry: reader.text("entry").and_then(|text| text.parse().ok()),
            document: reader.text("document").and_then(|text| text.parse().ok()),
            stream: reader.text("stream")?.parse().ok()?,
            seq: Seq(reader.number("seq")?),
            fate: Fate::find(&entry.act)?,
            code: reader.text("code")?.to_owned(),
            zh: reader.text("zh")?.to_owned(),
            en: reader.text("en")?.to_owned(),
            amended: reader.text("act").map(|act| Amended { act: act.to_owned(), set: fields.collect() }),
            resolved: reader
                .text("by")
                .map(|by| Resolved { by: by.to_owned(), why: reader.text("why").unwrap_or_default().to_owned() }),
        })
    }
}

impl Command {
    /// Its entry.
    pub fn entry(&self, stamp: Stamp) -> Entry {
        let mut set = texts([("name", self.name.clone()), ("args", self.args.clone())]);
        set.insert("not_after".into(), Value::Int(self.not_after.0));
        build(COMMAND, "give", set, stamp)
    }

    /// Reads one; none if it is no command of this build's.
    pub fn read(entry: &Entry) -> Option<Command> {
        let reader = Reader::of(entry, COMMAND)?;
        let not_after = Timestamp(entry.set.get("not_after").and_then(Value::as_int)?);
        Some(Command { name: reader.text("name")?.to_owned(), args: reader.text("args")?.to_owned(), not_after })
    }
}

impl CommandResult {
    /// Its entry, to be captured in the upward journal.
    pub fn entry(&self, stamp: Stamp) -> Entry {
        let outcome = self.outcome.name().to_owned();
        let set = texts([("command", self.command.to_string()), ("outcome", outcome), ("text", self.text.clone())]);
        build(COMMAND_RESULT, "report", set, stamp)
    }

    /// Reads one; none if it is no result of this build's.
    pub fn read(entry: &Entry) -> Option<CommandResult> {
        let reader = Reader::of(entry, COMMAND_RESULT)?;
        Some(CommandResult {
            command: reader.text("command")?.parse().ok()?,
            outcome: Outcome::find(reader.text("outcome")?)?,
            text: reader.text("text")?.to_owned(),
        })
    }
}

impl ClockStep {
    /// Its entry, to be captured in the upward journal.
    pub fn entry(&self, stamp: Stamp) -> Entry {
        let mut set = BTreeMap::from([("by_ms".to_owned(), Value::Int(self.by_ms))]);
        set.extend(self.offset_ms.map(|offset| ("offset_ms".to_owned(), Value::Int(offset))));
        build(CLOCK_STEP, "step", set, stamp)
    }

    /// Reads one; none if it is no step of this build's.
    pub fn read(entry: &Entry) -> Option<ClockStep> {
        let reader = Reader::of(entry, CLOCK_STEP)?;
        let number = |key| reader.0.get(key).and_then(Value::as_int);
        Some(ClockStep { by_ms: number("by_ms")?, offset_ms: number("offset_ms") })
    }
}

impl Rehydrated {
    /// Its entry.
    pub fn entry(&self, stamp: Stamp) -> Entry {
        let mut set = texts([("stream", self.stream.to_string()), ("hash", self.at.hash.to_string())]);
        set.insert("at".into(), int(self.at.seq.0));
        build(REHYDRATED, "done", set, stamp)
    }

    /// Reads one; none if it is no marker of this build's.
    pub fn read(entry: &Entry) -> Option<Rehydrated> {
        let reader = Reader::of(entry, REHYDRATED)?;
        let hash = data_encoding::HEXLOWER.decode(reader.text("hash")?.as_bytes()).ok()?;
        let at = Mark { seq: Seq(reader.number("at")?), hash: crate::chain::Hash::from_slice(&hash)? };
        Some(Rehydrated { stream: reader.text("stream")?.parse().ok()?, at })
    }
}

struct Reader<'a>(&'a BTreeMap<String, Value>);

impl<'a> Reader<'a> {
    fn of(entry: &'a Entry, kind: &str) -> Option<Reader<'a>> {
        (entry.kind == kind && entry.is_opening()).then_some(Reader(&entry.set))
    }

    fn text(&self, key: &str) -> Option<&'a str> {
        self.0.get(key).and_then(Value::as_text)
    }

    fn number(&self, key: &str) -> Option<u64> {
        self.0.get(key).and_then(Value::as_int).and_then(|number| u64::try_from(number).ok())
    }
}

fn texts<const N: usize>(pairs: [(&str, String); N]) -> BTreeMap<String, Value> {
    pairs.into_iter().map(|(key, text)| (key.to_owned(), Value::Text(text))).collect()
}

fn int(number: u64) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

fn build(kind: &str, act: &str, set: BTreeMap<String, Value>, stamp: Stamp) -> Entry {
    Entry {
        id: stamp.id,
        document: None,
        after: None,
        kind: kind.to_owned(),
        form: 1,
        act: act.to_owned(),
        set,
        author: HUB_AUTHOR.to_owned(),
        cause: None,
        occurred_at: stamp.now,
        mono_ms: 0,
        boot: 0,
        clock: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp { id: EntryId::from_bytes([7; 16]), now: Timestamp(1_790_000_000_000) };

    /// Over the wire and back.
    fn sent(entry: Entry) -> Entry {
        assert!(!is_on_document(&entry.kind) && crate::kind::find(&entry.kind).is_none());
        Entry::from_bytes(&entry.to_bytes()).unwrap()
    }

    fn receipt(fate: Fate, amended: Option<Amended>) -> Receipt {
        Receipt {
            entry: Some(EntryId::from_bytes([1; 16])),
            document: Some(DocId::from_bytes([2; 16])),
            stream: StreamId::from_bytes([3; 16]),
            seq: Seq(9),
            fate,
            code: "no_pen".into(),
            zh: "不在本方手中".into(),
            en: "the writer does not hold the pen".into(),
            amended,
            resolved: None,
        }
    }

    #[test]
    fn every_receipt_is_read_as_it_was_written() {
        let fields = BTreeMap::from([("score".to_owned(), Value::Int(80)), ("item#1.lot".to_owned(), Value::Null)]);
        let amended = Amended { act: "answer".into(), set: fields };
        for receipt in [
            receipt(Fate::Quarantined, None),
            receipt(Fate::Parked, None),
            receipt(Fate::Released, None),
            receipt(Fate::Waived, None),
            receipt(Fate::Replayed, None),
            receipt(Fate::Fixed, Some(amended)),
            Receipt {
                resolved: Some(Resolved { by: "王芳".into(), why: "录错".into() }),
                ..receipt(Fate::Waived, None)
            },
            Receipt { entry: None, document: None, ..receipt(Fate::Quarantined, None) },
        ] {
            assert_eq!(Receipt::read(&sent(receipt.entry(STAMP))), Some(receipt));
        }
    }

    #[test]
    fn commands_results_and_markers_are_read_as_they_were_written() {
        let command = Command { name: "resend".into(), args: "{}".into(), not_after: Timestamp(9) };
        assert_eq!(Command::read(&sent(command.entry(STAMP))), Some(command));
        for outcome in [Outcome::Done, Outcome::Refused, Outcome::Expired] {
            let result = CommandResult { command: STAMP.id, outcome, text: "好".into() };
            assert_eq!(CommandResult::read(&sent(result.entry(STAMP))), Some(result));
        }
        for offset_ms in [None, Some(-7), Some(i64::MAX)] {
            let step = ClockStep { by_ms: -3_600_000, offset_ms };
            assert_eq!(ClockStep::read(&sent(step.entry(STAMP))), Some(step));
        }
        let marker = Rehydrated { stream: StreamId::from_bytes([4; 16]), at: Mark::ZERO.extend(b"a") };
        assert_eq!(Rehydrated::read(&sent(marker.entry(STAMP))), Some(marker));
    }

    #[test]
    fn what_lacks_a_part_is_not_read() {
        let mut entry = receipt(Fate::Parked, None).entry(STAMP);
        entry.act = "lost".into();
        assert_eq!(Receipt::read(&entry), None);
        let mut entry = Command { name: "x".into(), args: String::new(), not_after: Timestamp(1) }.entry(STAMP);
        assert_eq!(Receipt::read(&entry), None);
        entry.set.remove("not_after");
        assert_eq!(Command::read(&entry), None);
    }
}
