//! The shop: an app server in each region, and how visitors are told apart by where they live.

use std::{path::Path, time::Duration};

use archipelago::{
    Builder, Client, Config, Connection, Embedded,
    homes::{HomeResolver, HomesConfig, TrustedProxies},
    routing::{RegionInfo, RoutingConfig},
    web_sessions::SessionStore,
};

use crate::Result;

const US: &str = "us-east-1";
const EU: &str = "eu-west-1";
const ROUND_TRIP: Duration = Duration::from_millis(76);

/// The keyspace of the logins: active-active, so that each region creates and ends them at local latency.
const LOGINS: &str = "default";

/// The keyspace of the carts: routed, one region writes, the others read copies.
const CARTS: &str = "session-example-carts";

/// All of it, in one process instead of one for each region.
pub struct Shop {
    pub servers: Vec<AppServer>,
    pub homes: HomeResolver,
    /// Whose word on a visitor's address is taken: the page itself plays the proxy.
    pub proxies: TrustedProxies,
    /// The regions, unless they are servers of your own.
    pub embedded: Option<Embedded>,
}

/// The app server of one region.
pub struct AppServer {
    pub region: String,
    pub client: Client,
    pub sessions: SessionStore,
    pub carts: Connection,
}

impl Shop {
    /// On the configured regions, else on embedded ones with a copy that is so far behind.
    pub async fn open(lag: Duration) -> Result<Self> {
        match std::env::var_os("ARCHIPELAGO_CONFIG") {
            Some(file) => Self::configured(Config::from_file(Path::new(&file))?).await,
            None => Self::embedded(lag).await,
        }
    }

    pub async fn embedded(lag: Duration) -> Result<Self> {
        let regions = Embedded::builder().region(US).weight(US, 2).region(EU);
        let regions = regions.replica(US, EU, lag).latency(US, EU, ROUND_TRIP).build()?;
        let homes: HomesConfig = toml::from_str(&format!("continents = {{ EU = '{EU}', NA = '{US}' }}"))?;
        let infos = [RegionInfo::new(US.parse()?).with_weight(2), RegionInfo::new(EU.parse()?)];
        let client = || Client::builder().embedded(&regions);
        let servers = vec![AppServer::open(client(), US).await?, AppServer::open(client(), EU).await?];
        let (homes, proxies) = (homes.build(&infos)?, this_machine()?);
        Ok(Self { servers, homes, proxies, embedded: Some(regions) })
    }

    /// Visitors live in the nearest region, where the file has the regions' locations.
    pub async fn configured(mut config: Config) -> Result<Self> {
        config.keyspaces.retain(|name, _| name == LOGINS);
        config.keyspaces.entry(LOGINS.to_owned()).or_default();
        let mut infos = Vec::new();
        let mut servers = Vec::new();
        for (name, region) in config.regions.iter().take(2) {
            let info = RegionInfo::new(name.parse()?).with_weight(region.weight);
            infos.push(region.location.into_iter().fold(info, RegionInfo::with_location));
            servers.push(AppServer::open(Client::builder().config(config.clone()), name).await?);
        }
        if servers.len() < 2 {
            return Err("this example needs two regions".into());
        }
        let (homes, proxies) = (HomesConfig::default().build(&infos)?, this_machine()?);
        Ok(Self { servers, homes, proxies, embedded: None })
    }

    /// The server in a region, by the region's name.
    pub fn position(&self, region: &str) -> Option<usize> {
        self.servers.iter().position(|server| server.region == region)
    }

    /// Ends the background work of every client.
    pub async fn close(&self) {
        for server in &self.servers {
            server.client.shut_down().await;
        }
    }
}

fn this_machine() -> Result<TrustedProxies> {
    Ok(TrustedProxies::networks(["127.0.0.0/8", "::1"])?)
}

impl AppServer {
    async fn open(builder: Builder, region: &str) -> Result<Self> {
        let routing = RoutingConfig { local_replica: true, ..RoutingConfig::default() };
        let client = builder.local_region(region).routed(CARTS, routing).build().await?;
        let (sessions, carts) = (SessionStore::new(&client, LOGINS)?, client.connection(CARTS)?);
        Ok(Self { region: region.to_owned(), client, sessions, carts })
    }
}
