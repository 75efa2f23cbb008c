//! What a failed attempt means: was it applied, who is to blame, what is no longer to be trusted.

use std::{error::Error as _, io, sync::Arc};

use redis::{ErrorKind, RedisError, ServerError};

/// What a failed attempt may have done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nothing was sent. Certainly not applied.
    NotSent,
    /// The node declined before doing anything: it is not the primary, is loading, is full. Certainly not applied.
    Refused,
    /// Sent, or possibly sent, and no answer came, or none that can be read.
    MaybeApplied,
    /// The answer is the application's own error: any node would give it. Not a failure of the node.
    Answered,
}

/// The code of the error that stands for "this replica has not what the session has seen". No server's, and no script's.
pub(crate) const BEHIND: &str = "ARCHIPELAGO-BEHIND";

/// Whom a failure speaks against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// Nobody: a success as far as health goes.
    Nobody,
    /// The node as a writer; it may serve reads. Not for a breaker that reads share, but the region cannot take writes.
    Writes,
    /// The node: a failure for its breaker.
    Node,
}

/// A failed attempt, understood. [`RedisError`] comes in, advice for the breaker, the pool and the topology comes out.
///
/// ```
/// use archipelago::resilience::{Blame, Diagnosis, Failure};
///
/// let refused = redis::make_extension_error("OOM".into(), Some("command not allowed".into()));
/// let diagnosis = Diagnosis::of_call(&refused);
/// assert_eq!((diagnosis.failure, diagnosis.blame), (Failure::Refused, Blame::Writes));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// What it may have done.
    pub failure: Failure,
    /// Whom it speaks against.
    pub blame: Blame,
    /// Whether the connection is gone, out of step, or leads to the wrong server.
    pub replaces_connection: bool,
    /// Whether to find out again who is in charge.
    pub suspects_topology: bool,
}

impl Diagnosis {
    /// No answer within the attempt's time.
    ///
    /// The connection stays: its answers are matched in order, so a late one does no harm, and a paused server goes on
    /// with it. Replace it when the node's breaker opens: behind a black hole a new one comes back sooner.
    pub const TIMED_OUT: Self = Self::new(Failure::MaybeApplied, Blame::Node);

    /// There is no connection to send on.
    pub const NOT_CONNECTED: Self = Self::new(Failure::NotSent, Blame::Node).replacing();

    const ANSWERED: Self = Self::new(Failure::Answered, Blame::Nobody);
    const BROKEN: Self = Self::new(Failure::MaybeApplied, Blame::Node).replacing();

    const fn new(failure: Failure, blame: Blame) -> Self {
        Self { failure, blame, replaces_connection: false, suspects_topology: false }
    }

    const fn replacing(self) -> Self {
        Self { replaces_connection: true, ..self }
    }

    const fn suspecting(self) -> Self {
        Self { suspects_topology: true, ..self }
    }

    /// What a failure to connect means, handshake included: the call was not sent.
    #[must_use]
    pub fn of_connect(error: &RedisError) -> Self {
        let call = Self::of_call(error);
        Self { suspects_topology: call.suspects_topology, ..Self::NOT_CONNECTED }
    }

    /// What a failed command, pipeline or transaction means.
    ///
    /// Server errors go by their code; one that is not known here is [`Failure::Answered`]: a module's error, say. The
    /// error of a dead shared connection is one for calls that were sent and calls that were not, so it is
    /// [`Failure::MaybeApplied`]. So is a pipeline of which any part was refused: the others may have been applied.
    #[must_use]
    pub fn of_call(error: &RedisError) -> Self {
        if let Ok(server) = ServerError::try_from(error.clone()) {
            return of_server(server.code(), server.details().unwrap_or_default());
        }
        match error.clone().into_server_errors() {
            Some(errors) => of_many(error, errors.iter().map(|(_, error)| error)),
            None => of_client(error),
        }
    }
}

/// What the client library reports.
fn of_client(error: &RedisError) -> Diagnosis {
    match error.kind() {
        ErrorKind::Io if error.is_connection_refusal() => Diagnosis::NOT_CONNECTED,
        ErrorKind::Io if error.is_timeout() && !is_of_kernel(error) => Diagnosis::TIMED_OUT,
        ErrorKind::Io => Diagnosis::BROKEN,
        // An answer that cannot be read, or has not the shape that was asked for, leaves the connection out of step.
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => Diagnosis::BROKEN,
        // All of these end a handshake.
        ErrorKind::AuthenticationFailed | ErrorKind::InvalidClientConfig | ErrorKind::RESP3NotSupported => {
            Diagnosis::NOT_CONNECTED
        }
        ErrorKind::MasterNameNotFoundBySentinel
        | ErrorKind::NoValidReplicasFoundBySentinel
        | ErrorKind::EmptySentinelList
        | ErrorKind::ClusterConnectionNotFound => Diagnosis::NOT_CONNECTED.suspecting(),
        // Refused by the library before sending: the caller's mistake, the same at every node.
        ErrorKind::Client => Diagnosis::ANSWERED,
        // A server's errors are classified elsewhere, by code; what a later version of the library adds is not known to
        // be harmless.
        _ => Diagnosis::BROKEN,
    }
}

/// Whether the operating system gave up on the connection, rather than the library on waiting: both say "timed out".
fn is_of_kernel(error: &RedisError) -> bool {
    let source = error.source().and_then(|source| source.downcast_ref::<Arc<dyn std::error::Error + Send + Sync>>());
    source.and_then(|source| source.downcast_ref::<io::Error>()).is_some_and(|error| error.raw_os_error().is_some())
}

/// What the errors in a pipeline or transaction mean together.
fn of_many<'e>(error: &RedisError, errors: impl Iterator<Item = &'e ServerError>) -> Diagnosis {
    let all = errors.map(|error| of_server(error.code(), error.details().unwrap_or_default()));
    let worst = all.reduce(worse).unwrap_or(Diagnosis::ANSWERED);
    // An aborted transaction applied nothing; of a pipeline, what came before the refusal stands.
    let is_aborted = error.kind() == ErrorKind::Server(redis::ServerErrorKind::ExecAbort);
    match worst.failure {
        Failure::Refused if !is_aborted => Diagnosis { failure: Failure::MaybeApplied, ..worst },
        Failure::NotSent | Failure::Refused | Failure::MaybeApplied | Failure::Answered => worst,
    }
}

fn worse(a: Diagnosis, b: Diagnosis) -> Diagnosis {
    let is_refused = [a.failure, b.failure].contains(&Failure::Refused);
    let rank = |blame| match blame {
        Blame::Nobody => 0,
        Blame::Writes => 1,
        Blame::Node => 2,
    };
    Diagnosis {
        failure: if is_refused { Failure::Refused } else { a.failure },
        blame: if rank(a.blame) >= rank(b.blame) { a.blame } else { b.blame },
        replaces_connection: a.replaces_connection || b.replaces_connection,
        suspects_topology: a.suspects_topology || b.suspects_topology,
    }
}

/// What a server's error means. Codes of Redis 7.4 and Valkey 8; a code not listed is the application's own.
fn of_server(code: &str, detail: &str) -> Diagnosis {
    use Blame::{Nobody, Node, Writes};
    let refused = |blame| Diagnosis::new(Failure::Refused, blame);
    match code {
        // Not the primary, or no more. The connection goes, too: a name may have been pointed at another server.
        "READONLY" => refused(Writes).replacing().suspecting(),
        // A Valkey server that hands over: the answer names the new primary.
        "REDIRECT" => refused(Writes).suspecting(),
        "MOVED" | "UNBLOCKED" => refused(Nobody).suspecting(),
        // A slot on its way: the table is right, the answer comes with the move.
        "ASK" | "TRYAGAIN" => refused(Nobody),
        // No server's word but the routed plane's own, about a replica that has not what a session has seen.
        BEHIND => refused(Nobody),
        // Serves nobody; another may have been put in charge.
        "LOADING" | "MASTERDOWN" | "CLUSTERDOWN" => refused(Node).suspecting(),
        "OOM" | "MISCONF" | "NOREPLICAS" => refused(Writes),
        // A script holds the server.
        "BUSY" => refused(Node),
        // The connection is not logged in, or not allowed at all.
        "NOAUTH" | "WRONGPASS" | "DENIED" => refused(Node).replacing(),
        "ERR" if detail.starts_with("max number of clients") => refused(Node).replacing(),
        // Raised inside a script by a server that wraps the code. Before the script's first write, these refuse it.
        "ERR" if is_raised(detail) && detail.contains("READONLY") => refused(Writes).replacing().suspecting(),
        "ERR" if is_raised(detail) && detail.contains("MASTERDOWN") => refused(Node).suspecting(),
        "EXECABORT" => of_aborted(detail),
        // The application's own, spelt out so that they are seen to have been thought of.
        "ERR" | "WRONGTYPE" | "NOSCRIPT" | "NOPERM" | "CROSSSLOT" | "NOPROTO" | "NOTBUSY" | "UNKILLABLE" | "NOSUB"
        | "BUSYGROUP" | "NOGROUP" | "BUSYKEY" | "IOERR" | "INPROG" | "NOGOODSLAVE" => Diagnosis::ANSWERED,
        _ => Diagnosis::ANSWERED,
    }
}

/// A transaction that was given up: for the reason it names, if it names one.
fn of_aborted(detail: &str) -> Diagnosis {
    let reason = detail.split_once("because of: ").map_or("", |(_, reason)| reason);
    match reason.split_once(' ') {
        // Once only: no reason is itself an abort.
        Some((code, detail)) if code != "EXECABORT" => of_server(code, detail),
        _ => Diagnosis::ANSWERED,
    }
}

/// Whether a command inside a script failed, rather than the script having answered an error.
fn is_raised(detail: &str) -> bool {
    detail.contains("user_script") || detail.contains("Error running script")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a failed test may panic")]
mod tests {
    use super::*;

    fn of(text: &str) -> Diagnosis {
        let value = redis::parse_redis_value(format!("-{text}\r\n").as_bytes()).unwrap();
        Diagnosis::of_call(&value.extract_error().unwrap_err())
    }

    #[test]
    fn every_code_means_what_the_table_says() {
        // Code, what was done, who is blamed, then `c` for a new connection and `t` for a look at the topology.
        let table = include_str!("failure/codes.txt");
        for line in table.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            let (meaning, text) = line.split_once(" | ").unwrap();
            let found = of(text);
            let marks = [(found.replaces_connection, "c"), (found.suspects_topology, "t")];
            let marks: String = marks.iter().filter(|(is_set, _)| *is_set).map(|(_, mark)| *mark).collect();
            let found = format!("{:?} {:?} {marks}", found.failure, found.blame);
            let expected = meaning.split_whitespace().collect::<Vec<_>>().join(" ");
            assert_eq!(found.trim_end(), expected, "{text}");
        }
    }

    fn io(kind: io::ErrorKind) -> Diagnosis {
        Diagnosis::of_call(&RedisError::from(io::Error::from(kind)))
    }

    #[test]
    fn a_broken_connection_may_have_sent_and_a_refused_one_has_not() {
        for kind in [
            io::ErrorKind::BrokenPipe,
            io::ErrorKind::ConnectionReset,
            io::ErrorKind::UnexpectedEof,
            io::ErrorKind::PermissionDenied,
            io::ErrorKind::Other,
        ] {
            assert_eq!(io(kind), Diagnosis::BROKEN, "{kind:?}");
        }
        assert_eq!(io(io::ErrorKind::ConnectionRefused), Diagnosis::NOT_CONNECTED);
        let reset = RedisError::from(io::Error::from(io::ErrorKind::ConnectionReset));
        assert_eq!(Diagnosis::of_connect(&reset), Diagnosis::NOT_CONNECTED, "while connecting nothing is sent");
    }

    #[test]
    fn a_late_answer_keeps_the_connection_and_a_dead_socket_does_not() {
        assert_eq!(io(io::ErrorKind::TimedOut), Diagnosis::TIMED_OUT);
        #[cfg(target_os = "linux")]
        {
            let dead = RedisError::from(io::Error::from_raw_os_error(110));
            assert!(dead.is_timeout(), "the library cannot tell them apart");
            assert_eq!(Diagnosis::of_call(&dead), Diagnosis::BROKEN);
        }
    }

    #[test]
    fn the_librarys_own_errors_are_sorted_by_when_they_happen() {
        let of = |kind| Diagnosis::of_call(&RedisError::from((kind, "x")));
        assert_eq!(of(ErrorKind::Parse), Diagnosis::BROKEN);
        assert_eq!(of(ErrorKind::UnexpectedReturnType), Diagnosis::BROKEN);
        assert_eq!(of(ErrorKind::AuthenticationFailed).failure, Failure::NotSent);
        assert_eq!(of(ErrorKind::Client), Diagnosis::ANSWERED);
    }

    /// The error of a pipeline with these answers.
    fn of_pipeline(is_atomic: bool, answers: &str) -> Diagnosis {
        let value = redis::parse_redis_value(answers.as_bytes()).unwrap();
        let redis::Value::Array(values) = value else { panic!("an array") };
        let mut connection = redis_pipeline(values, is_atomic);
        Diagnosis::of_call(&connection.take().unwrap())
    }

    /// What the library makes of a pipeline's answers, by way of a connection that has them ready.
    fn redis_pipeline(values: Vec<redis::Value>, is_atomic: bool) -> Option<RedisError> {
        struct Ready(Vec<redis::Value>);
        impl redis::aio::ConnectionLike for Ready {
            fn req_packed_command<'a>(&'a mut self, _: &'a redis::Cmd) -> redis::RedisFuture<'a, redis::Value> {
                Box::pin(async { Ok(redis::Value::Nil) })
            }
            fn req_packed_commands<'a>(
                &'a mut self,
                _: &'a redis::Pipeline,
                _: usize,
                _: usize,
            ) -> redis::RedisFuture<'a, Vec<redis::Value>> {
                Box::pin(async { Ok(std::mem::take(&mut self.0)) })
            }
            fn get_db(&self) -> i64 {
                0
            }
        }
        let mut pipeline = redis::pipe();
        if is_atomic {
            pipeline.atomic();
        }
        pipeline.cmd("SET").arg("a").arg(1).cmd("SET").arg("b").arg(2);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let answer = runtime.block_on(pipeline.query_async::<redis::Value>(&mut Ready(values)));
        answer.err()
    }

    #[test]
    fn a_pipeline_of_which_a_part_was_refused_may_be_applied_in_part() {
        let refused = of_pipeline(false, "*2\r\n+OK\r\n-OOM command not allowed\r\n");
        assert_eq!(refused, Diagnosis::new(Failure::MaybeApplied, Blame::Writes));
        let moved = of_pipeline(false, "*2\r\n-ERR no such thing\r\n-MOVED 3999 h:1\r\n");
        assert_eq!(moved, Diagnosis::new(Failure::MaybeApplied, Blame::Nobody).suspecting());
        let answered = of_pipeline(false, "*2\r\n+OK\r\n-WRONGTYPE no\r\n");
        assert_eq!(answered, Diagnosis::ANSWERED);
    }
}
