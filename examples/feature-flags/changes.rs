//! What changes, as a stream: the crate `open-feature` has no provider events.
//!
//! Each flag's state now, and then each change that the local region sees, whoever made it and wherever. Changes in quick
//! succession come as one, the latest. The stream ends when the client is shut down.

use std::{
    collections::BTreeSet,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use archipelago::{Error, near::Watch};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, future::ready, stream, stream::SelectAll};

use crate::{
    definition::Stored,
    store::{Flags, names_of},
};

/// One change of one flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlagChange {
    pub flag: String,
    pub change: Change,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It has a definition, or another one.
    Defined,
    /// It has one that is none; evaluations answer PARSE_ERROR.
    Malformed(String),
    Removed,
    Killed,
    Revived,
    /// What is stored cannot be read; the stream goes on.
    Unreadable(String),
}

impl fmt::Display for FlagChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.flag)?;
        match &self.change {
            Change::Defined => f.write_str("defined"),
            Change::Malformed(why) => write!(f, "malformed: {why}"),
            Change::Removed => f.write_str("removed"),
            Change::Killed => f.write_str("killed"),
            Change::Revived => f.write_str("revived"),
            Change::Unreadable(why) => write!(f, "unreadable: {why}"),
        }
    }
}

type OfOne = Pin<Box<dyn Stream<Item = FlagChange> + Send>>;

/// From [`FlagProvider::changes`](crate::provider::FlagProvider::changes).
pub struct Changes {
    flags: Flags,
    names: Watch<BTreeSet<Bytes>>,
    known: BTreeSet<String>,
    each: SelectAll<OfOne>,
}

pub fn changes(flags: &Flags) -> Changes {
    let names = flags.held_names().watch();
    Changes { flags: flags.clone(), names, known: BTreeSet::new(), each: SelectAll::new() }
}

impl Stream for Changes {
    type Item = FlagChange;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<FlagChange>> {
        let this = &mut *self;
        loop {
            match this.names.poll_next_unpin(cx) {
                Poll::Ready(Some(names)) => this.follow(names),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => break,
            }
        }
        match this.each.poll_next_unpin(cx) {
            // Nobody is there to be followed yet.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
            change @ Poll::Ready(Some(_)) => change,
        }
    }
}

impl Changes {
    /// Follows the flags that are new. One that was removed is followed on: it may come back, and there is an end to names.
    fn follow(&mut self, names: Result<Option<Arc<BTreeSet<Bytes>>>, Error>) {
        let Ok(Some(names)) = names else { return };
        for name in names_of(&names) {
            if self.known.len() < crate::store::MAX_FLAGS && self.known.insert(name.clone()) {
                self.each.push(of_one(&self.flags, name));
            }
        }
    }
}

fn of_one(flags: &Flags, name: String) -> OfOne {
    let held = flags.held(&name);
    let definitions = changed(held.definition.watch(), |stored: Option<Arc<Stored>>| match stored.as_deref() {
        Some(Stored(Ok(_))) => Change::Defined,
        Some(Stored(Err(why))) => Change::Malformed(why.0.clone()),
        None => Change::Removed,
    });
    let switch = changed(held.switch.watch(), |is_on| match is_on.as_deref() {
        Some(false) => Change::Killed,
        Some(true) | None => Change::Revived,
    });
    let changes = stream::select(definitions, switch);
    Box::pin(changes.map(move |change| FlagChange { flag: name.clone(), change }))
}

/// That there is nothing at first is no change.
fn changed<T: Send + Sync + 'static>(
    watch: Watch<T>,
    change: impl Fn(Option<Arc<T>>) -> Change + Send + 'static,
) -> impl Stream<Item = Change> + Send {
    watch.skip_while(|value| ready(matches!(value, Ok(None)))).map(move |value| match value {
        Ok(value) => change(value),
        Err(error) => Change::Unreadable(error.to_string()),
    })
}
