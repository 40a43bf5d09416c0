//! The line for what is not HTTP, in front of a server that says everything again.

use crate::fault_proxy::patiently;
use crate::fault_proxy::tcp::{Line, Mode};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A line, and how many bytes came to the server behind it.
async fn bench() -> (Line, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let heard = Arc::new(AtomicUsize::new(0));
    let count = heard.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let count = count.clone();
            tokio::spawn(async move {
                let mut buffer = [0; 64];
                while let Ok(bytes @ 1..) = stream.read(&mut buffer).await {
                    count.fetch_add(bytes, Ordering::SeqCst);
                    if stream.write_all(&buffer[..bytes]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (Line::to(&address).await, heard)
}

async fn say(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.expect("sent");
}

async fn hear(stream: &mut TcpStream, bytes: usize) -> String {
    let mut heard = vec![0; bytes];
    patiently("an echo", stream.read_exact(&mut heard)).await.expect("an echo");
    String::from_utf8(heard).expect("text")
}

#[tokio::test]
async fn bytes_pass_wait_and_are_lost() {
    let (line, heard) = bench().await;
    let mut stream = TcpStream::connect(line.address()).await.expect("a connection");
    say(&mut stream, "one").await;
    assert_eq!(hear(&mut stream, 3).await, "one");

    line.set(Mode::Hold);
    say(&mut stream, "two").await;
    let waited = tokio::time::timeout(Duration::from_millis(30), hear(&mut stream, 3)).await;
    assert!(waited.is_err(), "it waits");
    assert_eq!(heard.load(Ordering::SeqCst), 3, "the server has not heard of it");
    line.set(Mode::Pass);
    assert_eq!(hear(&mut stream, 3).await, "two");

    line.set(Mode::Mute);
    say(&mut stream, "three").await;
    line.lost(5).await;
    assert_eq!(heard.load(Ordering::SeqCst), 11, "the server has heard it");
    line.set(Mode::Pass);
    say(&mut stream, "four").await;
    assert_eq!(hear(&mut stream, 4).await, "four", "and its answer to the third is lost for ever");
}

#[tokio::test]
async fn a_cut_ends_open_connections_and_spares_new_ones() {
    let (line, _) = bench().await;
    let mut stream = TcpStream::connect(line.address()).await.expect("a connection");
    say(&mut stream, "one").await;
    assert_eq!(hear(&mut stream, 3).await, "one");
    line.cut();
    let ended = patiently("the end", stream.read(&mut [0; 8])).await;
    assert!(matches!(ended, Ok(0) | Err(_)));
    let mut stream = TcpStream::connect(line.address()).await.expect("a connection");
    say(&mut stream, "two").await;
    assert_eq!(hear(&mut stream, 3).await, "two");
}
