//! Slow, silent, deaf and greedy clients, and what a connection owns while it waits.

mod wire;

use jimbot_core::access::AccessConfig;
use jimbot_core::conn::{ConnConfig, ConnTimer, Connection, Counted, Shared};
use jimbot_core::limits;
use jimbot_core::time::{MILLISECOND, SECOND};
use wire::{Driver, LOOPBACK, Seen};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[test]
fn a_slow_head_is_answered_408() {
    let mut driver = Driver::new();
    driver.send(b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    driver.take_sent();
    let begin = driver.now_ns + 7 * SECOND;
    driver.now_ns = begin;
    // A byte every now and then does not move the deadline.
    for byte in b"GET / HT" {
        driver.send(&[*byte]);
        driver.now_ns += SECOND;
        assert_eq!(
            driver.conn.deadline(&driver.shared),
            Some((ConnTimer::Head, begin + limits::HEAD_NS))
        );
    }
    driver.now_ns = begin + limits::HEAD_NS - 1;
    driver.conn.on_timer(ConnTimer::Head, &mut driver.shared, driver.now_ns);
    assert!(driver.conn.output().is_empty(), "a timer that is not due does nothing");
    assert_eq!(driver.fire(), ConnTimer::Head);
    assert_eq!(driver.statuses(), [408]);
    assert!(driver.take_sent().contains("\"field\":\"head\""), "not cut by the HEAD before it");
    assert_eq!(driver.fire(), ConnTimer::Linger);
    assert!(driver.conn.wants().close);
}

#[test]
fn a_slow_body_is_answered_408() {
    let mut driver = Driver::new();
    driver.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n");
    let begin = driver.now_ns;
    for second in 1..=5 {
        driver.now_ns += SECOND;
        driver.send(&[b'x'; limits::BODY_BYTES_PER_SECOND as usize]);
        let deadline = begin + limits::BODY_GRACE_NS + second * SECOND;
        assert_eq!(driver.conn.deadline(&driver.shared), Some((ConnTimer::Body, deadline)));
    }
    assert_eq!(driver.fire(), ConnTimer::Body);
    assert_eq!(driver.statuses(), [408]);
}

#[test]
fn no_body_takes_longer_than_the_longest() {
    let mut driver = Driver::new();
    let begin = driver.now_ns;
    driver.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8000000\r\n\r\n");
    while driver.now_ns < begin + limits::BODY_NS - SECOND {
        driver.now_ns += SECOND;
        driver.send(&[b'x'; 10_000]);
    }
    assert_eq!(driver.fire(), ConnTimer::Body);
    assert_eq!(driver.now_ns, begin + limits::BODY_NS);
    assert_eq!(driver.statuses(), [408]);
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let mut driver = Driver::new();
    assert_eq!(
        driver.conn.deadline(&driver.shared),
        Some((ConnTimer::Idle, driver.now_ns + limits::IDLE_NS))
    );
    driver.now_ns += 5 * SECOND;
    driver.send(GET);
    driver.take_sent();
    assert_eq!(
        driver.conn.deadline(&driver.shared),
        Some((ConnTimer::Idle, driver.now_ns + limits::IDLE_NS))
    );
    assert_eq!(driver.fire(), ConnTimer::Idle);
    assert_eq!(driver.sent, b"");
    assert!(driver.conn.wants().close);
    assert_eq!(driver.shared.tally.get(Counted::ClosedIdle), 1);
}

#[test]
fn a_request_in_hand_has_no_deadline() {
    let mut driver = Driver::new();
    driver.hold = true;
    driver.send(GET);
    assert_eq!(driver.conn.deadline(&driver.shared), None);
    assert!(!driver.conn.wants().read, "nothing is read ahead of an answer");
}

#[test]
fn a_client_that_never_reads_its_answers_is_paused_and_then_closed() {
    let mut driver = Driver::new();
    driver.deaf = true;
    let requests = GET.repeat(100_000);
    let taken = driver.send(&requests);
    assert!(taken < requests.len() / 2, "reading stops");
    assert!(!driver.conn.wants().read);
    assert!(driver.conn.output().len() < limits::OUTPUT_HIGH_BYTES + 100);
    let answered = driver.seen.len();
    // It reads a little: a little more is taken.
    driver.now_ns += SECOND;
    driver.conn.output_sent(1_000, driver.now_ns);
    driver.turn();
    assert!(driver.seen.len() > answered && driver.seen.len() < answered + 20);
    let stalled = driver.now_ns;
    assert_eq!(driver.fire(), ConnTimer::Output);
    assert_eq!(driver.now_ns, stalled + limits::OUTPUT_STALL_NS);
    assert!(driver.conn.wants().close);
    driver.settle();
    assert_eq!(driver.conn.owned_bytes(), 0);
}

#[test]
fn a_refused_client_that_goes_on_sending_is_cut_off() {
    let mut driver = Driver::new();
    driver.send(b"\0");
    assert_eq!(driver.statuses(), [400]);
    let begin = driver.now_ns;
    while driver.now_ns < begin + limits::LINGER_NS {
        assert!(!driver.conn.wants().close);
        driver.now_ns += SECOND;
        driver.send(&[b'x'; 1_000_000]);
    }
    assert_eq!(driver.fire(), ConnTimer::Linger);
    assert_eq!(driver.now_ns, begin + limits::LINGER_NS);
    assert!(driver.conn.wants().close);
}

#[test]
fn what_a_waiting_connection_owns() {
    let mut driver = Driver::new();
    for piece in [&b"GET / HTTP/1.1\r\n"[..], b"Host: local", b"host\r\nX: "] {
        driver.send(piece);
        assert_eq!(driver.conn.owned_bytes(), limits::IDLE_BUFFER_BYTES);
        assert_eq!(driver.shared.pool.used(), 0);
    }
    driver.send(b"\r\n\r\n");
    assert_eq!(driver.statuses(), [200]);
    assert_eq!(driver.conn.owned_bytes(), 0);
}

#[test]
fn ten_thousand_pieces_of_requests_cost_little() {
    let config = ConnConfig::default();
    let mut shared =
        Shared::new(config.clone(), jimbot_core::access::Access::new(AccessConfig::default()));
    let mut connections = Vec::new();
    for _ in 0..10_000 {
        let mut conn = Connection::new(LOOPBACK, &config, 0);
        let space = conn.read_space(&mut shared, 0);
        space[..3].copy_from_slice(b"GET");
        conn.filled(3, 0);
        assert_eq!(conn.next(&mut shared, 0), None);
        conn.settle(&mut shared);
        connections.push(conn);
    }
    let owned: usize = connections.iter().map(Connection::owned_bytes).sum();
    assert_eq!(owned, 10_000 * limits::IDLE_BUFFER_BYTES);
    assert_eq!(shared.pool.used(), 0);
    assert!(size_of::<Connection>() <= 1_024, "{}", size_of::<Connection>());
    for conn in connections {
        conn.release(&mut shared);
    }
}

/// A second connection to the same service.
fn swap(driver: &mut Driver, other: &mut Connection) {
    std::mem::swap(&mut driver.conn, other);
}

#[test]
fn memory_for_incomplete_bodies_is_bounded_and_small_requests_go_on() {
    let config = ConnConfig { buffer_bytes: 200 * 1024, ..ConnConfig::default() };
    let mut driver = Driver::with(config.clone(), AccessConfig::default(), LOOPBACK);
    let mut other = Connection::new(LOOPBACK, &config, driver.now_ns);
    let head = b"POST /large HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000\r\n\r\n";
    // Three bodies that are half there use the budget up.
    let mut waiting = Vec::new();
    for _ in 0..3 {
        driver.send(head);
        assert_eq!(driver.send(&[b'x'; 30_000]), 30_000);
        assert!(driver.conn.wants().read);
        let conn = Connection::new(LOOPBACK, &config, driver.now_ns);
        waiting.push(std::mem::replace(&mut driver.conn, conn));
    }
    assert!(driver.shared.pool.available() < limits::READ_BYTES);
    // A fourth has to wait once its small buffer is full.
    driver.send(head);
    let taken = driver.send(&[b'x'; 30_000]);
    assert!(taken < limits::IDLE_BUFFER_BYTES, "{taken}");
    assert!(driver.conn.wants().memory && !driver.conn.wants().read);
    assert_eq!(driver.shared.tally.get(Counted::WaitedForMemory), 1);
    assert_eq!(
        driver.conn.deadline(&driver.shared),
        Some((ConnTimer::Memory, driver.now_ns + limits::MEMORY_WAIT_NS))
    );
    // Small requests go on meanwhile.
    swap(&mut driver, &mut other);
    driver.send(GET);
    assert_eq!(driver.statuses(), [200]);
    swap(&mut driver, &mut other);
    // One of the three ends: the fourth goes on.
    waiting.pop().unwrap().release(&mut driver.shared);
    driver.now_ns += MILLISECOND;
    assert_eq!(driver.send(&vec![b'x'; 60_000 - taken]), 60_000 - taken);
    assert!(matches!(driver.seen.last(), Some(Seen::Request { length: 60_000, .. })));
    assert!(!driver.conn.wants().memory);
    for conn in waiting {
        conn.release(&mut driver.shared);
    }
    assert_eq!(driver.shared.pool.used(), 0);
}

#[test]
fn who_waits_too_long_for_memory_is_told_when_to_come_back() {
    let config = ConnConfig { buffer_bytes: 1, ..ConnConfig::default() };
    let mut driver = Driver::with(config, AccessConfig::default(), LOOPBACK);
    driver.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n");
    while driver.conn.wants().read {
        driver.send(&[b'x'; 10_000]);
    }
    assert_eq!(driver.fire(), ConnTimer::Memory);
    assert_eq!(driver.statuses(), [503]);
    assert!(driver.take_sent().contains("\r\nRetry-After: 1\r\n"));
}

#[test]
fn an_announced_length_alone_costs_nothing() {
    let mut driver = Driver::new();
    driver.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8000000\r\n\r\nx");
    assert_eq!(driver.conn.owned_bytes(), limits::IDLE_BUFFER_BYTES);
    driver.send(&vec![b'x'; 100_000]);
    assert!(driver.conn.owned_bytes() <= 4 * limits::READ_BYTES, "it grows with what has come");
}

const MOD_HEAD: &[u8] =
    b"POST / HTTP/1.1\r\nHost: localhost:8080\r\nUser-Agent: BalatroMCP/1.0\r\n\
    Content-Length: 60000\r\n\r\n";

/// A connection of the mod that waits for memory, of which there is none; gives what was taken of its body.
fn starve(driver: &mut Driver) -> usize {
    driver.send(MOD_HEAD);
    let taken = driver.send(&[b'x'; 60_000]);
    assert!(driver.conn.wants().memory && !driver.conn.wants().read);
    taken
}

#[test]
fn the_mod_waits_for_memory_as_long_as_a_body_may_take_and_is_never_answered_503() {
    let config = ConnConfig { buffer_bytes: 1, ..ConnConfig::default() };
    let mut driver = Driver::with(config.clone(), AccessConfig::default(), LOOPBACK);
    // One holds the budget, another has overdrawn it; both go on slowly.
    driver.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000\r\n\r\n");
    driver.send(&[b'x'; 30_000]);
    let mut holder = Connection::new(LOOPBACK, &config, driver.now_ns);
    swap(&mut driver, &mut holder);
    starve(&mut driver);
    assert_eq!(driver.fire(), ConnTimer::Memory);
    assert!(driver.conn.wants().read && !driver.conn.wants().memory, "it may overdraw");
    assert!(driver.shared.pool.used() <= 2 * limits::READ_BYTES);
    let mut overdrawn = Connection::new(LOOPBACK, &config, driver.now_ns);
    swap(&mut driver, &mut overdrawn);

    let begin = driver.now_ns;
    starve(&mut driver);
    let mut waits = 0;
    while driver.fire() == ConnTimer::Memory {
        waits += 1;
        assert!(driver.sent.is_empty() && driver.conn.wants().memory);
    }
    assert_eq!(driver.now_ns, begin + limits::BODY_NS);
    assert!(waits >= limits::BODY_NS / limits::MEMORY_WAIT_NS - 1, "{waits}");
    assert_eq!(driver.statuses(), [408]);
    assert_eq!(driver.shared.tally.get(Counted::Refused503), 0);
    holder.release(&mut driver.shared);
    overdrawn.release(&mut driver.shared);
    assert_eq!(driver.shared.pool.used(), 0);
}

#[test]
fn who_waited_for_memory_was_not_slow_meanwhile() {
    let config = ConnConfig { buffer_bytes: 1, ..ConnConfig::default() };
    let mut driver = Driver::with(config.clone(), AccessConfig::default(), LOOPBACK);
    let mut holders = Vec::new();
    for _ in 0..2 {
        // The second one overdraws.
        driver.send(MOD_HEAD);
        driver.send(&[b'x'; 30_000]);
        if driver.conn.wants().memory {
            assert_eq!(driver.fire(), ConnTimer::Memory);
        }
        let conn = Connection::new(LOOPBACK, &config, driver.now_ns);
        holders.push(std::mem::replace(&mut driver.conn, conn));
    }
    let begin = driver.now_ns;
    let taken = starve(&mut driver);
    while driver.now_ns < begin + 60 * SECOND {
        assert_eq!(driver.fire(), ConnTimer::Memory);
    }
    let waited = driver.now_ns - begin;
    for holder in holders {
        holder.release(&mut driver.shared);
    }
    driver.send(b"x");
    let (timer, at) = driver.conn.deadline(&driver.shared).expect("the rest of the body");
    assert_eq!(timer, ConnTimer::Body);
    assert!(at >= begin + waited + limits::BODY_GRACE_NS, "it has its time as if it had just come");
    driver.send(&vec![b'x'; 60_000 - taken - 1]);
    assert_eq!(driver.statuses(), [200]);
    assert!(matches!(
        driver.seen.last(),
        Some(Seen::Request { lenient: true, length: 60_000, .. })
    ));
}
