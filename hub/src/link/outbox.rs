//! Replies on their way out: completed with credit and the hub's key, signed, published.
//!
//! Each reply was queued after the commit it speaks of. A reply that cannot leave is dropped: the agent asks again.

use std::sync::Arc;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use rumqttc::v5::mqttbytes::QoS;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::watch;
use waystation_protocol::PROTOCOL_VERSION;
use waystation_protocol::chain::Mark;
use waystation_protocol::frame;
use waystation_protocol::id::AgentId;
use waystation_protocol::message::{Ack, Message, Welcome};
use waystation_protocol::time::Timestamp;
use waystation_protocol::topic;

use super::Line;
use super::admission::pressure_ms;
use super::credit::Shares;
use crate::clock;
use crate::down::Downward;
use crate::ingest::{Acknowledgement, Greeting, Reply};
use crate::store::{HubIdentity, Store};

/// The lowest protocol this build still speaks.
const OLDEST_PROTOCOL: u8 = 1;

/// A reply that waits longer for the event loop, although the connection stands, means a wedged client.
const STALL: Duration = Duration::from_secs(30);

struct Outbox {
    store: Store,
    post: Post,
    shares: Shares,
    /// To whoever sends the downward journals: in the order of replies, so that a WELCOME leaves first.
    down: UnboundedSender<Downward>,
}

/// Signs and publishes.
#[derive(Clone)]
pub(super) struct Post {
    pub(super) key: SigningKey,
    pub(super) line: Arc<Line>,
}

/// Sends replies until the link stops.
pub(super) async fn run(
    mut replies: UnboundedReceiver<Reply>,
    store: Store,
    post: Post,
    down: UnboundedSender<Downward>,
    mut stopping: watch::Receiver<bool>,
) {
    let mut outbox = Outbox { store, post, shares: Shares::default(), down };
    loop {
        let reply = tokio::select! {
            reply = replies.recv() => reply,
            _ = stopping.changed() => return,
        };
        let Some(reply) = reply else { return };
        let sending = async {
            match reply {
                Reply::Welcome(greeting) => outbox.welcome(*greeting).await,
                Reply::Ack(ack) => outbox.acknowledge(*ack).await,
                Reply::Down(downward) => outbox.hand_on(*downward),
            }
        };
        tokio::select! {
            () = sending => {}
            _ = stopping.changed() => return,
        }
    }
}

impl Outbox {
    async fn welcome(&mut self, mut greeting: Greeting) {
        let credit = self.credit(greeting.agent);
        let (agent, meeting) = (greeting.agent, greeting.meeting.take());
        let Some(welcome) = welcome(greeting, self.store.identity(), &self.post.key, credit, clock::now()) else {
            self.store.counters().protocols_refused.one();
            return;
        };
        if self.post.publish(agent, &welcome).await {
            self.store.counters().welcomes_sent.one();
            meeting.into_iter().for_each(|meeting| self.hand_on(Downward::Meet(meeting)));
        }
    }

    fn hand_on(&self, downward: Downward) {
        // without a receiver the link is stopping
        let _ = self.down.send(downward);
    }

    async fn acknowledge(&mut self, ack: Acknowledgement) {
        let (agent, credit) = (ack.agent, self.credit(ack.agent));
        let pause_ms = self.pause_ms(&ack);
        if self.post.publish(agent, &acknowledgement(ack, credit, pause_ms)).await {
            self.store.counters().acks_sent.one();
        }
    }

    /// What acknowledges nothing asks for no pause of its own: that would answer a HELLO.
    fn pause_ms(&self, ack: &Acknowledgement) -> u64 {
        let queued_bytes = self.store.counters().queued_bytes.value();
        let is_nothing = ack.stored == Mark::ZERO;
        ack.retry_after_ms.unwrap_or_else(|| if is_nothing { 0 } else { pressure_ms(queued_bytes, any_random()) })
    }

    fn credit(&mut self, agent: AgentId) -> u64 {
        self.shares.grant(agent, self.store.counters().queued_bytes.value(), clock::tick())
    }
}

impl Post {
    pub(super) async fn publish<M: Message>(&self, agent: AgentId, message: &M) -> bool {
        let bytes = frame::seal(M::FRAME, &message.to_body(), &self.key);
        let client = self.line.client();
        let sending = client.publish(topic::down(agent), QoS::AtLeastOnce, false, bytes);
        match tokio::time::timeout(STALL, sending).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::debug!(%agent, %error, "reply dropped: the client is being rebuilt");
                false
            }
            Err(_) => {
                if self.line.is_connected() {
                    self.line.stalled.notify_one();
                }
                false
            }
        }
    }
}

/// The WELCOME that leaves at `now`; none where the agent speaks no protocol of ours.
pub(crate) fn welcome(
    greeting: Greeting,
    identity: HubIdentity,
    key: &SigningKey,
    credit: u64,
    now: Timestamp,
) -> Option<Welcome> {
    let Some(protocol) = negotiate(greeting.protocols) else {
        tracing::error!(agent = %greeting.agent, protocols = ?greeting.protocols, "HELLO refused: no common protocol");
        return None;
    };
    Some(Welcome {
        session: greeting.session,
        hub: identity.id.to_vec().into(),
        public_key: key.verifying_key().as_bytes().to_vec().into(),
        hub_epoch: identity.epoch,
        stream: greeting.stream,
        ladder: greeting.ladder,
        processed: greeting.processed,
        prunable: greeting.prunable,
        down: greeting.down,
        down_prunable: greeting.down_prunable,
        credit,
        letter: greeting.letter,
        challenge: greeting.challenge,
        protocol,
        capabilities: Vec::new(),
        t1: greeting.sent_at,
        t2: greeting.received_at,
        t3: now,
    })
}

/// Random bits; without a random source pauses are not spread.
pub(super) fn any_random() -> u64 {
    clock::random().map_or(0, u64::from_le_bytes)
}

/// The ACK that leaves now, and asks for this pause.
pub(crate) fn acknowledgement(ack: Acknowledgement, credit: u64, retry_after_ms: u64) -> Ack {
    Ack {
        session: ack.session,
        stream: ack.stream,
        stored: ack.stored,
        processed: ack.processed,
        prunable: ack.prunable,
        down_prunable: ack.down_prunable,
        missing: ack.missing,
        credit,
        retry_after_ms,
    }
}

/// The highest protocol both speak.
fn negotiate((lowest, highest): (u8, u8)) -> Option<u8> {
    let common = highest.min(PROTOCOL_VERSION);
    (common >= lowest.max(OLDEST_PROTOCOL)).then_some(common)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves R-VER-1.
    #[test]
    fn the_highest_common_protocol_is_spoken() {
        assert_eq!(negotiate((1, 1)), Some(1));
        assert_eq!(negotiate((1, 9)), Some(PROTOCOL_VERSION));
        assert_eq!(negotiate((PROTOCOL_VERSION + 1, 9)), None);
        assert_eq!(negotiate((0, 0)), None);
    }
}
