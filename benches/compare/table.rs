//! What was measured beside what it has to hold, for people.

use std::fmt;
use std::time::Duration;

/// A time, a size, a number, or a share of one core's time.
#[derive(Clone, Copy)]
pub(crate) enum Amount {
    Time(Duration),
    Bytes(u64),
    Count(u64),
    Share(f64),
}

/// A bar: the most that may be measured.
pub(crate) struct Bar {
    text: String,
    most: f64,
}

/// What is measured, beside what it is compared with.
pub(crate) struct Row {
    what: String,
    measured: Amount,
    baseline: Option<(&'static str, Amount)>,
    bar: Option<Bar>,
}

/// All rows, by case.
pub(crate) struct Table {
    is_whole: bool,
    case: &'static str,
    rows: Vec<[String; 7]>,
    missed: usize,
    skipped: usize,
}

const HEAD: [&str; 7] = ["case", "", "measured", "baseline", "ratio", "bar", "met"];

impl Amount {
    #[expect(clippy::cast_precision_loss, reason = "a number for people")]
    fn number(self) -> f64 {
        match self {
            Self::Time(time) => time.as_secs_f64(),
            Self::Bytes(number) | Self::Count(number) => number as f64,
            Self::Share(share) => share,
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.number();
        match self {
            Self::Time(_) if number >= 1.0 => write!(f, "{number:.2} s"),
            Self::Time(_) => write!(f, "{:.1} ms", number * 1e3),
            Self::Bytes(_) if number >= 1e9 => write!(f, "{:.2} GB", number / 1e9),
            Self::Bytes(_) if number >= 1e6 => write!(f, "{:.1} MB", number / 1e6),
            Self::Bytes(bytes) => write!(f, "{bytes} bytes"),
            Self::Count(count) => write!(f, "{count}"),
            Self::Share(share) => write!(f, "{:.2} %", share * 100.0),
        }
    }
}

impl Row {
    pub(crate) fn new(what: impl Into<String>, measured: Amount) -> Self {
        Self { what: what.into(), measured, baseline: None, bar: None }
    }

    pub(crate) fn time(what: impl Into<String>, measured: Duration) -> Self {
        Self::new(what, Amount::Time(measured))
    }

    /// Beside another time.
    pub(crate) fn beside(mut self, what: &'static str, baseline: Duration) -> Self {
        self.baseline = Some((what, Amount::Time(baseline)));
        self
    }

    /// At most this.
    pub(crate) fn at_most(mut self, most: Amount) -> Self {
        self.bar = Some(Bar { text: format!("≤ {most}"), most: most.number() });
        self
    }

    /// At most so many times the baseline, and so much more.
    pub(crate) fn at_most_times(mut self, factor: f64, more: Duration) -> Self {
        let baseline = self.baseline.as_ref().map_or(0.0, |(_, baseline)| baseline.number());
        let more_text = if more.is_zero() { String::new() } else { format!(" + {} ms", more.as_millis()) };
        self.bar =
            Some(Bar { text: format!("≤ {factor} ×{more_text}"), most: baseline * factor + more.as_secs_f64() });
        self
    }

    /// At least so many times faster than the baseline.
    pub(crate) fn faster_by(mut self, factor: f64) -> Self {
        let baseline = self.baseline.as_ref().map_or(0.0, |(_, baseline)| baseline.number());
        self.bar = Some(Bar { text: format!("≤ 1/{factor}"), most: baseline / factor });
        self
    }
}

impl Table {
    /// A table of inputs at a scale. Bars are for whole inputs.
    pub(crate) fn new(scale: f64) -> Self {
        let is_whole = (scale - 1.0).abs() < f64::EPSILON;
        Self { is_whole, case: "", rows: Vec::new(), missed: 0, skipped: 0 }
    }

    /// Whether no bar was missed.
    pub(crate) fn is_met(&self) -> bool {
        self.missed == 0
    }

    /// What is added from now on belongs to this case.
    pub(crate) fn begin(&mut self, case: &'static str) {
        self.case = case;
    }

    pub(crate) fn add(&mut self, row: Row) {
        let Row { what, measured, baseline, bar } = row;
        let is_met = bar.as_ref().filter(|_| self.is_whole).map(|bar| measured.number() <= bar.most);
        self.missed += usize::from(is_met == Some(false));
        let ratio = baseline.as_ref().map(|(_, baseline)| shown_ratio(measured.number() / baseline.number()));
        let baseline = baseline.map(|(what, amount)| format!("{amount}: {what}"));
        let met = is_met.map_or("", |is_met| if is_met { "yes" } else { "NO" });
        self.push(what, measured.to_string(), [baseline, ratio, bar.map(|bar| bar.text), Some(met.into())]);
    }

    /// The most memory of a program, where the system gives it.
    pub(crate) fn add_peak(&mut self, what: &str, peak: Option<u64>, most: Option<u64>) {
        let Some(peak) = peak else { return self.skip(what, "the system does not tell a program's memory") };
        let row = Row::new(what, Amount::Bytes(peak));
        self.add(match most {
            Some(most) => row.at_most(Amount::Bytes(most)),
            None => row,
        });
    }

    /// A comparison that cannot be made.
    pub(crate) fn skip(&mut self, what: &str, why: &str) {
        self.skipped += 1;
        self.push(what.to_owned(), "SKIPPED".into(), [Some(why.to_owned()), None, None, Some("SKIPPED".into())]);
    }

    fn push(&mut self, what: String, measured: String, rest: [Option<String>; 4]) {
        let [baseline, ratio, bar, met] = rest.map(Option::unwrap_or_default);
        eprintln!("  {what}: {measured} {baseline}");
        self.rows.push([self.case.to_owned(), what, measured, baseline, ratio, bar, met]);
    }
}

fn shown_ratio(ratio: f64) -> String {
    if ratio < 0.1 { format!("1/{:.0}", 1.0 / ratio) } else { format!("{ratio:.2}") }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = HEAD.map(str::to_owned);
        let all: Vec<&[String; 7]> = std::iter::once(&head).chain(&self.rows).collect();
        let widths: [usize; 7] =
            std::array::from_fn(|column| all.iter().map(|row| row[column].chars().count()).max().unwrap_or_default());
        for (number, row) in all.iter().enumerate() {
            let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
            writeln!(f, "| {} |", cells.collect::<Vec<_>>().join(" | "))?;
            if number == 0 {
                writeln!(f, "|{}|", widths.map(|width| "-".repeat(width + 2)).join("|"))?;
            }
        }
        if !self.is_whole {
            writeln!(f, "\nOf scaled inputs: no bar is judged.")?;
        } else if self.missed > 0 {
            writeln!(f, "\nNOT MET: {} of the bars.", self.missed)?;
        }
        if self.skipped > 0 {
            writeln!(f, "\nSKIPPED: {} of the comparisons; install what is missing and run again.", self.skipped)?;
        }
        Ok(())
    }
}
