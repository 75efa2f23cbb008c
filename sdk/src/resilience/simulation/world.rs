//! Nodes and their network: how long an answer takes, and what becomes of it when a node fails.

use std::time::Duration;

use super::Rng;
use crate::resilience::{Diagnosis, Moment};

/// What happens to the first node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing.
    None,
    /// Its process ends: connections break, new ones are refused.
    Kill,
    /// It is stopped, or its packets are lost: no answer, no error.
    Pause,
    /// So many in a hundred calls are slow.
    BrownOut(u64),
}

/// The behaviour of both nodes.
#[derive(Clone, Copy, Debug)]
pub(super) struct World {
    pub(super) fault: Fault,
    pub(super) from: Moment,
    pub(super) until: Moment,
    /// An answer takes up to this long, evenly spread: 20 ms +- 20 ms.
    pub(super) jitter: Duration,
    /// One in a hundred takes this long.
    pub(super) slow: Duration,
}

/// What comes of an attempt, and when; never, if the node is paused.
pub(super) type Ending = Option<(Moment, Result<(), Diagnosis>)>;

impl World {
    pub(super) fn send(&self, node: usize, now: Moment, rng: &mut Rng) -> Ending {
        let is_hit = node == 0 && now >= self.from && now < self.until;
        let answer = now.after(self.latency(is_hit, rng));
        let hits_it = node == 0 && answer > self.from && now < self.until;
        match self.fault {
            Fault::Kill if is_hit => Some((now.after(self.round_trip(rng)), Err(Diagnosis::NOT_CONNECTED))),
            Fault::Kill if hits_it => {
                let reset = redis::RedisError::from(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
                Some((self.from.after(self.round_trip(rng) / 2), Err(Diagnosis::of_call(&reset))))
            }
            Fault::Pause if hits_it => None,
            Fault::None | Fault::Kill | Fault::Pause | Fault::BrownOut(_) => Some((answer, Ok(()))),
        }
    }

    fn latency(&self, is_hit: bool, rng: &mut Rng) -> Duration {
        let slow_in_a_hundred = match self.fault {
            Fault::BrownOut(share) if is_hit => share,
            Fault::None | Fault::Kill | Fault::Pause | Fault::BrownOut(_) => 1,
        };
        if rng.below(100) < slow_in_a_hundred { self.slow } else { self.round_trip(rng) }
    }

    fn round_trip(&self, rng: &mut Rng) -> Duration {
        Duration::from_micros(rng.below(self.jitter.as_micros() as u64).max(100))
    }
}
