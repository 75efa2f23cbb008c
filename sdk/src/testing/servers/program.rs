//! Which program serves, and where it is.

use std::{
    env,
    path::{Path, PathBuf},
};

use super::ServerError;

/// Which program serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// `redis-server` from the path, or what `REDIS_SERVER` names.
    Redis,
    /// `valkey-server` from the path, or what `VALKEY_SERVER` names.
    Valkey,
}

impl Program {
    /// The program's path.
    ///
    /// # Errors
    /// [`ServerError::MissingProgram`] when this machine has none.
    pub fn path(self) -> Result<PathBuf, ServerError> {
        let (program, variable) = match self {
            Self::Redis => ("redis-server", "REDIS_SERVER"),
            Self::Valkey => ("valkey-server", "VALKEY_SERVER"),
        };
        let named = env::var_os(variable).filter(|name| !name.is_empty());
        let name = named.map_or_else(|| program.into(), PathBuf::from);
        find(&name).ok_or(ServerError::MissingProgram { program, variable })
    }
}

/// As a shell does: a bare name is looked up in the path, any other is a place.
fn find(name: &Path) -> Option<PathBuf> {
    if name.components().count() > 1 {
        return name.is_file().then(|| name.to_owned());
    }
    env::split_paths(&env::var_os("PATH")?).map(|directory| directory.join(name)).find(|path| path.is_file())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_bare_name_is_looked_up_and_a_place_is_not() {
        let shell = find(Path::new("sh")).unwrap();
        assert!(shell.is_absolute());
        assert_eq!(find(&shell), Some(shell));
        assert_eq!(find(Path::new("no-such-program-anywhere")), None);
        assert_eq!(find(Path::new("./no-such-program-anywhere")), None);
    }
}
