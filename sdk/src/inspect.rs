//! Inspection: the cells of one key and what a reader sees of them, for operators.

use std::fmt;

use archipelago_engine::{
    Cell, Cells, EntryId, Field, Key, KeyState, Kind, Native, decode_fields, hyperloglog::Payload, position,
};
use bytes::Bytes;
use serde::Serialize;

use crate::{
    error::Error,
    store::{Query, Read, Reply, Store},
    text::time,
};

/// Everything known of one key in one region. Displays as lines of text; serialises for tools.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The region that was read.
    pub region: String,
    /// The key's type.
    pub kind: String,
    /// The key's name; bytes that are not UTF-8 are replaced.
    pub name: String,
    /// The partition it lives in.
    pub partition: u16,
    /// The physical keys: what each holds, and its name in Redis.
    pub physical: Vec<(String, String)>,
    /// What a reader sees: nothing, or the value, members, or fields and values flat.
    pub view: Option<Vec<String>>,
    /// Milliseconds until the view expires.
    pub expires_in_ms: Option<i64>,
    /// The cells, by field.
    pub fields: Vec<FieldReport>,
}

/// The cells of one field.
#[derive(Clone, Debug, Serialize)]
pub struct FieldReport {
    /// `value`, the member or field name, a position in a list in hexadecimal digits, the id of an entry, or `(expiry)`.
    pub field: String,
    /// Whether a reader sees the field.
    pub live: bool,
    /// What the field's cells say together.
    pub shows: Option<String>,
    /// The cells, by origin.
    pub cells: Vec<CellReport>,
}

/// What one origin did to one field. Versions are times.
#[derive(Clone, Debug, Serialize)]
pub struct CellReport {
    /// Region and incarnation.
    pub origin: String,
    /// Whether a reader sees anything of it.
    pub live: bool,
    /// Its latest assignment: when, and what (empty once overwritten).
    pub assigned: Option<(String, String)>,
    /// The assignment up to which it is overwritten or removed.
    pub retracted: Option<String>,
    /// Its running sum: when last added to, the sum, and when the run began.
    pub total: Option<(String, String, String)>,
    /// The part of the sum that was overwritten or removed: the total observed, and the sum.
    pub base: Option<(String, String)>,
}

pub(crate) async fn inspect(store: &dyn Store, key: Key) -> Result<Report, Error> {
    let failed = |error| Error::of_read(error, store.region());
    let inspection = store.inspect(&key).await.map_err(failed)?;
    let query = match key.kind.native() {
        Native::String if key.kind == Kind::HyperLogLog => Query::Cardinality,
        Native::String => Query::Value,
        Native::Set => Query::Members,
        Native::Hash => Query::All,
        Native::SortedSet => Query::RangeByRank { start: 0, stop: -1, reverse: false },
        Native::Ordered => Query::Range { start: 0, stop: -1 },
    };
    let view = values(key.kind, store.read(&Read { key: key.clone(), query }).await.map_err(failed)?);
    let ttl = store.read(&Read { key: key.clone(), query: Query::TimeToLive }).await.map_err(failed)?;
    let fields = inspection.state.as_ref().map(|state| fields(key.kind, state)).unwrap_or_default();
    Ok(Report {
        region: store.region().to_string(),
        kind: key.kind.to_string(),
        name: text(&key.name),
        partition: crate::keyspace::partition_of(&key.name, store.partitions()),
        physical: inspection.physical.into_iter().map(|(key, what)| (what, key)).collect(),
        view: flat(view),
        expires_in_ms: if let Reply::Int(millis @ 0..) = ttl { Some(millis) } else { None },
        fields,
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// An ordered view without the positions.
fn values(kind: Kind, view: Reply) -> Reply {
    match (kind.native(), view) {
        (Native::Ordered, Reply::Array(members)) => {
            let shown = match kind {
                Kind::Stream => entry,
                Kind::Feed => feed_entry,
                _ => value,
            };
            Reply::Array(members.into_iter().map(shown).collect())
        }
        (_, view) => view,
    }
}

fn value(member: Reply) -> Reply {
    match member {
        Reply::Bytes(bytes) => Reply::Bytes(position::split(&bytes).map_or(bytes, |(_, value)| value)),
        other => other,
    }
}

/// The id and the fields of a stream's entry.
fn entry(member: Reply) -> Reply {
    let Reply::Bytes(bytes) = &member else { return member };
    let Some((id, fields)) = EntryId::split(bytes).and_then(|(id, payload)| Some((id, decode_fields(&payload)?)))
    else {
        return member;
    };
    let texts = fields.into_iter().flat_map(|(field, value)| [field, value]);
    Reply::Array(std::iter::once(id.to_string().into()).chain(texts).map(Reply::Bytes).collect())
}

/// The id and the value of a feed's entry.
fn feed_entry(member: Reply) -> Reply {
    let Reply::Bytes(bytes) = &member else { return member };
    let Some((id, value)) = EntryId::split(bytes) else { return member };
    Reply::Array(vec![Reply::Bytes(id.to_string().into()), Reply::Bytes(value)])
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn flat(reply: Reply) -> Option<Vec<String>> {
    match reply {
        Reply::Nil => None,
        Reply::Int(n) => Some(vec![n.to_string()]),
        Reply::Bytes(bytes) => Some(vec![text(&bytes)]),
        Reply::Array(replies) if replies.is_empty() => None,
        Reply::Array(replies) => Some(replies.into_iter().filter_map(flat).flatten().collect()),
    }
}

fn fields(kind: Kind, state: &KeyState) -> Vec<FieldReport> {
    let report = |(field, stamped): (&Field, &archipelago_engine::Stamped)| {
        let cells = &stamped.cells;
        FieldReport {
            field: match field {
                Field::Member(_) if kind.native() == Native::String => "value".to_owned(),
                Field::Member(id) if kind.has_entries() => {
                    EntryId::split(id).map_or_else(|| hexadecimal(id), |(id, _)| id.to_string())
                }
                Field::Member(position) if kind.native() == Native::Ordered => hexadecimal(position),
                Field::Member(member) => text(member),
                Field::Expiry => "(expiry)".to_owned(),
            },
            live: if *field == Field::Expiry { cells.is_live() } else { cells.shows(kind) },
            shows: shows(kind, field, cells).map(|shown| text(&shown)),
            cells: cells
                .iter()
                .map(|(origin, cell)| {
                    cell_report(if *field == Field::Expiry { Kind::String } else { kind }, origin.to_string(), cell)
                })
                .collect(),
        }
    };
    state.fields.iter().map(report).collect()
}

fn shows(kind: Kind, field: &Field, cells: &Cells) -> Option<Bytes> {
    match (field, kind.native()) {
        (Field::Expiry, _) => cells.deadline().map(|deadline| deadline.to_payload()),
        (Field::Member(_), _) if kind == Kind::HyperLogLog => {
            cells.registers().map(|r| format!("about {} elements", r.count()).into())
        }
        (Field::Member(_), Native::String | Native::Hash | Native::Ordered) => cells.value(kind),
        (Field::Member(_), Native::SortedSet) => cells.points(kind).map(|n| archipelago_engine::number::show(n).into()),
        (Field::Member(_), Native::Set) => cells.is_live().then(|| Bytes::from_static(b"present")),
    }
}

/// What an assignment says, as people can read it.
fn payload(kind: Kind, payload: &Bytes) -> String {
    if kind != Kind::HyperLogLog || payload.is_empty() {
        return text(payload);
    }
    let Payload { epoch, registers } = Payload::from_bytes(payload);
    let what = registers.map_or("no registers".to_owned(), |r| format!("about {} elements", r.count()));
    format!("epoch {epoch}, {what}")
}

fn cell_report(kind: Kind, origin: String, cell: &Cell) -> CellReport {
    let number = archipelago_engine::number::show;
    CellReport {
        origin,
        live: cell.is_live(),
        assigned: cell.assign.as_ref().map(|a| (time(a.version), payload(kind, &a.payload))),
        retracted: (!cell.retracted.is_zero()).then(|| time(cell.retracted)),
        total: cell.total.map(|t| (time(t.version), number(t.number), time(t.since))),
        base: cell.base.map(|b| (time(b.version), number(b.number))),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {:?} in {}, partition {}", self.kind, self.name, self.region, self.partition)?;
        match &self.view {
            None => writeln!(f, "view: (absent)")?,
            Some(view) => {
                let shown: Vec<String> = view.iter().map(|value| format!("{value:?}")).collect();
                writeln!(f, "view: {}", shown.join(" "))?;
            }
        }
        if let Some(millis) = self.expires_in_ms {
            writeln!(f, "expires in {millis} ms")?;
        }
        for field in &self.fields {
            let shows = field.shows.as_deref().unwrap_or("(nothing)");
            writeln!(f, "{:?}: {} {shows:?}", field.field, if field.live { "live" } else { "dead" })?;
            for cell in &field.cells {
                write!(f, "  {} {}", if cell.live { "live" } else { "dead" }, cell.origin)?;
                if let Some((when, what)) = &cell.assigned {
                    write!(f, "  assigned {what:?} at {when}")?;
                }
                if let Some(when) = &cell.retracted {
                    write!(f, "  retracted up to {when}")?;
                }
                if let Some((when, sum, since)) = &cell.total {
                    write!(f, "  total {sum} at {when}, run since {since}")?;
                }
                if let Some((when, sum)) = &cell.base {
                    write!(f, "  base {sum} at {when}")?;
                }
                writeln!(f)?;
            }
        }
        Ok(())
    }
}
