//! A picture of one kind of work: a panel for each depth, a row for each contender.
//!
//! Made to be read without colours: time is a filled dot, processor time a hollow one,
//! and what quartiles enclose is a line through it.

use super::results::{Measured, Results, Spread, ratio};
use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;
use std::error::Error;

const WIDTH: u32 = 900;
const ROW: u32 = 22;
const HEAD: u32 = 62;
const PANEL: u32 = 74;
/// Where the rows' names end.
const NAMES: u32 = 260;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A row: a name, the ratios of time and of processor time, and what it is in itself.
struct Row {
    name: String,
    time: Option<Spread>,
    cpu: Option<Spread>,
    told: String,
}

/// A panel: its title, and its rows.
struct Panel {
    title: String,
    rows: Vec<Row>,
}

/// All of them, by the names of their files.
pub fn all(results: &Results) -> Result<Vec<(String, String)>> {
    let mut plots = Vec::new();
    for work in results.works() {
        let mut depths: Vec<usize> =
            results.measured.iter().filter(|m| m.work == work).map(|m| m.depth).collect();
        depths.dedup();
        depths.sort_unstable();
        depths.dedup();
        let panels: Vec<Panel> =
            depths.iter().filter_map(|&depth| panel(&results.at(work, depth), depth)).collect();
        let words: String =
            work.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { ' ' }).collect();
        let name = words.split_whitespace().collect::<Vec<_>>().join("-").to_lowercase();
        plots.push((name, draw(work, "time for one, to the first", results, &panels)?));
    }
    let panels: Vec<Panel> =
        (0..3).filter_map(|consumers| ring(&results.ring(consumers), consumers)).collect();
    let title = "ring: events of 64 bytes between threads";
    plots.push(("ring".into(), draw(title, "rate, to the first", results, &panels)?));
    Ok(plots)
}

fn panel(all: &[&Measured], depth: usize) -> Option<Panel> {
    let base = all.first()?;
    let rows = all.iter().map(|m| {
        let wall = Spread::of(m.wall_ns.iter().copied());
        Row {
            name: m.contender.clone(),
            time: ratio(&m.wall_ns, &base.wall_ns),
            cpu: ratio(&m.cpu_ns, &base.cpu_ns),
            told: wall.map_or_else(String::new, |wall| nanoseconds(wall.mid)),
        }
    });
    let trip = base.round_trip_ns;
    let title = format!("{depth} in flight (round trip of a cache line {trip:.0} ns)");
    Some(Panel { title, rows: rows.collect() })
}

fn ring(all: &[&Measured], consumers: usize) -> Option<Panel> {
    let base = all.first()?;
    let rows = all.iter().map(|m| {
        let rate = Spread::of(m.per_second.iter().copied());
        Row {
            name: m.contender.clone(),
            time: ratio(&m.per_second, &base.per_second),
            cpu: None,
            told: rate.map_or_else(String::new, |rate| format!("{:.0} M/s", rate.mid / 1e6)),
        }
    });
    let who = match consumers {
        0 => "the producer's own thread reaps".into(),
        1 => "1 consumer".into(),
        n => format!("{n} consumers"),
    };
    let title = format!("{who} (round trip of a cache line {:.0} ns)", base.round_trip_ns);
    Some(Panel { title, rows: rows.collect() })
}

fn draw(title: &str, axis: &str, results: &Results, panels: &[Panel]) -> Result<String> {
    let rows: usize = panels.iter().map(|panel| panel.rows.len()).sum();
    let height = HEAD + rows as u32 * ROW + panels.len() as u32 * PANEL;
    let mut svg = String::new();
    let drawn = || -> Result<(), Box<dyn Error>> {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        area.fill(&WHITE)?;
        area.draw(&Text::new(title.to_owned(), (12, 8), ("sans-serif", 20).into_font()))?;
        let below = format!(
            "medians and quartiles of ratios within rounds; {}, Linux {}, {}",
            results.machine, results.kernel, results.day
        );
        area.draw(&Text::new(below, (12, 36), ("sans-serif", 12).into_font()))?;
        let mut rest = area.split_vertically(HEAD).1;
        for panel in panels {
            let (this, below) = rest.split_vertically(panel.rows.len() as u32 * ROW + PANEL);
            draw_panel(&this, axis, panel)?;
            rest = below;
        }
        area.present()?;
        Ok(())
    };
    let mut drawn = drawn;
    drawn().map_err(|error| anyhow!("{title}: {error}"))?;
    Ok(svg)
}

fn draw_panel(area: &Area<'_>, axis: &str, panel: &Panel) -> Result<(), Box<dyn Error>> {
    let all = panel.rows.iter().flat_map(|row| row.time.iter().chain(&row.cpu));
    let (mut low, mut high) = (0.8_f64, 1.25_f64);
    for spread in all {
        (low, high) = (low.min(spread.low), high.max(spread.high));
    }
    let (low, high) = ((low * 0.85).max(1e-3), (high * 1.15).min(1e4));
    let count = panel.rows.len() as f64;
    let font = |size: u32| ("sans-serif", size).into_font();
    area.draw(&Text::new(panel.title.clone(), (12, 4), font(15)))?;
    let (names, plot) = area.split_horizontally(NAMES);
    let (plot, told) = plot.split_horizontally(WIDTH - NAMES - 90);
    let mut chart = ChartBuilder::on(&plot)
        .margin_top(26)
        .margin_right(6)
        .x_label_area_size(44)
        .build_cartesian_2d((low..high).log_scale(), 0.0..count)?;
    let desc = if panel.rows.iter().any(|row| row.cpu.is_some()) {
        format!("{axis} (filled: time; hollow: processor time)")
    } else {
        axis.to_owned()
    };
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .x_desc(desc)
        .light_line_style(TRANSPARENT)
        .label_style(("sans-serif", 12))
        .axis_desc_style(("sans-serif", 12))
        .x_label_formatter(&|ratio: &f64| short(*ratio))
        .draw()?;
    chart.draw_series([PathElement::new([(1.0, 0.0), (1.0, count)], BLACK.stroke_width(1))])?;
    for (number, row) in panel.rows.iter().enumerate() {
        let middle = count - number as f64 - 0.5;
        let is_own = row.name.to_lowercase().starts_with("aio2");
        let colour = if is_own { RGBColor(8, 81, 156) } else { RGBColor(90, 90, 90) };
        for (spread, at, is_time) in
            [(row.time, middle + 0.12, true), (row.cpu, middle - 0.18, false)]
        {
            let Some(spread) = spread else { continue };
            let within = |ratio: f64| ratio.clamp(low, high);
            let line = [(within(spread.low), at), (within(spread.high), at)];
            chart.draw_series([PathElement::new(line, colour.stroke_width(2))])?;
            let style = if is_time { colour.filled() } else { colour.stroke_width(1) };
            chart.draw_series([Circle::new((within(spread.mid), at), 4, style)])?;
        }
        let y = 26 + (number as u32 * ROW) as i32 + 4;
        names.draw(&Text::new(row.name.clone(), (16, y), font(13)))?;
        told.draw(&Text::new(row.told.clone(), (4, y), font(13)))?;
    }
    Ok(())
}

fn short(ratio: f64) -> String {
    if ratio >= 10.0 {
        format!("{ratio:.0}")
    } else {
        let text = format!("{ratio:.2}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

/// A time, in a unit that suits it.
pub fn nanoseconds(ns: f64) -> String {
    match ns {
        ns if ns < 1e3 => format!("{ns:.0} ns"),
        ns if ns < 1e6 => format!("{:.1} µs", ns / 1e3),
        ns => format!("{:.2} ms", ns / 1e6),
    }
}
