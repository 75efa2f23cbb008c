//! What a flag is: its JSON, parsed, validated and bounded.
//!
//! ```json
//! {
//!   "type": "boolean",
//!   "variants": { "on": true, "off": false },
//!   "default": "off",
//!   "rules": [
//!     { "if": [{ "attribute": "country", "in": ["DE", "FR"] }, { "attribute": "age", "at_least": 18 }], "serve": "on" },
//!     { "if": [], "rollout": [{ "variant": "on", "percent": 12.5 }] }
//!   ]
//! }
//! ```
//!
//! `type` is `boolean`, `integer`, `float`, `string` or `struct`. Rules are tried in order; the first whose conditions all
//! hold decides, else `default` does. What [`targeting`](crate::targeting) makes of them is there.

use std::{fmt, sync::Arc};

use archipelago_examples::quoted;
use open_feature::{Type, Value};
use serde::{Deserialize, Deserializer};

use crate::{form::RawDefinition, json::Written};

/// The most bytes of a definition, written as JSON without spaces.
pub const MAX_DEFINITION: usize = 64 * 1024;
/// The most bytes of the name of a flag, a variant or an attribute.
pub const MAX_NAME: usize = 128;
/// Of a whole, in the unit of a rollout's shares: thousandths of a percent.
pub const WHOLE: u32 = 100_000;

/// A flag, as it is evaluated.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    pub kind: Type,
    pub default: Arc<Variant>,
    pub rules: Vec<Rule>,
}

/// One of the answers a flag can give.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    pub name: String,
    pub value: Value,
}

/// Decides for the users for whom all its conditions hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    pub conditions: Vec<Condition>,
    pub outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Serve(Arc<Variant>),
    /// Shares of the users, in order; the default gets those that are left over.
    Rollout(Vec<Share>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Share {
    pub variant: Arc<Variant>,
    /// In parts of [`WHOLE`].
    pub size: u32,
}

/// One question about a user.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    pub attribute: String,
    pub test: Test,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    Equals(Scalar),
    In(Vec<Scalar>),
    StartsWith(String),
    Above(f64),
    AtLeast(f64),
    Below(f64),
    AtMost(f64),
}

/// What an attribute is compared with.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
}

/// Why a definition is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed(pub String);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Malformed {}

/// What a register holds: a definition, or JSON that is none. The second is a value, too, so that a near cache holds it, and
/// everybody who asks is told why without a look at the region.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored(pub Result<Definition, Malformed>);

impl<'de> Deserialize<'de> for Stored {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Definition::parse(Written::deserialize(deserializer)?)))
    }
}

/// Whether a flag may be called that.
pub fn check_name(name: &str) -> Result<(), Malformed> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if name.is_empty() || name.len() > MAX_NAME {
        // Its length, not the name: it may be a megabyte.
        return Err(Malformed(format!("a flag's name has 1 to {MAX_NAME} bytes, this one has {}", name.len())));
    }
    match name.bytes().all(is_plain) {
        true => Ok(()),
        false => Err(Malformed("a flag's name is made of letters, digits, '.', '_' and '-'".to_owned())),
    }
}

impl Definition {
    /// Of JSON text.
    pub fn from_text(text: &str) -> Result<Self, Malformed> {
        if text.len() > MAX_DEFINITION {
            return Err(too_long(text.len()));
        }
        let written = serde_json::from_str(text).map_err(|error| Malformed(format!("this is no JSON: {error}")))?;
        Self::parse(written)
    }

    /// Of JSON, all of it checked: what it returns is evaluated without another look.
    pub fn parse(Written { json, twice }: Written) -> Result<Self, Malformed> {
        let length = json.to_string().len();
        if length > MAX_DEFINITION {
            return Err(too_long(length));
        }
        // Serde would take a list for the fields in their order, whose names nobody has written.
        if !json.is_object() {
            return Err(Malformed("a definition is a JSON object".to_owned()));
        }
        // One of the two would be dropped, and nobody would know which.
        if let Some(name) = twice {
            return Err(Malformed(format!("the name {:?} stands in one object twice", quoted(&name))));
        }
        let raw: RawDefinition = serde_json::from_value(json).map_err(|error| Malformed(quoted(&error.to_string())))?;
        raw.definition()
    }
}

fn too_long(length: usize) -> Malformed {
    Malformed(format!("a definition has at most {MAX_DEFINITION} bytes, this one has {length}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::{Value as Json, json};

    use super::*;

    fn why(json: Json) -> String {
        Definition::parse(json.into()).unwrap_err().0
    }

    fn with_rule(rule: Json) -> Json {
        json!({"type": "boolean", "variants": {"on": true, "off": false}, "default": "off", "rules": [rule]})
    }

    #[test]
    fn the_example_above_is_a_definition() {
        let text: String = include_str!("definition.rs")
            .lines()
            .skip_while(|line| *line != "//! ```json")
            .skip(1)
            .take_while(|line| *line != "//! ```")
            .map(|line| line.trim_start_matches("//!"))
            .collect();
        let definition = Definition::from_text(&text).unwrap();
        assert_eq!((definition.kind, definition.rules.len()), (Type::Bool, 2));
    }

    #[test]
    fn a_list_is_no_definition() {
        for json in [json!(["boolean", {"on": true, "off": false}, "on", []]), json!([]), json!("on"), json!(null)] {
            assert_eq!(why(json), "a definition is a JSON object");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let rules: [(Json, &str); 18] = [
            (json!({"serve": "maybe"}), "rule 1: there is no variant \"maybe\""),
            (json!({}), "rule 1: a rule has either `serve` or `rollout`"),
            (json!({"serve": "on", "rollout": []}), "rule 1: a rule has either `serve` or `rollout`"),
            (json!({"rollout": [{"variant": "on", "percent": 101}]}), "percent: expected 0 to 100, found 101"),
            (json!({"rollout": [{"variant": "on", "percent": -1}]}), "percent: expected 0 to 100, found -1"),
            (
                json!({"rollout": [{"variant": "on", "percent": 60}, {"variant": "off", "percent": 60}]}),
                "the shares make 120 percent",
            ),
            (
                json!({"if": [{"attribute": "a"}], "serve": "on"}),
                "rule 1: condition 1: the condition on \"a\" needs one of equals",
            ),
            (
                json!({"if": [{"attribute": "a", "above": 1, "below": 2}], "serve": "on"}),
                "rule 1: condition 1: the condition on \"a\" has above and below, and only one of equals, in,",
            ),
            (
                json!({"if": [{"attribute": "a", "equals": 1}, {"attribute": "a", "equal": 1}], "serve": "on"}),
                "rule 1: condition 2: unknown field `equal`",
            ),
            (
                json!({"if": [{"attribute": "a", "in": [1, null]}], "serve": "on"}),
                "condition 1: `in`: value 2: expected a text",
            ),
            (json!({"if": [{"attribute": "a", "in": 1}], "serve": "on"}), "condition 1: `in`: expected a list"),
            (
                json!({"if": [{"attribute": "a", "above": "1"}], "serve": "on"}),
                "`above`: expected a number, found string",
            ),
            (json!({"if": [{"attribute": "a", "starts_with": 1}], "serve": "on"}), "`starts_with`: expected a text"),
            (json!({"if": [{"equals": 1}], "serve": "on"}), "condition 1: a condition names its `attribute`"),
            (json!({"if": [["a", 1]], "serve": "on"}), "rule 1: condition 1: a condition is a JSON object"),
            (json!({"serv": "on"}), "rule 1: unknown field `serv`"),
            (json!(["on"]), "rule 1: a rule is a JSON object"),
            (json!({"rollout": [{"variant": "on"}]}), "rule 1: share 1: missing field `percent`"),
        ];
        for (rule, said) in rules {
            let why = why(with_rule(rule.clone()));
            assert!(why.contains(said), "{rule}: {why}");
        }
        for twice in [
            r#""variants": {"on": true, "on": false}, "default": "on""#,
            r#""variants": {}, "default": 1, "default": 2"#,
        ] {
            let why = Definition::from_text(&format!(r#"{{"type": "boolean", {twice}}}"#)).unwrap_err().0;
            assert!(why.contains("stands in one object twice") && !why.contains("variant"), "{why}");
            let held: Stored = serde_json::from_str(&format!(r#"{{"type": "boolean", {twice}}}"#)).unwrap();
            assert!(held.0.unwrap_err().0.contains("twice"), "whoever wrote it past the checks");
        }
        assert!(why(json!({"type": "boolean", "variants": {"on": 1}, "default": "on"})).contains("expected bool"));
        assert!(why(json!({"type": "integer", "variants": {"on": 1.5}, "default": "on"})).contains("expected int"));
        assert!(why(json!({"type": "boolean", "variants": {"on": true}, "default": "off"})).starts_with("default: "));
        assert!(why(json!({"type": "struct", "variants": {"a": {"b": null}}, "default": "a"})).contains("null"));
        for label in ["", "\u{1b}[2J", "a\nb", "a\0", &"x".repeat(129)] {
            let why = why(json!({"type": "boolean", "variants": {label: true}, "default": label}));
            assert!(why.starts_with("the name of a variant has 1 to 128 bytes"), "{why:?}");
            assert!(!why.contains(char::is_control), "{why:?}");
        }
        let odd = why(json!({"\u{1b}[2J": 1}));
        assert!(odd.contains("unknown field") && !odd.contains(char::is_control), "{odd:?}");
        let absurd = Definition::from_text(r#"{"type": "float", "variants": {"a": 1e400}, "default": "a"}"#);
        assert!(absurd.unwrap_err().0.contains("number out of range"));
        let percent = why(with_rule(json!({"rollout": [{"variant": "on", "percent": f64::MAX}]})));
        assert!(percent.len() < 100 && percent.contains("0 to 100"), "{percent}");
    }

    #[test]
    fn sizes_are_bounded() {
        let huge = "x".repeat(MAX_DEFINITION + 1);
        assert!(Definition::from_text(&huge).unwrap_err().0.contains("at most 65536 bytes"));
        let long = json!({"type": "string", "variants": {"a": huge}, "default": "a"});
        assert!(why(long).contains("at most 65536 bytes"));
        let variants: BTreeMap<String, bool> = (0..65).map(|n| (n.to_string(), true)).collect();
        assert!(why(json!({"type": "boolean", "variants": variants, "default": "0"})).contains("at most 64 variants"));
        let list: Vec<u32> = (0..1001).collect();
        assert!(
            why(with_rule(json!({"if": [{"attribute": "a", "in": list}], "serve": "on"}))).contains("at most 1000")
        );
        let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
        assert!(Definition::from_text(&deep).unwrap_err().0.contains("recursion"));
        let name = "n".repeat(1_000_000);
        assert!(check_name(&name).unwrap_err().0.len() < 100);
        assert!(check_name("a:b").is_err() && check_name("").is_err() && check_name("new-checkout.v2_x").is_ok());
    }

    fn any_json() -> impl Strategy<Value = Json> {
        let words =
            prop::sample::select(vec!["type", "boolean", "variants", "on", "default", "rules", "if", "in", "é"]);
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            any::<i64>().prop_map(Json::from),
            any::<f64>().prop_map(Json::from),
            words.clone().prop_map(Json::from),
        ];
        leaf.prop_recursive(4, 32, 6, move |inner| {
            let field = (words.clone().prop_map(str::to_owned), inner.clone());
            prop_oneof![
                prop::collection::vec(inner, 0..5).prop_map(Json::from),
                prop::collection::vec(field, 0..5).prop_map(|fields| Json::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_text_is_a_definition_or_an_error_in_words(text in ".{0,200}") {
            if let Err(why) = Definition::from_text(&text) {
                prop_assert!(!why.0.is_empty() && why.0.len() < 1000);
            }
        }

        #[test]
        fn any_part_may_be_any_json(junk in any_json(), at in 0..5usize) {
            let mut whole = with_rule(json!({"if": [{"attribute": "a", "in": ["b"]}], "serve": "on"}));
            let place = ["/type", "/variants/on", "/default", "/rules/0/if/0", "/rules"][at];
            *whole.pointer_mut(place).unwrap() = junk;
            if let Err(why) = Definition::parse(whole.into()) {
                prop_assert!(!why.0.is_empty() && why.0.len() < 1000);
            }
        }
    }
}
