//! The shop's own ledger of a stock: what was delivered, and what customers were told they have.
//!
//! It knows no origins, rights or incarnations. What it holds against the regions is one sentence: never more is sold
//! than was delivered.

use std::collections::BTreeSet;

use archipelago_engine::{CallId, Key, Kind, Origin, Partition, Reservation, StockChange, StockOutcome};

use super::Rng;

#[derive(Default)]
pub struct Ledger {
    calls: u64,
    delivered: u64,
    sold: u64,
    reserved: Vec<Reservation>,
    done: BTreeSet<CallId>,
    /// Calls whose answers may have been lost on the way, and who did them.
    asked: Vec<(Origin, StockChange)>,
    pub short: u64,
    pub run_out: u64,
    pub confirmed: u64,
    pub moved: u64,
}

impl Ledger {
    pub fn key() -> Key {
        Key::new(Kind::Stock, "tickets")
    }

    pub const fn sold(&self) -> u64 {
        self.sold
    }

    pub const fn delivered(&self) -> u64 {
        self.delivered
    }

    fn id(&mut self) -> CallId {
        self.calls += 1;
        format!("call-{}", self.calls).parse().unwrap()
    }

    pub fn take_all(&mut self) -> StockChange {
        StockChange::Take { id: self.id(), units: 1_000_000, partial: true, hold: None }
    }

    /// What somebody asks of a region next.
    pub fn next(&mut self, rng: &mut Rng, at: &Partition, peers: &[Origin]) -> StockChange {
        let own = at.origin();
        let units = 1 + rng.below(5) as u64;
        match rng.below(16) {
            0 | 1 => StockChange::Restock { id: self.id(), units: units * 3 },
            2..=5 => StockChange::Take { id: self.id(), units, partial: rng.one_in(2), hold: None },
            6 | 7 => {
                let hold = Some(1 + rng.below(3000) as u64);
                StockChange::Take { id: self.id(), units, partial: rng.one_in(2), hold }
            }
            8 if self.sold >= units => StockChange::GiveBack { id: self.id(), units },
            9 | 10 if self.reserved.iter().any(|reservation| reservation.origin.region == *at.region()) => {
                let here = self.reserved.iter().filter(|reservation| reservation.origin.region == *at.region());
                let reservation = (*rng.pick(&here.collect::<Vec<_>>())).clone();
                if rng.one_in(3) { StockChange::Release(reservation) } else { StockChange::Confirm(reservation) }
            }
            // Somebody who heard no answer asks the same server again.
            11 | 12 => {
                let again: Vec<_> =
                    self.asked.iter().rev().take(8).filter(|(by, _)| Some(by) == own.as_ref()).collect();
                match again.first() {
                    Some((_, change)) => change.clone(),
                    None => StockChange::Tidy,
                }
            }
            13 => StockChange::Tidy,
            _ => {
                let others: Vec<_> = peers.iter().filter(|to| to.region != *at.region()).collect();
                if others.is_empty() {
                    return StockChange::Tidy;
                }
                StockChange::Transfer { to: (*rng.pick(&others)).clone(), units, partial: true }
            }
        }
    }

    /// What somebody was answered.
    pub fn note(&mut self, by: Origin, change: &StockChange, outcome: &StockOutcome) {
        match (change, outcome) {
            (StockChange::Restock { id, .. }, StockOutcome::Done { units, .. }) => {
                if self.done.insert(id.clone()) {
                    self.delivered += units;
                }
            }
            (StockChange::Take { id, .. }, StockOutcome::Done { units, .. }) => {
                if self.done.insert(id.clone()) {
                    self.sold += units;
                }
            }
            (StockChange::Take { id, .. }, StockOutcome::Held(reservation)) => {
                if self.done.insert(id.clone()) {
                    self.reserved.push(reservation.clone());
                }
            }
            (StockChange::GiveBack { id, .. }, StockOutcome::Done { units, .. }) => {
                if self.done.insert(id.clone()) {
                    self.sold -= units;
                }
            }
            (StockChange::Confirm(reservation), StockOutcome::Done { units, .. }) => {
                if self.close(reservation) {
                    self.sold += units;
                    self.confirmed += 1;
                }
            }
            (StockChange::Release(reservation), StockOutcome::Done { .. }) => {
                self.close(reservation);
            }
            (StockChange::Confirm(reservation) | StockChange::Release(reservation), StockOutcome::Gone) => {
                self.close(reservation);
                self.run_out += 1;
            }
            (_, StockOutcome::Short { .. }) => self.short += 1,
            (_, StockOutcome::Given { units, .. }) => self.moved += units,
            (StockChange::GiveBack { .. }, StockOutcome::NotTaken { .. }) => {}
            (StockChange::Tidy, StockOutcome::Done { .. }) => {}
            (change, outcome) => panic!("{change:?}: {outcome:?}"),
        }
        self.asked.push((by, change.clone()));
        assert!(self.sold <= self.delivered, "sold {} of {}: {change:?}: {outcome:?}", self.sold, self.delivered);
    }

    /// Nobody repeats a call any more.
    pub fn answers_arrived(&mut self) {
        self.asked.clear();
    }

    /// Whether the customer had it until now.
    fn close(&mut self, reservation: &Reservation) -> bool {
        let before = self.reserved.len();
        self.reserved.retain(|other| other != reservation);
        self.reserved.len() < before
    }
}
