//! Scopes, keys and assertions.

use fhir_core::ids::Instant;

use super::keys::{Algorithm, KEEP_AFTER_USE_S, KeyRing, PUBLISH_BEFORE_USE_S};
use super::scopes::Granted;
use crate::clock::plus_seconds;

const NOW: Instant = Instant(1_777_881_600_000_000);

#[test]
fn scopes_of_both_versions_grant_what_they_say() {
    for (scopes, of, category, search, read) in [
        ("system/Observation.rs", "Observation", None, true, true),
        (
            "system/Observation.r system/Observation.s",
            "Observation",
            None,
            true,
            true,
        ),
        ("system/Observation.r", "Observation", None, false, true),
        ("system/*.read", "Patient", None, true, true),
        ("system/Patient.write", "Patient", None, false, false),
        ("system/Observation.sr", "Observation", None, false, false),
        (
            "system/Observation.rs?category=http://x|laboratory",
            "Observation",
            Some("laboratory"),
            true,
            true,
        ),
        (
            "system/Observation.rs?category=http://x|laboratory",
            "Observation",
            Some("vital-signs"),
            false,
            true,
        ),
        (
            "system/Observation.rs?category=http://x|laboratory system/Observation.rs?category=http://x|vital-signs",
            "Observation",
            Some("vital-signs"),
            true,
            true,
        ),
        ("launch openid fhirUser", "Patient", None, false, false),
        ("", "Patient", None, false, false),
    ] {
        let granted = Granted::parse(scopes);
        assert_eq!(granted.may_search(of, category), search, "{scopes}");
        assert_eq!(granted.may_read(of), read, "{scopes}");
    }
}

/// Epic caches a key set for 29 hours: an old key signs and stays until nobody can hold the older set.
#[test]
fn keys_rotate_with_an_overlap() {
    let folder = tempfile::tempdir().unwrap();
    let mut ring = KeyRing::open(folder.path()).unwrap();
    assert!(ring.signing_key(NOW, None).is_err());
    let first = ring.rotate(NOW, 1).unwrap();
    assert_eq!(ring.signing_key(NOW, None).unwrap().0.kid, first.kid);
    assert!(ring.drop_key(&first.kid, NOW).is_err(), "no successor");
    let second = ring.rotate(NOW, 2).unwrap();
    assert_eq!(
        ring.jwks()
            .unwrap()
            .get("keys")
            .unwrap()
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(
        ring.signing_key(NOW, None).unwrap().0.kid,
        first.kid,
        "published, not used"
    );
    let later = plus_seconds(NOW, PUBLISH_BEFORE_USE_S);
    assert_eq!(ring.signing_key(later, None).unwrap().0.kid, second.kid);
    assert!(
        ring.drop_key(&first.kid, later).is_err(),
        "assertions may still be checked"
    );
    let safe = plus_seconds(later, KEEP_AFTER_USE_S);
    ring.drop_key(&first.kid, safe).unwrap();
    let reopened = KeyRing::open(folder.path()).unwrap();
    assert_eq!(reopened.entries().len(), 1);
    assert!(reopened.signing_key(safe, Some(Algorithm::RS384)).is_err());
}

#[cfg(unix)]
#[test]
fn key_files_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let mut ring = KeyRing::open(folder.path()).unwrap();
    let entry = ring.rotate(NOW, 1).unwrap();
    let file = folder.path().join(format!("{}.pem", entry.kid));
    let mode = std::fs::metadata(file).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0);
}
