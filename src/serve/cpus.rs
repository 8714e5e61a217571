//! Which CPU the hot thread runs on, and that no other thread of the service does.
//!
//! A thread inherits the mask of the one that starts it. So the main thread first keeps off the hot
//! CPU, starts what helps it, and only then moves there.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::ServeError;

/// The CPU that is kept for the hot thread.
pub(super) struct HotCpu {
    cpu: usize,
    /// No other one is allowed, so helper threads have to share it.
    is_only_one: bool,
}

impl HotCpu {
    /// Keeps the calling thread, and with it every thread it starts from now on, off `cpu`, unless
    /// there is no other.
    ///
    /// # Errors
    /// When this process may not use `cpu`.
    pub(super) fn reserve(cpu: usize) -> Result<HotCpu, ServeError> {
        let mut others = sched_getaffinity(None)
            .map_err(|error| ServeError(format!("cpu = {cpu}: the CPUs can't be told: {error}")))?;
        if cpu >= CpuSet::MAX_CPU || !others.is_set(cpu) {
            return Err(ServeError(format!(
                "cpu = {cpu}: this process may not run on that CPU, only on {}; choose one of \
                 those with --cpu, or allow it more (taskset, a container's cpuset, AllowedCPUs= \
                 of systemd)",
                list(&others)
            )));
        }
        others.unset(cpu);
        let is_only_one = others.count() == 0;
        if !is_only_one {
            set(cpu, &others)?;
        }
        Ok(HotCpu { cpu, is_only_one })
    }

    /// Moves the calling thread there for good. Threads that it starts later would be there too.
    pub(super) fn take(self) -> Result<(), ServeError> {
        let mut one = CpuSet::new();
        one.set(self.cpu);
        set(self.cpu, &one)?;
        if self.is_only_one {
            log::warn!(
                "cpu = {}: this process may run on no other CPU, so its other threads share it \
                 with the hot one",
                self.cpu
            );
        }
        Ok(())
    }
}

fn set(cpu: usize, cpus: &CpuSet) -> Result<(), ServeError> {
    sched_setaffinity(None, cpus).map_err(|error| {
        ServeError(format!(
            "cpu = {cpu}: a thread can't be kept on CPU {}: {error}; start without --cpu, or \
             look at what has changed this process's CPUs",
            list(cpus)
        ))
    })
}

/// CPUs as the kernel writes them: `0-2,5`.
fn list(cpus: &CpuSet) -> String {
    let mut ranges: Vec<String> = Vec::new();
    let mut next = 0;
    while next < CpuSet::MAX_CPU {
        let length = (next..CpuSet::MAX_CPU).take_while(|&cpu| cpus.is_set(cpu)).count();
        match length {
            0 => {}
            1 => ranges.push(next.to_string()),
            _ => ranges.push(format!("{next}-{}", next + length - 1)),
        }
        next += length + 1;
    }
    ranges.join(",")
}

#[cfg(test)]
mod tests {
    use super::{CpuSet, list};

    #[test]
    fn cpus_are_written_as_ranges() {
        for (cpus, expected) in [
            (&[][..], ""),
            (&[0], "0"),
            (&[0, 1], "0-1"),
            (&[3, 0, 1, 2, 5], "0-3,5"),
            (&[1, 1022, 1023], "1,1022-1023"),
        ] {
            let mut set = CpuSet::new();
            cpus.iter().for_each(|&cpu| set.set(cpu));
            assert_eq!(list(&set), expected);
        }
    }
}
