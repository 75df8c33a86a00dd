//! A time to live as each side of an op takes it.

use super::Args;
use crate::typed::Ttl;

/// The longest time and the latest moment, in milliseconds: what is beyond is
/// taken as this.
const FARTHEST: u64 = 1 << 53;

impl Ttl {
    /// As the engine takes it.
    pub fn on_engine(self) -> sangam_engine::Ttl {
        match self {
            Ttl::None => sangam_engine::Ttl::None,
            Ttl::Keep => sangam_engine::Ttl::Keep,
            Ttl::In(_) | Ttl::At(_) => {
                let (relative, millis) = self.millis();
                if relative {
                    sangam_engine::Ttl::Millis(millis)
                } else {
                    sangam_engine::Ttl::At(millis)
                }
            }
        }
    }

    /// Adds it as the options of `SET`, which a script passes on by
    /// `unpack(ARGV, n)`.
    pub fn push_set_options(self, args: &mut Args) {
        match self {
            Ttl::None => {}
            Ttl::Keep => args.push(b"KEEPTTL".to_vec()),
            Ttl::In(_) | Ttl::At(_) => {
                let (relative, millis) = self.millis();
                args.push(if relative {
                    b"PX".into()
                } else {
                    b"PXAT".into()
                });
                args.push(millis.to_string().into_bytes());
            }
        }
    }

    /// Adds it as the command that gives it to a key, the key left out, and the
    /// number if there is one; nothing for [`Ttl::Keep`].
    pub fn push_command(self, args: &mut Args) {
        match self {
            Ttl::Keep => {}
            Ttl::None => args.push(b"PERSIST".to_vec()),
            Ttl::In(_) | Ttl::At(_) => {
                let (relative, millis) = self.millis();
                args.push(if relative {
                    b"PEXPIRE".into()
                } else {
                    b"PEXPIREAT".into()
                });
                args.push(millis.to_string().into_bytes());
            }
        }
    }

    /// Whether it counts from now, and its milliseconds.
    fn millis(self) -> (bool, u64) {
        match self {
            Ttl::None | Ttl::Keep => (true, FARTHEST),
            Ttl::In(time) => {
                let millis = u64::try_from(time.as_millis()).unwrap_or(FARTHEST);
                (true, millis.clamp(1, FARTHEST))
            }
            Ttl::At(moment) => (false, moment.min(FARTHEST)),
        }
    }
}
