//! Keys: which signatures are believed, out of the configuration, PEM files and sets of keys (JWKS,
//! RFC 7517). A key is for one algorithm, whatever a token says.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use x509_parser::oid_registry::{OID_EC_P256, OID_SIG_ED25519};
use x509_parser::prelude::{FromDer, SubjectPublicKeyInfo};
use x509_parser::public_key::PublicKey;

/// Keys of one set or file.
const KEYS_MAX: usize = 100;

/// The longest name of a key, in bytes.
pub const KEY_ID_BYTES_MAX: usize = 256;

/// The shortest RSA key, in bytes of its modulus.
const RSA_BYTES_MIN: usize = 256;

/// An Ed25519 key, and each coordinate of a P-256 key, in bytes.
const CURVE_BYTES: usize = 32;

/// A key that is believed.
#[derive(Clone)]
pub struct Key {
    /// Its name in a set of keys; without one it is tried for every token.
    pub id: Option<String>,
    /// What it is for.
    pub algorithm: Algorithm,
    /// The key itself.
    pub key: DecodingKey,
}

impl Key {
    /// Whether both are the same key by the same name.
    pub fn is_same(&self, other: &Key) -> bool {
        let same_key = match (self.key.kind(), other.key.kind()) {
            (DecodingKeyKind::SecretOrDer(left), DecodingKeyKind::SecretOrDer(right)) => {
                left == right
            }
            (
                DecodingKeyKind::RsaModulusExponent { n, e },
                DecodingKeyKind::RsaModulusExponent { n: other_n, e: other_e },
            ) => n == other_n && e == other_e,
            _ => false,
        };
        self.id == other.id && self.algorithm == other.algorithm && same_key
    }
}

/// The algorithms of the configuration.
pub fn algorithms(names: &[String]) -> Vec<Algorithm> {
    names.iter().filter_map(|name| name.parse().ok()).collect()
}

/// The key of a secret that issuer and server share.
pub fn from_secret(secret: &str) -> Key {
    let key = DecodingKey::from_secret(secret.as_bytes());
    Key { id: None, algorithm: Algorithm::HS256, key }
}

/// The public keys in a PEM file.
///
/// # Errors
/// One sentence if the file cannot be read or something in it is no key for these algorithms.
pub fn from_pem_file(path: &Path, allowed: &[Algorithm]) -> anyhow::Result<Vec<Key>> {
    let name = path.display();
    let found: Vec<_> = SubjectPublicKeyInfoDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<_, _>>)
        .with_context(|| format!("auth_jwt.key_file: cannot read public keys from {name}"))?;
    let count = found.len();
    ensure!(
        (1..=KEYS_MAX).contains(&count),
        "auth_jwt.key_file: {name} has {count} public keys in PEM: expected 1 to {KEYS_MAX} that \
         begin with -----BEGIN PUBLIC KEY-----"
    );
    let mut keys = Vec::new();
    for der in &found {
        let key = from_der(der)
            .with_context(|| format!("auth_jwt.key_file: {name} has a key that cannot be used"))?;
        ensure!(
            allowed.contains(&key.algorithm),
            "auth_jwt.key_file: {name} has a key for {:?}, which is not in auth_jwt.algorithms",
            key.algorithm
        );
        keys.push(key);
    }
    Ok(keys)
}

fn from_der(der: &[u8]) -> anyhow::Result<Key> {
    let (_, info) =
        SubjectPublicKeyInfo::from_der(der).ok().context("it is no public key in DER")?;
    let bytes = info.subject_public_key.data.as_ref();
    let parsed = info.parsed().ok();
    let curve = info.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok());
    let (algorithm, key) = match parsed {
        Some(PublicKey::RSA(rsa)) => {
            ensure!(
                strip_zeros(rsa.modulus).len() >= RSA_BYTES_MIN,
                "an RSA key has at least {} bits",
                RSA_BYTES_MIN * 8
            );
            (Algorithm::RS256, DecodingKey::from_rsa_der(bytes))
        }
        Some(PublicKey::EC(_)) if curve.is_some_and(|curve| curve == OID_EC_P256) => {
            ensure!(bytes.len() == 1 + 2 * CURVE_BYTES, "a P-256 key is uncompressed");
            (Algorithm::ES256, DecodingKey::from_ec_der(bytes))
        }
        _ if info.algorithm.algorithm == OID_SIG_ED25519 && bytes.len() == CURVE_BYTES => {
            (Algorithm::EdDSA, DecodingKey::from_ed_der(bytes))
        }
        _ => bail!("expected RSA, P-256 or Ed25519"),
    };
    Ok(Key { id: None, algorithm, key })
}

fn strip_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

/// The keys of a set that are for these algorithms. Others are left out: a set may have keys for
/// other purposes.
///
/// # Errors
/// If it is no set of keys, or one that is too large.
pub fn from_set(text: &[u8], allowed: &[Algorithm]) -> Result<Vec<Key>, String> {
    /// Keys are read one by one, so that a strange one does not spoil the others.
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<serde_json::Value>,
    }
    let set: Set = serde_json::from_slice(text)
        .map_err(|_| "it is no set of keys: expected JSON with a list \"keys\"".to_owned())?;
    let count = set.keys.len();
    if count > KEYS_MAX {
        return Err(format!("it has {count} keys: expected at most {KEYS_MAX}"));
    }
    let keys =
        set.keys.into_iter().filter_map(|value| from_jwk(&serde_json::from_value(value).ok()?));
    Ok(keys.filter(|key| allowed.contains(&key.algorithm)).collect())
}

fn from_jwk(jwk: &Jwk) -> Option<Key> {
    let common = &jwk.common;
    let for_signatures =
        common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature)
            && common
                .key_operations
                .as_ref()
                .is_none_or(|operations| operations.contains(&KeyOperations::Verify));
    let good_id = common.key_id.as_ref().is_none_or(|id| id.len() <= KEY_ID_BYTES_MAX);
    if !for_signatures || !good_id {
        return None;
    }
    let (algorithm, key) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, rsa(DecodingKey::from_jwk(jwk).ok()?)?),
        AlgorithmParameters::EllipticCurve(parameters)
            if parameters.curve == EllipticCurve::P256 =>
        {
            (Algorithm::ES256, of_length(DecodingKey::from_jwk(jwk).ok()?, 1 + 2 * CURVE_BYTES)?)
        }
        AlgorithmParameters::OctetKeyPair(parameters)
            if parameters.curve == EllipticCurve::Ed25519 =>
        {
            (Algorithm::EdDSA, of_length(DecodingKey::from_jwk(jwk).ok()?, CURVE_BYTES)?)
        }
        // Among them are secrets, which have no business in a set that others can read.
        _ => return None,
    };
    let fits = common.key_algorithm.is_none_or(|named| named == algorithm.into());
    fits.then(|| Key { id: common.key_id.clone(), algorithm, key })
}

/// ring takes numbers without zeros in front; some issuers put one there.
fn rsa(key: DecodingKey) -> Option<DecodingKey> {
    let DecodingKeyKind::RsaModulusExponent { n, e } = key.kind() else { return None };
    let (n, e) = (strip_zeros(n), strip_zeros(e));
    (n.len() >= RSA_BYTES_MIN).then(|| DecodingKey::from_rsa_raw_components(n, e))
}

fn of_length(key: DecodingKey, bytes: usize) -> Option<DecodingKey> {
    (key.try_get_as_bytes().ok()?.len() == bytes).then_some(key)
}
