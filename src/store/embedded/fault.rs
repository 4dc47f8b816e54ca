//! What can be wrong with the database, told apart by what has to be done about it.

use std::io::{self, ErrorKind};
use std::path::Path as FilePath;

use fanal_actors::ports::StoreError;

use super::super::files::{When, failed};

/// Why something could not be done with the database.
#[derive(Debug)]
pub(super) enum Fault {
    /// The operating system says no. That is no damage: the file may be good.
    Io(io::Error),
    /// The library says that the file is damaged.
    Corrupt(String),
    /// The library is content, but what is in the file cannot be.
    Wrong(String),
    /// The file is of a format that this code does not know.
    Newer {
        /// The format.
        format: u64,
    },
    /// What was asked for cannot be done, for a reason that has its sentence.
    Refused(StoreError),
}

impl Fault {
    /// Content that cannot be.
    pub(super) fn wrong(what: impl Into<String>) -> Self {
        Fault::Wrong(what.into())
    }

    /// What is wrong with the file, if it is damaged.
    pub(super) fn damage(&self) -> Option<&str> {
        match self {
            Fault::Corrupt(what) | Fault::Wrong(what) => Some(what),
            Fault::Io(_) | Fault::Newer { .. } | Fault::Refused(_) => None,
        }
    }

    /// Whether the library refuses everything after it, until the database is opened again.
    pub(super) fn is_lasting(&self) -> bool {
        matches!(self, Fault::Io(_) | Fault::Corrupt(_))
    }

    /// The sentence for the operator.
    pub(super) fn sentence(self, action: &str, file: &FilePath, when: When) -> StoreError {
        let name = file.display();
        match self {
            Fault::Refused(error) => error,
            Fault::Io(error) => failed(action, file, &error, when),
            Fault::Newer { format } => {
                let known = super::FORMAT;
                StoreError(format!(
                    "{name} was written by a newer fanal (format {format}), this one reads format \
                     {known}: start the newer fanal, or move the store's files away"
                ))
            }
            Fault::Corrupt(what) | Fault::Wrong(what) => StoreError(format!(
                "cannot {action} {name}: it is damaged ({what}); stop the broker and start it \
                 again, it then goes on from the newest backup"
            )),
        }
    }

    fn of(error: redb::Error) -> Self {
        use redb::Error;
        match error {
            Error::Io(error) => match error.kind() {
                // The library asks for bytes where the file's own pointers say that they are, and
                // reports a file that is none of its own as invalid data.
                ErrorKind::UnexpectedEof | ErrorKind::InvalidData | ErrorKind::InvalidInput => {
                    Fault::Corrupt(error.to_string())
                }
                _ => Fault::Io(error),
            },
            Error::ValueTooLarge(_) => {
                Fault::Io(io::Error::new(ErrorKind::InvalidInput, error.to_string()))
            }
            Error::Corrupted(_)
            | Error::RepairAborted
            | Error::UpgradeRequired(_)
            | Error::TableTypeMismatch { .. }
            | Error::TableIsMultimap(_)
            | Error::TableIsNotMultimap(_)
            | Error::TypeDefinitionChanged { .. }
            | Error::TableDoesNotExist(_) => Fault::Corrupt(error.to_string()),
            // Whatever else there is or will be: no reason to set a file aside.
            _ => Fault::Io(io::Error::other(error.to_string())),
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Fault::Io(error)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Fault::Refused(error)
    }
}

/// The library has an error for each kind of call, which all say the same few things.
macro_rules! faults_from {
    ($($error:ident),*) => {
        $(impl From<redb::$error> for Fault {
            fn from(error: redb::$error) -> Self {
                Fault::of(error.into())
            }
        })*
    };
}

faults_from!(DatabaseError, TransactionError, TableError, StorageError, CommitError);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_disk_is_no_damage() {
        for kind in [
            ErrorKind::PermissionDenied,
            ErrorKind::ReadOnlyFilesystem,
            ErrorKind::StorageFull,
            ErrorKind::Other,
        ] {
            let fault = Fault::from(redb::StorageError::Io(kind.into()));
            assert!(fault.damage().is_none() && fault.is_lasting(), "{fault:?}");
        }
        let fault = Fault::from(redb::StorageError::PreviousIo);
        assert!(fault.damage().is_none(), "{fault:?}");
    }

    #[test]
    fn a_file_that_ends_too_early_is_damage() {
        let fault = Fault::from(redb::StorageError::Io(ErrorKind::UnexpectedEof.into()));
        assert!(fault.damage().is_some());
        let fault = Fault::from(redb::StorageError::Corrupted("it".into()));
        assert_eq!(fault.damage(), Some("DB corrupted: it"));
    }
}
