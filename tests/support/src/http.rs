//! One HTTP request over a plain socket: what the lab's control endpoint and the doubles are asked with.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use anyhow::{Context, Result};

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Header lines as they came.
    pub headers: Vec<String>,
    /// Body as text.
    pub body: String,
}

impl Answer {
    /// Returns a header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// Asks `address` (`host:port`) once and reads the answer to its end.
///
/// # Errors
/// When nobody answers, or not in HTTP.
pub fn request(method: &str, address: &str, path: &str, body: &str) -> Result<Answer> {
    let mut socket = TcpStream::connect(address).with_context(|| format!("connect to {address}"))?;
    socket.set_read_timeout(Some(Duration::from_secs(60)))?;
    // HTTP/1.0: the end of the body is the end of the connection.
    let length = body.len();
    write!(socket, "{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: {length}\r\n\r\n{body}")?;
    let mut text = Vec::new();
    socket.read_to_end(&mut text).with_context(|| format!("{method} {address}{path}"))?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").context("an answer without an end of its head")?;
    let mut lines = head.lines();
    let status =
        lines.next().and_then(|line| line.split(' ').nth(1)).context("an answer without a status")?;
    Ok(Answer { status: status.parse()?, headers: lines.map(Into::into).collect(), body: body.into() })
}
