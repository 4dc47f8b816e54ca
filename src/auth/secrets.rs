//! Secrets: how tokens and passwords are kept and compared.
//!
//! Tokens are long and random, so that nobody can try enough of them: a fast hash keeps them.
//! Passwords are neither, so theirs is slow (Argon2) and is computed on a thread of its own, one at
//! a time, which bounds what strangers can make the server spend on it.

use std::collections::HashMap;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::task::Waker;

use argon2::Argon2;
use argon2::password_hash::{PasswordHash, PasswordVerifier};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Passwords that wait for the thread; further ones are answered 503.
const WAITING_MAX: usize = 128;

/// Those who wait for the same password at a time; further ones ask again.
const WAITERS_MAX: usize = 1024;

/// Passwords whose outcome is remembered, right and wrong ones. Wrong ones are many.
const RIGHT_MAX: usize = 10_000;
const WRONG_MAX: usize = 1000;

/// A hash as good as any other, against which unknown users are tried, so that they take as long as
/// known ones. No password has it.
pub const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5bm9ib2R5$\
                          AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// What proves a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Secret {
    /// The SHA-256 of a token.
    Sha256([u8; 32]),
    /// The Argon2 hash of a password, as a PHC string.
    Argon2(String),
}

/// The SHA-256 of a text.
pub fn sha256(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// A SHA-256 that is written in 64 hexadecimal digits.
pub fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 || !digits.is_ascii() {
        return None;
    }
    let mut hash = [0; 32];
    for (byte, pair) in hash.iter_mut().zip(digits.chunks(2)) {
        let pair = std::str::from_utf8(pair).ok()?;
        *byte = u8::from_str_radix(pair, 16).ok().filter(|_| !pair.contains('+'))?;
    }
    Some(hash)
}

/// A hash in hexadecimal digits.
pub fn to_hex(hash: &[u8; 32]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Compares in a time that tells nothing of where the first difference is.
pub fn is_same(one: &[u8; 32], other: &[u8; 32]) -> bool {
    one.ct_eq(other).into()
}

/// Whether a text is a hash that [`Passwords`] can check.
pub fn is_argon2(phc: &str) -> bool {
    phc.starts_with("$argon2") && PasswordHash::new(phc).is_ok_and(|hash| hash.hash.is_some())
}

/// What is known of a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// It is that of the hash.
    Right,
    /// It is not.
    Wrong,
    /// It is being found out; the waiter is woken then.
    Pending,
    /// Too many are being found out.
    Busy,
}

/// Checks passwords. Clones share what they know and the thread.
#[derive(Clone)]
pub struct Passwords(Arc<Shared>);

#[derive(Default)]
struct Shared {
    known: Mutex<Known>,
    thread: OnceLock<SyncSender<Job>>,
}

#[derive(Default)]
struct Known {
    right: HashMap<[u8; 32], ()>,
    wrong: HashMap<[u8; 32], ()>,
    waiting: HashMap<[u8; 32], Vec<Waker>>,
}

struct Job {
    key: [u8; 32],
    phc: String,
    password: String,
}

impl Passwords {
    /// The one thread of this process for passwords, which is started when it is needed.
    pub fn shared() -> Self {
        static SHARED: OnceLock<Passwords> = OnceLock::new();
        SHARED.get_or_init(|| Passwords(Arc::default())).clone()
    }

    /// Whether a password is that of a hash.
    pub fn check(&self, phc: &str, password: &str, waiter: &Waker) -> Judged {
        let key = sha256(&format!("{phc}\0{password}"));
        let mut known = self.0.known.lock();
        if known.right.contains_key(&key) {
            return Judged::Right;
        }
        if known.wrong.contains_key(&key) {
            return Judged::Wrong;
        }
        if let Some(waiting) = known.waiting.get_mut(&key) {
            if waiting.len() >= WAITERS_MAX {
                return Judged::Busy;
            }
            waiting.push(waiter.clone());
            return Judged::Pending;
        }
        let job = Job { key, phc: phc.to_owned(), password: password.to_owned() };
        if self.thread().is_none_or(|thread| thread.try_send(job).is_err()) {
            return Judged::Busy;
        }
        known.waiting.insert(key, vec![waiter.clone()]);
        Judged::Pending
    }

    fn thread(&self) -> Option<&SyncSender<Job>> {
        if self.0.thread.get().is_none() {
            let (sender, jobs) = sync_channel::<Job>(WAITING_MAX);
            let passwords = self.clone();
            let work = move || {
                for job in jobs {
                    passwords.finish(&job.key, is_right(&job.phc, &job.password));
                }
            };
            std::thread::Builder::new().name("passwords".into()).spawn(work).ok()?;
            // Called under the lock of what is known, so there is no other.
            let _ = self.0.thread.set(sender);
        }
        self.0.thread.get()
    }

    fn finish(&self, key: &[u8; 32], right: bool) {
        let mut guard = self.0.known.lock();
        let known = &mut *guard;
        let (map, max) =
            if right { (&mut known.right, RIGHT_MAX) } else { (&mut known.wrong, WRONG_MAX) };
        if map.len() >= max {
            map.clear();
        }
        map.insert(*key, ());
        let waiting = known.waiting.remove(key).unwrap_or_default();
        drop(guard);
        waiting.into_iter().for_each(Waker::wake);
    }
}

/// Takes tens of milliseconds.
fn is_right(phc: &str, password: &str) -> bool {
    PasswordHash::new(phc)
        .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

#[cfg(test)]
mod tests {
    use argon2::password_hash::{PasswordHasher, SaltString};

    use super::*;

    #[test]
    fn hashes_are_written_in_hexadecimal() {
        let hash = sha256("abc");
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(to_hex(&hash), text);
        assert_eq!(from_hex(text), Some(hash));
        assert_eq!(from_hex(&text.to_uppercase()), Some(hash));
        assert!(is_same(&hash, &hash) && !is_same(&hash, &sha256("abd")));
        for wrong in [&text[..63], &format!("{text}0"), &text.replace('b', "g"), "", "+a"] {
            assert_eq!(from_hex(wrong), None, "{wrong}");
        }
        assert_eq!(from_hex(&format!("+{}", &text[1..])), None);
    }

    #[test]
    fn passwords_are_checked_in_the_background() {
        let salt = SaltString::encode_b64(b"saltsaltsalt").unwrap();
        let hash = Argon2::default().hash_password(b"right", &salt).unwrap().to_string();
        assert!(is_argon2(&hash) && is_argon2(NOBODY));
        assert!(!is_argon2("$argon2id$") && !is_argon2("plain"));
        let passwords = Passwords::shared();
        for (password, expected) in [("right", Judged::Right), ("wrong", Judged::Wrong)] {
            let (sender, receiver) = std::sync::mpsc::sync_channel(1);
            let waiter = Waker::from(Arc::new(Woken(sender)));
            assert_eq!(passwords.check(&hash, password, &waiter), Judged::Pending);
            receiver.recv_timeout(std::time::Duration::from_secs(60)).unwrap();
            assert_eq!(passwords.check(&hash, password, &waiter), expected);
        }
    }

    struct Woken(std::sync::mpsc::SyncSender<()>);

    impl std::task::Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.send(()).unwrap();
        }
    }
}
