//! Two regions, each with an app server's client in it.

use std::{path::Path, time::Duration};

use archipelago::{
    Client, Config, Embedded,
    config::{KeyspaceConfig, Mode},
};
use archipelago_examples::Result;

use crate::store::Flags;

const US: &str = "us-east-1";
const EU: &str = "eu-west-1";
const ROUND_TRIP: Duration = Duration::from_millis(76);
const PATIENCE: Duration = Duration::from_secs(30);

/// Two regions.
pub struct World {
    pub clients: [Client; 2],
    pub flags: [Flags; 2],
    embedded: Option<Embedded>,
}

impl World {
    pub async fn embedded() -> Result<Self> {
        let embedded = Embedded::builder().region(US).region(EU).latency(US, EU, ROUND_TRIP).build()?;
        let client = |name: &str| Client::builder().embedded(&embedded).local_region(name).build();
        Self::new([client(US).await?, client(EU).await?], "default", Some(embedded))
    }

    /// On the first two regions of a configuration. Between servers that reach each other, "cut" means that nobody carries
    /// what they write until the world settles.
    pub async fn configured(mut config: Config) -> Result<Self> {
        let keyspace = narrow(&mut config)?;
        let names: Vec<String> = config.regions.keys().take(2).cloned().collect();
        let [a, b] = names.as_slice() else { return Err("this example needs two regions".into()) };
        let client = |name: &str| Client::builder().config(config.clone()).local_region(name).without_sync().build();
        Self::new([client(a).await?, client(b).await?], &keyspace, None)
    }

    fn new(clients: [Client; 2], keyspace: &str, embedded: Option<Embedded>) -> Result<Self> {
        let [a, b] = &clients;
        let flags = [Flags::new(a, keyspace)?, Flags::new(b, keyspace)?];
        Ok(Self { clients, flags, embedded })
    }

    pub fn cut(&self) -> Result<()> {
        self.embedded.as_ref().map_or(Ok(()), |embedded| Ok(embedded.partition(US, EU)?))
    }

    /// Until each region holds what the other wrote.
    pub async fn settle(&self) -> Result<()> {
        let [a, _] = &self.clients;
        match &self.embedded {
            Some(embedded) => {
                embedded.heal();
                a.wait_converged(PATIENCE).await?;
            }
            None => a.sync_until_idle(PATIENCE).await?,
        }
        Ok(())
    }

    /// Lets the links carry what was just written: those of embedded regions do so by themselves.
    pub async fn carry(&self) -> Result<()> {
        match self.embedded {
            Some(_) => Ok(()),
            None => self.settle().await,
        }
    }

    pub async fn close(&self) {
        for client in &self.clients {
            client.shut_down().await;
        }
    }
}

/// A client of the local region of a file, and its flags.
pub async fn open(config: &Path, region: Option<&str>) -> Result<(Client, Flags)> {
    let mut config = Config::from_file(config)?;
    let keyspace = narrow(&mut config)?;
    let builder = Client::builder().config(config);
    let client = match region {
        Some(region) => builder.local_region(region).build().await?,
        None => builder.build().await?,
    };
    let flags = Flags::new(&client, &keyspace)?;
    Ok((client, flags))
}

/// Leaves one keyspace: `default`, or else the first active-active one.
fn narrow(config: &mut Config) -> Result<String> {
    let active_active = |(_, keyspace): &(&String, &KeyspaceConfig)| keyspace.mode == Mode::ActiveActive;
    let names: Vec<String> = config.keyspaces.iter().filter(active_active).map(|(name, _)| name.clone()).collect();
    let keyspace = names.iter().find(|name| *name == "default").or_else(|| names.first()).cloned();
    let keyspace = keyspace.ok_or("the file has no active-active keyspace")?;
    config.keyspaces.retain(|name, _| *name == keyspace);
    Ok(keyspace)
}
