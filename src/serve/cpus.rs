//! Which CPU the hot thread runs on, and that no other thread of the service does.
//!
//! A thread inherits the mask of the one that starts it. So the main thread is on the hot CPU from
//! the start, which also places the memory that it touches first near that CPU, and leaves it for as
//! long as it starts others.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::ServeError;

/// The CPU of the hot thread and those of all others, where they are kept apart.
pub(super) struct Cpus(Option<Split>);

struct Split {
    cpu: usize,
    hot: CpuSet,
    /// Empty when this process may run on no other.
    others: CpuSet,
}

impl Cpus {
    /// Moves the calling thread to `cpu`, if one is given: it is the hot one.
    ///
    /// # Errors
    /// When this process may not run there.
    pub(super) fn split(cpu: Option<usize>) -> Result<Cpus, ServeError> {
        let Some(cpu) = cpu else { return Ok(Cpus(None)) };
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
        let mut hot = CpuSet::new();
        hot.set(cpu);
        set(cpu, &hot)?;
        Ok(Cpus(Some(Split { cpu, hot, others })))
    }

    /// Starts helper threads from the hot one: they and all that they start keep off its CPU.
    ///
    /// # Errors
    /// When the system does not let a thread change its CPUs.
    pub(super) fn beside<T>(&self, start: impl FnOnce() -> T) -> Result<T, ServeError> {
        let Some(Split { cpu, hot, others }) = self.0.as_ref().filter(|it| it.others.count() > 0)
        else {
            return Ok(start());
        };
        set(*cpu, others)?;
        let started = start();
        set(*cpu, hot)?;
        Ok(started)
    }

    /// Tells when there was nothing to keep apart.
    pub(super) fn tell(&self) {
        if let Some(split) = self.0.as_ref().filter(|it| it.others.count() == 0) {
            log::warn!(
                "cpu = {}: this process may run on no other CPU, so its other threads share it \
                 with the hot one",
                split.cpu
            );
        }
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
