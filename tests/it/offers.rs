//! Commands that messages offer: each is cut out of what the program said, pasted into a shell in another folder, and does what
//! was offered.

use std::path::{Path, PathBuf};

use crate::support::cli::{Bench, Ran, by_hand, manifest};
use crate::support::cloud::{Cloud, KEY_ID, KEY_SECRET, Step};
use crate::support::reader::get;
use crate::support::watching::Watching;

/// A cache, a site below a path with a blank, and a state that has to be quoted.
struct Offers {
    cloud: Cloud,
    bench: Bench,
    site: PathBuf,
    state: PathBuf,
}

fn urls(number: usize) -> Vec<String> {
    (0..number).map(|index| format!("http://cdn.example.com/{index}")).collect()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

impl Offers {
    fn of(kind: &str) -> Self {
        let cloud = Cloud::of(kind);
        let bench = Bench::at(kind, &cloud);
        let (site, state) = (bench.path("a site"), bench.path("it's/state.db"));
        std::fs::create_dir_all(&site).expect("made");
        std::fs::create_dir(bench.path("elsewhere")).expect("made");
        std::fs::rename(bench.path("manifests/provider-own.yaml"), site.join("own.yaml")).expect("moved");
        std::fs::create_dir(bench.path("bin")).expect("made");
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_freshen"), bench.path("bin/freshen")).expect("linked");
        Self { cloud, bench, site, state }
    }

    /// Lists these URLs, with further lines of the manifest.
    fn lists(&self, number: usize, revision: &str, more: &str) {
        self.bench.write("a site/site.yaml", manifest(&urls(number), revision) + more);
    }

    /// Runs with the state and the site.
    fn run(&self, arguments: &[&str]) -> Ran {
        let (state, site) = (text(&self.state), text(&self.site));
        self.bench.run(&[arguments, &["--namespace", "web", "--state", state, site]].concat())
    }

    /// Runs with the state alone.
    fn look(&self, arguments: &[&str]) -> Ran {
        self.bench.run(&[arguments, &["--namespace", "web", "--state", text(&self.state)]].concat())
    }

    /// What the state holds, a line a target.
    fn listed(&self) -> String {
        self.look(&["state", "list"]).exits(0).stdout
    }

    /// Cuts the command that begins like this out of what was said, and runs it in a shell elsewhere.
    #[track_caller]
    fn paste(&self, said: &str, start: &str) -> Ran {
        let start = format!("freshen {start}");
        let found = said.split('`').find(|part| part.starts_with(&start));
        let command = found.unwrap_or_else(|| panic!("no `{start}` is offered in\n{said}"));
        let mut shell = self.bench.other("/bin/sh", &["-c", command]);
        let path = format!("{}:/usr/bin:/bin", text(&self.bench.path("bin")));
        shell.current_dir(self.bench.path("elsewhere")).env("PATH", path);
        Ran::of(&shell.output().expect("a shell"))
    }
}

fn said(ran: &Ran) -> String {
    format!("{}\n{}", ran.stdout, ran.stderr)
}

/// What a program that asked for this form reads on standard output.
fn read(ran: &Ran, form: &str) -> String {
    if form == "json" { texts(&ran.json()).join("\n") } else { ran.stdout.clone() }
}

fn texts(value: &serde_json::Value) -> Vec<String> {
    match value {
        serde_json::Value::String(text) => vec![text.clone()],
        serde_json::Value::Array(list) => list.iter().flat_map(texts).collect(),
        serde_json::Value::Object(object) => object.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn a_refused_first_run_goes_on_with_either_command_that_it_offers() {
    let offers = Offers::of("http-purge");
    offers.lists(101, "1", "");
    let refused = said(&offers.run(&["apply"]).exits(5));
    offers.paste(&refused, "adopt").exits(0).says("Recorded 101 targets as fresh");
    let other = Offers::of("http-purge");
    other.lists(101, "1", "");
    other.paste(&said(&other.run(&["plan"]).exits(0)), "apply --purge-all").exits(0);
    assert_eq!(other.cloud.purged().len(), 101);
}

/// What the environment says is spelt out: the reader of a log has another one.
#[test]
fn a_command_spells_out_what_variables_said() {
    let offers = Offers::of("http-purge");
    offers.lists(101, "1", "");
    let refused = offers
        .bench
        .command(&["apply", "--only", "*cdn*", text(&offers.site)])
        .env("FRESHEN_STATE", &offers.state)
        .env("FRESHEN_NAMESPACE", "web")
        .env("FRESHEN_AUDIT", offers.bench.path("audit.log"))
        .output()
        .expect("started");
    offers.paste(&said(&Ran::of(&refused).exits(5)), "apply --purge-all").exits(0);
    assert_eq!(offers.listed().lines().count(), 101);
    assert!(offers.bench.read("audit.log").is_some());
}

#[test]
fn what_guards_offer_is_done_from_every_form_of_output() {
    for (verb, form, exit) in [
        ("apply", "markdown", 5),
        ("apply", "json", 5),
        ("plan", "human", 0),
        ("plan", "json", 0),
        ("plan", "markdown", 0),
        ("plan", "github", 0),
    ] {
        let offers = Offers::of("http-purge");
        offers.lists(40, "1", "");
        offers.run(&["apply"]).exits(0);
        offers.lists(20, "1", "");
        let refused = read(&offers.run(&[verb, "--format", form]).exits(exit), form);
        offers.paste(&refused, "apply --allow-removals").exits(0);
        assert_eq!(offers.listed().lines().count(), 20, "{verb} {form}");
        offers.lists(20, "2", "guard: {max_purges: 3}\n");
        let refused = read(&offers.run(&[verb, "--format", form]).exits(exit), form);
        offers.paste(&refused, "apply --max-purges 20").exits(0);
        assert!(offers.listed().lines().all(|line| line.ends_with("rev:2")), "{verb} {form}");
        let reviewed = said(&offers.run(&["plan", "--force", "*/7", "--format", "markdown"]).exits(0));
        let purged = || offers.cloud.purged().into_iter().partition::<Vec<_>, _>(|url| url.ends_with("/7"));
        let (of_7, others) = purged();
        offers.paste(&reviewed, "apply --expect").exits(0);
        assert_eq!((purged().0.len(), purged().1), (of_7.len() + 1, others));
        let other = said(&offers.run(&["apply", "--expect", "00"]).exits(5));
        offers.paste(&other, "plan").exits(0).says("Nothing to purge");
    }
}

#[test]
fn what_nobody_speaks_for_goes_by_the_commands_of_status_and_plan() {
    for (offered, purged) in [("apply --vanished", 3), ("state forget", 2)] {
        let offers = Offers::of("http-purge");
        offers.lists(2, "1", "");
        offers.bench.write("old/old's.yaml", manifest(&["http://cdn.example.com/old"], "1"));
        let old = offers.bench.path("old/old's.yaml");
        offers.run(&["apply", text(&old)]).exits(0);
        std::fs::remove_file(&old).expect("removed");
        let told = said(&offers.look(&["status"]).exits(0));
        // Of `status` it is not known where manifests are.
        let told = if offered.starts_with("apply") { said(&offers.run(&["plan"])) } else { told };
        let before = offers.cloud.purged().len();
        offers.paste(&told, offered).exits(0);
        assert_eq!(offers.listed().lines().count(), 2);
        assert_eq!(offers.cloud.purged().len(), before + purged - 2);
    }
}

#[test]
fn targets_of_a_provider_that_is_gone_go_by_the_command_that_is_offered() {
    let offers = Offers::of("http-purge");
    offers.lists(2, "1", "");
    offers.run(&["apply"]).exits(0);
    let own = String::from_utf8(offers.bench.read("a site/own.yaml").expect("there")).expect("UTF-8");
    offers.bench.write("a site/own.yaml", own.replace("  own:", "  new:"));
    let told = said(&offers.run(&["plan"]).exits(0));
    offers.paste(&told, "state forget").exits(0).says("2 targets forgotten");
}

#[test]
fn what_looks_offer_shows_what_they_leave_out() {
    let offers = Offers::of("http-purge");
    offers.lists(60, "1", "");
    let none = said(&offers.look(&["status"]).exits(0));
    let plan = none.split('`').find(|part| part.starts_with("freshen plan")).expect("offered");
    assert_eq!(plan, format!("freshen plan --state '{}' --namespace web", text(&offers.state).replace('\'', r"'\''")));
    let unknown = said(&offers.run(&["explain", "http://cdn.example.com/none"]).exits(2));
    assert_eq!(
        offers.paste(&unknown, "plan --format json").exits(0).json()["changes"].as_array().map(Vec::len),
        Some(60)
    );
    offers.cloud.always(Some(Step::say(500, "no")));
    offers.run(&["apply"]).exits(4);
    let left = said(&offers.look(&["status"]).exits(0));
    assert_eq!(offers.paste(&left, "state list").exits(0).stdout.lines().count(), 60);
    assert_eq!(offers.paste(&unknown, "state list").exits(0).stdout.lines().count(), 60);
    let why = "guard: {max_purges: 1}\n";
    offers.cloud.always(None);
    offers.lists(60, "2", why);
    let held = said(&offers.run(&["explain", "http://cdn.example.com/1"]).exits(0));
    offers.paste(&held, "apply --max-purges 60").exits(0);
}

#[test]
fn a_state_that_cannot_be_used_is_made_anew_by_the_commands_that_are_offered() {
    let offers = Offers::of("http-purge");
    offers.lists(3, "1", "");
    offers.run(&["apply"]).exits(0);
    let copy = std::fs::read(&offers.state).expect("there");
    offers.lists(3, "2", "");
    offers.run(&["apply"]).exits(0);
    std::fs::write(&offers.state, copy).expect("put back");
    let refused = said(&offers.run(&["apply", "--only", "*/1"]).exits(6));
    std::fs::remove_file(offers.bench.path("it's/state.db.seal")).expect("there");
    let before = offers.cloud.purged().len();
    offers.paste(&refused, "apply --force").exits(0);
    assert_eq!(offers.cloud.purged().len(), before + 3, "all of them");
    by_hand(&offers.state, "UPDATE target SET hash = 'rev:x'");
    std::fs::write(&offers.state, "SQLite format 3\0 and no more").expect("written");
    let damaged = said(&offers.run(&["plan"]).exits(6));
    std::fs::remove_dir_all(offers.bench.path("it's")).expect("removed");
    offers.paste(&damaged, "adopt").exits(0).says("Recorded 3 targets");
}

#[test]
fn accepted_purges_are_asked_about_by_the_command_that_is_offered() {
    let offers = Offers::of("tencent-cdn");
    offers.lists(2, "1", "");
    offers.run(&["apply"]).exits(0);
    let open = offers.look(&["status"]).exits(0);
    assert!(said(&open).contains("`freshen status --refresh --state "), "{open:?}");
    offers.paste(&said(&open), "status --refresh").exits(0).says("Results of accepted purges");
    let told = said(&offers.run(&["status", "--refresh"]));
    assert!(told.contains("Results of accepted purges"), "{told}");
}

/// The page and the log of a watch: what they offer has the paths and options that the watch was started with.
#[test]
fn a_watch_offers_commands_that_go_on_where_it_is() {
    let offers = Offers::of("http-purge");
    offers.lists(40, "1", "");
    offers.run(&["apply"]).exits(0);
    let audit = offers.bench.path("audit.log");
    let (state, site) = (text(&offers.state), text(&offers.site));
    let arguments = ["--listen", "127.0.0.1:0", "--namespace", "web", "--state", state, "--audit", text(&audit), site];
    let mut watching = Watching::start(&offers.bench, &arguments);
    let told = watching.says("listening at")["message"].as_str().expect("text").to_owned();
    let at = told.rsplit_once("http://").expect("an address").1.parse().expect("an address");
    watching.ends_a_run();
    offers.lists(2, "1", "");
    let refused = watching.says("refused: ");
    assert_eq!((refused["target"].as_str(), &refused["more"]), (Some("http://cdn.example.com/10"), &37.into()));
    let refused = refused["message"].as_str().expect("text").to_owned();
    watching.ends_a_run();
    let unescape = |text: &str| text.replace("&#39;", "'").replace("&quot;", "\"").replace("&amp;", "&");
    let page = unescape(&get(at, "/").body);
    let command = |said: &str| said.split('`').find(|part| part.starts_with("freshen apply")).map(str::to_owned);
    assert_eq!(command(&page), command(&refused));
    assert_eq!(command(&get(at, "/readyz").body), command(&refused));
    offers.paste(&refused, "apply --allow-removals").exits(0);
    assert_eq!(offers.listed().lines().count(), 2);
    assert!(offers.bench.read("audit.log").is_some());
    let wrong = (0..30).map(|index| format!("wrong{index}: 1\n")).collect::<Vec<_>>().concat();
    offers.bench.write("a site/site.yaml", format!("assets: {{}}\n{wrong}"));
    watching.says("the manifests are not valid");
    let page = unescape(&get(at, "/").body);
    offers.paste(&page, "check").exits(2).says("wrong29");
    offers.lists(2, "1", "");
    watching.stop();
}

/// Of the state alone, and of one URL: what fails, since when, and what tries it now.
#[test]
fn looks_name_what_fails_and_the_command_that_tries_it_now() {
    for look in ["status", "explain"] {
        let offers = Offers::of("http-purge");
        offers.lists(3, "1", "");
        offers.run(&["apply"]).exits(0);
        offers.cloud.always(Some(Step::say(500, "no")));
        offers.lists(3, "2", "");
        offers.run(&["apply"]).exits(4);
        let told = match look {
            "status" => said(&offers.look(&["status"]).exits(0)),
            _ => said(&offers.run(&["explain", &urls(3)[1]]).exits(0)),
        };
        if look == "status" {
            assert!(told.contains("\nFailing\n  web:own: 3 targets, the oldest http://cdn.example.com/0: "), "{told}");
            assert!(told.contains("\n    since 20"), "{told}");
        }
        assert!(told.contains("each run tries it again"), "{told}");
        offers.cloud.always(None);
        offers.paste(&told, "apply --provider own").exits(0);
        assert!(offers.listed().lines().all(|line| line.ends_with("rev:2")), "{look}: {}", offers.listed());
    }
}

/// What fails is named by its oldest URL, with since when, how many there are, what lists all and what tries it now.
#[test]
fn the_log_names_what_fails_and_the_commands_that_go_on() {
    let offers = Offers::of("http-purge");
    offers.lists(3, "1", "");
    offers.run(&["apply"]).exits(0);
    offers.cloud.always(Some(Step::say(500, "no")));
    offers.lists(3, "2", "");
    let arguments = ["--namespace", "web", "--state", text(&offers.state), text(&offers.site)];
    let mut watching = Watching::start(&offers.bench, &arguments);
    let fails = watching.says("provider fails");
    assert_eq!((fails["target"].as_str(), &fails["more"]), (Some("http://cdn.example.com/0"), &2.into()));
    assert!(fails["since"].as_str().is_some_and(|since| since.ends_with('Z')), "{fails}");
    let message = fails["message"].as_str().expect("text");
    offers.paste(message, "status").exits(0).says("http://cdn.example.com/2");
    offers.cloud.always(None);
    offers.paste(message, "apply --provider own").exits(0);
    assert!(offers.listed().lines().all(|line| line.ends_with("rev:2")), "{}", offers.listed());
    watching.stop();
}

/// With the state and the manifests of the folder that a look was made in.
#[test]
fn looks_at_the_usual_places_offer_commands_for_any_folder() {
    for (look, start) in [
        (&["status"][..], "apply --provider own"),
        (&["explain", "http://cdn.example.com/1"], "apply --provider own"),
        (&["explain", "http://cdn.example.com/1"], "apply --except-refused"),
        (&["explain", "http://cdn.example.com/1", "manifests"], "apply --except-refused"),
        (&["status", "http://cdn.example.com/1"], "apply --except-refused"),
        (&["status", "http://cdn.example.com/1", "manifests"], "apply --except-refused"),
        (&["explain", "http://cdn.example.com/b/39"], "apply --allow-removals"),
    ] {
        let offers = Offers::of("http-purge");
        let bench = &offers.bench;
        std::fs::rename(offers.site.join("own.yaml"), bench.path("manifests/own.yaml")).expect("moved");
        let lists = |number: usize, of_b: usize, revision: &str| {
            let of_b: Vec<String> = (0..of_b).map(|index| format!("http://cdn.example.com/b/{index}")).collect();
            bench.write("manifests/a.yaml", manifest(&urls(number), revision));
            bench.write("manifests/b.yaml", manifest(&of_b, "1"));
        };
        lists(3, 40, "1");
        bench.run(&["apply"]).exits(0);
        offers.cloud.always(Some(Step::say(500, "no")));
        lists(3, 20, "2");
        bench.run(&["apply", "--except-refused"]).exits(5);
        offers.cloud.always(None);
        let told = said(&bench.run(look).exits(0));
        offers.paste(&told, start).exits(if start.ends_with("removals") { 0 } else { 5 });
        let listed = bench.run(&["state", "list"]).exits(0).stdout;
        assert_eq!(listed.lines().filter(|line| line.ends_with("rev:2")).count(), 3, "{look:?} {start}: {listed}");
        assert!(!bench.path("elsewhere/.freshen").exists(), "no second state: {look:?} {start}");
    }
}

/// No secret is an argument, and none of the environment's gets into a command.
#[test]
fn no_command_holds_a_secret() {
    let offers = Offers::of("tencent-cdn");
    offers.lists(101, "1", "");
    let refused = said(&offers.run(&["apply"]).exits(5));
    assert!(!refused.contains(KEY_ID) && !refused.contains(KEY_SECRET), "{refused}");
    offers.paste(&refused, "apply --purge-all").exits(0);
}
