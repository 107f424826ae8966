//! What `meshrun` says of itself, 80 columns wide.

use meshrun_tests::{
    fixtures,
    sandbox::{Sandbox, check},
};

/// Every command, as `meshrun --help` lists them, and those below it.
const COMMANDS: [&str; 14] = [
    "run",
    "plan",
    "validate",
    "rehearse",
    "status",
    "destroy",
    "graph",
    "plugins",
    "plugins list",
    "plugins inspect",
    "upgrade-path",
    "schema",
    "vendor",
    "completions",
];

#[test]
fn without_arguments_help_is_shown() {
    let sandbox = Sandbox::empty();
    let outcome = sandbox.run("");
    assert_eq!(outcome.code, 64);
    assert_eq!(outcome.stderr, sandbox.run("--help").success().stdout);
    assert_eq!(outcome.stderr, sandbox.run("-h").success().stdout);
    check("help", &outcome.stderr);
}

#[test]
fn every_command_has_a_help_that_fits_the_screen() {
    let sandbox = Sandbox::empty();
    let overview = sandbox.run("--help").success().stdout;
    for line in
        overview.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty())
    {
        let name = line.split_whitespace().next().expect("a name");
        let continued = line.starts_with("     ");
        assert!(continued || name == "help" || COMMANDS.contains(&name), "no test of {name}");
    }
    for command in COMMANDS {
        let help = sandbox.run(&format!("{command} --help")).success().stdout;
        let widest = help.lines().map(|line| line.chars().count()).max().unwrap_or_default();
        assert!(widest <= 80, "{command}: {widest} columns");
        // The options that all commands have are in the snapshot of `meshrun --help`.
        let (own, global) = help.split_once("\nGlobal options:\n").expect("global options");
        assert!(
            overview.contains(global.trim_end()),
            "{command}: other global options than `meshrun --help`"
        );
        check(&format!("help_{}", command.replace([' ', '-'], "_")), own);
    }
}

#[test]
fn help_and_documentation_have_the_same_exit_codes() {
    let help = Sandbox::empty().run("--help").success().stdout;
    let (_, codes) = help.split_once("Exit codes (docs/exit-codes.md): ").expect("exit codes");
    let told: Vec<String> = codes
        .split(", ")
        .flat_map(|code| code.split(",\n"))
        .map(|code| code.trim().replace('\u{a0}', " "))
        .collect();
    let document = fs_err::read_to_string(fixtures::root().join("docs/exit-codes.md")).expect("the document");
    let documented: Vec<String> = document
        .lines()
        .filter_map(|line| {
            let mut cells = line.split('|').map(str::trim).skip(1);
            let code: u8 = cells.next()?.parse().ok()?;
            Some(format!("{code} {}", cells.next()?.trim_matches('`')))
        })
        .collect();
    assert_eq!(told, documented);
}

#[test]
fn version_is_shown() {
    assert_eq!(
        Sandbox::empty().run("--version").success().stdout,
        concat!("meshrun ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[test]
fn completions_name_every_command() {
    let sandbox = Sandbox::empty();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = sandbox.run(&format!("completions {shell}")).success().stdout;
        for command in COMMANDS.iter().filter(|command| !command.contains(' ')) {
            assert!(script.contains(command), "{shell}: {command}");
        }
    }
    let script = sandbox.run("completions bash").stdout;
    sandbox.write("meshrun.bash", script.as_bytes());
    let bash = "source meshrun.bash; COMP_WORDS=(meshrun reh); COMP_CWORD=1; _meshrun meshrun reh meshrun; echo $COMPREPLY";
    let said = std::process::Command::new("bash")
        .args(["-c", bash])
        .current_dir(sandbox.path(""))
        .output()
        .expect("bash");
    assert_eq!(String::from_utf8_lossy(&said.stdout), "rehearse\n");
}
