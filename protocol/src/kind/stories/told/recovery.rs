//! Recoveries: admitted, or disputed and appraised.

use super::Story;

pub(super) const STORIES: &[Story] = &[
    ("{judged}\nhub v correct basis=复核\nhub v notify\nhub v confirm\nhub v agree agreed=m:10005", "agreed hub"),
    (
        "{appraised}\nhub v agree agreed=m:5002\nhub v invoice invoice_no=F1\nhub v pay paid=m:5000\nhub v close",
        "closed hub",
    ),
];
