//! The surroundings of the command, which decide how it asks a person.

use std::env;
use std::io::{self, IsTerminal};
use std::path::Path;

use tokenkeeper::Way;

/// The place in which the command runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Surroundings {
    /// Whether the person uses another machine (over SSH).
    pub(super) is_remote: bool,
    /// Whether this is a container. The person's browser cannot reach its loopback.
    pub(super) is_container: bool,
    /// Whether there is a screen for windows.
    pub(super) has_screen: bool,
    /// Whether the environment names a browser.
    pub(super) names_browser: bool,
    /// Whether the person can type lines here.
    pub(super) takes_lines: bool,
}

/// The way that the person asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The best way in these surroundings.
    Best,
    /// A page. The arguments name a browser or forbid one, or name the port for the answer.
    Page,
    Paste,
    Device,
}

impl Surroundings {
    pub(super) fn of_process() -> Self {
        let is_set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
        Self {
            is_remote: ["SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY"].into_iter().any(is_set),
            is_container: is_set("container")
                || ["/.dockerenv", "/run/.containerenv"].into_iter().any(|mark| Path::new(mark).exists()),
            has_screen: !cfg!(all(unix, not(target_os = "macos")))
                || ["DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME"].into_iter().any(is_set),
            names_browser: is_set("BROWSER"),
            takes_lines: is_in_foreground(),
        }
    }

    /// Whether a browser can be opened. A browser that the environment names is opened anywhere, because editors name one
    /// that opens pages on the person's machine.
    pub(super) fn has_browser(self) -> bool {
        self.names_browser || self.has_screen && !self.is_remote
    }

    /// Whether the way depends on whether the server offers codes for other devices.
    pub(super) fn asks_server(self, wanted: Wanted) -> bool {
        wanted == Wanted::Best && !self.has_browser()
    }

    /// The ways to try, one after another until a person is asked.
    pub(super) fn ways(self, wanted: Wanted, offers_devices: bool) -> Vec<Way> {
        // In a container the answer cannot arrive by itself. Over SSH, the person can forward a port.
        let by_hand = self.is_container && !self.is_remote && self.takes_lines;
        match wanted {
            Wanted::Device => vec![Way::Device],
            Wanted::Paste => vec![Way::Paste],
            Wanted::Page => vec![Way::Best],
            Wanted::Best if self.has_browser() => vec![Way::Best],
            Wanted::Best => {
                let page = if by_hand { Way::Paste } else { Way::Best };
                if offers_devices { vec![Way::Device, page] } else { vec![page] }
            }
        }
    }
}

/// Whether standard input is a terminal from which this process may read. The system stops a background process that reads from
/// its terminal.
fn is_in_foreground() -> bool {
    let stdin = io::stdin();
    #[cfg(unix)]
    let is_ours = rustix::termios::tcgetpgrp(&stdin).is_ok_and(|group| group == rustix::process::getpgrp());
    #[cfg(not(unix))]
    let is_ours = true;
    stdin.is_terminal() && is_ours
}

#[cfg(test)]
mod tests {
    use super::*;

    const DESK: Surroundings = Surroundings {
        is_remote: false,
        is_container: false,
        has_screen: true,
        names_browser: false,
        takes_lines: true,
    };

    #[test]
    fn the_best_way_follows_from_the_surroundings() {
        let server = Surroundings { has_screen: false, ..DESK };
        let container = Surroundings { is_container: true, ..server };
        let cases = [
            ("a desk", DESK, true, vec![Way::Best], vec![Way::Best]),
            ("no screen", server, false, vec![Way::Device, Way::Best], vec![Way::Best]),
            (
                "a screen at the other end of SSH",
                Surroundings { is_remote: true, ..DESK },
                false,
                vec![Way::Device, Way::Best],
                vec![Way::Best],
            ),
            ("a container", container, false, vec![Way::Device, Way::Paste], vec![Way::Paste]),
            (
                "a container without a terminal",
                Surroundings { takes_lines: false, ..container },
                false,
                vec![Way::Device, Way::Best],
                vec![Way::Best],
            ),
            (
                "a container that is reached by SSH",
                Surroundings { is_remote: true, ..container },
                false,
                vec![Way::Device, Way::Best],
                vec![Way::Best],
            ),
            (
                "a container with a screen",
                Surroundings { has_screen: true, ..container },
                true,
                vec![Way::Best],
                vec![Way::Best],
            ),
            (
                "an editor's browser over SSH",
                Surroundings { is_remote: true, names_browser: true, ..server },
                true,
                vec![Way::Best],
                vec![Way::Best],
            ),
        ];
        for (name, place, has_browser, with_devices, without) in cases {
            assert_eq!(place.has_browser(), has_browser, "{name}");
            assert_eq!(place.asks_server(Wanted::Best), !has_browser, "{name}");
            assert_eq!(place.ways(Wanted::Best, true), with_devices, "{name}");
            assert_eq!(place.ways(Wanted::Best, false), without, "{name}");
        }
    }

    #[test]
    fn a_way_that_was_asked_for_is_the_only_one() {
        for place in [DESK, Surroundings::default()] {
            for (wanted, way) in [(Wanted::Page, Way::Best), (Wanted::Paste, Way::Paste), (Wanted::Device, Way::Device)]
            {
                assert_eq!(place.ways(wanted, true), [way]);
                assert!(!place.asks_server(wanted));
            }
        }
    }
}
