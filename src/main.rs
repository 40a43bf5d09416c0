//! Arguments → settings → one subcommand; nothing else.

use releaseclosure::settings::{self, Arguments, Command};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = match Arguments::read(std::env::args_os()) {
        Ok(arguments) => arguments,
        Err(error) => {
            // A closed pipe is no reason to say more.
            let _ = error.print();
            return settings::exit_code(&error).into();
        }
    };
    // One provider for everything; an error means that there is one already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match arguments.command {
        Command::Operator(_)
        | Command::Crds
        | Command::Wait(_)
        | Command::Packet(_)
        | Command::Resume(_)
        | Command::Abandon(_)
        | Command::Verify(_) => ExitCode::FAILURE,
    }
}
