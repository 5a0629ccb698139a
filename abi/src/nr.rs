//! Numbers of the system calls, on every architecture; provisional until the
//! series is merged. SPEC: section 4.

/// Makes a context.
pub const IO_SETUP2: i32 = 480;
/// Submits a stream of iocbs.
pub const IO_SUBMIT2: i32 = 481;
/// Submits, waits, and copies events out.
pub const IO_GETEVENTS2: i32 = 482;
/// Cancels requests.
pub const IO_CANCEL2: i32 = 483;
/// Runs one operation synchronously.
pub const IO_EXEC2: i32 = 484;
