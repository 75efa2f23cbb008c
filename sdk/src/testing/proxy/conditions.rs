//! What a link is like at present: every connection watches it.

use super::shape::{Direction, Shape};

/// The conditions of both directions and of the whole.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Conditions {
    to_server: Way,
    to_client: Way,
    /// Nothing passes, and nothing is lost: as when a network drops every packet, and TCP sends them again afterwards.
    pub(super) black_hole: bool,
    /// The same on the connection of this number.
    pub(super) hanging: Option<u64>,
    /// How often all connections were ended. A number, since an end and the next may come between two looks.
    pub(super) ended: u64,
    /// How they ended the last time.
    pub(super) ending: Ending,
}

/// One direction.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Way {
    pub(super) shape: Shape,
    /// What enters vanishes.
    pub(super) cut: bool,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Ending {
    /// FIN: as when a server goes down in good order.
    #[default]
    Close,
    /// RST: as when a server crashes, or a firewall forgets the connection.
    Reset,
}

impl Conditions {
    /// Whether nothing passes on a connection.
    pub(super) fn silences(&self, connection: u64) -> bool {
        self.black_hole || self.hanging == Some(connection)
    }

    pub(super) const fn way(&self, direction: Direction) -> &Way {
        match direction {
            Direction::ToServer => &self.to_server,
            Direction::ToClient => &self.to_client,
        }
    }

    pub(super) const fn way_mut(&mut self, direction: Direction) -> &mut Way {
        match direction {
            Direction::ToServer => &mut self.to_server,
            Direction::ToClient => &mut self.to_client,
        }
    }

    pub(super) const fn end(&mut self, ending: Ending) {
        (self.ended, self.ending) = (self.ended.wrapping_add(1), ending);
    }

    /// Ends the faults. The shapes stay: a distance is no fault.
    pub(super) const fn heal(&mut self) {
        (self.to_server.cut, self.to_client.cut, self.black_hole, self.hanging) = (false, false, false, None);
    }
}
