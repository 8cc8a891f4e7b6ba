//! Notices.

use super::Story;

pub(super) const STORIES: &[Story] = &[("{published}\nhub b withdraw withdrawal=已更正", "withdrawn hub")];
