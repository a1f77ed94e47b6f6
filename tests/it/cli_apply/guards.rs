//! Guards, removals, selection and review: what `apply` refuses, leaves out or forces.

use freshen::core::time::Timestamp;
use freshen::state::{RunLock, RunStart};

use super::{Bench, Cloud, STATE, urls};
use crate::support::cli::{make_pipe, manifest, provider};
use crate::support::cloud::{KEY_ID, KEY_SECRET, Step};
use crate::support::raw_server::{Answer, RawServer};

fn bench(cloud: &Cloud) -> Bench {
    Bench::at("tencent-cdn", cloud)
}

/// C11: the first run is never a silent mass purge.
#[test]
fn c11_a_large_first_run_is_refused_until_allowed_or_adopted() {
    let cloud = Cloud::of("tencent-cdn");
    let first = bench(&cloud);
    first.assets(&urls(101), "1");
    first.run(&["apply"]).exits(5).says("--purge-all").says("freshen adopt");
    assert!(cloud.requests().is_empty() && first.read(STATE).is_none());
    first.run(&["apply", "--purge-all"]).exits(0);
    assert_eq!((cloud.count(), cloud.purged().len()), (1, 101));

    let second = bench(&cloud);
    second.assets(&urls(101), "1");
    second.run(&["adopt"]).exits(0);
    second.run(&["apply"]).exits(0).says("Nothing to do");
    assert_eq!((cloud.count(), second.recorded().len()), (0, 101));
}

/// C11, D4: a manifest that lost most of its targets is probably broken.
#[test]
fn mass_removal_is_refused_until_allowed_and_then_purged() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = bench(&cloud);
    bench.assets(&urls(40), "1");
    bench.run(&["apply"]).exits(0);
    cloud.count();
    bench.assets(&urls(20), "1");
    bench.run(&["apply"]).exits(5).says("20 of its 40").says("--allow-removals").says("`max_removed`");
    assert_eq!((cloud.count(), bench.recorded().len()), (0, 40));
    bench.run(&["apply", "--allow-removals"]).exits(0);
    let purged: Vec<String> = cloud.log()[40..].iter().map(|purged| purged.target.text.clone()).collect();
    assert_eq!((cloud.count(), purged), (1, urls(40)[20..].to_vec()));
    assert_eq!(bench.exported().len(), 20);
}

/// Nothing is sent for what is forgotten: a build that renames all of its fingerprinted files goes through, unless a guard of the
/// manifest counts them.
#[test]
fn what_is_forgotten_is_no_mass_removal() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = bench(&cloud);
    let build = |guard: &str, urls: &[String]| {
        bench
            .write("manifests/site.yaml", format!("on_new: adopt\non_removed: forget\n{guard}{}", manifest(urls, "1")));
    };
    build("", &urls(80)[..40]);
    bench.run(&["apply"]).exits(0);
    build("", &urls(80)[40..]);
    bench.run(&["apply"]).exits(0);
    assert_eq!((cloud.count(), bench.recorded().len()), (0, 40));
    build("guard: {max_removed: 30%}\n", &urls(80)[..40]);
    bench.run(&["apply"]).exits(5).says("40 of its 40").says("`max_removed: 30%`");
    // A manifest that is gone altogether forgets as it said.
    build("", &urls(80)[..40]);
    bench.run(&["apply"]).exits(0);
    bench.write("manifests/site.yaml", format!("name: other\n{}", manifest(&["https://cdn.example.com/other"], "1")));
    bench.run(&["apply"]).exits(0);
    assert_eq!((cloud.count(), bench.recorded().len()), (1, 1));
}

/// C11: a manifest's own limits refuse what exceeds them, with its name, the numbers and the way on; the plan says so
/// before. What was refused stays due.
#[test]
fn c11_a_manifests_own_limits_are_kept_until_overridden() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = bench(&cloud);
    let guarded = |guard: &str, count: usize, revision: &str| {
        bench.write(
            "manifests/site.yaml",
            format!("name: shop\nguard: {{{guard}}}\n{}", manifest(&urls(count), revision)),
        );
    };
    let refused = |told: &[&str], way_on: &[&str]| {
        let plan = bench.run(&["plan"]).exits(0);
        let ran = bench.run(&["apply"]).exits(5);
        for told in told {
            assert!(plan.stdout.contains(&format!("apply would refuse: manifest `shop`: {told}")), "{}", plan.stdout);
            assert!(ran.stderr.contains(&format!("error: manifest `shop`: {told}")), "{}", ran.stderr);
        }
        assert_eq!(cloud.count(), 0);
        let dry: Vec<&str> = [&["apply", "--dry-run"], way_on].concat();
        assert!(!bench.run(&dry).exits(0).stdout.contains("would refuse"));
        bench.run(&[&["apply"], way_on].concat()).exits(0);
        assert_eq!(cloud.count(), 1);
    };
    guarded("max_purges: 9", 10, "1");
    let purges = "10 purges (its guard says `max_purges: 9`); if that is meant: `freshen apply --max-purges 10`";
    refused(&[purges], &["--max-purges", "10"]);
    guarded("max_purges: 9, max_share: 30%", 10, "2");
    refused(
        &[purges, "purges of 10 of its 10 recorded targets (its guard says `max_share: 30%`)"],
        &["--max-purges", "10"],
    );
    guarded("max_removed: 10%", 8, "2");
    refused(
        &["2 of its 10 recorded targets are no longer listed (its guard says `max_removed: 10%`)"],
        &["--allow-removals"],
    );
    guarded("max_purges: 0", 8, "3");
    bench.run(&["apply", "--rehearse"]).exits(5);
    bench.run(&["apply"]).exits(5);
    guarded("max_purges: 0", 8, "2");
    bench.run(&["apply"]).exits(5).says("8 purges");
    assert_eq!(bench.due().len(), 8, "what a refused run saw stays due, also when the old hash comes back");
    bench.run(&["apply", "--max-purges", "7"]).exits(5).says("8 purges, more than `--max-purges 7` allows");
    assert_eq!(cloud.count(), 0);
}

#[test]
fn removed_assets_are_purged_or_forgotten_as_the_manifest_says() {
    for (policy, calls) in [("purge", 1), ("forget", 0)] {
        let cloud = Cloud::of("tencent-cdn");
        let bench = bench(&cloud);
        let text = |count: usize| format!("on_removed: {policy}\n{}", manifest(&urls(count), "1"));
        bench.write("manifests/site.yaml", text(5));
        bench.run(&["apply"]).exits(0);
        cloud.count();
        bench.write("manifests/site.yaml", text(4));
        bench.run(&["apply"]).exits(0);
        assert_eq!((cloud.count(), bench.exported().len()), (calls, 4), "{policy}");
    }
}

#[test]
fn new_assets_are_recorded_without_a_purge_where_the_manifest_adopts() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = bench(&cloud);
    bench.write("manifests/site.yaml", format!("on_new: adopt\n{}", manifest(&urls(200), "1")));
    bench.run(&["apply"]).exits(0);
    assert_eq!((cloud.count(), bench.recorded().len()), (0, 200));
    bench.write("manifests/site.yaml", format!("on_new: adopt\n{}", manifest(&urls(200), "2")));
    bench.run(&["apply"]).exits(0);
    assert_eq!(cloud.purged().len(), 200, "changes are purged all the same");
}

/// The digest stands for the plan that was reviewed.
#[test]
fn only_the_expected_plan_is_applied() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = bench(&cloud);
    bench.assets(&urls(3), "1");
    let digest = bench.run(&["plan", "--format", "json"]).exits(0).json()["digest"].as_str().expect("text").to_owned();
    bench.assets(&urls(4), "1");
    bench.run(&["apply", "--expect", &digest]).exits(5).says(&digest);
    assert_eq!((cloud.count(), bench.read(STATE).is_none()), (0, true));
    bench.assets(&urls(3), "1");
    bench.run(&["apply", "--expect", &digest]).exits(0);
    assert_eq!(cloud.purged(), urls(3));
}

#[test]
fn only_selected_targets_and_providers_are_sent_and_the_rest_stays_pending() {
    let (first, second) = (Cloud::of("tencent-cdn"), Cloud::of("huawei-vod"));
    let bench = bench(&first).provider("media", "huawei-vod", &second.url(), "").keys(
        "huawei-vod",
        super::KEY_ID,
        super::KEY_SECRET,
        None,
    );
    bench.assets(&urls(3), "1");
    bench.run(&["apply", "--only", "*00001.js", "--provider", "own"]).exits(4);
    assert_eq!((first.purged(), second.count()), (urls(3)[1..2].to_vec(), 0));
    assert_eq!(bench.recorded().len(), 1);
    bench.run(&["apply", "--provider", "media"]).exits(4);
    assert_eq!((first.count(), second.purged()), (1, urls(3)));
    bench.run(&["apply"]).exits(0);
    assert_eq!((first.purged(), second.count()), (urls(3), 1), "nothing twice");
    bench.run(&["apply", "--provider", "nobody"]).exits(2).says("media, own");
    bench.run(&["apply", "--only", "[z"]).exits(0).says("`--only [z` matches no target");
}

/// S4: URLs hold characters that patterns of files give a meaning.
#[test]
fn patterns_of_targets_know_no_special_character_but_the_star() {
    let cloud = Cloud::of("http-purge");
    let bench = Bench::at("http-purge", &cloud);
    let pages = ["[slug].js", "s.js", "q.js?v=1", "q.jsXv=1"].map(|name| format!("https://cdn.example.com/{name}"));
    bench.assets(&pages, "1");
    bench.run(&["adopt"]).exits(0);
    for (count, page) in (1..).zip([&pages[0], &pages[2]]) {
        bench.run(&["apply", "--force", page]).exits(0);
        let (log, sent) = (cloud.log(), page.replace("https:", "http:"));
        assert_eq!((log.len(), &log[count - 1].target.text), (count, &sent), "a request line has no scheme");
    }
    bench.run(&["state", "forget", &pages[0]]).exits(0).says("1 target forgotten");
    let listed = bench.run(&["state", "list"]).exits(0).stdout;
    assert!(!listed.contains("[slug]") && listed.contains("/s.js"), "{listed}");
}

#[test]
fn forced_targets_are_purged_though_they_are_recorded() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = bench(&cloud);
    bench.assets(&urls(3), "1");
    bench.run(&["apply"]).exits(0);
    bench.run(&["apply", "--force", "*00002.js"]).exits(0);
    assert_eq!(cloud.log().len(), 4);
    assert_eq!(cloud.log()[3].target.text, urls(3)[2]);
}

#[test]
fn nothing_is_started_after_the_deadline() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = bench(&cloud);
    bench.assets(&urls(3), "1");
    let ran = bench.run(&["apply", "--deadline", "0s", "--format", "json"]).exits(4);
    assert_eq!((&ran.json()["cut_short"], cloud.count()), (&"the deadline has passed".into(), 0));
    bench.run(&["apply"]).exits(0);
    assert_eq!((cloud.purged(), cloud.count()), (urls(3), 1));
}

/// L3: what comes before the first call is part of the time, and nobody waits longer for it.
#[test]
fn a_deadline_that_is_over_before_the_first_call_leaves_all_pending() {
    let cloud = Cloud::of("tencent-cdn");
    let hangs = "credentials: {command: [/bin/sh, -c, \"exec cat pipe\"]}\n";
    let bench = Bench::new().provider("own", "tencent-cdn", &cloud.url(), hangs);
    make_pipe(&bench.path("pipe"));
    bench.assets(&urls(3), "1");
    let ran = bench.run(&["apply", "--deadline", "1s", "--format", "json"]).exits(4);
    assert_eq!((&ran.json()["cut_short"], cloud.count()), (&"the deadline has passed".into(), 0));
    assert_eq!(bench.due(), urls(3), "what it saw is marked");
    let start = RunStart { at: Timestamp::from_unix_ms(0), host: "here".into(), pid: 1 };
    let lock = RunLock::try_take(&bench.path(STATE), &start).expect("a lock").expect("free");
    bench.run(&["apply", "--deadline", "1s", "--lock-timeout", "10m"]).exits(6).says("pid 1 ");
    drop(lock);
}

/// The same for a question about the quota that gets no answer.
#[test]
fn a_question_that_hangs_ends_with_the_deadline() {
    let (cloud, silent) = (Cloud::of("tencent-cdn"), RawServer::start(vec![Answer::Silent(Vec::new())]));
    let bench = bench(&cloud);
    bench.write(
        "manifests/provider-own.yaml",
        provider("own", "tencent-cdn", &format!("http://{}", silent.address), ""),
    );
    bench.assets(&urls(3), "1");
    let ran = bench.run(&["apply", "--deadline", "1s", "--format", "json"]).exits(4);
    assert_eq!(ran.json()["cut_short"], "the deadline has passed");
    assert_eq!((bench.due(), silent.seen().requests.len()), (urls(3), 1));
}

/// S3: what is forced is forced within the selection only, and a refused run arms nothing.
#[test]
fn force_stays_within_the_selection_and_within_its_run() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = bench(&cloud);
    bench.assets(&urls(5), "1");
    bench.run(&["apply"]).exits(0);
    cloud.count();
    bench.run(&["apply", "--force", "*", "--expect", "0123"]).exits(5);
    bench.run(&["apply"]).exits(0).says("Nothing to do");
    let one = urls(5).remove(2);
    bench.run(&["apply", "--force", "*", "--only", &one]).exits(0);
    bench.run(&["apply"]).exits(0).says("Nothing to do");
    let forced: Vec<String> = cloud.log()[5..].iter().map(|purged| purged.target.text.clone()).collect();
    assert_eq!(forced, [one]);
}

/// S5: quota counts by account, not by name, also where a file gives the credentials: over runs and between providers.
#[test]
fn quota_is_one_for_all_who_use_an_account() {
    let cloud = Cloud::of("tencent-cdn");
    let keys = format!(r#"{{"key_id": "{KEY_ID}", "key_secret": "{KEY_SECRET}"}}"#);
    let limited = "credentials: {file: keys.json}\nlimits: {urls_per_day: 5}\n";
    let bench = Bench::new().file("keys.json", keys).provider("one", "tencent-cdn", &cloud.url(), limited).provider(
        "two",
        "tencent-cdn",
        &cloud.url(),
        limited,
    );
    let mode: std::fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(bench.path("keys.json"), mode).expect("ours");
    bench.assets(&urls(4), "1");
    bench.run(&["apply", "manifests"]).exits(4).says("deferred");
    bench.assets(&urls(4), "2");
    bench.run(&["apply", "manifests"]).exits(4).says("deferred");
    let sent: usize = bench.exported().iter().filter(|row| row["hash"] == "rev:1").count();
    assert_eq!(sent, 5, "four at one provider, one at the other, and none in the second run");
}

/// C11: a guard counts what would be sent now. What was let through once goes on by itself, whatever came between.
#[test]
fn c11_what_was_let_through_goes_on_by_itself() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = bench(&cloud);
    let limit = |bench: &Bench, urls_per_day: usize| {
        let limits = format!("limits: {{urls_per_day: {urls_per_day}}}");
        bench.write("manifests/provider-own.yaml", provider("own", "tencent-cdn", &cloud.url(), &limits));
    };
    let listed = |bench: &Bench, revision: &str| {
        bench.write("manifests/site.yaml", format!("guard: {{max_purges: 2}}\n{}", manifest(&urls(6), revision)));
    };
    limit(&bench, 3);
    listed(&bench, "1");
    let way_on = "3 purges, and 3 more on later days (its guard says `max_purges: 2`); if that is meant: \
                  `freshen apply --max-purges 6`";
    bench.run(&["apply"]).exits(5).says(way_on);
    // The word for today is no word for tomorrow.
    bench.run(&["apply", "--max-purges", "3"]).exits(4);
    assert_eq!(cloud.purged().len(), 3);
    bench.run(&["apply"]).exits(4);
    limit(&bench, 6);
    bench.run(&["apply"]).exits(5).says("3 purges (its guard says");
    limit(&bench, 3);
    bench.run(&["apply", "--expect", "another"]).exits(5);
    limit(&bench, 6);
    bench.run(&["apply"]).exits(5);
    limit(&bench, 3);
    bench.run(&["apply", "--max-purges", "6"]).exits(4);
    bench.run(&["plan"]).exits(0);
    assert!(!bench.run(&["plan"]).exits(0).stdout.contains("would refuse"));
    limit(&bench, 6);
    bench.run(&["apply"]).exits(0);
    assert_eq!(cloud.purged().len(), 6);
    // Other content is another release.
    limit(&bench, 9);
    listed(&bench, "2");
    bench.run(&["apply", "--max-purges", "6"]).exits(4);
    assert_eq!(cloud.purged().len(), 9);
    limit(&bench, 12);
    listed(&bench, "3");
    bench.run(&["apply"]).exits(5).says("3 purges, and 3 more on later days");
    // What failed was let through as well.
    cloud.always(Some(Step::Close));
    bench.run(&["apply", "--max-purges", "6"]).exits(4);
    cloud.always(None);
    limit(&bench, 200);
    bench.run(&["apply"]).exits(0);
    assert_eq!(bench.due(), Vec::<String>::new());
}

/// C11: a first run counts what it sends. Once allowed it goes on, also where nothing of it was recorded.
#[test]
fn c11_a_first_run_that_was_allowed_goes_on() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = bench(&cloud);
    bench.assets(&urls(150), "1");
    cloud.always(Some(Step::Close));
    bench.run(&["apply"]).exits(5);
    bench.run(&["apply", "--purge-all"]).exits(4);
    bench.run(&["apply"]).exits(4);
    cloud.always(None);
    bench.run(&["apply"]).exits(0);
    assert_eq!(cloud.purged().len(), 150);
}

/// C11: removals count as soon as they are seen, and go on once they were allowed.
#[test]
fn c11_removals_that_were_allowed_go_on_by_themselves() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = bench(&cloud);
    let limit = |urls_per_day: usize| {
        let limits = format!("limits: {{urls_per_day: {urls_per_day}}}");
        bench.write("manifests/provider-own.yaml", provider("own", "tencent-cdn", &cloud.url(), &limits));
    };
    limit(40);
    bench.assets(&urls(40), "1");
    bench.run(&["apply"]).exits(0);
    bench.assets(&urls(20), "1");
    bench.run(&["apply"]).exits(5).says("20 of its 40");
    limit(45);
    bench.run(&["apply", "--allow-removals"]).exits(4);
    bench.run(&["apply"]).exits(4);
    limit(60);
    bench.run(&["apply"]).exits(0);
    assert_eq!((cloud.purged().len(), bench.exported().len()), (40 + 20, 20));
}

/// A pattern that matches nothing is more often a mistake than a wish, and is named.
#[test]
fn patterns_that_match_no_target_are_told() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = bench(&cloud);
    bench.assets(&urls(3), "1");
    bench.run(&["apply"]).exits(0);
    bench.assets(&urls(2), "1");
    let warned = |arguments: &[&str]| {
        let ran = bench.run(arguments);
        assert!([0, 4].contains(&ran.status), "{ran:?}");
        let of = |line: &str| Some(line.strip_prefix("warning: `")?.split_once('`')?.0.to_owned());
        ran.stderr.lines().filter_map(of).collect::<Vec<_>>()
    };
    let (one, last) = (urls(3)[1].clone(), urls(3)[2].clone());
    for command in [&["plan"][..], &["apply", "--rehearse"], &["apply"]] {
        let with = |rest: &[&str]| warned(&[command, rest].concat());
        // What is only removed is there as well, until it is.
        assert!(with(&["--only", &last]).is_empty(), "{command:?}");
        assert_eq!(with(&["--force", "/index.html", "--force", &one]), ["--force /index.html"]);
        assert_eq!(with(&["--only", "*/nothing", "--only", &one]), ["--only */nothing"]);
        assert_eq!(with(&["--only", &one, "--force", &urls(3)[0]]), [format!("--force {}", urls(3)[0])], "left out");
    }
    assert_eq!(warned(&["adopt", "--only", "nothing"]), ["--only nothing"]);
    for verb in ["plan", "apply", "adopt"] {
        bench.run(&[verb, "--provider", "nobody"]).exits(2).says("no provider is called `nobody`");
    }
}

/// What a library would panic, hang or abort for in the middle of a run is refused before it.
#[test]
fn a_process_with_too_few_files_threads_or_memory_says_so() {
    let cloud = Cloud::of("http-purge");
    let bench = Bench::at("http-purge", &cloud);
    bench.assets(&["http://cdn.example.com/a"], "1");
    let ran = |limit: &[&str; 2]| {
        let ran = bench.within(limit, &["apply", "--force", "*"]);
        assert!(!ran.stderr.contains("panic") && !ran.stderr.contains("internal error"), "{limit:?}: {}", ran.stderr);
        assert!([0, 1].contains(&ran.status), "{limit:?}: {} {}", ran.status, ran.stderr);
        (ran.status, ran.stderr)
    };
    for files in 10..40 {
        let (status, told) = ran(&["-n", &files.to_string()]);
        assert!(status == 0 || told.contains(&format!("may open {files} files")), "{files}: {told}");
    }
    // In KiB; less, and the system cannot even load the program.
    for memory in [90_000, 100_000, 120_000, 150_000, 200_000, 300_000] {
        let (status, told) = ran(&["-v", &memory.to_string()]);
        assert!(status == 0 || told.contains("memory"), "{memory}: {told}");
    }
}
