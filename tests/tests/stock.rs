//! Stock in three regions with many buyers, while links are cut and regions die: never more is sold than there is.
//!
//! `STOCK_RUNS=200` repeats the sales on real servers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test may panic"
)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use archipelago::{
    Client, Embedded, Error, ErrorKind,
    config::{KeyspaceConfig, StockConfig},
    testing::{
        poll,
        servers::{Options, Server},
    },
};
use archipelago_tests::world::{REGIONS, World, converged, settings, settle};
use tokio::{sync::Semaphore, task::JoinSet};

const UNITS: u64 = 100;
const BUYERS: u64 = 64;

fn runs(default: u64) -> u64 {
    std::env::var("STOCK_RUNS").ok().map_or(default, |runs| runs.parse().expect("STOCK_RUNS is a number"))
}

/// Buyers who try as often as they are let in, each time in another region.
struct Shop {
    clients: Vec<Client>,
    gate: Semaphore,
    tried: AtomicU64,
    sold: AtomicU64,
}

impl Shop {
    async fn open(world: &World, is_lossless: bool) -> (Arc<Self>, JoinSet<()>) {
        let mut clients = Vec::new();
        for (at, region) in REGIONS.iter().enumerate() {
            let mut config = world.config(at);
            config.regions.values_mut().for_each(|region| region.lossless_restart = is_lossless);
            clients.push(Client::builder().config(config).local_region(*region).build().await.unwrap());
        }
        let (tried, sold) = (AtomicU64::new(0), AtomicU64::new(0));
        let shop = Arc::new(Self { clients, gate: Semaphore::new(0), tried, sold });
        shop.clients[0].stock("tickets").restock("delivery", UNITS).await.unwrap();
        converged(&shop.clients[0]).await;
        let mut buyers = JoinSet::new();
        (0..BUYERS).for_each(|buyer| drop(buyers.spawn(shop.clone().buy(buyer))));
        (shop, buyers)
    }

    async fn buy(self: Arc<Self>, buyer: u64) {
        for turn in 0.. {
            let Ok(permit) = self.gate.acquire().await else { return };
            permit.forget();
            let region = usize::try_from(buyer + turn).unwrap() % REGIONS.len();
            let stock = self.clients[region].stock("tickets");
            let order = format!("order-{buyer}-{turn}");
            let mut result = stock.take(&order, 1).await;
            if result.as_ref().is_err_and(Error::is_maybe_applied) {
                result = stock.take(&order, 1).await; // with the same id it counts once
            }
            if result.is_ok() {
                self.sold.fetch_add(1, Ordering::SeqCst);
            }
            self.tried.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn sold(&self) -> u64 {
        self.sold.load(Ordering::SeqCst)
    }

    /// Lets buyers try so often, and waits until they have.
    async fn let_in(&self, tries: u64) {
        let until = self.tried.load(Ordering::SeqCst) + tries;
        self.gate.add_permits(usize::try_from(tries).unwrap());
        poll::until("all have tried", || async { (self.tried.load(Ordering::SeqCst) >= until).then_some(()) }).await;
        assert!(self.sold() <= UNITS, "{} of {UNITS} sold", self.sold());
    }

    async fn close(&self, mut buyers: JoinSet<()>) {
        self.gate.close();
        while buyers.join_next().await.is_some() {}
        for client in &self.clients {
            client.shut_down().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn never_more_is_sold_than_there_is_while_a_region_dies_with_its_data() {
    for run in 0..runs(2) {
        let mut world = World::redis(Options::default()).await;
        let (shop, buyers) = Shop::open(&world, false).await;
        shop.let_in(30).await;
        world.cut(0, 1).await;
        shop.let_in(30).await;
        world.servers[2].kill();
        shop.let_in(20).await;
        world.servers[2].restart_empty().await.unwrap();
        shop.let_in(20).await;
        world.heal().await;
        shop.let_in(200).await;
        println!("run {run}: {} of {UNITS} sold", shop.sold());
        assert!(shop.sold() > 10);
        shop.close(buyers).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn regions_that_restart_without_a_loss_sell_everything() {
    for run in 0..runs(2) {
        let mut world = World::redis(Options::durable()).await;
        let (shop, buyers) = Shop::open(&world, true).await;
        shop.let_in(30).await;
        world.cut(0, 1).await;
        shop.let_in(20).await;
        let dies = usize::try_from(run).unwrap() % 2 * 2;
        world.servers[dies].kill();
        shop.let_in(10).await;
        world.servers[dies].restart().await.unwrap();
        world.heal().await;
        let began = std::time::Instant::now();
        while shop.sold() < UNITS {
            assert!(began.elapsed() < poll::PATIENCE, "only {} sold once links had healed", shop.sold());
            shop.let_in(10).await;
        }
        converged(&shop.clients[0]).await;
        shop.let_in(30).await;
        for client in &shop.clients {
            assert_eq!(client.stock("tickets").left().await.unwrap(), 0);
        }
        println!("run {run}: {} of {UNITS} sold", shop.sold());
        shop.close(buyers).await;
    }
}

/// What is declared is checked.
#[tokio::test]
async fn a_region_that_would_lose_writes_cannot_declare_that_it_loses_none() {
    let server = Server::redis(Options::default()).await.unwrap();
    let text = format!("[regions.eu]\nurl = \"{}\"\nlossless_restart = true\n", server.url());
    let error = Client::builder().config(text.parse().unwrap()).build().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(error.message().contains("appendfsync always"), "{error}");
}

async fn embedded(stock: StockConfig) -> (Embedded, Vec<Client>) {
    let regions = Embedded::builder().region("a").region("b").partitions(2).build().unwrap();
    let mut clients = Vec::new();
    for region in ["a", "b"] {
        let config = archipelago::Config {
            keyspaces: [("default".to_owned(), KeyspaceConfig { stock, ..settings() })].into(),
            ..archipelago::Config::default()
        };
        let builder = Client::builder().embedded(&regions).config(config).local_region(region);
        clients.push(builder.build().await.unwrap());
    }
    (regions, clients)
}

const STILL: StockConfig = StockConfig { on_demand: false, rebalance: Duration::ZERO };

/// Counterexample 31: a reservation made at A, confirmed at B while A's timer returns the units.
#[tokio::test]
async fn a_reservation_is_confirmed_where_it_was_made() {
    let (regions, clients) = embedded(STILL).await;
    let [a, b] = [clients[0].stock("seats"), clients[1].stock("seats")];
    a.restock("hall", 2).await.unwrap();
    let bought = a.reserve("cart-1", 1, Duration::from_secs(600)).await.unwrap();
    let late = a.reserve("cart-2", 1, Duration::from_millis(1)).await.unwrap();
    b.reservation(&bought.token().to_string()).unwrap().confirm().await.unwrap();
    regions.advance(Duration::from_secs(1));
    assert_eq!(a.take("order-3", 1).await.ok(), Some(()), "the other one ran out");
    let refused = b.reservation(&late.to_string()).unwrap().confirm().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused, "{refused}");
    a.restock("hall-2", 1).await.unwrap();
    let cut_off = a.reserve("cart-4", 1, Duration::from_secs(600)).await.unwrap();
    regions.partition("a", "b").unwrap();
    let away = b.reservation(&cut_off.to_string()).unwrap().confirm().await.unwrap_err();
    assert!(away.is_unavailable() && away.region().is_some_and(|region| region.as_str() == "a"), "{away}");
    cut_off.confirm().await.unwrap();
}

#[tokio::test]
async fn rights_are_fetched_when_they_run_out_if_the_keyspace_allows() {
    for on_demand in [true, false] {
        let (regions, clients) = embedded(StockConfig { on_demand, ..STILL }).await;
        let [a, b] = [clients[0].stock("tickets"), clients[1].stock("tickets")];
        a.restock("delivery", 10).await.unwrap();
        converged(&clients[0]).await;
        let taken = b.take("order-1", 2).await;
        if !on_demand {
            let error = taken.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InsufficientRights { local: 0, known_elsewhere: 10 }, "{error}");
            assert_eq!(a.transfer_to("b", 3).await.unwrap(), 3);
            converged(&clients[0]).await;
            b.take("order-1", 2).await.unwrap();
            continue;
        }
        taken.unwrap();
        // Half of them came along, so that the next buyer asks nobody.
        regions.partition("a", "b").unwrap();
        b.take("order-2", 3).await.unwrap();
        assert!(matches!(
            b.take("order-3", 1).await.unwrap_err().kind(),
            ErrorKind::InsufficientRights { local: 0, .. }
        ));
        a.take("order-4", 5).await.unwrap();
        assert!(a.take("order-5", 1).await.is_err());
        regions.heal();
        converged(&clients[0]).await;
        assert_eq!((a.left().await.unwrap(), b.left().await.unwrap()), (0, 0));
    }
}

#[tokio::test]
async fn rights_move_in_the_background_to_where_units_are_taken() {
    let rebalance = Duration::from_millis(100);
    let (_regions, clients) = embedded(StockConfig { on_demand: false, rebalance }).await;
    let [a, b] = [clients[0].stock("tickets"), clients[1].stock("tickets")];
    a.restock("delivery", 1000).await.unwrap();
    a.transfer_to("b", 100).await.unwrap();
    converged(&clients[0]).await;
    let orders = AtomicU64::new(0);
    poll::until("rights move to b", || async {
        let order = orders.fetch_add(1, Ordering::Relaxed).to_string();
        if orders.load(Ordering::Relaxed) < 80 {
            b.take(&order, 1).await.unwrap();
        }
        (b.rights().await.unwrap() > 200).then_some(())
    })
    .await;
    for client in &clients {
        client.shut_down().await;
    }
    settle(&clients[0]).await;
    let sold = 1000 - a.left().await.unwrap();
    assert_eq!(a.rights().await.unwrap() + b.rights().await.unwrap() + sold, 1000);
}

/// A reclaim that cannot know what was sold is refused; then it gives back what was not.
#[tokio::test]
async fn a_reclaim_waits_for_what_others_know_of_lost_sales() {
    let (regions, clients) = embedded(STILL).await;
    let (a, keyspace) = (clients[0].stock("tickets"), clients[0].keyspace("default").unwrap());
    a.restock("delivery", 10).await.unwrap();
    let early = regions.backup("a").unwrap();
    a.take("order-1", 4).await.unwrap();
    converged(&clients[0]).await;
    regions.partition("a", "b").unwrap();
    regions.restore("a", &early).unwrap();
    assert_eq!(a.rights().await.unwrap(), 0);
    assert_eq!(keyspace.stock_report("tickets").await.unwrap().frozen, 10, "as far as it knows");
    assert_eq!(keyspace.reclaim_stock(false).await.unwrap_err().kind(), ErrorKind::Unavailable);
    regions.heal();
    converged(&clients[0]).await;
    let reclaimed = keyspace.reclaim_stock(false).await.unwrap();
    assert_eq!(reclaimed.stocks.iter().map(|stock| stock.units).collect::<Vec<_>>(), [6]);
    assert_eq!(a.rights().await.unwrap(), 6);
    assert!(keyspace.frozen_stock().await.unwrap().stocks.is_empty());
    a.take("order-2", 6).await.unwrap();
    assert!(a.take("order-3", 1).await.is_err());
}

#[tokio::test]
async fn an_embedded_region_can_restart_without_a_loss() {
    for is_lossless in [true, false] {
        let (regions, clients) = embedded(STILL).await;
        let a = clients[0].stock("tickets");
        regions.set_lossless_restart("a", is_lossless).unwrap();
        a.restock("delivery", 10).await.unwrap();
        let backup = regions.backup("a").unwrap();
        a.take("order-1", 4).await.unwrap();
        for _ in 0..2 {
            regions.crash("a").unwrap();
            regions.restart("a").unwrap();
            assert_eq!(a.rights().await.unwrap(), if is_lossless { 6 } else { 0 });
        }
        regions.restore("a", &backup).unwrap();
        regions.restart("a").unwrap();
        assert_eq!(a.rights().await.unwrap(), 0, "a backup is a loss");
    }
}
