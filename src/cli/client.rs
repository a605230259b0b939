//! The HTTP client of `demo` and `bench`: one connection per caller, over TCP, as a gateway would hold it.

use std::net::SocketAddr;

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::http::request::Builder;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::net::TcpStream;

/// One connection.
pub struct Client {
    sender: SendRequest<Full<Bytes>>,
    address: SocketAddr,
    authorization: String,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its body.
    pub body: Bytes,
}

/// A long answer that was read to its end, and not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadThrough {
    /// Bytes of its body.
    pub bytes: u64,
    /// How many transfers it said it covers, if it is an export.
    pub transfers: Option<u64>,
}

impl Reply {
    /// It did what was asked.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.status == StatusCode::OK
    }

    /// It could not answer now, and may be asked again.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        self.status == StatusCode::SERVICE_UNAVAILABLE
    }

    /// The body as a value, when the status is 200.
    ///
    /// # Errors
    /// Says what the service said instead.
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> anyhow::Result<T> {
        if self.status != StatusCode::OK {
            anyhow::bail!("the service answered {}: {}", self.status, String::from_utf8_lossy(&self.body));
        }
        serde_json::from_slice(&self.body).context("the answer is not what was expected")
    }
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens there.
    pub async fn connect(address: SocketAddr, token: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a client's connection ended");
            }
        });
        Ok(Self { sender, address, authorization: format!("Bearer {token}") })
    }

    /// Asks for something.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn get(&mut self, path: &str) -> anyhow::Result<Reply> {
        let request = self.request(Method::GET, path).body(Full::default())?;
        self.exchange(request).await
    }

    /// Asks for something long, and reads it to its end without keeping it.
    ///
    /// # Errors
    /// When the service does not answer with 200, or the answer has no end.
    pub async fn read_through(&mut self, path: &str) -> anyhow::Result<ReadThrough> {
        let request = self.request(Method::GET, path).body(Full::default())?;
        self.sender.ready().await.context("the service closed the connection")?;
        let response = self.sender.send_request(request).await.context("the service closed the connection")?;
        let status = response.status();
        let transfers =
            response.headers().get("x-export-transfers").and_then(|value| value.to_str().ok()?.parse().ok());
        let mut body = response.into_body();
        if status != StatusCode::OK {
            let said = body.collect().await?.to_bytes();
            anyhow::bail!("{path}: the service answered {status}: {}", String::from_utf8_lossy(&said));
        }
        let mut bytes: u64 = 0;
        while let Some(frame) = body.frame().await {
            let frame = frame.with_context(|| format!("{path}: the answer has no end"))?;
            let length = frame.data_ref().map_or(0, Bytes::len);
            bytes = bytes.saturating_add(u64::try_from(length)?);
        }
        Ok(ReadThrough { bytes, transfers })
    }

    /// Sends a body, with an idempotency key if one is given, and waits for the answer.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn send<T: Serialize + Sync>(
        &mut self,
        method: Method,
        path: &str,
        key: Option<&str>,
        body: &T,
    ) -> anyhow::Result<Reply> {
        let mut request = self.request(method, path).header(CONTENT_TYPE, "application/json");
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let request = request.body(Full::new(Bytes::from(serde_json::to_vec(body)?)))?;
        self.exchange(request).await
    }

    fn request(&self, method: Method, path: &str) -> Builder {
        Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.address.to_string())
            .header(AUTHORIZATION, &self.authorization)
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> anyhow::Result<Reply> {
        self.sender.ready().await.context("the service closed the connection")?;
        let response = self.sender.send_request(request).await.context("the service closed the connection")?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        Ok(Reply { status, body })
    }
}
