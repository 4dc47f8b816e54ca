//! `fanal tune`: settings of a running server.

use std::io::{self, IsTerminal};

use actix_web::http::Method;

use super::table::{self, Side, table};
use super::{Server, say};
use crate::admin::answers::{Tunable, Tuned};
use crate::control::escaped;

/// What is to be done with which setting.
pub enum Tune<'a> {
    /// Shows all, or those that are not as the defaults have them.
    List { changed: bool },
    /// Shows one.
    Show(&'a str),
    /// Changes one.
    Set(&'a str, &'a str),
    /// Gives one back the value that it has without.
    Unset(&'a str),
}

/// Does it.
pub fn run(server: &Server, tune: &Tune<'_>) -> anyhow::Result<()> {
    match tune {
        Tune::List { changed } => list(server, *changed),
        Tune::Show(key) => show(server, key),
        Tune::Set(key, value) => {
            let what = format!("tunables?key={}&value={}", escaped(key), escaped(value));
            done(&server.ask(&Method::PUT, &what)?.read()?);
            Ok(())
        }
        Tune::Unset(key) => {
            let what = format!("tunables?key={}", escaped(key));
            done(&server.ask(&Method::DELETE, &what)?.read()?);
            Ok(())
        }
    }
}

fn done(tuned: &Tuned) {
    let Tuned { key, value, remark, .. } = tuned;
    say(&match remark {
        Some(remark) => format!("{key} = {value}, {remark}\n"),
        None => format!("{key} = {value}\n"),
    });
}

fn list(server: &Server, changed: bool) -> anyhow::Result<()> {
    let all: Vec<Tunable> = server.get("tunables")?;
    let shown = all.into_iter().filter(|tunable| !changed || tunable.origin != "default");
    let rows: Vec<[String; 4]> = shown
        .map(|tunable| {
            let Tunable { key, value, origin, effect, in_effect, .. } = tunable;
            let effect = match in_effect {
                Some(now) => format!("{effect}; now {now}"),
                None => effect,
            };
            [key, table::printable(&value), effect, table::printable(&origin)]
        })
        .collect();
    let titles = ["setting", "value", "a change counts for", "comes from"];
    say(&table(Some(&titles), &[Side::Left; 4], &rows));
    if !changed && io::stdout().is_terminal() {
        say("\n`fanal tune SETTING` says what one is, `fanal tune SETTING VALUE` changes it\n");
    }
    Ok(())
}

fn show(server: &Server, key: &str) -> anyhow::Result<()> {
    let all: Vec<Tunable> = server.get("tunables")?;
    let Some(found) = all.into_iter().find(|tunable| tunable.key == key) else {
        anyhow::bail!(
            "{key:?} is no setting that can be changed while it runs; `fanal tune` lists them"
        );
    };
    let mut rows = vec![
        ["value", &found.value],
        ["comes from", &found.origin],
        ["a change counts for", &found.effect],
    ];
    if let Some(now) = &found.in_effect {
        rows.push(["until then", now]);
    }
    let rows: Vec<[String; 2]> =
        rows.into_iter().map(|[name, text]| [name.to_owned(), table::printable(text)]).collect();
    say(&format!("{}\n\n", found.description));
    say(&table(None, &[Side::Left; 2], &rows));
    Ok(())
}
