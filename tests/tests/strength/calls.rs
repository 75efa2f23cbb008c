//! What strong calls do, and what they say when too few regions answer.

use std::time::Duration;

use archipelago::{ErrorKind, Keyspace, ReadStrength, ScoreRange, WriteStrength, testing::poll};
use archipelago_tests::world::REGIONS;

use crate::Case;

const SOON: Duration = Duration::from_millis(300);
/// For calls that have to be answered, however busy the machine is.
const LATE: Duration = Duration::from_secs(5);

async fn members(keyspace: &Keyspace) -> Vec<String> {
    let members = keyspace.set("tags").members().await.unwrap();
    members.into_iter().map(|member| String::from_utf8(member.to_vec()).unwrap()).collect()
}

pub async fn a_write_of_a_majority_is_seen_by_a_read_of_a_majority_and_by_the_other_region_itself(case: Case) {
    case.world.cut(0, 2).await;
    case.writer(0, WriteStrength::Majority).register::<u32>("price").set(&120).await.unwrap();
    assert_eq!(case.at(1).register::<u32>("price").get().await.unwrap(), Some(120), "the push");
    assert_eq!(case.at(2).register::<u32>("price").get().await.unwrap(), None);
    for read in [ReadStrength::Majority, ReadStrength::Merged(3)] {
        let shown = case.reader(1, read).register::<u32>("price").get().await.unwrap();
        assert_eq!(shown, Some(120));
    }
    let shown = case.reader(2, ReadStrength::Majority).register::<u32>("price").get().await.unwrap();
    assert_eq!(shown, Some(120), "the local region has not got it");
}

pub async fn every_type_and_a_batch_are_pushed(case: Case) {
    let all = case.writer(0, WriteStrength::All);
    all.counter("hits").add(2).await.unwrap();
    all.set("tags").add("x").await.unwrap();
    all.map::<u32>("user").set("age", &36).await.unwrap();
    all.sorted_set("board").add("ada", 10.0).await.unwrap();
    all.register::<u32>("n").set(&1).await.unwrap();
    all.list::<u32>("queue").push_back(&[1, 2, 3]).await.unwrap();
    assert_eq!(all.list::<u32>("queue").pop_front().await.unwrap(), Some(1));
    let batch = all.batch().add(&all.counter("hits"), 1).add(&all.counter("hits"), 1).add(&all.set("tags"), "y");
    let batch = batch.add_score(&all.sorted_set("board"), "ada", 1.0).set(&all.register::<u32>("n"), &2);
    assert!(batch.execute().await.iter().all(Result::is_ok));
    all.set("tags").remove("x").await.unwrap();
    for at in 1..3 {
        let here = case.at(at);
        assert_eq!(here.counter("hits").get().await.unwrap(), 4);
        assert_eq!(members(&here).await, ["y"]);
        assert_eq!(here.map::<u32>("user").get("age").await.unwrap(), Some(36));
        assert_eq!(here.sorted_set("board").score("ada").await.unwrap(), Some(11.0));
        assert_eq!(here.register::<u32>("n").get().await.unwrap(), Some(2));
        assert_eq!(here.list::<u32>("queue").range(0, -1).await.unwrap(), [2, 3]);
    }
    all.map::<u32>("user").delete().await.unwrap();
    assert!(!case.at(2).map::<u32>("user").exists().await.unwrap());
}

pub async fn a_merged_read_answers_every_query(case: Case) {
    let fill = |keyspace: Keyspace, amount: u32| async move {
        keyspace.counter("hits").add(i64::from(amount)).await.unwrap();
        keyspace.set("tags").add(format!("of {amount}")).await.unwrap();
        keyspace.map::<u32>("user").set(format!("f{amount}"), &amount).await.unwrap();
        keyspace.list::<u32>("queue").push_back(&[amount, amount + 1]).await.unwrap();
        keyspace.siblings::<u32>("cart").set(&amount).await.unwrap();
        keyspace.sorted_set("board").add(format!("p{amount}"), f64::from(amount)).await.unwrap();
    };
    for (at, amount) in [(0, 1), (1, 20), (2, 300)] {
        fill(case.at(at), amount).await;
    }
    case.at(2).counter("hits").expire_in(Duration::from_secs(1000)).await.unwrap();
    let merged = case.reader(0, ReadStrength::Merged(3));
    assert_eq!(merged.counter("hits").get().await.unwrap(), 321);
    assert!(merged.counter("hits").exists().await.unwrap());
    assert!(merged.counter("hits").time_to_live().await.unwrap() > Some(Duration::from_secs(900)));
    assert_eq!(members(&merged).await, ["of 1", "of 20", "of 300"]);
    assert!(merged.set("tags").contains("of 20").await.unwrap());
    assert!(!merged.set("tags").contains("of 2").await.unwrap());
    assert_eq!(merged.set("tags").len().await.unwrap(), 3);
    let user = merged.map::<u32>("user");
    assert_eq!((user.get("f20").await.unwrap(), user.len().await.unwrap()), (Some(20), 3));
    assert_eq!(user.entries().await.unwrap().len(), 3);
    assert_eq!(merged.siblings::<u32>("cart").values().await.unwrap(), [1, 20, 300]);
    let queue = merged.list::<u32>("queue");
    let all = queue.range(0, -1).await.unwrap();
    assert!(all.len() == 6 && [1, 20, 300].iter().all(|n| all.windows(2).any(|pair| pair == [*n, n + 1])), "{all:?}");
    assert_eq!((queue.len().await.unwrap(), queue.get(5).await.unwrap()), (6, all.last().copied()));
    let board = merged.sorted_set("board");
    assert_eq!((board.score("p300").await.unwrap(), board.rank("p300").await.unwrap()), (Some(300.0), Some(0)));
    assert_eq!(board.range(ScoreRange::new(20.0, 300.0), 10).await.unwrap().len(), 2);
    assert_eq!((board.top(2).await.unwrap().len(), board.len().await.unwrap()), (2, 3));
}

/// Whoever repeats a removal that too few regions heard of finds it done in the local one: "done" has to be true elsewhere.
pub async fn a_write_that_changed_nothing_is_pushed_all_the_same(case: Case) {
    case.at(0).set("tags").add("x").await.unwrap();
    case.carry(0, 1).await;
    case.at(0).set("tags").remove("x").await.unwrap();
    assert!(case.at(1).set("tags").contains("x").await.unwrap());
    let removed = case.writer(0, WriteStrength::All).set("tags").remove("x").await.unwrap();
    assert!(!removed && !case.at(1).set("tags").contains("x").await.unwrap());
}

/// The write clears every member of the expired key: not only the one it names.
pub async fn what_an_expired_key_held_is_hidden_elsewhere_too(case: Case) {
    let here = case.at(0);
    here.set("tags").add("old").await.unwrap();
    here.set("tags").expire_in(Duration::from_millis(30)).await.unwrap();
    case.carry(0, 1).await;
    poll::until("it expires", || async { (!here.set("tags").exists().await.unwrap()).then_some(()) }).await;
    case.writer(0, WriteStrength::All).set("tags").add("new").await.unwrap();
    assert_eq!(members(&case.at(1)).await, ["new"]);
}

pub async fn too_few_regions_are_an_error_that_names_them(case: Case) {
    case.world.cut(0, 2).await;
    let all = case.writer(0, WriteStrength::All).with_deadline(SOON);
    let error = all.counter("hits").add(1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PartlyApplied, "{error}");
    let reach = error.reach().unwrap();
    assert_eq!(reach.has, [REGIONS[0], REGIONS[1]]);
    let missing: Vec<&str> = reach.may_have.iter().chain(&reach.lacks).map(|missed| missed.place.as_str()).collect();
    assert_eq!(missing, [REGIONS[2]]);
    assert!(error.to_string().contains(REGIONS[2]), "{error}");
    assert_eq!(case.at(0).counter("hits").get().await.unwrap(), 1, "it is applied");

    let merged = case.reader(0, ReadStrength::Merged(3)).with_deadline(SOON);
    let error = merged.counter("hits").get().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooFewAnswers, "{error}");
    assert_eq!(error.attempts().iter().map(|attempt| attempt.node.as_str()).collect::<Vec<_>>(), [REGIONS[2]]);
    assert!(error.message().contains(REGIONS[0]) && error.message().contains(REGIONS[1]), "{error}");

    let batch = all.batch().add(&all.counter("hits"), 1).add(&all.set("tags"), "x").execute().await;
    assert!(batch.iter().all(|done| done.as_ref().unwrap_err().kind() == ErrorKind::PartlyApplied));
    case.world.heal().await;
    poll::until("the region counts again", || async { all.counter("hits").add(1).await.ok() }).await;
}

/// It goes in steps. What the deadline left undone is told, and the same call goes on.
pub async fn a_removal_that_the_deadline_ends_says_how_much_is_gone(case: Case) {
    const MANY: u64 = 4_000;
    let members: Vec<String> = (0..MANY).map(|n| format!("{n:05}")).collect();
    for some in members.chunks(1000) {
        case.at(0).set("tags").add_all(some.to_vec()).await.unwrap();
    }
    // What was told, what may be on top of it, and how often it was told.
    let (mut certain, mut perhaps, mut times) = (0, 0, 0);
    let mut deadline = Duration::from_millis(5);
    loop {
        let two = case.writer(0, WriteStrength::Regions(2)).with_deadline(deadline);
        let done = two.set("tags").delete().await;
        let left = case.at(0).set("tags").len().await.unwrap();
        match done {
            Ok(_) => break,
            Err(error) if error.kind() == ErrorKind::Unavailable => {}
            // Not even the first question whether it takes steps: if not, it is done at once, or not at all.
            Err(error) if error.kind() == ErrorKind::MaybeApplied && error.message() == "no answer in time" => {
                perhaps += 1000;
            }
            // No step was answered.
            Err(error) if error.kind() == ErrorKind::MaybeApplied => {
                assert!(error.message().starts_with("up to 500 members may be removed"), "{error}");
                perhaps += 500;
            }
            // Done here, and there was no time left to push it.
            Err(error) if error.reach().is_some() => {
                assert_eq!((error.kind(), left), (ErrorKind::PartlyApplied, 0), "{error}");
                assert_eq!(error.reach().unwrap().has, [REGIONS[0]], "{error}");
                certain = MANY;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::PartlyApplied, "{error}");
                let (gone, rest) = error.message().split_once(" members are removed").unwrap();
                certain += gone.parse::<u64>().unwrap();
                perhaps += if rest.contains("up to 500 more may be") { 500 } else { 0 };
                assert!(!error.to_string().contains("repeat it only if"), "{error}");
                times += 1;
            }
        }
        assert!((certain..=certain + perhaps).contains(&(MANY - left)), "{certain} and {perhaps}, and {left} are left");
        deadline = (deadline * 5 / 4).min(LATE);
    }
    println!("told {times} times how much is gone");
    assert_eq!(case.at(0).set("tags").len().await.unwrap(), 0);
}

pub async fn a_region_that_never_heard_of_the_writer_does_not_count(case: Case) {
    let store = archipelago_tests::world::store(&case.clients[0]);
    for partition in 0..store.partitions() {
        let opening = store.sync_state(partition).await.unwrap().record.unwrap().opening;
        store.open(partition, opening + 1).await.unwrap();
    }
    let majority = case.writer(0, WriteStrength::Majority).with_deadline(SOON);
    let error = majority.counter("hits").add(1).await.unwrap_err();
    let reach = error.reach().unwrap();
    // Refused, and asked again until the deadline: the last answer may be missing.
    assert_eq!((reach.has.len(), reach.may_have.len() + reach.lacks.len()), (1, 2), "{error}");
    assert!(reach.lacks.is_empty() || error.to_string().contains("resync"), "{error}");
    case.carry(0, 1).await;
    assert_eq!(majority.with_deadline(LATE).counter("hits").add(1).await.unwrap(), 2);
}

pub async fn a_merged_read_repairs_the_local_region(case: Case) {
    case.at(0).set("tags").add("x").await.unwrap();
    case.at(1).set("tags").add("y").await.unwrap();
    assert_eq!(case.reader(1, ReadStrength::Merged(3)).set("tags").len().await.unwrap(), 2);
    poll::until("the local region has it", || async {
        (case.at(1).set("tags").len().await.unwrap() == 2).then_some(())
    })
    .await;
    assert_eq!(case.at(2).set("tags").len().await.unwrap(), 0, "nobody asked for it there");
    case.at(0).set("tags").remove("x").await.unwrap();
    assert!(!case.reader(1, ReadStrength::Merged(3)).set("tags").contains("x").await.unwrap());
    poll::until("the removal, too", || async { (!case.at(1).set("tags").contains("x").await.unwrap()).then_some(()) })
        .await;
}

pub async fn a_read_at_home_goes_there(case: Case) {
    let home = REGIONS[2].parse().unwrap();
    case.at(2).register::<u32>("age").set(&36).await.unwrap();
    let at_home = case.reader(0, ReadStrength::Home);
    let error = at_home.register::<u32>("age").get().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "there is no home");
    let at_home = at_home.with_home(&home);
    assert_eq!(at_home.register::<u32>("age").get().await.unwrap(), Some(36));
    case.world.cut(0, 2).await;
    let error = at_home.with_deadline(SOON).register::<u32>("age").get().await.unwrap_err();
    assert_eq!(error.region(), Some(&home), "{error}");
}

pub async fn strengths_that_cannot_be_are_refused(case: Case) {
    let merged = case.reader(0, ReadStrength::Merged(4)).counter("hits").get().await.unwrap_err();
    let written = case.writer(0, WriteStrength::Regions(4)).counter("hits").add(1).await.unwrap_err();
    assert_eq!((merged.kind(), written.kind()), (ErrorKind::Config, ErrorKind::Config));
    assert_eq!(case.at(0).counter("hits").get().await.unwrap(), 0);
}

/// The push hides an add of which the region has never heard, so that it could not keep the removal: the add would come back
/// with that region's log, and a read that counts on the region would show it.
pub async fn a_region_that_does_not_know_whom_a_removal_is_about_does_not_count(case: Case) {
    let third = archipelago_tests::world::store(&case.clients[2]);
    for partition in 0..third.partitions() {
        let opening = third.sync_state(partition).await.unwrap().record.unwrap().opening;
        third.open(partition, opening + 1).await.unwrap();
    }
    case.at(2).set("tags").add("x").await.unwrap();
    case.carry(2, 0).await;
    let two = case.writer(0, WriteStrength::Regions(2)).with_deadline(SOON);
    case.world.cut(0, 2).await;
    let error = two.set("tags").remove("x").await.unwrap_err();
    let reach = error.reach().unwrap();
    assert_eq!(reach.has, [REGIONS[0]], "{error}");
    assert!(reach.may_have.iter().any(|missed| missed.place == REGIONS[1]), "{error}");
    case.carry(2, 1).await;
    let two = two.with_deadline(LATE);
    assert!(!two.set("tags").remove("x").await.unwrap(), "done here, and pushed again");
    assert!(!case.at(1).set("tags").contains("x").await.unwrap());
}
