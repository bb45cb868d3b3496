//! A picture of how times grow with the number of routes: both axes
//! logarithmic, so n log n is close to a line.

use std::fmt::Write as _;

use super::verify::Row;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 170.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 50.0;

/// Decades of routes and of milliseconds that are shown.
const X: (f64, f64) = (2.0, 4.8);
const Y: (f64, f64) = (-1.0, 4.0);

fn x(routes: f64) -> f64 {
    LEFT + (routes.log10() - X.0) / (X.1 - X.0) * (WIDTH - LEFT - RIGHT)
}

fn y(ms: f64) -> f64 {
    let at = ms.max(0.1).log10();
    HEIGHT - BOTTOM - (at - Y.0) / (Y.1 - Y.0) * (HEIGHT - TOP - BOTTOM)
}

/// The picture as SVG.
pub(super) fn picture(rows: &[Row]) -> String {
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n"
    );
    for (power, name) in [
        (2.0, "100"),
        (3.0, "1000"),
        (4.0, "10 000"),
        (4.69897, "50 000"),
    ] {
        let at = x(10f64.powf(power));
        let _ = writeln!(
            out,
            "<line x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{name}</text>",
            HEIGHT - BOTTOM,
            HEIGHT - BOTTOM + 18.0,
        );
    }
    for (ms, name) in [
        (0.1, "0.1 ms"),
        (1.0, "1 ms"),
        (10.0, "10 ms"),
        (100.0, "100 ms"),
        (1_000.0, "1 s"),
        (10_000.0, "10 s"),
    ] {
        let at = y(ms);
        let _ = writeln!(
            out,
            "<line x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{:.1}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            at + 4.0,
        );
    }
    let _ = writeln!(
        out,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">routes</text>",
        (LEFT + WIDTH - RIGHT) / 2.0,
        HEIGHT - 10.0,
    );
    let series = [
        ("compile", "#777777", "compile"),
        ("all questions", "#0b62a4", "questions"),
        ("two hosts changed", "#b5651d", "diff"),
    ];
    for (name, colour, value) in series {
        let points: Vec<(f64, f64)> = rows
            .iter()
            .map(|row| (row.get("routes"), row.get(value)))
            .collect();
        line(&mut out, &points, colour, "");
        for (routes, ms) in &points {
            let _ = writeln!(
                out,
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\"/>",
                x(*routes),
                y(*ms)
            );
        }
        label(&mut out, &points, name, colour);
    }
    // Where n log n from the middle of the questions would be.
    if let Some(middle) = rows.get(rows.len() / 2) {
        let routes = middle.get("routes");
        let unit = middle.get("questions") / (routes * routes.ln());
        let points: Vec<(f64, f64)> = rows
            .iter()
            .map(|row| row.get("routes"))
            .map(|n| (n, unit * n * n.ln()))
            .collect();
        line(&mut out, &points, "#0b62a4", " stroke-dasharray=\"4 4\"");
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"#0b62a4\">dashed: n log n</text>",
            LEFT + 10.0,
            TOP + 14.0
        );
    }
    out.push_str("</svg>\n");
    out
}

fn line(out: &mut String, points: &[(f64, f64)], colour: &str, more: &str) {
    let all: Vec<String> = points
        .iter()
        .map(|(routes, ms)| format!("{:.1},{:.1}", x(*routes), y(*ms)))
        .collect();
    let _ = writeln!(
        out,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"{more}/>",
        all.join(" ")
    );
}

fn label(out: &mut String, points: &[(f64, f64)], name: &str, colour: &str) {
    if let Some((routes, ms)) = points.last() {
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\">{name}</text>",
            x(*routes) + 8.0,
            y(*ms) + 4.0
        );
    }
}
