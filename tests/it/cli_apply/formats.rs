//! `--format markdown` and `--format github`: a comment on a pull request, and annotations at the manifests' lines.

use super::{Bench, Cloud, urls};
use crate::support::cli::manifest;

/// Longest comment that GitHub takes, in characters.
pub(super) const LONGEST_COMMENT: usize = 65_536;

fn bench(cloud: &Cloud) -> Bench {
    Bench::at("tencent-cdn", cloud)
}

/// A name and a URL that try to be Markdown, HTML, mentions and commands of CI systems.
const HOSTILE_NAME: &str = "`x` ``y @octocat <script> [a](https://evil.example) #1 | ##[add-mask]x";
const HOSTILE_URL: &str = "https://cdn.example.com/`a``b@octocat<details>|::error::%0A,x:y";

/// The text of a comment without its code spans: a run of backticks up to the next run of the same length.
fn outside_code(comment: &str) -> String {
    let mut rest = comment;
    let mut outside = String::new();
    while let Some(start) = rest.find('`') {
        outside.push_str(&rest[..start]);
        let opened = &rest[start..];
        let fence = opened.len() - opened.trim_start_matches('`').len();
        let mut at = fence;
        rest = loop {
            let next = opened[at..].find('`').unwrap_or_else(|| panic!("a span without end: {opened}")) + at;
            let length = opened[next..].len() - opened[next..].trim_start_matches('`').len();
            at = next + length;
            if length == fence {
                break &opened[at..];
            }
        };
    }
    outside + rest
}

/// No line of a result is a command that the runner of GitHub Actions would take from outside: all begin as ours do.
fn commands(text: &str) -> Vec<&str> {
    for line in text.lines() {
        let ours = ["::error title=freshen", "::warning title=freshen", "::notice title=freshen"];
        assert!(ours.iter().any(|prefix| line.starts_with(prefix)), "{line}");
        assert!(!line.contains("##["), "{line}");
    }
    text.lines().collect()
}

#[test]
fn a_plan_is_a_comment() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = bench(&cloud);
    bench.assets(&urls(3), "1");
    bench.run(&["apply"]).exits(0);
    let text = manifest(&urls(2), "2") + "  https://cdn.example.com/new.js: rev:1\n";
    bench.write("manifests/site.yaml", format!("guard: {{max_purges: 1}}\n{text}"));
    let comment = bench.run(&["plan", "--format", "markdown"]).exits(0).stdout;
    let digest = bench.run(&["plan", "--format", "json"]).json()["digest"].as_str().expect("text").to_owned();
    let expected = [
        "<!-- freshen -->\n### freshen: `apply` would refuse this: 4 changes: 1 new, 2 changed, 1 removed; 4 purges in 1 call today\n",
        "0 targets unchanged.\n",
        "**`apply` would refuse**\n",
        "- `` manifest `manifests/site.yaml`: 4 purges (its guard says `max_purges: 1`); if that is meant: `freshen apply --max-purges 4` ``\n",
        "| PROVIDER | KIND | TARGETS | CALLS | QUOTA TODAY | TIME | DONE |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        "| `own` | tencent-cdn | 4 | 1 | 9997 of 10000 left, 9993 after | under 1 s | today |\n",
        &format!("Plan digest `{digest}`.\n"),
        "**2 changed**\n",
        "- `own`: `https://cdn.example.com/a/00000.js`",
        "- `own`: `https://cdn.example.com/a/00001.js`\n",
        "**1 new**\n",
        "- `own`: `https://cdn.example.com/new.js`\n",
        "**1 removed**\n",
        "- `own`: `https://cdn.example.com/a/00002.js`\n",
    ];
    assert_eq!(comment, expected.join("\n") + "\n");
}

/// X5
#[test]
fn nothing_from_outside_is_markup_or_a_command() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = bench(&cloud);
    let name = serde_json::to_string(HOSTILE_NAME).expect("JSON");
    let hostile =
        |revision: &str| format!("name: {name}\nguard: {{max_purges: 0}}\n{}", manifest(&[HOSTILE_URL], revision));
    bench.write("manifests/::error::,%.yaml", hostile("1"));
    let check = |comment: &str| {
        assert!(comment.contains("@octocat"), "{comment}");
        let outside = outside_code(comment);
        for markup in ["octocat", "script", "evil", "::", "#1", "##[", "[a]"] {
            assert!(!outside.contains(markup), "`{markup}` in {outside}");
        }
    };
    check(&bench.run(&["plan", "--format", "markdown"]).exits(0).stdout);
    check(&bench.run(&["apply", "--format", "markdown"]).exits(5).stdout);
    check(&bench.run(&["check", "--format", "markdown"]).exits(0).stdout);
    for arguments in [["plan"], ["apply"], ["check"]] {
        let found = bench.run(&[&arguments[..], &["--format", "github"]].concat()).stdout;
        let all = commands(&found);
        assert!(all.iter().any(|line| line.contains(",file=manifests/%3A%3Aerror%3A%3A%2C%25.yaml")), "{found}");
    }
    // The runner takes `##[` for a command wherever in a line it stands, on both streams.
    for format in ["human", "json"] {
        for ran in [bench.run(&["plan", "--format", format]), bench.run(&["apply", "--format", format])] {
            assert!(ran.stdout.contains("add-mask]x") || ran.stderr.contains("add-mask]x"), "{ran:?}");
            assert!(!ran.stdout.contains("##[") && !ran.stderr.contains("##["), "{ran:?}");
        }
    }
    let refused = bench.run(&["apply", "--format", "json"]).json()["error"].as_str().expect("text").to_owned();
    assert!(refused.contains(HOSTILE_NAME), "JSON says the same: {refused}");
    assert!(!bench.run(&["state", "export"]).stdout.contains("##["));
    cloud.count();
    check(&bench.run(&["apply", "--max-purges", "1", "--deadline", "0s", "--format", "markdown"]).exits(4).stdout);
    let found = bench.run(&["apply", "--max-purges", "1", "--format", "github"]).stdout;
    assert!(found.contains("|::error::%250A,x:y at own: accepted"), "{found}");
    commands(&found);
}

#[test]
fn a_comment_of_a_large_plan_is_bounded_and_says_what_it_leaves_out() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = bench(&cloud);
    bench.assets(&urls(3000), "1");
    let comment = bench.run(&["plan", "--format", "markdown"]).exits(0).stdout;
    assert!(comment.chars().count() < LONGEST_COMMENT, "{}", comment.len());
    assert!(comment.contains("<details>\n<summary>3000 new</summary>\n\n- ") && comment.contains("\n</details>\n"));
    let listed = comment.lines().filter(|line| line.starts_with("- `own`: ")).count();
    assert!(comment.contains(&format!("- … and {} more; `--format json` lists all\n", 3000 - listed)), "{listed}");
    assert_eq!(listed, 100);
    let found = bench.run(&["plan", "--format", "github"]).exits(0).stdout;
    // As many of a level as are shown, the last of which says how many are not.
    assert_eq!((commands(&found).len(), found.matches("::notice").count()), (1 + 10, 10));
    assert!(found.ends_with("2992 more; the summary and `--format json` list all\n"), "{found}");
}

#[test]
fn annotations_stand_at_the_line_of_the_asset() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = bench(&cloud);
    bench.write("manifests/site.yaml", format!("guard: {{max_purges: 1}}\n{}", manifest(&urls(2), "1")));
    let found = bench.run(&["plan", "--format", "github"]).exits(0).stdout;
    let told = "own: https://cdn.example.com/a/0000";
    let refused = "manifest `manifests/site.yaml`: 2 purges (its guard says `max_purges: 1`); if that is meant: `freshen apply --max-purges 2`\n";
    assert_eq!(
        found,
        format!(
            "::notice title=freshen::plan: 2 changes: 2 new; 2 purges in 1 call today, 0 targets unchanged\n\
             ::error title=freshen,file=manifests/site.yaml::`apply` would refuse: {refused}\
             ::notice title=freshen,file=manifests/site.yaml,line=3,col=3::new at {told}0.js\n\
             ::notice title=freshen,file=manifests/site.yaml,line=4,col=3::new at {told}1.js\n"
        )
    );
    let found = bench.run(&["apply", "--format", "github"]).exits(5).stdout;
    assert_eq!(found, format!("::error title=freshen,file=manifests/site.yaml::{refused}"));
    let only = ["apply", "--only", "*00001.js", "--format", "github"];
    let found = bench.run(&only).exits(4).stdout;
    assert_eq!(
        found,
        "::warning title=freshen::1 purge accepted in 1 call, 1 left: 1 pending, 0 deferred, 0 rejected; \
         the next run sends what is due\n\
         ::warning title=freshen,file=manifests/site.yaml,line=3,col=3::https://cdn.example.com/a/00000.js at own: pending\n\
         ::notice title=freshen,file=manifests/site.yaml,line=4,col=3::https://cdn.example.com/a/00001.js at own: accepted\n"
            .replace("due\n", "due.\n")
    );
}

#[test]
fn an_outcome_is_a_comment() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = bench(&cloud);
    bench.assets(&urls(12), "1");
    let rehearsed = bench.run(&["apply", "--rehearse", "--format", "markdown"]).exits(0).stdout;
    assert!(
        rehearsed
            .starts_with("<!-- freshen -->\n### freshen: 12 purges accepted in 1 call by emulators (a rehearsal)\n"),
        "{rehearsed}"
    );
    assert!(rehearsed.ends_with("A second run would find: nothing to do.\n"));
    let comment = bench.run(&["apply", "--only", "*00001.js", "--format", "markdown"]).exits(4).stdout;
    assert!(comment.starts_with(
        "<!-- freshen -->\n### freshen: partial: 1 purge accepted in 1 call\n\n1 purge accepted in 1 call, 11 left: 11 pending"
    ));
    assert!(comment.contains("| `own` | tencent-cdn | 1 | 11 | 0 | 0 |\n"), "{comment}");
    assert!(comment.contains("**1 purged**\n\n- `own`: `https://cdn.example.com/a/00001.js` (new)\n"), "{comment}");
    assert!(comment.contains("`11 targets left out by --only or --provider, still pending`"), "{comment}");
    bench.run(&["apply"]).exits(0);
    let comment = bench.run(&["apply", "--format", "markdown"]).exits(0).stdout;
    assert_eq!(comment, "<!-- freshen -->\n### freshen: nothing to do\n\n12 targets recorded, none changed.\n\n");
}

#[test]
fn problems_of_manifests_are_told_in_both_forms() {
    let bench = Bench::new().file("manifests/site.yaml", "assets: {}\nnmae: x\n");
    for command in ["plan", "apply", "check"] {
        let found = bench.run(&[command, "--format", "github"]).exits(2).stdout;
        let told = "::error title=freshen,file=manifests/site.yaml,line=2,col=1::a manifest has no key `nmae`%0Adid you mean `name`?\n";
        assert_eq!(found, told, "{command}");
        let comment = bench.run(&[command, "--format", "markdown"]).exits(2).stdout;
        let told = "error in `manifests/site.yaml:2`: `` a manifest has no key `nmae` ``; ``did you mean `name`?``";
        assert!(comment.contains(told), "{comment}");
    }
    bench.write("manifests/site.yaml", "assets: {}\n");
    let found = bench.run(&["check", "--format", "github"]).exits(0).stdout;
    assert_eq!(found, "::notice title=freshen::valid: 1 manifest, 0 providers, 0 targets\n");
    let comment = bench.run(&["check", "--format", "markdown"]).exits(0).stdout;
    assert_eq!(comment, "<!-- freshen -->\n### freshen: valid: 1 manifest, 0 providers, 0 targets\n\n");
}

#[test]
fn problems_of_manifests_are_ten_annotations_at_most() {
    let keys = (0..13).fold(String::new(), |keys, key| keys + &format!("unknown{key:02}: x\n"));
    let bench = Bench::new().file("manifests/site.yaml", format!("assets: {{}}\n{keys}"));
    for command in ["plan", "check"] {
        let found = bench.run(&[command, "--format", "github"]).exits(2).stdout;
        assert_eq!((commands(&found).len(), found.matches("::error").count()), (10 + 1, 10), "{found}");
        assert!(found.ends_with("::3 more; the summary and `--format json` list all\n"), "{found}");
    }
}

/// Warnings of manifests and of the run are of one level.
#[test]
fn a_step_has_ten_annotations_of_a_level_together() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = bench(&cloud);
    let odd: Vec<String> = (0..13).map(|page| format!("https://cdn.example.com/%66{page:02}")).collect();
    bench.assets(&odd, "1");
    cloud.always(Some(crate::support::cloud::Step::say(503, "")));
    for (command, exit) in [(&["plan"][..], 0), (&["apply", "--deadline", "0s"], 4), (&["apply", "--rehearse"], 0)] {
        let found = bench.run(&[command, &["--format", "github"]].concat()).exits(exit).stdout;
        for level in ["error", "warning", "notice"] {
            let number = found.matches(&format!("::{level} title")).count();
            assert!(number <= 10, "{number} of {level} by {command:?}: {found}");
        }
        assert!(found.contains("3 more; the summary and `--format json` list all\n"), "{found}");
    }
}

#[test]
fn other_commands_say_which_formats_they_have() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = bench(&cloud);
    bench.assets(&urls(1), "1");
    for command in [&["adopt"][..], &["status"], &["explain", "x"], &["state", "list"], &["providers"], &["scan", "."]]
    {
        let arguments = [command, &["--format", "github"]].concat();
        bench.run(&arguments).exits(2).says("this command has the formats `human` and `json`");
    }
    assert!(bench.read(super::STATE).is_none(), "nothing was adopted");
}
