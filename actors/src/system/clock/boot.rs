//! The boot's identity.

use crate::values::BootId;

use super::super::{NoRandomness, draw};

/// An identity that nobody shares, so that nobody compares elapsed time with its bearer.
pub(super) fn of_nobody_else() -> Result<BootId, NoRandomness> {
    draw().map(|bytes| BootId(u128::from_le_bytes(bytes)))
}

/// The identity of this boot, as the kernel tells; a random one where it does not.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn of_this_machine() -> Result<BootId, NoRandomness> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    let offsets = std::fs::read_to_string("/proc/self/timens_offsets");
    told(id.ok().as_deref(), offsets.ok().as_deref()).map_or_else(of_nobody_else, Ok)
}

/// The identity that the two files tell.
///
/// A container may have a time namespace (`time_namespaces(7)`), in which elapsed time is shifted while `boot_id` is the
/// machine's: the shift becomes part of the identity, so that only those who share the clock share its name.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn told(id: Option<&str>, offsets: Option<&str>) -> Option<BootId> {
    let shift = offsets.map_or(Some(0), shift)?;
    uuid(id?).map(|id| BootId(id ^ shift))
}

/// The UUID `text`, which is not all zeros.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn uuid(text: &str) -> Option<u128> {
    let groups: Vec<&str> = text.trim().split('-').collect();
    let hexadecimal = groups.iter().all(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if !hexadecimal || !groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12]) {
        return None;
    }
    u128::from_str_radix(&groups.concat(), 16).ok().filter(|id| *id != 0)
}

/// What tells this time namespace from others: zero in the first one, which every kernel before 5.6 has alone.
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
        assert_eq!(told(Some(ID), Some(FIRST)), read);
        assert_eq!(told(Some(ID), None), read, "a kernel without time namespaces");
        assert_eq!(told(Some(&ID.to_uppercase()), None), read);
    }

    #[test]
    fn what_is_no_uuid_is_not_believed() {
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
            assert_eq!(told(Some(text), Some(FIRST)), None, "{text:?}");
        }
        assert_eq!(told(None, None), None);
    }

    #[test]
    fn a_shifted_clock_has_a_name_of_its_own() {
        let shifted = |line: &str| told(Some(ID), Some(&format!("monotonic 5 0\n{line}\n")));
        let (host, week) = (told(Some(ID), Some(FIRST)), shifted("boottime 604800 0"));
        assert!(week.is_some() && week != host);
        assert_eq!(week, shifted("boottime   604800        0"));
        assert_ne!(week, shifted("boottime -604800 0"));
        assert_ne!(week, shifted("boottime 604800 1"));
        assert_eq!(shifted("boottime 0 0"), host);
    }

    #[test]
    fn offsets_that_cannot_be_read_leave_the_boot_unnamed() {
        for offsets in ["", "monotonic 0 0", "boottime", "boottime 0", "boottime x 0"] {
            assert_eq!(told(Some(ID), Some(offsets)), None, "{offsets:?}");
        }
    }

    #[test]
    fn nobody_else_has_a_random_identity() {
        assert_ne!(of_nobody_else().unwrap(), of_nobody_else().unwrap());
    }

    #[test]
    fn two_clocks_of_one_machine_agree_on_its_boot() {
        let readable = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").is_ok();
        assert_eq!(of_this_machine().unwrap() == of_this_machine().unwrap(), readable);
    }
}
