//! The bytes on the wire of AIO2.
#![no_std]
