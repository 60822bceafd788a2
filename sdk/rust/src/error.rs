use core::fmt;

/// Why a call to the server failed. [`crate::last_error`] has it in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// Trying later may help.
    Unavailable,
    /// It took too long.
    Timeout,
    /// An argument that cannot be: a name, a handle, an address.
    Invalid,
    /// More than a limit allows.
    TooLarge,
    /// The store or the server cannot do it.
    Unsupported,
    /// The server's fault.
    Internal,
    /// Not granted in edge.yaml.
    Denied,
    /// There is no such thing.
    NotFound,
    /// The condition of a change does not hold.
    Condition,
    /// The key is there already.
    Exists,
    /// The connection is closed.
    Closed,
    /// Too many at once.
    Limit,
    /// Not callable at this moment.
    Phase,
}

/// A result of this crate.
pub type Result<T> = core::result::Result<T, Error>;

impl Error {
    /// The name in docs/abi.md, such as `not-found`.
    pub fn name(self) -> &'static str {
        match self {
            Error::Unavailable => "unavailable",
            Error::Timeout => "timeout",
            Error::Invalid => "invalid",
            Error::TooLarge => "too-large",
            Error::Unsupported => "unsupported",
            Error::Internal => "internal",
            Error::Denied => "denied",
            Error::NotFound => "not-found",
            Error::Condition => "condition",
            Error::Exists => "exists",
            Error::Closed => "closed",
            Error::Limit => "limit",
            Error::Phase => "phase",
        }
    }

    /// The number in docs/abi.md, below zero.
    pub fn code(self) -> i32 {
        match self {
            Error::Unavailable => -1,
            Error::Timeout => -2,
            Error::Invalid => -3,
            Error::TooLarge => -4,
            Error::Unsupported => -5,
            Error::Internal => -6,
            Error::Denied => -7,
            Error::NotFound => -8,
            Error::Condition => -9,
            Error::Exists => -10,
            Error::Closed => -11,
            Error::Limit => -12,
            Error::Phase => -13,
        }
    }

    /// The error with a number; one from a newer server is `Internal`.
    pub fn from_code(code: i32) -> Error {
        match code {
            -1 => Error::Unavailable,
            -2 => Error::Timeout,
            -3 => Error::Invalid,
            -4 => Error::TooLarge,
            -5 => Error::Unsupported,
            -7 => Error::Denied,
            -8 => Error::NotFound,
            -9 => Error::Condition,
            -10 => Error::Exists,
            -11 => Error::Closed,
            -12 => Error::Limit,
            -13 => Error::Phase,
            _ => Error::Internal,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(feature = "std")]
impl std::error::Error for Error {}

/// check makes a result of what a function of the server returned.
pub(crate) fn check(n: i32) -> Result<usize> {
    if n < 0 {
        return Err(Error::from_code(n));
    }
    Ok(n as usize)
}

/// done is check for functions without a value.
pub(crate) fn done(n: i32) -> Result<()> {
    check(n).map(|_| ())
}
