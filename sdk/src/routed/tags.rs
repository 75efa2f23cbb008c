//! Tags of named users: kept in the local region's Redis, so that the region's other processes know them.

use std::time::Duration;

use redis::{Cmd, Value};

use super::call::{Call, Progress};
use crate::routing::Access;

impl Call<'_> {
    /// Before a write the region is told, before a read it is asked, unless this process knows already.
    ///
    /// Told before, not along with the write: the next request may be at another process as soon as this one is answered.
    pub(super) async fn share_tag(&self, progress: &Progress) {
        let Some((session, name)) = self.seen.and_then(|seen| seen.named_tag()) else { return };
        let key = format!("archipelago:tag:{name}");
        match self.access {
            Access::Write => {
                let mut tell = redis::cmd("SET");
                tell.arg(key).arg(1).arg("PX").arg(session.tag_for().as_millis().max(1) as u64);
                // Not told, the tag still goes on in this process and in the token.
                if self.ask_region(&tell, progress).await.is_none() {
                    tracing::debug!("the region was not told of a tag");
                }
            }
            Access::Read if session.is_tagged() => {}
            Access::Read => {
                let left = self.ask_region(redis::cmd("PTTL").arg(key), progress).await;
                match left {
                    Some(Value::Int(left)) => {
                        session.tag(Duration::from_millis(u64::try_from(left).unwrap_or_default()));
                    }
                    // Nobody knows, so that only the writer will do.
                    Some(_) | None => session.tag(session.tag_for()),
                }
            }
        }
    }

    /// What the primary of the local region answers; `None` when it does not in time.
    async fn ask_region(&self, cmd: &Cmd, progress: &Progress) -> Option<Value> {
        let topology = self.core.topology.load();
        let node = self.core.node(topology.primary_of(topology.local())?)?;
        let link = node.link()?;
        let patience = node.latency.attempt_timeout().min(progress.deadline.since(self.core.clock.now()));
        let answer = tokio::time::timeout(patience, link.as_ref().clone().send_one(cmd)).await;
        answer.ok()?.ok()
    }
}
