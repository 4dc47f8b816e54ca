//! Signatures: the cryptography that `jsonwebtoken` asks for, by ring, which the server's TLS uses
//! too. Nothing is signed here.

use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result};
use jsonwebtoken::signature::{Error, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use ring::hmac;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey, VerificationAlgorithm,
};

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
    verifier_factory: verifier,
    // They make sets of keys out of private keys, which nobody asks for.
    key_utils: KeyUtils::new_unimplemented(),
};

/// Has `jsonwebtoken` use ring. A program that embeds the broker may have chosen something else
/// before, which does as well.
pub fn install() {
    let _ = PROVIDER.install_default();
}

/// A key and what signatures by it have to be.
struct Ring {
    algorithm: Algorithm,
    key: DecodingKey,
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    if algorithm.family() != key.family() {
        return Err(ErrorKind::InvalidKeyFormat.into());
    }
    Ok(Box::new(Ring { algorithm: *algorithm, key: key.clone() }))
}

impl JwtVerifier for Ring {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl Verifier<Vec<u8>> for Ring {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), Error> {
        let by = |algorithm: &'static dyn VerificationAlgorithm, key: &[u8]| {
            UnparsedPublicKey::new(algorithm, key).verify(message, signature)
        };
        let outcome = match (self.algorithm, self.key.kind()) {
            (Algorithm::HS256, DecodingKeyKind::SecretOrDer(secret)) => {
                hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, secret), message, signature)
            }
            (Algorithm::RS256, DecodingKeyKind::SecretOrDer(key)) => {
                by(&RSA_PKCS1_2048_8192_SHA256, key)
            }
            (Algorithm::RS256, DecodingKeyKind::RsaModulusExponent { n, e }) => {
                RsaPublicKeyComponents { n, e }.verify(
                    &RSA_PKCS1_2048_8192_SHA256,
                    message,
                    signature,
                )
            }
            (Algorithm::ES256, DecodingKeyKind::SecretOrDer(key)) => {
                by(&ECDSA_P256_SHA256_FIXED, key)
            }
            (Algorithm::EdDSA, DecodingKeyKind::SecretOrDer(key)) => by(&ED25519, key),
            _ => return Err(Error::new()),
        };
        outcome.map_err(|_| Error::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_verifies_by_its_own_algorithm_only() {
        let keys = [
            (Algorithm::HS256, DecodingKey::from_secret(b"secret")),
            (Algorithm::RS256, DecodingKey::from_rsa_raw_components(&[1; 256], &[3])),
            (Algorithm::RS256, DecodingKey::from_rsa_der(b"key")),
            (Algorithm::ES256, DecodingKey::from_ec_der(b"key")),
            (Algorithm::EdDSA, DecodingKey::from_ed_der(b"key")),
        ];
        for (own, key) in &keys {
            for (algorithm, _) in &keys {
                assert_eq!(verifier(algorithm, key).is_ok(), algorithm == own, "{algorithm:?}");
            }
            // What is not known verifies nothing.
            for other in [Algorithm::HS512, Algorithm::RS512, Algorithm::PS256, Algorithm::ES384] {
                let made = verifier(&other, key);
                assert!(made.is_err() || made.is_ok_and(|by| by.verify(b"", &vec![]).is_err()));
            }
        }
    }
}
