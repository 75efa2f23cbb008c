//! TLS as a client sees it, with a client that shares no code with the kit.

use std::{io, sync::Arc};

use archipelago::testing::{
    proxy::ChaosProxy,
    servers::{Certificates, Cluster, Login, Options, Program, Sentinels, Server},
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

/// Says PING over TLS to a server whose authority has to be this one.
async fn ping(address: impl tokio::net::ToSocketAddrs, trusted: &Certificates, name: &str) -> io::Result<String> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trusted.authority().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    stream.write_all(b"PING\r\n").await?;
    let mut answer = [0; 64];
    let read = stream.read(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer[..read]).into_owned())
}

fn options() -> Options {
    Options { tls: Some(Certificates::generate().unwrap()), ..Options::default() }
}

#[tokio::test]
async fn the_handshake_succeeds_with_the_authority_only() {
    let options = options();
    let certificates = options.tls.clone().unwrap();
    let server = Server::redis(options).await.unwrap();
    assert!(server.url().starts_with("rediss://127.0.0.1:"));
    assert_eq!(ping(server.address(), &certificates, "localhost").await.unwrap(), "+PONG\r\n");
    assert_eq!(ping(server.address(), &certificates, "127.0.0.1").await.unwrap(), "+PONG\r\n");
    let proxy = ChaosProxy::before(server.address()).await.unwrap();
    assert_eq!(ping(proxy.address(), &certificates, "localhost").await.unwrap(), "+PONG\r\n");

    let stranger = Certificates::generate().unwrap();
    assert!(ping(server.address(), &stranger, "localhost").await.is_err());
    assert!(ping(server.address(), &certificates, "example.org").await.is_err());
    let mut plain = TcpStream::connect(server.address()).await.unwrap();
    plain.write_all(b"PING\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"+PONG"));
    assert_eq!(server.run::<String>(&redis::cmd("PING")).await.unwrap(), "PONG", "the kit gets in all the same");
}

#[tokio::test]
async fn replicas_sentinels_and_clusters_talk_tls_among_themselves() {
    let login = Some(Login::new("app", "word"));
    let sentinels = Sentinels::start(Program::Redis, Options { login, ..options() }, 1).await.unwrap();
    assert_eq!(sentinels.failover().await.unwrap(), 1);
    drop(sentinels);
    let options = options();
    let certificates = options.tls.clone().unwrap();
    let cluster = Cluster::start(Program::Redis, options, 1).await.unwrap();
    for node in cluster.nodes() {
        assert_eq!(ping(node.address(), &certificates, "localhost").await.unwrap(), "+PONG\r\n");
    }
}
