//! The Lua scripts: pieces put together at compile time. See `scripts/` for what each takes and answers.

use std::sync::LazyLock;

use crate::redis::Script;

pub(super) struct Scripts {
    pub(super) record: Script,
    pub(super) prepare: Script,
    pub(super) read: Script,
    pub(super) copy: Script,
    pub(super) seal: Script,
    pub(super) open: Script,
    pub(super) clear: Script,
    pub(super) run: Script,
}

const GATE: &str = include_str!("scripts/lib/gate.lua");
const TOLD: &str = include_str!("scripts/lib/told.lua");
const CONTENTS: &str = include_str!("scripts/lib/contents.lua");

pub(super) static SCRIPTS: LazyLock<Scripts> = LazyLock::new(|| {
    let told = |body| Script::new(&[GATE, TOLD, body]);
    Scripts {
        record: Script::new(&[include_str!("scripts/record.lua")]),
        prepare: told(include_str!("scripts/prepare.lua")),
        read: Script::new(&[GATE, CONTENTS, include_str!("scripts/read.lua")]),
        copy: told(include_str!("scripts/copy.lua")),
        seal: Script::new(&[GATE, TOLD, CONTENTS, include_str!("scripts/seal.lua")]),
        open: told(include_str!("scripts/open.lua")),
        clear: told(include_str!("scripts/clear.lua")),
        run: Script::new(&[GATE, include_str!("scripts/run.lua")]),
    }
});
