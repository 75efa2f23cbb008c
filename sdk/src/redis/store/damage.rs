//! Physical keys that somebody else has written to: errors that name them.

use archipelago_engine::{Key, Kind, MutationError};

use super::RedisStore;
use crate::{store::StoreError, text::shown};

impl RedisStore {
    /// Names the view where a native read finds a value of another type: the server's words name no key.
    pub(super) fn name_damaged_view(&self, key: &Key, error: StoreError) -> StoreError {
        match error {
            StoreError::Refused(MutationError::WrongType) => {
                StoreError::Server(format!("WRONGTYPE {}", self.suspects(key)))
            }
            error => error,
        }
    }

    /// The same of a write: raised in a script, which may have done something before. What the script itself refuses is
    /// about another type of the name, and no damage.
    pub(super) fn name_damage(&self, key: &Key, error: StoreError) -> StoreError {
        match error {
            StoreError::NoAnswer(text) if text.contains("WRONGTYPE") => {
                StoreError::NoAnswer(format!("{}: {text}", self.suspects(key)))
            }
            error => error,
        }
    }

    fn suspects(&self, key: &Key) -> String {
        let Ok((_, keys)) = self.locate(key) else { return "a physical key holds a value of somebody else".to_owned() };
        let arrivals = (key.kind == Kind::Feed).then(|| keys.arrivals(&key.name));
        let names: Vec<String> =
            [keys.view(key), keys.cells(key)].iter().chain(&arrivals).map(|name| shown(name)).collect();
        format!("{} holds a value of somebody else, of another type", names.join(" or "))
    }
}
