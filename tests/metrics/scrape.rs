//! What `/metrics` says, read line by line.

use std::collections::BTreeMap;
use std::time::Instant;

use super::support::{PATIENCE, Server};

/// The numbers of one scrape.
pub struct Scrape {
    /// By name and labels, the labels in order.
    samples: BTreeMap<String, f64>,
    /// The type of each family, by its name.
    pub types: BTreeMap<String, String>,
}

impl Scrape {
    /// Asks a server in the format of Prometheus.
    pub fn of(server: &Server) -> Self {
        let (status, text) = server.admin("/metrics");
        assert_eq!(status, 200, "{text}");
        Self::parse(&text)
    }

    /// Panics at a line that is not as it has to be.
    pub fn parse(text: &str) -> Self {
        let (mut samples, mut types) = (BTreeMap::new(), BTreeMap::new());
        for line in text.lines().filter(|line| *line != "# EOF") {
            if let Some(rest) = line.strip_prefix("# ") {
                let mut words = rest.splitn(3, ' ');
                let (what, name, said) = (words.next(), words.next(), words.next());
                let said = said.unwrap_or_else(|| panic!("nothing is said in {line}"));
                match what {
                    Some("TYPE") => {
                        let before = types.insert(name.unwrap().to_owned(), said.to_owned());
                        assert_eq!(before, None, "{line} comes twice");
                    }
                    Some("HELP") => assert!(!said.is_empty(), "{line}"),
                    _ => panic!("what is {line}"),
                }
                continue;
            }
            let (name, number) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
            let number: f64 = number.parse().unwrap_or_else(|_| panic!("no number in {line}"));
            let before = samples.insert(in_order(name), number);
            assert_eq!(before, None, "{line} comes twice");
        }
        Scrape { samples, types }
    }

    /// A number by name and labels; 0 if it is not there, as one is that has never moved.
    pub fn get(&self, name: &str) -> f64 {
        self.samples.get(&in_order(name)).copied().unwrap_or_default()
    }

    /// Every number, by name and labels.
    pub fn samples(&self) -> impl Iterator<Item = (&str, f64)> {
        self.samples.iter().map(|(name, number)| (&**name, *number))
    }

    /// All numbers of a name together, whatever their labels.
    pub fn sum(&self, name: &str) -> f64 {
        let is_it = |found: &str| found.split('{').next() == Some(name);
        self.samples().filter(|(found, _)| is_it(found)).map(|(_, number)| number).sum()
    }
}

/// The same name with its labels in order: the two formats have the bounds of buckets in different
/// places, and write them in different ways.
fn in_order(sample: &str) -> String {
    let Some((name, labels)) = sample.split_once('{') else { return sample.to_owned() };
    let plain = |label: &str| match label.strip_prefix("le=") {
        Some(bound) => {
            let bound: f64 = bound.trim_matches('"').parse().expect("a bound is a number");
            format!("le=\"{bound}\"")
        }
        None => label.to_owned(),
    };
    let mut labels: Vec<String> = labels.trim_end_matches('}').split(',').map(plain).collect();
    labels.sort_unstable();
    format!("{name}{{{}}}", labels.join(","))
}

/// Scrapes until what is looked for is there.
#[track_caller]
pub fn until(server: &Server, what: &str, is_there: impl Fn(&Scrape) -> bool) -> Scrape {
    let began = Instant::now();
    loop {
        let scrape = Scrape::of(server);
        if is_there(&scrape) {
            return scrape;
        }
        let samples: Vec<_> = scrape.samples().filter(|(_, number)| *number > 0.0).collect();
        assert!(began.elapsed() < PATIENCE, "awaited {what}; there is {samples:#?}");
    }
}

/// Scrapes until a number is exactly this.
#[track_caller]
pub fn expect(server: &Server, name: &str, expected: f64) -> Scrape {
    #[expect(clippy::float_cmp, reason = "counts are whole")]
    until(server, &format!("{name} {expected}"), |scrape| scrape.get(name) == expected)
}
