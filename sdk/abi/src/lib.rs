//! The frozen binary contract between meshrun and its step plugins: two functions one way, three the other, text in
//! and out.
//!
//! Nothing is ever added here, because a library must be at least as new as its user for `abi_stable` to accept it,
//! and plugins are older than the meshrun that loads them. What grows, grows in the JSON of `meshrun-protocol`. A
//! contract that cannot be kept any longer becomes a second module type in a second crate, tried before this one.
//!
//! Authors do not use this crate: `meshrun_sdk::export_plugin!` does it for them.

#![expect(
    non_camel_case_types,
    reason = "`#[sabi_trait]` and `StableAbi` write `Host_TO` and `PluginModule_Ref`"
)]
#![expect(non_local_definitions, reason = "`#[sabi_trait]` writes its impls inside a function")]

use abi_stable::{
    StableAbi, declare_root_module_statics,
    library::RootModule,
    package_version_strings, sabi_trait,
    sabi_types::VersionStrings,
    std_types::{RBox, RResult, RStr, RString},
};

/// What a plugin exports.
///
/// Neither function may unwind: both catch panics and answer with a `Failure` of code `panicked`.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = PluginModule_Ref)))]
pub struct PluginModule {
    /// Returns a `Description`, or the `Failure` that kept it from being made, as JSON; only the latter has a `code`.
    pub describe: extern "C" fn() -> RString,
    /// Answers a method, such as `plan/v1`: its request in; its response, or a `Failure`, out; all as JSON.
    #[sabi(last_prefix_field)]
    pub call: for<'a> extern "C" fn(HostBox<'a>, RStr<'a>, RStr<'a>) -> RResult<RString, RString>,
}

impl RootModule for PluginModule_Ref {
    declare_root_module_statics! { PluginModule_Ref }
    const BASE_NAME: &'static str = "meshrun_plugin";
    const NAME: &'static str = "meshrun plugin";
    const VERSION_STRINGS: VersionStrings = package_version_strings!();
}

/// The host while it waits for the answer of [`PluginModule::call`].
///
/// No method may unwind; a plugin may use it from several threads.
#[sabi_trait]
pub trait Host: Send + Sync {
    /// Calls a read-only service, such as `cluster.get/v1`: its request in; its response, or a `Failure`, out; as JSON.
    fn call(&self, service: RStr<'_>, json: RStr<'_>) -> RResult<RString, RString>;
    /// Hands over a `LogEvent` as JSON.
    fn emit(&self, json: RStr<'_>);
    /// Returns whether the run was cancelled.
    #[sabi(last_prefix_field)]
    fn cancelled(&self) -> bool;
}

/// An owned [`Host`], borrowed things of the caller in it.
pub type HostBox<'a> = Host_TO<'a, RBox<()>>;

#[cfg(test)]
mod tests {
    use super::*;
    use abi_stable::{erased_types::TD_Opaque, prefix_type::PrefixTypeTrait, std_types::ROk};

    struct Echo;

    // Were a member added or changed, this would not compile; and no plugin that was ever built would load.
    impl Host for Echo {
        fn call(&self, service: RStr<'_>, json: RStr<'_>) -> RResult<RString, RString> {
            ROk(format!("{service} {json}").into())
        }

        fn emit(&self, _: RStr<'_>) {}

        fn cancelled(&self) -> bool {
            false
        }
    }

    extern "C" fn describe() -> RString {
        "{}".into()
    }

    extern "C" fn call<'a>(host: HostBox<'a>, method: RStr<'a>, json: RStr<'a>) -> RResult<RString, RString> {
        host.call(method, json)
    }

    #[test]
    fn contract_is_frozen() {
        assert_eq!(PluginModule_Ref::VERSION_STRINGS.to_string(), "1.0.0");
        assert_eq!(size_of::<PluginModule>(), 2 * size_of::<usize>());

        let module = PluginModule { describe, call }.leak_into_prefix();
        let host = HostBox::from_value(Echo, TD_Opaque);
        assert_eq!(module.describe()(), "{}");
        assert_eq!(module.call()(host, "plan/v1".into(), "{}".into()), ROk("plan/v1 {}".into()));
    }
}
