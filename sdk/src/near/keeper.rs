//! Keeps a line up: connects when the first read is near, checks, and begins again when it is over.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use super::{
    keyspace::NearKeyspace,
    line::{Failure, Line},
    source::Source,
};
use crate::dial::Moves;

/// Between two attempts to connect: from the first pause to the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// Between two attempts at a server that does not allow tracking: a right may be granted while the client lives.
const REFUSED: Duration = Duration::from_secs(10);

/// Between two looks at where reads of a routed keyspace go. A look is a few atomic loads.
const LOOK: Duration = Duration::from_millis(50);

/// Keeps a line up, for ever.
pub(super) async fn keep_tracking(space: Arc<NearKeyspace>) {
    let mut wanted = space.wanted();
    // No connection before somebody is going to read.
    if wanted.wait_for(|kinds| *kinds != 0).await.is_err() {
        return;
    }
    let mut moves = match &space.source {
        Source::Region { server, .. } => server.moves(),
        Source::Embedded(_) | Source::Routed(_) => Moves::never(),
    };
    let mut pause = PAUSES.0;
    loop {
        moves.look();
        let kinds = *wanted.borrow_and_update();
        match connect(&space, kinds).await {
            Ok(line) => {
                let line = Arc::new(line);
                space.turn_on(line.clone());
                tracing::debug!(keyspace = space.name, "the near cache is told what changes");
                pause = PAUSES.0;
                let why = over(&space, &line, &mut wanted, &mut moves).await;
                tracing::warn!(keyspace = space.name, why, "the near cache is not told what changes: it holds nothing");
                space.turn_off(why);
            }
            Err(Failure::Refused(why)) => {
                if space.refuse(why.clone()) {
                    let ttl = space.cache.ttl();
                    tracing::warn!(
                        keyspace = space.name,
                        why,
                        ?ttl,
                        "no tracking here: values may be stale for as long"
                    );
                }
                let _ = timeout(REFUSED, moves.news()).await;
            }
            Err(Failure::Down(why)) => {
                space.turn_off(why);
                let _ = timeout(pause, moves.news()).await;
                pause = (pause * 2).min(PAUSES.1);
            }
        }
    }
}

async fn connect(space: &NearKeyspace, kinds: u32) -> Result<Line, Failure> {
    match &space.source {
        Source::Region { server, patience, .. } => {
            let partitions = space.source.partitions().unwrap_or_default();
            Line::to_region(server, *patience, &space.name, partitions, kinds, &space.cache).await
        }
        Source::Routed(connection) => {
            let nowhere = || Failure::Down("no node takes reads".to_owned());
            let reader = connection.reader().ok_or_else(nowhere)?;
            let patience = connection.plane_core().config.deadline;
            Line::to_node(&reader.endpoint, reader.node, reader.role, patience, &space.cache).await
        }
        Source::Embedded(_) => Ok(Line::embedded()),
    }
}

/// Returns when the line has to be replaced, and says why.
async fn over(space: &NearKeyspace, line: &Line, wanted: &mut watch::Receiver<u32>, moves: &mut Moves) -> String {
    tokio::select! {
        () = line.broken.cancelled() => "the connection is gone".to_owned(),
        why = checked(line) => why,
        why = widened(space, line, wanted) => why,
        why = elsewhere(space, line) => why,
        () = moves.away_from(line.at.as_ref()) => "the Sentinels name another primary".to_owned(),
    }
}

/// Finds a dead connection that TCP still believes in, and a primary that is none any more.
async fn checked(line: &Line) -> String {
    loop {
        sleep(line.beat()).await;
        if let Err(why) = line.check().await {
            return why;
        }
    }
}

/// Lets the server tell of more types, as they are asked for.
async fn widened(space: &NearKeyspace, line: &Line, wanted: &mut watch::Receiver<u32>) -> String {
    loop {
        let kinds = *wanted.borrow_and_update();
        if !line.tracks(kinds) {
            let partitions = space.source.partitions().unwrap_or_default();
            match line.track(&space.name, partitions, kinds).await {
                // Who watches reads again, and tracked from now on.
                Ok(()) => space.cache.invalidate_all(),
                Err(Failure::Refused(why) | Failure::Down(why)) => return why,
            }
        }
        if wanted.changed().await.is_err() {
            return "nobody is left to read".to_owned();
        }
    }
}

/// Reads of a routed keyspace go to another node now. While they go nowhere, this is the best there is.
async fn elsewhere(space: &NearKeyspace, line: &Line) -> String {
    let Source::Routed(connection) = &space.source else { return std::future::pending().await };
    loop {
        sleep(LOOK).await;
        if connection.reader().is_some_and(|reader| Some(reader.node) != line.node) {
            return "reads go to another node now".to_owned();
        }
    }
}
