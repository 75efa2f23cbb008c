//! Moves users: carries out what a [`Mover`] wants done.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::time::Instant;

use super::{
    Home, Homes, Registry, is_away,
    region::{MOST_BYTES, NotDone, Region, left},
    user::User,
};
use crate::{
    error::{Error, ErrorKind},
    homes::assignment::{Action, Assignment, Mover, Reply},
    routed::own,
};

/// After so long with the gate shut, a migration counts as given up.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

const STILL_MOVING: &str = "the user is moving, and the migration did not end in time";

/// How long one step may take: all that a user has has to get across.
const STEP: Duration = Duration::from_secs(5);

/// How many copies are under way at once.
const COPIES: usize = 16;

impl Homes {
    /// Moves a user to another region, with all they have, while they read and write. Theirs is the old home until the
    /// commit, the new one from then on; in between their commands wait for a few round trips. To the region where they
    /// live it does nothing.
    ///
    /// It ends within 30 s, unless [`Homes::with_migration_deadline`] says otherwise. When it cannot be finished it is
    /// rolled back, if the owner region can be reached; that may take `routed.deadline_ms` more.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for an unknown region, or one outside the keyspace's residency; [`ErrorKind::Refused`] for a bad
    /// id, a user without a home, one whose migration is under way already, and one who has too much;
    /// [`ErrorKind::Server`] when the new home cannot read what the old one wrote. The user then lives where they did. With
    /// [`ErrorKind::Unavailable`] the owner region may not have been told: see [`Homes::resume_migration`].
    ///
    /// # Cancel safety
    /// Dropped half-way it leaves the migration under way, and perhaps the user's commands waiting, until it is resumed or
    /// rolled back, at the latest after [`Homes::PATIENCE`]. Let it run in a task of its own where the caller may be
    /// dropped, as a web server's handler is when its client goes away.
    pub async fn migrate_home(&self, user: impl AsRef<[u8]>, to: &str) -> Result<Home, Error> {
        let user = User::new(user.as_ref())?;
        let to = self.registry.region(to)?;
        self.residency.check(&to.id)?;
        // Boxed, so that a caller's own future does not grow beyond what the compiler lays out by default.
        Box::pin(self.registry.migrate(&user, to, Instant::now() + self.migration)).await
    }

    /// Goes on with a migration that somebody began, from another process, too: whoever began it can do nothing more. Where
    /// none is under way it does nothing. The home, once the user has moved.
    ///
    /// # Errors
    /// As [`Homes::migrate_home`].
    ///
    /// # Cancel safety
    /// As [`Homes::migrate_home`].
    pub async fn resume_migration(&self, user: impl AsRef<[u8]>) -> Result<Home, Error> {
        let user = User::new(user.as_ref())?;
        let deadline = Instant::now() + self.migration;
        Box::pin(self.registry.resume(&user, deadline)).await
    }

    /// Ends a migration that somebody began, from another process, too: the user lives on where they lived, and whoever began
    /// it can do nothing more. Where none is under way it does nothing. The home.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] for a bad id or a user without a home; [`ErrorKind::MaybeApplied`] when no answer came: repeat
    /// it; else see [`ErrorKind`].
    ///
    /// # Cancel safety
    /// Dropped, it may be done or not.
    pub async fn roll_back_migration(&self, user: impl AsRef<[u8]>) -> Result<Home, Error> {
        let user = User::new(user.as_ref())?;
        let deadline = Instant::now() + self.registry.deadline;
        let back = async {
            let record = self.registry.home(&user, deadline).await?;
            self.registry.roll_back(&user, &record, deadline).await
        };
        Box::pin(back).await.map(|record| Home::recorded(&record))
    }
}

impl Registry {
    async fn migrate(&self, user: &User, to: &Region, deadline: Instant) -> Result<Home, Error> {
        let record = self.home(user, self.soon(deadline)).await?;
        if let Some(other) = record.moving_to() {
            let text = format!("a migration to {other} is under way: resume it, or roll it back");
            return Err(Error::new(ErrorKind::Refused, text));
        }
        if *record.home() == to.id {
            return Ok(Home::recorded(&record));
        }
        let changed = || Error::new(ErrorKind::Refused, "somebody else has just begun to move the user");
        let begun = record.begin(record.epoch(), to.id.clone()).map_err(|_| changed())?;
        match self.swap(user, Some(&record), &begun, self.soon(deadline)).await {
            Ok((true, _)) => self.run(user, &begun, deadline).await,
            Ok((false, _)) => Err(changed()),
            // Whose the record is now cannot be seen. With an epoch of its own this mover is alone.
            Err(error) if error.is_maybe_applied() => match self.take_over(user, deadline).await? {
                Ok(record) if record.moving_to() == Some(&to.id) => self.run(user, &record, deadline).await,
                Ok(_) | Err(_) => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    async fn resume(&self, user: &User, deadline: Instant) -> Result<Home, Error> {
        match self.take_over(user, deadline).await? {
            Ok(record) => self.run(user, &record, deadline).await,
            Err(settled) => Ok(Home::recorded(&settled)),
        }
    }

    /// The record with an epoch of this process's own; or as it is, when no move is under way.
    async fn take_over(&self, user: &User, deadline: Instant) -> Result<Result<Assignment, Assignment>, Error> {
        let mut pauses = Pauses::new(deadline);
        loop {
            let record = self.home(user, self.soon(deadline)).await?;
            let Ok(next) = record.take_over(record.epoch()) else { return Ok(Err(record)) };
            match self.swap(user, Some(&record), &next, self.soon(deadline)).await {
                Ok((true, _)) => return Ok(Ok(next)),
                Ok((false, _)) => {}
                // Perhaps it was done; the next epoch is this process's own for certain.
                Err(error) if error.is_maybe_applied() => {}
                Err(error) => return Err(error),
            }
            pauses.pause("others take the migration over, too").await?;
        }
    }

    async fn run(&self, user: &User, record: &Assignment, deadline: Instant) -> Result<Home, Error> {
        let missing = || Error::new(ErrorKind::Protocol, "no migration is under way");
        let mover = Mover::new(record).ok_or_else(missing)?;
        let (from, to) = (self.region(mover.from().as_str())?, self.region(mover.to().as_str())?);
        let pauses = Pauses::new(deadline);
        Migration { registry: self, user, from, to, mover, pauses, is_committed: false }.run().await
    }

    /// Ends the move that this record says is under way; the record then. Also lets the user in again at once, if it can.
    async fn roll_back(&self, user: &User, record: &Assignment, deadline: Instant) -> Result<Assignment, Error> {
        let (Ok(back), Some(to)) = (record.roll_back(record.epoch()), record.moving_to()) else {
            return Ok(record.clone());
        };
        let (is_done, now) = self.swap(user, Some(record), &back, deadline).await?;
        if is_done {
            // What fails here is done by whoever finds it.
            let (home, to) = (self.region(back.home().as_str())?, self.region(to.as_str())?);
            let _ = home.open(user, back.epoch(), deadline).await;
            let _ = to.clear(user, back.epoch(), deadline).await;
        }
        Ok(now.unwrap_or(back))
    }

    /// Waits until no move is under way. One that is given up is rolled back.
    pub(super) async fn settled(&self, user: &User, pauses: &mut Pauses) -> Result<Assignment, Error> {
        let mut is_moving = false;
        loop {
            let record = match self.home(user, pauses.deadline).await {
                Ok(record) => record,
                // What was waited for all the time, not the last question that found no time any more.
                Err(error) if is_moving && is_away(&error) => {
                    return Err(Error::new(ErrorKind::Unavailable, format!("{STILL_MOVING}: {error}")));
                }
                Err(error) => return Err(error),
            };
            if record.moving_to().is_none() {
                self.known.settled(user);
                return Ok(record);
            }
            if self.known.shut_for(user, record.epoch()) >= PATIENCE {
                tracing::warn!(?record, "a migration was given up, and is rolled back");
                self.roll_back(user, &record, pauses.deadline).await?;
                continue;
            }
            is_moving = true;
            pauses.pause(STILL_MOVING).await?;
        }
    }

    /// By when one question has to be answered.
    fn soon(&self, deadline: Instant) -> Instant {
        deadline.min(Instant::now() + self.deadline)
    }
}

/// One user's move, by this process.
struct Migration<'a> {
    registry: &'a Registry,
    user: &'a User,
    from: &'a Region,
    to: &'a Region,
    mover: Mover,
    pauses: Pauses,
    is_committed: bool,
}

impl Migration<'_> {
    async fn run(mut self) -> Result<Home, Error> {
        while !self.mover.is_over() {
            match self.step().await {
                Ok(()) => {}
                // The user has moved. The gate is opened, and the old home cleared, by whoever finds it.
                Err(_) if self.is_committed => break,
                Err(error) => return self.give_up(error).await,
            }
        }
        let known = self.registry.known.get(self.user).filter(|_| self.is_committed);
        match known {
            Some(record) => Ok(Home::recorded(&record)),
            None => {
                self.give_up(Error::new(ErrorKind::Refused, "somebody else took the migration over, or ended it")).await
            }
        }
    }

    /// Everything that is to be done now, once.
    async fn step(&mut self) -> Result<(), Error> {
        let actions: Vec<_> = self.mover.actions().collect();
        let replies: Vec<_> =
            stream::iter(actions).map(|action| self.carry_out(action)).buffer_unordered(COPIES).collect().await;
        let mut away = None;
        for reply in replies {
            match reply {
                Ok(reply) => {
                    self.is_committed |= reply == Reply::Committed;
                    self.mover.hear(reply);
                }
                Err(error) if is_away(&error) => away = Some(error),
                Err(error) => return Err(error),
            }
        }
        match away {
            Some(error) if self.registry.plane.core.is_stopped() => Err(error),
            // All of it may be done again.
            Some(error) => self.pauses.pause(&error.to_string()).await,
            None => Ok(()),
        }
    }

    async fn carry_out(&self, action: Action) -> Result<Reply, Error> {
        let (user, epoch) = (self.user, self.mover.epoch());
        let deadline = self.pauses.deadline.min(Instant::now() + STEP);
        let done = match action {
            Action::Prepare => self.to.prepare(user, epoch, deadline).await.map(|()| Reply::Prepared),
            Action::Read => self.from.read(user, deadline).await.map(Reply::Read),
            Action::Copy(round, key, value) => {
                let copied = self.to.copy(user, epoch, (round, &key, value.as_deref()), deadline).await;
                copied.map(|()| Reply::Copied(round, key))
            }
            Action::Seal => self.from.seal(user, epoch, deadline).await.map(Reply::Sealed),
            Action::Commit => return self.commit(deadline).await,
            Action::Open => self.to.open(user, epoch, deadline).await.map(|()| Reply::Opened),
            Action::Clear => self.from.clear(user, epoch, deadline).await.map(|()| Reply::Cleared),
        };
        match done {
            Ok(reply) => Ok(reply),
            Err(NotDone::Gate(..)) => Ok(Reply::Refused),
            Err(NotDone::TooLarge) => {
                let text = format!("the user has more than {MOST_BYTES} bytes, which would hold the server up");
                Err(Error::new(ErrorKind::Refused, text))
            }
            Err(NotDone::Failed(error)) => Err(own(error)),
        }
    }

    async fn commit(&self, deadline: Instant) -> Result<Reply, Error> {
        loop {
            let record = self.registry.home(self.user, deadline).await?;
            let Ok(committed) = record.commit(self.mover.epoch()) else { return Ok(Reply::Refused) };
            // Done before, and the answer was lost.
            if committed == record {
                return Ok(Reply::Committed);
            }
            if self.registry.swap(self.user, Some(&record), &committed, deadline).await?.0 {
                return Ok(Reply::Committed);
            }
        }
    }

    /// Rolls back, unless the user has moved after all, or the move is somebody else's now.
    async fn give_up(&self, error: Error) -> Result<Home, Error> {
        let deadline = Instant::now() + self.registry.deadline;
        let Ok(record) = self.registry.home(self.user, deadline).await else {
            return Err(error.within("the migration may be under way: resume it, or roll it back"));
        };
        if record.moving_to().is_none() && *record.home() == self.to.id {
            return Ok(Home::recorded(&record));
        }
        if record.epoch() != self.mover.epoch() {
            return Err(error);
        }
        match self.registry.roll_back(self.user, &record, deadline).await {
            Ok(_) => Err(error.within("the migration was rolled back")),
            Err(_) => Err(error.within("the migration may be under way: resume it, or roll it back")),
        }
    }
}

/// Waits that grow, up to a deadline.
pub(super) struct Pauses {
    pub(super) deadline: Instant,
    next: Duration,
}

impl Pauses {
    const FIRST: Duration = Duration::from_millis(2);
    /// A hand-off takes a few round trips: longer pauses would be most of what a command waits.
    const LONGEST: Duration = Duration::from_millis(50);

    pub(super) fn new(deadline: Instant) -> Self {
        Self { deadline, next: Self::FIRST }
    }

    /// Waits a while, or says why not, when there is no time for it.
    pub(super) async fn pause(&mut self, why: &str) -> Result<(), Error> {
        // Those who wait for one thing should not ask all at once.
        let pause = self.next.mul_f64(0.5 + fastrand::f64() / 2.0);
        if pause >= left(self.deadline) {
            return Err(Error::new(ErrorKind::Unavailable, why));
        }
        tokio::time::sleep(pause).await;
        self.next = (self.next * 2).min(Self::LONGEST);
        Ok(())
    }
}
