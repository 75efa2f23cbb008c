//! Claims: the first of some elements that is there.

use bytes::Bytes;

use super::mutate::Write;
use crate::{cells::Cells, claim::Claim, mutation::Outcome};

impl Write<'_> {
    pub(super) fn claim(&mut self, candidates: &[Bytes]) -> Outcome {
        let found = candidates.iter().find_map(|member| Some((member.clone(), self.visible(member)?.text()?)));
        let Some((member, value)) = found else {
            self.clear_if_over();
            return Outcome::Claimed(None);
        };
        self.remove(std::slice::from_ref(&member));
        let cells = self.state.member(&member).into_iter().flat_map(Cells::iter);
        let retracted = cells.filter(|(_, cell)| !cell.retracted.is_zero());
        let retracted = retracted.map(|(origin, cell)| (origin.clone(), cell.retracted)).collect();
        Outcome::Claimed(Some(Claim { member, value, retracted }))
    }
}
