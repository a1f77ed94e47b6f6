//! The page in a real browser: live, harmless, on its own, and for everybody.

use std::path::Path;

use super::{listening, settled, urls};
use crate::support::browser::Browser;
use crate::support::cli::{Bench, provider};
use crate::support::cloud::{Cloud, KEY_ID, KEY_SECRET, Step};

/// Problems that keep somebody from using the page, as axe finds them; none is expected.
fn is_for_everybody(browser: &mut Browser) {
    let axe = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/assets/axe-core/axe.min.js");
    browser.value(&(std::fs::read_to_string(axe).expect("axe") + "; true"));
    for (width, theme) in [(1200, "light"), (1200, "dark"), (390, "light"), (390, "dark")] {
        browser.look(width, 900, theme);
        let found = browser.value(
            "axe.run().then(r => [r.passes.length, r.violations.map(v => [v.impact, v.id, v.nodes.map(n => n.html)])])",
        );
        assert!(found[0].as_u64() > Some(10), "axe looked: {found}");
        let list = found[1].as_array().expect("a list");
        assert!(list.is_empty(), "{width} {theme}: {list:#?}");
        let overflow = browser.value("document.documentElement.scrollWidth - document.documentElement.clientWidth");
        assert_eq!(overflow, 0, "nothing is cut off at {width}");
    }
}

/// A run is seen from its plan to its end without loading anything again, and nothing comes from elsewhere.
#[test]
fn a_run_is_seen_live() {
    let Some(mut browser) = Browser::start() else { return };
    let (cloud, bench, watching, at) = settled(3, &[]);
    browser.open(&format!("http://{at}/"));
    browser.until("document.getElementById('link').textContent === 'Up to date.'");
    browser.value("window.same = 1");
    cloud.script([Step::Pass, Step::Hold]);
    bench.assets(&urls(3), "1");
    cloud.wait_for_hold();
    browser.until("document.getElementById('headline').textContent === 'Purging'");
    browser.until("document.getElementById('progress').max === 3 && !document.getElementById('progress').hidden");
    cloud.release();
    browser.until("document.getElementById('headline').textContent.startsWith('In order')");
    browser
        .until("document.querySelectorAll('#runs tbody tr').length === 1 && !document.getElementById('runs').hidden");
    assert_eq!(browser.value("window.same"), 1, "not loaded again");
    let asked = browser.requested();
    assert!(asked.len() >= 4 && asked.iter().all(|url| url.starts_with(&format!("http://{at}/"))), "{asked:?}");
    let complaints: Vec<_> = browser.complaints().into_iter().filter(|text| !text.contains("favicon.ico")).collect();
    assert!(complaints.is_empty(), "{complaints:?}");
    watching.stop();
    browser.until("document.getElementById('link').textContent.startsWith('Not connected')");
}

/// H3: markup in URLs and in what providers say stays text, in the page as it is loaded and in what is added to it.
#[test]
fn hostile_texts_run_nothing() {
    let Some(mut browser) = Browser::start() else { return };
    let markup = "<img src=x onerror=window.owned=1><script>window.owned=1</script>";
    let cloud = Cloud::of("tencent-vod");
    let answer =
        format!(r#"{{"Response":{{"Error":{{"Code":"InternalError","Message":"{markup}"}},"RequestId":"r"}}}}"#);
    cloud.always(Some(Step::say(200, &answer)));
    let bench = Bench::at("tencent-vod", &cloud);
    bench.assets(&["http://cdn.example.com/<img src=x onerror=window.owned=1>"], "1");
    let (mut watching, at) = listening(&bench, &[]);
    let shown =
        "Array.from(document.querySelectorAll('td')).some(cell => cell.textContent.includes('<script>window.owned'))";
    browser.open(&format!("http://{at}/"));
    browser.until(shown);
    watching.says("some targets fail");
    browser.open(&format!("http://{at}/"));
    browser.until(shown);
    browser.until("document.getElementById('link').textContent === 'Up to date.'");
    let target = "document.querySelector('#targets tbody td').textContent";
    assert_eq!(browser.value(target), "http://cdn.example.com/<img src=x onerror=window.owned=1>");
    assert_eq!(
        browser.value("[document.images.length, document.scripts.length, window.owned ?? 0]"),
        serde_json::json!([0, 1, 0])
    );
    assert!(browser.requested().iter().all(|url| url.starts_with(&format!("http://{at}/")) && !url.ends_with("/x")));
    is_for_everybody(&mut browser);
    watching.stop();
}

/// Without its script the page shows all that it showed when it was loaded.
#[test]
fn the_page_needs_no_script() {
    let Some(mut browser) = Browser::start() else { return };
    let (_cloud, _bench, watching, at) = settled(3, &[]);
    browser.call("Emulation.setScriptExecutionDisabled", &serde_json::json!({"value": true}));
    browser.open(&format!("http://{at}/"));
    assert_eq!(browser.value("document.getElementById('headline').textContent"), "In order: everything is recorded");
    assert_eq!(browser.value("document.querySelectorAll('#providers tbody tr').length"), 1);
    assert!(browser.requested().iter().all(|url| !url.ends_with("/events")), "no script ran");
    watching.stop();
}

/// Everything at once: work that is pending and deferred, a quota that is spent, a run under way. The pictures of the
/// documentation are of it: `UPDATE_DOCS=1` takes them.
#[test]
fn the_page_is_for_everybody_and_every_screen() {
    let Some(mut browser) = Browser::start() else { return };
    let (videos, site) = (Cloud::of("tencent-vod"), Cloud::of("http-purge"));
    let bench = Bench::new()
        .provider("videos", "tencent-vod", &videos.url(), "limits: {urls_per_day: 50}\n")
        .provider("site", "http-purge", &site.url(), "")
        .keys("tencent-vod", KEY_ID, KEY_SECRET, None);
    let names = ["index.html", "css/site.css", "js/app.js", "videos/intro.mp4", "videos/tour.mp4", "images/logo.svg"];
    let paths = (0..30).map(|index| format!("http://cdn.example.com/v{}/{}", index / 6 + 1, names[index % 6]));
    let urls: Vec<String> = paths.collect();
    bench.assets(&urls, "0");
    bench.run(&["adopt"]).exits(0);
    let (mut watching, at) = listening(&bench, &[]);
    watching.ends_a_run();
    bench.assets(&urls, "1");
    watching.records(60);
    site.always(Some(Step::say(503, "no")));
    bench.assets(&urls, "2");
    watching.says("provider fails");
    browser.open(&format!("http://{at}/"));
    browser.until("document.querySelectorAll('#targets tbody tr').length === 40");
    is_for_everybody(&mut browser);
    videos.new_day();
    videos.script([Step::Pass, Step::Hold]);
    let more = provider("videos", "tencent-vod", &videos.url(), "limits: {urls_per_day: 500, urls_per_call: 4}\n");
    bench.write("manifests/provider-videos.yaml", more);
    videos.wait_for_hold();
    browser.until("document.getElementById('headline').textContent === 'Purging'");
    browser.until("document.getElementById('progress').value > 0");
    is_for_everybody(&mut browser);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/images");
        for (width, height, theme, name) in
            [(1200, 1000, "light", "light"), (1200, 1000, "dark", "dark"), (390, 1000, "light", "phone")]
        {
            browser.look(width, height, theme);
            browser.picture(&images.join(format!("watch-{name}.png")));
        }
    }
    videos.release();
    watching.stop();
}
