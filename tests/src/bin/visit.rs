//! A process of an application: reads users' visits by the tokens that another process hands over.
//!
//! `visit CONFIG WAIT_MS`; then for each line `NUMBER KEY TOKEN` of standard input one line `NUMBER VISIT`, where a user
//! without visits has -1. Ends with its input.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what it cannot do fails the test that started it")]

use std::time::Duration;

use archipelago::{
    Client, Config,
    sessions::{Session, SessionBuilder},
};
use redis::AsyncCommands;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    sync::mpsc,
};

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let config: Config = arguments.next().expect("a configuration").parse().unwrap();
    let wait = Duration::from_millis(arguments.next().expect("milliseconds").parse().unwrap());
    let client = Client::builder().config(config).build().await.unwrap();
    let connection = client.connection("profiles").unwrap();
    let builder = if wait.is_zero() { Session::builder() } else { Session::builder().wait(wait) };

    let (answers, mut answered) = mpsc::channel::<String>(1024);
    let printer = tokio::spawn(async move {
        let mut out = tokio::io::stdout();
        while let Some(line) = answered.recv().await {
            out.write_all(line.as_bytes()).await.unwrap();
            out.flush().await.unwrap();
        }
    });
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        let (connection, builder, answers) = (connection.clone(), builder.clone(), answers.clone());
        tokio::spawn(async move {
            let mut words = line.split(' ');
            let mut word = || words.next().expect("NUMBER KEY TOKEN").to_owned();
            let (number, key, token) = (word(), word(), word());
            let visit = read(&connection, builder, &key, &token).await;
            answers.send(format!("{number} {visit}\n")).await.unwrap();
        });
    }
    drop(answers);
    printer.await.unwrap();
    client.shut_down().await;
}

async fn read(connection: &archipelago::Connection, builder: SessionBuilder, key: &str, token: &str) -> i64 {
    let session = builder.from_token(token).unwrap();
    let visit: Option<i64> = connection.with_session(&session).hget(key, "visit").await.unwrap();
    visit.unwrap_or(-1)
}
