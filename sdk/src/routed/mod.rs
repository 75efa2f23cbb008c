//! The routed plane: any command of Redis, at the node a policy picks, while regions come and go.

mod attempt;
mod blocking;
mod call;
mod clock;
mod connection;
mod embedded;
mod endpoint;
mod events;
mod exclusive;
mod failure;
mod flights;
mod follow;
mod keeper;
mod lease;
mod limit;
mod link;
mod listener;
mod map;
mod node;
mod options;
mod plane;
mod pool;
mod probe;
mod report;
mod role;
mod route;
mod scan;
mod seen;
mod served;
mod slots;
mod subscription;
mod tags;
mod traces;
mod tracked;
mod values;
mod watcher;

#[cfg(feature = "homes")]
pub(crate) use self::values::own;
pub use self::{
    connection::Connection,
    events::Event,
    exclusive::Exclusive,
    options::CallOptions,
    report::NodeReport,
    served::Served,
    subscription::{Message, Received, Subscribe, Subscription},
};
pub(crate) use self::{
    connection::RoutedKeyspace,
    endpoint::{ConnectError, Endpoint, Seen},
    link::{Answer, Link, Work},
    map::{Map, embedded_infos},
    plane::Plane,
    role::role_of,
};
