//! COM1, on which everything is told, and the port that ends the virtual machine.

use core::arch::asm;
use core::fmt::{self, Write};

const COM1: u16 = 0x3F8;
/// Where QEMU's `isa-debug-exit` is attached: `-device isa-debug-exit,iobase=0xf4,iosize=4`.
const DEBUG_EXIT: u16 = 0xF4;

/// How the run went. QEMU exits with twice this number plus one.
#[derive(Clone, Copy)]
pub enum Status {
    /// Exit status 33.
    Good = 16,
    /// Exit status 35.
    Bad = 17,
}

/// Prints a line.
macro_rules! say {
    ($($text:tt)*) => {{
        use core::fmt::Write as _;
        // Writing to the port cannot fail, and a `Display` of this program does not.
        let _ = write!($crate::serial::Serial, "kiln stand-in: {}\n", format_args!($($text)*));
    }};
}
pub(crate) use say;

/// COM1 as a sink for text.
pub struct Serial;

impl Write for Serial {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if byte == b'\n' {
                send(b'\r');
            }
            send(byte);
        }
        Ok(())
    }
}

fn send(byte: u8) {
    // Without a limit a port that is missing or stuck would hide how the run went.
    for _ in 0..0x10_0000 {
        if port_in(COM1 + 5) & 0x20 != 0 {
            break;
        }
    }
    port_out(COM1, byte);
}

/// Sets COM1 to 115200 bits per second, eight data bits, no parity, one stop bit, FIFO on.
pub fn set_up() {
    for (register, value) in [(3, 0x80), (0, 1), (1, 0), (3, 0x03), (1, 0), (2, 0x07), (4, 0x03)] {
        port_out(COM1 + register, value);
    }
}

/// Ends the virtual machine, or stops if it cannot be ended. Nothing may be printed any more: the machine
/// runs on for a moment.
pub fn leave(status: Status) -> ! {
    // The last characters may still be in the FIFO.
    for _ in 0..0x10_0000 {
        if port_in(COM1 + 5) & 0x40 != 0 {
            break;
        }
    }
    // SAFETY: nothing happens on a machine without that device.
    unsafe { asm!("out dx, eax", in("dx") DEBUG_EXIT, in("eax") status as u32, options(nomem, nostack)) };
    loop {
        // SAFETY: with interrupts off this stops the processor for good.
        unsafe { asm!("hlt", options(nomem, nostack)) };
    }
}

fn port_in(port: u16) -> u8 {
    let value;
    // SAFETY: only ports of COM1 are read, which has no effect on memory.
    unsafe { asm!("in al, dx", in("dx") port, out("al") value, options(nomem, nostack)) };
    value
}

fn port_out(port: u16, value: u8) {
    // SAFETY: as for `port_in`.
    unsafe { asm!("out dx, al", in("dx") port, in("al") value, options(nomem, nostack)) };
}
