//! Directory purges in place of URLs (U9): when they are made, what they cost, and what becomes of the URLs they stand for.

use std::collections::BTreeSet;

use freshen::core::changes::Change;
use freshen::core::contract::{Culprit, ErrorClass};
use freshen::core::event::{ItemState, Record};
use freshen::core::model::Collapse;
use freshen::core::model::{Manifest, ProviderConfig};
use freshen::core::target::{Scope, Target};
use serde_json::{Value, json};

use crate::cli_apply::urls;
use crate::support::cli::{Bench, manifest};
use crate::support::cloud::{Cloud, Step};
use crate::support::world::{Report, Sent, World, accept, change, config, refuse};

const DAY_MS: i64 = 86_400_000;
/// Kinds that purge directories, with the quota of URLs and that of directories.
const KINDS: [(&str, &str, &str); 2] = [
    ("tencent-cdn", "PurgeUrlsCache", "PurgePathCache"),
    ("alibaba-vod", "RefreshVodObjectCaches", "RefreshVodObjectCaches Directory"),
];

fn site(name: &str, collapse: &[(&str, u64)]) -> Manifest {
    let collapse = collapse.iter().map(|(directory, above)| Collapse { directory: (*directory).into(), above: *above });
    Manifest { name: name.into(), path: format!("{name}.yaml"), collapse: collapse.collect(), ..Manifest::default() }
}

/// A world of one provider whose manifest `site` collapses so, and changes of these URLs below `https://a.example`.
fn world(config: ProviderConfig, collapse: &[(&str, u64)], paths: &[String]) -> World {
    let mut world = World::new(vec![config]);
    world.model.manifests = vec![site("site", collapse)];
    world.changes = paths.iter().map(|path| change(0, &format!("https://a.example{path}"))).collect();
    world.changes.sort_by(|a, b| a.target.cmp(&b.target));
    world
}

fn below(directory: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{directory}{number:03}")).collect()
}

/// What a plan purges: directories with how many URLs they stand for, and how many URLs go one by one.
fn shape(world: &World) -> (Vec<(String, usize)>, usize) {
    let plan = world.plan();
    let directories = plan.jobs.iter().flat_map(|job| &job.directories);
    let urls = plan.jobs.iter().flat_map(|job| job.batches.iter()).map(|batch| batch.changes.len()).sum();
    (directories.map(|one| (one.target.text.clone(), one.changes.len())).collect(), urls)
}

fn told(report: &Report, index: usize) -> String {
    match &report.states[index] {
        ItemState::Pending(reason) => format!("pending {}", reason.clone().unwrap_or_default()),
        other => format!("{other:?}"),
    }
}

// --- The plan -------------------------------------------------------------------------------------------------------

#[test]
fn a_directory_takes_the_place_of_more_urls_than_the_manifest_says() {
    let mut paths = below("/a/", 6);
    paths.extend(["/a".to_owned(), "/ab/x".to_owned(), "/?x=/a/".to_owned(), "/x/a/y".to_owned()]);
    let of = |above| shape(&world(config("own", "tencent-cdn"), &[("/a/", above)], &paths));
    assert_eq!(of(6), (vec![], 10));
    assert_eq!(of(5), (vec![("https://a.example/a/".to_owned(), 6)], 4));
    assert_eq!(of(0), of(5), "what is not below it counts for nothing");
    // U9: what a cache may take for a path above the directory is not covered for sure.
    let odd = ["/a/../x", "/a/%2e%2E/x", "/a/.%2e/x", "/a/b%2f../../x"].map(str::to_owned);
    assert_eq!(shape(&world(config("own", "tencent-cdn"), &[("/a/", 0)], &odd)), (vec![], 4));
}

#[test]
fn each_provider_and_origin_is_counted_by_itself() {
    let mut world = world(config("own", "tencent-cdn"), &[("/a/", 2)], &[]);
    world.model.providers.push(config("vod", "tencent-vod"));
    world.accounts.push("another account".into());
    let add = |provider: usize, origin: &str, count: usize| -> Vec<Change> {
        below("/a/", count).iter().map(|path| change(provider, &format!("{origin}{path}"))).collect()
    };
    let origins = ["http://a.example", "https://a.example", "https://a.example:8443", "https://b.example"];
    let many: Vec<Change> =
        origins.iter().zip([2, 3, 4, 1]).flat_map(|(origin, count)| add(0, origin, count)).collect();
    world.changes = many.into_iter().chain(add(1, "https://a.example", 9)).collect();
    let directories = vec![("https://a.example:8443/a/".to_owned(), 4), ("https://a.example/a/".to_owned(), 3)];
    assert_eq!(shape(&world), (directories, 2 + 1 + 9), "a kind without directories purges URL by URL");
}

/// U9: hosts that begin like another one sort between its URLs, and each has its directory.
#[test]
fn whatever_sorts_between_urls_of_a_host_has_its_own_directory() {
    let others = ["https://a.example-x", "https://a.example.evil", "https://a.example:8443", "http://a.example"];
    let mut world = world(config("own", "tencent-cdn"), &[("/d/", 2)], &below("/d/", 20));
    for other in others {
        world.changes.extend(below("/d/", 4).iter().map(|path| change(0, &format!("{other}{path}"))));
    }
    for bare in ["https://a.example", "https://a.example?q", "https://a.example-x", "https://a.example.evil?q"] {
        world.changes.push(change(0, bare));
    }
    world.changes.sort_by(|a, b| a.target.cmp(&b.target));
    let (directories, urls) = shape(&world);
    let mut found: Vec<(String, usize)> = others.iter().map(|other| (format!("{other}/d/"), 4)).collect();
    found.push(("https://a.example/d/".into(), 20));
    found.sort();
    let mut directories = directories;
    directories.sort();
    assert_eq!((directories, urls), (found, 4));
}

/// The most specific directory wins, unless what it leaves is too much for the outer one as well, which covers both.
#[test]
fn of_nested_directories_the_outer_one_wins_only_for_what_is_left() {
    let rules = [("/a/", 4), ("/a/b/", 2)];
    let of = |outer, inner| {
        let paths = [below("/a/", outer), below("/a/b/", inner)].concat();
        shape(&world(config("own", "tencent-cdn"), &rules, &paths))
    };
    let directory = |path: &str, urls| (format!("https://a.example{path}"), urls);
    assert_eq!(of(4, 3), (vec![directory("/a/b/", 3)], 4));
    assert_eq!(of(5, 3), (vec![directory("/a/", 8)], 0), "one call is enough");
    assert_eq!(of(3, 2), (vec![directory("/a/", 5)], 0));
    assert_eq!(of(2, 2), (vec![], 4));
}

/// What a manifest asks for is asked for its own URLs; once it is made, it stands for all that are below it.
#[test]
fn a_manifest_counts_its_own_urls_and_its_directory_serves_all() {
    let mut world = world(config("own", "tencent-cdn"), &[("/a/", 3)], &below("/a/", 5));
    world.model.manifests.push(site("other", &[]));
    for change in &mut world.changes[3..] {
        change.owners = vec!["other".into()];
    }
    assert_eq!(shape(&world), (vec![], 5));
    world.changes[3].owners = vec!["other".into(), "site".into()];
    assert_eq!(shape(&world), (vec![("https://a.example/a/".to_owned(), 5)], 0));
}

/// S5: directories have a quota of their own. Where it does not suffice those that stand for most come first, and the rest
/// goes URL by URL.
#[test]
fn directories_without_quota_are_purged_url_by_url() {
    let paths = [below("/few/", 3), below("/many/", 5)].concat();
    for (kind, of_urls, of_directories) in KINDS {
        let mut world = world(config("own", kind), &[("/few/", 1), ("/many/", 1)], &paths);
        let quotas: Vec<_> = world.plan().jobs.iter().map(|job| job.quota.clone().expect("a quota")).collect();
        assert_eq!(
            quotas.iter().map(|quota| (quota.key.operation, quota.limit)).collect::<Vec<_>>(),
            [(of_directories, 100)]
        );
        world.disk.quota.insert(quotas[0].key.clone(), 99);
        assert_eq!(shape(&world), (vec![("https://a.example/many/".to_owned(), 5)], 3), "{kind}");
        assert_eq!(
            world.plan().one_by_one.iter().map(|one| one.target.text.as_str()).collect::<Vec<_>>(),
            ["https://a.example/few/"]
        );
        world.disk.quota.insert(quotas[0].key.clone(), 100);
        assert_eq!(shape(&world), (vec![], 8), "{kind}");
        assert_eq!(world.plan().jobs[0].quota.as_ref().map(|quota| quota.key.operation), Some(of_urls), "{kind}");
    }
}

/// Limits of URLs say nothing about directories.
#[test]
fn limits_of_urls_leave_directories_alone() {
    let mut own = config("own", "alibaba-vod");
    own.limits.urls_per_day = Some(1);
    own.limits.urls_per_call = Some(1);
    let limits = own.limits_of(Scope::Directory).expect("directories");
    assert_eq!((limits.targets_per_day, limits.targets_per_call), (Some(100), 100));
    assert_eq!(shape(&world(own, &[("/", 2)], &below("/a/", 5))), (vec![("https://a.example/".to_owned(), 5)], 0));
}

// --- The run --------------------------------------------------------------------------------------------------------

/// S5: a call that stands for many URLs costs one directory, and records all of them.
#[test]
fn a_directory_costs_one_and_records_all_that_it_stands_for() {
    for (kind, ..) in KINDS {
        let mut world = world(config("own", kind), &[("/a/", 5)], &[below("/a/", 40), below("/b/", 2)].concat());
        let report = world.run(|_| accept());
        let mut sent: Vec<(bool, usize)> =
            report.sent.iter().map(|sent| (sent.is_directory, sent.items.len())).collect();
        sent.sort_unstable();
        assert_eq!((report.counts(), sent), ((42, 0, 0, 0), vec![(false, 2), (true, 40)]), "{kind}");
        let used: BTreeSet<u64> = world.disk.quota.values().copied().collect();
        assert_eq!(used, BTreeSet::from([1, 2]), "{kind}: a ledger each");
        assert!(
            report.wrote(
                |record| matches!(record, Record::Intent { items, debit: Some((_, 1)), .. } if items.len() == 40)
            )
        );
    }
}

/// S2, L2, L3: what the vendor refuses about a directory it does not refuse about the URLs: they are purged one by one in the
/// same run, and a key that may not purge directories is no refused one.
#[test]
fn what_a_refused_directory_stands_for_is_purged_url_by_url() {
    let classes = [
        ErrorClass::TargetRefused(Culprit::Target),
        ErrorClass::TargetRefused(Culprit::Host),
        ErrorClass::BatchTooLarge,
        ErrorClass::QuotaSpent,
        ErrorClass::Auth,
        ErrorClass::Config,
        ErrorClass::Request,
        ErrorClass::Fatal,
    ];
    for class in classes {
        for others in [&below("/b/", 2)[..], &[]] {
            let paths = [&below("/a/", 40)[..], others].concat();
            let mut world = world(config("own", "tencent-cdn"), &[("/a/", 5)], &paths);
            let report = world.run(|sent: &Sent| if sent.is_directory { refuse(class) } else { accept() });
            assert_eq!(report.counts(), (paths.len(), 0, 0, 0), "{class:?}");
            let directories: Vec<usize> =
                report.sent.iter().filter(|sent| sent.is_directory).map(|sent| sent.items.len()).collect();
            assert_eq!(directories, [40], "{class:?}: never split, and asked for once");
            let stop = &report.stops[0];
            let refused = stop.directories.as_ref().expect("told");
            assert_eq!(
                (refused.operation, stop.credentials, &stop.reason),
                ("PurgePathCache", false, &None),
                "{class:?}"
            );
            assert!(refused.reason.contains("https://a.example/a/"), "{class:?}: {}", refused.reason);
            let is_of_rights =
                matches!(class, ErrorClass::Auth | ErrorClass::Config | ErrorClass::Request | ErrorClass::Fatal);
            let noted = report.wrote(|record| matches!(record, Record::DirectoriesRefused { provider: 0, .. }));
            assert_eq!(noted, is_of_rights, "{class:?}");
        }
    }
}

/// S2: an endpoint without a clear answer is in trouble for URLs as well, and the directory may have been purged.
#[test]
fn a_directory_without_a_clear_answer_leaves_its_urls_and_names_itself() {
    for class in [ErrorClass::TargetRefused(Culprit::BusyHost), ErrorClass::Transient, ErrorClass::Unknown] {
        let paths = [below("/a/", 40), below("/b/", 2)].concat();
        let mut world = world(config("own", "tencent-cdn"), &[("/a/", 5)], &paths);
        let report = world.run(|sent: &Sent| if sent.is_directory { refuse(class) } else { accept() });
        // A host that is off line is so for its URLs as well.
        let waits = class == ErrorClass::TargetRefused(Culprit::BusyHost);
        assert_eq!(report.counts(), if waits { (2, 0, 40, 0) } else { (2, 40, 0, 0) }, "{class:?}");
        assert!(told(&report, 7).contains("directory https://a.example/a/: "), "{class:?}: {}", told(&report, 7));
        assert_eq!(report.stops[0].directories, None, "{class:?}");
    }
}

/// S5: URLs in place of a directory keep to the quota of URLs; what it leaves no room for waits for the next day.
#[test]
fn urls_in_place_of_a_directory_keep_to_their_quota() {
    for paths in [below("/a/", 40), [below("/a/", 40), below("/b/", 2)].concat()] {
        for spent in [0, 5, 12] {
            let mut own = config("own", "tencent-cdn");
            own.limits.urls_per_day = Some(12);
            let mut world = world(own, &[("/a/", 5)], &paths);
            let ledger = world.plan().jobs.iter().find_map(|job| {
                let draw = job.one_by_one.as_ref()?.draw.clone()?;
                Some(world.plan().ledgers[draw.ledger].key(&draw.area))
            });
            world.disk.quota.insert(ledger.expect("a ledger of URLs"), spent);
            let report = world.run(|sent: &Sent| if sent.is_directory { refuse(ErrorClass::Auth) } else { accept() });
            let left = usize::try_from(12 - spent).expect("few");
            assert_eq!(report.counts(), (left, 0, paths.len() - left, 0), "{spent}");
            assert!(!report.stops[0].credentials);
        }
    }
}

/// T3: what the vendor calls spent is spent in the ledger, and the next run of the day goes URL by URL from the start.
#[test]
fn the_run_after_a_spent_quota_goes_url_by_url() {
    let mut world = world(config("own", "alibaba-vod"), &[("/a/", 5)], &below("/a/", 40));
    let report = world.run(|sent: &Sent| if sent.is_directory { refuse(ErrorClass::QuotaSpent) } else { accept() });
    let kinds: Vec<bool> = report.sent.iter().map(|sent| sent.is_directory).collect();
    assert_eq!((report.counts(), &kinds[..2]), ((40, 0, 0, 0), &[true, false][..]));
    world.changes = below("/a/", 40).iter().map(|path| change(0, &format!("https://a.example{path}"))).collect();
    assert_eq!(shape(&world).0, []);
    // A day on directories are there again.
    world.next(&Report { states: vec![ItemState::Pending(None); 40], ..report }, DAY_MS);
    assert_eq!(shape(&world).0, [("https://a.example/a/".to_owned(), 40)]);
}

/// L3: a key that may not purge at all is refused for both, and nothing is noted of directories.
#[test]
fn a_key_that_may_purge_nothing_stops_the_provider() {
    for others in [0, 3000] {
        let paths = [below("/a/", 40), below("/b/", others)].concat();
        let mut world = world(config("own", "tencent-cdn"), &[("/a/", 5)], &paths);
        let report = world.run(|_| refuse(ErrorClass::Auth));
        assert_eq!((report.counts(), report.stops[0].credentials), ((0, 40 + others, 0, 0), true));
        assert!(!report.wrote(|record| matches!(record, Record::DirectoriesRefused { .. })));
    }
}

/// S6: many refused directories say nothing about the provider; each is asked for once and none stops the others.
#[test]
fn refused_directories_never_stop_the_provider() {
    let directories: Vec<String> = (0..20).map(|number| format!("/d{number:02}/")).collect();
    let rules: Vec<(&str, u64)> = directories.iter().map(|directory| (directory.as_str(), 1)).collect();
    let paths: Vec<String> = directories.iter().flat_map(|directory| below(directory, 2)).collect();
    let mut world = world(config("own", "tencent-cdn"), &rules, &paths);
    let refused =
        |sent: &Sent| if sent.is_directory { refuse(ErrorClass::TargetRefused(Culprit::Target)) } else { accept() };
    let report = world.run(refused);
    let asked = report.sent.iter().filter(|sent| sent.is_directory).count();
    assert_eq!((report.counts(), asked, &report.stops[0].reason), ((40, 0, 0, 0), 20, &None));
}

// --- The program ----------------------------------------------------------------------------------------------------

/// A site with `changed` new URLs below `/a/` and one above, whose manifest collapses above 5.
fn bench(kind: &str, cloud: &Cloud, changed: usize) -> Bench {
    let bench = Bench::at(kind, cloud);
    write_site(&bench, &urls(changed), "1");
    bench
}

const TOP: &str = "  \"https://cdn.example.com/top.html\": rev:1\n";

fn write_site(bench: &Bench, below: &[String], revision: &str) {
    let text = manifest(below, revision) + TOP;
    bench.write("manifests/site.yaml", format!("name: site\ncollapse: {{directory: /a/, above: 5}}\n{text}"));
}

fn plan(bench: &Bench) -> Value {
    bench.run(&["plan", "--format", "json"]).exits(0).json()
}

const DIRECTORY: &str = "https://cdn.example.com/a/";

/// S1, S3: one call, accepted by a strict judge of signature and form; all URLs are recorded and the next run is quiet.
#[test]
fn a_directory_is_purged_once_and_all_below_it_is_recorded() {
    for (kind, _, of_directories) in KINDS {
        let cloud = Cloud::of(kind);
        let bench = bench(kind, &cloud, 12);
        bench.run(&["apply", "--rehearse"]).exits(0).says("A second run would find: nothing to do");
        bench.run(&["apply", "--audit", "audit.jsonl"]).exits(0).says("13 purges accepted in 2 calls");
        let purged: BTreeSet<Target> = cloud.log().into_iter().map(|purged| purged.target).collect();
        let expected = [Target::url("https://cdn.example.com/top.html"), Target::directory(DIRECTORY)];
        assert_eq!(purged, BTreeSet::from(expected), "{kind}");
        assert_eq!((bench.recorded().len(), bench.due().len()), (13, 0), "{kind}");
        let status = bench.run(&["status", "--format", "json"]).json();
        let quotas = status["quota"].as_array().expect("a list");
        assert!(
            quotas.iter().any(|quota| quota["operation"] == of_directories && quota["used"] == 1),
            "{kind}: {status}"
        );
        bench.run(&["apply"]).exits(0).says("Nothing to do");
        let audit = String::from_utf8(bench.read("audit.jsonl").expect("a log")).expect("UTF-8");
        let lines: Vec<Value> = audit.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let line = lines.iter().find(|line| line["targets"] == json!([DIRECTORY])).expect("a line of the directory");
        assert_eq!((&line["count"], &line["stands_for"]), (&json!(1), &json!(12)), "{kind}");
    }
}

/// What is purged besides is said before it is done, and the digest of a review stands for it.
#[test]
fn the_plan_tells_what_a_directory_stands_for_and_what_it_purges_besides() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = bench("tencent-cdn", &cloud, 12);
    bench.run(&["apply"]).exits(0);
    let all = urls(12);
    let text = manifest(&all[..8], "2") + &manifest(&all[8..], "1").replacen("assets:\n", "", 1);
    bench.write("manifests/site.yaml", format!("name: site\ncollapse: [{{directory: /a/, above: 5}}]\n{text}"));
    let sentence = "directory https://cdn.example.com/a/ at own: one purge in place of 8 URLs; 4 other \
        listed URLs and all else that the CDN keeps below it are fetched anew as well";
    for format in ["human", "markdown", "github"] {
        bench.run(&["plan", "--format", format]).exits(0).says(sentence);
    }
    bench.run(&["plan"]).says("99 of 100 directories left, 98 after");
    let shown = plan(&bench);
    let job = &shown["jobs"]
        .as_array()
        .expect("jobs")
        .iter()
        .find(|job| job["operation"] == "PurgePathCache")
        .expect("a job");
    assert_eq!(job["directories"], json!([{"provider": "own", "directory": DIRECTORY, "changes": 8, "others": 4}]));
    assert_eq!((&job["targets"], &job["calls"], &job["quota"]["left_after"]), (&json!(8), &json!(1), &json!(98)));
    let change = |url: &str| {
        shown["changes"].as_array().expect("changes").iter().find(|change| change["target"] == url).cloned()
    };
    assert_eq!(change(&all[0]).expect("due")["directory"], DIRECTORY);
    assert_eq!(change("https://cdn.example.com/top.html").expect("removed")["directory"], Value::Null);
    bench
        .run(&["explain", &all[0]])
        .exits(0)
        .says("apply would purge it (changed) with its directory https://cdn.example.com/a/");
    // The same URLs without the directory are another plan.
    bench.write("manifests/site.yaml", format!("name: site\ncollapse: [{{directory: /a/, above: 8}}]\n{text}"));
    let digest = shown["digest"].as_str().expect("text");
    assert_ne!(plan(&bench)["digest"], digest);
    bench.run(&["apply", "--expect", digest]).exits(5).says("not the one that was reviewed");
}

/// C11: guards count URLs, however few calls they take, and those that are purged besides.
#[test]
fn guards_count_all_urls_that_a_directory_purges() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = bench("tencent-cdn", &cloud, 12);
    bench.run(&["apply", "--max-purges", "12"]).exits(5).says("13 purges, more than");
    assert_eq!(cloud.count(), 0);
    bench.run(&["adopt"]).exits(0);
    let all = urls(12);
    let [changed, same] = [manifest(&all[..6], "2"), manifest(&all[6..], "1").replace("assets:\n", "")];
    let site = |rules: &str| bench.write("manifests/site.yaml", format!("name: site\n{rules}\n{changed}{same}{TOP}"));
    site("collapse: {directory: /a/, above: 5}\nguard: {max_purges: 11}");
    bench.run(&["apply"]).exits(5).says("12 purges (its guard says `max_purges: 11`)");
    site("collapse: {directory: /a/, above: 5}\nguard: {max_share: 90%}");
    bench.run(&["apply"]).exits(5).says("purges of 12 of its 13 recorded targets");
    site("collapse: {directory: /, above: 5}");
    let whole = "`https://cdn.example.com/` would be purged as a whole in place of 6 URLs, with 7 other listed URLs";
    bench.run(&["apply"]).exits(5).says(whole).says("--max-purges 13");
    assert_eq!(cloud.count(), 0);
    bench.run(&["apply", "--max-purges", "13"]).exits(0).says("6 purges accepted in 1 call");
    assert_eq!((cloud.count(), bench.due().len()), (1, 0));
}

/// What each kind says to a key that may purge URLs and no directories: status, body and the code in it.
const NOT_ALLOWED: [(&str, u16, &str, &str); 2] = [
    (
        "tencent-cdn",
        200,
        r#"{"Response":{"Error":{"Code":"UnauthorizedOperation.CdnCamUnauthorized","Message":"no"},"RequestId":"r"}}"#,
        "UnauthorizedOperation.CdnCamUnauthorized",
    ),
    ("alibaba-vod", 403, r#"{"Code":"Forbidden.RAM","Message":"no","RequestId":"r"}"#, "Forbidden.RAM"),
];

/// S2, L3: a directory that the key may not purge is purged URL by URL in the same run, with a warning; for a day, or until the
/// configuration or the key is another, nobody asks for it in vain.
#[test]
fn a_key_that_may_purge_no_directories_purges_urls_and_is_asked_again_after_a_change() {
    for (kind, status, refusal, code) in NOT_ALLOWED {
        let cloud = Cloud::of(kind);
        let bench = bench(kind, &cloud, 12);
        let before = plan(&bench)["digest"].clone();
        let only = ["apply", "--only", "**/a/*"];
        let warning = format!("so its URLs go one by one: directory {DIRECTORY}: {code}");
        cloud.script([Step::say(status, refusal)]);
        let ran = bench.run(&only).exits(4).says("warning: provider `own`: ").says(&warning).says("1 left");
        assert!(ran.stdout.contains("12 purges accepted"), "{kind}: {ran:?}");
        let sent = cloud.count();
        assert_eq!(cloud.purged(), urls(12), "{kind}: {sent}");
        assert_eq!(plan(&bench)["jobs"].as_array().map(Vec::len), Some(1), "{kind}");
        // The next deployment asks for no directory.
        write_site(&bench, &urls(12), "2");
        bench.run(&["plan"]).exits(0).says("directories were refused within the last day");
        assert_eq!(plan(&bench)["one_by_one"][0]["changes"], 12, "{kind}");
        let ran = bench.run(&["apply"]).exits(0);
        assert!(!ran.stderr.contains("warning"), "{kind}: {ran:?}");
        assert!(cloud.log().iter().all(|purged| purged.target.scope == Scope::Url), "{kind}");
        // Another configuration, or another key, may be allowed more.
        write_site(&bench, &urls(12), "3");
        let file = "manifests/provider-own.yaml";
        let text = String::from_utf8(bench.read(file).expect("a file")).expect("UTF-8");
        bench.write(file, format!("{text}    limits: {{calls_per_second: 9}}\n"));
        assert_eq!(plan(&bench)["one_by_one"], json!([]), "{kind}");
        bench.write(file, text);
        assert_eq!(plan(&bench)["one_by_one"][0]["directory"], DIRECTORY, "{kind}");
        let bench = bench.keys(kind, "AKIDanother", "SECRETanother", None);
        assert_eq!(plan(&bench)["one_by_one"], json!([]), "{kind}");
        assert!(before.is_string());
    }
}

/// S2: one directory that the vendor does not take says nothing of the next run.
#[test]
fn a_directory_that_is_refused_for_itself_is_asked_for_again() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = bench("tencent-cdn", &cloud, 12);
    let refused = r#"{"Response":{"Error":{"Code":"InvalidParameter.CdnParamError","Message":"no"},"RequestId":"r"}}"#;
    cloud.script([Step::say(200, refused)]);
    let only = ["apply", "--only", "**/a/*"];
    bench.run(&only).exits(4).says("directory https://cdn.example.com/a/: InvalidParameter.CdnParamError");
    assert_eq!((cloud.count(), bench.due()), (2, vec!["https://cdn.example.com/top.html".to_owned()]));
    write_site(&bench, &urls(12), "2");
    assert_eq!(plan(&bench)["one_by_one"], json!([]));
}

/// T4: the vendor's own count of directories wins; what does not fit goes URL by URL.
#[test]
fn a_spent_quota_of_directories_is_learned_before_the_run() {
    for (kind, ..) in KINDS {
        let cloud = Cloud::with(kind, |setup| setup.afterwards.others = 100);
        let bench = bench(kind, &cloud, 12);
        bench.run(&["apply"]).exits(0).says("has 0 left of its quota of");
        assert_eq!(cloud.purged().len(), 13, "{kind}");
        assert!(cloud.log().iter().all(|purged| purged.target.scope == Scope::Url), "{kind}");
        write_site(&bench, &urls(12), "2");
        let line = "no quota of directories is left today, so 12 URLs below it go one by one";
        bench.run(&["plan"]).exits(0).says(line);
        assert_eq!(plan(&bench)["one_by_one"][0]["changes"], 12, "{kind}");
        bench.run(&["check", "--online"]).exits(0).says("0 of 100 directories a day");
    }
}

/// A review holds for what is wanted, whatever the quota of the hour leaves of it.
#[test]
fn the_digest_stays_when_no_quota_of_directories_is_left() {
    let cloud = Cloud::with("tencent-cdn", |setup| setup.afterwards.others = 100);
    let bench = bench("tencent-cdn", &cloud, 12);
    let before = plan(&bench);
    let refused = r#"{"Response":{"Error":{"Code":"AuthFailure.SignatureFailure","Message":"no"},"RequestId":"r"}}"#;
    cloud.always(Some(Step::say(200, refused)));
    bench.run(&["apply"]).exits(7);
    let after = plan(&bench);
    assert_eq!((&before["one_by_one"], &after["one_by_one"][0]["directory"]), (&json!([]), &json!(DIRECTORY)));
    assert_eq!(before["digest"], after["digest"]);
}

/// C3, S1, S2: killed between the purge and its answer, the URLs are in doubt, and the directory is purged again.
#[test]
fn c3_a_kill_between_purge_and_answer_purges_the_directory_again() {
    for (kind, ..) in KINDS {
        let cloud = Cloud::of(kind);
        let bench = bench(kind, &cloud, 12);
        cloud.script([Step::Hold]);
        let mut child = bench.start(&["apply", "--only", "**/a/*"]);
        cloud.wait_for_hold();
        child.kill().expect("killed");
        child.wait().expect("ended");
        cloud.release();
        assert_eq!(bench.recorded().len(), 0, "{kind}");
        assert_eq!(bench.run(&["status", "--format", "json"]).json()["in_doubt"][0]["targets"], 12, "{kind}");
        bench.run(&["plan"]).exits(0).says("12 targets may have been purged before");
        bench.run(&["apply"]).exits(0);
        let directories = cloud.log().iter().filter(|purged| purged.target == Target::directory(DIRECTORY)).count();
        assert_eq!((directories, bench.recorded().len()), (2, 13), "{kind}");
    }
}

/// R12, R13: the task of a directory speaks for all URLs that it stood for; if it failed they are pending again.
#[test]
fn r13_the_task_of_a_directory_settles_all_below_it() {
    for (kind, ..) in KINDS {
        let cloud = Cloud::with(kind, |setup| {
            setup.afterwards.takes_ms = 0;
            setup.afterwards.failing = vec![DIRECTORY.to_owned()];
        });
        let bench = bench(kind, &cloud, 12);
        bench.run(&["apply"]).exits(0);
        bench.run(&["status", "--refresh"]).exits(4).says("12 targets pending again");
        assert_eq!(bench.recorded().len(), 1, "{kind}");
        bench.run(&["apply"]).exits(0);
        bench.run(&["status", "--refresh"]).exits(0).says("own: 13 told to be done");
    }
}
