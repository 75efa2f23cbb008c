//! How long a write takes to be seen in another region, 40 ms away, at 1,000 writes a second.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use archipelago::{Client, config::HistoryCheck};
use hdrhistogram::Histogram;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
};

use crate::{
    measure::seconds,
    server::{config, start},
};

const ONE_WAY: Duration = Duration::from_millis(40);

/// A proxy that holds every byte back for as long as the way takes, and does nothing else. Behind the test kit's, which
/// adds 40 ms to a lone call just the same, this link showed a lag of 150 ms: not understood yet.
async fn far_away(port: u16) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let far = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            near.set_nodelay(true).unwrap();
            far.set_nodelay(true).unwrap();
            let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
            tokio::spawn(carry(near_in, far_out));
            tokio::spawn(carry(far_in, near_out));
        }
    });
    address
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    let (sender, mut receiver) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    tokio::spawn(async move {
        while let Some((due, bytes)) = receiver.recv().await {
            tokio::time::sleep_until(due.into()).await;
            if to.write_all(&bytes).await.is_err() {
                break;
            }
        }
    });
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count) = from.read(&mut buffer).await {
        if count == 0 || sender.send((Instant::now() + ONE_WAY, buffer[..count].to_vec())).is_err() {
            break;
        }
    }
}

pub async fn run() {
    let (here, there) = (start().await, start().await);
    let far = far_away(there.port()).await;
    // The driver stands in the origin's region: it reads there locally and sends over the wide way.
    let urls = [("here", here.url()), ("there", format!("redis://{far}"))];
    let driver =
        Client::builder().config(config(&urls, 1, HistoryCheck::Exact)).local_region("here").build().await.unwrap();
    let watcher = crate::server::client_of("there", &there, 1, HistoryCheck::Exact).await;
    driver.wait_converged(Duration::from_secs(30)).await.unwrap();

    let began = Instant::now();
    let length = seconds() * 2;
    let writer = {
        let driver = driver.clone();
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(1));
            let mut number = 0u64;
            while began.elapsed() < length {
                ticks.tick().await;
                let (driver, number_now) = (driver.clone(), number);
                number += 1;
                tokio::spawn(async move {
                    // Each key is written once; its value says when the write was acknowledged to have begun.
                    let name = format!("lag:{number_now}");
                    let sent = began.elapsed().as_micros() as u64;
                    driver.register::<u64>(name).set(&sent).await.unwrap();
                });
            }
            number
        })
    };
    // The keys come in order, more or less: a few watchers poll the next ones.
    let mut histogram = Histogram::<u64>::new(3).unwrap();
    let mut next = 0u64;
    let mut end = None;
    let mut writer = writer;
    while end.is_none_or(|end| next < end) {
        match watcher.register::<u64>(format!("lag:{next}")).get().await.unwrap() {
            Some(sent) => {
                histogram.record(began.elapsed().as_micros() as u64 - sent).unwrap();
                next += 1;
            }
            None if end.is_none() && writer.is_finished() => end = Some((&mut writer).await.unwrap()),
            None => tokio::time::sleep(Duration::from_micros(100)).await,
        }
    }
    println!(
        "\nLag over a link with {} ms one way, {:.0} writes/s: p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms ({} writes)",
        ONE_WAY.as_millis(),
        next as f64 / length.as_secs_f64(),
        histogram.value_at_quantile(0.5) as f64 / 1000.0,
        histogram.value_at_quantile(0.99) as f64 / 1000.0,
        histogram.max() as f64 / 1000.0,
        histogram.len(),
    );
    driver.shut_down().await;
    watcher.shut_down().await;
}
