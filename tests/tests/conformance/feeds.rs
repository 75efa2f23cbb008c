//! Feeds: reading in the order of arrival, whatever way entries come by and whatever becomes of the feed meanwhile.

use archipelago::{
    engine::{Append, Arrived, EntryId, Expiry, JoinReply, Key, Kind, Mutation, MutationError, Outcome, Place, Since},
    store::{Excerpt, Query, Reply, Store, StoreError, Write},
    testing::poll,
};
use archipelago_tests::{
    carry::{carry, cursor, next_batch, resync},
    world::{b, read, write},
};

use crate::Case;

const CLEAR: Mutation = Mutation::Clear { previous: false };

fn appending(payload: impl Into<String>) -> Mutation {
    Mutation::Append(Append { id: None, payload: b(payload), existing: false, keep: None })
}

async fn append(store: &dyn Store, payload: &str) -> EntryId {
    match write(store, Kind::Feed, "f", appending(payload)).await.unwrap() {
        Outcome::Appended(Some(id)) => id,
        other => panic!("{other:?}"),
    }
}

async fn arrived(store: &dyn Store, since: Since, limit: usize) -> Arrived {
    store.arrived(&Key::new(Kind::Feed, "f"), since, limit).await.unwrap()
}

/// The payloads that are given behind a place, and the place behind them.
async fn next(store: &dyn Store, since: Since) -> (String, Since) {
    let arrived = arrived(store, since, 10).await;
    assert!(!arrived.restarted);
    let words: Vec<_> = arrived.entries.iter().map(|(_, payload)| String::from_utf8_lossy(payload)).collect();
    (words.join(" "), Since::Place(arrived.place))
}

pub async fn what_arrives_late_comes_behind_what_was_read(case: Case) {
    let (a, b_, c) = (&*case.a, &*case.b, &*case.c);
    // Links that have a position: what follows is no resync.
    for from in [b_, c] {
        carry(from, a, 0).await;
    }
    // Ids count in milliseconds: each is of a later one.
    for (store, payload) in [(c, "oldest"), (b_, "older"), (a, "here")] {
        let id = append(store, payload).await;
        poll::until("the clocks go on", || async {
            (a.clock().await.unwrap().as_millis() > id.millis + 1).then_some(())
        })
        .await;
    }
    let (words, place) = next(a, Since::Start).await;
    assert_eq!(words, "here");
    carry(b_, a, 0).await;
    let (words, place) = next(a, place).await;
    assert_eq!(words, "older");
    // A joined batch takes no number of the log here: the place has to tell the two apart all the same.
    carry(c, a, 0).await;
    let (words, place) = next(a, place).await;
    assert_eq!(words, "oldest");
    append(a, "last").await;
    assert_eq!(next(a, place).await.0, "last");
    assert_eq!(next(a, Since::Start).await.0, "here older oldest last");
    let all = Query::Between { from: b(""), to: None, reverse: false, limit: None };
    let Reply::Array(members) = read(a, Kind::Feed, "f", all).await else { panic!("no array") };
    let member = |reply: &Reply| match reply {
        Reply::Bytes(member) => String::from_utf8(member[16..].to_vec()).unwrap(),
        other => panic!("{other:?}"),
    };
    assert_eq!(members.iter().map(member).collect::<Vec<_>>(), ["oldest", "older", "here", "last"]);
}

pub async fn pushes_and_resyncs_arrive_like_any_other_and_once(case: Case) {
    let (a, b_, c) = (&*case.a, &*case.b, &*case.c);
    carry(b_, a, 0).await;
    append(b_, "pushed").await;
    append(a, "here").await;
    let (words, place) = next(a, Since::Start).await;
    assert_eq!(words, "here");
    let excerpt = Excerpt::whole(Key::new(Kind::Feed, "f"));
    let (state, standing) = b_.cells_and_stand(&excerpt).await.unwrap();
    let push = standing.push(vec![excerpt.delta(&state)]);
    for _ in 0..2 {
        a.push(0, &push).await.unwrap();
    }
    let (words, place) = next(a, place).await;
    assert_eq!(words, "pushed");
    append(c, "relayed").await;
    resync(c, b_, 0).await.unwrap();
    resync(b_, a, 0).await.unwrap();
    let (words, place) = next(a, place).await;
    assert_eq!(words, "relayed");
    carry(b_, a, 0).await;
    resync(c, a, 0).await.unwrap();
    assert_eq!(next(a, place).await.0, "");
}

pub async fn an_entry_that_was_set_aside_arrives_when_it_is_recovered(case: Case) {
    let (a, b_) = (&*case.a, &*case.b);
    append(a, "here").await;
    let (_, place) = next(a, Since::Start).await;
    append(b_, "recovered").await;
    let excerpt = Excerpt::whole(Key::new(Kind::Feed, "f"));
    let (state, standing) = b_.cells_and_stand(&excerpt).await.unwrap();
    a.recover(0, &standing.origin, standing.last, Some(&excerpt.delta(&state))).await.unwrap();
    assert_eq!(next(a, place).await.0, "recovered");
}

pub async fn pages_follow_each_other_and_a_place_may_be_the_present(case: Case) {
    let store = &*case.a;
    let now = Since::Place(arrived(store, Since::Now, 0).await.place);
    for n in 0..5 {
        append(store, &n.to_string()).await;
    }
    let mut place = Since::Start;
    for expected in [vec!["0", "1"], vec!["2", "3"], vec!["4"], vec![]] {
        let page = arrived(store, place, 2).await;
        assert_eq!(page.entries.into_iter().map(|(_, payload)| payload).collect::<Vec<_>>(), expected);
        place = Since::Place(page.place);
    }
    assert_eq!(next(store, now).await.0, "0 1 2 3 4");
    assert_eq!(next(store, Since::Place(arrived(store, Since::Now, 9).await.place)).await.0, "");
    let elsewhere = store.arrived(&Key::new(Kind::Feed, "none"), Since::Start, 9).await.unwrap();
    assert_eq!((elsewhere.entries.len(), elsewhere.restarted), (0, false));
}

pub async fn large_entries_come_in_several_answers(case: Case) {
    let store = &*case.a;
    for n in 0..4 {
        append(store, &n.to_string().repeat(600 * 1024)).await;
    }
    let (mut place, mut found) = (Since::Start, Vec::new());
    loop {
        let page = arrived(store, place, 10).await;
        if page.entries.is_empty() {
            break;
        }
        found.extend(page.entries.iter().map(|(_, payload)| char::from(payload[0])));
        place = Since::Place(page.place);
    }
    assert_eq!(found, ['0', '1', '2', '3']);
}

pub async fn what_is_gone_is_not_given_and_a_feed_that_comes_back_goes_on(case: Case) {
    let store = &*case.a;
    let ids = [append(store, "a").await, append(store, "b").await, append(store, "c").await];
    let remove = Mutation::Remove { members: vec![ids[1].to_bytes()] };
    assert_eq!(write(store, Kind::Feed, "f", remove).await.unwrap(), Outcome::Removed(1));
    let (words, place) = next(store, Since::Start).await;
    assert_eq!(words, "a c");
    write(store, Kind::Feed, "f", CLEAR).await.unwrap();
    assert_eq!(next(store, Since::Start).await.0, "");
    append(store, "d").await;
    assert_eq!(next(store, place).await.0, "d");
}

pub async fn an_expired_feed_gives_nothing_and_holds_the_place(case: Case) {
    let (a, b_) = (&*case.a, &*case.b);
    carry(b_, a, 0).await;
    append(a, "one").await;
    let (_, place) = next(a, Since::Start).await;
    append(a, "two").await;
    write(a, Kind::Feed, "f", Mutation::Expire(Expiry::In(1500))).await.unwrap();
    carry(a, b_, 0).await;
    append(b_, "meanwhile").await;
    write(b_, Kind::Feed, "f", Mutation::Expire(Expiry::In(500_000))).await.unwrap();
    poll::until("the feed is over", || async {
        (read(a, Kind::Feed, "f", Query::Exists).await == Reply::Int(0)).then_some(())
    })
    .await;
    // All but the extension: what comes into a feed that is over arrives there, too.
    let known = cursor(b_, a, 0).await.unwrap().number;
    let before = usize::try_from(b_.sync_state(0).await.unwrap().number - known - 1).unwrap();
    let batch = next_batch(b_, a, 0, before).await.unwrap();
    assert!(matches!(a.join(0, &batch).await.unwrap(), JoinReply::Applied(_)));
    let (words, place) = next(a, place).await;
    assert_eq!(words, "");
    carry(b_, a, 0).await;
    let (words, place) = next(a, place).await;
    assert_eq!(words, "two meanwhile", "it lives longer after all");
    write(a, Kind::Feed, "f", Mutation::Expire(Expiry::At(1))).await.unwrap();
    append(a, "three").await;
    assert_eq!(next(a, place).await.0, "three");
}

pub async fn a_new_incarnation_and_a_forged_place_start_over_and_say_so(case: Case) {
    let store = &*case.a;
    append(store, "a").await;
    let end = arrived(store, Since::Start, 10).await.place;
    let foreign = case.b.arrived(&Key::new(Kind::Feed, "f"), Since::Now, 0).await.unwrap().place;
    for number in [end.number + 1, 1 << 53, u64::MAX] {
        for place in [Place { number, ..end }, Place { number, ..foreign }] {
            let again = arrived(store, Since::Place(place), 10).await;
            assert_eq!((again.entries.len(), again.restarted, again.place), (1, true, end), "{place:?}");
        }
    }
    let opening = store.sync_state(0).await.unwrap().record.unwrap().opening;
    store.open(0, opening + 1).await.unwrap();
    append(store, "b").await;
    let over = arrived(store, Since::Place(end), 10).await;
    assert_eq!((over.entries.len(), over.restarted), (2, true));
    assert_eq!(next(store, Since::Place(over.place)).await.0, "");
}

pub async fn a_name_of_another_type_refuses_an_exclusive_append(case: Case) {
    let store = &*case.a;
    let exclusive =
        async |kind, mutation| store.write(&Write { key: Key::new(kind, "f"), mutation, exclusive: true }).await;
    write(store, Kind::Set, "f", Mutation::assign([(b("x"), b(""))])).await.unwrap();
    let refused = exclusive(Kind::Feed, appending("a")).await;
    assert!(matches!(refused, Err(StoreError::Refused(MutationError::WrongType))), "{refused:?}");
    assert_eq!(next(store, Since::Start).await.0, "");
    write(store, Kind::Set, "f", CLEAR).await.unwrap();
    exclusive(Kind::Feed, appending("a")).await.unwrap();
    let refused = exclusive(Kind::Set, Mutation::assign([(b("x"), b(""))])).await;
    assert!(matches!(refused, Err(StoreError::Refused(MutationError::WrongType))), "{refused:?}");
    assert_eq!(next(store, Since::Start).await.0, "a");
}
