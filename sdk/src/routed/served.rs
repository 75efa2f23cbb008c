//! An answer, and who gave it.

use redis::{Cmd, RedisResult, Value};

use super::{
    connection::{Connection, access, one, refused},
    link::Work,
    scan,
};
use crate::{
    commands::{Placement, of_cmd},
    error::{Attempt, Error, ErrorKind},
    routing::{NodeIndex, Role},
};

/// An answer, and who gave it: see [`Connection::served`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Served {
    /// The answer.
    pub value: Value,
    /// The node that gave it, such as `us-east-1/replica-1@eu-west-1`.
    pub node: String,
    /// The region it stands in.
    pub stands_in: String,
    /// `primary` or `replica`.
    pub role: &'static str,
    /// What was tried before, in order, and why it did not do: also a replica that lacks what the session has seen. Empty
    /// when the first node gave the answer.
    pub attempts: Vec<Attempt>,
}

impl Connection {
    /// Sends one command, and tells who answered: for a page, a log or a test that has to show it.
    ///
    /// [`Connection::explain`] tells beforehand where a command would go; this tells where it went.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use archipelago::{Client, Embedded, routing::RoutingConfig, sessions::Session};
    /// use std::time::Duration;
    ///
    /// let regions = Embedded::builder().region("eu").weight("eu", 2).region("us");
    /// let regions = regions.replica("eu", "us", Duration::from_secs(60)).build()?;
    /// let routing = RoutingConfig { local_replica: true, ..RoutingConfig::default() };
    /// let client = Client::builder().embedded(&regions).local_region("us").routed("profiles", routing).build().await?;
    /// let profiles = client.connection("profiles")?.with_session(&Session::new());
    ///
    /// profiles.served(redis::cmd("SET").arg("ada").arg("Lovelace")).await?;
    /// let served = profiles.served(redis::cmd("GET").arg("ada")).await?;
    /// assert_eq!((served.node.as_str(), served.role), ("eu/primary", "primary"));
    /// assert_eq!(served.attempts[0].node, "eu/replica-1@us"); // a minute behind what this session wrote
    /// # client.shut_down().await; Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As every call of a connection; [`ErrorKind::Refused`] for what more than one node answers (SCAN, SCRIPT LOAD) and
    /// for what waits at the server (BLPOP).
    ///
    /// # Cancel safety
    /// As every call of a connection: dropping the future gives up the answer, not the request.
    pub async fn served(&self, cmd: &Cmd) -> RedisResult<Served> {
        let command = of_cmd(cmd);
        if let Some(refusal) = command.refusal() {
            return Err(refused(command.name(), refusal).into());
        }
        let is_of_one_node = match command.placement() {
            Placement::Keyed | Placement::Anywhere | Placement::Writer => scan::cursor_at(command.name()).is_none(),
            Placement::Cursor | Placement::EveryNode | Placement::EveryPrimary => false,
        };
        if !is_of_one_node || command.blocking().is_some() {
            let name = command.name().unwrap_or("this command");
            let text = format!("{name} has no one node that serves it at once: send it on the connection itself");
            return Err(Error::new(ErrorKind::Refused, text).into());
        }
        let key = command.keys().next();
        let call = self.call(Work::One(cmd), access(command.access()), key, command.is_idempotent())?;
        let mut progress = call.begin();
        let (answer, index) = Box::pin(call.run_on(&mut progress)).await?;
        let (node, stands_in, role) = self.named(index);
        Ok(Served { value: one(answer)?, node, stands_in, role, attempts: progress.history.into_attempts() })
    }

    fn named(&self, index: NodeIndex) -> (String, String, &'static str) {
        let topology = self.keyspace.plane.core.topology.load();
        let node = topology.node(index);
        let region = node.and_then(|node| topology.region(node.stands_in));
        let role = match node.map(|node| node.role) {
            Some(Role::Replica) => "replica",
            Some(Role::Primary) | None => "primary",
        };
        let name = node.map_or_else(|| "?".to_owned(), |node| node.name.to_string());
        (name, region.map_or_else(|| "?".to_owned(), |region| region.id.to_string()), role)
    }
}
