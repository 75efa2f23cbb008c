//! Embedded nodes: the command interpreter where a server would be, behind connections that break and hang like real ones.
//!
//! What holds here and what holds on a server:
//! - A command the interpreter lacks is an error that says so.
//! - A pipeline, and a transaction, runs as one step: nobody sees it half done, at a replica neither. On a server only a
//!   transaction does.
//! - `INFO replication` is answered, as sessions need it; no other `INFO` is.
//! - A transaction is given up as a whole when one of its commands is unknown, has the wrong number of words, or would
//!   write at a replica. A command that fails while it runs does not undo the others.
//! - A crash ends connections; what was under way may have been done. A cut network swallows requests or answers, and the
//!   caller's deadline ends the wait.

use std::{fmt, io, sync::Weak, time::Duration};

use bytes::Bytes;
use futures_util::FutureExt;
use redis::{Cmd, Pipeline, RedisError, RedisResult, Value};
use tokio::time::Instant;

use super::{endpoint::ConnectError, scan::words_of};
use crate::{
    commands::{Access, of_cmd},
    config::defaults,
    dial::DialError,
    exec::{ExecReply, Interpreter},
    routing::Role,
    store::embedded::{Connection, EmbeddedNode, Lineage, Listener},
};

/// Redis's own text, so that it is classified as such.
const READONLY: &str = "READONLY You can't write against a read only replica.";

/// A node of an embedded region, in place of a server's address.
#[derive(Clone)]
pub(crate) struct EmbeddedServer {
    node: EmbeddedNode,
    interpreter: Interpreter,
}

/// A connection to it. A clone is another handle on it.
#[derive(Clone)]
pub(crate) struct EmbeddedLink {
    server: EmbeddedServer,
    connection: Connection,
}

/// A command as the interpreter takes it.
struct Words {
    words: Vec<Bytes>,
    access: Access,
}

impl EmbeddedServer {
    pub(super) fn new(node: EmbeddedNode) -> Self {
        let interpreter = Interpreter::new(node.store());
        Self { node, interpreter }
    }

    /// Lets somebody hear of every key that changes there.
    pub(crate) fn listen(&self, listener: Weak<dyn Listener>) {
        self.node.listen(listener);
    }

    /// Connects to the process that serves at present, and measures a round trip.
    pub(super) async fn connect(&self, role: Role) -> Result<(EmbeddedLink, Duration), ConnectError> {
        let link = self.link(role)?;
        let asked = Instant::now();
        // Cut off just now, it would never answer.
        let answered = tokio::time::timeout(defaults::CONNECT_TIMEOUT, link.behind()).await;
        answered.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into())).map_err(DialError::Redis)?;
        Ok((link, asked.elapsed()))
    }

    fn link(&self, role: Role) -> Result<EmbeddedLink, ConnectError> {
        let is_expected = (role == Role::Replica) == self.node.is_replica();
        if !is_expected {
            return Err(ConnectError::WrongRole {
                what: "the roles of embedded nodes do not change".to_owned(),
                found: None,
                copy: None,
            });
        }
        let connection = self.node.connect().map_err(RedisError::from).map_err(DialError::Redis)?;
        Ok(EmbeddedLink { server: self.clone(), connection })
    }

    /// Why a command is not even tried.
    fn refusal(&self, asked: &Words) -> Option<String> {
        let Words { words, access } = asked;
        if asked.is_for_position() {
            return None;
        }
        let name = words.first().map(Bytes::as_ref).unwrap_or_default();
        if !Interpreter::knows(name) {
            let name = String::from_utf8_lossy(name.get(..64).unwrap_or(name)).into_owned();
            return Some(format!("ERR unknown command '{name}': embedded regions lack it, a server may know it"));
        }
        let is_refused = self.node.is_replica() && *access == Access::Write;
        Interpreter::refusal(words).or_else(|| is_refused.then(|| READONLY.to_owned()))
    }

    fn answer(&self, words: &Words) -> Value {
        match self.refusal(words) {
            Some(text) => error(&text),
            None => self.execute(words),
        }
    }

    fn execute(&self, asked: &Words) -> Value {
        if asked.is_for_position() {
            let info = replication_info(self.node.is_replica(), &self.node.lineage());
            return Value::BulkString(info.into_bytes());
        }
        // Within the node nothing waits: the network was before, and is after.
        match self.interpreter.execute(&asked.words).now_or_never() {
            Some(reply) => value(reply),
            None => error("ERR the embedded region did not answer at once: a defect"),
        }
    }

    /// One after the other; what stands between MULTI and EXEC, as a transaction.
    fn pipeline(&self, mut commands: &[Words]) -> Vec<Value> {
        let mut answers = Vec::with_capacity(commands.len());
        while let Some((first, rest)) = commands.split_first() {
            let end = rest.iter().position(|words| words.is("EXEC")).filter(|_| first.is("MULTI"));
            let inside = end.and_then(|end| rest.get(..end));
            match inside {
                Some(inside) => answers.extend(self.transaction(inside)),
                None => answers.push(self.answer(first)),
            }
            commands = end.and_then(|end| rest.get(end + 1..)).unwrap_or(rest);
        }
        answers
    }

    /// MULTI, the commands, EXEC. Given up as a whole when one of them is refused.
    fn transaction(&self, commands: &[Words]) -> Vec<Value> {
        let refusals: Vec<_> = commands.iter().map(|words| self.refusal(words)).collect();
        let done = match refusals.iter().flatten().next() {
            Some(why) => error(&format!("EXECABORT Transaction discarded because of: {why}")),
            None => Value::Array(commands.iter().map(|words| self.execute(words)).collect()),
        };
        let queued = refusals.iter().map(|refusal| match refusal {
            Some(why) => error(why),
            None => Value::SimpleString("QUEUED".into()),
        });
        std::iter::once(Value::Okay).chain(queued).chain([done]).collect()
    }
}

impl EmbeddedLink {
    /// How far it is behind its primary at most: asked for as everything else is, over the network.
    pub(super) async fn behind(&self) -> RedisResult<Duration> {
        Ok(self.server.node.call(self.connection, || self.server.node.behind()).await?)
    }

    /// Sends one command. Errors are answers.
    pub(super) async fn send_one(&self, cmd: &Cmd) -> RedisResult<Value> {
        let words = Words::of(cmd)?;
        Ok(self.server.node.call(self.connection, || self.server.answer(&words)).await?)
    }

    /// Sends a pipeline, and keeps `count` answers behind the first `offset`.
    pub(super) async fn send_many(&self, pipeline: &Pipeline, offset: usize, count: usize) -> RedisResult<Vec<Value>> {
        let commands = pipeline.cmd_iter().map(Words::of).collect::<RedisResult<Vec<_>>>()?;
        let server = &self.server;
        let run = || match pipeline.is_transaction() {
            true => server.transaction(&commands),
            false => server.pipeline(&commands),
        };
        let answers = server.node.call(self.connection, run).await?;
        // As the crate makes of one that was given up.
        if let Some(Value::ServerError(given_up)) = answers.last().filter(|_| pipeline.is_transaction()) {
            return Err(given_up.clone().into());
        }
        Ok(answers.into_iter().skip(offset).take(count).collect())
    }
}

impl Words {
    fn of(cmd: &Cmd) -> RedisResult<Self> {
        let words = words_of(cmd)?.into_iter().map(Bytes::from).collect();
        Ok(Self { words, access: of_cmd(cmd).access() })
    }

    fn is(&self, name: &str) -> bool {
        matches!(self.words.as_slice(), [word] if word.eq_ignore_ascii_case(name.as_bytes()))
    }

    /// Whether it asks where the server's history stands.
    fn is_for_position(&self) -> bool {
        let is = |word: &Bytes, name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        matches!(self.words.as_slice(), [info, section] if is(info, "INFO") && is(section, "replication"))
    }
}

/// What a server says of where its history stands.
fn replication_info(is_replica: bool, lineage: &Lineage) -> String {
    let Lineage { id, offset, before } = lineage;
    let role = if is_replica { format!("slave\r\nslave_repl_offset:{offset}") } else { "master".to_owned() };
    let second = before.as_ref().map(|(id, end)| format!("master_replid2:{id}\r\nsecond_repl_offset:{end}\r\n"));
    let second = second.unwrap_or_default();
    format!("# Replication\r\nrole:{role}\r\nmaster_replid:{id}\r\nmaster_repl_offset:{offset}\r\n{second}")
}

/// As the same reply of a server is read.
fn value(reply: ExecReply) -> Value {
    match reply {
        ExecReply::Nil => Value::Nil,
        ExecReply::Int(n) => Value::Int(n),
        ExecReply::Bytes(bytes) => Value::BulkString(bytes.into()),
        ExecReply::Status("OK") => Value::Okay,
        ExecReply::Status(word) => Value::SimpleString(word.to_owned()),
        ExecReply::Array(items) => Value::Array(items.into_iter().map(value).collect()),
        ExecReply::Error(text) => error(&text),
    }
}

/// A server's error: made by the crate from its text, as there is no other way to make one.
fn error(text: &str) -> Value {
    let line = text.replace(['\r', '\n'], " ");
    redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap_or(Value::Nil)
}

impl fmt::Debug for EmbeddedServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.node.fmt(f)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test may panic")]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use redis::{cmd, pipe};

    use super::*;
    use crate::{
        Embedded,
        resilience::{Blame, Diagnosis, Failure},
        sessions::Position,
    };

    const SECOND: Duration = Duration::from_secs(1);

    fn start() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_790_000_000)
    }

    /// A primary in `us`, its replica in `eu` a second behind, and links to both from `eu`.
    fn world() -> (Embedded, EmbeddedLink, EmbeddedLink) {
        let regions = Embedded::builder().region("us").region("eu").replica("us", "eu", SECOND);
        let regions = regions.manual_clock(start()).build().unwrap();
        let (primary, replica) = (link(&regions, "us/primary"), link(&regions, "us/replica-1@eu"));
        (regions, primary, replica)
    }

    fn server(regions: &Embedded, name: &str) -> EmbeddedServer {
        let nodes = regions.nodes(&"eu".parse().unwrap());
        EmbeddedServer::new(nodes.into_iter().find(|node| &**node.name() == name).unwrap())
    }

    fn link(regions: &Embedded, name: &str) -> EmbeddedLink {
        let role = if name.contains("replica") { Role::Replica } else { Role::Primary };
        server(regions, name).link(role).unwrap()
    }

    async fn ask(link: &EmbeddedLink, words: &str) -> RedisResult<Value> {
        let words: Vec<_> = words.split(' ').collect();
        let cmd = cmd(words[0]).arg(&words[1..]).clone();
        link.send_one(&cmd).await?.extract_error()
    }

    async fn send(link: &EmbeddedLink, pipeline: &Pipeline) -> RedisResult<Vec<Value>> {
        let (offset, count) = if pipeline.is_transaction() { (pipeline.len() + 1, 1) } else { (0, pipeline.len()) };
        link.send_many(pipeline, offset, count).await
    }

    /// What a connection that broke under a call means.
    fn broken() -> Diagnosis {
        Diagnosis::of_call(&std::io::Error::from(std::io::ErrorKind::BrokenPipe).into())
    }

    fn text(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    #[tokio::test]
    async fn replies_are_those_of_a_server() {
        let (_regions, us, _) = world();
        assert_eq!(ask(&us, "SET name Ada").await.unwrap(), Value::Okay);
        assert_eq!(ask(&us, "GET name").await.unwrap(), text("Ada"));
        assert_eq!(ask(&us, "GET nobody").await.unwrap(), Value::Nil);
        assert_eq!(ask(&us, "PING").await.unwrap(), Value::SimpleString("PONG".into()));
        assert_eq!(ask(&us, "SADD tags a b").await.unwrap(), Value::Int(2));
        assert_eq!(ask(&us, "SMEMBERS tags").await.unwrap(), Value::Array(vec![text("a"), text("b")]));
    }

    #[tokio::test]
    async fn what_a_region_lacks_says_so_and_is_the_callers_error() {
        let (_regions, us, copy) = world();
        for link in [&us, &copy] {
            let error = ask(link, "BITCOUNT bits").await.unwrap_err();
            assert!(error.to_string().contains("embedded regions lack it"), "{error}");
            assert_eq!(Diagnosis::of_call(&error).failure, Failure::Answered);
        }
        ask(&us, "SADD tags a").await.unwrap();
        let error = ask(&us, "GET tags").await.unwrap_err();
        assert_eq!((error.code(), Diagnosis::of_call(&error).blame), (Some("WRONGTYPE"), Blame::Nobody));
    }

    #[tokio::test]
    async fn a_replica_shows_what_was_written_its_lag_ago() {
        let (regions, us, copy) = world();
        ask(&us, "SET name Ada").await.unwrap();
        assert_eq!(ask(&copy, "GET name").await.unwrap(), Value::Nil);
        regions.advance(SECOND - Duration::from_micros(1));
        assert_eq!(ask(&copy, "GET name").await.unwrap(), Value::Nil);
        ask(&us, "INCR n").await.unwrap();
        regions.advance(Duration::from_micros(1));
        assert_eq!(ask(&copy, "GET name").await.unwrap(), text("Ada"));
        assert_eq!(ask(&copy, "GET n").await.unwrap(), Value::Nil, "written later");
        assert_eq!(copy.behind().await.unwrap(), SECOND);
        assert_eq!(us.behind().await.unwrap(), Duration::ZERO);
    }

    #[tokio::test]
    async fn a_replica_stays_as_it_is_while_its_primary_cannot_be_reached() {
        for is_crashed in [true, false] {
            let (regions, us, copy) = world();
            ask(&us, "SET name Ada").await.unwrap();
            regions.advance(SECOND);
            ask(&us, "SET name Bob").await.unwrap();
            regions.advance(SECOND / 2);
            if is_crashed {
                regions.crash("us").unwrap();
            } else {
                regions.cut("us", "eu").unwrap();
            }
            regions.advance(10 * SECOND);
            assert_eq!(ask(&copy, "GET name").await.unwrap(), text("Ada"), "Bob was still under way");
            assert_eq!(copy.behind().await.unwrap(), 11 * SECOND);
            regions.heal();
            regions.restart("us").unwrap();
            assert_eq!(ask(&copy, "GET name").await.unwrap(), text("Bob"));
            assert_eq!(copy.behind().await.unwrap(), SECOND);
        }
    }

    #[tokio::test]
    async fn lost_data_and_a_longer_lag_reach_replicas_too() {
        let (regions, us, copy) = world();
        ask(&us, "SET name Ada").await.unwrap();
        let backup = regions.backup("us").unwrap();
        ask(&us, "SET name Bob").await.unwrap();
        regions.advance(SECOND);
        assert_eq!(ask(&copy, "GET name").await.unwrap(), text("Bob"));
        regions.restore("us", &backup).unwrap();
        regions.advance(SECOND);
        assert_eq!(ask(&copy, "GET name").await.unwrap(), text("Ada"));
        regions.set_lag("us", "eu", 5 * SECOND).unwrap();
        regions.wipe("us").unwrap();
        regions.advance(SECOND);
        assert_eq!(ask(&copy, "GET name").await.unwrap(), text("Ada"), "it never goes back");
        assert_eq!(copy.behind().await.unwrap(), 2 * SECOND);
        regions.advance(4 * SECOND);
        assert_eq!(ask(&copy, "GET name").await.unwrap(), Value::Nil);
        assert!(regions.set_lag("eu", "us", SECOND).is_err(), "no such replica");
    }

    #[tokio::test]
    async fn expiry_goes_by_the_regions_clock_at_both() {
        let (regions, us, copy) = world();
        ask(&us, "SET name Ada PX 3000").await.unwrap();
        regions.advance(2 * SECOND);
        assert_eq!(ask(&copy, "PTTL name").await.unwrap(), Value::Int(1000));
        regions.advance(SECOND);
        for link in [&us, &copy] {
            assert_eq!(ask(link, "GET name").await.unwrap(), Value::Nil);
        }
    }

    #[tokio::test]
    async fn a_replica_refuses_writes_alone_in_pipelines_and_in_transactions() {
        let (regions, us, copy) = world();
        let error = ask(&copy, "SET name Ada").await.unwrap_err();
        let of_server = redis::parse_redis_value(format!("-{READONLY}\r\n").as_bytes()).unwrap();
        let expected = Diagnosis::of_call(&of_server.extract_error().unwrap_err());
        assert_eq!(Diagnosis::of_call(&error), expected);
        assert_eq!(expected.failure, Failure::Refused);

        let mixed = pipe().cmd("GET").arg("name").cmd("SET").arg("name").arg("Ada").clone();
        let answers = send(&copy, &mixed).await.unwrap();
        assert_eq!(answers[0], Value::Nil);
        assert!(matches!(&answers[1], Value::ServerError(error) if error.code() == "READONLY"), "{answers:?}");
        let error = send(&copy, mixed.clone().atomic()).await.unwrap_err();
        assert_eq!((error.code(), Diagnosis::of_call(&error)), (Some("EXECABORT"), expected));
        regions.advance(10 * SECOND);
        assert_eq!(ask(&us, "GET name").await.unwrap(), Value::Nil);
    }

    #[tokio::test]
    async fn a_transaction_is_given_up_as_a_whole_or_runs_to_its_end() {
        let (_regions, us, _) = world();
        for wrong in [vec!["BITCOUNT", "bits"], vec!["SET", "name"]] {
            let mut pipeline = pipe();
            pipeline.atomic().cmd("SET").arg("name").arg("Ada").cmd(wrong[0]).arg(&wrong[1..]);
            let error = send(&us, &pipeline).await.unwrap_err();
            assert_eq!(error.code(), Some("EXECABORT"), "{error}");
            assert_eq!(Diagnosis::of_call(&error).failure, Failure::Answered);
            assert_eq!(ask(&us, "EXISTS name").await.unwrap(), Value::Int(0), "{wrong:?}");
        }
        let mut pipeline = pipe();
        pipeline.atomic().cmd("SET").arg("name").arg("Ada").cmd("INCR").arg("name").cmd("INCR").arg("n");
        let answers = send(&us, &pipeline).await.unwrap();
        let [Value::Array(done)] = answers.as_slice() else { panic!("{answers:?}") };
        assert!(matches!(done.as_slice(), [Value::Okay, Value::ServerError(_), Value::Int(1)]), "{done:?}");
    }

    #[tokio::test]
    async fn a_transaction_that_is_spelt_out_is_answered_as_a_server_does() {
        let (_regions, us, copy) = world();
        let spelt = |words: &[&str]| {
            let mut pipeline = pipe();
            pipeline.cmd("MULTI").cmd("INFO").arg("replication").cmd(words[0]).arg(&words[1..]).cmd("EXEC");
            pipeline.cmd("PING");
            pipeline
        };
        let answers = send(&copy, &spelt(&["GET", "name"])).await.unwrap();
        let [
            Value::Okay,
            Value::SimpleString(_),
            Value::SimpleString(_),
            Value::Array(done),
            Value::SimpleString(pong),
        ] = answers.as_slice()
        else {
            panic!("{answers:?}")
        };
        assert!(matches!(done.as_slice(), [Value::BulkString(_), Value::Nil]) && pong == "PONG", "{done:?}");
        let answers = send(&us, &spelt(&["BITCOUNT", "bits"])).await.unwrap();
        let codes = answers.iter().map(|answer| match answer {
            Value::ServerError(error) => Some(error.code().to_owned()),
            _ => None,
        });
        assert_eq!(codes.collect::<Vec<_>>(), [None, None, Some("ERR".into()), Some("EXECABORT".into()), None]);
        assert!(ask(&us, "EXEC").await.is_err(), "alone it is no command here");
    }

    async fn position(link: &EmbeddedLink) -> Position {
        match ask(link, "INFO replication").await.unwrap() {
            Value::BulkString(info) => Position::parse(&info).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_replica_has_a_write_when_its_position_says_so() {
        let (regions, us, copy) = world();
        assert_eq!(position(&us).await.mark, position(&copy).await.mark);
        ask(&us, "SET name Ada").await.unwrap();
        regions.advance(SECOND / 2);
        let mut both = pipe();
        both.cmd("SET").arg("name").arg("Bob").cmd("INFO").arg("replication");
        let answers = send(&us, &both).await.unwrap();
        let Value::BulkString(info) = &answers[1] else { panic!("{answers:?}") };
        let written = Position::parse(info).unwrap();
        assert_eq!(written.mark, position(&us).await.mark, "asked behind a write, it contains the write");
        assert!(written.is_primary && !position(&copy).await.is_primary && !position(&copy).await.has(written.mark));
        regions.advance(SECOND / 2);
        assert_eq!(ask(&copy, "GET name").await.unwrap(), text("Ada"));
        assert!(!position(&copy).await.has(written.mark), "the write before has arrived, this one has not");
        regions.advance(SECOND / 2);
        assert!(position(&copy).await.has(written.mark));
        assert_eq!(ask(&copy, "GET name").await.unwrap(), text("Bob"));
    }

    #[tokio::test]
    async fn a_restart_goes_on_with_the_history_and_a_restored_backup_does_not() {
        let (regions, us, _) = world();
        let backup = regions.backup("us").unwrap();
        ask(&us, "SET name Ada").await.unwrap();
        let written = position(&us).await.mark;
        regions.wipe("us").unwrap();
        assert!(position(&us).await.has(written), "FLUSHALL is a write behind the others");
        regions.restart("us").unwrap();
        let us = link(&regions, "us/primary");
        let after = position(&us).await;
        assert!(after.mark.id != written.id && after.has(written));
        ask(&us, "SET name Bob").await.unwrap();
        let (later, written) = (position(&us).await, position(&us).await.mark);
        assert!(later.has(after.mark));
        regions.restore("us", &backup).unwrap();
        let us = link(&regions, "us/primary");
        ask(&us, "SET name Cid").await.unwrap();
        assert!(!position(&us).await.has(written), "lost, however much is written");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn nobody_sees_half_a_transaction() {
        let regions =
            Embedded::builder().region("us").region("eu").replica("us", "eu", Duration::ZERO).build().unwrap();
        let (us, copy) = (link(&regions, "us/primary"), link(&regions, "us/replica-1@eu"));
        let writer = tokio::spawn({
            let us = us.clone();
            async move {
                for n in 0..300 {
                    let mut pipeline = pipe();
                    pipeline.atomic().cmd("SET").arg("a").arg(n).cmd("SET").arg("b").arg(n);
                    send(&us, &pipeline).await.unwrap();
                }
            }
        });
        while !writer.is_finished() {
            for link in [&us, &copy] {
                let both = ask(link, "MGET a b").await.unwrap();
                let Value::Array(both) = both else { panic!("{both:?}") };
                assert_eq!(both[0], both[1]);
            }
        }
        writer.await.unwrap();
    }

    #[tokio::test]
    async fn a_crash_breaks_connections_and_a_cut_swallows_requests_and_answers() {
        let (regions, us, _) = world();
        regions.crash("us").unwrap();
        let error = ask(&us, "INCR n").await.unwrap_err();
        assert_eq!(Diagnosis::of_call(&error), broken());
        let refused = server(&regions, "us/primary").connect(Role::Primary).await;
        let Err(ConnectError::Dial(DialError::Redis(error))) = refused else { panic!("nobody is there") };
        assert_eq!(Diagnosis::of_call(&error), Diagnosis::NOT_CONNECTED);
        regions.restart("us").unwrap();
        let error = ask(&us, "INCR n").await.unwrap_err();
        assert_eq!(Diagnosis::of_call(&error), broken(), "a connection to the process before");

        let us = link(&regions, "us/primary");
        regions.cut("eu", "us").unwrap();
        assert!(ask(&us, "INCR n").now_or_never().is_none(), "an answer over a cut network");
        assert!(server(&regions, "us/primary").connect(Role::Primary).await.is_err());
        regions.heal();
        assert_eq!(ask(&us, "INCR n").await.unwrap(), Value::Int(1), "the request never arrived");
        regions.lose_replies("eu", "us").unwrap();
        assert!(ask(&us, "INCR n").now_or_never().is_none(), "an answer that was lost");
        regions.heal();
        assert_eq!(ask(&us, "GET n").await.unwrap(), text("2"), "the request had arrived");
    }

    #[tokio::test]
    async fn distance_takes_time() {
        let distance = Duration::from_millis(20);
        let regions = Embedded::builder().region("us").region("eu").latency("us", "eu", distance).build().unwrap();
        let us = link(&regions, "us/primary");
        let began = tokio::time::Instant::now();
        ask(&us, "PING").await.unwrap();
        assert!(began.elapsed() >= distance);
    }

    #[tokio::test]
    async fn a_role_is_what_it_is() {
        let (regions, ..) = world();
        let wrong = server(&regions, "us/replica-1@eu").connect(Role::Primary).await;
        assert!(matches!(wrong, Err(ConnectError::WrongRole { .. })));
    }
}
