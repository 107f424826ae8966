//! What the documents show works: every pipeline in them is valid.

use meshrun_tests::{
    fixtures,
    sandbox::{Sandbox, shipped},
};

/// What the examples of other files are laid over.
const MESH: &str = "name: mesh
vars: { istio: 1.19.3 }
steps:
  - { id: base, uses: istio-base, with: { version: \"${{ vars.istio }}\" } }
  - { id: istiod, uses: istiod, needs: [base], with: { version: \"${{ vars.istio }}\" } }
  - { id: kiali, uses: kiali, needs: [istiod], with: { version: 2.29.0, grafana: { url: \"http://grafana:3000\" } } }
";

/// The code blocks of a document in a language that contain a text.
fn blocks(document: &str, language: &str, with: &str) -> Vec<String> {
    let text = fs_err::read_to_string(fixtures::root().join(document)).expect("a document");
    let fence = format!("```{language}\n");
    let blocks = text.split(&fence).skip(1).filter_map(|rest| rest.split_once("\n```"));
    blocks.map(|(block, _)| format!("{block}\n")).filter(|block| block.contains(with)).collect()
}

#[test]
fn pipelines_of_the_documents_are_valid() {
    let examples = blocks("docs/pipeline.md", "yaml", "steps:");
    assert_eq!(examples.len(), 4, "{examples:?}");
    let first = blocks("README.md", "yaml", "steps:");
    assert_eq!(first.len(), 1, "{first:?}");
    for example in examples.into_iter().chain(first) {
        let sandbox = Sandbox::empty().file("mesh.yaml", MESH).file("example.yaml", &example);
        let matrix =
            if example.contains("matrix:") { "--matrix istio=1.19.3 --matrix cloud=gke" } else { "" };
        let outcome = sandbox.run(&format!("validate example.yaml {matrix}"));
        assert_eq!(outcome.code, 0, "{example}\n{outcome}");
    }
}

#[test]
fn values_set_in_the_reference_have_their_place() {
    let [command] = &blocks("docs/pipeline.md", "sh", "--set")[..] else { panic!("one command") };
    let sandbox = Sandbox::with_pipelines();
    assert!(shipped().contains(&"prod".to_owned()));
    let words = command.replace("\\\n", " ").replace('\'', "").replace("prod.yaml", "pipelines/prod.yaml");
    let words = words.replace("meshrun plan", "validate");
    let outcome = sandbox.run(words.trim());
    assert_eq!(outcome.code, 0, "{outcome}");
}
