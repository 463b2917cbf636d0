//! `completions`: a script with which a shell completes commands and options, made from the same texts as the help.

mod bash;
mod fish;
mod zsh;

use std::process::ExitCode;

use super::{args::Args, failure::Failure, output};

pub fn completions(mut args: Args) -> Result<ExitCode, Failure> {
    let shell = args.word("SHELL", &["bash", "zsh", "fish"])?;
    args.end()?;
    let script = match shell {
        "bash" => bash::script(),
        "zsh" => zsh::script(),
        _ => fish::script(),
    };
    output::answer(&script)?;
    Ok(ExitCode::SUCCESS)
}
