//! The handles that a client and a keyspace hand out, alike.

/// The handles of a keyspace; a client's are those of its default one.
macro_rules! constructors {
    ($owner:ident) => {
        impl $owner {
            /// One value, the latest write wins; see [`Register`](crate::Register).
            #[must_use]
            pub fn register<T>(&self, name: impl Into<Bytes>) -> crate::Register<T> {
                crate::Register::new(self.handle(Kind::String, name))
            }

            /// A number to which every region adds; see [`Counter`](crate::Counter).
            #[must_use]
            pub fn counter(&self, name: impl Into<Bytes>) -> crate::Counter {
                crate::Counter { handle: self.handle(Kind::String, name) }
            }

            /// Members, each present or not; see [`Set`](crate::Set).
            #[must_use]
            pub fn set(&self, name: impl Into<Bytes>) -> crate::Set {
                crate::Set { handle: self.handle(Kind::Set, name) }
            }

            /// Fields with values; see [`Map`](crate::Map).
            #[must_use]
            pub fn map<T>(&self, name: impl Into<Bytes>) -> crate::Map<T> {
                crate::Map::new(self.handle(Kind::Hash, name))
            }

            /// Members with scores that add up; see [`SortedSet`](crate::SortedSet).
            #[must_use]
            pub fn sorted_set(&self, name: impl Into<Bytes>) -> crate::SortedSet {
                crate::SortedSet { handle: self.handle(Kind::SortedSet, name) }
            }

            /// Values in an order; see [`List`](crate::List).
            #[must_use]
            pub fn list<T>(&self, name: impl Into<Bytes>) -> crate::List<T> {
                crate::List::new(self.handle(Kind::List, name))
            }

            /// Members with the highest score each ever submitted; see [`BestScores`](crate::BestScores).
            #[must_use]
            pub fn high_scores(&self, name: impl Into<Bytes>) -> crate::BestScores {
                crate::BestScores { handle: self.handle(Kind::HighScores, name) }
            }

            /// Members with the lowest score each ever submitted; see [`BestScores`](crate::BestScores).
            #[must_use]
            pub fn low_scores(&self, name: impl Into<Bytes>) -> crate::BestScores {
                crate::BestScores { handle: self.handle(Kind::LowScores, name) }
            }

            /// Entries of fields, in the order of their ids; see [`Stream`](crate::Stream).
            #[must_use]
            pub fn stream(&self, name: impl Into<Bytes>) -> crate::Stream {
                crate::Stream { handle: self.handle(Kind::Stream, name) }
            }

            /// Entries that are read in the order of their ids, or as they arrive here; see [`Feed`](crate::Feed).
            #[must_use]
            pub fn feed<T>(&self, name: impl Into<Bytes>) -> crate::Feed<T> {
                crate::Feed::new(self.handle(Kind::Feed, name))
            }

            /// One value, the first write wins; see [`FirstRegister`](crate::FirstRegister).
            #[must_use]
            pub fn first_register<T>(&self, name: impl Into<Bytes>) -> crate::FirstRegister<T> {
                crate::FirstRegister::new(self.handle(Kind::First, name))
            }

            /// The highest number ever submitted; see [`ExtremeRegister`](crate::ExtremeRegister).
            #[must_use]
            pub fn max_register(&self, name: impl Into<Bytes>) -> crate::ExtremeRegister {
                crate::ExtremeRegister { handle: self.handle(Kind::Max, name) }
            }

            /// The lowest number ever submitted; see [`ExtremeRegister`](crate::ExtremeRegister).
            #[must_use]
            pub fn min_register(&self, name: impl Into<Bytes>) -> crate::ExtremeRegister {
                crate::ExtremeRegister { handle: self.handle(Kind::Min, name) }
            }

            /// One value, whose concurrent writes are all kept for the application to decide; see
            /// [`Siblings`](crate::Siblings).
            #[must_use]
            pub fn siblings<T>(&self, name: impl Into<Bytes>) -> crate::Siblings<T> {
                crate::Siblings::new(self.handle(Kind::Siblings, name))
            }

            /// On or off; of concurrent writes, on wins. See [`Flag`](crate::Flag).
            #[must_use]
            pub fn enable_wins_flag(&self, name: impl Into<Bytes>) -> crate::Flag {
                crate::Flag { handle: self.handle(Kind::EnableWins, name) }
            }

            /// On or off; of concurrent writes, off wins: a kill switch. See [`Flag`](crate::Flag).
            #[must_use]
            pub fn disable_wins_flag(&self, name: impl Into<Bytes>) -> crate::Flag {
                crate::Flag { handle: self.handle(Kind::DisableWins, name) }
            }

            /// Units that cannot be sold twice; see [`Stock`](crate::Stock).
            #[must_use]
            pub fn stock(&self, name: impl Into<Bytes>) -> crate::Stock {
                crate::Stock { handle: self.handle(Kind::Stock, name) }
            }

            /// Members with positions; see [`Geo`](crate::Geo). The same key as the sorted set of this name.
            #[must_use]
            pub fn geo(&self, name: impl Into<Bytes>) -> crate::Geo {
                crate::Geo { handle: self.handle(Kind::SortedSet, name) }
            }

            /// About how many distinct elements were seen; see [`HyperLogLog`](crate::HyperLogLog).
            #[must_use]
            pub fn hyperloglog(&self, name: impl Into<Bytes>) -> crate::HyperLogLog {
                crate::HyperLogLog { handle: self.handle(Kind::HyperLogLog, name) }
            }
        }
    };
}
pub(crate) use constructors;
