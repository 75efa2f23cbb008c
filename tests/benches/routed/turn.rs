//! Many tasks that call as fast as they can, for a while.

use std::time::{Duration, Instant};

use redis::{AsyncCommands, aio::ConnectionLike};

use crate::world::{KEY, VALUE};

/// What every task does.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Command {
    Get,
    Set,
}

/// What came of it.
pub struct Turn {
    pub calls: f64,
    pub seconds: f64,
}

impl Turn {
    /// A task for each connection, which makes one call after the other.
    pub async fn run<C: ConnectionLike + Send + Sync + 'static>(
        connections: impl IntoIterator<Item = C>,
        command: Command,
        length: Duration,
    ) -> Self {
        let began = Instant::now();
        let task = |mut connection: C| {
            tokio::spawn(async move {
                let mut calls = 0_u64;
                while began.elapsed() < length {
                    match command {
                        Command::Get => assert_eq!(connection.get::<_, String>(KEY).await.unwrap(), VALUE),
                        Command::Set => connection.set::<_, _, ()>(KEY, VALUE).await.unwrap(),
                    }
                    calls += 1;
                }
                calls
            })
        };
        let mut calls = 0;
        for task in connections.into_iter().map(task).collect::<Vec<_>>() {
            calls += task.await.unwrap();
        }
        Self { calls: calls as f64, seconds: began.elapsed().as_secs_f64() }
    }

    pub fn per_second(&self) -> f64 {
        self.calls / self.seconds
    }
}
