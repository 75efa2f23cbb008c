//! A redis-server of the benchmark's own, and clients on it.

use std::{
    collections::BTreeMap,
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use archipelago::{
    Client, Config,
    config::{HistoryCheck, KeyspaceConfig, RegionConfig},
};

use redis::{IntoConnectionInfo, io::tcp::TcpSettings};

/// A running server; stopped when dropped.
pub struct Server {
    child: Child,
    pub port: u16,
}

impl Server {
    pub fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let binary = std::env::var("REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_owned());
        let child = Command::new(binary)
            .args(["--port", &port.to_string(), "--save", "", "--appendonly", "no"])
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server");
        let end = Instant::now() + Duration::from_secs(10);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < end, "redis-server does not answer");
            std::thread::yield_now();
        }
        Self { child, port }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// A client of the crate itself, with the socket settings that ours uses.
    pub fn raw(&self) -> redis::Client {
        let info = self.url().into_connection_info().unwrap();
        redis::Client::open(info.set_tcp_settings(TcpSettings::default().set_nodelay(true))).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
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
