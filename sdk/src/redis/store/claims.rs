//! Claims: what the script answers.

use archipelago_engine::{Claim, Origin, Outcome, Version};
use bytes::Bytes;
use redis::Value;

use super::super::call::parse;
use crate::store::StoreError;

pub(super) fn claimed(answer: Value) -> Result<Outcome, StoreError> {
    if answer == Value::Nil {
        return Ok(Outcome::Claimed(None));
    }
    let broken = || StoreError::Protocol("not what a claim answers".to_owned());
    let mut texts = parse::array(answer)?.into_iter();
    let mut next = || texts.next().map(|text| parse::bytes(text).map(Option::unwrap_or_default)).transpose();
    let (member, value) = (next()?.ok_or_else(broken)?, next()?.ok_or_else(broken)?);
    let mut retracted = Vec::new();
    while let Some(origin) = next()? {
        let origin = Origin::from_bytes(&origin).map_err(|_| broken())?;
        retracted.push((origin, version(&next()?.ok_or_else(broken)?).ok_or_else(broken)?));
    }
    Ok(Outcome::Claimed(Some(Claim { member, value, retracted })))
}

fn version(text: &Bytes) -> Option<Version> {
    std::str::from_utf8(text).ok()?.parse().ok().map(Version::from_micros)
}
