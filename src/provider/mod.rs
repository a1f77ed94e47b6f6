//! The vendors: one file each, listed in one table.

mod answer;
mod request;
pub mod sign;
mod tencent_api;
#[cfg(test)]
mod testing;

use crate::core::contract::Provider;

/// Lists the adapters: each name is a module beside this file with a `pub(crate) static ADAPTER`.
macro_rules! providers {
    ($($name:ident),* $(,)?) => {
        $(mod $name;)*
        static TABLE: &[&dyn Provider] = &[$(&$name::ADAPTER),*];
    };
}

providers! {
    tencent_cdn,
    tencent_vod,
}

/// All kinds, in the order in which they are shown.
pub fn all() -> &'static [&'static dyn Provider] {
    TABLE
}

/// The kind called `kind` in manifests.
pub fn find(kind: &str) -> Option<&'static dyn Provider> {
    all().iter().copied().find(|provider| provider.capabilities().kind == kind)
}
