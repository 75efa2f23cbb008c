//! The role a server has by its own word.

use redis::{RedisError, Value};

use super::link::Link;
use crate::routing::Role;

/// Asks for the role: ROLE, or INFO where an access list or the provider does not allow it. `None` when the answer names
/// none.
///
/// # Errors
/// NOPERM when neither is allowed.
pub(crate) async fn role_of(link: &mut Link) -> Result<Option<Role>, RedisError> {
    let name = match link.send_one(&redis::cmd("ROLE")).await {
        Ok(Value::Array(parts)) => match parts.first() {
            Some(Value::BulkString(name)) => String::from_utf8_lossy(name).into_owned(),
            Some(_) | None => String::new(),
        },
        Ok(_) => String::new(),
        Err(error) if error.code().is_some_and(|code| matches!(code, "NOPERM" | "ERR")) => {
            let mut info = redis::cmd("INFO");
            let info = link.send_one(info.arg("replication")).await?;
            let info: String = redis::from_redis_value(info).map_err(RedisError::from)?;
            info.lines().find_map(|line| line.strip_prefix("role:")).unwrap_or_default().trim().to_owned()
        }
        Err(error) => return Err(error),
    };
    Ok(match name.as_str() {
        "master" => Some(Role::Primary),
        "slave" | "replica" => Some(Role::Replica),
        _ => None,
    })
}
