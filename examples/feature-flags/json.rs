//! JSON as it is written. The usual parser takes the last of two fields of one name, silently; here the name is kept.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value as Json};

/// JSON, and the name of a field that stands in one object twice.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    pub json: Json,
    pub twice: Option<String>,
}

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut twice = None;
        let json = Part { twice: &mut twice }.deserialize(deserializer)?;
        Ok(Self { json, twice })
    }
}

struct Part<'t> {
    twice: &'t mut Option<String>,
}

impl<'de> DeserializeSeed<'de> for Part<'_> {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Part<'_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut found = Vec::new();
        while let Some(item) = items.next_element_seed(Part { twice: self.twice })? {
            found.push(item);
        }
        Ok(Json::Array(found))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Json, A::Error> {
        let mut found = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            let value = fields.next_value_seed(Part { twice: self.twice })?;
            if found.insert(name.clone(), value).is_some() {
                self.twice.get_or_insert(name);
            }
        }
        Ok(Json::Object(found))
    }
}

#[cfg(test)]
impl From<Json> for Written {
    fn from(json: Json) -> Self {
        Self { json, twice: None }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_that_stands_twice_is_kept() {
        let twice = |text: &str| serde_json::from_str::<Written>(text).unwrap().twice;
        assert_eq!(twice(r#"{"a": {"b": 1, "c": 2, "b": 1}}"#).as_deref(), Some("b"));
        assert_eq!(twice(r#"[{"a": 1, "\u0061": 2}]"#).as_deref(), Some("a"), "however it is written");
        assert_eq!(twice(r#"{"a": {"a": 1}, "b": [{"a": 1}, {"a": 1}]}"#), None);
    }

    proptest! {
        #[test]
        fn else_it_is_what_the_usual_parser_makes_of_it(text in "[\\[\\]{}:,0-9a-b\"e.+ -]{0,30}|-?[0-9]{1,25}(e[0-9]{1,3})?") {
            let (usual, written) = (serde_json::from_str::<Json>(&text), serde_json::from_str::<Written>(&text));
            prop_assert_eq!(usual.ok(), written.ok().map(|written| written.json));
        }
    }
}
