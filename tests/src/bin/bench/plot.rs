//! The delays as a picture: a line per variant, time on a logarithmic axis.

use std::fmt::Write as _;

use tests::traces::Truth;

use crate::{detection::Measured, statistics::quantile};

const WIDTH: f64 = 860.0;
const LEFT: f64 = 170.0;
const RIGHT: f64 = 30.0;
const TOP: f64 = 78.0;
const ROW: f64 = 26.0;
/// The axis, s.
const FROM_S: f64 = 0.1;
const TO_S: f64 = 1_000.0;
/// What is drawn, its colour and its shift from the row's middle: named, woken, CPU time.
const CURVES: [(&str, &str, f64); 3] = [
    ("named by a warning", "#4477aa", -6.0),
    ("somebody is woken", "#cc3311", 0.0),
    ("CPU time said to be taken", "#228833", 6.0),
];

fn x(seconds: f64) -> f64 {
    let share = (seconds.clamp(FROM_S, TO_S) / FROM_S).ln() / (TO_S / FROM_S).ln();
    LEFT + share * (WIDTH - LEFT - RIGHT)
}

/// Median (dot) and 99th percentile (end of the line) of each variant, and the bound.
pub fn delays(measured: &[Measured], bound_s: f64) -> String {
    let hostile: Vec<&Measured> = measured
        .iter()
        .filter(|of| of.case.truth != Truth::Benign)
        .collect();
    #[expect(clippy::cast_precision_loss, reason = "a row")]
    let bottom = TOP + hostile.len() as f64 * ROW;
    let height = bottom + 58.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\" fill=\"#222222\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n\
         <text x=\"{LEFT}\" y=\"22\" font-size=\"15\">How long until each variant is noticed</text>\n"
    );
    let mut line = |text: String| {
        out.push_str(&text);
        out.push('\n');
    };
    let mut legend_x = LEFT;
    for (what, colour, _) in CURVES {
        line(format!(
            "<circle cx=\"{legend_x}\" cy=\"42\" r=\"4\" fill=\"{colour}\"/>"
        ));
        line(format!(
            "<text x=\"{}\" y=\"46\">{what}</text>",
            legend_x + 9.0
        ));
        legend_x += 190.0;
    }
    line(format!(
        "<text x=\"{LEFT}\" y=\"64\" fill=\"#666666\">dot: median; line: to the 99th percentile</text>"
    ));
    for tick in [0.1, 1.0, 10.0, 100.0, 1_000.0] {
        let at = x(tick);
        line(format!(
            "<line x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{bottom}\" stroke=\"#dddddd\"/>"
        ));
        line(format!(
            "<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{tick}</text>",
            bottom + 18.0
        ));
    }
    line(format!(
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">seconds</text>",
        x(10.0),
        bottom + 36.0
    ));
    let bound = x(bound_s);
    line(format!(
        "<line x1=\"{bound:.1}\" y1=\"{TOP}\" x2=\"{bound:.1}\" y2=\"{bottom}\" stroke=\"#222222\" stroke-dasharray=\"5 4\"/>"
    ));
    line(format!(
        "<text x=\"{bound:.1}\" y=\"{}\" text-anchor=\"middle\">bound {bound_s:.1}</text>",
        bottom + 52.0
    ));
    for (row, of) in hostile.iter().enumerate() {
        #[expect(clippy::cast_precision_loss, reason = "a row")]
        let y = TOP + (row as f64 + 0.5) * ROW;
        let name = of
            .case
            .name
            .trim_start_matches("hostile-")
            .replace('_', " ");
        line(format!(
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>",
            LEFT - 10.0,
            y + 4.0
        ));
        for ((_, colour, shift), delays) in CURVES.into_iter().zip(of.curves()) {
            let (Some(median), Some(late)) = (quantile(&delays, 0.5), quantile(&delays, 0.99))
            else {
                continue;
            };
            let (from, to, y) = (x(median), x(late), y + shift);
            let mut mark = String::new();
            write!(
                mark,
                "<line x1=\"{from:.1}\" y1=\"{y:.1}\" x2=\"{to:.1}\" y2=\"{y:.1}\" stroke=\"{colour}\" stroke-width=\"2\"/>\
                 <circle cx=\"{from:.1}\" cy=\"{y:.1}\" r=\"3.2\" fill=\"{colour}\"/>"
            )
            .expect("writing to a string succeeds");
            line(mark);
        }
    }
    out.push_str("</svg>\n");
    out
}
