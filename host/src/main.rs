fn main() -> std::process::ExitCode {
    fewbit_host::cli::main()
}
