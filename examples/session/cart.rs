//! The cart: written in one region, read from a copy nearby, and never older than what its visitor has put into it.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use archipelago::{
    Served,
    routing::{Explanation, Verdict},
    sessions::Session,
};
use redis::{AsyncCommands, RedisResult};

use crate::shop::AppServer;

/// Different things in one cart.
pub const MOST: usize = 20;

const LIFETIME_SECS: i64 = 24 * 3600;

/// A cart, and how it was read.
pub struct Cart {
    pub items: BTreeMap<String, u64>,
    pub reading: Reading,
}

/// Who answered, and why not somebody nearer.
pub struct Reading {
    pub node: String,
    pub stands_in: String,
    pub is_local: bool,
    pub why: String,
    pub took: Duration,
    /// The copies of these data, and how far each is behind.
    pub copies: Vec<(String, Option<Duration>)>,
}

fn key(user: &str) -> String {
    format!("session-example:cart:{user}")
}

impl AppServer {
    pub async fn cart(&self, session: &Session, user: &str) -> RedisResult<Cart> {
        let carts = self.carts.with_session(session);
        let mut read = redis::cmd("HGETALL");
        read.arg(key(user));
        let plan = carts.explain(&read)?;
        let began = Instant::now();
        let served = carts.served(&read).await?;
        let reading = Reading {
            node: served.node.clone(),
            is_local: served.stands_in == self.region,
            why: why(&plan, &served, &self.region),
            took: began.elapsed(),
            copies: copies(&plan),
            stands_in: served.stands_in,
        };
        Ok(Cart { items: redis::from_redis_value(served.value)?, reading })
    }

    /// Adds one of it; says whether there was room. Two requests at the same time may each find the last place.
    pub async fn add_to_cart(&self, session: &Session, user: &str, item: &str) -> RedisResult<bool> {
        let mut carts = self.carts.with_session(session);
        let (size, is_known): (usize, bool) =
            redis::pipe().hlen(key(user)).hexists(key(user), item).query_async(&mut carts).await?;
        if size >= MOST && !is_known {
            return Ok(false);
        }
        let mut add = redis::pipe();
        add.atomic().hincr(key(user), item, 1).ignore().expire(key(user), LIFETIME_SECS).ignore();
        add.query_async(&mut carts).await.map(|()| true)
    }

    pub async fn remove_from_cart(&self, session: &Session, user: &str, item: &str) -> RedisResult<()> {
        self.carts.with_session(session).hdel(key(user), item).await
    }
}

/// What was tried or left out before, or the reason for the node itself.
fn why(plan: &Explanation, served: &Served, here: &str) -> String {
    let tried = served.attempts.iter().map(|attempt| format!("{}: {}", attempt.node, attempt.what));
    let nodes = plan.nodes.iter().filter(|node| node.region == plan.region);
    let left_out = nodes.filter(|node| node.verdict == Verdict::Skipped && node.stands_in == here);
    let reasons: Vec<_> = tried.chain(left_out.map(|node| format!("{}: {}", node.name, node.reason))).collect();
    if !reasons.is_empty() {
        return reasons.join("; ");
    }
    let node = plan.nodes.iter().find(|node| node.name == served.node);
    node.map_or_else(String::new, |node| node.reason.clone())
}

fn copies(plan: &Explanation) -> Vec<(String, Option<Duration>)> {
    let copies = plan.nodes.iter().filter(|node| node.role == "replica" && node.region == plan.region);
    let behind = |millis: f64| Duration::try_from_secs_f64(millis / 1000.0).ok();
    copies.map(|node| (node.name.clone(), node.staleness_ms.and_then(behind))).collect()
}
