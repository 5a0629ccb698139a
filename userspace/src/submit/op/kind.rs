//! Kinds of operations, by what they give: names only. What each gives stands in
//! `value`.

/// Kept from others' types.
#[expect(unnameable_types)] // that is what keeps it
pub trait Sealed {}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub enum $name {}

        impl Sealed for $name {}
    )*};
}

kinds! {
    /// Not known by the type: the number that the call returned. What a queue hands out,
    /// and [`crate::Op::syscall`].
    Any;
    /// Nothing but that it is done.
    Effect;
    /// A descriptor, which it has opened.
    Opens;
    /// A connection, and the address of its peer; none if it is no IP address.
    Accepts;
    /// The bytes that it has read, in its buffer.
    Reads;
    /// How many bytes of its buffer it has written.
    Writes;
    /// How many bytes it has read, and its buffers, filled one after the other.
    ReadsSeveral;
    /// How many bytes it has written, and its buffers.
    WritesSeveral;
    /// The bytes of a message, and the address of its sender; none if it is no IP address.
    ReceivesFrom;
    /// A message.
    Receives;
    /// How many bytes it has moved between files.
    Moves;
    /// The address of a socket; none if it is no IP address.
    Named;
    /// The value of a socket's option.
    OptionValue;
    /// What the file is ready for.
    Ready;
    /// What each of the files is ready for, in the order given.
    ReadyOfSeveral;
    /// What happened, and the data of the file.
    EpollEvents;
    /// What is known of a file, by statx(2).
    Statx;
    /// What is known of a file, by fstat(2).
    Stat;
    /// What is known of a file system.
    FileSystem;
    /// The flags of an open file.
    StatusFlags;
    /// The file's position in bytes.
    Position;
    /// How many members of the group have failed.
    Failures;
    /// The id of a process, a user or a group.
    Id;
    /// What a clock says, since the beginning that it has.
    Time;
    /// How a child has ended.
    Exits;
    /// How many were woken.
    Woken;
}
