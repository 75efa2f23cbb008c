//! Countries and continents by their codes.

use std::{fmt, str::FromStr};

use serde::Deserialize;
use thiserror::Error;

/// A country, by its ISO 3166-1 alpha-2 code in upper case; `XK`, which databases use for Kosovo, is one, too.
///
/// Only codes that are assigned: `UK` for `GB` would be a rule that never applies to anyone, and is refused.
///
/// ```
/// use archipelago::homes::{Continent, Country};
///
/// let germany: Country = "DE".parse()?;
/// assert_eq!(germany.continent(), Continent::Europe);
/// let error = "UK".parse::<Country>().unwrap_err();
/// assert_eq!(error.to_string(), "\"UK\" is not an ISO 3166-1 alpha-2 country code; the United Kingdom is GB");
/// # Ok::<(), archipelago::homes::CodeError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Country {
    code: [u8; 2],
    continent: Continent,
}

/// A continent, by its two-letter code as GeoNames and MaxMind use it.
///
/// ```
/// use archipelago::homes::Continent;
///
/// assert_eq!("OC".parse::<Continent>()?, Continent::Oceania);
/// assert!("XX".parse::<Continent>().is_err());
/// # Ok::<(), archipelago::homes::CodeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub enum Continent {
    /// `AF`
    Africa,
    /// `AN`
    Antarctica,
    /// `AS`
    Asia,
    /// `EU`
    Europe,
    /// `NA`, with Central America and the Caribbean.
    NorthAmerica,
    /// `OC`
    Oceania,
    /// `SA`
    SouthAmerica,
}

/// Why a text is no code.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CodeError {
    /// No country has it.
    #[error("{found:?} is not an ISO 3166-1 alpha-2 country code{hint}")]
    Country {
        /// The text, cut to a few letters.
        found: String,
        /// What may have been meant; may be empty.
        hint: &'static str,
    },
    /// No continent has it.
    #[error("{found:?} is not a continent code: expected AF, AN, AS, EU, NA, OC or SA")]
    Continent {
        /// The text, cut to a few letters.
        found: String,
    },
}

/// The countries of each continent, as GeoNames has them, from which MaxMind's databases take theirs: the Caucasus and
/// Turkey are in Asia, Russia and Cyprus in Europe.
const COUNTRIES: [(Continent, &str); 7] = [
    (
        Continent::Africa,
        "AO BF BI BJ BW CD CF CG CI CM CV DJ DZ EG EH ER ET GA GH GM GN GQ GW KE KM LR LS LY MA MG ML MR MU MW MZ NA \
         NE NG RE RW SC SD SH SL SN SO SS ST SZ TD TG TN TZ UG YT ZA ZM ZW",
    ),
    (Continent::Antarctica, "AQ BV GS HM TF"),
    (
        Continent::Asia,
        "AE AF AM AZ BD BH BN BT CC CN GE HK ID IL IN IO IQ IR JO JP KG KH KP KR KW KZ LA LB LK MM MN MO MV MY NP OM \
         PH PK PS QA SA SG SY TH TJ TM TR TW UZ VN YE",
    ),
    (
        Continent::Europe,
        "AD AL AT AX BA BE BG BY CH CY CZ DE DK EE ES FI FO FR GB GG GI GR HR HU IE IM IS IT JE LI LT LU LV MC MD ME \
         MK MT NL NO PL PT RO RS RU SE SI SJ SK SM UA VA XK",
    ),
    (
        Continent::NorthAmerica,
        "AG AI AW BB BL BM BQ BS BZ CA CR CU CW DM DO GD GL GP GT HN HT JM KN KY LC MF MQ MS MX NI PA PM PR SV SX TC \
         TT US VC VG VI",
    ),
    (Continent::Oceania, "AS AU CK CX FJ FM GU KI MH MP NC NF NR NU NZ PF PG PN PW SB TK TL TO TV UM VU WF WS"),
    (Continent::SouthAmerica, "AR BO BR CL CO EC FK GF GY PE PY SR UY VE"),
];

impl Country {
    /// The two letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Two ASCII letters, for only those are in the table.
        str::from_utf8(&self.code).unwrap_or_default()
    }

    /// Where it is; a country on two continents counts as GeoNames counts it.
    #[must_use]
    pub const fn continent(self) -> Continent {
        self.continent
    }
}

impl Continent {
    /// All of them, by code.
    pub const ALL: [Self; 7] = [
        Self::Africa,
        Self::Antarctica,
        Self::Asia,
        Self::Europe,
        Self::NorthAmerica,
        Self::Oceania,
        Self::SouthAmerica,
    ];

    /// The two letters.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Africa => "AF",
            Self::Antarctica => "AN",
            Self::Asia => "AS",
            Self::Europe => "EU",
            Self::NorthAmerica => "NA",
            Self::Oceania => "OC",
            Self::SouthAmerica => "SA",
        }
    }
}

impl FromStr for Country {
    type Err = CodeError;

    fn from_str(text: &str) -> Result<Self, CodeError> {
        let unknown = || CodeError::Country { found: shortened(text), hint: hint(text) };
        let code: [u8; 2] = text.as_bytes().try_into().map_err(|_| unknown())?;
        let is_in = |codes: &str| codes.as_bytes().chunks(3).any(|known| known.starts_with(&code));
        let found = COUNTRIES.iter().find(|(_, codes)| is_in(codes));
        found.map(|(continent, _)| Self { code, continent: *continent }).ok_or_else(unknown)
    }
}

impl FromStr for Continent {
    type Err = CodeError;

    fn from_str(text: &str) -> Result<Self, CodeError> {
        let found = Self::ALL.into_iter().find(|continent| continent.as_str() == text);
        found.ok_or_else(|| CodeError::Continent { found: shortened(text) })
    }
}

/// What may have been meant by a text that is no country's code.
fn hint(text: &str) -> &'static str {
    let is_country = |code: &str| COUNTRIES.iter().any(|(_, codes)| codes.split(' ').any(|known| known == code));
    match text {
        "UK" => "; the United Kingdom is GB",
        "EL" => "; Greece is GR",
        "EU" => "; Europe is a continent, or a list of countries",
        _ if text.len() == 2 && is_country(&text.to_ascii_uppercase()) => "; use capital letters",
        _ => "",
    }
}

/// For messages: a text that somebody else wrote may be long.
fn shortened(text: &str) -> String {
    text.chars().take(8).collect()
}

impl TryFrom<String> for Country {
    type Error = CodeError;

    fn try_from(text: String) -> Result<Self, CodeError> {
        text.parse()
    }
}

impl TryFrom<String> for Continent {
    type Error = CodeError;

    fn try_from(text: String) -> Result<Self, CodeError> {
        text.parse()
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for Continent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_assigned_code_is_there_once() {
        let codes: Vec<_> = COUNTRIES.iter().flat_map(|(_, codes)| codes.split(' ')).collect();
        // 249 are assigned, and XK.
        assert_eq!((codes.len(), codes.iter().collect::<BTreeSet<_>>().len()), (250, 250));
        for (continent, codes) in COUNTRIES {
            for code in codes.split(' ') {
                let country: Country = code.parse().unwrap();
                assert_eq!((country.as_str(), country.continent()), (code, continent));
            }
        }
    }

    #[test]
    fn what_is_no_code_is_refused_with_a_hint() {
        for (text, hint) in [("UK", "GB"), ("EL", "GR"), ("EU", "continent"), ("de", "capital"), ("dE", "capital")] {
            let message = text.parse::<Country>().unwrap_err().to_string();
            assert!(message.contains(hint), "{message}");
        }
        for text in ["", "D", "DEU", "ZZ", "xx", "A1", "D ", " D", "E\0", "ü", "X "] {
            let message = text.parse::<Country>().unwrap_err().to_string();
            assert!(message.ends_with("country code"), "{message}");
        }
        assert_eq!("x".repeat(9999).parse::<Country>().unwrap_err().to_string().len(), 52);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in any::<String>(), short in "[A-Z ]{2}") {
            for text in [text, short] {
                prop_assert!(text.parse::<Country>().map_or(true, |country| country.as_str() == text));
                prop_assert!(text.parse::<Continent>().map_or(true, |continent| continent.as_str() == text));
            }
        }
    }
}
