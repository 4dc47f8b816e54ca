//! Files by which a state is carried elsewhere: snapshots, JSON, and those of the original server.
//!
//! A JSON file is `{"fanal": 1, "directories": [path], "resources": [{"path", "value"}], "links":
//! [{"source", "destination"}]}`, a path being an array of names. A resource that was made with a
//! class has it as `class`. A value that JSON cannot carry
//! without a loss has in the place of `value` its MessagePack in base64, as `msgpack`.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path as FilePath, PathBuf};

use anyhow::{Context, bail, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use fanal_actors::ports::{Snapshot, SnapshotItem};
use fanal_actors::{Class, Path, Value, split_value};
use serde::{Deserialize, Serialize};

use super::files::sync_directory;
use super::image::Image;
use super::snapshot::{self, Found};

/// The version of the JSON form that this code reads, and the one it writes.
const JSON_VERSION: u32 = 1;

/// Values that are nested deeper are carried as MessagePack: readers of JSON have their limits.
const JSON_DEPTH_MAX: usize = 64;

/// MessagePack of the original server that is nested deeper is refused.
const DEPTH_MAX: usize = 512;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    fanal: u32,
    #[serde(default)]
    directories: Vec<Vec<String>>,
    #[serde(default)]
    resources: Vec<Resource>,
    #[serde(default)]
    links: Vec<Link>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Resource {
    path: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    class: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    value: Option<serde_json::Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    msgpack: Option<String>,
}

/// A `null` that is there is a value.
fn present<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<serde_json::Value>, D::Error> {
    serde_json::Value::deserialize(deserializer).map(Some)
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Link {
    source: Vec<String>,
    destination: Vec<String>,
}

/// Whether a file is, or is to be, JSON.
fn is_json(file: &FilePath) -> bool {
    file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"))
}

/// Writes a state to a file: JSON if its name ends in `.json`, else a snapshot as the broker writes
/// it. A file of that name is replaced once the new one is whole and on disk. `progress` is called
/// for each item.
///
/// # Errors
/// If the file cannot be written.
pub fn write_file(file: &FilePath, image: &Image, progress: impl FnMut()) -> anyhow::Result<()> {
    let mut new = file.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let written = if is_json(file) {
        write_json(&new, image, progress)
    } else {
        write_snapshot(&new, image, progress)
    };
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    let placed = written.and_then(|()| {
        fs::rename(&new, file)?;
        sync_directory(directory.unwrap_or(FilePath::new(".")))
    });
    placed.or_else(|error| {
        let _ = fs::remove_file(&new);
        Err(error).with_context(|| format!("cannot write {}", file.display()))
    })
}

fn write_snapshot(new: &FilePath, image: &Image, mut progress: impl FnMut()) -> io::Result<()> {
    let Snapshot { sequence, items } = image.snapshot();
    let items = Box::new(items.inspect(move |_| progress()));
    snapshot::write(new, Snapshot { sequence, items }).map(drop)
}

fn write_json(new: &FilePath, image: &Image, mut progress: impl FnMut()) -> io::Result<()> {
    let names = |path: &Path| path.names().iter().map(|name| name.to_string()).collect();
    let mut document = Document {
        fanal: JSON_VERSION,
        directories: Vec::new(),
        resources: Vec::new(),
        links: Vec::new(),
    };
    for item in image.items() {
        progress();
        match item {
            SnapshotItem::Directory { path } => document.directories.push(names(&path)),
            SnapshotItem::Resource { path, class, value, .. } => {
                let json = to_json(&value);
                let msgpack = json.is_none().then(|| BASE64_STANDARD.encode(value.as_bytes()));
                let class = class.map(|class| class.name().to_owned());
                let path = names(&path);
                document.resources.push(Resource { path, class, value: json, msgpack });
            }
            SnapshotItem::Link { source, destination } => {
                let (source, destination) = (names(&source), names(&destination));
                document.links.push(Link { source, destination });
            }
        }
    }
    let mut out = BufWriter::new(File::create(new)?);
    serde_json::to_writer_pretty(&mut out, &document)?;
    out.write_all(b"\n")?;
    out.into_inner()?.sync_all()
}

/// The value as JSON, if nothing of it is lost on the way there and back.
fn to_json(value: &Value) -> Option<serde_json::Value> {
    let mut bytes = value.as_bytes();
    let decoded = rmpv::decode::read_value_with_max_depth(&mut bytes, JSON_DEPTH_MAX).ok()?;
    let json = serde_json::to_value(&decoded).ok()?;
    let back = from_json(&json).ok()?;
    (back == *value).then_some(json)
}

fn from_json(json: &serde_json::Value) -> anyhow::Result<Value> {
    Ok(Value::copy_from(&rmp_serde::to_vec(json)?))
}

/// Reads a state from a file: JSON if its name ends in `.json`, else a snapshot of Fanal or of the
/// original server.
///
/// # Errors
/// If the file cannot be read, or is none of these.
pub fn read_file(file: &FilePath) -> anyhow::Result<Image> {
    let name = file.display();
    if is_json(file) {
        return read_json(file).with_context(|| format!("cannot read {name}"));
    }
    match snapshot::read(file).with_context(|| format!("cannot read {name}"))? {
        Found::Good { items, sequence } => Ok(Image::new(items, sequence, Vec::new())),
        Found::Missing => bail!("there is no file {name}"),
        Found::Newer { format } => {
            bail!("{name} was written by a newer fanal (format {format}): use that one")
        }
        Found::Beacon => {
            let bytes = fs::read(file).with_context(|| format!("cannot read {name}"))?;
            read_beacon(&bytes)
                .with_context(|| format!("cannot read {name}, a snapshot of the original server"))
        }
        Found::Damaged(reason) => bail!(
            "{name} is no snapshot of fanal or of the original server (JSON has a name that ends \
             in .json): {reason}"
        ),
    }
}

fn read_json(file: &FilePath) -> anyhow::Result<Image> {
    let document: Document = serde_json::from_reader(BufReader::new(File::open(file)?))?;
    ensure!(
        document.fanal == JSON_VERSION,
        "it has version {}, this fanal reads version {JSON_VERSION}",
        document.fanal
    );
    let path = |names: Vec<String>| -> anyhow::Result<Path> {
        ensure!(
            !names.iter().any(|name| name.contains('/')),
            "a name must have no slash: {names:?}"
        );
        Ok(Path::new(names))
    };
    let mut items = Vec::new();
    for names in document.directories {
        items.push(SnapshotItem::Directory { path: path(names)? });
    }
    for Resource { path: names, class, value, msgpack } in document.resources {
        let value = match (value, msgpack) {
            (Some(json), None) => from_json(&json)?,
            (None, Some(text)) => from_base64(&text).with_context(|| format!("in {names:?}"))?,
            _ => bail!("{names:?}: expected either value or msgpack"),
        };
        let class = class.map(|name| {
            Class::by_name(&name).with_context(|| format!("{names:?}: there is no class {name:?}"))
        });
        let class = class.transpose()?;
        items.push(SnapshotItem::Resource { path: path(names)?, number: 0, class, value });
    }
    for Link { source, destination } in document.links {
        let (source, destination) = (path(source)?, path(destination)?);
        items.push(SnapshotItem::Link { source, destination });
    }
    checked(items)
}

fn from_base64(text: &str) -> anyhow::Result<Value> {
    let bytes = BASE64_STANDARD.decode(text)?;
    let (value, rest) = split_value(&bytes, DEPTH_MAX).context("msgpack is no MessagePack")?;
    ensure!(rest.is_empty(), "msgpack is more than one value");
    Ok(Value::copy_from(value))
}

/// One MessagePack map from paths, joined with slashes, to values.
fn read_beacon(bytes: &[u8]) -> anyhow::Result<Image> {
    let mut rest = bytes;
    let count = rmp::decode::read_map_len(&mut rest)?;
    let mut items = Vec::new();
    for _ in 0..count {
        let key = rmpv::decode::read_value_with_max_depth(&mut rest, DEPTH_MAX)?;
        let key = key.as_str().context("a path is no text")?;
        let (value, behind) = split_value(rest, DEPTH_MAX)
            .with_context(|| format!("the value of {key:?} is no whole MessagePack"))?;
        let path = Path::new(key.split('/'));
        let value = Value::copy_from(value);
        items.push(SnapshotItem::Resource { path, number: 0, class: None, value });
        rest = behind;
    }
    ensure!(rest.is_empty(), "{} bytes follow its end", rest.len());
    checked(items)
}

/// An image of items that came from outside, in which nothing may be in the way of another.
fn checked(items: Vec<SnapshotItem>) -> anyhow::Result<Image> {
    let mut image = Image::default();
    let conflicts = image.merge_items(items).conflicts;
    match conflicts.first() {
        None => Ok(image),
        Some(first) => bail!("{first} ({} such faults in all)", conflicts.len()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use rmpv::Value as Any;

    use super::*;

    fn config() -> ProptestConfig {
        ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
    }

    fn any_value() -> impl Strategy<Value = Any> {
        let leaf = prop_oneof![
            Just(Any::Nil),
            any::<bool>().prop_map(Any::Boolean),
            any::<i64>().prop_map(Any::from),
            any::<u64>().prop_map(Any::from),
            any::<f32>().prop_map(Any::F32),
            any::<f64>().prop_map(Any::F64),
            any::<String>().prop_map(Any::from),
            vec(any::<u8>(), 0..40).prop_map(Any::Binary),
            (any::<i8>(), vec(any::<u8>(), 0..9)).prop_map(|(kind, data)| Any::Ext(kind, data)),
        ];
        leaf.prop_recursive(4, 20, 4, |inner| {
            prop_oneof![
                vec(inner.clone(), 0..4).prop_map(Any::Array),
                vec((inner.clone(), inner.clone()), 0..4).prop_map(Any::Map),
                vec((any::<String>().prop_map(Any::from), inner), 0..4).prop_map(Any::Map),
            ]
        })
    }

    fn image_of(values: &[Any], classes: [Option<Class>; 3]) -> Image {
        let item = |(number, value): (usize, &Any)| {
            let mut encoded = Vec::new();
            rmpv::encode::write_value(&mut encoded, value).unwrap();
            let path = Path::new([format!("{}", number % 3), format!("\u{e4}{number}\n\"")]);
            let class = classes[number % 3];
            SnapshotItem::Resource { path, number: 0, class, value: Value::copy_from(&encoded) }
        };
        checked(values.iter().enumerate().map(item).collect()).unwrap()
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn whatever_is_written_is_read_back_byte_for_byte(values in vec(any_value(), 0..8)) {
            let directory = tempfile::tempdir().unwrap();
            let image = image_of(&values, [None, Some(Class::Live), Some(Class::State)]);
            for name in ["f.json", "f.fanal"] {
                let file = directory.path().join(name);
                write_file(&file, &image, || ()).unwrap();
                prop_assert_eq!(&read_file(&file).unwrap(), &image);
            }
        }

        #[test]
        fn a_map_of_the_original_server_is_read(values in vec(any_value(), 0..8)) {
            let image = image_of(&values, [None; 3]);
            let mut encoded = Vec::new();
            let entry = |item| match item {
                SnapshotItem::Resource { path, value, .. } => {
                    let mut bytes = value.as_bytes();
                    let value = rmpv::decode::read_value(&mut bytes).unwrap();
                    Some((Any::from(path.names().join("/")), value))
                }
                _ => None,
            };
            let map = Any::Map(image.items().filter_map(entry).collect());
            rmpv::encode::write_value(&mut encoded, &map).unwrap();
            prop_assert_eq!(read_beacon(&encoded).unwrap(), image);
        }

        #[test]
        fn any_bytes_are_no_reason_to_panic(bytes in vec(any::<u8>(), 0..300)) {
            let directory = tempfile::tempdir().unwrap();
            for name in ["f.json", "f"] {
                let file = directory.path().join(name);
                fs::write(&file, &bytes).unwrap();
                let _ = read_file(&file);
            }
        }
    }
}
