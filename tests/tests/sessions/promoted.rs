//! Users who move while a region is killed and its replica takes over: what they were told is done is there, wherever
//! they look next.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use archipelago::{
    Client, Config, ErrorKind,
    config::RegionConfig,
    sessions::{Guarantee, Session},
    testing::{
        History, poll,
        proxy::ChaosProxy,
        servers::{Options, Server},
    },
};
use archipelago_tests::{
    random::{Rng, seeds},
    world::{self, REGIONS},
};
use tokio::sync::RwLock;

const ONE_WAY: Duration = Duration::from_millis(40);
const USERS: usize = 16;

/// Three regions, of which the first has a replica. From every region to every other leads a line of its own.
struct Stage {
    servers: Vec<Server>,
    lines: BTreeMap<(usize, usize), ChaosProxy>,
}

impl Stage {
    async fn start() -> Self {
        let mut servers = vec![Server::redis(Options::default()).await.unwrap().with_replicas(1).await.unwrap()];
        for _ in 1..REGIONS.len() {
            servers.push(Server::redis(Options::default()).await.unwrap());
        }
        let mut lines = BTreeMap::new();
        for from in 0..REGIONS.len() {
            for (to, server) in servers.iter().enumerate() {
                let line = ChaosProxy::before(server.address()).await.unwrap();
                if from != to {
                    line.delay(ONE_WAY, ONE_WAY);
                }
                lines.insert((from, to), line);
            }
        }
        Self { servers, lines }
    }

    async fn client(&self, at: usize) -> Client {
        let region = |(to, name): (usize, &&str)| ((*name).to_owned(), RegionConfig::new(self.lines[&(at, to)].url()));
        let config = Config {
            local: Some(REGIONS[at].to_owned()),
            regions: REGIONS.iter().enumerate().map(region).collect(),
            keyspaces: BTreeMap::from([("default".to_owned(), world::settings())]),
            ..Config::default()
        };
        Client::builder().config(config).build().await.unwrap()
    }

    /// The first region's server dies, and its replica, which has everything, takes over.
    async fn promote(&mut self) {
        self.servers[0].kill();
        let replica = &self.servers[0].replicas()[0];
        let _: () = replica.run(redis::cmd("REPLICAOF").arg("NO").arg("ONE")).await.unwrap();
        for from in 0..REGIONS.len() {
            let line = &self.lines[&(from, 0)];
            line.point_at(replica.address());
            line.disconnect().await;
            line.heal().await.unwrap();
            if from != 0 {
                line.delay(ONE_WAY, ONE_WAY);
            }
        }
    }
}

/// What the users share.
struct Shared {
    clients: Vec<Client>,
    /// Held while a write is under way.
    writing: RwLock<()>,
    visits: AtomicU64,
    unanswered: AtomicU64,
    is_over: AtomicBool,
}

async fn user(shared: Arc<Shared>, user: usize, seed: u64) -> History {
    let mut rng = Rng::new(seed * 1000 + user as u64);
    let builder = Session::builder().wait(Duration::from_secs(5)).guarantee(Guarantee::MonotonicReads);
    let (name, key) = (user.to_string(), format!("cart:{user}"));
    let (mut history, mut cookie) = (History::new(), Session::new().token());
    for write in 0.. {
        if shared.is_over.load(Ordering::Relaxed) {
            break;
        }
        let session = builder.clone().from_token(&cookie).unwrap();
        let written = {
            let _until_it_ends = shared.writing.read().await;
            rng.pick(&shared.clients).with_session(&session).set(key.clone()).add(write.to_string()).await
        };
        cookie = session.token();
        match written {
            Ok(_) => {
                history.wrote(&name, &key, write);
            }
            Err(error) => count(&shared, &error),
        }
        let session = builder.clone().from_token(&cookie).unwrap();
        match rng.pick(&shared.clients).with_session(&session).set(key.clone()).members().await {
            Ok(found) => {
                let number = |member: &bytes::Bytes| std::str::from_utf8(member).unwrap().parse::<u64>().unwrap();
                history.read(&name, &key, found.iter().map(number));
                shared.visits.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => count(&shared, &error),
        }
        cookie = session.token();
    }
    history
}

/// A region that is away is an error. Nothing is lost, so nobody may be told so.
fn count(shared: &Shared, error: &archipelago::Error) {
    let is_expected = matches!(
        error.kind(),
        ErrorKind::Unavailable | ErrorKind::MaybeApplied | ErrorKind::Timeout | ErrorKind::Server | ErrorKind::Behind
    );
    assert!(is_expected, "{error}");
    shared.unanswered.fetch_add(1, Ordering::Relaxed);
}

#[tokio::test(flavor = "multi_thread")]
async fn moving_users_miss_nothing_while_a_region_is_killed_and_its_replica_promoted() {
    for seed in seeds(1..2) {
        let mut stage = Stage::start().await;
        let mut clients = Vec::new();
        for at in 0..REGIONS.len() {
            clients.push(stage.client(at).await);
        }
        world::converged(&clients[0]).await;
        let shared = Arc::new(Shared {
            clients: clients.clone(),
            writing: RwLock::new(()),
            visits: AtomicU64::new(0),
            unanswered: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        });
        let users: Vec<_> = (0..USERS).map(|of| tokio::spawn(user(shared.clone(), of, seed))).collect();
        let so_many_more = async |more: u64| {
            let before = shared.visits.load(Ordering::Relaxed);
            poll::until("visits", || async { (shared.visits.load(Ordering::Relaxed) >= before + more).then_some(()) })
                .await;
        };
        so_many_more(400).await;
        {
            // What a dead server had acknowledged and nobody has is lost, whoever asks. Here nothing is.
            let _no_write = shared.writing.write().await;
            stage.servers[0].replicas_in_sync().await.unwrap();
            stage.promote().await;
        }
        so_many_more(400).await;
        shared.is_over.store(true, Ordering::Relaxed);
        for user in users {
            let history = user.await.unwrap();
            history.check(Guarantee::ReadYourWrites).unwrap();
            history.check(Guarantee::MonotonicReads).unwrap();
        }
        let (visits, unanswered) = (&shared.visits, &shared.unanswered);
        println!("seed {seed}: {visits:?} visits, none stale; {unanswered:?} calls failed meanwhile");
        for client in clients {
            client.shut_down().await;
        }
    }
}
