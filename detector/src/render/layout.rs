//! Small pieces of layout: colour, wrapping, times.

/// ANSI or nothing.
pub(super) struct Paint {
    colour: bool,
}

impl Paint {
    pub(super) fn new(colour: bool) -> Paint {
        Paint { colour }
    }

    fn with(&self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    pub(super) fn bold(&self, text: &str) -> String {
        self.with("1", text)
    }

    pub(super) fn dim(&self, text: &str) -> String {
        self.with("2", text)
    }

    pub(super) fn warn(&self, text: &str) -> String {
        self.with("33", text)
    }

    pub(super) fn good(&self, text: &str) -> String {
        self.with("1;32", text)
    }

    pub(super) fn severity(&self, severity: &str, text: &str) -> String {
        let code = match severity {
            "critical" => "1;37;41",
            "warning" => "1;30;43",
            _ => "1;36",
        };
        self.with(code, text)
    }
}

/// 0–1 as percent.
pub(super) fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// `3 more`.
pub(super) fn count(count: usize, what: &str) -> String {
    format!("… {count} {what}")
}

/// Time of day of an RFC 3339 time; the whole text where it is none.
pub(super) fn clock(time: &str) -> String {
    match time.parse::<jiff::Timestamp>() {
        Ok(at) => at.strftime("%H:%M:%S").to_string(),
        Err(_) => time.to_owned(),
    }
}

/// As [`clock`], with the date and the zone.
pub(super) fn date_and_clock(time: &str) -> String {
    match time.parse::<jiff::Timestamp>() {
        Ok(at) => at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        Err(_) => time.to_owned(),
    }
}

/// Between two RFC 3339 times.
pub(super) fn duration(start: &str, end: &str) -> Option<String> {
    let start: jiff::Timestamp = start.parse().ok()?;
    let end: jiff::Timestamp = end.parse().ok()?;
    let seconds = end.as_second().saturating_sub(start.as_second()).max(0);
    Some(match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
    })
}

/// Breaks at blanks; a word longer than a line stays whole.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        let length = line.chars().count() + 1 + word.chars().count();
        if !line.is_empty() && length > width {
            lines.push(std::mem::take(&mut line));
        } else if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}
