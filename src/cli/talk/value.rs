//! Values as people type and read them.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use rmpv::Value;

use crate::cli::client::failure::{Failure, Kind};
use crate::cli::client::printable;

/// The largest value that is read from a file or standard input, in bytes.
const BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Arrays and maps inside one another in a value that is read.
const DEPTH_MAX: usize = 128;

/// Bytes of a binary that a terminal is shown.
const BINARY_SHOWN: usize = 24;

/// A value that is given.
#[derive(Args, Clone, Debug, Default)]
pub struct Given {
    /// The value as JSON, such as 7, null, '"on"' or '{"r": 255}'; or - for the bytes of standard
    /// input. Flags say that it is something else.
    #[arg(value_name = "VALUE", allow_hyphen_values = true)]
    pub value: Option<String>,

    /// Take the bytes of this file
    #[arg(long, value_name = "FILE", conflicts_with = "value")]
    pub file: Option<PathBuf>,

    /// It is text as it stands
    #[arg(long, group = "form")]
    pub text: bool,

    /// It is bytes in hexadecimal, such as ff8000
    #[arg(long, group = "form")]
    pub hex: bool,

    /// It is JSON, also in a file or standard input
    #[arg(long, group = "form")]
    pub json: bool,

    /// It is MessagePack, sent as it is
    #[arg(long, group = "form")]
    pub msgpack: bool,
}

impl Given {
    /// The value.
    ///
    /// # Errors
    /// If it cannot be read, or is not what it is said to be.
    pub fn read(&self) -> Result<Value> {
        let typed = self.value.as_deref().filter(|value| *value != "-");
        let bytes = match (typed, &self.file) {
            (Some(typed), _) => typed.as_bytes().to_vec(),
            (None, Some(file)) => {
                let opened = File::open(file).map_err(|error| {
                    usage(format!("{} cannot be read: {error}", file.display()))
                })?;
                read_all(opened).with_context(|| file.display().to_string())?
            }
            (None, None) if self.value.is_none() => {
                return Err(usage(
                    "no value is given: name one, or - for standard input, or --file".to_owned(),
                ));
            }
            (None, None) => read_all(io::stdin().lock()).context("standard input")?,
        };
        if self.msgpack {
            return msgpack(&bytes);
        }
        if self.hex {
            return hex(&bytes).map(Value::Binary);
        }
        if self.text {
            let text = String::from_utf8(bytes);
            return text.map(Value::from).map_err(|_| usage("this is no UTF-8 text".to_owned()));
        }
        if self.json || typed.is_some() {
            return json(&bytes, typed);
        }
        Ok(Value::Binary(bytes))
    }
}

fn usage(text: String) -> anyhow::Error {
    Failure::error(Kind::Usage, text)
}

fn read_all(from: impl Read) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(usage(format!("longer than {BYTES_MAX} bytes, which no server takes")));
    }
    Ok(bytes)
}

fn json(bytes: &[u8], typed: Option<&str>) -> Result<Value> {
    serde_json::from_slice(bytes).map_err(|error| match typed {
        Some(typed) => {
            let typed = printable(&typed.chars().take(40).collect::<String>());
            usage(format!("{typed} is no JSON ({error}); write --text to send it as text"))
        }
        None => usage(format!("this is no JSON: {error}")),
    })
}

fn msgpack(mut bytes: &[u8]) -> Result<Value> {
    let value = rmpv::decode::read_value_with_max_depth(&mut bytes, DEPTH_MAX)
        .map_err(|error| usage(format!("this is no MessagePack: {error}")))?;
    if !bytes.is_empty() {
        return Err(usage("there is more behind the MessagePack value".to_owned()));
    }
    Ok(value)
}

fn hex(text: &[u8]) -> Result<Vec<u8>> {
    let digits: Vec<u8> = text.iter().copied().filter(|c| !c.is_ascii_whitespace()).collect();
    let pair = |pair: &[u8]| {
        let [high, low] = pair else { return None };
        let digit = |c: u8| char::from(c).to_digit(16);
        u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
    };
    let bytes: Option<Vec<u8>> = digits.chunks(2).map(pair).collect();
    bytes.ok_or_else(|| usage("hexadecimal has two digits from 0 to f for each byte".to_owned()))
}

/// How a value is shown.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct Shown {
    /// Write the bytes of a text or binary as they are, and nothing else
    #[arg(long, group = "shown")]
    pub raw: bool,

    /// Write the bytes of a text or binary in hexadecimal
    #[arg(long, group = "shown")]
    pub hex: bool,

    /// Write the value as MessagePack
    #[arg(long, group = "shown")]
    pub msgpack: bool,
}

impl Shown {
    /// Writes a value; `before` stands before it on its line, if it gets one.
    ///
    /// # Errors
    /// Those of the output.
    pub fn write(self, before: &str, value: &Value, out: &mut dyn Write) -> Result<()> {
        let bytes = |value: &Value| match value {
            Value::Binary(bytes) => bytes.clone(),
            Value::String(text) => text.as_bytes().to_vec(),
            other => readable(other, false).into_bytes(),
        };
        if self.raw {
            out.write_all(&bytes(value))?;
        } else if self.msgpack {
            let mut bytes = Vec::new();
            rmpv::encode::write_value(&mut bytes, value)?;
            out.write_all(&bytes)?;
        } else if self.hex {
            writeln!(out, "{before}{}", in_hex(&bytes(value)))?;
        } else {
            let cut = io::stdout().is_terminal();
            writeln!(out, "{before}{}", readable(value, cut))?;
        }
        Ok(out.flush()?)
    }
}

fn in_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A value as JSON, in one line. What JSON does not have is text: `hex:...` for a binary.
pub fn readable(value: &Value, cut: bool) -> String {
    let mut text = String::new();
    append(value, cut, &mut text);
    text
}

/// As deep as what the client reads, which is bounded.
fn append(value: &Value, cut: bool, text: &mut String) {
    match value {
        Value::Nil => text.push_str("null"),
        Value::Boolean(flag) => text.push_str(&flag.to_string()),
        Value::Integer(number) => text.push_str(&number.to_string()),
        Value::F32(number) => append_float(f64::from(*number), text),
        Value::F64(number) => append_float(*number, text),
        Value::String(string) => append_string(&String::from_utf8_lossy(string.as_bytes()), text),
        Value::Binary(bytes) => append_string(&binary("hex:", bytes, cut), text),
        Value::Ext(kind, bytes) => {
            append_string(&binary(&format!("ext {kind} hex:"), bytes, cut), text);
        }
        Value::Array(values) => {
            text.push('[');
            for (index, value) in values.iter().enumerate() {
                text.push_str(if index > 0 { "," } else { "" });
                append(value, cut, text);
            }
            text.push(']');
        }
        Value::Map(entries) => {
            text.push('{');
            for (index, (key, value)) in entries.iter().enumerate() {
                text.push_str(if index > 0 { "," } else { "" });
                match key {
                    Value::String(_) => append(key, cut, text),
                    Value::Nil | Value::Boolean(_) | Value::Integer(_) => {
                        append_string(&key.to_string(), text);
                    }
                    // Not as JSON in JSON: each level would double the marks of the one within.
                    other => append_string(&encoded_key(other, cut), text),
                }
                text.push(':');
                append(value, cut, text);
            }
            text.push('}');
        }
    }
}

fn encoded_key(key: &Value, cut: bool) -> String {
    let mut bytes = Vec::new();
    // Writing to memory cannot fail.
    let _ = rmpv::encode::write_value(&mut bytes, key);
    binary("msgpack hex:", &bytes, cut)
}

fn binary(before: &str, bytes: &[u8], cut: bool) -> String {
    match bytes.get(..BINARY_SHOWN) {
        Some(first) if cut && bytes.len() > BINARY_SHOWN => {
            format!("{before}{}... ({} bytes)", in_hex(first), bytes.len())
        }
        _ => format!("{before}{}", in_hex(bytes)),
    }
}

fn append_float(number: f64, text: &mut String) {
    match serde_json::Number::from_f64(number) {
        Some(number) => text.push_str(&number.to_string()),
        None => append_string(&number.to_string(), text),
    }
}

/// In quotes, with everything escaped that a terminal would take for a command.
fn append_string(string: &str, text: &mut String) {
    text.push('"');
    for c in string.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(text, "\\u{:04x}", u32::from(c));
            }
            c => text.push(c),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(key: Value, value: Value) -> Value {
        Value::Map(vec![(key, value)])
    }

    #[test]
    fn values_are_shown_as_json() {
        for (value, expected) in [
            (Value::Nil, "null"),
            (true.into(), "true"),
            ((-7).into(), "-7"),
            (u64::MAX.into(), "18446744073709551615"),
            (1.5.into(), "1.5"),
            (f64::NAN.into(), "\"NaN\""),
            ("a\"b\\\n\u{1b}\u{9b}".into(), "\"a\\\"b\\\\\\n\\u001b\\u009b\""),
            (vec![0xff_u8, 0].into(), "\"hex:ff00\""),
            (Value::Ext(5, vec![1]), "\"ext 5 hex:01\""),
            (Value::Array(vec![1.into(), Value::Nil]), "[1,null]"),
            (map("k".into(), 1.into()), "{\"k\":1}"),
            (map(7.into(), 1.into()), "{\"7\":1}"),
        ] {
            let shown = readable(&value, false);
            assert_eq!(shown, expected);
            assert!(serde_json::from_str::<serde_json::Value>(&shown).is_ok(), "{shown}");
        }
        let long = readable(&Value::Binary(vec![7; 100]), true);
        assert!(long.ends_with("0707... (100 bytes)\""), "{long}");
        assert_eq!(readable(&Value::Binary(vec![7; 24]), true).len(), 24 * 2 + 6);
    }

    #[test]
    fn keys_in_keys_do_not_grow_with_each_level() {
        let mut value = Value::Nil;
        for _ in 0..100 {
            value = map(value, Value::Nil);
        }
        assert!(readable(&value, false).len() < 1000);
        assert_eq!(
            readable(&map(map(1.into(), Value::Nil), 2.into()), false),
            "{\"msgpack hex:8101c0\":2}"
        );
    }

    #[track_caller]
    fn check(given: &Given, expected: Result<Value, &str>) {
        match (given.read(), expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected),
            (Err(found), Err(expected)) => {
                assert!(found.to_string().contains(expected), "{found}");
            }
            (found, expected) => panic!("{found:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn values_are_read_as_what_they_are_said_to_be() {
        let typed = |value: &str| Given { value: Some(value.to_owned()), ..Given::default() };
        check(&typed("7"), Ok(7.into()));
        check(&typed("[1, \"a\", null]"), Ok(Value::Array(vec![1.into(), "a".into(), Value::Nil])));
        check(&typed("{\"r\": 0.5}"), Ok(map("r".into(), 0.5.into())));
        check(&typed("on"), Err("on is no JSON"));
        check(&typed("on"), Err("--text"));
        check(&typed(&"[".repeat(1000)), Err("no JSON"));
        check(&Given { text: true, ..typed("on") }, Ok("on".into()));
        check(&Given { hex: true, ..typed("ff 00") }, Ok(Value::Binary(vec![255, 0])));
        check(&Given { hex: true, ..typed("fff") }, Err("two digits"));
        check(&Given { hex: true, ..typed("+1") }, Err("two digits"));
        check(&Given { msgpack: true, ..typed("\u{7}") }, Ok(7.into()));
        check(&Given { msgpack: true, ..typed("\u{7}\u{7}") }, Err("more behind"));
        check(&Given::default(), Err("no value is given"));
        let missing = Given { file: Some("/nowhere".into()), ..Given::default() };
        check(&missing, Err("/nowhere cannot be read"));
    }
}
