//! Two regions behind proxies: `us`, preferred, with a replica in `eu`; and `eu` with a primary of its own.

use std::net::SocketAddr;

use archipelago::{
    Client, Config, Connection,
    routing::ExplainedNode,
    testing::{
        poll,
        proxy::ChaosProxy,
        servers::{Options, Server},
    },
};

pub struct World {
    pub us: Server,
    pub eu: Server,
    /// Before the primary of `us`.
    pub us_proxy: ChaosProxy,
    /// Before its replica in `eu`.
    pub copy_proxy: ChaosProxy,
    /// Before the primary of `eu`.
    pub eu_proxy: ChaosProxy,
}

impl World {
    pub async fn start() -> Self {
        let us = Server::redis(Options::default()).await.unwrap().with_replicas(1).await.unwrap();
        let eu = Server::redis(Options::default()).await.unwrap();
        let us_proxy = before(us.address()).await;
        let copy_proxy = before(us.replicas()[0].address()).await;
        let eu_proxy = before(eu.address()).await;
        Self { us, eu, us_proxy, copy_proxy, eu_proxy }
    }

    /// The configuration, with more lines for `[keyspaces.profiles.routing]` and whatever follows it.
    pub fn config(&self, routing: &str) -> Config {
        self.text(routing).parse().unwrap()
    }

    /// The same as a file has it.
    pub fn text(&self, routing: &str) -> String {
        text(routing, [self.us_proxy.url(), self.copy_proxy.url(), self.eu_proxy.url()])
    }

    /// The same without proxies: an operator's, for servers follow each other at these addresses.
    pub fn direct_config(&self) -> Config {
        text("", [self.us.url(), self.us.replicas()[0].url(), self.eu.url()]).parse().unwrap()
    }

    /// A client whose nodes are all up.
    pub async fn client(&self, routing: &str) -> (Client, Connection) {
        let client = Client::builder().config(self.config(routing)).build().await.unwrap();
        let connection = client.connection("profiles").unwrap();
        all_up(&connection).await;
        (client, connection)
    }
}

fn text(routing: &str, [us, copy, eu]: [String; 3]) -> String {
    format!(
        "local = \"eu\"\n\
         [regions.us]\nurl = \"{us}\"\nweight = 2\nreplicas = {{ eu = [\"{copy}\"] }}\n\
         [regions.eu]\nurl = \"{eu}\"\n\
         [keyspaces.profiles]\nmode = \"routed\"\n[keyspaces.profiles.routing]\n{routing}\n"
    )
}

pub async fn before(server: SocketAddr) -> ChaosProxy {
    ChaosProxy::before(server).await.unwrap()
}

/// Waits until every node is up.
pub async fn all_up(connection: &Connection) {
    poll::until("all nodes up", || async {
        let explanation = connection.explain(redis::cmd("GET").arg("k")).unwrap();
        let is_up =
            |node: &ExplainedNode| node.availability == "up" && (node.role == "primary" || node.staleness_ms.is_some());
        explanation.nodes.iter().all(is_up).then_some(())
    })
    .await;
}
