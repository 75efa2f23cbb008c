//! The routed plane with no server at all: what users' unit tests rely on.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use archipelago::{
    CallOptions, Client, Config, Connection, Embedded, Error, ErrorKind, Event, routing::RoutingConfig,
    sessions::Session, store::embedded::EmbeddedBuilder, testing::poll,
};
use futures_util::StreamExt;
use redis::AsyncCommands;

use crate::world::all_up;

const LAG: Duration = Duration::from_millis(20);

/// `us`, preferred, with a replica in `eu`; and `eu` with a primary of its own.
fn builder() -> EmbeddedBuilder {
    Embedded::builder().region("us").region("eu").replica("us", "eu", LAG)
}

/// As an application's file has it: the addresses are those of production, and nobody asks there.
fn config(routing: &str) -> Config {
    let text = format!(
        "local = \"eu\"\n\
         [regions.us]\nurl = \"redis://us.invalid:6379\"\nweight = 2\n\
         [regions.eu]\nurl = \"redis://eu.invalid:6379\"\n\
         [keyspaces.profiles]\nmode = \"routed\"\n[keyspaces.profiles.routing]\n{routing}\n"
    );
    text.parse().unwrap()
}

async fn client(regions: &Embedded, routing: &str) -> (Client, Connection) {
    let client = Client::builder().embedded(regions).config(config(routing)).build().await.unwrap();
    let connection = client.connection("profiles").unwrap();
    all_up(&connection).await;
    (client, connection)
}

const HOUR: Duration = Duration::from_secs(3600);

fn first(connection: &Connection) -> String {
    connection.explain(redis::cmd("GET").arg("name")).unwrap().nodes[0].name.clone()
}

#[tokio::test]
async fn writes_move_to_the_next_region_with_events_and_back_by_hand() {
    let regions = builder().build().unwrap();
    let (client, mut connection) = client(&regions, "").await;
    let mut events = client.events();
    assert_eq!(client.active_region().unwrap().as_str(), "us");
    let _: () = connection.set("name", "Ada").await.unwrap();
    regions.crash("us").unwrap();
    poll::until("a write", || {
        let mut connection = connection.clone();
        async move { connection.set::<_, _, ()>("name", "Bob").await.ok() }
    })
    .await;
    assert_eq!(client.active_region().unwrap().as_str(), "eu");
    let mut seen = Vec::new();
    while !seen.iter().any(|event| matches!(event, Event::MayLack { .. })) {
        seen.push(tokio::time::timeout(poll::PATIENCE, events.next()).await.unwrap().unwrap());
    }
    let is_down = |event: &Event| matches!(event, Event::NodeDown { node, .. } if &**node == "us/primary");
    assert!(seen.iter().any(is_down), "{seen:?}");
    assert!(seen.iter().any(|event| matches!(event, Event::Switched { .. })), "{seen:?}");
    assert_eq!(client.switch_to("us").unwrap_err().kind(), ErrorKind::Unavailable);
    regions.restart("us").unwrap();
    poll::until("the manual switch", || async { client.switch_to("us").ok() }).await;
    assert_eq!(connection.get::<_, String>("name").await.unwrap(), "Ada", "each region has data of its own");
    client.shut_down().await;
}

#[tokio::test]
async fn reads_go_on_at_the_replica_while_its_region_is_down_or_cut_off() {
    for is_crashed in [true, false] {
        let regions = builder().build().unwrap();
        let (client, mut connection) = client(&regions, "[routed]\nfailover = \"manual\"").await;
        // What the replica lacks when its primary dies, it lacks.
        regions.set_lag("us", "eu", Duration::ZERO).unwrap();
        let _: () = connection.set("name", "Ada").await.unwrap();
        if is_crashed {
            regions.crash("us").unwrap();
        } else {
            regions.isolate("us").unwrap();
        }
        for _ in 0..20 {
            assert_eq!(connection.get::<_, String>("name").await.unwrap(), "Ada", "crashed: {is_crashed}");
        }
        client.shut_down().await;
    }
}

#[tokio::test]
async fn a_write_without_an_answer_may_be_applied_and_says_so() {
    let regions = builder().build().unwrap();
    let (client, connection) = client(&regions, "[routed]\nfailover = \"manual\"").await;
    let mut hasty = connection.with_options(CallOptions::default().deadline(Duration::from_millis(50)));
    for (is_lost_on_the_way_there, n) in [(true, None), (false, Some(1))] {
        if is_lost_on_the_way_there {
            regions.cut("eu", "us").unwrap();
        } else {
            regions.lose_replies("eu", "us").unwrap();
        }
        let error = hasty.incr::<_, _, i64>("n", 1).await.unwrap_err();
        assert_eq!(Error::of(&error).unwrap().kind(), ErrorKind::MaybeApplied, "{error}");
        regions.heal();
        let found = poll::until("an answer", || {
            let mut primary = connection.with_options(CallOptions::default().at_primary());
            async move { primary.get::<_, Option<i64>>("n").await.ok() }
        })
        .await;
        assert_eq!(found, n);
    }
    client.shut_down().await;
}

#[tokio::test]
async fn a_replica_that_falls_behind_is_left_and_returned_to() {
    let regions = builder().build().unwrap();
    let (client, mut connection) = client(&regions, "local_replica = true\nmax_staleness_ms = 1500").await;
    let _: () = connection.set("name", "Ada").await.unwrap();
    poll::until("reads at the replica", || async { first(&connection).contains("replica").then_some(()) }).await;
    regions.set_lag("us", "eu", Duration::from_secs(3600)).unwrap();
    poll::until("reads at the primary", || async { (first(&connection) == "us/primary").then_some(()) }).await;
    let _: () = connection.set("name", "Bob").await.unwrap();
    assert_eq!(connection.get::<_, String>("name").await.unwrap(), "Bob", "the replica does not know Bob");
    regions.set_lag("us", "eu", Duration::ZERO).unwrap();
    poll::until("reads at the replica again", || async { first(&connection).contains("replica").then_some(()) }).await;
    assert_eq!(connection.get::<_, String>("name").await.unwrap(), "Bob");
    client.shut_down().await;
}

#[tokio::test]
async fn a_miss_at_the_replica_is_asked_at_the_primary_where_configured() {
    let regions = builder().build().unwrap();
    regions.set_lag("us", "eu", Duration::from_secs(3600)).unwrap();
    for (fallback, found) in [("[\"miss\"]", Some("Ada")), ("[]", None)] {
        let config = config(&format!("local_replica = true\nfallback_to_primary = {fallback}"));
        let client = Client::builder().embedded(&regions).config(config).build().await.unwrap();
        let mut connection = client.connection("profiles").unwrap();
        poll::until("the replica", || async { first(&connection).contains("replica").then_some(()) }).await;
        let _: () = connection.set("name", "Ada").await.unwrap();
        assert_eq!(connection.get::<_, Option<String>>("name").await.unwrap().as_deref(), found);
        client.shut_down().await;
    }
}

#[tokio::test]
async fn a_manual_clock_moves_expiry_lag_and_staleness() {
    let start: SystemTime = UNIX_EPOCH + Duration::from_secs(1_790_000_000);
    let second = Duration::from_secs(1);
    let regions = builder().latency("us", "eu", second).manual_clock(start).build().unwrap();
    regions.set_lag("us", "eu", second / 2).unwrap();
    let routing = "local_replica = true\nmax_staleness_ms = 5000\nfallback_to_primary = []";
    let config = config(routing);
    let client = Client::builder().embedded(&regions).config(config).build().await.unwrap();
    let mut connection = client.connection("profiles").unwrap();
    // The client's own clock has to reach back to what the replica shows.
    poll::until("reads at the replica", || async { first(&connection).contains("replica").then_some(()) }).await;
    let _: () = connection.set("name", "Ada").await.unwrap();
    let _: () = connection.expire("name", 60).await.unwrap();
    assert_eq!(connection.get::<_, Option<String>>("name").await.unwrap(), None, "no time has passed");
    regions.advance(second / 2);
    assert_eq!(connection.get::<_, Option<String>>("name").await.unwrap().as_deref(), Some("Ada"));
    regions.advance(60 * second);
    assert_eq!(connection.get::<_, Option<String>>("name").await.unwrap(), None, "expired");
    // A primary that cannot reach its replica: ten seconds pass at once, and the replica is behind by them.
    regions.cut("us", "eu").unwrap();
    regions.advance(10 * second);
    poll::until("reads at the primary", || async { (first(&connection) == "us/primary").then_some(()) }).await;
    regions.heal();
    poll::until("reads at the replica", || async { first(&connection).contains("replica").then_some(()) }).await;
    client.shut_down().await;
}

#[tokio::test]
async fn clients_in_every_region_share_the_keys_of_all_routed_keyspaces() {
    let regions = builder().build().unwrap();
    let client = async |local: &str, keyspace: &str| {
        let builder = Client::builder().embedded(&regions).config(config("")).local_region(local);
        builder.routed(keyspace, RoutingConfig::default()).build().await.unwrap()
    };
    let (us, eu) = (client("us", "sessions").await, client("eu", "profiles").await);
    let _: () = us.connection("sessions").unwrap().set("name", "Ada").await.unwrap();
    assert_eq!(eu.connection("profiles").unwrap().get::<_, String>("name").await.unwrap(), "Ada");
    assert!(us.nodes().iter().any(|node| node.is_active && node.name == "us/primary"), "{:?}", us.nodes());
    us.shut_down().await;
    eu.shut_down().await;
}

#[tokio::test]
async fn both_planes_run_on_the_same_regions() {
    let regions = builder().weight("us", 2).build().unwrap();
    let builder = Client::builder().embedded(&regions).local_region("eu");
    let client = builder.routed("profiles", RoutingConfig::default()).build().await.unwrap();
    let _: () = client.connection("profiles").unwrap().set("views", "plain").await.unwrap();
    client.counter("views").add(1).await.unwrap();
    assert_eq!(client.counter("views").get().await.unwrap(), 1);
    assert_eq!(client.connection("profiles").unwrap().get::<_, String>("views").await.unwrap(), "plain");
    client.shut_down().await;
}

#[tokio::test]
async fn what_cannot_start_says_why() {
    let regions = builder().build().unwrap();
    let mistaken = Client::builder().embedded(&regions).local_region("eu");
    let error = mistaken.routed("no spaces", RoutingConfig::default()).build().await.unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("no spaces"), "{error}");
    let error = Embedded::builder().region("us").replica("us", "mars", LAG).build().unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("mars"), "{error}");
    regions.crash("us").unwrap();
    regions.crash("eu").unwrap();
    let builder = || Client::builder().embedded(&regions).config(config(""));
    let error = builder().build().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    regions.restart("eu").unwrap();
    let client = builder().build().await.unwrap();
    let mut connection = client.connection("profiles").unwrap();
    poll::until("a write to the region that is up", || {
        let mut connection = connection.clone();
        async move { connection.set::<_, _, ()>("name", "Ada").await.ok() }
    })
    .await;
    assert_eq!(connection.get::<_, String>("name").await.unwrap(), "Ada");
    client.shut_down().await;
}

#[tokio::test]
async fn transactions_and_pipelines_work_through_the_connection() {
    let regions = builder().build().unwrap();
    let (client, mut connection) = client(&regions, "").await;
    let both: (i64, i64) = redis::pipe().atomic().incr("x", 1).incr("y", 2).query_async(&mut connection).await.unwrap();
    assert_eq!(both, (1, 2));
    let (x, y): (i64, i64) = redis::pipe().get("x").get("y").query_async(&mut connection).await.unwrap();
    assert_eq!((x, y), (1, 2));
    let error = redis::cmd("BITCOUNT").arg("bits").query_async::<i64>(&mut connection).await.unwrap_err();
    assert!(error.to_string().contains("embedded regions lack it"), "{error}");
    client.shut_down().await;
}

/// What a session reads under `name`, and at which kind of node.
async fn read(connection: &Connection) -> (String, &'static str) {
    let served = connection.served(redis::cmd("GET").arg("name")).await.unwrap();
    (redis::from_redis_value(served.value).unwrap(), served.role)
}

#[tokio::test]
async fn a_session_reads_its_own_writes_at_the_replica_as_soon_as_that_has_them() {
    let regions = builder().build().unwrap();
    let (client, connection) = client(&regions, "local_replica = true").await;
    regions.set_lag("us", "eu", HOUR).unwrap();
    let session = Session::new();
    let mut own = connection.with_session(&session);
    let _: () = own.set("name", "Ada").await.unwrap();
    let served = own.served(redis::cmd("GET").arg("name")).await.unwrap();
    assert_eq!((served.node.as_str(), served.stands_in.as_str(), served.role), ("us/primary", "us", "primary"));
    let [attempt] = served.attempts.as_slice() else { panic!("{served:?}") };
    assert!(attempt.node == "us/replica-1@eu" && attempt.what == "it has not all that this session has seen");
    regions.advance(HOUR);
    assert_eq!(read(&own).await, ("Ada".to_owned(), "replica"));

    let (name,): (String,) =
        redis::pipe().atomic().set("name", "Bob").ignore().get("name").query_async(&mut own).await.unwrap();
    assert_eq!(name, "Bob");
    let next = connection.with_session(&Session::from_token(&session.token()).unwrap());
    assert_eq!(read(&connection).await, ("Ada".to_owned(), "replica"), "who has no session");
    assert_eq!(read(&next).await, ("Bob".to_owned(), "primary"), "the next process");
    regions.advance(HOUR);
    assert_eq!(read(&next).await, ("Bob".to_owned(), "replica"));
    client.shut_down().await;
}

#[tokio::test]
async fn a_session_hears_when_a_region_lost_what_it_wrote() {
    let regions = builder().build().unwrap();
    let (client, connection) = client(&regions, "local_replica = true").await;
    regions.set_lag("us", "eu", HOUR).unwrap();
    let mut events = client.events();
    let mut own = connection.with_session(&Session::new());
    let backup = regions.backup("us").unwrap();
    let _: () = own.set("name", "Ada").await.unwrap();
    regions.restore("us", &backup).unwrap();
    all_up(&connection).await;
    let found: Option<String> = own.get("name").await.unwrap();
    assert_eq!(found, None, "it is gone");
    let said = async {
        loop {
            if let Event::HistoryLost { region } = events.next().await.unwrap() {
                return region;
            }
        }
    };
    assert_eq!(tokio::time::timeout(poll::PATIENCE, said).await.unwrap().as_str(), "us");
    client.shut_down().await;
}

#[tokio::test]
async fn only_what_one_node_answers_is_told_by_whom() {
    let regions = builder().build().unwrap();
    let (client, connection) = client(&regions, "").await;
    for cmd in ["SCAN 0", "HSCAN h 0", "SCRIPT FLUSH", "BLPOP q 1", "WATCH k"] {
        let words: Vec<_> = cmd.split(' ').collect();
        let error = connection.served(redis::cmd(words[0]).arg(&words[1..])).await.unwrap_err();
        assert_eq!(Error::of(&error).unwrap().kind(), ErrorKind::Refused, "{cmd}: {error}");
    }
    client.shut_down().await;
}
