//! Three regions write the same keys while they cannot reach each other, and agree once they can.
//!
//! `cargo run --release --example quickstart` needs no server: the regions are embedded, at real-looking distances.
//! With `ARCHIPELAGO_CONFIG` set, the same runs on the configured Redis regions (three of them at least).

use std::{collections::BTreeSet, ffi::OsString, process::ExitCode, time::Duration};

use archipelago::{Client, Config, Embedded};
use archipelago_examples::{Result, ended, no_arguments};
use comfy_table::{ContentArrangement, Table, presets::UTF8_BORDERS_ONLY};

const PATIENCE: Duration = Duration::from_secs(30);
const USAGE: &str = "usage: quickstart, without arguments; ARCHIPELAGO_CONFIG names a file of Redis regions";

#[tokio::main]
async fn main() -> ExitCode {
    ended(async { run(config(std::env::args_os().skip(1))?).await }.await)
}

fn config(arguments: impl Iterator<Item = OsString>) -> Result<Option<Config>> {
    no_arguments(arguments, USAGE)?;
    Ok(std::env::var_os("ARCHIPELAGO_CONFIG").map(Config::from_file).transpose()?)
}

/// On embedded regions, or on those of a file.
pub async fn run(config: Option<Config>) -> Result<()> {
    let islands = Islands::new(config).await?;
    let [us, eu, ap] = &islands.clients;
    println!("Three regions: {}, {}, {}.\n", us.local_region(), eu.local_region(), ap.local_region());

    start_clean(us).await?;
    us.counter("quickstart:views").add(10).await?;
    us.counter("quickstart:price").set(100).await?;
    us.register::<String>("quickstart:banner").set("Welcome").await?;
    us.register::<String>("quickstart:note").set("draft").await?;
    us.set("quickstart:tags").add_all(["new", "sale"]).await?;
    us.map::<String>("quickstart:user").set("name", "Ada").await?;
    us.sorted_set("quickstart:board").insert("ada", 100.0).await?;
    islands.settle().await?;
    let before = [see(us).await?, see(eu).await?, see(ap).await?];
    assert_eq!(before[0], before[1]);
    assert_eq!(before[0], before[2]);

    islands.cut()?;
    println!("Cut: no region reaches another. Each goes on writing, at local latency:");
    let began = std::time::Instant::now();
    // Counters: every increment counts.
    us.counter("quickstart:views").add(5).await?;
    eu.counter("quickstart:views").add(3).await?;
    ap.counter("quickstart:views").add(-1).await?;
    // A set number and a concurrent increment: the number, plus the increment.
    us.counter("quickstart:price").set(80).await?;
    eu.counter("quickstart:price").add(7).await?;
    // One value: the latest write wins.
    us.register::<String>("quickstart:banner").set("Sale").await?;
    eu.register::<String>("quickstart:banner").set("Soldes").await?;
    ap.register::<String>("quickstart:banner").set("Uridashi").await?;
    // A write beats a concurrent delete.
    us.register::<String>("quickstart:note").delete().await?;
    eu.register::<String>("quickstart:note").set("final").await?;
    // An add beats a concurrent remove.
    us.set("quickstart:tags").remove("sale").await?;
    eu.set("quickstart:tags").add("sale").await?;
    ap.set("quickstart:tags").add("hot").await?;
    // Fields merge one by one; counter fields count.
    us.map::<String>("quickstart:user").set("city", "Boston").await?;
    eu.map::<String>("quickstart:user").set("name", "Ada L.").await?;
    us.map::<String>("quickstart:user").add("visits", 1).await?;
    ap.map::<String>("quickstart:user").add("visits", 2).await?;
    // Scores add up, and an increment survives a concurrent remove.
    us.sorted_set("quickstart:board").remove("ada").await?;
    eu.sorted_set("quickstart:board").add("ada", 25.0).await?;
    ap.sorted_set("quickstart:board").insert("bob", 50.0).await?;
    // The longest expiry holds.
    us.set("quickstart:tags").expire_in(Duration::from_secs(60)).await?;
    eu.set("quickstart:tags").expire_in(Duration::from_secs(3600)).await?;
    println!("22 writes took {:.1?} in all.\n", began.elapsed());
    let apart = [see(us).await?, see(eu).await?, see(ap).await?];

    islands.heal();
    let began = std::time::Instant::now();
    islands.settle().await?;
    println!("Healed: every region holds everything after {:.0?}.\n", began.elapsed());
    let after = [see(us).await?, see(eu).await?, see(ap).await?];

    print_table(&before[0], &apart, &after[0]);
    check(&after, islands.embedded.is_some());
    println!("\nAll three regions show the same values. Asserted, not only printed.");
    for client in &islands.clients {
        client.shut_down().await;
    }
    Ok(())
}

/// What one region shows: a key's short name, the value in words, and the rule that decides.
type Seen = Vec<(&'static str, String, &'static str)>;

async fn see(client: &Client) -> Result<Seen> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let tags: Vec<String> = client.set("quickstart:tags").members().await?.iter().map(|tag| text(tag)).collect();
    let user = client.map::<String>("quickstart:user");
    let (name, city) = (user.get("name").await?.unwrap_or_default(), user.get("city").await?.unwrap_or_default());
    let visits = user.count("visits").await?;
    let board = client.sorted_set("quickstart:board").top(10).await?;
    let board: Vec<String> = board.iter().map(|(member, score)| format!("{} {score}", text(member))).collect();
    let left = client.set("quickstart:tags").time_to_live().await?;
    let hours = left
        .map_or("none".to_owned(), |left| if left > Duration::from_secs(120) { "1 h".into() } else { "1 min".into() });
    let word = |value: Option<String>| value.unwrap_or_else(|| "(none)".to_owned());
    Ok(vec![
        ("views", client.counter("quickstart:views").get().await?.to_string(), "counter: every increment counts"),
        ("price", client.counter("quickstart:price").get().await?.to_string(), "set + concurrent add: both hold"),
        (
            "banner",
            word(client.register::<String>("quickstart:banner").get().await?),
            "register: the latest write wins",
        ),
        ("note", word(client.register::<String>("quickstart:note").get().await?), "a write beats a concurrent delete"),
        ("tags", tags.join(" "), "set: an add beats a concurrent remove"),
        ("user", format!("{name}, {city}, {visits} visits"), "map: field by field"),
        ("board", board.join(", "), "sorted set: unseen increments survive"),
        ("expiry", hours, "the longest expiry holds"),
    ])
}

fn print_table(before: &Seen, apart: &[Seen; 3], after: &Seen) {
    let mut table = Table::new();
    table.load_preset(UTF8_BORDERS_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["key", "before", "cut: 1st region", "cut: 2nd region", "cut: 3rd region", "after", "rule"]);
    for (at, (key, value, rule)) in after.iter().enumerate() {
        let apart = apart.iter().map(|seen| seen[at].1.clone());
        let row = [key.to_string(), before[at].1.clone()].into_iter().chain(apart);
        table.add_row(row.chain([value.clone(), (*rule).to_owned()]));
    }
    println!("{table}");
}

fn check(after: &[Seen; 3], one_clock: bool) {
    assert_eq!(after[0], after[1], "the second region shows something else");
    assert_eq!(after[0], after[2], "the third region shows something else");
    let value = |key: &str| after[0].iter().find(|(k, ..)| *k == key).map(|(_, value, _)| value.as_str());
    assert_eq!(value("views"), Some("17"));
    assert_eq!(value("price"), Some("87"));
    assert_eq!(value("note"), Some("final"));
    assert_eq!(value("tags"), Some("hot new sale"));
    assert_eq!(value("user"), Some("Ada L., Boston, 3 visits"));
    assert_eq!(value("board"), Some("bob 50, ada 25"));
    assert_eq!(value("expiry"), Some("1 h"));
    if one_clock {
        assert_eq!(value("banner"), Some("Uridashi"));
    } else {
        // Which one is the latest is for the servers' clocks to say.
        let banners = BTreeSet::from(["Sale", "Soldes", "Uridashi"]);
        assert!(value("banner").is_some_and(|banner| banners.contains(banner)));
    }
}

/// So that the example can run twice on the same servers.
async fn start_clean(client: &Client) -> Result<()> {
    client.counter("quickstart:views").delete().await?;
    client.counter("quickstart:price").delete().await?;
    client.register::<String>("quickstart:banner").delete().await?;
    client.register::<String>("quickstart:note").delete().await?;
    client.set("quickstart:tags").delete().await?;
    client.map::<String>("quickstart:user").delete().await?;
    client.sorted_set("quickstart:board").delete().await?;
    Ok(())
}

/// Three regions, each with an app server's client in it.
struct Islands {
    clients: [Client; 3],
    embedded: Option<Embedded>,
}

impl Islands {
    async fn new(config: Option<Config>) -> Result<Self> {
        let Some(config) = config else { return Self::embedded().await };
        let names: Vec<String> = config.regions.keys().take(3).cloned().collect();
        let [a, b, c] = names.as_slice() else { return Err("the quickstart needs three regions".into()) };
        // Between servers that can reach each other, "cut" means that nobody drives the links.
        let client = |name: &str| Client::builder().config(config.clone()).local_region(name).without_sync().build();
        let islands = Self { clients: [client(a).await?, client(b).await?, client(c).await?], embedded: None };
        islands.settle().await?;
        Ok(islands)
    }

    async fn embedded() -> Result<Self> {
        let (us, eu, ap) = ("us-east-1", "eu-west-1", "ap-northeast-1");
        let millis = Duration::from_millis;
        let embedded = Embedded::builder()
            .region(us)
            .region(eu)
            .region(ap)
            .latency(us, eu, millis(76))
            .latency(us, ap, millis(160))
            .latency(eu, ap, millis(220))
            .build()?;
        let client = |name: &str| Client::builder().embedded(&embedded).local_region(name).build();
        Ok(Self { clients: [client(us).await?, client(eu).await?, client(ap).await?], embedded: Some(embedded) })
    }

    fn cut(&self) -> Result<()> {
        if let Some(embedded) = &self.embedded {
            for client in &self.clients {
                embedded.isolate(client.local_region().as_str())?;
            }
        }
        Ok(())
    }

    fn heal(&self) {
        if let Some(embedded) = &self.embedded {
            embedded.heal();
        }
    }

    async fn settle(&self) -> Result<()> {
        match self.embedded {
            // The links run in the background of each client.
            Some(_) => self.clients[0].wait_converged(PATIENCE).await?,
            None => self.clients[0].sync_until_idle(PATIENCE).await?,
        }
        Ok(())
    }
}
