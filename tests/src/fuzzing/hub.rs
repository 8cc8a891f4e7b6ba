//! What the hub takes from outside: frames of an agent, and the questions of its API.

use waystation_hub::api::documents::DocumentQuery;
use waystation_hub::ingest::{Keys, Rejected, Upward, verify};
use waystation_hub::reports::{Question, REPORTS};
use waystation_protocol::frame::{self, FrameType};
use waystation_protocol::id::AgentId;

use super::Input;
use super::wire::{key, opens};

const AGENT: AgentId = AgentId::from_bytes([9; 16]);

/// One frame, or one query.
pub fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    match input.byte() % 3 {
        0 => raw(input.rest()),
        1 => sealed(input),
        _ => questions(input),
    }
}

/// Bytes nobody signed: with a key pinned, none of them is believed.
fn raw(bytes: &[u8]) {
    let keys = Keys::new([(AGENT, key().verifying_key())], Some(key().verifying_key()));
    match verify(AGENT, bytes, &keys) {
        Err(_) => {}
        Ok(Upward::Hello(hello, _)) => assert_eq!(hello.public_key.as_slice(), key().verifying_key().as_bytes()),
        Ok(_) => assert_eq!(&bytes[..1], [waystation_protocol::PROTOCOL_VERSION], "a frame the pinned key signed"),
    }
    let nobody = Keys::default();
    let _ = verify(AGENT, bytes, &nobody);
    assert!(nobody.find(AGENT).is_none() || bytes.len() > 100, "a key is pinned only by a whole HELLO");
}

/// Any body under the agent's own signature.
fn sealed(mut input: Input<'_>) {
    let kinds = [FrameType::Hello, FrameType::Batch, FrameType::Heartbeat, FrameType::Death, FrameType::Welcome];
    let (kind, is_known) = (input.pick(&kinds), input.byte().is_multiple_of(2));
    let keys = if is_known {
        Keys::new([(AGENT, key().verifying_key())], Some(key().verifying_key()))
    } else {
        Keys::default()
    };
    let bytes = frame::seal(kind, input.rest(), &key());
    match verify(AGENT, &bytes, &keys) {
        Ok(Upward::Batch(batch, _)) => {
            assert_eq!(batch.1.len(), batch.0.count as usize);
            opens(&batch.0);
        }
        Ok(Upward::Hello(hello, _)) => assert!(hello.agent == AGENT && keys.find(AGENT).is_some()),
        Ok(Upward::Newer(_)) => panic!("the frame is of this protocol"),
        Ok(Upward::Stranger(_)) => assert!(!is_known, "a known agent is no stranger"),
        Ok(Upward::Ack(_) | Upward::Heartbeat(_) | Upward::Death(_)) => {
            assert!(is_known, "an unknown agent says HELLO first")
        }
        Err(Rejected::WrongDirection(found)) => assert!(matches!(found, FrameType::Welcome)),
        Err(_) => {}
    }
}

/// Queries as they stand after a question mark.
fn questions(mut input: Input<'_>) {
    let report = input.pick(REPORTS);
    let text = input.rest_text();
    let pairs = text.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let pairs: Vec<(String, String)> = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    if let Ok(question) = Question::parse(report, &pairs) {
        assert!(question.from.is_none() || question.to.is_none() || question.from <= question.to);
        assert!(question.by.len() <= report.allowed().len(), "no key twice");
    }
    let given = |wanted: &str| pairs.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
    let query = DocumentQuery {
        kind: given("kind"),
        site: given("site"),
        state: given("state"),
        q: given("q"),
        cursor: given("cursor"),
        limit: given("limit").and_then(|limit| limit.parse().ok()),
        flagged: None,
    };
    if let Ok(filter) = query.filter() {
        assert!(filter.kind.is_none_or(|kind| waystation_protocol::kind::find(&kind).is_some()));
    }
}
