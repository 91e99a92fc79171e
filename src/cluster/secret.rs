//! What members know and strangers do not: given, or made by the first member and kept in the shared directory.
//!
//! Never: shows it, or takes a file for it that anybody else could have filled.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::fill;

/// A key that proofs are made and verified with. Cheap to clone.
#[derive(Clone)]
pub(super) struct Key(Arc<hmac::Key>);

/// A secret in a shared directory. Cheap to clone.
#[derive(Clone)]
pub(super) struct SharedSecret {
    file: Arc<Path>,
    text: Arc<str>,
}

/// Name of the file; not that of a member.
pub(super) const FILE: &str = "cluster.secret";

/// Hexadecimal digits of a secret: 32 random bytes.
const DIGITS: usize = 64;
/// How often, and with which pauses, a file is read again that its writer has not finished.
const TRIES: usize = 20;
const PAUSE: Duration = Duration::from_millis(50);

// === impl Key ===

impl Key {
    pub(super) fn new(secret: &str) -> Self {
        Self(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes())))
    }

    pub(super) fn sign(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(part);
        }
        let mut proof = [0; 32];
        proof.copy_from_slice(context.sign().as_ref());
        proof
    }

    /// Whether the proof is that of these parts; takes as long whatever differs.
    pub(super) fn verifies(&self, parts: &[&[u8]], proof: &[u8; 32]) -> bool {
        hmac::verify(&self.0, &parts.concat(), proof).is_ok()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

// === impl SharedSecret ===

impl SharedSecret {
    /// Reads the secret of a directory, or makes it when there is none. Blocks.
    ///
    /// # Errors
    /// When the directory cannot be used, or the file in it is none of a secret.
    pub(super) fn of(directory: &Path) -> io::Result<Self> {
        let file: Arc<Path> = directory.join(FILE).into();
        for _ in 0..TRIES {
            match read(&file) {
                Ok(text) => return Ok(Self { file, text: text.into() }),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    let secret = Self { file: file.clone(), text: random()?.into() };
                    // Without success somebody else was faster, whose secret is read then.
                    if secret.put()? {
                        return Ok(secret);
                    }
                }
                // Its writer is at it.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => thread::sleep(PAUSE),
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::new(ErrorKind::UnexpectedEof, format!("does not hold {DIGITS} hexadecimal digits")))
    }

    /// Where it is.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    pub(super) fn key(&self) -> Key {
        Key::new(&self.text)
    }

    /// Puts it back when its file is gone; true when it was. Blocks.
    pub(super) fn restore(&self) -> io::Result<bool> {
        if fs::symlink_metadata(&self.file).is_ok() { Ok(false) } else { self.put() }
    }

    /// Writes the file unless there is one; true when it was written. Whoever sees the file sees all of it, where the
    /// file system can make a second name for a file.
    fn put(&self) -> io::Result<bool> {
        let draft = self.draft();
        write_new(&draft, &self.text)?;
        let linked = fs::hard_link(&draft, &self.file);
        // It was only a means; a left over one is replaced the next time.
        let _ = fs::remove_file(&draft);
        let made = match linked {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(error),
            Err(_) => write_new(&self.file, &self.text),
        };
        match made {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// A name that no other member uses.
    fn draft(&self) -> PathBuf {
        let mut bytes = [0; 8];
        // The name of a draft need not be a surprise, only its own.
        let _ = fill(&mut bytes);
        self.file.with_file_name(format!(".{FILE}.{}", hex(&bytes)))
    }
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedSecret").field("file", &self.file).finish_non_exhaustive()
    }
}

fn random() -> io::Result<String> {
    let mut bytes = [0; DIGITS / 2];
    fill(&mut bytes).map_err(|_| io::Error::other("no random bytes can be had"))?;
    Ok(hex(&bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(format!("{text}\n").as_bytes())?;
    file.sync_all()
}

/// The text of a secret; what is too short for one may still grow.
fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(4 * 1024).read_to_string(&mut text)?;
    let text = text.trim_end();
    match text.len() {
        DIGITS if text.bytes().all(|byte| byte.is_ascii_hexdigit()) => Ok(text.to_owned()),
        0..DIGITS => Err(ErrorKind::UnexpectedEof.into()),
        _ => Err(io::Error::new(ErrorKind::InvalidData, format!("is not {DIGITS} hexadecimal digits"))),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use tempfile::TempDir;

    use super::*;

    #[test]
    fn all_who_begin_together_have_one_secret() {
        let directory = TempDir::new().unwrap();
        let texts: Vec<_> = thread::scope(|scope| {
            let begun: Vec<_> =
                (0..8).map(|_| scope.spawn(|| SharedSecret::of(directory.path()).unwrap())).collect();
            begun.into_iter().map(|it| it.join().unwrap().text).collect()
        });
        assert!(texts.iter().all(|text| *text == texts[0] && text.len() == DIGITS));
        let left: Vec<_> =
            fs::read_dir(directory.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
        assert_eq!(left, [FILE], "drafts are removed");
        let mode = fs::metadata(directory.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_lost_file_comes_back_and_another_one_stays() {
        let directory = TempDir::new().unwrap();
        let secret = SharedSecret::of(directory.path()).unwrap();
        assert!(!secret.restore().unwrap());
        fs::remove_file(secret.file()).unwrap();
        assert!(secret.restore().unwrap());
        assert_eq!(SharedSecret::of(directory.path()).unwrap().text, secret.text);
        assert!(!format!("{secret:?}").contains(&*secret.text));
    }

    #[test]
    fn a_file_that_is_no_secret_is_refused() {
        let directory = TempDir::new().unwrap();
        for text in ["", "12", &"g".repeat(DIGITS), &"0".repeat(DIGITS + 1)] {
            fs::write(directory.path().join(FILE), text).unwrap();
            assert!(SharedSecret::of(directory.path()).is_err(), "{text}");
        }
    }

    #[test]
    fn proofs_hold_for_what_they_were_made_of() {
        let (key, other) = (Key::new("one"), Key::new("two"));
        let proof = key.sign(&[b"a", b"b"]);
        assert!(key.verifies(&[b"a", b"b"], &proof) && key.verifies(&[b"ab"], &proof));
        assert!(!key.verifies(&[b"ac"], &proof) && !other.verifies(&[b"ab"], &proof));
        assert_eq!(format!("{key:?}"), "***");
    }
}
