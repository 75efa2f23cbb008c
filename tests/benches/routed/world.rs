//! Two regions: `us`, preferred, whose replica stands in `eu`; and `eu` with a primary of its own.

use archipelago::{
    Client, Config, Connection,
    routing::ExplainedNode,
    testing::{
        poll,
        proxy::ChaosProxy,
        servers::{Options, Server},
    },
};

/// The key that is read, and its value in both regions: what matters is whether an answer comes.
pub const KEY: &str = "name";
pub const VALUE: &str = "Ada";

pub struct World {
    pub us: Server,
    pub eu: Server,
    /// Before each node, in the order `us`, its replica, `eu`.
    pub proxies: [ChaosProxy; 3],
}

/// How clients reach the nodes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Direct,
    Proxied,
}

impl World {
    pub async fn start() -> Self {
        let us = Server::redis(Options::default()).await.unwrap().with_replicas(1).await.unwrap();
        let eu = Server::redis(Options::default()).await.unwrap();
        let before = |server: &Server| ChaosProxy::before(server.address());
        let proxies = [before(&us).await, before(&us.replicas()[0]).await, before(&eu).await];
        let world = Self { us, eu, proxies: proxies.map(Result::unwrap) };
        world.fill().await;
        world
    }

    /// Removes everything but the value that is read.
    pub async fn fill(&self) {
        for server in [&self.us, &self.eu] {
            let _: () = server.run(&redis::cmd("FLUSHALL")).await.unwrap();
            let _: () = server.run(redis::cmd("SET").arg(KEY).arg(VALUE)).await.unwrap();
        }
        self.us.replicas_in_sync().await.unwrap();
    }

    /// Where the nodes are: `us`, its replica, `eu`.
    pub fn urls(&self, way: Way) -> [String; 3] {
        match way {
            Way::Direct => [self.us.url(), self.us.replicas()[0].url(), self.eu.url()],
            Way::Proxied => [0, 1, 2].map(|at| self.proxies[at].url()),
        }
    }

    /// A client with every default, whose nodes are all up.
    pub async fn client(&self, way: Way) -> (Client, Connection) {
        self.client_with(way, |_| {}).await
    }

    /// The same with some defaults changed.
    pub async fn client_with(&self, way: Way, change: impl FnOnce(&mut Config)) -> (Client, Connection) {
        let [us, copy, eu] = self.urls(way);
        let text = format!(
            "local = \"eu\"\n\
             [regions.us]\nurl = \"{us}\"\nweight = 2\nreplicas = {{ eu = [\"{copy}\"] }}\n\
             [regions.eu]\nurl = \"{eu}\"\n\
             [keyspaces.profiles]\nmode = \"routed\"\n",
        );
        let mut config: Config = text.parse().unwrap();
        change(&mut config);
        let client = Client::builder().config(config).build().await.unwrap();
        let connection = client.connection("profiles").unwrap();
        poll::until("all nodes up", || async {
            let explanation = connection.explain(redis::cmd("GET").arg(KEY)).unwrap();
            let is_up = |node: &ExplainedNode| {
                node.availability == "up" && (node.role == "primary" || node.staleness_ms.is_some())
            };
            explanation.nodes.iter().all(is_up).then_some(())
        })
        .await;
        (client, connection)
    }
}
