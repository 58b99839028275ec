//! Bytes to items: JSON, JSON lines, gzip, CSV, XML exports and Bluetooth values, each item on its own so that one bad
//! item blocks no other.
//!
//! RFC 8259, RFC 1952, RFC 4180, NDJSON (<https://github.com/ndjson/ndjson-spec>).
//!
//! Left out on purpose: meaning. An item is JSON text with the sender's digits, whatever it was before.

use std::io::Read;

use fhir_core::json::{Document, Map, Value};
use quick_xml::events::{BytesStart, Event};

use crate::gatt;
use crate::payload::Input;

/// Largest payload after decompression, in bytes: a year of a phone's export is about 200 MB.
pub const PAYLOAD_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// Most items of one payload.
pub const ITEMS_MAX: usize = 5_000_000;
/// Most columns of a CSV line and attributes of an XML record.
const FIELDS_MAX: usize = 256;

/// One item of a payload.
#[derive(Debug, Clone)]
pub struct Item {
    /// Which one, from 0.
    pub index: usize,
    /// The item, or what is wrong with it.
    pub content: Result<Document, String>,
}

/// Undoes gzip when the bytes are gzip.
///
/// # Errors
/// When the stream is broken or larger than [`PAYLOAD_BYTES_MAX`].
pub fn plain(bytes: &[u8]) -> Result<std::borrow::Cow<'_, [u8]>, String> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes.into());
    }
    let mut out = Vec::new();
    let mut limited = flate2::read::MultiGzDecoder::new(bytes).take(PAYLOAD_BYTES_MAX + 1);
    limited
        .read_to_end(&mut out)
        .map_err(|_| "the gzip stream is broken".to_owned())?;
    if out.len() as u64 > PAYLOAD_BYTES_MAX {
        return Err(format!(
            "the payload unpacks to more than {PAYLOAD_BYTES_MAX} bytes; send it in parts"
        ));
    }
    Ok(out.into())
}

/// Splits a payload. Total: whatever cannot be read is an item that says so.
pub fn items(input: Input, bytes: &[u8]) -> Vec<Item> {
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let contents = match input {
        Input::Json => json(bytes),
        Input::Gatt => json(bytes)
            .into_iter()
            .map(|content| content.and_then(|d| characteristic(&d)))
            .collect(),
        Input::Csv => csv(bytes),
        Input::Xml => xml(bytes),
    };
    contents
        .into_iter()
        .take(ITEMS_MAX)
        .enumerate()
        .map(|(index, content)| Item { index, content })
        .collect()
}

type Contents = Vec<Result<Document, String>>;

fn json(bytes: &[u8]) -> Contents {
    let whole = match Document::parse(bytes) {
        Ok(document) => document,
        Err(error) => {
            return lines(bytes).unwrap_or_else(|| vec![Err(format!("not JSON: {error}"))]);
        }
    };
    if whole.root().is_array() {
        let parse = |item: fhir_core::json::ValueRef<'_>| {
            Document::parse(item.raw().as_bytes()).map_err(|e| e.to_string())
        };
        return whole.root().items().map(parse).collect();
    }
    vec![Ok(whole)]
}

/// One document a line, when the first line is one; a bad line is bad alone.
fn lines(bytes: &[u8]) -> Option<Contents> {
    let mut rows = bytes
        .split(|b| *b == b'\n')
        .filter(|l| !l.iter().all(u8::is_ascii_whitespace))
        .peekable();
    let first = *rows.peek()?;
    let many = bytes.len() > first.len() + 1 && first.trim_ascii_start().starts_with(b"{");
    let read =
        |row: &[u8]| Document::parse(row).map_err(|error| format!("the line is not JSON: {error}"));
    let rows: Contents = rows.map(read).collect();
    (many && rows.iter().any(Result::is_ok)).then_some(rows)
}

/// Adds `gatt`, the decoded records, to `{"uuid": …, "hex": …}`.
fn characteristic(document: &Document) -> Result<Document, String> {
    let root = document.root();
    let text = |name: &str| {
        root.get(name)
            .and_then(|v| v.as_str())
            .ok_or_else(|| format!("`{name}` is missing"))
    };
    let (uuid, hex) = (text("uuid")?, text("hex")?);
    let bytes = gatt::hex(&hex).map_err(|e| e.to_string())?;
    let records = gatt::decode(&uuid, &bytes).map_err(|e| e.to_string())?;
    let mut value = root.to_value();
    match value.as_object_mut() {
        Some(map) => map.insert("gatt", Value::Array(records)),
        None => return Err("an object is expected".to_owned()),
    }
    Document::parse(&value.to_bytes()).map_err(|e| e.to_string())
}

fn csv(bytes: &[u8]) -> Contents {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return vec![Err("the CSV is not UTF-8".to_owned())];
    };
    let mut rows = csv_rows(text).into_iter();
    let Some(Ok(header)) = rows.next() else {
        return vec![Err("the CSV has no header line".to_owned())];
    };
    let read = |row: Result<Vec<String>, String>| {
        let row = row?;
        if row.len() != header.len() {
            return Err(format!(
                "the line has {} columns and the header {}",
                row.len(),
                header.len()
            ));
        }
        let named = header
            .iter()
            .map(|name| name.trim().to_owned())
            .zip(row.into_iter().map(Value::from));
        document(named)
    };
    rows.map(read).collect()
}

/// Rows of RFC 4180: quotes around a field, doubled inside it, line ends within quotes belong to the field.
fn csv_rows(text: &str) -> Vec<Result<Vec<String>, String>> {
    let (mut rows, mut row, mut field, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut field)),
            '\n' if !quoted => {
                let last = field.strip_suffix('\r').unwrap_or(&field).to_owned();
                field.clear();
                if !row.is_empty() || !last.trim().is_empty() {
                    row.push(last);
                    rows.push(limited(std::mem::take(&mut row)));
                }
            }
            c => field.push(c),
        }
    }
    if quoted {
        rows.push(Err("a quoted field does not end".to_owned()));
    } else if !row.is_empty() || !field.trim().is_empty() {
        row.push(field);
        rows.push(limited(row));
    }
    rows
}

fn limited(row: Vec<String>) -> Result<Vec<String>, String> {
    if row.len() > FIELDS_MAX {
        Err(format!("the line has more than {FIELDS_MAX} columns"))
    } else {
        Ok(row)
    }
}

/// Records of a phone's export: each `Record` or `Correlation` element with its attributes, its `MetadataEntry`
/// elements as `metadata`, and the records inside a correlation as `records`. Read as a stream.
fn xml(bytes: &[u8]) -> Contents {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return vec![Err("the XML is not UTF-8".to_owned())];
    };
    let mut reader = quick_xml::Reader::from_str(text);
    let (mut found, mut open): (Contents, Vec<Map>) = (Vec::new(), Vec::new());
    loop {
        match reader.read_event() {
            Ok(Event::Start(start)) if is_record(&start) => match attributes(&start) {
                Ok(map) => open.push(map),
                Err(error) => {
                    found.push(Err(error));
                    open.push(Map::new());
                }
            },
            Ok(Event::Empty(start)) if is_record(&start) => match attributes(&start) {
                Ok(map) => close(map, &mut open, &mut found),
                Err(error) => found.push(Err(error)),
            },
            Ok(Event::Empty(start)) if start.name().as_ref() == "MetadataEntry" => {
                let (Ok(entry), Some(record)) = (attributes(&start), open.last_mut()) else {
                    continue;
                };
                metadata(record, &entry);
            }
            Ok(Event::End(end)) if matches!(end.name().as_ref(), "Record" | "Correlation") => {
                if let Some(map) = open.pop().filter(|map| !map.is_empty()) {
                    close(map, &mut open, &mut found);
                }
            }
            Ok(Event::Eof) => break,
            Ok(_) => {}
            Err(_) => {
                found.push(Err(format!(
                    "the XML is broken at byte {}",
                    reader.error_position()
                )));
                return found;
            }
        }
        if found.len() > ITEMS_MAX {
            break;
        }
    }
    if !open.is_empty() {
        found.push(Err("the XML ends inside a record".to_owned()));
    }
    found
}

/// Behind the last record of an export's beginning that is complete and inside no other, when there is one. The bytes
/// may end anywhere, also inside an element or a character.
pub fn xml_cut(bytes: &[u8]) -> Option<usize> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(bytes.get(..error.valid_up_to())?).ok()?,
    };
    let mut reader = quick_xml::Reader::from_str(text);
    reader.config_mut().check_end_names = false;
    reader.config_mut().allow_unmatched_ends = true;
    let (mut depth, mut end) = (0_usize, None);
    loop {
        let is_end = match reader.read_event() {
            Ok(Event::Start(start)) if is_record(&start) => {
                depth += 1;
                false
            }
            Ok(Event::Empty(start)) => is_record(&start),
            Ok(Event::End(name)) if matches!(name.name().as_ref(), "Record" | "Correlation") => {
                depth = depth.saturating_sub(1);
                true
            }
            Ok(Event::Eof) | Err(_) => return end,
            Ok(_) => false,
        };
        if is_end && depth == 0 {
            end = usize::try_from(reader.buffer_position()).ok();
        }
    }
}

fn is_record(start: &BytesStart<'_>) -> bool {
    matches!(start.name().as_ref(), "Record" | "Correlation")
}

fn attributes(start: &BytesStart<'_>) -> Result<Map, String> {
    let mut map = Map::new();
    map.insert("element", Value::from(start.name().as_ref()));
    for attribute in start.attributes().take(FIELDS_MAX) {
        let attribute = attribute.map_err(|_| "an attribute is broken".to_owned())?;
        let name = attribute.key.as_ref();
        let value = attribute
            .normalized_value(quick_xml::XmlVersion::default())
            .map_err(|_| format!("attribute `{name}` cannot be read"))?;
        map.insert(name.to_owned(), Value::from(value.into_owned()));
    }
    Ok(map)
}

fn metadata(record: &mut Map, entry: &Map) {
    let (Some(key), Some(value)) = (entry.get("key").and_then(Value::as_str), entry.get("value"))
    else {
        return;
    };
    let (key, value) = (key.to_owned(), value.clone());
    if record.get("metadata").is_none() {
        record.insert("metadata", Value::Object(Map::new()));
    }
    if let Some(known) = record.get_mut("metadata").and_then(Value::as_object_mut) {
        known.insert(key, value);
    }
}

fn close(map: Map, open: &mut [Map], found: &mut Contents) {
    match open.last_mut() {
        None => found.push(document(map.iter().map(|(k, v)| (k.to_owned(), v.clone())))),
        Some(outer) => {
            if outer.get("records").is_none() {
                outer.insert("records", Value::Array(Vec::new()));
            }
            if let Some(inner) = outer.get_mut("records").and_then(Value::as_array_mut) {
                inner.push(Value::Object(map));
            }
        }
    }
}

fn document(members: impl Iterator<Item = (String, Value)>) -> Result<Document, String> {
    Document::parse(&Value::object(members).to_bytes()).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn texts(input: Input, text: &str) -> Vec<String> {
        items(input, text.as_bytes())
            .into_iter()
            .map(|i| {
                i.content
                    .map_or_else(|e| format!("!{e}"), |d| d.root().raw().to_owned())
            })
            .collect()
    }

    /// Verifies: SRS-001, RC-001
    #[test]
    fn each_form_becomes_items_with_the_senders_digits() {
        assert_eq!(texts(Input::Json, r#"{"a":1.50}"#), [r#"{"a":1.50}"#]);
        assert_eq!(
            texts(Input::Json, r#"[{"a":1},{"a":2.0}]"#),
            [r#"{"a":1}"#, r#"{"a":2.0}"#]
        );
        assert_eq!(
            texts(Input::Json, "{\"a\":1}\n\n{\"a\":2.0}\n"),
            [r#"{"a":1}"#, r#"{"a":2.0}"#]
        );
        assert_eq!(
            texts(Input::Csv, "t,v\r\n\"a\"\"b,\nc\",2.50\r\n"),
            [r#"{"t":"a\"b,\nc","v":"2.50"}"#]
        );
    }

    #[test]
    fn a_bad_item_is_bad_alone() {
        let got = texts(Input::Json, "{\"a\":1}\n{\"a\":\n{\"a\":2}\n");
        assert_eq!(got.len(), 3);
        assert!(got[1].starts_with("!the line is not JSON"), "{got:?}");
        assert!(texts(Input::Json, "{\"deviceId\":\"d1\",")[0].starts_with("!not JSON"));
        let got = texts(Input::Csv, "a,b\n1\n1,2\n");
        assert_eq!(
            got,
            [
                "!the line has 1 columns and the header 2",
                r#"{"a":"1","b":"2"}"#
            ]
        );
        let got = texts(
            Input::Gatt,
            r#"[{"uuid":"2A37","hex":"0"},{"uuid":"2A37","hex":"0048"}]"#,
        );
        assert!(
            got[0].starts_with("!the value is not hexadecimal"),
            "{got:?}"
        );
        assert!(got[1].contains(r#""heartRate":72"#), "{got:?}");
    }

    #[test]
    fn exports_nest() {
        let xml = r#"<HealthData><Record type="HR" value="72"><MetadataEntry key="k" value="v&amp;w"/></Record>
            <Correlation type="BP"><Record type="S" value="120"/><Record type="D" value="80"/></Correlation></HealthData>"#;
        assert_eq!(
            texts(Input::Xml, xml),
            [
                r#"{"element":"Record","type":"HR","value":"72","metadata":{"k":"v&w"}}"#,
                r#"{"element":"Correlation","type":"BP","records":[{"element":"Record","type":"S","value":"120"},{"element":"Record","type":"D","value":"80"}]}"#,
            ]
        );
        assert!(
            texts(Input::Xml, "<HealthData><Record type='a'>")
                .last()
                .is_some_and(|t| t.starts_with('!'))
        );
    }

    #[test]
    fn gzip_is_undone_and_checked() {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        packer.write_all(br#"{"a":1}"#).expect("packs");
        let packed = packer.finish().expect("packs");
        assert_eq!(plain(&packed).expect("unpacks").as_ref(), br#"{"a":1}"#);
        assert!(plain(&packed[..10]).is_err());
        assert_eq!(plain(b"{}").expect("plain").as_ref(), b"{}");
    }
}
