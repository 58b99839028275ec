//! JSON with line breaks and indentation, every token as it was.
//!
//! Left out: checking. What is not JSON comes out changed in its white space only.

/// Spaces of one level.
const INDENT: usize = 2;

/// The same JSON for people to read.
pub fn pretty(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len() * 2);
    let mut depth = 0_usize;
    let mut bytes = json.iter().copied().peekable();
    let line = |out: &mut Vec<u8>, depth: usize| {
        out.push(b'\n');
        out.resize(out.len() + depth * INDENT, b' ');
    };
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => {
                out.push(byte);
                let mut is_escaped = false;
                for byte in bytes.by_ref() {
                    out.push(byte);
                    if byte == b'"' && !is_escaped {
                        break;
                    }
                    is_escaped = byte == b'\\' && !is_escaped;
                }
            }
            b'{' | b'[' => {
                out.push(byte);
                while bytes.next_if(u8::is_ascii_whitespace).is_some() {}
                if let Some(end) = bytes.next_if(|b| matches!(b, b'}' | b']')) {
                    out.push(end);
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(byte);
            }
            b',' => {
                out.push(byte);
                line(&mut out, depth);
            }
            b':' => out.extend_from_slice(b": "),
            b if b.is_ascii_whitespace() => {}
            other => out.push(other),
        }
    }
    out.push(b'\n');
    out
}

#[cfg(test)]
mod tests {
    use super::pretty;

    #[test]
    fn tokens_stay_as_they_are() {
        let text = r#"{"a":[1.50,{"b":"x\\\"{,: y"}],"c":[],"d":{ }}"#;
        let expected = "{\n  \"a\": [\n    1.50,\n    {\n      \"b\": \"x\\\\\\\"{,: y\"\n    }\n  ],\n  \"c\": [],\n  \"d\": {}\n}\n";
        assert_eq!(
            String::from_utf8(pretty(text.as_bytes())).unwrap(),
            expected
        );
        assert_eq!(pretty(expected.as_bytes()), expected.as_bytes());
    }
}
