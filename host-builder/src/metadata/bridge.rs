//! A serial device as a socket, so that the server waits for all its channels in one way.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use serialport::FlowControl;

use crate::report::Hint;

/// Bits per second: what illumos and cloud-init set. Emulated ports ignore it.
const SPEED: u32 = 9600;

/// How long one read or write of the device waits before it is tried again.
const PATIENCE: Duration = Duration::from_millis(500);

/// Opens a serial device for itself alone, without flow control, and gives the other end of what it carries. That ends
/// when the device does.
///
/// # Errors
/// There is no such device, it is no serial one, or somebody else has it.
pub fn open(path: &Path) -> Result<UnixStream> {
    let name = path.to_string_lossy();
    let device = || -> Result<_> {
        let port =
            serialport::new(&*name, SPEED).flow_control(FlowControl::None).timeout(PATIENCE).open_native()?;
        let reading = port.try_clone_native()?;
        Ok((port, reading))
    };
    let (mut port, mut reading) =
        device().with_context(|| format!("cannot open the serial device {name}")).hint(
            "see that it exists, that you may use it (group dialout), and that no other program has it",
        )?;
    let (ours, theirs) = UnixStream::pair().context("cannot make a pair of sockets")?;
    let mut to_server = theirs.try_clone().context("cannot copy a socket")?;
    let mut from_server = theirs;
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        loop {
            match reading.read(&mut buffer) {
                // The port waits for a byte, so there is none only after a hang-up.
                Ok(0) => {
                    tracing::warn!("the serial device was hung up");
                    break;
                }
                Ok(count) if to_server.write_all(&buffer[..count]).is_err() => break,
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::Interrupted) => {}
                Err(error) => {
                    tracing::warn!("the serial device failed: {error}");
                    break;
                }
            }
        }
        // Either way nothing more comes of this device.
        let _ = to_server.shutdown(Shutdown::Both);
    });
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = from_server.read(&mut buffer) {
            if write_patiently(&mut port, &buffer[..count]).is_err() {
                break;
            }
        }
        let _ = from_server.shutdown(Shutdown::Both);
    });
    Ok(ours)
}

/// Writes everything, however long the device takes to send it.
fn write_patiently(port: &mut serialport::TTYPort, mut bytes: &[u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        match port.write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
