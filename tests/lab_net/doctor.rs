//! The doctor, on this machine and on one that forbids what the lab needs.

use crate::this_program;
use egress_scn::lab::doctor;
use std::process::{ExitCode, Stdio};

pub fn probe() -> ExitCode {
    ExitCode::from(doctor::probe(&mut std::io::stdout()) as u8)
}

pub fn the_doctor_finds_this_machine_fit(user: Option<u32>) {
    let reasons = doctor::check(this_program(&["--probe"], user));
    assert!(reasons.is_ok(), "{}", reasons.unwrap_err());
}

/// In a user namespace its own limits can be set, which are nobody else's.
pub async fn the_doctor_names_what_is_forbidden() {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap();
    if map.split_whitespace().last() != Some("1") {
        // Started as root, the lab has no user namespace, and the limits are the machine's.
        return;
    }
    std::fs::write("/proc/sys/user/max_user_namespaces", "0").unwrap();
    std::fs::write("/proc/sys/user/max_mnt_namespaces", "0").unwrap();
    let mut child = this_program(&["--probe"], None).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let lifeline = child.stdin.take();
    let output = child.wait_with_output().unwrap();
    drop(lifeline);
    let expected = "this machine allows no user namespaces (user.max_user_namespaces is 0)\n\
                    sudo sysctl -w user.max_user_namespaces=10000";
    assert_eq!((output.status.code(), String::from_utf8(output.stdout).unwrap().as_str()), (Some(1), expected));
}
