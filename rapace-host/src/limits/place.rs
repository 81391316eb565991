//! Where this process's own cgroups are.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// A version of cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    One,
    Two,
}

/// This process's cgroup in one hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) version: Version,
    /// Those of version 1, which are bound to their hierarchy.
    pub(super) controllers: Vec<String>,
    pub(super) directory: PathBuf,
    /// Where the hierarchy is mounted.
    pub(super) mount: PathBuf,
}

/// From the texts of `/proc/self/cgroup` and `/proc/self/mountinfo`: those that are mounted where this process sees them.
pub(super) fn places(cgroup: &[u8], mountinfo: &[u8]) -> Vec<Place> {
    let mounts: Vec<Mount> = mountinfo.split(|byte| *byte == b'\n').filter_map(Mount::of).collect();
    cgroup.split(|byte| *byte == b'\n').filter_map(|line| place(line, &mounts)).collect()
}

/// From a line such as `4:memory:/a/b`, or `0::/a/b` of version 2.
fn place(line: &[u8], mounts: &[Mount]) -> Option<Place> {
    let mut parts = line.splitn(3, |byte| *byte == b':').skip(1);
    let (names, path) =
        (std::str::from_utf8(parts.next()?).ok()?, Path::new(std::ffi::OsStr::from_bytes(parts.next()?)));
    let controllers: Vec<String> = names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    let version = if controllers.is_empty() { Version::Two } else { Version::One };
    mounts.iter().find_map(|mount| {
        let is_it = mount.version == version && controllers.iter().all(|name| mount.options.contains(name));
        // A path with .. leads out of what this process is to see.
        let below = path.strip_prefix(&mount.root).ok().filter(|below| !below.starts_with("..")).filter(|_| is_it)?;
        let (controllers, mount) = (controllers.clone(), mount.point.clone());
        // Nothing below is no name below.
        let directory = if below.as_os_str().is_empty() { mount.clone() } else { mount.join(below) };
        Some(Place { version, controllers, directory, mount })
    })
}

struct Mount {
    version: Version,
    root: PathBuf,
    point: PathBuf,
    options: Vec<String>,
}

impl Mount {
    /// From a line such as `35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory`.
    fn of(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|byte| *byte == b' ');
        let (root, point) = (unescaped(fields.nth(3)?), unescaped(fields.next()?));
        let mut behind = fields.skip_while(|field| *field != b"-").skip(1);
        let version = match behind.next()? {
            b"cgroup" => Version::One,
            b"cgroup2" => Version::Two,
            _ => return None,
        };
        let options = String::from_utf8_lossy(behind.nth(1)?).split(',').map(str::to_owned).collect();
        Some(Self { version, root, point, options })
    }
}

/// A path in which some bytes are written as three octal digits.
fn unescaped(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, behind @ ..] = rest {
        let digits = behind.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = digits.filter(|_| *first == b'\\').and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &behind[3..] } else { behind };
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "23 1 0:5 / / rw - ext4 /dev/root rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 master:2 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 /docker/abc /sys/fs/cgroup/mem\\040ory rw,relatime - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

    fn directories(cgroup: &str) -> Vec<(Version, String)> {
        let found = places(cgroup.as_bytes(), MOUNTS.as_bytes());
        found.into_iter().map(|place| (place.version, place.directory.display().to_string())).collect()
    }

    #[test]
    fn ones_own_cgroups_are_found_by_their_mounts() {
        let found = directories("8:pids:/\n4:memory:/docker/abc/p\n2:cpu,cpuacct:/x\n0::/y:z\n");
        let expected = [
            (Version::One, "/sys/fs/cgroup/mem ory/p"),
            (Version::One, "/sys/fs/cgroup/cpu,cpuacct/x"),
            (Version::Two, "/sys/fs/cgroup/unified/y:z"),
        ];
        assert_eq!(found, expected.map(|(version, path)| (version, path.to_owned())));
    }

    #[test]
    fn a_cgroup_that_this_process_does_not_see_is_none_of_its_own() {
        assert_eq!(directories("4:memory:/elsewhere\n0::/../..\n"), []);
        assert_eq!(directories(":\n\n4\n4:memory\n\u{7f}::"), []);
        assert_eq!(places(b"0::/", b"1 2 3 / /m rw - cgroup2\n - \n1 2 3 / /m rw"), []);
    }
}
