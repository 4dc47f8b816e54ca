//! What is written about the metrics: the document, the alert rules and the dashboard, against what
//! the server says, and with `promtool` of Prometheus.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::scrape::{Scrape, until};
use super::server;
use super::support::{Server, int, nil};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Runs `promtool`, with this on its standard input, and expects it to find nothing wrong.
#[track_caller]
fn promtool(arguments: &[&str], input: &str) -> String {
    let mut command = Command::new("promtool");
    command.args(arguments).current_dir(root());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| {
        panic!(
            "promtool cannot be run ({error}): run scripts/test, which installs Debian's package \
             prometheus, of which it is a part"
        )
    });
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let done = child.wait_with_output().unwrap();
    let said = [done.stdout, done.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    let said = said.concat();
    assert!(done.status.success(), "promtool {arguments:?}: {said}");
    said
}

/// A server on which something of everything has happened, and what it says.
fn scrape() -> (Server, Scrape, String) {
    let server = server("");
    let mut client = server.client();
    client.expect("POST", &["a"], int(1), 201);
    client.expect("STREAM", &["a"], nil(), 200);
    (0..200).for_each(|number| _ = client.request("PUT", &["a"], int(number)));
    let scrape = until(&server, "the lag of the workers", |scrape| {
        scrape.get("fanal_event_loop_lag_seconds_count{worker=\"1\"}") > 0.0
    });
    let (_, text) = server.admin("/metrics");
    (server, scrape, text)
}

#[test]
fn promtool_finds_nothing_wrong_with_the_metrics() {
    let (_server, _, text) = scrape();
    assert_eq!(promtool(&["check", "metrics"], &text), "");
}

#[test]
fn promtool_finds_nothing_wrong_with_configuration_and_rules() {
    let said = promtool(&["check", "config", "deploy/prometheus/prometheus.yml"], "");
    assert!(said.contains("alerts.yml"), "{said}");
    promtool(&["check", "rules", "--lint-fatal", "deploy/prometheus/alerts.yml"], "");
    promtool(&["test", "rules", "deploy/prometheus/alerts.test.yml"], "");
}

/// What a document says: metrics with type and labels, and the values of labels.
#[derive(Debug, Default)]
struct Document {
    metrics: BTreeMap<String, (String, Vec<String>)>,
    /// By what stands above the table, such as "`reason` of `fanal_x`".
    values: BTreeMap<String, BTreeSet<String>>,
}

/// The words in backticks.
fn quoted(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

impl Document {
    fn read() -> Self {
        let mut document = Document::default();
        let mut heading = String::new();
        for line in read("docs/metrics.md").lines() {
            if let Some(text) = line.strip_prefix('#') {
                heading = text.trim_start_matches('#').trim().to_owned();
            }
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            if !line.starts_with("| `") {
                continue;
            }
            if heading.starts_with('`') {
                let values = document.values.entry(heading.clone()).or_default();
                values.extend(quoted(cells[0]));
            } else if cells.len() == 5 {
                let [name] = &quoted(cells[0])[..] else { panic!("no name in {line}") };
                let said = (cells[1].to_owned(), quoted(cells[2]));
                let before = document.metrics.insert(name.clone(), said);
                assert_eq!(before, None, "{name} stands there twice");
                assert!(cells[3].len() > 2 || cells[3] == "links", "{name} is not explained");
            }
        }
        document
    }

    /// The values of a label of a metric.
    fn values(&self, label: &str, metric: &str) -> Option<&BTreeSet<String>> {
        let own = self.values.get(&format!("`{label}` of `{metric}`"));
        own.or_else(|| self.values.get(&format!("`{label}`")))
    }
}

/// The name of the family of a sample.
fn family<'s>(name: &'s str, types: &BTreeMap<String, String>) -> &'s str {
    let ends = ["_bucket", "_sum", "_count"];
    let of_histogram = ends.iter().find_map(|end| {
        name.strip_suffix(end).filter(|name| types.get(*name).is_some_and(|k| k == "histogram"))
    });
    of_histogram.unwrap_or(name)
}

#[test]
fn the_document_says_what_there_is_and_nothing_else() {
    let (_server, scrape, _) = scrape();
    let document = Document::read();
    let seen: BTreeMap<&str, &str> =
        scrape.types.iter().map(|(name, kind)| (&**name, &**kind)).collect();
    let said: BTreeMap<&str, &str> =
        document.metrics.iter().map(|(name, (kind, _))| (&**name, &**kind)).collect();
    assert_eq!(said, seen);

    let mut shown: BTreeMap<(&str, String), BTreeSet<String>> = BTreeMap::new();
    for (sample, _) in scrape.samples() {
        let (name, labels) = sample.split_once('{').unwrap_or((sample, ""));
        let name = family(name, &scrape.types);
        for pair in labels.trim_end_matches('}').split(',').filter(|pair| !pair.is_empty()) {
            let (label, value) = pair.split_once('=').unwrap();
            if label == "le" {
                continue;
            }
            let value = value.trim_matches('"').to_owned();
            shown.entry((name, label.to_owned())).or_default().insert(value);
        }
    }
    for (name, (_, labels)) in &document.metrics {
        let seen: BTreeSet<&String> =
            shown.keys().filter(|(family, _)| family == name).map(|(_, label)| label).collect();
        assert_eq!(labels.iter().collect::<BTreeSet<_>>(), seen, "labels of {name}");
    }
    for ((name, label), values) in &shown {
        let said = document.values(label, name);
        let said = said.unwrap_or_else(|| panic!("nothing is said of {label} of {name}"));
        let missing: Vec<_> = values.difference(said).collect();
        assert!(missing.is_empty(), "{label} of {name}: {missing:?}");
        // Those whose values depend on what has happened, or on the server.
        let open = ["status", "worker", "version", "provider"];
        if !open.contains(&&**label) {
            assert_eq!(values, said, "{label} of {name}");
        }
    }
}

/// Words of expressions that look like names of metrics.
fn names_in(text: &str) -> BTreeSet<&str> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c: char| !is_word(c));
    words.filter(|word| word.starts_with("fanal_") || word.starts_with("process_")).collect()
}

#[track_caller]
fn check_names(what: &str, text: &str, scrape: &Scrape) {
    let names = names_in(text);
    assert!(!names.is_empty(), "{what}");
    for name in names {
        let family = family(name, &scrape.types);
        assert!(scrape.types.contains_key(family), "{what}: there is no metric {name}");
    }
}

/// What stands behind `key:` in the lines of a YAML file.
fn lines_of<'t>(text: &'t str, key: &str) -> Vec<&'t str> {
    let lines = text.lines().map(|line| line.trim_start().trim_start_matches("- "));
    lines.filter_map(|line| line.strip_prefix(key)?.strip_prefix(": ")).collect()
}

#[test]
fn the_alerts_are_about_metrics_that_there_are_and_each_is_tried() {
    let (_server, scrape, _) = scrape();
    let rules = read("deploy/prometheus/alerts.yml");
    check_names("alerts.yml", &rules, &scrape);
    let alerts = lines_of(&rules, "alert");
    assert!(alerts.len() > 10, "{alerts:?}");
    for key in ["summary", "description", "severity"] {
        assert_eq!(lines_of(&rules, key).len(), alerts.len(), "each alert has a {key}");
    }
    let tests = read("deploy/prometheus/alerts.test.yml");
    let tried: BTreeSet<&str> = lines_of(&tests, "alertname").into_iter().collect();
    assert_eq!(tried, alerts.iter().copied().collect());
    // Each is seen to fire, and to be quiet before.
    for alert in alerts {
        let of_it =
            tests.split("- eval_time").filter(|part| lines_of(part, "alertname").contains(&alert));
        let (firing, quiet): (Vec<_>, Vec<_>) = of_it.partition(|part| part.contains("exp_labels"));
        assert!(!firing.is_empty() && !quiet.is_empty(), "{alert}");
    }
}

#[test]
fn the_dashboard_is_about_metrics_that_there_are() {
    let (_server, scrape, _) = scrape();
    let dashboard: Value = serde_json::from_str(&read("deploy/grafana/fanal.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut places: BTreeSet<(u64, u64)> = BTreeSet::new();
    let mut ids = BTreeSet::new();
    let mut rules = String::from("groups:\n- name: dashboard\n  rules:\n");
    let mut count = 0;
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: another has its number");
        let place = &panel["gridPos"];
        for x in 0..place["w"].as_u64().unwrap() {
            for y in 0..place["h"].as_u64().unwrap() {
                let (left, top) = (place["x"].as_u64().unwrap(), place["y"].as_u64().unwrap());
                assert!(left + x < 24, "{title} is too far right");
                assert!(places.insert((left + x, top + y)), "{title} is over another");
            }
        }
        if panel["type"] == "row" {
            continue;
        }
        assert!(panel["description"].as_str().is_some_and(|text| !text.is_empty()), "{title}");
        assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title} has no unit");
        for target in panel["targets"].as_array().unwrap() {
            let expression = target["expr"].as_str().unwrap();
            check_names(title, expression, &scrape);
            assert!(expression.contains("instance=~\"$instance\""), "{title}: of every server");
            count += 1;
            let plain = expression.replace("$__rate_interval", "1m").replace("$instance", ".*");
            rules += &format!("  - record: dashboard:{count}\n    expr: {plain:?}\n");
        }
    }
    assert!(count > 20, "{count}");
    // That its expressions are some, Prometheus says best.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rules.yml");
    fs::write(&path, rules).unwrap();
    promtool(&["check", "rules", path.to_str().unwrap()], "");
    let uid = &dashboard["panels"][1]["datasource"]["uid"];
    let sources = read("deploy/grafana/provisioning/datasources/prometheus.yml");
    assert!(lines_of(&sources, "uid").contains(&uid.as_str().unwrap()), "{uid}");
    assert!(Path::new(&root().join("deploy/grafana/provisioning/dashboards/fanal.yml")).is_file());
}
