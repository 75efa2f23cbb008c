//! What a server says about its commands.

use archipelago::testing::servers::Server;
use redis::Value;

/// One command or subcommand, as COMMAND describes it.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    /// `["xinfo", "stream"]`.
    pub(crate) words: Vec<String>,
    pub(crate) flags: Vec<String>,
    /// The name included, and the subcommand; negative means "at least".
    pub(crate) arity: i64,
    pub(crate) has_subcommands: bool,
}

impl Said {
    pub(crate) fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|f| f == flag)
    }

    pub(crate) fn name(&self) -> String {
        self.words.join(" ")
    }

    /// The command with as many arguments as it needs at least, and some more.
    pub(crate) fn with_arguments(&self, more: usize) -> redis::Cmd {
        let mut cmd = redis::cmd(&self.words[0]);
        cmd.arg(&self.words[1..]);
        // Numbers, so that a count of keys reads as one; each another, so that no two arguments are mistaken for each other.
        for index in self.words.len()..usize::try_from(self.arity.unsigned_abs()).unwrap() + more {
            cmd.arg(index);
        }
        cmd
    }
}

pub(crate) async fn commands(server: &Server) -> Vec<Said> {
    let commands: Vec<Value> = server.run(&redis::cmd("COMMAND")).await.unwrap();
    let said: Vec<Said> = commands.iter().flat_map(read).collect();
    assert!(said.len() > 200, "COMMAND describes {} commands", said.len());
    said
}

fn read(value: &Value) -> Vec<Said> {
    let Value::Array(parts) = value else { panic!("{value:?}") };
    let name: String = redis::from_redis_value_ref(&parts[0]).unwrap();
    let Value::Array(subcommands) = &parts[9] else { panic!("{value:?}") };
    let subcommands: Vec<Said> = subcommands.iter().flat_map(read).collect();
    let said = Said {
        words: name.split('|').map(str::to_owned).collect(),
        flags: redis::from_redis_value_ref(&parts[2]).unwrap(),
        arity: redis::from_redis_value_ref(&parts[1]).unwrap(),
        has_subcommands: !subcommands.is_empty(),
    };
    std::iter::once(said).chain(subcommands).collect()
}
