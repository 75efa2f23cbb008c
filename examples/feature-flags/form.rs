//! The JSON of a definition as it is written, and the way from there to one that is evaluated.

use std::{collections::BTreeMap, sync::Arc};

use archipelago_examples::quoted;
use open_feature::{StructValue, Type, Value};
use serde::Deserialize;
use serde_json::Value as Json;

use crate::definition::{
    Condition, Definition, MAX_NAME, Malformed, Outcome, Rule, Scalar, Share, Test, Variant, WHOLE,
};

const MAX_VARIANTS: usize = 64;
const MAX_RULES: usize = 64;
const MAX_CONDITIONS: usize = 16;
const MAX_LIST: usize = 1000;

/// The JSON as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawDefinition {
    #[serde(rename = "type")]
    kind: RawType,
    variants: BTreeMap<String, Json>,
    default: String,
    #[serde(default)]
    rules: Vec<RawRule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawType {
    Boolean,
    Integer,
    Float,
    String,
    Struct,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    #[serde(rename = "if", default)]
    conditions: Vec<RawCondition>,
    serve: Option<String>,
    rollout: Option<Vec<RawShare>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawShare {
    variant: String,
    percent: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCondition {
    attribute: String,
    equals: Option<Scalar>,
    #[serde(rename = "in")]
    among: Option<Vec<Scalar>>,
    starts_with: Option<String>,
    above: Option<f64>,
    at_least: Option<f64>,
    below: Option<f64>,
    at_most: Option<f64>,
}

struct Variants(BTreeMap<String, Arc<Variant>>);

impl Variants {
    fn named(&self, name: &str) -> Result<Arc<Variant>, Malformed> {
        let unknown = || Malformed(format!("there is no variant {:?}", quoted(name)));
        self.0.get(name).cloned().ok_or_else(unknown)
    }
}

impl RawDefinition {
    /// Checks each part, and says which one is wrong.
    pub fn definition(self) -> Result<Definition, Malformed> {
        at_most("variants", self.variants.len(), MAX_VARIANTS)?;
        at_most("rules", self.rules.len(), MAX_RULES)?;
        let kind = self.kind.kind();
        let variant = |(name, value): (String, Json)| {
            check_label("a variant", &name)?;
            let value = value_of(&kind, value).map_err(|why| Malformed(format!("variant {name:?}: {why}")))?;
            Ok((name.clone(), Arc::new(Variant { name, value })))
        };
        let variants = Variants(self.variants.into_iter().map(variant).collect::<Result<_, Malformed>>()?);
        let default = variants.named(&self.default).map_err(|why| Malformed(format!("default: {why}")))?;
        let rule = |(at, raw): (usize, RawRule)| {
            raw.rule(&variants).map_err(|why| Malformed(format!("rule {}: {why}", at + 1)))
        };
        let rules = self.rules.into_iter().enumerate().map(rule).collect::<Result<_, _>>()?;
        Ok(Definition { kind, default, rules })
    }
}

impl RawType {
    const fn kind(&self) -> Type {
        match self {
            Self::Boolean => Type::Bool,
            Self::Integer => Type::Int,
            Self::Float => Type::Float,
            Self::String => Type::String,
            Self::Struct => Type::Struct,
        }
    }
}

impl RawRule {
    fn rule(self, variants: &Variants) -> Result<Rule, Malformed> {
        at_most("conditions", self.conditions.len(), MAX_CONDITIONS)?;
        let conditions = self.conditions.into_iter().map(RawCondition::condition).collect::<Result<_, _>>()?;
        let outcome = match (self.serve, self.rollout) {
            (Some(name), None) => Outcome::Serve(variants.named(&name)?),
            (None, Some(shares)) => Outcome::Rollout(rollout(shares, variants)?),
            (Some(_), Some(_)) | (None, None) => {
                return Err(Malformed("a rule has either `serve` or `rollout`".to_owned()));
            }
        };
        Ok(Rule { conditions, outcome })
    }
}

fn rollout(shares: Vec<RawShare>, variants: &Variants) -> Result<Vec<Share>, Malformed> {
    at_most("shares", shares.len(), MAX_VARIANTS)?;
    let share = |raw: RawShare| {
        if !(0.0..=100.0).contains(&raw.percent) {
            return Err(Malformed(format!("percent: expected 0 to 100, found {:?}", raw.percent)));
        }
        let size = (raw.percent * f64::from(WHOLE / 100)).round() as u32;
        Ok(Share { variant: variants.named(&raw.variant)?, size })
    };
    let shares: Vec<Share> = shares.into_iter().map(share).collect::<Result<_, _>>()?;
    match shares.iter().map(|share| share.size).sum::<u32>() {
        ..=WHOLE => Ok(shares),
        more => Err(Malformed(format!("the shares make {} percent", f64::from(more) / f64::from(WHOLE / 100)))),
    }
}

impl RawCondition {
    fn condition(self) -> Result<Condition, Malformed> {
        check_label("an attribute", &self.attribute)?;
        let tests = [
            self.equals.map(Test::Equals),
            self.among.map(Test::In),
            self.starts_with.map(Test::StartsWith),
            self.above.map(Test::Above),
            self.at_least.map(Test::AtLeast),
            self.below.map(Test::Below),
            self.at_most.map(Test::AtMost),
        ];
        let mut tests = tests.into_iter().flatten();
        let (Some(test), None) = (tests.next(), tests.next()) else {
            return Err(Malformed(format!(
                "the condition on {:?} needs one of equals, in, starts_with, above, at_least, below, at_most",
                self.attribute
            )));
        };
        if let Test::In(values) = &test {
            at_most("values in a list", values.len(), MAX_LIST)?;
        }
        Ok(Condition { attribute: self.attribute, test })
    }
}

/// A variant's value, of the flag's type.
fn value_of(kind: &Type, json: Json) -> Result<Value, Malformed> {
    let found = name_of(&json);
    let wrong = || Malformed(format!("expected {kind}, found {found}"));
    match kind {
        Type::Bool => json.as_bool().map(Value::Bool).ok_or_else(wrong),
        Type::Int => json.as_i64().map(Value::Int).ok_or_else(wrong),
        Type::Float => json.as_f64().map(Value::Float).ok_or_else(wrong),
        Type::String | Type::Array | Type::Struct => match (kind, part_of(json)?) {
            (Type::String, value @ Value::String(_)) | (Type::Struct, value @ Value::Struct(_)) => Ok(value),
            _ => Err(wrong()),
        },
    }
}

/// What stands inside of a struct. It is as deep as the JSON parser allows, 128 levels.
fn part_of(json: Json) -> Result<Value, Malformed> {
    let parts = |items: Vec<Json>| items.into_iter().map(part_of).collect::<Result<_, _>>();
    Ok(match json {
        Json::Null => return Err(Malformed("null is no value of a flag".to_owned())),
        Json::Bool(value) => Value::Bool(value),
        Json::Number(value) => match value.as_i64() {
            Some(value) => Value::Int(value),
            None => Value::Float(value.as_f64().unwrap_or_default()),
        },
        Json::String(value) => Value::String(value),
        Json::Array(items) => Value::Array(parts(items)?),
        Json::Object(fields) => {
            let field = |(name, value)| Ok((name, part_of(value)?));
            Value::Struct(StructValue { fields: fields.into_iter().map(field).collect::<Result<_, Malformed>>()? })
        }
    })
}

const fn name_of(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "bool",
        Json::Number(_) => "a number",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "struct",
    }
}

fn at_most(what: &str, count: usize, limit: usize) -> Result<(), Malformed> {
    if count <= limit { Ok(()) } else { Err(Malformed(format!("at most {limit} {what}, found {count}"))) }
}

fn check_label(what: &str, name: &str) -> Result<(), Malformed> {
    match (1..=MAX_NAME).contains(&name.len()) && !name.contains(char::is_control) {
        true => Ok(()),
        false => Err(Malformed(format!(
            "the name of {what} has 1 to {MAX_NAME} bytes, none of them a control character; this one has {}",
            name.len()
        ))),
    }
}
