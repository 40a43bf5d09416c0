//! Arguments → settings → one subcommand; nothing else.

use releaseclosure::settings::{self, Arguments, Command};
use releaseclosure::{api, controller, sandbox, telemetry};
use std::error::Error;
use std::future::Future;
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
    let result = match arguments.command {
        Command::Operator(operator) => {
            telemetry::start_logging();
            block_on(controller::run(operator))
        }
        Command::Sandbox(args) => {
            telemetry::start_logging();
            block_on(sandbox::run(args))
        }
        Command::Crds => api::print_crds(&mut std::io::stdout().lock()).map_err(Into::into),
        Command::Wait(_) | Command::Packet(_) | Command::Resume(_) | Command::Abandon(_) | Command::Verify(_) => {
            return ExitCode::FAILURE;
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("releaseclosure: {}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

/// One thread: the work is waiting for others, and a second thread costs more than it brings.
fn block_on<E: Error + 'static>(work: impl Future<Output = Result<(), E>>) -> Result<(), Box<dyn Error>> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work).map_err(Into::into)
}

/// An error with its causes, in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
