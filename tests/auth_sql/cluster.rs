//! A PostgreSQL of the test's own: in a temporary folder, on a socket in it, gone with the test.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;

/// The superuser of the cluster, and who runs it if the tests are run by root, which it refuses.
const USER: &str = "postgres";

/// A cluster of databases. Ends with the test, also by a panic, and also if the test is killed.
pub struct Cluster {
    folder: TempDir,
    programs: PathBuf,
    settings: Vec<String>,
    process: Option<Child>,
}

impl Cluster {
    /// A cluster with the table that the provider asks for unless it is told otherwise.
    pub fn start() -> Self {
        let mut cluster = Self::prepare();
        cluster.start_again();
        cluster.make_table();
        cluster
    }

    /// Makes a cluster without starting it.
    pub fn prepare() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        fs::set_permissions(folder.path(), Permissions::from_mode(0o711)).expect("it is ours");
        let cluster = Cluster { folder, programs: programs(), settings: Vec::new(), process: None };
        fs::create_dir(cluster.data()).expect("the folder is ours");
        cluster.give_away(&cluster.data());
        let output = cluster
            .command("initdb")
            .args(["--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C", "--username"])
            .arg(USER)
            .arg("--pgdata")
            .arg(cluster.data())
            .output()
            .expect("initdb can be run");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        cluster
    }

    /// A setting of `postgresql.conf` from the next start on.
    pub fn set(&mut self, setting: &str) {
        self.settings.push(setting.to_owned());
    }

    /// Writes a file that the database may read and nobody else.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.data().join(name);
        fs::write(&path, text).expect("the folder is there");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("it is ours");
        self.give_away(&path);
        path
    }

    /// Starts the cluster, and waits until it takes connections.
    pub fn start_again(&mut self) {
        assert!(self.process.is_none(), "the cluster runs already");
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data()).arg("-k").arg(self.data());
        // Nothing of it needs to survive a fall of the machine.
        for setting in ["listen_addresses=", "fsync=off", "max_connections=20"] {
            command.arg("-c").arg(setting);
        }
        for setting in &self.settings {
            command.arg("-c").arg(setting);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("postgres can be run");
        let mut said = BufReader::new(process.stderr.take().expect("it is piped"));
        self.process = Some(process);
        let mut all = String::new();
        while !all.contains("ready to accept connections") {
            let read = said.read_line(&mut all).expect("it can be read");
            assert!(read > 0, "postgres has ended before it was ready:\n{all}");
        }
        // A pipe that nobody reads stops it some day.
        thread::spawn(move || said.lines().for_each(drop));
    }

    /// Stops the cluster at once. It may be started again.
    pub fn stop(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        // Fast, not smart: it does not wait for those that are connected.
        let _ = kill_process(Pid::from_child(&process), Signal::INT);
        drop(process.wait());
    }

    /// The table `users`, with nobody in it.
    pub fn make_table(&self) {
        self.run("create table users (name text, token text, roles text[], expires timestamptz)");
    }

    /// Runs SQL.
    #[track_caller]
    pub fn run(&self, sql: &str) {
        let output = self
            .command("psql")
            .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-U", USER, "-d", USER, "-c", sql, "-h"])
            .arg(self.data())
            .output()
            .expect("psql can be run");
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Where the provider finds it, over the socket.
    pub fn url(&self) -> String {
        let folder = self.data().display().to_string().replace('/', "%2F");
        format!("postgresql://{USER}@{folder}/{USER}")
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("cluster")
    }

    /// A program of PostgreSQL, as a user that it accepts, which ends with the test.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if geteuid().is_root() {
            command.args(["--reuid", USER, "--regid", USER, "--init-groups"]);
        }
        command.arg("--").arg(self.programs.join(program)).current_dir(self.folder.path());
        command.env("LC_ALL", "C");
        command
    }

    /// Gives a file to who runs the cluster.
    fn give_away(&self, path: &Path) {
        if geteuid().is_root() {
            let user = uzers::get_user_by_name(USER)
                .unwrap_or_else(|| panic!("there is no user {USER}: {MISSING}"));
            let (user, group) = (user.uid(), user.primary_group_id());
            chown(path, Some(user), Some(group)).expect("root may give files away");
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
    }
}

const MISSING: &str =
    "this test needs PostgreSQL: run scripts/test, which installs Debian's package postgresql";

/// The folder of the programs, which Debian keeps out of everybody's way.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    folders.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    folders.splice(0..0, std::env::split_paths(&path));
    let is_whole = |folder: &PathBuf| {
        ["initdb", "postgres", "psql"].iter().all(|name| folder.join(name).exists())
    };
    folders.into_iter().rev().find(is_whole).unwrap_or_else(|| panic!("{MISSING}"))
}
