//! Which handles the methods of a [`Batch`](super::Batch) take: those that have the method themselves.

use archipelago_engine::{Mutation, Presence, Retention};
use bytes::Bytes;
use serde::Serialize;

use super::{
    BestScores, Codec, Counter, ExtremeRegister, FirstRegister, Flag, Geo, HyperLogLog, List, Map, Register, Set,
    Siblings, SortedSet, Stream, counter, register, set,
};
use crate::{error::Error, store::Write};

/// Only handles are what they are.
pub trait Sealed {
    /// A write of the handle's key.
    #[doc(hidden)]
    fn writing(&self, mutation: Mutation) -> Write;
}

/// A handle that a batch can delete the key of: every one but a stock's.
pub trait BatchDelete: Sealed {}

/// A handle whose `set` takes a value: registers of all kinds, flags, and the counter.
pub trait BatchSet<V: ?Sized>: Sealed {
    #[doc(hidden)]
    fn setting(&self, value: &V) -> Result<Mutation, Error>;
}

/// A handle whose `add` takes one argument: an amount, a member or an element.
pub trait BatchAdd<V>: Sealed {
    #[doc(hidden)]
    fn adding(&self, what: V) -> Mutation;
}

/// A handle that has members or fields, each of which can be removed.
pub trait BatchRemove: Sealed {}

macro_rules! handles {
    ($($handle:ident $(<$($generic:ident),+>)?: $($what:ident)*;)*) => {
        $(
            impl $(<$($generic),+>)? Sealed for $handle $(<$($generic),+>)? {
                fn writing(&self, mutation: Mutation) -> Write {
                    self.handle.to_write(mutation)
                }
            }
            handles!(@ $handle $(<$($generic),+>)?: $($what)*);
        )*
    };
    (@ $handle:ident $(<$($generic:ident),+>)?: members) => {
        impl $(<$($generic),+>)? BatchDelete for $handle $(<$($generic),+>)? {}
        impl $(<$($generic),+>)? BatchRemove for $handle $(<$($generic),+>)? {}
    };
    (@ $handle:ident $(<$($generic:ident),+>)?: whole) => {
        impl $(<$($generic),+>)? BatchDelete for $handle $(<$($generic),+>)? {}
    };
}

handles! {
    Register<T, C>: whole;
    FirstRegister<T, C>: whole;
    Siblings<T, C>: whole;
    ExtremeRegister: whole;
    Counter: whole;
    Flag: whole;
    HyperLogLog: whole;
    List<T, C>: whole;
    Stream: whole;
    Set: members;
    Map<T, C>: members;
    SortedSet: members;
    BestScores: members;
    Geo: members;
}

impl<T, C: Codec, V: Serialize + ?Sized> BatchSet<V> for Register<T, C> {
    fn setting(&self, value: &V) -> Result<Mutation, Error> {
        Ok(register::assignment(C::encode(value)?, Presence::Any, Retention::Clear))
    }
}

impl<T, C: Codec, V: Serialize + ?Sized> BatchSet<V> for FirstRegister<T, C> {
    fn setting(&self, value: &V) -> Result<Mutation, Error> {
        C::encode(value).map(Mutation::set)
    }
}

impl<T, C: Codec, V: Serialize + ?Sized> BatchSet<V> for Siblings<T, C> {
    fn setting(&self, value: &V) -> Result<Mutation, Error> {
        C::encode(value).map(Mutation::set)
    }
}

impl BatchSet<bool> for Flag {
    fn setting(&self, on: &bool) -> Result<Mutation, Error> {
        Ok(Self::setting_of(*on))
    }
}

impl BatchSet<i64> for Counter {
    fn setting(&self, value: &i64) -> Result<Mutation, Error> {
        Ok(Mutation::set(value.to_string()))
    }
}

impl BatchAdd<i64> for Counter {
    fn adding(&self, amount: i64) -> Mutation {
        counter::addition(Bytes::new(), amount)
    }
}

impl<M: Into<Bytes>> BatchAdd<M> for Set {
    fn adding(&self, member: M) -> Mutation {
        set::addition([member])
    }
}

impl<E: Into<Bytes>> BatchAdd<E> for HyperLogLog {
    fn adding(&self, element: E) -> Mutation {
        Mutation::Observe { elements: vec![element.into()], union: None }
    }
}
