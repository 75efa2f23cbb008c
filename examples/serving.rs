//! Serving until somebody says stop.

use std::{future::Future, io, net::SocketAddr, time::Duration};

use axum::Router;
use tokio::net::TcpListener;

use crate::Result;

/// How long answers under way are waited for at the end.
const GRACE: Duration = Duration::from_secs(5);

/// Listens on this port of 127.0.0.1; on any free one when it is 0.
///
/// # Errors
/// Another program has it, or it takes rights to have it.
pub async fn listen(port: u16) -> Result<TcpListener> {
    let listening = TcpListener::bind(("127.0.0.1", port)).await;
    listening.map_err(|error| format!("port {port} of 127.0.0.1: {error}; --port names another").into())
}

/// Until Ctrl-C. Where no signal can be waited for, nobody can interrupt.
pub async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Serves until `stop`, then ends what is under way.
///
/// # Errors
/// Those of the listener.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let app = router.into_make_service_with_connect_info::<SocketAddr>();
    let (stopping, stopped) = tokio::sync::oneshot::channel();
    let graceful = async move {
        stop.await;
        // Nobody listens only when serving has ended by itself.
        let _ = stopping.send(());
    };
    let over = async {
        match stopped.await {
            Ok(()) => tokio::time::sleep(GRACE).await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        served = axum::serve(listener, app).with_graceful_shutdown(graceful).into_future() => served,
        () = over => Ok(()),
    }
}
