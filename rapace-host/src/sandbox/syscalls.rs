//! System calls that a plugin is refused, by seccomp.
//!
//! A list of what is dangerous, and not of what is allowed: programs in many languages call what nobody has foreseen, and
//! a filter that breaks them is switched off. What is on the list reaches past Landlock (modes, owners, times, shared
//! memory by key, other processes' limits), is for whoever administers the machine, or has been a way into kernels.
//!
//! The thread that spawns is under the filter too. So what starts a program (`clone`, `execve`, `setpgid`, `prlimit64` of
//! itself) is allowed in every profile: what is executed is Landlock's affair, and how many processes there are the limits'.

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, sock_filter,
};

use super::calls::{DANGEROUS, METADATA, RARE, RINGS};
use crate::permissions::{Permissions, SyscallProfile};

/// From here on the numbers are those of x32, another way to call the same.
const X32: u32 = 0x4000_0000;

/// The filters for these permissions, in the order in which a thread is put under them; none if all is allowed.
pub(super) fn filters(permissions: &Permissions) -> Result<Vec<BpfProgram>, BackendError> {
    let refused = refused(permissions)?;
    if refused.is_empty() {
        return Ok(Vec::new());
    }
    let is_filtered = permissions.syscalls != SyscallProfile::Unrestricted;
    // The flags of this one are in memory, where a filter does not see them: the C library falls back to `clone`.
    let absent = if is_filtered { BTreeMap::from([(number(libc::SYS_clone3), Vec::new())]) } else { BTreeMap::new() };
    let absent = (!absent.is_empty()).then(|| program(absent, errno(libc::ENOSYS))).transpose()?;
    let mut first = program(refused, errno(libc::EPERM))?;
    if cfg!(target_arch = "x86_64") {
        first.splice(0..0, without_x32());
    }
    Ok([first].into_iter().chain(absent).collect())
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// By the number of the call: refused always, or if one of the rules holds.
fn refused(permissions: &Permissions) -> Result<Rules, BackendError> {
    let (profile, network) = (permissions.syscalls, permissions.network);
    let mut rules = Rules::new();
    let mut refuse = |calls: &[libc::c_long]| rules.extend(calls.iter().map(|call| (number(*call), Vec::new())));
    if profile != SyscallProfile::Unrestricted {
        refuse(DANGEROUS);
        refuse(METADATA);
    }
    if profile != SyscallProfile::Unrestricted || !network {
        refuse(RINGS);
    }
    if profile == SyscallProfile::Strict {
        refuse(RARE);
    }
    if !network {
        // Those of a path too: the sockets of a service manager or a container engine are as mighty as root.
        refuse(&[libc::SYS_socket]);
    }
    if profile != SyscallProfile::Unrestricted {
        rules.extend(conditional(network)?.into_iter().map(|(call, rules)| (number(call), rules)));
    }
    Ok(rules)
}

/// Calls of which some are harmless.
fn conditional(network: bool) -> Result<Vec<(libc::c_long, Vec<SeccompRule>)>, BackendError> {
    let is = |argument, value| condition(argument, SeccompCmpOp::Eq, value);
    let is_not = |argument, value| condition(argument, SeccompCmpOp::Ne, value);
    let any = |rules: Vec<Vec<Result<SeccompCondition, BackendError>>>| {
        let rule = |conditions: Vec<_>| SeccompRule::new(conditions.into_iter().collect::<Result<_, _>>()?);
        rules.into_iter().map(rule).collect::<Result<Vec<_>, _>>()
    };
    let namespaces = [
        libc::CLONE_NEWNS,
        libc::CLONE_NEWCGROUP,
        libc::CLONE_NEWUTS,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWNET,
    ];
    let in_namespace = |flag| {
        let flag = u64::from(bits(flag));
        vec![condition(0, SeccompCmpOp::MaskedEq(flag), flag)]
    };
    let of_user = |what| vec![is(0, what)];
    let of_others = |argument| vec![is_not(argument, 0)];
    let mut calls = vec![
        (libc::SYS_clone, any(namespaces.into_iter().map(in_namespace).collect())?),
        // Of itself: the same user's other processes would obey too.
        (libc::SYS_prlimit64, any(vec![of_others(0)])?),
        (libc::SYS_sched_setaffinity, any(vec![of_others(0)])?),
        (libc::SYS_sched_setscheduler, any(vec![of_others(0)])?),
        (libc::SYS_sched_setparam, any(vec![of_others(0)])?),
        (libc::SYS_sched_setattr, any(vec![of_others(0)])?),
        (libc::SYS_move_pages, any(vec![of_others(0)])?),
        (libc::SYS_setpriority, any(vec![of_others(1), of_user(PRIO_USER)])?),
        (libc::SYS_ioprio_set, any(vec![of_others(1), of_user(IOPRIO_WHO_USER)])?),
        // Text put into a terminal, as if it were typed.
        (libc::SYS_ioctl, any(vec![vec![is(1, TIOCSTI)], vec![is(1, TIOCLINUX)]])?),
    ];
    if network {
        // Unix sockets are this machine's other programs, and the host's own among them: Landlock does not keep them apart.
        let families = [libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK].map(|family| u64::from(bits(family)));
        let other = families.map(|family| is_not(0, family)).into_iter().collect();
        let netlink = vec![is(0, families[2]), is_not(2, u64::from(bits(libc::NETLINK_ROUTE)))];
        calls.push((libc::SYS_socket, any(vec![other, netlink])?));
    }
    Ok(calls)
}

const PRIO_USER: u64 = 2;
const IOPRIO_WHO_USER: u64 = 3;
const TIOCSTI: u64 = 0x5412;
const TIOCLINUX: u64 = 0x541c;

/// The kernel, too, looks at no more than these 32 bits of all arguments here.
fn condition(argument: u8, operation: SeccompCmpOp, value: u64) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operation, value)
}

/// Other architectures than this program's are killed: their calls have other numbers.
fn program(rules: Rules, action: SeccompAction) -> Result<BpfProgram, BackendError> {
    let architecture = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(rules, SeccompAction::Allow, action, architecture)?.try_into()
}

/// Calls by the numbers of x32 do not exist. Put before a filter.
fn without_x32() -> [sock_filter; 3] {
    const LOAD_NUMBER: u16 = 0x20;
    const JUMP_IF_AT_LEAST: u16 = 0x35;
    const RETURN: u16 = 0x06;
    let instruction = |code, jf, k| sock_filter { code, jt: 0, jf, k };
    let absent = u32::from(errno(libc::ENOSYS));
    [instruction(LOAD_NUMBER, 0, 0), instruction(JUMP_IF_AT_LEAST, 1, X32), instruction(RETURN, 0, absent)]
}

fn errno(errno: libc::c_int) -> SeccompAction {
    SeccompAction::Errno(bits(errno))
}

fn bits(number: libc::c_int) -> u32 {
    u32::from_ne_bytes(number.to_ne_bytes())
}

fn number(call: libc::c_long) -> i64 {
    call
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOW: u32 = 0x7fff_0000;
    const KILL: u32 = 0x8000_0000;
    const REFUSED: u32 = 0x0005_0000 | 1;
    const ABSENT: u32 = 0x0005_0000 | 38;
    #[cfg(target_arch = "x86_64")]
    const ARCHITECTURE: u32 = 0xc000_003e;
    #[cfg(target_arch = "aarch64")]
    const ARCHITECTURE: u32 = 0xc000_00b7;

    /// What a filter says of a call, as the kernel would work it out.
    fn verdict(filter: &[sock_filter], architecture: u32, call: u32, arguments: [u64; 6]) -> u32 {
        let mut data = vec![call, architecture, 0, 0];
        for argument in arguments {
            data.extend([u32::try_from(argument & 0xffff_ffff).unwrap(), u32::try_from(argument >> 32).unwrap()]);
        }
        let (mut at, mut accumulator) = (0, 0);
        loop {
            let instruction = &filter[at];
            let jump = |holds: bool| usize::from(if holds { instruction.jt } else { instruction.jf });
            at += 1;
            match instruction.code {
                0x20 => accumulator = data[usize::try_from(instruction.k / 4).unwrap()],
                0x54 => accumulator &= instruction.k,
                0x05 => at += usize::try_from(instruction.k).unwrap(),
                0x15 => at += jump(accumulator == instruction.k),
                0x25 => at += jump(accumulator > instruction.k),
                0x35 => at += jump(accumulator >= instruction.k),
                0x06 => return instruction.k,
                other => panic!("{other:#x}"),
            }
        }
    }

    /// Of several filters the sternest word counts; here that is the first which does not allow.
    fn asked_as(architecture: u32, permissions: &Permissions, call: u32, arguments: &[u64]) -> u32 {
        let filters = filters(permissions).unwrap();
        let mut all = [0; 6];
        all[..arguments.len()].copy_from_slice(arguments);
        let verdicts = filters.iter().map(|filter| verdict(filter, architecture, call, all));
        verdicts.into_iter().find(|verdict| *verdict != ALLOW).unwrap_or(ALLOW)
    }

    #[track_caller]
    fn check(permissions: &Permissions, call: libc::c_long, arguments: &[u64], expected: u32) {
        let call = u32::try_from(call).unwrap();
        assert_eq!(asked_as(ARCHITECTURE, permissions, call, arguments), expected, "{call} {arguments:x?}");
    }

    fn permissions(syscalls: SyscallProfile, network: bool) -> Permissions {
        Permissions { syscalls, network, ..Permissions::default() }
    }

    const PROFILES: [SyscallProfile; 3] =
        [SyscallProfile::Strict, SyscallProfile::Default, SyscallProfile::Unrestricted];

    #[test]
    fn what_starts_a_program_is_allowed_in_every_profile() {
        for (profile, network) in PROFILES.into_iter().flat_map(|profile| [(profile, false), (profile, true)]) {
            let permissions = permissions(profile, network);
            let [fork, spawn, thread] = [0x0120_0011, 0x4111, 0x003d_0f00];
            for flags in [fork, spawn, thread] {
                check(&permissions, libc::SYS_clone, &[flags], ALLOW);
            }
            for call in [libc::SYS_execve, libc::SYS_setpgid, libc::SYS_write, libc::SYS_dup3] {
                check(&permissions, call, &[], ALLOW);
            }
            check(&permissions, libc::SYS_prlimit64, &[0, 7, 0x1000], ALLOW);
            check(&permissions, libc::SYS_socketpair, &[1, 1], ALLOW);
        }
    }

    #[test]
    fn a_profile_refuses_all_that_the_next_does_and_more() {
        for network in [false, true] {
            let refused = PROFILES.map(|profile| refused(&permissions(profile, network)).unwrap());
            let [strict, default, unrestricted] = refused.map(|rules| rules.into_keys().collect::<Vec<_>>());
            assert!(default.iter().all(|call| strict.contains(call)) && strict.len() > default.len());
            assert!(unrestricted.iter().all(|call| default.contains(call)) && default.len() > unrestricted.len());
            assert_eq!(unrestricted.is_empty(), network);
        }
        assert!(filters(&permissions(SyscallProfile::Unrestricted, true)).unwrap().is_empty());
        for call in [libc::SYS_mount, libc::SYS_bpf, libc::SYS_fchmod, libc::SYS_io_uring_setup] {
            check(&permissions(SyscallProfile::Default, true), call, &[], REFUSED);
        }
        check(&permissions(SyscallProfile::Default, true), libc::SYS_clone3, &[], ABSENT);
        // A ring would make the sockets that the filter refuses.
        check(&permissions(SyscallProfile::Unrestricted, false), libc::SYS_io_uring_setup, &[], REFUSED);
    }

    #[test]
    fn arguments_decide_by_the_bits_that_the_kernel_looks_at() {
        let default = permissions(SyscallProfile::Default, true);
        // The kernel does not look at the upper half of these.
        let upper = 0xdead_beef_0000_0000;
        for family in [2, 10] {
            check(&default, libc::SYS_socket, &[family, 1, 0], ALLOW);
            check(&default, libc::SYS_socket, &[upper | family, 1, 0], ALLOW);
        }
        for other in [1, 17, 38, 40, upper | 17] {
            check(&default, libc::SYS_socket, &[other, 1, 0], REFUSED);
        }
        check(&default, libc::SYS_socket, &[16, 3, 0], ALLOW);
        check(&default, libc::SYS_socket, &[16, 3, 12], REFUSED);
        check(&permissions(SyscallProfile::Default, false), libc::SYS_socket, &[1, 1, 0], REFUSED);
        for namespace in [0x1000_0000, 0x4000_0000, 0x0002_0000, upper | 0x1000_0000] {
            check(&default, libc::SYS_clone, &[namespace | 17], REFUSED);
        }
        for call in [libc::SYS_prlimit64, libc::SYS_sched_setaffinity, libc::SYS_sched_setscheduler] {
            check(&default, call, &[77], REFUSED);
            check(&default, call, &[upper], ALLOW);
        }
        check(&default, libc::SYS_setpriority, &[0, 0, 5], ALLOW);
        check(&default, libc::SYS_setpriority, &[0, 77, 5], REFUSED);
        check(&default, libc::SYS_setpriority, &[2, 0, 5], REFUSED);
        check(&default, libc::SYS_ioctl, &[0, 0x5412], REFUSED);
        check(&default, libc::SYS_ioctl, &[0, upper | 0x5412], REFUSED);
        check(&default, libc::SYS_ioctl, &[0, 0x5413], ALLOW);
    }

    #[test]
    fn calls_by_other_numbers_are_no_way_round() {
        for (profile, network) in [(SyscallProfile::Default, true), (SyscallProfile::Unrestricted, false)] {
            let permissions = permissions(profile, network);
            const I386: u32 = 0x4000_0003;
            assert_eq!(asked_as(I386, &permissions, 4, &[]), KILL);
            #[cfg(target_arch = "x86_64")]
            for call in [X32, X32 | 1, X32 | 520, X32 | 165] {
                assert_eq!(asked_as(ARCHITECTURE, &permissions, call, &[]), ABSENT);
            }
        }
    }
}
