//! What breaks when: drawn from a seed before the run starts, so that the same seed gives the same faults.
//!
//! Each kind of target has a lane of its own, in which one fault follows the other only once its target is
//! back: never two brokers at once, never all gateways. Lanes know nothing of each other, so faults of
//! different kinds overlap.

use std::fmt;
use std::time::Duration;

use crate::dice::Dice;

/// How large a run is. Kills are those of processes; the other faults come on top.
#[derive(Clone, Debug)]
pub(crate) struct Size {
    pub(crate) name: &'static str,
    pub(crate) events: u64,
    /// Events a second; so the length of the run is known before it starts.
    pub(crate) rate: u64,
    pub(crate) sockets: u64,
    pub(crate) kills: usize,
    /// Every broker and Redis away for so long, once each; zero: not at all.
    pub(crate) outage: Duration,
}

/// The share of the run in which faults strike; the rest is a calm end.
const STRUCK: f64 = 0.92;

/// One line of targets.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Lane {
    Gateway,
    Capture,
    Broker,
    Redis,
    Link,
}

impl Lane {
    pub(crate) const ALL: [Self; 5] =
        [Self::Gateway, Self::Capture, Self::Broker, Self::Redis, Self::Link];

    fn targets(self) -> usize {
        match self {
            Self::Gateway | Self::Link => crate::bed::GATEWAYS,
            Self::Broker => crate::bed::BROKERS,
            Self::Capture | Self::Redis => 1,
        }
    }

    /// How long a target stays away, in milliseconds, from and to.
    fn hold(self, act: Act) -> (u64, u64) {
        match (self, act) {
            // The sockets have found another replica by then.
            (Self::Gateway, _) => (200, 3_000),
            (Self::Capture, _) => (100, 1_500),
            // Longer than a broker may be silent (3 s), and shorter.
            (Self::Broker, _) => (500, 4_500),
            (Self::Redis, _) => (200, 4_000),
            (Self::Link, _) => (500, 3_000),
        }
    }

    /// Kills out of a hundred.
    fn share(self) -> usize {
        match self {
            Self::Gateway => 40,
            Self::Capture | Self::Broker | Self::Redis => 20,
            Self::Link => 0,
        }
    }

    /// What comes beside the kills, each so many times for ten kills of the whole run.
    fn others(self) -> &'static [(Act, usize)] {
        match self {
            Self::Gateway => &[(Act::Term, 1)],
            Self::Capture => &[],
            Self::Broker => &[(Act::Freeze, 1)],
            Self::Redis => &[(Act::Flush, 1), (Act::Freeze, 1)],
            Self::Link => &[(Act::Reset, 1), (Act::Silence, 1), (Act::Hold, 1)],
        }
    }
}

/// What is done to a target. Its `Display` is the kind in the log of faults.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Act {
    /// SIGKILL, and started again.
    Kill,
    /// SIGTERM, and started again once it has ended: one step of a rolling deploy.
    Term,
    /// SIGSTOP: connections stand and nothing answers; then SIGCONT.
    Freeze,
    /// Redis forgets everything.
    Flush,
    /// All links of a gateway are reset.
    Reset,
    /// All links of a gateway go silent, then are reset.
    Silence,
    /// What the gateway writes is held on the way, and lost with the links when they are reset.
    Hold,
    /// All of the kind are killed at once and stay away.
    Outage,
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kill => "kill",
            Self::Term => "term",
            Self::Freeze => "freeze",
            Self::Flush => "flush",
            Self::Reset => "reset",
            Self::Silence => "silence",
            Self::Hold => "hold",
            Self::Outage => "outage",
        })
    }
}

/// One fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Fault {
    /// Since the start of the run; later if the one before it takes longer.
    pub(crate) at: Duration,
    pub(crate) act: Act,
    /// Which of the lane's targets, from 0.
    pub(crate) target: usize,
    /// How long the target stays as it is.
    pub(crate) hold: Duration,
}

/// How long the producer of a run takes, undisturbed.
pub(crate) fn length(size: &Size) -> Duration {
    Duration::from_secs(size.events / size.rate.max(1))
}

/// The faults of a lane, in order of time.
pub(crate) fn faults(size: &Size, seed: u64, lane: Lane) -> Vec<Fault> {
    let mut dice = Dice::new(seed ^ (lane as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut acts = vec![Act::Kill; (size.kills * lane.share()).div_ceil(100)];
    for (act, times) in lane.others() {
        acts.extend(vec![*act; (size.kills * times).div_ceil(10)]);
    }
    dice.shuffle(&mut acts);
    if !size.outage.is_zero() && matches!(lane, Lane::Broker | Lane::Redis) {
        let middle = acts.len() / 2;
        acts.insert(middle, Act::Outage);
    }
    let slot = length(size).mul_f64(STRUCK) / u32::try_from(acts.len().max(1)).unwrap();
    let mut faults = Vec::new();
    for (number, act) in (0..).zip(acts) {
        let (from, to) = lane.hold(act);
        let hold = match act {
            Act::Outage => size.outage,
            _ => Duration::from_millis(dice.between(from, to)),
        };
        let within = slot.mul_f64(0.5) * u32::try_from(dice.between(0, 100)).unwrap() / 100;
        let target = usize::try_from(dice.between(1, lane.targets() as u64)).unwrap() - 1;
        faults.push(Fault { at: slot * number + within, act, target, hold });
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size() -> Size {
        Size {
            name: "a test",
            events: 1_000_000,
            rate: 500,
            sockets: 200,
            kills: 400,
            outage: Duration::from_secs(60),
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_faults() {
        for lane in Lane::ALL {
            assert_eq!(faults(&size(), 7, lane), faults(&size(), 7, lane));
            assert_ne!(faults(&size(), 7, lane), faults(&size(), 8, lane));
        }
    }

    #[test]
    fn there_are_as_many_kills_as_asked_for_and_they_fit_into_the_run() {
        for kills in [1, 30, 32, 33, 400] {
            let size = Size { kills, ..size() };
            let all: Vec<_> = Lane::ALL.iter().flat_map(|lane| faults(&size, 3, *lane)).collect();
            let planned = all.iter().filter(|fault| fault.act == Act::Kill).count();
            assert!((kills..=kills + 4).contains(&planned), "{kills}: {planned}");
            for act in [Act::Term, Act::Freeze, Act::Flush, Act::Reset, Act::Silence, Act::Hold] {
                assert!(all.iter().any(|fault| fault.act == act), "{kills}: {act}");
            }
            assert!(all.iter().all(|fault| fault.at < length(&size)));
            assert!(all.iter().all(|fault| fault.target < 3));
        }
        for lane in Lane::ALL {
            let faults = faults(&size(), 3, lane);
            assert!(faults.is_sorted_by_key(|fault| fault.at), "{lane:?}");
            let outages = faults.iter().filter(|fault| fault.act == Act::Outage).count();
            assert_eq!(outages, usize::from(matches!(lane, Lane::Broker | Lane::Redis)));
            for target in 0..lane.targets() {
                assert!(faults.iter().any(|fault| fault.target == target), "{lane:?} {target}");
            }
        }
    }
}
