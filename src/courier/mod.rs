//! Takes a signed message to an address outside: the only place from which the service calls somebody else.
//!
//! | phase | what may refuse |
//! |---|---|
//! | read the address | [`Address::parse`]: `http` or `https`, a host, no credentials, no fragment |
//! | resolve the name | no address, or one that is not public, unless private ones are allowed |
//! | connect | to the address that was checked, so that a name cannot change its mind in between |
//! | TLS | the machine's roots and those that were given, TLS 1.2 or 1.3, the name of the host |
//! | send, read the head | a status that is not 200 to 299; redirects are not followed |
//!
//! Invariant: all of it takes at most [`COURIER_TIME_MAX`], and the answer's body is not read.
//! Deliberately absent: retries and their order (`domain/alert/delivery`), proxies, cookies, HTTP/2.

pub mod sign;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::handshake;
use hyper::header::{CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

use crate::domain::alert::address::is_public;

/// Longest time of one attempt, from the name to the head of the answer.
pub const COURIER_TIME_MAX: Duration = Duration::from_secs(10);

/// Why a message did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum CourierError {
    /// The address makes no sense.
    #[error("the url {0}")]
    Address(#[from] BadAddress),
    /// The name has no address.
    #[error("`{0}` cannot be resolved")]
    Unresolved(String),
    /// The name leads to where the service must not go.
    #[error("{0} is not a public address: `--webhook-private-addresses` allows it")]
    NotPublic(IpAddr),
    /// Nobody answers there, or not as HTTP.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// The other side cannot prove its name.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// It took too long.
    #[error("did not answer within {} seconds", COURIER_TIME_MAX.as_secs())]
    TimedOut,
    /// It points elsewhere.
    #[error("answered {0}, a redirect: redirects are not followed")]
    Redirected(u16),
    /// It did not take it.
    #[error("answered {0}")]
    Refused(u16),
}

impl CourierError {
    /// What a tenant is told: nothing about which addresses there are inside, and what answers there.
    #[must_use]
    pub fn for_tenant(&self) -> String {
        match self {
            Self::Unresolved(_) | Self::NotPublic(_) | Self::Unreachable(_) => {
                "cannot be reached at a public address".to_owned()
            }
            Self::Tls(_) => "TLS failed: its certificate must prove its name".to_owned(),
            Self::Address(_) | Self::TimedOut | Self::Redirected(_) | Self::Refused(_) => self.to_string(),
        }
    }

    /// The status, if there was an answer.
    #[must_use]
    pub const fn status(&self) -> Option<u16> {
        match self {
            Self::Redirected(status) | Self::Refused(status) => Some(*status),
            Self::Address(_)
            | Self::Unresolved(_)
            | Self::NotPublic(_)
            | Self::Unreachable(_)
            | Self::Tls(_)
            | Self::TimedOut => None,
        }
    }
}

/// Why a text is no address of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadAddress {
    /// No URL at all.
    #[error("is not a URL")]
    NotAUrl,
    /// Another scheme.
    #[error("must begin with https:// or http://")]
    Scheme,
    /// No host.
    #[error("names no host")]
    Host,
    /// A port that is none.
    #[error("must have a port of 1 to 65535, or none")]
    Port,
    /// Credentials in it would be shown wherever it is.
    #[error("may not hold a user name or password")]
    Credentials,
    /// A fragment, which is never sent.
    #[error("may not have a fragment")]
    Fragment,
}

/// The address of an endpoint, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    uri: Uri,
    host: String,
    port: u16,
    tls: bool,
}

impl Address {
    /// Reads a URL.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(url: &str) -> Result<Self, BadAddress> {
        if url.contains('#') {
            return Err(BadAddress::Fragment);
        }
        let uri: Uri = url.parse().map_err(|_| BadAddress::NotAUrl)?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            Some(_) | None => return Err(BadAddress::Scheme),
        };
        let authority = uri.authority().ok_or(BadAddress::Host)?;
        if authority.as_str().contains('@') {
            return Err(BadAddress::Credentials);
        }
        let written = authority.host();
        let bracketed = written.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        // In brackets stands an address of IPv6 and nothing else.
        if bracketed.is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_err()) {
            return Err(BadAddress::Host);
        }
        let host = bracketed.unwrap_or(written).to_owned();
        if host.is_empty() {
            return Err(BadAddress::Host);
        }
        // The library takes any digits for a port, and then says that there is none.
        let port = match authority.as_str().strip_prefix(written).map(|rest| rest.trim_start_matches(':')) {
            None | Some("") => {
                if tls {
                    443
                } else {
                    80
                }
            }
            Some(digits) => digits.parse().ok().filter(|port| *port > 0).ok_or(BadAddress::Port)?,
        };
        Ok(Self { uri, host, port, tls })
    }
}

/// A message, ready to be sent.
#[derive(Clone)]
pub struct Letter {
    /// Its id, the same in every attempt.
    pub id: String,
    /// When this attempt is made, in seconds since 1970.
    pub timestamp: i64,
    /// The signature of both with the body.
    pub signature: String,
    /// The body.
    pub body: Bytes,
}

/// Why a text holds no root certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadRoots {
    /// No certificate at all.
    #[error("holds no certificate in PEM")]
    None,
    /// One that cannot be read.
    #[error("holds a certificate that cannot be read: number {0}")]
    Unreadable(usize),
}

/// The root certificates of a text in PEM.
///
/// # Errors
/// When there is none, or one that cannot be read: it is noticed at the start, and not when an event does not arrive.
pub fn roots_of_pem(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, BadRoots> {
    let mut roots = Vec::new();
    for (root, number) in CertificateDer::pem_slice_iter(pem).zip(1..) {
        let root = root.map_err(|_| BadRoots::Unreadable(number))?;
        RootCertStore::empty().add(root.clone()).map_err(|_| BadRoots::Unreadable(number))?;
        roots.push(root);
    }
    if roots.is_empty() { Err(BadRoots::None) } else { Ok(roots) }
}

/// Sends. Cheap to clone.
#[derive(Clone, Default)]
pub struct Courier {
    /// Whether addresses that are not public are taken as well.
    pub allow_private: bool,
    /// Roots that are trusted beside those of the machine.
    roots: Arc<[CertificateDer<'static>]>,
    tls: Arc<OnceCell<TlsConnector>>,
}

impl Courier {
    /// One that trusts these roots beside those of the machine.
    #[must_use]
    pub fn new(allow_private: bool, roots: Vec<CertificateDer<'static>>) -> Self {
        Self { allow_private, roots: roots.into(), tls: Arc::default() }
    }

    /// Sends a message, and answers the status with which it was taken.
    ///
    /// # Errors
    /// Says why it did not arrive.
    pub async fn send(&self, address: &Address, letter: &Letter) -> Result<u16, CourierError> {
        match tokio::time::timeout(COURIER_TIME_MAX, self.attempt(address, letter)).await {
            Ok(answer) => answer,
            Err(_) => Err(CourierError::TimedOut),
        }
    }

    async fn attempt(&self, address: &Address, letter: &Letter) -> Result<u16, CourierError> {
        let stream = self.connect(address).await?;
        let status = if address.tls {
            let tls = self.tls.get_or_try_init(|| connector(&self.roots)).await?;
            let name =
                ServerName::try_from(address.host.clone()).map_err(|error| CourierError::Tls(error.to_string()))?;
            let stream = tls.connect(name, stream).await.map_err(|error| CourierError::Tls(error.to_string()))?;
            exchange(stream, address, letter).await?
        } else {
            exchange(stream, address, letter).await?
        };
        match status {
            200..=299 => Ok(status),
            300..=399 => Err(CourierError::Redirected(status)),
            _ => Err(CourierError::Refused(status)),
        }
    }

    /// Connects to an address that may be connected to.
    async fn connect(&self, address: &Address) -> Result<TcpStream, CourierError> {
        let unresolved = || CourierError::Unresolved(address.host.clone());
        let found = lookup_host((address.host.as_str(), address.port)).await.map_err(|_| unresolved())?;
        let found: Vec<SocketAddr> = found.collect();
        // One that is not public spoils them all: a name that has both is an attempt to get in.
        if let (false, Some(private)) = (self.allow_private, found.iter().find(|one| !is_public(one.ip()))) {
            return Err(CourierError::NotPublic(private.ip()));
        }
        let mut last = unresolved();
        for one in found {
            match TcpStream::connect(one).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = CourierError::Unreachable(error.to_string()),
            }
        }
        Err(last)
    }
}

/// TLS by the roots of the machine, read once, and these.
async fn connector(also: &[CertificateDer<'static>]) -> Result<TlsConnector, CourierError> {
    let loaded = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await;
    let loaded = loaded.map_err(|error| CourierError::Tls(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(loaded.certs.into_iter().chain(also.iter().cloned()));
    if roots.is_empty() {
        return Err(CourierError::Tls("this machine has no root certificates (install ca-certificates)".to_owned()));
    }
    connector_of(roots)
}

fn connector_of(roots: RootCertStore) -> Result<TlsConnector, CourierError> {
    let config = ClientConfig::builder_with_provider(Arc::new(crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| CourierError::Tls(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

async fn exchange<S>(stream: S, address: &Address, letter: &Letter) -> Result<u16, CourierError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let unreachable = |error: hyper::Error| CourierError::Unreachable(error.to_string());
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(unreachable)?;
    let host = address.uri.authority().map(ToString::to_string).unwrap_or_default();
    let path = address.uri.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::post(path)
        .header(HOST, host)
        .header(USER_AGENT, concat!("counterfoil/", env!("CARGO_PKG_VERSION")))
        .header(CONTENT_TYPE, "application/json")
        .header("webhook-id", &letter.id)
        .header("webhook-timestamp", letter.timestamp)
        .header("webhook-signature", &letter.signature)
        .body(Full::new(letter.body.clone()))
        .map_err(|error| CourierError::Unreachable(error.to_string()))?;
    // The connection is driven here and dropped with the answer: nothing is left behind when the time is over.
    let mut answer = std::pin::pin!(sender.send_request(request));
    let answer = tokio::select! {
        answer = &mut answer => answer,
        // A server may close the connection with its answer: then the answer is there already.
        ended = connection => {
            ended.map_err(unreachable)?;
            answer.await
        }
    };
    answer.map(|answer| answer.status().as_u16()).map_err(unreachable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_by_rule() {
        let good = [
            ("https://hooks.example.com/a?b=c", "hooks.example.com", 443, true),
            ("http://127.0.0.1:9/x", "127.0.0.1", 9, false),
            ("http://example.com:65535/", "example.com", 65_535, false),
            ("http://example.com:/", "example.com", 80, false),
            ("https://[2606:4700::1111]:8443", "2606:4700::1111", 8443, true),
        ];
        for (url, host, port, tls) in good {
            let address = Address::parse(url).unwrap();
            assert_eq!((address.host.as_str(), address.port, address.tls), (host, port, tls), "{url}");
        }
        let bad = [
            ("", BadAddress::NotAUrl),
            ("/path", BadAddress::Scheme),
            ("ftp://example.com/", BadAddress::Scheme),
            ("file:///etc/passwd", BadAddress::NotAUrl),
            ("https://user:pw@example.com/", BadAddress::Credentials),
            ("https://example.com@127.0.0.1/", BadAddress::Credentials),
            ("https://example.com/#here", BadAddress::Fragment),
            ("https://exämple.com/", BadAddress::NotAUrl),
            ("https:///x", BadAddress::NotAUrl),
            ("http://h:99999/", BadAddress::Port),
            ("http://h:0/", BadAddress::Port),
            ("http://[::1]:65536/", BadAddress::Port),
            ("http://[name]/", BadAddress::Host),
            ("http://[127.0.0.1]/", BadAddress::Host),
        ];
        for (url, why) in bad {
            assert_eq!(Address::parse(url), Err(why), "{url}");
        }
    }

    fn letter() -> Letter {
        Letter { id: "e".to_owned(), timestamp: 0, signature: "v1,".to_owned(), body: Bytes::from_static(b"{}") }
    }

    #[tokio::test]
    async fn a_server_that_closes_with_its_answer_has_answered() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = Vec::new();
                while !request.ends_with(b"{}") {
                    stream.read_buf(&mut request).await.unwrap();
                }
                stream.write_all(b"HTTP/1.0 204 No Content\r\n\r\n").await.unwrap();
            }
        });
        let courier = Courier { allow_private: true, ..Courier::default() };
        let address = Address::parse(&url).unwrap();
        for _ in 0..200 {
            assert_eq!(courier.send(&address, &letter()).await.unwrap(), 204);
        }
    }

    #[tokio::test]
    async fn what_leads_inside_is_refused_however_it_is_written() {
        let courier = Courier::default();
        for url in [
            "http://127.0.0.1:1/",
            "http://localhost:1/",
            "http://[::1]:1/",
            "http://169.254.169.254/latest",
            "http://[::ffff:10.0.0.1]/",
            "http://0.0.0.0:1/",
            // As a resolver of C reads them: one number, hexadecimal, and short.
            "http://2130706433:1/",
            "http://0x7f000001:1/",
            "http://127.1:1/",
        ] {
            let refused = courier.send(&Address::parse(url).unwrap(), &letter()).await.unwrap_err();
            assert!(matches!(refused, CourierError::NotPublic(_)), "{url}: {refused}");
        }
    }
}
