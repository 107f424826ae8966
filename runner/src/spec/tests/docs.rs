//! The examples of the reference are pipelines that load.

use crate::spec::{Overrides, load_str};

#[test]
fn examples_of_the_reference_load() {
    let reference = include_str!("../../../../docs/pipeline.md");
    let blocks: Vec<_> =
        reference.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(blocks.len(), 4);
    // An overlay needs the file that it is laid over.
    for text in blocks.iter().filter(|text| !text.contains("include: [")) {
        let matrix = match text.contains("matrix:") {
            true => vec!["istio=1.19.3".to_owned(), "cloud=gke".to_owned()],
            false => Vec::new(),
        };
        let overrides = Overrides { matrix, ..Overrides::default() };
        let pipeline =
            load_str("example.yaml", text, &overrides).unwrap_or_else(|error| panic!("{}", error.render()));
        assert_eq!(pipeline.warnings, []);
    }
}
