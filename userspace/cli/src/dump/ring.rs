//! A ring: consumer page, producer page, data, as the context's descriptor
//! maps them; the data once or twice.

use super::event;
use super::record::{self, Printer, Record};
use aio2_abi::ring::{ConsumerPage, MAGIC, NOTIFY_OFF, ProducerPage, RingFlags};
use aio2_abi::setup::{RING_BYTES_MAX, RING_BYTES_MIN};
use serde_json::json;
use std::io::{self, Write};
use zerocopy::FromBytes;

/// Sizes that a page can have, in bytes.
const PAGES: [usize; 3] = [4096, 16384, 65536];

/// The size of a page, if the bytes are a ring.
pub fn find(bytes: &[u8]) -> Option<usize> {
    PAGES.into_iter().find(|&page| {
        let magic = bytes.get(page..page + 4).and_then(|b| b.try_into().ok());
        magic.map(u32::from_ne_bytes) == Some(MAGIC)
    })
}

/// Whether the bytes are a ring but for its consumer page.
pub fn lacks_consumer(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC.to_ne_bytes())
}

/// Prints the pages of a ring and the events from head to tail.
pub fn dump(bytes: &[u8], printer: &mut Printer<impl Write>) -> io::Result<()> {
    let Some(page) = find(bytes) else {
        let what = format!(
            "no magic {MAGIC:#x} at the start of a second page (of 4, 16 or 64 KiB): not a ring"
        );
        return printer.problem(0, &what);
    };
    let (Ok((consumer, _)), Ok((producer, _))) =
        (ConsumerPage::read_from_prefix(bytes), ProducerPage::read_from_prefix(&bytes[page..]))
    else {
        let what = format!("the file ends within the pages, after {} bytes", bytes.len());
        return printer.problem(bytes.len(), &what);
    };
    printer.record(consumer_record(&consumer))?;
    printer.record(producer_record(&producer, page))?;
    let ring_bytes = producer.ring_bytes;
    if !ring_bytes.is_power_of_two() || !(RING_BYTES_MIN..=RING_BYTES_MAX).contains(&ring_bytes) {
        let what = format!(
            "ring_bytes is {ring_bytes}, which must be a power of two from {RING_BYTES_MIN} to \
             {RING_BYTES_MAX}: the data cannot be read"
        );
        return printer.problem(page + 8, &what);
    }
    let used = producer.tail.wrapping_sub(consumer.head as u32);
    if used > ring_bytes || !used.is_multiple_of(8) || !consumer.head.is_multiple_of(8) {
        let what = format!(
            "tail minus head is {used}, which must be a multiple of 8 up to {ring_bytes}: where \
             events begin cannot be told"
        );
        return printer.problem(0, &what);
    }
    let data = bytes.get(2 * page..).unwrap_or_default();
    events(data, &consumer, &producer, (2 * page, used as usize), printer)
}

/// Prints the `used` bytes of events at head, the data being at `start`.
fn events(
    data: &[u8],
    consumer: &ConsumerPage,
    producer: &ProducerPage,
    (start, used): (usize, usize),
    printer: &mut Printer<impl Write>,
) -> io::Result<()> {
    let ring_bytes = producer.ring_bytes as usize;
    let at = (consumer.head as usize) & (ring_bytes - 1);
    let first = used.min(ring_bytes - at);
    let mut unwrapped = Vec::new();
    unwrapped.extend(data.iter().skip(at).take(first));
    if unwrapped.len() == first {
        unwrapped.extend(data.iter().take(used - first));
    }
    if unwrapped.len() < used {
        let what = format!(
            "{} of {used} bytes between head and tail are in the file: it must have {} bytes",
            unwrapped.len(),
            start + ring_bytes
        );
        printer.problem(start + data.len(), &what)?;
    }
    event::dump(&unwrapped, start + at, printer)
}

fn consumer_record(page: &ConsumerPage) -> Record {
    let notify = if page.notify == NOTIFY_OFF { "off" } else { "on" };
    let fields = vec![("head", json!(page.head)), ("notify", json!(notify))];
    Record { what: "consumer page", offset: 0, fields, parts: Vec::new() }
}

fn producer_record(page: &ProducerPage, offset: usize) -> Record {
    let flags = RingFlags::from_bits_retain(page.flags);
    let fields = vec![
        ("version", json!(page.version)),
        ("ring_bytes", json!(page.ring_bytes)),
        ("event_max", json!(page.event_max)),
        ("tail", json!(page.tail)),
        ("flags", json!(record::flags(flags.iter_names().map(|(name, _)| name)))),
        ("overflowed", json!(page.overflowed)),
        ("bad_heads", json!(page.bad_heads)),
        ("next_map", json!(page.next_map)),
    ];
    Record { what: "producer page", offset, fields, parts: Vec::new() }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use aio2_abi::event::{Encoder, EventFlags};
    use zerocopy::IntoBytes;

    /// A ring from `head` on with events of these lengths, numbered from 0.
    pub fn image(ring_bytes: usize, head: u64, lens: &[usize]) -> Vec<u8> {
        let mut bytes = vec![0; 8192 + ring_bytes];
        let mut at = head as usize;
        for (n, &len) in lens.iter().enumerate() {
            let mut buf = [0; 1024];
            let mut encoder = Encoder::new(&mut buf, EventFlags::empty(), n as u64, 5).unwrap();
            if len > 24 {
                encoder.ret(63, 0, &vec![7; len - 32]).unwrap();
            }
            let event = encoder.finish();
            assert_eq!(event.len(), len);
            for (i, byte) in event.iter().enumerate() {
                bytes[8192 + ((at + i) & (ring_bytes - 1))] = *byte;
            }
            at += len;
        }
        let consumer = ConsumerPage { head, ..ConsumerPage::default() };
        let producer = ProducerPage {
            magic: MAGIC,
            version: 1,
            ring_bytes: ring_bytes as u32,
            event_max: 1024,
            tail: at as u32,
            ..ProducerPage::default()
        };
        bytes[..128].copy_from_slice(consumer.as_bytes());
        bytes[4096..4096 + 128].copy_from_slice(producer.as_bytes());
        bytes
    }

    fn text(bytes: &[u8]) -> (String, u64) {
        let mut out = Vec::new();
        let mut printer = Printer::new(false, &mut out);
        dump(bytes, &mut printer).unwrap();
        let problems = printer.finish().unwrap();
        (String::from_utf8(out).unwrap(), problems)
    }

    #[test]
    fn events_from_head_to_tail_are_shown_also_across_the_end() {
        for head in [0, 4096 - 32, u64::from(u32::MAX) - 31] {
            let (text, problems) = text(&image(4096, head, &[24, 56, 24]));
            assert_eq!(problems, 0, "{text}");
            for n in 0..3 {
                assert!(text.contains(&format!("user_data {n:#x}")), "{text}");
            }
        }
    }

    #[test]
    fn a_truncated_ring_shows_what_is_left_and_says_what_is_missing() {
        let mut bytes = image(4096, 0, &[24, 56, 24]);
        bytes.truncate(8192 + 24 + 20);
        let (text, problems) = text(&bytes);
        assert!(problems > 0 && text.contains("user_data 0x0"), "{text}");
        assert!(text.contains("must have 12288 bytes"), "{text}");
    }

    #[test]
    fn a_head_out_of_range_is_a_problem() {
        let mut bytes = image(4096, 0, &[24]);
        bytes[..8].copy_from_slice(&8192_u64.to_ne_bytes());
        let (text, problems) = text(&bytes);
        assert_eq!(problems, 1);
        assert!(text.contains("tail minus head"), "{text}");
    }
}
