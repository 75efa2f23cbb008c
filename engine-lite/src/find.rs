//! Finding elements of a list by what they hold: LPOS.

use bytes::Bytes;

/// Which of the elements that hold a value are meant. By default all, from the front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Find {
    /// Begins with the first one (1), the second one (2) and so on; negative: from the back.
    pub rank: i64,
    /// At most so many; 0 for all.
    pub count: u64,
    /// Looks at so many elements at most; 0 for all.
    pub most: u64,
}

impl Default for Find {
    fn default() -> Self {
        Self { rank: 1, count: 0, most: 0 }
    }
}

impl Find {
    /// The last index that has to be looked at, from the front.
    #[must_use]
    pub fn last(&self) -> i64 {
        match i64::try_from(self.most) {
            Ok(most) if most > 0 && self.rank > 0 => most - 1,
            Ok(_) | Err(_) => -1,
        }
    }

    /// The indexes of those of these elements that hold a value, in the order in which they are found.
    ///
    /// ```
    /// use archipelago_engine::Find;
    /// let elements = ["a", "b", "a"].map(bytes::Bytes::from);
    /// assert_eq!(Find::default().among(&elements, &"a".into()), [0, 2]);
    /// assert_eq!(Find { rank: -1, ..Find::default() }.among(&elements, &"a".into()), [2, 0]);
    /// assert_eq!(Find { rank: 2, count: 1, most: 2 }.among(&elements, &"a".into()), []);
    /// ```
    #[must_use]
    pub fn among(&self, elements: &[Bytes], value: &Bytes) -> Vec<u64> {
        let size = |n: u64| if n == 0 { usize::MAX } else { usize::try_from(n).unwrap_or(usize::MAX) };
        let skip = usize::try_from(self.rank.unsigned_abs().saturating_sub(1)).unwrap_or(usize::MAX);
        let all = (0_u64..).zip(elements);
        let found = |(index, held): (u64, &Bytes)| (held == value).then_some(index);
        if self.rank < 0 {
            let backwards = all.take(elements.len()).collect::<Vec<_>>().into_iter().rev();
            backwards.take(size(self.most)).filter_map(found).skip(skip).take(size(self.count)).collect()
        } else {
            all.take(size(self.most)).filter_map(found).skip(skip).take(size(self.count)).collect()
        }
    }
}
