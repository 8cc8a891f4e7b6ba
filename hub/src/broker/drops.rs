//! Counts the messages the broker throws away because a subscriber's queue is full.
//!
//! rmqtt drops in silence; every drop is a resend from a journal, so an operator must be able to see them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use rmqtt::hook::{Handler, HookResult, Parameter, ReturnType};
use rmqtt::types::Reason;

#[derive(Debug, Clone, Default)]
pub(super) struct Drops(Arc<AtomicU64>);

impl Drops {
    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Handler for Drops {
    async fn hook(&self, parameter: &Parameter, outcome: Option<HookResult>) -> ReturnType {
        if let Parameter::MessageDropped(Some(subscriber), _, _, Reason::MessageQueueFull) = parameter {
            let dropped = self.0.fetch_add(1, Ordering::Relaxed) + 1;
            // a full queue drops thousands in a row: the line comes at 1, 2, 4, 8, …
            if dropped.is_power_of_two() {
                tracing::warn!(subscriber = %subscriber.client_id, dropped, "queue full, broker drops messages");
            }
        }
        (true, outcome)
    }
}
