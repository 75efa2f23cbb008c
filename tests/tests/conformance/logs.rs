//! Logs: contents, numbering, vectors, waiting, trimming.

use std::{sync::Arc, time::Duration};

use archipelago::{
    engine::{Amount, Body, Cursor, Entry, Incarnation, Kind, Mutation, RegionId, Version, codec},
    store::Store,
};
use archipelago_tests::{
    carry::{self, carry, log},
    world::{b, write},
};

use crate::{
    Case,
    writes::{add, assign},
};

pub async fn entries(store: &dyn Store) -> Vec<Entry> {
    let slice = log(store, 0).await.unwrap();
    slice.entries.iter().map(|raw| codec::decode_entry(&slice.origin, raw.id, &raw.bytes).unwrap()).collect()
}

async fn count(store: &dyn Store, times: usize) {
    for _ in 0..times {
        add(store, Kind::String, "n", "", Amount::Integer(1)).await.unwrap();
    }
}

pub async fn every_change_is_one_entry_numbered_without_gaps_and_what_changes_nothing_is_none(case: Case) {
    let store = &*case.a;
    write(store, Kind::String, "k", Mutation::set("v")).await.unwrap();
    assign(store, Kind::Set, "s", &[("a", ""), ("b", "")]).await;
    let set_if = |presence| {
        Mutation::Assign(archipelago::engine::Assignment {
            entries: vec![(b(""), b("w"))],
            presence,
            ..Default::default()
        })
    };
    for nothing in [
        set_if(archipelago::engine::Presence::Absent),
        Mutation::Expire(archipelago::engine::Expiry::Never),
        Mutation::Sweep { grace: 0 },
    ] {
        write(store, Kind::String, "k", nothing).await.unwrap();
    }
    write(store, Kind::Set, "s", Mutation::Remove { members: vec![b("x")] }).await.unwrap();
    write(store, Kind::String, "none", Mutation::Clear { previous: false }).await.unwrap();
    assert!(add(store, Kind::String, "k", "", Amount::Integer(1)).await.is_err());
    count(store, 2).await;
    let entries = entries(store).await;
    let numbers: Vec<_> = entries.iter().map(|entry| entry.number).collect();
    let state = store.sync_state(0).await.unwrap();
    assert_eq!(state.number, *numbers.last().unwrap());
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
    assert!(entries.windows(2).all(|pair| pair[1].version > pair[0].last()), "versions rise");
    let data = entries.iter().filter(|entry| matches!(entry.body, Body::Data(_))).count();
    assert_eq!(data, 4);
    assert!(matches!(entries[0].body, Body::Vector { .. }), "an incarnation's log begins with a vector");
    assert!(state.clock >= entries.last().unwrap().last());
}

pub async fn several_members_in_one_write_take_a_version_each(case: Case) {
    let store = &*case.a;
    let members: Vec<_> = (0..1500).map(|n| (format!("m{n}"), String::new())).collect();
    let pairs: Vec<_> = members.iter().map(|(m, p)| (m.as_str(), p.as_str())).collect();
    assign(store, Kind::Set, "s", &pairs).await;
    count(store, 1).await;
    let entries = entries(store).await;
    let [.., many, one] = &entries[..] else { panic!("{entries:?}") };
    assert_eq!((many.span, one.span), (1500, 1));
    assert!(one.version > many.last(), "{one:?} overlaps the 1500 versions before it");
    let Body::Data(delta) = &many.body else { panic!("no data") };
    let versions: std::collections::BTreeSet<_> =
        delta.fields.values().flat_map(|cells| cells.iter()).map(|(_, cell)| cell.highest()).collect();
    assert_eq!(versions.len(), 1500, "each its own");
}

pub async fn a_vector_is_published_once_after_data_arrived(case: Case) {
    let (a, b) = (&*case.a, &*case.b);
    count(a, 3).await;
    carry(a, b, 0).await;
    assert!(b.publish_vector(0).await.unwrap());
    assert!(!b.publish_vector(0).await.unwrap(), "nothing new");
    let Some(Entry { body: Body::Vector { applied, opening }, .. }) = entries(b).await.pop() else {
        panic!("no vector at the end")
    };
    let state = b.sync_state(0).await.unwrap();
    assert_eq!(applied, state.applied);
    assert_eq!(opening, state.record.unwrap().opening);
    carry(b, a, 0).await;
    a.publish_vector(0).await.unwrap();
    carry(a, b, 0).await;
    assert!(!b.publish_vector(0).await.unwrap(), "a vector alone is no data: the two would go on for ever");
}

pub async fn waiting_for_entries_ends_with_news_or_with_patience(case: Case) {
    let store = &case.a;
    count(&**store, 1).await;
    let end = log(&**store, 0).await.unwrap().entries.last().unwrap().id;
    assert_eq!(store.wait_for_entries(&[(0, Version::ZERO)], Duration::from_secs(20)).await.unwrap(), [0]);
    assert!(store.wait_for_entries(&[(0, end)], Duration::from_millis(20)).await.unwrap().is_empty());
    let waiter = Arc::clone(store);
    let wait = tokio::spawn(async move { waiter.wait_for_entries(&[(0, end)], Duration::from_secs(25)).await });
    tokio::task::yield_now().await;
    count(&**store, 1).await;
    assert_eq!(wait.await.unwrap().unwrap(), [0]);
}

fn members() -> Vec<RegionId> {
    archipelago_tests::world::REGIONS.iter().map(|name| name.parse().unwrap()).collect()
}

pub async fn what_every_member_has_is_trimmed_and_a_lagging_one_holds_it(case: Case) {
    let (a, b, c) = (&*case.a, &*case.b, &*case.c);
    count(a, 5).await;
    carry(a, c, 0).await;
    count(a, 5).await;
    carry(a, b, 0).await;
    let all = entries(a).await;
    let at_b = carry::cursor(a, b, 0).await.unwrap();
    let at_c = carry::cursor(a, c, 0).await.unwrap();
    assert!(at_c.number < at_b.number);
    a.acknowledge(0, b.region(), at_b, &members()).await.unwrap();
    assert_eq!(entries(a).await, all, "c has not said anything");
    a.acknowledge(0, c.region(), at_c, &members()).await.unwrap();
    let kept = entries(a).await;
    assert_eq!(kept.first().unwrap().number, at_c.number + 1, "what c has is trimmed, and nothing else");
    let state = a.sync_state(0).await.unwrap();
    assert_eq!((state.acks[b.region()], state.acks[c.region()]), (at_b, at_c));
    carry(a, c, 0).await;
    let at_c = carry::cursor(a, c, 0).await.unwrap();
    a.acknowledge(0, c.region(), at_c, &members()).await.unwrap();
    assert!(entries(a).await.is_empty(), "all have all");
    let state = a.sync_state(0).await.unwrap();
    assert!(state.clock >= at_c.id, "the last version issued is not forgotten with its entry");
    count(a, 1).await;
    carry(a, c, 0).await;
    assert_eq!(carry::cursor(a, c, 0).await.unwrap().number, at_c.number + 1, "no gap");
}

pub async fn the_cap_trims_for_a_member_that_never_fetches(case: Case) {
    let (a, b) = (&*case.a, &*case.b);
    carry(a, b, 0).await;
    let add = |_| archipelago::store::Write {
        key: archipelago::engine::Key::new(Kind::String, "n"),
        mutation: Mutation::Add { member: b_empty(), amount: Amount::Integer(1) },
        exclusive: false,
    };
    let writes: Vec<_> = (0..1500).map(add).collect();
    assert!(a.write_all(&writes).await.iter().all(Result::is_ok));
    // Any acknowledgement makes the log be looked at; this one holds everything back, but for the cap.
    let at_b = carry::cursor(a, b, 0).await.unwrap();
    a.acknowledge(0, b.region(), at_b, &members()).await.unwrap();
    let kept = entries(a).await.len();
    // Redis trims whole nodes of a stream: up to a hundred entries more.
    assert!((1000..=1101).contains(&kept), "{kept}");
}

fn b_empty() -> bytes::Bytes {
    bytes::Bytes::new()
}

pub async fn an_acknowledgement_of_another_incarnation_is_ignored(case: Case) {
    let (a, b) = (&*case.a, &*case.b);
    count(a, 2).await;
    let all = entries(a).await;
    let strange = Cursor { incarnation: Incarnation::new(7), number: 100, id: Version::MAX };
    a.acknowledge(0, b.region(), strange, &members()).await.unwrap();
    assert_eq!(entries(a).await, all);
    assert!(!a.sync_state(0).await.unwrap().acks.contains_key(b.region()));
}
