//! Where a server's replication history stands, as `INFO replication` says it of a Redis server.

use std::sync::Arc;

/// The replication history of a server's plain keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lineage {
    /// The replication id: 40 hexadecimal digits.
    pub(crate) id: Arc<str>,
    /// The changes so far. A server counts bytes; who compares offsets cannot tell.
    pub(crate) offset: u64,
    /// The history that this one goes on from, and the first offset that is not shared with it.
    pub(crate) before: Option<(Arc<str>, u64)>,
}

impl Lineage {
    /// A history that begins now.
    pub(super) fn new(history: &str) -> Self {
        Self { id: id(history), offset: 0, before: None }
    }

    /// This many changes later.
    pub(super) fn after(&self, changes: usize) -> Self {
        let changes = u64::try_from(changes).unwrap_or(u64::MAX);
        Self { offset: self.offset.saturating_add(changes), ..self.clone() }
    }

    /// Another process goes on where this one stopped, with all its data.
    pub(super) fn go_on_as(&mut self, history: &str) {
        let before = std::mem::replace(&mut self.id, id(history));
        self.before = Some((before, self.offset.saturating_add(1)));
    }
}

fn id(history: &str) -> Arc<str> {
    format!("{history:0<40}").into()
}
