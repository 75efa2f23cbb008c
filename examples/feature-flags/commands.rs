//! The command line: what each command does, and how it says so.

use std::collections::HashMap;

use archipelago_examples::{Result, quoted};
use clap::{Args, Subcommand};
use comfy_table::{Table, presets::UTF8_BORDERS_ONLY};
use open_feature::{EvaluationContext, EvaluationContextFieldValue as Field, StructValue, Type, Value};
use serde_json::{Map, Value as Json, json};

use crate::{
    form::check_label,
    provider::FlagProvider,
    store::{Flags, Listed},
};

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Shows all flags.
    List,
    /// Sets a flag's definition.
    Set {
        name: String,
        /// {"type": .., "variants": {..}, "default": .., "rules": [..]}
        definition: String,
    },
    /// Serves a flag's default to everybody, with reason DISABLED.
    Kill { name: String },
    /// Undoes the kills of a flag that this region has heard of.
    Revive { name: String },
    /// Says what a user gets, and why.
    Evaluate(Evaluate),
}

#[derive(Debug, Args)]
pub struct Evaluate {
    name: String,
    /// The targeting key.
    #[arg(long, value_parser = user)]
    user: Option<String>,
    /// What else is known of the user. `age=36` is a number, `is_staff=true` is true, `id="36"` and all else is text.
    #[arg(long = "attribute", value_name = "NAME=VALUE", value_parser = attribute)]
    attributes: Vec<(String, Scalar)>,
}

/// What an attribute can be on a command line.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
}

/// What a command answers.
#[derive(Debug)]
pub struct Answer {
    pub text: String,
    /// Whether all of it is as it should be: a list with a flag that has no definition is not.
    pub is_whole: bool,
}

impl Command {
    /// Does it, and says so in words or as JSON.
    pub async fn run(&self, flags: &Flags, as_json: bool) -> Result<Answer> {
        let mut is_whole = true;
        let (words, json) = match self {
            Self::List => {
                let listed = flags.list().await?;
                is_whole = listed.iter().all(|flag| flag.malformed.is_none());
                (listing(&listed), json!({ "flags": listed }))
            }
            Self::Set { name, definition } => {
                flags.set(name, definition).await?;
                (format!("{name} is set."), json!({"flag": name, "set": true}))
            }
            Self::Kill { name } => {
                flags.kill(name).await?;
                (format!("{name} is killed: its default is served."), json!({"flag": name, "killed": true}))
            }
            Self::Revive { name } => {
                flags.revive(name).await?;
                (format!("{name} is alive."), json!({"flag": name, "killed": false}))
            }
            Self::Evaluate(evaluate) => evaluate.run(flags).await?,
        };
        Ok(Answer { text: if as_json { json.to_string() } else { words }, is_whole })
    }
}

impl Evaluate {
    async fn run(&self, flags: &Flags) -> Result<(String, Json)> {
        let provider = FlagProvider::new(flags.clone());
        let resolved = provider.resolve(&self.name, &self.context()?).await;
        let (kind, details) =
            resolved.map_err(|error| format!("{}: {}", error.code, error.message.unwrap_or_default()))?;
        let (kind, value) = (word(&kind), plain(&details.value));
        let (variant, reason) = (details.variant.unwrap_or_default(), details.reason.unwrap_or_default().to_string());
        let words = format!("{value} (variant {variant}, {reason})");
        let name = &self.name;
        let json = json!({"flag": name, "type": kind, "value": value, "variant": variant, "reason": reason});
        Ok((words, json))
    }

    fn context(&self) -> Result<EvaluationContext> {
        let mut custom_fields = HashMap::new();
        for (name, value) in &self.attributes {
            if custom_fields.insert(name.clone(), value.field()).is_some() {
                return Err(format!("the attribute {:?} is given twice", quoted(name)).into());
            }
        }
        Ok(EvaluationContext { targeting_key: self.user.clone(), custom_fields })
    }
}

impl Scalar {
    fn field(&self) -> Field {
        match self {
            Self::Bool(value) => Field::Bool(*value),
            Self::Int(value) => Field::Int(*value),
            Self::Float(value) => Field::Float(*value),
            Self::Text(value) => Field::String(value.clone()),
        }
    }
}

/// Whoever is nobody would have a place in every rollout: that of the empty name.
fn user(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("expected a user; leave --user out for nobody".to_owned()) } else { Ok(text.to_owned()) }
}

fn attribute(text: &str) -> Result<(String, Scalar), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    check_label("an attribute", name).map_err(|why| format!("expected NAME=VALUE: {why}"))?;
    let scalar = match serde_json::from_str(value) {
        Ok(Json::Bool(value)) => Scalar::Bool(value),
        Ok(Json::String(value)) => Scalar::Text(value),
        Ok(Json::Number(number)) => match (number.as_i64(), number.as_f64()) {
            (Some(value), _) => Scalar::Int(value),
            (None, Some(value)) => Scalar::Float(value),
            (None, None) => Scalar::Text(value.to_owned()),
        },
        Ok(Json::Null | Json::Array(_) | Json::Object(_)) | Err(_) => Scalar::Text(value.to_owned()),
    };
    Ok((name.to_owned(), scalar))
}

/// As a definition writes it.
const fn word(kind: &Type) -> &'static str {
    match kind {
        Type::Bool => "boolean",
        Type::Int => "integer",
        Type::Float => "float",
        Type::String => "string",
        Type::Struct => "struct",
        Type::Array => "array",
    }
}

fn plain(value: &Value) -> Json {
    let fields = |fields: &StructValue| {
        fields.fields.iter().map(|(name, value)| (name.clone(), plain(value))).collect::<Map<_, _>>()
    };
    match value {
        Value::Bool(value) => Json::from(*value),
        Value::Int(value) => Json::from(*value),
        Value::Float(value) => Json::from(*value),
        Value::String(value) => Json::from(value.as_str()),
        Value::Array(values) => values.iter().map(plain).collect(),
        Value::Struct(value) => Json::Object(fields(value)),
    }
}

/// A table, and behind it what is wrong with flags that have no definition.
fn listing(listed: &[Listed]) -> String {
    let bad = listed.iter().filter_map(|flag| Some(format!("\n{}: {}", flag.name, flag.malformed.as_ref()?)));
    std::iter::once(table(listed)).chain(bad).collect()
}

fn table(listed: &[Listed]) -> String {
    let mut table = Table::new();
    table.load_preset(UTF8_BORDERS_ONLY).set_header(["flag", "type", "default", "rules", "state"]);
    for flag in listed {
        let part = |name: &str| flag.definition.as_ref().and_then(|definition| definition.get(name));
        // Whatever stands there: what is no definition is listed, too.
        let text = |name: &str| quoted(part(name).and_then(Json::as_str).unwrap_or("-"));
        let rules = part("rules").and_then(Json::as_array).map_or(0, Vec::len);
        let state = match (&flag.definition, &flag.malformed, flag.is_killed) {
            (_, Some(_), true) => "malformed, killed",
            (_, Some(_), false) => "malformed",
            (None, None, _) => "without a definition",
            (Some(_), None, true) => "killed",
            (Some(_), None, false) => "alive",
        };
        table.add_row([flag.name.clone(), text("type"), text("default"), rules.to_string(), state.to_owned()]);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_what_they_look_like() {
        let value = |text| attribute(text).unwrap().1;
        assert_eq!(value("age=36"), Scalar::Int(36));
        assert_eq!(value("score=1.5"), Scalar::Float(1.5));
        assert_eq!(value("is_staff=true"), Scalar::Bool(true));
        assert_eq!(value("id=\"36\""), Scalar::Text("36".to_owned()));
        assert_eq!(value("formula=a=b"), Scalar::Text("a=b".to_owned()));
        assert_eq!(value("country="), Scalar::Text(String::new()));
        assert_eq!(value("odd=[1"), Scalar::Text("[1".to_owned()));
        assert_eq!(value("odd=null"), Scalar::Text("null".to_owned()));
        for bad in ["country", "=x", "a\nb=x", &format!("{}=x", "n".repeat(129))] {
            assert!(attribute(bad).unwrap_err().starts_with("expected NAME=VALUE"), "{bad:?}");
        }
        assert!(user("").is_err() && user("ada").is_ok());
    }
}
