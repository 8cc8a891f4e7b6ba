//! Notice 通知: what the hub publishes to all outlets or to some. Acknowledgements and replies are notes.

use super::{Audience, Kind};
use crate::document::capture::{Change, Problem};
use crate::document::flow::{Holder, Role, State, open, state, step};
use crate::site::SiteId;

/// To be read.
pub const PUBLISHED: State = state("published", "已发布", "Published");
/// Not to be followed any more.
pub const WITHDRAWN: State = state("withdrawn", "已撤回", "Withdrawn");

crate::fields! {
    pub TITLE: Text = "title" "标题" / "Title", from PUBLISHED, searched;
    pub BODY: Text = "body" "正文" / "Body", from PUBLISHED;
    /// `*` for all, or names of sites, one per line.
    pub AUDIENCE: Text = "audience" "通知范围" / "Audience", from PUBLISHED;
    pub ACK_DUE: Due = "ack_due" "回执期限" / "Acknowledge by";
    pub WITHDRAWAL: Text = "withdrawal" "撤回原因" / "Reason for withdrawal";
    /// Stands in notes.
    pub ACKNOWLEDGED: Flag = "acknowledged" "已阅" / "Acknowledged";
}

const BY: &[Role] = &[Role::Ops, Role::Admin, Role::Reviewer, Role::SettlementClerk];

/// The declaration.
pub static NOTICE: Kind = Kind {
    name: "notice",
    code: "NT",
    zh: "通知",
    en: "Notice",
    states: &[PUBLISHED, WITHDRAWN],
    fields: FIELDS,
    flow: &[
        open("publish", "发布", "Publish", PUBLISHED).by(BY).pen(Holder::Hub),
        step("withdraw", "撤回", "Withdraw", &[PUBLISHED], WITHDRAWN).by(BY).takes(&[WITHDRAWAL.col()]),
    ],
    checks: &[reaches_somebody, stands_as_published],
    audience: |notice| audience(notice.get(AUDIENCE).unwrap_or_default()).unwrap_or(Audience::Nobody),
    ..Kind::PLAIN
};

/// Whom a text names; none where it names nobody, or something that is no site's name.
fn audience(text: &str) -> Option<Audience> {
    if text.trim() == "*" {
        return Some(Audience::Everyone);
    }
    let names = text.lines().filter(|name| !name.trim().is_empty());
    let sites: Vec<SiteId> = names.map(|name| name.parse().ok()).collect::<Option<_>>()?;
    (!sites.is_empty()).then_some(Audience::Sites(sites))
}

fn reaches_somebody(change: &Change<'_>) -> Vec<Problem> {
    match change.after.get(AUDIENCE) {
        Some(text) if audience(text).is_none() => {
            vec![Problem::at(AUDIENCE.name(), "须为 * 或每行一个网点名", "this is * or one site's name per line")]
        }
        Some(_) | None => Vec::new(),
    }
}

/// Who was told keeps the text he was told; whoever acknowledges it does so by a note.
fn stands_as_published(change: &Change<'_>) -> Vec<Problem> {
    let is_fixed = |key: &&String| {
        let is_text = [TITLE.name(), BODY.name(), AUDIENCE.name(), ACK_DUE.name()].contains(&key.as_str());
        *key == ACKNOWLEDGED.name() || change.before.is_some() && is_text
    };
    let fixed = change.set.keys().filter(is_fixed);
    fixed.map(|key| Problem::at(key, "此步骤不能填写该字段", "this act does not set this field")).collect()
}
