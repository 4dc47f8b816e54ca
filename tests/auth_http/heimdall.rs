//! A service that knows users, as heimdall speaks, and misbehaves when it is told to.
//!
//! `GET /auth/{user}` is answered with the user's credentials and what changes of them, `GET
//! /users` with the users. A thread for each connection; tests wait for what has happened with
//! `wait_until`.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::support::PATIENCE;

/// How often an open stream gives a sign of life.
const KEEP_ALIVE: Duration = Duration::from_millis(20);

/// What the token of the broker itself is.
pub const BROKER_TOKEN: &str = "BROKER-TOKEN";

/// What is wrong with the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// No answer at all.
    SlowHead,
    /// A head, and nothing behind it.
    SlowLine,
    /// A head, and signs of life only.
    OnlyAlive,
    /// The connection ends within the first line.
    CutLine,
    /// The body ends in good order within the first line.
    HalfLine,
    /// This status.
    Status(u16),
    /// A redirect to `/elsewhere`.
    Redirect,
    /// A line that is no JSON.
    Garbage,
    /// A line without an end.
    Endless,
    /// A head without an end.
    EndlessHead,
    /// The credentials of another user.
    AnotherUser,
    /// No HTTP.
    NoHttp,
    /// All as it should be, but no sign of life.
    Silent,
}

/// A user as the service knows it.
#[derive(Clone, Debug)]
pub struct Account {
    pub token: String,
    pub roles: Vec<String>,
    /// As RFC 3339 has it; empty for a permanent token.
    pub expires_at: String,
}

enum Act {
    Send(String),
    /// Sends this and breaks off.
    Cut(String),
}

#[derive(Default)]
struct State {
    accounts: HashMap<String, Account>,
    fault: Option<Fault>,
    /// Requests by target.
    requests: HashMap<String, usize>,
    /// Heads of all requests.
    heads: Vec<String>,
    /// Open streams, with their targets.
    open: HashMap<usize, (String, Sender<Act>)>,
    signs_of_life: usize,
    last_stream: usize,
    /// Streams that were ever opened, by target.
    opened: HashMap<String, usize>,
    feed: Vec<String>,
    stopped: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// The service. It ends with the test.
pub struct Heimdall {
    shared: Arc<Shared>,
    port: u16,
}

impl Heimdall {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("it listens").port();
        let shared = Arc::new(Shared::default());
        serve(listener, Arc::clone(&shared));
        Heimdall { shared, port }
    }

    pub fn url(&self, target: &str) -> String {
        format!("http://127.0.0.1:{}{target}", self.port)
    }

    /// Ends all connections and listens no more.
    pub fn stop(&self) {
        {
            let mut state = self.shared.state.lock();
            state.stopped = true;
            state.open.clear();
        }
        // The thread that accepts sees it at the next connection, and drops the listener.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        self.wait_until("the listener to be closed", |_| {
            TcpStream::connect(("127.0.0.1", self.port)).is_err()
        });
    }

    /// Listens on the same port as before.
    pub fn start_again(&self) {
        self.shared.state.lock().stopped = false;
        let until = Instant::now() + PATIENCE;
        let listener = loop {
            match TcpListener::bind(("127.0.0.1", self.port)) {
                Ok(listener) => break listener,
                Err(error) => assert!(Instant::now() < until, "the port is taken: {error}"),
            }
        };
        serve(listener, Arc::clone(&self.shared));
    }

    pub fn fail(&self, fault: Fault) {
        self.shared.state.lock().fault = Some(fault);
    }

    /// Sets a user with a permanent token, and tells open streams of it.
    pub fn set(&self, user: &str, token: &str, roles: &[&str]) {
        self.set_until(user, token, roles, "");
    }

    /// Sets a user whose token expires.
    pub fn set_until(&self, user: &str, token: &str, roles: &[&str], expires_at: &str) {
        let roles = roles.iter().map(|role| (*role).to_owned()).collect();
        let (token, expires_at) = (token.to_owned(), expires_at.to_owned());
        let account = Account { token, roles, expires_at };
        let line = line(user, &account);
        self.shared.state.lock().accounts.insert(user.to_owned(), account);
        self.act(&format!("/auth/{user}"), || Act::Send(line.clone()));
    }

    /// Forgets a user without telling anybody.
    pub fn forget(&self, user: &str) {
        self.shared.state.lock().accounts.remove(user);
    }

    /// What is told to who asks for the users, and to who asked already.
    pub fn feed(&self, user: &str, removed: bool) {
        let line = serde_json::json!({ "username": user, "removed": removed }).to_string();
        self.feed_line(&line);
    }

    /// The same with any line.
    pub fn feed_line(&self, line: &str) {
        self.shared.state.lock().feed.push(line.to_owned());
        self.act("/users", || Act::Send(line.to_owned()));
    }

    /// Forgets what the feed begins with.
    pub fn clear_feed(&self) {
        self.shared.state.lock().feed.clear();
    }

    /// Sends this on the open streams of a target and breaks them off.
    pub fn cut(&self, target: &str, last_words: &str) {
        self.act(target, || Act::Cut(last_words.to_owned()));
    }

    fn act(&self, target: &str, act: impl Fn() -> Act) {
        let state = self.shared.state.lock();
        for (_, sender) in state.open.values().filter(|(name, _)| name == target) {
            // It may have ended just now.
            drop(sender.send(act()));
        }
    }

    /// Requests so far for a target such as `/auth/ann`.
    pub fn requests(&self, target: &str) -> usize {
        self.shared.state.lock().requests.get(target).copied().unwrap_or_default()
    }

    /// Streams that are open for a target.
    pub fn open(&self, target: &str) -> usize {
        let state = self.shared.state.lock();
        state.open.values().filter(|(name, _)| name == target).count()
    }

    /// Streams that were ever opened for a target.
    pub fn opened(&self, target: &str) -> usize {
        self.shared.state.lock().opened.get(target).copied().unwrap_or_default()
    }

    /// The heads of all requests.
    pub fn heads(&self) -> String {
        self.shared.state.lock().heads.concat()
    }

    /// Signs of life that were sent.
    pub fn signs_of_life(&self) -> usize {
        self.shared.state.lock().signs_of_life
    }

    /// Waits until something is so; it is looked at whenever something happens here, and now and
    /// then.
    #[track_caller]
    pub fn wait_until(&self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !is_so(self) {
            assert!(Instant::now() < until, "awaited {what} in vain\n{}", self.heads());
            let mut state = self.shared.state.lock();
            self.shared.changed.wait_for(&mut state, Duration::from_millis(10));
        }
    }
}

impl Drop for Heimdall {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        state.stopped = true;
        state.open.clear();
        drop(state);
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

fn serve(listener: TcpListener, shared: Arc<Shared>) {
    thread::spawn(move || {
        for stream in listener.incoming() {
            if shared.state.lock().stopped {
                return;
            }
            let shared = Arc::clone(&shared);
            let Ok(stream) = stream else { continue };
            thread::spawn(move || answer(&shared, stream));
        }
    });
}

fn line(user: &str, account: &Account) -> String {
    let permanent = account.expires_at.is_empty();
    serde_json::json!({
        "username": user,
        "api_token": account.token,
        "expires_at": if permanent { "0001-01-01T00:00:00Z" } else { &account.expires_at },
        "permanent": permanent,
        // An empty list is null in the JSON of Go.
        "roles": Some(&account.roles).filter(|roles| !roles.is_empty()),
    })
    .to_string()
}

fn answer(shared: &Shared, mut stream: TcpStream) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).unwrap_or(0) == 0 {
            return;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).expect("a head is text");
    let target = head.split(' ').nth(1).expect("a request has a target").to_owned();
    let token = head
        .lines()
        .find_map(|line| line.to_lowercase().starts_with("authorization: ").then(|| &line[15..]))
        .unwrap_or_default()
        .to_owned();
    let (fault, first, is_known) = {
        let mut state = shared.state.lock();
        *state.requests.entry(target.clone()).or_default() += 1;
        state.heads.push(head);
        let fault = state.fault.unwrap_or(Fault::None);
        if target == "/users" {
            (Fault::None, state.feed.clone(), token == BROKER_TOKEN)
        } else {
            let user = target.strip_prefix("/auth/").unwrap_or_default();
            let account = state.accounts.get(user).filter(|account| account.token == token);
            (fault, account.map(|account| line(user, account)).into_iter().collect(), {
                account.is_some()
            })
        }
    };
    shared.changed.notify_all();
    if misbehave(fault, &first, &mut stream) {
        return;
    }
    if !is_known {
        drop(stream.write_all(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"));
        return;
    }
    follow(shared, &target, &first, fault != Fault::Silent, stream);
}

/// Answers in a wrong way; `false` if there is nothing wrong.
fn misbehave(fault: Fault, first: &[String], stream: &mut TcpStream) -> bool {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let first = first.first().cloned().unwrap_or_default();
    let half = &first[..first.len() / 2];
    let (text, stays) = match fault {
        Fault::None | Fault::Silent => return false,
        Fault::SlowHead => (String::new(), true),
        Fault::SlowLine => (head.to_owned(), true),
        Fault::OnlyAlive => {
            // Until the other end has enough of it.
            drop(stream.write_all(head.as_bytes()));
            while stream.write_all(chunk("\r\n").as_bytes()).is_ok() {
                thread::park_timeout(KEEP_ALIVE);
            }
            return true;
        }
        Fault::CutLine => (format!("{head}{:x}\r\n{half}", first.len()), false),
        Fault::HalfLine => (format!("{head}{}0\r\n\r\n", chunk(half)), false),
        Fault::Status(status) => {
            (format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n"), false)
        }
        Fault::Redirect => {
            let place = "Location: /elsewhere\r\nContent-Length: 0";
            (format!("HTTP/1.1 302 Found\r\n{place}\r\n\r\n"), false)
        }
        Fault::Garbage => (format!("{head}{}", chunk("<html>sorry</html>\r\n")), true),
        Fault::Endless => {
            drop(stream.write_all(head.as_bytes()));
            while stream.write_all(chunk(&"x".repeat(1000)).as_bytes()).is_ok() {}
            return true;
        }
        Fault::EndlessHead => {
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\nX-Long: "));
            while stream.write_all(&[b'x'; 1000]).is_ok() {}
            return true;
        }
        Fault::AnotherUser => {
            let line = first.replace("\"username\":\"", "\"username\":\"x");
            (format!("{head}{}", chunk(&format!("{line}\r\n"))), true)
        }
        Fault::NoHttp => ("220 mail.example.org ESMTP\r\n".to_owned(), false),
    };
    drop(stream.write_all(text.as_bytes()));
    if stays {
        // Until the other end has enough of it.
        drop(stream.read(&mut [0]));
    }
    true
}

fn follow(shared: &Shared, target: &str, first: &[String], alive: bool, mut stream: TcpStream) {
    let (sender, acts) = channel();
    let number = {
        let mut state = shared.state.lock();
        if state.stopped {
            return;
        }
        state.last_stream += 1;
        *state.opened.entry(target.to_owned()).or_default() += 1;
        let number = state.last_stream;
        state.open.insert(number, (target.to_owned(), sender));
        number
    };
    shared.changed.notify_all();
    send_all(shared, first, alive, &acts, &mut stream);
    shared.state.lock().open.remove(&number);
    shared.changed.notify_all();
}

fn send_all(
    shared: &Shared,
    first: &[String],
    alive: bool,
    acts: &Receiver<Act>,
    stream: &mut TcpStream,
) {
    let mut text = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                    Transfer-Encoding: chunked\r\n\r\n"
        .to_owned();
    text.extend(first.iter().map(|line| chunk(&format!("{line}\r\n"))));
    stream.set_nonblocking(false).expect("a socket can block");
    loop {
        if stream.write_all(text.as_bytes()).is_err() {
            return;
        }
        text = match acts.recv_timeout(KEEP_ALIVE) {
            Ok(Act::Send(line)) => chunk(&format!("{line}\r\n")),
            Ok(Act::Cut(last_words)) => {
                drop(stream.write_all(chunk(&last_words).as_bytes()));
                return;
            }
            Err(RecvTimeoutError::Timeout) if alive => {
                shared.state.lock().signs_of_life += 1;
                shared.changed.notify_all();
                chunk("\r\n")
            }
            Err(RecvTimeoutError::Timeout) => {
                if has_ended(stream) {
                    return;
                }
                String::new()
            }
            Err(RecvTimeoutError::Disconnected) => return,
        };
    }
}

/// Whether the other end has closed, when nothing is written that would tell.
fn has_ended(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).expect("a socket need not block");
    let outcome = stream.read(&mut [0]);
    stream.set_nonblocking(false).expect("a socket can block");
    !matches!(outcome, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}

fn chunk(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("{:x}\r\n{text}\r\n", text.len()) }
}
