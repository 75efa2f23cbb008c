//! Pushes: cells from another region, past its log.

use archipelago_engine::{Conflict, Push, PushReply, codec};

use super::{
    super::{call::parse, scripts::SCRIPTS},
    RedisStore,
    conflicts::with_told,
    links::joined_keys,
};
use crate::store::StoreError;

impl RedisStore {
    pub(super) async fn push_cells(
        &self,
        partition: u16,
        push: &Push,
        tell: bool,
    ) -> Result<(PushReply, Vec<Conflict>), StoreError> {
        let physical = self.keys(partition)?;
        let blocks: Vec<Vec<u8>> = push.deltas.iter().map(codec::encode_delta).collect();
        let answer = self
            .call_checked(partition, |wire, slot| {
                let mut keys =
                    vec![physical.meta(), physical.index(), physical.expiring(), slot.log.clone(), slot.number.clone()];
                keys.extend(joined_keys(physical, &push.deltas));
                let mut cmd = self.checked_script(&SCRIPTS.push, wire, slot, &keys)?;
                cmd.arg(self.region.id.as_str()).arg(&slot.origin);
                cmd.arg(push.sender.region.as_str()).arg(push.sender.incarnation.to_string()).arg(push.epoch);
                cmd.arg(push.seen.len()).arg(blocks.len());
                for (origin, version) in &push.seen {
                    cmd.arg(origin.to_string()).arg(version.as_micros());
                }
                cmd.arg(&blocks);
                if tell {
                    cmd.arg("tell");
                }
                Ok(cmd)
            })
            .await?;
        let ([what, number], told) = with_told(answer)?;
        let what = parse::text(what)?.unwrap_or_default();
        let reply = match what.as_str() {
            "joined" => PushReply::Joined { left_out: parse::unsigned(&number)? },
            "unheard" => PushReply::Unheard,
            "closed" => PushReply::Closed,
            "epoch" => PushReply::Epoch(parse::unsigned(&number)?),
            _ => return Err(StoreError::Protocol(format!("push answered {what}"))),
        };
        Ok((reply, told))
    }
}
