//! The command `carillon` with its fault points, which FAILPOINTS sets, as `name=action;…`.

fn main() -> std::process::ExitCode {
    let _points = fail::FailScenario::setup();
    carillon::main(std::env::args_os())
}
