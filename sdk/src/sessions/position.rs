//! Where a server's history stands, from `INFO replication`.

use super::token::Mark;

/// More than any server says; what comes behind is not looked at.
const LONGEST: usize = 64 * 1024;

/// A replication id has 40 hexadecimal digits.
const ID_DIGITS: usize = 40;

/// Where a server's history stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// Whether it is a primary.
    pub(crate) is_primary: bool,
    /// What it has, at present.
    pub(crate) mark: Mark,
    /// The history that its own goes on from, up to this offset and without it.
    pub(crate) before: Option<Mark>,
}

impl Position {
    /// Reads the answer to `INFO replication`; `None` when it does not say where the server stands.
    pub(crate) fn parse(info: &[u8]) -> Option<Self> {
        let info = info.get(..info.len().min(LONGEST)).unwrap_or_default();
        let field = |name: &str| {
            let mut lines = info.split(|byte| *byte == b'\n');
            let value = lines.find_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b":"))?;
            std::str::from_utf8(value).ok().map(str::trim)
        };
        let is_primary = match field("role")? {
            "master" => true,
            "slave" => false,
            _ => return None,
        };
        // A replica's `master_repl_offset` counts what it feeds to replicas of its own.
        let offset = field(if is_primary { "master_repl_offset" } else { "slave_repl_offset" })?;
        let mark = Mark { id: id(field("master_replid")?)?, offset: offset.parse().ok()? };
        let before = || {
            // -1 while there is none.
            let offset = field("second_repl_offset")?.parse().ok()?;
            Some(Mark { id: id(field("master_replid2")?)?, offset })
        };
        Some(Self { is_primary, mark, before: before() })
    }

    /// Whether the server has all that was there at a mark.
    pub(crate) fn has(&self, mark: Mark) -> bool {
        // After a promotion two servers may give one offset to two writes: the id tells them apart, and the history
        // before counts only as far as both share it.
        let is_shared = |before: Mark| mark.id == before.id && mark.offset < before.offset;
        mark.offset <= self.mark.offset && (mark.id == self.mark.id || self.before.is_some_and(is_shared))
    }
}

/// The first 8 bytes of an id: ids are drawn at random, so that two of one data set share them once in 2^64.
fn id(text: &str) -> Option<u64> {
    let is_whole = text.len() == ID_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let prefix = text.get(..16).filter(|_| is_whole)?;
    u64::from_str_radix(prefix, 16).ok().filter(|id| *id != 0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OLD: &str = "1111111111111111aaaaaaaaaaaaaaaaaaaaaaaa";
    const NEW: &str = "2222222222222222bbbbbbbbbbbbbbbbbbbbbbbb";
    const NONE: &str = "0000000000000000000000000000000000000000";

    fn info(role: &str, ids: [&str; 2], offset: u64, second: i64) -> String {
        let own = if role == "slave" { format!("slave_repl_offset:{offset}\r\n") } else { String::new() };
        let primary = if role == "slave" { 7 } else { offset };
        let [first, before] = ids;
        format!(
            "# Replication\r\nrole:{role}\r\n{own}master_replid:{first}\r\nmaster_replid2:{before}\r\n\
             master_repl_offset:{primary}\r\nsecond_repl_offset:{second}\r\nrepl_backlog_active:1\r\n"
        )
    }

    fn parse(text: &str) -> Option<Position> {
        Position::parse(text.as_bytes())
    }

    fn mark(id: &str, offset: u64) -> Mark {
        Mark { id: super::id(id).unwrap(), offset }
    }

    #[test]
    fn a_replica_has_what_it_has_applied_and_a_primary_what_it_has_written() {
        for role in ["slave", "master"] {
            let at = parse(&info(role, [OLD, NONE], 900, -1)).unwrap();
            assert_eq!((at.is_primary, at.mark, at.before), (role == "master", mark(OLD, 900), None));
            assert!(at.has(mark(OLD, 900)) && !at.has(mark(OLD, 901)) && !at.has(mark(NEW, 1)));
        }
    }

    #[test]
    fn a_promotion_that_lost_the_write_does_not_have_it_however_far_it_gets() {
        // The primary was at 1000; the replica at 900 was promoted, and 105 more were written there.
        let promoted = parse(&info("master", [NEW, OLD], 1005, 901)).unwrap();
        assert!(!promoted.has(mark(OLD, 1000)), "lost");
        assert!(!promoted.has(mark(OLD, 901)), "the first that was lost");
        assert!(promoted.has(mark(OLD, 900)), "the last that both have");
        assert!(promoted.has(mark(NEW, 1005)));
        let behind = parse(&info("slave", [NEW, OLD], 800, 901)).unwrap();
        assert!(!behind.has(mark(OLD, 850)), "shared, and not there yet");
    }

    #[test]
    fn what_is_no_position_is_none() {
        let good = info("slave", [OLD, NEW], 900, 5);
        assert!(parse(&good).is_some());
        for (from, to) in [
            ("role:slave", "role:sentinel"),
            ("slave_repl_offset:900", "slave_repl_offset:-1"),
            ("slave_repl_offset:900", "slave_repl_offset:99999999999999999999"),
            ("master_replid:1111", "master_replid:111"),
            ("master_replid:1111", "master_replid:zzzz"),
            ("slave_repl_offset:900\r\n", ""),
        ] {
            assert_eq!(parse(&good.replace(from, to)), None, "{from} -> {to}");
        }
        let cut = parse(&good.replace("second_repl_offset:5", "second_repl_offset:x")).unwrap();
        assert_eq!(cut.before, None);
        let far = format!("{}{good}", "x".repeat(LONGEST));
        assert_eq!(parse(&far), None, "nobody reads that far");
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300), at in 0..200_usize, byte: u8) {
            let _ = Position::parse(&bytes);
            let mut damaged = info("slave", [OLD, NEW], 900, 5).into_bytes();
            if let Some(place) = damaged.get_mut(at) {
                *place = byte;
            }
            let _ = Position::parse(&damaged);
        }
    }
}
