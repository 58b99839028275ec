//! A synthetic population: the same seed gives the same Patients and Observations, byte for byte.
//!
//! The mix is a hospital's feed in time order: half laboratory results, three tenths vital signs (half of them device
//! streams), one fifth blood pressures with two components. Names are invented.

use std::fmt::Write as _;

/// A small deterministic generator (SplitMix64); not for secrets.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Starts from a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next_u64() % end.max(1)
    }

    /// One of the items.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len() as u64) as usize]
    }
}

const FAMILIES: [&str; 16] = [
    "Aldertree",
    "Brookfield",
    "Castellane",
    "Dunmorrow",
    "Eastwick",
    "Fennimore",
    "Gallowby",
    "Hartsong",
    "Ivarsen",
    "Jessamy",
    "Kestrel",
    "Lindqvist",
    "Marlowe",
    "Norwood",
    "Östergren",
    "Pemberly",
];
const GIVEN: [&str; 12] = [
    "Ada", "Bruno", "Clara", "Dario", "Elin", "Falk", "Greta", "Hugo", "Ines", "Jonas", "Karla",
    "Zoë",
];

/// A laboratory or vital-sign code: LOINC code, display, unit, lowest value, span, decimals.
type Measure = (&'static str, &'static str, &'static str, u64, u64, u32);

const LABS: [Measure; 20] = [
    (
        "2339-0",
        "Glucose [Mass/volume] in Blood",
        "mg/dL",
        60,
        140,
        0,
    ),
    (
        "2345-7",
        "Glucose [Mass/volume] in Serum or Plasma",
        "mg/dL",
        60,
        140,
        1,
    ),
    (
        "4548-4",
        "Hemoglobin A1c/Hemoglobin.total in Blood",
        "%",
        4,
        8,
        1,
    ),
    (
        "718-7",
        "Hemoglobin [Mass/volume] in Blood",
        "g/dL",
        8,
        10,
        1,
    ),
    (
        "2093-3",
        "Cholesterol [Mass/volume] in Serum or Plasma",
        "mg/dL",
        120,
        180,
        0,
    ),
    (
        "2085-9",
        "Cholesterol in HDL [Mass/volume] in Serum or Plasma",
        "mg/dL",
        20,
        80,
        0,
    ),
    (
        "2571-8",
        "Triglyceride [Mass/volume] in Serum or Plasma",
        "mg/dL",
        40,
        360,
        0,
    ),
    (
        "2160-0",
        "Creatinine [Mass/volume] in Serum or Plasma",
        "mg/dL",
        0,
        3,
        2,
    ),
    (
        "2823-3",
        "Potassium [Moles/volume] in Serum or Plasma",
        "mmol/L",
        2,
        5,
        2,
    ),
    (
        "2951-2",
        "Sodium [Moles/volume] in Serum or Plasma",
        "mmol/L",
        120,
        40,
        0,
    ),
    (
        "2075-0",
        "Chloride [Moles/volume] in Serum or Plasma",
        "mmol/L",
        90,
        30,
        0,
    ),
    (
        "3094-0",
        "Urea nitrogen [Mass/volume] in Serum or Plasma",
        "mg/dL",
        5,
        40,
        0,
    ),
    (
        "17861-6",
        "Calcium [Mass/volume] in Serum or Plasma",
        "mg/dL",
        7,
        5,
        1,
    ),
    (
        "1742-6",
        "Alanine aminotransferase [Enzymatic activity/volume] in Serum or Plasma",
        "U/L",
        5,
        90,
        0,
    ),
    (
        "1920-8",
        "Aspartate aminotransferase [Enzymatic activity/volume] in Serum or Plasma",
        "U/L",
        5,
        90,
        0,
    ),
    (
        "6690-2",
        "Leukocytes [#/volume] in Blood by Automated count",
        "10*3/uL",
        2,
        14,
        2,
    ),
    (
        "789-8",
        "Erythrocytes [#/volume] in Blood by Automated count",
        "10*6/uL",
        3,
        4,
        2,
    ),
    (
        "777-3",
        "Platelets [#/volume] in Blood by Automated count",
        "10*3/uL",
        90,
        400,
        0,
    ),
    (
        "1988-5",
        "C reactive protein [Mass/volume] in Serum or Plasma",
        "mg/L",
        0,
        120,
        1,
    ),
    (
        "3016-3",
        "Thyrotropin [Units/volume] in Serum or Plasma",
        "m[IU]/L",
        0,
        9,
        3,
    ),
];
const VITALS: [Measure; 8] = [
    ("8867-4", "Heart rate", "/min", 45, 90, 0),
    ("9279-1", "Respiratory rate", "/min", 8, 22, 0),
    ("8310-5", "Body temperature", "Cel", 35, 5, 1),
    (
        "59408-5",
        "Oxygen saturation in Arterial blood by Pulse oximetry",
        "%",
        86,
        14,
        0,
    ),
    ("29463-7", "Body weight", "kg", 40, 80, 1),
    ("8302-2", "Body height", "cm", 150, 50, 0),
    (
        "39156-5",
        "Body mass index (BMI) [Ratio]",
        "kg/m2",
        17,
        22,
        1,
    ),
    ("20564-1", "Oxygen saturation in Blood", "%", 86, 14, 0),
];

/// The LOINC codes Observations carry, for searches that find something.
pub fn codes() -> Vec<&'static str> {
    LABS.iter()
        .chain(&VITALS)
        .map(|m| m.0)
        .chain(["85354-9"])
        .collect()
}

/// The logical id of a patient.
pub fn patient_id(number: u64) -> String {
    format!("synthetic-{number:06}")
}

/// The medical record number of a patient, in the system `urn:oid:2.999.1.1`.
pub fn patient_mrn(number: u64) -> String {
    format!("MRN{number:07}")
}

/// A Patient as compact JSON.
pub fn patient(number: u64) -> String {
    let mut random = Random::new(number.wrapping_mul(7919) + 1);
    let (family, given) = (random.pick(&FAMILIES), random.pick(&GIVEN));
    let gender = random.pick(&["female", "male", "other", "unknown"]);
    let (year, month, day) = (
        1930 + random.below(90),
        1 + random.below(12),
        1 + random.below(28),
    );
    format!(
        r#"{{"resourceType":"Patient","id":"{}","identifier":[{{"use":"usual","type":{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/v2-0203","code":"MR"}}]}},"system":"urn:oid:2.999.1.1","value":"{}"}}],"active":true,"name":[{{"use":"official","family":"{family}","given":["{given}","{}"]}}],"telecom":[{{"system":"phone","value":"555-{:04}","use":"home"}}],"gender":"{gender}","birthDate":"{year:04}-{month:02}-{day:02}","address":[{{"line":["{} Example Street"],"city":"Sampleton","postalCode":"{:05}","country":"DE"}}]}}"#,
        patient_id(number),
        patient_mrn(number),
        random.pick(&GIVEN),
        random.below(10_000),
        1 + random.below(200),
        random.below(100_000),
    )
}

fn decimal(random: &mut Random, measure: &Measure) -> String {
    let (low, span, places) = (measure.3, measure.4, measure.5);
    let scale = 10u64.pow(places);
    let value = low * scale + random.below(span * scale);
    if places == 0 {
        return value.to_string();
    }
    format!(
        "{}.{:0width$}",
        value / scale,
        value % scale,
        width = places as usize
    )
}

fn coding(system: &str, code: &str, display: &str) -> String {
    format!(
        r#"{{"coding":[{{"system":"{system}","code":"{code}","display":"{display}"}}],"text":"{display}"}}"#
    )
}

fn quantity(value: &str, unit: &str) -> String {
    format!(
        r#"{{"value":{value},"unit":"{unit}","system":"http://unitsofmeasure.org","code":"{unit}"}}"#
    )
}

fn category(code: &str, display: &str) -> String {
    format!(
        r#""category":[{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"{code}","display":"{display}"}}]}}]"#
    )
}

/// An Observation as compact JSON, without id. `number` also gives its place in time, one every 40 seconds from 2024 on.
pub fn observation(number: u64, patients: u64) -> String {
    let mut random = Random::new(number.wrapping_mul(104_729) + 17);
    let patient = random.below(patients);
    let moment = effective(number);
    let mut out = String::with_capacity(1400);
    out.push_str(r#"{"resourceType":"Observation","#);
    let tail = format!(
        r#""subject":{{"reference":"Patient/{}"}},"encounter":{{"reference":"Encounter/visit-{:06}"}},"effectiveDateTime":"{moment}","issued":"{moment}","performer":[{{"reference":"Practitioner/staff-{:03}"}}]"#,
        patient_id(patient),
        number / 12,
        random.below(200),
    );
    match random.below(10) {
        0..=4 => laboratory(&mut out, &mut random, number, &tail),
        5..=7 => vital_sign(&mut out, &mut random, number, &tail),
        _ => blood_pressure(&mut out, &mut random, &tail),
    }
    out.push('}');
    out
}

/// The effective time of an Observation.
pub fn effective(number: u64) -> String {
    let seconds = number * 40;
    let (day, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, day_of_year) = (2024 + day / 336, day % 336);
    let (month, day_of_month) = (1 + day_of_year / 28, 1 + day_of_year % 28);
    format!(
        "{year:04}-{month:02}-{day_of_month:02}T{:02}:{:02}:{:02}+01:00",
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}

fn laboratory(out: &mut String, random: &mut Random, number: u64, tail: &str) {
    let measure = random.pick(&LABS);
    let flag = *random.pick(&[("N", "Normal"), ("H", "High"), ("L", "Low")]);
    let _ = write!(
        out,
        r#""identifier":[{{"system":"urn:oid:2.999.1.2","value":"LAB{number:09}"}}],"basedOn":[{{"reference":"ServiceRequest/order-{number:08}"}}],"status":"final",{},"code":{},{tail},"specimen":{{"reference":"Specimen/specimen-{number:08}"}},"valueQuantity":{},"interpretation":[{}],"referenceRange":[{{"low":{},"high":{},"text":"{}-{} {}"}}]"#,
        category("laboratory", "Laboratory"),
        coding("http://loinc.org", measure.0, measure.1),
        quantity(&decimal(random, measure), measure.2),
        coding(
            "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation",
            flag.0,
            flag.1
        ),
        quantity(&measure.3.to_string(), measure.2),
        quantity(&(measure.3 + measure.4).to_string(), measure.2),
        measure.3,
        measure.3 + measure.4,
        measure.2,
    );
}

fn vital_sign(out: &mut String, random: &mut Random, number: u64, tail: &str) {
    let measure = random.pick(&VITALS);
    if random.below(2) == 0 {
        let device = random.below(300);
        let _ = write!(
            out,
            r#""meta":{{"tag":[{{"system":"urn:oid:2.999.1.9","code":"device-stream"}}]}},"identifier":[{{"system":"urn:oid:2.999.1.3","value":"DEV{device:04}-{number:09}"}}],"device":{{"reference":"Device/monitor-{device:04}"}},"#
        );
    }
    let _ = write!(
        out,
        r#""status":"final",{},"code":{},{tail},"valueQuantity":{}"#,
        category("vital-signs", "Vital Signs"),
        coding("http://loinc.org", measure.0, measure.1),
        quantity(&decimal(random, measure), measure.2),
    );
}

fn blood_pressure(out: &mut String, random: &mut Random, tail: &str) {
    let (systolic, diastolic) = (90 + random.below(90), 50 + random.below(60));
    let _ = write!(
        out,
        r#""status":"final",{},"code":{},{tail},"component":[{{"code":{},"valueQuantity":{}}},{{"code":{},"valueQuantity":{}}}]"#,
        category("vital-signs", "Vital Signs"),
        coding(
            "http://loinc.org",
            "85354-9",
            "Blood pressure panel with all children optional"
        ),
        coding("http://loinc.org", "8480-6", "Systolic blood pressure"),
        quantity(&systolic.to_string(), "mm[Hg]"),
        coding("http://loinc.org", "8462-4", "Diastolic blood pressure"),
        quantity(&diastolic.to_string(), "mm[Hg]"),
    );
}
