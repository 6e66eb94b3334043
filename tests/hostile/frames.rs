//! The other end of a connection, with HTTP/2 by hand.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const ACK: u8 = 1;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

pub const MAX_STREAMS: u16 = 3;
pub const INITIAL_WINDOW: u16 = 4;
pub const MAX_FRAME: u16 = 5;

const PREFACE: usize = 24;

pub struct Peer {
    tcp: TcpStream,
    /// Counts the requests of all.
    asked: Arc<AtomicUsize>,
}

impl Peer {
    pub fn new(tcp: TcpStream, asked: Arc<AtomicUsize>) -> Self {
        tcp.set_nodelay(true).expect("no delay");
        Self { tcp, asked }
    }

    pub fn close(&self) {
        let _ = self.tcp.shutdown(Shutdown::Both);
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.tcp.write_all(bytes)
    }

    /// These bytes again and again, as fast as they are taken.
    pub fn flood(&mut self, bytes: &[u8]) -> io::Result<()> {
        let many = bytes.repeat((64 << 10) / bytes.len() + 1);
        loop {
            self.write(&many)?;
        }
    }

    pub fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
        self.write(&frame(kind, flags, stream, payload))
    }

    /// Takes the client's beginning, and gives one with these settings.
    pub fn greet(&mut self, settings: &[(u16, u32)]) -> io::Result<()> {
        let mut preface = [0; PREFACE];
        self.tcp.read_exact(&mut preface)?;
        self.send(SETTINGS, 0, 0, &settings_of(settings))
    }

    /// The stream of the next whole request; what else comes is answered well.
    pub fn request(&mut self) -> io::Result<u32> {
        loop {
            let (kind, flags, stream, payload) = self.receive()?;
            match kind {
                SETTINGS if flags & ACK == 0 => self.send(SETTINGS, ACK, 0, &[])?,
                PING if flags & ACK == 0 => self.send(PING, ACK, 0, &payload)?,
                DATA | HEADERS if flags & END_STREAM != 0 => {
                    self.asked.fetch_add(1, Ordering::SeqCst);
                    return Ok(stream);
                }
                _ => {}
            }
        }
    }

    /// Answers nothing but pings.
    pub fn stay(&mut self) -> io::Result<()> {
        loop {
            self.request()?;
        }
    }

    fn receive(&mut self) -> io::Result<(u8, u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        self.tcp.read_exact(&mut head)?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.tcp.read_exact(&mut payload)?;
        Ok((kind, flags, u32::from_be_bytes(stream), payload))
    }
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = (payload.len() as u32).to_be_bytes();
    [&[a, b, c, kind, flags][..], &stream.to_be_bytes(), payload].concat()
}

pub fn settings_of(settings: &[(u16, u32)]) -> Vec<u8> {
    let one = |(name, value): &(u16, u32)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat();
    settings.iter().flat_map(one).collect()
}

/// A GOAWAY that says which stream was the last one to be seen.
pub fn goaway(last: u32, reason: u32) -> Vec<u8> {
    [last.to_be_bytes(), reason.to_be_bytes()].concat()
}

/// The head of a good answer.
pub fn good_head() -> Vec<u8> {
    const STATUS_200: u8 = 0x88;
    [&[STATUS_200][..], &field("content-type", "application/grpc")].concat()
}

/// A header, not indexed and not compressed; of less than 127 bytes each.
pub fn field(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    [vec![0], text(name), text(value)].concat()
}
