//! The Lua scripts: pieces put together at compile time, loaded on every connection before its first write.

use std::sync::LazyLock;

/// A script that runs in Redis.
pub(crate) struct Script {
    source: String,
    sha: String,
}

impl Script {
    /// From pieces of source, in this order.
    pub(crate) fn new(pieces: &[&str]) -> Self {
        let source = pieces.concat();
        let sha = redis::Script::new(&source).get_hash().to_owned();
        Self { source, sha }
    }

    /// What SCRIPT LOAD takes.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// What EVALSHA takes.
    pub(crate) fn sha(&self) -> &str {
        &self.sha
    }
}

/// All scripts. See `scripts/` for what each takes and answers.
pub(super) struct Scripts {
    pub(super) assign: Script,
    pub(super) resolve: Script,
    pub(super) add: Script,
    pub(super) remove: Script,
    pub(super) clear: Script,
    pub(super) step: Script,
    pub(super) expire: Script,
    pub(super) entries: Script,
    pub(super) arrived: Script,
    pub(super) observe: Script,
    pub(super) list: Script,
    pub(super) claim: Script,
    pub(super) stock: Script,
    pub(super) open: Script,
    pub(super) read: Script,
    pub(super) state: Script,
    pub(super) join: Script,
    pub(super) push: Script,
    pub(super) recover: Script,
    pub(super) publish: Script,
    pub(super) begin: Script,
    pub(super) walk: Script,
    pub(super) start: Script,
    pub(super) slice: Script,
    pub(super) complete: Script,
    pub(super) mark: Script,
    pub(super) settle: Script,
    pub(super) collect: Script,
    pub(super) acknowledge: Script,
    pub(super) standing: Script,
    pub(super) lease: Script,
    pub(super) release: Script,
    pub(super) reclaim: Script,
}

const HISTORY: &str = include_str!("scripts/lib/history.lua");
const RECORD: &str = include_str!("scripts/lib/record.lua");
const APPEND: &str = include_str!("scripts/lib/append.lua");
const CELLS: &str = concat!(
    include_str!("scripts/lib/hyperloglog.lua"),
    include_str!("scripts/lib/cells.lua"),
    include_str!("scripts/lib/dying.lua"),
    include_str!("scripts/lib/arrivals.lua")
);
const WRITE: &str = include_str!("scripts/lib/write.lua");
const ORDERED: &str = include_str!("scripts/lib/ordered.lua");
const POSITIONS: &str = include_str!("scripts/lib/positions.lua");
const NUMBERS: &str = include_str!("scripts/lib/numbers.lua");
const VECTOR: &str = include_str!("scripts/lib/vector.lua");
const JOIN: &str = concat!(include_str!("scripts/lib/fast_join.lua"), include_str!("scripts/lib/join.lua"));
const PLAN: &str = include_str!("scripts/lib/plan.lua");
const PASSED: &str = include_str!("scripts/lib/passed.lua");
const MEET: &str = include_str!("scripts/lib/meet.lua");
const UNDER_WAY: &str = include_str!("scripts/lib/under_way.lua");

pub(super) static SCRIPTS: LazyLock<Scripts> = LazyLock::new(|| {
    // `fast` is the everyday case of a write, `body` every case: a differential test holds both equal to the engine.
    let write = |fast, body| Script::new(&[HISTORY, APPEND, fast, CELLS, WRITE, body]);
    let checked = |pieces: &[&str]| Script::new(&[&[HISTORY, RECORD], pieces].concat());
    Scripts {
        assign: write(include_str!("scripts/lib/fast_assign.lua"), include_str!("scripts/assign.lua")),
        resolve: write("", include_str!("scripts/resolve.lua")),
        add: write(include_str!("scripts/lib/fast_add.lua"), include_str!("scripts/add.lua")),
        remove: write("", include_str!("scripts/remove.lua")),
        clear: write("", include_str!("scripts/clear.lua")),
        step: write("", include_str!("scripts/step.lua")),
        expire: write("", include_str!("scripts/expire.lua")),
        entries: Script::new(&[HISTORY, APPEND, CELLS, WRITE, ORDERED, include_str!("scripts/entries.lua")]),
        arrived: checked(&[CELLS, include_str!("scripts/arrived.lua")]),
        observe: write("", include_str!("scripts/observe.lua")),
        list: Script::new(&[HISTORY, APPEND, CELLS, WRITE, ORDERED, POSITIONS, include_str!("scripts/list.lua")]),
        claim: Script::new(&[HISTORY, APPEND, CELLS, WRITE, ORDERED, include_str!("scripts/claim.lua")]),
        stock: write("extra_keys = 4\n", include_str!("scripts/stock.lua")),
        open: Script::new(&[CELLS, VECTOR, include_str!("scripts/open.lua")]),
        read: checked(&[include_str!("scripts/read.lua")]),
        state: Script::new(&[include_str!("scripts/state.lua")]),
        join: checked(&[NUMBERS, CELLS, JOIN, include_str!("scripts/join.lua")]),
        push: checked(&[NUMBERS, CELLS, VECTOR, JOIN, include_str!("scripts/push.lua")]),
        recover: checked(&[NUMBERS, CELLS, JOIN, include_str!("scripts/recover.lua")]),
        publish: checked(&[CELLS, VECTOR, include_str!("scripts/publish.lua")]),
        begin: checked(&[CELLS, VECTOR, include_str!("scripts/begin.lua")]),
        walk: checked(&[include_str!("scripts/walk.lua")]),
        start: checked(&[PLAN, include_str!("scripts/start.lua")]),
        slice: checked(&[NUMBERS, PLAN, UNDER_WAY, CELLS, VECTOR, PASSED, JOIN, include_str!("scripts/slice.lua")]),
        complete: checked(&[PLAN, UNDER_WAY, MEET, include_str!("scripts/complete.lua")]),
        mark: checked(&[CELLS, VECTOR, include_str!("scripts/mark.lua")]),
        settle: checked(&[include_str!("scripts/settle.lua")]),
        collect: checked(&[CELLS, include_str!("scripts/collect.lua")]),
        acknowledge: checked(&[
            "local floor = math.floor\n\
             local function id_of(v) return string.format('%.0f-%.0f', floor(v / 1000), v % 1000) end\n",
            include_str!("scripts/acknowledge.lua"),
        ]),
        standing: checked(&[include_str!("scripts/standing.lua")]),
        lease: Script::new(&[include_str!("scripts/lease.lua")]),
        release: Script::new(&[include_str!("scripts/release.lua")]),
        reclaim: checked(&[include_str!("scripts/reclaim.lua")]),
    }
});

impl Scripts {
    /// All of them, for loading.
    pub(super) fn all(&self) -> Vec<&Script> {
        vec![
            &self.assign,
            &self.resolve,
            &self.add,
            &self.remove,
            &self.clear,
            &self.step,
            &self.expire,
            &self.entries,
            &self.arrived,
            &self.observe,
            &self.list,
            &self.claim,
            &self.stock,
            &self.open,
            &self.read,
            &self.state,
            &self.join,
            &self.push,
            &self.recover,
            &self.publish,
            &self.begin,
            &self.walk,
            &self.start,
            &self.slice,
            &self.complete,
            &self.mark,
            &self.settle,
            &self.collect,
            &self.acknowledge,
            &self.standing,
            &self.lease,
            &self.release,
            &self.reclaim,
        ]
    }
}
