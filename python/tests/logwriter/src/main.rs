//! Writes a log when its standard input says so: the other side of the Python reader's tests.
//!
//! One JSON object a line in, one out, so that a test decides what happens between any two steps:
//!
//! | in | does | out |
//! |---|---|---|
//! | `{"do": "append", "count": 3, "type": 4, "game": 7, "bytes": 100}` | stores events in the open batch, which is committed when it is full; stops when the log is full | `stored`, `next_sequence`, `full` |
//! | `{"do": "commit"}` | makes them visible | `next_sequence` |
//! | `{"do": "check"}` | looks at the readers, as the service does each second | `room` |
//! | `{"do": "readers"}` | | `readers` |
//!
//! It begins with a line about the log, and ends with its standard input. SIGKILL is how a test kills a service.

mod events;

use std::{
    error::Error,
    io::{self, BufRead, Write},
    path::Path,
    process::ExitCode,
    time::Duration,
};

use jimbot_shm::{FullPolicy, Guarantee, LogOptions, LogWriter, Now};
use serde_json::{Value, json};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("logwriter: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().ok_or("usage: logwriter DIRECTORY [OPTIONS AS JSON]")?;
    let options = serde_json::from_str(&arguments.next().unwrap_or_else(|| "{}".into()))?;
    let mut log = LogWriter::open(Path::new(&directory), &log_options(&options))?;
    let mut out = io::stdout();
    let mut ahead_ns = 0;
    let ready = json!({
        "epoch": log.epoch(), "generation": log.generation(), "capacity": log.capacity(),
        "next_sequence": log.next_sequence(), "recovered": log.recovered().events,
    });
    writeln!(out, "{ready}")?;
    for line in io::stdin().lock().lines() {
        let request: Value = serde_json::from_str(&line?)?;
        let answer = match request["do"].as_str() {
            Some("append") => append(&mut log, &request),
            Some("commit") => {
                log.commit(Now::read());
                finish_wakes(&mut log);
                json!({ "next_sequence": log.next_sequence() })
            }
            Some("check") => {
                // Each time a second later by its clock, so that every reader is looked at.
                ahead_ns += 1_000_000_000;
                let now = Now::read();
                json!({ "room": log.check_readers(Now { mono_ns: now.mono_ns + ahead_ns, ..now }) })
            }
            Some("readers") => readers(&log),
            _ => json!({ "error": format!("no such request: {request}") }),
        };
        writeln!(out, "{answer}")?;
    }
    Ok(())
}

fn log_options(options: &Value) -> LogOptions {
    let number =
        |name: &str, default: u64| options.get(name).and_then(Value::as_u64).unwrap_or(default);
    let now = Now::read();
    let max_batch_bytes = number("max_batch_bytes", 65_536) as u32;
    let max_batch_events = number("max_batch_events", 256) as u32;
    let max_frame = jimbot_shm::layout::max_frame(max_batch_bytes, max_batch_events);
    LogOptions {
        capacity: Some((number("frames", 8) * max_frame).next_multiple_of(4096)),
        max_batch_bytes,
        max_batch_events,
        reader_lease_ns: number("reader_lease_ms", 30_000) * 1_000_000,
        full_policy: if options["full_policy"] == "detach" {
            FullPolicy::Detach
        } else {
            FullPolicy::Hold
        },
        rotate: options["rotate"] == true,
        // Different for each log, which is all that a test needs of it.
        epoch_seed: (now.unix_ns | 1).to_le_bytes(),
        id_key: [7; 16],
        now,
    }
}

fn append(log: &mut LogWriter, request: &Value) -> Value {
    let kind = events::Kind::of(request);
    let count = request["count"].as_u64().unwrap_or(1);
    let (mut stored, mut full) = (0, false);
    while stored < count {
        let now = Now::read();
        if log.events_left() == 0 {
            log.commit(now);
        }
        if log.begin(now).is_err() {
            full = true;
            break;
        }
        let (event, entry) = kind.event(stored, log.epoch(), log.next_sequence(), now.unix_ns);
        match events::encode(&event, log.room()) {
            Some((length, begin)) => {
                log.append(length, begin, &entry);
                stored += 1;
            }
            None if log.open_events() == 0 => {
                return json!({ "error": "no batch can hold this event" });
            }
            None => {
                log.commit(now);
            }
        }
    }
    json!({ "stored": stored, "full": full, "next_sequence": log.next_sequence() })
}

/// Wakes that the budget put off are done before the test goes on.
fn finish_wakes(log: &mut LogWriter) {
    while log.wake_due().is_some() {
        std::thread::sleep(Duration::from_micros(50));
        log.service_wake(Now::read());
    }
}

fn readers(log: &LogWriter) -> Value {
    let committed = log.next_sequence() - u64::from(log.open_events());
    let readers: Vec<Value> = log
        .readers(Now::read())
        .into_iter()
        .map(|reader| {
            json!({
                "name": reader.name, "slot": reader.slot, "pid": reader.pid, "alive": reader.alive,
                "reliable": reader.guarantee == Guarantee::Reliable,
                "state": if reader.detached { "detached" } else { "active" },
                "generation": reader.generation, "missed": reader.missed,
                "cursor_sequence": committed - reader.lag_events,
                "pinned_bytes": reader.pinned_bytes,
            })
        })
        .collect();
    json!({ "readers": readers })
}
