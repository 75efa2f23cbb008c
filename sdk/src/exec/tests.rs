use std::time::{Duration, UNIX_EPOCH};

use archipelago_engine::{Key, Kind, Mutation, RegionId};

use super::*;
use crate::{Embedded, store::Write};

const EU: &str = "eu-west-1";

fn world() -> Embedded {
    let start = UNIX_EPOCH + Duration::from_secs(1_790_000_000);
    Embedded::builder().region(EU).region("us-east-1").region("ap-south-1").manual_clock(start).build().unwrap()
}

fn store(world: &Embedded, region: &str) -> Arc<dyn Store> {
    let region: RegionId = region.parse().unwrap();
    world.store(&region, &region, "default").unwrap()
}

fn interpreter(world: &Embedded) -> Interpreter {
    Interpreter::new(store(world, EU))
}

async fn line(interpreter: &Interpreter, line: &str) -> String {
    interpreter.execute(&split_line(line).unwrap()).await.to_line()
}

#[tokio::test]
async fn every_reply_of_the_transcript_is_the_one_redis_gives() {
    let interpreter = interpreter(&world());
    let mut lines = include_str!("testdata/redis-7.txt").lines();
    let mut commands = 0;
    while let Some(command) = lines.next() {
        if let Some(command) = command.strip_prefix("> ") {
            assert_eq!(line(&interpreter, command).await, lines.next().unwrap(), "{command}");
            commands += 1;
        }
    }
    assert!(commands > 200, "only {commands} commands");
}

#[tokio::test]
async fn types_that_redis_has_not_go_by_words_of_their_own() {
    let interpreter = interpreter(&world());
    for (command, reply) in [
        ("first.set f ada", "(integer) 1"),
        ("FIRST.SET f bob", "(integer) 0"),
        ("first.get f", "\"ada\""),
        ("type f", "first"),
        ("get f", "(error) WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("max.set f 1", "(error) WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("del f", "(integer) 1"),
        ("first.get f", "(nil)"),
        ("max.set m 7", "(integer) 1"),
        ("max.set m 3", "(integer) 0"),
        ("max.get m", "\"7\""),
        ("min.set n 1e400", "(error) ERR value is not a valid float"),
        ("min.set n -0.5", "(integer) 1"),
        ("min.get n", "\"-0.5\""),
        ("ewflag.get e", "(nil)"),
        ("ewflag.set e ON", "OK"),
        ("ewflag.get e", "\"1\""),
        ("ewflag.set e off", "OK"),
        ("ewflag.get e", "\"0\""),
        ("ewflag.set e 1", "OK"),
        ("dwflag.set d off", "OK"),
        ("dwflag.get d", "\"0\""),
        ("dwflag.set d maybe", "(error) ERR a flag is on or off"),
        ("siblings.set s x", "OK"),
        ("siblings.get s", "1) \"x\""),
        ("siblings.get none", "(empty array)"),
        ("bestmax.add b 100 ada 50 bob", "(integer) 2"),
        ("bestmax.add b 90 ada 60 bob", "(integer) 1"),
        ("bestmax.add b 90", "(error) ERR wrong number of arguments for 'bestmax.add' command"),
        ("bestmax.add b x ada", "(error) ERR value is not a valid float"),
        ("bestmax.top b 10", "1) \"ada\" 2) \"100\" 3) \"bob\" 4) \"60\""),
        ("bestmax.top b 0", "(error) ERR value is out of range, must be positive"),
        ("bestmax.rank b bob", "(integer) 1"),
        ("bestmax.rem b ada", "(integer) 1"),
        ("bestmax.score b ada", "(nil)"),
        ("bestmax.card b", "(integer) 1"),
        ("bestmin.add t 61.5 ada 59 bob", "(integer) 2"),
        ("bestmin.top t 1", "1) \"bob\" 2) \"59\""),
        ("type t", "best-min"),
        ("expire t 100", "(integer) 1"),
        ("ttl t", "(integer) 100"),
        ("persist t", "(integer) 1"),
        ("exists t b m", "(integer) 3"),
    ] {
        assert_eq!(line(&interpreter, command).await, reply, "{command}");
    }
}

#[tokio::test]
async fn what_differs_from_redis_says_so() {
    let interpreter = interpreter(&world());
    for (command, reply) in [
        ("zadd z INCR 1 a", "(error) ERR INCR is not supported by ZADD here, use ZINCRBY"),
        ("zrange z - + BYLEX", "(error) ERR BYLEX is not supported, use BYSCORE or ranks"),
        ("expire k 10 NX", "(error) ERR NX, XX, GT and LT are not supported by the EXPIRE commands here"),
        ("set k v EX 9007199255", "(error) ERR invalid expire time in 'set' command"),
        ("expireat k 9007199255", "(error) ERR invalid expire time in 'expireat' command"),
        ("incrby k 9007199254740993", "(error) ERR increment or decrement would overflow"),
        ("zadd z 0.1 a 1e21 b", "(integer) 2"),
        ("zrange z 0 -1 WITHSCORES", r#"1) "a" 2) "0.1" 3) "b" 4) "1000000000000000000000""#),
        ("zadd z 0x10 c", "(error) ERR value is not a valid float"),
    ] {
        assert_eq!(line(&interpreter, command).await, reply, "{command}");
    }
}

#[tokio::test]
async fn limits_are_refused_and_change_nothing() {
    let interpreter = interpreter(&world());
    assert_eq!(interpreter.execute(&[]).await.to_line(), "(error) ERR empty command");
    let many = vec![Bytes::from_static(b"exists"); MAX_WORDS + 1];
    assert!(interpreter.execute(&many).await.to_line().contains("too many arguments"));
    let name = "n".repeat(1025);
    assert!(line(&interpreter, &format!("set {name} v")).await.contains("exceeds the limit"));
    let members = "m ".repeat(10_001);
    assert!(line(&interpreter, &format!("sadd s {members}")).await.contains("exceeds the limit"));
    assert_eq!(line(&interpreter, "exists s").await, "(integer) 0");
    let odd = [Bytes::from_static(b"\xff\0\r\n"), Bytes::from_static(b"a\nb\0c")];
    assert_eq!(
        interpreter.execute(&odd).await,
        ExecReply::Error("ERR unknown command '\u{fffd}', with args beginning with: 'a b' ".into())
    );
}

#[tokio::test]
async fn two_types_under_one_name_are_both_readable_until_one_is_chosen() {
    let world = world();
    let interpreter = interpreter(&world);
    // What two regions may do at the same time, a typed handle can do in one.
    let write = |kind, mutation| Write { key: Key::new(kind, "k"), mutation, exclusive: false };
    let two = [
        write(Kind::Set, Mutation::assign([("m".into(), Bytes::new())])),
        write(Kind::Hash, Mutation::assign([("f".into(), "v".into())])),
    ];
    for chosen in ["del k", "set k v"] {
        store(&world, EU).write_all(&two).await;
        for (command, reply) in [
            ("type k", "set"),
            ("exists k", "(integer) 1"),
            ("smembers k", "1) \"m\""),
            ("hget k f", "\"v\""),
            ("get k", "(error) WRONGTYPE Operation against a key holding the wrong kind of value"),
            ("sadd k n", "(error) WRONGTYPE Operation against a key holding the wrong kind of value"),
            ("expire k 100", "(integer) 1"),
            ("ttl k", "(integer) 100"),
        ] {
            assert_eq!(line(&interpreter, command).await, reply, "{command}");
        }
        line(&interpreter, chosen).await;
        assert_eq!(line(&interpreter, "scard k").await.contains("WRONGTYPE"), chosen.starts_with("set"));
    }
    assert_eq!(line(&interpreter, "get k").await, "\"v\"");
    assert_eq!(line(&interpreter, "ttl k").await, "(integer) -1");
    assert_eq!(line(&interpreter, "del k").await, "(integer) 1");
    assert_eq!(line(&interpreter, "exists k").await, "(integer) 0");
}

#[tokio::test]
async fn time_passes_by_the_regions_clock() {
    let world = world();
    let interpreter = interpreter(&world);
    line(&interpreter, "set k v PX 1500").await;
    line(&interpreter, "sadd s m").await;
    line(&interpreter, "expire s 1").await;
    assert_eq!(line(&interpreter, "ttl k").await, "(integer) 2", "rounded as Redis does");
    world.advance(Duration::from_millis(1000));
    assert_eq!(line(&interpreter, "exists k s").await, "(integer) 1");
    assert_eq!(line(&interpreter, "set s now-a-string").await, "OK");
    assert_eq!(line(&interpreter, "pttl k").await, "(integer) 500");
    world.advance(Duration::from_millis(500));
    assert_eq!(line(&interpreter, "get k").await, "(nil)");
    assert_eq!(line(&interpreter, "incr k").await, "(integer) 1");
    assert_eq!(line(&interpreter, "ttl k").await, "(integer) -1", "the old expiry went with the old value");
}

#[tokio::test]
async fn a_failure_says_where_and_whether_the_write_may_have_been_applied() {
    let world = world();
    let (eu, us): (RegionId, RegionId) = (EU.parse().unwrap(), "us-east-1".parse().unwrap());
    let remote = Interpreter::new(world.store(&us, &eu, "default").unwrap());
    world.lose_replies("us-east-1", EU).unwrap();
    for command in ["set k v", "incr n", "del x", "expire k 100"] {
        let reply = line(&remote, command).await;
        assert!(reply.starts_with("(error) MAYBEAPPLIED eu-west-1: "), "{command}: {reply}");
    }
    for command in ["get k", "ttl k", "mget k", "zrange k 0 1"] {
        let reply = line(&remote, command).await;
        assert!(reply.starts_with("(error) TIMEOUT eu-west-1: "), "{command}: {reply}");
    }
    world.cut("us-east-1", EU).unwrap();
    for command in ["set k w", "del k", "get k"] {
        let reply = line(&remote, command).await;
        assert!(reply.starts_with("(error) UNAVAILABLE eu-west-1: ") && reply.contains("nothing was done"), "{reply}");
    }
    world.heal();
    assert_eq!(line(&remote, "get k").await, "\"v\"");
    assert_eq!(line(&remote, "get n").await, "\"1\"");
}

#[tokio::test]
async fn every_region_answers_from_its_own_data() {
    let world = world();
    for (region, views) in [(EU, "3"), ("us-east-1", "4"), ("ap-south-1", "5")] {
        let interpreter = Interpreter::new(store(&world, region));
        assert_eq!(line(&interpreter, &format!("incrby views {views}")).await, format!("(integer) {views}"));
    }
    assert_eq!(line(&interpreter(&world), "get views").await, "\"3\"", "nothing travels without a driver");
}

#[tokio::test]
async fn a_stock_goes_by_its_own_words_and_by_no_others() {
    let interpreter = interpreter(&world());
    let wrong_type = "(error) WRONGTYPE Operation against a key holding the wrong kind of value";
    let refused = "(error) ERR a stock is only restocked, taken from, given back to, reserved from and transferred";
    for (command, reply) in [
        ("stock.left t", "(integer) 0"),
        ("del t", "(integer) 0"),
        ("stock.restock t d-1 5", "(integer) 5"),
        ("stock.restock t d-1 5", "(integer) 5"),
        ("stock.take t o-1 2", "(integer) 2"),
        ("stock.take t o-2 9 upto", "(integer) 3"),
        ("stock.take t o-3 1", "(error) NORIGHTS this region has a right to 0, others have 0 as far as it knows"),
        ("stock.take t o-1 1", "(error) ERR the id stands for a call that asked for something else"),
        ("stock.return t r-1 9", "(error) ERR only 5 units are known to be taken"),
        ("stock.return t r-2 1", "(integer) 1"),
        ("stock.rights t", "(integer) 1"),
        ("stock.take t o-4 0", "(error) ERR units must be from 1 to 1099511627776"),
        ("stock.take t \"o 5\" 1", "(error) ERR the id of a call has 1 to 128 visible ASCII characters"),
        ("stock.take t o-6 1 most", "(error) ERR syntax error"),
        ("stock.transfer t us-east-1/00000000000000ff 5 upto", "(integer) 1"),
        ("type t", "stock"),
        ("exists t", "(integer) 1"),
        ("del t", refused),
        ("expire t 9", refused),
        ("set t 9", refused),
        ("get t", wrong_type),
        ("incr t", wrong_type),
        ("stock.left t", "(integer) 1"),
    ] {
        assert_eq!(line(&interpreter, command).await, reply, "{command}");
    }
    line(&interpreter, "stock.restock t d-2 3").await;
    let token = line(&interpreter, "stock.reserve t c-1 2 60000").await;
    assert!(token.starts_with("\"eu-west-1/") && token.ends_with("/2/c-1\""), "{token}");
    assert_eq!(line(&interpreter, &format!("stock.confirm t {token}")).await, "OK");
    let gone = line(&interpreter, &format!("stock.release t {token}")).await;
    assert!(gone.starts_with("(error) ERR the reservation is not held here"), "{gone}");
    assert_eq!(line(&interpreter, "set s v").await, "OK");
    assert_eq!(line(&interpreter, "stock.restock s d-1 1").await, wrong_type);
}

#[tokio::test]
async fn a_feed_is_appended_read_and_followed_by_its_words() {
    let interpreter = interpreter(&world());
    let run = async |command: &str| match interpreter.execute(&split_line(command).unwrap()).await {
        ExecReply::Array(parts) => parts,
        other => vec![other],
    };
    let ids = [run("feed.append f a").await, run("FEED.APPEND f maxlen 2 b").await, run("feed.append f c").await];
    let ids = ids.map(|reply| reply.first().unwrap().to_line());
    assert!(ids.is_sorted());
    let [start, restarted, entries] = <[ExecReply; 3]>::try_from(run("feed.arrived f 0 COUNT 2").await).unwrap();
    assert_eq!((restarted.to_line(), entries.to_line().contains("\"b\"")), ("(integer) 0".to_owned(), true));
    for (command, reply) in [
        ("type f", "feed".to_owned()),
        ("feed.len f", "(integer) 3".to_owned()),
        ("feed.revrange f + - count 1", format!("1) 1) {} 2) \"c\"", ids.last().unwrap())),
        ("feed.range f - + count 0", "(empty array)".to_owned()),
        ("feed.append f MAXLEN 1 d", String::new()),
        ("feed.len f", "(integer) 1".to_owned()),
        ("feed.append f MAXLEN 0 d", String::new()),
        ("feed.len f", "(integer) 1".to_owned()),
        ("feed.append f MAXAGE x d", "(error) ERR value is not an integer or out of range".to_owned()),
        ("feed.append f MAXIMUM 1 d", "(error) ERR syntax error".to_owned()),
        ("feed.append f MAXLEN 1", "(error) ERR wrong number of arguments for 'feed.append' command".to_owned()),
        ("feed.rem f 1-1", "(integer) 0".to_owned()),
        ("xlen f", "(error) WRONGTYPE Operation against a key holding the wrong kind of value".to_owned()),
        ("feed.arrived f x", "(error) ERR not a cursor of a feed: use 0, $ or what FEED.ARRIVED answered".to_owned()),
        ("expire f 100", "(integer) 1".to_owned()),
        ("ttl f", "(integer) 100".to_owned()),
        ("set s v", "OK".to_owned()),
        ("feed.arrived s 0", "(error) WRONGTYPE Operation against a key holding the wrong kind of value".to_owned()),
    ] {
        let found = line(&interpreter, command).await;
        assert!(reply.is_empty() || found == reply, "{command}: {found}");
    }
    let on = run(&format!("feed.arrived f {}", start.to_line())).await;
    assert!(on.last().unwrap().to_line().contains("\"d\"") && !on.last().unwrap().to_line().contains("\"b\""));
    let end = run("feed.arrived f $").await;
    assert_eq!(end.last().unwrap().to_line(), "(empty array)");
    assert_eq!(line(&interpreter, "del f").await, "(integer) 1");
    assert_eq!(line(&interpreter, "exists f").await, "(integer) 0");
}
