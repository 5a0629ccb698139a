//! AIO2: asynchronous system calls with attributes.
