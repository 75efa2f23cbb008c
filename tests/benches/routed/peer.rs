//! redis-py's `MultiDBClient` in a child process, on the two primaries.

use std::{
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::traffic::{Call, USUAL, WRITE_EVERY};

/// What is compared with.
const PACKAGES: [&str; 2] = ["redis==8.1.0", "pybreaker==1.4.1"];

/// Its options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    Default,
    Tuned,
}

/// The packages, in a directory of their own.
pub struct Packages {
    directory: TempDir,
}

impl Packages {
    pub fn install() -> Self {
        let directory = TempDir::with_prefix("archipelago-peer.").unwrap();
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"]);
        let status = pip.arg(directory.path()).args(PACKAGES).status().expect("python3 with pip");
        assert!(status.success(), "pip could not install {PACKAGES:?}");
        Self { directory }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// One client, in steady traffic.
pub struct Peer {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Peer {
    /// Starts it and waits until it calls.
    pub fn start(packages: &Packages, profile: Profile, urls: [&str; 2], rate: u64) -> Self {
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/routed/peer.py");
        let mut command = Command::new("python3");
        command.env("PYTHONPATH", packages.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
        command.arg(script).arg(format!("{profile:?}").to_lowercase());
        command.arg(rate.to_string()).arg(WRITE_EVERY.to_string()).args(urls);
        let mut child = command.spawn().expect("python3");
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "ready");
        Self { child, output }
    }

    /// Every call so far; those that have been under way for long count as failed.
    pub fn stop(mut self) -> Vec<Call> {
        self.child.stdin.take().unwrap().write_all(b"stop\n").unwrap();
        let calls: Vec<_> = self.output.by_ref().lines().map(|line| parse(&line.unwrap())).collect();
        self.child.wait().unwrap();
        let is_over = |call: &Call| call.error.as_deref() != Some("unfinished") || call.took > USUAL;
        calls.into_iter().filter(is_over).collect()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn parse(line: &str) -> Call {
    let call: Value = serde_json::from_str(line).unwrap();
    let text = |key: &str| call[key].as_str().map(str::to_owned);
    Call {
        at: call["at"].as_f64().unwrap(),
        took: call["took"].as_f64().unwrap(),
        write: text("write"),
        error: text("error"),
    }
}
