//! The password of a user, which no text of the library may hold.

use crate::error::{Error, Result};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// More is none.
const MOST: u64 = 4096;

#[derive(Clone, Debug)]
pub enum Password {
    Given(Secret),
    File(PathBuf),
}

#[derive(Clone)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Password {
    /// As it is now. A file may end with a newline, which does not count.
    pub fn read(&self) -> Result<String> {
        match self {
            Self::Given(secret) => Ok(secret.0.clone()),
            Self::File(path) => {
                let wrong = |why: &dyn fmt::Display| {
                    Error::Auth(format!("password file {}: {why}", path.display()))
                };
                let bytes = contents(path).map_err(|e| wrong(&e))?;
                let mut text = String::from_utf8(bytes).map_err(|_| wrong(&"not UTF-8"))?;
                if text.len() as u64 > MOST {
                    return Err(wrong(&"too long"));
                }
                if text.ends_with('\n') {
                    text.pop();
                    if text.ends_with('\r') {
                        text.pop();
                    }
                }
                match text.is_empty() {
                    true => Err(wrong(&"empty")),
                    false => Ok(text),
                }
            }
        }
    }
}

fn contents(path: &Path) -> std::io::Result<Vec<u8>> {
    // Opening a pipe would wait for a writer.
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(MOST + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(contents: &[u8]) -> Result<String> {
        let name = format!("hmkv-password-{}-{:p}", std::process::id(), contents);
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, contents).expect("a file");
        let password = Password::File(path.clone()).read();
        std::fs::remove_file(path).expect("it is there");
        password
    }

    #[test]
    fn a_file_has_the_password_and_maybe_a_newline() {
        for file in ["a b", "a b\n", "a b\r\n"] {
            assert_eq!(of(file.as_bytes()).as_deref(), Ok("a b"));
        }
        assert_eq!(of(b"a\n\n").as_deref(), Ok("a\n"));
    }

    #[test]
    fn anything_else_is_refused_without_showing_it() {
        for file in [&b""[..], b"\n", b"hunter2\xff", &b"hunter2".repeat(1000)] {
            match of(file) {
                Err(Error::Auth(why)) => assert!(!why.contains("hunter2"), "{why}"),
                other => panic!("{other:?}"),
            }
        }
        for path in ["/", "/dev/null", "/nothing/there"] {
            assert!(matches!(Password::File(path.into()).read(), Err(Error::Auth(_))), "{path}");
        }
    }
}
