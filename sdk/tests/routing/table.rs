//! Plays a table: reads it line by line and writes it again with the plans that the code decides.

use archipelago::routing::{Candidates, Plan, Trigger, Verdict};

use crate::world::{Setting, World};

/// A table as the code would have it.
pub(crate) struct Played {
    pub(crate) text: String,
    pub(crate) decisions: usize,
}

/// Everything but the expected lines is copied; those are decided anew.
pub(crate) fn play(text: &str) -> Played {
    let mut played = Played { text: String::new(), decisions: 0 };
    let (mut world, mut setting) = (World::default(), Setting::default());
    let (mut plan, mut is_expecting) = (String::new(), false);
    for line in text.lines() {
        if is_expecting && line.starts_with("  ") {
            continue;
        }
        is_expecting = false;
        played.text.push_str(&format!("{line}\n"));
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "" | "#" => {}
            "region" | "node" | "local" | "active" => {
                world.begin_anew_after_a_case();
                world.take(word, rest);
            }
            "case" => {
                world.is_played = true;
                setting = Setting::default();
            }
            "config" | "state" => setting.take(word, rest),
            "read" | "write" => plan = decide(&world, &setting, line),
            "expect" => {
                played.text.push_str(&plan);
                played.decisions += 1;
                is_expecting = true;
            }
            other => panic!("unknown word {other:?} in {line:?}"),
        }
    }
    played
}

/// The lines that differ, each under its case.
pub(crate) fn difference(expected: &str, decided: &str) -> String {
    let blocks = |text: &str| text.split("\n\n").map(str::to_owned).collect::<Vec<_>>();
    let differs = |(expected, decided): &(String, String)| expected != decided;
    let show = |(expected, decided): (String, String)| {
        let mark = |sign: char, text: &str, other: &str| {
            let known: Vec<_> = other.lines().collect();
            let of_plan = text.lines().filter(|line| line.starts_with("  ") && !known.contains(line));
            of_plan.map(|line| format!("    {sign}{line}\n")).collect::<String>()
        };
        let head = decided.lines().find(|line| line.starts_with("case")).unwrap_or("").to_owned();
        format!("  {head}\n{}{}", mark('-', &expected, &decided), mark('+', &decided, &expected))
    };
    blocks(expected).into_iter().zip(blocks(decided)).filter(differs).map(show).collect()
}

fn decide(world: &World, setting: &Setting, line: &str) -> String {
    let topology = world.topology();
    let states = setting.states(&topology);
    let candidates = Candidates::new(&topology, &states, world.active(&topology)).unwrap();
    let policy = setting.config().build(&topology).unwrap();
    let plan = policy.plan(&crate::world::request(&topology, line), &candidates);
    render(&plan, &candidates)
}

fn render(plan: &Plan, candidates: &Candidates<'_>) -> String {
    let explanation = plan.explain(candidates);
    let mut text = String::new();
    for node in &explanation.nodes {
        let mark = match node.verdict {
            Verdict::Kept(number) => number.to_string(),
            Verdict::Skipped => "-".to_owned(),
        };
        text.push_str(&format!("  {mark} {}: {}\n", node.name, node.reason));
    }
    for (word, trigger) in [("miss", Trigger::Miss), ("error", Trigger::Error), ("stale", Trigger::Stale)] {
        if let Some(step) = plan.fallback_after(trigger, candidates) {
            text.push_str(&format!("  {word} -> {}\n", candidates.topology().name_of(step.node)));
        }
    }
    if let Some(reason) = explanation.refused {
        text.push_str(&format!("  refused: {reason}\n"));
    }
    text
}
