//! What processes of pods may do, as root of their pod: what a container runtime leaves them, so that they can neither mount nor
//! enter other namespaces nor look into the lab's own processes.
#![allow(unsafe_code)]

use super::obstacle::Obstacle;
use nix::errno::Errno;
use nix::libc;

/// The rights of a pod's processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rights {
    /// A container runtime's usual ones.
    #[default]
    Container,
    /// Those, and to administer the pod's own network: Envoy marks its connections.
    Proxy,
}

/// linux/capability.h
const CHOWN: u32 = 0;
const DAC_OVERRIDE: u32 = 1;
const FOWNER: u32 = 3;
const FSETID: u32 = 4;
const KILL: u32 = 5;
const SETGID: u32 = 6;
const SETUID: u32 = 7;
const SETPCAP: u32 = 8;
const NET_BIND_SERVICE: u32 = 10;
const NET_ADMIN: u32 = 12;
const NET_RAW: u32 = 13;
const AUDIT_WRITE: u32 = 29;
const SETFCAP: u32 = 31;
/// Without those to make devices and to change the root, which a lab's root directory is not made for.
const USUAL: [u32; 12] = [
    CHOWN,
    DAC_OVERRIDE,
    FOWNER,
    FSETID,
    KILL,
    SETGID,
    SETUID,
    SETPCAP,
    NET_BIND_SERVICE,
    NET_RAW,
    AUDIT_WRITE,
    SETFCAP,
];

impl Rights {
    /// Programs that the calling thread starts have these rights and no others. Its own stay.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(super) fn bound(self) -> Result<(), Obstacle> {
        for right in 0..64 {
            if USUAL.contains(&right) || (self == Rights::Proxy && right == NET_ADMIN) {
                continue;
            }
            // SAFETY: plain numbers; the kernel reads no memory.
            let dropped = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(right), 0, 0, 0) };
            match Errno::result(dropped) {
                Ok(_) => {}
                // Beyond the last that this kernel knows.
                Err(Errno::EINVAL) => return Ok(()),
                Err(errno) => return Err(Obstacle::new(format!("bounding a pod's rights: {errno}"))),
            }
        }
        Ok(())
    }
}
