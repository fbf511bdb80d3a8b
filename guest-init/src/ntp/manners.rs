//! Which servers may be asked. A server that answers with a code instead of a time wants something (RFC 5905, section 7.4).

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

/// How long a server is left alone that was asked too often: twice the longest time between two questions, then twice as long
/// each time that it says so again, up to a day.
const FIRST_REST: Duration = Duration::from_secs(2048);
const LONGEST_REST: Duration = Duration::from_hours(24);

/// The most servers whose wishes are kept. A name can stand for other servers every hour.
const MOST: usize = 1024;

/// What servers want.
#[derive(Debug, Default)]
pub struct Manners {
    wishes: HashMap<IpAddr, Wish>,
}

#[derive(Debug, Clone, Copy)]
enum Wish {
    /// Not to be asked.
    Never,
    /// Not to be asked before this moment, after a rest that was so long.
    NotBefore(Duration, Duration),
}

impl Manners {
    /// Whether a server may be asked now.
    pub fn may_ask(&self, server: IpAddr, now: Duration) -> bool {
        match self.wishes.get(&server) {
            None => true,
            Some(Wish::Never) => false,
            Some(Wish::NotBefore(moment, _)) => now >= *moment,
        }
    }

    /// Keeps what a server wants, by the code that it answered with. Codes that want nothing are no answer and no more.
    pub fn heed(&mut self, server: IpAddr, code: [u8; 4], now: Duration) {
        let wish = match &code {
            b"DENY" | b"RSTR" => Wish::Never,
            b"RATE" => {
                let rest = match self.wishes.get(&server) {
                    Some(Wish::NotBefore(_, rest)) => (*rest * 2).min(LONGEST_REST),
                    _ => FIRST_REST,
                };
                Wish::NotBefore(now.saturating_add(rest), rest)
            }
            _ => return,
        };
        if self.wishes.len() >= MOST {
            self.wishes.clear();
        }
        self.wishes.insert(server, wish);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_asked_too_often_is_left_alone_for_longer_each_time() {
        let [server, other] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse().expect("an address"));
        let mut manners = Manners::default();
        let mut now = Duration::from_secs(7);
        for rest in [2048, 4096, 8192, 16_384, 32_768, 65_536, 86_400, 86_400].map(Duration::from_secs) {
            assert!(manners.may_ask(server, now));
            manners.heed(server, *b"RATE", now);
            assert!(manners.may_ask(other, now));
            let end = now + rest;
            now = end.saturating_sub(Duration::from_secs(1));
            assert!(!manners.may_ask(server, now), "{rest:?}");
            now = end;
        }
    }

    #[test]
    fn a_server_that_refuses_is_not_asked_again() {
        let server = "2001:db8::1".parse().expect("an address");
        let mut manners = Manners::default();
        manners.heed(server, *b"INIT", Duration::ZERO);
        assert!(manners.may_ask(server, Duration::ZERO), "it only has no time yet");
        manners.heed(server, *b"DENY", Duration::ZERO);
        assert!(!manners.may_ask(server, Duration::MAX));
    }

    #[test]
    fn wishes_do_not_pile_up() {
        let mut manners = Manners::default();
        for server in 0..5000_u32 {
            manners.heed(IpAddr::V4(server.into()), *b"RSTR", Duration::ZERO);
        }
        assert!(manners.wishes.len() <= MOST);
    }
}
