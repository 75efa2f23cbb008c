//! Typed reads against raw GET: one native command each.

use archipelago::config::HistoryCheck;
use redis::AsyncCommands;

use crate::{
    measure::{compare, heading, row},
    server::{client, raw, start},
};

pub async fn run() {
    let server = start().await;
    let client = client(&server, 1, HistoryCheck::Exact).await;
    let raw = raw(&server).get_multiplexed_async_connection().await.unwrap();
    let register = client.register::<String>("profile");
    register.set("a value of some length").await.unwrap();
    raw.clone().set::<_, _, ()>("profile", "\"a value of some length\"").await.unwrap();
    heading("Reads, 64 tasks on one shared connection");
    let plain = move |_, _| {
        let mut raw = raw.clone();
        async move {
            let _: String = raw.get("profile").await.unwrap();
        }
    };
    let typed = move |_, _| {
        let register = register.clone();
        async move {
            register.get().await.unwrap().unwrap();
        }
    };
    row("GET / register.get", &compare(64, plain, typed).await);
    client.shut_down().await;
}
