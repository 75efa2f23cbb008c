//! Every command of the server is known, and its flags agree with the table.

use archipelago::commands::{self, Access, Refusal};

use crate::{
    said::{self, Said},
    servers,
};

/// Writes that the server does not flag.
const UNFLAGGED_WRITES: &[(&str, &str)] = &[
    ("eval", "its script may write; flags of the script itself are not known here"),
    ("evalsha", "as eval"),
    ("fcall", "as eval"),
    ("publish", "a second message is a second effect, and subscribers sit at the writer"),
    ("spublish", "as publish"),
];

/// Commands with one of the flags of what a shared connection should not run, which are allowed.
const ALLOWED: &[(&str, &str)] = &[
    ("acl", "a container answers nothing itself; its reads are reads"),
    ("eval", "noscript: it is what runs scripts"),
    ("eval_ro", "as eval"),
    ("evalsha", "as eval"),
    ("evalsha_ro", "as eval"),
    ("fcall", "as eval"),
    ("fcall_ro", "as eval"),
    ("publish", "needs no subscription"),
    ("spublish", "as publish"),
    ("pubsub", "asks about subscriptions, makes none"),
    ("function", "the library is for every primary"),
    ("script", "the cache is for every node"),
    ("role", "reads"),
    ("acl cat", "reads"),
    ("acl dryrun", "reads"),
    ("acl genpass", "reads"),
    ("acl getuser", "reads"),
    ("acl list", "reads"),
    ("acl users", "reads"),
    ("acl whoami", "reads"),
    ("client getname", "reads"),
    ("client getredir", "reads"),
    ("client id", "reads"),
    ("client info", "reads"),
    ("client list", "reads"),
    ("client trackinginfo", "reads"),
    ("cluster count-failure-reports", "reads"),
    ("cluster getslotmigrations", "reads"),
    ("cluster replicas", "reads"),
    ("cluster slaves", "reads"),
    ("commandlog get", "reads"),
    ("commandlog len", "reads"),
    ("config get", "reads"),
    ("function delete", "for every primary"),
    ("function dump", "reads"),
    ("function flush", "for every primary"),
    ("function list", "reads"),
    ("function load", "for every primary"),
    ("function restore", "for every primary"),
    ("function stats", "reads"),
    ("latency doctor", "reads"),
    ("latency graph", "reads"),
    ("latency histogram", "reads"),
    ("latency history", "reads"),
    ("latency latest", "reads"),
    ("module list", "reads"),
    ("pubsub channels", "reads"),
    ("pubsub numpat", "reads"),
    ("pubsub numsub", "reads"),
    ("pubsub shardchannels", "reads"),
    ("pubsub shardnumsub", "reads"),
    ("script exists", "for every node"),
    ("script flush", "for every node"),
    ("script load", "for every node"),
    ("script show", "reads"),
    ("slowlog get", "reads"),
    ("slowlog len", "reads"),
];

/// Refused although no flag of the server's asks for it.
const REFUSED_WITHOUT_FLAG: &[(&str, &str)] = &[
    ("asking", "the client routes by itself"),
    ("readonly", "as asking"),
    ("readwrite", "as asking"),
    ("select", "changes the shared connection"),
    ("memory purge", "for the operator of one server"),
    ("wait", "covers its own connection only"),
    ("waitaof", "as wait"),
];

fn is_in(list: &[(&str, &str)], name: &str) -> bool {
    list.iter().any(|(listed, _)| *listed == name)
}

/// Where the table and the server differ about a command.
fn difference(said: &Said) -> Option<String> {
    let name = said.name();
    let cmd = said.with_arguments(0);
    let command = commands::of_cmd(&cmd);
    let Some(known) = command.name() else { return Some(format!("{name}: not in the table")) };
    let is_refused = command.refusal().is_some();
    if known.to_lowercase() != name && !(is_refused && said.words.len() == 2) {
        return Some(format!("{name}: taken for {known}"));
    }
    if said.has_subcommands && !is_refused {
        return None; // It does nothing without a subcommand, and each of them comes by itself.
    }
    let is_write = command.access() == Access::Write;
    let should_write = said.has("write") || is_in(UNFLAGGED_WRITES, &name);
    if !is_refused && is_write != should_write {
        return Some(format!("{name}: {:?}, but the server says {:?}", command.access(), said.flags));
    }
    let may_block = said.has("blocking");
    if command.blocking().is_some() && !may_block && command.refusal() != Some(Refusal::Wait) {
        return Some(format!("{name}: blocks, but the server says {:?}", said.flags));
    }
    // XREAD and XREADGROUP do with BLOCK only; the decision table of the module has them.
    if may_block && command.blocking().is_none() && !name.starts_with("xread") {
        return Some(format!("{name}: does not block, but the server says {:?}", said.flags));
    }
    // What blocks is flagged noscript by some versions; an exclusive connection takes it.
    let looks_unfit = !may_block && ["admin", "noscript", "pubsub"].iter().any(|flag| said.has(flag));
    let is_explained = if is_refused { REFUSED_WITHOUT_FLAG } else { ALLOWED };
    if looks_unfit == is_refused || is_in(is_explained, &name) || (is_refused && said.has_subcommands) {
        return None;
    }
    Some(format!("{name}: refused is {is_refused}, but the server says {:?}", said.flags))
}

fn differences(said: &[Said]) -> Vec<String> {
    said.iter().filter_map(difference).collect()
}

#[tokio::test]
async fn the_table_agrees_with_the_flags_of_the_servers() {
    for server in servers().await {
        let differences = differences(&said::commands(&server).await);
        assert!(differences.is_empty(), "{}", differences.join("\n"));
    }
}

#[tokio::test]
async fn a_flag_that_changes_is_noticed() {
    let Some(server) = servers().await.into_iter().next() else { return };
    let all = said::commands(&server).await;
    let changed = |name: &str, change: &dyn Fn(&mut Said)| {
        let mut all = all.clone();
        change(all.iter_mut().find(|said| said.name() == name).unwrap());
        differences(&all)
    };
    let flag = |flag: &'static str| move |said: &mut Said| said.flags.push(flag.to_owned());
    assert_eq!(changed("get", &flag("write")).len(), 1, "a write taken for a read");
    assert_eq!(changed("set", &|said| said.flags.clear()).len(), 1, "a read taken for a write");
    assert_eq!(changed("lpop", &flag("blocking")).len(), 1, "blocking unnoticed");
    assert_eq!(changed("bzmpop", &|said| said.flags.retain(|f| f != "blocking")).len(), 1, "blocking invented");
    assert_eq!(changed("echo", &flag("admin")).len(), 1, "allowed by mistake");
    assert_eq!(changed("monitor", &|said| said.flags.clear()).len(), 1, "refused by mistake");
    assert_eq!(changed("ping", &|said| said.words = vec!["pong".to_owned()]).len(), 1, "a new command");
    assert_eq!(changed("xinfo stream", &|said| said.words[1] = "rivers".to_owned()).len(), 1, "a new subcommand");
}
