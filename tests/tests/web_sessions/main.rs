//! Web sessions: one set of promises, on embedded regions and on real servers. No links run unless a test drives them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test may panic"
)]

mod expiry;
mod ids;
mod revocation;
mod validity;

use std::time::Duration;

use archipelago::{
    Client,
    testing::servers::{Options, Program},
    web_sessions::{SessionId, SessionStore},
};
use archipelago_tests::world::{Ground, World, settings};

/// Longer than any test.
pub const LONG: Duration = Duration::from_secs(3600);

/// Three regions, with an idle client and its sessions in each.
pub struct Site {
    pub world: World,
    pub clients: Vec<Client>,
    pub sessions: Vec<SessionStore>,
}

impl Site {
    pub async fn on(ground: Ground) -> Self {
        let world = World::with(ground, Options::default(), settings()).await.expect("the regions start");
        let clients = world.idle_clients().await;
        let sessions = clients.iter().map(|client| SessionStore::new(client, "default").unwrap()).collect();
        Self { world, clients, sessions }
    }

    pub async fn settle(&self) {
        archipelago_tests::world::settle(&self.clients[0]).await;
    }

    pub async fn load(&self, at: usize, id: &SessionId) -> Option<String> {
        self.sessions[at].load(id).await.unwrap()
    }
}

/// The name of a session's keys.
pub fn name(id: &SessionId) -> String {
    format!("{id:?}").strip_prefix("SessionId(").unwrap().strip_suffix(')').unwrap().to_owned()
}

/// The test on both kinds of regions.
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name(crate::Site::on(crate::Ground::Embedded).await).await; })+
        }
        mod redis {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(crate::Site::on(crate::Ground::Servers(crate::Program::Redis)).await).await;
            })+
        }
    };
}
pub(crate) use on_both;
