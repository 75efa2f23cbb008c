//! What a near cache needs of a routed keyspace.

use bytes::Bytes;

use super::{connection::Connection, endpoint::Endpoint, link::Work, plane::Core, values::own};
use crate::{
    error::Error,
    routing::{Access, NodeIndex, Role},
};

/// Where reads without a key go now.
pub(crate) struct Reader {
    pub(crate) node: NodeIndex,
    pub(crate) role: Role,
    pub(crate) endpoint: Endpoint,
}

impl Connection {
    /// The node that reads without a key are sent to first; `None` while none takes calls.
    pub(crate) fn reader(&self) -> Option<Reader> {
        let get = redis::cmd("GET");
        let call = self.call(Work::One(&get), Access::Read, None, true).ok()?;
        let route = call.route().ok()?;
        let mut open = route.left().filter_map(|step| Some((step.node, call.core.node(step.node)?)));
        let (node, found) = open.find(|(_, node)| node.is_open())?;
        Some(Reader { node, role: found.role(), endpoint: found.endpoint.clone() })
    }

    /// The value of a key, and how many milliseconds it still lives, as PTTL says it.
    pub(crate) async fn value_and_lifetime(&self, key: &[u8]) -> Result<(Option<Bytes>, i64), Error> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("GET").arg(key).cmd("PTTL").arg(key);
        let (value, left): (Option<Vec<u8>>, i64) = pipeline.query_async(&mut self.clone()).await.map_err(own)?;
        Ok((value.map(Bytes::from), left))
    }

    pub(crate) fn plane_core(&self) -> &Core {
        &self.keyspace.plane.core
    }
}
