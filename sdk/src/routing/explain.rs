//! A plan for people, as a table, and for programs, as data.

use std::fmt;

use serde::Serialize;

use super::{Access, Availability, Candidate, Candidates, Plan, Role, Step, reason::Human};

/// Why a request goes where it goes: every node, kept in order or skipped, with the numbers behind each decision.
///
/// [`Display`](fmt::Display) writes a table; serialised it is an object with stable, documented fields.
///
/// ```
/// use archipelago::routing::{
///     Candidates, NodeInfo, NodeState, Policy, RegionIndex, RegionInfo, RegionalPrimary, Request, Topology,
/// };
///
/// let us = RegionIndex(0);
/// let regions = vec![RegionInfo::new("us-east-1".parse()?)];
/// let topology = Topology::new(regions, vec![NodeInfo::primary("us-east-1/primary", us)], us, 1)?;
/// let states = [NodeState::up()];
/// let candidates = Candidates::new(&topology, &states, us)?;
/// let explanation = RegionalPrimary.plan(&Request::read(), &candidates).explain(&candidates);
/// let table = explanation.to_string();
/// assert!(table.starts_with("read of us-east-1's data\n#  node"), "{table}");
/// assert!(table.ends_with("primary of the active region"), "{table}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// `read` or `write`.
    pub access: &'static str,
    /// The region whose data the request is for.
    pub region: String,
    /// How far behind an answer may be, in milliseconds.
    pub max_staleness_ms: Option<f64>,
    /// Why no node may serve the request, when none may.
    pub refused: Option<String>,
    /// What else there is to know about the command.
    pub note: Option<&'static str>,
    /// Every node: steps in order, then skipped ones.
    pub nodes: Vec<ExplainedNode>,
}

/// One node of an [`Explanation`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExplainedNode {
    /// Kept or skipped.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Its name.
    pub name: String,
    /// The region whose data it holds.
    pub region: String,
    /// The region it stands in.
    pub stands_in: String,
    /// `primary` or `replica`.
    pub role: &'static str,
    /// `up`, `half-open` or `down`.
    pub availability: &'static str,
    /// Its measured round trip in milliseconds.
    pub latency_ms: Option<f64>,
    /// How far it is behind, in milliseconds.
    pub staleness_ms: Option<f64>,
    /// Calls sent to it and not yet answered.
    pub in_flight: u32,
    /// Why, in plain words, with the numbers.
    pub reason: String,
}

/// Whether a node is a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "verdict", content = "step")]
pub enum Verdict {
    /// The step of this number, from 1.
    Kept(usize),
    /// No step.
    Skipped,
}

impl Explanation {
    pub(super) fn new(plan: &Plan, candidates: &Candidates<'_>) -> Self {
        let kept = plan.steps().iter().zip(1..).map(|(step, number)| (Verdict::Kept(number), step));
        let skipped = plan.skipped().iter().map(|step| (Verdict::Skipped, step));
        let explained = kept.chain(skipped).filter_map(|(verdict, step)| {
            candidates.get(step.node).map(|candidate| explain_node(plan, candidates, verdict, *step, candidate))
        });
        Self {
            access: match plan.access() {
                Access::Read => "read",
                Access::Write => "write",
            },
            region: region_name(candidates, plan.region()),
            max_staleness_ms: plan.max_staleness().map(millis),
            refused: plan.emptied_by().map(|reason| reason.to_string()),
            note: None,
            nodes: explained.collect(),
        }
    }
}

fn explain_node(
    plan: &Plan,
    candidates: &Candidates<'_>,
    verdict: Verdict,
    step: Step,
    Candidate { node, state, .. }: Candidate<'_>,
) -> ExplainedNode {
    let (role, staleness) = match node.role {
        Role::Primary => ("primary", None),
        Role::Replica => ("replica", state.staleness),
    };
    ExplainedNode {
        verdict,
        name: node.name.to_string(),
        region: region_name(candidates, node.region),
        stands_in: region_name(candidates, node.stands_in),
        role,
        availability: match state.availability {
            Availability::Up => "up",
            Availability::Probing => "half-open",
            Availability::Down => "down",
        },
        latency_ms: state.latency.map(millis),
        staleness_ms: staleness.map(millis),
        in_flight: state.in_flight,
        reason: step.reason.with_numbers(node.role, state, plan.max_staleness()),
    }
}

fn region_name(candidates: &Candidates<'_>, region: super::RegionIndex) -> String {
    candidates.topology().region(region).map_or_else(|| "?".to_owned(), |region| region.id.to_string())
}

fn millis(duration: std::time::Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}'s data", self.access, self.region)?;
        if let Some(bound) = self.max_staleness_ms {
            write!(f, ", at most {} behind", human(Some(bound)))?;
        }
        if let Some(reason) = &self.refused {
            write!(f, ": no node may serve it ({reason})")?;
        }
        if let Some(note) = self.note {
            write!(f, "\n{note}")?;
        }
        let head = ["#", "node", "stands in", "state", "latency", "behind", "busy", "reason"].map(str::to_owned);
        let rows: Vec<_> = std::iter::once(head).chain(self.nodes.iter().map(row)).collect();
        let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0);
        let widths: [usize; 8] = std::array::from_fn(width);
        for row in &rows {
            let mut line = String::from("\n");
            row.iter().zip(widths).for_each(|(cell, width)| line.push_str(&format!("{cell:width$}  ")));
            f.write_str(line.trim_end_matches(' '))?;
        }
        Ok(())
    }
}

fn row(node: &ExplainedNode) -> [String; 8] {
    let number = match node.verdict {
        Verdict::Kept(number) => number.to_string(),
        Verdict::Skipped => "-".to_owned(),
    };
    let (name, reason) = (node.name.clone(), node.reason.clone());
    let (latency, behind) = (human(node.latency_ms), human(node.staleness_ms));
    let state = node.availability.to_owned();
    [number, name, node.stands_in.clone(), state, latency, behind, node.in_flight.to_string(), reason]
}

fn human(millis: Option<f64>) -> String {
    let duration = millis.and_then(|millis| std::time::Duration::try_from_secs_f64(millis / 1000.0).ok());
    duration.map_or_else(|| "-".to_owned(), |duration| Human(duration).to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed test may panic")]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::routing::{
        AvoidUnhealthy, LocalReplica, MaxStaleness, NodeInfo, NodeState, Policy, RegionIndex, RegionInfo,
        RegionalPrimary, Request, Topology,
    };

    #[test]
    fn a_table_for_people_and_an_object_for_programs() {
        let (us, eu) = (RegionIndex(0), RegionIndex(1));
        let regions = ["us", "eu"].map(|name| RegionInfo::new(name.parse().unwrap())).to_vec();
        let nodes = vec![NodeInfo::primary("us/primary", us), NodeInfo::replica("us/replica@eu", us, eu)];
        let topology = Topology::new(regions, nodes, eu, 1).unwrap();
        let second = Duration::from_secs(1);
        let states = [
            NodeState::up().with_latency(second / 10).with_in_flight(3),
            NodeState::up().with_staleness(Duration::from_millis(3_200)),
        ];
        let candidates = Candidates::new(&topology, &states, us).unwrap();
        let policy = AvoidUnhealthy::new(MaxStaleness::new(LocalReplica::new(RegionalPrimary), second));
        let explanation = policy.plan(&Request::read(), &candidates).explain(&candidates);
        let expected = "\
read of us's data, at most 1 s behind
#  node           stands in  state  latency  behind  busy  reason
1  us/primary     us         up     100 ms   -       3     primary of the active region
-  us/replica@eu  eu         up     -        3.2 s   0     replica is 3.2 s behind, at most 1 s allowed";
        assert_eq!(explanation.to_string(), expected);

        let json = serde_json::to_value(&explanation).unwrap();
        assert_eq!(json["nodes"][0]["verdict"], "kept");
        assert_eq!(json["nodes"][0]["step"], 1);
        assert_eq!(json["nodes"][1]["verdict"], "skipped");
        assert_eq!(json["nodes"][1]["staleness_ms"], 3200.0);
        assert_eq!((&json["access"], &json["refused"]), (&"read".into(), &serde_json::Value::Null));
    }
}
