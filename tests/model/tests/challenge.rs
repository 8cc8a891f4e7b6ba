//! Who is given the down journal.

use waystation_model::challenge::{ADMITS, Challenge, Fence, NO_REPLAY};
use waystation_model::check::{breaks, holds};

fn model(fence: Fence) -> Challenge {
    Challenge { fence, hellos: 4, challenges: 4 }
}

/// Proves R-FENCE-1.
#[test]
fn the_fence_holds() {
    holds("two devices, four HELLOs, four challenges", model(Fence::Fresh));
}

#[test]
fn a_fence_that_is_bent_is_caught() {
    breaks("any answer", model(Fence::AnyAnswer), NO_REPLAY);
    breaks("no fence", model(Fence::None), NO_REPLAY);
    breaks("fenced for ever", model(Fence::Forever), ADMITS);
    breaks("an answer counts only in the session that was asked", model(Fence::SameSession), ADMITS);
}
