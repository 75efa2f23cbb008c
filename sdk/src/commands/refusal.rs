//! What cannot run on a connection that others share and that routes.

use std::fmt;

/// Why a routed connection refuses a command. Displays the instruction what to do instead.
///
/// ```
/// use archipelago::commands::{self, Refusal};
///
/// let refusal = commands::of_cmd(redis::cmd("WATCH").arg("stock")).refusal();
/// assert_eq!(refusal, Some(Refusal::Transaction));
/// assert!(Refusal::Transaction.to_string().contains("connection.exclusive(key)"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// MULTI, EXEC, DISCARD, WATCH, UNWATCH as commands of their own.
    Transaction,
    /// It would change the connection for everyone who shares it: SELECT, CLIENT SETNAME, CLIENT NO-EVICT.
    Connection,
    /// WAIT, WAITAOF: they cover the writes of their own connection only.
    Wait,
    /// SUBSCRIBE and its kin.
    Subscription,
    /// AUTH, HELLO.
    Login,
    /// QUIT, RESET.
    Closing,
    /// READONLY, READWRITE, ASKING: the client's own business.
    Routing,
    /// It changes who is a primary: REPLICAOF, FAILOVER.
    Topology,
    /// It concerns one server or its whole process: MONITOR, DEBUG, CONFIG SET, SHUTDOWN, and the like.
    Server,
    /// It cannot be part of a pipeline: it may block, belongs to the node of a cursor, or is for many nodes.
    /// Only [`Batch::refusal`](super::Batch::refusal) says so.
    InPipeline,
}

impl Refusal {
    /// What to do instead, as an instruction.
    #[must_use]
    pub const fn instruction(self) -> &'static str {
        match self {
            Self::Transaction => {
                "send a pipeline with `.atomic()`, or run the whole transaction on `connection.exclusive(key)`"
            }
            Self::Connection => {
                "run it on `connection.exclusive(key)`: it would change the connection for all who share it"
            }
            Self::Wait => {
                "run it on `connection.exclusive(key)`, behind the writes it is for: it covers its own connection only"
            }
            Self::Subscription => "call `client.subscribe(..)`",
            Self::Login => "put user and password into the region's URL: each connection logs in by itself",
            Self::Closing => "drop the connection instead: others may share its socket",
            Self::Routing => "leave it out: choose the nodes by the keyspace's policy",
            Self::Topology => "run `archipelago promote` on the operator's command line",
            Self::Server => "connect to the server you mean with a plain `redis::Client`",
            Self::InPipeline => "send it by itself, outside of a pipeline",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.instruction())
    }
}
