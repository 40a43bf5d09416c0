//! A client that speaks to the bare socket, to see what really comes out of it.

use std::io;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::client::Bench;

/// A connection to the sandbox.
pub struct Raw {
    stream: TcpStream,
}

impl Raw {
    pub async fn connect(bench: &Bench) -> Raw {
        let address = bench.handle.url().trim_start_matches("http://").to_owned();
        Raw { stream: TcpStream::connect(address).await.expect("a connection") }
    }

    /// Sends a request to the contract, whole.
    pub async fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&Value>) {
        let mut text = format!("{method} /closure/v1{path} HTTP/1.1\r\nhost: sandbox\r\n");
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        text.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
        self.stream.write_all(text.as_bytes()).await.expect("sent");
    }

    /// Everything up to the end of the connection, or how it broke off.
    pub async fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.stream.read_to_end(&mut bytes).await.map(|_| bytes)
    }

    /// One whole reply, on a connection that stays open: its head.
    pub async fn read_reply(&mut self) -> String {
        let (head, mut body) = self.read_head().await;
        while body.len() < content_length(&head) {
            assert_ne!(self.stream.read_buf(&mut body).await.expect("readable"), 0, "closed within the body");
        }
        head
    }

    /// Everything up to the end of the reply's head, and what came along with it.
    pub async fn read_head(&mut self) -> (String, Vec<u8>) {
        let mut bytes = Vec::new();
        loop {
            assert_ne!(self.stream.read_buf(&mut bytes).await.expect("readable"), 0, "closed within the head");
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                let body = bytes.split_off(end + 4);
                return (String::from_utf8(bytes).expect("text").to_lowercase(), body);
            }
        }
    }
}

/// The length that a head announces.
pub fn content_length(head: &str) -> usize {
    let line = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    line.expect("a content-length").trim().parse().expect("a number")
}
