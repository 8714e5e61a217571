//! Services and readers killed at any moment, under load.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    common::{Home, check},
    peer::{Peer, reliable},
    seconds,
};

pub fn services_and_readers_killed_at_random_lose_nothing() {
    let seed = std::env::var("JIMBOT_SHM_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("JIMBOT_SHM_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let home = Home::new();
    drop(jimbot_shm::LogWriter::open(home.path(), &crate::peer::options()).expect("create"));
    let done = Arc::new(AtomicBool::new(false));

    // The witness lives all the while: every event once, in order.
    let mut witness = reliable(home.path(), "witness");
    let witness_done = done.clone();
    let witnessing = thread::spawn(move || {
        let (mut next, mut recovered) = (1, 0u64);
        loop {
            let last = witness_done.load(Ordering::Acquire);
            while let Some(frame) = witness.next(Duration::from_millis(20)).expect("read") {
                let copy = frame.copy().expect("whole");
                check(&copy);
                assert_eq!(copy.header.first_sequence, next, "no gap, nothing twice");
                next = copy.header.end_sequence();
                recovered += u64::from(copy.header.is_recovered());
                frame.release().expect("whole");
            }
            if last {
                assert_eq!(witness.missed(), 0);
                return (next, recovered);
            }
        }
    });

    // The victim dies too: it comes back at its cursor, and is handed again at most what it had not released.
    // Its name holds the log from the beginning, however late the first victim comes.
    drop(reliable(home.path(), "victim"));
    let victims_done = Arc::new(AtomicBool::new(false));
    let no_more_victims = victims_done.clone();
    let directory = home.path().to_owned();
    let mut victim_random = random.fork();
    let dying = thread::spawn(move || {
        let mut deaths = 0;
        // The first sequence that has not certainly been released.
        let mut expected = 1;
        while !no_more_victims.load(Ordering::Acquire) {
            let mut peer = Peer::start("follow", &directory, &[]);
            let frames = victim_random.usize(1..200);
            let mut ranges = Vec::new();
            let first = peer.line();
            ranges.extend(first);
            thread::sleep(Duration::from_micros(victim_random.u64(0..3000)));
            peer.signal(libc::SIGKILL);
            while ranges.len() < frames
                && let Some(line) = peer.line()
            {
                ranges.push(line);
            }
            while let Some(line) = peer.line() {
                ranges.push(line);
            }
            assert_eq!(peer.end().0, Some(libc::SIGKILL));
            deaths += 1;
            for (at, line) in ranges.iter().enumerate() {
                let (begin, end) = line.split_once(' ').expect("two numbers");
                let (begin, end): (u64, u64) =
                    (begin.parse().expect("a number"), end.parse().expect("a number"));
                // At its start it is handed what it had in hand when it died, or what follows that.
                assert!(
                    begin == expected || at == 0 && begin < expected,
                    "{begin} after {expected}"
                );
                expected = end.max(expected);
            }
        }
        deaths
    });

    let end = Instant::now() + Duration::from_secs(seconds());
    let (mut kills, mut last) = (0, 0);
    // Events go on until the last victim has died: it waits for one before it is killed.
    while !dying.is_finished() {
        victims_done.store(Instant::now() >= end, Ordering::Release);
        let mut peer = Peer::start("flood", home.path(), &[&random.u64(..).to_string()]);
        let mut acknowledged: Vec<u64> =
            peer.line().iter().map(|line| line.parse().expect("a number")).collect();
        thread::sleep(Duration::from_micros(random.u64(0..8000)));
        peer.signal(libc::SIGKILL);
        acknowledged.extend(peer.numbers());
        assert_eq!(peer.end().0, Some(libc::SIGKILL));
        kills += 1;
        // The service before may have stored one more event than it could say.
        let first = acknowledged[0];
        assert!(first == last + 1 || first == last + 2, "{first} after {last}");
        assert!(acknowledged.windows(2).all(|pair| pair[1] == pair[0] + 1));
        last = *acknowledged.last().expect("one at least");
    }
    let writer =
        jimbot_shm::LogWriter::open(home.path(), &crate::peer::options()).expect("take over");
    let stored = writer.next_sequence() - 1;
    assert!(stored == last || stored == last + 1, "every acknowledged event is there");
    let deaths = dying.join().expect("the victim");
    done.store(true, Ordering::Release);
    drop(writer);
    let (next, recovered) = witnessing.join().expect("the witness");
    assert_eq!(next, stored + 1);
    println!(
        "{kills} services and {deaths} readers killed, {stored} events, {recovered} frames recovered"
    );
    assert!(kills > 3 && deaths > 3 && recovered > 0);
}
