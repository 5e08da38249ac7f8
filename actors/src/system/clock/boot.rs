//! The identity of a boot. Elapsed times are compared only between moments of the same boot.

use crate::values::BootId;

use super::super::{NoRandomness, draw};

/// Returns a random identity. No other clock has it, so the elapsed time of this clock is never compared with that of
/// another.
pub(super) fn random() -> Result<BootId, NoRandomness> {
    draw().map(|bytes| BootId(u128::from_le_bytes(bytes)))
}

/// Returns the identity of this boot from the kernel, or a random one if the kernel gives none.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn of_this_machine() -> Result<BootId, NoRandomness> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    let offsets = std::fs::read_to_string("/proc/self/timens_offsets");
    parse(id.ok().as_deref(), offsets.ok().as_deref()).map_or_else(random, Ok)
}

/// Parses the identity from the content of the two files.
///
/// A container may have a time namespace (`time_namespaces(7)`), in which elapsed time is shifted although `boot_id` is
/// that of the machine. The shift becomes part of the identity, so that only processes with the same clock have the
/// same identity.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn parse(id: Option<&str>, offsets: Option<&str>) -> Option<BootId> {
    let shift = offsets.map_or(Some(0), shift)?;
    uuid(id?).map(|id| BootId(id ^ shift))
}

/// Parses a UUID that is not all zeros.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn uuid(text: &str) -> Option<u128> {
    let groups: Vec<&str> = text.trim().split('-').collect();
    let hexadecimal = groups.iter().all(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if !hexadecimal || !groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12]) {
        return None;
    }
    u128::from_str_radix(&groups.concat(), 16).ok().filter(|id| *id != 0)
}

/// Returns the shift of this time namespace. It is zero in the initial one, and kernels before 5.6 have no other.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn shift(offsets: &str) -> Option<u128> {
    let mut words = offsets.lines().map(str::split_ascii_whitespace).find_map(|mut line| {
        let clock = line.next()?;
        matches!(clock, "boottime" | "7").then_some(line)
    })?;
    let (seconds, nanos): (i64, u32) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    Some(u128::from(seconds.cast_unsigned()) << 32 | u128::from(nanos))
}

#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
mod tests {
    use super::*;

    const ID: &str = "1b4456d7-346d-4cfe-b083-3fd3d4dc7b2b\n";
    const FIRST: &str = "monotonic           0         0\nboottime            0         0\n";

    #[test]
    fn the_kernels_boot_id_is_read_as_a_number() {
        let read = Some(BootId(0x1b44_56d7_346d_4cfe_b083_3fd3_d4dc_7b2b));
        assert_eq!(parse(Some(ID), Some(FIRST)), read);
        assert_eq!(parse(Some(ID), None), read, "a kernel without time namespaces");
        assert_eq!(parse(Some(&ID.to_uppercase()), None), read);
    }

    #[test]
    fn text_that_is_no_uuid_is_ignored() {
        for text in [
            "",
            "1b4456d7346d4cfeb0833fd3d4dc7b2b",
            "1b4456d7-346d-4cfe-b083-3fd3d4dc7b2",
            "1b4456d7-346d-4cfe-b083-3fd3d4dc7b2bb",
            "+b4456d7-346d-4cfe-b083-3fd3d4dc7b2b",
            "1b4456d7-346d-4cfe-b083-3fd3d4dc7b2b-1",
            "1b4456d-7346d-4cfe-b083-3fd3d4dc7b2b",
            "00000000-0000-0000-0000-000000000000",
        ] {
            assert_eq!(parse(Some(text), Some(FIRST)), None, "{text:?}");
        }
        assert_eq!(parse(None, None), None);
    }

    #[test]
    fn a_shifted_clock_has_its_own_identity() {
        let shifted = |line: &str| parse(Some(ID), Some(&format!("monotonic 5 0\n{line}\n")));
        let (host, week) = (parse(Some(ID), Some(FIRST)), shifted("boottime 604800 0"));
        assert!(week.is_some() && week != host);
        assert_eq!(week, shifted("boottime   604800        0"));
        assert_ne!(week, shifted("boottime -604800 0"));
        assert_ne!(week, shifted("boottime 604800 1"));
        assert_eq!(shifted("boottime 0 0"), host);
    }

    #[test]
    fn unreadable_offsets_give_no_identity() {
        for offsets in ["", "monotonic 0 0", "boottime", "boottime 0", "boottime x 0"] {
            assert_eq!(parse(Some(ID), Some(offsets)), None, "{offsets:?}");
        }
    }

    #[test]
    fn two_random_identities_differ() {
        assert_ne!(random().unwrap(), random().unwrap());
    }

    #[test]
    fn two_clocks_of_one_machine_agree_on_its_boot() {
        let readable = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").is_ok();
        assert_eq!(of_this_machine().unwrap() == of_this_machine().unwrap(), readable);
    }
}
