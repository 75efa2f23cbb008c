//! Real servers, each in a directory of its own, none of which outlives its test.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use redis::{Cmd, FromRedisValue, aio::MultiplexedConnection};

use crate::poll;

/// Which program serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// `redis-server` from the path, or what `REDIS_SERVER` names.
    Redis,
    /// What `VALKEY_SERVER` names.
    Valkey,
}

impl Program {
    /// The program's path; `None` when this machine has not been told of any.
    #[must_use]
    pub fn path(self) -> Option<PathBuf> {
        match self {
            Self::Redis => Some(std::env::var_os("REDIS_SERVER").map_or_else(|| "redis-server".into(), PathBuf::from)),
            Self::Valkey => std::env::var_os("VALKEY_SERVER").filter(|path| !path.is_empty()).map(PathBuf::from),
        }
    }
}

/// How to start a server.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// An append-only file, written through at every write: a killed server comes back with all it acknowledged.
    pub durable: bool,
    /// Whose replica to be.
    pub replica_of: Option<u16>,
    /// More settings.
    pub more: Vec<(String, String)>,
}

impl Options {
    /// A server that keeps all it acknowledged.
    #[must_use]
    pub fn durable() -> Self {
        Self { durable: true, ..Self::default() }
    }
}

/// A running (or killed) server.
#[derive(Debug)]
pub struct Server {
    program: PathBuf,
    options: Options,
    directory: PathBuf,
    port: u16,
    child: Option<Child>,
}

static NEXT: AtomicU64 = AtomicU64::new(0);

impl Server {
    /// Starts Redis.
    pub async fn redis(options: Options) -> Self {
        Self::start(Program::Redis, options).await.expect("redis-server; tests/run installs it")
    }

    /// Starts a server and waits until it answers. `None` when the machine has no such program.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn start(program: Program, options: Options) -> Option<Self> {
        let program = program.path()?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("archipelago-{}-{number}", std::process::id()));
        let mut server = Self { program, options, directory, port: 0, child: None };
        // Between the look for a free port and the server's own bind another process may take it: then the next one.
        for _ in 0..20 {
            server.port = free_port();
            if server.try_start().await {
                return Some(server);
            }
        }
        panic!("{} does not start; see the log in {}", server.program.display(), server.directory.display());
    }

    /// Where it listens.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// SIGKILL: no goodbye, nothing flushed.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn terminate(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let sent = Command::new("kill").arg("-TERM").arg(child.id().to_string()).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -TERM");
        let ended = poll::within(poll::PATIENCE, || std::future::ready(child.try_wait().unwrap())).await;
        if ended.is_none() {
            let _ = child.kill();
            let _ = child.wait();
            panic!("the server does not end on SIGTERM");
        }
    }

    /// Starts it again, on the same port and the same files.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn restart(&mut self) {
        self.kill();
        let port = self.port;
        // The port may linger for a moment after the process is gone.
        for _ in 0..50 {
            if self.try_start().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the server does not come up again on port {port}");
    }

    /// Starts it again without its files.
    pub async fn restart_empty(&mut self) {
        self.kill();
        self.erase();
        self.restart().await;
    }

    /// Removes its files. Only while it is down.
    ///
    /// # Panics
    /// When the directory cannot be removed.
    pub fn erase(&mut self) {
        assert!(self.child.is_none(), "erased while it runs");
        fs::remove_dir_all(&self.directory).unwrap();
    }

    /// Copies its files as they are now. [`Server::restore`] puts them back.
    ///
    /// # Panics
    /// When they cannot be copied.
    pub fn backup(&self) {
        let to = self.directory.with_extension("backup");
        let _ = fs::remove_dir_all(&to);
        copy(&self.directory, &to);
    }

    /// Starts it again on the files of the backup.
    ///
    /// # Panics
    /// When there is none, or it does not come up.
    pub async fn restore(&mut self) {
        self.kill();
        self.erase();
        copy(&self.directory.with_extension("backup"), &self.directory);
        self.restart().await;
    }

    /// A plain connection.
    ///
    /// # Panics
    /// When it cannot be made.
    pub async fn connect(&self) -> MultiplexedConnection {
        let client = redis::Client::open(self.url()).unwrap();
        client.get_multiplexed_async_connection().await.expect("a connection")
    }

    /// Runs one command.
    ///
    /// # Panics
    /// When it fails.
    pub async fn run<T: FromRedisValue>(&self, cmd: &Cmd) -> T {
        cmd.query_async(&mut self.connect().await).await.expect("the command succeeds")
    }

    /// One field of INFO.
    pub async fn info(&self, field: &str) -> String {
        let info: String = self.run(&redis::cmd("INFO")).await;
        let line = info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.unwrap_or_default().trim().to_owned()
    }

    async fn try_start(&mut self) -> bool {
        fs::create_dir_all(&self.directory).unwrap();
        let log = fs::File::create(self.directory.join("server.log")).unwrap();
        let mut command = Command::new(&self.program);
        command.arg("--port").arg(self.port.to_string()).arg("--bind").arg("127.0.0.1");
        command.arg("--dir").arg(&self.directory).arg("--pidfile").arg(self.directory.join("server.pid"));
        command.args(["--save", "", "--repl-diskless-sync-delay", "0", "--daemonize", "no"]);
        if self.options.durable {
            command.args(["--appendonly", "yes", "--appendfsync", "always"]);
        }
        if let Some(primary) = self.options.replica_of {
            command.arg("--replicaof").arg("127.0.0.1").arg(primary.to_string());
        }
        for (name, value) in &self.options.more {
            command.arg(format!("--{name}")).arg(value);
        }
        command.stdin(Stdio::null()).stderr(Stdio::null()).stdout(log);
        self.child = Some(command.spawn().unwrap_or_else(|error| panic!("{}: {error}", self.program.display())));
        let up = poll::within(poll::PATIENCE, || {
            let gone = self.child.as_mut().is_none_or(|child| child.try_wait().unwrap().is_some());
            let (url, id) = (self.url(), self.child.as_ref().map(Child::id));
            async move {
                if gone {
                    return Some(false);
                }
                answers(&url, id).await.then_some(true)
            }
        });
        let up = up.await.unwrap_or(false);
        if !up {
            self.kill();
        }
        up
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.directory);
        let _ = fs::remove_dir_all(self.directory.with_extension("backup"));
    }
}

/// Whether this very process answers there, and has loaded its files.
async fn answers(url: &str, id: Option<u32>) -> bool {
    let Ok(client) = redis::Client::open(url) else { return false };
    let Ok(mut connection) = client.get_multiplexed_async_connection().await else { return false };
    let pong: Result<String, _> = redis::cmd("PING").query_async(&mut connection).await;
    let info: Result<String, _> = redis::cmd("INFO").arg("server").query_async(&mut connection).await;
    let line = id.map(|id| format!("process_id:{id}"));
    pong.is_ok() && info.is_ok_and(|info| line.is_some_and(|line| info.lines().any(|l| l.trim() == line)))
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).map(|address| address.port()).unwrap()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
