//! Acks as they travel: the subject that names a delivery, and the body that says what became of it.

use memchr::memchr_iter;
use sublog_protocol::encode::{DIGITS_MAX, decimal_before};

use super::durations;

/// Tokens of the usual form, `$JS.ACK.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<time>.<pending>`.
const TOKENS: usize = 9;
/// Tokens at least of the form that has a domain and an account's hash after `$JS.ACK`.
const TOKENS_WITH_DOMAIN: usize = 11;

/// The numbers in an ack subject: one delivery of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AckNumbers {
    /// How often the message has been delivered, with this time.
    pub deliveries: u64,
    /// The message.
    pub stream_seq: u64,
    /// The delivery: rises by one with everything the consumer sends.
    pub consumer_seq: u64,
    /// When the message was stored, in nanoseconds since the epoch.
    pub time_ns: i64,
    /// How many messages the consumer had still to deliver for the first time.
    pub pending: u64,
}

impl AckNumbers {
    /// Appends the subject: `prefix` is `$JS.ACK.<stream>.<consumer>.`.
    pub fn write(&self, prefix: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(prefix);
        // From the end, in one piece.
        let mut numbers = [b'.'; 5 * (DIGITS_MAX + 1)];
        let mut begin = decimal_before(&mut numbers, 5 * (DIGITS_MAX + 1), self.pending);
        begin = decimal_before(&mut numbers, begin - 1, self.time_ns.unsigned_abs());
        if self.time_ns < 0 {
            begin -= 1;
            if let Some(sign) = numbers.get_mut(begin) {
                *sign = b'-';
            }
        }
        for number in [self.consumer_seq, self.stream_seq, self.deliveries] {
            begin = decimal_before(&mut numbers, begin - 1, number);
        }
        out.extend_from_slice(numbers.get(begin..).unwrap_or_default());
    }

    /// The length of what [`Self::write`] appends.
    #[must_use]
    pub fn len(&self, prefix: &[u8]) -> usize {
        let digits = |number: u64| number.checked_ilog10().unwrap_or(0) as usize + 1;
        let numbers = [self.deliveries, self.stream_seq, self.consumer_seq, self.time_ns.unsigned_abs(), self.pending];
        prefix.len() + 4 + usize::from(self.time_ns < 0) + numbers.into_iter().map(digits).sum::<usize>()
    }
}

/// A parsed ack subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AckSubject<'a> {
    /// The stream's name.
    pub stream: &'a [u8],
    /// The consumer's name.
    pub consumer: &'a [u8],
    /// The delivery.
    pub numbers: AckNumbers,
}

impl<'a> AckSubject<'a> {
    /// Reads both forms of ack subjects; `None` for anything else.
    #[must_use]
    pub fn parse(subject: &'a [u8]) -> Option<Self> {
        let rest = subject.strip_prefix(b"$JS.ACK.")?;
        let tokens = memchr_iter(b'.', subject).count() + 1;
        let mut parts = rest.split(|&byte| byte == b'.');
        match tokens {
            TOKENS => {}
            TOKENS_WITH_DOMAIN.. => {
                parts.next()?;
                parts.next()?;
            }
            _ => return None,
        }
        let (stream, consumer) = (parts.next()?, parts.next()?);
        let mut number = || parse_number(parts.next()?);
        let numbers = AckNumbers {
            deliveries: number()?,
            stream_seq: number()?,
            consumer_seq: number()?,
            time_ns: i64::try_from(number()?).ok()?,
            pending: number()?,
        };
        Some(Self { stream, consumer, numbers })
    }
}

fn parse_number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// What an ack says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AckBody<'a> {
    /// Done.
    Ack,
    /// Not done: deliver again, at once or after so many nanoseconds.
    Nak {
        /// Nanoseconds, more than 0.
        delay_ns: Option<u64>,
    },
    /// Still at it.
    Progress,
    /// Done, and the next please: a pull request follows.
    Next(&'a [u8]),
    /// Never deliver it again.
    Term {
        /// Why, for the advisory; without space around it.
        reason: &'a [u8],
    },
    /// None of these. It changes nothing, but an answer it asks for it gets.
    Unknown,
}

impl<'a> AckBody<'a> {
    /// Reads a body, without its headers.
    #[must_use]
    pub fn parse(body: &'a [u8]) -> Self {
        match body {
            b"" | b"+ACK" | b"+OK" => return Self::Ack,
            b"+WPI" => return Self::Progress,
            _ => {}
        }
        if let Some(request) = body.strip_prefix(b"+NXT") {
            Self::Next(request)
        } else if let Some(argument) = body.strip_prefix(b"-NAK") {
            Self::Nak { delay_ns: parse_delay(argument.trim_ascii()) }
        } else if let Some(reason) = body.strip_prefix(b"+TERM") {
            Self::Term { reason: reason.trim_ascii() }
        } else {
            Self::Unknown
        }
    }
}

/// `{"delay": ns}` or `5s`. What cannot be read counts as no delay.
fn parse_delay(argument: &[u8]) -> Option<u64> {
    let ns = if argument.first() == Some(&b'{') {
        let object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(argument).ok()?;
        object.iter().find(|(key, _)| key.eq_ignore_ascii_case("delay"))?.1.as_i64()?
    } else {
        durations::parse(std::str::from_utf8(argument).ok()?)?
    };
    u64::try_from(ns).ok().filter(|ns| *ns > 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{AckBody, AckNumbers, AckSubject};

    const NUMBERS: AckNumbers =
        AckNumbers { deliveries: 2, stream_seq: 30, consumer_seq: 400, time_ns: 1_700_000_000_000_000_000, pending: 0 };

    #[test]
    fn both_forms_of_subjects_are_read() {
        let mut plain = Vec::new();
        NUMBERS.write(b"$JS.ACK.S.C.", &mut plain);
        assert_eq!(plain, b"$JS.ACK.S.C.2.30.400.1700000000000000000.0");
        for subject in [
            plain.as_slice(),
            b"$JS.ACK._.hash.S.C.2.30.400.1700000000000000000.0",
            b"$JS.ACK.hub.hash.S.C.2.30.400.1700000000000000000.0.random",
        ] {
            let read = AckSubject::parse(subject).unwrap();
            assert_eq!((read.stream, read.consumer, read.numbers), (b"S".as_slice(), b"C".as_slice(), NUMBERS));
        }
    }

    #[test]
    fn other_subjects_are_refused() {
        for subject in [
            "",
            "$JS.ACK.S.C",
            "$JS.ACK.S.C.1.2.3.4",
            "$JS.ACK.S.C.1.2.3.4.5.6",
            "$JS.ACK.S.C.1.2.3.4.",
            "$JS.ACK.S.C.1.-2.3.4.5",
            "$JS.ACK.S.C.1.99999999999999999999.3.4.5",
            "$JS.NAK.S.C.1.2.3.4.5",
        ] {
            assert_eq!(AckSubject::parse(subject.as_bytes()), None, "{subject}");
        }
    }

    #[test]
    fn bodies() {
        let nak = |delay_ns| AckBody::Nak { delay_ns };
        for (body, read) in [
            ("", AckBody::Ack),
            ("+ACK", AckBody::Ack),
            ("+OK", AckBody::Ack),
            ("+WPI", AckBody::Progress),
            ("+WPI ", AckBody::Unknown),
            ("-NAK", nak(None)),
            ("-NAK {\"delay\": 1500}", nak(Some(1500))),
            ("-NAK {\"Delay\":1500}", nak(Some(1500))),
            ("-NAK {\"delay\": 1.5}", nak(None)),
            ("-NAK {\"delay\"", nak(None)),
            ("-NAK 2s", nak(Some(2_000_000_000))),
            ("-NAK -2s", nak(None)),
            ("-NAK soon", nak(None)),
            ("+NXT", AckBody::Next(b"")),
            ("+NXT 5", AckBody::Next(b" 5")),
            ("+TERM", AckBody::Term { reason: b"" }),
            ("+TERM  no such user ", AckBody::Term { reason: b"no such user" }),
            ("hello", AckBody::Unknown),
        ] {
            assert_eq!(AckBody::parse(body.as_bytes()), read, "{body}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            deliveries: u64, stream_seq: u64, consumer_seq: u64, time_ns in 0..i64::MAX, pending: u64
        ) {
            let numbers = AckNumbers { deliveries, stream_seq, consumer_seq, time_ns, pending };
            let mut subject = Vec::new();
            numbers.write(b"$JS.ACK.a.b.", &mut subject);
            prop_assert_eq!(subject.len(), numbers.len(b"$JS.ACK.a.b."));
            prop_assert_eq!(AckSubject::parse(&subject).map(|read| read.numbers), Some(numbers));
        }

        #[test]
        fn any_bytes_are_taken(tail in proptest::collection::vec(any::<u8>(), 0..60)) {
            for start in ["", "$JS.ACK.", "-NAK", "-NAK {", "+TERM", "+NXT"] {
                let bytes = [start.as_bytes(), &tail].concat();
                let _ = (AckSubject::parse(&bytes), AckBody::parse(&bytes));
            }
        }
    }
}
