//! Redis regions: connections that know whose history they talk to, and the store on top of them.

mod call;
mod durable;
mod region;
mod scripts;
mod store;
mod texts;
mod wire;

pub(crate) use region::RedisRegion;
#[cfg(feature = "homes")]
pub(crate) use scripts::Script;
pub(crate) use store::RedisStore;
