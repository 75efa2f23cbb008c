use std::time::{Instant, UNIX_EPOCH};

use archipelago_engine::{Assignment, Expiry, Key, Kind, Mutation, MutationError, Outcome, Retention};
use bytes::Bytes;

use super::*;
use crate::store::{Bound, Query, Read, Reply, StoreError, Write};

const US: &str = "us-east-1";
const EU: &str = "eu-west-1";

fn two() -> EmbeddedBuilder {
    Embedded::builder().region(US).region(EU)
}

fn still() -> Embedded {
    two().manual_clock(UNIX_EPOCH + Duration::from_secs(1_790_000_000)).build().unwrap()
}

fn store(embedded: &Embedded, vantage: &str, target: &str) -> Arc<dyn Store> {
    embedded.store(&vantage.parse().unwrap(), &target.parse().unwrap(), "default").unwrap()
}

fn set(name: &str, value: &'static str) -> Write {
    Write { key: Key::new(Kind::String, name.to_owned()), mutation: Mutation::set(value), exclusive: false }
}

fn get(name: &str) -> Read {
    ask(Kind::String, name, Query::Value)
}

fn ask(kind: Kind, name: &str, query: Query) -> Read {
    Read { key: Key::new(kind, name.to_owned()), query }
}

fn texts(reply: Reply) -> Vec<String> {
    match reply {
        Reply::Array(items) => items.into_iter().flat_map(texts).collect(),
        Reply::Bytes(bytes) => vec![String::from_utf8(bytes.to_vec()).unwrap()],
        Reply::Int(n) => vec![n.to_string()],
        Reply::Nil => vec!["nil".into()],
    }
}

#[tokio::test]
async fn one_way_is_mended_without_the_others() {
    let embedded = two().region("ap").build().unwrap();
    embedded.isolate(US).unwrap();
    embedded.lose_replies(US, "ap").unwrap();
    embedded.mend(US, EU).unwrap();
    embedded.mend(US, "ap").unwrap();
    for (from, to, is_cut) in [(US, EU, false), (EU, US, true), (US, "ap", false), ("ap", US, true)] {
        assert_eq!(embedded.is_cut(from, to).unwrap(), is_cut, "{from} to {to}");
        assert_eq!(store(&embedded, from, to).read(&get("name")).await.is_err(), is_cut, "{from} to {to}");
    }
    assert_eq!(embedded.mend(US, "mars").unwrap_err().kind(), ErrorKind::Config);
}

#[test]
fn what_cannot_be_built_is_refused_with_the_reason() {
    for (builder, reason) in [
        (Embedded::builder(), "no regions"),
        (two().region(US), "twice"),
        (two().region("no spaces"), "not a region name"),
        (two().partitions(0), "1 to 1024"),
        (two().latency(US, "mars", Duration::ZERO), "unknown region \"mars\""),
        (two().latency(US, EU, Duration::from_secs(3)), "at most"),
        (two().manual_clock(UNIX_EPOCH), "1971"),
    ] {
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(reason), "{error}");
    }
    let us: RegionId = US.parse().unwrap();
    assert!(still().store(&us, &us, "no spaces").is_err());
    assert!(still().store(&us, &"mars".parse().unwrap(), "default").is_err());
}

#[tokio::test]
async fn a_cut_refuses_before_sending_and_one_way_only() {
    let embedded = still();
    let (out, back) = (store(&embedded, US, EU), store(&embedded, EU, US));
    embedded.cut(US, EU).unwrap();
    assert!(matches!(out.write(&set("k", "v")).await, Err(StoreError::Unavailable(_))));
    assert!(back.write(&set("k", "v")).await.is_ok());
    embedded.isolate(EU).unwrap();
    assert!(matches!(back.read(&get("k")).await, Err(StoreError::Unavailable(_))));
    assert!(store(&embedded, EU, EU).write(&set("k", "v")).await.is_ok(), "a region still serves its own");
    embedded.heal();
    assert_eq!(out.read(&get("k")).await.unwrap(), Reply::Bytes("v".into()));
}

#[tokio::test]
async fn a_lost_reply_hides_a_write_that_was_done() {
    let embedded = still();
    embedded.lose_replies(US, EU).unwrap();
    let lost = store(&embedded, US, EU).write_all(&[set("a", "1"), set("b", "2")]).await;
    assert!(lost.len() == 2 && lost.iter().all(|r| matches!(r, Err(StoreError::NoAnswer(_)))), "{lost:?}");
    assert_eq!(store(&embedded, EU, EU).read(&get("b")).await.unwrap(), Reply::Bytes("2".into()));
}

#[tokio::test]
async fn latency_is_slept_on_a_real_clock_and_not_on_a_manual_one() {
    let embedded = two().latency(US, EU, Duration::from_millis(40)).build().unwrap();
    let begin = Instant::now();
    store(&embedded, US, US).read(&get("k")).await.unwrap();
    assert!(begin.elapsed() < Duration::from_millis(20), "the own region is near");
    store(&embedded, US, EU).read(&get("k")).await.unwrap();
    assert!(begin.elapsed() >= Duration::from_millis(40));

    let still = still();
    still.set_latency(US, EU, Duration::from_secs(2)).unwrap();
    let begin = Instant::now();
    store(&still, US, EU).read(&get("k")).await.unwrap();
    assert!(begin.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn a_cut_while_a_call_is_under_way_leaves_it_without_answer() {
    let embedded = two().latency(US, EU, Duration::from_millis(100)).build().unwrap();
    let remote = store(&embedded, US, EU);
    let call = tokio::spawn(async move { remote.write(&set("k", "v")).await });
    tokio::time::sleep(Duration::from_millis(10)).await;
    embedded.cut(US, EU).unwrap();
    assert!(matches!(call.await.unwrap(), Err(StoreError::NoAnswer(_))));
}

#[tokio::test]
async fn a_call_from_before_a_restart_is_not_done_after_it() {
    let embedded = two().latency(US, EU, Duration::from_millis(100)).build().unwrap();
    let remote = store(&embedded, US, EU);
    let call = tokio::spawn(async move { remote.write(&set("k", "v")).await });
    tokio::time::sleep(Duration::from_millis(10)).await;
    embedded.crash(EU).unwrap();
    embedded.restart(EU).unwrap();
    assert!(matches!(call.await.unwrap(), Err(StoreError::NoAnswer(_))));
    assert_eq!(store(&embedded, EU, EU).read(&get("k")).await.unwrap(), Reply::Nil);
}

#[tokio::test]
async fn a_restart_and_a_restore_open_new_incarnations_without_the_caller_noticing() {
    let embedded = still();
    let us = store(&embedded, US, US);
    let partition = crate::partition_of(b"k", 16);
    us.write(&set("k", "1")).await.unwrap();
    let first = us.sync_state(partition).await.unwrap().record.unwrap();
    let backup = embedded.backup(US).unwrap();

    embedded.crash(US).unwrap();
    assert!(matches!(us.write(&set("k", "2")).await, Err(StoreError::Unavailable(_))));
    embedded.restart(US).unwrap();
    us.write(&set("k", "3")).await.unwrap();
    let second = us.sync_state(partition).await.unwrap().record.unwrap();
    assert!(second.incarnation != first.incarnation && second.opening > first.opening);

    embedded.restore(US, &backup).unwrap();
    assert_eq!(us.read(&get("k")).await.unwrap(), Reply::Bytes("1".into()));
    us.write(&set("k", "4")).await.unwrap();
    let third = us.sync_state(partition).await.unwrap().record.unwrap();
    assert!(third.incarnation != first.incarnation && third.history != first.history);
    assert!(embedded.restore(EU, &backup).is_err());

    embedded.wipe(US).unwrap();
    assert_eq!(us.read(&get("k")).await.unwrap(), Reply::Nil);
    assert_eq!(us.sync_state(partition).await.unwrap().record, None);
    us.write(&set("k", "5")).await.unwrap();
    let fourth = us.sync_state(partition).await.unwrap().record.unwrap();
    assert!(fourth.incarnation != third.incarnation && fourth.history == third.history, "only the record was gone");
}

#[tokio::test]
async fn a_waiter_hears_of_news_at_once_and_of_none_after_its_patience() {
    let embedded = still();
    let us = store(&embedded, US, US);
    let partition = crate::partition_of(b"k", 16);
    us.write(&set("k", "1")).await.unwrap();
    let end = us.sync_state(partition).await.unwrap().clock;
    assert_eq!(us.wait_for_entries(&[(partition, Version::ZERO)], Duration::ZERO).await.unwrap(), [partition]);
    assert!(us.wait_for_entries(&[(partition, end)], Duration::from_millis(5)).await.unwrap().is_empty());

    let waiter = Arc::clone(&us);
    let wait = tokio::spawn(async move { waiter.wait_for_entries(&[(partition, end)], Duration::MAX).await });
    tokio::task::yield_now().await;
    us.write(&set("k", "2")).await.unwrap();
    assert_eq!(wait.await.unwrap().unwrap(), [partition]);

    let waiter = Arc::clone(&us);
    let wait = tokio::spawn(async move { waiter.wait_for_entries(&[(partition, Version::MAX)], Duration::MAX).await });
    tokio::task::yield_now().await;
    embedded.crash(US).unwrap();
    assert!(matches!(wait.await.unwrap(), Err(StoreError::NoAnswer(_))));
}

#[tokio::test]
async fn a_lease_has_one_holder_until_it_runs_out_by_the_regions_clock() {
    let embedded = still();
    let (us, lifetime) = (store(&embedded, US, US), Duration::from_secs(5));
    assert!(us.take_lease("link", "a", lifetime).await.unwrap());
    assert!(us.take_lease("link", "a", lifetime).await.unwrap(), "renewed");
    assert!(!us.take_lease("link", "b", lifetime).await.unwrap());
    us.release_lease("link", "b").await.unwrap();
    embedded.advance(Duration::from_millis(4999));
    assert!(!us.take_lease("link", "b", lifetime).await.unwrap());
    embedded.advance(Duration::from_millis(1));
    assert!(us.take_lease("link", "b", lifetime).await.unwrap());
    us.release_lease("link", "b").await.unwrap();
    assert!(us.take_lease("link", "a", lifetime).await.unwrap());
}

#[tokio::test]
async fn expiry_follows_each_regions_own_clock_and_the_sweeper_clears_after_the_grace() {
    let embedded = still();
    let us = store(&embedded, US, US);
    let expiring = Write {
        mutation: Mutation::Assign(Assignment {
            entries: vec![(Bytes::new(), "v".into())],
            retention: Retention::Set(Expiry::In(1500)),
            ..Assignment::default()
        }),
        ..set("k", "")
    };
    us.write(&expiring).await.unwrap();
    us.write(&set("forever", "v")).await.unwrap();
    let left = |name| ask(Kind::String, name, Query::TimeToLive);
    assert_eq!(us.read(&left("k")).await.unwrap(), Reply::Int(1500));
    assert_eq!(us.read(&left("forever")).await.unwrap(), Reply::Int(-1));
    assert_eq!(us.read(&left("none")).await.unwrap(), Reply::Int(-2));

    embedded.set_clock_skew(US, 1_500_000).unwrap();
    assert_eq!(us.read(&get("k")).await.unwrap(), Reply::Nil);
    assert_eq!(us.read(&left("k")).await.unwrap(), Reply::Int(-2));
    embedded.set_clock_skew(US, 0).unwrap();
    assert_eq!(us.read(&get("k")).await.unwrap(), Reply::Bytes("v".into()));

    embedded.advance(Duration::from_millis(1500));
    let partition = crate::partition_of(b"k", 16);
    let grace = Duration::from_secs(60);
    assert_eq!(us.sweep(partition, grace, 10).await.unwrap(), 0);
    embedded.advance(grace);
    assert_eq!(us.sweep(partition, grace, 0).await.unwrap(), 0);
    assert_eq!(us.sweep(partition, grace, 10).await.unwrap(), 1);
    assert_eq!(us.sweep(partition, grace, 10).await.unwrap(), 0);
}

#[tokio::test]
async fn sorted_sets_read_as_in_redis() {
    let embedded = still();
    let us = store(&embedded, US, US);
    let scores = [("a", "1"), ("b", "2"), ("c", "2"), ("d", "inf"), ("e", "0.5")];
    let entries = scores.map(|(member, score)| (Bytes::from(member), Bytes::from(score)));
    let key = Key::new(Kind::SortedSet, "z");
    us.write(&Write { key, mutation: Mutation::assign(entries), exclusive: true }).await.unwrap();
    let ask = async |query| texts(us.read(&ask(Kind::SortedSet, "z", query)).await.unwrap()).join(" ");
    let by_rank = |start, stop, reverse| Query::RangeByRank { start, stop, reverse };
    assert_eq!(ask(by_rank(0, -1, false)).await, "e 0.5 a 1 b 2 c 2 d inf");
    assert_eq!(ask(by_rank(1, 2, true)).await, "c 2 b 2");
    assert_eq!(ask(by_rank(-2, 9, false)).await, "c 2 d inf");
    let open = |score| Bound { score, exclusive: true };
    let all = Bound::inclusive(f64::INFINITY);
    let by_score = |min, max, reverse, limit| Query::RangeByScore { min, max, reverse, limit };
    assert_eq!(ask(by_score(open(0.5), Bound::inclusive(2.0), false, None)).await, "a 1 b 2 c 2");
    assert_eq!(ask(by_score(open(0.5), all, true, Some((1, 2)))).await, "c 2 b 2");
    assert_eq!(ask(by_score(open(0.5), all, false, Some((-1, 2)))).await, "");
    assert_eq!(ask(Query::CountByScore { min: open(1.0), max: all }).await, "3");
    assert_eq!(ask(Query::Rank { member: "c".into(), reverse: false }).await, "3");
    assert_eq!(ask(Query::Rank { member: "c".into(), reverse: true }).await, "1");
    assert_eq!(ask(Query::Rank { member: "x".into(), reverse: true }).await, "nil");
    assert_eq!(ask(Query::Score("e".into())).await, "0.5");
    assert_eq!(ask(Query::Count).await, "5");
}

#[tokio::test]
async fn a_name_in_use_by_another_type_refuses_exclusive_writes_only() {
    let embedded = still();
    let us = store(&embedded, US, US);
    us.write(&set("k", "v")).await.unwrap();
    let add = |exclusive| Write {
        key: Key::new(Kind::Set, "k"),
        mutation: Mutation::assign([("m".into(), Bytes::new())]),
        exclusive,
    };
    assert!(matches!(us.write(&add(true)).await, Err(StoreError::Refused(MutationError::WrongType))));
    assert!(matches!(us.write(&add(false)).await, Ok(Outcome::Assigned { added: 1, .. })));
    assert!(us.read(&ask(Kind::Set, "k", Query::Value)).await.is_err());
    assert_eq!(us.read(&ask(Kind::Set, "none", Query::Value)).await.unwrap(), Reply::Nil);

    let inspection = us.inspect(&Key::new(Kind::Set, "k")).await.unwrap();
    assert!(inspection.state.is_some());
    let (view, holds) = &inspection.physical[0];
    assert!(view.ends_with(":set:k") && holds == "set of 1 members", "{inspection:?}");
}
