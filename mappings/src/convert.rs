//! Converters: from one source text to one FHIR value, or to the reason why not.
//!
//! FHIR primitives: <https://hl7.org/fhir/R4/datatypes.html#primitive>.
//! Left out on purpose: everything that needs more than the text; see [`crate::engine`].

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use fhir_core::json::{Map, Number, Value};

use crate::code::ConceptMap;
use crate::language::Converter;
use crate::output::Code;
use crate::time::{self, Clock};
use crate::{decimal, uri};

/// Everything converters may look at.
pub(crate) struct Tools<'a> {
    pub clock: Clock,
    pub context: &'a crate::Context,
    pub maps: &'a [(Box<str>, Box<str>, ConceptMap)],
    pub table_0396: Option<&'a ConceptMap>,
}

/// A value and what had to be decided for it.
pub(crate) type Converted = Result<(Value, Option<Code>), Code>;

/// Applies one converter to a text.
pub(crate) fn convert(converter: Converter, text: &str, tools: &Tools<'_>) -> Converted {
    let of_text = |(text, note): (String, Option<Code>)| (Value::from(text), note);
    match converter {
        Converter::Code => code(text).map(|c| (c, None)),
        Converter::Decimal => number(decimal::parse(text), Code::NotANumber),
        Converter::Comparand => number(decimal::comparison(text).map(|(_, n)| n), Code::NotANumber),
        Converter::Low => number(
            decimal::range(text).and_then(|(low, _)| low),
            Code::NotANumber,
        ),
        Converter::High => number(
            decimal::range(text).and_then(|(_, high)| high),
            Code::NotANumber,
        ),
        Converter::Comparator => match decimal::comparison(text) {
            Some((comparator, _)) => Ok((comparator.into(), None)),
            None => Err(Code::NotANumber),
        },
        Converter::Integer => integer(text, i64::from(i32::MIN)),
        Converter::PositiveInt => integer(text, 1),
        Converter::UnsignedInt => integer(text, 0),
        // HL7 table 0136, yes/no indicator.
        Converter::Boolean => match text.trim() {
            "Y" | "true" => Ok((true.into(), None)),
            "N" | "false" => Ok((false.into(), None)),
            _ => Err(Code::NotABoolean),
        },
        Converter::Date => time::date(text.trim()).map(of_text),
        Converter::DateTime => time::date_time(text.trim(), &tools.clock).map(of_text),
        Converter::DateTimeWithTime => {
            let (text, note) = time::date_time(text.trim(), &tools.clock)?;
            if text.contains('T') {
                Ok((text.into(), note))
            } else {
                Err(note.unwrap_or(Code::NotAnInstant))
            }
        }
        Converter::Instant => time::instant(text.trim(), &tools.clock).map(of_text),
        Converter::Time => time::time(text.trim()).map(of_text),
        Converter::Uri => uri::absolute(text.trim())
            .map(|u| (u.into(), None))
            .ok_or(Code::NotAUri),
        Converter::Base64 => Ok((BASE64.encode(text).into(), None)),
        Converter::Base64Data => base64_data(text).map(|data| (data, None)),
        Converter::Hexadecimal => hexadecimal(text).map(|data| (data, None)),
        Converter::CodingSystem => Ok(of_text(uri::coding_system(
            text,
            tools.context,
            tools.table_0396,
        ))),
        Converter::Map(index) => target(index, text, tools)
            .map(|t| (Value::from(&*t.code), None))
            .ok_or(Code::UnmappedCode),
        Converter::Coding(index) => coding(index, text, tools).ok_or(Code::UnmappedCode),
        // These look at places and never come here: the loader lets them stand only right behind a path.
        Converter::Text
        | Converter::Lines
        | Converter::Join(_)
        | Converter::Authority
        | Converter::EntityAuthority
        | Converter::Type(_) => Ok((text.into(), None)),
    }
}

fn target<'t>(index: usize, text: &str, tools: &'t Tools<'_>) -> Option<&'t crate::code::Target> {
    tools.maps.get(index)?.2.get(text.trim())
}

fn coding(index: usize, text: &str, tools: &Tools<'_>) -> Option<(Value, Option<Code>)> {
    let target = target(index, text, tools)?;
    let mut coding = Map::new();
    for (name, text) in [
        ("system", &target.system),
        ("code", &target.code),
        ("display", &target.display),
    ] {
        if !text.is_empty() {
            coding.insert(name, Value::from(&**text));
        }
    }
    Some((coding.into(), None))
}

fn number(digits: Option<String>, otherwise: Code) -> Converted {
    let number = digits.and_then(|d| Number::parse(&d)).ok_or(otherwise)?;
    Ok((Value::Number(number), None))
}

fn integer(text: &str, least: i64) -> Converted {
    let n = decimal::integer(text, least, i64::from(i32::MAX)).ok_or(Code::NotAnInteger)?;
    Ok((n.into(), None))
}

/// Base64 as senders wrap it: blanks and line ends go, everything else must be base64.
fn base64_data(text: &str) -> Result<Value, Code> {
    let data: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let is_whole = !data.is_empty() && BASE64.decode(&data).is_ok();
    is_whole.then(|| data.into()).ok_or(Code::NotBase64)
}

fn hexadecimal(text: &str) -> Result<Value, Code> {
    let digits: Vec<u32> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16).ok_or(Code::NotBase64))
        .collect::<Result<_, _>>()?;
    let bytes: Vec<u8> = digits
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => u8::try_from(high * 16 + low).map_err(|_| Code::NotBase64),
            _ => Err(Code::NotBase64),
        })
        .collect::<Result<_, _>>()?;
    Ok(BASE64.encode(bytes).into())
}

/// FHIR code: no white space around it, single blanks inside.
fn code(text: &str) -> Result<Value, Code> {
    let text = text.trim();
    let single = !text.contains("  ") && !text.contains(|c: char| c.is_whitespace() && c != ' ');
    if text.is_empty() || !single {
        Err(Code::NotACode)
    } else {
        Ok(text.into())
    }
}
