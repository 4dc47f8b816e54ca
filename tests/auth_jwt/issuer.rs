//! Who issues the tokens of the tests: `scripts/make-tokens`, and a small server of keys.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::SystemTime;
use std::{fs, thread};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

/// Keys of all kinds, two of each.
pub struct Issuer(TempDir);

impl Issuer {
    pub fn new() -> Self {
        let issuer = Issuer(tempfile::tempdir().unwrap());
        issuer.run("keys", "");
        issuer
    }

    /// A file with the public keys that are for these algorithms.
    pub fn pem_of(&self, algorithms: &[&str]) -> PathBuf {
        let pairs = [("RS256", "rs.pem"), ("ES256", "es.pem"), ("EdDSA", "ed.pem")];
        let wanted = pairs.iter().filter(|(algorithm, _)| algorithms.contains(algorithm));
        let text: String =
            wanted.map(|(_, name)| fs::read_to_string(self.file(name)).unwrap()).collect();
        let path = self.file("keys.pem");
        fs::write(&path, text).unwrap();
        path
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn secret(&self) -> String {
        fs::read_to_string(self.file("secret")).unwrap()
    }

    /// Signs good claims with each of these, as the script reads them; those of `add` are added,
    /// and those that are null there are left out.
    pub fn sign(&self, wanted: &[Value]) -> Vec<String> {
        let line = |wanted: &Value| {
            let mut wanted = wanted.clone();
            let mut claims =
                json!({ "sub": "ann", "iss": "school", "aud": "fanal", "exp": now() + 600 });
            for (name, value) in wanted["add"].as_object().into_iter().flatten() {
                claims[name] = value.clone();
                if value.is_null() {
                    claims.as_object_mut().unwrap().remove(name);
                }
            }
            wanted["claims"] = claims;
            format!("{wanted}\n")
        };
        let tokens = self.run("sign", &wanted.iter().map(line).collect::<String>());
        let tokens: Vec<String> = tokens.lines().map(str::to_owned).collect();
        assert_eq!(tokens.len(), wanted.len());
        tokens
    }

    /// The public key of this name, as it stands in a set.
    pub fn jwk(&self, name: &str) -> Value {
        let text = fs::read_to_string(self.file(&format!("{name}.jwk.json"))).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// A set of keys.
    pub fn set(&self, names: &[&str]) -> String {
        let keys: Vec<Value> = names.iter().map(|name| self.jwk(name)).collect();
        json!({ "keys": keys }).to_string()
    }

    fn run(&self, what: &str, input: &str) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/make-tokens");
        let mut process = Command::new(&script)
            .arg(what)
            .arg(self.0.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("scripts/make-tokens can be started: it takes python3");
        process.stdin.take().unwrap().write_all(input.as_bytes()).unwrap_or_default();
        let output = process.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "scripts/make-tokens failed: run `scripts/make-tokens --prepare` once, which installs \
             PyJWT and cryptography into .venv-tokens"
        );
        String::from_utf8(output.stdout).unwrap()
    }
}

/// Answers every HTTP request with a set of keys. Ends with the test.
pub struct KeyServer {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    body: Mutex<String>,
    fails: AtomicBool,
    asked: AtomicUsize,
}

impl KeyServer {
    pub fn start(issuer: &Issuer, names: &[&str]) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let server = KeyServer { address, state: Arc::clone(&state) };
        server.publish(issuer, names);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Who asked may be gone.
                drop(state.answer(stream));
            }
        });
        server
    }

    pub fn url(&self) -> String {
        format!("http://{}/keys?for=fanal", self.address)
    }

    /// Answers with these keys from now on.
    pub fn publish(&self, issuer: &Issuer, names: &[&str]) {
        self.answer(&issuer.set(names));
    }

    /// Answers with this body from now on.
    pub fn answer(&self, body: &str) {
        body.clone_into(&mut self.state.body.lock());
    }

    /// Whether it answers 500 from now on.
    pub fn fail(&self, fails: bool) {
        self.state.fails.store(fails, Ordering::SeqCst);
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        self.state.asked.load(Ordering::SeqCst)
    }
}

impl State {
    fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
        self.asked.fetch_add(1, Ordering::SeqCst);
        let body = self.body.lock().clone();
        let fails = self.fails.load(Ordering::SeqCst);
        let status = if fails { "500 Internal Server Error" } else { "200 OK" };
        let length = body.len();
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n");
        stream.write_all(format!("{head}Connection: close\r\n\r\n{body}").as_bytes())
    }
}
