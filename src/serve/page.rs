//! The page as HTML. Whole without a script; with it, events keep it up to date.

use super::view::{PageView, TableView};

/// The page.
pub(super) fn html(view: &PageView) -> String {
    let mood = view.mood.word();
    let (headline, running) = (escape(&view.headline), escape(&view.running));
    let (done, of) = view.progress.unwrap_or_default();
    let hidden = if view.progress.is_some() { "" } else { " hidden" };
    let facts: String = view.facts.iter().map(|(id, name, value)| fact(id, name, value)).collect();
    let tables: String = view.tables.iter().map(table).collect();
    format!(
        "<!DOCTYPE html>\n\
         <html lang=\"en\">\n\
         <head>\n\
         <meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>freshen watch</title>\n\
         <link rel=\"stylesheet\" href=\"/style.css\">\n\
         <script src=\"/app.js\" defer></script>\n\
         </head>\n\
         <body data-mood=\"{mood}\">\n\
         <header>\n<h1>freshen watch</h1>\n\
         <p id=\"headline\" role=\"status\">{headline}</p>\n\
         </header>\n\
         <main>\n\
         <section aria-labelledby=\"now\">\n<h2 id=\"now\">Now</h2>\n\
         <p id=\"running\" aria-live=\"polite\">{running}</p>\n\
         <progress id=\"progress\" aria-labelledby=\"running\" max=\"{of}\" value=\"{done}\"{hidden}></progress>\n\
         <dl>\n{facts}</dl>\n</section>\n\
         {tables}</main>\n\
         <footer>\n<p>freshen {version}. Times are UTC. <span id=\"link\" role=\"status\">This is how it was when the page \
         was loaded.</span></p>\n</footer>\n\
         </body>\n</html>\n",
        version = escape(env!("CARGO_PKG_VERSION")),
    )
}

fn fact(id: &str, name: &str, value: &str) -> String {
    format!("<div><dt>{}</dt><dd id=\"{id}\">{}</dd></div>\n", escape(name), escape(value))
}

/// Roles are spelled out, since narrow screens show rows as blocks, which are no table to some readers.
fn table(table: &TableView) -> String {
    let TableView { id, title, columns, empty, rows } = table;
    let (table_hidden, empty_hidden) = if rows.is_empty() { (" hidden", "") } else { ("", " hidden") };
    let mut head = String::new();
    for name in columns {
        head.push_str(&format!("<th role=\"columnheader\" scope=\"col\">{}</th>", escape(name)));
    }
    let mut body = String::new();
    for row in rows {
        body.push_str("<tr role=\"row\">");
        for (name, text) in columns.iter().zip(row) {
            body.push_str(&format!("<td role=\"cell\" data-label=\"{}\">{}</td>", escape(name), escape(text)));
        }
        body.push_str("</tr>\n");
    }
    format!(
        "<section aria-labelledby=\"{id}-title\">\n<h2 id=\"{id}-title\">{title}</h2>\n\
         <p id=\"{id}-empty\"{empty_hidden}>{empty}</p>\n\
         <table id=\"{id}\" role=\"table\" aria-labelledby=\"{id}-title\"{table_hidden}>\n\
         <thead role=\"rowgroup\"><tr role=\"row\">{head}</tr></thead>\n\
         <tbody role=\"rowgroup\">\n{body}</tbody>\n</table>\n</section>\n",
        title = escape(title),
        empty = escape(empty),
    )
}

/// A text as HTML shows it, in elements and in quoted attributes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            character => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::core::report::{ManifestsReport, ProviderReport, Report, TargetReport};
    use crate::core::time::Timestamp;

    /// As a browser reads it.
    fn read_back(html: &str) -> String {
        let html = html.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'");
        html.replace("&amp;", "&")
    }

    /// A report with `text` wherever a text comes from outside.
    fn filled(text: &str) -> Report {
        let mut report = Report {
            manifests: ManifestsReport::Invalid {
                were_valid: true,
                since: Timestamp::default(),
                problems: vec![text.to_owned(); 2].into(),
            },
            refusals: vec![text.to_owned()],
            unclaimed: vec![text.to_owned()],
            trouble: Some(text.to_owned()),
            polling: Some(text.to_owned()),
            targets: [TargetReport {
                provider: text.to_owned(),
                target: text.to_owned(),
                change: "changed",
                standing: "pending",
                since: Timestamp::default(),
                until: None,
                reason: Some(text.to_owned()),
            }]
            .into(),
            ..Report::default()
        };
        let provider =
            ProviderReport { kind: text.to_owned(), reason: Some(text.to_owned()), ..ProviderReport::default() };
        report.providers.insert(text.to_owned(), provider);
        report
    }

    fn shown(report: &Report) -> String {
        html(&PageView::of(
            report,
            &super::super::ready::reasons(report, Timestamp::default(), 1),
            Timestamp::default(),
        ))
    }

    /// What browsers take for markup.
    fn skeleton(html: &str) -> String {
        html.chars().filter(|character| "<>\"'".contains(*character)).collect()
    }

    proptest! {
        /// H3
        #[test]
        fn escaped_text_has_no_markup_and_reads_the_same(text in any::<String>()) {
            let escaped = escape(&text);
            prop_assert!(!escaped.contains(['<', '>', '"', '\'']));
            prop_assert_eq!(read_back(&escaped), text);
        }

        /// H3: whatever comes from outside, the page has the elements that it has for a harmless text.
        #[test]
        fn no_text_changes_the_page(text in "[<>\"'&/=a-z \u{0}-\u{1f}!\u{202e}-]{0,40}") {
            prop_assert_eq!(skeleton(&shown(&filled(&text))), skeleton(&shown(&filled("x"))));
        }
    }

    #[test]
    fn a_hostile_text_is_shown_as_it_is() {
        let page = shown(&filled("</td><script>alert(1)</script>"));
        assert!(page.contains("&lt;/td&gt;&lt;script&gt;alert(1)&lt;/script&gt;") && !page.contains("<script>"));
    }
}
