//! The first boot of a guest, played by the simulator of the tests.
//!
//! The program that plays it is built and run by cargo, so that this one does not depend on the simulator.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::machine;

/// How a first boot went.
#[derive(Debug, PartialEq, Eq)]
pub struct FirstBoot {
    /// What was written to the console.
    pub console: String,
    /// What `guest-init status` said when everything had started.
    pub status: String,
    /// The size of guest-init in the image, in bytes.
    pub program: u64,
    /// The services' methods, in the order in which they ran.
    pub methods: Vec<Method>,
}

/// What a service's method took.
#[derive(Debug, PartialEq, Eq)]
pub struct Method {
    /// The service.
    pub service: String,
    /// How many commands it called.
    pub commands: u64,
    /// How long it took.
    pub microseconds: u64,
}

/// Makes an image of a stand-in platform with this stamp and boots it for the first time.
pub fn play(kiln: &Path, stamp: &str) -> Result<FirstBoot> {
    let output = machine::cargo()
        .args(["run", "--quiet", "--package", "kiln-e2e", "--bin", "first-boot", "--", stamp])
        .env("KILN_BIN", kiln)
        .env("KILN_REQUIRE_TOOLS", "1")
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    if !output.status.success() {
        bail!("the first boot could not be played: {}", output.status);
    }
    read(&output.stdout).context("the simulated boot told something else than what is read here")
}

fn read(json: &[u8]) -> Result<FirstBoot> {
    let told: Value = serde_json::from_slice(json)?;
    let text = |value: &Value| value.as_str().map(str::to_owned).context("a text is missing");
    let number = |value: &Value| value.as_u64().context("a number is missing");
    let methods = told["methods"].as_array().context("no methods")?.iter();
    Ok(FirstBoot {
        console: text(&told["console"])?,
        status: text(&told["status"])?,
        program: number(&told["program"])?,
        methods: methods
            .map(|method| {
                Ok(Method {
                    service: text(&method["service"])?,
                    commands: number(&method["commands"])?,
                    microseconds: number(&method["microseconds"])?,
                })
            })
            .collect::<Result<_>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_read() {
        let told = br#"{"console": "a", "status": "b", "program": 7,
            "methods": [{"service": "svc:/x:default", "commands": 3, "microseconds": 1500}]}"#;
        let method = Method { service: "svc:/x:default".to_owned(), commands: 3, microseconds: 1500 };
        let read_back =
            FirstBoot { console: "a".to_owned(), status: "b".to_owned(), program: 7, methods: vec![method] };
        assert_eq!(read(told).unwrap(), read_back);
        assert!(read(br#"{"console": "a", "status": null, "program": 7, "methods": []}"#).is_err());
    }
}
