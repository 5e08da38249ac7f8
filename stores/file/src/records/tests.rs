//! Damaged files. Reading a file gives the right record or a clear error, and never the record of another identity.

use tokenkeeper_actors::law::ledger::Login;
use tokenkeeper_actors::values::record::format::FormatError;
use tokenkeeper_actors::values::record::{Binding, Client, ClientAuth, Content, Issuer, RefreshCredential};
use tokenkeeper_actors::values::{Epoch, Moment, RefreshToken, RenewalPlan, Scopes, StoreFault};

use super::*;
use crate::builder::KeySource;
use crate::key::StoreKey;

/// A tombstone in the previous format.
const FORMAT_2: &str = r#"{"format":2,"epoch":5,"revision":43,"number":14,"dead":[],"content":"tombstone"}"#;

/// The time of all logins, in seconds since 1970.
const TODAY: u64 = 1_800_000_000;

struct Desk {
    place: Place,
    _ground: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let ground = tempfile::tempdir().unwrap();
        let source = KeySource::Given(StoreKey::new([3; 32]));
        let (home, keys) = Home::open(&ground.path().join("home"), &source, crate::home::Where::Anywhere).unwrap();
        Self { place: Place::new(home, keys), _ground: ground }
    }

    fn install(&self, who: &ServerIdentity, token: &str) -> Result<Changed, FileError> {
        let client = Client { id: "c".into(), secret: None, auth: ClientAuth::None, secret_expires_at: None };
        let binding = Binding {
            issuer: Issuer("https://as.example.com".into()),
            client,
            token_endpoint: "https://as.example.com/token".into(),
            revocation_endpoint: None,
            resource: None,
        };
        let refresh = Some(RefreshCredential::new(RefreshToken::new(token), &self.place.keys.digest));
        let at = Moment { wall: WallTime::from_millis(TODAY * 1_000), ..Moment::default() };
        let (requested, granted) = (Scopes::default(), Scopes::default());
        let login = Login {
            renewal: RenewalPlan::default(),
            binding,
            requested,
            granted,
            subject: None,
            dpop_key: None,
            refresh,
            access: None,
            at,
            begun_on: None,
        };
        change(&self.place, who, &Change::Install(Box::new(login)))
    }

    fn read(&self, who: &ServerIdentity) -> Vec<u8> {
        std::fs::read(self.file(who)).unwrap()
    }

    fn write(&self, who: &ServerIdentity, bytes: &[u8]) {
        use std::io::Write;
        use std::os::unix::fs::OpenOptionsExt;
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.create(true).truncate(true).write(true).mode(0o600).open(self.file(who)).unwrap();
        file.write_all(bytes).unwrap();
    }

    fn file(&self, who: &ServerIdentity) -> std::path::PathBuf {
        self.place.home.records.path_of(self.place.name(who).as_str())
    }

    fn seal(&self, who: &ServerIdentity, plaintext: &str) {
        let header = seal::seal_key(&self.place.keys, Kind::Record, &who.key()).unwrap();
        let sealed = seal::seal(&self.place.keys, Kind::Record, &header, &[], plaintext.as_bytes());
        self.write(who, &sealed.unwrap());
    }

    /// Asserts that neither a read nor a logout accepts the file, and that the file is not changed. A login must not accept a
    /// file of a later version either.
    fn is_refused(&self, who: &ServerIdentity) -> Trouble {
        let before = self.read(who);
        let error = load(&self.place, who).unwrap_err();
        let is_newer = *error.trouble() == Trouble::Newer;
        let fault = if is_newer { StoreFault::Newer } else { StoreFault::Unreadable };
        assert_eq!((error.fault(), error.path()), (fault, &*self.file(who)));
        assert_eq!(change(&self.place, who, &Change::Clear { epoch: Epoch::new(1) }).unwrap_err(), error);
        if is_newer {
            assert_eq!(self.install(who, "rt-other").unwrap_err(), error);
        }
        assert_eq!(self.read(who), before);
        error.trouble().clone()
    }

    /// The damaged records that are kept, and their contents.
    fn aside(&self) -> Vec<Vec<u8>> {
        let aside = self.place.aside.lock().unwrap();
        aside.iter().map(|file| std::fs::read(file).unwrap()).collect()
    }
}

fn who(account: &str) -> ServerIdentity {
    ServerIdentity::from_key(&format!("api:github#{account}")).unwrap()
}

fn token(record: Option<Box<Record>>) -> Option<String> {
    Some(record?.held()?.credential.token().expose().to_owned())
}

#[test]
fn every_part_of_a_record_and_every_changed_byte_is_refused() {
    let (desk, who) = (Desk::new(), who("work"));
    desk.install(&who, "rt-1").unwrap();
    let whole = desk.read(&who);
    for length in 0..whole.len() {
        desk.write(&who, &whole[..length]);
        assert_eq!(desk.is_refused(&who), Trouble::Damaged, "{length} bytes");
    }
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1 << (at % 8);
        desk.write(&who, &changed);
        let trouble = desk.is_refused(&who);
        // The layout's version is read first.
        assert!(trouble == Trouble::Damaged || at == 11 && trouble == Trouble::Newer, "byte {at}: {trouble:?}");
    }
    desk.write(&who, &[&whole[..], b"\n"].concat());
    assert_eq!(desk.is_refused(&who), Trouble::Damaged);
    desk.write(&who, &vec![0; MOST + 1]);
    assert_eq!(desk.is_refused(&who), Trouble::Damaged);
    desk.write(&who, &whole);
    assert_eq!(token(load(&desk.place, &who).unwrap()).as_deref(), Some("rt-1"));
}

#[test]
fn another_identitys_record_is_never_read_for_ones_own() {
    let (desk, work, home) = (Desk::new(), who("work"), who("home"));
    desk.install(&work, "rt-work").unwrap();
    desk.install(&home, "rt-home").unwrap();
    let (of_work, of_home) = (desk.read(&work), desk.read(&home));
    desk.write(&work, &of_home);
    desk.write(&home, &of_work);
    assert_eq!((desk.is_refused(&work), desk.is_refused(&home)), (Trouble::Foreign, Trouble::Foreign));
    // Both are still listed under their own identities, because the index knows each file's identity.
    assert_eq!(desk.place.list().unwrap().len(), 2);
    let other = Desk::new();
    other.write(&work, &of_work);
    assert_eq!(other.is_refused(&work), Trouble::Damaged, "another home has another key, even of the same bytes");
}

#[test]
fn an_older_format_is_read_and_a_newer_one_is_left_alone() {
    let (desk, who) = (Desk::new(), who("work"));
    desk.seal(&who, FORMAT_2);
    let record = load(&desk.place, &who).unwrap().unwrap();
    assert_eq!((record.epoch, &record.content), (Epoch::new(5), &Content::Tombstone));
    desk.seal(&who, &format!("{{\"format\":{},\"what\":\"ever\"}}", format::CURRENT + 1));
    assert_eq!(desk.is_refused(&who), Trouble::Newer);
    desk.seal(&who, "{\"format\":");
    assert_eq!(desk.is_refused(&who), Trouble::Format(FormatError::NotJson));
    // The record of the older format is read, and continues in the current format.
    desk.seal(&who, FORMAT_2);
    let changed = desk.install(&who, "rt-1").unwrap();
    assert!(matches!(changed, Changed::Applied { after, .. } if after.epoch == Epoch::new(6)));
}

#[test]
fn a_login_puts_a_damaged_record_aside_and_continues_above_its_counters() {
    let (desk, work) = (Desk::new(), who("work"));
    desk.install(&who("home"), "rt-home").unwrap();
    let mut put_aside = Vec::new();
    let of_home = desk.read(&who("home"));
    for damaged in [&b"cut off"[..], b"", &of_home] {
        desk.write(&work, damaged);
        let Changed::Applied { before, after } = desk.install(&work, "rt-new").unwrap() else { panic!("a conflict") };
        assert_eq!(before, None);
        assert_eq!((after.epoch.number(), after.revision.number(), after.number), (TODAY + 1, TODAY + 1, TODAY + 1));
        assert_eq!(token(load(&desk.place, &work).unwrap()).as_deref(), Some("rt-new"));
        put_aside.push(damaged.to_vec());
        assert_eq!(desk.aside(), put_aside);
        // The next login finds a record again.
        let Changed::Applied { after, .. } = desk.install(&work, "rt-next").unwrap() else { panic!("a conflict") };
        assert_eq!((after.epoch.number(), desk.aside().len()), (TODAY + 2, put_aside.len()));
    }
    desk.seal(&work, "{\"format\":4}");
    desk.install(&work, "rt-new").unwrap();
    assert_eq!(desk.aside().len(), 4);
    // Damaged records that were put aside are neither listed nor swept.
    let mut listed = desk.place.list().unwrap();
    listed.sort();
    assert_eq!(listed, [who("home"), who("work")]);
}

#[test]
fn the_index_is_made_again_from_the_records() {
    let desk = Desk::new();
    let mut all: Vec<_> = ["a", "b", "c"].map(who).into();
    all.iter().for_each(|who| drop(desk.install(who, who.account().as_str()).unwrap()));
    let index = desk.place.home.root.path_of("index");
    let listed = || {
        let mut listed = Names::default().list(&desk.place.home, &desk.place.keys).unwrap();
        listed.sort();
        listed
    };
    let whole = std::fs::read(&index).unwrap();
    for length in 0..whole.len() {
        std::fs::write(&index, &whole[..length]).unwrap();
        assert_eq!(listed(), all, "{length} bytes of the index");
        assert_eq!(listed(), all, "the index that was mended");
    }
    // An identity without a record is not listed, even if the index has it. A file that neither the index nor its
    // header can name is skipped.
    std::fs::remove_file(desk.file(&all.remove(1))).unwrap();
    std::fs::write(desk.file(&who("d")), "no record").unwrap();
    assert_eq!(listed(), all);
}
