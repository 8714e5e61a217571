//! A service that stalls must show in the percentiles, though the client could not send meanwhile.
//!
//! The server here answers until it has given so many answers, and then nobody until it is told to go on. What the
//! client does is fixed beforehand, so how much must be slow does not depend on how fast this machine is.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use jimbot_perf::client::Wire;
use jimbot_perf::floor::ANSWER;
use jimbot_perf::payload::Payload;
use jimbot_perf::run::{Moment, Outcome, Plan, mono_ns, run};
use jimbot_traffic::workload::Workload;

const STALL: Duration = Duration::from_millis(300);
const STALL_NS: u64 = STALL.as_nanos() as u64;
const RATE: f64 = 1000.0;
/// Of an acknowledgement, as long as the load generator looks at it: a text message of one byte.
const ACK: [u8; 3] = [0x81, 1, b'1'];
const UPGRADE: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Answers are let through until there have been so many, and again once it is opened.
struct Gate {
    state: Mutex<State>,
    opened: Condvar,
    shuts_after: usize,
    opens: Opens,
}

struct State {
    answers: usize,
    is_open: bool,
}

/// Who opens the gate.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Opens {
    /// The answer that finds it shut first, after the stall.
    Itself,
    /// The test.
    Test,
}

impl Gate {
    fn new(shuts_after: usize, opens: Opens) -> Arc<Gate> {
        let state = Mutex::new(State { answers: 0, is_open: false });
        Arc::new(Gate { state, opened: Condvar::new(), shuts_after, opens })
    }

    /// Waits while the gate is shut.
    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.answers += 1;
        if state.answers == self.shuts_after && self.opens == Opens::Itself {
            drop(state);
            thread::sleep(STALL);
            self.open();
            return;
        }
        while state.answers >= self.shuts_after && !state.is_open {
            state = self.opened.wait(state).unwrap();
        }
    }

    fn open(&self) {
        self.state.lock().unwrap().is_open = true;
        self.opened.notify_all();
    }
}

/// A server for HTTP and for acknowledged WebSocket messages; each connection has a thread.
fn server(gate: &Arc<Gate>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let gate = Arc::clone(gate);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, gate) = (stream.unwrap(), Arc::clone(&gate));
            thread::spawn(move || serve(stream, &gate));
        }
    });
    address
}

/// Until the client is gone.
fn serve(mut stream: TcpStream, gate: &Gate) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut is_upgraded = false;
    loop {
        if is_upgraded {
            read_message(&mut stream)?;
        } else {
            let head = read_head(&mut stream)?;
            if head.contains("Upgrade: websocket") {
                is_upgraded = true;
                stream.write_all(UPGRADE).ok()?;
                continue;
            }
            let (_, length) = head.split_once("Content-Length: ")?;
            read(&mut stream, length.lines().next()?.parse().ok()?)?;
        }
        gate.pass();
        stream.write_all(if is_upgraded { &ACK } else { ANSWER }).ok()?;
    }
}

fn read(stream: &mut TcpStream, length: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).ok()?;
    Some(bytes)
}

fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.extend(read(stream, 1)?);
    }
    String::from_utf8(head).ok()
}

/// A masked message of less than 64 KiB.
fn read_message(stream: &mut TcpStream) -> Option<()> {
    let length = match read(stream, 2)?[1] & 0x7f {
        126 => {
            let length = read(stream, 2)?;
            usize::from(u16::from_be_bytes([length[0], length[1]]))
        }
        short => usize::from(short),
    };
    read(stream, 4 + length).map(|_| ())
}

fn plan(target: SocketAddr, wire: Wire, connections: usize) -> Plan {
    Plan {
        target,
        wire,
        connections,
        bodies_per_second: Some(RATE),
        duration: Duration::from_secs(1),
        warm_up: Duration::ZERO,
        depth: 1,
        spin: false,
        patience: Duration::from_secs(60),
        run: 1,
    }
}

fn measure(plan: &Plan, at: impl FnMut(Moment)) -> Outcome {
    run(plan, &mut Payload::new(Workload::Small, 1, 8, mono_ns()), at).unwrap()
}

fn slower_than(outcome: &Outcome, ns: u64) -> u64 {
    outcome.latency_ns.count_between(ns, u64::MAX)
}

/// Opens the gate when the stall has lasted for its time beyond the end of what is measured.
fn open_after_end(gate: &Arc<Gate>) -> impl FnMut(Moment) {
    let gate = Arc::clone(gate);
    move |moment| {
        if moment == Moment::End {
            let gate = Arc::clone(&gate);
            thread::spawn(move || {
                thread::sleep(STALL);
                gate.open();
            });
        }
    }
}

const WIRES: [Wire; 2] = [Wire::Http, Wire::WebSocketAcked];

#[test]
fn a_stall_delays_only_what_was_sent_before_it() {
    for (wire, connections) in WIRES.into_iter().flat_map(|wire| [(wire, 1), (wire, 16)]) {
        let gate = Gate::new(100, Opens::Itself);
        let outcome = measure(&plan(server(&gate), wire, connections), |_| ());

        // 300 sends fell due while the server slept: a client that counts from its actual send would report as many
        // slow answers as it has connections. Those due in the first 250 ms waited for more than 50.
        let slow = slower_than(&outcome, 50_000_000);
        assert!(slow >= 200, "{wire:?}, {connections} connections: {slow} show the stall");
        assert!(outcome.latency_ns.max() >= STALL_NS, "{wire:?}, {connections} connections");
        assert_eq!(outcome.latency_ns.len(), RATE as u64, "each that was due counts once");
    }
}

#[test]
fn a_stall_at_the_end_of_a_run_vanishes() {
    for (wire, connections) in WIRES.into_iter().flat_map(|wire| [(wire, 1), (wire, 16)]) {
        let gate = Gate::new(100, Opens::Test);
        let plan = plan(server(&gate), wire, connections);
        let outcome = measure(&plan, open_after_end(&gate));

        // 99 were answered before the stall, which lasts until after the end: all others have waited for longer than
        // it went on after that, sent or not.
        let slow = slower_than(&outcome, STALL_NS * 999 / 1000);
        assert_eq!(slow, 901, "{wire:?}, {connections} connections show the stall");
        assert_eq!(outcome.latency_ns.len(), RATE as u64, "each that was due counts once");
        assert_eq!(outcome.unsent, 901 - connections as u64, "the rest was in flight");
        assert_eq!((outcome.events, outcome.unanswered), (99, 0));
    }
}

#[test]
fn flat_out_a_stall_at_the_end_vanishes() {
    for wire in WIRES {
        let gate = Gate::new(200, Opens::Test);
        let plan = Plan { bodies_per_second: None, depth: 2, ..plan(server(&gate), wire, 16) };
        let outcome = measure(&plan, open_after_end(&gate));
        let slow = slower_than(&outcome, STALL_NS * 999 / 1000);
        assert_eq!(outcome.events, 199, "{wire:?}: answered in the measured time");
        assert_eq!(slow, outcome.events_sent - 199, "{wire:?}: all that was in flight");
        assert!(slow >= 16, "{wire:?}: on each connection");
    }
}

#[test]
fn a_service_that_never_answers_again_is_left_out() {
    for wire in WIRES {
        let gate = Gate::new(100, Opens::Test);
        let plan = Plan { patience: STALL, ..plan(server(&gate), wire, 16) };
        let outcome = measure(&plan, |_| ());
        gate.open();
        assert_eq!((outcome.unanswered, outcome.unsent), (16, 885), "{wire:?}");
        assert_eq!(slower_than(&outcome, STALL_NS * 999 / 1000), 901, "{wire:?}");
    }
}
