//! Flow: the states of a kind and the steps between them, each with who may take it and who holds the pen next.

use super::column::Col;

/// A state of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// The wire name.
    pub name: &'static str,
    /// The label in Chinese.
    pub zh: &'static str,
    /// The label in English.
    pub en: &'static str,
}

/// Declares a state. A kind lists its states in the order of its work: what is required from one is required in all
/// that come after it.
pub const fn state(name: &'static str, zh: &'static str, en: &'static str) -> State {
    State { name, zh, en }
}

/// The state every kind's `void` leads to.
pub const VOID: State = state("void", "作废", "Void");

/// What a person is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the roles")]
pub enum Role {
    Advisor,
    Technician,
    PartsClerk,
    Counter,
    Carrier,
    Reviewer,
    SettlementClerk,
    CallbackOperator,
    SpotChecker,
    Ops,
    Admin,
}

/// Who holds the pen after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// The document's own site.
    Origin,
    /// The hub.
    Hub,
    /// The site that this field of the document names.
    Named(&'static str),
}

/// A step of a flow.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// The act's wire name.
    pub act: &'static str,
    /// The label in Chinese.
    pub zh: &'static str,
    /// The label in English.
    pub en: &'static str,
    /// The states it may be taken from; none for a step that opens a document.
    pub from: &'static [State],
    /// The state it leads to; none if the state stays.
    pub to: Option<State>,
    /// Who may take it; anyone at the pen's holder if empty.
    pub roles: &'static [Role],
    /// Who holds the pen next; unchanged if none.
    pub pen: Option<Holder>,
    /// Fields that it must set. A field some step takes is set by such steps alone.
    pub takes: &'static [&'static str],
    /// Whether a new round begins.
    pub is_next_round: bool,
}

/// A step from any of `from` to `to`.
pub const fn step(act: &'static str, zh: &'static str, en: &'static str, from: &'static [State], to: State) -> Step {
    Step { act, zh, en, from, to: Some(to), roles: &[], pen: None, takes: &[], is_next_round: false }
}

/// A step that opens a document in `to`; its site holds the pen.
pub const fn open(act: &'static str, zh: &'static str, en: &'static str, to: State) -> Step {
    step(act, zh, en, &[], to)
}

/// A step that leaves the state as it is.
pub const fn stay(act: &'static str, zh: &'static str, en: &'static str, from: &'static [State]) -> Step {
    Step { act, zh, en, from, to: None, roles: &[], pen: None, takes: &[], is_next_round: false }
}

impl Step {
    /// Only these roles may take it.
    pub const fn by(mut self, roles: &'static [Role]) -> Step {
        self.roles = roles;
        self
    }

    /// Hands the pen over.
    pub const fn pen(mut self, holder: Holder) -> Step {
        self.pen = Some(holder);
        self
    }

    /// Must set these fields, which other steps then may not.
    pub const fn takes(mut self, fields: &'static [&'static str]) -> Step {
        self.takes = fields;
        self
    }

    /// Begins a new round.
    pub const fn next_round(mut self) -> Step {
        self.is_next_round = true;
        self
    }

    /// Whether a site's people take it; so they do where it names no role.
    pub fn is_for_sites(&self) -> bool {
        self.roles.is_empty() || self.roles.iter().any(|role| !role.is_of_hub())
    }

    /// Whether the hub's people take it. A step the hub takes on behalf of a site needs only the pen.
    pub fn is_for_hub(&self) -> bool {
        self.roles.iter().any(|role| role.is_of_hub())
    }

    /// Whether nobody but the hub's people takes it, wherever the pen was given.
    pub fn is_for_hub_alone(&self) -> bool {
        !self.roles.is_empty() && self.roles.iter().all(|role| role.is_of_hub())
    }

    /// Whether it opens a document.
    pub const fn is_opening(&self) -> bool {
        self.from.is_empty()
    }

    /// Whether it may be taken from the state of this name.
    pub fn starts_in(&self, state: &str) -> bool {
        self.from.iter().any(|from| from.name == state)
    }
}

impl<T> Col<T> {
    /// The column's name, for [`Step::takes`].
    pub const fn col(self) -> &'static str {
        self.name()
    }
}

impl Role {
    /// Whether its people sit at the hub.
    pub const fn is_of_hub(self) -> bool {
        match self {
            Role::Advisor | Role::Technician | Role::PartsClerk | Role::Counter | Role::Carrier => false,
            Role::Reviewer
            | Role::SettlementClerk
            | Role::CallbackOperator
            | Role::SpotChecker
            | Role::Ops
            | Role::Admin => true,
        }
    }

    /// The wire name.
    pub const fn name(self) -> &'static str {
        match self {
            Role::Advisor => "advisor",
            Role::Technician => "technician",
            Role::PartsClerk => "parts_clerk",
            Role::Counter => "counter",
            Role::Carrier => "carrier",
            Role::Reviewer => "reviewer",
            Role::SettlementClerk => "settlement_clerk",
            Role::CallbackOperator => "callback_operator",
            Role::SpotChecker => "spot_checker",
            Role::Ops => "ops",
            Role::Admin => "admin",
        }
    }
}
