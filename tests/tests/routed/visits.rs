//! Users whose requests alternate between processes, each with a cookie in between.

use std::{
    collections::BTreeMap,
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use archipelago::{Connection, sessions::Session};
use futures_util::future::join_all;
use redis::AsyncCommands;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, Command},
    sync::oneshot,
};

pub const USERS: usize = 20;

/// Another process of the application, which reads.
pub struct Reader {
    input: tokio::sync::Mutex<ChildStdin>,
    waiting: Arc<Mutex<BTreeMap<u64, oneshot::Sender<i64>>>>,
    next: AtomicU64,
    /// Ends with this.
    _process: Child,
}

impl Reader {
    /// Starts it, with a file's text, and with how long its sessions wait for a replica.
    pub fn start(config: &str, wait: Duration) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_visit"))
            .args([config, &wait.as_millis().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (input, output) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let waiting = Arc::new(Mutex::new(BTreeMap::<u64, oneshot::Sender<i64>>::new()));
        let of_task = waiting.clone();
        tokio::spawn(async move {
            let mut lines = BufReader::new(output).lines();
            while let Some(line) = lines.next_line().await.unwrap() {
                let (number, visit) = line.split_once(' ').unwrap();
                let asked = of_task.lock().unwrap().remove(&number.parse().unwrap()).unwrap();
                let _ = asked.send(visit.parse().unwrap());
            }
            // Whoever still waits is told, by the drop.
            of_task.lock().unwrap().clear();
        });
        Self { input: input.into(), waiting, next: AtomicU64::new(0), _process: process }
    }

    /// The user's last visit, as the other process reads it with this token.
    async fn read(&self, key: &str, token: &str) -> i64 {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        self.waiting.lock().unwrap().insert(number, sender);
        let line = format!("{number} {key} {token}\n");
        self.input.lock().await.write_all(line.as_bytes()).await.unwrap();
        answer.await.expect("the other process is gone")
    }
}

/// How many of these pairs, written here and read there, read something older than what was written.
pub async fn stale_reads(writer: &Connection, reader: &Reader, pairs: usize) -> usize {
    let visits = (0..USERS).map(|user| async move {
        let (key, mut cookie, mut stale) = (format!("user:{user}"), Session::new().token(), 0);
        for visit in 0..pairs {
            let session = Session::from_token(&cookie).unwrap();
            let _: () = writer.with_session(&session).hset(&key, "visit", visit).await.unwrap();
            cookie = session.token();
            assert!(cookie.len() < 64);
            stale += usize::from(reader.read(&key, &cookie).await != visit as i64);
        }
        stale
    });
    join_all(visits).await.into_iter().sum()
}

/// The same without tokens, by two clients.
pub async fn stale_reads_without_tokens([writer, reader]: [&Connection; 2], pairs: usize) -> usize {
    let visits = (0..USERS).map(|user| async move {
        let (key, mut stale) = (format!("user:{user}"), 0);
        for visit in 0..pairs {
            let _: () = writer.clone().hset(&key, "visit", visit).await.unwrap();
            let found: Option<usize> = reader.clone().hget(&key, "visit").await.unwrap();
            stale += usize::from(found != Some(visit));
        }
        stale
    });
    join_all(visits).await.into_iter().sum()
}
