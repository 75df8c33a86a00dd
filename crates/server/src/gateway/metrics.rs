//! `/metrics`: the Prometheus text format, version 0.0.4.
//!
//! Numbers that are there anyway; collecting them waits for nothing longer than
//! a moment, and leaves out what it would have to wait for.

use std::fmt::Write as _;

/// A page of metrics. Lines of one name stand together, whenever they came.
#[derive(Debug, Default)]
pub struct Page {
    families: Vec<Family>,
}

#[derive(Debug)]
struct Family {
    name: &'static str,
    lines: String,
}

impl Page {
    /// Adds a value; `kind` is `counter` or `gauge`, `help` one line.
    pub fn add(
        &mut self,
        kind: &str,
        name: &'static str,
        help: &str,
        labels: &[(&str, &str)],
        value: f64,
    ) {
        let at = self.families.iter().position(|it| it.name == name);
        let at = at.unwrap_or_else(|| {
            let lines = format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
            self.families.push(Family { name, lines });
            self.families.len() - 1
        });
        let Some(family) = self.families.get_mut(at) else {
            return;
        };
        let lines = &mut family.lines;
        lines.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            lines.push(if index == 0 { '{' } else { ',' });
            // Writing to a string does not fail.
            let _ = write!(lines, "{label}=\"{}\"", escaped(text));
        }
        if !labels.is_empty() {
            lines.push('}');
        }
        let _ = writeln!(lines, " {value}");
    }

    /// A value that goes up and down.
    pub fn gauge(
        &mut self,
        name: &'static str,
        help: &str,
        labels: &[(&str, &str)],
        value: impl Into<f64>,
    ) {
        self.add("gauge", name, help, labels, value.into());
    }

    /// A value that only grows while the process runs.
    pub fn counter(&mut self, name: &'static str, help: &str, labels: &[(&str, &str)], value: u64) {
        self.add("counter", name, help, labels, value as f64);
    }

    /// The text.
    pub(super) fn text(&self) -> String {
        self.families.iter().map(|it| it.lines.as_str()).collect()
    }
}

/// A label's value: backslash, quote and line end are escaped.
fn escaped(text: &str) -> String {
    text.replace('\\', r"\\")
        .replace('"', "\\\"")
        .replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_one_name_stand_together() {
        let mut page = Page::default();
        page.gauge("a", "Of a.", &[("in", "x\"\\\n")], 1);
        page.counter("b_total", "Of b.", &[], 1 << 40);
        page.gauge("a", "Of a.", &[("in", "y"), ("of", "z")], 0.5);
        assert_eq!(
            page.text(),
            "# HELP a Of a.\n# TYPE a gauge\na{in=\"x\\\"\\\\\\n\"} 1\na{in=\"y\",of=\"z\"} 0.5\n\
             # HELP b_total Of b.\n# TYPE b_total counter\nb_total 1099511627776\n"
        );
    }
}
