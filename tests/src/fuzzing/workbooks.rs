//! Workbooks: any bytes as a file, and any XML in the parts of a sound one.

use std::fs;
use std::io::{Cursor, Write};

use waystation_agent::import::sheet::Sheet;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::Input;
use super::imports::{Wish, in_folder, refuse_and_take_again};

/// The parts that stay as they are.
const PARTS: [(&str, &str); 3] = [
    (
        "_rels/.rels",
        r#"<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="xl/workbook.xml"/></Relationships>"#,
    ),
    (
        "xl/workbook.xml",
        r#"<workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets><sheet name="S" sheetId="1" r:id="rId1"/></sheets></workbook>"#,
    ),
    (
        "xl/_rels/workbook.xml.rels",
        r#"<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet" Target="worksheets/sheet1.xml"/><Relationship Id="rId2" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/styles" Target="styles.xml"/><Relationship Id="rId3" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/sharedStrings" Target="sharedStrings.xml"/></Relationships>"#,
    ),
];
/// Styles where the input has none: the second is a date.
const STYLES: &[u8] = br#"<styleSheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><cellXfs count="2"><xf numFmtId="0"/><xf numFmtId="14"/></cellXfs></styleSheet>"#;

/// One file, or the XML of sheet, shared texts and styles with a NUL between them.
pub fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let how = input.byte();
    let wish =
        Wish { header: how & 1 == 0, is_keyed: how & 2 != 0, is_sparse: how & 4 != 0, encoding: None, delimiter: None };
    in_folder(|folder| {
        let file = folder.join("orders.xlsx");
        let bytes = if how & 0x80 == 0 { archive(input.rest()) } else { input.rest().to_vec() };
        fs::write(&file, bytes).expect("the scratch folder takes a file");
        if how & 8 != 0 {
            let _ = Sheet::open(&file, Some("S"));
        }
        refuse_and_take_again(&file, wish);
    });
}

/// A workbook of these parts.
pub(super) fn archive(parts: &[u8]) -> Vec<u8> {
    let mut parts = parts.split(|byte| *byte == 0);
    let mut part = |absent| parts.next().filter(|part: &&[u8]| !part.is_empty()).unwrap_or(absent);
    let (sheet, texts, styles) = (part(b""), part(b""), part(STYLES));
    let given = [("xl/worksheets/sheet1.xml", sheet), ("xl/sharedStrings.xml", texts), ("xl/styles.xml", styles)];
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let fixed = PARTS.iter().map(|(name, text)| (*name, text.as_bytes()));
    for (name, text) in fixed.chain(given).filter(|(_, text)| !text.is_empty()) {
        writer.start_file(name, options).expect("an archive in memory takes a part");
        writer.write_all(text).expect("an archive in memory takes bytes");
    }
    writer.finish().expect("an archive in memory is finished").into_inner()
}
