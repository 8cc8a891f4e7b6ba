//! A proposal as the text of a map: TOML by its own writer, and comments that say what to decide.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use toml_writer::{ToTomlKey, ToTomlValue, TomlKeyBuilder, TomlStringBuilder};
use unicode_width::UnicodeWidthStr;

use super::look::{LATIN, Seen};
use super::plan::{Entry, Note, Plan, open};
use super::private;

/// The longest entry on one line, in characters; longer ones become a table of their own.
const LINE_CHARS: usize = 110;

/// A text as a TOML string of one line, exactly.
fn string(text: &str) -> String {
    TomlStringBuilder::new(text).as_basic().to_toml_value()
}

/// A text as a TOML key of one line.
fn key(text: &str) -> String {
    let key = TomlKeyBuilder::new(text);
    key.as_unquoted().unwrap_or_else(|| key.as_basic()).to_toml_key()
}

fn strings(texts: &[String]) -> String {
    texts.iter().map(|text| string(text)).collect::<Vec<_>>().join(", ")
}

/// A text in quotes, for comments and messages: without anything that would act on a terminal.
pub(super) fn quoted(text: &str) -> String {
    string(&private::visible(text))
}

/// Texts in quotes, one after the other.
pub(super) fn listed(texts: &[String]) -> String {
    texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", ")
}

/// The whole map.
pub(super) fn map(plan: &Plan, seen: &Seen, name: &str) -> String {
    let mut text = Text::default();
    text.head(plan, seen, name);
    for entry in [&plan.site, &plan.state] {
        text.notes(&entry.notes);
        text.entry(entry, "", 0);
    }
    text.skip(seen);
    text.blank();
    text.fields(plan);
    text.missing(plan);
    text.left(plan);
    text.0
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn line(&mut self, line: &str) {
        writeln!(self.0, "{line}").expect("a text takes any text");
    }

    fn blank(&mut self) {
        self.line("");
    }

    fn comment(&mut self, text: &str) {
        self.line(format!("# {}", private::visible(text)).trim_end());
    }

    fn notes(&mut self, notes: &[Note]) {
        for note in notes {
            self.comment(&format!("{}{}", if note.is_open { "! " } else { "" }, note.text));
        }
    }

    fn head(&mut self, plan: &Plan, seen: &Seen, name: &str) {
        let rows = seen.rows.len() + seen.torn;
        let from = match (seen.header, seen.is_whole) {
            (true, true) => format!("from its header and its {rows} rows"),
            (true, false) => format!("from its header and its first {rows} rows"),
            (false, true) => format!("from its {rows} rows; it has no header"),
            (false, false) => format!("from its first {rows} rows; it has no header"),
        };
        self.comment(&format!("Proposed for {} {from}.", private::visible(name)));
        self.comment("Decide first what is marked !, then try it with --dry-run.");
        self.blank();
        self.line(&format!("kind = {} # {}, {}", string(plan.kind.name), plan.kind.zh, plan.kind.en));
        self.line(&format!("source = {} # keep it for later exports of this table", string(&plan.source)));
        match (seen.header, seen.header_line) {
            (false, _) => self.line("header = false"),
            (true, 1) => {}
            (true, line) => self.line(&format!("header = {line} # what stands above it is passed over")),
        }
        if seen.is_latin {
            self.notes(&[open("the text is not UTF-8, and hardly GBK: are its accents right as Latin-1?")]);
            self.line(&format!("encoding = {}", string(LATIN)));
        }
        if let Some(sheet) = &seen.sheet {
            self.line(&format!("sheet = {}", string(sheet)));
        }
        self.notes(std::slice::from_ref(&plan.key_note));
        self.line(&format!("key = [{}]", strings(&plan.key)));
        if plan.fields.iter().any(|entry| !entry.date.is_empty() || entry.key.ends_with("_at")) {
            self.line("# time_zone = \"Asia/Shanghai\" # of dates and times here; the site's where absent");
        }
        self.blank();
    }

    /// Totals, by the column that names them.
    fn skip(&mut self, seen: &Seen) {
        let mut columns: BTreeMap<usize, BTreeSet<&str>> = BTreeMap::new();
        for (column, cell) in &seen.totals {
            columns.entry(*column).or_default().insert(cell);
        }
        for (column, cells) in columns {
            let cells: Vec<String> = cells.into_iter().map(str::to_owned).collect();
            self.blank();
            self.line("[[skip]] # totals are no documents");
            self.line(&format!("column = {}", string(&seen.columns[column].name)));
            self.line(&format!("values = [{}]", strings(&cells)));
        }
    }

    fn fields(&mut self, plan: &Plan) {
        let (tables, lines): (Vec<&Entry>, Vec<&Entry>) = plan.fields.iter().partition(|entry| is_table(entry));
        let width = lines.iter().map(|entry| key(&entry.key).width()).max().unwrap_or(0);
        if !lines.is_empty() {
            self.line("[fields]");
        }
        for entry in lines {
            self.notes(&entry.notes);
            self.entry(entry, "fields.", width);
        }
        for entry in tables {
            self.blank();
            self.notes(&entry.notes);
            self.entry(entry, "fields.", width);
        }
    }

    /// One entry, on a line of its own or as a table; `parent` is where it stands, with its dot.
    fn entry(&mut self, entry: &Entry, parent: &str, width: usize) {
        let off = if entry.is_off { "# " } else { "" };
        if !is_table(entry) {
            self.line(&format!("{off}{} = {{ {} }}", padded(key(&entry.key), width), pairs(entry).join(", ")));
            return;
        }
        let name = format!("{parent}{}", key(&entry.key));
        self.line(&format!("[{name}]"));
        for pair in pairs(&Entry { values: Vec::new(), ..entry.clone() }) {
            self.line(&pair);
        }
        if !entry.values.is_empty() {
            self.line("keep = true # other cells count as they stand, if they are choices");
            self.line(&format!("[{name}.values]"));
        }
        let width = entry.values.iter().map(|(cell, _)| key(cell).width()).max().unwrap_or(0);
        for (cell, name) in &entry.values {
            self.line(&format!("{} = {}", padded(key(cell), width), string(name)));
        }
    }

    fn missing(&mut self, plan: &Plan) {
        let (choices, others): (Vec<_>, Vec<_>) = plan.missing.iter().partition(|(_, choices)| !choices.is_empty());
        if plan.missing.is_empty() {
            return;
        }
        self.blank();
        self.comment(&format!(
            "{} asks for these too, and no column fits. History may lack them; if all rows",
            plan.kind.name
        ));
        self.comment("share one, add it as a table of its own here: [fields.NAME] and constant = \"…\".");
        if !others.is_empty() {
            let names: Vec<String> = others.iter().map(|(name, _)| key(name)).collect();
            self.comment(&format!("  {}", names.join(", ")));
        }
        for (name, choices) in choices {
            self.comment(&format!("  {}: one of {}", key(name), choices.join(", ")));
        }
    }

    fn left(&mut self, plan: &Plan) {
        if plan.left.is_empty() {
            return;
        }
        self.blank();
        self.comment("These columns go nowhere:");
        let name = |name: &str| quoted(&private::visible(name));
        let width = plan.left.iter().map(|(column, _)| name(column).width()).max().unwrap_or(0);
        for (column, holds) in &plan.left {
            self.comment(&format!("  {}  {holds}", padded(name(column), width)));
        }
    }
}

/// `text` as wide as `width` columns of a terminal, in which hanzi take two.
fn padded(mut text: String, width: usize) -> String {
    let missing = width.saturating_sub(text.width());
    text.extend(std::iter::repeat_n(' ', missing));
    text
}

/// Whether an entry is too long for a line.
fn is_table(entry: &Entry) -> bool {
    let length: usize = pairs(entry).iter().map(|pair| pair.chars().count() + 2).sum();
    !entry.is_off && (entry.values.len() > 2 || length + entry.key.len() > LINE_CHARS)
}

/// What an entry says, pair by pair.
fn pairs(entry: &Entry) -> Vec<String> {
    let mut pairs = Vec::new();
    pairs.extend(entry.column.as_ref().map(|column| format!("column = {}", string(column))));
    pairs.extend(entry.constant.as_ref().map(|constant| format!("constant = {}", string(constant))));
    if !entry.date.is_empty() {
        pairs.push(format!("date = [{}]", strings(&entry.date)));
    }
    if !entry.values.is_empty() {
        let values = entry.values.iter().map(|(cell, name)| format!("{} = {}", key(cell), string(name)));
        pairs.push(format!("values = {{ {} }}, keep = true", values.collect::<Vec<_>>().join(", ")));
    }
    if !entry.null.is_empty() {
        pairs.push(format!("null = [{}]", strings(&entry.null)));
    }
    pairs.extend(entry.is_comma.then(|| "decimal = \",\"".to_owned()));
    pairs.extend(entry.unit.as_ref().map(|unit| format!("unit = {}", string(unit))));
    pairs.extend(entry.unit_column.as_ref().map(|column| format!("unit_column = {}", string(column))));
    pairs
}
