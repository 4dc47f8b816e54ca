//! Tunables as resources: `$fanal/config/<section>/<key>` has the value of each, and is written to
//! change it. Nil gives it back the value that it has without.

use std::collections::HashMap;

use actix_web::rt::task::spawn_blocking;
use fanal_actors::ports::{Steered, Steering};
use fanal_actors::{Broker, Class, Path, Provision, Refusal, Rnum, Value, Verb};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::{Done, Refused, Tunables, Wish};
use crate::config::{TunableKey, tunable_keys};

/// Where they are.
const PLACE: [&str; 2] = ["$fanal", "config"];

/// The largest value that is looked at, in bytes.
const VALUE_BYTES_MAX: usize = 64 * 1024;

/// How deep a value is decoded, as the decoder counts; a setting is a list at most.
const DEPTH_MAX: usize = 16;

/// How many values may wait to be looked at.
const LETTERS_MAX: usize = 256;

/// A value that was written to a path below the place, by its names from there on.
struct Letter {
    names: Vec<String>,
    value: Value,
    answer: Steered,
}

/// Takes what clients write. A connection has one letter on its way at a time.
struct Desk(mpsc::Sender<Letter>);

impl Steering for Desk {
    fn owns(&self, verb: Verb, path: &Path) -> bool {
        let mut names = path.names().iter().map(|name| &**name);
        match (names.next(), names.next()) {
            (Some(first), Some(second)) => [first, second] == PLACE,
            (Some(first), None) => verb == Verb::Delete && first == PLACE[0],
            _ => false,
        }
    }

    fn put(&self, path: &Path, value: Value, answer: Steered) {
        let names = path.names().iter().skip(PLACE.len()).map(|name| name.to_string()).collect();
        if let Err(error) = self.0.try_send(Letter { names, value, answer }) {
            let (Letter { answer, .. }, why) = match error {
                TrySendError::Full(letter) => (letter, "too many settings are being changed"),
                TrySendError::Closed(letter) => (letter, "the server stops"),
            };
            answer(Err(Refusal::new(Rnum::ServiceUnavailable, why)));
        }
    }
}

/// Makes the resources with their values, and has them read and written until the broker stops.
/// Must be called on a thread that has actors, before a door opens: nobody writes them as if they
/// were resources like any other.
pub async fn offer(broker: Broker, tunables: Tunables) {
    let (sender, letters) = mpsc::channel(LETTERS_MAX);
    broker.steer(Box::new(Desk(sender)));
    for key in tunable_keys() {
        if broker.inspector().resource(&place(key)).is_some() {
            continue;
        }
        let made = broker.provision(Provision::Create(place(key), Some(Class::Live))).await;
        if made != Rnum::Created {
            log::warn!("tunables: {} was not made: {}", place(key), made.text());
        }
    }
    let mut shown = HashMap::new();
    show(&broker, &tunables, &mut shown).await;
    actix_web::rt::spawn(serve(broker, tunables, letters, shown));
}

/// Removes the resources of an earlier start: what is written there would change nothing.
pub async fn withdraw(broker: &Broker) {
    let is_there = |key| broker.inspector().resource(&place(key)).is_some();
    if tunable_keys().any(is_there) {
        broker.provision(Provision::Delete(Path::new(PLACE))).await;
    }
}

async fn serve(
    broker: Broker,
    tunables: Tunables,
    mut letters: mpsc::Receiver<Letter>,
    mut shown: HashMap<&'static str, String>,
) {
    let mut changes = tunables.changes();
    loop {
        tokio::select! {
            letter = letters.recv() => {
                let Some(letter) = letter else { return };
                let Letter { names, value, answer } = letter;
                let changed = tunables.clone();
                let outcome = spawn_blocking(move || change(&changed, &names, &value)).await;
                // Who is answered finds the new value there.
                show(&broker, &tunables, &mut shown).await;
                match outcome {
                    Ok(outcome) => answer(outcome),
                    Err(error) => log::error!("tunables: {error}"),
                }
            }
            changed = changes.changed() => {
                if changed.is_err() {
                    return;
                }
                show(&broker, &tunables, &mut shown).await;
            }
        }
    }
}

fn place(key: TunableKey) -> Path {
    Path::new(PLACE.into_iter().chain(key.names()))
}

/// Writes what is not there yet.
async fn show(broker: &Broker, tunables: &Tunables, shown: &mut HashMap<&'static str, String>) {
    for view in tunables.list() {
        if shown.get(view.key) == Some(&view.value) {
            continue;
        }
        let Some(key) = TunableKey::find(view.key) else { continue };
        let written = match encode(&view.value) {
            Some(value) => broker.write(&place(key), value).await,
            None => false,
        };
        if written {
            shown.insert(view.key, view.value);
        } else {
            log::warn!("tunables: {} does not have its value {}", place(key), view.value);
        }
    }
}

/// TOML as MessagePack.
fn encode(toml: &str) -> Option<Value> {
    let table: toml::Table = toml::from_str(&format!("value = {toml}")).ok()?;
    let bytes = rmp_serde::to_vec_named(table.get("value")?).ok()?;
    Some(Value::copy_from(&bytes))
}

fn change(tunables: &Tunables, names: &[String], value: &Value) -> Result<Option<String>, Refusal> {
    let [section, key] = names else {
        return Err(Refusal::new(Rnum::NotFound, "there is no setting here"));
    };
    let bad = |text| Refusal::new(Rnum::BadRequest, text);
    let wish = decode(value.as_bytes()).ok_or_else(|| {
        bad("a setting is true or false, a number, a text, a list of texts, or nil".to_owned())
    })?;
    match tunables.change(&format!("{section}.{key}"), &wish) {
        Ok(Done { remark, .. }) => Ok(remark),
        Err(Refused::Unknown(_)) => Err(Refusal::new(Rnum::NotFound, "there is no setting here")),
        Err(Refused::Invalid(text)) => Err(bad(text)),
        Err(Refused::Held(text)) => Err(Refusal::new(Rnum::Conflict, text)),
        Err(Refused::Failed(text)) => Err(Refusal::new(Rnum::InsufficientStorage, text)),
    }
}

/// MessagePack as a wish.
fn decode(mut bytes: &[u8]) -> Option<Wish> {
    if bytes.len() > VALUE_BYTES_MAX {
        return None;
    }
    let value = rmpv::decode::read_value_with_max_depth(&mut bytes, DEPTH_MAX).ok()?;
    let text = |value: &rmpv::Value| value.as_str().map(str::to_owned);
    Some(match value {
        rmpv::Value::Nil => Wish::Unset,
        rmpv::Value::Boolean(flag) => Wish::Typed(flag.to_string()),
        rmpv::Value::Integer(number) => Wish::Typed(number.to_string()),
        rmpv::Value::String(_) => Wish::Text(text(&value)?),
        rmpv::Value::Array(items) => {
            let items: Option<Vec<toml::Value>> =
                items.iter().map(|item| text(item).map(toml::Value::String)).collect();
            Wish::Typed(toml::Value::Array(items?).to_string())
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &rmpv::Value, expected: Option<Wish>) {
        let mut bytes = Vec::new();
        rmpv::encode::write_value(&mut bytes, value).unwrap();
        assert_eq!(decode(&bytes), expected, "{value}");
    }

    #[test]
    fn a_value_becomes_a_wish() {
        check(&rmpv::Value::Nil, Some(Wish::Unset));
        check(&true.into(), Some(Wish::Typed("true".into())));
        check(&32.into(), Some(Wish::Typed("32".into())));
        check(&(-1).into(), Some(Wish::Typed("-1".into())));
        check(&"25s".into(), Some(Wish::Text("25s".into())));
        let list = rmpv::Value::Array(vec!["a/*".into(), "\"".into()]);
        check(&list, Some(Wish::Typed("[\"a/*\", '\"']".into())));
        check(&1.5.into(), None);
        check(&rmpv::Value::Binary(vec![1]), None);
        check(&rmpv::Value::Array(vec![1.into()]), None);
        check(&rmpv::Value::Map(vec![]), None);
        assert_eq!(decode(&vec![0xc0; VALUE_BYTES_MAX + 1]), None);
        assert_eq!(decode(&[]), None);
    }

    #[test]
    fn a_setting_is_shown_as_what_it_is() {
        for (toml, bytes) in [
            ("32", &b"\x20"[..]),
            ("true", b"\xc3"),
            ("\"25s\"", b"\xa325s"),
            ("[\"a\", \"b\"]", b"\x92\xa1a\xa1b"),
        ] {
            assert_eq!(encode(toml).unwrap().as_bytes(), bytes, "{toml}");
        }
        assert!(encode("= 1").is_none());
    }
}
