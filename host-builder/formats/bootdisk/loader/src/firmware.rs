//! Calls of the firmware, which lives in real mode: INT 10h, 13h, 15h and 16h, and the data area at 0x400.

/// Registers before and after a software interrupt; `modes.s` knows the layout.
#[repr(C)]
#[derive(Default)]
pub struct Registers {
    /// EAX.
    pub eax: u32,
    /// EBX.
    pub ebx: u32,
    /// ECX.
    pub ecx: u32,
    /// EDX.
    pub edx: u32,
    /// ESI; DS is always 0.
    pub esi: u32,
    /// EDI; ES is always 0.
    pub edi: u32,
    /// EFLAGS after the call.
    pub eflags: u32,
    /// The interrupt's number, which [`Registers::call`] fills in.
    pub vector: u32,
}

const CARRY: u32 = 1;
const ZERO: u32 = 1 << 6;

unsafe extern "sysv64" {
    fn firmware_call(registers: *mut Registers);
}

impl Registers {
    /// Calls interrupt `vector` with these registers and takes over what it returns.
    pub fn call(mut self, vector: u8) -> Self {
        self.vector = u32::from(vector);
        // SAFETY: modes.s reads and writes exactly this structure, preserves what the ABI asks for, and uses
        // no memory that Rust knows of.
        unsafe { firmware_call(&raw mut self) };
        self
    }

    /// The carry flag, by which most firmware services report failure.
    pub fn carry(&self) -> bool {
        self.eflags & CARRY != 0
    }

    /// The zero flag.
    pub fn zero(&self) -> bool {
        self.eflags & ZERO != 0
    }
}

/// Sleeps until the next interrupt, at the latest the timer's, and lets the firmware handle it.
pub fn idle() {
    let _ = Registers::default().call(0);
}

/// Reads the 16-bit word at `address` of the interrupt vectors or the firmware's data area.
pub fn low_word(address: usize) -> u16 {
    // SAFETY: the first 1280 bytes of memory are mapped, and belong to the firmware, which may change them at
    // any time; hence the volatile read. Every address used is even.
    unsafe { core::ptr::with_exposed_provenance::<u16>(address).read_volatile() }
}

/// A clock in the firmware's timer ticks, of which about 18.2 make a second.
pub struct Clock {
    last: u16,
    elapsed: u32,
}

impl Clock {
    const COUNTER: usize = 0x46C;

    /// A clock that stands at zero.
    pub fn start() -> Self {
        Self { last: low_word(Self::COUNTER), elapsed: 0 }
    }

    /// Ticks since the start. It has to be asked at least once a tick: a change of the counter counts as one
    /// tick, because the counter falls back to zero at midnight.
    pub fn ticks(&mut self) -> u32 {
        let now = low_word(Self::COUNTER);
        if now != self.last {
            self.last = now;
            self.elapsed += 1;
        }
        self.elapsed
    }
}

/// Reads the I/O port `port`.
pub fn port_in(port: u16) -> u8 {
    let value;
    // SAFETY: the loader reads only ports of COM1 and of address line A20, which has no effect on memory that
    // Rust uses.
    unsafe {
        core::arch::asm!("in al, dx", in("dx") port, out("al") value, options(nomem, nostack, preserves_flags));
    }
    value
}

/// Writes `value` to the I/O port `port`.
pub fn port_out(port: u16, value: u8) {
    // SAFETY: as for `port_in`.
    unsafe {
        core::arch::asm!("out dx, al", in("dx") port, in("al") value, options(nomem, nostack, preserves_flags));
    }
}
