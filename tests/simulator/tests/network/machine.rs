//! A machine within the test's process: its commands are called as functions.

use std::fs;
use std::net::IpAddr;

use kiln_simulator::{Hardware, Nic, Reply, World, commands};
use tempfile::TempDir;

/// A machine and its root folder.
pub struct Machine {
    pub world: World,
    _root: TempDir,
}

impl Machine {
    /// A machine of an era with so many devices `e1000g0`, `e1000g1`, ...
    pub fn new(era: &str, nics: usize) -> Self {
        let root = TempDir::new().unwrap();
        let mut hardware = Hardware::usual(era);
        hardware.nics = (0..nics)
            .map(|number| Nic {
                link: format!("e1000g{number}"),
                mac: format!("52:54:00:12:34:5{number}"),
                up: true,
                dhcp: None,
            })
            .collect();
        let mut world = World::switched_on(hardware, root.path());
        fs::create_dir_all(world.path("/.simulator")).unwrap();
        world.runtime.network.start_loopback();
        Self { world, _root: root }
    }

    /// Runs a command line.
    pub fn run(&mut self, line: &str) -> Reply {
        let argv: Vec<&str> = line.split_whitespace().collect();
        let command = commands::by_name(argv[0]).unwrap_or_else(|| panic!("{} is no command", argv[0]));
        (command.run)(&mut self.world, &argv)
    }

    /// Runs a command line that must succeed without a word on standard error; returns what it prints.
    pub fn ok(&mut self, line: &str) -> String {
        let reply = self.run(line);
        let (out, err) = texts(&reply);
        assert_eq!((reply.status, err.as_str(), &reply.complaint), (0, "", &None), "{line}: {out}");
        out
    }

    /// Runs a command line that must fail with a status and a text on standard error.
    pub fn fails(&mut self, line: &str, status: u8, stderr: &str) {
        let reply = self.run(line);
        assert_eq!(reply.complaint, None, "{line}");
        assert_eq!((reply.status, texts(&reply).1), (status, format!("{stderr}\n")), "{line}");
    }

    /// Runs a command line that nothing is known of.
    pub fn refused(&mut self, line: &str) {
        let reply = self.run(line);
        assert!(reply.status == Reply::REFUSED && reply.complaint.is_some(), "{line}: {reply:?}");
    }

    /// Writes a file of the root.
    pub fn write(&self, file: &str, text: &str) {
        let path = self.world.path(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Reads a file of the root; empty when there is none.
    pub fn read(&self, file: &str) -> String {
        fs::read_to_string(self.world.path(file)).unwrap_or_default()
    }

    /// What the simulator complained of.
    pub fn complaints(&self) -> String {
        self.read("/.simulator/complaints.log")
    }
}

/// Standard output and standard error.
pub fn texts(reply: &Reply) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&reply.stdout), text(&reply.stderr))
}

/// An address.
pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}
