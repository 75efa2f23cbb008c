//! Steady traffic, and a record of every call.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use archipelago::{Connection, Error};
use redis::{AsyncCommands, RedisError};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::world::{KEY, VALUE};

/// Every so many calls is a write, which must not be repeated: an INCR of a key of its own.
pub const WRITE_EVERY: u64 = 10;

/// Seconds after which a call did not go the usual way.
pub const USUAL: f64 = 0.05;

/// One call.
#[derive(Clone, Debug)]
pub struct Call {
    /// When it began, in seconds on the machine's clock, which processes share.
    pub at: f64,
    /// Seconds until it ended.
    pub took: f64,
    /// The key that it increments, unless it is a read.
    pub write: Option<String>,
    /// What it failed with.
    pub error: Option<String>,
}

impl Call {
    pub fn end(&self) -> f64 {
        self.at + self.took
    }
}

pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// Calls at a rate, whether or not earlier ones have ended.
pub struct Traffic {
    calls: Arc<Mutex<Vec<Call>>>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Traffic {
    pub fn start(connection: &Connection, rate: u64) -> Self {
        let traffic = Self { calls: Arc::default(), stop: CancellationToken::new(), tasks: TaskTracker::new() };
        let (calls, tasks) = (traffic.calls.clone(), traffic.tasks.clone());
        let connection = connection.clone();
        let pace = async move {
            // The timer counts milliseconds: at high rates several calls are due at once.
            let mut ticks = tokio::time::interval(Duration::from_millis(1));
            let began = tokio::time::Instant::now();
            let mut begun = 0;
            loop {
                ticks.tick().await;
                let due = (began.elapsed().as_secs_f64() * rate as f64) as u64;
                while begun < due {
                    begun += 1;
                    let (connection, calls) = (connection.clone(), calls.clone());
                    tasks.spawn(async move {
                        let call = call(connection, begun).await;
                        calls.lock().unwrap().push(call);
                    });
                }
            }
        };
        traffic.tasks.spawn(traffic.stop.clone().run_until_cancelled_owned(pace));
        traffic
    }

    /// Waits for the calls under way.
    pub async fn stop(self) -> Vec<Call> {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        std::mem::take(&mut self.calls.lock().unwrap())
    }
}

async fn call(mut connection: Connection, number: u64) -> Call {
    let write = number.is_multiple_of(WRITE_EVERY).then(|| format!("w:archipelago:{number}"));
    let at = now();
    let began = tokio::time::Instant::now();
    let error = match &write {
        Some(key) => connection.incr::<_, _, i64>(key, 1).await.err(),
        None => match connection.get::<_, Option<String>>(KEY).await {
            Ok(value) if value.as_deref() == Some(VALUE) => None,
            Ok(value) => Some((redis::ErrorKind::UnexpectedReturnType, "wrong answer", format!("{value:?}")).into()),
            Err(error) => Some(error),
        },
    };
    Call { at, took: began.elapsed().as_secs_f64(), write, error: error.as_ref().map(kind_of) }
}

fn kind_of(error: &RedisError) -> String {
    Error::of(error).map_or_else(|| error.to_string(), |own| format!("{:?}", own.kind()))
}
