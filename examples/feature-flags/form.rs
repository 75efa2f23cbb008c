//! The JSON of a definition as it is written, and the way from there to one that is evaluated.

use std::{collections::BTreeMap, sync::Arc};

use archipelago_examples::quoted;
use open_feature::{StructValue, Type, Value};
use serde::{Deserialize, de::DeserializeOwned};
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
    rules: Vec<Json>,
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
    conditions: Vec<Json>,
    serve: Option<String>,
    rollout: Option<Vec<Json>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawShare {
    variant: String,
    percent: f64,
}

/// What a condition can ask of an attribute.
const TESTS: &str = "equals, in, starts_with, above, at_least, below, at_most";

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
        let rules = each("rule", self.rules, |json| part::<RawRule>("a rule", json)?.rule(&variants))?;
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
        let conditions = each("condition", self.conditions, condition)?;
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

/// Parts one by one: an error says which.
fn each<T>(what: &str, parts: Vec<Json>, read: impl Fn(Json) -> Result<T, Malformed>) -> Result<Vec<T>, Malformed> {
    let numbered = |(at, json): (usize, Json)| read(json).map_err(|why| Malformed(format!("{what} {}: {why}", at + 1)));
    parts.into_iter().enumerate().map(numbered).collect()
}

/// Serde would take a list for the fields in their order, whose names nobody has written.
fn part<T: DeserializeOwned>(what: &str, json: Json) -> Result<T, Malformed> {
    if !json.is_object() {
        return Err(Malformed(format!("{what} is a JSON object")));
    }
    serde_json::from_value(json).map_err(|error| Malformed(quoted(&error.to_string())))
}

fn rollout(shares: Vec<Json>, variants: &Variants) -> Result<Vec<Share>, Malformed> {
    at_most("shares", shares.len(), MAX_VARIANTS)?;
    let share = |json: Json| {
        let raw: RawShare = part("a share", json)?;
        if !(0.0..=100.0).contains(&raw.percent) {
            return Err(Malformed(format!("percent: expected 0 to 100, found {:?}", raw.percent)));
        }
        let size = (raw.percent * f64::from(WHOLE / 100)).round() as u32;
        Ok(Share { variant: variants.named(&raw.variant)?, size })
    };
    let shares = each("share", shares, share)?;
    match shares.iter().map(|share| share.size).sum::<u32>() {
        ..=WHOLE => Ok(shares),
        more => Err(Malformed(format!("the shares make {} percent", f64::from(more) / f64::from(WHOLE / 100)))),
    }
}

fn condition(json: Json) -> Result<Condition, Malformed> {
    let Json::Object(mut fields) = json else {
        return Err(Malformed("a condition is a JSON object".to_owned()));
    };
    let Some(Json::String(attribute)) = fields.remove("attribute") else {
        return Err(Malformed("a condition names its `attribute`, a text".to_owned()));
    };
    check_label("an attribute", &attribute)?;
    let names: Vec<String> = fields.keys().map(|name| quoted(name)).collect();
    let tests = fields.into_iter().map(|(name, json)| test(&name, json)).collect::<Result<Vec<Test>, _>>()?;
    let mut tests = tests.into_iter();
    match (tests.next(), tests.next()) {
        (Some(test), None) => Ok(Condition { attribute, test }),
        (None, _) => Err(Malformed(format!("the condition on {attribute:?} needs one of {TESTS}"))),
        (Some(_), Some(_)) => Err(Malformed(format!(
            "the condition on {attribute:?} has {}, and only one of {TESTS} is allowed",
            names.join(" and ")
        ))),
    }
}

fn test(name: &str, json: Json) -> Result<Test, Malformed> {
    let test = match name {
        "equals" => scalar(json).map(Test::Equals),
        "in" => list(json).map(Test::In),
        "starts_with" => match json {
            Json::String(start) => Ok(Test::StartsWith(start)),
            other => Err(expected("a text", &other)),
        },
        "above" => number(&json).map(Test::Above),
        "at_least" => number(&json).map(Test::AtLeast),
        "below" => number(&json).map(Test::Below),
        "at_most" => number(&json).map(Test::AtMost),
        other => {
            let what = format!("unknown field `{}`, a condition has attribute and one of {TESTS}", quoted(other));
            return Err(Malformed(what));
        }
    };
    test.map_err(|why| Malformed(format!("`{name}`: {why}")))
}

fn list(json: Json) -> Result<Vec<Scalar>, Malformed> {
    let Json::Array(values) = json else { return Err(expected("a list", &json)) };
    at_most("values in a list", values.len(), MAX_LIST)?;
    each("value", values, scalar)
}

fn scalar(json: Json) -> Result<Scalar, Malformed> {
    match json {
        Json::Bool(value) => Ok(Scalar::Bool(value)),
        Json::String(value) => Ok(Scalar::Text(value)),
        Json::Number(ref number) => match (number.as_i64(), number.as_f64()) {
            (Some(value), _) => Ok(Scalar::Int(value)),
            (None, Some(value)) => Ok(Scalar::Float(value)),
            (None, None) => Err(expected("a number that fits", &json)),
        },
        Json::Null | Json::Array(_) | Json::Object(_) => Err(expected("a text, a number, true or false", &json)),
    }
}

fn number(json: &Json) -> Result<f64, Malformed> {
    json.as_f64().ok_or_else(|| expected("a number", json))
}

fn expected(what: &str, found: &Json) -> Malformed {
    Malformed(format!("expected {what}, found {}", name_of(found)))
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

/// Whether a variant or an attribute may be called that.
pub fn check_label(what: &str, name: &str) -> Result<(), Malformed> {
    match (1..=MAX_NAME).contains(&name.len()) && !name.contains(char::is_control) {
        true => Ok(()),
        false => Err(Malformed(format!(
            "the name of {what} has 1 to {MAX_NAME} bytes, none of them a control character; this one has {}",
            name.len()
        ))),
    }
}
