//! How much memory this process may have, and whether it is nearly used up.
//!
//! Source: the kernel's `Documentation/admin-guide/cgroup-v2.rst` (`memory.high`, `memory.max`), proc(5). systemd sets the
//! ceiling by `MemoryHigh=` and `MemoryMax=`; past the first the kernel slows the process down, past the second it kills it,
//! and with it the streams of everybody. So nobody new comes in shortly before the lower of the two, while those who are
//! here go on. Invariant: without a ceiling nothing is read.

use std::{
    cell::Cell,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::limits;

const GROUPS: &str = "/sys/fs/cgroup";
/// Memory does not grow much in between: a look costs some microseconds.
const LOOK: Duration = Duration::from_millis(500);

/// The ceiling, and the last look.
#[derive(Debug, Default)]
pub struct Ceiling {
    bytes: Option<u64>,
    looked: Cell<Option<(Instant, bool)>>,
}

impl Ceiling {
    /// That of this process's control group, or of one above it, whichever is lower.
    pub fn of_this_process() -> Ceiling {
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Ceiling { bytes: lowest(Path::new(GROUPS), &groups), looked: Cell::default() }
    }

    /// In bytes, if there is one.
    pub fn bytes(&self) -> Option<u64> {
        self.bytes
    }

    /// Whether so little is left that nobody new should come in. Memory that is free already goes back to the system first.
    pub fn is_near(&self) -> bool {
        let Some(bytes) = self.bytes else { return false };
        if let Some((at, was)) = self.looked.get()
            && at.elapsed() < LOOK
        {
            return was;
        }
        let is_short = || used().is_some_and(|used| used > bytes / 100 * limits::MEMORY_PERCENT);
        let mut short = is_short();
        if short {
            super::system::trim_memory();
            short = is_short();
        }
        self.looked.set(Some((Instant::now(), short)));
        short
    }
}

/// The lowest bound on the way from the process's group to the root; `None` if there is none, or no cgroup v2.
fn lowest(root: &Path, groups: &str) -> Option<u64> {
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let own: PathBuf = root.join(group);
    let bounds = own.ancestors().take_while(|folder| folder.starts_with(root)).flat_map(|folder| {
        ["memory.high", "memory.max"].map(|name| fs::read_to_string(folder.join(name)).unwrap_or_default())
    });
    // "max" is no number.
    bounds.filter_map(|bound| bound.trim().parse().ok()).min()
}

/// Bytes that are ours alone: resident without what is mapped from files.
fn used() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let mut pages = statm.split(' ').skip(1).map(|field| field.parse::<u64>().unwrap_or(0));
    let (resident, shared) = (pages.next()?, pages.next()?);
    Some(resident.saturating_sub(shared) * rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_bound_above_the_process_counts() {
        let root = std::env::temp_dir().join(format!("lampone-cgroup-{}", std::process::id()));
        let own = root.join("system.slice/lampone.service");
        fs::create_dir_all(&own).unwrap();
        let groups = "0::/system.slice/lampone.service\n";
        assert_eq!(lowest(&root, groups), None);
        fs::write(own.join("memory.high"), "max\n").unwrap();
        fs::write(own.join("memory.max"), "268435456\n").unwrap();
        assert_eq!(lowest(&root, groups), Some(268_435_456));
        fs::write(root.join("system.slice/memory.high"), "1048576\n").unwrap();
        assert_eq!(lowest(&root, groups), Some(1_048_576));
        assert_eq!(lowest(&root, "1:cpu:/x\n"), None);
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn near_the_ceiling_nobody_new_comes_in() {
        let near = |bytes| Ceiling { bytes, looked: Cell::default() }.is_near();
        assert!(near(Some(1)) && !near(Some(u64::MAX)) && !near(None));
        assert!(used().is_some_and(|used| used > 0));
    }
}
