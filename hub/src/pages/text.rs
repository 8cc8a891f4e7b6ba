//! Every word of the pages, in both languages: one list, one method of [`Lang`] each.
//!
//! Labels of kinds, fields, states and reports stand in their own declarations.

use super::Lang;

macro_rules! texts {
    ($($name:ident = $zh:literal / $en:literal;)*) => {
        impl Lang {
            $(
                #[doc = $en]
                #[must_use]
                pub const fn $name(self) -> &'static str {
                    self.pick($zh, $en)
                }
            )*
        }

        /// Name, Chinese, English.
        #[cfg(test)]
        const ALL: &[(&str, &str, &str)] = &[$((stringify!($name), $zh, $en)),*];
    };
}

texts! {
    product = "驿站" / "Waystation";
    skip = "跳到正文" / "Skip to content";
    switch_language = "English" / "中文";
    board = "同步看板" / "Sync board";
    documents = "单据" / "Documents";
    reports = "报表" / "Reports";
    yes = "是" / "yes";
    no = "否" / "no";
    unset = "（未填）" / "(not stated)";
    none = "无" / "None";

    board_about = "各网点的数据到了多少、还差多少。状态由最近的联系推断，页面自动更新。"
        / "What has arrived from each site, and what has not. States follow from the evidence; the page updates itself.";
    live = "实时更新" / "Live";
    paused = "连接已断，正在重连" / "Connection lost, reconnecting";
    site = "网点" / "Site";
    state = "状态" / "State";
    backlog = "未送达" / "Unsent";
    oldest = "最久等待" / "Oldest waits";
    last_contact = "最近联系" / "Last contact";
    head = "已采集" / "Captured";
    stored = "已存" / "Stored";
    processed = "已处理" / "Processed";
    quarantined = "隔离" / "Quarantined";
    parked = "挂起" / "Parked";
    clock_steps = "时钟跳变" / "Clock steps";
    clock_offset = "时钟偏差" / "Clock offset";
    online = "在线" / "Online";
    late = "滞后" / "Late";
    silent = "失联" / "Silent";
    never = "从未联系" / "Never seen";
    disconnected = "连接已断" / "Disconnected";
    sites_total = "网点" / "Sites";
    documents_total = "单据" / "Documents";
    stored_total = "已存记录" / "Entries stored";
    processed_total = "已处理记录" / "Entries processed";
    no_sites = "还没有网点。启动一个采集端，或运行 waystation-hub site add。"
        / "No sites yet. Start an agent, or run waystation-hub site add.";

    restore = "数据恢复" / "Restored data";
    restore_about = "中心的数据曾回到较早的时刻。各采集端会自动补送；此页说明哪些已补回，哪些还缺。"
        / "The hub's data went back to an earlier moment. Agents send again by themselves; this page says what came back and what has not.";
    restore_open = "正在补回；各采集端暂不清理本机数据" / "coming back; agents delete nothing meanwhile";
    restore_lost = "已结束，仍有缺失的记录" / "over, and entries are lost";
    restore_whole = "已全部补回" / "everything is back";
    cause = "原因" / "Cause";
    cause_restored = "由备份恢复" / "a backup was put in place";
    cause_copied = "发现较旧的数据库" / "an older database was found";
    cause_agent = "采集端所知多于中心" / "an agent knows of more than there is";
    since = "自" / "Since";
    backup = "备份" / "Backup";
    released_by = "放行" / "Released by";
    awaited_agent = "尚未联系的采集端" / "Agent not heard since";
    awaited_return = "正在送回下行记录的采集端" / "Agent bringing back what it was told";
    awaited_release = "无法送回全部下行记录的采集端，须人工放行" / "Agent that cannot bring back all it was told: only a release ends the wait";
    lost_downward = "已丢失的下行记录，其中可能有审核决定" / "Told and lost; decisions may be among them";
    own_forgotten = "中心自己的记录" / "The hub's own entries";
    own_forgotten_about = "已回退；下发过的随采集端补回，其余丢失" / "forgotten; those that agents were told of come back, the others are lost";
    journal = "流水" / "Journal";
    in_backup = "恢复时已有" / "Held";
    had = "此前到达" / "Had";
    came_back = "已补回" / "Came back";
    still_missing = "还缺" / "Still missing";
    lost_for_good = "已丢失" / "Lost for good";
    nothing_behind_restore = "没有记录缺失。" / "Nothing is missing.";
    never_restored = "中心的数据从未回退。" / "The hub's data never went back.";

    journals = "流水" / "Journals";
    journals_about = "采集端的每条流水。磁盘被还原或复制后，采集端另起一条分支，两支都保留。"
        / "Every journal of an agent. Once its disk was put back or copied, an agent goes on in a branch of its own; both are kept.";
    no_journals = "还没有流水。" / "No journals yet.";
    branch_of = "分自" / "Branched off";
    current = "当前" / "current";
    lost_range = "已丢失区间" / "Lost range";
    absent = "已宣布而未到" / "Announced and not here";
    doubled = "采集端重复" / "Two of one agent";

    kind = "类型" / "Kind";
    number = "单号" / "Number";
    search = "搜索" / "Search";
    search_hint = "单号、车架号后几位、条码、客户…" / "Number, VIN tail, barcode, customer…";
    any = "全部" / "Any";
    filter = "筛选" / "Filter";
    reset = "清除" / "Clear";
    opened = "建单" / "Opened";
    changed = "最后变动" / "Last change";
    older = "更早的单据" / "Older documents";
    newest = "回到最新" / "Back to the newest";
    no_documents = "没有符合条件的单据。" / "No documents match.";
    pen = "执笔方" / "Pen";
    hub = "中心" / "Hub";
    opened_by = "建单人" / "Opened by";
    occurred = "发生时间" / "Occurred at";
    received = "到达中心" / "Reached the hub";
    round = "轮次" / "Round";
    fields = "内容" / "Fields";
    notes = "备注" / "Notes";
    history = "经过" / "History";
    digest = "摘要" / "Digest";
    identity = "标识" / "Id";
    line = "行" / "Line";
    cleared = "已清除" / "cleared";
    imported = "导入" / "Imported";
    odd = "请核对" / "Worth a second look";
    flags = "跨单据核对" / "Compared across documents";
    flagged_only = "只看有冲突的" / "Only those that clash";
    clashes_with = "与以下单据冲突" / "clashes with";
    reclaimed = "收回" / "Reclaimed";
    handed_over = "移交" / "Handed over";
    voided = "作废" / "Voided";
    note = "备注" / "Note";

    quarantine = "隔离区" / "Quarantine";
    quarantine_about = "未能记入单据的记录。原样保存，其他单据照常处理；修正、重新判定或放弃都留痕。"
        / "Entries that could not be applied. They are kept as captured, all other documents flow; fixing, replaying and waiving leave a trail.";
    set_aside_now = "现在搁置" / "Set aside now";
    resolved = "已处理完" / "Resolved";
    reason = "原因" / "Reason";
    reason_code = "原因代码" / "Reason code";
    document = "单据" / "Document";
    entry = "记录" / "Entry";
    entry_place = "日志位置" / "Place in its journal";
    agent = "采集端" / "Agent";
    author = "经办人" / "Author";
    captured_at = "采集时间" / "Captured at";
    captured_fields = "采集的内容" / "As captured";
    unreadable = "无法读取" / "unreadable";
    raw_bytes = "原始字节（十六进制）" / "Bytes, in hexadecimal";
    none_aside = "没有符合条件的记录。" / "No entries match.";
    behind_it = "在它之后等待" / "Waiting behind it";
    nothing_waits = "没有记录在等它。" / "Nothing waits for it.";
    trail = "处理经过" / "What was done about it";
    no_trail = "还没有人处理。" / "Nobody has done anything yet.";
    resolve_it = "处理" / "Resolve";
    read_only_after_restore = "中心退回到较早的数据，该站点的记录在全部网点设备归队前只读，可能早已处理过。"
        / "The hub came back older; what this site has is read-only until all its outlets are back: it may have been resolved before.";
    fix = "修正" / "Fix";
    replay = "重新判定" / "Replay";
    waive = "放弃" / "Waive";
    fix_about = "更正后的值代替采集的值，须通过同样的判定；原始记录不变。删去一行即不填该字段，null 表示清除。"
        / "Corrected values stand for the captured ones and must pass the same judgement; the entry itself stays as it is. Take a line out to leave a field unset; null clears it.";
    replay_about = "原样再判定一次：中心升级后，或所缺的数据到达后。"
        / "Judge it once more as it is: after the hub was updated, or what it lacked has arrived.";
    waive_about = "放弃这条记录。以它为依据的记录不会计入，其余的照常判定。不可撤销。"
        / "Give the entry up. What rests on it will not count, everything else is judged without it. This cannot be undone.";
    act = "操作" / "Act";
    fields_json = "字段（JSON）" / "Fields (JSON)";
    your_name = "您的姓名" / "Your name";
    why = "理由" / "Why";
    before = "之前" / "Before";
    after = "之后" / "After";
    released = "自动放行" / "Released";
    fixed = "已修正" / "Fixed";
    replayed = "已重判" / "Replayed";
    waived = "已放弃" / "Waived";
    applied = "已记入" / "Applied";
    still_aside = "仍搁置" / "Set aside still";
    fix_refused = "修正未通过" / "Does not pass";
    moot = "已离开隔离区" / "Had left already";
    asked = "等待中心处理" / "Waiting for the hub";
    older_entries = "更早的记录" / "Older entries";

    reports_about = "每个数字都标明完整度：期末之前的数据已到齐的网点数 ÷ 应有网点数。"
        / "Every figure says how complete it is: sites whose data has arrived to the period's end ÷ sites expected.";
    from = "自" / "From";
    to = "至" / "To";
    by = "分组" / "By";
    show = "查看" / "Show";
    complete = "完整" / "Complete";
    provisional = "暂计" / "Provisional";
    sites_complete = "个网点数据已到齐" / "sites complete";
    download_csv = "下载 CSV" / "Download CSV";
    download_excel = "下载 Excel" / "Download Excel";
    as_json = "JSON" / "JSON";
    no_figures = "这段时间没有数据。" / "No figures in this period.";
    chart = "图" / "Chart";
    table = "表" / "Table";
    target = "目标" / "Target";
    rows_shown = "仅显示前 500 行，全部请下载 Excel 或 CSV。"
        / "Only the first 500 rows are shown; download Excel or CSV for all.";
    report = "报表" / "Report";
    formula = "口径" / "What it says";
    unbounded = "不限" / "unbounded";
    generated = "生成时间" / "Generated at";
    complete_sites = "已到齐网点" / "Sites complete";
    expected_sites = "应到网点" / "Sites expected";
    about_sheet = "说明" / "About";
    column = "列" / "Column";
    code_in_rows = "表中代码" / "Code in the rows";
    meaning = "含义" / "Meaning";
    back_to = "返回报表：" / "Back to the report: ";
    behind_about = "这个数字由以下单据算出；每张单据计入多少列在其后。"
        / "The documents this figure was computed from, each with what it adds.";
    onwards = "起" / "onwards";
    up_to = "截至" / "up to";
    period = "期间" / "Period";
    all_time = "全部时间" / "all time";
    balance_note = "结存自最早一笔起累计，起始日期不影响；选定某日、某月时计到该日、该月末。"
        / "A balance counts from the first movement on, whatever the period's start; of a day or month, up to its end.";
    added_up = "全部单据合计" / "All documents add up to";
    nothing_behind = "没有单据计入这个数字。" / "No document counts towards this figure.";

    not_found = "没有这个页面" / "There is no such page";
    not_found_about = "它可能已改名，或链接有误。" / "It may have moved, or the link is wrong.";
    bad_request = "这个请求无法处理" / "This request makes no sense";
    failed = "中心的数据库暂时出错" / "The hub's store fails right now";
    disk_full = "中心的磁盘已满" / "The hub's disk is full";
    disk_full_about = "请在中心数据目录所在的磁盘上腾出空间；之后会自动继续，已存的记录不会丢失。"
        / "Make room on the disk of the hub's data folder; it goes on by itself then, and nothing stored is lost.";
    disk_short = "中心的磁盘空间不足，暂不接收新记录；各采集端保留未送达的记录。请腾出空间，之后会自动继续。剩余："
        / "The hub's disk is short of room and nothing new is taken; agents keep what is not acknowledged. Make room and it goes on by itself. Left:";
    just_now = "刚刚" / "just now";
}

/// An age for people, coarse enough that it seldom changes: `3 分钟`.
#[must_use]
pub(super) fn age(lang: Lang, ms: u64) -> String {
    let seconds = ms / 1000;
    let (count, zh, one, many) = match seconds {
        0..60 => (seconds, "秒", "second", "seconds"),
        60..3600 => (seconds / 60, "分钟", "minute", "minutes"),
        3600..86_400 => (seconds / 3600, "小时", "hour", "hours"),
        _ => (seconds / 86_400, "天", "day", "days"),
    };
    match lang {
        Lang::Zh => format!("{count} {zh}"),
        Lang::En => format!("{count} {}", if count == 1 { one } else { many }),
    }
}

/// How long ago: `3 分钟前`. Below a minute in steps of ten seconds, so that a live page stays calm.
#[must_use]
pub(super) fn ago(lang: Lang, ms: u64) -> String {
    match (lang, ms) {
        (_, 0..10_000) => lang.just_now().to_owned(),
        (Lang::Zh, _) => format!("{}前", age(lang, calm(ms))),
        (Lang::En, _) => format!("{} ago", age(lang, calm(ms))),
    }
}

fn calm(ms: u64) -> u64 {
    if ms < 60_000 { ms / 10_000 * 10_000 } else { ms }
}

/// A whole number with its thousands apart.
#[must_use]
pub(super) fn grouped(number: i128) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::from(if number < 0 { "-" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_has_both_languages() {
        for (name, zh, en) in ALL {
            assert!(!zh.trim().is_empty() && !en.trim().is_empty(), "{name}");
            let is_chinese = |text: &str| text.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c));
            let speaks_of_the_other = *name == "switch_language";
            assert_eq!(is_chinese(en), speaks_of_the_other, "{name}: {en}");
            let is_name = *name == "as_json";
            assert_eq!(is_chinese(zh), !speaks_of_the_other && !is_name, "{name}: {zh}");
        }
    }

    #[test]
    fn ages_are_told_in_the_largest_unit() {
        for (ms, zh, en) in [
            (0, "刚刚", "just now"),
            (19_999, "10 秒前", "10 seconds ago"),
            (60_000, "1 分钟前", "1 minute ago"),
            (7_200_000, "2 小时前", "2 hours ago"),
            (86_400_000, "1 天前", "1 day ago"),
        ] {
            assert_eq!((ago(Lang::Zh, ms).as_str(), ago(Lang::En, ms).as_str()), (zh, en));
        }
    }

    #[test]
    fn thousands_stand_apart() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (-1_234_567, "-1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }
}
