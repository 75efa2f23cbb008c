//! Stock: rights, calls that count once, reservations, transfers, and what an ended incarnation leaves frozen.

use archipelago::{
    engine::{
        Expiry, Key, Kind, Mutation, MutationError, Origin, Outcome, Reservation, StockChange, StockOutcome, Total,
    },
    store::{Query, Reply, Store, StoreError, Write},
    testing::poll,
};
use archipelago_tests::{
    carry::carry,
    world::{b, read, write},
};

use crate::{Case, writes::assign};

async fn change(store: &dyn Store, change: StockChange) -> StockOutcome {
    match write(store, Kind::Stock, "tickets", Mutation::Stock(change)).await.unwrap() {
        Outcome::Stock(outcome) => outcome,
        other => panic!("{other:?}"),
    }
}

async fn restock(store: &dyn Store, id: &str, units: u64) -> StockOutcome {
    change(store, StockChange::Restock { id: id.parse().unwrap(), units }).await
}

async fn take(store: &dyn Store, id: &str, units: u64) -> StockOutcome {
    change(store, StockChange::Take { id: id.parse().unwrap(), units, partial: false, hold: None }).await
}

async fn take_up_to(store: &dyn Store, id: &str, units: u64) -> StockOutcome {
    change(store, StockChange::Take { id: id.parse().unwrap(), units, partial: true, hold: None }).await
}

async fn give_back(store: &dyn Store, id: &str, units: u64) -> StockOutcome {
    change(store, StockChange::GiveBack { id: id.parse().unwrap(), units }).await
}

async fn reserve(store: &dyn Store, id: &str, units: u64, millis: u64) -> Reservation {
    let take = StockChange::Take { id: id.parse().unwrap(), units, partial: false, hold: Some(millis) };
    match change(store, take).await {
        StockOutcome::Held(reservation) => reservation,
        other => panic!("{other:?}"),
    }
}

async fn rights(store: &dyn Store) -> u64 {
    match change(store, StockChange::Tidy).await {
        StockOutcome::Done { units, .. } => units,
        other => panic!("{other:?}"),
    }
}

async fn left(store: &dyn Store) -> Reply {
    read(store, Kind::Stock, "tickets", Query::Value).await
}

async fn origin(store: &dyn Store) -> Origin {
    store.standing(0).await.unwrap().origin
}

const fn done(units: u64, left: u64) -> StockOutcome {
    StockOutcome::Done { units, left }
}

pub async fn units_are_taken_as_long_as_the_rights_last(case: Case) {
    let store = &*case.a;
    assert_eq!(left(store).await, Reply::Nil);
    assert_eq!(take(store, "o-1", 1).await, StockOutcome::Short { local: 0, elsewhere: 0 });
    assert_eq!(restock(store, "d-1", 5).await, done(5, 5));
    assert_eq!(take(store, "o-2", 3).await, done(3, 2));
    assert_eq!(take(store, "o-3", 3).await, StockOutcome::Short { local: 2, elsewhere: 0 });
    assert_eq!(take_up_to(store, "o-4", 3).await, done(2, 0));
    assert_eq!(take_up_to(store, "o-5", 3).await, StockOutcome::Short { local: 0, elsewhere: 0 });
    assert_eq!(give_back(store, "r-1", 6).await, StockOutcome::NotTaken { taken: 5 });
    assert_eq!(give_back(store, "r-2", 1).await, done(1, 1));
    assert_eq!(left(store).await, Reply::Bytes(b("1")), "a native string");
    for units in [0, (1 << 40) + 1] {
        let mutation = Mutation::Stock(StockChange::Restock { id: "d-2".parse().unwrap(), units });
        let refused = write(store, Kind::Stock, "tickets", mutation).await;
        assert!(matches!(refused, Err(StoreError::Refused(MutationError::Units))), "{refused:?}");
    }
    let mutation = Mutation::Stock(StockChange::Restock { id: "d-3".parse().unwrap(), units: 1 << 40 });
    let refused = write(store, Kind::Stock, "tickets", mutation).await;
    assert!(matches!(refused, Err(StoreError::Refused(MutationError::Overflow))), "{refused:?}");
}

/// Counterexample 31: a restock or give-back retried after a timeout.
pub async fn a_call_repeated_by_its_id_counts_once(case: Case) {
    let store = &*case.a;
    for _ in 0..3 {
        assert_eq!(restock(store, "d-1", 5).await, done(5, 5));
    }
    for _ in 0..3 {
        assert_eq!(take(store, "o-1", 2).await, done(2, 3));
    }
    assert_eq!(take_up_to(store, "o-2", 9).await, done(3, 0));
    assert_eq!(give_back(store, "r-1", 4).await, done(4, 4));
    assert_eq!(give_back(store, "r-1", 4).await, done(4, 4));
    // What it answered then, whatever there is now.
    assert_eq!(take_up_to(store, "o-2", 9).await, done(3, 4));
    assert_eq!(take(store, "d-1", 5).await, StockOutcome::Reused);
    assert_eq!(take(store, "o-1", 3).await, StockOutcome::Reused);
    // An id is the caller's for one stock: no other stock's call is taken for it.
    let other = Key::new(Kind::Stock, "tickets:o-1");
    let mutation = Mutation::Stock(StockChange::Restock { id: "x".parse().unwrap(), units: 1 });
    store.write(&Write { key: other, mutation, exclusive: false }).await.unwrap();
    assert_eq!(rights(store).await, 4);
}

pub async fn a_reservation_that_runs_out_comes_back(case: Case) {
    let store = &*case.a;
    restock(store, "d-1", 5).await;
    let cart = reserve(store, "c-1", 3, 30).await;
    assert_eq!(reserve(store, "c-1", 3, 30).await, cart, "repeated, it is the same");
    assert_eq!(left(store).await, Reply::Bytes(b("2")));
    // By the sweeper, where nobody takes anything.
    poll::until("the sweeper returns it", || async { (store.tidy(0, 10).await.unwrap() == 1).then_some(()) }).await;
    assert_eq!(left(store).await, Reply::Bytes(b("5")));
    assert_eq!(store.tidy(0, 10).await.unwrap(), 0);
    assert_eq!(change(store, StockChange::Confirm(cart.clone())).await, StockOutcome::Gone);
    assert_eq!(change(store, StockChange::Release(cart)).await, StockOutcome::Gone);
    // And by the next take.
    reserve(store, "c-2", 5, 30).await;
    poll::until("the next take finds them", || async { (take(store, "o-1", 5).await == done(5, 0)).then_some(()) })
        .await;
    assert_eq!(rights(store).await, 0);
}

pub async fn a_reservation_ends_once_and_only_where_it_was_made(case: Case) {
    let (store, other) = (&*case.a, &*case.b);
    restock(store, "d-1", 5).await;
    let (bought, dropped) = (reserve(store, "c-1", 2, 600_000).await, reserve(store, "c-2", 2, 600_000).await);
    carry(store, other, 0).await;
    for ended in [StockChange::Confirm(bought.clone()), StockChange::Release(bought.clone())] {
        assert_eq!(change(other, ended).await, StockOutcome::Gone, "B is told to go to A");
    }
    for _ in 0..2 {
        assert_eq!(change(store, StockChange::Confirm(bought.clone())).await, done(2, 1));
    }
    assert_eq!(change(store, StockChange::Release(bought)).await, StockOutcome::Gone);
    for _ in 0..2 {
        assert_eq!(change(store, StockChange::Release(dropped.clone())).await, done(2, 3));
    }
    assert_eq!(change(store, StockChange::Confirm(dropped)).await, StockOutcome::Gone);
}

pub async fn a_stock_is_never_set_deleted_or_expired(case: Case) {
    let store = &*case.a;
    let clear = || Mutation::Clear { previous: false };
    let absent = write(store, Kind::Stock, "tickets", clear()).await.unwrap();
    assert_eq!(absent, Outcome::Cleared { existed: false, previous: None });
    let absent = write(store, Kind::Stock, "tickets", Mutation::Expire(Expiry::In(1000))).await.unwrap();
    assert_eq!(absent, Outcome::Expiry(false));
    restock(store, "d-1", 5).await;
    for mutation in [clear(), Mutation::Expire(Expiry::In(1000)), Mutation::set("7"), Mutation::Sweep { grace: 0 }] {
        let refused = write(store, Kind::Stock, "tickets", mutation).await;
        assert!(matches!(refused, Err(StoreError::Refused(MutationError::NotForStock))), "{refused:?}");
    }
    let wrong = write(store, Kind::Set, "s", Mutation::Stock(StockChange::Tidy)).await;
    assert!(matches!(wrong, Err(StoreError::Refused(MutationError::NotForStock))), "{wrong:?}");
    assert_eq!(left(store).await, Reply::Bytes(b("5")));
    // A name is one thing for the command interpreter.
    assign(store, Kind::Set, "s", &[("m", "")]).await;
    let mutation = Mutation::Stock(StockChange::Restock { id: "d-1".parse().unwrap(), units: 1 });
    let taken = store.write(&Write { key: Key::new(Kind::Stock, "s"), mutation, exclusive: true }).await;
    assert!(matches!(taken, Err(StoreError::Refused(MutationError::WrongType))), "{taken:?}");
}

pub async fn rights_that_were_given_are_spent_where_they_arrive(case: Case) {
    let (a, b_) = (&*case.a, &*case.b);
    restock(a, "d-1", 10).await;
    let to = origin(b_).await;
    let given = change(a, StockChange::Transfer { to: to.clone(), units: 4, partial: false }).await;
    let StockOutcome::Given { units: 4, by, total: Total { number, .. } } = given else { panic!("{given:?}") };
    assert_eq!((by, number.to_string().as_str()), (origin(a).await, "4"));
    assert_eq!(take(b_, "o-1", 1).await, StockOutcome::Short { local: 0, elsewhere: 0 }, "nothing has arrived");
    carry(a, b_, 0).await;
    assert_eq!(take(b_, "o-2", 3).await, done(3, 7));
    assert_eq!(take(b_, "o-3", 2).await, StockOutcome::Short { local: 1, elsewhere: 6 });
    assert_eq!(take(a, "o-1", 7).await, StockOutcome::Short { local: 6, elsewhere: 4 });
    let more = StockChange::Transfer { to: to.clone(), units: 100, partial: true };
    assert!(matches!(change(a, more).await, StockOutcome::Given { units: 6, .. }));
    carry(a, b_, 0).await;
    carry(b_, a, 0).await;
    assert_eq!((rights(a).await, rights(b_).await), (0, 7));
    let own = StockChange::Transfer { to, units: 1, partial: false };
    let refused = write(b_, Kind::Stock, "tickets", Mutation::Stock(own)).await;
    assert!(matches!(refused, Err(StoreError::Refused(MutationError::TransferToSelf))), "{refused:?}");
    // And the other way.
    let back = StockChange::Transfer { to: origin(a).await, units: 2, partial: false };
    assert!(matches!(change(b_, back).await, StockOutcome::Given { units: 2, .. }));
    carry(b_, a, 0).await;
    assert_eq!((rights(a).await, rights(b_).await), (2, 5));
    assert_eq!(left(a).await, left(b_).await);
}

/// A region that opens anew has lost nobody knows what: what it had a right to stays frozen, until an operator decides.
pub async fn rights_of_an_ended_incarnation_are_frozen_until_they_are_reclaimed(case: Case) {
    let store = &*case.a;
    restock(store, "d-1", 10).await;
    take(store, "o-1", 3).await;
    let cart = reserve(store, "c-1", 2, 600_000).await;
    let before = origin(store).await;
    let opening = store.sync_state(0).await.unwrap().record.unwrap().opening;
    store.open(0, opening + 1).await.unwrap();
    assert_ne!(origin(store).await, before);
    assert_eq!(rights(store).await, 0);
    assert_eq!(take(store, "o-2", 1).await, StockOutcome::Short { local: 0, elsewhere: 5 });
    assert_eq!(change(store, StockChange::Confirm(cart.clone())).await, StockOutcome::Gone);
    assert_eq!(take(store, "o-1", 3).await, done(3, 5), "what was done is still done");
    restock(store, "d-2", 1).await;
    assert_eq!(store.reclaim(0).await.unwrap(), [before.incarnation]);
    assert_eq!(rights(store).await, 6);
    assert_eq!(change(store, StockChange::Confirm(cart)).await, done(2, 6));
    assert_eq!(store.reclaim(0).await.unwrap(), [before.incarnation], "repeated, it is the same");
    assert_eq!(take(store, "o-3", 6).await, done(6, 0));
    // The next loss freezes the debts of this incarnation along with the rights that it spent.
    let opening = store.sync_state(0).await.unwrap().record.unwrap().opening;
    store.open(0, opening + 1).await.unwrap();
    store.reclaim(0).await.unwrap();
    assert_eq!(rights(store).await, 0);
}

pub async fn a_resync_brings_a_stock_whole(case: Case) {
    let (a, b_) = (&*case.a, &*case.b);
    restock(a, "d-1", 10).await;
    let to = origin(b_).await;
    change(a, StockChange::Transfer { to, units: 4, partial: false }).await;
    take(a, "o-1", 1).await;
    archipelago_tests::carry::resync(a, b_, 0).await.unwrap();
    assert_eq!(left(b_).await, Reply::Bytes(b("9")));
    assert_eq!(rights(b_).await, 4);
    assert_eq!(b_.stocks(0, None, 10).await.unwrap(), [Key::new(Kind::Stock, "tickets")]);
    assert_eq!(b_.stocks(0, Some(&b("tickets")), 10).await.unwrap(), []);
}
