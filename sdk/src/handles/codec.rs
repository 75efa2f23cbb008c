//! How an application's values become bytes.

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use crate::error::{Error, ErrorKind};

/// Turns values into bytes and back. Implemented by [`Json`] and [`MessagePack`].
pub trait Codec: Send + Sync + 'static {
    /// The bytes of a value.
    ///
    /// # Errors
    /// [`ErrorKind::Serialization`] when the value cannot be written.
    fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Bytes, Error>;

    /// The value of some bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Serialization`] when the bytes are not such a value.
    fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error>;
}

/// JSON: the default. Readable in `redis-cli` and in any language.
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

/// MessagePack with named fields: smaller and faster than JSON.
#[derive(Clone, Copy, Debug, Default)]
pub struct MessagePack;

impl Codec for Json {
    fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Bytes, Error> {
        serde_json::to_vec(value).map(Bytes::from).map_err(|error| failed("encode as JSON", error))
    }

    fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
        // Only where it failed: serde's own text may quote the value.
        serde_json::from_slice(bytes).map_err(|error| {
            failed("decode from JSON", format!("{:?} error at column {}", error.classify(), error.column()))
        })
    }
}

impl Codec for MessagePack {
    fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Bytes, Error> {
        rmp_serde::to_vec_named(value).map(Bytes::from).map_err(|error| failed("encode as MessagePack", error))
    }

    fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
        rmp_serde::from_slice(bytes).map_err(|_| failed("decode from MessagePack", "malformed or of another type"))
    }
}

fn failed(what: &str, why: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Serialization, format!("cannot {what}: {why}"))
}
