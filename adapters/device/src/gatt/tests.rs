//! Vectors computed by hand from the field layouts of the Bluetooth SIG services.

use super::*;

/// Decodes and compares the records as compact JSON without `uuid`.
fn check(uuid: &str, text: &str, expected: &[&str]) {
    let records =
        decode(uuid, &hex(text).expect("hex")).unwrap_or_else(|e| panic!("{uuid} {text}: {e}"));
    let shown: Vec<String> = records
        .into_iter()
        .map(|record| {
            let mut map = record.as_object().expect("object").clone();
            map.remove("uuid");
            String::from_utf8(Value::Object(map).to_bytes()).expect("text")
        })
        .collect();
    assert_eq!(shown, expected, "{uuid} {text}");
}

fn refuse(uuid: &str, text: &str, expected: GattError) {
    assert_eq!(
        hex(text).and_then(|bytes| decode(uuid, &bytes)),
        Err(expected),
        "{uuid} {text}"
    );
}

#[test]
fn heart_rate() {
    check("2A37", "00 48", &[r#"{"heartRate":72}"#]);
    check(
        "00002a37-0000-1000-8000-00805F9B34FB",
        "01 2c01",
        &[r#"{"heartRate":300}"#],
    );
    check("0x2A37", "04 3f", &[r#"{"heartRate":63,"contact":false}"#]);
    check(
        "2a37",
        "1e 41 0a00 0004 ff03",
        &[r#"{"heartRate":65,"contact":true,"energyExpended":10,"rrIntervals":[1024,1023]}"#],
    );
    refuse(
        "2A37",
        "01 48",
        GattError::TooShort {
            field: "heart rate",
        },
    );
    refuse(
        "2A37",
        "10 48",
        GattError::TooShort {
            field: "RR interval",
        },
    );
    refuse(
        "2A37",
        "10 48 0004 ff",
        GattError::TooShort {
            field: "RR interval",
        },
    );
    refuse("2A37", "00 48 00", GattError::TooLong { bytes: 1 });
}

#[test]
fn blood_pressure() {
    check(
        "2A35",
        "00 7900 5000 5d00",
        &[r#"{"systolic":121,"diastolic":80,"mean":93,"unit":"mm[Hg]"}"#],
    );
    check(
        "2A35",
        "1f a0f0 6af0 ff07 ea07 0c 1f 17 3b 01 48f0 02 0500",
        &[concat!(
            r#"{"systolic":16.0,"diastolic":10.6,"mean":{"absent":"not-a-number"},"unit":"kPa","#,
            r#""localTime":"2026-12-31T23:59:01","pulseRate":7.2,"user":2,"status":5,"#,
            r#""bodyMovement":true,"irregularPulse":true}"#
        )],
    );
    check(
        "2A35",
        "0a 7900 5000 5d00 0000 00 00 00 00 00 ff",
        &[
            r#"{"systolic":121,"diastolic":80,"mean":93,"unit":"mm[Hg]","timeUnknown":true,"userUnknown":true}"#,
        ],
    );
    refuse(
        "2A35",
        "02 7900 5000 5d00 ea07 02 1e 00 00 00",
        GattError::Range {
            field: "time stamp",
        },
    );
    refuse(
        "2A35",
        "00 7900 5000",
        GattError::TooShort {
            field: "mean arterial pressure",
        },
    );
}

/// Verifies: SRS-028, RC-013
#[test]
fn what_is_no_result_says_so() {
    check(
        "2A36",
        "00 6400 0000 0000",
        &[r#"{"notAResult":"intermediate-cuff-pressure","cuffPressure":100,"unit":"mm[Hg]"}"#],
    );
    check(
        "2A18",
        "02 0100 ea07 03 01 09 00 00 64b0 1a",
        &[concat!(
            r#"{"sequence":1,"localTime":"2026-03-01T09:00:00","concentration":100,"unit":"mg/dL","#,
            r#""sampleType":10,"location":1,"notAResult":"control-solution","contextFollows":false}"#
        )],
    );
}

#[test]
fn thermometer() {
    check(
        "2A1C",
        "00 4c0e00fe",
        &[r#"{"temperature":36.60,"unit":"Cel"}"#],
    );
    check(
        "2A1C",
        "07 da0300ff ea07 01 02 03 04 05 06",
        &[r#"{"temperature":98.6,"unit":"[degF]","localTime":"2026-01-02T03:04:05","site":6}"#],
    );
    check(
        "2A1C",
        "00 ffff7f00",
        &[r#"{"temperature":{"absent":"not-a-number"},"unit":"Cel"}"#],
    );
    refuse(
        "2A1C",
        "00 4c0e00",
        GattError::TooShort {
            field: "temperature",
        },
    );
}

#[test]
fn pulse_oximeter() {
    check("2A5E", "00 6100 4800", &[r#"{"spo2":97,"pulseRate":72}"#]);
    check(
        "2A5E",
        "11 6100 ff07 ea07 01 02 03 04 05",
        &[r#"{"spo2":97,"pulseRate":{"absent":"not-a-number"},"timeUnknown":true}"#],
    );
    check(
        "2A5F",
        "1f 6100 4800 6200 4900 6000 4700 0100 020000 0f00",
        &[concat!(
            r#"{"spo2":97,"pulseRate":72,"fast":{"spo2":98,"pulseRate":73},"slow":{"spo2":96,"pulseRate":71},"#,
            r#""status":1,"sensorStatus":2,"perfusionIndex":15}"#
        )],
    );
    refuse(
        "2A5F",
        "02 6100 4800",
        GattError::TooShort { field: "spo2" },
    );
}

#[test]
fn glucose() {
    check(
        "2A18",
        "17 2a00 ea07 03 01 09 00 00 c4ff 37c0 11",
        &[concat!(
            r#"{"sequence":42,"localTime":"2026-03-01T09:00:00","offsetMinutes":-60,"concentration":5.5,"#,
            r#""unit":"mmol/L","sampleType":1,"location":1,"contextFollows":true}"#
        )],
    );
    check(
        "2A18",
        "01 0000 ea07 03 01 09 00 00 ff7f",
        &[
            r#"{"sequence":0,"localTime":"2026-03-01T09:00:00","timeUnknown":true,"contextFollows":false}"#,
        ],
    );
    refuse(
        "2A18",
        "02 2a00 ea07 03 01 09 00 00 37c0",
        GattError::TooShort {
            field: "type and location",
        },
    );
}

#[test]
fn continuous_glucose() {
    check(
        "2AA7",
        "06 00 6400 0500 08 01 6e00 0a00 02f0",
        &[
            r#"{"glucose":100,"unit":"mg/dL","offsetMinutes":5}"#,
            r#"{"glucose":110,"unit":"mg/dL","offsetMinutes":10,"trend":0.2}"#,
        ],
    );
    check(
        "2AA7",
        "09 e0 6400 0500 01 02 04",
        &[
            r#"{"glucose":100,"unit":"mg/dL","offsetMinutes":5,"status":1,"calibrationAndTemperature":2,"warning":4}"#,
        ],
    );
    refuse("2AA7", "08 00 6400 0500 0000", GattError::Checksum);
    refuse("2AA7", "05 00 6400 05", GattError::Range { field: "size" });
    refuse(
        "2AA7",
        "07 00 6400 0500",
        GattError::TooShort { field: "record" },
    );
    refuse("2AA7", "", GattError::TooShort { field: "size" });
}

#[test]
fn weight_and_body_composition() {
    check("2A9D", "00 b036", &[r#"{"weight":70.000,"unit":"kg"}"#]);
    check(
        "2A9D",
        "0f 983a ea07 01 02 03 04 05 01 fa00 b802",
        &[concat!(
            r#"{"weight":150.00,"unit":"[lb_av]","localTime":"2026-01-02T03:04:05","user":1,"bmi":25.0,"#,
            r#""height":69.6,"heightUnit":"[in_i]"}"#
        )],
    );
    check(
        "2A9D",
        "00 ffff",
        &[r#"{"weight":{"absent":"error"},"unit":"kg"}"#],
    );
    check(
        "2A9C",
        "7804 d700 8019 9201 981c 983a c05d",
        &[concat!(
            r#"{"bodyFat":21.5,"unit":"kg","basalMetabolismKilojoule":6528,"musclePercentage":40.2,"#,
            r#""muscleMass":36.600,"fatFreeMass":75.000,"weight":120.000}"#
        )],
    );
    refuse("2A9C", "0004 d700", GattError::TooShort { field: "weight" });
}

#[test]
fn other_characteristics_and_bad_hex_are_refused() {
    refuse("2A19", "64", GattError::Unknown);
    refuse("heart", "64", GattError::Unknown);
    refuse("2A37", "0", GattError::Hex);
    refuse("2A37", "zz", GattError::Hex);
    refuse("2A37", &"00".repeat(600), GattError::TooLong { bytes: 1 });
}

/// No bytes make the decoder panic.
#[test]
fn any_bytes_give_an_answer() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for uuid in [
        "2A37", "2A35", "2A36", "2A1C", "2A5E", "2A5F", "2A18", "2AA7", "2A9D", "2A9C",
    ] {
        for _ in 0..2_000 {
            let length = usize::try_from(next() % 24).unwrap_or(0);
            let bytes: Vec<u8> = (0..length).map(|_| next().to_le_bytes()[0]).collect();
            let _ = decode(uuid, &bytes);
        }
    }
}
