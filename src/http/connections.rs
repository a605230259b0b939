//! Connections: how many at once and from where, how long one may be silent, and how all of them end.
//!
//! `axum::serve` bounds nothing and arms no timer, and its graceful end waits for whoever sent half a request line. Here:
//!
//! | what | bound |
//! |---|---|
//! | connections, in all and from one address | one more is answered `overloaded` and closed |
//! | silence between requests | `idle_time_max`, and at most twice that |
//! | a request's head, from its first byte | `header_time_max` |
//! | an answer that is not read | [`ANSWER_STALL_MAX`] |
//! | a body that is still sent after its answer | [`LINGER_TIME_MAX`], [`LINGER_BYTES_MAX`] |
//! | a request's body, and the time until its answer begins | `middleware` (`REQUEST_TIME_MAX`), `usage_lines` |
//! | the end of the service | `stop_time_max`, then whatever is still under way is cut off |
//!
//! The timers are those of this file and not hyper's: its one timer for heads also counts the silence before them, so that
//! either a pooled connection is closed after a few seconds or half a head may stay for a minute.

use std::collections::BTreeMap;
use std::io::{self, IoSlice, Write as _};
use std::net::{IpAddr, Ipv6Addr};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::limits::{ANSWER_STALL_MAX, LINGER_BYTES_MAX, LINGER_TIME_MAX};
use super::problem::Problem;
use crate::telemetry::names;

/// How long to wait after a connection could not be accepted, which is mostly for want of open files.
const ACCEPT_REST: Duration = Duration::from_millis(100);
/// How much of an unwanted body is taken at once, in bytes.
const LINGER_PIECE_BYTES: usize = 16 * 1024;
/// When one who was turned away may come back, in seconds.
const TURNED_AWAY_RETRY_AFTER_S: u32 = 1;

/// What bounds connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionRules {
    /// Most connections at once.
    pub max: usize,
    /// Most connections at once from one address, or from one network of 64 bits of IPv6.
    pub per_address_max: usize,
    /// Longest time from the first byte of a request's head to its last.
    pub header_time_max: Duration,
    /// Longest silence before a request.
    pub idle_time_max: Duration,
    /// Longest time that requests under way are given when the service stops.
    pub stop_time_max: Duration,
}

/// Serves until it is told to stop, and returns when no connection is left.
pub async fn serve(listener: TcpListener, router: Router, rules: ConnectionRules, stop: CancellationToken) {
    let places = Arc::new(Places { rules, taken: Mutex::default() });
    let refusal = Bytes::from(turned_away());
    let mut full = false;
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => match Place::take(&places, peer.ip()) {
                    Ok(place) => {
                        full = false;
                        connections.spawn(converse(stream, place, router.clone(), stop.clone()));
                    }
                    Err(bound) => {
                        if !std::mem::replace(&mut full, true) {
                            tracing::warn!(bound, "a connection was turned away: as many are open as may be");
                        }
                        metrics::counter!(names::HTTP_CONNECTIONS_REFUSED, "bound" => bound).increment(1);
                        turn_away(stream, &refusal);
                    }
                },
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(ACCEPT_REST).await;
                }
            }
        }
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(rules.stop_time_max, all).await.is_err() {
        tracing::warn!(connections = connections.len(), "cut off: the time to stop is over");
        connections.shutdown().await;
    }
}

/// The answer to a connection beyond a bound, as it goes over the wire.
fn turned_away() -> String {
    let problem = Problem::overloaded(TURNED_AWAY_RETRY_AFTER_S);
    let status = problem.code().status();
    let body = serde_json::to_string(&problem.body("none")).unwrap_or_default();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: {}\r\ncontent-length: {}\r\nretry-after: {TURNED_AWAY_RETRY_AFTER_S}\r\n\
         connection: close\r\n\r\n{body}",
        super::problem::PROBLEM_JSON,
        body.len()
    )
}

/// Says so as far as the socket takes it at once: one who has no place is not waited for, either.
fn turn_away(stream: TcpStream, answer: &[u8]) {
    if let Ok(mut stream) = stream.into_std() {
        let _as_far_as_it_goes = stream.write(answer);
    }
}

/// Who has a connection.
#[derive(Debug)]
struct Places {
    rules: ConnectionRules,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_address: BTreeMap<IpAddr, usize>,
}

/// One connection's place, given back when it is dropped.
#[derive(Debug)]
struct Place {
    places: Arc<Places>,
    address: IpAddr,
}

impl Place {
    /// A place, or the name of the bound that is reached.
    fn take(places: &Arc<Places>, peer: IpAddr) -> Result<Self, &'static str> {
        let address = network(peer);
        let mut taken = places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.all >= places.rules.max {
            return Err("all");
        }
        let of_address = taken.by_address.entry(address).or_default();
        if *of_address >= places.rules.per_address_max {
            return Err("address");
        }
        *of_address = of_address.saturating_add(1);
        taken.all = taken.all.saturating_add(1);
        Ok(Self { places: Arc::clone(places), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all = taken.all.saturating_sub(1);
        if let Some(of_address) = taken.by_address.get_mut(&self.address) {
            *of_address = of_address.saturating_sub(1);
            if *of_address == 0 {
                taken.by_address.remove(&self.address);
            }
        }
    }
}

/// What is counted as one address: one IPv4 address however it is written, and a network of IPv6, because one host has all
/// addresses of its own.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

/// What the socket and the service of one connection know of each other.
#[derive(Debug, Default)]
struct Talk {
    /// Whether a request is under way: from its head to the last byte of its answer.
    busy: AtomicBool,
    /// How many requests were answered.
    answered: AtomicUsize,
    /// Whether the body of the last request was not read to its end.
    unread: AtomicBool,
}

/// A request that is under way.
#[derive(Debug)]
struct Busy(Arc<Talk>);

impl Busy {
    fn begin(talk: &Arc<Talk>) -> Self {
        talk.busy.store(true, Ordering::Release);
        Self(Arc::clone(talk))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.store(false, Ordering::Release);
        self.0.answered.fetch_add(1, Ordering::AcqRel);
    }
}

/// A request's body: the connection knows when it was read to its end.
struct Reading {
    body: Incoming,
    talk: Arc<Talk>,
}

impl Reading {
    fn begin(talk: &Arc<Talk>, body: Incoming) -> Self {
        talk.unread.store(!body.is_end_stream(), Ordering::Release);
        Self { body, talk: Arc::clone(talk) }
    }
}

impl HttpBody for Reading {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if frame.is_none() || self.body.is_end_stream() {
            self.talk.unread.store(false, Ordering::Release);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer's body, while which the connection is busy.
struct Answering {
    body: Body,
    _busy: Busy,
}

impl HttpBody for Answering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// One connection, from its first request to its last.
async fn converse(stream: TcpStream, place: Place, router: Router, stop: CancellationToken) {
    // A verdict is one small packet, and what follows it on a stream must not wait for an acknowledgement.
    let _works_without = stream.set_nodelay(true);
    let talk = Arc::new(Talk::default());
    let io = Timed {
        stream,
        rules: place.places.rules,
        talk: Arc::clone(&talk),
        stop: stop.clone(),
        answered: 0,
        head_begun: false,
        head: None,
        idle: Box::pin(sleep(place.places.rules.idle_time_max)),
        idle_since: 0,
        writing: None,
        lingering: None,
    };
    let service = service_fn(move |request: Request<Incoming>| {
        let busy = Busy::begin(&talk);
        let request = request.map(|body| Body::new(Reading::begin(&talk, body)));
        let answer = router.clone().oneshot(request);
        async move { answer.await.map(|response| response.map(|body| Answering { body, _busy: busy })) }
    });
    let mut connection = pin!(http1::Builder::new().serve_connection(TokioIo::new(io), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke off");
    }
    drop(place);
}

/// A socket that does not wait for ever.
struct Timed {
    stream: TcpStream,
    rules: ConnectionRules,
    talk: Arc<Talk>,
    stop: CancellationToken,
    /// How many requests had been answered when it was last read from: the next head starts afresh.
    answered: usize,
    /// Whether the head of a request has begun to arrive.
    head_begun: bool,
    head: Option<Pin<Box<Sleep>>>,
    /// Armed once for many requests: a timer for each would cost more than most of them.
    idle: Pin<Box<Sleep>>,
    /// How many requests had been answered when that timer was armed.
    idle_since: usize,
    writing: Option<Pin<Box<Sleep>>>,
    lingering: Option<Lingering>,
}

/// What is still taken of a body after its answer.
struct Lingering {
    bytes_left: usize,
    over: Pin<Box<Sleep>>,
}

impl Timed {
    /// Nothing can be read now: ends the connection when that has lasted too long.
    fn poll_silence(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What is read while a request is under way is its body, which has the time of its request.
        let busy = self.talk.busy.load(Ordering::Acquire);
        if !busy && self.stop.is_cancelled() {
            // As if the client had gone: no request is under way, and half a head is none.
            return Poll::Ready(Ok(()));
        }
        let late = || Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "no request came in time")));
        if !busy && self.head_begun {
            let timer = self.head.get_or_insert_with(|| Box::pin(sleep(self.rules.header_time_max)));
            if timer.as_mut().poll(context).is_ready() {
                return late();
            }
        }
        while self.idle.as_mut().poll(context).is_ready() {
            if !busy && self.idle_since == self.answered {
                return late();
            }
            self.idle_since = self.answered;
            self.idle = Box::pin(sleep(self.rules.idle_time_max));
        }
        Poll::Pending
    }

    /// Takes and throws away what the client still sends of a body that was not read: to its end, or to our bounds.
    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let begin = || Lingering { bytes_left: LINGER_BYTES_MAX, over: Box::pin(sleep(LINGER_TIME_MAX)) };
        let lingering = self.lingering.get_or_insert_with(begin);
        let mut space = [0; LINGER_PIECE_BYTES];
        while lingering.bytes_left > 0 && lingering.over.as_mut().poll(context).is_pending() {
            let mut piece = ReadBuf::new(&mut space);
            match ready!(Pin::new(&mut self.stream).poll_read(context, &mut piece)) {
                Ok(()) if !piece.filled().is_empty() => {
                    lingering.bytes_left = lingering.bytes_left.saturating_sub(piece.filled().len());
                }
                // The client has ended, or has gone.
                Ok(()) | Err(_) => break,
            }
        }
        Poll::Ready(())
    }

    /// The same for what is written.
    fn poll_stall<T>(&mut self, written: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.writing = None;
            return written;
        }
        let timer = self.writing.get_or_insert_with(|| Box::pin(sleep(ANSWER_STALL_MAX)));
        timer.as_mut().poll(context).map(|()| Err(io::Error::new(io::ErrorKind::TimedOut, "the answer was not read")))
    }
}

impl AsyncRead for Timed {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let answered = this.talk.answered.load(Ordering::Acquire);
        if std::mem::replace(&mut this.answered, answered) != answered {
            this.head_begun = false;
            this.head = None;
        }
        if Pin::new(&mut this.stream).poll_read(context, buffer)?.is_pending() {
            return this.poll_silence(context);
        }
        // The time of the head starts if it is not here at once.
        this.head_begun = true;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Timed {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.poll_stall(written, context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(context, pieces);
        this.poll_stall(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.lingering.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
        }
        if this.talk.unread.load(Ordering::Acquire) {
            ready!(this.poll_linger(context));
        }
        Poll::Ready(Ok(()))
    }
}
