//! Files that are no manifests and no lists, though somebody names them as such: credentials, keys, tokens. Where they are
//! wrong is shown, their text is not.

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

/// The whole way, in every form of output: the file's name and the line are shown.
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

/// Wrong lines of manifests, with what must not be shown in place of `C`.
fn with_secrets_in_wrong_places() -> Vec<String> {
    let keys = [
        "pw",
        "pwd",
        "PASS",
        "password",
        "basicAuth",
        "auth",
        "bearer",
        "cookie",
        "dsn",
        "sas",
        "key",
        "apiKey",
        "x-api-key",
        "authorization",
        "passphrase",
        "client_secret",
        "SAS",
        "connection-string",
        "密码",
        "private",
        "appkey",
        "userpass",
        "dbpass",
        "session",
        "sessionid",
        "tok",
        "pin",
        "access",
        "webhook",
    ];
    let mut mistyped: Vec<String> = Vec::new();
    let mut texts = vec![
        "sources: [\"https://u:C@h\"]\n",
        "sources: [{checksums: \"https://u:C@h/x\", algorithm: x}]\n",
        "sources:\n- directory: https://h/?token=C\n  files: 1\n",
        "base_url: https://u:C@h/\n",
        "base_url: https:\\/\\/u:C@h/\n",
        "base_url: \"https:\\/\\/u:C@h\"\n",
        "base_url: ftp://u:C@h/?sig=C\n",
        "base_url: https://h/?sv=1&C\n",
        "base_url: [u:C@h, h/#C]\n",
        "provider: C@h\n",
        "name: \"u:C@h\\x01\"\n",
        "index: [C@h/..]\n",
        "providers:\n  p:\n    kind: http-purge\n    headers:\n\tX-Shop: C\n",
        "providers:\n  p:\n    kind: http-purge\n    headers:\n      X-A: \"${HOME}\"\n\tX-Shop: C\n",
        "providers:\n  p:\n    kind: http-purge\n\tlogin: C\n",
        "providers:\n  p:\n    kind: http-purge\n    credentials:\n\t\tlogin: C\n",
        "providers:\n  p: {kind: http-purge}\n  X-Shop: C\n",
        "providers:\n  p: {kind: http-purge}\n  \u{a0}\u{a0}X-Shop: C\n",
        "providers:\n  p:\n    headers:\n- X-Shop: C\nassets: {}\n",
    ];
    texts.extend([
        "providers: {p: {kind: http-purge, hosts: \"u:C@x\", endpoints: [\"http://127.0.0.1\"]}}\n",
        "providers: {p: {kind: http-purge, hosts: [\"C@x\", A.cn], endpoints: [\"http://127.0.0.1\"]}}\n",
        "providers: {p: {kind: http-purge, hosts: [a.cn], endpoints: [\"http://u:C@127.0.0.1\"]}}\n",
        "providers: {p: {kind: http-purge, hosts: [a.cn], endpoints: [\"http://u:C/w@127.0.0.1\"]}}\n",
        "providers: {p: {kind: http-purge, hosts: [a.cn], endpoints: [\"http://127.0.0.1/?token=C\"]}}\n",
        "providers: {p: {kind: http-purge, hosts: [a.cn], endpoints: [\"http://127.0.0.1/?C\", 1]}}\n",
        "providers: {p: {kind: tencent-cdn, hosts: [a.cn], endpoint: \"https://a.cn/?sig=C\"}}\n",
        "providers: {p: {kind: x, hosts: [a.cn], endpoint: \"https://a.cn/?sig=C\"}}\n",
        "providers: {p: {kind: http-purge, hosts: [a.cn], headers: {X-A: \"C\\x01\", X-B: C}, endpoints: 1}}\n",
        "providers: {p: {kind: http-purge, hosts: [a.cn], headers: {X-A: [C]}, endpoints: 1}}\n",
        "providers: {p: {kind: http-purge, hosts: [a.cn], headers: \"X-A: C\", endpoints: 1}}\n",
        "providers: {p: {kind: http-purge, hosts: [a.cn], headers: [\"X-A: C\"], endpoints: 1}}\n",
        "providers: {p: {kind: tencent-cdn, hosts: [a.cn], credentials: C}}\n",
        "providers: {p: {kind: tencent-cdn, hosts: [a.cn], credentials: {command: C}}}\n",
        "providers: {p: {kind: tencent-cdn, hosts: [a.cn], credentials: {id: C}}}\n",
        "providers: {p: {kind: tencent-cdn, hosts: [a.cn, C@b], credentials: {file: [a]}}} # key: C\n",
        "providers:\n  p:\n    headers:\n      X-A: C\u{1}C\n",
        "providers:\n  p:\n    headers:\n      X-A: >\n        C: C\n        C\u{1}C\n",
        "providers:\n  p:\n    headers:\n      X-A: \"C\n",
        "base_url: \"u:C@h\n",
        "base_url: u:C@h\u{1}\n",
        "\"\\x70w\": C\n",
    ]);
    // A key that a map cannot have, and its value.
    texts.extend([
        "providers: {p: {kind: tencent-cdn, hosts: [a.cn], key_secret: C, key_secret: C}}\n",
        "providers: {p: {kind: tencent-cdn, hosts: [a.cn], endpoint: \"https://x\", endpoint: \"https://u:C@h\"}}\n",
        "providers: {p: {kind: tencent-cdn, hosts: [a.cn], <<: {key_secret: C}}}\n",
        "providers: {p: {kind: tencent-cdn, hosts: [a.cn], <<: [{x: C}, {headers: {a: C}}]}}\n",
        "providers: {p: {kind: tencent-cdn, hosts: [a.cn], ~: C}}\n",
        "providers: {p: {kind: tencent-cdn, hosts: [a.cn], [C]: C}}\n",
        "providers: {p: {kind: tencent-cdn, hosts: [a.cn], ? {x: C, x: C} : C}}\n",
        "providers:\n  p:\n    {x: C, x: C}: C\n",
        "providers: {p: {kind: http-purge, hosts: [a.cn], headers: {X: \"${A}\", X: C}}}\n",
        "providers: {p: {kind: http-purge, hosts: [a.cn], headers: {X: \"${A}\", <<: {X: C}}}}\n",
        "providers: {p: {kind: http-purge, hosts: [a.cn], headers: {X: \"${A}\"}, headers: {X: C}}}\n",
        "providers:\n  p:\n    headers:\n      X: a\n      X: C\n",
        "providers:\n  p:\n    {{x: C, x: C}: C, x: C}: C\n",
        "providers: {p: {pw: C, pw: {pw: C, pw: C}}, p: {headers: {X: C, X: C}}}\n",
    ]);
    // A key of any name, and what is nearly `headers` or a user name.
    texts.extend([
        "providers: {p: {kind: http-purge, hosts: [a.cn], header: {X-A: C}}}\n",
        "providers: {p: {kind: http-purge, hosts: [a.cn], http_headers: {X-A: C}}}\n",
        "providers: {p: {kind: tencent-cdn, hosts: [a.cn], xyz: C}}\n",
        "providers: {p: {kind: tencent-cdn, hosts: [a.cn], env: [{name: KEY, value: C}]}}\n",
        "providers: {p: {kind: tencent-cdn, hosts: [a.cn], env: {A: C}}}\n",
        "providers: {p: {kind: tencent-cdn, hosts: [a.cn], args: [\"--token=C\"]}}\n",
        "xyz: [{a: C}]\n",
        "providers: {p: {kind: http-purge, hosts: [a.cn], endpoints: [\"http://u:C%40127.0.0.1:9\"]}}\n",
    ]);
    // The blank behind its colon forgotten, or the colon.
    for place in [
        "providers: {p: {kind: tencent-cdn, hosts: [a.cn], X}}\n",
        "providers: {p: {kind: tencent-cdn, hosts: [a.cn], credentials: {X, key_id: x}}}\n",
        "providers: {p: {kind: http-purge, hosts: [a.cn], headers: {X}, endpoints: 1}}\n",
        "providers:\n  p:\n    X\n",
        "providers: {p: [X]}\n",
        "providers: {p: {kind: tencent-cdn, hosts: [X]}}\n",
        "limits: {X}\n",
    ] {
        for one in ["key_secret:C", "key_secret=C", "password:\"C\"", "password：C", "'password C'"] {
            mistyped.push(place.replace('X', one));
        }
        if !place.contains("hosts: [X]") {
            mistyped.extend(["login:C", "login=C"].map(|one| place.replace('X', one)));
        }
    }
    // No YAML, or a tag, an anchor, an alias.
    let head = "providers:\n  p:\n    kind: tencent-cdn\n    hosts: [a.cn]\n    ";
    for line in [
        "login: @C",
        "login: `C",
        "login: %C",
        "login: *C",
        "login: C: x",
        "login: \"\\qC\"",
        "login: \"C\u{1}\"",
        "login: |\n      x\n\tC",
        "login:\n      - @C",
        "login: !C",
        "login: !C x",
        "login: !<C> x",
        "login: &C",
        "login:\n      !C",
        "login: [!C x, !!int 1]",
        "key_secret C\n    x: y",
        "limits: !C x",
        "password: &p \"C x\"\n    index: *p",
    ] {
        mistyped.push(format!("{head}{line}\n"));
    }
    mistyped.extend([
        "providers:\n  p: {kind: tencent-cdn, hosts: [a.cn], login: C}}\n".to_owned(),
        "providers:\n  p: {kind: tencent-cdn, hosts: [a.cn], login: C, x: *none}\n".to_owned(),
        "{\"providers\": {\"p\": {\"kind\": \"tencent-cdn\", \"login\": \"C\", \"hosts\": @}}}\n".to_owned(),
        "base_url: \"https://u:C\\u0040h/\"\n".to_owned(),
        "base_url: \"https://h/\\x3fsig=C\"\n".to_owned(),
    ]);
    let mut all: Vec<String> = texts.into_iter().map(str::to_owned).chain(mistyped).collect();
    for key in keys {
        for place in [
            "K: C\n",
            "K: [C, C]\n",
            "K: {C: C}\n",
            "K: |\n  C\n",
            "K:\n- C\n- C: C\n",
            "? K\n: C\n",
            "\"K\": \"C\"\n",
            "sources: [{directory: x, K: C}]\n",
            "providers: {p: {kind: tencent-cdn, hosts: [a.cn], K: C}}\n",
            "providers: {p: {kind: x, hosts: [a.cn, b..cn], K: C}}\n",
            "providers: {p: {kind: tencent-cdn, hosts: [a.cn], credentials: {K: C}}}\n",
            "providers: {p: {kind: tencent-cdn, hosts: [a.cn], limits: {K: C}}}\n",
            "guard: {K: C}\n",
            "providers: {K: C}\n",
            "K: C\u{1}\n",
            "K: \"C\n",
            "K:\n  C: C: C\n",
            "x: 1 # K=C\n",
        ] {
            all.push(place.replace('K', key));
        }
        all.push(format!("assets: {{{key}: C}}\n"));
        all.push(format!("assets: {{{key}: \"md5:C\"}}\n"));
        all.push(format!("assets: {{a.js: {{{key}: C}}}}\n"));
    }
    all.iter().map(|text| text.replace('C', CANARY)).collect()
}

/// X1, X3: what may be a secret is shown in no line and no message, wherever it stands.
#[test]
fn secrets_in_wrong_places_of_manifests_are_not_shown() {
    for text in with_secrets_in_wrong_places() {
        let head = if text.starts_with("assets") { "slashless: false\n" } else { "assets: {}\n" };
        let text = format!("{head}{text}");
        let files = [SourceFile::whole("m/a.yaml", text.clone())];
        let built = build(&files);
        assert!(built.model.is_none(), "{text}");
        let human = render(&files, &built.diagnostics, &built.hidden, false);
        assert_silent(&human, text.as_bytes());
        assert_silent(&to_json(&Problem::of(&files, &built.diagnostics)).to_string(), text.as_bytes());
        assert!(built.diagnostics.iter().all(|found| found.span.is_some_and(|span| span.line > 1)), "{text}\n{human}");
    }
}

/// An error that hides everything is of no help: the rest of the line, its column and the names of keys are there.
#[test]
fn what_is_no_secret_is_shown_beside_one() {
    for (line, shown, place) in [
        (
            "providers: {p: {kind: tencent-cdn, hosts: [\"u:pw@x\"], pasword: b}}",
            "hosts: [\"***@x\"], pasword: ***}}",
            "2:",
        ),
        ("base_url: https://u:pw@h/a", "base_url: https://***@h/a", "2:11"),
        ("providers: {p: {kind: x, endpoint: \"https://h/a?t=pw&b=pw\"}}", "\"https://h/a?t=***&b=***\"", "2:"),
        ("apiKey: pw", "apiKey: ***", "2:1"),
        ("headers: {X-A: pw}", "headers: {X-A: ***}", "2:1"),
        ("bas_url: https://h/@scope/a", "bas_url: https://h/@scope/a", "2:1"),
        ("base_ulr: 1 # a comment", "base_ulr: 1 # a comment", "2:1"),
    ] {
        let files = [SourceFile::whole("m/a.yaml", format!("assets: {{}}\n{line}\n"))];
        let built = build(&files);
        let human = render(&files, &built.diagnostics, &built.hidden, false);
        assert!(
            human.contains(shown) && human.contains('^') && human.contains(&format!("m/a.yaml:{place}")),
            "{human}"
        );
        assert!(!human.contains("pw"), "{human}");
    }
    // What is a key's own word, or a name in a header, is no secret.
    for (provider, shown) in [
        (
            "kind: alibaba-vod, signature_method: HMAC-sha1",
            "must be one of `ACS3-HMAC-SHA256`, `HMAC-SHA1`, found `HMAC-sha1`",
        ),
        (
            "kind: qcloud-cdn, signature_method: HmacSha256",
            "must be one of `HmacSHA256`, `HmacSHA1`, found `HmacSha256`",
        ),
        (
            "kind: http-purge, endpoints: [\"http://127.0.0.1\"], headers: {X: \"pw{Scheme}\"}",
            "X holds {Scheme}; of the URL there are {scheme} and {host}",
        ),
        (
            "kind: http-purge, endpoints: [\"http://127.0.0.1\"], headers: {X: \"pw{ host }\"}",
            "headers: {X: ***{ host }\"}",
        ),
    ] {
        let files =
            [SourceFile::whole("m/a.yaml", format!("assets: {{}}\nproviders: {{p: {{hosts: [a.cn], {provider}}}}}\n"))];
        let built = build(&files);
        let human = render(&files, &built.diagnostics, &built.hidden, false);
        assert!(human.contains(shown) && !human.contains("pw"), "{human}");
    }
    let asset = "assets:\n  https://a.cn/npm/@s/token@1.2/key.js?v=1&token=pw: x\n";
    let files = [SourceFile::whole("m/a.yaml", asset)];
    let human = render(&files, &build(&files).diagnostics, &build(&files).hidden, false);
    assert!(human.contains("https://a.cn/npm/@s/token@1.2/key.js?v=1&token=***: x"), "{human}");
}

/// X3: nor what stands in its environment or on its command line.
#[test]
fn the_program_shows_no_password_that_it_was_started_with() {
    let address = format!("postgres://u:{CANARY}@h/db");
    let bench = Bench::new().var("FRESHEN_STATE", &address).var("FRESHEN_AUDIT", &address);
    for verb in ["apply", "watch", "plan"] {
        let ran = bench.run(&[verb, "--help"]).exits(0);
        assert!(ran.stdout.contains("FRESHEN_STATE"), "{}", ran.stdout);
        assert_silent(&(ran.stdout + &ran.stderr), b"--help");
    }
    let bench = Bench::new().file("manifests/m.yaml", "assets: {}\n");
    let ran = bench.run(&["explain", &format!("https://u:{CANARY}@a.cn/x")]).exits(2).says("https://***@a.cn/x");
    assert_silent(&(ran.stdout + &ran.stderr), b"explain");
}

/// In every form of output.
#[test]
fn the_program_shows_no_secret_of_a_wrong_line() {
    let bench = Bench::new();
    for form in ["human", "json", "markdown", "github"] {
        for line in ["hosts: \"u:C@x\"", "hosts: [a.cn], apiKey: C", "hosts: [a.cn], endpoint: \"https://a.cn/?sig=C\""]
        {
            let line = line.replace('C', CANARY);
            bench.write("manifests/m.yaml", format!("assets: {{}}\nproviders: {{p: {{kind: tencent-cdn, {line}}}}}\n"));
            for verb in ["plan", "check", "apply", "adopt"] {
                if form == "markdown" && verb != "plan" {
                    continue;
                }
                let ran = bench.run(&["--format", form, verb]).exits(2);
                assert_silent(&(ran.stdout + &ran.stderr), line.as_bytes());
            }
        }
    }
}
