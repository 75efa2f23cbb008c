//! What a borrower leaves behind on a connection, and so whether the next one may have it.

use redis::{RedisError, RedisResult};

use super::link::{Answer, Work};
use crate::commands::{Refusal, of_cmd};

/// The traces of one borrower. Pure: fed with what is sent and with what comes back.
///
/// A connection with traces is closed, not cleaned: RESET would clear it, but also logs out and falls back to the oldest
/// protocol, and is not answered at all while a request is still under way.
#[derive(Debug, Default)]
pub(super) struct Traces {
    is_watching: bool,
    is_queueing: bool,
    is_changed: bool,
    in_flight: u32,
}

/// What a request does to its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// Nothing.
    None,
    /// WATCH: until UNWATCH, EXEC or DISCARD.
    Watch,
    /// UNWATCH.
    Unwatch,
    /// MULTI: until EXEC or DISCARD.
    Multi,
    /// EXEC, DISCARD, or a pipeline that is a transaction of its own.
    End,
    /// SELECT, CLIENT SETNAME and their like, and what the table does not know: for good.
    Change,
}

impl Mark {
    pub(super) fn of(work: Work<'_>) -> Self {
        match work {
            Work::One(cmd) => Self::of_command(of_cmd(cmd).name(), of_cmd(cmd).refusal()),
            Work::Many { pipeline, .. } => {
                let mut marks = pipeline.cmd_iter().map(|cmd| Self::of(Work::One(cmd)));
                let is_clean = marks.all(|mark| mark == Self::None);
                match (is_clean, pipeline.is_transaction()) {
                    (true, true) => Self::End,
                    (true, false) => Self::None,
                    // Which of its parts took effect is not followed.
                    (false, _) => Self::Change,
                }
            }
        }
    }

    fn of_command(name: Option<&str>, refusal: Option<Refusal>) -> Self {
        match (name, refusal) {
            (None, _) => Self::Change,
            (Some("WATCH"), _) => Self::Watch,
            (Some("UNWATCH"), _) => Self::Unwatch,
            (Some("MULTI"), _) => Self::Multi,
            (Some(_), Some(Refusal::Transaction)) => Self::End,
            (Some(_), None | Some(Refusal::Wait | Refusal::InPipeline)) => Self::None,
            (
                Some(_),
                Some(
                    Refusal::Connection
                    | Refusal::Subscription
                    | Refusal::Login
                    | Refusal::Closing
                    | Refusal::Routing
                    | Refusal::Topology
                    | Refusal::Server,
                ),
            ) => Self::Change,
        }
    }
}

impl Traces {
    /// A request is about to be sent. What it may leave behind counts from here on.
    pub(super) fn sending(&mut self, mark: Mark) {
        self.in_flight += 1;
        match mark {
            Mark::None | Mark::Unwatch | Mark::End => {}
            Mark::Watch => self.is_watching = true,
            Mark::Multi => self.is_queueing = true,
            Mark::Change => self.is_changed = true,
        }
    }

    /// Its answer has come.
    pub(super) fn answered(&mut self, mark: Mark, answer: &RedisResult<Answer>) {
        self.in_flight = self.in_flight.saturating_sub(1);
        match mark {
            Mark::None | Mark::Watch | Mark::Multi | Mark::Change => {}
            // Between MULTI and EXEC it is only queued.
            Mark::Unwatch => self.is_watching &= answer.is_err() || self.is_queueing,
            Mark::End if is_end(answer) => (self.is_watching, self.is_queueing) = (false, false),
            Mark::End => {}
        }
    }

    /// The connection is gone, out of step, or leads to the wrong server.
    pub(super) fn spoil(&mut self) {
        self.is_changed = true;
    }

    /// Whether the connection is as it was when it was lent. A request without an answer may hold it up for ever.
    pub(super) fn is_clean(&self) -> bool {
        !(self.is_watching || self.is_queueing || self.is_changed) && self.in_flight == 0
    }
}

/// Whether the server has left the transaction: it ran, was empty-handed, or was given up as a whole.
fn is_end(answer: &RedisResult<Answer>) -> bool {
    let is_aborted = |error: &RedisError| {
        error.code() == Some("EXECABORT") || error.kind() == redis::ServerErrorKind::ExecAbort.into()
    };
    answer.as_ref().map_or_else(is_aborted, |_| true)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use redis::{Cmd, Value};

    use super::*;

    fn cmd(text: &str) -> Cmd {
        let mut cmd = Cmd::new();
        text.split(' ').for_each(|word| {
            cmd.arg(word);
        });
        cmd
    }

    /// Whether the connection is clean after these commands; `!` in front of one that is answered by an error.
    fn is_clean_after(commands: &[&str]) -> bool {
        let mut traces = Traces::default();
        for text in commands {
            let (text, is_error) = text.strip_prefix('!').map_or((*text, false), |text| (text, true));
            let cmd = cmd(text);
            let mark = Mark::of(Work::One(&cmd));
            traces.sending(mark);
            let refused = || redis::make_extension_error("ERR".into(), None);
            traces.answered(mark, &if is_error { Err(refused()) } else { Ok(Answer::One(Value::Okay)) });
        }
        traces.is_clean()
    }

    #[test]
    fn what_is_left_behind_is_known() {
        assert!(is_clean_after(&["GET k", "SET k v", "BLPOP q 1", "WAIT 1 10", "CLIENT ID"]));
        assert!(!is_clean_after(&["WATCH k"]));
        assert!(!is_clean_after(&["WATCH k", "GET k"]));
        assert!(is_clean_after(&["WATCH k", "UNWATCH"]));
        assert!(!is_clean_after(&["WATCH k", "!UNWATCH"]));
        assert!(!is_clean_after(&["MULTI", "SET k v"]));
        assert!(is_clean_after(&["WATCH k", "MULTI", "SET k v", "EXEC"]));
        assert!(is_clean_after(&["MULTI", "DISCARD"]));
        assert!(!is_clean_after(&["WATCH k", "!EXEC"]), "EXEC without MULTI ends nothing");
        assert!(!is_clean_after(&["WATCH k", "MULTI", "UNWATCH"]));
        for change in ["SELECT 1", "!SELECT 1", "CLIENT SETNAME x", "CLIENT NO-EVICT ON", "NEW.COMMAND"] {
            assert!(!is_clean_after(&[change, "UNWATCH"]), "{change}");
        }
    }

    #[test]
    fn a_pipeline_counts_as_a_whole() {
        let mark = |pipeline: &redis::Pipeline| Mark::of(Work::Many { pipeline, offset: 0, count: 1 });
        assert_eq!(mark(redis::pipe().get("k")), Mark::None);
        assert_eq!(mark(redis::pipe().atomic().get("k")), Mark::End);
        assert_eq!(mark(redis::pipe().get("k").cmd("WATCH").arg("k")), Mark::Change);
    }

    #[test]
    fn an_aborted_transaction_is_over_and_an_unanswered_request_is_not() {
        let mut traces = Traces::default();
        traces.sending(Mark::Watch);
        traces.answered(Mark::Watch, &Ok(Answer::One(Value::Okay)));
        traces.sending(Mark::End);
        traces.answered(Mark::End, &Err(redis::make_extension_error("EXECABORT".into(), None)));
        assert!(traces.is_clean());
        traces.sending(Mark::None);
        assert!(!traces.is_clean());
    }
}
