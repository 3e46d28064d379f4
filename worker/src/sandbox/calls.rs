//! The filter of system calls: what no build, test or agent needs and an escape does.
//!
//! It names what is refused, with EPERM, and lets the rest through: an allow-list would break with
//! every new libc. What Landlock and namespaces bound already is left open.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    apply_filter, sock_filter,
};

use super::rules::Rules;

/// Refused whatever the arguments: reading and steering other processes, the kernel's own
/// configuration, new views of the file system, keys, and interfaces with a history of holes.
const REFUSED: &[i64] = &[
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_open_by_handle_at,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_fanotify_init,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_syslog,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_vhangup,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_kexec_file_load,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
];

/// `clone` with any of these makes a namespace.
const NAMESPACES: &[i32] = &[
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// Requests of `ioctl` that type into a terminal.
const TYPING: &[u64] = &[libc::TIOCSTI, libc::TIOCLINUX];

/// Mask of the kind of a socket, without its flags.
const KIND_MASK: u64 = 0xf;

fn text(error: impl std::fmt::Display) -> String {
    format!("seccomp: {error}")
}

/// Filters the calls of this process and all it starts, for good.
pub fn filter(rules: &Rules) -> Result<(), String> {
    for program in programs(rules)? {
        apply_filter(&program).map_err(text)?;
    }
    Ok(())
}

fn programs(rules: &Rules) -> Result<Vec<BpfProgram>, String> {
    let mut refused: BTreeMap<i64, Vec<SeccompRule>> = REFUSED.iter().map(|&call| (call, Vec::new())).collect();
    let mut clones = Vec::new();
    for &flag in NAMESPACES {
        let flag = flag as u64;
        clones.push(rule(&[condition(0, SeccompCmpOp::MaskedEq(flag), flag)?])?);
    }
    refused.insert(libc::SYS_clone, clones);
    let typing = TYPING.iter().map(|&request| rule(&[condition(1, SeccompCmpOp::Eq, request)?]));
    refused.insert(libc::SYS_ioctl, typing.collect::<Result<_, String>>()?);
    refused.insert(libc::SYS_socket, sockets(rules)?);
    // Its flags are in memory, out of a filter's sight. Whoever is told that it does not exist uses `clone`.
    let hidden = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let mut programs = vec![compiled(refused, libc::EPERM)?, compiled(hidden, libc::ENOSYS)?];
    if cfg!(target_arch = "x86_64") {
        programs.push(without_x32());
    }
    Ok(programs)
}

/// Which sockets are refused: every family but those that lead nowhere from here.
fn sockets(rules: &Rules) -> Result<Vec<SeccompRule>, String> {
    let mut families = vec![libc::AF_NETLINK];
    // Paths outside are out of reach only where mounts are its own.
    if rules.layers.pid {
        families.push(libc::AF_UNIX);
    }
    let inet = [libc::AF_INET, libc::AF_INET6];
    if rules.layers.net || !rules.ports.is_empty() {
        families.extend(inet);
    }
    let others: Result<Vec<_>, String> =
        families.iter().map(|&family| condition(0, SeccompCmpOp::Ne, family as u64)).collect();
    let mut refused = vec![rule(&others?)?];
    // Landlock judges TCP alone.
    if !rules.layers.net {
        for family in inet {
            let of_family = condition(0, SeccompCmpOp::Eq, family as u64)?;
            for kind in [libc::SOCK_DGRAM, libc::SOCK_RAW, libc::SOCK_SEQPACKET] {
                refused
                    .push(rule(&[of_family.clone(), condition(1, SeccompCmpOp::MaskedEq(KIND_MASK), kind as u64)?])?);
            }
        }
    }
    Ok(refused)
}

fn condition(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompCondition, String> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value & u64::from(u32::MAX)).map_err(text)
}

fn rule(conditions: &[SeccompCondition]) -> Result<SeccompRule, String> {
    SeccompRule::new(conditions.to_vec()).map_err(text)
}

fn compiled(refused: BTreeMap<i64, Vec<SeccompRule>>, errno: i32) -> Result<BpfProgram, String> {
    let architecture = std::env::consts::ARCH.try_into().map_err(text)?;
    let action = SeccompAction::Errno(errno.unsigned_abs());
    let filter = SeccompFilter::new(refused, SeccompAction::Allow, action, architecture).map_err(text)?;
    filter.try_into().map_err(text)
}

/// The second numbering of x86-64 (x32), which would go around every number above: a number with
/// its bit set does not exist. Load the number; is it at least the bit; refuse; allow.
fn without_x32() -> BpfProgram {
    const LOAD_NUMBER: u16 = 0x20;
    const JUMP_IF_AT_LEAST: u16 = 0x35;
    const RETURN: u16 = 0x06;
    const X32: u32 = 0x4000_0000;
    const ERRNO: u32 = 0x0005_0000;
    const ALLOW: u32 = 0x7fff_0000;
    let step = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    vec![
        step(LOAD_NUMBER, 0, 0, 0),
        step(JUMP_IF_AT_LEAST, 0, 1, X32),
        step(RETURN, 0, 0, ERRNO | libc::ENOSYS.unsigned_abs()),
        step(RETURN, 0, 0, ALLOW),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::rules::{Layers, Rules};
    use super::*;

    #[test]
    fn filters_compile_for_every_set_of_layers() {
        for (pid, net, ports) in
            [(true, true, vec![]), (false, false, vec![]), (false, false, vec![3128]), (true, false, vec![])]
        {
            let rules =
                Rules { layers: Layers { pid, net, ..Layers::all(true) }, ports: ports.clone(), ..Rules::default() };
            let programs = programs(&rules).expect("compiles");
            assert!(programs.iter().all(|program| !program.is_empty() && program.len() < 4_096));
        }
    }
}
