//! Two devices of one identity and the hub's fence: who is given the down journal.
//!
//! Asks: does a late copy of a HELLO ever take the down journal away from the session that has it; does every device
//! that goes on alone get it. Captures are not fenced and do not appear.

use std::collections::BTreeSet;

use stateright::{Model, Property};

/// Who is admitted while another session has the down journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fence {
    /// The successor of the session that has it, or whoever answers a challenge issued since that one has it.
    Fresh,
    /// Whoever answers a challenge issued to it at any time: planted.
    AnyAnswer,
    /// Everyone: planted.
    None,
    /// Nobody: planted.
    Forever,
    /// Only in the session that was challenged, while every HELLO here comes on a new connection: planted.
    SameSession,
}

type Session = u8;
type Nonce = u8;

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Message {
    /// Agent to hub. `turn` is no field: it counts the hand-overs before it was sent, for the property.
    Hello {
        /// This session.
        session: Session,
        /// The last one that was welcomed.
        last: Session,
        /// The answer to a challenge; 0 is none.
        answer: Nonce,
        /// Hand-overs so far.
        turn: u8,
    },
    /// Hub to agent.
    Welcome {
        /// The session it answers.
        session: Session,
        /// To be answered; 0 is none, and means admitted.
        challenge: Nonce,
    },
}

/// A device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Device {
    session: Session,
    last: Session,
    challenge: Nonce,
    is_admitted: bool,
}

/// Everything there is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct State {
    devices: [Device; 2],
    active: Session,
    /// Challenges out, with the session each was given to.
    open: BTreeSet<(Nonce, Session)>,
    nonces: Nonce,
    sessions: Session,
    turn: u8,
    taken_by_a_late_copy: bool,
    network: BTreeSet<Message>,
}

/// What happens next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A device greets.
    Greet(usize),
    /// The hub reads a HELLO.
    ToHub(Message),
    /// A device reads a WELCOME.
    ToDevice(usize, Message),
}

/// The model.
#[derive(Debug, Clone)]
pub struct Challenge {
    /// By which rule.
    pub fence: Fence,
    /// HELLOs in all.
    pub hellos: u8,
    /// Challenges in all.
    pub challenges: u8,
}

/// Only a HELLO sent since the present session has the down journal may take it over.
pub const NO_REPLAY: &str = "no late copy takes the down journal over";
/// No lock-out.
pub const ADMITS: &str = "a device that goes on alone is admitted within three HELLOs";

impl Model for Challenge {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State::default()]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        if state.sessions < self.hellos {
            steps.extend([Step::Greet(0), Step::Greet(1)]);
        }
        for message in &state.network {
            match message {
                Message::Hello { .. } if state.nonces < self.challenges => steps.push(Step::ToHub(message.clone())),
                Message::Hello { .. } => {}
                Message::Welcome { .. } => {
                    steps.extend([0, 1].map(|index| Step::ToDevice(index, message.clone())));
                }
            }
        }
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut state = last.clone();
        match step {
            Step::Greet(index) => {
                let hello = greet(&mut state, index);
                state.network.insert(hello);
            }
            Step::ToHub(message) => {
                let welcome = self.hub_reads(&mut state, &message);
                state.network.insert(welcome);
            }
            Step::ToDevice(index, message) => device_reads(&mut state.devices[index], &message),
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(NO_REPLAY, |_, state: &State| !state.taken_by_a_late_copy),
            Property::always(ADMITS, |model: &Challenge, state: &State| (0..2).all(|index| model.admits(state, index))),
            Property::sometimes("the down journal changes hands twice", |_, state: &State| state.turn > 2),
        ]
    }
}

fn greet(state: &mut State, index: usize) -> Message {
    state.sessions += 1;
    let device = &mut state.devices[index];
    device.session = state.sessions;
    device.is_admitted = false;
    let Device { session, last, challenge: answer, .. } = *device;
    Message::Hello { session, last, answer, turn: state.turn }
}

fn device_reads(device: &mut Device, message: &Message) {
    if let Message::Welcome { session, challenge } = message
        && *session == device.session
    {
        device.challenge = *challenge;
        device.is_admitted = *challenge == 0;
        if device.is_admitted {
            device.last = device.session;
        }
    }
}

impl Challenge {
    fn hub_reads(&self, state: &mut State, message: &Message) -> Message {
        let Message::Hello { session, last, answer, turn } = *message else { return message.clone() };
        let answers = state.open.iter().any(|(nonce, _)| *nonce == answer);
        let passes = match self.fence {
            Fence::Fresh => last == state.active || answers,
            Fence::AnyAnswer => answer != 0,
            Fence::None => true,
            Fence::Forever => false,
            Fence::SameSession => state.open.contains(&(answer, session)),
        };
        if state.active == session {
            return Message::Welcome { session, challenge: 0 };
        }
        if state.active == 0 || passes {
            state.taken_by_a_late_copy |= turn != state.turn;
            state.active = session;
            state.turn += 1;
            state.open.clear();
            return Message::Welcome { session, challenge: 0 };
        }
        let given = state.open.iter().find(|(_, to)| *to == session).map(|(nonce, _)| *nonce);
        let challenge = given.unwrap_or_else(|| {
            state.nonces += 1;
            state.nonces
        });
        state.open.insert((challenge, session));
        Message::Welcome { session, challenge }
    }

    /// Whether a device that alone goes on is let in.
    fn admits(&self, state: &State, index: usize) -> bool {
        let mut state = state.clone();
        (0..3).any(|_| {
            let hello = greet(&mut state, index);
            let welcome = self.hub_reads(&mut state, &hello);
            device_reads(&mut state.devices[index], &welcome);
            state.devices[index].is_admitted && state.active == state.devices[index].session
        })
    }
}
