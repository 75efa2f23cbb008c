//! Routed keyspaces: reads at a local replica, a bound on how old they may be, a region that dies, a switch by hand.
//!
//! `cargo run --release --example routing` needs no server: the regions are embedded, at a real-looking distance. With
//! `-- --config FILE` the same runs on the configured servers, but for what needs a hand on them: the file's local region
//! needs a replica of the region that writes. It uses keys that begin with `routing:`.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use archipelago::{
    CallOptions, Client, Config, Connection, Embedded,
    routing::{FallbackToPrimary, LocalReplica, RegionalPrimary, RoutingConfig, Trigger},
};
use archipelago_examples::{Result, ended};
use futures_util::{FutureExt, StreamExt};
use redis::AsyncCommands;

const EU: &str = "eu-west-1";
const US: &str = "us-east-1";
const ROUND_TRIP: Duration = Duration::from_millis(76);
const LAG: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> ExitCode {
    ended(async { run(config()?).await }.await)
}

fn config() -> Result<Option<Config>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => Ok(None),
        ["--config", file] => Ok(Some(Config::from_file(file)?)),
        _ => Err("usage: routing [--config FILE]".into()),
    }
}

/// On embedded regions, or on those of a file.
pub async fn run(config: Option<Config>) -> Result<()> {
    let (client, embedded) = start(config).await?;
    let profiles = client.connection("profiles")?;
    let writer = client.active_region().ok_or("no region writes")?.to_string();
    println!("Writes go to {writer}. This app server is in {}, beside a replica.\n", client.local_region());

    let (near, far) = compare_distances(&profiles).await?;
    read_what_was_just_written(profiles.clone(), embedded.is_some()).await?;
    if let Some(regions) = &embedded {
        assert!(near < far && far >= ROUND_TRIP);
        bound_staleness(&profiles, regions).await?;
        lose_the_writer(&client, &profiles, regions).await?;
    } else {
        println!("Servers are not killed from here: do, while `archipelago regions --watch` runs.\n");
    }
    switch_by_hand(&client, profiles, &writer).await?;
    client.shut_down().await;
    Ok(())
}

/// What a read costs near and far, and why it goes where it goes.
async fn compare_distances(profiles: &Connection) -> Result<(Duration, Duration)> {
    let _: () = profiles.clone().set("routing:ada", "Ada").await?;
    let at_primary = profiles.with_options(CallOptions::default().at_primary());
    wait_for("the replica", || Ok(goes_to(profiles)?.contains("replica"))).await?;
    let (near, far) = (time_of_a_read(profiles).await?, time_of_a_read(&at_primary).await?);
    println!("A read takes {near:.1?} at the replica, {far:.1?} at the primary. Where it goes, and why:\n");
    println!("{}\n", profiles.explain(redis::cmd("GET").arg("routing:ada"))?);
    Ok((near, far))
}

/// The policy says what a miss at the replica means, and can be replaced while calls run.
async fn read_what_was_just_written(mut profiles: Connection, is_surely_behind: bool) -> Result<()> {
    profiles.set_policy(LocalReplica::new(RegionalPrimary));
    let _: () = profiles.set("routing:bob", "Bob").await?;
    let found: Option<String> = profiles.get("routing:bob").await?;
    println!("Just written, the replica answers {found:?}.");
    assert!(found.is_none() || !is_surely_behind);

    profiles.set_policy(FallbackToPrimary::new(LocalReplica::new(RegionalPrimary), [Trigger::Miss, Trigger::Error]));
    let _: () = profiles.set("routing:cid", "Cid").await?;
    let found: Option<String> = profiles.get("routing:cid").await?;
    println!("Under a policy that asks the primary after a miss, the answer is {found:?}.\n");
    assert_eq!(found.as_deref(), Some("Cid"));
    let _: () = profiles.del(&["routing:bob", "routing:cid"]).await?;
    Ok(())
}

/// Reads leave a replica that is too far behind, and return to it.
async fn bound_staleness(profiles: &Connection, regions: &Embedded) -> Result<()> {
    let bounded = profiles.with_options(CallOptions::default().max_staleness(Duration::from_millis(500)));
    wait_for("reads at the replica", || Ok(goes_to(&bounded)?.contains("replica"))).await?;
    regions.set_lag(EU, US, Duration::from_secs(3600))?;
    wait_for("reads at the primary", || Ok(goes_to(&bounded)?.contains("primary"))).await?;
    println!("The replica falls behind, and reads that allow 500 ms leave it:\n");
    println!("{}\n", bounded.explain(redis::cmd("GET").arg("routing:ada"))?);
    regions.set_lag(EU, US, LAG)?;
    wait_for("reads at the replica", || Ok(goes_to(&bounded)?.contains("replica"))).await
}

/// The region that writes dies under traffic: reads go on, and writes once another region took over.
async fn lose_the_writer(client: &Client, profiles: &Connection, regions: &Embedded) -> Result<()> {
    let mut reader = profiles.clone();
    let mut events = client.events();
    println!("{EU} dies under traffic.");
    regions.crash(EU)?;
    let (began, mut reads) = (Instant::now(), 0);
    let writing = write_until_taken(profiles.clone());
    tokio::pin!(writing);
    let refused = loop {
        tokio::select! {
            refused = &mut writing => break refused?,
            () = tokio::time::sleep(Duration::from_millis(1)) => {}
        }
        // No error is allowed for here.
        let _: Option<String> = reader.get("routing:ada").await?;
        reads += 1;
    };
    let took = began.elapsed();
    while let Some(Some(event)) = events.next().now_or_never() {
        println!("  event: {event}");
    }
    println!("{reads} reads, none failed. {refused} writes were refused, until {US} took them after {took:.1?}.");
    assert_eq!(client.active_region().as_ref().map(|region| region.as_str()), Some(US));
    let lacked: Option<String> = reader.get("routing:ada").await?;
    println!("Its data are its own. What {EU} had is not there: {lacked:?}\n");
    assert_eq!(lacked, None);
    regions.restart(EU)?;
    Ok(())
}

/// How many writes were refused before one was taken.
async fn write_until_taken(mut profiles: Connection) -> Result<u32> {
    let (began, mut refused) = (Instant::now(), 0);
    while let Err(error) = profiles.set::<_, _, ()>("routing:dan", "Dan").await {
        refused += 1;
        if began.elapsed() > PATIENCE {
            return Err(error.into());
        }
    }
    let _: () = profiles.del("routing:dan").await?;
    Ok(refused)
}

/// An operator moves the writer back, or away and back.
async fn switch_by_hand(client: &Client, mut profiles: Connection, writer: &str) -> Result<()> {
    wait_for("a healthy writer", || Ok(client.switch_to(writer).is_ok())).await?;
    let name: Option<String> = profiles.get("routing:ada").await?;
    println!("Switched by hand: {writer} writes, and has {name:?}.");
    assert_eq!(name.as_deref(), Some("Ada"));
    client.release()?;
    let _: () = profiles.del("routing:ada").await?;
    Ok(())
}

/// Where a read would go first at this moment.
fn goes_to(profiles: &Connection) -> Result<String> {
    let explanation = profiles.explain(redis::cmd("GET").arg("routing:ada"))?;
    Ok(explanation.nodes.first().map(|node| node.name.clone()).unwrap_or_default())
}

async fn time_of_a_read(profiles: &Connection) -> Result<Duration> {
    const READS: u32 = 5;
    let mut profiles = profiles.clone();
    let began = Instant::now();
    for _ in 0..READS {
        let _: Option<String> = profiles.get("routing:ada").await?;
    }
    Ok(began.elapsed() / READS)
}

async fn wait_for(what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let began = Instant::now();
    while !is_so()? {
        if began.elapsed() > PATIENCE {
            return Err(format!("{what}: not within {PATIENCE:?}").into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// A client in a region beside a replica; with embedded regions unless a configuration names servers.
async fn start(config: Option<Config>) -> Result<(Client, Option<Embedded>)> {
    let routing = RoutingConfig { local_replica: true, ..RoutingConfig::default() };
    if let Some(mut config) = config {
        config.keyspaces.clear(); // but for the one of this example
        return Ok((Client::builder().config(config).routed("profiles", routing).build().await?, None));
    }
    let regions = Embedded::builder().region(EU).weight(EU, 2).region(US).replica(EU, US, LAG);
    let regions = regions.latency(EU, US, ROUND_TRIP).build()?;
    let builder = Client::builder().embedded(&regions).local_region(US).without_sync();
    Ok((builder.routed("profiles", routing).build().await?, Some(regions)))
}
