//! Which variant a user gets: a pure function of the flag's name, its definition and what is known of the user, and so the
//! same in every region and process.
//!
//! A condition on an attribute that the user lacks, or that is of another type, does not hold. Numbers compare as numbers,
//! whether written `1` or `1.0`; `targetingKey` is the attribute that names the targeting key.
//!
//! # Rollouts
//! A user's place is `(XXH3-64(targeting key, seed = XXH3-64(flag's name)) * 100,000) >> 64`, both hashes over UTF-8 bytes
//! (<https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md>). Shares are laid end to end from 0: who is in the
//! first share stays in it when it grows, and the places of two flags have nothing to do with each other.

use std::fmt;

use open_feature::{EvaluationContext, EvaluationContextFieldValue as Field, EvaluationReason};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::definition::{Condition, Definition, Outcome, Rule, Scalar, Share, Test, Variant, WHOLE};

/// The most bytes of a targeting key.
pub const MAX_TARGETING_KEY: usize = 1024;
/// The attribute that names the targeting key, as elsewhere around OpenFeature.
const TARGETING_KEY: &str = "targetingKey";

/// What a user gets, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision<'d> {
    pub variant: &'d Variant,
    pub reason: EvaluationReason,
}

/// Why nothing could be decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undecided {
    /// A rollout cannot place a user without one.
    TargetingKeyMissing,
    /// It has so many bytes.
    TargetingKeyTooLong(usize),
}

impl fmt::Display for Undecided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TargetingKeyMissing => f.write_str("a rollout needs a targeting key"),
            Self::TargetingKeyTooLong(bytes) => {
                write!(f, "a targeting key has at most {MAX_TARGETING_KEY} bytes, this one has {bytes}")
            }
        }
    }
}

/// Decides by the first rule whose conditions all hold, else by the default; by the default alone while the flag is killed.
pub fn decide<'d>(
    flag: &str,
    definition: &'d Definition,
    is_killed: bool,
    user: &EvaluationContext,
) -> Result<Decision<'d>, Undecided> {
    let default = |reason| Decision { variant: &definition.default, reason };
    if is_killed {
        return Ok(default(EvaluationReason::Disabled));
    }
    if let Some(key) = user.targeting_key.as_ref().filter(|key| key.len() > MAX_TARGETING_KEY) {
        return Err(Undecided::TargetingKeyTooLong(key.len()));
    }
    if definition.rules.is_empty() {
        return Ok(default(EvaluationReason::Static));
    }
    let Some(rule) = definition.rules.iter().find(|rule| is_for(rule, user)) else {
        return Ok(default(EvaluationReason::Default));
    };
    match &rule.outcome {
        Outcome::Serve(variant) => Ok(Decision { variant, reason: EvaluationReason::TargetingMatch }),
        Outcome::Rollout(shares) => {
            let key = user.targeting_key.as_deref().ok_or(Undecided::TargetingKeyMissing)?;
            let variant = share_at(shares, place(flag, key)).unwrap_or(&definition.default);
            Ok(Decision { variant, reason: EvaluationReason::Split })
        }
    }
}

/// Where a user stands in the rollouts of a flag: 0 to [`WHOLE`] - 1.
fn place(flag: &str, targeting_key: &str) -> u32 {
    let hash = xxh3_64_with_seed(targeting_key.as_bytes(), xxh3_64(flag.as_bytes()));
    // Multiplied rather than taken modulo: the same for every language, and no share is favoured.
    ((u128::from(hash) * u128::from(WHOLE)) >> 64) as u32
}

fn share_at(shares: &[Share], place: u32) -> Option<&Variant> {
    let mut end = 0;
    let share = shares.iter().find(|share| {
        end += share.size;
        place < end
    })?;
    Some(&share.variant)
}

fn is_for(rule: &Rule, user: &EvaluationContext) -> bool {
    rule.conditions.iter().all(|condition| holds(condition, user))
}

fn holds(condition: &Condition, user: &EvaluationContext) -> bool {
    let Some(attribute) = Attribute::of(user, &condition.attribute) else { return false };
    match &condition.test {
        Test::Equals(value) => attribute.equals(value),
        Test::In(values) => values.iter().any(|value| attribute.equals(value)),
        Test::StartsWith(prefix) => matches!(attribute, Attribute::Text(text) if text.starts_with(prefix)),
        Test::Above(bound) => attribute.number().is_some_and(|number| number > *bound),
        Test::AtLeast(bound) => attribute.number().is_some_and(|number| number >= *bound),
        Test::Below(bound) => attribute.number().is_some_and(|number| number < *bound),
        Test::AtMost(bound) => attribute.number().is_some_and(|number| number <= *bound),
    }
}

/// What is known of a user by one name.
#[derive(Clone, Copy)]
enum Attribute<'u> {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'u str),
}

impl<'u> Attribute<'u> {
    fn of(user: &'u EvaluationContext, name: &str) -> Option<Self> {
        if name == TARGETING_KEY {
            return user.targeting_key.as_deref().map(Self::Text);
        }
        match user.custom_fields.get(name)? {
            Field::Bool(value) => Some(Self::Bool(*value)),
            Field::Int(value) => Some(Self::Int(*value)),
            Field::Float(value) => Some(Self::Float(*value)),
            Field::String(value) => Some(Self::Text(value)),
            // A definition has no way to write one.
            Field::DateTime(_) | Field::Struct(_) => None,
        }
    }

    fn equals(self, value: &Scalar) -> bool {
        match (self, value) {
            (Self::Bool(here), Scalar::Bool(there)) => here == *there,
            (Self::Text(here), Scalar::Text(there)) => here == there,
            // As they are: ids beyond 2^53 are not equal to their neighbours.
            (Self::Int(here), Scalar::Int(there)) => here == *there,
            (Self::Int(here), Scalar::Float(there)) => here as f64 == *there,
            (Self::Float(here), Scalar::Int(there)) => here == *there as f64,
            (Self::Float(here), Scalar::Float(there)) => here == *there,
            (Self::Bool(_) | Self::Int(_) | Self::Float(_) | Self::Text(_), _) => false,
        }
    }

    const fn number(self) -> Option<f64> {
        match self {
            Self::Int(value) => Some(value as f64),
            Self::Float(value) => Some(value),
            Self::Bool(_) | Self::Text(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value as Json, json};

    use super::*;

    fn flag(rules: Json) -> Definition {
        let variants = json!({"on": true, "off": false, "other": true});
        Definition::parse(json!({"type": "boolean", "variants": variants, "default": "off", "rules": rules}).into())
            .unwrap()
    }

    fn rollout(percent: f64) -> Definition {
        flag(json!([{"rollout": [{"variant": "on", "percent": percent}]}]))
    }

    fn ada() -> EvaluationContext {
        EvaluationContext::default()
            .with_targeting_key("ada")
            .with_custom_field("country", "DE")
            .with_custom_field("age", 36_i64)
            .with_custom_field("score", 1.5_f64)
            .with_custom_field("is_staff", true)
            .with_custom_field("id", (1_i64 << 53) + 1)
    }

    fn serves(condition: Json) -> bool {
        let definition = flag(json!([{"if": [condition], "serve": "on"}]));
        decide("flag", &definition, false, &ada()).unwrap().variant.name == "on"
    }

    #[test]
    fn conditions_hold_or_not() {
        let held = [
            json!({"attribute": "country", "equals": "DE"}),
            json!({"attribute": "country", "in": ["FR", "DE"]}),
            json!({"attribute": "country", "starts_with": "D"}),
            json!({"attribute": "targetingKey", "starts_with": "ad"}),
            json!({"attribute": "is_staff", "equals": true}),
            json!({"attribute": "age", "equals": 36.0}),
            json!({"attribute": "score", "equals": 1.5}),
            json!({"attribute": "age", "above": 35.5}),
            json!({"attribute": "age", "at_least": 36}),
            json!({"attribute": "age", "at_most": 36}),
            json!({"attribute": "score", "below": 2}),
            json!({"attribute": "id", "equals": 9_007_199_254_740_993_i64}),
        ];
        for condition in held {
            assert!(serves(condition.clone()), "{condition}");
        }
        let not_held = [
            json!({"attribute": "country", "equals": "de"}),
            json!({"attribute": "country", "in": []}),
            json!({"attribute": "country", "above": 1}),
            json!({"attribute": "age", "equals": "36"}),
            json!({"attribute": "age", "starts_with": "3"}),
            json!({"attribute": "age", "above": 36}),
            json!({"attribute": "age", "below": 36}),
            json!({"attribute": "planet", "equals": "Earth"}),
            json!({"attribute": "id", "equals": 9_007_199_254_740_992_i64}),
        ];
        for condition in not_held {
            assert!(!serves(condition.clone()), "{condition}");
        }
    }

    #[test]
    fn the_first_rule_that_holds_decides_and_says_why() {
        let rules = json!([
            {"if": [{"attribute": "country", "equals": "DE"}, {"attribute": "age", "below": 18}], "serve": "on"},
            {"if": [{"attribute": "country", "equals": "DE"}], "serve": "other"},
            {"serve": "on"},
        ]);
        let (definition, bob) = (flag(rules), EvaluationContext::default());
        let name = |user| decide("flag", &definition, false, user).unwrap().variant.name.as_str();
        assert_eq!((name(&ada()), name(&bob)), ("other", "on"));
        let reason = |definition: &Definition, is_killed| decide("flag", definition, is_killed, &ada()).unwrap().reason;
        assert_eq!(reason(&definition, false), EvaluationReason::TargetingMatch);
        assert_eq!(reason(&definition, true), EvaluationReason::Disabled);
        assert_eq!(reason(&flag(json!([])), false), EvaluationReason::Static);
        assert_eq!(reason(&rollout(50.0), false), EvaluationReason::Split);
        let missed = flag(json!([{"if": [{"attribute": "country", "equals": "FR"}], "serve": "on"}]));
        assert_eq!(reason(&missed, false), EvaluationReason::Default);
    }

    #[test]
    fn a_killed_flag_serves_its_default_whatever_the_rules_say() {
        let definition = flag(json!([{"serve": "on"}]));
        assert_eq!(decide("flag", &definition, true, &ada()).unwrap().variant.name, "off");
    }

    /// What other regions, processes, versions and languages compute. They must never change.
    #[test]
    fn places_are_fixed() {
        let places = [("new-checkout", "ada"), ("new-checkout", "bob"), ("banner", "ada"), ("banner", "")];
        assert_eq!(places.map(|(flag, key)| place(flag, key)), [22_349, 61_779, 53_572, 45_846]);
    }

    #[test]
    fn a_rollout_needs_a_targeting_key_of_a_sane_size() {
        let user = |key: String| EvaluationContext::default().with_targeting_key(key);
        let decided = |user: &EvaluationContext| decide("flag", &rollout(50.0), false, user).map(|_| ());
        assert_eq!(decided(&EvaluationContext::default()), Err(Undecided::TargetingKeyMissing));
        assert_eq!(decided(&user("k".repeat(1024))), Ok(()));
        assert_eq!(decided(&user("k".repeat(1025))), Err(Undecided::TargetingKeyTooLong(1025)));
    }

    #[test]
    fn shares_are_about_right_and_flags_independent() {
        let in_share = |flag: &str| (0..10_000).filter(|n| place(flag, &format!("user-{n}")) < WHOLE / 4).count();
        for flag in ["a", "b", "new-checkout"] {
            // Four standard deviations of a fair draw: 173 of 10,000.
            assert!(in_share(flag).abs_diff(2500) < 174, "{flag}: {}", in_share(flag));
        }
        let both = |n: &u32| {
            let key = format!("user-{n}");
            place("a", &key) < WHOLE / 4 && place("b", &key) < WHOLE / 4
        };
        let both = (0..10_000).filter(both).count();
        assert!(both.abs_diff(625) < 98, "{both}");
    }

    proptest! {
        #[test]
        fn who_is_in_stays_in_when_a_share_grows(key in ".{0,40}", less in 0.0..=100.0_f64, more in 0.0..=100.0_f64) {
            let (less, more) = (less.min(more), less.max(more));
            let user = EvaluationContext::default().with_targeting_key(key);
            let is_in = |percent| decide("flag", &rollout(percent), false, &user).unwrap().variant.name == "on";
            prop_assert!(!is_in(less) || is_in(more));
            prop_assert!(is_in(100.0) && !is_in(0.0));
        }
    }
}
