//! `fanal top`: what a running server does, on a terminal, again each second.

use std::collections::VecDeque;
use std::io::{self, IsTerminal};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::Duration;

use anyhow::bail;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, HorizontalAlignment, Layout};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Block, Cell, Row, Sparkline, Table};
use ratatui::{DefaultTerminal, Frame};

use super::Server;
use super::table::{bytes, printable};
use crate::admin::answers::{Resource, Status, Stream};
use crate::clock::Clock;

/// How often the keyboard is looked at.
const KEYS: Duration = Duration::from_millis(100);

/// Between two looks, where the answer itself does not take a second.
const PAUSE: Duration = Duration::from_secs(1);

/// Looks that the curve shows.
const HISTORY: usize = 200;

/// Resources that are asked for.
const RESOURCES: usize = 60;

/// Streams that are asked for.
const STREAMS: usize = 8;

/// What the resources are ordered by, the key for it, and how the API calls it.
const ORDERS: [(char, &str); 4] =
    [('r', "rate"), ('s', "streams"), ('b', "bytes"), ('u', "updates")];

/// Shows it until a key ends it.
///
/// # Errors
/// If there is no terminal, or the server does not answer.
pub fn run(server: &Server) -> anyhow::Result<()> {
    if !io::stdout().is_terminal() {
        bail!("top needs a terminal; `fanal status` prints the numbers once");
    }
    // A server that is not there is said before the screen is taken.
    let status: Status = server.get("status")?;
    let (orders, asked) = sync_channel(8);
    let (looks, looked) = sync_channel(1);
    let mut screen = Screen::new(server.name.clone(), status);
    std::thread::scope(|scope| {
        scope.spawn(move || look(server, &asked, &looks));
        let mut terminal = ratatui::try_init()?;
        let outcome = show(&mut terminal, &mut screen, &orders, &looked);
        ratatui::restore();
        drop((orders, looked));
        outcome
    })
}

/// What was seen at one moment.
struct Look {
    status: Status,
    /// Since the one before.
    time: Duration,
    resources: Vec<Resource>,
    slow: Vec<Stream>,
}

/// Looks again and again, until nobody wants to know.
fn look(server: &Server, orders: &Receiver<usize>, looks: &SyncSender<anyhow::Result<Look>>) {
    let mut order = 0;
    let mut last = Clock::now();
    loop {
        loop {
            match orders.try_recv() {
                Ok(wanted) => order = wanted,
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return,
            }
        }
        let by = ORDERS.get(order).map_or("rate", |(_, name)| name);
        let seen = (|| {
            let resources = server.get(&format!("resources?by={by}&top={RESOURCES}"))?;
            let slow = server.get(&format!("streams/slow?top={STREAMS}"))?;
            let status = server.get("status")?;
            let now = Clock::now();
            let time = now.saturating_duration_since(last);
            last = now;
            Ok(Look { status, time, resources, slow })
        })();
        let failed = seen.is_err();
        if looks.send(seen).is_err() || failed {
            return;
        }
        if by != "rate"
            && let Ok(wanted) = orders.recv_timeout(PAUSE)
        {
            order = wanted;
        }
    }
}

fn show(
    terminal: &mut DefaultTerminal,
    screen: &mut Screen,
    orders: &SyncSender<usize>,
    looks: &Receiver<anyhow::Result<Look>>,
) -> anyhow::Result<()> {
    loop {
        while let Ok(look) = looks.try_recv() {
            screen.take(look?);
        }
        terminal.draw(|frame| screen.draw(frame))?;
        if !event::poll(KEYS)? {
            continue;
        }
        let Event::Key(key) = event::read()? else { continue };
        if key.kind != KeyEventKind::Press {
            continue;
        }
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return Ok(()),
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Ok(()),
            KeyCode::Char(pressed) => {
                if let Some(order) = ORDERS.iter().position(|(key, _)| *key == pressed) {
                    screen.order = order;
                    screen.resources.clear();
                    // A full queue has newer wishes.
                    let _ = orders.try_send(order);
                }
            }
            _ => {}
        }
    }
}

/// What is on the screen.
struct Screen {
    name: String,
    status: Status,
    order: usize,
    rates: Vec<(&'static str, u64)>,
    delivered: VecDeque<u64>,
    resources: Vec<Resource>,
    slow: Vec<Stream>,
}

/// What is shown of the counters, and their names.
const RATES: [(&str, &str); 4] = [
    ("requests", "requests"),
    ("updates in", "updates_in"),
    ("delivered", "updates_delivered"),
    ("skipped", "updates_skipped"),
];

impl Screen {
    fn new(name: String, status: Status) -> Self {
        Screen {
            name,
            status,
            order: 0,
            rates: Vec::new(),
            delivered: VecDeque::new(),
            resources: Vec::new(),
            slow: Vec::new(),
        }
    }

    fn take(&mut self, look: Look) {
        let millis = u64::try_from(look.time.as_millis()).unwrap_or(u64::MAX).max(1);
        let rate = |counter: &str| {
            let of = |status: &Status| status.counters.get(counter).copied().unwrap_or_default();
            let more = of(&look.status).saturating_sub(of(&self.status));
            more.saturating_mul(1000) / millis
        };
        self.rates = RATES.iter().map(|(title, counter)| (*title, rate(counter))).collect();
        let delivered = rate("updates_delivered");
        if self.delivered.len() >= HISTORY {
            self.delivered.pop_back();
        }
        // The newest is at the left, where the curve begins.
        self.delivered.push_front(delivered);
        self.status = look.status;
        self.resources = look.resources;
        self.slow = look.slow;
    }

    fn draw(&self, frame: &mut Frame<'_>) {
        let slow = match u16::try_from(self.slow.len()) {
            Ok(0) | Err(_) => 0,
            Ok(streams) => streams.saturating_add(3),
        };
        let [head, curve, resources, slow, foot] = Layout::vertical([
            Constraint::Length(3),
            Constraint::Length(4),
            Constraint::Min(3),
            Constraint::Length(slow),
            Constraint::Length(1),
        ])
        .areas(frame.area());
        frame.render_widget(ratatui::widgets::Paragraph::new(self.head()), head);
        let delivered: Vec<u64> = self.delivered.iter().copied().collect();
        let title = Line::from("delivered in a second, the newest at the left".dim());
        let block = Block::new().title(title);
        let line = Sparkline::default().block(block).data(&delivered).style(Color::Cyan);
        frame.render_widget(line, curve);
        frame.render_widget(self.resources(), resources);
        if !self.slow.is_empty() {
            frame.render_widget(self.slow(), slow);
        }
        let keys = ORDERS.iter().enumerate().flat_map(|(index, (key, name))| {
            let style =
                if index == self.order { Style::new().bold().reversed() } else { Style::new() };
            [Span::styled(format!(" {key} {name} "), style), Span::raw(" ")]
        });
        let keys = keys.chain([Span::raw(" q ends it")]);
        frame.render_widget(Line::from(keys.collect::<Vec<_>>()), foot);
    }

    fn head(&self) -> Vec<Line<'static>> {
        let status = &self.status;
        let up = humantime::format_duration(Duration::from_secs(status.uptime_seconds));
        let state = match (status.stopping, status.durable) {
            (true, _) => "stopping".yellow(),
            (false, false) => "not durable".red().bold(),
            (false, true) => "ready".green(),
        };
        let rates: Vec<String> =
            self.rates.iter().map(|(title, rate)| format!("{title} {rate}/s")).collect();
        vec![
            Line::from(vec![
                format!("fanal {} at {}  up {up}  ", status.version, self.name).into(),
                state,
            ]),
            Line::from(format!(
                "connections {}  resources and directories {}  values {} ({} in memory)",
                status.sessions,
                status.nodes,
                bytes(status.values_bytes),
                bytes(status.values_resident_bytes),
            )),
            Line::from(rates.join("  ")).bold(),
        ]
    }

    fn resources(&self) -> Table<'static> {
        let rows = self.resources.iter().map(|resource| {
            let rate = resource.updates_per_second.map_or("".into(), |rate| format!("{rate:.1}"));
            Row::new([
                Cell::from(printable(&resource.path)),
                number(rate),
                number(resource.streams.to_string()),
                number(bytes(resource.bytes)),
                number(resource.updates.to_string()),
                Cell::from(resource.activity.clone()),
            ])
        });
        let widths = [
            Constraint::Fill(1),
            Constraint::Length(9),
            Constraint::Length(8),
            Constraint::Length(11),
            Constraint::Length(11),
            Constraint::Length(10),
        ];
        Table::new(rows, widths).header(header(
            "resource",
            ["updates/s", "streams", "value", "updates"],
            Some("is"),
        ))
    }

    fn slow(&self) -> Table<'static> {
        let rows = self.slow.iter().map(|stream| {
            Row::new([
                Cell::from(printable(stream.path.as_deref().unwrap_or("(gone)"))),
                number(stream.session.to_string()),
                number(stream.waiting.to_string()),
                number(stream.skipped.to_string()),
            ])
        });
        let widths = [
            Constraint::Fill(1),
            Constraint::Length(9),
            Constraint::Length(8),
            Constraint::Length(11),
        ];
        Table::new(rows, widths)
            .block(Block::new().title(Line::from("slow streams".dim())))
            .header(header("resource", ["session", "waiting", "skipped"], None))
    }
}

/// Titles: one of words, some of numbers, and perhaps one more of words.
fn header<const N: usize>(
    first: &'static str,
    numbers: [&'static str; N],
    last: Option<&'static str>,
) -> Row<'static> {
    let numbers = numbers.map(|title| number(title.to_owned()));
    let cells = [Cell::from(first)].into_iter().chain(numbers).chain(last.map(Cell::from));
    Row::new(cells).style(Style::new().bold())
}

fn number(text: String) -> Cell<'static> {
    Cell::from(Text::from(text).alignment(HorizontalAlignment::Right))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;

    fn status(delivered: u64) -> Status {
        Status {
            version: "1.2.3".to_owned(),
            pid: 7,
            uptime_seconds: 61,
            stopping: false,
            durable: true,
            sessions: 3,
            nodes: 5,
            values_bytes: 2048,
            values_resident_bytes: 1024,
            counters: BTreeMap::from([("updates_delivered".to_owned(), delivered)]),
        }
    }

    fn resource(path: &str) -> Resource {
        Resource {
            path: path.to_owned(),
            class: "state".to_owned(),
            bytes: 1176,
            resident: true,
            activity: "active".to_owned(),
            updates: 120,
            updates_per_second: Some(59.9),
            waiting: 0,
            streams: 2,
        }
    }

    #[test]
    fn a_look_is_on_the_screen() {
        let mut screen = Screen::new("./data".to_owned(), status(100));
        let slow = Stream {
            session: 17,
            path: Some("wall".to_owned()),
            waiting: 4,
            waiting_bytes: 4704,
            skipped: 1000,
        };
        screen.take(Look {
            status: status(340),
            time: Duration::from_secs(2),
            resources: vec![resource("user/ann/model"), resource("bad\u{1b}[2J")],
            slow: vec![slow],
        });
        let mut terminal = Terminal::new(TestBackend::new(80, 18)).unwrap();
        terminal.draw(|frame| screen.draw(frame)).unwrap();
        let text = terminal.backend().to_string();
        for part in [
            "fanal 1.2.3 at ./data  up 1m 1s  ready",
            "values 2.00 KiB (1.00 KiB in memory)",
            "delivered 120/s",
            "user/ann/model",
            "59.9        2    1.15 KiB         120 active",
            "bad\u{fffd}[2J",
            "17        4        1000",
            "q ends it",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
    }

    #[test]
    fn any_size_of_a_terminal_will_do() {
        let mut screen = Screen::new("./data".to_owned(), status(0));
        let resources = (0..100).map(|_| resource("a")).collect();
        screen.take(Look { status: status(1), time: Duration::ZERO, resources, slow: Vec::new() });
        for (width, height) in [(1, 1), (3, 2), (10, 5), (300, 3), (5, 100)] {
            let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
            terminal.draw(|frame| screen.draw(frame)).unwrap();
        }
    }
}
