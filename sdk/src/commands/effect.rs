//! What a command does to the data, as far as its arguments decide it.

use super::{
    access::Access,
    arguments::{Arguments, is},
    keys::{KeySpec, keys},
};

/// What running a command does, and what running it twice does. From harmless to grave: of several, the greatest holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Effect {
    /// Changes no data.
    Read,
    /// Fixes what it names, whatever was there: twice is once, wherever the repetition comes.
    Assign,
    /// Twice in a row is once, but what it does depends on what it finds: EXPIRE does nothing to a key that is not there yet.
    Derive,
    /// Twice is not once.
    Once,
}

impl Effect {
    pub(super) const fn access(self) -> Access {
        match self {
            Self::Read => Access::Read,
            Self::Assign | Self::Derive | Self::Once => Access::Write,
        }
    }

    pub(super) const fn is_idempotent(self) -> bool {
        match self {
            Self::Read | Self::Assign | Self::Derive => true,
            Self::Once => false,
        }
    }

    /// Whether its answer, or what it leaves, depends on what it finds.
    pub(super) const fn depends_on_state(self) -> bool {
        match self {
            Self::Read | Self::Derive | Self::Once => true,
            Self::Assign => false,
        }
    }
}

/// How a command's arguments decide its effect.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rule {
    /// They do not.
    Always(Effect),
    /// It stores a result: repeatable unless it stores over one of its own sources.
    Store,
    /// Options do.
    Options(&'static OptionRule),
}

/// The effect with and without certain options.
///
/// A value spelled like an option counts as one. Listed options must therefore make a command graver than its default, or
/// stand where no value can: so a mistake costs a repetition, never data.
#[derive(Debug)]
pub(super) struct OptionRule {
    /// Without any of the options.
    pub(super) default: Effect,
    /// The index of the first word that may be an option. The command's name has index 0.
    pub(super) from: usize,
    /// Of those present, the greatest effect holds.
    pub(super) options: &'static [(&'static str, Effect)],
}

impl Rule {
    pub(super) fn effect<'a>(self, spec: KeySpec, arguments: &impl Arguments<'a>) -> Effect {
        match self {
            Self::Always(effect) => effect,
            Self::Store if stores_over_a_source(spec, arguments) => Effect::Once,
            Self::Store => Effect::Derive,
            Self::Options(rule) => rule.effect(arguments),
        }
    }
}

impl OptionRule {
    fn effect<'a>(&self, arguments: &impl Arguments<'a>) -> Effect {
        let found = arguments
            .clone()
            .skip(self.from)
            .filter_map(|word| self.options.iter().find(|(option, _)| is(word, option)).map(|(_, effect)| *effect));
        found.max().unwrap_or(self.default)
    }
}

/// Whether the first key is named again. For SORT and GEORADIUS the first is the source and the second the destination;
/// for all others it is the other way round.
fn stores_over_a_source<'a>(spec: KeySpec, arguments: &impl Arguments<'a>) -> bool {
    let mut keys = keys(spec, arguments.clone());
    keys.next().is_some_and(|first| keys.any(|key| key == first))
}
