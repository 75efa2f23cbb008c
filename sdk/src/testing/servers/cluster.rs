//! A Cluster of three primaries, with or without replicas.

use redis::{Cmd, RedisError};

use super::{Options, Program, Server, ServerError, error::late};
use crate::testing::poll;

/// How many primaries there are: the fewest that can fail over.
const PRIMARIES: usize = 3;
/// The slots of every Cluster.
const SLOTS: usize = 16_384;
/// After how many milliseconds of silence a node counts as failed.
const NODE_TIMEOUT: u64 = 1000;

/// A Cluster of three primaries with all 16384 slots, and so many replicas of each.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Server>,
}

impl Cluster {
    /// Starts the nodes, joins them, and waits until every node finds the Cluster well and every replica is in sync.
    ///
    /// # Errors
    /// When they do not come up or do not find each other.
    pub async fn start(program: Program, options: Options, replicas: usize) -> Result<Self, ServerError> {
        let mut options = options;
        let timeout = NODE_TIMEOUT.to_string();
        let more = [("cluster-enabled", "yes"), ("cluster-node-timeout", &timeout)];
        options.more.extend(more.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let mut nodes = Vec::new();
        for _ in 0..PRIMARIES * (1 + replicas) {
            nodes.push(Server::start(program, options.clone()).await?);
        }
        let cluster = Self { nodes };
        cluster.give_slots().await?;
        cluster.meet().await?;
        cluster.replicate().await?;
        cluster.well().await?;
        Ok(cluster)
    }

    /// All nodes: the three primaries of the start, then the replicas (the fourth node is the first one's, and so on).
    #[must_use]
    pub fn nodes(&self) -> &[Server] {
        &self.nodes
    }

    /// All nodes, to be killed, paused and restarted.
    #[must_use]
    pub fn nodes_mut(&mut self) -> &mut [Server] {
        &mut self.nodes
    }

    /// The URLs of all nodes.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Server::url).collect()
    }

    /// Waits until every node that runs finds the Cluster well: all slots served, and every replica's link up.
    ///
    /// # Errors
    /// When that takes longer than [`poll::PATIENCE`].
    pub async fn well(&self) -> Result<(), ServerError> {
        for node in self.running() {
            let well = poll::within(poll::PATIENCE, || async { is_well(node).await.ok()?.then_some(()) });
            well.await.ok_or_else(|| late("cluster_state:ok"))?;
        }
        Ok(())
    }

    /// ADDSLOTS rather than ADDSLOTSRANGE: it needs no Redis 7.
    async fn give_slots(&self) -> Result<(), ServerError> {
        for (number, node) in self.nodes.iter().take(PRIMARIES).enumerate() {
            // Distinct from the start: nodes that meet with equal epochs have to sort that out first.
            let _: () = node.run(cluster("SET-CONFIG-EPOCH").arg(number + 1)).await?;
            let slots: Vec<usize> = (number * SLOTS / PRIMARIES..(number + 1) * SLOTS / PRIMARIES).collect();
            let _: () = node.run(cluster("ADDSLOTS").arg(slots)).await?;
        }
        Ok(())
    }

    /// Introduces every node to the first, and waits until each knows all.
    async fn meet(&self) -> Result<(), ServerError> {
        let Some((first, others)) = self.nodes.split_first() else { return Ok(()) };
        for other in others {
            let _: () = first.run(cluster("MEET").arg("127.0.0.1").arg(other.port())).await?;
        }
        for node in &self.nodes {
            let knows_all = poll::within(poll::PATIENCE, || async {
                let known: String = node.run(&cluster("NODES")).await.ok()?;
                let known = known.lines().filter(|line| !line.contains("handshake")).count();
                (known == self.nodes.len()).then_some(())
            });
            knows_all.await.ok_or_else(|| late("nodes that know each other"))?;
        }
        Ok(())
    }

    async fn replicate(&self) -> Result<(), ServerError> {
        let (primaries, replicas) = self.nodes.split_at(PRIMARIES.min(self.nodes.len()));
        for (replica, primary) in replicas.iter().zip(primaries.iter().cycle()) {
            let id: String = primary.run(&cluster("MYID")).await?;
            // Refused while the node has not yet heard that the other is a primary with slots.
            let order = cluster("REPLICATE").arg(id).to_owned();
            let accepted = poll::within(poll::PATIENCE, || async { replica.run::<()>(&order).await.ok() });
            accepted.await.ok_or_else(|| late("a replica accepted"))?;
        }
        // Not before every node has heard of every replica: a client that asks one of them for the topology gets it all.
        for node in &self.nodes {
            let heard = poll::within(poll::PATIENCE, || async {
                let known: String = node.run(&cluster("NODES")).await.ok()?;
                (known.matches("slave").count() == replicas.len()).then_some(())
            });
            heard.await.ok_or_else(|| late("replicas that are known to all"))?;
        }
        Ok(())
    }

    fn running(&self) -> impl Iterator<Item = &Server> {
        self.nodes.iter().filter(|node| node.process_id().is_some())
    }
}

async fn is_well(node: &Server) -> Result<bool, RedisError> {
    let info: String = node.run(&cluster("INFO")).await?;
    let well = info.lines().any(|line| line.trim() == "cluster_state:ok");
    let link = node.info("master_link_status").await?;
    Ok(well && (link.is_empty() || link == "up"))
}

fn cluster(word: &str) -> Cmd {
    redis::cmd("CLUSTER").arg(word).to_owned()
}
