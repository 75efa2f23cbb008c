//! The feed's handle, and readers that outlive processes and servers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::time::Duration;

use archipelago::sessions::{Guarantee, Session};
use archipelago::testing::{
    poll,
    servers::{Options, Program, Server},
};
use archipelago::{
    Arrived, Client, Embedded, ErrorKind, Feed, FeedCursor, MessagePack,
    engine::{EntryId, Kind},
    exec::split_line,
};
use archipelago_tests::world::{self, Ground, World, settle};
use futures_util::StreamExt;
use tokio::sync::Mutex;

const GROUNDS: [Ground; 2] = [Ground::Embedded, Ground::Servers(Program::Redis)];

/// Who said what.
type Said = (String, String);

fn said(text: &str) -> Said {
    ("ada".to_owned(), text.to_owned())
}

async fn world(ground: Ground) -> World {
    World::with(ground, Options::default(), world::settings()).await.unwrap()
}

fn values<T: Clone>(arrived: &Arrived<T>) -> Vec<T> {
    arrived.entries.iter().map(|entry| entry.value.clone()).collect()
}

#[tokio::test]
async fn a_feed_is_capped_paged_and_trimmed() {
    for ground in GROUNDS {
        let world = world(ground).await;
        let client = world.idle_client(0).await;
        let room = client.feed::<Said>("room").with_codec::<MessagePack>().keep_newest(3);
        let ids = room.append_all(&["a", "b", "c", "d", "e"].map(said)).await.unwrap();
        assert!(ids.is_sorted() && ids.len() == 5);
        assert_eq!(room.len().await.unwrap(), 3, "the cap holds behind the last");
        let texts = |entries: Vec<archipelago::FeedEntry<Said>>| -> Vec<String> {
            entries.into_iter().map(|entry| entry.value.1).collect()
        };
        assert_eq!(texts(room.newest(2).await.unwrap()), ["e", "d"]);
        assert_eq!(texts(room.range(ids[2]..ids[4], 10).await.unwrap()), ["c", "d"]);
        assert_eq!(texts(room.range(ids[2]..=ids[4], 2).await.unwrap()), ["c", "d"]);
        assert_eq!(texts(room.range_back(..ids[4], 1).await.unwrap()), ["d"]);
        assert_eq!(texts(room.range(ids[4]..ids[2], 10).await.unwrap()), Vec::<String>::new());
        let entry = room.newest(1).await.unwrap().remove(0);
        assert_eq!(texts(room.range(EntryId::from(entry.at()).., 10).await.unwrap()).last().unwrap(), "e");
        assert_eq!(room.remove([ids[4], ids[0]]).await.unwrap(), 1);
        let aged = client.feed::<Said>("room").with_codec::<MessagePack>().keep_for(Duration::from_secs(3600));
        aged.append(&said("f")).await.unwrap();
        assert_eq!(texts(aged.newest(9).await.unwrap()), ["f", "d", "c"]);
        assert_eq!(aged.trim(archipelago::engine::Keep::Newest(1)).await.unwrap(), 2);
        assert!(aged.delete().await.unwrap() && aged.is_empty().await.unwrap());
        assert_eq!(aged.append_all::<Said>(&[]).await.unwrap(), []);
        client.shut_down().await;
    }
}

#[tokio::test]
async fn a_cursor_goes_on_in_the_next_process_and_nothing_that_comes_late_is_missed() {
    for ground in GROUNDS {
        let world = world(ground).await;
        let clients = world.idle_clients().await;
        let text = {
            let reader = world.idle_client(0).await;
            let room = reader.feed::<String>("room");
            clients[1].feed::<String>("room").append("earlier, elsewhere").await.unwrap();
            room.append("here").await.unwrap();
            let read = room.arrived(&FeedCursor::start(), 10).await.unwrap();
            assert_eq!((values(&read), read.restarted), (vec!["here".to_owned()], false));
            reader.shut_down().await;
            serde_json::to_string(&read.cursor).unwrap()
        };
        settle(&clients[0]).await;
        let cursor: FeedCursor = serde_json::from_str(&text).unwrap();
        let read = clients[0].feed::<String>("room").arrived(&cursor, 10).await.unwrap();
        assert_eq!((values(&read), read.restarted), (vec!["earlier, elsewhere".to_owned()], false));
        let there = clients[1].feed::<String>("room").arrived(&cursor, 10).await.unwrap();
        assert_eq!((there.entries.len(), there.restarted), (2, true), "another region's cursor");
        clients[0].feed::<String>("other").append("x").await.unwrap();
        let other = clients[0].feed::<String>("other").arrived(&cursor, 10).await.unwrap();
        assert_eq!((other.entries.len(), other.restarted), (1, true), "another feed's cursor");
    }
}

/// A server that lost everything counts anew: a number of before the loss would skip what has one below it.
#[tokio::test]
async fn a_region_that_lost_its_state_starts_over_and_says_so() {
    let world = world(Ground::Servers(Program::Redis)).await;
    let clients = world.idle_clients().await;
    let room: Feed<String> = clients[0].feed("room");
    room.append_all(&["a", "b", "c"]).await.unwrap();
    settle(&clients[0]).await;
    let read = room.arrived(&FeedCursor::start(), 10).await.unwrap();
    let _: () = world.servers[0].run(&redis::cmd("FLUSHALL")).await.unwrap();
    room.append("d").await.unwrap();
    let over = room.arrived(&read.cursor, 10).await.unwrap();
    assert_eq!((values(&over), over.restarted), (vec!["d".to_owned()], true));
    settle(&clients[0]).await;
    let back = room.arrived(&over.cursor, 10).await.unwrap();
    assert_eq!((back.entries.len(), back.restarted), (3, false), "what the others had comes back");
}

/// An embedded region and a server that come back with all they had: declared, a reader goes on; else it starts over.
#[tokio::test]
async fn a_restart_that_lost_nothing_is_none_to_a_reader_where_that_is_declared() {
    for is_lossless in [true, false] {
        let regions = Embedded::builder().region("eu").build().unwrap();
        regions.set_lossless_restart("eu", is_lossless).unwrap();
        let client = Client::builder().embedded(&regions).local_region("eu").build().await.unwrap();
        reads_on(&client, is_lossless, async || {
            regions.crash("eu").unwrap();
            regions.restart("eu").unwrap();
        })
        .await;

        let server = Mutex::new(Server::redis(Options::durable()).await.unwrap());
        let url = server.lock().await.url();
        let text = format!("[regions.eu]\nurl = \"{url}\"\nlossless_restart = {is_lossless}\n");
        let config = format!("{text}[keyspaces.default]\nmode = \"active-active\"\n");
        let client = Client::builder().config(config.parse().unwrap()).local_region("eu").build().await.unwrap();
        reads_on(&client, is_lossless, async || {
            let mut server = server.lock().await;
            server.kill();
            server.restart().await.unwrap();
        })
        .await;
    }
}

async fn reads_on(client: &Client, is_lossless: bool, restart: impl AsyncFn()) {
    let room = client.feed::<String>("room");
    room.append_all(&["a", "b"]).await.unwrap();
    let cursor = room.arrived(&FeedCursor::start(), 10).await.unwrap().cursor;
    for _ in 0..2 {
        restart().await;
        poll::until("the region answers", || async { room.len().await.ok() }).await;
    }
    poll::until("the append is taken", || async { room.append("c").await.ok() }).await;
    let read = room.arrived(&cursor, 10).await.unwrap();
    let expected = if is_lossless { vec!["c"] } else { vec!["a", "b", "c"] };
    assert_eq!((values(&read), read.restarted), (expected.into_iter().map(str::to_owned).collect(), !is_lossless));
    client.shut_down().await;
}

/// A page that one entry spoils says which, and what to do; a consumer goes on behind it.
#[tokio::test]
async fn an_entry_that_cannot_be_read_is_named() {
    for ground in GROUNDS {
        let world = world(ground).await;
        let client = world.idle_client(0).await;
        let room = client.feed::<String>("room");
        room.append("a").await.unwrap();
        let bad = client.feed::<u8>("room").append_all(&[7, 8]).await.unwrap();
        room.append("b").await.unwrap();
        for done in [room.newest(9).await, room.range(.., 9).await, room.range_back(.., 9).await] {
            let error = done.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Serialization, "{error}");
            let (first, text) = (bad.iter().find(|id| error.message().contains(&id.to_string())), error.to_string());
            assert!(first.is_some() && text.contains("feed \"room\""), "{ground:?}: {text}");
            assert!(text.contains("1 more") && text.contains("`arrived`") && text.contains("`remove`"), "{text}");
        }
        let arrived = room.arrived(&FeedCursor::start(), 9).await.unwrap();
        assert_eq!((values(&arrived).len(), arrived.unreadable), (2, bad.clone()));
        // As the error says.
        assert_eq!(room.remove(bad).await.unwrap(), 2);
        assert_eq!(room.newest(9).await.unwrap().len(), 2);
        client.shut_down().await;
    }
}

/// What somebody else wrote among the entries, past this library, holds up whoever reads it: it says what, and where.
#[tokio::test]
async fn a_member_of_a_view_that_is_no_entry_is_named() {
    let world = world(Ground::Servers(Program::Redis)).await;
    let client = world.idle_client(0).await;
    let (log, room) = (client.stream("log"), client.feed::<String>("room"));
    log.append([("a", "b")]).await.unwrap();
    room.append("a").await.unwrap();
    let physical = |kind, name: &str| {
        let partition = archipelago::partition_of(name.as_bytes(), 2);
        let key = archipelago::engine::Key::new(kind, name.to_owned());
        archipelago::PhysicalKeys::new("default", partition).view(&key)
    };
    let interpreter = client.keyspace("default").unwrap().interpreter();
    for (kind, name) in [(Kind::Stream, "log"), (Kind::Feed, "room")] {
        let mut zadd = redis::cmd("ZADD");
        zadd.arg(physical(kind, name)).arg(0).arg(&b"by hand\xff"[..]);
        let _: () = world.servers[0].run(&zadd).await.unwrap();
        let error =
            if kind == Kind::Stream { log.newest(9).await.unwrap_err() } else { room.newest(9).await.unwrap_err() };
        let text = error.to_string();
        let expected = format!(r#"{kind} "{name}": "by hand\xff" has no id"#);
        assert!(error.kind() == ErrorKind::Serialization && text.contains(&expected), "{text}");
        let command = if kind == Kind::Stream { "XRANGE log - +" } else { "FEED.RANGE room - +" };
        let reply = interpreter.execute(&split_line(command).unwrap()).await.to_line();
        assert!(reply.starts_with("(error) ERR") && reply.contains(&expected), "{reply}");
    }
    client.shut_down().await;
}

/// Somebody else's value where the region keeps the order of arrival: whoever reads or appends is told the physical key.
#[tokio::test]
async fn a_damaged_order_of_arrival_is_named_and_nothing_is_done() {
    let world = world(Ground::Servers(Program::Redis)).await;
    let client = world.idle_client(0).await;
    let room = client.feed::<String>("room");
    room.append("a").await.unwrap();
    let arrivals = arrivals("room");
    let run = async |cmd: &mut redis::Cmd| -> redis::Value { world.servers[0].run(cmd).await.unwrap() };
    run(redis::cmd("SET").arg(&arrivals).arg("by hand")).await;
    let mut news = room.follow(FeedCursor::start());
    let followed = tokio::time::timeout(poll::PATIENCE, news.next()).await.expect("no endless look").unwrap();
    let appended = room.append("b").await.map(|_| ());
    let interpreter = client.keyspace("default").unwrap().interpreter();
    for done in [room.arrived(&FeedCursor::start(), 9).await.map(drop), followed.map(drop), appended] {
        let error = done.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
        assert!(error.message().contains(&arrivals) && error.message().contains("nothing was done"), "{error}");
    }
    assert!(news.next().await.is_none(), "behind an error it ends");
    for command in ["FEED.ARRIVED room 0", "FEED.APPEND room b"] {
        let reply = interpreter.execute(&split_line(command).unwrap()).await.to_line();
        assert!(reply.starts_with("(error) ERR") && reply.contains(&arrivals), "{reply}");
    }
    assert_eq!(room.len().await.unwrap(), 1, "nothing was appended");
    // As the error says.
    run(redis::cmd("DEL").arg(&arrivals)).await;
    room.append("b").await.unwrap();
    assert_eq!(room.newest(9).await.unwrap().len(), 2);
    client.shut_down().await;
}

/// Without the region's record of the order no cursor comes to what is there: a reader is told how many are passed over.
#[tokio::test]
async fn entries_without_an_order_of_arrival_are_counted() {
    let world = world(Ground::Servers(Program::Redis)).await;
    let client = world.idle_client(0).await;
    let room = client.feed::<String>("room");
    room.append_all(&["a", "b"]).await.unwrap();
    let cursor = room.arrived(&FeedCursor::start(), 9).await.unwrap();
    assert_eq!(cursor.unordered, 0);
    room.append("c").await.unwrap();
    let _: () = world.servers[0].run(redis::cmd("DEL").arg(arrivals("room"))).await.unwrap();
    let lost = room.arrived(&cursor.cursor, 9).await.unwrap();
    assert_eq!((values(&lost), lost.unordered), (Vec::<String>::new(), 3));
    let interpreter = client.keyspace("default").unwrap().interpreter();
    let reply = interpreter.execute(&split_line("FEED.ARRIVED room 0").unwrap()).await.to_line();
    assert!(reply.ends_with("4) (integer) 3"), "{reply}");
    // Once, and again when it changes.
    let mut news = room.follow(cursor.cursor);
    let batch = news.next().await.unwrap().unwrap();
    assert_eq!((batch.entries.len(), batch.unordered), (0, 3));
    room.append("d").await.unwrap();
    let batch = news.next().await.unwrap().unwrap();
    assert_eq!((values(&batch), batch.unordered), (vec!["d".to_owned()], 3));
    let idle = tokio::time::timeout(Duration::from_millis(50), news.next()).await;
    assert!(idle.is_err(), "told already: {idle:?}");
    assert_eq!(room.newest(9).await.unwrap().len(), 4, "by id they are there");
    room.trim(archipelago::engine::Keep::Newest(1)).await.unwrap();
    assert_eq!(room.arrived(&FeedCursor::start(), 9).await.unwrap().unordered, 0);
    client.shut_down().await;
}

fn arrivals(feed: &str) -> String {
    let partition = archipelago::partition_of(feed.as_bytes(), world::settings().partitions);
    String::from_utf8(archipelago::PhysicalKeys::new("default", partition).arrivals(feed.as_bytes())).unwrap()
}

/// The same of a view: the server's own words name no key.
#[tokio::test]
async fn a_damaged_view_is_named() {
    let world = world(Ground::Servers(Program::Redis)).await;
    let client = world.idle_client(0).await;
    let partition = archipelago::partition_of(b"tags", world::settings().partitions);
    let view = format!("{{default:{partition}}}:set:tags");
    let _: () = world.servers[0].run(redis::cmd("SET").arg(&view).arg("by hand")).await.unwrap();
    let read = client.set("tags").members().await.unwrap_err();
    assert!(read.kind() == ErrorKind::Refused && read.message().contains(&view), "{read}");
    // A write shows the cells anew, or names what keeps it from that.
    match client.set("tags").add("x").await {
        Ok(_) => assert!(client.set("tags").contains("x").await.unwrap()),
        Err(error) => assert!(error.message().contains(&view), "{error}"),
    }
    client.shut_down().await;
}

#[tokio::test]
async fn a_session_reads_its_own_entries_in_the_next_region() {
    for ground in GROUNDS {
        let world = world(ground).await;
        let clients = [world.client(0).await, world.client(1).await];
        let session = Session::builder().guarantee(Guarantee::MonotonicReads).build();
        clients[0].with_session(&session).feed::<String>("room").append("mine").await.unwrap();
        let session = Session::from_token(&session.token()).unwrap();
        let room = clients[1].with_session(&session).feed::<String>("room");
        assert_eq!(values(&room.arrived(&FeedCursor::start(), 10).await.unwrap()), ["mine"]);
        for client in &clients {
            client.shut_down().await;
        }
    }
}

#[tokio::test]
async fn a_stream_gives_what_comes_and_ends_with_the_client() {
    for ground in GROUNDS {
        let world = world(ground).await;
        let client = world.idle_client(0).await;
        let room = client.feed::<String>("room");
        room.append("before").await.unwrap();
        let mut news = room.follow(room.cursor_now().await.unwrap());
        let idle = tokio::time::timeout(Duration::from_millis(50), news.next()).await;
        assert!(idle.is_err(), "nothing has come: {idle:?}");
        room.append_all(&["a", "b"]).await.unwrap();
        client.register::<u8>("unrelated").set(&1).await.unwrap();
        let (mut found, mut cursor) = (Vec::new(), FeedCursor::start());
        while found.len() < 2 {
            let batch = news.next().await.unwrap().unwrap();
            found.extend(values(&batch));
            cursor = batch.cursor;
        }
        assert_eq!(found, ["a", "b"]);
        // What is no text does not hold up what follows.
        client.feed::<u8>("room").append(&7).await.unwrap();
        room.append("c").await.unwrap();
        let (mut unreadable, mut found) = (0, Vec::new());
        while found.is_empty() {
            let batch = news.next().await.unwrap().unwrap();
            unreadable += batch.unreadable.len();
            found.extend(values(&batch));
        }
        assert_eq!((unreadable, found), (1, vec!["c".to_owned()]));
        // Another one begins where the first was.
        let again = room.follow(cursor).next().await.unwrap().unwrap();
        assert_eq!(again.unreadable.len() + again.entries.len(), 2);
        let wait = tokio::spawn(async move { news.next().await.map(drop) });
        client.shut_down().await;
        assert_eq!(wait.await.unwrap(), None, "the stream ends");
    }
}
