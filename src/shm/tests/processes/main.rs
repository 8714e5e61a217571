//! Processes that die: a service at every store of the protocol and at random under load, readers inside a batch, in a
//! fork, stopped, interrupted.
//!
//! The binary is its own peer: a test starts it again with `--peer ROLE DIRECTORY ARGUMENT…`. Tests are chosen by a part of
//! their name, as with the standard harness; `--all` or `JIMBOT_SHM_SECONDS=N` makes the random ones long.

#![allow(unreachable_pub, reason = "one program of several files")]

#[path = "../common/mod.rs"]
mod common;
mod crash_points;
mod peer;
mod random_kills;
mod readers;

use std::{panic, process::ExitCode, time::Instant};

const TESTS: &[(&str, fn())] = &[
    (
        "a_service_killed_at_any_store_loses_nothing_acknowledged",
        crash_points::a_service_killed_at_any_store_loses_nothing_acknowledged,
    ),
    (
        "a_service_killed_while_it_rotates_ends_with_one_log",
        crash_points::a_service_killed_while_it_rotates_ends_with_one_log,
    ),
    (
        "services_and_readers_killed_at_random_lose_nothing",
        random_kills::services_and_readers_killed_at_random_lose_nothing,
    ),
    (
        "a_reader_killed_inside_a_batch_is_handed_it_again",
        readers::a_reader_killed_inside_a_batch_is_handed_it_again,
    ),
    ("a_killed_reader_holds_for_its_lease_only", readers::a_killed_reader_holds_for_its_lease_only),
    ("a_stopped_reader_is_alive", readers::a_stopped_reader_is_alive),
    (
        "a_forked_reader_says_so_and_holds_no_lock",
        readers::a_forked_reader_says_so_and_holds_no_lock,
    ),
    ("a_forked_service_holds_no_lock", readers::a_forked_service_holds_no_lock),
    ("a_signal_ends_a_wait_early", readers::a_signal_ends_a_wait_early),
    ("a_second_service_is_refused_by_name", readers::a_second_service_is_refused_by_name),
    (
        "a_sleeping_reader_is_woken_by_another_process",
        readers::a_sleeping_reader_is_woken_by_another_process,
    ),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(("--peer", rest)) =
        arguments.split_first().map(|(first, rest)| (first.as_str(), rest))
    {
        return peer::run(rest);
    }
    if arguments.iter().any(|argument| argument == "--list") {
        for (name, _) in TESTS {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    let filters: Vec<&String> =
        arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let chosen = TESTS
        .iter()
        .filter(|(name, _)| filters.is_empty() || filters.iter().any(|part| name.contains(*part)));
    let (mut passed, mut failed) = (0, 0);
    for (name, test) in chosen {
        let begin = Instant::now();
        let verdict = if panic::catch_unwind(test).is_ok() {
            passed += 1;
            "ok"
        } else {
            failed += 1;
            "FAILED"
        };
        println!("test {name} ... {verdict} ({:.1} s)", begin.elapsed().as_secs_f64());
    }
    println!("\ntest result: {passed} passed; {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Seconds that random tests run.
fn seconds() -> u64 {
    let asked = std::env::var("JIMBOT_SHM_SECONDS").ok().and_then(|text| text.parse().ok());
    asked.unwrap_or(if std::env::args().any(|argument| argument == "--all") { 120 } else { 4 })
}
