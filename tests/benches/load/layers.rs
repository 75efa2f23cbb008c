//! Where a write's time goes: the raw command against a script that does nothing, the same with a mutation's arguments,
//! the mutation's own script sent by the crate, and the typed client.

use archipelago::config::HistoryCheck;
use futures_util::StreamExt;
use redis::{Cmd, aio::MultiplexedConnection};

use crate::{
    measure::{compare, heading, row},
    server::{client, raw, start},
};

pub async fn run() {
    let server = start().await;
    let client = client(&server, 1, HistoryCheck::Heartbeat).await;
    let counter = client.counter("counter:0");
    counter.add(1).await.unwrap();

    let redis = raw(&server);
    let mut monitor = redis.get_async_monitor().await.unwrap();
    counter.add(1).await.unwrap();
    let seen: String = {
        let mut messages = monitor.on_message::<String>();
        loop {
            let message = messages.next().await.unwrap();
            if message.contains("\"EVALSHA\"") {
                break message;
            }
        }
    };
    drop(monitor);
    let arguments = arguments(&seen);

    let connection = redis.get_multiplexed_async_connection().await.unwrap();
    let empty: String =
        redis::cmd("SCRIPT").arg("LOAD").arg("return 1").query_async(&mut connection.clone()).await.unwrap();
    let mut nothing = redis::cmd("EVALSHA");
    nothing.arg(&empty).arg(0);
    let mut same = redis::cmd("EVALSHA");
    same.arg(&empty).arg(&arguments[2..]);
    let mut whole = redis::cmd("EVALSHA");
    whole.arg(&arguments[1..]);

    for tasks in [1, 50] {
        heading(&format!("Layers of counter.add, {tasks} task(s) on 1 connection"));
        for (name, layer) in [
            ("a script that does nothing", &nothing),
            ("with a mutation's arguments", &same),
            ("the mutation's script", &whole),
        ] {
            row(name, &compare(tasks, sending(&connection, increment()), sending(&connection, layer.clone())).await);
        }
        let counter = counter.clone();
        let typed = move |_, _| {
            let counter = counter.clone();
            async move { assert!(counter.add(1).await.is_ok()) }
        };
        row("counter.add", &compare(tasks, sending(&connection, increment()), typed).await);
    }
    client.shut_down().await;
}

fn increment() -> Cmd {
    let mut cmd = redis::cmd("INCRBY");
    cmd.arg("plain").arg(1);
    cmd
}

fn sending(
    connection: &MultiplexedConnection,
    cmd: Cmd,
) -> impl Fn(usize, usize) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync + 'static + use<> {
    let connection = connection.clone();
    move |_, _| {
        let (mut connection, cmd) = (connection.clone(), cmd.clone());
        Box::pin(async move {
            let value = connection.send_packed_command(&cmd).await.unwrap();
            assert!(!matches!(value, redis::Value::ServerError(_)));
        })
    }
}

/// The arguments of a command as MONITOR shows it.
fn arguments(line: &str) -> Vec<Vec<u8>> {
    let mut arguments = Vec::new();
    let mut bytes = line.bytes().skip_while(|byte| *byte != b'"');
    while bytes.next() == Some(b'"') {
        let mut argument = Vec::new();
        loop {
            match bytes.next().unwrap() {
                b'"' => break,
                b'\\' => match bytes.next().unwrap() {
                    b'x' => {
                        let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
                        argument.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
                    }
                    b'n' => argument.push(b'\n'),
                    b'r' => argument.push(b'\r'),
                    b't' => argument.push(b'\t'),
                    b'a' => argument.push(7),
                    b'b' => argument.push(8),
                    other => argument.push(other),
                },
                other => argument.push(other),
            }
        }
        arguments.push(argument);
        bytes.next();
    }
    arguments
}
