//! Damaged files. Reading a file gives the right entry or a clear error. A file is never read as the entry of another key,
//! and a damaged file is never overwritten.

use std::path::PathBuf;

use tokenkeeper_actors::values::issuer::{EntryContent, EntryKind, RegistrationName, ServerMetadata};
use tokenkeeper_actors::values::record::format::entry::CURRENT;
use tokenkeeper_actors::values::{Moment, Revision, StoreFault};

use super::*;
use crate::builder::KeySource;
use crate::home::{Home, Where};
use crate::key::StoreKey;

const ISSUER: &str = "https://as.example.com";

struct Fixture {
    place: Place,
    dir: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let source = KeySource::Given(StoreKey::new([3; 32]));
        let (home, keys) = Home::open(&dir.path().join("home"), &source, Where::Anywhere).unwrap();
        Self { place: Place::new(home, keys), dir }
    }

    fn put(&self, issuer: &str, expected: Option<u64>, document: &str) -> Result<EntryChanged, FileError> {
        let content = EntryContent::Metadata(Box::new(ServerMetadata {
            url: format!("{issuer}/.well-known/oauth-authorization-server"),
            document: document.into(),
            fetched: Moment::default(),
            fresh_for: None,
            etag: None,
        }));
        let put = EntryChange::Put { expected: expected.map(Revision::new), content };
        change(&self.place, &Issuer(issuer.into()), &put)
    }

    fn file(&self, key: &IssuerKey) -> PathBuf {
        self.dir.path().join("home/issuers").join(name_of(&self.place, &key.key()).as_str())
    }

    fn read(&self, key: &IssuerKey) -> Vec<u8> {
        std::fs::read(self.file(key)).unwrap()
    }

    fn write(&self, key: &IssuerKey, bytes: &[u8]) {
        use std::io::Write;
        use std::os::unix::fs::OpenOptionsExt;
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.create(true).truncate(true).write(true).mode(0o600).open(self.file(key)).unwrap();
        file.write_all(bytes).unwrap();
    }

    fn seal(&self, key: &IssuerKey, plaintext: &str) {
        let header = seal::seal_key(&self.place.keys, Kind::Entry, &key.key()).unwrap();
        let sealed = seal::seal(&self.place.keys, Kind::Entry, &header, &[], plaintext.as_bytes());
        self.write(key, &sealed.unwrap());
    }

    /// Asserts that the file is neither read nor overwritten, and returns why.
    fn is_refused(&self, key: &IssuerKey) -> Trouble {
        let before = self.read(key);
        let error = load(&self.place, key).unwrap_err();
        let is_newer = *error.trouble() == Trouble::Newer;
        let fault = if is_newer { StoreFault::Newer } else { StoreFault::Unreadable };
        assert_eq!((error.fault(), error.path()), (fault, &*self.file(key)));
        for expected in [None, Some(1)] {
            assert_eq!(self.put(&key.issuer.0, expected, "{}").unwrap_err(), error);
        }
        let remove = EntryChange::Remove { expected: Revision::new(1), kind: key.kind.clone() };
        assert_eq!(change(&self.place, &key.issuer, &remove).unwrap_err(), error);
        assert_eq!(self.read(key), before);
        error.trouble().clone()
    }
}

fn metadata(issuer: &str) -> IssuerKey {
    IssuerKey { issuer: Issuer(issuer.into()), kind: EntryKind::Metadata }
}

#[test]
fn every_part_of_an_entry_and_every_changed_byte_is_refused() {
    let (fixture, key) = (Fixture::new(), metadata(ISSUER));
    let EntryChanged::Applied(entry) = fixture.put(ISSUER, None, "{\"issuer\":\"x\"}").unwrap() else { panic!() };
    let whole = fixture.read(&key);
    for length in 0..whole.len() {
        fixture.write(&key, &whole[..length]);
        assert_eq!(fixture.is_refused(&key), Trouble::Damaged, "{length} bytes");
    }
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1 << (at % 8);
        fixture.write(&key, &changed);
        let trouble = fixture.is_refused(&key);
        // The layout's version is read first.
        assert!(trouble == Trouble::Damaged || at == 11 && trouble == Trouble::Newer, "byte {at}: {trouble:?}");
    }
    fixture.write(&key, &[&whole[..], b"\n"].concat());
    assert_eq!(fixture.is_refused(&key), Trouble::Damaged);
    fixture.write(&key, &vec![0; MAX_FILE + 1]);
    assert_eq!(fixture.is_refused(&key), Trouble::Damaged);
    fixture.write(&key, &whole);
    assert_eq!(load(&fixture.place, &key), Ok(Some(entry)));
}

#[test]
fn an_entry_is_never_read_as_another_issuers_or_as_a_record() {
    let other = "https://as.example.com/";
    let (fixture, one, two) = (Fixture::new(), metadata(ISSUER), metadata(other));
    fixture.put(ISSUER, None, "{1}").unwrap();
    fixture.put(other, None, "{2}").unwrap();
    let (of_one, of_two) = (fixture.read(&one), fixture.read(&two));
    fixture.write(&one, &of_two);
    fixture.write(&two, &of_one);
    assert_eq!((fixture.is_refused(&one), fixture.is_refused(&two)), (Trouble::Foreign, Trouble::Foreign));
    assert_eq!(list(&fixture.place), Ok(vec![]), "neither lies under its own name");
    let elsewhere = Fixture::new();
    elsewhere.put(ISSUER, None, "{}").unwrap();
    elsewhere.write(&one, &of_one);
    assert_eq!(elsewhere.is_refused(&one), Trouble::Damaged, "another home has another key, even of the same bytes");
    // A file that was sealed as a record, with the same header and plaintext.
    let header = one.key();
    let sealed = seal::seal(&fixture.place.keys, Kind::Record, header.as_bytes(), &[], b"{}").unwrap();
    fixture.write(&one, &sealed);
    assert_eq!(fixture.is_refused(&one), Trouble::Damaged);
}

#[test]
fn a_newer_format_is_left_alone_and_told_apart_from_damage() {
    let (fixture, key) = (Fixture::new(), metadata(ISSUER));
    fixture.put(ISSUER, None, "{}").unwrap();
    fixture.seal(&key, &format!("{{\"format\":{},\"what\":\"ever\"}}", CURRENT + 1));
    assert_eq!(fixture.is_refused(&key), Trouble::Newer);
    fixture.seal(&key, "{\"format\":");
    assert_eq!(fixture.is_refused(&key), Trouble::Format(FormatError::NotJson));
    fixture.seal(&key, "{\"format\":1,\"revision\":5,\"content\":\"removed\"}");
    let again = fixture.put(ISSUER, Some(5), "{2}").unwrap();
    assert!(matches!(again, EntryChanged::Applied(entry) if entry.revision == Revision::new(6)));
}

#[test]
fn a_home_without_the_folder_reads_as_empty_and_gets_it_with_the_first_write() {
    let fixture = Fixture::new();
    let folder = fixture.dir.path().join("home/issuers");
    assert_eq!(load(&fixture.place, &metadata(ISSUER)), Ok(None));
    assert_eq!(list(&fixture.place), Ok(vec![]));
    assert_eq!(fixture.put(ISSUER, Some(1), "{}"), Ok(EntryChanged::Conflict(None)));
    assert!(!folder.exists(), "a change that was refused writes nothing");
    fixture.put(ISSUER, None, "{}").unwrap();
    assert_eq!(list(&fixture.place), Ok(vec![metadata(ISSUER)]));
    // A home that is gone gives an error, not an empty list.
    std::fs::remove_dir_all(fixture.dir.path().join("home")).unwrap();
    assert_eq!(load(&fixture.place, &metadata(ISSUER)).unwrap_err().fault(), StoreFault::Gone);
    assert_eq!(list(&fixture.place).unwrap_err().fault(), StoreFault::Gone);
}

#[test]
fn a_file_is_named_by_a_digest_that_needs_the_key_of_the_home() {
    use base16ct::lower as hex;
    use sha2::{Digest, Sha256};
    let (fixture, other, key) = (Fixture::new(), Fixture::new(), metadata(ISSUER));
    let name = name_of(&fixture.place, &key.key());
    assert_eq!(name.as_str().len(), 64);
    assert_ne!(name, name_of(&other.place, &key.key()), "each home has names of its own");
    for guess in [key.key(), ISSUER.to_owned()] {
        assert_ne!(name.as_str(), hex::encode_string(&Sha256::digest(guess)));
    }
}

#[test]
fn what_is_listed_is_what_the_files_say_of_themselves() {
    let (fixture, key) = (Fixture::new(), metadata(ISSUER));
    fixture.put(ISSUER, None, "{}").unwrap();
    let name = RegistrationName::new("é".repeat(RegistrationName::MAX_BYTES / 2)).unwrap();
    let long = IssuerKey { issuer: Issuer(ISSUER.into()), kind: EntryKind::Registration(name) };
    fixture.seal(&long, "{\"format\":1,\"revision\":1,\"content\":\"removed\"}");
    // An entry of a kind that this version does not know.
    let header = "jwks:https://as.example.com#";
    let sealed = seal::seal(&fixture.place.keys, Kind::Entry, header.as_bytes(), &[], b"{}").unwrap();
    std::fs::write(fixture.file(&key).with_file_name(name_of(&fixture.place, header).as_str()), &*sealed).unwrap();
    // A file that is no entry at all.
    std::fs::write(fixture.file(&key).with_file_name("0".repeat(64)), "damaged").unwrap();
    std::fs::write(fixture.file(&key).with_file_name("notes"), "mine").unwrap();
    let mut listed = list(&fixture.place).unwrap();
    listed.sort();
    assert_eq!(listed, [long.clone(), key]);
    assert_eq!(load(&fixture.place, &long).unwrap().unwrap().content, None);
}

#[test]
fn an_entry_that_is_too_large_is_not_written() {
    let fixture = Fixture::new();
    let error = fixture.put(ISSUER, None, &"d".repeat(MAX_BYTES)).unwrap_err();
    assert_eq!((error.fault(), error.trouble()), (StoreFault::Failed, &Trouble::Format(FormatError::TooLarge)));
    let error = fixture.put(&format!("{ISSUER}/{}", "i".repeat(MAX_KEY)), None, "{}").unwrap_err();
    assert_eq!((error.fault(), error.trouble()), (StoreFault::Failed, &Trouble::Format(FormatError::TooLarge)));
    assert_eq!(list(&fixture.place), Ok(vec![]));
    fixture.put(ISSUER, None, "{}").unwrap();
}
