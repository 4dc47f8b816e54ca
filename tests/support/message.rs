//! Requests and answers of the Lighthouse protocol, and small MessagePack values.

use std::fmt;

use rmpv::Value;

/// The MessagePack bytes of a value.
pub fn to_bytes(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    rmpv::encode::write_value(&mut bytes, value).expect("a vector takes everything");
    bytes
}

pub fn nil() -> Vec<u8> {
    to_bytes(&Value::Nil)
}

pub fn int(number: i64) -> Vec<u8> {
    to_bytes(&Value::from(number))
}

pub fn text(text: &str) -> Vec<u8> {
    to_bytes(&Value::from(text))
}

pub fn bin(bytes: &[u8]) -> Vec<u8> {
    to_bytes(&Value::from(bytes))
}

/// An array of strings, as PATH and the source of a link are.
pub fn array(names: &[&str]) -> Vec<u8> {
    to_bytes(&Value::Array(names.iter().map(|name| Value::from(*name)).collect()))
}

/// A request. Each field is the bytes of a MessagePack value, or left out.
#[derive(Clone, Debug)]
pub struct Request {
    pub reid: Option<Vec<u8>>,
    pub auth: Option<Vec<u8>>,
    pub verb: Option<Vec<u8>>,
    pub path: Option<Vec<u8>>,
    pub meta: Option<Vec<u8>>,
    pub payl: Option<Vec<u8>>,
}

impl Request {
    /// A complete request with REID 0, user `u`, token `t`, empty META and nil as PAYL.
    pub fn new(verb: &str, path: &[&str]) -> Self {
        Request {
            reid: Some(int(0)),
            auth: None,
            verb: Some(text(verb)),
            path: Some(array(path)),
            meta: Some(to_bytes(&Value::Map(Vec::new()))),
            payl: Some(nil()),
        }
        .user("u", "t")
    }

    pub fn reid(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.reid = Some(bytes.into());
        self
    }

    pub fn user(mut self, user: &str, token: &str) -> Self {
        let pairs = [("USER", user), ("TOKEN", token)];
        let pairs = pairs.map(|(key, value)| (Value::from(key), Value::from(value)));
        self.auth = Some(to_bytes(&Value::Map(pairs.to_vec())));
        self
    }

    pub fn meta(mut self, value: &Value) -> Self {
        self.meta = Some(to_bytes(value));
        self
    }

    pub fn payl(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.payl = Some(bytes.into());
        self
    }

    /// The bytes of the message.
    pub fn encode(&self) -> Vec<u8> {
        let fields = [
            ("REID", &self.reid),
            ("AUTH", &self.auth),
            ("VERB", &self.verb),
            ("PATH", &self.path),
            ("META", &self.meta),
            ("PAYL", &self.payl),
        ];
        let present: Vec<_> =
            fields.iter().filter_map(|(key, bytes)| Some((key, bytes.as_ref()?))).collect();
        let mut message = vec![0x80 | u8::try_from(present.len()).expect("six at most")];
        for (key, bytes) in present {
            message.extend(text(key));
            message.extend(bytes);
        }
        message
    }
}

/// An answer or an update: a message of the server, checked for what every one of them has.
#[derive(Clone, PartialEq)]
pub struct Answer {
    pub rnum: i64,
    pub response: String,
    /// REID as it came.
    pub reid: Vec<u8>,
    /// PAYL as it came.
    pub payl: Vec<u8>,
    pub warnings: Vec<String>,
    pub meta: Option<Value>,
}

impl Answer {
    /// Panics if the message is not an answer as the protocol has it.
    pub fn parse(message: &[u8]) -> Self {
        let mut rest = message;
        let mut fields: Vec<(String, &[u8])> = Vec::new();
        let entries = rmp::decode::read_map_len(&mut rest)
            .unwrap_or_else(|error| panic!("no map: {error}: {}", hex(message)));
        for _ in 0..entries {
            let key = take_value(&mut rest).0;
            let key = key.as_str().unwrap_or_else(|| panic!("a key that is no string: {key}"));
            assert!(fields.iter().all(|(other, _)| other != key), "{key} comes twice");
            fields.push((key.to_owned(), take_value(&mut rest).1));
        }
        assert!(rest.is_empty(), "bytes behind the answer: {}", hex(rest));
        let known = ["REID", "RNUM", "RESPONSE", "PAYL", "WARNINGS", "META"];
        for (key, _) in &fields {
            assert!(known.contains(&key.as_str()), "an answer has no {key}");
        }
        let find = |name: &str| fields.iter().find(|(key, _)| key == name).map(|(_, bytes)| *bytes);
        let field = |name: &str| find(name).unwrap_or_else(|| panic!("an answer without {name}"));
        let decoded = |name: &str| take_value(&mut field(name)).0;
        let warnings = decoded("WARNINGS");
        let warnings = warnings.as_array().expect("WARNINGS is an array");
        Answer {
            rnum: decoded("RNUM").as_i64().expect("RNUM is an integer"),
            response: decoded("RESPONSE").as_str().expect("RESPONSE is a string").to_owned(),
            reid: field("REID").to_vec(),
            payl: field("PAYL").to_vec(),
            warnings: warnings
                .iter()
                .map(|warning| warning.as_str().expect("a warning is a string").to_owned())
                .collect(),
            meta: find("META").map(|mut bytes| take_value(&mut bytes).0),
        }
    }

    /// PAYL decoded.
    pub fn value(&self) -> Value {
        take_value(&mut self.payl.as_slice()).0
    }

    /// PAYL as an integer. Panics if it is anything else.
    #[track_caller]
    pub fn number(&self) -> i64 {
        self.value().as_i64().unwrap_or_else(|| panic!("PAYL is no integer: {self:?}"))
    }
}

/// One line, large payloads cut off.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Answer { rnum, response, warnings, .. } = self;
        let (reid, payl) = (hex(&self.reid), hex(&self.payl));
        write!(f, "{rnum} {response:?} REID {reid} PAYL {payl} WARNINGS {warnings:?}")?;
        self.meta.as_ref().map_or(Ok(()), |meta| write!(f, " META {meta}"))
    }
}

/// Takes a value off the bytes: decoded, and as it came.
fn take_value<'b>(rest: &mut &'b [u8]) -> (Value, &'b [u8]) {
    let before = *rest;
    let value = rmpv::decode::read_value(rest)
        .unwrap_or_else(|error| panic!("no MessagePack: {error}: {}", hex(before)));
    (value, &before[..before.len() - rest.len()])
}

/// Bytes for people: the first few, and how many there are.
pub fn hex(bytes: &[u8]) -> String {
    let shown: String = bytes.iter().take(24).map(|byte| format!("{byte:02x}")).collect();
    if bytes.len() > 24 { format!("{shown}..({} bytes)", bytes.len()) } else { shown }
}
