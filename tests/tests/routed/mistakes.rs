//! Configurations and policies that make no sense: each is told, none is guessed at.

use archipelago::{
    Client, Config, Error, ErrorKind,
    routing::{Candidates, Choice, Plan, Policy, Reason, Request},
};
use redis::AsyncCommands;

use crate::world::World;

const ROUTED: &str = "[keyspaces.profiles]\nmode = \"routed\"\n";

/// Why a client cannot be built, without any server.
async fn refusal(text: &str) -> String {
    let config = match text.parse::<Config>() {
        Ok(config) => config,
        Err(error) => return error.to_string(),
    };
    let error = Client::builder().config(config).build().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    error.to_string()
}

#[tokio::test]
async fn a_configuration_that_makes_no_sense_is_refused_by_name() {
    let us = "local = \"us\"\n[regions.us]\nurl = \"redis://127.0.0.1:1\"\n";
    let eu = "[regions.eu]\nurl = \"redis://127.0.0.1:2\"\n";
    for (text, what) in [
        (
            format!("{us}replicas = {{ mars = [\"redis://127.0.0.1:3\"] }}\n{ROUTED}"),
            "regions.us.replicas: unknown region \"mars\", known: us",
        ),
        (format!("{us}cluster = [\"redis://127.0.0.1:3\"]\n{ROUTED}"), "expected only one of"),
        (format!("[regions.us]\n{ROUTED}"), "where is the server?"),
        (
            format!("{us}replicas = {{ us = [\"redis://127.0.0.1:1\"] }}\n{ROUTED}"),
            "regions.us names 127.0.0.1:1 twice",
        ),
        (format!("{us}location = {{ lat = 91.0, lon = 0.0 }}\n{ROUTED}"), "lat"),
        (format!("{us}location = {{ lat = 0.0, lon = 500.0 }}\n{ROUTED}"), "lon"),
        (format!("{us}weight = 0\n{ROUTED}"), "every region has weight 0"),
        (format!("{us}{eu}{ROUTED}"), "which region writes? eu and us have the same weight"),
        (format!("{us}weight = 2\n{eu}{ROUTED}[keyspaces.profiles.routing]\npolicy = \"pinned\"\n"), "pinned"),
        (format!("{us}{ROUTED}[keyspaces.profiles.routing]\nresidency = [\"mars\"]\n"), "unknown region \"mars\""),
        (format!("{us}{ROUTED}[routed]\ndeadline_ms = 1\n"), "routed.deadline_ms: expected 10 to 600000"),
        (format!("{us}{ROUTED}[resilience.breaker]\nfailure_rate = 7.0\n"), "breaker.failure_rate"),
    ] {
        let refusal = refusal(&text).await;
        assert!(refusal.contains(what), "{text}\n{refusal}");
    }
}

/// Allows no node.
#[derive(Debug)]
struct Nobody;

impl Policy for Nobody {
    fn plan(&self, request: &Request<'_>, candidates: &Candidates<'_>) -> Plan {
        Plan::rank(request, candidates, candidates.active(), |_| Choice::Skip(Reason::OtherRegion))
    }
}

#[tokio::test]
async fn a_policy_that_allows_no_node_is_an_error_that_says_so() {
    let world = World::start().await;
    let (client, mut connection) = world.client("").await;
    connection.set_policy(Nobody);
    let error = connection.get::<_, Option<String>>("name").await.unwrap_err();
    let own = Error::of(&error).unwrap();
    assert!(own.kind() == ErrorKind::Unavailable && own.to_string().contains("the policy allows no node"), "{own}");
    client.shut_down().await;
}
