//! The world: three regions with an app server in each, and the faults one can make there.

use std::{path::Path, sync::Arc, time::Duration};

use archipelago::{Client, Config, Embedded, config::Mode, store::Store};
use archipelago_examples::{Result, quoted};

use crate::failure::Failure;

/// The embedded regions.
const NAMES: [&str; 3] = ["us-east-1", "eu-west-1", "ap-northeast-1"];

/// Round trips between them, in milliseconds: the first and the second, the first and the third, the other two.
const ROUND_TRIPS: [u64; 3] = [76, 160, 220];

/// All of it, in one process instead of one for each region.
#[derive(Debug)]
pub struct World {
    pub regions: Vec<Region>,
    /// The regions, unless they are servers of your own.
    embedded: Option<Embedded>,
}

/// A region, as the app server in it sees it.
#[derive(Debug)]
pub struct Region {
    pub name: String,
    pub client: Client,
    /// Below the typed handles: how far its links are.
    pub store: Arc<dyn Store>,
}

/// What can be done to a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fate {
    Kill,
    Restart,
}

impl World {
    /// On the configured regions, else on embedded ones.
    pub async fn open(config: Option<&Path>) -> Result<Self> {
        match config {
            Some(file) => Self::configured(Config::from_file(file)?).await,
            None => Self::embedded().await,
        }
    }

    pub async fn embedded() -> Result<Self> {
        let [us, eu, ap] = NAMES;
        let [us_eu, us_ap, eu_ap] = ROUND_TRIPS.map(Duration::from_millis);
        let builder = Embedded::builder().region(us).region(eu).region(ap);
        let embedded = builder.latency(us, eu, us_eu).latency(us, ap, us_ap).latency(eu, ap, eu_ap).build()?;
        let mut regions = Vec::new();
        for name in NAMES {
            let client = Client::builder().embedded(&embedded).local_region(name).build().await?;
            regions.push(Region::new(name, client, "default")?);
        }
        Ok(Self { regions, embedded: Some(embedded) })
    }

    /// On the first three regions of a configuration, in its keyspace `default` or else its first active-active one.
    pub async fn configured(mut config: Config) -> Result<Self> {
        let active_active =
            |(_, keyspace): &(&String, &archipelago::config::KeyspaceConfig)| keyspace.mode == Mode::ActiveActive;
        let names: Vec<String> = config.keyspaces.iter().filter(active_active).map(|(name, _)| name.clone()).collect();
        let keyspace = names.iter().find(|name| *name == "default").or_else(|| names.first()).cloned();
        let keyspace = keyspace.ok_or("the file has no active-active keyspace")?;
        config.keyspaces.retain(|name, _| *name == keyspace);
        let names: Vec<String> = config.regions.keys().take(NAMES.len()).cloned().collect();
        if names.len() < NAMES.len() {
            return Err("this example needs three regions".into());
        }
        let mut regions = Vec::new();
        for name in names {
            let client = Client::builder().config(config.clone()).local_region(&name).build().await?;
            regions.push(Region::new(&name, client, &keyspace)?);
        }
        Ok(Self { regions, embedded: None })
    }

    /// A region by its name.
    pub fn region(&self, name: &str) -> Result<&Region, Failure> {
        let found = self.regions.iter().find(|region| region.name == name);
        found.ok_or_else(|| Failure::not_found(format!("There is no region {:?}.", quoted(name))))
    }

    /// Whether faults can be made here. What stands on servers is not this page's to break.
    pub const fn can_break(&self) -> bool {
        self.embedded.is_some()
    }

    fn breakable(&self) -> Result<&Embedded, Failure> {
        self.embedded.as_ref().ok_or_else(|| {
            Failure::conflict("These regions are servers of your own: this page cannot cut their links or kill them.")
        })
    }

    /// Whether app servers in `from` are cut off from the region `to`.
    pub fn is_cut(&self, from: &str, to: &str) -> bool {
        self.embedded.as_ref().is_some_and(|embedded| embedded.is_cut(from, to).unwrap_or_default())
    }

    /// Cuts or heals one way.
    pub fn set_cut(&self, from: &str, to: &str, cut: bool) -> Result<(), Failure> {
        let (from, to) = (self.region(from)?, self.region(to)?);
        if from.name == to.name {
            return Err(Failure::input("A link has two ends."));
        }
        let embedded = self.breakable()?;
        let done = if cut { embedded.cut(&from.name, &to.name) } else { embedded.mend(&from.name, &to.name) };
        Ok(done?)
    }

    /// Kills or restarts a region.
    pub fn set_fate(&self, name: &str, fate: Fate) -> Result<(), Failure> {
        let region = self.region(name)?;
        let embedded = self.breakable()?;
        match fate {
            Fate::Kill => embedded.crash(&region.name)?,
            Fate::Restart => embedded.restart(&region.name)?,
        }
        Ok(())
    }

    /// Ends the background work of every client.
    pub async fn close(&self) {
        for region in &self.regions {
            region.client.shut_down().await;
        }
    }
}

impl Region {
    fn new(name: &str, client: Client, keyspace: &str) -> Result<Self> {
        let store = client.keyspace(keyspace)?.store();
        Ok(Self { name: name.to_owned(), client, store })
    }
}
