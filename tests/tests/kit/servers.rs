//! Servers come, go, keep, lose and repeat their data; none is left behind.

use std::{path::PathBuf, process::Command, time::Duration};

use archipelago::testing::{
    poll,
    servers::{Login, Options, Program, Server, ServerError},
};
use redis::ErrorKind;

pub fn is_running(id: u32) -> bool {
    Command::new("kill").arg("-0").arg(id.to_string()).output().unwrap().status.success()
}

/// What must be gone with its owner.
pub fn traces<'a>(servers: impl IntoIterator<Item = &'a Server>) -> Vec<(u32, PathBuf)> {
    let traces = servers.into_iter().map(|server| (server.process_id().unwrap(), server.directory().to_owned()));
    let traces: Vec<_> = traces.collect();
    assert!(traces.iter().all(|(id, directory)| is_running(*id) && directory.is_dir()));
    traces
}

pub fn assert_gone(traces: &[(u32, PathBuf)]) {
    for (id, directory) in traces {
        assert!(!is_running(*id), "process {id} is left behind");
        assert!(!directory.exists(), "{} is left behind", directory.display());
    }
}

async fn set(server: &Server, value: &str) {
    let _: () = server.run(redis::cmd("SET").arg("key").arg(value)).await.unwrap();
}

async fn get(server: &Server) -> Option<String> {
    server.run(redis::cmd("GET").arg("key")).await.unwrap()
}

#[tokio::test]
async fn no_process_and_no_directory_outlives_its_owner() {
    let mut server = Server::redis(Options::default()).await.unwrap().with_replicas(1).await.unwrap();
    server.replicas_mut()[0].pause().unwrap();
    let all = traces([&server, &server.replicas()[0]]);
    drop(server);
    assert_gone(&all);
}

#[tokio::test]
async fn a_killed_server_comes_back_with_what_its_disk_has() {
    let mut durable = Server::redis(Options::durable()).await.unwrap();
    let mut forgetful = Server::redis(Options::default()).await.unwrap();
    for server in [&mut durable, &mut forgetful] {
        set(server, "kept").await;
        let (port, id) = (server.port(), server.process_id().unwrap());
        server.kill();
        assert!(!is_running(id) && server.process_id().is_none());
        assert!(server.connect().await.is_err());
        server.restart().await.unwrap();
        assert_eq!(server.port(), port);
    }
    assert_eq!(get(&durable).await.as_deref(), Some("kept"));
    assert_eq!(get(&forgetful).await, None);
    durable.terminate().await.unwrap();
    durable.restart().await.unwrap();
    assert_eq!(get(&durable).await.as_deref(), Some("kept"));
    durable.restart_empty().await.unwrap();
    assert_eq!(get(&durable).await, None);
}

#[tokio::test]
async fn a_backup_comes_back() {
    let mut server = Server::redis(Options::durable()).await.unwrap();
    set(&server, "old").await;
    server.backup().unwrap();
    set(&server, "new").await;
    server.restore().await.unwrap();
    assert_eq!(get(&server).await.as_deref(), Some("old"));
}

#[tokio::test]
async fn a_paused_server_is_silent_and_goes_on_where_it_was() {
    let mut server = Server::redis(Options::default()).await.unwrap();
    let mut connection = server.connect().await.unwrap();
    server.pause().unwrap();
    let cmd = redis::cmd("INCR").arg("count").to_owned();
    let call = tokio::spawn(async move { cmd.query_async::<u64>(&mut connection).await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!call.is_finished());
    server.resume().unwrap();
    // The call may have given up meanwhile; the server has it all the same.
    poll::until("the command is executed", || async {
        (server.run::<Option<u64>>(redis::cmd("GET").arg("count")).await.unwrap() == Some(1)).then_some(())
    })
    .await;
    drop(call.await.unwrap());
}

#[tokio::test]
async fn replicas_have_what_the_primary_has() {
    let login = Some(Login::new("app", "a p\"ss\\word"));
    let server = Server::redis(Options { login, ..Options::default() }).await.unwrap().with_replicas(2).await.unwrap();
    set(&server, "copied").await;
    server.replicas_in_sync().await.unwrap();
    assert_eq!(server.replicas().len(), 2);
    for replica in server.replicas() {
        assert_eq!(get(replica).await.as_deref(), Some("copied"));
        assert_eq!(replica.info("role").await.unwrap(), "slave");
    }
}

#[tokio::test]
async fn only_the_user_with_the_password_gets_in() {
    let login = Some(Login::new("app", "p@ss/word"));
    let server = Server::redis(Options { login, ..Options::default() }).await.unwrap();
    set(&server, "secret").await;
    let ask = async |url: String| {
        let mut connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
        redis::cmd("GET").arg("key").query_async::<String>(&mut connection).await
    };
    assert_eq!(ask(server.url()).await.unwrap(), "secret");
    assert!(ask(format!("redis://{}", server.address())).await.is_err());
    let wrong = ask(format!("redis://app:wrong@{}", server.address())).await.unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::AuthenticationFailed);
    assert!(!format!("{server:?}").contains("p@ss"));

    let login = Some(Login::new("default", "word"));
    let server = Server::redis(Options { login, ..Options::default() }).await.unwrap();
    set(&server, "secret").await;
    assert_eq!(ask(format!("redis://:word@{}", server.address())).await.unwrap(), "secret");
    assert!(ask(format!("redis://{}", server.address())).await.is_err());
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why() {
    let more = vec![("no-such-setting".to_owned(), "pass-word".to_owned())];
    let login = Some(Login::new("app", "pass-word"));
    let error = Server::redis(Options { more, login, ..Options::default() }).await.unwrap_err();
    assert!(matches!(&error, ServerError::DoesNotStart { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("no-such-setting") && !text.contains("pass-word"), "{text}");
}

#[tokio::test]
async fn valkey_serves_as_well_or_says_what_is_missing() {
    match Server::start(Program::Valkey, Options::default()).await {
        Ok(server) => set(&server, "value").await,
        Err(error) => {
            assert!(matches!(error, ServerError::MissingProgram { .. }), "{error}");
            let text = error.to_string();
            assert!(text.contains("valkey-server") && text.contains("VALKEY_SERVER"), "{text}");
        }
    }
}
