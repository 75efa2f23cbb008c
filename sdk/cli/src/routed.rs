//! What is to be seen of the routed plane: where a command would go, and how its nodes are.

use std::{
    io::Write,
    os::unix::ffi::OsStringExt,
    process::ExitCode,
    time::{Duration, Instant},
};

use archipelago::{Builder, CallOptions, Client, Event, NodeReport};
use futures_util::{Stream, StreamExt};

use crate::{Regions, Route, commands::stopped, output};

/// How long nodes that are slow to connect, or down, are waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where a command would go, and why.
pub(crate) async fn route(builder: Builder, options: Route) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let client = builder.without_sync().build().await?;
    let mut connection = client.connection(&options.keyspace)?;
    if let Some(home) = options.home {
        connection = connection.with_options(CallOptions::default().home(home));
    }
    let mut command = redis::Cmd::new();
    command.arg(options.words.into_iter().map(OsStringExt::into_vec).collect::<Vec<_>>());
    name_those_down(&look(&client).await);
    let explanation = connection.explain(&command)?;
    if options.json {
        output::json(&serde_json::to_value(&explanation)?)?;
    } else {
        writeln!(std::io::stdout(), "{explanation}")?;
    }
    client.shut_down().await;
    Ok(ExitCode::SUCCESS)
}

/// The nodes of all regions, and with `--watch` every change from then on.
pub(crate) async fn regions(builder: Builder, options: Regions) -> Result<ExitCode, Box<dyn std::error::Error>> {
    // From here all regions are seen alike.
    let client = builder.sync_daemon().without_sync().build().await?;
    // Before anything is looked at: an event may be told twice, by the table and as itself, but none is missed.
    let events = client.events();
    let nodes = look(&client).await;
    let Some(active) = client.active_region() else {
        return Err("no routed keyspace is configured: this shows the nodes of the routed plane".into());
    };
    name_those_down(&nodes);
    if options.json {
        output::json(&serde_json::json!({ "active": active.as_str(), "nodes": nodes }))?;
    } else {
        output::nodes(&nodes)?;
    }
    if options.watch {
        watch(events, options.json).await?;
    }
    client.shut_down().await;
    Ok(ExitCode::SUCCESS)
}

/// Prints every event, until interrupted.
async fn watch(mut events: impl Stream<Item = Event> + Unpin, as_json: bool) -> Result<(), Box<dyn std::error::Error>> {
    let stopped = stopped();
    tokio::pin!(stopped);
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            () = &mut stopped => None,
        };
        match event {
            Some(event) if as_json => output::json(&serde_json::to_value(&event)?)?,
            Some(event) => output::line(&event.to_string())?,
            None => return Ok(()),
        }
    }
}

/// The nodes, once everything is known of all, or the patience is over.
async fn look(client: &Client) -> Vec<NodeReport> {
    let began = Instant::now();
    loop {
        let nodes = client.nodes();
        let is_known = |node: &NodeReport| {
            node.availability == "up"
                && node.latency_ms.is_some()
                && (node.role == "primary" || node.behind_ms.is_some())
        };
        if nodes.iter().all(is_known) || began.elapsed() >= PATIENCE {
            return nodes;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn name_those_down(nodes: &[NodeReport]) {
    for node in nodes.iter().filter(|node| node.availability == "down") {
        eprintln!("archipelago: {} cannot be reached", node.name);
    }
}
