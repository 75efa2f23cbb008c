//! Where a partition stands, and the calls that say so along with their answer.

use archipelago::{
    engine::{Amount, Cursor, Key, Kind, Mutation, Presence, Version},
    store::{Excerpt, Query, Read, Reply, StoreError, Write},
};
use archipelago_tests::{carry::carry, world::write};
use bytes::Bytes;

use crate::Case;

fn set(name: &str, mutation: Mutation) -> Write {
    Write { key: Key::new(Kind::String, name.to_owned()), mutation, exclusive: false }
}

async fn last_entry(case: &Case) -> Version {
    case.a.log_after(0, Version::ZERO, 1000).await.unwrap().entries.last().unwrap().id
}

pub async fn a_standing_names_the_last_own_entry_and_what_is_held_of_others(case: Case) {
    let (a, b) = (&*case.a, &*case.b);
    carry(a, b, 0).await;
    write(a, Kind::String, "k", Mutation::set("1")).await.unwrap();
    let here = a.standing(0).await.unwrap();
    assert_eq!(here.last, last_entry(&case).await);
    assert_eq!(here.current(a.region()), Some(here.origin.incarnation));
    assert!(here.now >= here.last && here.held(&here.origin) == here.last);

    let before = b.standing(0).await.unwrap();
    assert!(before.held(&here.origin) < here.last);
    assert_eq!(before.current(a.region()), Some(here.origin.incarnation));
    carry(a, b, 0).await;
    let after = b.standing(0).await.unwrap();
    assert!(after.held(&here.origin) >= here.last);
    assert_eq!(after.last, before.last, "what is joined is no entry of one's own");
    assert!(after.visible()[&here.origin] >= here.last);
}

pub async fn a_log_that_everybody_has_still_says_how_far_it_went(case: Case) {
    let (a, b) = (&*case.a, &*case.b);
    write(a, Kind::String, "k", Mutation::set("1")).await.unwrap();
    let last = a.standing(0).await.unwrap().last;
    let slice = a.log_after(0, Version::ZERO, 1000).await.unwrap();
    let cursor = Cursor { incarnation: slice.origin.incarnation, number: slice.end, id: last };
    a.acknowledge(0, b.region(), cursor, &[a.region().clone(), b.region().clone()]).await.unwrap();
    assert!(a.log_after(0, Version::ZERO, 1000).await.unwrap().entries.is_empty(), "trimmed");
    assert_eq!(a.standing(0).await.unwrap().last, last);
}

pub async fn a_clock_that_runs_ahead_is_not_taken_for_an_entry(case: Case) {
    let (a, b) = (&*case.a, &*case.b);
    carry(a, b, 0).await;
    let before = b.standing(0).await.unwrap().last;
    for n in 0..20 {
        write(a, Kind::String, "k", Mutation::set(n.to_string())).await.unwrap();
    }
    carry(a, b, 0).await;
    assert_eq!(b.standing(0).await.unwrap().last, before, "no link would ever bring anybody more");
}

pub async fn calls_say_where_their_partition_stood(case: Case) {
    let a = &*case.a;
    let (done, standing) = a.write_and_stand(&set("k", Mutation::set("1"))).await;
    done.unwrap();
    let standing = standing.unwrap();
    assert_eq!(standing.last, last_entry(&case).await, "its own version");

    let read = Read { key: Key::new(Kind::String, "k"), query: Query::Value };
    let (reply, at_read) = a.read_and_stand(&read).await.unwrap();
    assert_eq!((reply, at_read.last), (Reply::Bytes("1".into()), standing.last));
    let (cells, at_read) = a.cells_and_stand(&Excerpt::whole(read.key.clone())).await.unwrap();
    assert_eq!((cells.fields.len(), at_read.last), (1, standing.last));
    assert!(a.cells_and_stand(&Excerpt::whole(Key::new(Kind::Set, "none"))).await.unwrap().0.fields.is_empty());

    let mut absent = Mutation::set("2");
    if let Mutation::Assign(assignment) = &mut absent {
        assignment.presence = Presence::Absent;
    }
    let (done, at_refusal) = a.write_and_stand(&set("k", absent)).await;
    done.unwrap();
    assert_eq!(at_refusal.unwrap().last, standing.last, "nothing was written");
    a.write_and_stand(&set("text", Mutation::set("x"))).await.0.unwrap();
    let add = Mutation::Add { member: Bytes::new(), amount: Amount::Integer(1) };
    let (done, at_refusal) = a.write_and_stand(&set("text", add)).await;
    assert!(matches!(done, Err(StoreError::Refused(_))));
    assert!(at_refusal.unwrap().last > standing.last);
}

pub async fn a_standing_of_a_closed_incarnation_is_never_given(case: Case) {
    let a = &*case.a;
    let (_, before) = a.write_and_stand(&set("k", Mutation::set("1"))).await;
    let before = before.unwrap();
    let opening = a.sync_state(0).await.unwrap().record.unwrap().opening;
    a.open(0, opening + 1).await.unwrap();
    let read = Read { key: Key::new(Kind::String, "k"), query: Query::Value };
    let (reply, after) = a.read_and_stand(&read).await.unwrap();
    assert_eq!(reply, Reply::Bytes("1".into()));
    assert!(after.origin != before.origin && after.held(&before.origin) >= before.last);
}
