//! On which CPUs the service's threads run when the hot one has a CPU of its own.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::thread;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::support::{Service, ShmDir, jimbot, post, text, wait_for};

/// The CPUs this process may use.
fn allowed() -> Vec<usize> {
    let set = sched_getaffinity(None).expect("the kernel tells");
    (0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect()
}

/// Does something on these CPUs only, with all processes that it starts.
fn on<T: Send + 'static>(cpus: &[usize], what: impl FnOnce() -> T + Send + 'static) -> T {
    let mut set = CpuSet::new();
    cpus.iter().for_each(|&cpu| set.set(cpu));
    let there = thread::spawn(move || {
        sched_setaffinity(None, &set).expect("they are allowed");
        what()
    });
    there.join().expect("it ends well")
}

/// Name and allowed CPUs of a process's threads. Threads that share a name have to share these.
fn threads(pid: u32) -> BTreeMap<String, Vec<usize>> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it lives");
    let mut found = BTreeMap::new();
    for status in tasks.filter_map(|task| {
        // A thread may end between the two.
        fs::read_to_string(task.ok()?.path().join("status")).ok()
    }) {
        let field = |name| {
            status.lines().find_map(|line| line.strip_prefix(name)).expect("it has one").trim()
        };
        let name = field("Name:").to_owned();
        let cpus = parse(field("Cpus_allowed_list:"));
        if let Some(others) = found.insert(name.clone(), cpus.clone()) {
            assert_eq!(others, cpus, "{name}");
        }
    }
    found
}

/// `0-2,5` as single numbers.
fn parse(list: &str) -> Vec<usize> {
    let number = |text: &str| text.parse::<usize>().expect("a number");
    list.split(',')
        .flat_map(|range| match range.split_once('-') {
            Some((first, last)) => number(first)..=number(last),
            None => number(range)..=number(range),
        })
        .collect()
}

/// Starts a service with all its helper threads, pinned, and shows its threads when an event has
/// gone through all of them.
fn pinned(cpu: usize) -> (Service, BTreeMap<String, Vec<usize>>) {
    let shm_dir = Arc::new(ShmDir::new());
    let state = ShmDir::new();
    let home = |command: &mut Command| {
        command.env("XDG_STATE_HOME", state.path());
    };
    let settings = ["--cpu", &cpu.to_string(), "--bus", "embedded"];
    let service = Service::start_command(shm_dir, &settings, home);
    post(&service.address, "/api/v1/events", "application/json", br#"{"type":"HEARTBEAT"}"#);
    wait_for("the event to reach the bus", || {
        (service.metric("jimbot_mcp_bus_events_stored_total") >= 1.0).then_some(())
    });
    let threads = threads(service.pid());
    (service, threads)
}

#[test]
fn helper_threads_keep_off_the_hot_threads_cpu() {
    let all = allowed();
    let (hot, others) = (all[0], &all[1..]);
    let (service, threads) = pinned(hot);
    assert_eq!(threads["jimbot-mcp"], [hot], "the hot thread is the main one");
    for name in ["log", "bus", "forwarder", "forwarder-io"] {
        assert!(threads.contains_key(name), "{name} is not among {threads:?}");
    }
    for (name, cpus) in threads.iter().filter(|(name, _)| *name != "jimbot-mcp") {
        let expected = if others.is_empty() { &all } else { others };
        assert_eq!(cpus, expected, "{name}");
    }
    service.stop();
}

#[test]
fn the_only_cpu_is_shared_and_that_is_said() {
    let only = allowed()[0];
    let (service, threads) = on(&[only], move || pinned(only));
    assert!(threads.len() > 3 && threads.values().all(|cpus| *cpus == [only]), "{threads:?}");
    let told = format!("cpu = {only}: this process may run on no other CPU");
    wait_for("a word about it", || service.messages().contains(&told).then_some(()));
    service.stop();
}

#[test]
fn a_cpu_that_is_not_allowed_is_named_with_those_that_are() {
    let only = allowed()[0];
    for asked in [only + 1, 4095] {
        let shm_dir = ShmDir::new();
        let command = ["serve", "--listen", "127.0.0.1:0", "--shm-dir", shm_dir.text(), "--cpu"];
        let mut command = jimbot(&[&command[..], &[&asked.to_string()]].concat());
        let output = on(&[only], move || command.output().expect("the binary runs"));
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(
            text(&output.stderr),
            format!(
                "jimbot-mcp: cpu = {asked}: this process may not run on that CPU, only on {only}; \
                 choose one of those with --cpu, or allow it more (taskset, a container's cpuset, \
                 AllowedCPUs= of systemd)\n"
            )
        );
        assert!(!shm_dir.path().exists(), "it has left something behind");
    }
}
