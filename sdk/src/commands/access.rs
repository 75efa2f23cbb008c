//! Read or write.

/// Whether a command may change data, and so which nodes take it.
///
/// This is the server's own distinction, since it decides where the command can run: a replica refuses what is flagged
/// as a write, even if this invocation would change nothing. So SORT without STORE, GEORADIUS without STORE, GETEX without
/// options and BITFIELD with nothing but GET are writes here, idempotent ones; SORT_RO, GEORADIUS_RO, GET and BITFIELD_RO
/// are the reads to use instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// Changes no data. Any node runs it, a replica too.
    Read,
    /// May change data. Only a primary runs it. What the table does not know counts as this.
    Write,
}
