//! The usual proxy variables. They serve endpoints beyond this machine; the caller sees to that.

use super::super::Env;

/// Variables in order of precedence for each sort of request; lower case first, as most programs do.
const VARIABLES: [(Sort, [&str; 2]); 3] = [
    (Sort::Tls, ["https_proxy", "HTTPS_PROXY"]),
    (Sort::Plain, ["http_proxy", "HTTP_PROXY"]),
    (Sort::All, ["all_proxy", "ALL_PROXY"]),
];

#[derive(Clone, Copy)]
enum Sort {
    Tls,
    Plain,
    All,
}

/// The proxies in the environment, the more special first.
///
/// # Errors
/// The name of a variable that is of no use, and what it should hold; never its value, which may hold a password.
pub(super) fn from_env(env: &dyn Env) -> Result<Vec<reqwest::Proxy>, String> {
    let exempt = first(env, ["no_proxy", "NO_PROXY"]).and_then(|(_, hosts)| reqwest::NoProxy::from_string(&hosts));
    let mut proxies = Vec::new();
    for (sort, names) in VARIABLES {
        let Some((name, address)) = first(env, names) else { continue };
        let proxy = proxy(sort, address.trim())
            .ok_or_else(|| format!("variable {name} names no usable proxy: write it like http://host:3128"))?;
        proxies.push(proxy.no_proxy(exempt.clone()));
    }
    Ok(proxies)
}

/// The first variable that is set and not blank.
fn first<'a>(env: &dyn Env, names: [&'a str; 2]) -> Option<(&'a str, String)> {
    // Web servers put a request's `Proxy:` header into HTTP_PROXY of the programs they run.
    let from_a_visitor = |name: &str| name == "HTTP_PROXY" && env.var("REQUEST_METHOD").is_some();
    names
        .into_iter()
        .filter(|name| !from_a_visitor(name))
        .find_map(|name| env.var(name).filter(|value| !value.trim().is_empty()).map(|value| (name, value)))
}

fn proxy(sort: Sort, address: &str) -> Option<reqwest::Proxy> {
    let address = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
    // Other schemes are not built in, and would be ignored without a word.
    let url = url::Url::parse(&address).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    match sort {
        Sort::Tls => reqwest::Proxy::https(url),
        Sort::Plain => reqwest::Proxy::http(url),
        Sort::All => reqwest::Proxy::all(url),
    }
    .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::credentials::testing::ScriptedEnv;

    // R21, X1.
    #[test]
    fn unusable_proxy_is_named_by_its_variable_only() {
        for value in ["socks5://user:canary@127.0.0.1:1080", "http://user:canary@:0:0", "ftp://canary"] {
            let problem = from_env(&ScriptedEnv::with(&[("ALL_PROXY", value)])).expect_err(value);
            assert!(problem.contains("ALL_PROXY") && !problem.contains("canary"), "{problem}");
        }
    }

    #[test]
    fn proxies_are_taken_from_the_usual_variables() {
        let count = |pairs: &[(&str, &str)]| from_env(&ScriptedEnv::with(pairs)).expect("valid").len();
        assert_eq!(count(&[]), 0);
        assert_eq!(count(&[("HTTPS_PROXY", " ")]), 0);
        assert_eq!(count(&[("https_proxy", "proxy:3128"), ("HTTPS_PROXY", "http://other")]), 1);
        assert_eq!(count(&[("HTTP_PROXY", "proxy:3128"), ("all_proxy", "https://user:pw@proxy")]), 2);
        assert_eq!(count(&[("HTTP_PROXY", "evil:3128"), ("REQUEST_METHOD", "GET")]), 0);
    }
}
