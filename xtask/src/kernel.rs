//! `cargo xtask kernel`: the patch series, from nothing to a booted guest.

/// Which step of the kernel's way to take.
#[derive(clap::Args)]
pub struct Args {}

pub fn run(_args: Args) -> anyhow::Result<()> {
    anyhow::bail!("the kernel series is not in this tree yet")
}
