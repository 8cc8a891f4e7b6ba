//! People at the hub: they decide on what is passed to them, give commands, publish notices, admit sessions and resolve what
//! is set aside. What each of them was told is written down, to be judged.

use std::collections::BTreeMap;

use rusqlite::OptionalExtension;
use waystation_hub::down::{ActError, Deed};
use waystation_hub::store::{Action as Asked, Ask, AskError, Change, EntryPlace};
use waystation_protocol::chain::Seq;
use waystation_protocol::document::capture::Wish;
use waystation_protocol::down::Command;
use waystation_protocol::id::{DocId, EntryId, StreamId};
use waystation_protocol::time::Timestamp;
use waystation_protocol::value::Value;

use crate::chance::Chance;
use crate::device::describe;
use crate::oracle::papers::Act;
use crate::oracle::sql;
use crate::poison::STRANGERS;
use crate::violation::{Violation, broken};
use crate::world::World;

/// What a command may be; the last is none that an agent knows.
const COMMANDS: [&str; 5] = ["report", "resend", "prune", "rebuild_cache", "dance"];
/// How long a command may be carried out …
const COMMAND_MS: i64 = 6 * 3_600_000;
/// … and how late one comes that comes too late.
const LATE_MS: i64 = 15 * 60_000;

/// What people at the hub did, and were told.
#[derive(Debug, Default)]
pub(crate) struct People {
    /// Acts that are stored, whose authors wait.
    pub(crate) under_way: Vec<Deed>,
    /// Acts whose authors were told that they are applied.
    pub(crate) told: Vec<EntryId>,
    /// Commands given, with the last moment to carry each out.
    pub(crate) commands: BTreeMap<[u8; 16], Given>,
    /// Notices that were published.
    pub(crate) notices: Vec<DocId>,
}

/// A command that was given.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Given {
    /// The last moment to carry it out, by the hub's clock.
    pub(crate) not_after: i64,
}

impl People {
    /// The hub was killed: nobody who waits is told anything.
    pub(crate) fn hang_up(&mut self) {
        self.under_way.clear();
    }

    /// Whether somebody waits for an act.
    pub(crate) fn are_waiting(&self) -> bool {
        !self.under_way.is_empty()
    }
}

/// Tells the authors of acts what became of them.
pub(crate) fn answer(world: &mut World) -> Result<(), Violation> {
    let is_calm = !world.has_branches && !world.has_restores && !world.is_shared;
    let Some(worker) = world.hub.workers.first_mut() else { return Ok(()) };
    let mut waiting = Vec::new();
    for deed in std::mem::take(&mut world.people.under_way) {
        match worker.outcome(&deed) {
            Ok(None) => waiting.push(deed),
            Ok(Some(_)) => world.people.told.push(deed.entry()),
            Err(ActError::Superseded | ActError::SetAside(_)) if !is_calm => {}
            Err(error) => return Err(broken("I9", format!("a legal act of the hub's fails: {}", describe(&error)))),
        }
    }
    world.people.under_way = waiting;
    Ok(())
}

/// Whether the hub came back older and waits for its agents.
pub(crate) fn is_restoring(world: &mut World) -> Result<bool, Violation> {
    let folder = world.hub.folder().to_owned();
    let query = "SELECT EXISTS (SELECT 1 FROM restore WHERE ended_at IS NULL)";
    world.oracle.books(&folder)?.query_row(query, [], |row| row.get(0)).map_err(sql)
}

/// Whether an open restore waits for strangers: they never bring anything back, so that only ops ends it.
pub(crate) fn are_strangers_awaited(world: &mut World) -> Result<bool, Violation> {
    let folder = world.hub.folder().to_owned();
    let query = "SELECT EXISTS (SELECT 1 FROM restore_agent JOIN restore ON restore.id = restore_agent.restore
                 WHERE ended_at IS NULL AND agent = ?1)";
    world.oracle.books(&folder)?.query_row(query, [&STRANGERS[0][..]], |row| row.get(0)).map_err(sql)
}

/// Gives the agent of a device a command.
pub(crate) fn command(world: &mut World, index: usize, is_late: bool, chance: &mut Chance) -> Result<(), Violation> {
    let (Some(agent), wall) = (world.stations[index].agent(), world.wall()) else { return Ok(()) };
    let not_after = if is_late { wall - LATE_MS } else { wall + COMMAND_MS };
    let name = chance.pick(&COMMANDS);
    let command = Command { name: (*name).to_owned(), args: String::new(), not_after: Timestamp(not_after) };
    let Some(worker) = world.hub.workers.first_mut() else { return Ok(()) };
    let given = worker.give_command(agent, &command, "赵审").map_err(fails)?;
    if let Some(entry) = given {
        world.count("command given");
        world.note(|| format!("the hub commands device {index}: {name}"));
        world.people.commands.insert(*entry.as_bytes(), Given { not_after });
        world.hub.is_due = true;
    }
    Ok(())
}

/// Publishes a notice to everybody.
pub(crate) fn notice(world: &mut World) -> Result<(), Violation> {
    let text = |name: &str, text: String| (name.to_owned(), Value::from(text));
    let title = format!("通知 {}", world.people.notices.len() + 1);
    let set = BTreeMap::from([
        text("title", title),
        text("body", "盘点于周五截止".to_owned()),
        text("audience", "*".to_owned()),
    ]);
    let (kind, act, author) = ("notice".to_owned(), "publish".to_owned(), "赵审".to_owned());
    let wish = Wish { document: None, kind, act, set, author, cause: None };
    let wall = world.wall();
    let Some(worker) = world.hub.workers.first_mut() else { return Ok(()) };
    match worker.act(wish, None, Timestamp(wall)) {
        Ok(Some(deed)) => {
            world.count("notice");
            world.note(|| format!("the hub will publish {}", deed.document()));
            world.hub.is_due = true;
            world.people.notices.push(deed.document());
            world.people.under_way.push(deed);
            Ok(())
        }
        // earlier acts are being processed
        Ok(None) => Ok(()),
        Err(ActError::Frozen(_)) if is_restoring(world)? => Ok(()),
        Err(error) => Err(broken("I9", format!("a notice is refused: {}", describe(&error)))),
    }
}

/// Ops admits what could not answer its challenge.
pub(crate) fn admit(world: &mut World, index: usize) {
    let (Some(agent), Some(worker)) = (world.stations[index].agent(), world.hub.workers.first_mut()) else { return };
    // an agent that the hub has not met yet is refused
    if let Ok(Some(session)) = worker.admit(agent) {
        world.count("session admitted");
        world.note(|| format!("ops admits session {session}"));
    }
}

/// Ops resolves one of the entries that are set aside.
pub(crate) fn resolve(world: &mut World, chance: &mut Chance) -> Result<(), Violation> {
    let (Some((place, act)), wall) = (open_case(world, chance)?, world.wall()) else { return Ok(()) };
    let action = chance.weighted(&[(2, 0), (2, 1), (3, 2)]);
    let action = match action {
        0 => Asked::Replay,
        1 => Asked::Waive,
        _ => Asked::Fix(fix(&act)),
    };
    let (who, why) = ("运维".to_owned(), "已与门店核实".to_owned());
    let asked = world.hub.workers[0].ask(place, &Ask { action, who, why }, Timestamp(wall));
    match asked {
        Ok(_) => {
            world.count("resolution asked");
            world.note(|| format!("ops resolves {place}"));
            world.hub.is_due = true;
            Ok(())
        }
        Err(AskError::Unreadable(_) | AskError::NoChange | AskError::TooLarge) => Ok(()),
        Err(AskError::Frozen(_)) if is_restoring(world)? => Ok(()),
        Err(error) => Err(broken("I9", format!("a request about quarantine is refused: {}", describe(&error)))),
    }
}

/// What makes a survey of most entries that a stranger sends; other entries only get a remark.
fn fix(act: &str) -> Change {
    let set = BTreeMap::from([
        ("site".to_owned(), Value::from("9999")),
        ("form".to_owned(), Value::from("补录")),
        ("score".to_owned(), Value::Int(60)),
    ]);
    match act {
        "answer" | "explode" => Change { act: Some("answer".into()), set, drop: Vec::new() },
        _ => Change { act: None, set: BTreeMap::from([("note_text".to_owned(), "补".into())]), drop: Vec::new() },
    }
}

fn open_case(world: &mut World, chance: &mut Chance) -> Result<Option<(EntryPlace, String)>, Violation> {
    if world.hub.workers.is_empty() {
        return Ok(None);
    }
    let folder = world.hub.folder().to_owned();
    let books = world.oracle.books(&folder)?;
    let count: i64 = books
        .query_row("SELECT count(*) FROM quarantine WHERE resolved_at IS NULL", [], |row| row.get(0))
        .map_err(sql)?;
    let at = chance.below(count.unsigned_abs());
    let query = "SELECT stream.stream, seq, entry, agent.agent FROM quarantine
                 JOIN stream ON stream.id = quarantine.stream JOIN agent ON agent.id = stream.agent
                 WHERE resolved_at IS NULL ORDER BY quarantine.id LIMIT 1 OFFSET ?1";
    let found = books.query_row(query, [i64::try_from(at).unwrap_or(0)], |row| {
        Ok((row.get::<_, [u8; 16]>(0)?, row.get::<_, i64>(1)?, row.get::<_, Vec<u8>>(2)?, row.get::<_, [u8; 16]>(3)?))
    });
    let Some((stream, seq, bytes, agent)) = found.optional().map_err(sql)? else { return Ok(None) };
    let read = Act::read(&bytes);
    // nobody gives up, or makes something else of, what a clerk was told is opened
    if !STRANGERS.contains(&agent) && read.as_ref().is_some_and(|act| act.is_opening) {
        return Ok(None);
    }
    let act = read.map(|act| act.act).unwrap_or_default();
    Ok(Some((EntryPlace { stream: StreamId::from_bytes(stream), seq: Seq(seq.unsigned_abs()) }, act)))
}

fn fails(error: waystation_hub::store::StoreError) -> Violation {
    broken("liveness", format!("the hub takes no word of people: {}", describe(&error)))
}
