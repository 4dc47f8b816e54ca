//! Several users: what is one's own, and what is another's.

use lighthouse_client::protocol::{Model, Value};
use lighthouse_client::root;

use crate::support::Server;
use crate::{Lighthouse, connect, connect_with, next, picture, refusal, soon};

const ANN: &[&str] = &["user", "ann", "model"];
const BOB: &[&str] = &["user", "bob", "model"];

/// A server that knows ann and bob, who have models, and an administrator, who made them.
async fn server_with_users() -> (Server, Lighthouse) {
    let user = |name: &str, admin: bool| {
        format!("{{ name = {name:?}, token = \"{name}-token\", admin = {admin} }}")
    };
    let users = [user("ann", false), user("bob", false), user("admin", true)].join(", ");
    let server = Server::start_with(&format!("auth.mode = \"users\"\nauth.users = [{users}]"));
    let admin = connect(&server, "admin").await;
    for path in [ANN, BOB, &["user", "ann", "input"]] {
        soon(admin.create(path)).await.unwrap();
    }
    (server, admin)
}

#[tokio::test]
async fn users_write_their_own_model_and_nobody_elses() {
    let (server, admin) = server_with_users().await;
    let (ann, bob) = (connect(&server, "ann").await, connect(&server, "bob").await);
    soon(ann.put_model(picture(1))).await.unwrap();
    soon(bob.put_model(picture(2))).await.unwrap();
    assert_eq!(refusal(soon(ann.put(BOB, picture(3))).await), 403);
    assert_eq!(refusal(soon(bob.put(ANN, picture(3))).await), 403);
    assert_eq!(soon(ann.get::<Model>(BOB)).await.unwrap().payload, Model::Frame(picture(2)));
    assert_eq!(soon(bob.get::<Model>(ANN)).await.unwrap().payload, Model::Frame(picture(1)));
    soon(admin.put(ANN, picture(4))).await.unwrap();
    assert_eq!(soon(ann.get::<Model>(ANN)).await.unwrap().payload, Model::Frame(picture(4)));
}

#[tokio::test]
async fn users_watch_each_other() {
    let (server, _admin) = server_with_users().await;
    let (ann, bob) = (connect(&server, "ann").await, connect(&server, "bob").await);
    soon(ann.put_model(picture(1))).await.unwrap();
    let mut stream = Box::pin(soon(bob.stream::<_, Model>(ANN, ())).await.unwrap());
    assert_eq!(next(&mut stream).await.unwrap(), Model::Frame(picture(1)));
    soon(ann.put_model(picture(2))).await.unwrap();
    assert_eq!(next(&mut stream).await.unwrap(), Model::Frame(picture(2)));
}

#[tokio::test]
async fn users_look_at_the_tree_and_do_not_change_it() {
    let (server, admin) = server_with_users().await;
    let ann = connect(&server, "ann").await;
    let tree = soon(ann.list(root!())).await.unwrap().payload;
    assert_eq!(tree, soon(admin.list(root!())).await.unwrap().payload);
    assert_eq!(refusal(soon(ann.create(&["user", "ann", "more"])).await), 403);
    assert_eq!(refusal(soon(ann.mkdir(&["mine"])).await), 403);
    assert_eq!(refusal(soon(ann.post(ANN, picture(1))).await), 403);
    assert_eq!(refusal(soon(ann.delete(ANN)).await), 403);
    assert_eq!(refusal(soon(ann.link(BOB, ANN)).await), 403);
    assert_eq!(refusal(soon(ann.get::<Value>(&["secret"])).await), 403);
    let mut stream = Box::pin(soon(ann.stream::<_, Value>(&["secret"], ())).await.unwrap());
    assert_eq!(refusal(next(&mut stream).await), 403);
    assert_eq!(tree, soon(admin.list(root!())).await.unwrap().payload);
}

#[tokio::test]
async fn a_stranger_is_answered_401_and_may_stay_connected() {
    let (server, _admin) = server_with_users().await;
    for (user, token) in [("ann", "bob-token"), ("ann", ""), ("nobody", "ann-token"), ("", "")] {
        let stranger = connect_with(&server, user, token).await;
        // A client may go on at frame rate without looking at what it is told.
        for _ in 0..3 {
            assert_eq!(refusal(soon(stranger.put_model(picture(1))).await), 401, "{user:?}");
        }
        assert_eq!(refusal(soon(stranger.list(root!())).await), 401, "{user:?}");
        let mut stream = Box::pin(soon(stranger.stream::<_, Model>(ANN, ())).await.unwrap());
        assert_eq!(refusal(next(&mut stream).await), 401, "{user:?}");
    }
    let ann = connect(&server, "ann").await;
    assert_eq!(soon(ann.get::<Value>(ANN)).await.unwrap().payload, Value::Nil);
}
