//! `meshrun upgrade-path`: the hops and what to do at each, as text and JSON; ways that do not exist.

use meshrun_tests::sandbox::{Sandbox, check};

#[test]
fn path_from_the_version_of_the_guide_to_the_newest() {
    let said = Sandbox::empty().run("upgrade-path --from 1.19.3 --to 1.30.3").success();
    check("upgrade_path", &said.to_string());
}

#[test]
fn kubernetes_is_upgraded_on_the_way() {
    let said = Sandbox::empty().run("upgrade-path --from 1.26.8 --to 1.30.3 --kubernetes v1.29.4").success();
    check("upgrade_path_kubernetes", &said.to_string());
}

#[test]
fn path_for_programs() {
    let said = Sandbox::empty().run("upgrade-path istiod --from 1.29.6 --to 1.30.3 -o json").success();
    check("upgrade_path_json", &said.to_string());
}

#[test]
fn ways_that_do_not_exist() {
    let said = Sandbox::empty().session(&[
        "upgrade-path --from 1.30.3 --to 1.30.3",
        "upgrade-path --from 1.30.3 --to 1.29.6",
        "upgrade-path --from 1.30.3 --to 1.29.6 -o json",
        "upgrade-path --from 1.18.7 --to 1.31.0",
        "upgrade-path --from 1.29 --to latest --kubernetes new",
        "upgrade-path kiali --from 1.29.6 --to 1.30.3",
    ]);
    check("upgrade_path_refused", &said);
}
