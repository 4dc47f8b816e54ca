//! Places: what is made in the tree for each user, and deleted with it.

use std::collections::VecDeque;

use fanal_actors::{Broker, Path, Provision, Rnum};

use crate::config::USER_PLACEHOLDER;

/// Changes that are on their way at a time; they share the waits for the disk.
const AT_A_TIME: usize = 64;

/// Where each user has places, and what is yet to be made and deleted of them.
pub struct Places {
    patterns: Vec<String>,
    name_bytes_max: usize,
    /// Two for each user and path at most: one to delete it and one to make it again.
    waiting: VecDeque<Provision>,
    failed: VecDeque<Provision>,
}

impl Places {
    /// By the patterns of `auth.user_paths`. One without the name of the user is no place of a
    /// user: the first one to go would take it from all.
    pub fn new(user_paths: &[String], name_bytes_max: usize) -> Self {
        let is_own = |path: &&String| {
            path.split('/').any(|name| name == USER_PLACEHOLDER) && !path.contains('*')
        };
        let patterns = user_paths.iter().filter(is_own).cloned().collect();
        Places { patterns, name_bytes_max, waiting: VecDeque::new(), failed: VecDeque::new() }
    }

    /// The places of a user; none if its name cannot be that of a place.
    pub fn of<'a>(&'a self, user: &'a str) -> impl Iterator<Item = Path> + use<'a> {
        // Names that begin with `$` belong to the broker.
        let good = !user.is_empty()
            && user.len() <= self.name_bytes_max
            && !user.contains(['/', '\0'])
            && !user.starts_with('$');
        let patterns = self.patterns.iter().filter(move |_| good);
        patterns.map(move |pattern| {
            let name = |name: &str| {
                if name == USER_PLACEHOLDER { user.to_owned() } else { name.to_owned() }
            };
            Path::new(pattern.split('/').map(name))
        })
    }

    /// What follows from users that are gone and others that are new, after what could not be done
    /// the last time.
    pub fn plan(&mut self, gone: &[&str], appeared: &[&str]) {
        let delete = gone.iter().flat_map(|user| self.of(user)).map(Provision::Delete);
        let create = appeared
            .iter()
            .flat_map(|user| self.of(user))
            .map(|path| Provision::Create(path, None));
        let new: Vec<Provision> = delete.chain(create).collect();
        self.waiting.extend(new);
    }

    /// What could not be done is tried again.
    pub fn try_again(&mut self) {
        self.failed.append(&mut self.waiting);
        std::mem::swap(&mut self.failed, &mut self.waiting);
    }

    /// Whether nothing is to be done now.
    pub fn are_done(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Does a part of what is to be done.
    pub async fn work(&mut self, broker: &Broker) {
        let count = self.waiting.len().min(AT_A_TIME);
        let batch: Vec<Provision> = self.waiting.drain(..count).collect();
        let running: Vec<_> = batch
            .iter()
            .map(|provision| {
                let (broker, provision) = (broker.clone(), provision.clone());
                actix_web::rt::spawn(async move { broker.provision(provision).await })
            })
            .collect();
        for (provision, running) in batch.into_iter().zip(running) {
            let outcome = running.await.unwrap_or(Rnum::InternalServerError);
            if !is_done(outcome, &provision) {
                self.failed.push_back(provision);
            }
        }
        if self.waiting.is_empty() && self.failed.is_empty() {
            log::debug!("auth.user_paths: the places of users are as they should be");
        } else if self.waiting.is_empty() {
            log::warn!(
                "auth.user_paths: {} places of users could not be made or deleted; they are tried \
                 again",
                self.failed.len()
            );
        }
    }
}

/// Whether it is as it should be; it may have been so before.
fn is_done(outcome: Rnum, provision: &Provision) -> bool {
    match provision {
        Provision::Create(..) => !matches!(
            outcome,
            Rnum::InternalServerError | Rnum::ServiceUnavailable | Rnum::InsufficientStorage
        ),
        Provision::Delete(_) => {
            !matches!(outcome, Rnum::InternalServerError | Rnum::ServiceUnavailable)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(patterns: &[&str], user: &str, expected: &[&str]) {
        let patterns: Vec<String> = patterns.iter().map(|text| (*text).to_owned()).collect();
        let places = Places::new(&patterns, 8);
        let paths: Vec<String> = places.of(user).map(|path| path.names().join("/")).collect();
        assert_eq!(paths, expected, "{user}");
    }

    #[test]
    fn each_user_with_a_good_name_has_its_places() {
        let both = ["user/{user}/model", "user/{user}/input"];
        check(&both, "ann", &["user/ann/model", "user/ann/input"]);
        check(&both, "*", &["user/*/model", "user/*/input"]);
        for bad in ["", "a/b", "a\0", "$fanal", "123456789"] {
            check(&both, bad, &[]);
        }
    }

    #[test]
    fn what_is_not_a_users_own_is_no_place() {
        check(&["shared", "user/*/model", "x{user}/y", "{user}"], "ann", &["ann"]);
    }

    #[test]
    fn what_failed_comes_before_what_is_new() {
        let mut places = Places::new(&["{user}".to_owned()], 8);
        let path = |name: &str| Path::new([name]);
        places.failed.push_back(Provision::Create(path("ann"), None));
        places.plan(&["ann"], &["bob"]);
        places.try_again();
        let expected = [
            Provision::Create(path("ann"), None),
            Provision::Delete(path("ann")),
            Provision::Create(path("bob"), None),
        ];
        assert_eq!(Vec::from(places.waiting), expected);
    }
}
