//! A picture: latencies over time, from the page cache and not, and their
//! percentiles.
//!
//! Made to be read without colours: darker is more, and lines differ by their
//! strokes and names.

use super::summary::{Summary, latency_ns, timed};
use super::table::Time;
use aio2_record::{Record, Request, has};
use plotters::coord::Shift;
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use std::error::Error;

const SIZE: (u32, u32) = (1000, 1080);
const COLUMNS: usize = 100;
const ROWS_PER_DECADE: f64 = 6.0;
/// Shades, each for four times as many requests as the one before.
const SHADES: [(u64, RGBColor); 5] = [
    (1, RGBColor(158, 202, 225)),
    (4, RGBColor(107, 174, 214)),
    (16, RGBColor(49, 130, 189)),
    (64, RGBColor(8, 81, 156)),
    (256, RGBColor(3, 19, 43)),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The picture, as SVG.
///
/// # Errors
/// There is nothing to draw; or what the drawing said.
pub fn draw(record: &Record, title: &str) -> Result<String, String> {
    let mut svg = String::new();
    draw_to(&mut svg, record, title).map_err(|error| error.to_string())?;
    Ok(svg)
}

fn draw_to(svg: &mut String, record: &Record, title: &str) -> Result<(), Box<dyn Error>> {
    let requests: Vec<&Request> = timed(record).collect();
    let Some(begin) = requests.iter().map(|r| r.submitted_ns).min() else {
        return Err("the record has no times to draw".into());
    };
    let end = requests.iter().map(|r| r.completed_ns).max().unwrap_or(begin);
    let seconds = ((end - begin) as f64 / 1e9).max(1e-6);
    let lowest = requests.iter().map(|r| latency_ns(r)).min().unwrap_or(1);
    let highest = requests.iter().map(|r| latency_ns(r)).max().unwrap_or(1);
    // Whole decades, of microseconds.
    let range = 10_f64.powf((lowest as f64 / 1e3).log10().floor())
        ..10_f64.powf((highest as f64 / 1e3).log10().ceil()).max(10.0 * lowest as f64 / 1e3);

    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let (head, rest) = area.split_vertically(70);
    let font = |size: u32| ("sans-serif", size).into_font();
    head.draw(&Text::new(shortened(title, 90), (20, 14), font(22)))?;
    head.draw(&Text::new(slowest(record), (20, 44), font(15)))?;
    let (hit, missed): (Vec<&Request>, Vec<&Request>) =
        requests.iter().partition(|r| r.has & has::CACHE != 0 && r.miss == 0 && r.hit > 0);
    let (upper, rest) = rest.split_vertically(330);
    let (middle, lower) = rest.split_vertically(330);
    let what = format!("from the page cache: {} requests", hit.len());
    heat_map(&upper, &what, &hit, begin, seconds, &range)?;
    let what = format!("not from the page cache, or not told: {} requests", missed.len());
    heat_map(&middle, &what, &missed, begin, seconds, &range)?;
    percentiles(&lower, &[("from the page cache", &hit), ("all others", &missed)], &range)?;
    area.present()?;
    Ok(())
}

fn heat_map(
    area: &Area<'_>,
    title: &str,
    requests: &[&Request],
    begin: u64,
    seconds: f64,
    range: &std::ops::Range<f64>,
) -> Result<(), Box<dyn Error>> {
    let (plot, legend) = area.split_horizontally(SIZE.0 - 150);
    let mut chart = ChartBuilder::on(&plot)
        .caption(title, ("sans-serif", 17))
        .margin(8)
        .x_label_area_size(42)
        .y_label_area_size(80)
        .build_cartesian_2d(0.0..seconds, range.clone().log_scale())?;
    chart
        .configure_mesh()
        .x_desc("time since the first submission, s")
        .y_desc("latency")
        .y_label_formatter(&microseconds)
        .light_line_style(TRANSPARENT)
        .draw()?;
    let mut cells = std::collections::BTreeMap::<(usize, i64), u64>::new();
    for request in requests {
        let at = (request.completed_ns - begin) as f64 / 1e9 / seconds;
        let column = ((at * COLUMNS as f64) as usize).min(COLUMNS - 1);
        let decades = (latency_ns(request) as f64 / 1e3).log10();
        *cells.entry((column, (decades * ROWS_PER_DECADE).floor() as i64)).or_default() += 1;
    }
    let width = seconds / COLUMNS as f64;
    chart.draw_series(cells.iter().map(|(&(column, row), &count)| {
        let (left, low) = (column as f64 * width, row as f64 / ROWS_PER_DECADE);
        let high = 10_f64.powf(low + 1.0 / ROWS_PER_DECADE);
        Rectangle::new([(left, 10_f64.powf(low)), (left + width, high)], shade(count).filled())
    }))?;
    let font = ("sans-serif", 14).into_font();
    legend.draw(&Text::new("requests in a cell", (5, 45), font.clone()))?;
    for (n, (count, colour)) in SHADES.iter().enumerate() {
        let y = 70 + n as i32 * 26;
        let box_of_it = [(8, y), (30, y + 18)];
        legend.draw(&Rectangle::new(box_of_it, colour.filled()))?;
        legend.draw(&Rectangle::new(box_of_it, BLACK.stroke_width(1)))?;
        let next = SHADES.get(n + 1).map(|(next, _)| next - 1);
        let label = next.map_or(format!("{count} or more"), |next| format!("{count} to {next}"));
        legend.draw(&Text::new(label, (38, y + 2), font.clone()))?;
    }
    Ok(())
}

fn shade(count: u64) -> RGBColor {
    SHADES
        .iter()
        .rev()
        .find(|(least, _)| count >= *least)
        .map_or(SHADES[0].1, |(_, colour)| *colour)
}

/// Latency by percentile; the axis counts nines.
fn percentiles(
    area: &Area<'_>,
    lines: &[(&str, &[&Request]); 2],
    range: &std::ops::Range<f64>,
) -> Result<(), Box<dyn Error>> {
    let most = lines.iter().map(|(_, requests)| requests.len()).max().unwrap_or(1).max(10);
    let nines = (most as f64).log10().clamp(2.0, 6.0);
    let (plot, legend) = area.split_horizontally(SIZE.0 - 150);
    let mut chart = ChartBuilder::on(&plot)
        .caption("percentiles", ("sans-serif", 17))
        .margin(8)
        .x_label_area_size(42)
        .y_label_area_size(80)
        .build_cartesian_2d(0.0..nines, range.clone().log_scale())?;
    chart
        .configure_mesh()
        .x_desc("percentile of requests")
        .y_desc("latency")
        .x_labels(nines as usize + 1)
        .x_label_formatter(&|nines: &f64| percentile(*nines))
        .y_label_formatter(&microseconds)
        .light_line_style(TRANSPARENT)
        .draw()?;
    for (n, (name, requests)) in lines.iter().enumerate() {
        let mut latencies: Vec<u64> = requests.iter().map(|r| latency_ns(r)).collect();
        if latencies.is_empty() {
            continue;
        }
        latencies.sort_unstable();
        let curve: Vec<(f64, f64)> = (0..=200)
            .map(|step| f64::from(step) / 200.0 * nines)
            .filter(|nines| 10_f64.powf(*nines) <= latencies.len() as f64)
            .map(|nines| {
                let below = 1.0 - 10_f64.powf(-nines);
                let at = ((below * latencies.len() as f64) as usize).min(latencies.len() - 1);
                (nines, latencies[at] as f64 / 1e3)
            })
            .collect();
        let y = 70 + n as i32 * 26;
        let sample = [(5, y), (35, y)];
        if n == 0 {
            let style = BLUE.stroke_width(2);
            chart.draw_series(LineSeries::new(curve, style))?;
            legend.draw(&PathElement::new(sample, style))?;
        } else {
            let style = BLACK.stroke_width(2);
            chart.draw_series(DashedLineSeries::new(curve, 6, 4, style))?;
            legend.draw(&DashedPathElement::new(sample, 6, 4, style))?;
        }
        legend.draw(&Text::new(*name, (40, y - 7), ("sans-serif", 12).into_font()))?;
    }
    Ok(())
}

/// 0 nines is the fastest, 1 is 90, 2 is 99.
fn percentile(nines: f64) -> String {
    let digits = (nines.ceil() as usize).saturating_sub(2);
    format!("{:.digits$}", 100.0 * (1.0 - 10_f64.powf(-nines)))
}

fn microseconds(us: &f64) -> String {
    let ns = us * 1e3;
    match ns {
        n if n < 1e3 => format!("{n:.0} ns"),
        n if n < 1e6 => format!("{:.0} µs", n / 1e3),
        n if n < 1e9 => format!("{:.0} ms", n / 1e6),
        n => format!("{:.0} s", n / 1e9),
    }
}

/// The file that is slowest, at its median.
fn slowest(record: &Record) -> String {
    let summary = Summary::new(record);
    let slowest = summary.rows.iter().max_by_key(|row| row.percentile(0.5));
    slowest.map_or_else(String::new, |row| {
        let median = Time(row.percentile(0.5));
        let name = shortened(&row.file, 60);
        format!(
            "slowest: {} of {name}, median {median}, longest {}",
            row.operation,
            Time(row.latency_ns.max())
        )
    })
}

fn shortened(text: &str, letters: usize) -> String {
    if text.chars().count() <= letters {
        return text.to_owned();
    }
    text.chars().take(letters - 1).chain(['…']).collect()
}
