//! A tenant file is refused at the line that is wrong.

use super::Tenant;

const GOOD: &str = r#"tenant = "north"
vendor = "epic"
fhir_base = "https://ehr.example.org/api/FHIR/R4/"
client_id = "c"
types = ["Patient", "Observation"]
auth = { method = "basic", secret = { env = "NORTH_SECRET" } }
"#;

#[test]
fn a_plain_file_is_enough() {
    let tenant = Tenant::parse(GOOD).unwrap();
    assert_eq!(
        tenant.fhir_base.as_str(),
        "https://ehr.example.org/api/FHIR/R4"
    );
    assert_eq!(
        tenant.scopes,
        ["system/Patient.rs", "system/Observation.rs"]
    );
    let header = ("Epic-Client-ID".to_owned(), "c".to_owned());
    assert_eq!(tenant.headers(), [header]);
}

#[test]
fn overrides_reach_profile_and_rules() {
    let text = format!("{GOOD}[profile]\npage_size = 50\n[profile.codes]\n\"4101\" = \"note\"\n");
    let tenant = Tenant::parse(&text).unwrap();
    assert_eq!(tenant.profile.page_size, 50);
    assert_eq!(tenant.profile.connections, 5, "the rest is the vendor's");
}

/// Verifies: SRS-021, RC-017
#[test]
fn what_is_wrong_is_named_with_its_line() {
    for (text, expected) in [
        (
            format!("{GOOD}colour = 1\n"),
            "line 7: unknown field `colour`",
        ),
        (
            format!("{GOOD}[profile]\npage_sise = 50\n"),
            "line 8: `[profile]`: unknown field `page_sise`",
        ),
        (
            format!("{GOOD}[rules]\nunit = 50\n"),
            "line 8: `[rules]`: unknown field `unit`",
        ),
        (
            format!("{GOOD}[profile]\nconnections = 0\n"),
            "line 8: `[profile]` `connections` must be 1 to 64",
        ),
        (
            GOOD.replace("\"epic\"", "\"epik\""),
            "use `epic`, `oracle` or `generic`",
        ),
        (
            GOOD.replace("\"Patient\", ", "\"Patent\", "),
            "no `[[profile.search]]` for `Patent`",
        ),
        (
            GOOD.replace("https://ehr", "ehr"),
            "line 3: `fhir_base` is not an absolute URL",
        ),
        (
            GOOD.replace("\"north\"", "\"North Clinic\""),
            "`tenant` must be",
        ),
        (GOOD.replace("\"c\"", "\"\""), "`client_id` is missing"),
    ] {
        let error = Tenant::parse(&text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

/// Verifies: SRS-011, RC-011
#[test]
fn secrets_are_named_and_never_shown() {
    let tenant = Tenant::parse(GOOD).unwrap();
    let super::Auth::Basic { secret } = &tenant.auth else {
        panic!("basic expected");
    };
    let error = secret.read().unwrap_err().to_string();
    assert!(error.contains("NORTH_SECRET"));
}
