//! One server process and its directory. Neither outlives its owner.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{
    ServerError,
    error::{late, system},
};
use crate::testing::poll;

/// How many lines of the log an error shows.
const LOG_LINES: usize = 12;

/// One server process and its directory.
#[derive(Debug)]
pub(super) struct Process {
    program: PathBuf,
    child: Option<Child>,
    directory: TempDir,
}

impl Process {
    /// A process to be started, in a directory of its own.
    pub(super) fn new(program: PathBuf) -> Result<Self, ServerError> {
        let directory = tempfile::Builder::new().prefix("archipelago-").tempdir().map_err(system("a directory"))?;
        Ok(Self { program, child: None, directory })
    }

    pub(super) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Starts it, unless it runs.
    pub(super) fn start(&mut self, arguments: &[&str]) -> Result<(), ServerError> {
        if self.child.is_some() {
            return Ok(());
        }
        let log = fs::File::create(self.log()).map_err(system("the log"))?;
        // A configuration that cannot be read is told to standard error, everything else to standard output.
        let errors = log.try_clone().map_err(system("the log"))?;
        let mut command = Command::new(&self.program);
        command.args(arguments).current_dir(self.directory());
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        self.child = Some(command.spawn().map_err(system("starting the server"))?);
        Ok(())
    }

    /// Its id while it runs.
    pub(super) fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Whether it is not there (any more).
    pub(super) fn is_gone(&mut self) -> bool {
        self.child.as_mut().is_none_or(|child| matches!(child.try_wait(), Ok(Some(_))))
    }

    /// SIGKILL, and waits for the end.
    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// SIGTERM, and waits for the end.
    pub(super) async fn terminate(&mut self) -> Result<(), ServerError> {
        self.signal(Signal::TERM)?;
        let ended = poll::within(poll::PATIENCE, || std::future::ready(self.is_gone().then_some(()))).await;
        self.kill();
        ended.ok_or_else(|| late("the server's end by SIGTERM"))
    }

    /// Sends a signal, if it runs.
    pub(super) fn signal(&mut self, signal: Signal) -> Result<(), ServerError> {
        match &self.child {
            Some(child) => kill_process(Pid::from_child(child), signal)
                .map_err(|error| ServerError::System { what: "a signal", error: error.into() }),
            None => Ok(()),
        }
    }

    /// The end of what it logged since its start.
    pub(super) fn log_end(&self) -> String {
        let log = fs::read(self.log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines.get(lines.len().saturating_sub(LOG_LINES)..).unwrap_or_default().join("\n")
    }

    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    fn log(&self) -> PathBuf {
        self.directory().join("server.log")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Before the directory goes: the server would write into it again.
        self.kill();
    }
}
