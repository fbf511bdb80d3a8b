//! Repositories: folders, with and without an index, and web servers.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;

use super::*;

/// A web server that answers with files, until the test ends. Gives its address.
fn server(files: BTreeMap<String, Vec<u8>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let files = Arc::new(files);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (files, mut stream) = (Arc::clone(&files), stream.unwrap());
            std::thread::spawn(move || {
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let request = lines.next().unwrap().unwrap();
                lines.take_while(|line| line.as_ref().is_ok_and(|line| !line.is_empty())).for_each(drop);
                let path = request.split(' ').nth(1).unwrap();
                let answer = match files.get(path) {
                    _ if path.ends_with("broken-1.tgz") => {
                        b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n".to_vec()
                    }
                    _ if path.ends_with("short-1.tgz") => {
                        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\nxyz".to_vec()
                    }
                    Some(bytes) => {
                        let head = format!(
                            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                            bytes.len()
                        );
                        [head.as_bytes(), bytes].concat()
                    }
                    None => b"HTTP/1.1 404 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec(),
                };
                // A client that heard enough may be gone.
                let _ = stream.write_all(&answer);
            });
        }
    });
    address
}

fn install_from(place: &str, name: &str) -> anyhow::Result<(Installed, Tree)> {
    let mut tree = zone(&[]);
    let setup = Setup::unsigned(Path::new(place));
    let (installed, _) = setup.install(&mut tree, &[name])?;
    Ok((installed, tree))
}

#[test]
fn packages_come_from_a_web_server() {
    let a = Package::new("a++-1").depends("b>=1").file("bin/a", b"from far away", 0o755);
    let b = Package::new("b-1");
    let missing: Vec<_> = ["gone-1", "broken-1", "short-1"].map(Package::new).into();
    let index: String = [&a, &b].into_iter().chain(&missing).map(Package::summary).collect();
    let files = BTreeMap::from([
        ("/All/pkg_summary.txt".to_owned(), index.into_bytes()),
        ("/All/a++-1.tgz".to_owned(), a.archive()),
        ("/All/b-1.tgz".to_owned(), b.archive()),
    ]);
    let address = server(files);
    let (installed, mut tree) = install_from(&format!("{address}/All/"), "a++").unwrap();
    assert_eq!(installed.packages.len(), 2);
    assert_eq!(text(&mut tree, "/opt/local/bin/a").unwrap(), "from far away");

    let said = |place: &str, name| format!("{:#}", install_from(place, name).err().unwrap());
    let place = format!("{address}/All");
    assert_eq!(
        said(&place, "gone"),
        format!("cannot install gone-1: {place} does not have gone-1.tgz, which its index lists")
    );
    assert_eq!(
        said(&place, "broken"),
        format!(
            "cannot install broken-1: cannot fetch {place}/broken-1.tgz: the server answers with status 500"
        )
    );
    assert!(said(&place, "short").starts_with("cannot install short-1: "));
    assert_eq!(said(&address, "a"), format!("{address} has no index of packages"));
    // Nobody listens on a port that was just given back.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert!(
        said(&format!("http://{nobody}"), "a")
            .starts_with(&format!("cannot fetch http://{nobody}/pkg_summary.gz"))
    );
}

#[test]
fn folders_are_read_with_and_without_an_index() {
    let packages = [Package::new("a-1").depends("b>=1"), Package::new("b-1"), Package::new("b-0.9")];
    for index in [None, Some("pkg_summary.gz"), Some("pkg_summary.txt")] {
        let folder = kiln_harness::scratch::folder("packages-folder");
        pkgsrc::repository(folder.path(), &packages, None, index);
        std::fs::write(folder.path().join("README"), b"no package").unwrap();
        let (installed, _) = install_from(folder.path().to_str().unwrap(), "a").unwrap();
        let names: Vec<_> = installed.packages.iter().map(|package| package.name.as_str()).collect();
        assert_eq!(names, ["b-1", "a-1"]);
    }
}

#[test]
fn signed_packages_are_indexed_too() {
    let folder = kiln_harness::scratch::folder("packages-folder-signed");
    let key = Key::new(5);
    pkgsrc::repository(folder.path(), &[Package::new("a-1")], Some(&key), None);
    let (installed, _) = Setup::signed(folder.path(), &key).install(&mut zone(&[]), &["a"]).unwrap();
    assert!(installed.packages[0].signer.is_some());
    let other = folder.path().join("a-1-copy.tgz");
    std::fs::copy(folder.path().join("a-1.tgz"), other).unwrap();
    let error = install_from(folder.path().to_str().unwrap(), "a").err().unwrap();
    assert!(format!("{error:#}").contains("are the same package, a-1"), "{error:#}");
}
