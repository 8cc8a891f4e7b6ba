//! Which encoding a file is in.
//!
//! A byte-order mark wins over the map, so that a rejects file (which has one) is read by the map of its original.
//! Guessing must not garble: GBK is only guessed where nearly all its characters are common hanzi; in doubt a file
//! counts as UTF-8, and its undecodable rows are rejected aloud.

use encoding_rs::{Encoding, GB18030, UTF_8};

/// The encoding a map names.
pub fn named(name: &str) -> Option<&'static Encoding> {
    let label = if name.eq_ignore_ascii_case("latin-1") { "iso-8859-1" } else { name };
    Encoding::for_label(label.as_bytes())
}

/// What a file's first bytes say where the map says nothing; GB 18030 stands for GBK, which it contains.
pub fn guess(sample: &[u8]) -> &'static Encoding {
    if let Some((encoding, _)) = Encoding::for_bom(sample) {
        return encoding;
    }
    if let Some(wide) = wide(sample) {
        return wide;
    }
    let (good, bad) = utf8_characters(sample);
    if bad > good && is_plausible_gbk(sample) { GB18030 } else { UTF_8 }
}

/// UTF-16 without a byte-order mark: its delimiters, digits and line ends have a NUL each, all on one side.
fn wide(sample: &[u8]) -> Option<&'static Encoding> {
    let nul = |from: usize| sample.iter().skip(from).step_by(2).filter(|byte| **byte == 0).count();
    let (even, odd) = (nul(0), nul(1));
    let is_many = |nul: usize| nul > 1 && nul * 5 > sample.len();
    match (even, odd) {
        (0, odd) if is_many(odd) => Some(encoding_rs::UTF_16LE),
        (even, 0) if is_many(even) => Some(encoding_rs::UTF_16BE),
        _ => None,
    }
}

/// What a map should say of a file that is said to be in `encoding` and is in another; none where `encoding` may be right.
///
/// A few damaged rows change nothing. Some of GBK's double bytes are UTF-8 of two bytes too, but hardly ever all of them,
/// and hardly one in two is part of three. Latin-1 has its accented letters one by one, between ASCII letters.
pub fn told_wrongly(sample: &[u8], encoding: &'static Encoding) -> Option<&'static str> {
    let (good, bad) = utf8_characters(sample);
    if [encoding_rs::UTF_16LE, encoding_rs::UTF_16BE].contains(&encoding) {
        // Delimiters and line ends have a NUL there.
        return (!sample.contains(&0)).then_some(if bad > 0 { foreign(sample) } else { "utf-8" });
    }
    if encoding.is_single_byte() && good > bad {
        return Some("utf-8");
    }
    if [GB18030, encoding_rs::GBK, encoding_rs::BIG5].contains(&encoding) {
        let text = String::from_utf8_lossy(sample);
        let long = text.chars().filter(|c| c.len_utf8() == 3 && *c != char::REPLACEMENT_CHARACTER).count();
        let is_utf8 = good > bad && (long > bad || bad == 0 && good >= FEW_CHARACTERS);
        // a stray byte costs its row alone
        let is_latin = || bad >= FEW_STRAYS && good <= bad && is_western(sample);
        return if is_utf8 { Some("utf-8") } else { is_latin().then_some("latin-1") };
    }
    let is_latin = encoding == encoding_rs::WINDOWS_1252;
    (is_latin && bad > 1 && is_plausible_gbk(sample)).then_some("gbk")
}

/// What to call an encoding that bytes are in which are no UTF-8.
pub fn foreign(bytes: &[u8]) -> &'static str {
    if is_western(bytes) { "latin-1" } else { "gbk" }
}

/// Whether most bytes beyond ASCII stand alone, as accented letters do: hanzi have two each.
fn is_western(bytes: &[u8]) -> bool {
    let runs = bytes.split(|byte| byte.is_ascii()).filter(|run| !run.is_empty());
    let (alone, all) = runs.fold((0, 0), |(alone, all), run| (alone + usize::from(run.len() == 1), all + 1));
    alone * 2 > all
}

/// Fewer characters beyond ASCII than these may be anything.
const FEW_CHARACTERS: usize = 6;

/// Fewer bytes that do not read than these may be damage.
const FEW_STRAYS: usize = 3;

/// Characters beyond ASCII that are UTF-8, and places that are not. The sample may end within a character.
fn utf8_characters(sample: &[u8]) -> (usize, usize) {
    let (mut good, mut bad) = (0, 0);
    let mut rest = sample;
    loop {
        rest = match std::str::from_utf8(rest) {
            Ok(text) => return (good + beyond_ascii(text), bad),
            Err(error) => {
                let (text, after) = rest.split_at(error.valid_up_to());
                good += std::str::from_utf8(text).map_or(0, beyond_ascii);
                let Some(length) = error.error_len() else { return (good, bad) };
                bad += 1;
                &after[length..]
            }
        };
    }
}

fn beyond_ascii(text: &str) -> usize {
    text.chars().filter(|character| !character.is_ascii()).count()
}

/// At least nine in ten of its double bytes are of GB 2312 (hanzi and Chinese punctuation), and nothing is broken.
/// Latin-1 fails: its accented letters stand beside ASCII letters.
fn is_plausible_gbk(sample: &[u8]) -> bool {
    let (mut common, mut all, mut at) = (0_usize, 0_usize, 0);
    while at < sample.len() {
        if sample[at].is_ascii() {
            at += 1;
            continue;
        }
        let Some(second) = sample.get(at + 1) else { break };
        match (sample[at], *second) {
            (0xa1..=0xf7, 0xa1..=0xfe) => common += 1,
            (0x81..=0xfe, 0x30..=0x39) => at += 2,
            (0x81..=0xfe, 0x40..=0x7e | 0x80..=0xfe) => {}
            _ => return false,
        }
        all += 1;
        at += 2;
    }
    all > 0 && common * 10 >= all * 9
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sample: &[u8], expected: &str) {
        assert_eq!(guess(sample).name(), expected, "{:?}", String::from_utf8_lossy(&sample[..sample.len().min(40)]));
    }

    #[test]
    fn encodings_are_told_apart() {
        let gbk = |text: &str| encoding_rs::GBK.encode(text).0.into_owned();
        check(b"plain,ascii\n", "UTF-8");
        check("网点,单号\n".as_bytes(), "UTF-8");
        check(b"\xef\xbb\xbfa", "UTF-8");
        check(b"\xff\xfea\0", "UTF-16LE");
        check(b"\xfe\xff\0a", "UTF-16BE");
        check(b"a\0,\0b\0\n\0", "UTF-16LE");
        check(b"\0a\0,\0b\0\n", "UTF-16BE");
        check(b"plain,\0,ascii,\0\n", "UTF-8");
        check(&gbk("网点,单号\n城东站,1\n"), "gb18030");
        check(&gbk("a,单"), "gb18030");
        check(b"Gen\xe8ve,g\xe9n\xe9ral\n", "UTF-8");
        check(b"caf\xe9\n", "UTF-8");
    }

    #[test]
    fn what_a_map_says_wrongly_is_noticed() {
        let check = |sample: &[u8], name: &str, expected: Option<&str>| {
            assert_eq!(told_wrongly(sample, named(name).unwrap()), expected, "{name} {sample:?}");
        };
        let gbk = |text: &str| encoding_rs::GBK.encode(text).0.into_owned();
        let utf_8 = Some("utf-8");
        check("Zündkerze".as_bytes(), "latin-1", utf_8);
        check(b"Z\xfcndkerze", "latin-1", None);
        check(b"plain", "latin-1", None);
        check(&gbk("漏油,复查"), "latin-1", Some("gbk"));
        check(b"Sch\xfcler, Sch\xfclerin, \xd6l", "gbk", Some("latin-1"));
        check(b"plain,\xa0\n", "gbk", None);
        check("滤芯".as_bytes(), "gbk", utf_8);
        check(&["滤芯,机油".as_bytes(), b",\xff"].concat(), "gbk", utf_8);
        check(&[&gbk("城东站漏油"), "滤".as_bytes()].concat(), "gbk", None);
        check("Société générale à Genève, Zürich".as_bytes(), "gbk", utf_8);
        check("Привет".as_bytes(), "gbk", utf_8);
        check(&gbk("滤芯"), "gbk", None);
        check(&gbk("模"), "gbk", None);
        check("滤芯".as_bytes(), "utf-8", None);
        check(b"a,b\n", "utf-16le", utf_8);
        check(b"a\0,\0b\0", "utf-16le", None);
        check(&gbk("城东站"), "utf-16le", Some("gbk"));
    }

    #[test]
    fn one_bad_byte_does_not_change_a_files_encoding() {
        check(b"C\xc3\xb4te d'Ivoire,1\nM\xc3lville,2\n", "UTF-8");
        check(&[b"\xc4\xe3,".as_slice(), "城东站漏油".as_bytes()].concat(), "UTF-8");
    }

    #[test]
    fn a_sample_may_end_within_a_character() {
        for text in ["漏油,复查\n".repeat(9), format!("x{}", "漏油,复查\n".repeat(9))] {
            let gbk = encoding_rs::GBK.encode(&text).0.into_owned();
            for cut in 20..gbk.len() {
                check(&gbk[..cut], "gb18030");
            }
            for cut in 20..text.len() {
                check(&text.as_bytes()[..cut], "UTF-8");
            }
        }
    }
}
