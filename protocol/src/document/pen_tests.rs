//! The pen between sites and the hub: who may act, who may take it, and what people are told who may not.

use std::collections::BTreeMap;

use super::capture::{Books, Moment, Wish, capture};
use super::fold::Writer;
use super::{Document, Party};
use crate::id::IdSource;
use crate::kind::header;
use crate::site::{SiteId, Sites};
use crate::time::Timestamp;
use crate::value::Value;

struct NoBooks;

impl Books for NoBooks {
    fn on_hand_milli(&self, _item: &str, _location: &str) -> i64 {
        0
    }

    fn positions(&self) -> (u64, u64) {
        (0, 0)
    }
}

/// A document on its way, and what people were told who could not act.
struct Desk {
    document: Option<Document>,
    ids: IdSource,
}

impl Desk {
    fn new() -> Desk {
        let mut desk = Desk { document: None, ids: IdSource::new([7; 10]) };
        let set = [("site", "3702"), ("zone", "A"), ("counter", "李娜")];
        desk.act("3702", "open", &set).unwrap();
        desk
    }

    /// Acts as the hub or as a site's agent; gives who holds the pen then, or the first problem in both languages.
    fn act(&mut self, who: &str, act: &str, set: &[(&str, &str)]) -> Result<Party, (String, String)> {
        let sites = Sites::Only(who.parse().into_iter().collect());
        let writer = if who == "hub" { Writer::Hub } else { Writer::Agent(&sites) };
        let set: BTreeMap<String, Value> = set.iter().map(|(key, text)| ((*key).to_owned(), (*text).into())).collect();
        let document = self.document.as_ref().map(|document| document.id);
        let wish =
            Wish { document, kind: "count_sheet".into(), act: act.into(), set, author: "王芳".into(), cause: None };
        let moment = Moment { id: self.ids.entry(), now: Timestamp(1_760_000_000_000), mono_ms: 0, boot: 0, clock: 0 };
        let captured = capture(self.document.as_ref(), wish, moment, writer, &NoBooks);
        let captured = captured.map_err(|mut problems| {
            let first = problems.swap_remove(0);
            (first.zh, first.en)
        })?;
        self.document = Some(captured.document.clone());
        Ok(captured.document.pen)
    }

    fn check(&mut self, who: &str, act: &str, set: &[(&str, &str)], expected: &str) {
        let told = match self.act(who, act, set) {
            Ok(Party::Hub) => "hub".to_owned(),
            Ok(Party::Site(site)) => site.to_string(),
            Err((zh, en)) => format!("{zh} / {en}"),
        };
        assert_eq!(told, expected, "{who} {act}");
    }
}

#[test]
fn the_hub_takes_the_pen_of_a_dead_outlet_and_gives_it_on() {
    let reason = [(header::RECLAIM_REASON.name(), "设备已毁")];
    let mut desk = Desk::new();
    desk.check(
        "hub",
        "lock",
        &[],
        "单据不在本方手中，现由网点 3702 持有 / the writer does not hold the pen, site 3702 does",
    );
    desk.check("hub", "reclaim", &[], "收回须填写原因 / reclaiming needs a reason");
    desk.check("3702", "reclaim", &reason, "当前状态不能执行此操作 / 'reclaim' is not possible in state 'open'");
    desk.check("hub", "reclaim", &reason, "hub");
    desk.check("hub", "reclaim", &reason, "单据已在中心手中 / the hub holds the pen already");
    desk.check("3702", "lock", &[], "单据不在本方手中，现由中心持有 / the writer does not hold the pen, the hub does");
    desk.check("hub", "hand_over", &[(header::PEN_SITE.name(), "3703")], "3703");
    desk.check(
        "3702",
        "lock",
        &[],
        "单据不在本方手中，现由网点 3703 持有 / the writer does not hold the pen, site 3703 does",
    );
    desk.check("3703", "recounter", &[], "没有这个操作 / 'count_sheet' has no act 'recounter'");
    desk.check("hub", "reclaim", &reason, "hub");
    desk.check("hub", "hand_over", &[], "3702");
}

#[test]
fn a_pen_given_to_the_hubs_own_site_is_the_hubs() {
    let reason = [(header::RECLAIM_REASON.name(), "设备已毁")];
    let mut desk = Desk::new();
    desk.check("hub", "reclaim", &reason, "hub");
    desk.check("hub", "hand_over", &[(header::PEN_SITE.name(), SiteId::hub().as_str())], "hub");
}
