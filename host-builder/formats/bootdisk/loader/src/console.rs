//! The two consoles, which show the same text and accept the same keys: COM1, and screen and keyboard. Either
//! may be missing.

use crate::firmware::{self, Registers};

const COM1_DATA: u16 = 0x3F8;
const COM1_LINE_STATUS: u16 = 0x3FD;
const DATA_READY: u8 = 0x01;
/// Overrun, parity, framing error or break: the byte that came with it means nothing.
const LINE_ERRORS: u8 = 0x1E;
const TRANSMITTER_EMPTY: u8 = 0x20;
/// What a port without a device reads as.
const ABSENT: u8 = 0xFF;

/// The high half of the vector of INT 10h.
const SCREEN_VECTOR_SEGMENT: usize = 0x10 * 4 + 2;
/// Where the firmware's own code lies. A screen's code lies in the ROM of the display adapter.
const FIRMWARE_SEGMENT: u16 = 0xF000;

/// A key, as far as the menu tells keys apart.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// 1 to 9.
    Digit(u8),
    /// Cursor up.
    Up,
    /// Cursor down.
    Down,
    /// Enter.
    Enter,
    /// Any other key.
    Other,
}

/// How much of a terminal's cursor key has been received: ESC, `[` or `O`, letter.
enum Escape {
    None,
    Started,
    Introduced,
}

/// Both consoles.
pub struct Console {
    com1: bool,
    screen: bool,
    escape: Escape,
}

impl Console {
    /// Finds out what is there. The first sector has set up the serial port.
    pub fn new() -> Self {
        let com1 = firmware::port_in(COM1_LINE_STATUS) != ABSENT;
        // Firmware that has no screen but a serial port may redirect INT 10h to that port (SeaBIOS does);
        // then one of the two ways to the same terminal is enough.
        let screen = !com1 || firmware::low_word(SCREEN_VECTOR_SEGMENT) != FIRMWARE_SEGMENT;
        Self { com1, screen, escape: Escape::None }
    }

    /// Writes text, in which `\n` ends a line.
    pub fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// Writes bytes, in which `\n` ends a line.
    pub fn bytes(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if byte == b'\n' {
                self.byte(b'\r');
            }
            self.byte(byte);
        }
    }

    /// Writes a number.
    pub fn number(&mut self, mut number: u32) {
        let mut digits = [0; 10];
        let mut length = 0;
        for place in digits.iter_mut().rev() {
            *place = b'0' + (number % 10) as u8;
            number /= 10;
            length += 1;
            if number == 0 {
                break;
            }
        }
        self.bytes(digits.get(digits.len() - length..).unwrap_or_default());
    }

    fn byte(&mut self, byte: u8) {
        if self.com1 {
            // A full FIFO takes 1.4 ms to empty, and reading a port about one microsecond. A port that never
            // gets ready must not hang the machine.
            for _ in 0..0x2000 {
                if firmware::port_in(COM1_LINE_STATUS) & TRANSMITTER_EMPTY != 0 {
                    firmware::port_out(COM1_DATA, byte);
                    break;
                }
            }
        }
        if self.screen {
            let teletype = 0x0E00 | u32::from(byte);
            let _ = Registers { eax: teletype, ebx: 7, ..Registers::default() }.call(0x10);
        }
    }

    /// The next key, if one was pressed.
    pub fn poll_key(&mut self) -> Option<Key> {
        self.poll_com1().or_else(poll_keyboard)
    }

    /// Waits until a key is pressed.
    pub fn wait_key(&mut self) {
        while self.poll_key().is_none() {
            firmware::idle();
        }
    }

    fn poll_com1(&mut self) -> Option<Key> {
        while self.com1 {
            let status = firmware::port_in(COM1_LINE_STATUS);
            if status == ABSENT || status & DATA_READY == 0 {
                return None;
            }
            let byte = firmware::port_in(COM1_DATA);
            if status & LINE_ERRORS != 0 {
                continue;
            }
            let key = self.decode(byte);
            if key.is_some() {
                return key;
            }
        }
        None
    }

    /// Takes one byte from a terminal. The first byte of a cursor key already counts as a key: it stops the
    /// countdown.
    fn decode(&mut self, byte: u8) -> Option<Key> {
        let (escape, key) = match (&self.escape, byte) {
            (_, 0x1B) => (Escape::Started, Some(Key::Other)),
            (Escape::Started, b'[' | b'O') => (Escape::Introduced, None),
            (Escape::Introduced, b'A') => (Escape::None, Some(Key::Up)),
            (Escape::Introduced, b'B') => (Escape::None, Some(Key::Down)),
            (Escape::Introduced, _) => (Escape::None, Some(Key::Other)),
            (_, byte) => (Escape::None, Some(character(byte))),
        };
        self.escape = escape;
        key
    }
}

/// A key of the keyboard through INT 16h: AH=01h asks whether there is one, AH=00h takes it.
fn poll_keyboard() -> Option<Key> {
    if (Registers { eax: 0x0100, ..Registers::default() }).call(0x16).zero() {
        return None;
    }
    let key = Registers::default().call(0x16).eax;
    Some(match (key >> 8) as u8 {
        0x48 => Key::Up,
        0x50 => Key::Down,
        _ => character(key as u8),
    })
}

fn character(byte: u8) -> Key {
    match byte {
        b'1'..=b'9' => Key::Digit(byte - b'0'),
        b'\r' | b'\n' => Key::Enter,
        _ => Key::Other,
    }
}
