//! Part transfers in their three ways.

use super::Story;

pub(super) const STORIES: &[Story] = &[
    ("{asked}\nhub t reject reject_reason=停产", "rejected hub"),
    ("{owed}\nA t receive received=q:2000\nhub t close", "closed hub"),
    (
        "{asked}\nhub t approve mode=supplier supplier=S1 approved=q:1000\nhub t ship shipped=q:1000 waybill=W1",
        "shipped A",
    ),
    ("{owed}\nA t receive_damaged received=q:1500 damaged=q:500\nhub t conclude conclusion=补发", "closed hub"),
    ("{assigned}\nB t refuse refusal=无货\nhub t reject reject_reason=无货", "rejected hub"),
    (
        "{assigned}\nB t refuse refusal=无货\nhub t approve mode=maker approved=q:2000\nhub t ship shipped=q:2000 waybill=W1",
        "shipped A",
    ),
    ("{assigned}\nB t accept\nB t refuse refusal=盘亏\nhub t assign source=C approved=q:1000", "assigned C"),
    ("{lent}\nA t receive_short received=q:1000\nhub t conclude conclusion=扣款", "closed hub"),
];
