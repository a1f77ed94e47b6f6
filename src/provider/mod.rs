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
    alibaba_vod,
    huawei_vod,
    qcloud_cdn,
    http_purge,
}

/// All kinds, in the order in which they are shown.
pub fn all() -> &'static [&'static dyn Provider] {
    TABLE
}

/// The kind called `kind` in manifests.
pub fn find(kind: &str) -> Option<&'static dyn Provider> {
    all().iter().copied().find(|provider| provider.capabilities().kind == kind)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::core::contract::{CredentialScheme, Options};
    use crate::core::http::Response;
    use crate::core::query::Question;
    use crate::core::target::Target;

    #[test]
    fn every_kind_is_found_by_its_name() {
        let kinds: Vec<&str> = all().iter().map(|provider| provider.capabilities().kind).collect();
        assert_eq!(kinds, ["tencent-cdn", "tencent-vod", "alibaba-vod", "huawei-vod", "qcloud-cdn", "http-purge"]);
        assert!(kinds.iter().all(|kind| find(kind).is_some()) && find("nobody").is_none());
    }

    #[test]
    fn capabilities_hold_together() {
        for provider in all() {
            let capabilities = provider.capabilities();
            let kind = capabilities.kind;
            let scopes: BTreeSet<_> = capabilities.operations.iter().map(|operation| operation.scope).collect();
            assert_eq!(scopes.len(), capabilities.operations.len(), "{kind}");
            let keys: BTreeSet<_> = capabilities.options.iter().map(|option| option.key).collect();
            assert_eq!(keys.len(), capabilities.options.len(), "{kind}");
            for operation in capabilities.operations {
                assert!(operation.targets_per_call > 0 && operation.calls_per_second > 0, "{kind}");
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
            for provider in all() {
                let headers = vec![("Retry-After".to_owned(), wait.clone()), ("Date".to_owned(), wait.clone())];
                let response = Response { status, headers, body: body.clone() };
                let call = testing::call(*provider, "cdn.example.com", &["https://a.example/"]);
                let outcome = provider.decode(&call, &testing::account(&[]), &response);
                let by_status = provider.capabilities().kind == "http-purge";
                prop_assert!(by_status || outcome.is_err());
                for question in [Question::Quota, testing::task("t")] {
                    let query = testing::query("cdn.example.com", question);
                    prop_assert!(provider.understand(&query, &testing::account(&[]), &response).is_err());
                }
            }
        }

        // U1, U2
        #[test]
        fn no_kind_takes_control_characters(text in "\\PC{0,9}[\\x00-\\x1f\\x7f]\\PC{0,9}") {
            for provider in all() {
                let target = Target::url(format!("https://a.example/{text}"));
                prop_assert!(provider.check_target(&target, &Options::default()).is_err());
            }
        }
    }
}
