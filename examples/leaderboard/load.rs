//! A load to look at: so many rounds a second, of ten thousand players, everywhere at once.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    boards::play,
    regions::{Region, World},
};

/// Rounds a second.
pub const MOST: u32 = 10_000;

const PLAYERS: usize = 10_000;

/// Points that a round is worth.
const POINTS: std::ops::RangeInclusive<i32> = 1..=1_000;

/// Rounds that begin together.
const TICK: Duration = Duration::from_millis(20);

/// Rounds in flight while the players are brought in.
const CROWD: usize = 200;

/// The load, until it is shut down.
#[derive(Debug)]
pub struct Load {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Load {
    /// Shares the rounds out to the regions; none at all when there are 0 a second.
    pub fn start(world: &Arc<World>, rounds: u32) -> Self {
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let share = f64::from(rounds) / world.regions.len().max(1) as f64;
        for region in (0..world.regions.len()).filter(|_| rounds > 0) {
            let playing = keep_playing(world.clone(), region, share);
            tasks.spawn(stop.clone().run_until_cancelled_owned(playing));
        }
        tasks.close();
        Self { stop, tasks }
    }

    pub async fn shut_down(&self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

async fn keep_playing(world: Arc<World>, region: usize, rounds: f64) {
    let (step, Some(region_here)) = (world.regions.len().max(1), world.regions.get(region)) else { return };
    let players: Vec<usize> = (region..PLAYERS).step_by(step).collect();
    for crowd in players.chunks(CROWD) {
        join_all(crowd.iter().map(|player| round(region_here, *player))).await;
    }
    let mut pace = interval(TICK);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut due = 0.0;
    loop {
        pace.tick().await;
        due += rounds * TICK.as_secs_f64();
        let now = due as usize;
        due -= now as f64;
        join_all((0..now).map(|_| round(region_here, fastrand::usize(..PLAYERS)))).await;
    }
}

/// A round that fails is lost: a player whose region is down plays for nothing.
async fn round(region: &Region, player: usize) {
    let _ = play(&region.client, &format!("player-{player:05}"), f64::from(fastrand::i32(POINTS))).await;
}
