//! Clients on a redis-server of the benchmark's own.

use std::{collections::BTreeMap, time::Duration};

use archipelago::{
    Client, Config,
    config::{HistoryCheck, KeyspaceConfig, RegionConfig},
    testing::servers::{Options, Server},
};

use redis::{IntoConnectionInfo, io::tcp::TcpSettings};

/// A server that keeps nothing on disk.
pub async fn start() -> Server {
    Server::redis(Options::default()).await.unwrap()
}

/// A client of the crate itself, with the socket settings that ours uses.
pub fn raw(server: &Server) -> redis::Client {
    let info = server.url().into_connection_info().unwrap();
    redis::Client::open(info.set_tcp_settings(TcpSettings::default().set_nodelay(true))).unwrap()
}

/// A configuration of regions by URL.
pub fn config(urls: &[(&str, String)], connections: usize, history_check: HistoryCheck) -> Config {
    let region = |(name, url): &(&str, String)| {
        let mut region = RegionConfig::new(url.clone());
        region.connections = connections;
        region.response_timeout = Duration::from_secs(20);
        ((*name).to_owned(), region)
    };
    Config {
        local: None,
        regions: urls.iter().map(region).collect(),
        keyspaces: BTreeMap::from([(
            "default".to_owned(),
            KeyspaceConfig { history_check, ..KeyspaceConfig::default() },
        )]),
        ..Config::default()
    }
}

pub async fn client(server: &Server, connections: usize, history_check: HistoryCheck) -> Client {
    client_of("here", server, connections, history_check).await
}

/// A client of one region under its own name.
pub async fn client_of(region: &str, server: &Server, connections: usize, history_check: HistoryCheck) -> Client {
    let config = config(&[(region, server.url())], connections, history_check);
    Client::builder().config(config).local_region(region).without_sync().build().await.unwrap()
}
