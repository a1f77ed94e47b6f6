//! The vendors: a folder each, listed in one table. All that is known of a vendor is in its folder: the *adapter* makes requests
//! and reads answers, the *emulator* answers them as strictly as the vendor does.

mod answer;
pub mod emulation;
mod request;
pub mod sign;
#[cfg(test)]
mod testing;

use crate::core::provider::Provider;
use emulation::{Emulator, Setup};

/// What Tencent's APIs of the third version have in common; no vendor of its own.
mod tencent_api {
    pub(super) mod adapter;
    pub(super) mod emulator;
}

/// A kind of provider.
#[derive(Clone, Copy)]
pub struct Vendor {
    /// Makes its requests and reads its answers.
    pub adapter: &'static dyn Provider,
    /// Answers them as the vendor does.
    pub emulator: fn(Setup) -> Box<dyn Emulator>,
}

/// A table of vendors, in the order in which they are shown. All that lists kinds lists those of the table that it is given.
#[derive(Clone, Copy)]
pub struct Vendors(pub &'static [Vendor]);

impl Vendors {
    /// All kinds.
    pub fn all(self) -> impl Iterator<Item = &'static dyn Provider> {
        self.0.iter().map(|vendor| vendor.adapter)
    }

    /// What manifests call them.
    pub fn names(self) -> Vec<&'static str> {
        self.all().map(|kind| kind.capabilities().kind).collect()
    }

    /// The kind called `kind` in manifests.
    pub fn find(self, kind: &str) -> Option<&'static dyn Provider> {
        self.all().find(|provider| provider.capabilities().kind == kind)
    }

    /// The emulator of the setup's kind; `None` if there is no such kind.
    pub fn emulator(self, setup: Setup) -> Option<Box<dyn Emulator>> {
        let vendor = self.0.iter().find(|vendor| vendor.adapter.capabilities().kind == setup.kind)?;
        Some((vendor.emulator)(setup))
    }
}

/// Lists the vendors: each name is a folder beside this file, whose `adapter.rs` has a `pub(crate) static ADAPTER` and whose
/// `emulator.rs` has a function `emulator`.
macro_rules! vendors {
    ($($name:ident),* $(,)?) => {
        $(mod $name {
            pub(super) mod adapter;
            pub(super) mod emulator;
        })*
        /// The vendors that this program knows.
        pub static VENDORS: Vendors =
            Vendors(&[$(Vendor { adapter: &$name::adapter::ADAPTER, emulator: $name::emulator::emulator }),*]);
    };
}

vendors! {
    tencent_cdn,
    tencent_vod,
    alibaba_vod,
    huawei_vod,
    qcloud_cdn,
    http_purge,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::core::contract::{CredentialScheme, Options};
    use crate::core::http::Response;
    use crate::core::target::Target;

    #[test]
    fn every_kind_is_found_by_its_name() {
        let kinds = VENDORS.names();
        assert_eq!(kinds.iter().collect::<BTreeSet<_>>().len(), kinds.len(), "{kinds:?}");
        assert!(kinds.iter().all(|kind| VENDORS.find(kind).is_some()) && VENDORS.find("nobody").is_none());
    }

    #[test]
    fn capabilities_hold_together() {
        for provider in VENDORS.all() {
            let capabilities = provider.capabilities();
            let kind = capabilities.kind;
            let scopes: BTreeSet<_> = capabilities.operations.iter().map(|operation| operation.scope).collect();
            assert_eq!(scopes.len(), capabilities.operations.len(), "{kind}");
            let keys: BTreeSet<_> = capabilities.options.iter().map(|option| option.key).collect();
            assert_eq!(keys.len(), capabilities.options.len(), "{kind}");
            for operation in capabilities.operations {
                assert!(
                    operation.targets_per_call > 0 && operation.calls.count > 0 && operation.calls.burst > 0,
                    "{kind}"
                );
                assert!(operation.calls_in_flight > 0, "{kind}");
            }
            let has_account = capabilities.credentials != CredentialScheme::Headers;
            assert_eq!(capabilities.default_endpoint.is_some(), has_account, "{kind}");
            assert_eq!(provider.check_options(&Options::default()), Vec::new(), "{kind}");
        }
    }

    fn body() -> impl Strategy<Value = Vec<u8>> {
        let pieces = prop::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            ":",
            ",",
            "\"Response\"",
            "\"Error\"",
            "\"Code\"",
            "\"code\"",
            "\"data\"",
            "\"é(91\"",
            "0",
            "-1e999",
            "null",
            "\"TaskId\"",
            "\"message\"",
            "\"error_code\"",
            "\u{0}",
            " ",
        ]);
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..64),
            prop::collection::vec(pieces, 0..24).prop_map(|pieces| pieces.concat().into_bytes()),
        ]
    }

    proptest! {
        // Only an answer with a request id or a task is acceptance, and none of these holds one with a value.
        #[test]
        fn no_answer_panics_or_is_taken_for_acceptance_by_chance(
            status in 100u16..1000,
            wait in "\\PC{0,12}",
            body in body(),
        ) {
            for provider in VENDORS.all() {
                let headers = vec![("Retry-After".to_owned(), wait.clone()), ("Date".to_owned(), wait.clone())];
                let response = Response { status, headers, body: body.clone() };
                let call = testing::call(provider, "cdn.example.com", &["https://a.example/"]);
                let outcome = provider.decode(&call, &testing::account(&[]), &response);
                let by_status = provider.capabilities().credentials == CredentialScheme::Headers;
                prop_assert!(by_status || outcome.is_err());
                let quota = provider.quota_query().map(|query| query.decode_quota(&testing::account(&[]), &response));
                let task = provider.task_query().map(|query| query.decode_task(testing::first_page("t"), &response));
                prop_assert!(quota.is_none_or(|decoded| decoded.is_err()) && task.is_none_or(|decoded| decoded.is_err()));
            }
        }

        // U1, U2
        #[test]
        fn no_kind_takes_control_characters(text in "\\PC{0,9}[\\x00-\\x1f\\x7f]\\PC{0,9}") {
            for provider in VENDORS.all() {
                let target = Target::url(format!("https://a.example/{text}"));
                prop_assert!(provider.check_target(&target, &Options::default()).is_err());
            }
        }
    }
}
