//! Tallies and paths in a compact form: a format's number, then varints; tool calls and logs as they are.
//! A tally is kept with every entry, so its bytes count.

use super::{Damage, log_id};
use crate::domain::message::CallKey;
use crate::domain::path::{Part, Path};
use crate::domain::tally::OPEN_CALLS_MAX;
use crate::domain::{Seq, Tally, Usage};

/// The form of what is written now.
const FORMAT: u8 = 1;

/// Parts that a stored path may have: a bound on what a damaged one makes us reserve.
const PARTS_READ_MAX: u64 = 65_536;

/// A tally's stored form.
pub(crate) fn encode(tally: &Tally) -> Vec<u8> {
    let mut buf = Vec::with_capacity(32 + 8 * tally.open_calls.len());
    buf.push(FORMAT);
    put_tally(&mut buf, tally);
    buf
}

/// A tally from its stored form.
pub(crate) fn decode(bytes: &[u8]) -> Result<Tally, Damage> {
    let mut input = Input::open(bytes)?;
    let tally = input.tally()?;
    input.close()?;
    Ok(tally)
}

/// A path's stored form.
pub(crate) fn encode_path(path: &Path) -> Vec<u8> {
    let parts = path.parts();
    let mut buf = Vec::with_capacity(2 + 48 * parts.len());
    buf.push(FORMAT);
    put(&mut buf, parts.len() as u64);
    for part in parts {
        buf.extend_from_slice(part.log.0.as_bytes());
        put_tally(&mut buf, &part.tally);
    }
    buf
}

/// A path from its stored form.
pub(crate) fn decode_path(bytes: &[u8]) -> Result<Path, Damage> {
    let mut input = Input::open(bytes)?;
    let count = input.count(PARTS_READ_MAX)?;
    let mut parts = Vec::with_capacity(count);
    for _ in 0..count {
        let log = log_id(input.take(16)?)?;
        let tally = input.tally()?;
        parts.push(Part {
            log,
            to: Seq(tally.entries),
            tally,
        });
    }
    input.close()?;
    Path::new(parts).ok_or_else(|| Damage::new("the parts of a path do not ascend"))
}

fn put(buf: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        buf.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    buf.push(value.to_le_bytes()[0]);
}

fn put_tally(buf: &mut Vec<u8>, tally: &Tally) {
    let Tally {
        entries,
        messages,
        visible,
        users,
        main_users,
        items,
        turns,
        usage,
        checkpoint,
        last_user_text,
        main,
        last_main,
        open_calls,
    } = tally;
    for value in [entries, messages, visible, users, main_users, items, turns, main] {
        put(buf, *value);
    }
    let Usage {
        input_tokens,
        output_tokens,
        cache_read_tokens,
        cache_write_tokens,
        reasoning_tokens,
        cost_micros,
    } = usage;
    for value in [
        input_tokens,
        output_tokens,
        cache_read_tokens,
        cache_write_tokens,
        reasoning_tokens,
        cost_micros,
    ] {
        put(buf, *value);
    }
    put(buf, checkpoint.0);
    put(buf, last_user_text.0);
    put(buf, last_main.0);
    put(buf, open_calls.len() as u64);
    for call in open_calls {
        buf.extend_from_slice(&call.0.to_be_bytes());
    }
}

/// Bytes that are read from the front.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn open(bytes: &'a [u8]) -> Result<Self, Damage> {
        match bytes {
            [FORMAT, rest @ ..] => Ok(Self(rest)),
            [other, ..] => Err(Damage::new(format_args!(
                "form {other} of a tally or path is not known"
            ))),
            [] => Err(Damage::new("an empty tally or path")),
        }
    }

    fn close(&self) -> Result<(), Damage> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Damage::new("a tally or path is too long"))
        }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Damage> {
        let (taken, rest) = self
            .0
            .split_at_checked(len)
            .ok_or_else(|| Damage::new("a tally or path is cut off"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, Damage> {
        let mut value = 0u64;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = u64::from(self.take(1)?[0]);
            let bits = byte & 0x7f;
            if bits.leading_zeros() < shift {
                break;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Damage::new("a number of more than 64 bits"))
    }

    fn count(&mut self, max: u64) -> Result<usize, Damage> {
        let count = self.varint()?;
        if count > max {
            return Err(Damage::new("too long a list"));
        }
        usize::try_from(count).map_err(Damage::new)
    }

    fn tally(&mut self) -> Result<Tally, Damage> {
        let mut tally = Tally {
            entries: self.varint()?,
            messages: self.varint()?,
            visible: self.varint()?,
            users: self.varint()?,
            main_users: self.varint()?,
            items: self.varint()?,
            turns: self.varint()?,
            main: self.varint()?,
            usage: self.usage()?,
            checkpoint: Seq(self.varint()?),
            last_user_text: Seq(self.varint()?),
            last_main: Seq(self.varint()?),
            open_calls: Vec::new(),
        };
        let calls = self.count(OPEN_CALLS_MAX as u64)?;
        tally.open_calls.reserve_exact(calls);
        for _ in 0..calls {
            let key = self.take(8)?.try_into().map_err(Damage::new)?;
            tally.open_calls.push(CallKey(u64::from_be_bytes(key)));
        }
        Ok(tally)
    }

    fn usage(&mut self) -> Result<Usage, Damage> {
        Ok(Usage {
            input_tokens: self.varint()?,
            output_tokens: self.varint()?,
            cache_read_tokens: self.varint()?,
            cache_write_tokens: self.varint()?,
            reasoning_tokens: self.varint()?,
            cost_micros: self.varint()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::LogId;
    use proptest::prelude::*;
    use uuid::Uuid;

    fn any_tally() -> impl Strategy<Value = Tally> {
        let numbers = proptest::array::uniform17(any::<u64>());
        (numbers, proptest::collection::vec(any::<u64>(), 0..20)).prop_map(|(n, calls)| Tally {
            entries: n[0],
            messages: n[1],
            visible: n[2],
            users: n[3],
            main_users: n[4],
            items: n[5],
            turns: n[6],
            usage: Usage {
                input_tokens: n[7],
                output_tokens: n[8],
                cache_read_tokens: n[9],
                cache_write_tokens: n[10],
                reasoning_tokens: n[11],
                cost_micros: n[12],
            },
            checkpoint: Seq(n[13]),
            last_user_text: Seq(n[14]),
            main: n[15],
            last_main: Seq(n[16]),
            open_calls: calls.into_iter().map(CallKey).collect(),
        })
    }

    proptest! {
        #[test]
        fn a_tally_comes_back(tally in any_tally()) {
            prop_assert_eq!(decode(&encode(&tally)), Ok(tally));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut framed = vec![FORMAT];
            framed.extend(&bytes);
            let _ = (decode(&bytes), decode_path(&bytes), decode(&framed), decode_path(&framed));
        }

        #[test]
        fn a_path_comes_back(mut tallies in proptest::collection::vec(any_tally(), 0..8), log in any::<u128>()) {
            tallies.sort_by_key(|tally| tally.entries);
            tallies.dedup_by_key(|tally| tally.entries);
            tallies.retain(|tally| tally.entries > 0);
            let part = |tally: Tally| Part {
                log: LogId(Uuid::from_u128(log ^ u128::from(tally.entries))),
                to: Seq(tally.entries),
                tally,
            };
            let path = Path::new(tallies.into_iter().map(part).collect()).expect("ascends");
            prop_assert_eq!(decode_path(&encode_path(&path)), Ok(path));
        }
    }

    #[test]
    fn what_is_cut_off_or_too_long_is_damage() {
        let whole = encode(&Tally {
            entries: 300,
            open_calls: vec![CallKey(7)],
            ..Tally::default()
        });
        for len in 0..whole.len() {
            assert!(decode(&whole[..len]).is_err(), "{len} bytes");
        }
        let longer: Vec<u8> = whole.iter().copied().chain([0]).collect();
        assert!(decode(&longer).is_err());
    }

    #[test]
    fn an_ordinary_tally_is_small() {
        let tally = Tally {
            entries: 5_000,
            messages: 4_990,
            visible: 4_900,
            ..Tally::default()
        };
        assert!(encode(&tally).len() < 26);
    }
}
