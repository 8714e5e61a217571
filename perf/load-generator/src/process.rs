//! What the operating system says about the measured process.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use serde::Serialize;

/// Counters of one thread at one moment.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Thread {
    /// Time on a CPU, nanoseconds (`schedstat`; exact, where `stat` counts ticks).
    pub cpu_ns: u64,
    /// Of it in user mode, nanoseconds, in ticks of 10 ms.
    pub user_ns: u64,
    /// Of it in the kernel, nanoseconds, in ticks of 10 ms.
    pub system_ns: u64,
    /// Times it gave up its CPU by waiting.
    pub voluntary_switches: u64,
    /// Times its CPU was taken away.
    pub involuntary_switches: u64,
}

/// A process at one moment.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Snapshot {
    /// Threads by name; threads of one name are added up.
    pub threads: BTreeMap<String, Thread>,
    /// Resident memory, bytes.
    pub resident_bytes: u64,
    /// Of it shared (the log's pages are), bytes.
    pub resident_shared_bytes: u64,
}

impl Snapshot {
    /// Reads `/proc/PID`.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn of(pid: u32) -> io::Result<Self> {
        let mut snapshot = Self::default();
        for task in fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
            let path = task.path();
            // A thread may end between the listing and the look.
            let Ok(thread) = thread(&path) else { continue };
            let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
            let sum = snapshot.threads.entry(name.trim().to_owned()).or_default();
            sum.cpu_ns += thread.cpu_ns;
            sum.user_ns += thread.user_ns;
            sum.system_ns += thread.system_ns;
            sum.voluntary_switches += thread.voluntary_switches;
            sum.involuntary_switches += thread.involuntary_switches;
        }
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let field = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
        };
        snapshot.resident_bytes = field("VmRSS:") * 1024;
        snapshot.resident_shared_bytes = (field("RssFile:") + field("RssShmem:")) * 1024;
        Ok(snapshot)
    }

    /// What has passed since `before`; memory stays as it is now.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let mut difference = self.clone();
        for (name, thread) in &mut difference.threads {
            let Some(old) = before.threads.get(name) else { continue };
            thread.cpu_ns = thread.cpu_ns.saturating_sub(old.cpu_ns);
            thread.user_ns = thread.user_ns.saturating_sub(old.user_ns);
            thread.system_ns = thread.system_ns.saturating_sub(old.system_ns);
            thread.voluntary_switches -= old.voluntary_switches.min(thread.voluntary_switches);
            thread.involuntary_switches -=
                old.involuntary_switches.min(thread.involuntary_switches);
        }
        difference
    }

    /// CPU time of all threads, nanoseconds.
    pub fn cpu_ns(&self) -> u64 {
        self.threads.values().map(|thread| thread.cpu_ns).sum()
    }

    /// The share of that which was spent in user mode, by ticks; unknown when none passed.
    pub fn user_share(&self) -> Option<f64> {
        let user: u64 = self.threads.values().map(|thread| thread.user_ns).sum();
        let system: u64 = self.threads.values().map(|thread| thread.system_ns).sum();
        (user + system > 0).then(|| user as f64 / (user + system) as f64)
    }

    /// Context switches of all threads: by waiting, and by losing the CPU.
    pub fn switches(&self) -> (u64, u64) {
        let voluntary = self.threads.values().map(|thread| thread.voluntary_switches).sum();
        let involuntary = self.threads.values().map(|thread| thread.involuntary_switches).sum();
        (voluntary, involuntary)
    }
}

fn thread(path: &std::path::Path) -> io::Result<Thread> {
    /// Nanoseconds of a tick: the kernel's USER_HZ is 100 on every Linux.
    const TICK_NS: u64 = 10_000_000;
    let number = |text: Option<&str>| text.and_then(|text| text.parse().ok()).unwrap_or(0u64);
    let schedstat = fs::read_to_string(path.join("schedstat"))?;
    let stat = fs::read_to_string(path.join("stat"))?;
    let status = fs::read_to_string(path.join("status"))?;
    // The name stands in parentheses and may hold spaces; the numbers follow the last of them.
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let mut fields = after_name.split_whitespace().skip(11);
    let switches =
        |name: &str| number(status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim));
    Ok(Thread {
        cpu_ns: number(schedstat.split_whitespace().next()),
        user_ns: number(fields.next()) * TICK_NS,
        system_ns: number(fields.next()) * TICK_NS,
        voluntary_switches: switches("voluntary_ctxt_switches:"),
        involuntary_switches: switches("nonvoluntary_ctxt_switches:"),
    })
}

/// The machine, for the head of a report.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    cpu: String,
    cpus: usize,
    kernel: String,
    hypervisor: bool,
}

impl Machine {
    /// Reads `/proc`.
    pub fn describe() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let field = |name: &str| {
            let line = cpuinfo.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split(':').nth(1)).unwrap_or("unknown").trim().to_owned()
        };
        Self {
            cpu: field("model name"),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")
                .unwrap_or_default()
                .trim()
                .to_owned(),
            hypervisor: field("flags").split(' ').any(|flag| flag == "hypervisor"),
        }
    }

    /// In a line.
    pub fn text(&self) -> String {
        let kind = if self.hypervisor { "virtual machine" } else { "machine" };
        format!("{}, {} CPUs ({kind}), Linux {}", self.cpu, self.cpus, self.kernel)
    }
}

#[cfg(test)]
mod tests {
    use super::Snapshot;

    #[test]
    fn time_in_user_mode_and_in_the_kernel_is_not_told_apart() {
        let before = Snapshot::of(std::process::id()).unwrap();
        let mut sum = 0u64;
        // Until the kernel has counted a tick, however long that takes here.
        let spent = loop {
            sum = (0..100_000u64).fold(sum, |sum, each| std::hint::black_box(sum ^ each));
            let spent = Snapshot::of(std::process::id()).unwrap().since(&before);
            if let Some(share) = spent.user_share() {
                assert!((0.0..=1.0).contains(&share));
                break spent;
            }
        };
        assert!(spent.cpu_ns() > 0);
        assert!(spent.resident_bytes > 0);
    }
}
