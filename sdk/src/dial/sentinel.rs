//! Sentinels: asked where a server is, and listened to for when that changes.
//!
//! The crate's own Sentinel client picks replicas by chance, asks without a limit of ours, and does not listen; what is
//! left of asking is one command.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::StreamExt;
use redis::{AsyncConnectionConfig, Client, Cmd, IntoConnectionInfo, Value};
use tokio::{sync::watch, time::timeout};

use super::{DialError, Dialer, dialer::Address};
use crate::config::{SentinelConfig, without_credentials};

/// How many Sentinels one attempt to connect asks at most, each with its share of the time; one more is left for the
/// server itself. The next attempt goes on where this one stopped.
const ASKED: usize = 3;

/// Replicas that are looked at: what comes from outside is bounded.
const MOST_REPLICAS: usize = 64;

/// After so long without a word a Sentinel is asked whether it is still there.
const SILENCE: Duration = Duration::from_secs(5);

/// Between attempts to listen: at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

const UNREADABLE: &str = "its answer cannot be read";

/// The Sentinels of one region, and what they said.
pub(crate) struct Sentinel {
    master: String,
    /// The URLs of the Sentinels.
    nodes: Vec<String>,
    is_tls: bool,
    /// Replicas that are nodes of their own.
    excluded: Vec<Address>,
    /// Whom to ask first: the one that answered last, so that a dead one is not waited for at every connection.
    first: AtomicUsize,
    /// Where the primary is: as verified, or as a Sentinel said when it moved.
    primary: watch::Sender<Option<Address>>,
    /// The replica of each slot.
    claims: Mutex<Vec<Option<Address>>>,
}

impl Sentinel {
    pub(crate) fn new<'u>(config: &SentinelConfig, excluded: impl Iterator<Item = &'u String>) -> Self {
        Self {
            master: config.master.clone(),
            nodes: config.nodes.clone(),
            is_tls: config.is_tls(),
            excluded: excluded.filter_map(|url| Address::of(&url.as_str().into_connection_info().ok()?)).collect(),
            first: AtomicUsize::new(0),
            primary: watch::Sender::new(None),
            claims: Mutex::new(vec![None; config.replicas]),
        }
    }

    /// How many replicas are wanted.
    pub(super) fn slots(&self) -> usize {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    pub(super) const fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// How many Sentinels there are.
    pub(crate) fn count(&self) -> usize {
        self.nodes.len()
    }

    /// Follows where the primary is.
    pub(super) fn known(&self) -> watch::Receiver<Option<Address>> {
        self.primary.subscribe()
    }

    /// The primary is there.
    pub(super) fn learn(&self, at: Address) {
        self.primary.send_if_modified(|known| {
            let is_news = known.as_ref() != Some(&at);
            if is_news {
                *known = Some(at);
            }
            is_news
        });
    }

    /// What the first Sentinel said did not hold: it may be cut off from the others. Next time another one is asked.
    pub(super) fn doubt(&self) {
        self.pass_over(self.first.load(Ordering::Relaxed));
    }

    /// Where the primary is.
    pub(super) async fn primary(&self, dialer: &Dialer) -> Result<Address, DialError> {
        let question = redis::cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(&self.master).to_owned();
        self.ask(dialer, &question, |answer| match redis::from_redis_value(answer) {
            Ok(Some((host, port))) => Ok(Address { host, port }),
            Ok(None) => Err(self.unknown()),
            Err(_) => Err(UNREADABLE.to_owned()),
        })
        .await
    }

    /// Where the replica of this slot is.
    pub(super) async fn replica(&self, dialer: &Dialer, slot: usize) -> Result<Address, DialError> {
        // The word that every version knows.
        let question = redis::cmd("SENTINEL").arg("SLAVES").arg(&self.master).to_owned();
        let healthy = self.ask(dialer, &question, |answer| healthy(answer, &self.excluded)).await?;
        let mut claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        claim(&mut claims, slot, &healthy).ok_or_else(|| {
            let what = format!("the Sentinels know {} replicas of {} that are well", healthy.len(), self.master);
            DialError::NotFound(format!("{what}, too few for this one"))
        })
    }

    /// Asks one after the other until one knows.
    async fn ask<T>(
        &self,
        dialer: &Dialer,
        question: &Cmd,
        read: impl Fn(Value) -> Result<T, String>,
    ) -> Result<T, DialError> {
        let share = dialer.connect_timeout() / (ASKED as u32 + 1);
        let mut said = Vec::new();
        for _ in 0..self.nodes.len().min(ASKED) {
            let number = self.first.load(Ordering::Relaxed) % self.nodes.len();
            let url = self.nodes.get(number).map(String::as_str).unwrap_or_default();
            let answer = timeout(share, self.ask_one(dialer, url, question)).await;
            let answer = answer.unwrap_or_else(|_| Err(format!("no answer within {share:?}"))).and_then(&read);
            match answer {
                Ok(found) => return Ok(found),
                Err(what) => said.push(format!("{}: {what}", without_credentials(url))),
            }
            self.pass_over(number);
        }
        // In an order that does not depend on who was asked first: the same failure is the same text.
        said.sort_unstable();
        let region = dialer.region();
        Err(DialError::NotFound(format!("no Sentinel of region {region} helps: {}", said.join("; "))))
    }

    async fn ask_one(&self, dialer: &Dialer, url: &str, question: &Cmd) -> Result<Value, String> {
        let info = dialer.sentinel_info(url).await.map_err(|error| error.to_string())?;
        // The caller bounds all of it.
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let mut connection = dialer.open(info, &config).await.map_err(|error| sentinels_own(&error))?;
        let answer = connection.send_packed_command(question).await.and_then(Value::extract_error);
        answer.map_err(|error| match error.detail() {
            Some(detail) if detail.contains("No such master") => self.unknown(),
            _ => error.to_string(),
        })
    }

    fn unknown(&self) -> String {
        format!("it knows no master {:?}", self.master)
    }

    fn pass_over(&self, number: usize) {
        let next = (number + 1) % self.nodes.len().max(1);
        // Unless somebody else has done it.
        let _ = self.first.compare_exchange(number, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// A Sentinel says that the primary moved. It is the one to be asked: others may not have heard of it.
    fn hear(&self, number: usize, message: &str) -> Option<Address> {
        let to = moved_to(message, &self.master)?;
        self.first.store(number, Ordering::Relaxed);
        self.learn(to.clone());
        Some(to)
    }
}

/// A Sentinel's refusal, without the words for a region's servers.
fn sentinels_own(error: &DialError) -> String {
    match error {
        DialError::Denied(_) => "it does not let the user of its address in".to_owned(),
        DialError::Redis(_)
        | DialError::NotFound(_)
        | DialError::Unprepared(_)
        | DialError::Malformed
        | DialError::Late(_)
        | DialError::LateOverTls(_) => error.to_string(),
    }
}

/// The replicas that are well, by address.
fn healthy(answer: Value, excluded: &[Address]) -> Result<Vec<Address>, String> {
    let replicas: Vec<Vec<(String, String)>> = redis::from_redis_value(answer).map_err(|_| UNREADABLE.to_owned())?;
    let address = |replica: &Vec<(String, String)>| {
        let field = |name: &str| replica.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str());
        let is_well = |flag| !matches!(flag, "s_down" | "o_down" | "disconnected" | "master_down");
        let is_well = field("flags")?.split(',').all(is_well);
        let address = Address { host: field("ip")?.to_owned(), port: field("port")?.parse().ok()? };
        (is_well && !excluded.contains(&address)).then_some(address)
    };
    let mut found: Vec<_> = replicas.iter().take(MOST_REPLICAS).filter_map(address).collect();
    found.sort_unstable();
    Ok(found)
}

/// The replica of a slot: the one it has as long as that is well, otherwise the first that no other slot has. By rank
/// alone, two slots would come to one replica as soon as another died.
fn claim(claims: &mut [Option<Address>], slot: usize, healthy: &[Address]) -> Option<Address> {
    let kept = claims.get(slot)?.clone().filter(|replica| healthy.contains(replica));
    let is_free = |replica: &&Address| !claims.iter().flatten().any(|taken| taken == *replica);
    let chosen = kept.or_else(|| healthy.iter().find(is_free).cloned());
    claims.get_mut(slot)?.clone_from(&chosen);
    chosen
}

/// Where `+switch-master` says that the primary is: "name old-ip old-port new-ip new-port".
fn moved_to(message: &str, master: &str) -> Option<Address> {
    let mut words = message.split(' ');
    let is_ours = words.next()? == master;
    let address = Address { host: words.nth(2)?.to_owned(), port: words.next()?.parse().ok()? };
    is_ours.then_some(address)
}

/// What listening to a Sentinel brings.
#[derive(Clone, Debug)]
pub(crate) enum News {
    /// It can be heard.
    Up,
    /// It cannot be heard.
    Down(String),
    /// The primary is another one now.
    Moved(Address),
}

/// Listens to one Sentinel for ever.
///
/// Without this, a client whose connection to the former primary lives on would write there until the Sentinels demote
/// it, eight seconds after a failover that somebody ordered, and lose all of that.
pub(crate) async fn keep_listening(sentinel: Arc<Sentinel>, dialer: Dialer, number: usize, tell: impl Fn(&str, News)) {
    let name = sentinel.nodes.get(number).map(|url| without_credentials(url)).unwrap_or_default();
    let mut pause = PAUSES.0;
    let mut is_up = None;
    loop {
        let why = listen(&sentinel, &dialer, number, |news| {
            if matches!(news, News::Up) {
                pause = PAUSES.0;
                if is_up.replace(true) == Some(true) {
                    return;
                }
            }
            tell(&name, news);
        });
        let why = why.await;
        if is_up.replace(false) != Some(false) {
            tell(&name, News::Down(why));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// Listens until that fails; says why.
async fn listen(sentinel: &Sentinel, dialer: &Dialer, number: usize, mut tell: impl FnMut(News)) -> String {
    let limit = dialer.connect_timeout();
    let late = || format!("no answer within {limit:?}");
    let subscribing = async {
        let url = sentinel.nodes.get(number).map(String::as_str).unwrap_or_default();
        let info = dialer.sentinel_info(url).await?;
        let mut listening = Client::open(info)?.get_async_pubsub().await?;
        listening.subscribe("+switch-master").await?;
        Ok::<_, DialError>(listening)
    };
    let (mut ear, mut messages) = match timeout(limit, subscribing).await {
        Ok(Ok(listening)) => listening.split(),
        Ok(Err(error)) => return sentinels_own(&error),
        Err(_) => return late(),
    };
    tell(News::Up);
    loop {
        match timeout(SILENCE, messages.next()).await {
            Ok(Some(message)) => {
                let message = message.get_payload::<String>().unwrap_or_default();
                if let Some(to) = sentinel.hear(number, &message) {
                    tell(News::Moved(to));
                }
            }
            Ok(None) => return "it closed the connection".to_owned(),
            // A black hole is as silent as a Sentinel that has nothing to say.
            Err(_) => match timeout(limit, ear.ping::<Value>()).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return error.to_string(),
                Err(_) => return late(),
            },
        }
    }
}

impl fmt::Debug for Sentinel {
    /// Without credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes: Vec<_> = self.nodes.iter().map(|url| without_credentials(url)).collect();
        write!(f, "{:?} at {}", self.master, nodes.join(", "))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a failed test may panic")]
mod tests {
    use std::sync::atomic::AtomicU32;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;
    use crate::config::RegionConfig;

    fn address(text: &str) -> Address {
        let (host, port) = text.rsplit_once(':').unwrap();
        Address { host: host.to_owned(), port: port.parse().unwrap() }
    }

    fn replica(address: &str, flags: &str) -> Value {
        let (ip, port) = address.rsplit_once(':').unwrap();
        let fields = ["name", "x", "ip", ip, "port", port, "flags", flags];
        Value::Array(fields.iter().map(|field| Value::BulkString(field.as_bytes().to_vec())).collect())
    }

    #[test]
    fn only_replicas_that_are_well_count_in_the_order_of_their_addresses() {
        let answer = Value::Array(vec![
            replica("10.0.0.3:6379", "slave"),
            replica("10.0.0.1:6380", "slave"),
            replica("10.0.0.1:6379", "slave"),
            replica("10.0.0.4:6379", "s_down,slave"),
            replica("10.0.0.5:6379", "slave,disconnected"),
            replica("10.0.0.6:6379", "o_down,slave"),
            replica("10.0.0.7:99999", "slave"),
            replica("10.0.0.8:6379", "slave"),
        ]);
        let found = healthy(answer, &[address("10.0.0.8:6379")]).unwrap();
        assert_eq!(found, ["10.0.0.1:6379", "10.0.0.1:6380", "10.0.0.3:6379"].map(address));
        assert!(healthy(Value::Int(1), &[]).is_err());
        let many = Value::Array((1..1000).map(|port| replica(&format!("10.0.0.1:{port}"), "slave")).collect());
        assert_eq!(healthy(many, &[]).unwrap().len(), MOST_REPLICAS);
    }

    #[test]
    fn a_slot_keeps_its_replica_and_shares_it_with_none() {
        let [a, b, c] = ["h:1", "h:2", "h:3"].map(address);
        let mut claims = vec![None, None];
        let all = [a.clone(), b.clone(), c.clone()];
        assert_eq!(claim(&mut claims, 1, &all), Some(a.clone()));
        assert_eq!(claim(&mut claims, 0, &all), Some(b.clone()));
        // By rank the second slot would now come to what the first one has.
        assert_eq!(claim(&mut claims, 1, &all[1..]), Some(c.clone()));
        assert_eq!(claim(&mut claims, 0, &all), Some(b.clone()), "kept");
        assert_eq!(claim(&mut claims, 1, &all[1..2]), None, "the only one is taken");
        assert_eq!(claim(&mut claims, 7, &all), None);
    }

    #[test]
    fn a_switch_is_read_for_the_own_master_only() {
        let message = "mymaster 10.0.0.1 6379 10.0.0.2 6380";
        assert_eq!(moved_to(message, "mymaster"), Some(address("10.0.0.2:6380")));
        assert_eq!(moved_to(message, "other"), None);
        for broken in ["", "mymaster", "mymaster 10.0.0.1 6379 10.0.0.2", "mymaster a b c 65536", "mymaster    "] {
            assert_eq!(moved_to(broken, "mymaster"), None, "{broken:?}");
        }
    }

    async fn dialer() -> Dialer {
        let config = RegionConfig { connect_timeout: Duration::from_millis(400), ..RegionConfig::default() };
        Dialer::new("us".parse().unwrap(), &config, None).await.unwrap()
    }

    fn sentinel(nodes: &[&TcpListener]) -> Sentinel {
        let nodes = nodes.iter().map(|node| format!("redis://{}", node.local_addr().unwrap())).collect();
        let config = SentinelConfig { master: "m".to_owned(), nodes, replicas: 0 };
        Sentinel::new(&config, std::iter::empty())
    }

    /// Counts connections, and answers whoever asks where the primary is; silent ones say nothing.
    fn serve(listener: TcpListener, is_silent: bool) -> Arc<AtomicU32> {
        let count = Arc::new(AtomicU32::new(0));
        tokio::spawn({
            let count = count.clone();
            async move {
                let mut kept = Vec::new();
                loop {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    count.fetch_add(1, Ordering::Relaxed);
                    if is_silent {
                        kept.push(stream);
                        continue;
                    }
                    tokio::spawn(async move {
                        let mut buffer = [0; 4096];
                        loop {
                            let read = stream.read(&mut buffer).await.unwrap_or_default();
                            let Some(text) = buffer.get(..read).filter(|text| !text.is_empty()) else { return };
                            let text = String::from_utf8_lossy(text);
                            let mut answer = "+OK\r\n".repeat(text.matches("SETINFO").count());
                            if text.contains("SENTINEL") {
                                answer.push_str("*2\r\n$8\r\n10.0.0.1\r\n$4\r\n6379\r\n");
                            }
                            stream.write_all(answer.as_bytes()).await.unwrap();
                        }
                    });
                }
            }
        });
        count
    }

    async fn listener() -> TcpListener {
        TcpListener::bind("127.0.0.1:0").await.unwrap()
    }

    #[tokio::test]
    async fn a_silent_first_sentinel_costs_the_first_connect_only() {
        let (silent, speaking) = (listener().await, listener().await);
        let (sentinel, dialer) = (sentinel(&[&silent, &speaking]), dialer().await);
        let (silent, speaking) = (serve(silent, true), serve(speaking, false));
        for _ in 0..5 {
            assert_eq!(sentinel.primary(&dialer).await.unwrap(), address("10.0.0.1:6379"));
        }
        assert_eq!((silent.load(Ordering::Relaxed), speaking.load(Ordering::Relaxed)), (1, 5));
        // What it said did not hold: the next one has the word, and the one after it.
        sentinel.doubt();
        sentinel.primary(&dialer).await.unwrap();
        assert_eq!((silent.load(Ordering::Relaxed), speaking.load(Ordering::Relaxed)), (2, 6));
    }

    #[tokio::test]
    async fn with_many_dead_ones_each_attempt_asks_others() {
        let (first, last) = (listener().await, listener().await);
        let dead = format!("redis://{}", first.local_addr().unwrap());
        drop(first);
        let mut sentinel = sentinel(&[&last]);
        for _ in 0..5 {
            sentinel.nodes.insert(0, dead.clone());
        }
        let (dialer, _served) = (dialer().await, serve(last, false));
        let error = sentinel.primary(&dialer).await.unwrap_err();
        assert!(matches!(&error, DialError::NotFound(what) if what.contains("refused")), "{error}");
        assert_eq!(sentinel.primary(&dialer).await.unwrap(), address("10.0.0.1:6379"));
    }
}
