//! Messages of the Network Time Protocol, as a simple client sees them (RFC 5905 section 7.3, RFC 4330).

use std::fmt;

/// The length of a message without extensions, in bytes.
pub const LEN: usize = 48;

/// Nanoseconds since 1970. 64 bits reach until 2262.
pub type Moment = i64;

/// Nanoseconds in a second.
pub const SECOND: i64 = 1_000_000_000;

/// From 1900, where the protocol's time begins, to 1970, in seconds.
const FROM_1900_TO_1970: i64 = 2_208_988_800;

/// 2020 in the protocol's time. The protocol counts seconds in 32 bits, which begin anew in 2036. No server tells a time
/// before this program was written, so smaller numbers are of the next era; that is right until 2156.
const PIVOT: u32 = 3_786_825_600;

/// The clock of a server may be off by so much from those above it; it is no use then.
const LONGEST_DISTANCE: i64 = SECOND;

/// The question. `nonce` comes back in the answer: who cannot see the question cannot answer it.
pub fn question(nonce: u64) -> [u8; LEN] {
    let mut message = [0; LEN];
    // No leap warning, version 4, client.
    message[0] = 4 << 3 | 3;
    message[40..48].copy_from_slice(&nonce.to_be_bytes());
    message
}

/// What a server answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// When the question came there.
    pub received: Moment,
    /// When the answer left.
    pub sent: Moment,
    /// How far the server's clock may be off, in nanoseconds.
    pub distance: i64,
}

/// Why a message is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Useless {
    /// It is no answer to this question. The answer may come yet.
    Foreign,
    /// The server asks not to be asked: `DENY`, `RSTR`, `RATE` or another code.
    Refused([u8; 4]),
    /// The server does not know the time.
    Unsynchronised,
    /// It makes no sense.
    Nonsense,
}

impl fmt::Display for Useless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => f.write_str("no answer to the question"),
            Self::Refused(code) => write!(f, "it refuses with {}", code.escape_ascii()),
            Self::Unsynchronised => f.write_str("it does not know the time"),
            Self::Nonsense => f.write_str("its answer makes no sense"),
        }
    }
}

/// Reads what came in answer to [`question`].
pub fn answer(message: &[u8], nonce: u64) -> Result<Answer, Useless> {
    let (message, _) = message.split_first_chunk::<LEN>().ok_or(Useless::Foreign)?;
    let word =
        |at: usize| u32::from_be_bytes([message[at], message[at + 1], message[at + 2], message[at + 3]]);
    let (leap, version, mode) = (message[0] >> 6, message[0] >> 3 & 7, message[0] & 7);
    let origin = u64::from(word(24)) << 32 | u64::from(word(28));
    if mode != 4 || !(3..=4).contains(&version) || origin != nonce {
        return Err(Useless::Foreign);
    }
    let stratum = message[1];
    if stratum == 0 {
        return Err(Useless::Refused([message[12], message[13], message[14], message[15]]));
    }
    if leap == 3 || stratum > 15 {
        return Err(Useless::Unsynchronised);
    }
    if word(40) == 0 && word(44) == 0 || word(32) == 0 && word(36) == 0 {
        return Err(Useless::Nonsense);
    }
    let (received, sent) = (moment(word(32), word(36)), moment(word(40), word(44)));
    // Half of what went by on the way to the reference clock, and what each on that way may be off.
    let distance = short(word(4)) / 2 + short(word(8));
    if sent < received || distance > LONGEST_DISTANCE {
        return Err(Useless::Nonsense);
    }
    Ok(Answer { received, sent, distance })
}

/// A time of the protocol: seconds since 1900, and parts of a second in 2^-32.
fn moment(seconds: u32, fraction: u32) -> Moment {
    let era = if seconds < PIVOT { 1_i64 << 32 } else { 0 };
    let nanoseconds = (u64::from(fraction) * SECOND as u64) >> 32;
    (era + i64::from(seconds) - FROM_1900_TO_1970) * SECOND + nanoseconds as i64
}

/// A short time of the protocol: seconds with 16 bits behind the point.
fn short(value: u32) -> i64 {
    (i64::from(value) * SECOND) >> 16
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    const NONCE: u64 = 0x0123_4567_89ab_cdef;

    /// What a good server answers at `time`, in seconds since 1970 by the protocol's own reckoning.
    pub fn good(nonce: u64, time: i64) -> [u8; LEN] {
        let mut message = [0; LEN];
        message[0] = 4 << 3 | 4;
        message[1] = 2;
        message[24..32].copy_from_slice(&nonce.to_be_bytes());
        let seconds = ((time + FROM_1900_TO_1970) as u32).to_be_bytes();
        message[32..36].copy_from_slice(&seconds);
        message[40..44].copy_from_slice(&seconds);
        message[44] = 0x80;
        message
    }

    fn with(change: impl FnOnce(&mut [u8; LEN])) -> Result<Answer, Useless> {
        let mut message = good(NONCE, 1_800_000_000);
        change(&mut message);
        answer(&message, NONCE)
    }

    #[test]
    fn a_good_answer_is_read() {
        let (received, sent) = (1_800_000_000 * SECOND, 1_800_000_000 * SECOND + SECOND / 2);
        assert_eq!(with(|_| {}), Ok(Answer { received, sent, distance: 0 }));
        let distant = with(|message| message[4..12].copy_from_slice(&[0, 0, 0x80, 0, 0, 0, 0x40, 0]));
        assert_eq!(distant.map(|answer| answer.distance), Ok(SECOND / 2));
    }

    #[test]
    fn the_seconds_begin_anew_in_2036() {
        for time in [1_577_836_800, 2_085_978_495, 2_085_978_497, 4_102_444_800, 5_869_583_999] {
            let read = answer(&good(NONCE, time), NONCE).map(|answer| answer.received / SECOND);
            assert_eq!(read, Ok(time));
        }
    }

    #[test]
    fn what_does_not_belong_to_the_question_is_passed_over() {
        assert_eq!(with(|message| message[0] = 4 << 3 | 3), Err(Useless::Foreign), "a question");
        assert_eq!(with(|message| message[0] = 4 << 3 | 5), Err(Useless::Foreign), "a broadcast");
        assert_eq!(with(|message| message[0] = 2 << 3 | 4), Err(Useless::Foreign), "an old version");
        assert_eq!(with(|message| message[31] ^= 1), Err(Useless::Foreign), "another question's");
        assert_eq!(answer(&good(NONCE, 1_800_000_000)[..47], NONCE), Err(Useless::Foreign));
    }

    #[test]
    fn servers_that_refuse_or_do_not_know_are_told_apart() {
        let refused = with(|message| {
            message[1] = 0;
            message[12..16].copy_from_slice(b"DENY");
        });
        assert_eq!(refused, Err(Useless::Refused(*b"DENY")));
        assert_eq!(with(|message| message[0] |= 3 << 6), Err(Useless::Unsynchronised));
        assert_eq!(with(|message| message[1] = 16), Err(Useless::Unsynchronised));
        assert_eq!(with(|message| message[40..48].fill(0)), Err(Useless::Nonsense));
        assert_eq!(with(|message| message[32..40].fill(0)), Err(Useless::Nonsense));
        assert_eq!(with(|message| message[35] += 1), Err(Useless::Nonsense), "sent before it came");
        assert_eq!(with(|message| message[9] = 2), Err(Useless::Nonsense), "two seconds off");
    }

    proptest! {
        #[test]
        fn anything_may_come(message in proptest::collection::vec(any::<u8>(), 0..100), nonce in any::<u64>()) {
            let _ = answer(&message, nonce);
            let mut forged = message;
            if forged.len() >= LEN {
                forged[0] = 4 << 3 | 4;
                forged[24..32].copy_from_slice(&nonce.to_be_bytes());
                let _ = answer(&forged, nonce);
            }
        }
    }
}
