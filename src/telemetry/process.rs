//! What the kernel says of this process, by the names that all programs give it in Prometheus. Elsewhere than on Linux
//! there is nothing to read and nothing is said.

use std::{
    fmt::{self, Write as _},
    fs,
};

/// The kernel tells times in hundredths of a second, whatever its own clock.
const TICKS: f64 = 100.0;

const METRICS: [(&str, &str, &str); 6] = [
    ("process_cpu_seconds_total", "counter", "Processor time that was used."),
    ("process_resident_memory_bytes", "gauge", "Memory that is resident."),
    ("process_virtual_memory_bytes", "gauge", "Memory that is mapped."),
    ("process_open_fds", "gauge", "Descriptors that are open."),
    ("process_max_fds", "gauge", "Descriptors that may be open."),
    (
        "process_start_time_seconds",
        "gauge",
        "When the process began, since 1970.",
    ),
];

/// In the order of `METRICS`; what cannot be read is left out.
pub fn text() -> String {
    let status = read("/proc/self/status");
    let stat = read("/proc/self/stat");
    let values = [
        ticks(&stat, 13)
            .zip(ticks(&stat, 14))
            .map(|(user, system)| user + system),
        kibibytes(&status, "VmRSS:"),
        kibibytes(&status, "VmSize:"),
        open_descriptors(),
        after(&read("/proc/self/limits"), "Max open files"),
        after(&read("/proc/stat"), "btime")
            .zip(ticks(&stat, 21))
            .map(|(boot, since)| boot + since),
    ];
    let mut text = String::new();
    for ((name, kind, help), value) in METRICS.into_iter().zip(values) {
        if let Some(value) = value {
            write(&mut text, name, kind, help, value).expect("a text takes every write");
        }
    }
    text
}

fn write(text: &mut String, name: &str, kind: &str, help: &str, value: f64) -> fmt::Result {
    writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}")
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The field with this number, the first being 0. The second is a name in brackets, which may hold anything.
fn ticks(stat: &str, field: usize) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let ticks: f64 = fields.split(' ').nth(field - 2)?.parse().ok()?;
    Some(ticks / TICKS)
}

fn kibibytes(status: &str, name: &str) -> Option<f64> {
    after(status, name).map(|kibibytes| kibibytes * 1024.0)
}

/// The number behind a name that begins a line.
fn after(text: &str, name: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

fn open_descriptors() -> Option<f64> {
    const DIRECTORY: &str = "/proc/self/fd";
    let told = fs::metadata(DIRECTORY).ok()?.len();
    // Without the one by which they are listed.
    let count = counted(told, || Some(fs::read_dir(DIRECTORY).ok()?.count().saturating_sub(1)))?;
    u32::try_from(count).ok().map(f64::from)
}

/// Since Linux 6.2 the directory's size is their number. Listing them takes longer the more there are.
fn counted(told: u64, list: impl FnOnce() -> Option<usize>) -> Option<usize> {
    if told == 0 { list() } else { usize::try_from(told).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_blanks_moves_no_field() {
        let stat = "12 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 1 0 4200 99";
        assert_eq!(
            (ticks(stat, 13), ticks(stat, 14), ticks(stat, 21)),
            (Some(2.5), Some(0.5), Some(42.0))
        );
        assert_eq!(ticks("", 13), None);
    }

    #[test]
    fn descriptors_are_listed_only_where_the_kernel_does_not_tell_their_number() {
        assert_eq!(counted(7, || panic!("they are listed")), Some(7));
        assert_eq!(counted(0, || Some(3)), Some(3));
    }

    #[test]
    fn numbers_are_those_behind_the_name() {
        let status = "VmPeak:\t  900 kB\nVmRSS:\t    12 kB\n";
        assert_eq!(kibibytes(status, "VmRSS:"), Some(12288.0));
        assert_eq!(
            after(
                "Max open files            1024      4096      files\n",
                "Max open files"
            ),
            Some(1024.0)
        );
        assert_eq!(
            after("Max open files            unlimited      4096\n", "Max open files"),
            None
        );
        assert_eq!(kibibytes("", "VmRSS:"), None);
    }
}
