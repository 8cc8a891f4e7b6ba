//! Measures the XML of a workbook's part while it is unpacked: how long its tags, texts and cells are.
//!
//! The XML reader below calamine holds a tag, a text or a comment in memory whatever its length, and calamine a cell.
//! So each is measured here first, in constant memory, by the same rules as that reader's (quick-xml's) of where each
//! ends. Pure: bytes in, an excess out.

use super::limits::{MARKUP_BYTES, TAG_BYTES};

/// What no program writes into a workbook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Excess {
    /// A tag beyond its bound.
    Tag,
    /// A text, a comment or a cell beyond its bound.
    Text,
    /// Tags that do not pair, or stand too deep.
    Pairs,
    /// A document type, which may multiply its text.
    Doctype,
    /// Another encoding than UTF-8.
    Encoding,
}

impl Excess {
    /// What it is, as an error names it.
    pub(super) fn what(self) -> &'static str {
        match self {
            Excess::Tag => "holds a tag longer than 32 KiB",
            Excess::Text => "holds a text or a cell longer than 1 MiB",
            Excess::Pairs => "is not well-formed XML",
            Excess::Doctype => "declares a document type",
            Excess::Encoding => "is not in UTF-8",
        }
    }
}

/// Where in the markup a byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Text,
    /// After `<`.
    Opened,
    /// Within a tag, and within which quotes.
    Tag(Option<u8>),
    /// After `<!`.
    Bang,
    /// Within a comment, a CDATA section or an instruction, which ends with this byte, so many times, and `>`.
    Until {
        byte: u8,
        times: u8,
        seen: u8,
    },
}

/// A tag's name with what precedes it, within its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Name {
    bytes: [u8; NAME_BYTES],
    length: usize,
    is_complete: bool,
}

/// Longest name of a tag; the longest of a workbook has 45 bytes.
const NAME_BYTES: usize = 64;
/// Deepest nesting of tags; a workbook's own is 12.
const DEPTH: usize = 64;

/// Measures one part.
#[derive(Debug)]
pub(super) struct Meter {
    state: State,
    /// Bytes of the tag, text or comment so far.
    token: u64,
    name: Name,
    last: u8,
    open: Vec<Name>,
    /// The depth of the cell or shared text this is within, and its bytes so far.
    within: Option<(usize, u64)>,
    /// Whether the cell this is within has a formula, and whether it has a value.
    cell: (bool, bool),
    has_unsaved: bool,
    tags: u64,
}

impl Meter {
    pub(super) fn new() -> Meter {
        let (name, open) = (Name::EMPTY, Vec::with_capacity(DEPTH));
        Meter {
            state: State::Text,
            token: 0,
            name,
            last: 0,
            open,
            within: None,
            cell: (false, false),
            has_unsaved: false,
            tags: 0,
        }
    }

    /// Tags so far.
    pub(super) fn tags(&self) -> u64 {
        self.tags
    }

    /// Whether a cell so far holds a formula without the value it had: what wrote it does not calculate.
    pub(super) fn has_unsaved(&self) -> bool {
        self.has_unsaved
    }

    /// Takes the next bytes.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<(), Excess> {
        bytes.iter().try_for_each(|byte| self.step(*byte))
    }

    #[inline]
    fn step(&mut self, byte: u8) -> Result<(), Excess> {
        if byte == 0 {
            return Err(Excess::Encoding);
        }
        self.token += 1;
        if let Some((_, bytes)) = &mut self.within {
            *bytes += 1;
            if *bytes > MARKUP_BYTES {
                return Err(Excess::Text);
            }
        }
        match self.state {
            State::Text if byte == b'<' => (self.state, self.token) = (State::Opened, 1),
            State::Text if self.token > MARKUP_BYTES => return Err(Excess::Text),
            State::Text => {}
            State::Opened => self.open(byte)?,
            State::Bang => self.state = bang(byte)?,
            State::Tag(quote) => self.step_tag(quote, byte)?,
            State::Until { byte: ends, times, seen } => self.step_until(ends, times, seen, byte)?,
        }
        Ok(())
    }

    fn open(&mut self, byte: u8) -> Result<(), Excess> {
        (self.name, self.last) = (Name::EMPTY, byte);
        self.state = match byte {
            b'!' => State::Bang,
            b'?' => State::Until { byte: b'?', times: 1, seen: 1 },
            b'>' | b'"' | b'\'' => return Err(Excess::Pairs),
            _ => State::Tag(None),
        };
        self.name.push(byte)
    }

    fn step_tag(&mut self, quote: Option<u8>, byte: u8) -> Result<(), Excess> {
        match quote {
            None if byte == b'>' => return self.close_tag(),
            None if byte == b'"' || byte == b'\'' => self.state = State::Tag(Some(byte)),
            Some(open) if byte == open => self.state = State::Tag(None),
            None | Some(_) => {}
        }
        self.last = byte;
        if self.token > TAG_BYTES {
            return Err(Excess::Tag);
        }
        self.name.push(byte)
    }

    fn close_tag(&mut self) -> Result<(), Excess> {
        (self.state, self.token) = (State::Text, 0);
        self.tags += 1;
        let name = self.name;
        match name.local().strip_suffix(b"/").unwrap_or(name.local()) {
            b"c" if name.bytes[0] != b'/' => self.cell = (false, false),
            b"f" => self.cell.0 = true,
            b"v" | b"is" => self.cell.1 = true,
            _ => {}
        }
        if let [b'/', closed @ ..] = name.as_bytes() {
            let opened = self.open.pop();
            if opened.is_none_or(|opened| opened.as_bytes() != closed) {
                return Err(Excess::Pairs);
            }
            self.has_unsaved |= opened.is_some_and(|opened| opened.local() == b"c") && self.cell == (true, false);
            if self.within.is_some_and(|(depth, _)| depth > self.open.len()) {
                self.within = None;
            }
        } else if self.last != b'/' {
            self.open.push(name);
            if self.open.len() > DEPTH {
                return Err(Excess::Pairs);
            }
            if self.within.is_none() && matches!(name.local(), b"c" | b"si") {
                self.within = Some((self.open.len(), 0));
            }
        }
        Ok(())
    }

    fn step_until(&mut self, ends: u8, times: u8, seen: u8, byte: u8) -> Result<(), Excess> {
        // The shortest comment is `<!---->`.
        let is_whole = ends != b'-' || self.token >= 7;
        if byte == b'>' && seen >= times && is_whole {
            (self.state, self.token) = (State::Text, 0);
            return Ok(());
        }
        let seen = if byte == ends { seen.saturating_add(1) } else { 0 };
        self.state = State::Until { byte: ends, times, seen };
        if self.token > MARKUP_BYTES { Err(Excess::Text) } else { Ok(()) }
    }
}

impl Name {
    const EMPTY: Name = Name { bytes: [0; NAME_BYTES], length: 0, is_complete: false };

    /// Takes a tag's next byte.
    #[inline]
    fn push(&mut self, byte: u8) -> Result<(), Excess> {
        self.is_complete |= matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        if !self.is_complete {
            *self.bytes.get_mut(self.length).ok_or(Excess::Tag)? = byte;
            self.length += 1;
        }
        Ok(())
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// The name without its prefix.
    fn local(&self) -> &[u8] {
        let name = self.as_bytes();
        name.iter().position(|byte| *byte == b':').map_or(name, |colon| &name[colon + 1..])
    }
}

fn bang(byte: u8) -> Result<State, Excess> {
    match byte {
        b'-' => Ok(State::Until { byte: b'-', times: 2, seen: 1 }),
        b'[' => Ok(State::Until { byte: b']', times: 2, seen: 0 }),
        _ => Err(Excess::Doctype),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `begin`, `middle` repeated to above 2 MiB, and `end`; in pieces of every small length for the rest.
    fn check(begin: &str, middle: &str, end: &str, expected: Option<Excess>) {
        let text = format!("{begin}{}{end}", middle.repeat((2 << 20) / middle.len().max(1)));
        let mut meter = Meter::new();
        let found = text.as_bytes().chunks(7).try_for_each(|piece| meter.feed(piece));
        assert_eq!(found.err(), expected, "{begin}({middle})*{end}");
    }

    #[test]
    fn markup_as_programs_write_it_passes_however_long_it_is() {
        let sheet = "<?xml version=\"1.0\"?><worksheet><sheetData>";
        check(sheet, "<row r=\"1\"><c r=\"A1\" t=\"s\"><v>0</v></c></row>", "</sheetData></worksheet>", None);
        check("<sst>", "<si><t>a</t></si>", "</sst>", None);
        check("<x:sst>", "<x:si/>", "</x:sst>", None);
        check("<a>", "<!-- > --><![CDATA[<a>]]>", "</a>", None);
        check("<a>", "<b c='>' d=\">\"/>", "</a>", None);
    }

    #[test]
    fn what_would_have_to_be_held_in_one_piece_is_found() {
        check("<a>", "x", "", Some(Excess::Text));
        check("<a b=\"", ">", "\">", Some(Excess::Tag));
        check("<a ", "b='>'", ">", Some(Excess::Tag));
        check("<!-- ", "<a></a>", "-->", Some(Excess::Text));
        check("<!-->", "<a></a>", "", Some(Excess::Text));
        check("<![CDATA[", "<c>", "]]>", Some(Excess::Text));
        check("<?x ", "<c>", "?>", Some(Excess::Text));
        check("<si>", "<r><t>x</t></r>", "</si>", Some(Excess::Text));
        check("<si><t>", "x<c/><si></si>", "</t></si>", Some(Excess::Text));
        check("<x:c r=\"A1\">", "<f>1</f>", "</x:c>", Some(Excess::Text));
        check("<si><t>", "x</si>", "", Some(Excess::Pairs));
        check("", "<a>", "", Some(Excess::Pairs));
        check("</a \">", "\"<a>", "", Some(Excess::Pairs));
        check("<!DOCTYPE a>", "<a/>", "", Some(Excess::Doctype));
        check("<\0a>", "", "", Some(Excess::Encoding));
    }

    #[test]
    fn a_formula_without_a_value_is_noticed() {
        for (cell, expected) in [
            ("<c r=\"A1\"><f>B1</f></c>", true),
            ("<c r=\"A1\"><f t=\"shared\" si=\"0\"/></c>", true),
            ("<x:c><x:f>B1</x:f></x:c>", true),
            ("<c><f>B1</f><v>2</v></c>", false),
            ("<c t=\"str\"><f>B1</f><v/></c>", false),
            ("<c s=\"1\"/><c><v>1</v></c>", false),
            ("<c><v>1</v></c><c><f>B1</f></c><c><v>1</v></c>", true),
        ] {
            let mut meter = Meter::new();
            meter.feed(format!("<row>{cell}</row>").as_bytes()).unwrap();
            assert_eq!(meter.has_unsaved(), expected, "{cell}");
        }
    }

    #[test]
    fn tags_are_counted() {
        let mut meter = Meter::new();
        meter.feed(b"<a><b/></a><!-- <c> -->").unwrap();
        assert_eq!(meter.tags(), 3);
    }
}
