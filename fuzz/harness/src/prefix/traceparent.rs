//! W3C trace context, read by its definition.

use rapace_service::trace::TraceContext;

/// What is parsed is what the definition says, and comes back when it is written.
pub(super) fn check(text: &[u8]) {
    let parsed = TraceContext::parse(text);
    let found = parsed.ok().map(|context| (context.trace_id.get(), context.span_id.get(), context.sampled));
    assert_eq!(found, read(text), "{:?}", String::from_utf8_lossy(text));
    match parsed {
        Ok(context) => assert_eq!(TraceContext::parse(context.to_string().as_bytes()), Ok(context)),
        Err(error) => assert!((1..200).contains(&error.to_string().len())),
    }
}

/// Four fields of lower-case hexadecimal digits between dashes; a version that is not the first may have more behind another.
fn read(text: &[u8]) -> Option<(u128, u64, bool)> {
    let mut fields = text.splitn(5, |byte| *byte == b'-');
    let mut field = |digits: usize| {
        let field = fields.next().filter(|field| field.len() == digits)?;
        let text = std::str::from_utf8(field).ok()?;
        let plain = text.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c));
        plain.then(|| u128::from_str_radix(text, 16).ok())?
    };
    let (version, trace, span, flags) = (field(2)?, field(32)?, field(16)?, field(2)?);
    let more = fields.next().is_some();
    let sound = version != 0xff && !(version == 0 && more) && trace != 0 && span != 0;
    sound.then(|| (trace, u64::try_from(span).expect("16 digits"), flags & 1 == 1))
}
