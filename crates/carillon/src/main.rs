//! The command `carillon`.

fn main() -> std::process::ExitCode {
    carillon::main(std::env::args_os())
}
