//! Three regions, clients that know nothing of each other, and looks behind their backs.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::Poll,
};

use archipelago::{
    Client, Config, Error, ErrorKind,
    homes::{HomeConnection, HomeReason, HomeRequest, Homes},
    testing::{
        poll,
        servers::{Options, Server},
    },
};
use redis::{AsyncCommands, RedisResult, aio::MultiplexedConnection};
use tokio::task::JoinHandle;

pub const NAMES: [&str; 3] = ["ap", "eu", "us"];

pub struct World {
    pub servers: Vec<Server>,
}

impl World {
    pub async fn start() -> Self {
        let mut servers = Vec::new();
        for _ in NAMES {
            servers.push(Server::redis(Options::durable()).await.unwrap());
        }
        Self { servers }
    }

    /// With more lines behind those of the regions and the keyspace.
    pub fn config(&self, more: &str) -> Config {
        let urls: Vec<_> = self.servers.iter().map(Server::url).collect();
        config(&urls, more)
    }

    pub async fn client(&self) -> (Client, Homes) {
        let client = Client::builder().config(self.config("[homes]\ndefault = \"eu\"\n")).build().await.unwrap();
        let homes = client.homes("profiles").unwrap();
        (client, homes)
    }

    /// What each region's gate says about a user.
    pub async fn gates(&self, user: &str) -> Vec<Option<String>> {
        let mut gates = Vec::new();
        for server in &self.servers {
            gates.push(server.run(redis::cmd("GET").arg(format!("archipelago:gate:{{{user}}}"))).await.unwrap());
        }
        gates
    }

    /// The record of a user, at the owner.
    pub async fn record(&self, homes: &Homes, user: &str) -> String {
        let owner = NAMES.iter().position(|name| *name == homes.owner_of(user).unwrap().as_str()).unwrap();
        self.servers[owner].run(redis::cmd("GET").arg(format!("archipelago:home:{{{user}}}"))).await.unwrap()
    }

    /// The regions whose gate is open for a user.
    pub async fn open_at(&self, user: &str) -> Vec<&'static str> {
        let gates = self.gates(user).await;
        let is_open = |gate: &Option<String>| gate.as_deref().is_some_and(|gate| gate.ends_with(" open"));
        NAMES.iter().zip(&gates).filter(|(_, gate)| is_open(gate)).map(|(name, _)| *name).collect()
    }

    /// A user's keys in one region, without the library's own.
    pub async fn keys(&self, region: usize, user: &str) -> Vec<String> {
        let keys = self.servers[region].run(redis::cmd("KEYS").arg(format!("*{{{user}}}*"))).await;
        let mut keys: Vec<String> = keys.unwrap();
        keys.retain(|key| !key.starts_with("archipelago:"));
        keys
    }
}

/// Regions at these addresses, with more lines behind those of the regions and the keyspace.
pub fn config(urls: &[String], more: &str) -> Config {
    let region = |(name, url): (&&str, &String)| format!("[regions.{name}]\nurl = \"{url}\"\n");
    let regions: String = NAMES.iter().zip(urls).map(region).collect();
    let keyspace = "[keyspaces.profiles]\nmode = \"routed\"\nrouting = { policy = \"home-region\" }\n";
    format!("local = \"eu\"\n{regions}{keyspace}{more}").parse().unwrap()
}

/// A user whose record is in this region.
pub fn user_of(homes: &Homes, owner: &str) -> String {
    let mut users = (0..).map(|number| format!("user:{number}"));
    users.find(|user| homes.owner_of(user).unwrap().as_str() == owner).unwrap()
}

/// Assigns a home.
pub async fn settle(homes: &Homes, user: &str, region: &str) {
    let home = homes.home_of(user, &HomeRequest::new().with_pin(region)).await.unwrap();
    assert_eq!(home.region().as_str(), region);
    assert!(matches!(home.reason(), HomeReason::Assigned(_)), "{home}");
}

/// Polls a future so often, and drops it: a process that dies at that moment.
pub async fn dies_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    goes_on_for(polls, &mut Box::pin(future)).await
}

/// Polls a future so often, and leaves it there: a process that is held up. Its output, if it came so far.
pub async fn goes_on_for<F: Future + ?Sized>(polls: usize, future: &mut Pin<Box<F>>) -> Option<F::Output> {
    let mut left = polls;
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if left == 0 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}

/// What a writer was told.
#[derive(Debug, Default)]
pub struct Told {
    pub acknowledged: Vec<String>,
    /// Certainly not done.
    pub refused: Vec<String>,
    pub unknown: usize,
    /// Its own writes that it did not read again at once.
    pub unread: usize,
}

/// Appends to the user's log, counts, and reads again what it wrote, until it is told to stop. Counts in `done`, too.
pub fn writer(user: HomeConnection, name: String, stop: Arc<AtomicBool>, done: Arc<AtomicUsize>) -> JoinHandle<Told> {
    tokio::spawn(async move {
        let mut told = Told::default();
        let (mut user, mut number) = (user, 0_u64);
        while !stop.load(Ordering::Relaxed) {
            number += 1;
            let entry = format!("{name}-{number}");
            let mut write = redis::pipe();
            write.rpush(user.key("log"), &entry).ignore().incr(user.key("count"), 1).ignore();
            write.set(user.key(&name), &entry).ignore();
            match write.query_async::<()>(&mut user).await {
                Ok(()) => {
                    told.acknowledged.push(entry.clone());
                    done.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => match Error::of(&error).map(Error::kind) {
                    Some(ErrorKind::Unavailable) => told.refused.push(entry),
                    Some(ErrorKind::MaybeApplied) => told.unknown += 1,
                    _ => panic!("{error}"),
                },
            }
            let Some(last) = told.acknowledged.last().filter(|last| **last == format!("{name}-{number}")) else {
                continue;
            };
            if let Ok(read) = user.get::<_, Option<String>>(user.key(&name)).await {
                told.unread += usize::from(read.as_ref() != Some(last));
            }
        }
        told
    })
}

/// Waits until so many more writes were acknowledged, or looks taken.
pub async fn more(done: &AtomicUsize, count: usize) {
    let enough = done.load(Ordering::Relaxed) + count;
    poll::until("more of it", || async { (done.load(Ordering::Relaxed) >= enough).then_some(()) }).await;
}

/// Everything acknowledged is there, once, and nothing that was refused.
pub async fn hold_to(user: &mut HomeConnection, told: &[Told]) {
    let log: Vec<String> = user.lrange(user.key("log"), 0, -1).await.unwrap();
    let count: usize = user.get::<_, Option<usize>>(user.key("count")).await.unwrap().unwrap_or_default();
    assert_eq!(count, log.len(), "the log and its count");
    let mut entries = std::collections::BTreeMap::new();
    log.iter().for_each(|entry| *entries.entry(entry.as_str()).or_insert(0) += 1);
    let lost: Vec<_> =
        told.iter().flat_map(|told| &told.acknowledged).filter(|entry| !entries.contains_key(entry.as_str())).collect();
    assert!(lost.is_empty(), "{} acknowledged writes are lost, the first {:?}", lost.len(), lost[0]);
    assert!(entries.values().all(|times| *times == 1), "a write was done twice");
    let refused = told.iter().flat_map(|told| &told.refused).filter(|entry| entries.contains_key(entry.as_str()));
    assert_eq!(refused.count(), 0, "writes that were refused, and done");
    let acknowledged: usize = told.iter().map(|told| told.acknowledged.len()).sum();
    let unknown: usize = told.iter().map(|told| told.unknown).sum();
    assert!((acknowledged..=acknowledged + unknown).contains(&log.len()));
    assert_eq!(told.iter().map(|told| told.unread).sum::<usize>(), 0, "own writes that were not read again");
}

/// Looks at the gates of users until it is told to stop, and counts its looks: the first moments with two homes.
pub fn watch(
    servers: &[Server],
    users: &[String],
    stop: Arc<AtomicBool>,
    looks: Arc<AtomicUsize>,
) -> JoinHandle<Vec<String>> {
    let urls: Vec<_> = servers.iter().map(Server::url).collect();
    let users = users.to_vec();
    tokio::spawn(async move {
        let mut connections = Vec::new();
        for url in urls {
            let client = redis::Client::open(url).unwrap();
            connections.push(client.get_multiplexed_async_connection().await.unwrap());
        }
        let mut twice = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            for user in &users {
                let (first, second) = (look(&mut connections, user).await, look(&mut connections, user).await);
                // A machine that is busy may answer late: no look.
                let (Ok(first), Ok(second)) = (first, second) else { continue };
                looks.fetch_add(1, Ordering::Relaxed);
                // Open before and after at one epoch, and so all the time between: a gate opens once at each epoch.
                let all_along: Vec<_> =
                    first.iter().zip(&second).filter(|(a, b)| a == b && a.ends_with(" open")).map(|(a, _)| a).collect();
                if all_along.len() > 1 && twice.len() < 5 {
                    twice.push(format!("{user}: {first:?}"));
                }
            }
        }
        twice
    })
}

async fn look(connections: &mut [MultiplexedConnection], user: &str) -> RedisResult<Vec<String>> {
    let mut gates = Vec::new();
    for connection in connections {
        let gate: Option<String> = connection.get(format!("archipelago:gate:{{{user}}}")).await?;
        gates.push(gate.unwrap_or_default());
    }
    Ok(gates)
}
