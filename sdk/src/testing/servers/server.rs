//! One real server.

use std::{
    fmt::Write as _,
    fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, FromRedisValue, IntoConnectionInfo,
    RedisConnectionInfo, RedisError, aio::MultiplexedConnection,
};
use rustix::process::Signal;

use super::{
    Options, Program, ServerError,
    error::{late, system},
    process::Process,
};
use crate::testing::poll;

/// How often to try a start whose port another process has just taken.
const ATTEMPTS: usize = 20;
/// How long to wait before the next attempt.
const PAUSE: Duration = Duration::from_millis(50);
/// How long a command may take. The client's own default, half a second, is too short for a busy machine.
const ANSWER: Duration = Duration::from_secs(5);
/// A Cluster node takes the port 10,000 above its own as well.
const HIGHEST_PORT: u16 = u16::MAX - 10_000;

/// A running (or killed) server, with the replicas it was given.
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use archipelago::testing::servers::{Options, Server};
///
/// let mut server = Server::redis(Options::durable()).await?;
/// let _: () = server.run(redis::cmd("SET").arg("greeting").arg("hello")).await?;
/// server.kill();
/// server.restart().await?;
/// assert_eq!(server.run::<String>(redis::cmd("GET").arg("greeting")).await?, "hello");
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Server {
    replicas: Vec<Self>,
    process: Process,
    program: Program,
    role: Role,
    options: Options,
    port: u16,
}

/// What the program does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Keeps data.
    Data,
    /// Watches those that do.
    Sentinel,
}

impl Server {
    /// Starts Redis and waits until it answers.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub async fn redis(options: Options) -> Result<Self, ServerError> {
        Self::start(Program::Redis, options).await
    }

    /// Starts a server and waits until it answers.
    ///
    /// # Errors
    /// When the machine has no such program, or the server does not come up.
    pub async fn start(program: Program, options: Options) -> Result<Self, ServerError> {
        Self::start_as(Role::Data, program, options).await
    }

    pub(super) async fn start_as(role: Role, program: Program, options: Options) -> Result<Self, ServerError> {
        let process = Process::new(program.path()?)?;
        let mut server = Self { replicas: Vec::new(), process, program, role, options, port: 0 };
        // Between the look for a free port and the server's own bind another process may take it: then the next one.
        for _ in 0..ATTEMPTS {
            server.port = free_port()?;
            server.write_files()?;
            if server.comes_up().await? {
                return Ok(server);
            }
        }
        Err(server.does_not_start())
    }

    /// Starts so many replicas and waits until each has all that this server has. They belong to this server.
    ///
    /// # Errors
    /// When they do not come up or do not get in sync.
    pub async fn with_replicas(mut self, count: usize) -> Result<Self, ServerError> {
        for _ in 0..count {
            let options = Options { replica_of: Some(self.port), ..self.options.clone() };
            let replica = Box::pin(Self::start(self.program, options)).await?;
            self.replicas.push(replica);
        }
        self.replicas_in_sync().await?;
        Ok(self)
    }

    /// Its replicas, in the order of their start, whatever a failover has made of them.
    #[must_use]
    pub fn replicas(&self) -> &[Self] {
        &self.replicas
    }

    /// Its replicas, to be killed and restarted.
    #[must_use]
    pub fn replicas_mut(&mut self) -> &mut [Self] {
        &mut self.replicas
    }

    /// Gives the replicas away.
    pub(super) fn take_replicas(&mut self) -> Vec<Self> {
        std::mem::take(&mut self.replicas)
    }

    /// Waits until every replica has all that this server has now.
    ///
    /// # Errors
    /// When that takes longer than [`poll::PATIENCE`], or this server does not answer.
    pub async fn replicas_in_sync(&self) -> Result<(), ServerError> {
        let offset = number(&self.info("master_repl_offset").await?);
        for replica in &self.replicas {
            let in_sync = poll::within(poll::PATIENCE, || async {
                let link = replica.info("master_link_status").await.ok()?;
                let reached = replica.info("slave_repl_offset").await.ok()?;
                (link == "up" && number(&reached) >= offset).then_some(())
            });
            in_sync.await.ok_or_else(|| late("a replica in sync"))?;
        }
        Ok(())
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), self.port)
    }

    /// The port where it listens.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Its URL, with the password if there is one.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.options.tls.is_some() { "rediss" } else { "redis" };
        let login = self.options.login.as_ref().map(super::Login::in_url).unwrap_or_default();
        format!("{scheme}://{login}{}", self.address())
    }

    /// How it was started.
    #[must_use]
    pub const fn options(&self) -> &Options {
        &self.options
    }

    /// The id of its process, while it has one.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        self.process.id()
    }

    /// Where its files are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.process.directory()
    }

    /// SIGKILL: no goodbye, nothing flushed.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Errors
    /// When it does not end within [`poll::PATIENCE`]; it is killed then.
    pub async fn terminate(&mut self) -> Result<(), ServerError> {
        self.process.terminate().await
    }

    /// SIGSTOP: connections stay open, the kernel accepts new ones, nobody answers.
    ///
    /// # Errors
    /// When the system refuses the signal.
    pub fn pause(&mut self) -> Result<(), ServerError> {
        self.process.signal(Signal::STOP)
    }

    /// SIGCONT: it goes on where it was stopped, and executes what has come meanwhile.
    ///
    /// # Errors
    /// When the system refuses the signal.
    pub fn resume(&mut self) -> Result<(), ServerError> {
        self.process.signal(Signal::CONT)
    }

    /// Starts it again, on the same port and the same files, its configuration included. Kills it first if it runs.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn restart(&mut self) -> Result<(), ServerError> {
        self.process.kill();
        for _ in 0..ATTEMPTS {
            if self.comes_up().await? {
                return Ok(());
            }
            // Somebody's connection may have got its port; it comes back.
            tokio::time::sleep(PAUSE).await;
        }
        Err(self.does_not_start())
    }

    /// Starts it again without its data.
    ///
    /// # Errors
    /// When it does not come up, or the files cannot be removed.
    pub async fn restart_empty(&mut self) -> Result<(), ServerError> {
        self.erase()?;
        self.restart().await
    }

    /// Kills it and removes its data.
    ///
    /// # Errors
    /// When the files cannot be removed.
    pub fn erase(&mut self) -> Result<(), ServerError> {
        self.process.kill();
        fs::remove_dir_all(self.data()).and_then(|()| fs::create_dir(self.data())).map_err(system("erasing the data"))
    }

    /// Copies its files as they are now. [`Server::restore`] puts them back.
    ///
    /// # Errors
    /// When they cannot be copied.
    pub fn backup(&self) -> Result<(), ServerError> {
        let to = self.backup_directory();
        let _ = fs::remove_dir_all(&to);
        copy(&self.data(), &to).map_err(system("the backup"))
    }

    /// Starts it again on the files of the backup.
    ///
    /// # Errors
    /// When there is none, or it does not come up.
    pub async fn restore(&mut self) -> Result<(), ServerError> {
        self.erase()?;
        copy(&self.backup_directory(), &self.data()).map_err(system("the backup"))?;
        self.restart().await
    }

    /// A plain connection: over TCP, or by the server's Unix socket when its port talks TLS. A command may take five
    /// seconds on it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn connect(&self) -> Result<MultiplexedConnection, RedisError> {
        connect(self.connection_info()?).await
    }

    /// Runs one command on a connection of its own.
    ///
    /// # Errors
    /// When there is no connection, or the command fails.
    pub async fn run<T: FromRedisValue>(&self, cmd: &Cmd) -> Result<T, RedisError> {
        cmd.query_async(&mut self.connect().await?).await
    }

    /// One field of INFO; empty when there is no such field.
    ///
    /// # Errors
    /// As [`Server::run`].
    pub async fn info(&self, field: &str) -> Result<String, RedisError> {
        let info: String = self.run(&redis::cmd("INFO")).await?;
        Ok(line(&info, field).unwrap_or_default().to_owned())
    }

    /// Starts the process and waits until it answers. False when another process has its port.
    async fn comes_up(&mut self) -> Result<bool, ServerError> {
        match self.role {
            Role::Data => self.process.start(&["server.conf"])?,
            Role::Sentinel => self.process.start(&["server.conf", "--sentinel"])?,
        }
        let (info, id) = (self.connection_info()?, self.process.id());
        let up = poll::within(poll::PATIENCE, || {
            let (gone, info) = (self.process.is_gone(), info.clone());
            async move { if gone { Some(false) } else { answers(info, id).await.then_some(true) } }
        });
        if up.await == Some(true) {
            return Ok(true);
        }
        self.process.kill();
        if self.process.log_end().contains("Address already in use") { Ok(false) } else { Err(self.does_not_start()) }
    }

    /// The error of a start that failed. A server that cannot read a line of its configuration logs the line.
    fn does_not_start(&self) -> ServerError {
        let log = self.process.log_end();
        let log = match &self.options.login {
            Some(login) => log.replace(&login.password, "(password)"),
            None => log,
        };
        ServerError::DoesNotStart { program: self.process.program().display().to_string(), log }
    }

    fn connection_info(&self) -> Result<ConnectionInfo, RedisError> {
        let address = match self.options.tls {
            Some(_) => ConnectionAddr::Unix(self.socket()),
            None => ConnectionAddr::Tcp(Ipv4Addr::LOCALHOST.to_string(), self.port),
        };
        let settings = RedisConnectionInfo::default();
        let settings = match &self.options.login {
            Some(login) => settings.set_username(&login.user).set_password(&login.password),
            None => settings,
        };
        Ok(address.into_connection_info()?.set_redis_settings(settings))
    }

    /// Writes what the process reads at its start. Later it may write its configuration itself, as Sentinels do.
    fn write_files(&self) -> Result<(), ServerError> {
        let write = || {
            fs::create_dir_all(self.data())?;
            if let Some(tls) = &self.options.tls {
                fs::write(self.file("authority.pem"), tls.authority())?;
                fs::write(self.file("certificate.pem"), tls.certificate())?;
                fs::write(self.file("key.pem"), tls.key())?;
            }
            fs::write(self.file("server.conf"), self.configuration())
        };
        write().map_err(system("the server's files"))
    }

    fn configuration(&self) -> String {
        let mut text = String::new();
        let mut set = |name: &str, value: &str| {
            let _ = writeln!(text, "{name} {value}");
        };
        set("bind", "127.0.0.1");
        set("dir", &quoted_path(&self.data()));
        set("pidfile", &quoted_path(&self.file("server.pid")));
        set("daemonize", "no");
        self.set_port(&mut set);
        if self.role == Role::Data {
            self.set_data(&mut set);
        }
        for (name, value) in &self.options.more {
            set(name, value);
        }
        text
    }

    fn set_port(&self, set: &mut impl FnMut(&str, &str)) {
        let port = self.port.to_string();
        if self.options.tls.is_none() {
            return set("port", &port);
        }
        set("port", "0");
        set("tls-port", &port);
        set("tls-ca-cert-file", &quoted_path(&self.file("authority.pem")));
        set("tls-cert-file", &quoted_path(&self.file("certificate.pem")));
        set("tls-key-file", &quoted_path(&self.file("key.pem")));
        set("tls-auth-clients", "no");
        set("tls-replication", "yes");
        set("tls-cluster", "yes");
        set("unixsocket", &quoted_path(&self.socket()));
    }

    fn set_data(&self, set: &mut impl FnMut(&str, &str)) {
        set("save", "\"\"");
        set("repl-diskless-sync-delay", "0");
        if self.options.durable {
            set("appendonly", "yes");
            set("appendfsync", "always");
        }
        if let Some(primary) = self.options.replica_of {
            set("replicaof", &format!("127.0.0.1 {primary}"));
        }
        if let Some(login) = &self.options.login {
            set("user", &format!("{} on {} ~* &* +@all", quoted(&login.user), quoted(&format!(">{}", login.password))));
            if login.user != "default" {
                set("user", "default off");
            }
            set("masteruser", &quoted(&login.user));
            set("masterauth", &quoted(&login.password));
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory().join(name)
    }

    fn data(&self) -> PathBuf {
        self.file("data")
    }

    fn backup_directory(&self) -> PathBuf {
        self.file("backup")
    }

    fn socket(&self) -> PathBuf {
        self.file("server.sock")
    }
}

async fn connect(info: ConnectionInfo) -> Result<MultiplexedConnection, RedisError> {
    let config = AsyncConnectionConfig::new().set_connection_timeout(Some(ANSWER)).set_response_timeout(Some(ANSWER));
    Client::open(info)?.get_multiplexed_async_connection_with_config(&config).await
}

/// Whether this very process answers there, and has loaded its files.
async fn answers(info: ConnectionInfo, id: Option<u32>) -> bool {
    let asked = async {
        let mut connection = connect(info).await?;
        let _: String = redis::cmd("PING").query_async(&mut connection).await?;
        redis::cmd("INFO").arg("server").query_async::<String>(&mut connection).await
    };
    asked.await.is_ok_and(|info| line(&info, "process_id") == id.map(|id| id.to_string()).as_deref())
}

/// One field of INFO's answer.
fn line<'a>(info: &'a str, field: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).map(str::trim)
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_default()
}

fn free_port() -> Result<u16, ServerError> {
    // Those that are not taken stay bound until one is found, so that no other look finds them again.
    let mut too_high = Vec::new();
    loop {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(system("a free port"))?;
        let port = listener.local_addr().map_err(system("a free port"))?.port();
        if port <= HIGHEST_PORT {
            return Ok(port);
        }
        too_high.push(listener);
    }
}

/// Text as a value in a configuration file.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn quoted_path(path: &Path) -> String {
    quoted(&path.display().to_string())
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
