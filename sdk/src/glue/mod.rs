//! From the plugin ABI to `dispatch` and back: strings become values, panics become failures.
//!
//! Public for [`export_plugin!`](crate::export_plugin) only.

mod guard;

use std::io::Write as _;

use abi_stable::{
    library::{__call_root_module_loader, CheckTypeLayout, LibHeader, RootModuleResult},
    prefix_type::PrefixTypeTrait,
    std_types::{RErr, ROk, RResult, RStr, RString},
};
use meshrun_abi::{HostBox, PluginModule, PluginModule_Ref};
use meshrun_protocol::{Failure, LogEvent};
use serde::Serialize;
use serde_json::Value;

use crate::{Entry, Error, Host, Step, dispatch};

pub use abi_stable::library::LibHeader as Header;

/// A [`Step`] with what only its own package knows.
pub trait Export: Step {
    /// What `export_plugin!` found out.
    const ENTRY: Entry;
}

/// Exports a [`Step`](crate::Step) as the plugin of this library. Once per crate, at its root.
///
/// The crate needs `crate-type = ["cdylib", "rlib"]`: the first for meshrun, the second for its own tests.
#[macro_export]
macro_rules! export_plugin {
    ($step:ty) => {
        impl $crate::glue::Export for $step {
            const ENTRY: $crate::Entry = $crate::Entry { version: env!("CARGO_PKG_VERSION") };
        }

        const _: () = {
            // `abi_stable::library::ROOT_MODULE_LOADER_NAME`: an attribute takes no constant.
            #[unsafe(export_name = "_1as_0lib_1header_0root_bmodule_bloader")]
            pub static HEADER: $crate::glue::Header = $crate::glue::header::<$step>();
        };
    };
}

/// Makes the header that meshrun looks for in a library.
#[expect(
    unsafe_code,
    reason = "what `abi_stable::export_root_module` writes, which names abi_stable in the author's crate"
)]
pub const fn header<S: Export>() -> LibHeader {
    // SAFETY: `load::<S>` returns a `PluginModule_Ref` and nothing else, and its layout stays in the header.
    unsafe { LibHeader::from_constructor::<PluginModule_Ref>(load::<S>, CheckTypeLayout::Yes) }
}

extern "C" fn load<S: Export>() -> RootModuleResult {
    __call_root_module_loader(|| {
        guard::install();
        PluginModule { describe: describe::<S>, call: call::<S> }.leak_into_prefix()
    })
}

extern "C" fn describe<S: Export>() -> RString {
    let description = guard::catch(|| Ok(dispatch::describe::<S>(S::ENTRY)));
    match description {
        Ok(description) => json(&description),
        Err(failure) => json(&failure),
    }
}

extern "C" fn call<S: Export>(
    host: HostBox<'_>,
    method: RStr<'_>,
    message: RStr<'_>,
) -> RResult<RString, RString> {
    // The host is moved in: dropping it runs the caller's code, which must not unwind through here either.
    let answer = guard::catch(move || {
        let host = AbiHost(host);
        dispatch::call::<S>(&host, method.as_str(), message.as_str())
    });
    // The process may end without this library's standard library knowing, and a half-written line with it.
    let _ = std::io::stdout().flush();
    match answer {
        Ok(answer) => ROk(json(&answer)),
        Err(failure) => RErr(json(&failure)),
    }
}

struct AbiHost<'a>(HostBox<'a>);

impl Host for AbiHost<'_> {
    fn call(&self, service: &str, request: Value) -> Result<Value, Failure> {
        let answer = self.0.call(service.into(), request.to_string().as_str().into());
        let unreadable = |error| Error::new(format!("read the host's answer to {service}: {error}")).0;
        match answer {
            ROk(value) => serde_json::from_str(&value).map_err(unreadable),
            RErr(failure) => Err(serde_json::from_str(&failure).unwrap_or_else(unreadable)),
        }
    }

    fn emit(&self, event: LogEvent) {
        self.0.emit(json(&event).as_rstr());
    }

    fn cancelled(&self) -> bool {
        self.0.cancelled()
    }
}

fn json<T: Serialize>(message: &T) -> RString {
    serde_json::to_string(message).expect("messages have string keys and no failing serialiser").into()
}

#[cfg(test)]
mod tests {
    /// The attribute in `export_plugin!` cannot use the constant, so this holds them together.
    #[test]
    fn exports_the_symbol_that_hosts_look_for() {
        assert_eq!(abi_stable::library::ROOT_MODULE_LOADER_NAME, "_1as_0lib_1header_0root_bmodule_bloader");
    }
}
