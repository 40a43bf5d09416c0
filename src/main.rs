//! Arguments → settings → one subcommand; nothing else.

use releaseclosure::people::{self, Ending};
use releaseclosure::settings::{self, Arguments, Command};
use releaseclosure::spans::{self, Switch};
use releaseclosure::{api, controller, sandbox, telemetry};
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
        eprintln!("releaseclosure: {}", chain(&*error));
        ExitCode::FAILURE
    })
}

fn run(command: Command) -> Result<ExitCode, Box<dyn Error>> {
    // One thread: nearly all of the work is waiting for others, and a second thread costs more than it brings.
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let ending = match command {
        Command::Operator(settings) => {
            let (layer, exporting) = spans::start(Switch::of_environment());
            telemetry::start_logging(settings.log_format.is_json(), layer);
            exporting.announce();
            let ended = runtime.block_on(controller::run(settings));
            // With all that is under way: what ends then is told, too.
            drop(runtime);
            exporting.stop();
            ended?;
            Ending::Done
        }
        Command::Sandbox(settings) => {
            telemetry::start_logging(None, None);
            runtime.block_on(sandbox::run(settings))?;
            Ending::Done
        }
        Command::Crds => {
            api::print_crds(&mut std::io::stdout().lock())?;
            Ending::Done
        }
        Command::Wait(settings) => runtime.block_on(people::wait(&settings))?,
        Command::Packet(settings) => runtime.block_on(people::packet(&settings))?,
        Command::Resume(settings) => runtime.block_on(people::resume(&settings))?,
        Command::Abandon(settings) => runtime.block_on(people::abandon(&settings))?,
        Command::Verify(settings) => runtime.block_on(people::verify(&settings))?,
        Command::Prune(settings) => runtime.block_on(people::prune(&settings))?,
        Command::NetworkPolicy(settings) => runtime.block_on(people::network_policy(&settings))?,
    };
    Ok(ending.exit_code().into())
}

/// An error with its causes, in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let reason = error.to_string();
        // Some libraries say the cause in the error's own words already.
        if !text.contains(&reason) {
            text.push_str(": ");
            text.push_str(&reason);
        }
        cause = error.source();
    }
    text
}
