//! The routed plane: any command of Redis, at the node a policy picks, while regions come and go.

mod attempt;
mod call;
mod clock;
mod connection;
mod endpoint;
mod events;
mod failure;
mod gather;
mod keeper;
mod link;
mod node;
mod options;
mod plane;
mod probe;
mod route;
mod scan;
mod watcher;

pub use self::{connection::Connection, events::Event, options::CallOptions};
pub(crate) use self::{connection::RoutedKeyspace, plane::Plane};
