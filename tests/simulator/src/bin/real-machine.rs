//! Plays one boot of a machine with real disks, where cargo and the test are not: in the guest of ring 3.
//!
//! `real-machine FOLDER REQUEST`: the machine is kept in FOLDER, REQUEST is a file with JSON: `hardware`, the `commands` and the
//! `player` of the simulator, the `programs` to be put into the root (pairs of file and path), the `methods` that are run, and
//! the words that are `typed` behind them. It writes JSON to standard output: what the typed commands did, the console, the
//! calls, the complaints.

fn main() -> anyhow::Result<()> {
    #[cfg(target_env = "gnu")]
    gnu::main()?;
    Ok(())
}

#[cfg(target_env = "gnu")]
mod gnu {
    use std::path::{Path, PathBuf};
    use std::time::Duration;

    use anyhow::{Context, Result};
    use kiln_simulator::{BootOptions, Hardware, Machine, Programs};
    use serde::Deserialize;
    use serde_json::json;

    #[derive(Deserialize)]
    struct Request {
        hardware: Hardware,
        commands: PathBuf,
        player: PathBuf,
        programs: Vec<(PathBuf, String)>,
        methods: Vec<String>,
        typed: Vec<Vec<String>>,
    }

    pub fn main() -> Result<()> {
        let arguments: Vec<String> = std::env::args().collect();
        let [_, folder, request] = arguments.as_slice() else {
            anyhow::bail!("usage: real-machine FOLDER REQUEST");
        };
        let request: Request = serde_json::from_slice(&std::fs::read(request)?).context("the request")?;
        let machine = Machine::new(Path::new(folder), &request.hardware)?;
        let boot = machine.boot(&BootOptions {
            simulator: Some(Programs { commands: request.commands, player: request.player }),
            programs: request.programs,
            services: false,
            methods: request.methods,
            commands: request.typed,
            limit: Duration::from_mins(5),
            ..BootOptions::default()
        })?;
        let outputs: Vec<_> = boot
            .outputs
            .iter()
            .map(|output| json!({"status": output.status, "stdout": output.stdout, "stderr": output.stderr}))
            .collect();
        let exits = boot.runtime.services.instances.values().filter_map(|service| service.exit);
        let report = json!({
            "exits": exits.collect::<Vec<_>>(), "logs": boot.logs, "outputs": outputs, "console": boot.console,
            "calls": boot.calls, "complaints": boot.complaints, "hung": boot.hung,
            "swap": boot.runtime.storage.swap, "dump": boot.runtime.storage.dump,
            "failed": std::fs::read_to_string(machine.ramdisk().join("etc/svc/volatile/guest-init.failed")).ok(),
        });
        println!("{report}");
        Ok(())
    }
}
