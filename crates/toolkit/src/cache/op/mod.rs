//! stub
use super::value::Stamp;
use sangam_store::op::{Args, Keys};
use sangam_store::{AtomicOp, CommandError, Error, Reply, Script, Ttl, Tx};

/// Sets a value where the one that was seen still stands; whether it did.
pub(super) struct Fill<'a> {
    pub(super) key: &'a [u8],
    /** value::head of what was seen */
    pub(super) seen: &'a [u8],
    pub(super) value: &'a [u8],
    pub(super) ttl: Ttl,
}
/// Sets a value unless a newer one stands there; whether it did.
pub(super) struct Replay<'a> {
    pub(super) key: &'a [u8],
    pub(super) stamp: Stamp,
    pub(super) value: &'a [u8],
    pub(super) ttl: Ttl,
}

impl AtomicOp for Fill<'_> {
    type Output = bool;
    fn script(&self) -> &'static Script {
        unimplemented!()
    }
    fn keys(&self) -> Keys<'_> {
        unimplemented!()
    }
    fn args(&self) -> Args {
        unimplemented!()
    }
    fn read(&self, _: Reply) -> Result<bool, Error> {
        unimplemented!()
    }
    fn run(&self, _: &mut Tx<'_>) -> Result<bool, CommandError> {
        unimplemented!()
    }
}
impl AtomicOp for Replay<'_> {
    type Output = bool;
    fn script(&self) -> &'static Script {
        unimplemented!()
    }
    fn keys(&self) -> Keys<'_> {
        unimplemented!()
    }
    fn args(&self) -> Args {
        unimplemented!()
    }
    fn read(&self, _: Reply) -> Result<bool, Error> {
        unimplemented!()
    }
    fn run(&self, _: &mut Tx<'_>) -> Result<bool, CommandError> {
        unimplemented!()
    }
}
