//! Groups by segment order. HL7 v2 chapter 7, ORU^R01, and chapter 3, ADT.

use mappings::Leaf;

use super::support::with_message;
use crate::hl7v2::header::Header;
use crate::hl7v2::structure::{MessageType, tree};

/// The tree as text: `PATIENT_RESULT(PATIENT(PID) ...)`.
fn shape(msh_9: &str, segments: &str) -> String {
    let body = segments
        .split(' ')
        .map(|s| format!("{s}|1\r"))
        .collect::<String>();
    let raw = format!("MSH|^~\\&|A|B|C|D|2024||{msh_9}|1|P|2.5\r{body}");
    with_message(raw.as_bytes(), |message, decoded, _| {
        let header = Header::of(raw.split('\r').next().unwrap(), message.delimiters);
        let kind = MessageType::of(&header, message, &mut Vec::new()).unwrap();
        let tree = tree(
            message,
            &kind.structure,
            decoded.charset,
            &decoded.offsets,
            &mut Vec::new(),
        );
        assert_eq!(
            tree.segment_count() as usize,
            message.segments.len(),
            "nothing is dropped"
        );
        let mut text = String::new();
        let mut path: Vec<u32> = vec![0];
        for segment in 1..tree.segment_count() {
            let mut groups = vec![tree.group_of(segment)];
            while let Some(parent) = groups.last().and_then(|g| tree.parent_of(*g)) {
                groups.push(parent);
            }
            groups.reverse();
            let same = path.iter().zip(&groups).take_while(|(a, b)| a == b).count();
            text.extend(std::iter::repeat_n(')', path.len() - same));
            for group in groups.iter().skip(same) {
                let blank = if text.ends_with('(') { "" } else { " " };
                text.push_str(&format!("{blank}{}(", tree.group_name(*group)));
            }
            if !text.ends_with('(') {
                text.push(' ');
            }
            text.push_str(tree.segment_id(segment).unwrap().as_str());
            path = groups;
        }
        text.extend(std::iter::repeat_n(')', path.len() - 1));
        text.trim_start().to_owned()
    })
    .unwrap()
}

#[test]
fn results() {
    let cases = [
        (
            "PID PV1 ORC OBR OBX NTE OBX",
            "PATIENT_RESULT(PATIENT(PID VISIT(PV1)) ORDER_OBSERVATION(ORC OBR OBSERVATION(OBX NTE) OBSERVATION(OBX)))",
        ),
        // A specimen before its results.
        (
            "PID OBR SPM OBX OBX",
            "PATIENT_RESULT(PATIENT(PID) ORDER_OBSERVATION(OBR SPECIMEN(SPM OBSERVATION(OBX) OBSERVATION(OBX))))",
        ),
        (
            "PID OBR OBX SPM OBR OBX",
            "PATIENT_RESULT(PATIENT(PID) ORDER_OBSERVATION(OBR OBSERVATION(OBX) SPECIMEN(SPM)) ORDER_OBSERVATION(OBR OBSERVATION(OBX)))",
        ),
        // Several orders, one without ORC; notes belong to what they follow.
        (
            "PID ORC OBR NTE OBX NTE OBR OBX ORC OBR NTE",
            "PATIENT_RESULT(PATIENT(PID) ORDER_OBSERVATION(ORC OBR NTE OBSERVATION(OBX NTE)) ORDER_OBSERVATION(OBR OBSERVATION(OBX)) ORDER_OBSERVATION(ORC OBR NTE))",
        ),
        // Two patients in one message.
        (
            "PID OBR OBX PID OBR OBX",
            "PATIENT_RESULT(PATIENT(PID) ORDER_OBSERVATION(OBR OBSERVATION(OBX))) PATIENT_RESULT(PATIENT(PID) ORDER_OBSERVATION(OBR OBSERVATION(OBX)))",
        ),
        (
            "PID PID OBR",
            "PATIENT_RESULT(PATIENT(PID)) PATIENT_RESULT(PATIENT(PID) ORDER_OBSERVATION(OBR))",
        ),
        // No patient, Z segments, unknown segments, timing.
        (
            "OBR OBX",
            "PATIENT_RESULT(ORDER_OBSERVATION(OBR OBSERVATION(OBX)))",
        ),
        (
            "SFT PID ZPI PD1 OBR ZZZ TQ1 OBX QQQ OBX",
            "SFT PATIENT_RESULT(PATIENT(PID ZPI PD1) ORDER_OBSERVATION(OBR ZZZ TIMING_QTY(TQ1) OBSERVATION(OBX QQQ) OBSERVATION(OBX)))",
        ),
        (
            "PID OBX OBR OBX",
            "PATIENT_RESULT(PATIENT(PID PATIENT_OBSERVATION(OBX)) ORDER_OBSERVATION(OBR OBSERVATION(OBX)))",
        ),
    ];
    for (segments, expected) in cases {
        assert_eq!(shape("ORU^R01^ORU_R01", segments), expected, "{segments}");
    }
}

#[test]
fn registrations() {
    assert_eq!(
        shape("ADT^A01^ADT_A01", "EVN PID PD1 NK1 NK1 PV1 OBX AL1"),
        "EVN PID PD1 NK1 NK1 PV1 OBX AL1"
    );
    assert_eq!(
        shape("ADT^A08", "EVN PID PV1 PR1 ROL GT1 IN1 IN2 IN1 ACC"),
        "EVN PID PV1 PROCEDURE(PR1 ROL) GT1 INSURANCE(IN1 IN2) INSURANCE(IN1) ACC"
    );
    assert_eq!(
        shape("ADT^A40^ADT_A39", "EVN PID MRG PID PD1 MRG"),
        "EVN PATIENT(PID MRG) PATIENT(PID PD1 MRG)"
    );
    assert_eq!(
        shape("ADT^A24^ADT_A24", "EVN PID PD1 PV1 PID PV1"),
        "EVN PATIENT(PID PD1 PV1) PATIENT(PID PV1)"
    );
    assert_eq!(
        shape("ADT^A45", "EVN PID MRG PV1 MRG PV1"),
        "EVN PID MERGE_INFO(MRG PV1) MERGE_INFO(MRG PV1)"
    );
    assert_eq!(shape("ZZZ^Z01", "PID OBR OBX"), "PID OBR OBX");
}

#[test]
fn orders_documents_and_appointments() {
    for (kind, segments, expected) in [
        (
            "ORM^O01",
            "PID PV1 IN1 ORC OBR NTE OBX ORC OBR",
            "PATIENT(PID VISIT(PV1) INSURANCE(IN1)) ORDER(ORC OBR NTE OBSERVATION(OBX)) ORDER(ORC OBR)",
        ),
        (
            "RDE^O11",
            "PID ORC RXO RXR RXE TQ1 RXR ORC RXE",
            "PATIENT(PID) ORDER(ORC RXO RXR RXE TIMING_QTY(TQ1) RXR) ORDER(ORC RXE)",
        ),
        (
            "VXU^V04",
            "PID NK1 ORC RXA RXR OBX OBX RXA",
            "PATIENT(PID NK1) ORDER(ORC RXA RXR OBSERVATION(OBX) OBSERVATION(OBX)) ORDER(RXA)",
        ),
        (
            "SIU^S12",
            "SCH NTE PID PV1 RGS AIS NTE AIL AIP",
            "SCH NTE PATIENT(PID PV1) RESOURCES(RGS SERVICE(AIS NTE) LOCATION_RESOURCE(AIL) PERSONNEL_RESOURCE(AIP))",
        ),
        (
            "MDM^T02",
            "EVN PID PV1 TXA OBX OBX",
            "EVN PID PV1 TXA OBSERVATION(OBX) OBSERVATION(OBX)",
        ),
        (
            "OUL^R22",
            "PID SPM SAC OBR ORC OBX SPM OBR OBX",
            "PATIENT(PID) SPECIMEN(SPM SAC ORDER(OBR ORC OBSERVATION(OBX))) SPECIMEN(SPM ORDER(OBR OBSERVATION(OBX)))",
        ),
    ] {
        assert_eq!(shape(kind, segments), expected, "{kind}");
    }
}

fn kind(msh_9: &str, evn_1: &str) -> Result<(String, Vec<String>), String> {
    let raw = format!("MSH|^~\\&|A|B|C|D|2024||{msh_9}|1|P|2.2\rEVN|{evn_1}\r");
    with_message(raw.as_bytes(), |message, _, _| {
        let header = Header::of(raw.split('\r').next().unwrap(), message.delimiters);
        let mut issues = Vec::new();
        let kind =
            MessageType::of(&header, message, &mut issues).map_err(|i| i.code.to_string())?;
        let text = format!("{}^{}^{}", kind.code, kind.trigger, kind.structure);
        Ok((text, issues.iter().map(|i| i.code.to_string()).collect()))
    })
    .unwrap()
}

#[test]
fn message_types() {
    let none: &[&str] = &[];
    let cases = [
        ("ADT^A01^ADT_A01", "", "ADT^A01^ADT_A01", none),
        ("ADT^A08", "", "ADT^A08^ADT_A01", none),
        (
            "ADT^A31^ADT_A31",
            "",
            "ADT^A31^ADT_A05",
            &["structure-disagrees"],
        ),
        ("ADT", "A04", "ADT^A04^ADT_A01", &["trigger-event-missing"]),
        ("ORU", "", "ORU^R01^ORU_R01", &["trigger-event-missing"]),
        ("ORM", "", "ORM^^ORM_", &["trigger-event-missing"]),
        ("ZZX^Z11^ZZX_Z11", "", "ZZX^Z11^ZZX_Z11", none),
    ];
    for (msh_9, evn_1, expected, issues) in cases {
        let (text, codes) = kind(msh_9, evn_1).unwrap();
        assert_eq!(text, expected, "{msh_9}");
        assert_eq!(codes, issues, "{msh_9}");
    }
    assert_eq!(kind("", "A01").unwrap_err(), "message-type-missing");
    assert_eq!(kind("^A01", "A01").unwrap_err(), "message-type-missing");
}

/// HL7 v2 chapter 2: `""` means delete, an empty field means nothing at all.
#[test]
fn null_is_neither_empty_nor_text() {
    let raw = "MSH|^~\\&|A|B|C|D|2024||ADT^A08|1|P|2.5\rPID|1|\"\"||a^\"\"^\"x\"\r";
    with_message(raw.as_bytes(), |message, decoded, _| {
        let tree = tree(
            message,
            "ADT_A01",
            decoded.charset,
            &decoded.offsets,
            &mut Vec::new(),
        );
        let leaves: Vec<_> = tree
            .leaves_of(1)
            .filter_map(|l| tree.leaf(l))
            .map(|(at, l)| (at.field, at.component, l))
            .collect();
        assert_eq!(
            leaves,
            [
                (1, 1, Leaf::Text("1")),
                (2, 1, Leaf::Null),
                (4, 1, Leaf::Text("a")),
                (4, 2, Leaf::Null),
                (4, 3, Leaf::Text("\"x\"")),
            ]
        );
    })
    .unwrap();
}
