//! What goes wrong in a run, drawn from the seed before it begins, and the fate of each request.

use fastrand::Rng;

use crate::refusals::Refusing;

/// What becomes of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The vendor reads it, the client hears the answer.
    Clean,
    /// No connection; nothing left.
    NotConnected,
    /// It left and never arrived.
    RequestLost,
    /// The vendor carried it out, the client never hears.
    AnswerLost,
    /// The vendor reads it so many milliseconds later; the client never hears.
    Late(u64),
    /// The client hears this instead of the vendor; `effect`: the vendor carried it out first.
    Instead { status: u16, retry_after: Option<&'static str>, effect: bool },
    /// The vendor refuses it, whatever it asks for.
    Refused { status: u16, body: &'static str },
}

/// The faults of one run.
#[derive(Clone, Debug)]
pub(crate) struct Faults {
    dice: Rng,
    /// Steps of this run so far.
    pub(crate) step: u64,
    /// Requests that go wrong, in a thousand.
    rate: u32,
    kinds: Vec<u8>,
    /// A provider that is out for the whole run, and how.
    pub(crate) outage: Option<(usize, Fate)>,
    /// A vendor refuses all for the whole run.
    pub(crate) refusing: Option<Refusing>,
    kill_at: Option<u64>,
    interrupt_at: Option<u64>,
    jump_at: Option<(u64, i64)>,
    /// Commits fail from the first of these steps to the second.
    store_fails: Option<(u64, u64)>,
    /// Nothing is started after so many milliseconds.
    pub(crate) deadline_ms: Option<u64>,
    slowest_ms: u64,
}

impl Faults {
    pub(crate) fn none() -> Self {
        Self {
            dice: Rng::with_seed(0),
            step: 0,
            rate: 0,
            kinds: Vec::new(),
            outage: None,
            refusing: None,
            kill_at: None,
            interrupt_at: None,
            jump_at: None,
            store_fails: None,
            deadline_ms: None,
            slowest_ms: 300,
        }
    }

    /// Nothing but this goes wrong.
    pub(crate) fn of_refusals(refusing: Refusing) -> Self {
        Self { refusing: Some(refusing), ..Self::none() }
    }

    pub(crate) fn draw(world: &mut Rng, providers: usize) -> Self {
        let mut faults = Self { dice: world.fork(), slowest_ms: [50, 300, 3_000][world.usize(..3)], ..Self::none() };
        if world.u8(..4) == 0 {
            let how = [
                Fate::NotConnected,
                Fate::RequestLost,
                Fate::Instead { status: 500, retry_after: None, effect: false },
                Fate::Instead { status: 403, retry_after: None, effect: false },
                Fate::Instead { status: 429, retry_after: Some("7"), effect: false },
            ];
            faults.outage = Some((world.usize(..providers), how[world.usize(..how.len())]));
            return faults;
        }
        if world.u8(..3) > 0 {
            faults.rate = [30, 150, 400, 900][world.usize(..4)];
            faults.kinds = (0..=7).filter(|_| world.bool()).collect();
        }
        // Small numbers of steps are as likely as large ones: a run's first steps are its most delicate.
        let some_step = |world: &mut Rng| {
            let most = 1 << world.u32(2..9);
            1 + world.u64(..most)
        };
        if world.bool() {
            faults.kill_at = Some(some_step(world));
        }
        if world.u8(..10) == 0 {
            faults.interrupt_at = Some(some_step(world));
        }
        if world.u8(..10) == 0 {
            faults.deadline_ms = Some(world.u64(..20_000));
        }
        if world.u8(..12) == 0 {
            let from = some_step(world);
            faults.store_fails = Some((from, from + world.u64(..60)));
        }
        if world.u8(..12) == 0 {
            faults.jump_at = Some((some_step(world), jump(world)));
        }
        faults
    }

    /// Nothing but an outage of one provider can go wrong.
    pub(crate) fn only_outage(&self) -> bool {
        self.rate == 0
            && self.kill_at.is_none()
            && self.interrupt_at.is_none()
            && self.jump_at.is_none()
            && self.store_fails.is_none()
            && self.deadline_ms.is_none()
    }

    pub(crate) fn kill_now(&self) -> bool {
        self.kill_at == Some(self.step)
    }

    pub(crate) fn never_kill(&mut self) {
        self.kill_at = None;
    }

    pub(crate) fn never_jump(&mut self) {
        self.jump_at = None;
    }

    pub(crate) fn interrupt_now(&self) -> bool {
        self.interrupt_at == Some(self.step)
    }

    pub(crate) fn jump_now(&self) -> Option<i64> {
        self.jump_at.filter(|(at, _)| *at == self.step).map(|(_, ms)| ms)
    }

    pub(crate) fn store_fails_now(&self) -> bool {
        self.store_fails.is_some_and(|(from, to)| (from..=to).contains(&self.step))
    }

    pub(crate) fn latency(&mut self) -> u64 {
        self.dice.u64(1..=self.slowest_ms)
    }

    /// What becomes of the next request to this provider.
    pub(crate) fn fate(&mut self, provider: usize, is_cloud: bool) -> Fate {
        if let Some((out, fate)) = self.outage {
            return if out == provider { fate } else { Fate::Clean };
        }
        if self.kinds.is_empty() || self.dice.u32(..1000) >= self.rate {
            return Fate::Clean;
        }
        let effect = self.dice.bool();
        let status = |list: &[u16], dice: &mut Rng| list[dice.usize(..list.len())];
        match self.kinds[self.dice.usize(..self.kinds.len())] {
            0 => Fate::NotConnected,
            1 => Fate::RequestLost,
            3 => Fate::Late(self.dice.u64(..180_000)),
            4 => {
                let status = status(&[500, 502, 503, 504, 520], &mut self.dice);
                Fate::Instead { status, retry_after: None, effect }
            }
            5 => {
                let waits = [None, Some("1"), Some("90"), Some("31536000"), Some("-5"), Some("soon")];
                Fate::Instead { status: 429, retry_after: waits[self.dice.usize(..waits.len())], effect: false }
            }
            // A purging cache says by its status alone that it purged, so no such answer is garbage.
            6 if is_cloud => {
                Fate::Instead { status: status(&[200, 202, 204], &mut self.dice), retry_after: None, effect }
            }
            7 => {
                let list: &[u16] = if is_cloud { &[302, 400, 401, 404] } else { &[302, 401, 403, 405] };
                Fate::Instead { status: status(list, &mut self.dice), retry_after: None, effect: false }
            }
            // The second kind, and the sixth at a purging cache.
            _ => Fate::AnswerLost,
        }
    }
}

/// How far a wall clock jumps, in milliseconds.
pub(crate) fn jump(world: &mut Rng) -> i64 {
    let sizes = [2_000, 120_000, 1_800_000, 7_200_000, 86_400_000, 40 * 86_400_000, 3_000 * 86_400_000];
    let size = sizes[world.usize(..sizes.len())];
    if world.bool() { size } else { -size }
}
