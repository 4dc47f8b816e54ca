//! Pictures and events, as displays, games and animations use them.

use std::time::Duration;

use futures::StreamExt;
use lighthouse_client::protocol::{
    Delta, EventSource, Frame, InputEvent, KeyEvent, KeyModifiers, LegacyInputEvent, Model,
    MouseButton, MouseEvent, Pos, Value,
};
use tokio::time::{MissedTickBehavior, interval};

use crate::support::Server;
use crate::{Lighthouse, connect, next, picture, refusal, soon};

const ANN: &[&str] = &["user", "ann", "model"];
const BOB: &[&str] = &["user", "bob", "model"];

#[tokio::test]
async fn a_picture_that_is_put_is_the_picture_that_is_read() {
    let server = Server::start();
    let ann = connect(&server, "ann").await;
    soon(ann.create(ANN)).await.unwrap();
    let answer = soon(ann.put_model(picture(7))).await.unwrap();
    assert_eq!((answer.code, answer.warnings), (200, Vec::new()));
    let read = soon(ann.get::<Model>(ANN)).await.unwrap();
    assert_eq!(read.payload, Model::Frame(picture(7)));
}

#[tokio::test]
async fn a_stream_begins_with_the_picture_there_is_and_goes_on_with_each_update() {
    let server = Server::start();
    let (ann, luna) = (connect(&server, "ann").await, connect(&server, "luna").await);
    soon(ann.post(ANN, picture(0))).await.unwrap();
    let mut stream = Box::pin(soon(ann.stream_model()).await.unwrap());
    assert_eq!(next(&mut stream).await.unwrap(), Model::Frame(picture(0)));
    soon(ann.put_model(picture(1))).await.unwrap();
    assert_eq!(next(&mut stream).await.unwrap(), Model::Frame(picture(1)));
    // A display in legacy mode writes what is pressed to the same place.
    let pressed = LegacyInputEvent { source: 3, key: Some(65), button: None, is_down: true };
    soon(luna.put(ANN, pressed)).await.unwrap();
    assert_eq!(next(&mut stream).await.unwrap(), Model::InputEvent(pressed));
    soon(luna.put(ANN, picture(2))).await.unwrap();
    assert_eq!(next(&mut stream).await.unwrap(), Model::Frame(picture(2)));
}

#[tokio::test]
async fn a_stream_that_is_dropped_is_stopped() {
    let server = Server::start_with("session.streams_max = 1");
    let ann = connect(&server, "ann").await;
    soon(ann.post(ANN, picture(0))).await.unwrap();
    let mut first = Box::pin(soon(ann.stream_model()).await.unwrap());
    next(&mut first).await.unwrap();
    assert!((400..500).contains(&refusal(open_one_more(&ann).await)), "one stream is the limit");
    drop(first);
    // The client sends STOP by itself, but not before what is sent next. Each attempt waits for an
    // answer, so the STOP is not far behind.
    for _ in 0..100 {
        if open_one_more(&ann).await.is_ok() {
            return;
        }
    }
    panic!("the dropped stream is still open");
}

/// Opens a stream for as long as it takes to see whether it can be opened.
async fn open_one_more(client: &Lighthouse) -> lighthouse_client::Result<Model> {
    let mut stream = Box::pin(soon(client.stream_model()).await?);
    next(&mut stream).await
}

#[tokio::test]
async fn pictures_at_60_hz_arrive_in_order_and_pongs_keep_a_listener_alive() {
    const PICTURES: usize = 90;
    // Room for all of them: not even a machine that stands still for a while loses one. The second
    // and a half that the pictures take is longer than a client may be silent.
    let server = Server::start_with(
        "stream.buffer = 90\nwebsocket.ping_interval = \"100ms\"\nwebsocket.pong_timeout = \"1s\"",
    );
    let (ann, bob) = (connect(&server, "ann").await, connect(&server, "bob").await);
    soon(ann.post(ANN, Frame::empty())).await.unwrap();
    let mut stream = Box::pin(soon(bob.stream::<_, Model>(ANN, ())).await.unwrap());
    assert_eq!(next(&mut stream).await.unwrap(), Model::Frame(Frame::empty()));

    let animation = async {
        let mut frames = interval(Duration::from_secs(1) / 60);
        frames.set_missed_tick_behavior(MissedTickBehavior::Burst);
        for number in 0..PICTURES {
            frames.tick().await;
            soon(ann.put_model(picture(number))).await.unwrap();
        }
    };
    let display = async {
        for number in 0..PICTURES {
            assert_eq!(next(&mut stream).await.unwrap(), Model::Frame(picture(number)), "{number}");
        }
    };
    futures::join!(animation, display);
}

#[tokio::test]
async fn pictures_that_are_put_without_waiting_are_shown_in_order_and_end_on_the_last() {
    const PICTURES: usize = 500;
    let server = Server::start();
    let (ann, bob) = (connect(&server, "ann").await, connect(&server, "bob").await);
    soon(ann.post(ANN, picture(0))).await.unwrap();
    let mut stream = Box::pin(soon(bob.stream::<_, Model>(ANN, ())).await.unwrap());
    let pictures: Vec<Model> = (0..PICTURES).map(|number| Model::Frame(picture(number))).collect();

    // More than may be in work at once: the server makes the client wait and forgets none.
    let animation = async {
        let puts = (1..PICTURES).map(|number| ann.put_model(picture(number)));
        for answer in soon(futures::future::join_all(puts)).await {
            assert_eq!(answer.unwrap().code, 200);
        }
    };
    let display = async {
        let mut shown = 0;
        while shown < PICTURES - 1 {
            let next = next(&mut stream).await.unwrap();
            let ahead = pictures[shown..].iter().position(|picture| *picture == next);
            shown += ahead.unwrap_or_else(|| panic!("after {shown} came an older picture"));
        }
    };
    futures::join!(animation, display);
}

#[tokio::test]
async fn a_resource_that_is_deleted_under_a_stream_gives_an_error_in_the_stream() {
    let server = Server::start();
    let (ann, bob) = (connect(&server, "ann").await, connect(&server, "bob").await);
    soon(ann.post(ANN, picture(0))).await.unwrap();
    let mut own = Box::pin(soon(ann.stream_model()).await.unwrap());
    let mut other = Box::pin(soon(bob.stream::<_, Model>(ANN, ())).await.unwrap());
    next(&mut own).await.unwrap();
    next(&mut other).await.unwrap();
    soon(ann.delete(&["user", "ann"])).await.unwrap();
    assert_eq!(refusal(next(&mut own).await), 404);
    assert_eq!(refusal(next(&mut other).await), 404);
    // What is made anew in the same place is another resource.
    soon(ann.post(ANN, picture(1))).await.unwrap();
    let mut again = Box::pin(soon(bob.stream::<_, Model>(ANN, ())).await.unwrap());
    assert_eq!(next(&mut again).await.unwrap(), Model::Frame(picture(1)));
}

#[tokio::test]
async fn two_clients_that_stream_each_other_play_ping_pong() {
    let server = Server::start();
    let (ann, bob) = (connect(&server, "ann").await, connect(&server, "bob").await);
    soon(ann.post(ANN, picture(0))).await.unwrap();
    soon(bob.post(BOB, picture(0))).await.unwrap();
    let mut of_bob = Box::pin(soon(ann.stream::<_, Model>(BOB, ())).await.unwrap());
    let mut of_ann = Box::pin(soon(bob.stream::<_, Model>(ANN, ())).await.unwrap());
    next(&mut of_bob).await.unwrap();
    next(&mut of_ann).await.unwrap();
    for round in 1..=100 {
        soon(ann.put_model(picture(round))).await.unwrap();
        let seen = next(&mut of_ann).await.unwrap();
        assert_eq!(seen, Model::Frame(picture(round)));
        let Model::Frame(seen) = seen else { panic!("no picture") };
        soon(bob.put_model(seen)).await.unwrap();
        assert_eq!(next(&mut of_bob).await.unwrap(), Model::Frame(picture(round)));
    }
}

#[tokio::test]
async fn what_is_pressed_on_a_display_reaches_the_game() {
    let server = Server::start();
    // The display has the credentials of the user who looks at it.
    let (game, display) = (connect(&server, "ann").await, connect(&server, "ann").await);
    let input = &["user", "ann", "input"];
    soon(game.create(input)).await.unwrap();
    // The client steps over the value there was, so the first answer has to come even if the value
    // is nil. The answer to GET says that the stream is open.
    let mut stream = Box::pin(soon(game.stream_input()).await.unwrap());
    assert_eq!(soon(game.get::<Value>(input)).await.unwrap().payload, Value::Nil);
    let key = InputEvent::Key(KeyEvent {
        source: EventSource::String("keyboard:0".to_owned()),
        down: true,
        repeat: false,
        code: "ArrowUp".to_owned(),
        modifiers: KeyModifiers { shift: true, ..KeyModifiers::default() },
    });
    let mouse = InputEvent::Mouse(MouseEvent {
        source: EventSource::Int(2),
        down: false,
        pointer_locked: false,
        button: MouseButton::Left,
        pos: Pos::new(27.5, 0.25),
        movement: Delta::new(-1.0, 0.0),
    });
    for event in [key, mouse] {
        soon(display.put_input(event.clone())).await.unwrap();
        assert_eq!(next(&mut stream).await.unwrap(), event);
    }
}

#[tokio::test]
async fn a_client_that_closes_is_gone() {
    let server = Server::start();
    let ann = connect(&server, "ann").await;
    soon(ann.post(ANN, picture(0))).await.unwrap();
    let stream = soon(ann.stream_model()).await.unwrap();
    soon(ann.close()).await.unwrap();
    let seen = tokio::task::spawn_blocking(move || server.wait_for_line(" closed: "));
    let line = soon(seen).await.unwrap();
    assert!(line.contains("the client closed it") && line.contains("user ann"), "{line}");
    drop(stream.boxed());
}

#[tokio::test]
async fn a_server_that_stops_lets_its_clients_go_and_keeps_their_pictures() {
    let mut server = Server::start();
    let ann = connect(&server, "ann").await;
    soon(ann.post(ANN, picture(5))).await.unwrap();
    let stopping = tokio::task::spawn_blocking(move || {
        server.restart();
        server
    });
    let server = soon(stopping).await.unwrap();
    let again = connect(&server, "ann").await;
    assert_eq!(soon(again.get::<Model>(ANN)).await.unwrap().payload, Model::Frame(picture(5)));
}
