//! Times that callers pass in.

/// One instant on both clocks, in nanoseconds. The writer reads no clock except to learn what a wake costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// `CLOCK_MONOTONIC`: deadlines, leases, the wake budget.
    pub mono_ns: u64,
    /// Nanoseconds since 1970: what is written into frames and slots for people and other hosts.
    pub unix_ns: u64,
}

impl Now {
    /// Both clocks as they stand. For readers, tests and tools; the service passes the time of its turn.
    pub fn read() -> Now {
        let read = |clock| {
            let time = rustix::time::clock_gettime(clock);
            time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
        };
        Now {
            mono_ns: read(rustix::time::ClockId::Monotonic),
            unix_ns: read(rustix::time::ClockId::Realtime),
        }
    }
}
