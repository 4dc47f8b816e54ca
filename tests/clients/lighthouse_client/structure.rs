//! The tree: everything that makes, names, reads, writes, links and removes.

use std::collections::BTreeMap;
use std::fmt::Debug;

use futures::future::join_all;
use lighthouse_client::protocol::{DirectoryTree, Value, Verb};
use lighthouse_client::{Error, Result, root};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::support::Server;
use crate::{Lighthouse, connect, next, picture, refusal, soon};

const NOTHING: &[&str] = root!();

/// A listing as one line, in the order of the names: directories end in a slash.
async fn listing(client: &Lighthouse, path: &[&str]) -> String {
    fn line(tree: DirectoryTree) -> String {
        let entries: BTreeMap<_, _> = tree.entries.into_iter().collect();
        let entry = |(name, below): (String, Option<DirectoryTree>)| match below {
            Some(tree) => format!("{name}/({})", line(tree)),
            None => name,
        };
        entries.into_iter().map(entry).collect::<Vec<_>>().join(" ")
    }
    line(soon(client.list(path)).await.unwrap().payload)
}

/// Requests by their verb, as programs make them for which the client has no function.
async fn perform(
    client: &Lighthouse,
    verb: Verb,
    path: &[&str],
    payload: impl Serialize,
) -> Result<Value> {
    Ok(soon(client.perform(&verb, path, payload)).await?.payload)
}

#[tokio::test]
async fn a_tree_grows_is_listed_and_goes() {
    let server = Server::start();
    let admin = connect(&server, "admin").await;
    assert_eq!(listing(&admin, NOTHING).await, "");
    soon(admin.mkdir(&["test"])).await.unwrap();
    soon(admin.mkdir(&["test", "empty"])).await.unwrap();
    soon(admin.post(&["test", "a", "nested"], "Hello world!")).await.unwrap();
    soon(admin.create(&["test", "b"])).await.unwrap();
    assert_eq!(listing(&admin, NOTHING).await, "test/(a/(nested) b empty/())");
    assert_eq!(listing(&admin, &["test", "a"]).await, "nested");
    assert_eq!(listing(&admin, &["test", "empty"]).await, "");
    soon(admin.delete(&["test", "b"])).await.unwrap();
    assert_eq!(listing(&admin, &["test"]).await, "a/(nested) empty/()");
    soon(admin.delete(&["test"])).await.unwrap();
    assert_eq!(listing(&admin, NOTHING).await, "");
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_with_a_code_and_a_reason() {
    let server = Server::start();
    let ann = connect(&server, "ann").await;
    soon(ann.create(&["a", "b"])).await.unwrap();
    assert_eq!(refusal(soon(ann.create(&["a", "b"])).await), 400);
    assert_eq!(refusal(soon(ann.mkdir(&["a"])).await), 400);
    assert_eq!(refusal(soon(ann.get::<Value>(&["a"])).await), 404);
    assert_eq!(refusal(soon(ann.get::<Value>(&["none"])).await), 404);
    assert_eq!(refusal(soon(ann.put(&["none"], 1)).await), 404);
    assert_eq!(refusal(soon(ann.post(&["a"], 1)).await), 404);
    assert_eq!(refusal(soon(ann.delete(&["none"])).await), 404);
    assert_eq!(refusal(soon(ann.list(&["a", "b"])).await), 404);
    assert_eq!(refusal(perform(&ann, Verb::Unknown("FLY".to_owned()), &["a"], ()).await), 405);
    let mut stream = Box::pin(soon(ann.stream::<_, Value>(&["none"], ())).await.unwrap());
    assert_eq!(refusal(next(&mut stream).await), 404);
    match soon(ann.put(&["none"], 1)).await {
        Err(Error::Server { message: Some(message), warnings, .. }) => {
            assert!(!message.is_empty() && !warnings.is_empty(), "{message:?}, {warnings:?}");
        }
        other => panic!("awaited a refusal with a text, got {other:?}"),
    }
}

#[tokio::test]
async fn values_come_back_as_what_they_were() {
    async fn check<P>(client: &Lighthouse, value: P)
    where
        P: Serialize + DeserializeOwned + PartialEq + Debug,
    {
        soon(client.put(&["value"], &value)).await.unwrap();
        assert_eq!(soon(client.get::<P>(&["value"])).await.unwrap().payload, value);
    }
    let server = Server::start();
    let ann = connect(&server, "ann").await;
    soon(ann.create(&["value"])).await.unwrap();
    check(&ann, ()).await;
    check(&ann, true).await;
    check(&ann, (i64::MIN, u64::MAX, -1, 0.1)).await;
    check(&ann, "ä \u{0} \u{1f5fc}".to_owned()).await;
    check(&ann, "long ".repeat(100_000)).await;
    check(&ann, vec![Some(1), None]).await;
    check(&ann, BTreeMap::from([("a".to_owned(), vec![1, 2]), (String::new(), vec![])])).await;
    check(&ann, Value::Binary(vec![0xc1; 70_000])).await;
    check(&ann, Value::Ext(-5, vec![1, 2, 3])).await;
    check(&ann, Value::Map(vec![(Value::from(1), Value::Nil), (Value::Nil, Value::from(1.5))]))
        .await;
    check(&ann, picture(9)).await;
}

#[tokio::test]
async fn the_value_of_a_source_reaches_the_destination_until_the_link_ends() {
    let server = Server::start();
    let (ann, bob) = (connect(&server, "ann").await, connect(&server, "bob").await);
    let (source, destination) = (&["test", "a", "nested"], &["test", "b"]);
    soon(ann.post(source, "Hello world!")).await.unwrap();
    soon(ann.create(destination)).await.unwrap();
    let mut stream = Box::pin(soon(bob.stream::<_, Value>(destination, ())).await.unwrap());
    assert_eq!(next(&mut stream).await.unwrap(), Value::Nil);
    soon(ann.link(source, destination)).await.unwrap();
    soon(ann.put(source, "Another string")).await.unwrap();
    assert_eq!(next(&mut stream).await.unwrap(), Value::from("Another string"));
    assert_eq!(soon(ann.get::<String>(destination)).await.unwrap().payload, "Another string");
    soon(ann.unlink(source, destination)).await.unwrap();
    soon(ann.put(source, "unheard")).await.unwrap();
    soon(ann.put(destination, "the end")).await.unwrap();
    assert_eq!(next(&mut stream).await.unwrap(), Value::from("the end"));
    assert_eq!(refusal(soon(ann.unlink(source, destination)).await), 404);
}

#[tokio::test]
async fn every_verb_can_be_sent_by_its_name() {
    let server = Server::start();
    let ann = connect(&server, "ann").await;
    let (a, b, c) = (&["dir", "a"][..], &["dir", "b"][..], &["dir", "c"][..]);
    perform(&ann, Verb::Mkdir, &["dir"], ()).await.unwrap();
    perform(&ann, Verb::Create, a, ()).await.unwrap();
    perform(&ann, Verb::Post, b, 1).await.unwrap();
    perform(&ann, Verb::Post, c, 2).await.unwrap();
    perform(&ann, Verb::Put, a, 3).await.unwrap();
    assert_eq!(perform(&ann, Verb::Get, a, ()).await.unwrap(), Value::from(3));
    let names = ["a", "b", "c"].map(|name| (Value::from(name), Value::Nil));
    let listed = perform(&ann, Verb::List, &["dir"], ()).await.unwrap();
    let Value::Map(mut listed) = listed else { panic!("LIST gave {listed:?}") };
    listed.sort_by_key(|(name, _)| name.to_string());
    assert_eq!(listed, names);

    perform(&ann, Verb::Link, b, a).await.unwrap();
    perform(&ann, Verb::Link, c, b).await.unwrap();
    assert_eq!(refusal(perform(&ann, Verb::Link, a, c).await), 409, "a cycle");
    assert_eq!(refusal(perform(&ann, Verb::Link, a, ["dir", "none"]).await), 404);
    assert_eq!(refusal(perform(&ann, Verb::Link, a, 5).await), 400, "no path");
    let mut stream = Box::pin(soon(ann.stream::<_, Value>(c, ())).await.unwrap());
    assert_eq!(next(&mut stream).await.unwrap(), Value::from(2));
    perform(&ann, Verb::Put, a, 4).await.unwrap();
    assert_eq!(next(&mut stream).await.unwrap(), Value::from(4));
    perform(&ann, Verb::Unlink, c, b).await.unwrap();
    perform(&ann, Verb::Put, a, 5).await.unwrap();
    perform(&ann, Verb::Put, c, 6).await.unwrap();
    assert_eq!(next(&mut stream).await.unwrap(), Value::from(6));
    perform(&ann, Verb::Delete, &["dir"], ()).await.unwrap();
    assert_eq!(refusal(next(&mut stream).await), 404);
    assert_eq!(refusal(perform(&ann, Verb::Stop, c, ()).await), 404, "nothing to stop");
}

#[tokio::test]
async fn hundreds_of_requests_at_once_are_all_answered() {
    const RESOURCES: i64 = 300;
    let server = Server::start();
    let ann = connect(&server, "ann").await;
    let name = |number: i64| number.to_string();
    let posts = (0..RESOURCES).map(|number| {
        let ann = &ann;
        async move { ann.post(&["many", &name(number)], number).await }
    });
    assert!(soon(join_all(posts)).await.iter().all(Result::is_ok));
    let gets = (0..RESOURCES).map(|number| {
        let ann = &ann;
        async move { ann.get::<i64>(&["many", &name(number)]).await }
    });
    let values = soon(join_all(gets)).await.into_iter().map(|answer| answer.unwrap().payload);
    assert!(values.eq(0..RESOURCES));
}
