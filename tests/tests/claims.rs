//! Claims in three regions, while links are cut and a region dies: no element goes to two of those who claim.
//!
//! `CLAIM_RUNS=20` repeats the run on real servers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test may panic"
)]

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use archipelago::{
    Client, Embedded, ErrorKind, ReadStrength,
    engine::EntryId,
    exec::split_line,
    testing::{poll, servers::Options},
};
use archipelago_tests::world::{REGIONS, World, converged};
use tokio::task::JoinSet;

const ELEMENTS: usize = 300;
const CLAIMERS: usize = 12;

/// Who claims, and what they got.
struct Workers {
    clients: Vec<Client>,
    taken: Mutex<BTreeMap<u32, usize>>,
    done: AtomicUsize,
    maybe: AtomicUsize,
    passed_over: AtomicUsize,
    is_over: AtomicBool,
}

impl Workers {
    async fn start(world: &World) -> (Arc<Self>, JoinSet<()>) {
        let mut clients = Vec::new();
        for at in 0..REGIONS.len() {
            clients.push(world.client(at).await);
        }
        for (at, client) in clients.iter().enumerate() {
            // Runs of all three regions by turns.
            for run in 0..10_u32 {
                let first = run * 30 + u32::try_from(at).unwrap() * 10;
                client.list::<u32>("jobs").push_back(&(first..first + 10).collect::<Vec<_>>()).await.unwrap();
            }
        }
        converged(&clients[0]).await;
        let workers = Arc::new(Self {
            clients,
            taken: Mutex::default(),
            done: AtomicUsize::new(0),
            maybe: AtomicUsize::new(0),
            passed_over: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
        });
        let mut tasks = JoinSet::new();
        for number in 0..CLAIMERS {
            tasks.spawn(workers.clone().work(number % REGIONS.len()));
        }
        (workers, tasks)
    }

    async fn work(self: Arc<Self>, at: usize) {
        let jobs = self.clients[at].list::<u32>("jobs");
        while !self.is_over.load(Ordering::SeqCst) {
            match jobs.claim_front().await {
                Ok(Some(claimed)) => {
                    *self.taken.lock().unwrap().entry(claimed.value).or_default() += 1;
                    self.done.fetch_add(1, Ordering::SeqCst);
                }
                Ok(None) => tokio::time::sleep(Duration::from_millis(5)).await,
                Err(error) if error.is_maybe_applied() => {
                    self.maybe.fetch_add(1, Ordering::SeqCst);
                }
                Err(error) if error.is_unavailable() || error.kind() == ErrorKind::Timeout => {
                    self.passed_over.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    async fn until_done(&self, count: usize) {
        let is_done = || async { (self.done.load(Ordering::SeqCst) >= count).then_some(()) };
        poll::until(&format!("{count} are claimed"), is_done).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_element_is_claimed_twice_whatever_is_cut_and_dies() {
    let runs = std::env::var("CLAIM_RUNS").map_or(2, |runs| runs.parse().expect("CLAIM_RUNS is a number"));
    for run in 0..runs {
        let mut world = World::redis(Options::durable()).await;
        let (workers, mut tasks) = Workers::start(&world).await;
        workers.until_done(40).await;
        world.cut(0, 1).await;
        workers.until_done(80).await;
        world.servers[2].kill();
        workers.until_done(100).await;
        world.servers[2].restart().await.unwrap();
        world.heal().await;
        // Until nobody sees any more: what may have been claimed is gone, or claimed by somebody else since.
        poll::until("all are taken", || async {
            for client in &workers.clients {
                if client.list::<u32>("jobs").len().await.ok()? > 0 {
                    return None;
                }
            }
            Some(())
        })
        .await;
        workers.is_over.store(true, Ordering::SeqCst);
        while let Some(task) = tasks.join_next().await {
            task.unwrap();
        }
        converged(&workers.clients[0]).await;
        let taken = workers.taken.lock().unwrap().clone();
        let twice: Vec<_> = taken.iter().filter(|(_, times)| **times > 1).collect();
        assert!(twice.is_empty(), "run {run}: claimed twice: {twice:?}");
        let (maybe, passed_over) = (workers.maybe.load(Ordering::SeqCst), workers.passed_over.load(Ordering::SeqCst));
        let lost = ELEMENTS - taken.len();
        println!(
            "run {run}: {} claimed, {lost} of {maybe} maybe claimed, {passed_over} calls found homes away",
            taken.len()
        );
        assert!(lost <= maybe, "run {run}: {lost} elements are gone, and {maybe} claims may have taken one");
        for client in &workers.clients {
            client.shut_down().await;
        }
    }
}

async fn embedded() -> (Embedded, Vec<Client>) {
    let regions = Embedded::builder().region("a").region("b").partitions(2).build().unwrap();
    let mut clients = Vec::new();
    for region in ["a", "b"] {
        clients.push(Client::builder().embedded(&regions).local_region(region).build().await.unwrap());
    }
    (regions, clients)
}

#[tokio::test]
async fn elements_whose_home_is_away_are_passed_over_and_counted() {
    let (regions, clients) = embedded().await;
    let [a, b] = [clients[0].list::<String>("jobs"), clients[1].list::<String>("jobs")];
    a.push_back(&["a1", "a2", "a3"]).await.unwrap();
    converged(&clients[0]).await;
    b.push_back(&["b1"]).await.unwrap();
    converged(&clients[0]).await;
    regions.partition("a", "b").unwrap();
    let claimed = b.claim_front().await.unwrap().unwrap();
    assert_eq!((claimed.value.as_str(), claimed.home.as_str()), ("b1", "b"), "the first that can be had");
    let error = b.claim_front().await.unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    let [attempt] = error.attempts() else { panic!("{error}") };
    assert_eq!(attempt.node, "a");
    assert!(attempt.what.starts_with("3 elements wait there"), "{error}");
    for expected in ["a1", "a2", "a3"] {
        assert_eq!(a.claim_front().await.unwrap().unwrap().value, expected);
    }
    assert!(
        a.claim_front().await.unwrap_err().is_unavailable(),
        "b has given the last one away, and a has not heard of it"
    );
    regions.heal();
    converged(&clients[0]).await;
    assert_eq!(a.claim_front().await.unwrap(), None);
}

/// What was taken elsewhere is hidden here at once, though no link runs.
#[tokio::test]
async fn who_has_claimed_does_not_see_it_any_more() {
    for (from, to) in [(0, 1), (1, 0)] {
        let regions = Embedded::builder().region("a").region("b").partitions(2).build().unwrap();
        let mut clients = Vec::new();
        for region in ["a", "b"] {
            let builder = Client::builder().embedded(&regions).local_region(region).without_sync();
            clients.push(builder.build().await.unwrap());
        }
        clients[from].list::<u8>("jobs").push_back(&[1, 2]).await.unwrap();
        clients[0].sync_until_idle(poll::PATIENCE).await.unwrap();
        let jobs = clients[to].list::<u8>("jobs");
        assert_eq!(jobs.claim_back().await.unwrap().map(|claimed| claimed.value), Some(2));
        assert_eq!(jobs.range(0, -1).await.unwrap(), [1]);
        assert_eq!(clients[from].list::<u8>("jobs").claim_front().await.unwrap().map(|claimed| claimed.value), Some(1));
        assert_eq!(jobs.range(0, -1).await.unwrap(), [1], "no link has brought it");
        assert_eq!(jobs.claim_front().await.unwrap(), None, "its home has given it away");
    }
}

/// Claims exclude claims alone.
#[tokio::test]
async fn a_pop_elsewhere_takes_the_same_element() {
    let (regions, clients) = embedded().await;
    let [a, b] = [clients[0].list::<u8>("jobs"), clients[1].list::<u8>("jobs")];
    a.push_back(&[1]).await.unwrap();
    converged(&clients[0]).await;
    regions.partition("a", "b").unwrap();
    assert_eq!(b.pop_front().await.unwrap(), Some(1));
    assert_eq!(a.claim_front().await.unwrap().map(|claimed| claimed.value), Some(1));
    regions.heal();
    converged(&clients[0]).await;
    assert_eq!((a.len().await.unwrap(), b.len().await.unwrap()), (0, 0));
}

/// An element of an incarnation that has ended is given away by its region all the same.
#[tokio::test]
async fn elements_outlive_the_incarnation_that_made_them() {
    let (regions, clients) = embedded().await;
    let [a, b] = [clients[0].list::<u8>("jobs"), clients[1].list::<u8>("jobs")];
    a.push_back(&[1, 2, 3]).await.unwrap();
    converged(&clients[0]).await;
    regions.crash("a").unwrap();
    assert_eq!(b.claim_front().await.unwrap_err().kind(), ErrorKind::Unavailable);
    regions.restart("a").unwrap();
    a.push_back(&[4]).await.unwrap();
    converged(&clients[0]).await;
    for expected in 1..=4 {
        let claimed = b.claim_front().await.unwrap().unwrap();
        assert_eq!((claimed.value, claimed.home.as_str()), (expected, "a"));
    }
    assert_eq!(b.claim_front().await.unwrap(), None);
}

#[tokio::test]
async fn entries_of_streams_are_claimed_and_those_of_chosen_ids_are_not() {
    let (_regions, clients) = embedded().await;
    let words = clients[0].keyspace("default").unwrap().interpreter();
    let line = async |line: &str| words.execute(&split_line(line).unwrap()).await.to_line();
    assert_eq!(line("XADD log 5-1 n 1").await, "\"5-1\"");
    let id = clients[1].stream("log").append([("n", "2")]).await.unwrap();
    converged(&clients[0]).await;
    let claimed = clients[0].stream("log").claim().await.unwrap().unwrap();
    assert_eq!((claimed.value.id, claimed.home.as_str()), (id, "b"));
    let error = clients[0].stream("log").claim().await.unwrap_err();
    assert!(error.is_unavailable() && error.attempts()[0].node == "no home", "{error}");
    assert_eq!(clients[0].stream("log").newest(9).await.unwrap()[0].id, EntryId { millis: 5, sequence: 1 });
}

#[tokio::test]
async fn the_interpreter_has_words_for_it() {
    let (_regions, clients) = embedded().await;
    let words = clients[0].keyspace("default").unwrap().interpreter();
    let line = async |line: &str| words.execute(&split_line(line).unwrap()).await.to_line();
    line("RPUSH jobs a b c").await;
    assert_eq!(line("LCLAIM jobs LEFT").await, "\"a\"");
    assert_eq!(line("lclaim jobs right").await, "\"c\"");
    assert_eq!(line("LCLAIM jobs MIDDLE").await, "(error) ERR syntax error");
    assert_eq!(line("LCLAIM none LEFT").await, "(nil)");
    line("SET text x").await;
    assert!(line("LCLAIM text LEFT").await.contains("WRONGTYPE"));
    let id = line("XADD log * n 1").await;
    assert!(line("STREAM.CLAIM log").await.contains(id.trim_matches('"')));
    assert_eq!(line("STREAM.CLAIM log").await, "(nil)");
}

/// Past the first window, and where whole windows of what is shown here are gone at their home.
#[tokio::test]
async fn what_is_gone_at_its_home_is_passed_over_however_much_it_is() {
    let (regions, clients) = embedded().await;
    let [a, b] = [clients[0].list::<u32>("jobs"), clients[1].list::<u32>("jobs")];
    a.push_back(&(0..1500).collect::<Vec<_>>()).await.unwrap();
    converged(&clients[0]).await;
    b.push_back(&[7777]).await.unwrap();
    converged(&clients[0]).await;
    for client in &clients {
        client.shut_down().await;
    }
    assert_eq!(a.trim(1490, -1).await.unwrap(), 1490);
    assert_eq!(b.len().await.unwrap(), 1501, "no link runs");
    for expected in (1490..1500).chain([7777]) {
        assert_eq!(b.claim_front().await.unwrap().map(|claimed| claimed.value), Some(expected));
    }
    assert_eq!(b.claim_front().await.unwrap(), None);
    assert_eq!(b.claim_back().await.unwrap(), None);
    drop(regions);
}

/// A client of one region alone says that it is one: nothing is wrong with the element's home.
#[tokio::test]
async fn a_client_of_one_region_says_why_it_cannot_ask_another() {
    let regions = Embedded::builder().region("a").region("b").build().unwrap();
    let b = Client::builder().embedded(&regions).local_region("b").without_sync().build().await.unwrap();
    let a = Client::builder().embedded(&regions).local_region("a").local_only().build().await.unwrap();
    b.list::<u8>("jobs").push_back(&[7]).await.unwrap();
    b.sync_until_idle(poll::PATIENCE).await.unwrap();
    let error = a.list::<u8>("jobs").claim_front().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("built for its local region alone"), "{error}");
    let home = a.keyspace("default").unwrap().with_home(&"b".parse().unwrap()).with_read(ReadStrength::Home);
    let error = home.counter("n").get().await.unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("local region alone"), "{error}");
}
