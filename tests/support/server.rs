//! The real server binary as a process, with a configuration and data of its own.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;

use parking_lot::{Condvar, Mutex};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::PATIENCE;
use super::client::{Client, ClientOptions, http};
use super::program::program;

/// Settings that every test server has unless the test sets the key itself.
const DEFAULTS: &[(&str, &str)] = &[
    ("server.bind", "\"127.0.0.1\""),
    ("server.port", "0"),
    ("server.workers", "2"),
    ("snapshot.interval", "\"100ms\""),
    ("shutdown.drain", "\"1s\""),
    ("log.level", "\"debug\""),
];

/// A running server. Ends with the test.
pub struct Server {
    folder: TempDir,
    /// Variables of its environment beside those of the test.
    environment: Vec<(String, String)>,
    running: Option<Running>,
}

struct Running {
    process: Child,
    output: Arc<Output>,
    port: u16,
}

impl Server {
    /// Starts a server that lets everybody do everything.
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// Starts a server with these settings: TOML with dotted keys, one to a line, such as
    /// `stream.buffer = 4` or `auth.users = [{ name = "ann", token = "t", admin = true }]`.
    pub fn start_with(settings: &str) -> Self {
        let mut server = Self::prepare(settings);
        server.start_again();
        server
    }

    /// Writes the configuration without starting anything, for `start_again` or `run_to_end`.
    pub fn prepare(settings: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let server = Server { folder, environment: Vec::new(), running: None };
        server.configure(settings);
        server
    }

    /// Sets a variable of the environment, from the next start on.
    pub fn set_environment(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Replaces the settings. They take effect at the next start.
    pub fn configure(&self, settings: &str) {
        let is_set = |key: &str| {
            settings.lines().any(|line| line.split('=').next().is_some_and(|k| k.trim() == key))
        };
        let mut config = String::new();
        for (key, value) in DEFAULTS.iter().filter(|(key, _)| !is_set(key)) {
            config += &format!("{key} = {value}\n");
        }
        if !is_set("store.directory") {
            config += &format!("store.directory = {:?}\n", self.data());
        }
        config += settings;
        fs::write(self.config_path(), config).expect("the configuration can be written");
    }

    /// Starts a server that was stopped or killed, on the same data. The port is a new one.
    pub fn start_again(&mut self) {
        assert!(self.running.is_none(), "the server runs already");
        let (process, output) = self.spawn();
        let mut running = Running { process, output, port: 0 };
        match running.output.wait_for("the server's address", port_in) {
            Ok(port) => running.port = port,
            Err(reason) => {
                drop(running.process.kill());
                drop(running.process.wait());
                panic!("{reason}");
            }
        }
        self.running = Some(running);
    }

    /// Stops with SIGTERM if it runs, and starts on the same data.
    pub fn restart(&mut self) {
        if self.running.is_some() {
            let status = self.stop();
            assert!(status.success(), "the server ended with {status}");
        }
        self.start_again();
    }

    /// SIGTERM, and the status with which the process ends.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// SIGTERM, and what the server has counted under these names since it was started.
    pub fn stop_and_count<const N: usize>(&mut self, counters: [&str; N]) -> [u64; N] {
        self.signal(Signal::TERM);
        let line = self.wait_for_line("since the start: ");
        let (_, counts) = line.split_once("since the start: ").expect("the line that came");
        let count = |name: &str| {
            let mut pairs = counts.split(", ").filter_map(|pair| pair.split_once(' '));
            // What never happened is not in the line.
            let found = pairs.find(|(counter, _)| *counter == name);
            found.map_or(0, |(_, count)| count.parse().expect("a number"))
        };
        let counts = counters.map(count);
        let status = self.wait();
        assert!(status.success(), "the server ended with {status}");
        counts
    }

    /// SIGKILL: the end without warning.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.wait();
    }

    /// Sends a signal and does not wait for its effect.
    pub fn signal(&self, signal: Signal) {
        let process = Pid::from_child(&self.running().process);
        kill_process(process, signal).expect("a process of ours can be signalled");
    }

    /// Waits until the process ends by itself, or by a signal sent before.
    pub fn wait(&mut self) -> ExitStatus {
        let mut running = self.running.take().expect("the server runs");
        if let Err(reason) = running.output.wait_for_end() {
            drop(running.process.kill());
            drop(running.process.wait());
            panic!("{reason}");
        }
        running.process.wait().expect("a child can be waited for")
    }

    /// Runs the server until it ends by itself, for settings with which it should not start.
    /// Returns the status and all that it printed.
    pub fn run_to_end(&self) -> (ExitStatus, String) {
        self.run_to_end_with(&[])
    }

    /// The same with flags.
    pub fn run_to_end_with(&self, flags: &[&str]) -> (ExitStatus, String) {
        let (mut process, output) = self.spawn_with(flags);
        if let Err(reason) = output.wait_for_end() {
            drop(process.kill());
            drop(process.wait());
            panic!("{reason}");
        }
        (process.wait().expect("a child can be waited for"), output.text())
    }

    /// Connects a client whose requests name the user `u` with the token `t`.
    pub fn client(&self) -> Client {
        self.client_with(ClientOptions::default())
    }

    /// Connects a client for a user.
    pub fn client_as(&self, user: &str, token: &str) -> Client {
        self.client_with(ClientOptions::default().user(user, token))
    }

    /// Connects a client.
    pub fn client_with(&self, options: ClientOptions) -> Client {
        Client::connect(self.port(), options)
    }

    /// Where Lighthouse clients connect to.
    pub fn url(&self) -> String {
        format!("ws://127.0.0.1:{}/websocket", self.port())
    }

    pub fn port(&self) -> u16 {
        self.running().port
    }

    /// The port of the tcp door, which `tcp.enabled` with `tcp.port = 0` opens.
    pub fn tcp_port(&self) -> u16 {
        let found = self
            .running()
            .output
            .wait_for("the port of the tcp door", |line| port_behind(line, "tcp://127.0.0.1:"));
        found.unwrap_or_else(|reason| panic!("{reason}"))
    }

    /// Asks the admin listener, which `admin.enabled` with `admin.port = 0` opens, for a path:
    /// status and body.
    pub fn admin(&self, path: &str) -> (u16, String) {
        self.admin_with(path, "")
    }

    /// The same with further lines of the head, each of which ends with CR LF.
    pub fn admin_with(&self, path: &str, lines: &str) -> (u16, String) {
        split_answer(&http(self.admin_port(), &request("GET", path, lines)))
    }

    /// The whole answer of the admin listener, head and body.
    pub fn admin_answer(&self, path: &str, lines: &str) -> String {
        http(self.admin_port(), &request("GET", path, lines))
    }

    /// Where the admin listener is.
    pub fn admin_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.admin_port())
    }

    fn admin_port(&self) -> u16 {
        let is_there = |line: &str| port_behind(line, "http://127.0.0.1:");
        let found = self.running().output.wait_for("the port of the admin listener", is_there);
        found.unwrap_or_else(|reason| panic!("{reason}"))
    }

    /// Asks the API at the socket in the data directory for something below `/v1`: status and
    /// answer.
    pub fn api(&self, method: &str, what: &str) -> (u16, String) {
        let socket = self.data().join("fanal.control");
        let mut stream = UnixStream::connect(socket).expect("the server has a control socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        let request = request(method, &format!("/v1/{what}"), "");
        stream.write_all(request.as_bytes()).expect("a request can be sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer comes");
        split_answer(&String::from_utf8_lossy(&answer))
    }

    /// The number of this name in the metrics of the admin listener.
    pub fn metric(&self, name: &str) -> u64 {
        let (_, text) = self.admin("/metrics");
        let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let found = found.unwrap_or_else(|| panic!("no {name} in\n{text}"));
        found.parse().expect("a whole number")
    }

    pub fn pid(&self) -> u32 {
        self.running().process.id()
    }

    /// Resident memory in KiB.
    pub fn rss_kb(&self) -> u64 {
        self.memory_kb("VmRSS:")
    }

    /// The most that was ever resident at a time, in KiB.
    pub fn peak_rss_kb(&self) -> u64 {
        self.memory_kb("VmHWM:")
    }

    fn memory_kb(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))
            .expect("the server runs and the system has /proc");
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let number = line.and_then(|rest| rest.split_whitespace().next());
        number.expect("a process that lives has memory").parse().expect("a number of KiB")
    }

    /// Waits until the server has printed a line that contains this, and returns the line.
    pub fn wait_for_line(&self, part: &str) -> String {
        let found = self.running().output.wait_for(&format!("a line with {part:?}"), |line| {
            line.contains(part).then(|| line.to_owned())
        });
        found.unwrap_or_else(|reason| panic!("{reason}"))
    }

    /// Waits until the server has printed so many lines that contain this.
    pub fn wait_for_lines(&self, part: &str, count: usize) {
        let mut seen = 0;
        let found = self.running().output.wait_for(&format!("{count} x {part:?}"), |line| {
            seen += usize::from(line.contains(part));
            (seen == count).then_some(())
        });
        found.unwrap_or_else(|reason| panic!("{reason}"));
    }

    /// All that the server has printed since it was started last.
    pub fn output(&self) -> String {
        self.running().output.text()
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn config_path(&self) -> PathBuf {
        self.folder().join("fanal.toml")
    }

    /// Where the server keeps its state.
    pub fn data(&self) -> PathBuf {
        self.folder().join("data")
    }

    /// The newest snapshot of a server with `store.engine = "file"`.
    pub fn snapshot_path(&self) -> PathBuf {
        self.data().join("fanal.snapshot")
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("the server runs")
    }

    fn spawn(&self) -> (Child, Arc<Output>) {
        self.spawn_with(&[])
    }

    fn spawn_with(&self, flags: &[&str]) -> (Child, Arc<Output>) {
        let mut command = Command::new(program());
        command.arg("--config").arg(self.config_path()).args(flags).current_dir(self.folder());
        // Settings of whoever runs the tests are not the test's.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("FANAL_") {
                command.env_remove(name);
            }
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("the server binary can be started");
        let output = Arc::new(Output::default());
        output.collect(process.stdout.take().expect("stdout is piped"));
        output.collect(process.stderr.take().expect("stderr is piped"));
        (process, output)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut running) = self.running.take() {
            drop(running.process.kill());
            drop(running.process.wait());
            if thread::panicking() {
                eprintln!("--- the server printed:\n{}---", running.output.text());
            }
        }
    }
}

/// The WebSocket port in a line that says where the server listens.
fn port_in(line: &str) -> Option<u16> {
    port_behind(line, "ws://127.0.0.1:").or_else(|| port_behind(line, "wss://127.0.0.1:"))
}

fn port_behind(line: &str, scheme: &str) -> Option<u16> {
    let after = line.split(scheme).nth(1)?;
    after.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// What a process printed, read by a thread per pipe so that the process never waits for us.
#[derive(Default)]
struct Output {
    state: Mutex<Printed>,
    changed: Condvar,
}

#[derive(Default)]
struct Printed {
    lines: Vec<String>,
    pipes_open: usize,
}

impl Output {
    fn collect(self: &Arc<Self>, pipe: impl Read + Send + 'static) {
        self.state.lock().pipes_open += 1;
        let output = Arc::clone(self);
        thread::spawn(move || {
            for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
                output.state.lock().lines.push(String::from_utf8_lossy(&line).into_owned());
                output.changed.notify_all();
            }
            output.state.lock().pipes_open -= 1;
            output.changed.notify_all();
        });
    }

    /// The first line in which `look` finds something.
    fn wait_for<T>(
        &self,
        what: &str,
        mut look: impl FnMut(&str) -> Option<T>,
    ) -> Result<T, String> {
        let mut state = self.state.lock();
        let mut seen = 0;
        let mut found = None;
        self.changed.wait_while_for(
            &mut state,
            |printed| {
                found = printed.lines[seen..].iter().find_map(|line| look(line));
                seen = printed.lines.len();
                found.is_none() && printed.pipes_open > 0
            },
            PATIENCE,
        );
        found.ok_or_else(|| {
            let end = if state.pipes_open == 0 { "the server ended before" } else { "in vain" };
            format!("awaited {what}, {end}; it printed:\n{}", state.lines.join("\n"))
        })
    }

    /// A process that ends closes its pipes.
    fn wait_for_end(&self) -> Result<(), String> {
        let mut state = self.state.lock();
        let waited = self.changed.wait_while_for(&mut state, |p| p.pipes_open > 0, PATIENCE);
        if waited.timed_out() {
            let lines = state.lines.join("\n");
            return Err(format!("awaited the end of the server in vain; it printed:\n{lines}"));
        }
        Ok(())
    }

    fn text(&self) -> String {
        let lines = self.state.lock();
        lines.lines.iter().map(|line| format!("{line}\n")).collect()
    }
}

fn request(method: &str, path: &str, lines: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{lines}\r\n")
}

/// Status and body of an answer.
fn split_answer(answer: &str) -> (u16, String) {
    let (head, body) = answer.split_once("\r\n\r\n").expect("a whole HTTP answer");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.expect("a status"), body.to_owned())
}
