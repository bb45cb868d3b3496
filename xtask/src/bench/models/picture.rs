//! A picture of the time that one row takes: a bar for us and for each library, on a logarithmic axis.

use std::fmt::Write as _;

use super::kernels::Case;

const WIDTH: f64 = 760.0;
const LEFT: f64 = 300.0;
const RIGHT: f64 = 90.0;
const TOP: f64 = 30.0;
const BAR: f64 = 14.0;
const GAP: f64 = 10.0;
/// Decades of microseconds that are shown.
const X: (f64, f64) = (-1.0, 4.5);

fn x(microseconds: f64) -> f64 {
    let at = (microseconds.max(0.1).log10() - X.0) / (X.1 - X.0);
    LEFT + at * (WIDTH - LEFT - RIGHT)
}

/// The picture as SVG.
pub(super) fn picture(cases: &[Case]) -> String {
    let mut bars = String::new();
    let mut y = TOP;
    for case in cases {
        let _ = writeln!(
            bars,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 6.0,
            y + BAR - 3.0,
            case.title,
        );
        bar(
            &mut bars,
            &mut y,
            "Sidegate",
            case.ours.get("one"),
            "#0b62a4",
        );
        for peer in &case.peers {
            bar(
                &mut bars,
                &mut y,
                peer.text("peer"),
                peer.get("one"),
                "#999999",
            );
        }
        y += GAP;
    }
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {:.0}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{:.0}\" fill=\"white\"/>\n",
        y + 30.0,
        y + 30.0,
    );
    for (power, name) in [
        (0.0, "1 µs"),
        (1.0, "10 µs"),
        (2.0, "100 µs"),
        (3.0, "1 ms"),
        (4.0, "10 ms"),
    ] {
        let at = x(10_f64.powf(power));
        let _ = writeln!(
            out,
            "<line x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{y:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{name}</text>",
            y + 18.0,
        );
    }
    out.push_str(&bars);
    out.push_str("</svg>\n");
    out
}

fn bar(out: &mut String, y: &mut f64, name: &str, microseconds: f64, colour: &str) {
    let end = x(microseconds);
    let _ = writeln!(
        out,
        "<rect x=\"{LEFT}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{colour}\"/>\
         <text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\">{name}</text>",
        *y,
        end - LEFT,
        BAR - 2.0,
        end + 4.0,
        *y + BAR - 4.0,
    );
    *y += BAR;
}
