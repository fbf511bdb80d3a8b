//! `--help`.

use crate::arguments::Command;

const PROGRAM: &str = "\
mdata: ask the SmartOS host of this guest for metadata

  mdata get KEY           print a value                       also called mdata-get
  mdata put KEY [VALUE]   store a value, or standard input    also called mdata-put
  mdata delete KEY        forget a key                        also called mdata-delete
  mdata list              print the names of the keys         also called mdata-list

'mdata COMMAND --help' says more.
";

const GET: &str = "\
mdata-get [OPTIONS] [--] KEY: print the value of KEY

The value is printed with a line feed after it if it does not end in one. Keys that begin with 'sdc:' tell what the
host knows of this guest; others were set by the guest's owner. Some that most guests have:

  sdc:uuid, sdc:alias, sdc:hostname   who this guest is
  sdc:nics, sdc:resolvers, sdc:routes its network, as JSON
  root_authorized_keys                keys that may log in as root
  user-script                         a program to run at boot

  mdata-get sdc:uuid
  mdata-get --timeout 10 root_authorized_keys > authorized_keys.new || exit 1

Exit code: 0 printed, 1 there is no such key, 2 error, 3 wrong usage.
";

const PUT: &str = "\
mdata-put [OPTIONS] [--] KEY [VALUE]: store VALUE, or standard input up to its end, under KEY

The value must be text in UTF-8 and not empty; encode anything else, for example with base64. Keys that begin with
'sdc:' cannot be stored. Platforms before October 2013 cannot store at all.

  mdata-put com.example:state ready
  mdata-put com.example:log < /var/log/setup.log

Exit code: 0 stored, 2 error, 3 wrong usage.
";

const DELETE: &str = "\
mdata-delete [OPTIONS] [--] KEY: forget KEY and its value

A key that is not there is forgotten already: that is success. Platforms before October 2013 cannot forget.

  mdata-delete com.example:state

Exit code: 0 forgotten, 2 error, 3 wrong usage.
";

const LIST: &str = "\
mdata-list [OPTIONS]: print the names of all keys, one a line

Those that begin with 'sdc:' are never in the list. With --json the values are printed too, as one object.

  mdata-list
  mdata-list --json

Exit code: 0 printed, even if there is none, 2 error.
";

const OPTIONS: &str = "
Options stand before the key, exactly as written here; anything else is the key. '--' ends them.

  --device DEVICE     the channel, instead of the one that this kind of guest has:
                        PATH             a serial port, such as /dev/ttyS1 or /dev/term/b
                        unix:PATH        a Unix socket
                        tcp:IP:PORT      a TCP server
  --timeout SECONDS   give up after so long; without it the command waits until the host answers
";

const JSON: &str = "  --json              values too, as JSON\n";

const HELP: &str = "  --help              this text\n";

/// How to use a command, or the program.
pub fn text(command: Option<Command>) -> String {
    let about = match command {
        None => PROGRAM,
        Some(Command::Get) => GET,
        Some(Command::Put) => PUT,
        Some(Command::Delete) => DELETE,
        Some(Command::List) => LIST,
    };
    let json = if command == Some(Command::List) { JSON } else { "" };
    [about, OPTIONS, json, HELP].concat()
}
