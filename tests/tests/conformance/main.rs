//! One suite over the store contract, run on embedded regions, on Redis, and on Valkey where it is installed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test may panic"
)]

mod collections;
mod expiry;
mod feeds;
mod hyperloglogs;
mod joins;
mod large_keys;
mod lists;
mod logs;
mod operations;
mod pushes;
mod resyncs;
mod rules;
mod standings;
mod stocks;
mod streams;
mod writes;

use std::{future::Future, sync::Arc};

use archipelago::testing::servers::Options;
use archipelago::{Client, store::Store};
use archipelago_tests::{
    suite,
    world::{self, Ground, World},
};

/// A world of three regions under test, and the store of each.
pub struct Case {
    pub world: World,
    pub ground: Ground,
    pub clients: Vec<Client>,
    pub a: Arc<dyn Store>,
    pub b: Arc<dyn Store>,
    pub c: Arc<dyn Store>,
}

async fn on<F: Future<Output = ()>>(ground: Ground, case: impl FnOnce(Case) -> F) {
    let settings = archipelago::config::KeyspaceConfig { partitions: 1, log_cap: 1000, ..world::settings() };
    let Some(world) = World::with(ground, Options::default(), settings).await else {
        suite::not_run();
        return;
    };
    let clients = world.idle_clients().await;
    let stores: Vec<_> = clients.iter().map(world::store).collect();
    let (a, b, c) = (stores[0].clone(), stores[1].clone(), stores[2].clone());
    case(Case { world, ground, clients, a, b, c }).await;
}

suite! {
    #[tokio::test]
    writes {
        a_string_is_set_read_and_deleted
        conditions_decide_before_anything_changes
        numbers_add_up_and_refuse_what_is_no_number
        sets_hashes_and_sorted_sets_answer_as_redis_does
        scores_compare_for_gt_and_lt
        a_score_must_be_a_number
        an_exclusive_write_refuses_a_name_of_another_type
        limits_are_refused_before_anything_is_sent
        a_batch_answers_one_result_for_each_write_in_order
        names_and_members_are_any_bytes
        ten_thousand_members_are_one_write
    }
    expiry {
        a_key_past_its_expiry_is_absent_and_the_next_write_begins_anew
        a_plain_set_removes_the_expiry_and_other_writes_keep_it
        the_sweeper_clears_what_expired_long_enough_ago
        an_expiry_in_the_past_removes_the_key
        the_last_member_takes_the_expiry_with_it
        an_extension_that_arrives_late_revives_the_key
    }
    feeds {
        what_arrives_late_comes_behind_what_was_read
        pushes_and_resyncs_arrive_like_any_other_and_once
        an_entry_that_was_set_aside_arrives_when_it_is_recovered
        pages_follow_each_other_and_a_place_may_be_the_present
        large_entries_come_in_several_answers
        what_is_gone_is_not_given_and_a_feed_that_comes_back_goes_on
        an_expired_feed_gives_nothing_and_holds_the_place
        a_new_incarnation_and_a_forged_place_start_over_and_say_so
        a_name_of_another_type_refuses_an_exclusive_append
    }
    hyperloglogs {
        counts_are_those_of_redis
        what_changes_no_register_writes_nothing
        unions_of_all_regions_count_each_element_once
        a_removal_wins_over_additions_it_has_not_seen
        an_expired_one_begins_anew
        registers_that_cannot_be_read_stop_no_link
        the_count_in_a_header_is_not_taken_over
        a_view_that_was_spoilt_comes_back_with_the_next_write
        a_write_of_a_broken_history_changes_nothing
        writes_of_other_types_are_refused
    }
    logs {
        every_change_is_one_entry_numbered_without_gaps_and_what_changes_nothing_is_none
        several_members_in_one_write_take_a_version_each
        a_vector_is_published_once_after_data_arrived
        waiting_for_entries_ends_with_news_or_with_patience
        what_every_member_has_is_trimmed_and_a_lagging_one_holds_it
        the_cap_trims_for_a_member_that_never_fetches
        an_acknowledgement_of_another_incarnation_is_ignored
    }
    joins {
        a_batch_is_applied_once_and_then_known
        a_batch_with_something_missing_before_it_changes_nothing
        another_membership_epoch_is_refused
        an_undecodable_entry_is_set_aside_and_recovered
        increments_of_two_regions_add_up_and_a_set_overrides_what_it_saw
        a_late_assignment_does_not_bring_back_what_was_removed
        a_clock_follows_what_it_has_seen
        concurrent_writes_that_a_rule_decides_are_counted_by_type
    }
    large_keys {
        n29_a_large_key_goes_in_steps_and_a_concurrent_unseen_add_survives
        dead_members_do_not_keep_a_key_from_being_deleted
        what_follows_a_clear_in_a_batch_comes_after_it
        an_expired_large_key_is_swept_in_steps
        a_step_of_an_expired_key_leaves_it_hidden_and_one_of_a_living_key_nothing
        a_write_to_an_expired_large_key_begins_anew
        an_expiry_in_the_past_removes_a_large_key
        whoever_goes_on_with_a_clear_finishes_it
        a_long_list_is_cut_in_steps
        many_equal_elements_are_removed_in_steps
    }
    lists {
        a_claim_takes_the_first_candidate_that_is_there
        elements_are_pushed_inserted_changed_and_taken
        many_values_are_one_push_and_stand_in_order
        the_last_element_takes_the_expiry_of_a_list_with_it
        what_two_regions_do_to_a_list_at_once_ends_alike
        a_view_of_a_list_that_somebody_overwrote_is_shown_again
    }
    resyncs {
        a_resync_ships_everything_and_leaves_a_position
        what_was_trimmed_is_a_gap_and_a_resync_closes_it
        a_second_resync_ships_only_what_changed_since
        what_changed_is_found_however_many_changes_ago
        a_resync_goes_on_where_another_driver_left_it
        a_slice_of_another_plan_is_refused
        what_the_sender_removed_and_forgot_goes_here_too
        a_resync_brings_what_a_third_region_wrote
        a_slice_says_what_its_sender_has_met
    }
    rules {
        a_score_that_is_no_better_changes_nothing
        the_first_write_stands_until_it_is_deleted
        an_extreme_is_a_number_that_only_moves_one_way
        a_flag_is_on_or_off_and_the_type_says_who_wins
        siblings_are_all_kept_until_a_decision_replaces_those_it_saw
        a_decision_that_missed_a_write_of_its_own_region_is_refused
        an_increment_is_refused_where_the_rule_is_no_sum
    }
    pushes {
        a_push_is_shown_at_once_and_moves_no_position
        a_late_push_brings_nothing_back
        a_push_from_the_wrong_place_changes_nothing
        cells_of_an_unheard_third_region_are_left_out_of_a_push
        a_standing_covers_what_a_push_showed
        an_excerpt_has_the_fields_asked_for
        replicas_that_do_not_exist_confirm_nothing
    }
    collections {
        where_nothing_is_dead_nothing_is_done
        what_was_removed_goes_once_every_member_has_said_that_it_knows
        a_step_takes_no_more_fields_than_it_is_asked_to
        a_field_that_came_back_or_died_after_the_mark_stays
        a_counter_begins_anew_where_its_cells_were_collected
        a_walk_of_every_key_removes_what_was_collected_meanwhile
        a_slice_of_a_sender_that_collected_what_was_missed_is_refused
    }
    standings {
        a_standing_names_the_last_own_entry_and_what_is_held_of_others
        a_log_that_everybody_has_still_says_how_far_it_went
        a_clock_that_runs_ahead_is_not_taken_for_an_entry
        calls_say_where_their_partition_stood
        a_standing_of_a_closed_incarnation_is_never_given
    }
    stocks {
        units_are_taken_as_long_as_the_rights_last
        a_call_repeated_by_its_id_counts_once
        a_reservation_that_runs_out_comes_back
        a_reservation_ends_once_and_only_where_it_was_made
        a_stock_is_never_set_deleted_or_expired
        rights_that_were_given_are_spent_where_they_arrive
        rights_of_an_ended_incarnation_are_frozen_until_they_are_reclaimed
        a_resync_brings_a_stock_whole
    }
    streams {
        ids_grow_and_no_two_regions_give_one
        an_id_of_the_callers_own_has_to_be_above_what_is_there
        the_oldest_entries_go_and_what_was_not_seen_stays
    }
    operations {
        opening_with_a_floor_gives_a_new_incarnation_above_it
        opening_closes_the_old_incarnation_and_drops_cursors
        a_peer_that_knows_a_later_opening_supersedes_the_sender
        a_lease_has_one_holder_until_it_is_given_back_or_runs_out
        inspection_shows_cells_and_physical_keys
        reads_answer_as_native_commands
        a_partition_that_does_not_exist_is_an_error
        clocks_are_read_from_the_regions
    }
}
