//! Files in `examples/` as far as they can be tried here: the command lines are ours, units are verified by systemd, manifests
//! inside them are valid.

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Parser;
use freshen::cli::args::{Cli, Verb};
use serde_json::Value;

use crate::support::cli::{Bench, manifest, provider};
use crate::support::cloud::{Cloud, Step};
use crate::support::watching::Watching;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(example(name)).expect("an example")
}

/// Every document of a YAML file.
fn documents(name: &str) -> Vec<Value> {
    text(name).split("\n---\n").map(|part| serde_yaml::from_str(part).expect("YAML")).collect()
}

/// Arguments that the program takes for `watch`, with a state that outlives the container or service.
fn assert_watches(arguments: &[String]) {
    let all = std::iter::once("freshen").chain(arguments.iter().map(String::as_str));
    let cli = Cli::try_parse_from(all).unwrap_or_else(|error| panic!("{error}"));
    assert!(matches!(cli.verb, Verb::Watch(_)), "{arguments:?}");
    assert!(cli.global.state.is_absolute(), "{arguments:?}");
}

fn list(value: &Value) -> Vec<String> {
    value.as_array().expect("a list").iter().map(|text| text.as_str().expect("text").to_owned()).collect()
}

#[test]
fn command_lines_of_examples_are_taken() {
    let unit = text("freshen.service");
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("a command");
    assert_watches(&start.split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>());
    assert_watches(&list(&documents("compose.yaml")[0]["services"]["freshen"]["command"]));
    assert_watches(&list(&pod()["containers"][0]["args"]));
}

/// The documents of a kind in the example for Kubernetes.
fn of_kind(kind: &str) -> Vec<Value> {
    documents("kubernetes.yaml").into_iter().filter(|document| document["kind"] == kind).collect()
}

fn pod() -> Value {
    of_kind("Deployment").remove(0)["spec"]["template"]["spec"].take()
}

/// The pod names nothing that is not there: volumes, claims, secrets with the variables that its provider reads, ports.
#[test]
fn the_pod_fits_together() {
    let pod = pod();
    let volumes = pod["volumes"].as_array().expect("volumes");
    let has = |kind: &str, name: &Value| of_kind(kind).iter().any(|document| document["metadata"]["name"] == *name);
    for volume in volumes {
        let is_there =
            match volume.as_object().expect("a volume").keys().find(|key| *key != "name").expect("a kind").as_str() {
                "configMap" => has("ConfigMap", &volume["configMap"]["name"]),
                "secret" => has("Secret", &volume["secret"]["secretName"]),
                "persistentVolumeClaim" => has("PersistentVolumeClaim", &volume["persistentVolumeClaim"]["claimName"]),
                kind => kind == "emptyDir",
            };
        assert!(is_there, "{volume}");
    }
    let containers = ["initContainers", "containers"].map(|list| pod[list][0].clone());
    for container in &containers {
        for mount in container["volumeMounts"].as_array().expect("mounts") {
            assert!(volumes.iter().any(|volume| volume["name"] == mount["name"]), "{mount}");
        }
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    }
    let [token, watch] = containers;
    let arguments = list(&watch["args"]);
    let after = |option: &str| &arguments[arguments.iter().position(|argument| argument == option).expect("given") + 1];
    assert_eq!(list(&token["command"]).last(), Some(after("--listen-token-file")));
    assert!(after("--listen").ends_with(&format!(":{}", watch["ports"][0]["containerPort"])));
    let probes = ["livenessProbe", "readinessProbe"].map(|probe| watch[probe]["httpGet"].clone());
    assert_eq!(probes.each_ref().map(|probe| probe["path"].clone()), ["/healthz", "/readyz"]);
    assert!(probes.iter().all(|probe| probe["port"] == watch["ports"][0]["name"]));
    let secrets = of_kind("Secret");
    assert_eq!(watch["envFrom"][0]["secretRef"]["name"], secrets[0]["metadata"]["name"]);
    let names: Vec<&String> = secrets[0]["stringData"].as_object().expect("variables").keys().collect();
    assert_eq!(names, ["TENCENTCLOUD_SECRET_ID", "TENCENTCLOUD_SECRET_KEY"]);
    // H1: nobody runs with a token that stands in an example.
    let bench = Bench::new().file("token", secrets[1]["stringData"]["token"].as_str().expect("text"));
    std::fs::set_permissions(bench.path("token"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("set");
    bench.run(&["watch", "--listen", "127.0.0.1:0", "--listen-token-file", "token"]).exits(2).says("fewer than 16");
}

/// What the image is built from is enough, and it is as new as the code asks for; what is run is no root's.
#[test]
fn the_image_gets_what_its_build_needs() {
    let text = text("Dockerfile");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let bench = Bench::new();
    for line in text.lines().filter(|line| line.starts_with("COPY ") && !line.contains("--from")) {
        let names: Vec<&str> = line.split_whitespace().skip(1).collect();
        for name in &names[..names.len() - 1] {
            let copied = bench.other("cp", &["-r", root.join(name).to_str().expect("UTF-8"), "."]).status();
            assert!(copied.expect("started").success(), "{name}");
            assert!(
                std::fs::read_to_string(example("Dockerfile.dockerignore"))
                    .expect("a list")
                    .contains(&format!("!{name}\n"))
            );
        }
    }
    let cargo = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--locked", "--offline", "--format-version", "1"])
        .current_dir(bench.path("."))
        .output()
        .expect("started");
    assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
    let package: Value = serde_json::from_slice(&cargo.stdout).expect("JSON");
    let wanted = package["packages"][0]["rust_version"].as_str().expect("a version");
    assert!(text.contains(&format!("FROM rust:{wanted}-slim")), "the oldest compiler that will do is {wanted}");
    let targets = package["packages"][0]["targets"].as_array().expect("targets");
    assert!(targets.iter().any(|target| target["name"] == "freshen" && target["kind"][0] == "bin"));
    assert!(text.contains("\nUSER 65532:65532\n") && text.ends_with("ENTRYPOINT [\"/usr/local/bin/freshen\"]\n"));
    for (file, image) in [("compose.yaml", "image: freshen:latest"), ("kubernetes.yaml", "image: freshen:latest")] {
        assert!(self::text(file).contains(image), "{file}");
    }
    let built = &documents("compose.yaml")[0]["services"]["freshen"]["build"];
    assert!(
        example(built["context"].as_str().expect("a folder"))
            .join(built["dockerfile"].as_str().expect("a file"))
            .exists()
    );
}

/// A volume takes its owner from the image: a process in it can write its state.
#[test]
fn the_state_of_the_image_can_be_written() {
    let volumes = list(&documents("compose.yaml")[0]["services"]["freshen"]["volumes"]);
    let written: Vec<&str> = volumes
        .iter()
        .filter_map(|volume| volume.split_once(':'))
        .map(|(_, path)| path)
        .filter(|path| !path.ends_with(":ro"))
        .collect();
    assert_eq!(written, ["/state"]);
    let image = text("Dockerfile");
    for path in written {
        assert!(image.contains(&format!("\nCOPY --from=build --chown=65532:65532 {path} {path}\n")), "{path}");
    }
}

/// The manifests in the ConfigMap are valid, as they would be mounted.
#[test]
fn the_config_map_holds_valid_manifests() {
    let bench = Bench::new();
    for (name, text) in documents("kubernetes.yaml")[0]["data"].as_object().expect("files") {
        bench.write(&format!("manifests/{name}"), text.as_str().expect("text"));
    }
    bench.run(&["check"]).exits(0).says("Valid: 2 manifests");
}

/// With the program in the place that the unit names nothing is wrong with it, and little is left to be hardened.
#[test]
fn systemd_finds_nothing_wrong_with_the_unit() {
    let found = Command::new("systemd-analyze").arg("--version").output().is_ok_and(|ran| ran.status.success());
    if !found {
        assert!(std::env::var_os("CI").is_none(), "systemd-analyze is missing; install the package `systemd`");
        eprintln!("skipped: systemd-analyze is missing; install the package `systemd`");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let unit = folder.path().join("freshen.service");
    let program = env!("CARGO_BIN_EXE_freshen");
    std::fs::write(&unit, text("freshen.service").replace("/usr/local/bin/freshen", program)).expect("written");
    let ran = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit).output().expect("started");
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    let about_it: Vec<&str> = said.lines().filter(|line| line.contains("freshen.service")).collect();
    assert!(ran.status.success() && about_it.is_empty(), "{said}");
}

/// What the unit says of a reload is so: with the file of credentials that it names, and the command that it runs.
#[test]
fn a_reload_of_the_unit_reads_credentials_anew() {
    let unit = text("freshen.service");
    let line = |key: &str| unit.lines().find_map(|line| line.strip_prefix(key)).expect(key).to_owned();
    let named = unit.split("`credentials: {file: ").nth(1).and_then(|rest| rest.split("}`").next()).expect("a file");
    let cloud = Cloud::of("tencent-vod");
    cloud.always(Some(Step::say(200, r#"{"Response":{"RequestId":"r"}}"#)));
    let bench = Bench::new();
    std::fs::create_dir_all(bench.path("var")).expect("made");
    let here = |text: &str| {
        let (etc, var) = (bench.path("etc"), bench.path("var"));
        text.replace("/etc/freshen", etc.to_str().expect("UTF-8"))
            .replace("/var/lib/freshen", var.to_str().expect("UTF-8"))
    };
    let own = provider("own", "tencent-vod", &cloud.url(), &format!("credentials: {{file: {}}}\n", here(named)));
    bench.write("etc/manifests/own.yaml", own);
    let keys = |id: &str| {
        let file = PathBuf::from(here(named));
        std::fs::write(&file, format!(r#"{{"key_id":"{id}","key_secret":"of {id}"}}"#)).expect("written");
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("set");
    };
    let publish = |revision: &str| {
        bench.write("etc/manifests/site.yaml", manifest(&["https://cdn.example.com/a"], revision));
    };
    let key = || String::from_utf8_lossy(cloud.requests().last().expect("a call")).contains("Credential=first/");
    keys("first");
    publish("1");
    let start = here(&line("ExecStart="));
    let start: Vec<&str> = start.split_whitespace().skip(1).collect();
    let mut watching = Watching::of(bench.start(&start));
    watching.records(1);
    assert!(key());
    keys("second");
    publish("2");
    watching.records(1);
    assert!(key(), "until the reload");
    let reload = line("ExecReload=");
    let ran = bench.other("/bin/sh", &["-c", &reload]).env("MAINPID", watching.id().to_string()).status();
    assert!(ran.expect("started").success());
    watching.says("reloading: ");
    publish("3");
    watching.records(1);
    assert!(!key() && String::from_utf8_lossy(cloud.requests().last().expect("a call")).contains("Credential=second/"));
    watching.stop();
}
