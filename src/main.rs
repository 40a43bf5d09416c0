//! Arguments → settings → one subcommand; nothing else.

use releaseclosure::settings::{self, Arguments, Command};
use releaseclosure::{api, people, sandbox, telemetry};
use std::error::Error;
use std::process::ExitCode;
use tokio::runtime::Builder;

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
    run(arguments.command).unwrap_or_else(|error| {
        eprintln!("releaseclosure: {error}");
        ExitCode::FAILURE
    })
}

fn run(command: Command) -> Result<ExitCode, Box<dyn Error>> {
    // Two threads, so that a long computation on one does not keep the other from renewing the lease.
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let ending = match command {
        Command::Operator(_) => return Err("this build has no operator".into()),
        Command::Crds => {
            api::print_crds(&mut std::io::stdout().lock())?;
            people::Ending::Done
        }
        Command::Sandbox(settings) => {
            telemetry::start_logging();
            runtime.block_on(sandbox::run(settings))?;
            people::Ending::Done
        }
        Command::Wait(settings) => runtime.block_on(people::wait(&settings))?,
        Command::Packet(settings) => runtime.block_on(people::packet(&settings))?,
        Command::Resume(settings) => runtime.block_on(people::resume(&settings))?,
        Command::Abandon(settings) => runtime.block_on(people::abandon(&settings))?,
        Command::Verify(settings) => runtime.block_on(people::verify(&settings))?,
    };
    Ok(ending.exit_code().into())
}
