//! Tokens of what is not there any more, or never was.

use archipelago::{ErrorKind, sessions::Session};
use archipelago_tests::world::REGIONS;

use crate::{Case, impatient};

/// FLUSHALL: all that a region had, its incarnation too.
async fn wipe(case: &Case, at: usize) {
    match &case.world.embedded {
        Some(embedded) => embedded.wipe(REGIONS[at]).unwrap(),
        None => case.world.servers[at].run(&redis::cmd("FLUSHALL")).await.unwrap(),
    }
}

/// Counterexample 33, as it shows on this plane: a later version of another history must not pass for the lost write.
pub async fn a_write_that_its_region_lost_is_said_once_and_not_asked_for_again(case: Case) {
    let session = impatient().build();
    case.at(0, &session).register::<u32>("r").set(&1).await.unwrap();
    let cookie = session.token();
    wipe(&case, 0).await;
    case.clients[0].register::<u32>("r").set(&2).await.unwrap();
    case.carry_all().await;
    for at in [1, 0] {
        let session = impatient().from_token(&cookie).unwrap();
        let register = case.at(at, &session).register::<u32>("r");
        assert_eq!(register.get().await.unwrap_err().kind(), ErrorKind::Lost);
        assert_eq!(register.get().await.unwrap(), Some(2), "once");
        let next = impatient().from_token(&session.token()).unwrap();
        assert_eq!(case.at(at, &next).register::<u32>("r").get().await.unwrap(), Some(2), "nor in the next process");
    }
}

pub async fn what_another_region_still_has_is_waited_for(case: Case) {
    let session = impatient().build();
    case.at(0, &session).register::<u32>("r").set(&1).await.unwrap();
    case.carry(0, 1).await;
    wipe(&case, 0).await;
    assert_eq!(case.at(1, &session).register::<u32>("r").get().await.unwrap(), Some(1));
    for at in [0, 2] {
        let register = case.at(at, &session).register::<u32>("r");
        assert_eq!(register.get().await.unwrap_err().kind(), ErrorKind::Behind);
        case.resync(1, at).await;
        assert_eq!(register.get().await.unwrap(), Some(1), "the peer gave it back");
    }
}

pub async fn a_restart_with_all_data_loses_no_session(case: Case) {
    let session = impatient().build();
    case.at(0, &session).register::<u32>("r").set(&1).await.unwrap();
    // What a restart does to every partition.
    for partition in 0..case.store(0).partitions() {
        let record = case.store(0).sync_state(partition).await.unwrap().record.unwrap();
        case.store(0).open(partition, record.opening + 1).await.unwrap();
    }
    assert_eq!(case.at(0, &session).register::<u32>("r").get().await.unwrap(), Some(1));
    let elsewhere = case.at(1, &session).register::<u32>("r");
    assert_eq!(elsewhere.get().await.unwrap_err().kind(), ErrorKind::Behind);
    case.carry(0, 1).await;
    assert_eq!(elsewhere.get().await.unwrap(), Some(1));
}

pub async fn a_token_of_other_regions_costs_one_wait(case: Case) {
    // A system with regions of the same names, a year ahead.
    let regions = REGIONS.iter().fold(archipelago::Embedded::builder(), |builder, name| builder.region(*name));
    let regions = regions.partitions(case.store(0).partitions()).build().unwrap();
    regions.advance(std::time::Duration::from_secs(365 * 86_400));
    let forger = archipelago::Client::builder().embedded(&regions).local_region(REGIONS[0]).build().await.unwrap();
    let forged = Session::new();
    forger.with_session(&forged).register::<u32>("r").set(&0).await.unwrap();

    case.clients[0].register::<u32>("r").set(&1).await.unwrap();
    let session = impatient().from_token(&forged.token()).unwrap();
    let register = case.at(0, &session).register::<u32>("r");
    assert_eq!(register.get().await.unwrap_err().kind(), ErrorKind::Lost);
    assert_eq!(register.get().await.unwrap(), Some(1));
    register.set(&2).await.unwrap();
    forger.shut_down().await;
}
