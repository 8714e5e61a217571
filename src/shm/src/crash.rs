//! Points between the protocol's stores at which a test can have the process killed.

/// Names of all points, in the order in which opening, appending, committing and rotating reach them.
#[cfg(feature = "crash-points")]
pub const CRASH_POINTS: &[&str] = &[
    "open:begin",
    "open:intent",
    "open:oldest",
    "open:reserved",
    "open:pad-header",
    "open:pad-committed",
    "open:header",
    "open:open-state",
    "open:open-pos",
    "append:bytes",
    "append:stage",
    "append:open-state",
    "commit:index",
    "commit:header",
    "commit:sequence",
    "commit:committed",
    "commit:woken",
    "rotate:built",
    "rotate:sealed",
    "rotate:log-archived",
    "rotate:readers-archived",
    "rotate:readers-renamed",
];

#[cfg(feature = "crash-points")]
mod armed {
    use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

    static POINT: AtomicUsize = AtomicUsize::new(usize::MAX);
    static PASSES: AtomicU32 = AtomicU32::new(0);

    /// Has this process killed with SIGKILL when it comes to `point` for the `passes`-th time, from now on.
    ///
    /// # Panics
    /// When there is no such point.
    pub fn arm_crash(point: &str, passes: u32) {
        let index = super::CRASH_POINTS
            .iter()
            .position(|name| *name == point)
            .expect("a crash point's name");
        PASSES.store(passes, Ordering::Relaxed);
        POINT.store(index, Ordering::Relaxed);
    }

    pub(crate) fn reach(point: &str) {
        let armed = POINT.load(Ordering::Relaxed);
        if super::CRASH_POINTS.get(armed) == Some(&point)
            && PASSES.fetch_sub(1, Ordering::Relaxed) == 1
        {
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)
                .expect("a process may kill itself");
        }
    }
}

#[cfg(feature = "crash-points")]
pub use armed::arm_crash;

/// The process dies here when the test has asked for it.
#[inline(always)]
pub(crate) fn point(_name: &'static str) {
    #[cfg(feature = "crash-points")]
    armed::reach(_name);
}
