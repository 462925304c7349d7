//! What the kernel says about the server's process. Source: proc(5).

use std::fs;

/// A reading; differences of two readings are what a phase cost.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gauge {
    /// User and system time of all threads in milliseconds, in steps of 10.
    pub cpu_ms: u64,
    /// Voluntary context switches of the threads that live now.
    pub switches: u64,
    /// Bytes that the process caused to be written to storage.
    pub written: u64,
    /// Resident memory in KiB.
    pub rss_kib: u64,
}

impl Gauge {
    /// Reads the process, if one is to be; what cannot be read stays 0.
    pub fn of(pid: Option<u32>) -> Option<Gauge> {
        pid.map(Gauge::read)
    }

    /// What was spent since `before`, if it was read.
    pub fn spent(pid: Option<u32>, before: Option<Gauge>) -> Option<Gauge> {
        Some(Gauge::of(pid)?.since(&before?))
    }

    fn read(pid: u32) -> Gauge {
        let file = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
        let stat = file("stat");
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
        let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
        let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        let switches = threads
            .map(|t| fs::read_to_string(t.path().join("status")).unwrap_or_default())
            .map(|status| field(&status, "voluntary_ctxt_switches:"))
            .sum();
        Gauge {
            // USER_HZ is 100 on every Linux that this runs on.
            cpu_ms: (ticks(11) + ticks(12)) * 10,
            switches,
            written: field(&file("io"), "write_bytes:"),
            rss_kib: field(&file("status"), "VmRSS:"),
        }
    }

    /// What was spent since `before`, and the memory now.
    pub fn since(&self, before: &Gauge) -> Gauge {
        Gauge {
            cpu_ms: self.cpu_ms.saturating_sub(before.cpu_ms),
            switches: self.switches.saturating_sub(before.switches),
            written: self.written.saturating_sub(before.written),
            rss_kib: self.rss_kib,
        }
    }

    /// As members of a JSON object.
    pub fn json(&self) -> String {
        let Gauge { cpu_ms, switches, written, rss_kib } = self;
        format!("\"cpu_ms\":{cpu_ms},\"switches\":{switches},\"written\":{written},\"rss_kib\":{rss_kib}")
    }
}

fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|l| l.strip_prefix(name)).unwrap_or("");
    line.split_whitespace().next().and_then(|v| v.parse().ok()).unwrap_or(0)
}
