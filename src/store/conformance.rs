//! One suite for every backend: what the contract of [`super::Store`] says, as tests.
//!
//! A backend is stamped with it where it lives: it implements [`Backend`] and says
//! `conformance!(name, an expression that makes one)`. Each test gets a backend of its own, so that none
//! depends on another, and bears the name of its file and its promise. Time is an argument: no test
//! waits.

use std::sync::Arc;

use super::{Fill, Store};

pub(crate) mod copies;
pub(crate) mod deletion;
pub(crate) mod desk;
pub(crate) mod engines;
pub(crate) mod entries;
pub(crate) mod forks;
pub(crate) mod history;
pub(crate) mod imports;
pub(crate) mod indexing;
pub(crate) mod lists;
pub(crate) mod lookups;
pub(crate) mod model;
pub(crate) mod observed;
pub(crate) mod past_heads;
pub(crate) mod picture;
pub(crate) mod races;
pub(crate) mod reach;
pub(crate) mod receipts;
pub(crate) mod refusals;
pub(crate) mod replicas;
pub(crate) mod resumes;
pub(crate) mod retention;
pub(crate) mod saves;
pub(crate) mod search;
pub(crate) mod sessions;
pub(crate) mod threads;
pub(crate) mod upkeep;

/// A place where a store keeps its rows; each one begins empty.
pub(crate) trait Backend: Sized {
    /// Another place of the same kind, empty.
    async fn another(&self) -> Self;

    /// Opens the place to be filled with a copy, or says why not.
    async fn fill(&self) -> Result<Arc<dyn Fill>, String>;

    /// Opens the store over what is there, or says why not.
    async fn try_open(&self) -> Result<Arc<dyn Store>, String>;

    /// Opens the store over what is there.
    async fn open(&self) -> Arc<dyn Store> {
        self.try_open().await.expect("it opens")
    }

    /// Closes `store` and opens it again, as a restart does.
    async fn reopen(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        store.close().await;
        drop(store);
        self.open().await
    }

    /// How many rows of logs, journals and notes on them there are: what upkeep has to remove some day.
    async fn rows(&self) -> u64;

    /// Looks whether what is stored is whole, in ways of the backend's own.
    async fn verify(&self) {}
}

/// Stamps the suite on a backend; `$backend` makes a new one.
macro_rules! conformance {
    ($name:ident, $backend:expr) => {
        mod $name {
            use super::*;
            $crate::store::conformance::stamp! { $backend;
                entries: come_back_byte_for_byte, carry_the_fold, keep_odd_facts, pages_end_at_rows_or_bytes,
                    pages_cross_logs, known_ids_are_not_added_twice, the_largest_batch, ends_of_ranges;
                lookups: every_index_is_found, ids_are_found_over_paths, metas_over_paths;
                sessions: facts_come_back, etag_and_revision, namespaces_are_apart;
                receipts: a_retry_changes_nothing, another_request_is_refused, refusals_are_not_recorded,
                    a_name_counts_in_its_namespace, every_outcome_comes_back, old_ones_expire,
                    many_expire_in_bounded_commits;
                refusals: write_nothing;
                forks: share_and_never_show_later_changes, at_the_start_and_the_ends, of_forks_of_forks,
                    numbers, huge_numbers, shortened_bases, moved_sources_are_refused;
                races: one_writer_wins_a_revision, appends_to_one_session_are_dense,
                    appends_to_many_sessions_are_dense, concurrent_forks_get_their_own_numbers,
                    a_concurrent_retry_waits_for_the_first, one_turn_starts, one_creation_wins;
                lists: every_order_and_filter, bytes_bound_a_page, short_pages_never_loop,
                    keys_of_rows_that_are_gone, threads_by_change;
                deletion: takes_sub_sessions_with_it, restores_what_it_took, force_removes_at_once,
                    purges_when_due, a_name_is_free_after_the_purge;
                threads: facts_come_back, items_keep_their_seq, a_turn_ends_its_items, items_are_paged,
                    a_deleted_thread_leaves_its_sessions;
                saves: add_what_is_new, staged_ones_are_published, refuse_what_others_wrote,
                    refuse_what_has_moved, titles;
                upkeep: unpublished_logs_are_swept, renewed_logs_are_not_swept, sweeps_are_bounded_by_bytes, copied_logs_are_let_go, published_logs_stay, half_swept_logs_are_not_published,
                    deleted_text_goes_behind_the_last_cut, journals_are_swept, compaction_changes_nothing,
                    saves_go_on_after_compactions;
                engines: facts_come_back, are_listed_by_namespace_and_id, epochs_go_on_over_restarts,
                    hold_threads_under_an_epoch, turns_keep_their_epoch,
                    old_ones_without_threads_are_forgotten;
                replicas: facts_come_back, incarnations_go_on_over_restarts, an_ended_lease_fences,
                    attached_engines_are_paged, one_takes_a_resume_over;
                resumes: facts_come_back, failures_come_back, one_is_open_at_a_time, pages_and_filters,
                    an_open_one_keeps_its_log, ready_seats_the_thread, old_ones_expire;
                imports: are_found_by_their_source, are_published_together,
                    are_compared_again_when_their_source_moved;
                past_heads: are_read_under_their_revision, keep_their_logs_until_they_expire,
                    go_with_their_session;
                history: a_rewind_keeps_what_it_leaves, a_rewind_is_undone,
                    a_rewind_to_where_it_is_changes_nothing, what_has_moved_is_not_rewound,
                    past_heads_are_forked, past_heads_are_paged, a_tree_is_walked, items_are_read_by_change;
                retention: takes_families_and_spares_what_is_in_use, leaves_alone_what_has_changed,
                    is_written_down_for_retries, knows_the_namespaces, comes_in_bounded_commits,
                    undoing_it_brings_all_back;
                reach: nothing_reachable_is_lost_and_nothing_else_is_kept;
                search: finds_what_was_said, a_shared_message_is_found_once, copies_are_found_once,
                    it_goes_on_where_it_was, a_crowd_of_one_time, filters_look_at_bounded_rows,
                    what_is_swept_leaves, what_is_rewound_away_is_not_found;
                observed: in_the_order_of_commits, though_nobody_waits;
                copies: everything_comes_along, forks_still_share, engines_have_left, go_into_an_empty_place_alone,
                    a_half_is_not_opened_and_goes_on, a_source_that_changed_is_noticed, pages_are_bounded;
                model: agrees_with_memory, agrees_with_memory_under_load, agrees_with_memory_after_moving;
            }
        }
    };
}

/// Makes a test of each function named, in a module of its file's name.
macro_rules! stamp {
    ($backend:expr; $($file:ident: $($promise:ident),+;)+) => {
        $(mod $file {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                $crate::store::conformance::$file::$promise(&$backend).await;
            })+
        })+
    };
}

pub(crate) use {conformance, stamp};
