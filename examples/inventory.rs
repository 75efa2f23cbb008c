//! Two regions sell from one stock, and never the same unit twice, whether they reach each other or not.
//!
//! `cargo run --release --example inventory` needs no server: the regions are embedded. With `ARCHIPELAGO_CONFIG` set, the
//! same runs on the first two of the configured Redis regions.

use std::{ffi::OsString, process::ExitCode, time::Duration};

use archipelago::{
    Client, Config, Embedded, ErrorKind, Stock,
    config::{KeyspaceConfig, StockConfig},
};
use archipelago_examples::{Result, ended, no_arguments};

const PATIENCE: Duration = Duration::from_secs(30);
const USAGE: &str = "usage: inventory, without arguments; ARCHIPELAGO_CONFIG names a file of Redis regions";

#[tokio::main]
async fn main() -> ExitCode {
    ended(async { run(config(std::env::args_os().skip(1))?).await }.await)
}

fn config(arguments: impl Iterator<Item = OsString>) -> Result<Option<Config>> {
    no_arguments(arguments, USAGE)?;
    Ok(std::env::var_os("ARCHIPELAGO_CONFIG").map(Config::from_file).transpose()?)
}

/// On embedded regions, or on the first two of a file.
pub async fn run(config: Option<Config>) -> Result<()> {
    let shops = Shops::new(config).await?;
    let [us, eu] = &shops.clients;
    // A stock is never deleted: each run of the example has its own.
    let run = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_micros();
    let name = format!("inventory:lamp:{run}");
    let [here, there] = [us.stock(name.clone()), eu.stock(name.clone())];
    let (us, eu) = (us.local_region().as_str(), eu.local_region().as_str());

    here.restock("delivery-1", 10).await?;
    here.transfer_to(eu, 4).await?;
    shops.settle().await?;
    say([us, eu], [&here, &there]).await?;
    assert_eq!((here.rights().await?, there.rights().await?), (6, 4));

    println!("\nCut: each region sells what it has a right to, and asks nobody.");
    shops.cut()?;
    let [alone, far] = [0, 1].map(|at| shops.apart[at].stock(name.clone()));
    alone.take("order-1", 5).await?;
    alone.take("order-1", 5).await?; // no answer came? Again with the same id: it counts once
    far.take("order-2", 4).await?;
    let refused = far.take("order-3", 1).await.expect_err("the last lamp is not theirs to sell");
    println!("{eu}, asked for one more: {refused}");
    assert!(
        matches!(refused.kind(), ErrorKind::InsufficientRights { local: 0, known_elsewhere } if known_elsewhere > 0)
    );
    alone.take("order-4", 1).await?;
    assert!(alone.take("order-5", 1).await.is_err());
    println!("10 lamps in stock, 10 sold, the last one in {us}.");

    shops.heal();
    shops.settle().await?;
    assert_eq!((here.left().await?, there.left().await?), (0, 0));
    there.restock("delivery-2", 8).await?;
    shops.settle().await?;

    println!("\nA cart holds 2 lamps for a moment, another one until it is paid.");
    let idle = there.reserve("cart-1", 2, Duration::from_millis(200)).await?;
    let paid = there.reserve("cart-2", 1, Duration::from_secs(900)).await?;
    assert_eq!(there.left().await?, 5);
    // The customer pays in the other region: the call goes to the one that holds the lamp.
    here.reservation(&paid.token().to_string())?.confirm().await?;
    while there.rights().await? < 7 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let late = idle.confirm().await.expect_err("its time is over");
    println!("{eu}, asked for the idle cart: {late}");
    assert_eq!(there.left().await?, 7);
    shops.settle().await?;

    println!("\n{us} has a right to none of the 7. Its next buyer fetches some from {eu}:");
    assert_eq!(here.rights().await?, 0);
    here.take("order-6", 1).await?;
    shops.settle().await?;
    say([us, eu], [&here, &there]).await?;
    assert!(here.rights().await? > 0, "half of them came along for the buyers to come");
    assert_eq!(here.rights().await? + there.rights().await?, 6);
    assert_eq!((here.left().await?, there.left().await?), (6, 6));

    println!("\n18 lamps came in, 12 were sold, 6 are left in both regions. Asserted, not only printed.");
    for client in shops.clients.iter().chain(&shops.apart) {
        client.shut_down().await;
    }
    Ok(())
}

async fn say([us, eu]: [&str; 2], [here, there]: [&Stock; 2]) -> Result<()> {
    println!("{us} may sell {} of {} left,", here.rights().await?, here.left().await?);
    println!("{eu} may sell {} of {} left.", there.rights().await?, there.left().await?);
    Ok(())
}

/// Two regions, each with an app server's client in it.
struct Shops {
    clients: [Client; 2],
    /// The same for while they are cut off. Real servers are not: there, these ask no other region.
    apart: [Client; 2],
    embedded: Option<Embedded>,
}

impl Shops {
    async fn new(config: Option<Config>) -> Result<Self> {
        // So that the figures are the same at every run; the default moves rights in the background, too.
        let stock = StockConfig { rebalance: Duration::ZERO, ..StockConfig::default() };
        let keyspace = KeyspaceConfig { stock, ..KeyspaceConfig::default() };
        if let Some(mut config) = config {
            config.keyspaces.values_mut().for_each(|keyspace| keyspace.stock = stock);
            let names: Vec<String> = config.regions.keys().take(2).cloned().collect();
            let [a, b] = names.as_slice() else { return Err("the example needs two regions".into()) };
            let mut apart = config.clone();
            apart.keyspaces.values_mut().for_each(|keyspace| keyspace.stock.on_demand = false);
            // Between servers that can reach each other, "cut" means that nobody drives the links.
            let client = |config: &Config, name: &str| {
                Client::builder().config(config.clone()).local_region(name).without_sync().build()
            };
            let clients = [client(&config, a).await?, client(&config, b).await?];
            let apart = [client(&apart, a).await?, client(&apart, b).await?];
            let shops = Self { clients, apart, embedded: None };
            shops.settle().await?;
            return Ok(shops);
        }
        let (us, eu) = ("us-east-1", "eu-west-1");
        let regions = Embedded::builder().region(us).region(eu).latency(us, eu, Duration::from_millis(76)).build()?;
        let config = Config { keyspaces: [("default".to_owned(), keyspace)].into(), ..Config::default() };
        let client =
            |name: &str| Client::builder().embedded(&regions).config(config.clone()).local_region(name).build();
        let clients = [client(us).await?, client(eu).await?];
        Ok(Self { apart: clients.clone(), clients, embedded: Some(regions) })
    }

    fn cut(&self) -> Result<()> {
        if let Some(regions) = &self.embedded {
            regions.partition("us-east-1", "eu-west-1")?;
        }
        Ok(())
    }

    fn heal(&self) {
        if let Some(regions) = &self.embedded {
            regions.heal();
        }
    }

    async fn settle(&self) -> Result<()> {
        match self.embedded {
            // The links run in the background of each client.
            Some(_) => self.clients[0].wait_converged(PATIENCE).await?,
            None => self.clients[0].sync_until_idle(PATIENCE).await?,
        }
        Ok(())
    }
}
