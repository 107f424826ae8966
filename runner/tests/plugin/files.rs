//! Files that are no plugin, or not the one that was meant: refused before any of their code runs.

use std::path::Path;

use meshrun::plugin::{Digest, Wanted};

use crate::support::{Bench, built, text};

async fn check(bytes: &[u8], expected: &str) {
    let bench = Bench::new(&[]);
    bench.put("broken", bytes);
    assert_eq!(bench.refusal("broken").await, expected);
}

fn polite() -> Vec<u8> {
    fs_err::read(built("polite")).expect("a built plugin")
}

const BROKEN: &str = "plugin file `DIR/libmeshrun_broken.so` cannot be used";

#[tokio::test]
async fn empty_and_foreign_files() {
    check(b"", &format!("{BROKEN}: the file is empty\nhint: build or download it again")).await;
    let library = "hint: give the library that `cargo build` makes of a crate-type `cdylib`";
    check(b"#!/bin/sh\n", &format!("{BROKEN}: not a shared library\n{library}")).await;
    let object = [&polite()[..16], &[1], &polite()[17..]].concat();
    check(&object, &format!("{BROKEN}: an ELF file, but no shared library\n{library}")).await;
}

#[tokio::test]
async fn truncated_files() {
    let whole = polite();
    for kept in [4, 40, 100, 4096, 200_000, whole.len() / 2, whole.len() - 1] {
        let bench = Bench::new(&[]);
        bench.put("broken", &whole[..kept]);
        let refusal = bench.refusal("broken").await;
        let expected = format!("{BROKEN}: the file is cut short: it has {kept} bytes and needs ");
        assert!(refusal.starts_with(&expected), "{refusal}");
        assert!(refusal.ends_with("\nhint: build or download it again"), "{refusal}");
    }
}

#[tokio::test]
async fn other_machines() {
    let patched = |at: usize, value: u8| {
        let mut bytes = polite();
        bytes[at] = value;
        bytes
    };
    let arch = std::env::consts::ARCH;
    let built_for = |machine: &str| {
        format!("{BROKEN}: built for {machine}, this meshrun runs on {arch}\nhint: build it for this machine")
    };
    check(&patched(18, 243), &built_for("riscv")).await;
    check(&patched(4, 1), &built_for("x86_64 (32 bits)")).await;
}

#[tokio::test]
async fn other_libraries() {
    let no_plugin = fs_err::read(built("no_plugin")).expect("a built library");
    let symbol = "_1as_0lib_1header_0root_bmodule_bloader";
    let expected = format!(
        "{BROKEN}: a shared library, but no meshrun plugin: symbol `{symbol}` is missing\n\
         hint: a plugin ends with `meshrun_sdk::export_plugin!(MyStep);`"
    );
    check(&no_plugin, &expected).await;
}

#[tokio::test]
async fn other_abi_versions() {
    let rebuild = "hint: build the plugin with the meshrun-sdk of this meshrun";
    let bench = Bench::new(&["newer_abi", "without_layout", "altered_abi"]);
    let newer = format!(
        "load plugin file `DIR/libmeshrun_newer_abi.so`: it was built for plugin ABI 2.0.0, this meshrun speaks 1.0.0\n\
         {rebuild}"
    );
    assert_eq!(bench.refusal("newer-abi").await, newer);
    let without =
        "load plugin file `DIR/libmeshrun_without_layout.so`: it does not say how its types are laid out";
    assert_eq!(bench.refusal("without-layout").await, format!("{without}\n{rebuild}"));

    let altered = bench.refusal("altered-abi").await;
    let (text, report) = altered.split_once("; the comparison is in `").expect("a report");
    let types =
        "load plugin file `DIR/libmeshrun_altered_abi.so`: its types are not those of plugin ABI 1.0.0";
    assert_eq!(text, format!("{types}\n{rebuild}"));
    let report = report.trim_end_matches('`');
    assert!(fs_err::read_to_string(report).expect("a report").contains("PluginModule"));
    fs_err::remove_file(report).expect("the report goes");
}

#[tokio::test]
async fn damaged_headers_are_survived() {
    let whole = polite();
    let bench = Bench::new(&[]);
    for at in (4..1024).step_by(7) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0xff;
        bench.put("broken", &bytes);
        // Some damage does no harm and some ends the child; either is an answer.
        let _ = bench.load("broken").await;
    }
}

#[tokio::test]
async fn directories_and_pipes() {
    let bench = Bench::new(&[]);
    fs_err::create_dir(bench.path("broken")).expect("a directory");
    let directory = "plugin file `DIR/libmeshrun_broken.so` is a directory, not a shared library\n\
                     hint: give the plugin's own file, such as `libmeshrun_echo.so`";
    assert_eq!(bench.refusal("broken").await, directory);

    let made = std::process::Command::new("mkfifo").arg(bench.path("pipe")).status();
    assert!(made.expect("mkfifo runs").success());
    let pipe = "plugin file `DIR/libmeshrun_pipe.so` is a special file, not a shared library\n\
                hint: give the plugin's own file, such as `libmeshrun_echo.so`";
    assert_eq!(bench.refusal("pipe").await, pipe);
}

#[tokio::test]
async fn files_that_others_can_write() {
    let bench = Bench::new(&["polite"]);
    for (mode, shown) in [(0o777, "0777"), (0o775, "0775"), (0o646, "0646")] {
        bench.chmod("polite", mode);
        let expected = format!(
            "plugin file `DIR/libmeshrun_polite.so` is writable by others (mode {shown})\n\
             hint: run `chmod go-w DIR/libmeshrun_polite.so`"
        );
        assert_eq!(bench.refusal("polite").await, expected);
    }
}

#[tokio::test]
async fn files_that_are_not_the_pinned_ones() {
    let bench = Bench::new(&["polite"]);
    let load = async |pin: &Digest| {
        let wanted = Wanted { uses: "polite", file: None, base: Path::new("/"), pin: Some(pin) };
        bench.loader().load(wanted).await
    };
    let (right, wrong) = (Digest::of(&polite()), Digest::of(b"another"));
    assert_eq!(*load(&right).await.expect("the pinned file").digest(), right);
    let expected = format!(
        "plugin file `{}` has changed: it is {right}, pinned is {wrong}\n\
         hint: if you meant to change it, pin it anew: with `meshrun vendor`, or as `sha256:` under `plugins:`",
        bench.path("polite").display()
    );
    assert_eq!(text(&load(&wrong).await.expect_err("another file")), expected);
}
