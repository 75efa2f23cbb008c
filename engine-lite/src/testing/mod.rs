//! Law checkers and the slow obvious model, for this crate's tests and for those of users who write their own rules.
//!
//! Laws say that replicas agree; the model says on what. Both are needed: replicas can agree on a wrong value.

mod laws;
mod model;

pub use laws::{Lattice, check_join_laws, check_rule};
pub use model::{Change, Model, OperationId};
