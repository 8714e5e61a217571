//! Random operations on one connection, from a seed that is printed. `JIMBOT_FUZZ_SEED` repeats one, and
//! `JIMBOT_FUZZ_ROUNDS` sets how many there are. `fuzz/fuzz_targets/connection.rs` does the same guided by coverage.

mod wire;

/// SplitMix64: tests need numbers that repeat, not good ones.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

/// Pieces of protocol, whole and broken.
const PIECES: [&[u8]; 16] = [
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"POST /e HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /e HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"POST /e HTTP/1.1\r\nHost: localhost\r\nUser-Agent: BalatroMCP/1\r\nContent-Length: 2100\r\n\r\n",
    b"5;x=y\r\nhello\r\n",
    b"0\r\nT: v\r\n\r\n",
    b"Expect: 100-continue\r\n",
    b"HEAD /missing HTTP/1.0\r\n\r\n",
    b"\r\n",
    b"\n",
    b"Content-Length: 7\r\n",
    b"\x81\x82\x00\x00\x00\x00{}",
    b"\x01\x81\x00\x00\x00\x00x",
    b"\x80\x80\x00\x00\x00\x00",
    b"\x89\x80\x00\x00\x00\x00",
    b"\x88\x80\x00\x00\x00\x00",
];

fn operations(random: &mut Random) -> Vec<u8> {
    let mut data = Vec::new();
    for _ in 0..random.below(40) {
        match random.below(4) {
            0 => data.push(0xC0 + random.below(0x40) as u8),
            1 => {
                let length = random.below(20);
                data.push(length as u8);
                data.extend((0..length).map(|_| random.next() as u8));
            }
            _ => {
                let mut piece = PIECES[random.below(PIECES.len())].to_vec();
                if random.below(8) == 0 {
                    let at = random.below(piece.len());
                    piece[at] = random.next() as u8;
                }
                let cut = random.below(piece.len() + 1);
                for part in [&piece[..cut], &piece[cut..]] {
                    data.push(part.len() as u8);
                    data.extend_from_slice(part);
                }
            }
        }
    }
    data
}

#[test]
fn no_sequence_of_operations_breaks_a_connection() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (first, rounds) = match number("JIMBOT_FUZZ_SEED") {
        Some(seed) => (seed, 1),
        None => (1, number("JIMBOT_FUZZ_ROUNDS").unwrap_or(3_000)),
    };
    for seed in first..first + rounds {
        let data = operations(&mut Random(seed));
        let outcome = std::panic::catch_unwind(|| wire::operate(&data));
        assert!(outcome.is_ok(), "repeat with JIMBOT_FUZZ_SEED={seed}");
    }
}
