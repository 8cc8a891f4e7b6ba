//! A schedule: what a seed makes happen, as a list, so that a failing one can be shortened.
//!
//! Each step carries its own salt: leaving others out changes nothing in it.

use crate::chance::Chance;
use crate::hub::RETENTION_MS;
use crate::network::Weather;
use crate::wishes::Task;

/// Steps of a schedule.
const STEPS: (u64, u64) = (18, 48);

/// One step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    /// What happens.
    pub(crate) action: Action,
    /// Decides what chance decides within it.
    pub(crate) salt: u64,
}

/// What can happen. Devices are counted from 0; a place where there is none is the first one's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// A clerk does something.
    Work(usize, Task),
    /// A clerk imports rows.
    Import(usize),
    /// The store writes its cache.
    Pause(usize),
    /// Time passes, in milliseconds.
    Wait(u64),
    /// The network becomes better or worse.
    Weather(Weather),
    /// A connection breaks, and comes back after so many milliseconds.
    Disconnect(usize, u64),
    /// Frames of a device vanish in both ways, or only downward, for so many milliseconds.
    Partition(usize, u64, bool),
    /// The broker restarts and has forgotten everything.
    Amnesia,
    /// An agent is killed and starts again after so many milliseconds.
    Kill(usize, u64),
    /// The power of a device fails after so many changes of its disk.
    Cut(usize, u64),
    /// An agent ends as it should and starts again.
    Restart(usize),
    /// Syncs fail, until they do not.
    SyncFails(usize, bool),
    /// The disk is full, until it is not.
    Full(usize, bool),
    /// A device's clock jumps, in milliseconds.
    Clock(usize, i64),
    /// The hub's next commit of this sort fails or is its last.
    HubCommit(Stage, Ending),
    /// The hub is killed and starts again after so many milliseconds.
    HubKill(u64),
    /// The hub writes its heads.
    HubHeads,
    /// The hub ends as it should and starts again.
    HubRestart,
    /// A backup is taken.
    Backup,
    /// A backup is put in place by the tool.
    Restore,
    /// The hub's database is copied.
    HubCopy,
    /// An older copy of it is put in place.
    HubPutBack,
    /// So many workers from the next start on.
    Workers(usize),
    /// A stranger sends entries that nobody can apply.
    Poison,
    /// A device's disk is copied.
    Copy(usize),
    /// An older copy of it is put in place.
    PutBack(usize),
    /// Another device begins with a copy of it.
    Clone(usize),
    /// Bits of a device's file flip while the agent is off.
    Damage(usize),
    /// The hub decides on a locked count sheet.
    Decide,
    /// The hub goes on with something that is passed on from party to party.
    Handle,
    /// An agent is given a command; whether it comes too late.
    Command(usize, bool),
    /// Everybody is told a notice.
    Notice,
    /// Ops admits a session of a device's agent that could not answer its challenge.
    Admit(usize),
    /// Ops fixes, replays or waives an entry that is set aside.
    Resolve,
}

impl Action {
    /// The same where there are so many devices.
    pub(crate) fn placed(self, devices: usize) -> Action {
        let at = |place: usize| if place < devices { place } else { 0 };
        match self {
            Action::Work(place, task) => Action::Work(at(place), task),
            Action::Import(place) => Action::Import(at(place)),
            Action::Pause(place) => Action::Pause(at(place)),
            Action::Disconnect(place, ms) => Action::Disconnect(at(place), ms),
            Action::Partition(place, ms, is_half) => Action::Partition(at(place), ms, is_half),
            Action::Kill(place, ms) => Action::Kill(at(place), ms),
            Action::Cut(place, changes) => Action::Cut(at(place), changes),
            Action::Restart(place) => Action::Restart(at(place)),
            Action::SyncFails(place, is_on) => Action::SyncFails(at(place), is_on),
            Action::Full(place, is_on) => Action::Full(at(place), is_on),
            Action::Clock(place, ms) => Action::Clock(at(place), ms),
            Action::Copy(place) => Action::Copy(at(place)),
            Action::PutBack(place) => Action::PutBack(at(place)),
            Action::Clone(place) => Action::Clone(at(place)),
            Action::Damage(place) => Action::Damage(at(place)),
            Action::Command(place, is_late) => Action::Command(at(place), is_late),
            Action::Admit(place) => Action::Admit(at(place)),
            elsewhere => elsewhere,
        }
    }
}

/// Which of the hub's commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Storing.
    Store,
    /// Processing.
    Process,
}

/// How it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It fails.
    Fails,
    /// The hub is killed before it.
    KilledBefore,
    /// The hub is killed after it.
    KilledAfter,
}

/// Classes of faults. A schedule knows some of them.
#[derive(Debug, Clone, Copy)]
enum Class {
    Network,
    Links,
    Broker,
    AgentCrash,
    PowerCut,
    Disk,
    Clock,
    HubCrash,
    HubRestore,
    Backup,
    Workers,
    Poison,
    DeviceRestore,
    Clone,
}

/// Every class that the product stands by now, with how many schedules of a hundred know it.
const CLASSES: &[(u64, Class)] = &[
    (60, Class::Network),
    (40, Class::Links),
    (25, Class::Broker),
    (35, Class::AgentCrash),
    (35, Class::PowerCut),
    (20, Class::Disk),
    (20, Class::Clock),
    (40, Class::HubCrash),
    (15, Class::HubRestore),
    (12, Class::Backup),
    (15, Class::Workers),
    (10, Class::Poison),
    (12, Class::DeviceRestore),
    (15, Class::Clone),
];

/// A schedule.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    /// Its seed.
    pub(crate) seed: u64,
    /// How many devices begin.
    pub(crate) devices: usize,
    /// What happens.
    pub(crate) steps: Vec<Step>,
    /// How long agents keep what the hub has processed.
    pub(crate) retention_ms: i64,
    /// When the second device begins, at the site of the first, in virtual milliseconds; where it has one of its own, none.
    pub(crate) shares_site_from: Option<u64>,
}

/// Tells what people at the hub do apart from everything else a seed decides.
const PEOPLE: u64 = 0x0070_656f;
/// In so many schedules of a hundred people act at the hub …
const WITH_PEOPLE: u64 = 60;
/// … after so many steps of a hundred …
const PEOPLE_STEPS: u64 = 40;
/// … in so many of which files are damaged …
const WITH_DAMAGE: u64 = 14;
/// … and two devices may stand at one site.
const WITH_SHARED_SITE: u64 = 45;

/// Tells how long agents keep what is processed apart from everything else a seed decides.
const KEEPING: u64 = 0x006b_6565;
/// In so many schedules of a hundred that is hardly at all.
const HARDLY: u64 = 25;

/// Tells what several parties do with what they pass on apart from everything else a seed decides.
const PARTIES: u64 = 0x7061_7274;
/// In so many schedules of a hundred they do …
const WITH_PARTIES: u64 = 30;
/// … after so many steps of a hundred.
const PARTY_STEPS: u64 = 55;

impl Schedule {
    /// The schedule of a seed.
    pub(crate) fn of(seed: u64) -> Schedule {
        let mut schedule = Schedule::of_one_party(seed);
        let mut parties = Chance::new(seed).fork(PARTIES);
        if parties.percent(WITH_PARTIES) {
            // nothing goes from one station to another where there is one
            schedule.devices = schedule.devices.max(2);
            schedule.steps = with_parties(schedule.steps, schedule.devices, &mut parties);
        }
        schedule
    }

    fn of_one_party(seed: u64) -> Schedule {
        let mut chance = Chance::new(seed);
        let devices = chance.weighted(&[(5, 1), (3, 2), (1, 3)]);
        let classes: Vec<Class> =
            CLASSES.iter().filter(|(share, _)| chance.percent(*share)).map(|(_, class)| *class).collect();
        // one place more than there are devices: a clone takes it
        let places = devices + usize::from(classes.iter().any(|class| matches!(class, Class::Clone)));
        let steps = chance.within(STEPS.0, STEPS.1);
        let steps = (0..steps).map(|_| Step { action: action(&classes, places, &mut chance), salt: chance.next() });
        let steps = steps.collect();
        let keeps_hardly = Chance::new(seed).fork(KEEPING).percent(HARDLY);
        let retention_ms = if keeps_hardly { 500 } else { RETENTION_MS };
        let mut people = Chance::new(seed).fork(PEOPLE);
        if !people.percent(WITH_PEOPLE) {
            return Schedule { seed, devices, steps, retention_ms, shares_site_from: None };
        }
        let is_shared = devices > 1 && people.percent(WITH_SHARED_SITE);
        let shares_site_from = is_shared.then(|| people.weighted(&[(2, 0), (1, 90_000), (1, 3_600_000)]));
        let is_damaging = people.percent(WITH_DAMAGE);
        let steps = with_people(steps, places, is_damaging, &mut people);
        Schedule { seed, devices, steps, retention_ms, shares_site_from }
    }
}

/// The same steps with those of people at the hub between them, and of clerks who count stock.
fn with_people(steps: Vec<Step>, places: usize, is_damaging: bool, chance: &mut Chance) -> Vec<Step> {
    let mut all = Vec::with_capacity(steps.len() * 2);
    for step in steps {
        let action = step.action;
        all.push(step);
        let mut add = |action, chance: &mut Chance| all.push(Step { action, salt: chance.next() });
        match action {
            // what is decided now is not in the copy
            Action::HubCopy | Action::Backup if chance.percent(70) => {
                add(Action::Decide, chance);
                add(Action::Wait(5_000), chance);
            }
            // the hub may not know any more what it decided
            Action::HubPutBack | Action::Restore if chance.percent(70) => {
                add(Action::Wait(600), chance);
                add(Action::Decide, chance);
            }
            _ if chance.percent(PEOPLE_STEPS) => {
                let device = usize::try_from(chance.below(places as u64)).expect("devices are few");
                let is_damaged = is_damaging && chance.percent(10);
                let action = if is_damaged { Action::Damage(device) } else { at_work(device, chance) };
                add(action, chance);
            }
            _ => {}
        }
    }
    all
}

/// The same steps with those of stations and hub between them, who pass documents on to each other.
fn with_parties(steps: Vec<Step>, devices: usize, chance: &mut Chance) -> Vec<Step> {
    // one kind goes further where people have few at hand
    let work = *chance.pick(&[Task::Transfer, Task::Claim]);
    let mut all = Vec::with_capacity(steps.len() * 2);
    for step in steps {
        all.push(step);
        if !chance.percent(PARTY_STEPS) {
            continue;
        }
        let any = usize::try_from(chance.below(devices as u64)).expect("devices are few");
        let device = if work == Task::Claim && chance.percent(50) { 0 } else { any };
        let action = match chance.below(20) {
            0..11 => Action::Work(device, work),
            11..18 => Action::Handle,
            18 => Action::Work(device, Task::Wrong),
            _ => Action::Wait(5_000),
        };
        all.push(Step { action, salt: chance.next() });
        if chance.percent(40) {
            all.push(Step { action: Action::Wait(300), salt: chance.next() });
        }
    }
    all
}

fn at_work(device: usize, chance: &mut Chance) -> Action {
    match chance.below(20) {
        0..8 => Action::Work(device, Task::Sheet),
        8..14 => Action::Decide,
        14..16 => Action::Command(device, chance.percent(30)),
        16 => Action::Notice,
        17 => Action::Admit(device),
        18 => Action::Resolve,
        _ => Action::Wait(5_000),
    }
}

fn action(classes: &[Class], places: usize, chance: &mut Chance) -> Action {
    let device = usize::try_from(chance.below(places as u64)).expect("devices are few");
    if classes.is_empty() || chance.percent(60) {
        return ordinary(device, chance);
    }
    fault(*chance.pick(classes), device, chance)
}

fn ordinary(device: usize, chance: &mut Chance) -> Action {
    match chance.below(20) {
        0..2 => Action::Work(device, Task::Survey),
        2..4 => Action::Work(device, Task::Move),
        4..6 => Action::Work(device, Task::CheckIn),
        6..11 => Action::Work(device, Task::Step),
        11 => Action::Work(device, Task::Note),
        12 => chance.weighted(&[(1, Action::Work(device, Task::Void)), (2, Action::Import(device))]),
        13 => Action::Pause(device),
        14..19 => Action::Wait(chance.weighted(&[(6, 300), (3, 5_000), (2, 70_000)])),
        _ => Action::Wait(chance.weighted(&[(2, 3_600_000), (1, 86_400_000), (1, 15 * 86_400_000)])),
    }
}

fn fault(class: Class, device: usize, chance: &mut Chance) -> Action {
    let pause = chance.weighted(&[(3, 500), (2, 8_000), (1, 120_000)]);
    match class {
        Class::Network => Action::Weather(Weather {
            loss: chance.weighted(&[(2, 0), (2, 10), (1, 40)]),
            copies: chance.weighted(&[(2, 0), (2, 20), (1, 50)]),
            damage: chance.weighted(&[(3, 0), (1, 5)]),
            delay_ms: chance.weighted(&[(2, 20), (2, 400), (1, 4_000), (1, 40_000)]),
        }),
        Class::Links if chance.percent(50) => Action::Disconnect(device, pause),
        Class::Links => Action::Partition(device, pause, chance.percent(50)),
        Class::Broker => Action::Amnesia,
        Class::AgentCrash if chance.percent(70) => Action::Kill(device, pause),
        Class::AgentCrash => Action::Restart(device),
        Class::PowerCut => Action::Cut(device, chance.weighted(&[(1, 0), (4, 12), (2, 40)]) + chance.below(12)),
        Class::Disk if chance.percent(50) => Action::SyncFails(device, chance.percent(60)),
        Class::Disk => Action::Full(device, chance.percent(60)),
        Class::Clock => {
            let jump = chance.weighted(&[(2, 3_600_000), (1, 10 * 365 * 86_400_000)]);
            Action::Clock(device, if chance.percent(50) { jump } else { -jump })
        }
        Class::HubCrash => hub_crash(pause, chance),
        Class::HubRestore => chance.weighted(&[(2, Action::HubCopy), (2, Action::HubPutBack), (1, Action::HubHeads)]),
        Class::Backup => chance.weighted(&[(3, Action::Backup), (2, Action::Restore)]),
        Class::Workers => Action::Workers(usize::try_from(chance.within(1, 3)).expect("workers are few")),
        Class::Poison => Action::Poison,
        Class::DeviceRestore => chance.weighted(&[(3, Action::Copy(device)), (2, Action::PutBack(device))]),
        Class::Clone => chance.weighted(&[(2, Action::Copy(device)), (2, Action::Clone(device))]),
    }
}

fn hub_crash(pause: u64, chance: &mut Chance) -> Action {
    let stage = chance.weighted(&[(1, Stage::Store), (1, Stage::Process)]);
    match chance.below(6) {
        0 => Action::HubKill(pause),
        5 => Action::HubRestart,
        1 => Action::HubHeads,
        2 => Action::HubCommit(stage, Ending::Fails),
        3 => Action::HubCommit(stage, Ending::KilledBefore),
        _ => Action::HubCommit(stage, Ending::KilledAfter),
    }
}
