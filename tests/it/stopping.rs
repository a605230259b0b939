//! SIGTERM to the real binary, while clients do what keeps a polite service from ending.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::demo::{counterfoil, folder};
use super::examples::Served;

fn client(served: &Served, bytes: &str) -> TcpStream {
    let address = served.address.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(bytes.as_bytes()).unwrap();
    stream
}

/// Reads until this has come.
fn wait_for(stream: &mut TcpStream, text: &str) {
    let mut seen = Vec::new();
    let mut buffer = [0; 1024];
    while !String::from_utf8_lossy(&seen).contains(text) {
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "closed after {}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&buffer[..count]);
    }
}

#[test]
fn sigterm_ends_the_service_within_its_grace_whatever_clients_do() {
    let folder = folder();
    let mut served = Served::start(folder.path(), &["--stop-seconds-max", "1"]);
    let minted = counterfoil("token", folder.path()).args(["--scope", "admin"]).output().unwrap();
    let token = String::from_utf8(minted.stdout).unwrap();
    let head = format!("host: h\r\nauthorization: Bearer {}\r\n", token.trim());

    let limits = std::fs::read_to_string(format!("/proc/{}/limits", served.child.id())).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let [soft, hard] = [3, 4].map(|place| files.split_whitespace().nth(place).unwrap());
    assert_eq!(soft, hard, "the limit of open files is raised");

    let silent = client(&served, "");
    let half_a_line = client(&served, "GET /v1/ev");
    let half_a_body = client(
        &served,
        &format!(
            "POST /v1/preflight HTTP/1.1\r\n{head}content-type: application/json\r\ncontent-length: 500\r\n\r\n{{"
        ),
    );
    let mut events = client(&served, &format!("GET /v1/events HTTP/1.1\r\n{head}accept: text/event-stream\r\n\r\n"));
    wait_for(&mut events, "text/event-stream");
    let mut lines = client(
        &served,
        &format!(
            "POST /v1/usage HTTP/1.1\r\n{head}content-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{{\r\n"
        ),
    );
    wait_for(&mut lines, "application/x-ndjson");

    let began = Instant::now();
    assert!(std::process::Command::new("kill").arg(served.child.id().to_string()).status().unwrap().success());
    let status = served.child.wait().unwrap();
    let took = began.elapsed();
    assert!(status.success(), "{status}");
    // A second of grace, and the private Postgres.
    assert!(took < Duration::from_secs(8), "it took {took:?}");
    drop((silent, half_a_line, half_a_body, events, lines));
}
