//! Webhooks over TLS: the endpoint proves its name by a root that is trusted, or nothing is sent to it.

use std::net::SocketAddr;
use std::sync::Arc;

use counterfoil::courier::{BadRoots, Courier, roots_of_pem};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::rustls::{ServerConfig, crypto};
use tokio_rustls::server::TlsStream;

use super::receiver::Receiver;
use super::{acme, evaluate, spend};
use crate::support::service::Replica;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Somebody who signs certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// What a server of that name shows.
    fn certify(&self, name: &str) -> ServerConfig {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        ServerConfig::builder_with_provider(Arc::new(crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
            .unwrap()
    }

    /// Sends and trusts it, as `--webhook-ca` says so.
    fn trusted(&self) -> Courier {
        Courier::new(true, roots_of_pem(self.pem.as_bytes()).unwrap())
    }
}

struct TlsListener {
    tcp: TcpListener,
    tls: TlsAcceptor,
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let (stream, from) = self.tcp.accept().await.unwrap();
            // Who does not trust it hangs up: the next one may.
            if let Ok(stream) = self.tls.accept(stream).await {
                return (stream, from);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

/// An endpoint on this machine that shows a certificate for a name.
async fn receiver(authority: &Authority, name: &str) -> (Receiver, String) {
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    let tls = TlsAcceptor::from(Arc::new(authority.certify(name)));
    (Receiver::listen(TlsListener { tcp, tls }, address), format!("https://localhost:{}/hook", address.port()))
}

async fn test(replica: &Replica) -> Value {
    replica.call("POST", "/v1/webhooks/pager/test", Value::Null).await.ok()
}

#[tokio::test]
async fn an_event_arrives_over_tls_at_an_endpoint_that_a_given_root_vouches_for() {
    let service = acme().await;
    let authority = Authority::new("known");
    let (receiver, url) = receiver(&authority, "localhost").await;
    let trusting = service.with_courier(authority.trusted());
    trusting.call("PUT", "/v1/webhooks/pager", json!({"url": url, "secret": SECRET})).await.ok();
    assert_eq!(test(&trusting).await, json!({"delivered": true, "status": 204, "error": null}));
    spend(&service, "acme", 500).await;
    assert_eq!(evaluate(&service).await, 1);
    let delivered = trusting.app.deliver_events().await.unwrap();
    assert_eq!((delivered.delivered, delivered.failed), (1, 0));
    let messages = receiver.taken();
    assert_eq!(messages.len(), 2);
    assert_eq!(messages[1].body["type"], "threshold.raised");
    assert!(messages[1].is_signed_by(SECRET));
    assert_eq!(messages[1].header("host"), url.trim_start_matches("https://").trim_end_matches("/hook"));
}

#[tokio::test]
async fn an_endpoint_that_cannot_prove_its_name_is_sent_nothing() {
    let service = acme().await;
    let (known, stranger) = (Authority::new("known"), Authority::new("stranger"));
    let (receiver_of_stranger, by_stranger) = receiver(&stranger, "localhost").await;
    let (receiver_elsewhere, elsewhere) = receiver(&known, "hooks.example.com").await;
    let trusting = service.with_courier(known.trusted());
    for (url, why) in [(by_stranger, "UnknownIssuer"), (elsewhere, "NotValidForName")] {
        trusting.call("PUT", "/v1/webhooks/pager", json!({"url": url, "secret": SECRET})).await.ok();
        let told = test(&trusting).await;
        assert_eq!((&told["delivered"], &told["status"]), (&json!(false), &Value::Null));
        let error = told["error"].as_str().unwrap();
        assert!(
            error.starts_with("TLS failed: ") && error.replace("not valid for name", "NotValidForName").contains(why),
            "{error}"
        );
    }
    spend(&service, "acme", 500).await;
    evaluate(&service).await;
    assert_eq!(trusting.app.deliver_events().await.unwrap().failed, 1);
    let shown = trusting.call("GET", "/v1/webhooks/pager", Value::Null).await.ok();
    assert_eq!((&shown["waiting"], &shown["failures"]), (&json!(1), &json!(1)), "it waits for better times");
    assert!(shown["last_error"].as_str().unwrap().starts_with("TLS failed: "), "{shown:#}");
    assert!(receiver_of_stranger.taken().is_empty() && receiver_elsewhere.taken().is_empty());
}

#[test]
fn a_file_without_roots_is_refused_when_it_is_read() {
    let good = Authority::new("known").pem;
    let cut = good.replacen('M', "", 1);
    assert_eq!(roots_of_pem(format!("{good}{good}").as_bytes()).unwrap().len(), 2);
    assert_eq!(roots_of_pem(b"hello"), Err(BadRoots::None));
    assert_eq!(roots_of_pem(b""), Err(BadRoots::None));
    assert_eq!(roots_of_pem(format!("{good}{cut}").as_bytes()), Err(BadRoots::Unreadable(2)));
    let of_nothing = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert_eq!(roots_of_pem(of_nothing.as_bytes()), Err(BadRoots::Unreadable(1)));
    let key = KeyPair::generate().unwrap().serialize_pem();
    assert_eq!(roots_of_pem(key.as_bytes()), Err(BadRoots::None), "a key is no root");
}
