//! Values as streams.

use archipelago::{near::Watch, testing::poll};
use archipelago_tests::world::settle;
use futures_util::{FutureExt, StreamExt};
use tokio::time::timeout;

use crate::{Site, tracked};

/// The next item, or a failed test.
pub async fn next<T: Clone + Send + Sync + 'static>(watch: &mut Watch<T>) -> Option<T> {
    let item = timeout(poll::PATIENCE, watch.next()).await.expect("an item in time").expect("an item");
    item.unwrap().map(|value| T::clone(&value))
}

/// Reads on until it is this.
pub async fn until<T: Clone + PartialEq + Send + Sync + 'static>(watch: &mut Watch<T>, expected: &Option<T>) {
    while next(watch).await != *expected {}
}

pub async fn a_watcher_sees_what_is_and_what_comes(site: Site) {
    let elsewhere = site.world.idle_client(1).await;
    let written = site.writer.register::<u32>("k");
    let mut watch = site.near.register::<u32>("k").watch();
    assert_eq!(next(&mut watch).await, None);
    written.set(&1).await.unwrap();
    assert_eq!(next(&mut watch).await, Some(1));
    written.set(&1).await.unwrap(); // the same again is no change
    site.writer.register::<u32>("other").set(&9).await.unwrap();
    elsewhere.register::<u32>("k").set(&2).await.unwrap();
    settle(&elsewhere).await;
    assert_eq!(next(&mut watch).await, Some(2));
    written.delete().await.unwrap();
    assert_eq!(next(&mut watch).await, None);
    elsewhere.shut_down().await;
    site.end().await;
}

pub async fn changes_in_quick_succession_come_as_the_latest(site: Site) {
    let written = site.writer.register::<u32>("k");
    let mut watch = site.near.register::<u32>("k").watch();
    tracked(&site.near).await;
    assert_eq!(next(&mut watch).await, None);
    for n in 1..=200 {
        written.set(&n).await.unwrap();
    }
    // Nobody looked meanwhile.
    let mut seen = Vec::new();
    while seen.last() != Some(&200) {
        seen.extend(next(&mut watch).await);
    }
    assert!(seen.is_sorted() && seen.len() < 20, "{seen:?}");
    site.end().await;
}

pub async fn many_watchers_share_one_read(site: Site) {
    let value = site.near.register::<u32>("k");
    tracked(&site.near).await;
    let mut watches: Vec<_> = (0..50).map(|_| value.watch()).collect();
    for watch in &mut watches {
        assert_eq!(next(watch).await, None);
    }
    site.writer.register::<u32>("k").set(&1).await.unwrap();
    let all = futures_util::future::join_all(watches.iter_mut().map(next)).await;
    assert!(all.iter().all(|seen| *seen == Some(1)), "{all:?}");
    assert!(value.cached().is_some());
    site.end().await;
}

pub async fn a_watcher_sees_a_key_expire(site: Site) {
    let mut watch = site.near.register::<u32>("k").watch();
    tracked(&site.near).await;
    site.writer.register::<u32>("k").set_for(&1, std::time::Duration::from_millis(300)).await.unwrap();
    until(&mut watch, &Some(1)).await;
    assert_eq!(next(&mut watch).await, None);
    site.end().await;
}

pub async fn a_watcher_ends_with_the_client(site: Site) {
    let mut watch = site.near.register::<u32>("k").watch();
    assert_eq!(next(&mut watch).await, None);
    assert!(watch.next().now_or_never().is_none(), "nothing changed");
    site.reader.shut_down().await;
    assert!(timeout(poll::PATIENCE, watch.next()).await.unwrap().is_none());
    let value = site.near.register::<u32>("k");
    assert!(value.get().await.is_err() && value.cached().is_none());
    assert!(timeout(poll::PATIENCE, value.watch().next()).await.unwrap().is_none());
    site.writer.shut_down().await;
}

pub async fn what_is_no_such_value_is_an_error_and_the_stream_goes_on(site: Site) {
    let mut watch = site.near.register::<u32>("k").watch();
    tracked(&site.near).await;
    site.writer.register::<String>("k").set("no number").await.unwrap();
    // What was there before may come first.
    loop {
        match timeout(poll::PATIENCE, watch.next()).await.unwrap().unwrap() {
            Err(error) => break assert_eq!(error.kind(), archipelago::ErrorKind::Serialization),
            Ok(before) => assert!(before.is_none()),
        }
    }
    site.writer.register::<u32>("k").set(&3).await.unwrap();
    assert_eq!(next(&mut watch).await, Some(3));
    site.end().await;
}
