//! Variants of targets, and providers that fetch through others.

use super::*;
use crate::support::world::url;

/// What visitors of a varying host send, and nothing.
const VARIANTS: usize = 5;

fn varying(count: usize) -> World {
    let mut world = World::new(vec![config("own", "http-purge")]).urls(0, count);
    world.varies.insert("a.example".to_owned());
    world
}

fn accepts(sent: &Sent) -> String {
    let headers: Vec<String> = sent.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    headers.join(", ")
}

/// R15: a cache keeps a copy for each coding that visitors ask for; a target is recorded once all of them are dropped.
#[test]
fn each_variant_of_a_varying_host_is_purged() {
    let mut world = varying(3);
    assert_eq!((world.plan().calls(), world.plan().purges()), (3 * VARIANTS, 3 * VARIANTS));
    let report = world.run(|_| accept());
    assert_eq!((report.counts(), report.sent.len()), ((3, 0, 0, 0), 3 * VARIANTS));
    let codings: BTreeSet<String> = report.sent.iter().filter(|sent| sent.has(&url(1))).map(accepts).collect();
    let browsers = "Accept-Encoding: gzip, deflate, br, zstd".to_owned();
    assert!(codings.len() == VARIANTS && codings.contains("") && codings.contains(&browsers), "{codings:?}");

    let mut plain = World::new(vec![config("own", "http-purge")]).urls(0, 3);
    plain.varies.insert("b.example".to_owned());
    assert_eq!(plain.run(|_| accept()).sent.len(), 3, "another host varies");
}

/// R15: one variant that is not dropped leaves its targets to be purged.
#[test]
fn a_target_is_not_recorded_while_one_of_its_variants_is_cached() {
    let mut world = varying(2);
    let report = world.run(|sent| {
        let is_lost = accepts(sent) == "Accept-Encoding: gzip" && sent.has(&url(0));
        if is_lost { refuse(ErrorClass::Transient) } else { accept() }
    });
    assert_eq!((word(&report.states[0]), word(&report.states[1])), ("pending", "recorded"));
    world.next(&report, 1_000);
    let report = world.run(|_| accept());
    assert_eq!((report.counts(), report.sent.len()), ((1, 0, 0, 0), VARIANTS));
}

/// R15: a variant that stands for a variable is probed, and no purge carries the reference.
#[test]
fn a_variant_with_a_variable_is_in_no_purge() {
    let of_variable = vec![("X-Device".to_owned(), "${DEVICE}".to_owned())];
    let mut world = varying(1);
    world.stale.insert(0, vec![of_variable]);
    let report = world.run(|_| accept());
    assert_eq!((report.counts(), report.sent.len()), ((1, 0, 0, 0), 1));
    assert!(report.sent[0].headers.is_empty());
}

fn layered() -> World {
    let edge = ProviderConfig { upstream: Some("shield".to_owned()), ..config("edge", "http-purge") };
    let mut world = World::new(vec![edge, config("shield", "http-purge")]);
    world.changes = (0..20).map(|number| change(number / 10, &url(number % 10))).collect();
    world
}

/// R16: purges go from the origin outwards, each target for itself.
#[test]
fn an_edge_is_purged_after_what_it_fetches_through() {
    let report = layered().run(|_| accept());
    assert_eq!(report.counts(), (20, 0, 0, 0));
    for number in 0..10 {
        let of = |provider: usize| {
            report.sent.iter().find(|sent| sent.provider == provider && sent.has(&url(number))).expect("sent")
        };
        assert!(of(0).at >= of(1).lands, "{number}");
    }
}

/// R16: what upstream has not accepted waits at the edge, which is no failure there.
#[test]
fn an_edge_waits_for_what_upstream_has_not_accepted() {
    let lost = url(3);
    let mut world = layered();
    let report = world.run(|sent| if sent.has(&lost) { refuse(ErrorClass::Transient) } else { accept() });
    assert_eq!((word(&report.states[3]), word(&report.states[13])), ("waiting", "pending"));
    let why = report.states[3].parts().2.unwrap_or_default().to_owned();
    assert!(why.starts_with("`shield` upstream has not accepted it; there it is pending: "), "{why}");
    assert!(report.sent.iter().all(|sent| sent.provider == 1 || !sent.has(&lost)), "nothing of it left for the edge");
    assert_eq!(report.stops[0].reason, None);
    world.next(&report, 1_000);
    assert_eq!(world.run(|_| accept()).counts(), (2, 0, 0, 0));
}

/// R15: what is stale in one variant is purged again for that one alone: a purge of another copy, which is fresh, can hide it.
#[test]
fn only_the_variants_that_are_stale_are_purged_again() {
    let gzip = vec![("Accept-Encoding".to_owned(), "gzip".to_owned())];
    let mut world = varying(2);
    world.stale.insert(0, vec![gzip.clone()]);
    assert_eq!(world.plan().calls(), 1 + VARIANTS);
    let report = world.run(|_| accept());
    assert_eq!(report.counts(), (2, 0, 0, 0));
    let of_stale: Vec<&Sent> = report.sent.iter().filter(|sent| sent.has(&url(0))).collect();
    assert!(of_stale.len() == 1 && of_stale[0].headers == gzip, "{of_stale:?}");
}
