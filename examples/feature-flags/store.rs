//! Where flags are kept, and how they are changed: a register `flag:NAME` for each definition, a disable-wins flag
//! `kill:NAME` for its kill switch, and the set `flags` of all names.

use std::collections::BTreeSet;

use archipelago::{
    Client, ErrorKind, Keyspace,
    near::{Near, NearValue},
};
use archipelago_examples::{Result, quoted};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use serde_json::Value as Json;

use crate::{
    definition::{Definition, Stored, check_name},
    json::Written,
};

/// The most flags of a keyspace.
pub const MAX_FLAGS: usize = 10_000;
const NAMES: &str = "flags";

/// The flags of a keyspace, as an operator changes them.
#[derive(Clone, Debug)]
pub struct Flags {
    keyspace: Keyspace,
    near: Near,
}

/// A flag, as an operator sees it.
#[derive(Debug, Serialize)]
pub struct Listed {
    pub name: String,
    /// As it was written; `None` where only the name has arrived so far, or where it is no JSON.
    pub definition: Option<Json>,
    /// Why it is no definition, if somebody wrote what is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub malformed: Option<String>,
    pub is_killed: bool,
}

/// The two values that say what a flag is, held in this process.
#[derive(Clone, Debug)]
pub struct Held {
    pub definition: NearValue<Stored>,
    /// `false` says killed. Without a value it never was.
    pub switch: NearValue<bool>,
}

impl Flags {
    pub fn new(client: &Client, keyspace: &str) -> Result<Self> {
        Ok(Self { keyspace: client.keyspace(keyspace)?, near: client.near(keyspace)? })
    }

    /// Sets a definition, once it is known to be one.
    pub async fn set(&self, name: &str, text: &str) -> Result<()> {
        check_name(name)?;
        Definition::from_text(text)?;
        self.set_unchecked(name, &serde_json::from_str(text)?).await
    }

    /// Sets whatever it is, as somebody might who does not know what a definition is.
    pub async fn set_unchecked(&self, name: &str, definition: &Json) -> Result<()> {
        let names = self.keyspace.set(NAMES);
        if !names.contains(name.to_owned()).await? && names.len().await? >= MAX_FLAGS as u64 {
            return Err(format!("there are {MAX_FLAGS} flags already").into());
        }
        // The name first: a name without a definition is listed as such, a definition without its name would be forgotten.
        names.add(name.to_owned()).await?;
        self.keyspace.register::<Json>(format!("flag:{name}")).set(definition).await?;
        Ok(())
    }

    /// Bytes that may be no JSON.
    #[cfg(test)]
    pub async fn set_bytes(&self, name: &str, bytes: &[u8]) {
        self.keyspace.set(NAMES).add(name.to_owned()).await.unwrap();
        let bytes = bytes::Bytes::copy_from_slice(bytes);
        let key = archipelago::engine::Key::new(archipelago::engine::Kind::String, format!("flag:{name}"));
        let mutation = archipelago::engine::Mutation::set(bytes);
        let write = archipelago::store::Write { key, mutation, exclusive: false };
        self.keyspace.store().write(&write).await.unwrap();
    }

    /// From now on the default is served to everybody. A revival elsewhere that has not heard of it does not undo it.
    pub async fn kill(&self, name: &str) -> Result<()> {
        self.check_exists(name).await?;
        Ok(self.keyspace.disable_wins_flag(format!("kill:{name}")).disable().await?)
    }

    /// Undoes every kill that this region has heard of.
    pub async fn revive(&self, name: &str) -> Result<()> {
        self.check_exists(name).await?;
        Ok(self.keyspace.disable_wins_flag(format!("kill:{name}")).enable().await?)
    }

    /// All flags, by name.
    pub async fn list(&self) -> Result<Vec<Listed>> {
        let names = names_of(&self.keyspace.set(NAMES).members().await?);
        stream::iter(names).map(|name| self.listed(name)).buffered(16).try_collect().await
    }

    async fn listed(&self, name: String) -> Result<Listed> {
        // One that cannot be read must not hide the others.
        let (definition, malformed) = match self.keyspace.register::<Written>(format!("flag:{name}")).get().await {
            Ok(None) => (None, None),
            Ok(Some(written)) => {
                let malformed = Definition::parse(written.clone()).err().map(|why| why.to_string());
                (Some(written.json), malformed)
            }
            Err(error) if error.kind() == ErrorKind::Serialization => (None, Some(quoted(&error.to_string()))),
            Err(error) => return Err(error.into()),
        };
        let switch = self.keyspace.disable_wins_flag(format!("kill:{name}")).get().await?;
        Ok(Listed { name, definition, malformed, is_killed: switch == Some(false) })
    }

    /// A kill of what is misspelt would be taken for done.
    async fn check_exists(&self, name: &str) -> Result<()> {
        check_name(name)?;
        match self.keyspace.set(NAMES).contains(name.to_owned()).await? {
            true => Ok(()),
            false => Err(format!("there is no flag {name:?}").into()),
        }
    }

    /// Deletes a flag, so that a check can start afresh.
    pub async fn remove(&self, name: &str) -> Result<()> {
        self.keyspace.register::<Json>(format!("flag:{name}")).delete().await?;
        self.keyspace.disable_wins_flag(format!("kill:{name}")).delete().await?;
        self.keyspace.set(NAMES).remove(name.to_owned()).await?;
        Ok(())
    }

    /// The near cache that the values below are held in.
    pub const fn near(&self) -> &Near {
        &self.near
    }

    pub fn held(&self, name: &str) -> Held {
        let definition = self.near.register::<Stored>(format!("flag:{name}"));
        Held { definition, switch: self.near.disable_wins_flag(format!("kill:{name}")) }
    }

    pub fn held_names(&self) -> NearValue<BTreeSet<Bytes>> {
        self.near.set(NAMES)
    }
}

/// The names in the set that are names, as many as there may be.
pub fn names_of(members: &BTreeSet<Bytes>) -> Vec<String> {
    let names = members.iter().filter_map(|name| std::str::from_utf8(name).ok());
    names.filter(|name| check_name(name).is_ok()).take(MAX_FLAGS).map(str::to_owned).collect()
}
