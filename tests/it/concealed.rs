//! Files that are no manifests and no lists, though somebody names them as such: credentials, keys, tokens. Where they are
//! wrong is told, their text is not.

use freshen::cli::diagnostics::{render, to_json};
use freshen::manifest::checksums::{ChecksumProblem, ChecksumReader, Listed};
use freshen::manifest::{Problem, SourceFile, build};

use super::support::cli::Bench;

const CANARY: &str = "CANARY7f3a9c";

/// Files of all kinds that hold secrets, each line of them with a canary.
fn foreign() -> Vec<Vec<u8>> {
    let texts = [
        "{\"key_id\":\"C\",\"key_secret\":\"C\"}\n",
        "{\"key_id\":\"C\",\n\"key_secret\":\"C\n",
        "-----BEGIN PRIVATE KEY-----\nCabc+/=\nCdef==\n-----END PRIVATE KEY-----\n",
        "[remote \"origin\"]\n\turl = https://x:C@git.example/x.git\n",
        "machine git.example login C password C\n",
        "KEY=C\nexport TOKEN='C'\n",
        "user:$apr1$C\n",
        "name: C\nversion: C\nservices: {db: {environment: [PASSWORD=C]}}\n",
        "apiVersion: v1\nkind: Secret\ndata:\n  C: C\n",
        "C: 1\nC: 2\n",
        "C: [\n",
        "C\n",
        "- C\n- C\n",
        "- - C: *C\n",
        "\"C",
        "'C\n",
        "!C x\n",
        "&C x\n",
        "*C\n",
        "? C\n",
        "{C, C}\n",
        "%C\n",
        "@C\n",
        "`C\n",
        "C: |\n C\n\tC\n",
        "a: C\n---\nb: C\n",
        "C\u{0}C\n",
        "C\u{1b}[31mC\n",
        "\u{feff}C\n\u{feff}C\n",
        "# C\n",
        "# C\n{\n",
        "\tproviders: C\n",
        "\tassets: C\nx",
        "  providers: C\n",
        " assets:\n   C: C\n",
        "? providers\n: C\n",
        "&C providers: C\n",
        "!C providers: C\n",
        "[providers: C]\n",
        "[{providers: C}]\n",
        "- providers: C\n",
        "C: &a\n  providers: *a\n",
        "name: C\nproviders\n",
        "name: &C C\n<<: {providers: C}\n",
        "\u{feff}\tproviders: C\r\n",
        "--- {x: C, providers: C}\n",
        "--- providers\n...\nC\n",
        "C {providers: C}\n",
        "\"providers\": C\n\0",
        "apiVersion: v1\r\nclusters:\r\n- C\r\n  providers: C\r\n",
        "0cc175b9c0f1b6a831c399e26977266C  a\n",
        "SHAC (C) = C\n",
        "MD5 (C) = C\n",
        "\\0cc175b9c0f1b6a831c399e269772661  C\\C\n",
        "0cc175b9c0f1b6a831c399e269772661  ../C\n",
        "0cc175b9c0f1b6a831c399e269772661  /C\n",
        "0cc175b9c0f1b6a831c399e269772661  C//C\n",
        "0cc175b9c0f1b6a831c399e269772661  C\u{7}\n",
        "0cc175b9c0f1b6a831c399e269772661  C",
    ];
    let mut all: Vec<Vec<u8>> = texts.iter().map(|text| text.replace('C', CANARY).into_bytes()).collect();
    all.push([CANARY.as_bytes(), b"\xff\xfe", CANARY.as_bytes(), b"\n"].concat());
    all.push([b"0cc175b9c0f1b6a831c399e269772661  ", CANARY.as_bytes(), b"\xff\n"].concat());
    all
}

fn assert_silent(text: &str, of: &[u8]) {
    assert!(!text.contains("CANARY"), "{:?} is shown:\n{text}", String::from_utf8_lossy(of));
}

#[test]
fn no_text_of_a_file_that_is_no_manifest_is_shown() {
    for bytes in foreign() {
        let files = [SourceFile::whole("m/a.yaml", bytes.clone()), SourceFile::whole("m/b.yaml", "assets: {}")];
        let built = build(&files);
        assert!(built.model.is_none());
        assert!(built.diagnostics.iter().all(|found| found.span.is_some_and(|span| span.line > 0)));
        assert_silent(&render(&files, &built.diagnostics, &built.hidden, false), &bytes);
        assert_silent(&to_json(&Problem::of(&files, &built.diagnostics)).to_string(), &bytes);
    }
}

#[test]
fn no_text_of_a_line_that_is_wrong_is_shown() {
    for bytes in foreign() {
        let mut told = String::new();
        let mut each = |line: Result<Listed<'_>, ChecksumProblem>| {
            let problem = line.expect_err("no line of a list");
            told += &format!("{}: {} {}\n", problem.line, problem.message, problem.help);
        };
        let mut reader = ChecksumReader::new(None);
        reader.feed(&bytes, &mut each);
        reader.finish(&mut each);
        assert!(!told.is_empty());
        assert_silent(&told, &bytes);
    }
}

/// What follows a manifest in its file may be anything.
#[test]
fn no_text_of_a_second_document_is_shown() {
    for text in
        ["assets: {}\n...\nC\n", "assets: {}\n--- C\n", "assets: {}\n---\npassword: C\n", "assets: {}\n--- |\n C\n"]
    {
        let text = text.replace('C', CANARY);
        let files = [SourceFile::whole("m/a.yaml", text.clone())];
        let built = build(&files);
        assert_eq!(built.diagnostics.len(), 1, "{text}");
        assert_silent(&render(&files, &built.diagnostics, &built.hidden, false), text.as_bytes());
        assert_silent(&to_json(&Problem::of(&files, &built.diagnostics)).to_string(), text.as_bytes());
    }
}

/// A manifest is shown where it is wrong, as far as it has shown itself to be one.
#[test]
fn a_manifest_is_shown_with_a_caret() {
    for (text, shown) in [
        ("assets: {}\nbase_url: [\n", "base_url: ["),
        ("base_url: https://a.cn/\nasets: {}\n", "asets: {}"),
        ("assets: {}\nname: \u{1}\n", "name: "),
        ("providers: {a: {kind: x}}\nassets: {}\n", "providers: {a:"),
    ] {
        let files = [SourceFile::whole("m/a.yaml", text)];
        let built = build(&files);
        let told = render(&files, &built.diagnostics, &built.hidden, false);
        assert!(told.contains(shown) && told.contains('^'), "{told}");
    }
    let files = [SourceFile::whole("m/a.yaml", "asets: {}\n")];
    let built = build(&files);
    assert!(built.diagnostics[0].help.as_deref().is_some_and(|help| help.contains("did you mean `assets`?")));
}

/// The whole way, in every form of output: the file's name and the line are told.
#[cfg(unix)]
#[test]
fn the_program_shows_no_text_of_a_file_that_it_should_not_read() {
    let manifest = "providers: {t: {kind: tencent-cdn, hosts: [a.cn]}}\nbase_url: https://a.cn/\n";
    let commands = [
        ["plan", "human"],
        ["plan", "json"],
        ["plan", "markdown"],
        ["plan", "github"],
        ["check", "human"],
        ["check", "json"],
        ["check", "github"],
        ["apply", "json"],
        ["adopt", "human"],
    ];
    for bytes in foreign().into_iter().take(4) {
        let list = Bench::new().file("secret", &bytes);
        list.write("manifests/m.yaml", format!("{manifest}sources: [{{checksums: ../secret}}]\n"));
        let link = Bench::new().file("secret", &bytes).file("manifests/b.yaml", manifest);
        std::os::unix::fs::symlink("../secret", link.path("manifests/a.yaml")).expect("linked");
        for [verb, form] in commands {
            for (bench, place) in [(&list, "secret:1"), (&link, "manifests/a.yaml")] {
                let ran = bench.run(&["--format", form, verb]).exits(2);
                assert_silent(&(ran.stdout.clone() + &ran.stderr), &bytes);
                assert!((ran.stdout + &ran.stderr).contains(place), "{place}");
            }
        }
        let ran = link.run(&["state", "import", "secret"]).exits(2).says("secret:1");
        assert_silent(&ran.stderr, &bytes);
    }
}
