//! Values of a TOML text with their places, read one kind at a time.

use std::fmt::Display;
use std::ops::Range;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::kind;
use crate::limit::class::{ClassError, NAME_MAX, is_name};

/// A text that is read.
#[derive(Clone, Copy)]
pub(super) struct Reader<'t> {
    pub(super) text: &'t str,
}

/// A value and where it stands.
pub(super) struct Value<'t, 'v> {
    reader: Reader<'t>,
    span: Range<usize>,
    is: &'v DeValue<'t>,
}

/// A key and where it stands.
pub(super) struct Key<'t, 'v> {
    reader: Reader<'t>,
    at: usize,
    pub(super) name: &'v str,
}

/// A table whose values are taken by their names.
pub(super) struct Fields<'t, 'v>(Vec<(Key<'t, 'v>, Value<'t, 'v>)>);

impl<'t> Reader<'t> {
    /// The whole text as a table.
    pub(super) fn document(self) -> Result<Spanned<DeTable<'t>>, ClassError> {
        DeTable::parse(self.text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            self.error(at, error.message().replace(['\r', '\n'], " "))
        })
    }

    pub(super) fn value<'v>(self, value: &'v Spanned<DeValue<'t>>) -> Value<'t, 'v> {
        Value {
            reader: self,
            span: value.span(),
            is: value.get_ref(),
        }
    }

    /// An error at so many bytes behind the beginning.
    fn error(self, at: usize, reason: impl Display) -> ClassError {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line = before.rsplit('\n').next().unwrap_or_default();
        ClassError {
            line: before.matches('\n').count() + 1,
            column: line.chars().count() + 1,
            reason: reason.to_string(),
        }
    }
}

impl<'t, 'v> Value<'t, 'v> {
    pub(super) fn error(&self, reason: impl Display) -> ClassError {
        self.reader.error(self.span.start, reason)
    }

    fn expected(&self, what: &str) -> ClassError {
        self.error(format!("{what} is expected, not {}", kind(self.is)))
    }

    /// The entries of a table, as they stand in the text.
    pub(super) fn table(
        &self,
        what: &str,
    ) -> Result<Vec<(Key<'t, 'v>, Value<'t, 'v>)>, ClassError> {
        let DeValue::Table(table) = self.is else {
            return Err(self.expected(what));
        };
        let reader = self.reader;
        let mut entries: Vec<_> = table
            .iter()
            .map(|(key, value)| {
                let key = Key {
                    reader,
                    at: key.span().start,
                    name: key.get_ref(),
                };
                (key, reader.value(value))
            })
            .collect();
        entries.sort_by_key(|(key, _)| key.at);
        Ok(entries)
    }

    /// The items of a list.
    pub(super) fn items(
        &self,
        what: &str,
        most: usize,
    ) -> Result<impl Iterator<Item = Value<'t, 'v>> + use<'t, 'v>, ClassError> {
        let DeValue::Array(items) = self.is else {
            return Err(self.expected(what));
        };
        if items.len() > most {
            return Err(self.error(format!("{what} has at most {most}, not {}", items.len())));
        }
        let reader = self.reader;
        Ok(items.iter().map(move |item| reader.value(item)))
    }

    pub(super) fn is_table(&self) -> bool {
        matches!(self.is, DeValue::Table(_))
    }

    pub(super) fn text(&self, what: &str) -> Result<&'v str, ClassError> {
        match self.is {
            DeValue::String(text) => Ok(text),
            _ => Err(self.expected(what)),
        }
    }

    pub(super) fn boolean(&self) -> Result<bool, ClassError> {
        match self.is {
            DeValue::Boolean(it) => Ok(*it),
            _ => Err(self.expected("true or false")),
        }
    }

    /// A whole number of this range.
    pub(super) fn number(&self, least: u64, most: u64) -> Result<u64, ClassError> {
        let what = match most {
            u64::MAX => format!("a whole number from {least} on"),
            _ => format!("a whole number from {least} to {most}"),
        };
        let DeValue::Integer(number) = self.is else {
            return Err(self.expected(&what));
        };
        u64::from_str_radix(number.as_str(), number.radix())
            .ok()
            .filter(|number| (least..=most).contains(number))
            .ok_or_else(|| self.error(format!("{what} is expected, not {number}")))
    }

    /// One of some names.
    pub(super) fn one_of<T>(
        &self,
        names: &[&str],
        named: impl Fn(&str) -> Option<T>,
    ) -> Result<T, ClassError> {
        let what = listed(names);
        let text = self.text(&what)?;
        named(text).ok_or_else(|| self.error(format!("{what} is expected, not {}", shown(text))))
    }

    /// A time such as `15m`.
    pub(super) fn duration(&self) -> Result<Duration, ClassError> {
        let what = "a time such as \"250ms\", \"10s\", \"15m\", \"1h\" or \"1d\"";
        let text = self.text(what)?;
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at_checked(digits).unwrap_or((text, ""));
        let millis = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => 0,
        };
        let number = number.parse::<u64>().ok().filter(|_| millis > 0);
        number
            .and_then(|number| number.checked_mul(millis))
            .map(Duration::from_millis)
            .ok_or_else(|| self.error(format!("{what} is expected, not {}", shown(text))))
    }

    /// A name that can stand in a count's name.
    pub(super) fn name_text(&self, what: &str) -> Result<&'v str, ClassError> {
        let name = self.text(what)?;
        if is_name(name) {
            return Ok(name);
        }
        Err(self.error(bad_name(what, name)))
    }
}

impl<'v> Key<'_, 'v> {
    pub(super) fn error(&self, reason: impl Display) -> ClassError {
        self.reader.error(self.at, reason)
    }

    /// That there is no such setting.
    pub(super) fn unknown(&self, known: &str) -> ClassError {
        self.error(format!(
            "there is no setting {} here: known are {known}",
            shown(self.name)
        ))
    }

    pub(super) fn checked_name(&self, what: &str) -> Result<&'v str, ClassError> {
        if is_name(self.name) {
            return Ok(self.name);
        }
        Err(self.error(bad_name(what, self.name)))
    }
}

impl<'t, 'v> Fields<'t, 'v> {
    pub(super) fn of(value: &Value<'t, 'v>, what: &str) -> Result<Self, ClassError> {
        value.table(what).map(Fields)
    }

    pub(super) fn take(&mut self, name: &str) -> Option<Value<'t, 'v>> {
        let at = self.0.iter().position(|(key, _)| key.name == name)?;
        Some(self.0.remove(at).1)
    }

    /// That nothing else stood there.
    pub(super) fn none_left(&self, known: &str) -> Result<(), ClassError> {
        match self.0.first() {
            Some((key, _)) => Err(key.unknown(known)),
            None => Ok(()),
        }
    }
}

/// `a, b or c`.
pub(super) fn listed(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => format!("{one:?}"),
        [first @ .., last] => {
            let first: Vec<String> = first.iter().map(|it| format!("{it:?}")).collect();
            format!("{} or {last:?}", first.join(", "))
        }
    }
}

fn bad_name(what: &str, name: &str) -> String {
    format!(
        "{what} is 1 to {NAME_MAX} letters, digits, `-` or `_`, not {}",
        shown(name)
    )
}

/// The beginning of what was given, in quotes.
fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(40).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("{shown:?}")
}
