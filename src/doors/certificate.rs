//! Client certificates: whom one names that TLS has checked already.

use rustls::ServerConnection;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// The longest name of a user, in bytes; a certificate may have kilobytes.
const NAME_BYTES_MAX: usize = 256;

/// Whom a certificate names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certified {
    /// The user.
    pub user: String,
    /// When the certificate expires, in seconds since 1970.
    pub until: u64,
}

/// Whom the certificate of the client names, if it has shown one that is good.
pub fn of(connection: &ServerConnection) -> Option<Certified> {
    read(connection.peer_certificates()?.first()?)
}

/// The common name, or else the first DNS name or e-mail address.
fn read(der: &[u8]) -> Option<Certified> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let subject = certificate.subject();
    let common = subject.iter_common_name().find_map(|name| name.as_str().ok());
    let user = common.filter(|name| is_name(name)).map(str::to_owned).or_else(|| {
        let names = certificate.subject_alternative_name().ok()??;
        names.value.general_names.iter().find_map(|name| match name {
            GeneralName::DNSName(name) | GeneralName::RFC822Name(name) if is_name(name) => {
                Some((*name).to_owned())
            }
            _ => None,
        })
    })?;
    let until = u64::try_from(certificate.validity().not_after.timestamp()).ok()?;
    Some(Certified { user, until })
}

fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType, date_time_ymd};

    use super::*;

    /// Whom a certificate with this common name and these alternative names is for.
    #[track_caller]
    fn check(common: &str, alternatives: &[SanType], expected: Option<&str>) {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.remove(DnType::CommonName);
        if !common.is_empty() {
            parameters.distinguished_name.push(DnType::CommonName, common);
        }
        parameters.subject_alt_names = alternatives.to_vec();
        parameters.not_after = date_time_ymd(2001, 9, 9);
        let certificate = parameters.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let found = read(certificate.der());
        let expected = expected.map(|user| Certified { user: user.to_owned(), until: 999_993_600 });
        assert_eq!(found, expected, "{common:?} {alternatives:?}");
    }

    #[test]
    fn a_certificate_names_a_user() {
        let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
        let mail = |name: &str| SanType::Rfc822Name(name.try_into().unwrap());
        let address = SanType::IpAddress("127.0.0.1".parse().unwrap());
        check("ann", &[], Some("ann"));
        check("ann", &[dns("a.example")], Some("ann"));
        check("Zoë \u{1f600}", &[], Some("Zoë \u{1f600}"));
        check("", &[dns("a.example"), mail("ann@a.example")], Some("a.example"));
        check("", &[address.clone(), mail("ann@a.example")], Some("ann@a.example"));
        check("", &[address], None);
        check("", &[], None);
        check("a\nb", &[], None);
        check("a\0b", &[dns("a.example")], Some("a.example"));
        check(&"a".repeat(300), &[], None);
    }

    #[test]
    fn what_is_no_certificate_names_nobody() {
        for garbage in [&b""[..], b"\x30", b"\x30\x82\xff\xff", &[0x30; 5000], &[0xff; 5000]] {
            assert_eq!(read(garbage), None);
        }
    }
}
