//! What the program is measured by, at the sizes that matter: the real binary over loopback HTTP, figures counted at the
//! vendor's door.

use std::collections::BTreeSet;

use crate::cli_apply::urls;
use crate::crash::kills::in_flight;
use crate::support::cli::{Bench, Ran, provider};
use crate::support::cloud::{Cloud, Step, now};

const URLS: usize = 1500;
const A_DAY: usize = 1000;
const A_CALL: usize = 10;
/// Calls that Huawei's adapter has under way at most.
const IN_FLIGHT: usize = 4;
const KILLS: usize = 20;

/// Configures the account for a quota day in whose middle we are: no run comes near a midnight, whenever it is. The account is
/// asked faster than documented, since here time is the tests' own.
fn set_day(bench: &Bench, cloud: &Cloud) {
    let minute = i32::try_from(now().unix_seconds().rem_euclid(86_400) / 60).expect("minutes of a day");
    let noon = 12 * 60 - minute;
    let (sign, minutes) = (if noon < 0 { '-' } else { '+' }, noon.abs());
    let quota_day = format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60);
    let limits = format!("limits: {{calls_per_second: 50, quota_day: \"{quota_day}\"}}\n");
    bench.write("manifests/provider-own.yaml", provider("own", "huawei-vod", &cloud.url(), &limits));
}

/// A day later: what was spent today was spent yesterday.
fn next_day(bench: &Bench, cloud: &Cloud) {
    cloud.new_day();
    bench.by_hand("UPDATE quota SET day = date(day, '-1 day')");
}

/// A changed site of 1 500 URLs at an account that takes 1 000 a day in calls of 10.
fn site() -> (Bench, Cloud) {
    let cloud = Cloud::of("huawei-vod");
    let bench = Bench::at("huawei-vod", &cloud);
    set_day(&bench, &cloud);
    bench.assets(&urls(URLS), "1");
    (bench, cloud)
}

fn counts(ran: &Ran) -> [u64; 4] {
    let own = &ran.json()["providers"][0];
    ["accepted", "pending", "deferred", "rejected"].map(|word| own[word].as_u64().expect("a number"))
}

/// S5, S6, T3: a thousand of 1 500 URLs in a hundred calls, the rest deferred; the next day the rest and nothing else.
#[test]
fn huawei_purges_a_thousand_urls_a_day_and_the_other_five_hundred_the_next_day() {
    let (bench, cloud) = site();
    let ran = bench.run(&["apply", "--purge-all", "--format", "json"]).exits(4);
    assert_eq!(counts(&ran), [1000, 0, 500, 0]);
    let first: BTreeSet<String> = cloud.purged().into_iter().collect();
    assert_eq!((cloud.count(), cloud.log().len(), first.len()), (A_DAY / A_CALL, A_DAY, A_DAY));

    let again = bench.run(&["apply", "--format", "json"]).exits(4);
    assert_eq!((counts(&again), cloud.count()), ([0, 0, 500, 0], 0), "nothing above the quota");

    next_day(&bench, &cloud);
    let ran = bench.run(&["apply", "--format", "json"]).exits(0);
    assert_eq!((counts(&ran), cloud.count()), ([500, 0, 0, 0], (URLS - A_DAY) / A_CALL));
    let second: BTreeSet<String> = cloud.purged().into_iter().collect();
    assert!(second.len() == URLS - A_DAY && second.is_disjoint(&first));
    assert!(first.union(&second).eq(urls(URLS).iter()));
    bench.run(&["apply"]).exits(0).says("Nothing to do");
    assert_eq!((cloud.count(), bench.recorded().len()), (0, URLS));
}

/// C3, S2, S5: twenty kills, each between a purge and its answer, change none of these figures by more than what was
/// under way.
#[test]
fn huawei_totals_stand_twenty_kills_but_for_what_was_under_way() {
    let (bench, cloud) = site();
    let (mut told, mut lost) = (BTreeSet::new(), 0);
    for _ in 0..KILLS {
        cloud.script([Step::Pass, Step::Hold]);
        let mut run = bench.start(&["apply", "--purge-all"]);
        cloud.wait_for_hold();
        run.kill().expect("killed");
        run.wait().expect("ended");
        cloud.release();
        let met = in_flight(&bench, &mut told).len();
        assert!((A_CALL..=IN_FLIGHT * A_CALL).contains(&met), "{met} targets under way");
        lost += met;
    }
    let ran = bench.run(&["apply", "--purge-all", "--format", "json"]).exits(4);
    let (recorded, calls, purges) = (bench.recorded().len(), cloud.count(), cloud.log().len());
    eprintln!("{KILLS} kills met {lost} targets under way; {recorded} recorded, {purges} purged in {calls} calls");
    assert!(calls <= A_DAY / A_CALL && purges <= A_DAY, "{purges} in {calls} calls: more than the quota");
    assert!(recorded <= A_DAY && recorded + lost >= A_DAY, "{recorded} recorded, {lost} met under way");
    assert!(purges <= recorded + lost, "{purges} purged, {recorded} recorded, {lost} met under way");
    assert_eq!(counts(&ran)[1..], [0, (URLS - recorded) as u64, 0]);

    next_day(&bench, &cloud);
    let left: BTreeSet<String> = bench.due().into_iter().collect();
    assert_eq!(left.len(), URLS - recorded);
    bench.run(&["apply"]).exits(0);
    assert_eq!((cloud.count(), cloud.log().len()), (left.len().div_ceil(A_CALL), left.len()));
    assert!(cloud.purged().iter().eq(left.iter()), "what is not recorded, and nothing else");
    assert_eq!(bench.recorded().len(), URLS);
    bench.run(&["apply"]).exits(0).says("Nothing to do");
}

/// S6, R11, L2: three of a thousand URLs on a host that is not the account's: those three are named, the others purged.
#[test]
fn three_foreign_urls_of_a_thousand_are_named_and_the_others_purged() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud);
    let mut all = urls(1000);
    let foreign = [3, 400, 999].map(|at| format!("https://foreign.example.org/{at}.js"));
    for (at, url) in [3, 400, 999].into_iter().zip(&foreign) {
        all[at].clone_from(url);
    }
    bench.assets(&all, "1");
    let own = provider("own", "tencent-cdn", &cloud.url(), "");
    bench.write("manifests/provider-own.yaml", own.replace("*.example.net", "*.example.net\", \"foreign.example.org"));
    let ran = bench.run(&["apply", "--purge-all", "--format", "json"]).exits(4);
    assert_eq!(counts(&ran), [997, 0, 0, 3]);
    let targets = ran.json()["targets"].as_array().expect("a list").clone();
    let rejected: Vec<&str> = targets
        .iter()
        .filter(|target| target["state"] == "rejected")
        .map(|target| target["target"].as_str().expect("text"))
        .collect();
    assert_eq!(rejected, foreign);
    // 2·3·⌈log2 1000⌉ and one more calls would be allowed; a host is cut out with all its URLs at once.
    assert_eq!(cloud.count(), 3, "the batch, its good part, its refused part");
    assert_eq!(cloud.purged().len(), 997);
    let mut status = bench.run(&["status"]);
    for url in &foreign {
        status = status.says(url);
    }
    bench.run(&["apply"]).exits(4);
    assert_eq!(cloud.count(), 0, "a rejected target is not sent again");
}

/// S6: 100 000 changed URLs that are all left take a tenth of what a million may take, 200 MB, and a base.
#[cfg(target_os = "linux")]
#[test]
fn many_urls_that_are_left_take_little_memory() {
    const MANY: usize = 100_000;
    /// Twenty megabytes, and 180 bytes a URL.
    const LIMIT_KIB: usize = (20_000_000 + 180 * MANY) / 1024;
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud);
    let list = |revision: char| {
        let digest = revision.to_string().repeat(64);
        let line = |number: usize| format!("  static/js/{:04}/chunk-{number:08}.html: blake3:{digest}\n", number / 100);
        let lines: Vec<String> = (0..MANY).map(line).collect();
        bench.write("manifests/site.yaml", format!("base_url: https://cdn.example.com\nassets:\n{}", lines.concat()));
    };
    list('1');
    bench.run(&["adopt"]).exits(0);
    list('2');
    cloud.script([Step::say(403, "")]);
    let limited = ["-c", &format!("ulimit -d {LIMIT_KIB} && exec \"$0\" \"$@\"")];
    let ran = Ran::of(&bench.wrapped("/bin/sh", &limited, &["apply"]).output().expect("started")).exits(7);
    assert!(ran.stdout.contains(&format!("{MANY} left: ")), "{ran:?}");
}
