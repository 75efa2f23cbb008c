//! What each subcommand does.

use std::{
    collections::BTreeMap,
    io::{IsTerminal, Write},
    os::unix::ffi::OsStringExt,
    process::ExitCode,
    time::{Duration, Instant},
};

use archipelago::{
    Builder, Client, Config, ConflictEvent, Error, ReadStrength, WriteStrength,
    engine::{Kind, RegionId, Resolved},
    exec::{ExecReply, Interpreter, split_line},
};
use bytes::Bytes;
use futures_util::{FutureExt, Stream, StreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::{Cli, Command, Exec, Named, SyncOptions, output, routed, stock, writers};

/// The longest line read from standard input: the largest command with some room.
const MAX_LINE: usize = 64 * 1024 * 1024;

pub(crate) async fn run(cli: Cli) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let config =
        Config::from_file(cli.config.ok_or("no configuration: name a file (--config or ARCHIPELAGO_CONFIG)")?)?;
    // Where users live is the application's business, and so is its database of places, which may not be here.
    let mut builder = Client::builder().config(Config { homes: None, ..config.clone() });
    if let Some(region) = cli.region {
        builder = builder.local_region(region);
    }
    match cli.command {
        Command::Exec(options) => {
            let configured = config.keyspaces.get(&options.keyspace).map(|keyspace| (keyspace.read, keyspace.write));
            exec(builder, options, configured.unwrap_or_default()).await
        }
        Command::Sync(options) if options.until_idle => sync_until_idle(builder, options).await,
        Command::Sync(options) => sync(builder, &options).await,
        Command::Inspect(named) => Ok(inspect(builder, named, false).await?),
        Command::Key(named) => Ok(inspect(builder, named, true).await?),
        Command::Stock(command) => stock::run(builder, command).await,
        Command::Promote(options) => writers::run_promote(&config, options).await,
        Command::Rejoin(options) => writers::run_rejoin(&config, options).await,
        Command::Route(options) => routed::route(builder, options).await,
        Command::Regions(options) => routed::regions(builder, options).await,
    }
}

async fn exec(
    builder: Builder,
    options: Exec,
    strengths: (ReadStrength, WriteStrength),
) -> Result<ExitCode, Box<dyn std::error::Error>> {
    // What stays in the local region needs no connection to another.
    let (read, write) = (options.read.unwrap_or(strengths.0), options.write.unwrap_or(strengths.1));
    let words: Vec<_> = options.words.into_iter().map(|word| word.into_vec().into()).collect();
    let is_local = read == ReadStrength::Local
        && matches!(write, WriteStrength::Local | WriteStrength::Replicated(_))
        && !Interpreter::asks_elsewhere(&words);
    let everywhere = builder.clone().without_sync();
    let builder = if is_local { builder.local_only() } else { builder.without_sync() };
    let client = builder.build().await?;
    let interpreter = |client: &Client| -> Result<Interpreter, Error> {
        Ok(client.keyspace(&options.keyspace)?.with_read(read).with_write(write).interpreter())
    };
    let near = interpreter(&client)?;
    let failed = if words.is_empty() {
        let wide = is_local.then_some(Wide { builder: everywhere, interpreter: &interpreter, client: None });
        exec_lines(&near, wide, options.json).await?
    } else {
        let reply = near.execute(&words).await;
        output::reply(&reply, options.json)?;
        reply.is_error()
    };
    client.shut_down().await;
    Ok(if failed && options.fail_on_error { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// All regions, for the commands that ask beyond the local one: connected to when the first of them comes.
struct Wide<'i> {
    builder: Builder,
    interpreter: &'i (dyn Fn(&Client) -> Result<Interpreter, Error> + Sync),
    client: Option<(Client, Interpreter)>,
}

impl Wide<'_> {
    async fn execute(&mut self, words: &[Bytes]) -> Result<ExecReply, Error> {
        let (_, interpreter) = match &mut self.client {
            Some(client) => client,
            none => {
                let client = self.builder.clone().build().await?;
                let interpreter = (self.interpreter)(&client)?;
                none.insert((client, interpreter))
            }
        };
        Ok(interpreter.execute(words).await)
    }
}

/// One command per line, one answer per line, flushed; says whether any answer was an error.
async fn exec_lines(near: &Interpreter, mut wide: Option<Wide<'_>>, json: bool) -> Result<bool, std::io::Error> {
    let failed = exec_each_line(near, wide.as_mut(), json).await;
    if let Some((client, _)) = wide.and_then(|wide| wide.client) {
        client.shut_down().await;
    }
    failed
}

async fn exec_each_line(
    near: &Interpreter,
    mut wide: Option<&mut Wide<'_>>,
    json: bool,
) -> Result<bool, std::io::Error> {
    let mut input = BufReader::new(tokio::io::stdin());
    let mut failed = false;
    let mut line = Vec::new();
    loop {
        line.clear();
        if !read_line(&mut input, &mut line).await? {
            return Ok(failed);
        }
        let reply = match split_line(&line) {
            Ok(words) if words.is_empty() => continue,
            Ok(words) => match &mut wide {
                Some(wide) if Interpreter::asks_elsewhere(&words) => {
                    // Nothing was sent.
                    wide.execute(&words).await.unwrap_or_else(|error| ExecReply::Error(format!("UNAVAILABLE {error}")))
                }
                Some(_) | None => near.execute(&words).await,
            },
            Err(error) => ExecReply::Error(format!("ERR {error}")),
        };
        failed |= reply.is_error();
        output::reply(&reply, json)?;
    }
}

/// Reads up to a line end. A line without end must not eat the memory.
async fn read_line(input: &mut BufReader<tokio::io::Stdin>, line: &mut Vec<u8>) -> Result<bool, std::io::Error> {
    loop {
        let available = input.fill_buf().await?;
        if available.is_empty() {
            return Ok(!line.is_empty());
        }
        let (used, done) = match available.iter().position(|byte| *byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (available.len(), false),
        };
        line.extend_from_slice(available.get(..used).unwrap_or_default());
        input.consume(used);
        if line.len() > MAX_LINE {
            return Err(std::io::Error::other(format!("a line is longer than {MAX_LINE} bytes")));
        }
        if done {
            while line.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
                line.pop();
            }
            return Ok(true);
        }
    }
}

async fn sync(builder: Builder, options: &SyncOptions) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let client = builder.sync_daemon().build().await?;
    let mut conflicts = conflicts(&client, options);
    for (region, error) in client.missing_regions() {
        eprintln!("archipelago: {region} is not reachable yet: {error}");
    }
    for skew in client.clock_skew().await {
        eprintln!("archipelago: the clock of {} is {:?} ahead of {}'s", skew.ahead, skew.by, skew.behind);
    }
    eprintln!("archipelago: driving links, until interrupted");
    let stopped = stopped();
    tokio::pin!(stopped);
    loop {
        tokio::select! {
            () = &mut stopped => break,
            Some(event) = conflicts.next() => output::conflict(&event, options.json)?,
        }
    }
    client.shut_down().await;
    Ok(ExitCode::SUCCESS)
}

/// What is met from now on, if anybody wants to see it.
fn conflicts(client: &Client, options: &SyncOptions) -> impl Stream<Item = ConflictEvent> + Unpin + use<> {
    if options.conflicts { client.conflicts().left_stream() } else { stream::pending().right_stream() }
}

/// Waits for an interrupt or a request to terminate.
pub(crate) async fn stopped() {
    let interrupted = tokio::signal::ctrl_c();
    match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(mut terminated) => {
            tokio::select! {
                _ = interrupted => {}
                _ = terminated.recv() => {}
            }
        }
        Err(_) => drop(interrupted.await),
    }
}

async fn sync_until_idle(builder: Builder, options: SyncOptions) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let began = Instant::now();
    // The daemon's rules for the local region, without its leases: this run drives every link itself.
    let client = builder.sync_daemon().without_sync().build().await?;
    let before = client.resolved().await;
    let unasked: Vec<RegionId> = client.missing_regions().iter().map(|(region, _)| region.clone()).collect();
    let mut conflicts = conflicts(&client, &options);
    let bar = progress();
    let result = {
        let idle = client.sync_until_idle(options.timeout);
        tokio::pin!(idle);
        loop {
            tokio::select! {
                result = &mut idle => break result,
                Some(event) = conflicts.next() => output::conflict(&event, options.json)?,
                () = tokio::time::sleep(Duration::from_millis(500)), if !bar.is_hidden() => {
                    let missing = client.missing().await;
                    bar.set_message(missing.first().cloned().unwrap_or_default());
                }
            }
        }
    };
    bar.finish_and_clear();
    // Unconstrained: the runtime's budget would end it after 128.
    while let Some(Some(event)) = tokio::task::unconstrained(conflicts.next()).now_or_never() {
        output::conflict(&event, options.json)?;
    }
    let missing = if result.is_err() { client.missing().await } else { Vec::new() };
    let uncollected = if result.is_ok() { client.uncollected().await } else { Vec::new() };
    let so_far = client.resolved().await;
    let in_words = |counts: &Counts| -> BTreeMap<String, u64> {
        let line = |((region, resolved), count): (&(RegionId, Resolved), &u64)| {
            (format!("{resolved} in {region}, {}", resolved.rule()), *count)
        };
        counts.iter().map(line).collect()
    };
    // Of a region that could not be asked before, nobody knows what is new.
    let mut new = since(&before, &so_far);
    new.retain(|(region, _), _| !unasked.contains(region));
    let (resolved, so_far) = (in_words(&new), in_words(&so_far));
    client.shut_down().await;
    let took = began.elapsed();
    if options.json {
        let idle = result.is_ok();
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        output::json(&serde_json::json!({
            "idle": idle, "took_ms": millis, "missing": missing, "uncollected": uncollected, "resolved": resolved,
            "resolved_so_far": so_far
        }))?;
    } else if result.is_ok() {
        writeln!(std::io::stdout(), "every region holds everything ({took:.1?})")?;
        for what in uncollected {
            writeln!(std::io::stdout(), "{what}")?;
        }
        for (what, count) in &resolved {
            writeln!(std::io::stdout(), "concurrent writes decided: {what}: {count}")?;
        }
    }
    match result {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => {
            eprintln!("archipelago: not idle after {:.0?}: {error}", options.timeout);
            Ok(ExitCode::FAILURE)
        }
    }
}

/// How often a rule decided between concurrent writes, by the region where they met.
type Counts = BTreeMap<(RegionId, Resolved), u64>;

/// What was decided in between. Regions count from their beginning, and anew after a loss of data.
fn since(before: &Counts, now: &Counts) -> Counts {
    let known = |what: &(RegionId, Resolved)| before.get(what).copied().unwrap_or(0);
    let new = now.iter().map(|(what, count)| {
        let known = known(what);
        (what.clone(), if *count < known { *count } else { *count - known })
    });
    new.filter(|(_, count)| *count > 0).collect()
}

/// A spinner that names what is still missing; nothing when nobody looks.
pub(crate) fn progress() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {wide_msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

async fn inspect(builder: Builder, named: Named, keys_only: bool) -> Result<ExitCode, Error> {
    let client = builder.local_only().build().await?;
    let kind: Kind = named.kind;
    let report = client.keyspace(&named.keyspace)?.inspect(kind, named.name.into_vec()).await?;
    client.shut_down().await;
    output::report(&report, keys_only, named.json);
    Ok(ExitCode::SUCCESS)
}
