//! Lists: writes and reads, expiry, and what two regions do at once.

use archipelago::{
    PhysicalKeys,
    engine::{End, Expiry, Key, Kind, ListEdit, Mutation, MutationError, Outcome, Side, limits, position},
    store::{Query, Reply, Store, StoreError},
};
use archipelago_tests::{
    carry::{carry, resync},
    world::{Ground, b, read, write},
};
use bytes::Bytes;

use crate::Case;

async fn edit(store: &dyn Store, edit: ListEdit) -> Outcome {
    write(store, Kind::List, "l", Mutation::List(edit)).await.unwrap()
}

async fn push(store: &dyn Store, end: End, values: &[&str]) -> Outcome {
    edit(store, ListEdit::Push { end, values: values.iter().map(|value| b(*value)).collect(), existing: false }).await
}

async fn pop(store: &dyn Store, end: End, count: u64) -> Outcome {
    edit(store, ListEdit::Pop { end, count }).await
}

fn popped(values: &[&str]) -> Outcome {
    Outcome::Popped(values.iter().map(|value| b(*value)).collect())
}

async fn range(store: &dyn Store, start: i64, stop: i64) -> String {
    let Reply::Array(members) = read(store, Kind::List, "l", Query::Range { start, stop }).await else {
        panic!("no array")
    };
    let value = |member: &Reply| match member {
        Reply::Bytes(member) => String::from_utf8(position::split(member).unwrap().1.to_vec()).unwrap(),
        other => panic!("{other:?}"),
    };
    members.iter().map(value).collect::<Vec<_>>().join(" ")
}

pub async fn elements_are_pushed_inserted_changed_and_taken(case: Case) {
    let store = &*case.a;
    assert_eq!(push(store, End::Back, &["c", "d"]).await, Outcome::Length(Some(2)));
    assert_eq!(push(store, End::Front, &["b", "a"]).await, Outcome::Length(Some(4)));
    assert_eq!(range(store, 0, -1).await, "a b c d");
    let insert = |side, pivot: &str| ListEdit::Insert { side, pivot: b(pivot), value: b("x") };
    assert_eq!(edit(store, insert(Side::Before, "c")).await, Outcome::Length(Some(5)));
    assert_eq!(edit(store, insert(Side::After, "d")).await, Outcome::Length(Some(6)));
    assert_eq!(edit(store, insert(Side::After, "no")).await, Outcome::Length(None));
    assert_eq!(range(store, 0, -1).await, "a b x c d x");
    edit(store, ListEdit::Set { index: -2, value: b("D") }).await;
    assert_eq!(range(store, -3, -2).await, "c D");
    assert_eq!(edit(store, ListEdit::Remove { value: b("x"), count: -1 }).await, Outcome::Removed(1));
    assert_eq!(range(store, 0, -1).await, "a b x c D");
    assert_eq!(pop(store, End::Back, 2).await, popped(&["D", "c"]));
    assert_eq!(edit(store, ListEdit::Trim { start: 1, stop: 1 }).await, Outcome::Removed(2));
    assert_eq!(pop(store, End::Front, 5).await, popped(&["b"]));
    assert_eq!(pop(store, End::Front, 1).await, popped(&[]));
    assert_eq!(read(store, Kind::List, "l", Query::Exists).await, Reply::Int(0));
    for (index, error) in [(0, MutationError::NoSuchKey), (1, MutationError::IndexOutOfRange)] {
        let set = Mutation::List(ListEdit::Set { index, value: b("v") });
        let refused = write(store, Kind::List, "l", set).await;
        assert!(matches!(&refused, Err(StoreError::Refused(found)) if *found == error), "{refused:?}");
        push(store, End::Back, &["one"]).await;
    }
}

pub async fn a_claim_takes_the_first_candidate_that_is_there(case: Case) {
    let (a, other) = (&*case.a, &*case.b);
    push(a, End::Back, &["x", "y", "z"]).await;
    resync(a, other, 0).await.unwrap();
    let Reply::Array(members) = read(a, Kind::List, "l", Query::Range { start: 0, stop: -1 }).await else { panic!() };
    let position = |member: &Reply| match member {
        Reply::Bytes(member) => position::split(member).unwrap().0,
        other => panic!("{other:?}"),
    };
    let positions: Vec<Bytes> = members.iter().map(position).collect();
    let claim = async |candidates: &[&Bytes]| {
        let candidates = candidates.iter().map(|candidate| (*candidate).clone()).collect();
        match write(a, Kind::List, "l", Mutation::Claim { candidates }).await.unwrap() {
            Outcome::Claimed(claim) => claim,
            other => panic!("{other:?}"),
        }
    };
    let taken = claim(&[&b("none"), &positions[1], &positions[0]]).await.unwrap();
    assert_eq!((&taken.member, taken.value.as_ref()), (&positions[1], b"y".as_ref()));
    assert_eq!(taken.retracted.len(), 1);
    assert_eq!(range(a, 0, -1).await, "x z");
    assert_eq!(claim(&[&positions[1]]).await, None);
    assert_eq!(claim(&[]).await, None);
    // The removal alone, at another region.
    let key = Key::new(Kind::List, "l");
    let standing = a.standing(0).await.unwrap();
    other.push(0, &standing.push(vec![taken.delta(&key)])).await.unwrap();
    assert_eq!(range(other, 0, -1).await, "x z");
    write(a, Kind::List, "l", Mutation::Expire(Expiry::In(3_600_000))).await.unwrap();
    for at in [2, 0] {
        assert!(claim(&[&positions[at]]).await.is_some());
    }
    push(a, End::Back, &["w"]).await;
    assert_eq!(read(a, Kind::List, "l", Query::TimeToLive).await, Reply::Int(-1), "the expiry went with the last one");
    let refused = write(a, Kind::Set, "s", Mutation::Claim { candidates: vec![b("m")] }).await;
    assert!(matches!(refused, Err(StoreError::Refused(MutationError::WrongType))), "{refused:?}");
}

/// How many elements: past what a script looks at in one piece, and few enough for a busy machine.
const MANY: usize = 2500;

pub async fn many_values_are_one_push_and_stand_in_order(case: Case) {
    let (a, b_) = (&*case.a, &*case.b);
    let values: Vec<Bytes> = (1..=MANY).map(|i| b(i.to_string())).collect();
    push(a, End::Back, &["0"]).await;
    let before = a.sync_state(0).await.unwrap().number;
    edit(a, ListEdit::Push { end: End::Back, values: values.clone(), existing: false }).await;
    assert_eq!(a.sync_state(0).await.unwrap().number, before + 1);
    // Its neighbours are found in the first thousand, on their border, and behind it.
    for pivot in ["500", "999", "1000", "2500"] {
        edit(a, ListEdit::Insert { side: Side::Before, pivot: b(pivot), value: b("before") }).await;
        edit(a, ListEdit::Insert { side: Side::After, pivot: b(pivot), value: b("after") }).await;
    }
    resync(a, b_, 0).await.unwrap();
    for store in [a, b_] {
        assert_eq!(read(store, Kind::List, "l", Query::Count).await, Reply::Int(2509));
        assert_eq!(range(store, 499, 503).await, "499 before 500 after 501");
        assert_eq!(range(store, 1000, 1006).await, "998 before 999 after before 1000 after");
        assert_eq!(range(store, -3, -1).await, "before 2500 after");
    }
    let one_more = vec![Bytes::new(); limits::MEMBERS + 1];
    let push = Mutation::List(ListEdit::Push { end: End::Front, values: one_more, existing: false });
    let refused = write(a, Kind::List, "l", push).await;
    assert!(matches!(refused, Err(StoreError::Refused(MutationError::TooLarge))), "{refused:?}");
    assert_eq!(edit(a, ListEdit::Trim { start: 1, stop: -2 }).await, Outcome::Removed(2));
    assert_eq!(pop(a, End::Front, 1500).await, {
        let all = (1..).map(|i| i.to_string()).flat_map(|i| match &i[..] {
            "500" | "999" | "1000" => vec!["before".into(), i, "after".into()],
            _ => vec![i],
        });
        Outcome::Popped(all.take(1500).map(b).collect())
    });
}

pub async fn the_last_element_takes_the_expiry_of_a_list_with_it(case: Case) {
    let store = &*case.a;
    push(store, End::Back, &["a", "b"]).await;
    write(store, Kind::List, "l", Mutation::Expire(Expiry::In(100_000))).await.unwrap();
    pop(store, End::Front, 1).await;
    let Reply::Int(left) = read(store, Kind::List, "l", Query::TimeToLive).await else { panic!("no number") };
    assert!(left > 0);
    pop(store, End::Front, 1).await;
    push(store, End::Back, &["c"]).await;
    assert_eq!(read(store, Kind::List, "l", Query::TimeToLive).await, Reply::Int(-1));
    write(store, Kind::List, "l", Mutation::Expire(Expiry::At(1000))).await.unwrap();
    assert_eq!(push(store, End::Front, &["d"]).await, Outcome::Length(Some(1)));
}

pub async fn what_two_regions_do_to_a_list_at_once_ends_alike(case: Case) {
    let (a, b_) = (&*case.a, &*case.b);
    push(a, End::Back, &["x", "y"]).await;
    carry(a, b_, 0).await;
    push(a, End::Back, &["a1", "a2"]).await;
    push(b_, End::Back, &["b1", "b2"]).await;
    assert_eq!(pop(a, End::Front, 1).await, popped(&["x"]));
    assert_eq!(pop(b_, End::Front, 1).await, popped(&["x"]));
    edit(a, ListEdit::Set { index: 0, value: b("Y") }).await;
    edit(b_, ListEdit::Remove { value: b("y"), count: 0 }).await;
    carry(a, b_, 0).await;
    carry(b_, a, 0).await;
    // The value that was set while the other region removed the element brings it back.
    let shown = range(a, 0, -1).await;
    assert!(shown == "Y a1 a2 b1 b2" || shown == "Y b1 b2 a1 a2", "{shown}");
    assert_eq!(range(b_, 0, -1).await, shown);
}

pub async fn a_view_of_a_list_that_somebody_overwrote_is_shown_again(case: Case) {
    let Ground::Servers(_) = case.ground else { return };
    let (store, view) = (&*case.a, PhysicalKeys::new("default", 0).view(&Key::new(Kind::List, "l")));
    push(store, End::Back, &["a", "b", "c"]).await;
    write(store, Kind::List, "l", Mutation::Expire(Expiry::In(100_000))).await.unwrap();
    let server = &case.world.servers[0];
    let writes: [fn() -> ListEdit; 3] = [
        || ListEdit::Pop { end: End::Back, count: 1 },
        || ListEdit::Push { end: End::Front, values: vec![b("z")], existing: true },
        || ListEdit::Set { index: 1, value: b("A") },
    ];
    for (edit_of, expected) in writes.into_iter().zip(["a b", "z a b", "z A b"]) {
        let _: () = server.run(redis::cmd("SET").arg(&view).arg("foreign")).await.unwrap();
        edit(store, edit_of()).await;
        assert_eq!(range(store, 0, -1).await, expected);
        let Reply::Int(left) = read(store, Kind::List, "l", Query::TimeToLive).await else { panic!("no number") };
        assert!(left > 0, "the view lost its expiry");
    }
}
