//! A copy, nothing else: what moving bytes costs. At 8 bytes it shows what the measuring itself costs.

use std::hint::black_box;

use crate::Error;
use crate::peer::Client;
use crate::work::Work;

pub(super) struct Copying;

impl Client for Copying {
    fn server_id(&self) -> Option<u32> {
        None
    }

    fn sequential(&mut self, work: &mut Work) -> Result<(), Error> {
        let (from, mut to) = (vec![1u8; work.bytes()], vec![0u8; work.bytes()]);
        while work.begin().is_some() {
            to.copy_from_slice(black_box(&from));
            black_box(&mut to);
            work.end_unread();
        }
        Ok(())
    }

    fn one_way(&mut self, work: &mut Work) -> Result<bool, Error> {
        let (from, mut to) = (vec![1u8; work.bytes()], vec![0u8; work.bytes()]);
        while work.begin().is_some() {
            to.copy_from_slice(black_box(&from));
            black_box(&mut to);
            work.end_unread();
        }
        Ok(true)
    }
}
