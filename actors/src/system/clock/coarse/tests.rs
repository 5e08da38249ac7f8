//! Tests on a simulated machine, whose clocks the tests set.

use super::*;

const SECOND: i64 = 1_000_000_000;
const TICK: i64 = 4_000_000;

/// The readings of a machine's clocks.
#[derive(Clone, Copy)]
struct Machine {
    wall: i64,
    boottime: i64,
    monotonic: i64,
}

impl Machine {
    /// A machine that has run for an hour and slept for a minute since boot.
    fn new() -> Self {
        Self { wall: 1_790_000_000 * SECOND, boottime: 3_660 * SECOND, monotonic: 3_600 * SECOND }
    }

    fn run(&mut self, nanos: i64) {
        self.monotonic += nanos;
        self.boottime += nanos;
        self.wall += nanos;
    }

    /// Sleeps, and runs for a tick before anything reads the clocks.
    fn suspend(&mut self, nanos: i64) {
        self.boottime += nanos;
        self.wall += nanos;
        self.run(TICK);
    }

    fn precise(&self) -> Precise {
        Precise { wall: self.wall, boottime: self.boottime, monotonic: self.monotonic }
    }

    /// The elapsed time that `offsets` computes from the readings at the last tick, a whole tick ago.
    fn elapsed(&self, offsets: &Offsets) -> Option<i64> {
        offsets.at(self.monotonic - TICK, || self.wall - TICK).map(|seen| seen.elapsed)
    }
}

#[test]
fn the_cheap_clock_is_behind_as_much_as_its_readings() {
    let mut machine = Machine::new();
    let offsets = Offsets::new(machine.precise());
    assert_eq!(machine.elapsed(&offsets), Some(machine.boottime - TICK));
    machine.run(3_600 * SECOND);
    assert_eq!(machine.elapsed(&offsets), Some(machine.boottime - TICK));
}

#[test]
fn a_suspend_of_more_than_two_seconds_is_noticed_and_then_learnt() {
    let mut machine = Machine::new();
    let offsets = Offsets::new(machine.precise());
    machine.suspend(2 * SECOND);
    assert_eq!(machine.elapsed(&offsets), Some(machine.boottime - TICK - 2 * SECOND), "too short to notice");
    machine.suspend(1);
    assert_eq!(machine.elapsed(&offsets), None, "short ones add up");
    offsets.learn(machine.precise());
    assert_eq!(machine.elapsed(&offsets), Some(machine.boottime - TICK));
}

#[test]
fn a_wall_clock_set_in_either_direction_is_noticed() {
    for step in [2 * SECOND + 1, -2 * SECOND - 1, 86_400 * SECOND, -86_400 * SECOND] {
        let mut machine = Machine::new();
        let offsets = Offsets::new(machine.precise());
        machine.wall += step;
        assert_eq!(machine.elapsed(&offsets), None, "{step}");
        offsets.learn(machine.precise());
        assert_eq!(machine.elapsed(&offsets), Some(machine.boottime - TICK), "{step}");
    }
}

#[test]
fn the_wall_clock_is_read_once_a_tick_and_a_step_is_noticed_at_the_next() {
    let mut machine = Machine::new();
    let offsets = Offsets::new(machine.precise());
    let read = std::cell::Cell::new(0);
    let at = |machine: &Machine| {
        offsets.at(machine.monotonic - TICK, || {
            read.set(read.get() + 1);
            machine.wall - TICK
        })
    };
    let first = at(&machine).unwrap();
    assert_eq!((first.wall, first.elapsed), (machine.wall - TICK, machine.boottime - TICK));
    machine.wall -= 86_400 * SECOND;
    assert_eq!((at(&machine), at(&machine), read.get()), (Some(first), Some(first), 1));
    machine.run(TICK);
    assert_eq!((at(&machine), at(&machine), read.get()), (None, None, 3), "a skew that is wrong is not remembered");
    offsets.learn(machine.precise());
    let now = at(&machine).unwrap();
    assert_eq!((now.wall, at(&machine), read.get()), (machine.wall - TICK, Some(now), 4));
}

#[test]
fn a_leap_second_is_not_taken_for_a_step_of_the_clock() {
    let mut machine = Machine::new();
    let offsets = Offsets::new(machine.precise());
    machine.wall -= SECOND;
    assert_eq!(machine.elapsed(&offsets), Some(machine.boottime - TICK));
}

#[test]
fn time_lost_within_a_reading_is_regained_by_the_next_and_never_overstated() {
    let mut machine = Machine::new();
    let interrupted = {
        let (wall, boottime) = (machine.wall, machine.boottime);
        machine.run(SECOND / 2);
        Precise { wall, boottime, monotonic: machine.monotonic }
    };
    let offsets = Offsets::new(interrupted);
    assert_eq!(machine.elapsed(&offsets), Some(machine.boottime - TICK - SECOND / 2));
    offsets.learn(machine.precise());
    assert_eq!(machine.elapsed(&offsets), Some(machine.boottime - TICK));
    offsets.learn(interrupted);
    assert_eq!(machine.elapsed(&offsets), Some(machine.boottime - TICK));
}

/// Readings of a machine that sleeps for a minute after `awake` of the three were taken.
fn precise_with_a_suspend(machine: &mut Machine, awake: usize) -> Precise {
    let before = *machine;
    machine.suspend(60 * SECOND);
    let at = |place| if place < awake { before } else { *machine };
    Precise { wall: at(0).wall, boottime: at(1).boottime, monotonic: at(2).monotonic }
}

#[test]
fn a_suspend_within_a_precise_reading_gives_the_right_time_or_none() {
    for awake in 0..=3 {
        let mut machine = Machine::new();
        let offsets = Offsets::new(machine.precise());
        offsets.learn(precise_with_a_suspend(&mut machine, awake));
        let elapsed = machine.elapsed(&offsets);
        assert!(elapsed.is_none_or(|elapsed| elapsed == machine.boottime - TICK), "{awake}: {elapsed:?}");
        assert_eq!(elapsed.is_some(), awake == 0, "{awake}");
    }
}

#[test]
fn a_suspend_within_a_coarse_reading_is_not_overlooked() {
    let mut machine = Machine::new();
    let offsets = Offsets::new(machine.precise());
    let monotonic = machine.monotonic - TICK;
    machine.suspend(60 * SECOND);
    assert_eq!(offsets.at(monotonic, || machine.wall - TICK), None);
}

#[test]
fn half_a_write_is_refused_after_the_suspend_and_not_ahead_before_it() {
    let mut machine = Machine::new();
    let offsets = Offsets::new(machine.precise());
    let asleep = machine;
    machine.suspend(60 * SECOND);
    // A writer has written `suspended`, which comes first, and not yet `skew`.
    offsets.suspended.fetch_max(machine.precise().suspended(), Relaxed);
    assert_eq!(machine.elapsed(&offsets), None);
    assert!(asleep.elapsed(&offsets).is_some_and(|elapsed| elapsed <= machine.boottime));
}

#[test]
fn a_writer_from_before_the_suspend_undoes_nothing_for_long() {
    let mut machine = Machine::new();
    let late = machine.precise();
    let offsets = Offsets::new(late);
    machine.suspend(60 * SECOND);
    offsets.learn(machine.precise());
    offsets.learn(late);
    assert_eq!(machine.elapsed(&offsets), None);
    offsets.learn(machine.precise());
    assert_eq!(machine.elapsed(&offsets), Some(machine.boottime - TICK));
}

#[test]
fn a_clone_has_the_differences_of_its_original() {
    let mut machine = Machine::new();
    let offsets = Offsets::new(machine.precise());
    machine.suspend(60 * SECOND);
    offsets.learn(machine.precise());
    assert_eq!(machine.elapsed(&offsets.clone()), Some(machine.boottime - TICK));
}

#[test]
fn moments_are_whole_milliseconds_and_nothing_is_before_the_origin() {
    let at = moment(1_999_999, 2_000_000, BootId(7));
    assert_eq!((at.wall.as_millis(), at.elapsed.as_millis(), at.boot), (1, 2, BootId(7)));
    let before = moment(-SECOND, -SECOND, BootId(7));
    assert_eq!((before.wall.as_millis(), before.elapsed.as_millis()), (0, 0));
}
