//! What the system lets this process have, where it tells so in files.

use std::{fs, path::Path};

/// How many descriptors may be open: the soft limit.
pub fn descriptors() -> Option<usize> {
    soft_limit(&fs::read_to_string("/proc/self/limits").ok()?)
}

/// How many bytes of memory there are: those of the machine, or fewer where a control group limits them, as a container's
/// does.
pub fn memory() -> Option<u64> {
    let read = |path: &Path| fs::read_to_string(path).ok();
    let whole = read(Path::new("/proc/meminfo")).and_then(|text| total(&text));
    let groups = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
    group_limit(&groups, read).into_iter().chain(whole).min()
}

fn soft_limit(limits: &str) -> Option<usize> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

/// The least that any of the process's groups, or of the groups around them, may have. A container sees its own group as the
/// root, whatever it is called outside.
fn group_limit(groups: &str, read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let limits = groups.lines().filter_map(|line| {
        let (_, line) = line.split_once(':')?;
        let (controllers, group) = line.split_once(':')?;
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|one| one == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => return None,
        };
        let around = Path::new(group.trim_start_matches('/')).ancestors();
        // Where there is no limit, one of the files says `max`, and the other a number beyond all memory.
        let told = around.filter_map(|group| read(&Path::new(root).join(group).join(file))?.trim().parse().ok());
        told.min()
    });
    limits.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What they are called, and what they hold.
    type Files = &'static [(&'static str, &'static str)];

    #[test]
    fn the_soft_limit_is_the_first_number() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max processes             63000                63000                processes \n\
                      Max open files            1024                 524288               files     \n";
        assert_eq!(soft_limit(limits), Some(1024));
        assert_eq!(
            soft_limit("Max open files            unlimited            unlimited            files"),
            None
        );
        assert_eq!(soft_limit(""), None);
    }

    #[test]
    fn the_machine_has_memory() {
        assert_eq!(
            total("MemTotal:        2048 kB\nMemFree:         1024 kB\n"),
            Some(2 << 20)
        );
        assert_eq!(total("MemFree: 1024 kB"), None);
        assert_eq!(total(""), None);
        assert!(memory().is_none_or(|bytes| bytes > 16 << 20));
    }

    #[test]
    fn the_least_limit_of_a_group_and_those_around_it_counts() {
        let systemd = "0::/system.slice/heare-auth.service\n";
        let old = "12:cpu,cpuacct:/docker/1f\n4:memory:/docker/1f\n1:name=systemd:/docker/1f\n";
        let table: [(&str, Files, Option<u64>); 7] = [
            ("", &[("/sys/fs/cgroup/memory.max", "7\n")], None),
            ("0::/\n", &[("/sys/fs/cgroup/memory.max", "67108864\n")], Some(64 << 20)),
            ("0::/\n", &[("/sys/fs/cgroup/memory.max", "max\n")], None),
            (
                systemd,
                &[
                    ("/sys/fs/cgroup/system.slice/heare-auth.service/memory.max", "max\n"),
                    ("/sys/fs/cgroup/system.slice/memory.max", "1024\n"),
                ],
                Some(1024),
            ),
            (
                systemd,
                &[
                    ("/sys/fs/cgroup/system.slice/heare-auth.service/memory.max", "512\n"),
                    ("/sys/fs/cgroup/system.slice/memory.max", "1024\n"),
                ],
                Some(512),
            ),
            (
                old,
                &[("/sys/fs/cgroup/memory/docker/1f/memory.limit_in_bytes", "2048\n")],
                Some(2048),
            ),
            (
                old,
                &[("/sys/fs/cgroup/memory/memory.limit_in_bytes", "4096\n")],
                Some(4096),
            ),
        ];
        for (groups, files, expected) in table {
            let read = |path: &Path| {
                let found = files.iter().find(|(name, _)| Path::new(name) == path);
                found.map(|(_, text)| (*text).to_owned())
            };
            assert_eq!(group_limit(groups, read), expected, "{groups:?} {files:?}");
        }
    }
}
