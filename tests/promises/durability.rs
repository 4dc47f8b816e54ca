//! Durability: after an acknowledged structural change, or the snapshot interval after a change of
//! a value, a kill without warning loses nothing of it.

use crate::model::{Model, Path};
use crate::support::{Client, Random, Request, Server, array, int, nil};

const KILLS: u64 = 20;

/// Requests in one write before each kill.
const REQUESTS: usize = 25;

const VERBS: &[&str] = &[
    "CREATE", "CREATE", "POST", "POST", "POST", "MKDIR", "DELETE", "LINK", "LINK", "LINK", "UNLINK",
];

const PATHS: &[&[&str]] =
    &[&["a"], &["b"], &["c"], &["d", "x"], &["d", "y"], &["d", "e", "z"], &["d"], &["a", "below"]];

fn owned(path: &[&str]) -> Path {
    path.iter().map(|name| (*name).to_owned()).collect()
}

/// A random change, and the model after it. Values of resources that exist are left alone: how
/// soon a change of a value is on disk is another matter.
fn random_step(random: &mut Random, model: &Model, number: usize) -> (Request, Model, i64) {
    loop {
        let verb = random.one_of(VERBS);
        let (path, source) = (random.one_of(PATHS), random.one_of(PATHS));
        if verb == "POST" && model.value(&owned(path)).is_some() {
            continue;
        }
        let payl = if verb.ends_with("LINK") { array(source) } else { int(number as i64) };
        let mut after = model.clone();
        let outcome = after.apply(verb, &owned(path), &owned(source), &payl);
        return (Request::new(verb, path).payl(payl), after, outcome.rnum);
    }
}

/// Everything that clients can find out about the state of the server.
fn state_of(client: &mut Client) -> Model {
    let mut model = Model::default();
    let mut open = vec![(Path::new(), client.expect("LIST", &[], nil(), 200).value())];
    while let Some((path, listing)) = open.pop() {
        for (name, below) in listing.as_map().expect("a listing is a map") {
            let mut path = path.clone();
            path.push(name.as_str().expect("names are strings").to_owned());
            let names: Vec<&str> = path.iter().map(String::as_str).collect();
            let is_resource = below.is_nil();
            let value = is_resource.then(|| client.expect("GET", &names, nil(), 200).payl);
            model.nodes.insert(path.clone(), value);
            if !is_resource {
                open.push((path, below.clone()));
            }
        }
    }
    // A link shows in that it can be ended; it is made again at once.
    for source in PATHS {
        for destination in PATHS {
            if client.request("UNLINK", destination, array(source)).rnum == 200 {
                client.expect("LINK", destination, array(source), 200);
                model.links.insert((owned(source), owned(destination)));
            }
        }
    }
    model
}

#[track_caller]
fn check(settings: &str, seed: u64) {
    let mut server = Server::start_with(settings);
    let mut random = Random::new(seed);
    let mut model = Model::default();
    for kill in 0..KILLS {
        let mut client = server.client();
        let mut states = vec![model];
        let mut requests = Vec::new();
        let mut expected = Vec::new();
        for number in 0..REQUESTS {
            let (request, after, rnum) = random_step(&mut random, &states[number], number);
            requests.push(request);
            states.push(after);
            expected.push(rnum);
        }
        client.send_all(&requests);
        // Killed right behind one of the answers, while the next changes are on their way.
        let acknowledged = random.below(REQUESTS + 1);
        for rnum in &expected[..acknowledged] {
            assert_eq!(client.next_answer().rnum, *rnum);
        }
        server.kill();
        server.start_again();
        let found = state_of(&mut server.client());
        // What was not acknowledged may be there, from the first change to some later one.
        let possible = &states[acknowledged..];
        assert!(
            possible.contains(&found),
            "after kill {kill} there is {found:#?}\nbut acknowledged was {:#?}",
            possible[0]
        );
        model = found;
    }
}

#[test]
fn acknowledged_changes_are_there_after_each_of_20_kills() {
    check("", 1);
}

#[test]
fn acknowledged_changes_are_there_after_each_of_20_kills_among_many_snapshots() {
    check("snapshot.interval = \"10ms\"", 2);
}

#[test]
fn a_value_is_there_after_a_kill_once_two_saves_have_been_made() {
    let mut server = Server::start_with("snapshot.interval = \"50ms\"");
    let mut client = server.client();
    client.expect("POST", &["x"], int(0), 201);
    client.expect("POST", &["other"], int(0), 201);
    for value in 1..=10 {
        client.expect("PUT", &["x"], int(value), 200);
        // The first of the saves may have been begun before the PUT, the second was not. There are
        // saves only if there are changes.
        let saves = || server.output().matches("] saved ").count();
        let before = saves();
        while saves() < before + 2 {
            client.expect("PUT", &["other"], int(value), 200);
        }
        server.kill();
        server.start_again();
        client = server.client();
        assert_eq!(client.expect("GET", &["x"], nil(), 200).number(), value);
    }
}

#[test]
fn values_are_there_after_a_stop_without_waiting_for_a_snapshot() {
    let mut server = Server::start_with("snapshot.interval = \"1h\"");
    for value in 1..=3 {
        let mut client = server.client();
        for name in ["x", "y", "z"] {
            client.request("POST", &[name], int(value));
        }
        server.restart();
        let mut client = server.client();
        for name in ["x", "y", "z"] {
            assert_eq!(client.expect("GET", &[name], nil(), 200).number(), value);
        }
    }
}
