//! Connections on real sockets: each bound holds, and the end comes whatever clients do.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::routing::{get, post};
use futures::stream;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::connections::{ConnectionRules, serve};

/// Longer than any of these waits should be, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(300);

const RULES: ConnectionRules =
    ConnectionRules { max: 64, per_address_max: 64, header_time_max: LONG, idle_time_max: LONG, stop_time_max: SHORT };

struct Served {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Served {
    async fn start(rules: ConnectionRules) -> Self {
        let endless = || async {
            let piece = Bytes::from(vec![b'x'; 64 * 1024]);
            Body::from_stream(stream::repeat_with(move || Ok::<_, Infallible>(piece.clone())))
        };
        let router = Router::new()
            .route("/", get(|| async { "hello" }))
            .route("/echo", post(|body: String| async move { body }))
            .route("/refused", post(|| async { (StatusCode::FORBIDDEN, "not you: hello") }))
            .route("/never", get(std::future::pending::<&'static str>))
            .route("/endless", get(endless));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let stop = CancellationToken::new();
        let task = tokio::spawn(serve(listener, router, rules, stop.clone()));
        Self { address, stop, task }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("a connection")
    }

    /// A connection that has sent this.
    async fn sent(&self, bytes: &str) -> TcpStream {
        let mut stream = self.connect().await;
        stream.write_all(bytes.as_bytes()).await.expect("sent");
        stream
    }

    /// Stops, and says how long that took.
    async fn stopped(self) -> Duration {
        let began = Instant::now();
        self.stop.cancel();
        timeout(PATIENCE, self.task).await.expect("it ends").expect("it does not panic");
        began.elapsed()
    }
}

const HELLO: &str = "GET / HTTP/1.1\r\nhost: h\r\n\r\n";

/// Reads one whole small answer.
async fn answer(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    while !text.ends_with("hello") {
        let count = timeout(PATIENCE, stream.read(&mut buffer)).await.expect("an answer").expect("no error");
        assert!(count > 0, "closed after {text:?}");
        text.push_str(std::str::from_utf8(&buffer[..count]).expect("text"));
    }
    text
}

/// Whether the other side closes the connection, whatever it says before.
async fn closed(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    // A reset is an end as well.
    let _reset = timeout(PATIENCE, stream.read_to_end(&mut all)).await.expect("it is closed");
    String::from_utf8_lossy(&all).into_owned()
}

#[tokio::test]
async fn a_connection_without_a_request_is_closed() {
    let served = Served::start(ConnectionRules { idle_time_max: SHORT, ..RULES }).await;
    assert_eq!(closed(&mut served.connect().await).await, "", "one that never said anything");
    let mut used = served.sent(HELLO).await;
    answer(&mut used).await;
    used.write_all(HELLO.as_bytes()).await.expect("a second request");
    answer(&mut used).await;
    assert_eq!(closed(&mut used).await, "", "one that had its answers");
}

#[tokio::test]
async fn half_a_head_is_not_waited_for() {
    let served = Served::start(ConnectionRules { header_time_max: SHORT, ..RULES }).await;
    closed(&mut served.sent("GET / HT").await).await;
    let mut second = served.sent(HELLO).await;
    answer(&mut second).await;
    second.write_all(b"GET / HTTP/1.1\r\nx:").await.expect("half of a second head");
    closed(&mut second).await;
    // Each byte is a sign of life, and the head is still late.
    let mut dripping = served.connect().await;
    let began = Instant::now();
    while dripping.write_all(b"a").await.is_ok() {
        assert!(began.elapsed() < PATIENCE, "a head that drips in is waited for");
        tokio::time::sleep(SHORT / 10).await;
    }
}

#[tokio::test]
async fn the_time_of_a_head_is_not_that_of_the_request() {
    let served = Served::start(ConnectionRules { header_time_max: SHORT, idle_time_max: SHORT, ..RULES }).await;
    let mut slow = served.sent("POST /echo HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\nhe").await;
    // A body has the time of its request, which is a bound of the middleware.
    tokio::time::sleep(SHORT * 3).await;
    slow.write_all(b"llo").await.expect("the rest of the body");
    assert!(answer(&mut slow).await.starts_with("HTTP/1.1 200"));
    let mut never = served.sent("GET /never HTTP/1.1\r\nhost: h\r\n\r\n").await;
    let waited = timeout(SHORT * 3, never.read_u8()).await;
    assert!(waited.is_err(), "a request under way is not idle");
}

/// A body of this length that nobody reads, in one go, and only then is the answer looked at.
async fn refused(served: &Served, bytes: usize) -> TcpStream {
    let head = format!("POST /refused HTTP/1.1\r\nhost: h\r\ncontent-length: {bytes}\r\n\r\n");
    let mut stream = served.sent(&head).await;
    stream.write_all(&vec![b'x'; bytes]).await.expect("the body is taken");
    stream
}

#[tokio::test]
async fn whoever_is_still_sending_reads_why_it_is_refused() {
    let served = Served::start(RULES).await;
    for bytes in [0, 1, 64 * 1024, 1024 * 1024, 8 * 1024 * 1024] {
        let answered = answer(&mut refused(&served, bytes).await).await;
        assert!(answered.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{bytes}: {answered}");
    }
}

#[tokio::test]
async fn a_body_without_an_end_is_not_taken_for_ever() {
    let served = Served::start(RULES).await;
    let head = "POST /refused HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n";
    for piece in [1, 64 * 1024] {
        let mut stream = served.sent(head).await;
        let chunk = format!("{piece:x}\r\n{}\r\n", "x".repeat(piece));
        let began = Instant::now();
        while stream.write_all(chunk.as_bytes()).await.is_ok() {
            assert!(began.elapsed() < PATIENCE, "{piece}: it is taken still");
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn one_connection_more_than_may_be_is_turned_away_and_the_others_stay() {
    for rules in [ConnectionRules { max: 2, ..RULES }, ConnectionRules { per_address_max: 2, ..RULES }] {
        let served = Served::start(rules).await;
        let mut kept = [served.sent(HELLO).await, served.sent(HELLO).await];
        for one in &mut kept {
            answer(one).await;
        }
        let refused = closed(&mut served.connect().await).await;
        let (head, body) = refused.split_once("\r\n\r\n").expect("an answer");
        assert!(
            head.starts_with("HTTP/1.1 503 Service Unavailable\r\n") && head.contains("\r\nretry-after: 1\r\n"),
            "{head}"
        );
        let problem: serde_json::Value = serde_json::from_str(body).expect("a problem");
        assert_eq!(problem["code"], "overloaded");
        for one in &mut kept {
            one.write_all(HELLO.as_bytes()).await.expect("sent");
            answer(one).await;
        }
        // A place that is given back can be had.
        drop(kept);
        let began = Instant::now();
        loop {
            let mut again = served.sent(HELLO).await;
            let mut first = [0; 12];
            if timeout(PATIENCE, again.read_exact(&mut first)).await.expect("an answer").is_ok()
                && &first == b"HTTP/1.1 200"
            {
                break;
            }
            assert!(began.elapsed() < PATIENCE, "no place comes free");
        }
    }
}

#[tokio::test]
async fn the_end_comes_whatever_clients_do() {
    let served = Served::start(RULES).await;
    let mut clients = Vec::new();
    for bytes in [
        "",
        "GET / HT",
        "GET / HTTP/1.1\r\nhost: h\r\nx-half: ",
        "POST /echo HTTP/1.1\r\nhost: h\r\ncontent-length: 100\r\n\r\nhalf of a body",
        "GET /never HTTP/1.1\r\nhost: h\r\n\r\n",
        "GET /endless HTTP/1.1\r\nhost: h\r\n\r\n",
    ] {
        clients.push(served.sent(bytes).await);
    }
    // All of them are there: the last one has begun to get its answer, and reads no more of it.
    timeout(PATIENCE, clients[5].read_u8()).await.expect("it begins").expect("a byte");
    let took = served.stopped().await;
    assert!(took < SHORT + Duration::from_secs(5), "{took:?}");
}

#[tokio::test]
async fn clients_without_a_request_do_not_hold_up_the_end_at_all() {
    let served = Served::start(ConnectionRules { stop_time_max: LONG, ..RULES }).await;
    let mut used = served.sent(HELLO).await;
    answer(&mut used).await;
    let clients = [served.connect().await, served.sent("GET / HT").await, used];
    served.stopped().await;
    drop(clients);
}

#[tokio::test]
async fn what_is_under_way_at_the_end_is_answered() {
    let served = Served::start(ConnectionRules { stop_time_max: PATIENCE, ..RULES }).await;
    let mut posting =
        served.sent("POST /echo HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n").await;
    let mut going_on = [0; 25];
    timeout(PATIENCE, posting.read_exact(&mut going_on)).await.expect("an interim answer").expect("100 Continue");
    served.stop.cancel();
    posting.write_all(b"hello").await.expect("the body");
    let answered = answer(&mut posting).await;
    assert!(answered.contains("200 OK") && answered.contains("connection: close"), "{answered}");
    served.stopped().await;
}
