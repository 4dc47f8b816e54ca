//! Tests of the provider `jwt`. Tokens that another library has made are in `tests/auth_jwt.rs`.

use std::fs;
use std::sync::Arc;
use std::task::Wake;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Notify;

use super::*;

const SECRET: &str = "an example of a secret of forty-one bytes";

const RSA: &str = "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAtRtoIkGCYS73UIspifxi\
    3WXkCfQP/BLt91eHrf3WW7BK1U82VpWYfN+8Hh/Wi6keIg3ub8uDL1rFJwJ8ZsDgf7ZdsZkkW5Y0+LIokL0WWTeQRL4I\
    CD2hBzekoNvDsK6xEIzdvoLXIGnvDw0qv7wc9URjOKx9p6ceGzP/Rl+v/JJtZKzYHHPef488Oe5YsrDLLEdrg5UDEMGD\
    OVjl3ajKKN6IFHf/0P7hBV2gtgBBQ+BKQoQxrSntGh0SLFwwH7y88hABosYKXdGvnQL3X9J05pVHiIgalEmbKCoMZdw5\
    bLCeumwOC4GmQWmHr9AC2rLC332cRY95QdD5+0jTXsSAUwIDAQAB";

/// 1024 bits.
const SHORT_RSA: &str = "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQC94j7fnr119o3/1bQl4W+vNC3Ww/H56r\
    2NPZxQ691lLPnfam573s/ozTaPO2TmHnVokO8FvzD0T8kTBunYuUFuP9CgFu02NV4OOC6Jqhv5ba1FxsuDzdIyxHPVf2\
    qLTo+eb9W3x1Q34VhSnAUHNg0CrQWBnHOBLTOKHwrrc4RPsQIDAQAB";

const P384: &str = "MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEKA8sK5OQ+g9DqhdzUnqFDgnzixo3r7iwIr94oBzqKnCI\
    3/DlVoIjJozEcif3eYDwq2x+JEWBK2IfELMNAPMI3IHXaz8QqyXNppliv3xQ/F0J2DzhMFx19Jd/I2DBHVpo";

fn pem(text: &str) -> String {
    format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n")
}

fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Who issues tokens, with a key of each kind that can be made here.
struct Issuer {
    p256: EcdsaKeyPair,
    ed25519: Ed25519KeyPair,
}

impl Issuer {
    fn new() -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let p256 = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap();
        let document = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        Issuer { p256, ed25519: Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap() }
    }

    /// The public keys in PEM.
    fn pem(&self) -> String {
        let p256 = b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\
            \x3d\x03\x01\x07\x03\x42\x00";
        let ed25519 = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";
        let p256 = [&p256[..], self.p256.public_key().as_ref()].concat();
        let ed25519 = [&ed25519[..], self.ed25519.public_key().as_ref()].concat();
        pem(&STANDARD.encode(p256)) + &pem(&STANDARD.encode(ed25519)) + &pem(RSA)
    }

    /// The Ed25519 key in a set, by this name.
    fn jwk(&self, id: &str) -> Value {
        let x = base64url(self.ed25519.public_key());
        json!({ "kty": "OKP", "crv": "Ed25519", "kid": id, "use": "sig", "x": x })
    }

    /// The P-256 key in a set.
    fn p256_jwk(&self) -> Value {
        let point = self.p256.public_key().as_ref();
        let (x, y) = (base64url(&point[1..33]), base64url(&point[33..]));
        json!({ "kty": "EC", "crv": "P-256", "kid": "p", "x": x, "y": y, "alg": "ES256" })
    }

    fn sign_bytes(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let by = |secret: &[u8]| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
            hmac::sign(&key, message).as_ref().to_vec()
        };
        match algorithm {
            "HS256" => by(SECRET.as_bytes()),
            "HS256 by the PEM" => by(pem(RSA).as_bytes()),
            "HS256 by nothing" => by(b""),
            "ES256" => {
                let signature = self.p256.sign(&SystemRandom::new(), message).unwrap();
                signature.as_ref().to_vec()
            }
            "EdDSA" => self.ed25519.sign(message).as_ref().to_vec(),
            other => panic!("{other} cannot be signed"),
        }
    }

    /// A token of this header and these claims.
    fn sign(&self, algorithm: &str, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", base64url(header), base64url(claims));
        let signature = self.sign_bytes(algorithm, message.as_bytes());
        format!("{message}.{}", base64url(signature))
    }

    /// A good token with these claims changed; `null` leaves one out.
    fn token(&self, changes: Value) -> String {
        self.sign("EdDSA", r#"{"alg":"EdDSA"}"#, &claims(changes).to_string())
    }

    /// A good token with this header.
    fn with_header(&self, header: Value) -> String {
        self.sign("EdDSA", &header.to_string(), &claims(json!({})).to_string())
    }
}

fn now() -> u64 {
    Clock::wall().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

fn claims(changes: Value) -> Value {
    let mut claims = json!({ "sub": "ann", "iss": "school", "aud": "fanal", "exp": now() + 60 });
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        }
    }
    claims
}

struct Bench {
    issuer: Issuer,
    judge: Judge,
    folder: TempDir,
}

impl Bench {
    /// With all keys in a file, and these settings changed.
    fn new(changes: Value) -> Self {
        let issuer = Issuer::new();
        let folder = tempfile::tempdir().unwrap();
        let key_file = folder.path().join("keys.pem");
        fs::write(&key_file, issuer.pem()).unwrap();
        let mut settings = json!({
            "secret": SECRET, "key_file": key_file, "issuer": "school", "audience": "fanal",
            "algorithms": ["HS256", "RS256", "ES256", "EdDSA"],
        });
        for (name, value) in changes.as_object().unwrap() {
            settings[name] = value.clone();
        }
        let judge = Judge::new(&serde_json::from_value(settings).unwrap(), None).unwrap();
        Bench { issuer, judge, folder }
    }

    fn judge(&self, user: &str, token: &str, jwt: &str) -> Outcome {
        self.judge.check(
            &Claim { user, token, jwt, ..Claim::default() },
            Waker::noop(),
            Clock::wall(),
        )
    }

    /// The user and the roles that a token proves, in one text.
    #[track_caller]
    fn check(&self, token: &str, expected: Option<&str>) {
        let seen = match self.judge("", "", token) {
            Outcome::Proven(proof) => Some(format!("{} {}", proof.user, proof.roles.join(","))),
            Outcome::Unknown => None,
            other => panic!("{other:?}"),
        };
        assert_eq!(seen.as_deref(), expected, "{token}");
        // What is remembered says the same.
        let again = self.judge("", token, "");
        assert_eq!(matches!(again, Outcome::Proven(_)), expected.is_some(), "again: {token}");
    }

    /// Whether a token with these claims changed proves this.
    #[track_caller]
    fn check_claims(&self, changes: Value, expected: Option<&str>) {
        self.check(&self.issuer.token(changes), expected);
    }
}

const ANN: Option<&str> = Some("ann ");

#[test]
fn each_algorithm_is_accepted() {
    let bench = Bench::new(json!({}));
    for algorithm in ["HS256", "ES256", "EdDSA"] {
        let header = json!({ "alg": algorithm, "typ": "JWT" }).to_string();
        let text = claims(json!({})).to_string();
        bench.check(&bench.issuer.sign(algorithm, &header, &text), ANN);
        // The signature of another one.
        let other = bench.issuer.sign(algorithm, &header, &claims(json!({ "a": 1 })).to_string());
        let swapped = format!(
            "{}.{}.{}",
            base64url(&header),
            base64url(&text),
            other.rsplit('.').next().unwrap()
        );
        bench.check(&swapped, None);
    }
}

#[test]
fn the_algorithm_none_is_refused_in_every_spelling() {
    let bench = Bench::new(json!({}));
    let text = claims(json!({})).to_string();
    for name in ["none", "None", "NONE", "nOnE", "", "null", "HS256\u{0}", "hs256", " none"] {
        let header = json!({ "alg": name }).to_string();
        let message = format!("{}.{}", base64url(&header), base64url(&text));
        let good = bench.issuer.sign("EdDSA", &header, &text);
        for token in [format!("{message}."), message.clone(), format!("{message}.AA"), good] {
            bench.check(&token, None);
        }
    }
    for header in [r#"{"alg":null}"#, r#"{"alg":["EdDSA"]}"#, r#"{}"#, r#"{"alg":7}"#, "[]", "7"] {
        bench.check(&bench.issuer.sign("EdDSA", header, &text), None);
    }
    let twice = r#"{"alg":"none","alg":"EdDSA"}"#;
    bench.check(&bench.issuer.sign("EdDSA", twice, &text), None);
}

#[test]
fn a_public_key_is_no_secret() {
    let text = claims(json!({})).to_string();
    for settings in [json!({}), json!({ "secret": "", "algorithms": ["RS256", "ES256", "EdDSA"] })]
    {
        let bench = Bench::new(settings);
        for by in ["HS256 by the PEM", "HS256 by nothing"] {
            bench.check(&bench.issuer.sign(by, r#"{"alg":"HS256"}"#, &text), None);
        }
    }
}

#[test]
fn an_algorithm_that_is_not_wanted_and_a_key_that_does_not_fit_are_refused() {
    let text = claims(json!({})).to_string();
    let bench = Bench::new(json!({ "secret": "", "algorithms": ["RS256", "ES256", "EdDSA"] }));
    bench.check(&bench.issuer.sign("HS256", r#"{"alg":"HS256"}"#, &text), None);
    for claimed in ["HS256", "HS384", "HS512", "RS256", "RS512", "PS256", "ES256", "ES384"] {
        let header = json!({ "alg": claimed }).to_string();
        bench.check(&bench.issuer.sign("EdDSA", &header, &text), None);
    }
    for claimed in ["RS256", "EdDSA", "ES384"] {
        let header = json!({ "alg": claimed }).to_string();
        bench.check(&bench.issuer.sign("ES256", &header, &text), None);
    }
}

#[test]
fn an_issuer_has_to_be_the_one() {
    let bench = Bench::new(json!({}));
    for wrong in [json!("others"), json!("School"), json!(""), json!(7), json!(["school"])] {
        bench.check_claims(json!({ "iss": wrong }), None);
    }
    bench.check_claims(json!({ "iss": null }), None);
    bench.check_claims(json!({ "iss": ["school", "others"] }), None);
    let anybody = Bench::new(json!({ "issuer": "" }));
    anybody.check_claims(json!({ "iss": null }), ANN);
    anybody.check_claims(json!({ "iss": "others" }), ANN);
}

#[test]
fn an_audience_has_to_be_this_one() {
    let bench = Bench::new(json!({}));
    bench.check_claims(json!({ "aud": ["others", "fanal"] }), ANN);
    for wrong in [json!("others"), json!([]), json!(["others"]), json!(7), json!({}), json!("fana")]
    {
        bench.check_claims(json!({ "aud": wrong }), None);
    }
    bench.check_claims(json!({ "aud": null }), None);
    let nobody = Bench::new(json!({ "audience": "" }));
    nobody.check_claims(json!({ "aud": null }), ANN);
    for other in [json!("others"), json!(["others"]), json!([]), json!(7), json!("")] {
        nobody.check_claims(json!({ "aud": other }), None);
    }
}

#[test]
fn times_are_kept_with_some_leeway() {
    let bench = Bench::new(json!({ "leeway": "30s" }));
    let now = now();
    bench.check_claims(json!({ "exp": now - 20 }), ANN);
    bench.check_claims(json!({ "exp": now as f64 + 10.5 }), ANN);
    bench.check_claims(json!({ "exp": now - 40 }), None);
    bench.check_claims(json!({ "nbf": now + 20 }), ANN);
    bench.check_claims(json!({ "nbf": now + 40 }), None);
    bench.check_claims(json!({ "nbf": "now" }), None);
    let no_time = [json!(null), json!("never"), json!("4102444800"), json!(-1), json!([now + 60])];
    for wrong in no_time.into_iter().chain([json!(0), json!(true), json!(1e300), json!(u64::MAX)]) {
        bench.check_claims(json!({ "exp": wrong }), None);
    }
    let strict = Bench::new(json!({ "leeway": "0s" }));
    strict.check_claims(json!({ "exp": now - 1 }), None);
}

#[test]
fn a_token_that_is_remembered_expires_too() {
    let bench = Bench::new(json!({ "leeway": "5s" }));
    let expires = now() + 60;
    let token = bench.issuer.token(json!({ "exp": expires }));
    let claim = Claim { jwt: &token, ..Claim::default() };
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let until = Some(at(expires + 5));
    let proof = Proof { user: "ann".to_owned(), roles: Vec::new(), expires: until };
    for now in [Clock::wall(), at(expires + 4)] {
        let outcome = bench.judge.check(&claim, Waker::noop(), now);
        assert_eq!(outcome, Outcome::Proven(proof.clone()));
    }
    assert!(bench.judge.remembered.find(&token, at(expires + 4)).is_some());
    for late in [at(expires + 5), at(expires + 500)] {
        assert_eq!(bench.judge.check(&claim, Waker::noop(), late), Outcome::Unknown);
    }
}

#[test]
fn the_user_is_a_text_that_may_lie_deep() {
    let bench = Bench::new(json!({}));
    for wrong in [json!(""), json!(7), json!(true), json!(["ann"]), json!({ "name": "ann" })] {
        bench.check_claims(json!({ "sub": wrong }), None);
    }
    bench.check_claims(json!({ "sub": null }), None);
    bench.check_claims(json!({ "sub": "Zoë/\u{1f600}" }), Some("Zoë/\u{1f600} "));
    let deep = Bench::new(json!({ "user_claim": "person.account.name" }));
    deep.check_claims(json!({ "person": { "account": { "name": "zoe" } } }), Some("zoe "));
    deep.check_claims(json!({ "person.account.name": "zoe" }), Some("zoe "));
    deep.check_claims(json!({ "person": { "account": "zoe" } }), None);
    deep.check_claims(json!({ "person": ["account"] }), None);
    deep.check_claims(json!({}), None);
}

#[test]
fn roles_are_a_list_or_a_text() {
    let bench = Bench::new(json!({}));
    bench.check_claims(json!({ "roles": ["a", "b c"] }), Some("ann a,b c"));
    bench.check_claims(json!({ "roles": " a  b\tc " }), Some("ann a,b,c"));
    for none in [json!(null), json!([]), json!("")] {
        bench.check_claims(json!({ "roles": none }), ANN);
    }
    for wrong in [json!(7), json!(true), json!({ "a": 1 }), json!(["a", 7]), json!([["a"]])] {
        bench.check_claims(json!({ "roles": wrong }), None);
    }
    let other = Bench::new(json!({ "roles_claim": "realm.roles" }));
    other.check_claims(json!({ "realm": { "roles": ["x"] }, "roles": ["y"] }), Some("ann x"));
    let none = Bench::new(json!({ "roles_claim": "" }));
    none.check_claims(json!({ "roles": ["y"], "": ["z"] }), ANN);
}

#[test]
fn headers_bring_no_keys_along() {
    let bench = Bench::new(json!({}));
    let strange = Issuer::new();
    let carried = json!({
        "alg": "EdDSA", "jwk": strange.jwk("x"), "jku": "http://127.0.0.1:1/keys",
        "x5u": "http://127.0.0.1:1/key", "x5c": ["AAAA"],
    });
    bench.check(&strange.with_header(carried.clone()), None);
    bench.check(&bench.issuer.with_header(carried), ANN);
    for critical in [json!(["exp"]), json!(["b64"]), json!([]), json!("exp")] {
        bench.check(&bench.issuer.with_header(json!({ "alg": "EdDSA", "crit": critical })), None);
    }
}

#[test]
fn names_of_keys_lead_nowhere() {
    let bench = Bench::new(json!({}));
    let strange = Issuer::new();
    let long = "k".repeat(KEY_ID_BYTES_MAX);
    for id in ["", "../../../../dev/null", "/dev/null", "' or 1=1 --", "a\0b", "$(id)", &*long] {
        // A file has keys without names, which any name may mean.
        bench.check(&bench.issuer.with_header(json!({ "alg": "EdDSA", "kid": id })), ANN);
        bench.check(&strange.with_header(json!({ "alg": "EdDSA", "kid": id })), None);
    }
    for id in [json!(7), json!(["a"]), json!({}), json!(true), json!(format!("{long}k"))] {
        bench.check(&bench.issuer.with_header(json!({ "alg": "EdDSA", "kid": id })), None);
    }
}

#[test]
fn what_is_not_whole_is_refused() {
    let bench = Bench::new(json!({}));
    let good = bench.issuer.token(json!({}));
    bench.check(&good, ANN);
    for cut in 0..good.len() {
        bench.check(&good[..cut], None);
    }
    let [header, body, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!() };
    for wrong in [
        format!("{good}.{signature}"),
        format!("{good}."),
        format!(".{good}"),
        format!("{header}.{good}"),
        format!("{header}..{signature}"),
        format!("{header}.{body}.{signature}="),
        format!("{header}.{body}.{signature} "),
        format!("{header}.{body}.+/+/"),
        format!("{header}=.{body}.{signature}"),
        format!("{header}.{body}.{body}"),
        format!("{body}.{header}.{signature}"),
        format!("Bearer {good}"),
    ] {
        bench.check(&wrong, None);
    }
    for garbage in
        ["", ".", "..", "...", "a.b.c", "\0.\0.\0", "ä.ö.ü", "e30.e30.e30", "e30.W10.e30"]
    {
        bench.check(garbage, None);
    }
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    bench.check(&bench.issuer.sign("EdDSA", r#"{"alg":"EdDSA"}"#, &deep), None);
    bench.check(&bench.issuer.sign("EdDSA", &deep, r#"{"sub":"ann"}"#), None);
    for text in ["[]", "null", "7", "", "\"ann\"", r#"{"sub":"ann""#, "{\"sub\":\"\u{0}"] {
        bench.check(&bench.issuer.sign("EdDSA", r#"{"alg":"EdDSA"}"#, text), None);
    }
}

#[test]
fn a_token_that_is_too_long_is_refused() {
    let bench = Bench::new(json!({}));
    let fill = |bytes| bench.issuer.token(json!({ "fill": "x".repeat(bytes) }));
    bench.check(&fill(11_000), ANN);
    let long = fill(13_000);
    assert!(long.len() > TOKEN_BYTES_MAX);
    bench.check(&long, None);
}

#[test]
fn a_token_counts_beside_its_own_user_only() {
    let bench = Bench::new(json!({}));
    let token = bench.issuer.token(json!({}));
    let other = bench.issuer.token(json!({ "sub": "bob" }));
    for (user, password, jwt, proven) in [
        ("ann", "", &*token, true),
        ("ann", &*token, "", true),
        ("", &*token, "", true),
        ("bob", "", &*token, false),
        ("bob", &*token, "", false),
        ("Ann", "", &*token, false),
        ("ann", &*token, &*other, false),
        ("ann", "a password", "", false),
        ("", "", "", false),
    ] {
        let outcome = bench.judge(user, password, jwt);
        assert_eq!(matches!(outcome, Outcome::Proven(_)), proven, "{user} {password} {jwt}");
    }
}

#[test]
fn files_of_keys_are_judged_at_the_start() {
    let bench = Bench::new(json!({}));
    let path = bench.folder.path().join("other.pem");
    let check = |text: &str, algorithms: Value, part: &str| {
        fs::write(&path, text).unwrap();
        let settings = json!({ "key_file": path, "algorithms": algorithms });
        let made = Judge::new(&serde_json::from_value(settings).unwrap(), None);
        match made {
            Ok(_) => assert_eq!(part, "", "{text}"),
            Err(error) => {
                let error = format!("{error:#}");
                let good = error.starts_with("auth_jwt.key_file: ") && error.contains(part);
                assert!(good && !part.is_empty(), "{error} in place of {part}");
            }
        }
    };
    let all = json!(["RS256", "ES256", "EdDSA"]);
    check(&bench.issuer.pem(), all.clone(), "");
    check(&pem(RSA), json!(["RS256"]), "");
    check(&pem(RSA), json!(["ES256"]), "RS256, which is not in auth_jwt.algorithms");
    check(&pem(SHORT_RSA), all.clone(), "at least 2048 bits");
    check(&pem(P384), all.clone(), "expected RSA, P-256 or Ed25519");
    check("", all.clone(), "has 0 public keys");
    check("no key", all.clone(), "has 0 public keys");
    check(&pem(RSA).replace("PUBLIC", "PRIVATE"), all.clone(), "has 0 public keys");
    check(&pem("AAAA"), all.clone(), "a key that cannot be used");
    check(&pem("####"), all.clone(), "cannot read public keys");
    check(&pem(RSA).repeat(200), all, "has 200 public keys");
}

#[test]
fn sets_have_keys_for_signatures_and_others_are_left_out() {
    let issuer = Issuer::new();
    let all = ["RS256", "ES256", "EdDSA", "HS256"].map(str::to_owned);
    let allowed = keys::algorithms(&all);
    let check = |jwk: Value, expected: usize| {
        // A good one is beside it.
        let text = json!({ "keys": [jwk, issuer.jwk("good")] }).to_string();
        let found = keys::from_set(text.as_bytes(), &allowed).unwrap();
        assert_eq!(found.len(), expected + 1, "{jwk}");
    };
    let but = |mut jwk: Value, name: &str, value: Value| {
        jwk[name] = value;
        jwk
    };
    let der = STANDARD.decode(RSA).unwrap();
    let rsa = |n: &[u8]| json!({ "kty": "RSA", "n": base64url(n), "e": "AQAB" });
    let modulus = &der[33..33 + 256];
    check(issuer.jwk("a"), 1);
    check(issuer.p256_jwk(), 1);
    check(rsa(modulus), 1);
    check(rsa(&[&[0], modulus].concat()), 1);
    check(rsa(&modulus[128..]), 0);
    check(but(rsa(modulus), "alg", json!("RS512")), 0);
    check(but(issuer.jwk("a"), "use", json!("enc")), 0);
    check(but(issuer.jwk("a"), "key_ops", json!(["verify"])), 1);
    check(but(issuer.jwk("a"), "key_ops", json!(["sign"])), 0);
    check(but(issuer.jwk("a"), "alg", json!("ES256")), 0);
    check(but(issuer.jwk("a"), "crv", json!("P-256")), 0);
    check(but(issuer.jwk("a"), "x", json!("AAAA")), 0);
    check(but(issuer.jwk("a"), "x", json!("####")), 0);
    check(but(issuer.jwk("a"), "kid", json!(7)), 0);
    check(but(issuer.jwk("a"), "kid", json!("k".repeat(500))), 0);
    check(but(issuer.p256_jwk(), "crv", json!("P-384")), 0);
    check(but(issuer.p256_jwk(), "crv", json!("secp256k1")), 0);
    check(json!({ "kty": "oct", "k": base64url(SECRET), "alg": "HS256" }), 0);
    check(json!({ "kty": "strange" }), 0);
    check(json!({}), 0);
    check(json!(7), 0);
    for wrong in ["", "[]", "{}", r#"{"keys":{}}"#, "null", r#"{"keys":[]"#] {
        assert!(keys::from_set(wrong.as_bytes(), &allowed).is_err(), "{wrong}");
    }
    let many = json!({ "keys": vec![issuer.jwk("a"); 101] }).to_string();
    assert!(keys::from_set(many.as_bytes(), &allowed).is_err());
}

// ---- keys that change

/// Told when who waits is woken.
#[derive(Default)]
struct Woken(Notify);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

/// A judge with a set in a file, which is read again each `refresh`, and who waits at it.
struct Changing {
    judge: Arc<Judge>,
    file: std::path::PathBuf,
    woken: Arc<Woken>,
    changed: Arc<Notify>,
    _folder: TempDir,
}

impl Changing {
    fn start(keys: &[Value], refresh: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys.json");
        fs::write(&file, json!({ "keys": keys }).to_string()).unwrap();
        let source = Source::File(file.clone());
        let settings = json!({ "audience": "fanal" });
        let settings = serde_json::from_value(settings).unwrap();
        let judge = Arc::new(Judge::new(&settings, Some(&source)).unwrap());
        let changed = Arc::new(Notify::new());
        let (keeper, told) = (Arc::clone(&judge), Arc::clone(&changed));
        actix_web::rt::spawn(async move {
            let changed = |generation| {
                keeper.remembered.forget(generation);
                told.notify_one();
            };
            keeper.keyring.keep(source, refresh, changed).await;
        });
        let woken = Arc::new(Woken::default());
        Changing { judge, file, woken, changed, _folder: folder }
    }

    /// Puts another set in the place of the present one, whole.
    fn replace(&self, text: &str) {
        let beside = self.file.with_extension("new");
        fs::write(&beside, text).unwrap();
        fs::rename(beside, &self.file).unwrap();
    }

    fn ask(&self, token: &str) -> Outcome {
        let claim = Claim { jwt: token, ..Claim::default() };
        self.judge.check(&claim, &Waker::from(Arc::clone(&self.woken)), Clock::wall())
    }

    /// Asks until it is known.
    async fn settle(&self, token: &str) -> Outcome {
        loop {
            match self.ask(token) {
                Outcome::Pending => soon(self.woken.0.notified()).await,
                outcome => return outcome,
            }
        }
    }
}

async fn soon(awaited: impl Future<Output = ()>) {
    actix_web::rt::time::timeout(Duration::from_secs(10), awaited).await.expect("it comes soon");
}

fn by(issuer: &Issuer, id: &str) -> String {
    issuer.with_header(json!({ "alg": "EdDSA", "kid": id }))
}

fn is_proven(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Proven(_))
}

const NEVER: Duration = Duration::from_secs(3600);

#[actix_web::test]
async fn a_key_that_is_missing_is_looked_for_at_once() {
    let (old, new) = (Issuer::new(), Issuer::new());
    let changing = Changing::start(&[old.jwk("old")], NEVER);
    let (by_old, by_new) = (by(&old, "old"), by(&new, "new"));
    assert!(is_proven(&changing.ask(&by_old)));
    changing.replace(&json!({ "keys": [new.jwk("new")] }).to_string());
    assert_eq!(changing.ask(&by_new), Outcome::Pending);
    assert!(is_proven(&changing.settle(&by_new).await));
    soon(changing.changed.notified()).await;
    // The old key is gone, what it signed is forgotten, and nobody looks for it again.
    assert_eq!(changing.ask(&by_old), Outcome::Unknown);
    assert!(is_proven(&changing.ask(&by_new)));
}

#[actix_web::test]
async fn a_key_that_was_sought_in_vain_is_not_sought_again() {
    let issuer = Issuer::new();
    let changing = Changing::start(&[issuer.jwk("a")], NEVER);
    let unknown = by(&issuer, "b");
    assert_eq!(changing.ask(&unknown), Outcome::Pending);
    assert_eq!(changing.settle(&unknown).await, Outcome::Unknown);
    assert_eq!(changing.ask(&unknown), Outcome::Unknown);
    // Another name waits for its turn, and tokens of keys that are known do not.
    assert_eq!(changing.ask(&by(&issuer, "c")), Outcome::Pending);
    assert!(is_proven(&changing.ask(&by(&issuer, "a"))));
    // Neither a wrong signature nor an algorithm that is not wanted is a reason to look.
    let header = json!({ "alg": "HS256", "kid": "d" }).to_string();
    let unwanted = issuer.sign("HS256", &header, &claims(json!({})).to_string());
    assert_eq!(changing.ask(&unwanted), Outcome::Unknown);
    assert_eq!(changing.ask(&by(&Issuer::new(), "a")), Outcome::Unknown);
    assert_eq!(changing.ask(&by(&Issuer::new(), "b")), Outcome::Unknown);
}

#[actix_web::test]
async fn keys_are_read_again_from_time_to_time() {
    let (old, new) = (Issuer::new(), Issuer::new());
    let changing = Changing::start(&[old.jwk("a")], Duration::from_millis(10));
    assert!(is_proven(&changing.ask(&by(&old, "a"))));
    changing.replace(&json!({ "keys": [new.jwk("a")] }).to_string());
    soon(changing.changed.notified()).await;
    assert_eq!(changing.ask(&by(&old, "a")), Outcome::Unknown);
    assert!(is_proven(&changing.ask(&by(&new, "a"))));
}

#[actix_web::test]
async fn the_keys_of_before_stay_when_there_are_no_others() {
    let (old, new) = (Issuer::new(), Issuer::new());
    let changing = Changing::start(&[old.jwk("old")], NEVER);
    changing.replace("no set");
    let by_new = by(&new, "new");
    assert_eq!(changing.ask(&by_new), Outcome::Pending);
    assert_eq!(changing.settle(&by_new).await, Outcome::Unavailable);
    assert!(is_proven(&changing.ask(&by(&old, "old"))));
    assert_eq!(changing.ask(&old.token(json!({ "sub": "" }))), Outcome::Unknown);
    changing.replace(&json!({ "keys": [new.jwk("new")] }).to_string());
    soon(changing.changed.notified()).await;
    assert!(is_proven(&changing.ask(&by_new)));
}

#[actix_web::test]
async fn the_number_of_names_and_of_those_who_wait_is_bounded() {
    let issuer = Issuer::new();
    let changing = Changing::start(&[issuer.jwk("a")], NEVER);
    let asked = |number: usize| changing.ask(&by(&issuer, &number.to_string()));
    // The task that reads has no turn before the first await.
    let outcomes: Vec<Outcome> = (0..1100).map(asked).collect();
    let count = |wanted: &Outcome| outcomes.iter().filter(|found| *found == wanted).count();
    assert_eq!((count(&Outcome::Pending), count(&Outcome::Unavailable)), (1000, 100));
    assert!(is_proven(&changing.ask(&by(&issuer, "a"))));
}
