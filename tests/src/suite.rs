//! One suite on every kind of region.

/// The tests named, each on embedded regions, on Redis, and on Valkey where it is installed: `on(ground, test)` beside the
/// invocation makes the world that a test takes. The attribute is that of each test.
#[macro_export]
macro_rules! suite {
    (#[$test:meta] $($module:ident { $($name:ident)* })*) => {
        mod embedded { $($(#[$test] async fn $name() {
            super::on($crate::suite::EMBEDDED, super::$module::$name).await;
        })*)* }
        mod redis { $($(#[$test] async fn $name() {
            super::on($crate::suite::REDIS, super::$module::$name).await;
        })*)* }
        mod valkey { $($(#[$test] async fn $name() {
            super::on($crate::suite::VALKEY, super::$module::$name).await;
        })*)* }
    };
}

use archipelago::testing::servers::Program;

use crate::world::Ground;

/// In this process.
pub const EMBEDDED: Ground = Ground::Embedded;
/// On redis-server.
pub const REDIS: Ground = Ground::Servers(Program::Redis);
/// On valkey-server.
pub const VALKEY: Ground = Ground::Servers(Program::Valkey);

/// Says that a world could not be made.
pub fn not_run() {
    println!("not run: no valkey-server in the path, and VALKEY_SERVER names none");
}
