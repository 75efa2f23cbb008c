//! Following the topology record: what was heard of it, whom it names, and until when it lets us write.

use std::sync::PoisonError;

use super::{events::Event, map::with_writers, plane::Core};
use crate::{
    promotion::{Fence, Record},
    resilience::Moment,
    routing::{NodeIndex, Role},
};

/// What this client knows of the record.
pub(crate) struct Ledger {
    fence: Fence,
    /// The newest record that was read anywhere.
    newest: Record,
    /// The epoch that is followed.
    followed: u64,
    /// An unreadable copy was reported.
    has_complained: bool,
}

impl Ledger {
    pub(crate) fn new(fence: Fence) -> Self {
        Self { fence, newest: Record::default(), followed: 0, has_complained: false }
    }
}

impl Core {
    /// A node showed its copy of the record, asked for at a moment; only the writers' copies confirm a lease.
    ///
    /// Says whether the copy is older than the newest, which then is to be written there.
    pub(super) fn heard(&self, index: NodeIndex, asked: Moment, copy: Option<&[u8]>) -> Option<Record> {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let record = match copy.map(Record::decode) {
            None => Record::default(),
            Some(Ok(record)) => record,
            Some(Err(error)) => {
                if !ledger.has_complained {
                    ledger.has_complained = true;
                    let node = self.node(index).map_or_else(|| "?".into(), |node| node.name.clone());
                    self.events.publish(Event::UnreadableTopology { node, why: error.to_string() });
                }
                return None;
            }
        };
        let topology = self.topology.load();
        let writes_for = topology.node(index).filter(|node| node.role == Role::Primary).map(|node| node.region);
        if let Some(region) = writes_for {
            ledger.fence.hear(region.as_usize(), asked, record.epoch);
        }
        let is_behind = record.epoch < ledger.newest.epoch;
        if record.epoch > ledger.newest.epoch {
            ledger.newest = record;
        }
        self.renew(&ledger);
        if ledger.newest.epoch > ledger.followed {
            self.suspect();
        }
        // Only what is followed is spread: an attempt that was given up half-way is left where it is.
        (is_behind && writes_for.is_some() && ledger.newest.epoch == ledger.followed).then(|| ledger.newest.clone())
    }

    fn renew(&self, ledger: &Ledger) {
        let until = ledger.fence.lease_until(ledger.followed).unwrap_or(Moment::START);
        self.set_writes_until(until);
    }

    /// Follows the newest record if every server it names is a primary by its own account.
    pub(super) fn follow(&self) {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        if ledger.newest.epoch <= ledger.followed {
            return;
        }
        let before = self.topology.load_full();
        let Some(after) = with_writers(&before, ledger.newest.epoch, &ledger.newest.writers) else { return };
        let nodes = || (0..=u8::MAX).map(NodeIndex).zip(before.nodes().iter().zip(after.nodes()));
        let promoted = || nodes().filter(|(_, (old, new))| old.role != new.role && new.role == Role::Primary);
        let are_primaries =
            promoted().all(|(index, _)| self.node(index).is_some_and(|node| node.seen_role() == Some(Role::Primary)));
        if !are_primaries {
            return;
        }
        ledger.followed = ledger.newest.epoch;
        for (index, (_, new)) in nodes() {
            if let Some(node) = self.node(index) {
                node.expect(new.role, self.clock.now());
            }
        }
        for (index, (_, new)) in promoted() {
            let from = before.primary_of(new.region).map(|node| before.name_of(node).into());
            let region = before.region(new.region).map(|region| region.id.clone());
            if let (Some(from), Some(region), Some(node)) = (from, region, self.node(index)) {
                let (to, epoch) = (node.name.clone(), ledger.followed);
                self.events.publish(Event::Promoted { region, from, to, epoch });
            }
        }
        self.topology.store(std::sync::Arc::new(after));
        self.renew(&ledger);
    }
}
