//! Options of `run`, `report` and `plot`.

use clap::Args;
use std::ffi::OsString;
use std::path::PathBuf;

/// What is written beside the report.
#[derive(Debug, Args)]
pub struct Outputs {
    /// Write a timeline, which chrome://tracing and Perfetto open
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Draw latencies over time, and their percentiles, as SVG
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
    /// Write the latencies as an HdrHistogram log (V2)
    #[arg(long, value_name = "FILE")]
    pub hdr: Option<PathBuf>,
}

/// Options of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub outputs: Outputs,
    /// Keep the record, for aio2 report and aio2 plot
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Where the drop-ins are; by default where they were installed with this
    /// command
    #[arg(long, value_name = "DIR", env = "AIO2_DROP_INS")]
    pub drop_ins: Option<PathBuf>,
    /// Also for programs that make the calls of Linux AIO by number, as databases
    /// do: syscall(2) is interposed
    #[arg(long)]
    pub syscalls: bool,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub program: Vec<OsString>,
}

/// Options of `report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    #[command(flatten)]
    pub outputs: Outputs,
    /// What was recorded, by aio2 run --record or AIO2_RECORD
    pub record: PathBuf,
}

/// Options of `plot`.
#[derive(Debug, Args)]
pub struct PlotArgs {
    /// What stands above the picture; by default the record's name
    #[arg(long)]
    pub title: Option<String>,
    /// What was recorded, by aio2 run --record or AIO2_RECORD
    pub record: PathBuf,
    /// Where to draw it, as SVG
    pub picture: PathBuf,
}
