//! The shipped mappings load, and all tests they carry come true.

use super::*;

#[test]
fn shipped_mappings_load() {
    if let Err(errors) = Library::embedded() {
        panic!("{errors}");
    }
}

#[test]
fn tests_in_shipped_files_come_true() {
    let library = Library::embedded().expect("loads");
    let failures: Vec<String> = library
        .self_test()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// Prints what a sample becomes: `cargo test -p mappings show -- --nocapture` with a file in STOKER_SHOW.
fn run(message: &str, context: &Context) -> (SourceTree, Result<Output, MapError>) {
    let library = Library::embedded().expect("loads");
    let source = SourceTree::Hl7v2(crate::sample::segments(message).expect("a sample"));
    let select = if message.contains("ORU^R01") {
        Select::Hl7v2 {
            code: "ORU",
            trigger: "R01",
            structure: None,
        }
    } else {
        Select::Hl7v2 {
            code: "ADT",
            trigger: "A08",
            structure: None,
        }
    };
    let output = library
        .mapping_for(&select)
        .expect("a mapping")
        .run(&source, context);
    (source, output)
}

#[test]
fn show() {
    let m = "MSH|^~\\&|LAB|NORTH|||20240301120000+0100||ORU^R01^ORU_R01|M1|P|2.5.1\n\
PID|1||4711^^^NORTH&1.2.3&ISO^MR||Example^Anna||19800229|F\n\
OBR|1|P1|F1^LAB|24323-8^Panel^LN|||202403011000|||||||||||||||||CH|F\n\
OBX|1|NM|2345-7^Glucose^LN||5.40|mmol/L^^UCUM|3.9-5.6|H~HH||N|F|||202403011005\n\
NTE|1||Fasting~sample\n\
OBX|2|NM|2951-2^Sodium^LN||<0.20|mmol/L|>=135||||C\n\
OBX|3|SN|X^Titre^99LAB||^1^:^128||||||P\n\
OBX|4|CWE|Y^Organism^99LAB|1|112283007^E. coli^SCT~3092008^S. aureus^SCT||||||F\n\
OBX|5|TX|Z^Comment^99LAB||line one~line two & more||||||F\n\
OBX|6|NM|Q^Qual^99LAB||n.d.|10*3/uL|neg|ZZ^odd^L|||Q\n\
OBX|7|NM|2345-7^Glucose^LN||||||||N\n\
OBX|8|ED|PDF^Report^99LAB||^AP^^Base64^QUJD||||||F\n\
OBX|9|NM|2345-7^Glucose^LN||5.5|mmol/L|||||U||||||1234^Tester^Tom\n";
    let (source, output) = run(m, &Context::default());
    let output = output.expect("runs");
    for r in &output.resources {
        println!("{:?} {}", r.write, r.value);
    }
    for i in &output.issues {
        println!("{i}");
    }
    for u in output.used.unread(&source) {
        println!("unread {u}");
    }
}
