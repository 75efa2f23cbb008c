//! What changed, live. Each region is asked at a steady pace for what viewers look at: once for all who look at the same.
//! Each viewer gets the difference to what they were sent before, when their line has room for it: who is slow gets the
//! latest, not everything. Nothing is queued.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{Stream, stream};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Instant, Interval, MissedTickBehavior, interval, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    boards::{View, look},
    changes::{Answer, Change, Picture},
    failure::Failure,
    links::{LinkState, Positions},
    regions::{Region, World},
};

/// Between two looks at a region, and between two events of a viewer.
const PACE: Duration = Duration::from_millis(100);

/// Between two looks at the links.
const LINK_PACE: Duration = Duration::from_millis(250);

/// How long a region may take to answer before it counts as unreachable.
const PATIENCE: Duration = Duration::from_secs(1);

/// After looks that took long, so many times as long nothing is asked: looking must not be what keeps a region busy.
const REST: u32 = 4;

/// Connections of viewers at once.
const MOST_VIEWERS: usize = 500;

/// Different pages looked at at once: each costs every region a few reads.
const MOST_VIEWS: usize = 64;

type Answers = watch::Sender<Option<Answer>>;

/// Asks the regions, and tells the viewers.
#[derive(Debug)]
pub struct Hub {
    pub world: Arc<World>,
    shared: Arc<Shared>,
    links: watch::Sender<Vec<LinkState>>,
    seats: Arc<Semaphore>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// What is looked at, with a channel for each region's answers. A channel holds the latest alone.
#[derive(Debug, Default)]
struct Shared {
    views: Mutex<BTreeMap<View, Vec<Answers>>>,
}

impl Shared {
    fn views(&self) -> MutexGuard<'_, BTreeMap<View, Vec<Answers>>> {
        // Every change is one insertion or removal: a panic elsewhere cannot leave it half done.
        self.views.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What viewers want to know of a region.
    fn wanted(&self, region: usize) -> Vec<(View, Answers)> {
        let views = self.views();
        let wanted = views.iter().filter_map(|(view, answers)| Some((view.clone(), answers.get(region)?.clone())));
        wanted.filter(|(_, answers)| answers.receiver_count() > 0).collect()
    }
}

impl Hub {
    pub fn start(world: Arc<World>) -> Self {
        let (shared, stop, tasks) = (Arc::<Shared>::default(), CancellationToken::new(), TaskTracker::new());
        let links = watch::Sender::default();
        for region in 0..world.regions.len() {
            let asking = ask(world.clone(), shared.clone(), region);
            tasks.spawn(stop.clone().run_until_cancelled_owned(asking));
        }
        tasks.spawn(stop.clone().run_until_cancelled_owned(watch_links(world.clone(), links.clone())));
        tasks.close();
        Self { world, shared, links, seats: Arc::new(Semaphore::new(MOST_VIEWERS)), stop, tasks }
    }

    /// Ends every stream, soon.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Ends every stream and all looking.
    pub async fn shut_down(&self) {
        self.stop();
        self.tasks.wait().await;
    }

    /// What a viewer is told, until they go or the hub stops.
    ///
    /// # Errors
    /// When there are too many viewers, or too many different pages are looked at.
    pub fn watch(&self, view: &View) -> Result<impl Stream<Item = Change> + use<>, Failure> {
        let viewer = self.viewer(view)?;
        Ok(stream::unfold(viewer, |mut viewer| async move { Some((viewer.next().await?, viewer)) }))
    }

    fn viewer(&self, view: &View) -> Result<Viewer, Failure> {
        let full = |_| Failure::busy("Too many viewers: come back later.");
        let seat = self.seats.clone().try_acquire_owned().map_err(full)?;
        let mut views = self.shared.views();
        views.retain(|_, answers| answers.iter().any(|answers| answers.receiver_count() > 0));
        if !views.contains_key(view) && views.len() >= MOST_VIEWS {
            return Err(Failure::busy("Too many different pages are looked at: take one of the first."));
        }
        let answers = views
            .entry(view.clone())
            .or_insert_with(|| std::iter::repeat_with(Answers::default).take(self.world.regions.len()).collect());
        let answers = answers.iter().map(Answers::subscribe).collect();
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (links, stop) = (self.links.subscribe(), self.stop.clone());
        Ok(Viewer { answers, links, pace, stop, picture: Picture::default(), _seat: seat })
    }
}

/// Who looks at a page, and what they were sent.
#[derive(Debug)]
struct Viewer {
    answers: Vec<watch::Receiver<Option<Answer>>>,
    links: watch::Receiver<Vec<LinkState>>,
    pace: Interval,
    stop: CancellationToken,
    picture: Picture,
    _seat: OwnedSemaphorePermit,
}

impl Viewer {
    /// The next change, as soon as there is one; `None` at the end. Asked only when the line has room.
    async fn next(&mut self) -> Option<Change> {
        loop {
            self.stop.run_until_cancelled(self.pace.tick()).await?;
            let answers: Vec<_> = self.answers.iter().map(|answers| answers.borrow().clone()).collect();
            let change = self.picture.change(&answers, &self.links.borrow());
            if !change.is_empty() {
                self.picture.apply(&change);
                return Some(change);
            }
        }
    }
}

/// Asks one region for what is looked at. Each region has a task of its own, so that none waits for another.
async fn ask(world: Arc<World>, shared: Arc<Shared>, region: usize) {
    let Some(this) = world.regions.get(region) else { return };
    let mut rest = PACE;
    loop {
        tokio::time::sleep(rest).await;
        let began = Instant::now();
        let mut down = None;
        for (view, answers) in shared.wanted(region) {
            let answer = match &down {
                // Not asked again for every page: each answer may take a while.
                Some(why) => Answer::Down(String::clone(why)),
                None => answer(this, &view).await,
            };
            if let Answer::Down(why) = &answer {
                down = Some(why.clone());
            }
            answers.send_if_modified(|last| {
                let is_news = last.as_ref() != Some(&answer);
                *last = Some(answer);
                is_news
            });
        }
        rest = PACE.max(began.elapsed() * REST);
    }
}

async fn answer(region: &Region, view: &View) -> Answer {
    match timeout(PATIENCE, look(&region.client, view)).await {
        Ok(Ok(seen)) => Answer::Seen(seen),
        Ok(Err(error)) => Answer::Down(error.to_string()),
        Err(_) => Answer::Down(format!("no answer within {PATIENCE:?}")),
    }
}

async fn watch_links(world: Arc<World>, links: watch::Sender<Vec<LinkState>>) {
    let mut positions = Positions::default();
    loop {
        tokio::time::sleep(LINK_PACE).await;
        if links.receiver_count() > 0 {
            links.send_replace(positions.look(&world).await);
        }
    }
}
