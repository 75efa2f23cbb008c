//! Backups that come back after the others have agreed that nobody holds any more what is in them.

use archipelago_engine::PushReply;

use super::{Site, World};

impl World {
    /// A region writes, and a peer hears that it did but not what. The region goes back to where it stood before, all
    /// agree that what it wrote is lost, and then a backup is restored that holds it.
    pub fn restore_what_was_settled(&mut self) {
        let (i, peer) = self.two();
        self.ghosts.fill(None);
        while self.link(i, peer, false) {}
        let before = self.sites[i].clone();
        for _ in 0..=self.rng.below(12) {
            self.write(i);
        }
        let backup = self.sites[i].clone();
        self.say_how_far(i, peer);
        self.put_back(i, before);
        self.heal();
        self.put_back(i, backup);
        for _ in 0..self.rng.below(30) {
            self.step_with_faults();
        }
        self.heal();
    }

    /// A push of nothing tells how far the region is.
    fn say_how_far(&mut self, from: usize, to: usize) {
        self.ensure_open(from);
        self.ensure_open(to);
        let now = self.now(from);
        let standing = self.sites[from].partition.standing(&self.sites[from].history, now).unwrap();
        let site = &mut self.sites[to];
        let reply = site.partition.push(&site.history, &standing.push(Vec::new())).unwrap();
        assert!(!matches!(reply, PushReply::Epoch(_)), "all regions are of one epoch");
    }

    fn put_back(&mut self, i: usize, site: Site) {
        let history = format!("server {}", self.name());
        self.sites[i] = Site { history, is_whole: false, ..site };
    }
}
