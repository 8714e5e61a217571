//! A service that stalls must show in the percentiles, though the client could not send meanwhile.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use jimbot_perf::client::Wire;
use jimbot_perf::payload::Payload;
use jimbot_perf::run::{Plan, mono_ns, run};
use jimbot_traffic::workload::Workload;

const STALL: Duration = Duration::from_millis(300);

/// Answers each read on one connection, and sleeps once before the hundredth answer.
fn stalling_server(listener: &TcpListener) {
    let (mut stream, _) = listener.accept().unwrap();
    let mut buffer = [0; 4096];
    let mut answers = 0;
    while let Ok(1..) = stream.read(&mut buffer) {
        answers += 1;
        if answers == 100 {
            std::thread::sleep(STALL);
        }
        if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").is_err() {
            return;
        }
    }
}

#[test]
fn a_stall_delays_every_send_that_was_due_in_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let plan = Plan {
        target: listener.local_addr().unwrap(),
        wire: Wire::Http,
        connections: 1,
        bodies_per_second: Some(1000.0),
        duration: Duration::from_secs(1),
        warm_up: Duration::ZERO,
        depth: 1,
        spin: false,
        run: 1,
    };
    let server = std::thread::spawn(move || stalling_server(&listener));
    let outcome = run(&plan, &mut Payload::new(Workload::Small, 1, 8, mono_ns()), |_| ()).unwrap();
    server.join().unwrap();

    // 300 sends fell due while the server slept: a client that counts from its actual send would
    // report one slow answer of a thousand. A tenth of the run is a wide margin for a slow machine.
    let slow = outcome.latency_ns.count_between(50_000_000, u64::MAX);
    assert!(slow >= 100, "{slow} of {} answers show the stall", outcome.latency_ns.len());
    assert!(outcome.latency_ns.max() >= STALL.as_nanos() as u64);
}
