//! Comments of small, middling and very large plans, and the step that posts them.
//!
//! `UPDATE_DOCS=1 cargo test --test it comment` writes the golden ones anew.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::formats::LONGEST_COMMENT;
use super::{Bench, Cloud};
use crate::support::cli::Ran;

/// Lines that are seen without scrolling.
const SCREEN: usize = 40;

/// A site at two providers, with so many pages in each of three folders of theirs; every `changed`th one is in revision 2.
fn site(bench: &Bench, pages: std::ops::Range<usize>, changed: usize) {
    for (provider, host) in [("own", "cdn.example.com"), ("second", "www.example.net")] {
        let mut text = format!("provider: {provider}\nassets:\n");
        for folder in ["blog/2026", "css", "shop/de"] {
            for page in pages.clone() {
                let revision = if changed > 0 && page % changed == 0 { 2 } else { 1 };
                let _ = writeln!(text, "  https://{host}/{folder}/{page:05}.html: rev:{revision}");
            }
        }
        bench.write(&format!("manifests/{provider}.yaml"), text);
    }
}

fn two_providers(cloud: &Cloud) -> Bench {
    Bench::at("tencent-cdn", cloud).provider("second", "tencent-cdn", &cloud.url(), "")
}

/// Compares a comment with the golden one. What differs from run to run has a place holder there.
fn assert_golden(name: &str, ran: &Ran) {
    let digest = ran.stdout.split("Plan digest `").nth(1).and_then(|rest| rest.split('`').next());
    let comment = digest.map_or_else(|| ran.stdout.clone(), |digest| ran.stdout.replace(digest, "DIGEST"));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/golden/comments").join(name);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &comment).expect("written");
    }
    assert_eq!(comment, fs::read_to_string(&path).expect("a golden comment"), "{name}");
}

#[test]
fn a_comment_of_a_few_changes_lists_them_all() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = two_providers(&cloud);
    let page =
        |revision: &str| format!("provider: own\nassets: {{https://cdn.example.com/index.html: rev:{revision}}}\n");
    bench.write("manifests/own.yaml", page("1") + "on_removed: purge\n");
    bench.write("manifests/old.yaml", "provider: second\nassets: {https://www.example.net/old.html: rev:1}\n");
    bench.run(&["apply"]).exits(0);
    bench.write("manifests/own.yaml", page("2"));
    bench.write("manifests/old.yaml", "provider: second\nassets: {https://www.example.net/new.html: rev:1}\n");
    assert_golden("plan-3.md", &bench.run(&["plan", "--format", "markdown"]).exits(0));
    bench.write("manifests/own.yaml", page("2") + "guard: {max_purges: 0}\n");
    assert_golden("apply-3.md", &bench.run(&["apply", "--max-purges", "9", "--format", "markdown"]).exits(0));
}

#[test]
fn a_comment_of_hundreds_of_changes_begins_with_their_folders() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = two_providers(&cloud);
    site(&bench, 0..60, 0);
    bench.run(&["apply", "--purge-all"]).exits(0);
    site(&bench, 10..75, 2);
    let comment = bench.run(&["plan", "--format", "markdown"]).exits(0);
    assert!(comment.stdout.contains("300 changes: 90 new, 150 changed, 60 removed"), "{}", comment.stdout);
    assert_golden("plan-300.md", &comment);
    let only = ["apply", "--only", "*/blog/*", "--format", "markdown"];
    assert_golden("apply-100-of-300.md", &bench.run(&only).exits(4));
}

/// The first screen of a very large plan says what a reviewer has to know, and each list has examples of each provider.
#[test]
fn a_comment_of_a_very_large_plan_says_all_on_its_first_screen() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = two_providers(&cloud);
    site(&bench, 0..5000, 0);
    let comment = bench.run(&["plan", "--format", "markdown"]).exits(0).stdout;
    assert!(comment.chars().count() < LONGEST_COMMENT);
    let screen: Vec<&str> = comment.lines().take(SCREEN).collect();
    assert_eq!(screen[0], "<!-- freshen -->");
    let title = "### freshen: `apply` would refuse this: 30 000 changes: 30 000 new; 10 000 purges in 10 calls today, \
                 20 000 later (last on ";
    assert!(screen[1].starts_with(title), "{}", screen[1]);
    for said in [
        "first run: nothing is recorded yet, so all 10000 targets would be purged",
        "| `own` | tencent-cdn | ",
        "| `second` | tencent-cdn | ",
        "10000 of 10000 left",
        "| PROVIDER | FOLDER | NEW |",
        "| `own` | `https://cdn.example.com/blog/2026/` | 5000 |",
        "| `second` | `https://www.example.net/shop/de/` | 5000 |",
        "Plan digest `",
    ] {
        assert!(screen.iter().any(|line| line.contains(said)), "`{said}` is not in\n{}", screen.join("\n"));
    }
    let listed = |of: &str| comment.lines().filter(|line| line.starts_with("- `") && line.contains(of)).count();
    let examples = ["/cdn.example.com/blog", "/cdn.example.com/css", "/cdn.example.com/shop", "/www.example.net/css"];
    assert_eq!(examples.map(listed), [17, 17, 16, 17], "spread over providers and folders");
    assert!(comment.contains("- … and 29900 more; `--format json` lists all\n"));
}

/// The largest folders are shown where there are many; a vertical bar in a URL ends no cell.
#[test]
fn many_folders_are_brought_together() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud);
    let mut text = "assets:\n".to_owned();
    for host in 0..20 {
        let _ = writeln!(text, "  https://h{host:02}.example.net/a|b/{host}/x.js: rev:1");
    }
    text += "  https://h19.example.net/a|b/y.js: rev:1\n";
    bench.write("manifests/site.yaml", text);
    let comment = bench.run(&["plan", "--format", "markdown"]).exits(0).stdout;
    assert!(comment.contains("| `own` | `https://h19.example.net/` | 2 |\n\n… and 8 smaller folders\n"), "{comment}");
    bench.write(
        "manifests/site.yaml",
        (0..11).fold("assets:\n".to_owned(), |text, page| {
            text + &format!("  https://cdn.example.com/a|b/{page:02}.js: rev:1\n")
        }),
    );
    let comment = bench.run(&["plan", "--format", "markdown"]).exits(0).stdout;
    assert!(comment.contains("| `own` | `https://cdn.example.com/a\\|b/` | 11 |\n"), "{comment}");
}

/// Stands for GitHub's program: comments are files, and only the calls of the recipe are known.
const GH: &str = r#"#!/bin/sh
set -eu
echo "$*" >> calls
case "$*" in
'api --paginate repos/{owner}/{repo}/issues/7/comments --jq '*)
    begins=$(echo "$5" | sed -n 's/.*startswith("\(.*\)").*/\1/p')
    for file in comment-*; do
        if [ -e "$file" ] && [ "$(head -n 1 "$file")" = "$begins" ]; then echo "${file#comment-}"; fi
    done ;;
'api --silent --method PATCH repos/{owner}/{repo}/issues/comments/'*' -F body=@plan.md')
    file=comment-${5##*/}
    [ -e "$file" ] && cat plan.md > "$file" ;;
'api --silent repos/{owner}/{repo}/issues/7/comments -F body=@plan.md')
    cat plan.md > "comment-$(ls | wc -l)" ;;
*) echo "unknown call: $*" >&2; exit 1 ;;
esac
"#;

/// The step of the documents, as it stands there.
fn recipe() -> String {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/output.md")).expect("a page");
    let blocks: Vec<&str> = page.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let found: Vec<&&str> = blocks.iter().filter(|block| block.contains("gh api")).collect();
    assert_eq!(found.len(), 1, "one block posts comments");
    (*found[0]).to_owned()
}

#[test]
fn the_comment_step_of_the_documents_edits_its_first_comment() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud);
    bench.write("bin/gh", GH);
    fs::set_permissions(bench.path("bin/gh"), fs::Permissions::from_mode(0o755)).expect("allowed");
    bench.write("comment-1", "### freshen: quoted by a reviewer\n");
    let program = Path::new(env!("CARGO_BIN_EXE_freshen")).parent().expect("a folder").to_owned();
    let path = format!("{}:{}:/usr/bin:/bin", bench.path("bin").display(), program.display());
    let step = |status: i32| {
        let mut command = bench.other("/bin/sh", &["-eu", "-c", &recipe()]);
        Ran::of(&command.env("PATH", &path).env("PR", "7").output().expect("started")).exits(status)
    };
    let comments = || {
        let names = fs::read_dir(bench.path("")).expect("a folder").filter_map(Result::ok);
        let names = names.filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> = names.filter(|name| name.starts_with("comment-")).collect();
        names.sort();
        names
    };
    let text = |name: &str| String::from_utf8(bench.read(name).expect("a comment")).expect("UTF-8");
    bench.assets(&["https://cdn.example.com/a"], "1");
    step(0);
    let posted = comments();
    assert_eq!(posted.len(), 2, "{posted:?}");
    let ours = posted.iter().find(|name| *name != "comment-1").expect("ours");
    assert!(text(ours).contains("1 change: 1 new"), "{}", text(ours));
    bench.assets(&["https://cdn.example.com/a", "https://cdn.example.com/b"], "1");
    step(0);
    assert_eq!(comments(), posted, "edited, not posted anew");
    assert!(text(ours).contains("2 changes: 2 new"), "{}", text(ours));
    bench.write("manifests/site.yaml", "assets: [");
    step(2);
    assert!(text(ours).contains("failed with exit code 2"), "a failure is seen there as well, and ends the step");
    assert_eq!((comments(), text("comment-1").as_str()), (posted.clone(), "### freshen: quoted by a reviewer\n"));
}
