//! Time: the method of `network/ntp`.
//!
//! Platforms up to November 2015 have an ntpd that should not be let into the network (it lets strangers set the time and
//! more; the fixes came with 4.2.8p4). There this program keeps the time itself, as a simple client: it asks the servers of
//! ntp.conf, believes what most of them agree on, sets the clock once, and keeps it by letting it run faster or slower.
//! Other platforms' ntpd is started as their own method would.
//!
//! The service is a contract service: it is online as long as a process of it is left, and ended by killing them
//! (illumos-extra, `ntp/Solaris/ntp.xml`). So the method leaves a process behind.

mod agreement;
mod bounds;
mod discipline;
mod manners;
pub mod packet;
pub mod servers;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use guest_mdata::{Clock, Monotonic};
use rustix::event::{PollFd, PollFlags};
use rustix::time::{ClockId, clock_settime};

use crate::engine::{Lock, Log};
use crate::files;
use crate::platform::Platform;
use crate::random;
use crate::state;
use crate::system;
use crate::wait;
use crate::watch::PROGRAM;
use agreement::{Sample, agree};
use bounds::Bounds;
use discipline::{Correction, Discipline};
use manners::Manners;
use packet::{Moment, SECOND, Useless};

/// The last platform whose own ntpd is not used.
const LAST_WITHOUT: &str = "20151103T000000Z";

/// The platform's ntpd, and the file by which its own method finds it.
const NTPD: &str = "/usr/sbin/ntpd";
const NTPD_PROCESS: &str = "/var/run/ntp.pid";

/// Where the servers are named.
const CONFIG: &str = "/etc/inet/ntp.conf";

/// The port of the protocol.
const PORT: u16 = 123;

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// The most addresses that are asked at a time.
const MOST_ASKED: usize = 8;

/// The most addresses of one name that are asked.
const MOST_OF_A_NAME: usize = 4;

/// Starts whatever keeps the time.
///
/// # Errors
/// When it cannot be started.
pub fn start() -> Result<()> {
    let has_ntpd = Path::new(NTPD).exists() && Path::new(CONFIG).exists();
    if has_ntpd && uses_ntpd(&Platform::running()?) {
        // -g: the first correction may be as large as it needs to be. It goes into the background by itself.
        let error = Command::new(NTPD).args(["-p", NTPD_PROCESS, "-g"]).exec();
        return Err(error).with_context(|| format!("cannot become {NTPD}"));
    }
    Command::new(PROGRAM)
        .args(["ntp", crate::arguments::STAY])
        .current_dir("/")
        .stdin(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start {PROGRAM}"))?;
    Ok(())
}

fn uses_ntpd(platform: &Platform) -> bool {
    platform.stamp() > LAST_WITHOUT
}

/// Keeps the time, for ever.
///
/// # Errors
/// When another process does so already.
pub fn stay() -> Result<()> {
    let clock = Monotonic::starting_now();
    let _lock = Lock::take(Path::new(state::FOLDER), "ntp", &clock, PATIENCE)?;
    let mut log = Log::new("ntp", false);
    let bounds = Bounds::of(Platform::running().ok().as_ref());
    let mut discipline = Discipline::new();
    let mut manners = Manners::default();
    loop {
        match agree(&ask_all(bounds, &mut manners, clock.now(), &mut log)) {
            None => discipline.has_no_answer(),
            Some(agreement) => {
                if let Err(error) = correct(discipline.correct(agreement), &mut log) {
                    log.line(&format!("cannot correct the clock: {error:#}"));
                }
            }
        }
        std::thread::sleep(discipline.interval());
    }
}

fn correct(correction: Correction, log: &mut Log) -> Result<()> {
    match correction {
        Correction::Wait => {
            log.line("the servers say that the clock jumped; that has to be seen again");
            Ok(())
        }
        Correction::Refuse => {
            log.line(
                "one server alone says that the clock is off by more than 1000 s: it is not believed; restart this service if \
                 it is right",
            );
            Ok(())
        }
        Correction::Slew(offset) => Ok(system::adjust_clock(offset / 1000)?),
        Correction::Step(offset) => {
            let time = now()?.saturating_add(offset);
            // Times out of bounds were left out, but asking takes its time.
            ensure!(time > 0, "that would be before 1970");
            clock_settime(
                ClockId::Realtime,
                rustix::time::Timespec { tv_sec: time / SECOND, tv_nsec: time % SECOND },
            )?;
            log.line(&format!("the clock was set {:+} ms", offset / (SECOND / 1000)));
            Ok(())
        }
    }
}

/// Nanoseconds since 1970, by the guest's clock.
fn now() -> Result<Moment> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    i64::try_from(since.as_nanos()).context("the clock is after 2262")
}

/// Asks every server that may be asked once. Times that cannot be are left out.
fn ask_all(bounds: Bounds, manners: &mut Manners, clock: Duration, log: &mut Log) -> Vec<Sample> {
    let config = files::read(Path::new(CONFIG), 1 << 20).unwrap_or_default();
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for name in servers::names(&String::from_utf8_lossy(&config)) {
        // A name that cannot be resolved may be resolved later.
        let found = (name.as_str(), PORT).to_socket_addrs().into_iter().flatten().take(MOST_OF_A_NAME);
        addresses.extend(found.filter(|address| manners.may_ask(address.ip(), clock)));
    }
    addresses.sort_unstable();
    addresses.dedup();
    addresses.truncate(MOST_ASKED);
    let mut samples = Vec::new();
    for address in addresses {
        match ask(address) {
            Ok(Ok(sample)) => {
                if now().is_ok_and(|now| bounds.contain(now.saturating_add(sample.offset))) {
                    samples.push(sample);
                } else {
                    log.line(&format!("{}: it tells a time that cannot be", address.ip()));
                }
            }
            Ok(Err(useless)) => {
                log.line(&format!("{}: {useless}", address.ip()));
                if let Useless::Refused(code) = useless {
                    manners.heed(address.ip(), code, clock);
                }
            }
            Err(error) => log.line(&format!("{}: {error:#}", address.ip())),
        }
    }
    samples
}

/// Asks one server.
fn ask(server: SocketAddr) -> Result<Result<Sample, Useless>> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).context("no socket")?;
    // Messages from elsewhere do not come in.
    socket.connect(server).context("no way there")?;
    let nonce = u64::from_ne_bytes(random::bytes()?);
    let (asked, clock) = (now()?, Instant::now());
    socket.send(&packet::question(nonce)).context("cannot ask")?;
    let mut message = [0; 512];
    loop {
        let left = PATIENCE.saturating_sub(clock.elapsed());
        if left.is_zero() {
            bail!("no answer");
        }
        let ready = wait::until_ready(&mut [PollFd::new(&socket, PollFlags::IN)], left);
        if ready.context("cannot wait for the answer")? == 0 {
            continue;
        }
        let length = socket.recv(&mut message).context("no answer")?;
        // The clock may be corrected meanwhile, so only what went by counts.
        let took = i64::try_from(clock.elapsed().as_nanos()).context("no clock")?;
        return match packet::answer(&message[..length], nonce) {
            Err(Useless::Foreign) => continue,
            Err(useless) => Ok(Err(useless)),
            Ok(answer) => Ok(sample(asked, took, &answer).ok_or(Useless::Nonsense)),
        };
    }
}

/// What an answer says to a question that was asked at `asked`, and answered `took` nanoseconds later by our clock.
fn sample(asked: Moment, took: i64, answer: &packet::Answer) -> Option<Sample> {
    let on_the_way = took.checked_sub(answer.sent.checked_sub(answer.received)?)?;
    if on_the_way < 0 {
        return None;
    }
    // Both ways took as long, for all we know (RFC 5905 section 8).
    let there = answer.received.checked_sub(asked)?;
    let offset = there.checked_sub(on_the_way / 2)?;
    Some(Sample { offset, error: (on_the_way / 2).saturating_add(answer.distance) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that answers one question with what `answer` makes of its nonce.
    fn server(answer: impl FnOnce(u64) -> Vec<Vec<u8>> + Send + 'static) -> SocketAddr {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        let address = socket.local_addr().expect("an address");
        std::thread::spawn(move || {
            let mut message = [0; 512];
            let (length, client) = socket.recv_from(&mut message).expect("a question");
            assert_eq!((length, message[0]), (packet::LEN, 0x23));
            let nonce = u64::from_be_bytes(message[40..48].try_into().expect("8 bytes"));
            for message in answer(nonce) {
                socket.send_to(&message, client).expect("sent");
            }
        });
        address
    }

    #[test]
    fn a_server_is_asked() {
        let asked = now().expect("a clock");
        let time = asked / SECOND + 1000;
        let address = server(move |nonce| {
            let mut forged = packet::tests::good(nonce, 1_600_000_000);
            forged[24] ^= 1;
            let mut good = packet::tests::good(nonce, time);
            good[44] = 0;
            vec![b"garbage".to_vec(), forged.to_vec(), good.to_vec()]
        });
        let sample = ask(address).expect("an answer").expect("of use");
        let ahead = time * SECOND - asked;
        assert!(ahead >= sample.offset - sample.error, "{sample:?} {ahead}");
        assert!(sample.offset > ahead - SECOND * 60, "{sample:?} {ahead}");
    }

    #[test]
    fn a_server_may_refuse() {
        let address = server(|nonce| {
            let mut refusal = packet::tests::good(nonce, 1_800_000_000);
            refusal[1] = 0;
            refusal[12..16].copy_from_slice(b"RSTR");
            vec![refusal.to_vec()]
        });
        assert_eq!(ask(address).expect("an answer"), Err(Useless::Refused(*b"RSTR")));
    }

    #[test]
    fn half_of_the_way_is_not_counted() {
        let answer = packet::Answer { received: 2000, sent: 2100, distance: 7 };
        assert_eq!(sample(1000, 300, &answer), Some(Sample { offset: 900, error: 107 }));
        assert_eq!(sample(1000, 50, &answer), None, "answered before it was asked");
        let far = packet::Answer { received: i64::MAX, sent: i64::MAX, distance: 0 };
        assert_eq!(sample(-2, 0, &far), None);
    }

    #[test]
    fn old_platforms_do_without_ntpd() {
        let is_used =
            |stamp: &str| uses_ntpd(&Platform::of_kernel(&format!("joyent_{stamp}")).expect("a platform"));
        assert!(!is_used("20130506T233003Z") && !is_used("20151103T000000Z"));
        assert!(is_used("20151126T062538Z") && is_used("20210826T002459Z"));
    }
}
