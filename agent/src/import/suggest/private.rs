//! What of a table may be shown to whoever reads a proposal: short samples, never people or what leads to them.

use super::content;
use super::look::Column;
use super::words;

/// The longest sample, in characters.
const SAMPLE_CHARS: usize = 20;

/// Surnames that begin most Chinese names.
const SURNAMES: &str = "王李张刘陈杨黄赵吴周徐孙马朱胡郭何林高罗郑梁谢宋唐许韩邓冯曹彭曾肖田董潘袁蔡蒋余于杜叶程魏苏吕丁任卢姚沈钟姜崔谭陆范汪廖石金韦贾夏付方邹熊白孟秦邱侯江尹薛闫段雷龙黎史陶贺毛郝顾龚邵万覃武钱戴严莫孔向常汤";

/// Characters that begin a Chinese number plate.
const PROVINCES: &str = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼使领";

/// A cell that shows what a column holds; none where showing it could tell of a person.
pub(super) fn sample(column: &Column) -> Option<String> {
    if words::is_personal(&column.name) || column.values().any(|(value, _)| is_personal(value)) {
        return None;
    }
    // The first of those seen most.
    let (value, count) = column.values().reduce(|best, next| if next.1 > best.1 { next } else { best })?;
    // Words that hardly repeat are somebody's own: free text, or names.
    let is_plain = content::is_number(value) || content::is_date(value) || !value.chars().any(char::is_alphabetic);
    let is_category = count > 1 && column.cells.len() * 2 <= column.filled();
    (is_plain || is_category || is_code(value)).then(|| cut(value))
}

/// Those of `values` that may be shown of a column that must be told of.
pub(super) fn told(column: &Column, values: &[String]) -> Vec<String> {
    if words::is_personal(&column.name) {
        return Vec::new();
    }
    values.iter().filter(|value| !is_personal(value)).map(|value| cut(value)).collect()
}

/// A text of one line within [`SAMPLE_CHARS`], without anything that would act on a terminal.
pub(super) fn cut(text: &str) -> String {
    let mut cut: String = visible(text).chars().take(SAMPLE_CHARS).collect();
    if text.chars().count() > SAMPLE_CHARS {
        cut.pop();
        cut.push('…');
    }
    cut
}

/// `text` with U+FFFD for what controls a terminal or turns the direction of writing.
pub(super) fn visible(text: &str) -> String {
    let is_hidden = |character: char| {
        character.is_control()
            || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    text.chars().map(|character| if is_hidden(character) { char::REPLACEMENT_CHARACTER } else { character }).collect()
}

/// Whether a cell looks like a person, or like what leads to one.
pub(super) fn is_personal(value: &str) -> bool {
    leads_to_people(value) || is_chinese_name(value)
}

/// Whether a text looks like a phone, a VIN, a plate or an address of mail.
pub(super) fn leads_to_people(value: &str) -> bool {
    value.contains('@') || content::is_vin(value) || is_plate(value) || has_phone(value)
}

/// A run of seven digits or more, as of a phone, an account or an identity card, that is no date and no long fraction.
fn has_phone(value: &str) -> bool {
    let is_of_phone = |character: char| character.is_ascii_digit() || matches!(character, ' ' | '-' | '+' | '(' | ')');
    let mut runs = value.split(|character| !is_of_phone(character));
    runs.any(|run| run.bytes().filter(u8::is_ascii_digit).count() >= 7) && !content::is_date(value)
}

/// Whether a cell is a Chinese number plate.
pub(super) fn is_plate(value: &str) -> bool {
    let mut characters = value.chars().filter(|character| !matches!(character, ' ' | '·' | '-'));
    let begins = characters.next().is_some_and(|first| PROVINCES.contains(first))
        && characters.next().is_some_and(|second| second.is_ascii_uppercase());
    let rest: Vec<char> = characters.collect();
    begins
        && (4..=6).contains(&rest.len())
        && rest.iter().filter(|character| character.is_ascii_alphanumeric()).count() >= 4
}

fn is_chinese_name(value: &str) -> bool {
    let is_han = |character: char| ('\u{4e00}'..='\u{9fff}').contains(&character);
    let is_short = (2..=3).contains(&value.chars().count());
    is_short && value.chars().all(is_han) && value.chars().next().is_some_and(|first| SURNAMES.contains(first))
}

/// A code: one word that has a digit, such as `SCMS-4`.
fn is_code(value: &str) -> bool {
    value.bytes().any(|byte| byte.is_ascii_digit())
        && value
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.' | '/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_and_what_leads_to_them_are_known() {
        for value in [
            "13800138000",
            "+86 138-0013-8000",
            "请致电 13800138000",
            "a@b.cn",
            "LJCPCBLCX11000237",
            "鲁B·12345",
            "粤B D12345",
            "张伟",
            "370202199001011234",
        ] {
            assert!(is_personal(value), "{value}");
        }
        for value in ["2025-01-31", "SCMS-16600", "Air", "漏油", "轮胎, 前", "100-CI-T01"] {
            assert!(!is_personal(value), "{value}");
        }
    }

    #[test]
    fn samples_are_short_and_act_on_nothing() {
        assert_eq!(cut("a\u{1b}[31m\nb"), "a�[31m�b");
        assert_eq!(cut(&"x".repeat(50)).chars().count(), 20);
    }
}
