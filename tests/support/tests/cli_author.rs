//! The plugin author's view: a workspace that knows the SDK alone, built by its own cargo, used in a pipeline.

use meshrun_tests::{
    plugins,
    sandbox::{Sandbox, check},
};

fn pipeline(head: &str, uses: &str, message: &str) -> String {
    format!(
        "name: hello\n{head}steps:\n  - id: hello\n    uses: {uses}\n    with:\n      message: {message}\n"
    )
}

#[test]
fn the_example_runs_in_a_pipeline() {
    let file = plugins::echo();
    let library = fs_err::read(&file).expect("the library");
    let sandbox = Sandbox::empty()
        .file("by-path.yaml", &pipeline("", "./libmeshrun_echo.so", "hello"))
        .file("by-map.yaml", &pipeline("plugins:\n  echo: { path: lib/echo.so }\n", "echo", "hello"))
        .file("by-name.yaml", &pipeline("", "echo", "hello"))
        .file("empty.yaml", &pipeline("", "./libmeshrun_echo.so", "\"\""))
        .file("misspelt.yaml", &pipeline("", "./libmeshrun_echo.so", "hello\n      mesage: hello"));
    sandbox.write("libmeshrun_echo.so", &library);
    sandbox.write("lib/echo.so", &library);
    check(
        "author",
        &sandbox.session(&[
            "plugins inspect ./libmeshrun_echo.so",
            "rehearse by-path.yaml --verbose",
            "rehearse by-map.yaml",
            "rehearse by-name.yaml --plugins .",
            "rehearse by-name.yaml",
            "validate empty.yaml",
            "validate misspelt.yaml",
        ]),
    );
}
