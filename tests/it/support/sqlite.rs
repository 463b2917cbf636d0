//! Another program that has the SQLite file open: Python's own driver.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

/// Runs SQL and gives what the last statement answers, one row a line, columns parted by `|`.
pub fn sql(file: &Path, sql: &str) -> String {
    let script = "import sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=20, isolation_level=None)
for statement in filter(str.strip, sys.argv[2].split(';')):
    rows = db.execute(statement).fetchall()
for row in rows:
    print('|'.join(map(str, row)))";
    let output = Command::new("python3").args(["-c", script]).arg(file).arg(sql).output();
    let output = output.expect("python3 runs");
    assert!(
        output.status.success(),
        "{sql}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

/// Holds the file so that nobody else can write, until it is dropped.
pub struct Lock(Child);

impl Lock {
    pub fn on(file: &Path) -> Self {
        let script = "import sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=20, isolation_level=None)
db.execute('BEGIN EXCLUSIVE')
print('locked', flush=True)
sys.stdin.read()";
        let mut process = Command::new("python3")
            .args(["-c", script])
            .arg(file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 runs");
        let mut line = String::new();
        let stdout = process.stdout.take().expect("stdout is piped");
        BufReader::new(stdout).read_line(&mut line).expect("it says so");
        assert_eq!(line, "locked\n");
        Self(process)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
