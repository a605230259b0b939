//! A proxy between a lane and its Postgres: counts statements on the wire, and breaks the connection at a chosen one.
//!
//! It understands just enough of the protocol: a frontend message is a type byte, a length and a body, and only `Query` and
//! `Execute` make the server do something. What such a message does is shown to the rule of the test as a [`Step`].

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use counterfoil::store::locks::Lock;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::sync::Notify;

use super::service::TestService;
use super::story::until;

/// One statement on its way to the server.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    /// Which connection since the proxy was started, from 0.
    pub(crate) connection: usize,
    /// Its text.
    pub(crate) sql: String,
}

/// What becomes of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is executed, and its answer arrives.
    Pass,
    /// The connection breaks before the server sees it.
    Cut,
    /// The server executes it, and the connection breaks before the answer arrives.
    LoseAnswer,
    /// The caller's connection breaks at once; the server sees the statement only when [`Proxy::release`] is called.
    Hold,
}

type Rule = Box<dyn FnMut(&Step) -> Fate + Send>;

struct Shared {
    steps: Mutex<Vec<Step>>,
    rule: Mutex<Rule>,
    released: Notify,
    connections: AtomicUsize,
    closed: AtomicBool,
    turned_away: AtomicUsize,
}

/// Listens on a Unix socket until it is dropped.
pub(crate) struct Proxy {
    options: PgConnectOptions,
    shared: Arc<Shared>,
    listening: tokio::task::JoinHandle<()>,
    _dir: tempfile::TempDir,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Proxy {
    /// A proxy that lets everything pass.
    pub(crate) fn start(server: &PgConnectOptions) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join(".s.PGSQL.5432")).unwrap();
        let options = server.clone().socket(dir.path()).port(5432).ssl_mode(sqlx::postgres::PgSslMode::Disable);
        let shared = Arc::new(Shared {
            steps: Mutex::default(),
            rule: Mutex::new(Box::new(|_| Fate::Pass)),
            released: Notify::new(),
            connections: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            turned_away: AtomicUsize::new(0),
        });
        let listening = tokio::spawn(listen(listener, server.clone(), Arc::clone(&shared)));
        Self { options, shared, listening, _dir: dir }
    }

    /// How to connect through it.
    pub(crate) fn options(&self) -> PgConnectOptions {
        self.options.clone()
    }

    /// From now on each statement is judged by this rule.
    pub(crate) fn rule(&self, rule: impl FnMut(&Step) -> Fate + Send + 'static) {
        *self.shared.rule.lock().unwrap() = Box::new(rule);
    }

    /// Refuses connections, and breaks those that are there at their next statement.
    pub(crate) fn close(&self, closed: bool) {
        self.shared.closed.store(closed, Ordering::SeqCst);
    }

    /// How many connections were refused.
    pub(crate) fn turned_away(&self) -> usize {
        self.shared.turned_away.load(Ordering::SeqCst)
    }

    /// Lets the statement that is held go on to the server.
    pub(crate) fn release(&self) {
        self.shared.released.notify_one();
    }

    /// The statements since this was last asked.
    pub(crate) fn take_steps(&self) -> Vec<Step> {
        std::mem::take(&mut self.shared.steps.lock().unwrap())
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn connect(server: &PgConnectOptions) -> std::io::Result<Box<dyn Stream>> {
    let host = PathBuf::from(server.get_host());
    let dir = server.get_socket().cloned().or_else(|| host.is_absolute().then_some(host));
    Ok(match dir {
        Some(dir) => Box::new(UnixStream::connect(dir.join(format!(".s.PGSQL.{}", server.get_port()))).await?),
        None => Box::new(TcpStream::connect((server.get_host(), server.get_port())).await?),
    })
}

async fn listen(listener: UnixListener, server: PgConnectOptions, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        if shared.closed.load(Ordering::SeqCst) {
            shared.turned_away.fetch_add(1, Ordering::SeqCst);
            continue;
        }
        let Ok(server) = connect(&server).await else { continue };
        let number = shared.connections.fetch_add(1, Ordering::SeqCst);
        let shared = Arc::clone(&shared);
        // A connection that breaks is what a proxy for faults is for.
        tokio::spawn(async move { carry(client, server, number, &shared).await.ok() });
    }
}

async fn read_body(from: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Vec<u8>> {
    let length = from.read_u32().await?;
    let mut body = vec![0; usize::try_from(length).unwrap().saturating_sub(4)];
    from.read_exact(&mut body).await?;
    Ok(body)
}

fn frame(kind: Option<u8>, body: &[u8]) -> Vec<u8> {
    let mut bytes: Vec<u8> = kind.into_iter().collect();
    bytes.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
    bytes.extend(body);
    bytes
}

/// The texts of a message that end in a zero byte.
fn texts(body: &[u8]) -> impl Iterator<Item = String> + '_ {
    body.split(|byte| *byte == 0).map(|text| String::from_utf8_lossy(text).into_owned())
}

async fn carry(client: UnixStream, server: Box<dyn Stream>, number: usize, shared: &Shared) -> std::io::Result<()> {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = tokio::io::split(server);
    let mute = AtomicBool::new(false);
    let up = async {
        let startup = read_body(&mut from_client).await?;
        to_server.write_all(&frame(None, &startup)).await?;
        let (mut prepared, mut bound) = (HashMap::new(), String::new());
        loop {
            let kind = from_client.read_u8().await?;
            let body = read_body(&mut from_client).await?;
            let sql = match kind {
                b'P' => {
                    let mut texts = texts(&body);
                    prepared.insert(texts.next().unwrap(), texts.next().unwrap());
                    None
                }
                b'B' => {
                    bound = texts(&body).nth(1).and_then(|name| prepared.get(&name).cloned()).unwrap_or_default();
                    None
                }
                b'E' => Some(bound.clone()),
                b'Q' => texts(&body).next(),
                _ => None,
            };
            let fate = sql.map_or(Fate::Pass, |sql| {
                let step = Step { connection: number, sql };
                let fate =
                    if shared.closed.load(Ordering::SeqCst) { Fate::Cut } else { (shared.rule.lock().unwrap())(&step) };
                shared.steps.lock().unwrap().push(step);
                fate
            });
            match fate {
                Fate::Pass => {}
                Fate::Cut => return Err(std::io::ErrorKind::ConnectionReset.into()),
                Fate::LoseAnswer => mute.store(true, Ordering::SeqCst),
                Fate::Hold => return Ok(Some(frame(Some(kind), &body))),
            }
            to_server.write_all(&frame(Some(kind), &body)).await?;
        }
    };
    let down = async {
        loop {
            let kind = from_server.read_u8().await?;
            let body = read_body(&mut from_server).await?;
            if mute.load(Ordering::SeqCst) {
                // Ready for query: the statement is done, and nobody will know.
                if kind == b'Z' {
                    return Ok(None);
                }
            } else {
                to_client.write_all(&frame(Some(kind), &body)).await?;
            }
        }
    };
    let held: std::io::Result<Option<Vec<u8>>> = tokio::select! { ended = up => ended, ended = down => ended };
    if let Some(message) = held? {
        // The caller must see it at once; the server sees nothing yet, and stays where it is.
        drop((from_client, to_client));
        shared.released.notified().await;
        to_server.write_all(&message).await?;
        std::future::pending::<()>().await;
    }
    Ok(())
}

/// Holds up the lane behind a proxy, until the connection that is answered is closed: the catalogue is locked as a change
/// locks it, and the lane, which sweeps when there is nothing else to do, waits in the middle of an empty batch.
pub(crate) async fn hold_up(service: &TestService, proxy: &Proxy) -> PgConnection {
    let mut gate = PgConnection::connect_with(&service.db.connect_options()).await.unwrap();
    sqlx::query("select pg_advisory_lock($1)").bind(Lock::Catalogue.number()).execute(&mut gate).await.unwrap();
    proxy.take_steps();
    until("the lane is held up", || async { proxy.take_steps().iter().any(|step| step.sql.starts_with("begin")) })
        .await;
    gate
}
