//! What the kernel says of the process, under the names that every exporter gives it.

use std::fmt::Error;

use procfs::process::Process;
use prometheus_client::encoding::DescriptorEncoder;

use super::write::{counter_f64, gauge, gauge_f64};

/// Writes what can be found out; nothing where there is no `/proc`.
pub fn write(encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
    let Ok(process) = Process::myself() else { return Ok(()) };
    if let Ok(stat) = process.stat() {
        let ticks = to_f64(procfs::ticks_per_second());
        let used = to_f64(stat.utime.saturating_add(stat.stime));
        let help = "Seconds of a core that the process used";
        counter_f64(encoder, "process_cpu_seconds", help, used / ticks)?;
        let resident = stat.rss.saturating_mul(procfs::page_size());
        gauge(encoder, "process_resident_memory_bytes", "Bytes of memory in use", resident)?;
        let help = "Bytes of address space, most of which is no memory";
        gauge(encoder, "process_virtual_memory_bytes", help, stat.vsize)?;
        let threads = u64::try_from(stat.num_threads).unwrap_or(0);
        gauge(encoder, "process_threads", "Threads", threads)?;
        if let Ok(booted) = procfs::boot_time_secs() {
            let started = to_f64(booted) + to_f64(stat.starttime) / ticks;
            let help = "When the process was started, in seconds since 1970";
            gauge_f64(encoder, "process_start_time_seconds", help, started)?;
        }
    }
    if let Ok(open) = process.fd_count() {
        gauge(encoder, "process_open_fds", "Files and sockets that are open", open as u64)?;
    }
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let help = "Files and sockets that may be open";
    gauge(encoder, "process_max_fds", help, limit.current.unwrap_or(u64::MAX))
}

#[expect(clippy::cast_precision_loss, reason = "a time is no more exact than its clock")]
fn to_f64(number: u64) -> f64 {
    number as f64
}
