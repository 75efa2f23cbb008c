//! Who is logged in: a web session, valid in every region at once, renewed by every look, ended for good.

use std::time::Duration;

use archipelago::{Error, web_sessions::SessionId};
use serde::{Deserialize, Serialize};

use crate::shop::AppServer;

/// How long a visitor may look at nothing.
pub const LIFETIME: Duration = Duration::from_secs(30 * 60);

/// What a session knows.
#[derive(Debug, Serialize, Deserialize)]
pub struct Login {
    pub user: String,
    /// How often this user had logged out everywhere before.
    logouts: i64,
}

impl AppServer {
    /// This example takes everybody's word for who they are.
    pub async fn log_in(&self, user: &str) -> Result<SessionId, Error> {
        let login = Login { user: user.to_owned(), logouts: self.logouts(user).await? };
        self.sessions.create(&login, LIFETIME).await
    }

    /// Whose session this is; it lives for [`LIFETIME`] from now on.
    pub async fn logged_in(&self, id: &SessionId) -> Result<Option<Login>, Error> {
        let Some(login) = self.sessions.load::<Login>(id).await? else { return Ok(None) };
        // Less than: a session may be known here sooner than the logout that it comes after.
        if login.logouts < self.logouts(&login.user).await? {
            self.sessions.revoke(id).await?;
            return Ok(None);
        }
        let is_alive = self.sessions.renew(id, LIFETIME).await?;
        Ok(is_alive.then_some(login))
    }

    /// Ends this session, in every region.
    pub async fn log_out(&self, id: &SessionId) -> Result<(), Error> {
        self.sessions.revoke(id).await.map(drop)
    }

    /// Ends all sessions of a user: this one at once in most regions, the others as soon as the count has got there.
    pub async fn log_out_everywhere(&self, id: &SessionId, login: &Login) -> Result<(), Error> {
        // A count and no list of ids: who reads the servers' data finds no session there. Two logouts in two regions at
        // the same time both count.
        self.client.counter(count_of(&login.user)).add(1).await?;
        self.sessions.revoke_at_majority(id).await.map(drop)
    }

    async fn logouts(&self, user: &str) -> Result<i64, Error> {
        self.client.counter(count_of(user)).get().await
    }
}

fn count_of(user: &str) -> String {
    format!("session-example:logouts:{user}")
}
